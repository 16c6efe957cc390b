"""The pure checks: what passes, what is refused, and that no reason ever holds a digit run of the input."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tocsin_vault.parts import pan
from tocsin_vault import cards
from tocsin_vault.cards import Card, Fault, check_customer, luhn, parse

# Numbers that the networks and processors publish for testing.
PUBLISHED = [
    ("4111111111111111", "visa"),
    ("4222222222222", "visa"),
    ("5555555555554444", "mastercard"),
    ("2223003122003222", "mastercard"),
    ("378282246310005", "amex"),
    ("6011111111111117", "discover"),
    ("3530111333300000", "jcb"),
    ("30569309025904", "diners"),
    ("6200000000000005", "unionpay"),
]


@pytest.mark.parametrize(("number", "brand"), PUBLISHED)
def test_published_numbers_pass_with_and_without_their_brand(number: str, brand: str) -> None:
    for said in (brand, brand.upper(), ""):
        card = parse(number, "2031-07", said)
        assert isinstance(card, Card)
        assert (card.pan, card.brand, card.expires, card.last4) == (number, brand, 203107, number[-4:])
    assert number not in repr(card)


@pytest.mark.parametrize(
    ("number", "month", "brand", "field"),
    [
        *(
            (number, "2031-07", "visa", "card_number")
            for number in ("4111111111111112", "411111111111", "", "4111x11111111111", "٤١١١١١١١١١١١١١١١", "41111111111111111111")
        ),
        *(("4111111111111111", month, "visa", "expiry_month") for month in ("2031-13", "31-07", "", "2031-7", "00/31")),
        *(("4111111111111111", "2031-07", brand, "brand") for brand in ("amex", "acme")),
        ("0000000000000000", "2031-07", "", "brand"),
    ],
)
def test_each_rule_refuses(number: str, month: str, brand: str, field: str) -> None:
    found = parse(number, month, brand)
    assert isinstance(found, Fault)
    assert found.field == field


@pytest.mark.parametrize(("month", "expires"), [("2031-07", 203107), ("07/31", 203107), ("07/2031", 203107), (" 2031-07 ", 203107)])
def test_months_in_three_spellings(month: str, expires: int) -> None:
    card = parse("4111 1111-1111 1111", month, "Visa")
    assert isinstance(card, Card)
    assert (card.pan, card.expires) == ("4111111111111111", expires)


@given(st.text("0123456789", min_size=11, max_size=18), st.integers(1, 9))
def test_luhn_sees_every_single_wrong_digit(body: str, change: int) -> None:
    right = [d for d in "0123456789" if luhn(body + d)]
    assert len(right) == 1
    digits = list(body + right[0])
    at = change % len(digits)
    digits[at] = str((int(digits[at]) + change) % 10)
    assert not luhn("".join(digits))


@given(
    st.text(max_size=30) | st.text("0123456789 -", max_size=25),
    st.text(max_size=10),
    st.text(max_size=20) | st.sampled_from(list(cards.BRANDS)),
)
def test_any_text_gives_a_card_or_a_reason_without_values(number: str, month: str, brand: str) -> None:
    found = parse(number, month, brand)
    if isinstance(found, Fault):
        assert not re.search(r"[0-9]{5,}", found.reason)


def test_a_customer_id_is_no_card_number_and_no_control_character() -> None:
    number = pan(random.Random(5))
    for good in ("C000123", "12345678", "kunde-ü-7", number[:-1] + str((int(number[-1]) + 1) % 10)):
        assert check_customer(good) is None
    for bad in (number, f"x {number[:4]} {number[4:8]} {number[8:12]} {number[12:]}", "", "a\tb", "a" * 65, "�"):
        found = check_customer(bad)
        assert found is not None
        assert number not in found.reason
