"""What a card is: pure checks of one row, with reasons that name a field and a rule but never a value."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field

PAN_DIGITS_MIN, PAN_DIGITS_MAX = 12, 19  # ISO/IEC 7812-1
CUSTOMER_CHARS_MAX = 64
COLUMNS = ("customer_id", "card_number", "expiry_month", "brand")
# PCI DSS 4.0.1 3.3.1: never stored after authorisation, so a file that brings them is refused as a whole.
FORBIDDEN_COLUMNS = frozenset({"cvv", "cvv2", "cvc", "cvc2", "cid", "cav2", "csc", "security_code", "card_security_code", "pin",
                               "pin_block", "track", "track1", "track2"})

# Brand -> (prefix ranges as (from, to) over equally many digits, allowed lengths). Source: ISO/IEC 7812 issuer ranges as the networks
# publish them. Order matters only for recognising a number without a brand: the narrower ranges come first.
BRANDS: dict[str, tuple[tuple[tuple[str, str], ...], tuple[int, ...]]] = {
    "amex": ((("34", "34"), ("37", "37")), (15,)),
    "visa": ((("4", "4"),), (13, 16, 19)),
    "mastercard": ((("51", "55"), ("2221", "2720")), (16,)),
    "jcb": ((("3528", "3589"),), (16, 17, 18, 19)),
    "diners": ((("300", "305"), ("3095", "3095"), ("36", "36"), ("38", "39")), (14, 15, 16, 17, 18, 19)),
    "discover": ((("6011", "6011"), ("622126", "622925"), ("644", "649"), ("65", "65")), (16, 17, 18, 19)),
    "unionpay": ((("62", "62"), ("81", "81")), (16, 17, 18, 19)),
    "maestro": ((("50", "50"), ("56", "59"), ("6", "6")), tuple(range(12, 20))),
}
_ALIASES = {"americanexpress": "amex", "mc": "mastercard", "dinersclub": "diners", "cup": "unionpay", "chinaunionpay": "unionpay"}
BRAND_CODES = {name: code for code, name in enumerate(BRANDS, start=1)}
_DIGITS = re.compile(r"[0-9]+")
_LONG_DIGITS = re.compile(r"[0-9](?:[ -]?[0-9]){11,18}")
_EXPIRY = re.compile(r"(?P<y>20[0-9]{2})-(?P<m>[0-9]{2})|(?P<m2>[0-9]{2})/(?:20)?(?P<y2>[0-9]{2})")
# Digit characters to their values, plain and doubled: translating bytes is three times faster than a loop over characters.
_SINGLE = bytes.maketrans(b"0123456789", bytes(range(10)))
_DOUBLED = bytes.maketrans(b"0123456789", bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))


@dataclass(frozen=True, slots=True)
class Card:
    """One checked card. `expires`: year * 100 + month. The number stays out of `repr`."""

    pan: str = field(repr=False)
    brand: str
    expires: int

    @property
    def last4(self) -> str:
        """The four digits that the main side may hold."""
        return self.pan[-4:]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a row was refused: a field's name and a rule, never a value."""

    field: str
    reason: str


def luhn(digits: str) -> bool:
    """Say whether the check digit is right. Source: ISO/IEC 7812-1 annex B."""
    raw = digits.encode()
    return (sum(raw[-1::-2].translate(_SINGLE)) + sum(raw[-2::-2].translate(_DOUBLED))) % 10 == 0


def parse(card_number: str, expiry_month: str, brand: str) -> Card | Fault:
    """Return the card of three fields, or the first rule that it breaks.

    Numbers may hold spaces and dashes; months are YYYY-MM, MM/YY or MM/YYYY; an empty brand is recognised from the number.
    """
    pan = card_number.strip().replace(" ", "").replace("-", "")
    if not _DIGITS.fullmatch(pan):
        return Fault("card_number", "digits only")
    if not PAN_DIGITS_MIN <= len(pan) <= PAN_DIGITS_MAX:
        return Fault("card_number", f"{PAN_DIGITS_MIN} to {PAN_DIGITS_MAX} digits")
    if not luhn(pan):
        return Fault("card_number", "check digit is wrong")
    name = _brand_name(brand)
    if name and name not in BRANDS:
        return Fault("brand", f"one of {', '.join(BRANDS)}")
    if name and not _belongs(pan, name):
        return Fault("brand", "the number is not of this brand")
    if not name:
        name = next((b for b in BRANDS if _belongs(pan, b)), "")
        if not name:
            return Fault("brand", "the number is of no known brand")
    month = _EXPIRY.fullmatch(expiry_month.strip())
    if not month:
        return Fault("expiry_month", "YYYY-MM, MM/YY or MM/YYYY")
    year, number = int(month["y"] or "20" + month["y2"]), int(month["m"] or month["m2"])
    if not 1 <= number <= 12:
        return Fault("expiry_month", "a month from 01 to 12")
    return Card(pan, name, year * 100 + number)


def check_customer(customer_id: str) -> Fault | None:
    """Return what is wrong with a customer's id, which goes out beside the token: it must not be a card number by mistake."""
    if not 1 <= len(customer_id) <= CUSTOMER_CHARS_MAX or not customer_id.isprintable() or "�" in customer_id:
        return Fault("customer_id", f"1 to {CUSTOMER_CHARS_MAX} printable characters")
    if holds_number(customer_id):
        return Fault("customer_id", "looks like a card number: are the columns swapped?")
    return None


def holds_number(text: str) -> bool:
    """Say whether a run of digits in `text` could be a card number: against mistakes, not against somebody who hides one."""
    for run in _LONG_DIGITS.findall(text):
        digits = run.replace(" ", "").replace("-", "")
        if luhn(digits) and any(_belongs(digits, b) for b in BRANDS if b != "maestro"):  # maestro's ranges are too wide to mean much
            return True
    return False


@functools.lru_cache(maxsize=256)
def _brand_name(text: str) -> str:
    name = "".join(c for c in text.lower() if c.isalnum())
    return _ALIASES.get(name, name)


def _belongs(pan: str, brand: str) -> bool:
    ranges, lengths = BRANDS[brand]
    return len(pan) in lengths and any(low <= pan[: len(low)] <= high for low, high in ranges)
