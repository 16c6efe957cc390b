"""The letters about another address of an account, in its owner's language: the link to the new one, and what both are told afterwards.

No password in them.
"""

from __future__ import annotations

from django.utils import translation
from django.utils.translation import gettext as _

from .letters import Letter, composed


def confirm_letter(*, brand: str, link: str, minutes: int, help_address: str, language: str = "en") -> Letter:
    """Return the letter to the new address, with the link that makes it the account's. It must not be logged: the link is a secret."""
    with translation.override(language):
        return composed(
            _("Is this your new address at {brand}?").format(brand=brand),
            _("Somebody who is signed in to a {brand} account, and typed its password, wants its mail to come to this address.").format(
                brand=brand
            ),
            _("If it was you, open this link within {minutes} minutes and confirm:").format(minutes=minutes),
            _("If it was not you, do nothing: nothing changes without this link."),
            _("Questions: {address}").format(address=help_address),
            link=link,
            button=_("To the confirmation"),
        )


def changed_letter(*, brand: str, site: str, help_address: str, old: bool, language: str = "en") -> Letter:
    """Return the letter to the old address (which is told how to stop it) or to the new one, once the address was changed."""
    with translation.override(language):
        return composed(
            _("The address of your {brand} account was changed").format(brand=brand),
            _("Mail of your {brand} account goes to another address from now on. This is the last letter to this one.").format(brand=brand)
            if old
            else _("Mail of your {brand} account comes to this address from now on, and you sign in with it.").format(brand=brand),
            _("If it was you, there is nothing to do."),
            _("If it was not you, tell us at once, and set a new password. Type this address yourself:"),
            site,
            _("Tell us: {address}").format(address=help_address),
        )


def former_letter(*, brand: str, site: str, help_address: str, language: str = "en") -> Letter:
    """Return the letter to an address that the account had when somebody may have been inside: its password was changed just now."""
    with translation.override(language):
        return composed(
            _("The password of your {brand} account was changed").format(brand=brand),
            _(
                "The password of a {brand} account was changed just now. This address belonged to it until not long ago, and was replaced "
                "at a time when a stranger may have been in our systems. That is why we tell you too."
            ).format(brand=brand),
            _("If both changes were yours, there is nothing to do."),
            _("If one of them was not, write to us at once: {address}").format(address=help_address),
            _("There is more on this page, whose address you type yourself:"),
            site,
        )
