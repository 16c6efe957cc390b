"""Element codes of the laws: raw ones (inventory's), derived, asked and regime codes; derivation on bit masks.

These bits are internal to one process and may change with any commit; only inventory's numbering is published.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Final

from tocsin.inventory.types import ELEMENTS

# Computed from raw codes by `derive`, or from a law's own count (COUNTED).
DERIVED = (
    "credit_card_number", "fin_account_number", "fin_account_with_code", "online_credentials", "financial_data", "financial_harm_data",
    "authentication_data", "sensitive_data", "special_care_data", "health_identifying_information", "personal_data",
)  # fmt: skip
# From the regime tag of a store, or stated as special: never inferred.
REGIME = {
    "phi": "protected_health_information",
    "phr": "phr_identifiable_health_information",
    "glba": "customer_information_glba",
    "reg_sp": "sensitive_customer_information",
    "cpni": "cpni_or_covered_pii",
}
# Only a person can say whether they are met; until then the law stands in `questions`.
ASKED = {
    "any_listed_element_if_enough_for_identity_theft": "is what was exposed enough for identity theft even without the name?",
    "fin_account_number_if_usable": "can the account or card number be used without a code?",
    "fin_account_with_code": "is a code needed to use the account or card number, or was one exposed with it?",
    "data_of_minors_or_elderly": "are there minors or elderly people among them?",
    "legal_secrecy_data": "is any of it protected by legal or professional secrecy?",
    "large_scale_personal_data": "is this large-scale processing of personal data?",
    "personal_data_if_malicious": "was it done with an unlawful purpose?",
    "prescribed_significant_harm_data": "is any of it among the data prescribed as significantly harmful?",
}
COUNTED = {
    "personal_data_of_500_or_more": ("ge", 500),
    "personal_data_over_1000": ("gt", 1_000),
    "personal_data_over_1_million": ("ge", 1_000_000),
}
EVENT_ITSELF = "none_required"

CODES = tuple(dict.fromkeys((*ELEMENTS, *DERIVED, *REGIME.values(), *ASKED, *COUNTED, EVENT_ITSELF)))
BIT = {code: 1 << i for i, code in enumerate(CODES)}
OTHER: Final = 1 << len(CODES)  # any code we do not know: it is personal data all the same


def mask(codes: Iterable[str]) -> int:
    """Return the bits of codes; unknown ones share one bit."""
    bits = 0
    for code in codes:
        bits |= BIT.get(code, OTHER)
    return bits


def names(bits: int) -> tuple[str, ...]:
    """Return the codes of a mask, in the order of the numbering."""
    return tuple(code for code, bit in BIT.items() if bits & bit)


HASH = BIT["password_hash"]
NAME = BIT["name"]
PERSONAL = BIT["personal_data"]
_SECRET = mask(("password", "password_hash", "security_answer"))
_LOGIN = mask(("email", "username"))
_CARD, _BANK = BIT["payment_card_number"], BIT["bank_account_number"]
_ACCOUNT = BIT["fin_account_number"]
_ACCOUNT_CODE = mask(("payment_card_code", "payment_card_expiry", "payment_card_track", "account_pin", "account_access_credentials"))
# (codes of which one suffices, what follows)
_FROM_ANY = (
    (_CARD, mask(("credit_card_number", "fin_account_number"))),
    (_BANK | BIT["credit_card_number"], _ACCOUNT),
    (_CARD | _BANK, mask(("financial_data", "financial_harm_data"))),
    (mask(("password", "password_hash")), BIT["authentication_data"]),
    (mask(("medical", "medical_id", "health_insurance", "genetic", "biometric")), BIT["sensitive_data"]),
    (BIT["medical"], BIT["special_care_data"]),
    (mask(("medical", "medical_id", "health_insurance")), BIT["health_identifying_information"]),
)


@functools.lru_cache(maxsize=65_536)
def derive(raw: int, hash_counts: bool = True) -> int:
    """Return a mask with all that follows from it. With `hash_counts` False a password hash is no password."""
    secret = raw if hash_counts else raw & ~HASH
    bits = raw
    for any_of, gives in _FROM_ANY:
        if secret & any_of:
            bits |= gives
    if bits & _ACCOUNT and raw & _ACCOUNT_CODE:
        bits |= BIT["fin_account_with_code"]
    if raw & _LOGIN and secret & _SECRET:
        bits |= BIT["online_credentials"]
    return bits | PERSONAL if raw else 0
