"""The two letters of this room, as plain text and HTML. No tracking, no image, no password; the link stands alone on its line. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape


@dataclass(frozen=True, slots=True)
class Letter:
    """A message before it has an address."""

    subject: str
    text: str
    html: str


def reset_letter(*, brand: str, link: str, minutes: int, help_address: str) -> Letter:
    """Return the letter that carries a one-time link. It must not be logged: the link is a secret."""
    lead = f"You, or somebody who typed your address, asked to set a new password for your {brand} account."
    how = f"Open this link within {minutes} minutes. It works once:"
    other = "If it was not you, do nothing: your account stays as it is, and nobody can set a password without this link."
    never = f"{brand} never asks for your password, a code or a card number by mail or by phone."
    ask = f"Questions: {help_address}"
    text = f"{lead}\n\n{how}\n\n{link}\n\n{other}\n\n{never}\n\n{ask}\n"
    body = (
        f"<p>{escape(lead)}</p><p>{escape(how)}</p>"
        f'<p><a href="{escape(link)}" style="display:inline-block;padding:12px 20px;background:#1d4ed8;color:#ffffff;border-radius:8px;'
        f'text-decoration:none;font-weight:600">Set a new password</a></p>'
        f'<p style="word-break:break-all;color:#475569">{escape(link)}</p>'
        f"<p>{escape(other)}</p><p>{escape(never)}</p><p>{escape(ask)}</p>"
    )
    return Letter(f"Set your new {brand} password", text, _page(body))


def changed_letter(*, brand: str, site: str, help_address: str) -> Letter:
    """Return the letter that tells somebody that the password of the account was changed."""
    lead = f"The password of your {brand} account was changed just now, and every other sign-in was ended."
    fine = "If it was you, there is nothing to do."
    other = "If it was not you, set another password at once. Type this address yourself:"
    ask = f"And tell us: {help_address}"
    text = f"{lead}\n\n{fine}\n\n{other}\n\n{site}\n\n{ask}\n"
    body = f"<p>{escape(lead)}</p><p>{escape(fine)}</p><p>{escape(other)}</p><p>{escape(site)}</p><p>{escape(ask)}</p>"
    return Letter(f"Your {brand} password was changed", text, _page(body))


def _page(body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"></head>'
        '<body style="margin:0;padding:24px;font:16px/1.5 system-ui,sans-serif;color:#0f172a;background:#ffffff">'
        f'<div style="max-width:36em;margin:0 auto">{body}</div></body></html>\n'
    )
