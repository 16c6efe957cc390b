"""Mailboxes, residence, mapping files and holding profiles, by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.inventory.types import ELEMENTS, mask_of
from tocsin.kernel.errors import BadInput
from tocsin.subjects.policy import mailbox, mapping, residence
from tocsin.subjects.types import BASES, EmailAddress, FileMapping

MAPPING = Path(__file__).parents[2] / "scenarios" / "zappos-2012" / "customers.mapping.toml"


@pytest.mark.parametrize(
    ("text", "address", "key", "provider"),
    [
        ("ada@gmail.com", "ada@gmail.com", "ada@gmail.com", "gmail.com"),
        ("  Ada.Byron@GoogleMail.COM ", "Ada.Byron@googlemail.com", "ada.byron@googlemail.com", "gmail.com"),
        ("ada+shoes@shop.example", "ada+shoes@shop.example", "ada+shoes@shop.example", "other"),
        ("ada@Bücher.example", "ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example", "other"),
        ("ada@hotmail.co.uk", "ada@hotmail.co.uk", "ada@hotmail.co.uk", "outlook.com"),
        ("ada@aol.com", "ada@aol.com", "ada@aol.com", "yahoo.com"),
        ("ada@gmail.example", "ada@gmail.example", "ada@gmail.example", "gmail.com"),
        ("ada@gmail.com.test", "ada@gmail.com.test", "ada@gmail.com.test", "gmail.com"),
        ("ada@mygmail.com", "ada@mygmail.com", "ada@mygmail.com", "other"),
        ('"ada byron"@shop.example', '"ada byron"@shop.example', '"ada byron"@shop.example', "other"),
        ("josé@shop.example", "josé@shop.example", "josé@shop.example", "other"),
        ("JOSE\u0301@shop.example", "JOSÉ@shop.example", "josé@shop.example", "other"),
        ("o'hara_{}~!#$%&*/=?^`|-@a-b.example", "o'hara_{}~!#$%&*/=?^`|-@a-b.example", "o'hara_{}~!#$%&*/=?^`|-@a-b.example", "other"),
    ],
)
def test_what_is_an_address(text: str, address: str, key: str, provider: str) -> None:
    assert mailbox.normalise(text) == EmailAddress(address, key, provider)


@pytest.mark.parametrize(
    "text",
    [
        "", "ada", "@shop.example", "ada@", "ada@shop", "ada@@shop.example", ".ada@shop.example", "ada.@shop.example", "a..b@shop.example",
        "ada byron@shop.example", "ada@shop..example", "ada@-shop.example", "ada@shop-.example", "ada@shop.example.", "ada@1.2.3.4", "ada@[1.2.3.4]",
        "ada@shop_x.example", "ada\n@shop.example", "ada@shop.example\nBcc: x@y.example", "ada,bob@shop.example", "<ada@shop.example>",
        "a" * 65 + "@shop.example", "ada@" + "a" * 64 + ".example", "ada@" + ".".join(["a" * 60] * 5) + ".example", "ada\u200b@shop.example",
        "ä" * 33 + "@shop.example",
    ],
)  # fmt: skip
def test_what_is_none(text: str) -> None:
    found = mailbox.normalise(text)
    assert isinstance(found, str)
    assert "ada" not in found


LOCAL = st.text(alphabet="abcXYZ019!#$%&'*+-/=?^_`{|}~", min_size=1, max_size=20)
LABEL = st.from_regex(r"\A[A-Za-z0-9]([A-Za-z0-9-]{0,10}[A-Za-z0-9])?\Z")


@given(LOCAL, st.lists(LABEL, min_size=1, max_size=3), st.sampled_from(["com", "example", "DE"]))
def test_an_address_normalised_is_normal_and_cases_do_not_matter(local: str, labels: list[str], tld: str) -> None:
    text = f"{local}@{'.'.join(labels)}.{tld}"
    found = mailbox.normalise(text)
    assert isinstance(found, EmailAddress)
    assert mailbox.normalise(found.address) == found
    upper, key = mailbox.normalise(text.swapcase()), mailbox.normalise(found.key)
    assert isinstance(upper, EmailAddress)
    assert isinstance(key, EmailAddress)
    assert upper.key == found.key == key.key
    assert found.address.partition("@")[0] == local


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_not_and_never_an_error(text: str) -> None:
    found = mailbox.normalise(text)
    if isinstance(found, EmailAddress):
        assert found.address.isprintable()
        assert len(found.address.encode()) <= mailbox.ADDRESS_OCTETS_MAX


@pytest.mark.parametrize(
    ("country", "region", "home"),
    [
        ("US", "CA", "US-CA"), ("usa", "california", "US-CA"), ("United States", "US-NY", "US-NY"), ("US", "", "US"), ("US", "Kent", "US"),
        ("US", "AE", "US"), ("US", "D.C.", "US-DC"), ("PR", "", "US-PR"), ("US", "PR", "US-PR"), ("Guam", "x", "US-GU"), ("CA", "QC", "CA-QC"),
        ("Canada", "Québec", "CA-QC"), ("CA", "CA", "CA"), ("DE", "BY", "DE"), ("deutschland", "", "DE"), ("UK", "England", "GB"), ("EU", "", "EU"),
        ("XX", "", None), ("", "CA", None), ("  fr ", "", "FR"),
    ],
)  # fmt: skip
def test_where_an_address_lies(country: str, region: str, home: str | None) -> None:
    assert residence.place(country, region) == home


@pytest.mark.parametrize(
    ("phone", "default", "home"),
    [
        ("+1 416 555 0100", "", "CA"), ("+1 (212) 555-0100", "", "US"), ("001-212-555-0100", "", "US"), ("+1 787 555 0100", "", "US-PR"),
        ("+1 876 555 0100", "", "JM"), ("+49 30 1234", "", "DE"), ("+44 20 7946 0000", "", "GB"), ("+352 621", "", "LU"), ("+7 701 1", "", "KZ"),
        ("+7 495 1", "", "RU"), ("212-555-0100", "US", "US"), ("1 212 555 0100", "US", "US"), ("416-555-0100", "US", "CA"),
        ("212-555-0100", "", None), ("212-555-0100", "DE", None), ("555-0100", "US", None), ("+", "", None), ("+999", "", None), ("phone", "US", None),
        ("+1 21", "", None), ("", "US", None),
    ],
)  # fmt: skip
def test_what_a_phone_says(phone: str, default: str, home: str | None) -> None:
    assert residence.of_prefix(residence.calling_prefix(phone, default)) == home


def test_the_first_source_with_a_country_decides() -> None:
    full: dict[str, Any] = {
        "addresses": (("verified", "FR", ""), ("billing", "US", "NV"), ("shipping", "CA", "QC")),
        "phone": "+49 30 1",
        "ip_country": "BR",
    }
    seen = []
    for _ in range(3):
        found = residence.residence(**full)
        seen.append((found.jurisdiction, found.basis))
        full["addresses"] = full["addresses"][1:]
    assert seen == [("FR", "verified"), ("US-NV", "billing"), ("CA-QC", "shipping")]
    assert residence.residence(**full).jurisdiction == "DE"
    full["phone"] = "unknown"
    assert residence.residence(**full).basis == "ip"
    full["ip_country"] = "A1"
    assert residence.residence(**full) == residence.Residence("ZZ", "none")
    # A country without its state is known: the state of a worse source is not put beside it.
    assert residence.residence(addresses=(("billing", "US", ""), ("shipping", "US", "NV"))).jurisdiction == "US"


@given(
    st.lists(st.tuples(st.sampled_from(["billing", "shipping"]), st.text(max_size=12), st.text(max_size=12)), max_size=3),
    st.text(max_size=20),
)
def test_everybody_lives_somewhere(addresses: list[tuple[str, str, str]], phone: str) -> None:
    found = residence.residence(addresses=tuple(addresses), phone=phone, phone_default="US")
    assert found.basis in BASES
    assert found.jurisdiction[:2].isalpha()
    assert (found.basis == "none") == (found.jurisdiction == "ZZ")


GOOD: dict[str, Any] = {"format": mapping.FORMAT, "external_id": "id", "email": "email", "stores": {"s": {"email": ["email"]}}}


def test_the_mapping_of_the_drill() -> None:
    import tomllib

    found = mapping.parse_mapping(tomllib.loads(MAPPING.read_text()))
    assert (found.external_id, found.cards_store, found.country_default) == ("customer_id", "orders", "US")
    assert set(found.stores) == {"customers", "orders"}
    assert mapping.check_header(list(found.columns()), found) == []
    assert next(f.got for f in mapping.check_header(["customer_id"], found)) == "no column 'email'"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"format": "tocsin-mapping/9"}, "format"),
        ({"external_id": ""}, "external_id"),
        ({"external_id": None}, "external_id"),
        ({"email": 3}, "email"),
        ({"email_required": "no"}, "email_required"),
        ({"name": "first"}, "name"),
        ({"name": [1]}, "name"),
        ({"delimiter": "ab"}, "delimiter"),
        ({"delimiter": '"'}, "delimiter"),
        ({"defaults": {"country": "Atlantis"}}, "defaults.country"),
        ({"defaults": {"moon": 1}}, "defaults.moon"),
        ({"defaults": 1}, "defaults"),
        ({"address": {"billing": {"country": 1}}}, "address.billing.country"),
        ({"address": {"moon": {}}}, "address.moon"),
        ({"address": {"billing": {"planet": "x"}}}, "address.billing.planet"),
        ({"stores": {}}, "stores"),
        ({"stores": {"s": {}}}, "stores.s"),
        ({"stores": {"s": {"soul": ["x"]}}}, "stores.s.soul"),
        ({"stores": {"s": {"email": []}}}, "stores.s.email"),
        ({"cards": {}}, "cards.store"),
        ({"moon": 1}, "moon"),
    ],
)
def test_each_fault_of_a_mapping_is_named(changes: dict[str, Any], field: str) -> None:
    mapping.parse_mapping(GOOD)
    with pytest.raises(BadInput) as caught:
        mapping.parse_mapping({k: v for k, v in {**GOOD, **changes}.items() if v is not None})
    assert [f.field for f in caught.value.faults] == [field]


CODES = st.sampled_from(sorted(ELEMENTS))
COLUMNS = st.sampled_from(["a", "b", "c", "d"])


@given(
    st.dictionaries(st.sampled_from(["s", "t"]), st.dictionaries(CODES, st.lists(COLUMNS, min_size=1, max_size=3), min_size=1), min_size=1),
    st.sets(COLUMNS),
)
def test_a_profile_has_exactly_the_elements_with_a_filled_column(stores: dict[str, dict[str, list[str]]], filled: set[str]) -> None:
    means = FileMapping(
        "id", (), None, None, None, None, "", "en", {}, {s: {c: tuple(v) for c, v in e.items()} for s, e in stores.items()}, "t"
    )
    found = mapping.holding_of(frozenset(filled), means)
    assert found == {
        store: mask
        for store, elements in stores.items()
        if (mask := mask_of(c for c, columns in elements.items() if set(columns) & filled))
    }
    carded = mapping.with_card(found, "t")
    assert mapping.with_card(carded, "t") == carded
    assert carded["t"] & ~found.get("t", 0) in (0, mask_of(["payment_card_last4"]))
    assert {k: v for k, v in carded.items() if k != "t"} == {k: v for k, v in found.items() if k != "t"}
    assert mapping.profile_digest(found) == mapping.profile_digest(dict(reversed(found.items())))
    assert (mapping.profile_digest(carded) == mapping.profile_digest(found)) == (carded == found)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("4111111111111111", True), ("4111 1111 1111 1111", True), ("4111-1111-1111-1111", True), ("378282246310005", True),
        ("4111111111111112", False), ("411111111111", False), ("tok_4111111111111111", False), ("", False), ("0100", False),
    ],
)  # fmt: skip
def test_what_may_be_a_card_number(text: str, is_one: bool) -> None:
    assert mapping.is_card_number(text) is is_one
