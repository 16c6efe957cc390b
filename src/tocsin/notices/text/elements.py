"""Kinds of data in words that their owner uses, in the languages of the catalogues; the codes are those of the inventory, whose numbering is published."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Mapping, Sequence

from django.conf import settings
from django.utils import translation
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from tocsin.inventory.types import codes_of

from .languages import language

WORDS: Mapping[str, Promise] = {
    "name": _("your name"),
    "email": _("your e-mail address"),
    "username": _("your user name"),
    "postal_address": _("your postal address"),
    "phone": _("your phone number"),
    "dob": _("your date of birth"),
    "mothers_maiden_name": _("your mother's maiden name"),
    "ssn": _("your Social Security number"),
    "tax_id": _("your tax number"),
    "irs_ip_pin": _("your tax office PIN"),
    "drivers_license_or_state_id": _("the number of your driving licence or identity card"),
    "passport": _("your passport number"),
    "military_id": _("your military identity number"),
    "tribal_id": _("your tribal identity number"),
    "student_id": _("your student number"),
    "voter_id": _("your voter number"),
    "other_gov_id": _("another official identity number of yours"),
    "employer_id_with_code": _("your staff number with its code"),
    "bank_account_number": _("your bank account number"),
    "payment_card_number": _("your full card number"),
    "payment_card_code": _("the security code of your card"),
    "payment_card_expiry": _("the expiry date of your card"),
    "payment_card_track": _("the magnetic stripe data of your card"),
    "account_pin": _("your PIN"),
    "payment_card_last4": _("the last four digits of your card"),
    "account_access_credentials": _("sign-in data of a financial account"),
    "unique_electronic_id_with_code": _("an electronic identity number with its code"),
    "financial_access_information": _("other data that gives access to a financial account"),
    "password": _("your password"),
    "password_hash": _("your password in scrambled form"),
    "security_answer": _("your answers to security questions"),
    "email_account_credentials": _("the password of your mailbox"),
    "security_tokens": _("keys that keep you signed in"),
    "private_key": _("a private key of yours"),
    "electronic_signature": _("your electronic signature"),
    "medical": _("data about your health"),
    "medical_id": _("your patient number"),
    "health_insurance": _("your health insurance number"),
    "genetic": _("genetic data of yours"),
    "biometric": _("biometric data of yours, such as fingerprints"),
    "geolocation": _("data about where you were"),
    "alpr": _("records of your car's number plate"),
    "tax_information": _("your tax records"),
    "work_evaluations": _("assessments of your work"),
    "birth_or_marriage_certificate": _("your birth or marriage certificate"),
    "other_personal": _("other data about you"),
}


_COMMA = {"zh": "、"}


def words_of(codes: Iterable[str]) -> list[str]:
    """Return kinds of data in the active language, in the order of the codes. A code that is not in the list is other data."""
    return list(dict.fromkeys(str(WORDS.get(code, WORDS["other_personal"])) for code in codes))


def element_words(reached: Mapping[int, int], accounts: Sequence[int], *, locale: str) -> str:
    """Return what a notice says was reached of the accounts at one mailbox, of all of them together, in one line of the notice's language.

    `reached`: account -> mask of elements. In a language that nobody translated the kinds into, English.
    """
    mask = functools.reduce(operator.or_, (reached.get(a, 0) for a in accounts), 0)
    return listed(codes_of(mask), locale=locale)


@functools.lru_cache(maxsize=4096)
def listed(codes: tuple[str, ...], *, locale: str) -> str:
    """Return kinds of data as one line in a language."""
    code = language(locale)
    with translation.override(next((known for known, name in settings.LANGUAGES if language(known) == code), "en")):
        return _COMMA.get(code, ", ").join(words_of(codes))
