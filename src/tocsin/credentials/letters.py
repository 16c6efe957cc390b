"""What this room writes to people, as plain text and HTML, in their language. No tracking, no image, no password; a link stands alone on
its line.

Texts are found by the catalogues (`src/tocsin/web/locale`). A language is chosen from the person's locale; what we do not speak is answered in
the company's own, and failing that in English.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from django.conf import settings
from django.utils import translation
from django.utils.translation import gettext as _

from tocsin.kernel import config


@dataclass(frozen=True, slots=True)
class Letter:
    """A message before it has an address."""

    subject: str
    text: str
    html: str


def language_of(locale: str) -> str:
    """Return the language we write in to somebody of this locale (`pt-BR`, `zh_CN`, `de`)."""
    for wanted in (locale, config.current().company.locale):
        try:
            return translation.get_supported_language_variant(wanted.replace("_", "-").lower())
        except LookupError:
            continue
    return settings.LANGUAGE_CODE


def reset_letter(*, brand: str, link: str, minutes: int, help_address: str, language: str = "en") -> Letter:
    """Return the letter that carries a one-time link. It must not be logged: the link is a secret."""
    with translation.override(language):
        return composed(
            _("Set your new {brand} password").format(brand=brand),
            _("You, or somebody who typed your address, asked to set a new password for your {brand} account.").format(brand=brand),
            _("Open this link within {minutes} minutes. It works once:").format(minutes=minutes),
            _("If it was not you, do nothing: your account stays as it is, and nobody can set a password without this link."),
            _never(brand),
            _("Questions: {address}").format(address=help_address),
            link=link,
            button=_("Set a new password"),
        )


def changed_letter(*, brand: str, site: str, help_address: str, language: str = "en") -> Letter:
    """Return the letter that tells somebody that the password of the account was changed."""
    with translation.override(language):
        return composed(
            _("Your {brand} password was changed").format(brand=brand),
            _("The password of your {brand} account was changed just now, and every other sign-in was ended.").format(brand=brand),
            _("If it was you, there is nothing to do."),
            _("If it was not you, set another password at once. Type this address yourself:"),
            site,
            _("And tell us: {address}").format(address=help_address),
        )


def affected_letter(*, brand: str, link: str, minutes: int, help_address: str, language: str = "en") -> Letter:
    """Return the answer to somebody whose data was reached; the link leads to which kinds of data. It must not be logged."""
    with translation.override(language):
        return composed(
            _("Your question to {brand}: was I affected?").format(brand=brand),
            _("You, or somebody who typed your address, asked whether your {brand} data was reached.").format(brand=brand),
            _("Yes: some of it was. Open this link within {minutes} minutes to see which kinds of data:").format(minutes=minutes),
            _never(brand),
            _("Questions: {address}").format(address=help_address),
            link=link,
            button=_("See what was reached"),
        )


def unaffected_letter(*, brand: str, known: bool, help_address: str, language: str = "en") -> Letter:
    """Return the answer to somebody whose data was not reached, or, if not `known`, of whom we cannot tell yet."""
    with translation.override(language):
        return composed(
            _("Your question to {brand}: was I affected?").format(brand=brand),
            _("You, or somebody who typed your address, asked whether your {brand} data was reached.").format(brand=brand),
            _("No: by all that we know today, none of it was. If that changes, we will write to you.")
            if known
            else _("We cannot say yet: we are still finding out. As soon as we know, we will write to everybody concerned."),
            _never(brand),
            _("Questions: {address}").format(address=help_address),
        )


def code_letter(*, brand: str, name: str, code: str, site: str, until: str, help_address: str, language: str = "en") -> str:
    """Return the text of a letter by post that carries a code. It must not be logged: the code is a secret."""
    with translation.override(language):
        parts = (
            _("Dear {name},").format(name=name),
            _("You, or somebody who knows your address and postal code, asked for a new {brand} password by letter.").format(brand=brand),
            _("Type this address into your browser:"),
            site,
            _("There, type this code. It works once, until {date}:").format(date=until),
            code,
            _("If it was not you, throw this letter away: your account stays as it is."),
            _never(brand),
            _("Questions: {address}").format(address=help_address),
        )
    return "\n\n".join(parts) + "\n"


def _never(brand: str) -> str:
    return _("{brand} never asks for your password, a code or a card number by mail or by phone.").format(brand=brand)


def composed(subject: str, *parts: str, link: str = "", button: str = "") -> Letter:
    """Return a letter of paragraphs in the language that is active; a link comes after the second one."""
    texts = [*parts[:2], *([link] if link else []), *parts[2:]]
    shown = [f"<p>{escape(p)}</p>" for p in parts]
    if link:
        shown.insert(
            2,
            f'<p><a href="{escape(link)}" style="display:inline-block;padding:12px 20px;background:#1d4ed8;color:#ffffff;border-radius:8px;'
            f'text-decoration:none;font-weight:600">{escape(button)}</a></p>'
            f'<p style="word-break:break-all;color:#475569">{escape(link)}</p>',
        )
    return Letter(subject, "\n\n".join(texts) + "\n", _page("".join(shown)))


def _page(body: str) -> str:
    return (
        f'<!doctype html><html lang="{translation.to_locale(translation.get_language() or "en").replace("_", "-")}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"></head>'
        '<body style="margin:0;padding:24px;font:16px/1.5 system-ui,sans-serif;color:#0f172a;background:#ffffff">'
        f'<div style="max-width:36em;margin:0 auto">{body}</div></body></html>\n'
    )
