"""The letters about another address of an account: the link to the new one, and what both are told afterwards. No password in them. Pure."""

from __future__ import annotations

from html import escape

from .letters import Letter


def confirm_letter(*, brand: str, link: str, minutes: int, help_address: str) -> Letter:
    """Return the letter to the new address, with the link that makes it the account's. It must not be logged: the link is a secret."""
    return _letter(
        f"Is this your new address at {brand}?",
        [
            f"Somebody who is signed in to a {brand} account, and typed its password, wants its mail to come to this address.",
            f"If it was you, open this link within {minutes} minutes and confirm:",
        ],
        link,
        ["If it was not you, do nothing: nothing changes without this link.", f"Questions: {help_address}"],
    )


def changed_letter(*, brand: str, site: str, help_address: str, old: bool) -> Letter:
    """Return the letter to the old address (which is told how to stop it) or to the new one, once the address was changed."""
    lead = (
        f"Mail of your {brand} account goes to another address from now on. This is the last letter to this one."
        if old
        else f"Mail of your {brand} account comes to this address from now on, and you sign in with it."
    )
    return _letter(
        f"The address of your {brand} account was changed",
        [
            lead,
            "If it was you, there is nothing to do.",
            "If it was not you, tell us at once, and set a new password. Type this address yourself:",
        ],
        site,
        [f"Tell us: {help_address}"],
    )


def former_letter(*, brand: str, site: str, help_address: str) -> Letter:
    """Return the letter to an address that the account had when somebody may have been inside: its password was changed just now."""
    return _letter(
        f"The password of your {brand} account was changed",
        [
            f"The password of a {brand} account was changed just now. This address belonged to it until not long ago, and was replaced "
            "at a time when a stranger may have been in our systems. That is why we tell you too.",
            "If both changes were yours, there is nothing to do.",
            "If one of them was not, write to us at once. More on this page, whose address you type yourself:",
        ],
        site,
        [f"Write to: {help_address}"],
    )


def _letter(subject: str, before: list[str], alone: str, after: list[str]) -> Letter:
    """Return a letter in which one line stands alone."""
    text = "\n\n".join([*before, alone, *after]) + "\n"
    body = "".join(f"<p>{escape(p)}</p>" for p in [*before, alone, *after])
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"></head>'
        f'<body style="margin:0;padding:24px;font:16px/1.5 system-ui,sans-serif;color:#0f172a;background:#ffffff">{body}</body></html>\n'
    )
    return Letter(subject, text, html)
