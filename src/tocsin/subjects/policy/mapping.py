"""Mapping files: what each column of a customers file means. TOML:

    format = "tocsin-mapping/1"
    external_id = "customer_id"             # column; the company's own number of the account
    name = ["first_name", "last_name"]      # columns, joined by a space
    email = "email"                         # optional, as all below
    email_required = true                   # false: people without an address are taken in too, and get letters
    email_2 = "email_work"                  # further addresses, tried in this order when the one before is of no more use; email_3 too
    phone = "phone"
    locale = "locale"
    ip_country = "last_login_country"       # ISO 3166-1 code of the country the last IP address lay in
    last_activity = "last_login"            # ISO 8601 day, or an instant that begins with one; in which order people are told
    delimiter = ","
    [defaults]
    country = "US"                          # of an address that has text but no country, and of numbers without prefix
    locale = "en"
    [address.billing]                       # also address.shipping, address.verified
    street = ["bill_street"]                # columns, one line each
    city, region, postcode, country         # one column each
    [stores.customers]                      # key of the store in the data map
    email = ["email"]                       # element code = columns; a person has the element if one of them is filled
    [cards]
    store = "orders"                        # the store in which tokens and last four digits lie

The columns need not be exclusive; columns of the file that no line names are ignored.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from tocsin.inventory.types import ELEMENTS, mask_of
from tocsin.kernel.errors import BadInput, Fault

from ..types import ADDRESS_KINDS, AddressColumns, FileMapping
from .residence import country_of

FORMAT = "tocsin-mapping/1"
STORES_MAX = 1_000
CARD_ELEMENT = "payment_card_last4"
_SINGLE = ("external_id", "email", "phone", "locale", "ip_country", "last_activity")
_FURTHER = ("email_2", "email_3")
_TOP = ("format", "name", "delimiter", "email_required", "defaults", "address", "stores", "cards", *_SINGLE, *_FURTHER)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}(?![0-9])")
_ADDRESS = ("street", "city", "region", "postcode", "country")


def parse_mapping(raw: Mapping[str, Any]) -> FileMapping:
    """Return the mapping that a parsed TOML document describes. Raises BadInput with every fault in it."""
    read = _Reader()
    read.known("", raw, _TOP)
    if raw.get("format") != FORMAT:
        read.fault("format", raw.get("format"), repr(FORMAT))
    single = {key: read.text(raw, key) for key in _SINGLE}
    if single["external_id"] is None and "external_id" not in raw:
        read.fault("external_id", None, "the column that identifies an account")
    further = [read.text(raw, key) for key in _FURTHER]
    if any(further) and not (single["email"] and all(further[: sum(map(bool, further))])):
        read.fault("email_2", further, "further addresses after email, without a gap")
    delimiter = raw.get("delimiter", ",")
    if not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n':
        read.fault("delimiter", delimiter, "one character, neither a quote nor a line break")
    email_required = raw.get("email_required", True)
    if not isinstance(email_required, bool):
        read.fault("email_required", email_required, "true or false")
    defaults = read.table(raw, "defaults")
    read.known("defaults", defaults, ("country", "locale"))
    country = read.text(defaults, "country", "defaults.") or ""
    if country and country_of(country) is None:
        read.fault("defaults.country", country, "an ISO 3166-1 code of two letters")
    cards = read.table(raw, "cards")
    read.known("cards", cards, ("store",))
    cards_store = read.text(cards, "store", "cards.")
    if "cards" in raw and cards_store is None:
        read.fault("cards.store", None, "the store in which tokens lie")
    mapping = FileMapping(
        external_id=single["external_id"] or "",
        name=read.texts(raw, "name"),
        email=single["email"],
        phone=single["phone"],
        locale=single["locale"],
        ip_country=single["ip_country"],
        last_activity=single["last_activity"],
        country_default=country_of(country) or "",
        locale_default=read.text(defaults, "locale", "defaults.") or "en",
        addresses=_addresses(read, raw),
        stores=_stores(read, raw),
        cards_store=cards_store,
        delimiter=delimiter if isinstance(delimiter, str) else ",",
        email_required=email_required is True,
        email_further=tuple(column for column in further if column),
    )
    if read.faults:
        raise BadInput(read.faults)
    return mapping


def _addresses(read: _Reader, raw: Mapping[str, Any]) -> dict[str, AddressColumns]:
    tables = read.table(raw, "address")
    read.known("address", tables, ADDRESS_KINDS)
    found = {}
    for kind in ADDRESS_KINDS:
        if kind in tables:
            where, one = f"address.{kind}", read.table(tables, kind, "address.")
            read.known(where, one, _ADDRESS)
            part = {key: read.text(one, key, f"{where}.") for key in _ADDRESS[1:]}
            found[kind] = AddressColumns(street=read.texts(one, "street", f"{where}."), **part)
    return found


def _stores(read: _Reader, raw: Mapping[str, Any]) -> dict[str, dict[str, tuple[str, ...]]]:
    tables = read.table(raw, "stores")
    if not tables:
        read.fault("stores", raw.get("stores"), "at least one table [stores.KEY] of element codes")
    if len(tables) > STORES_MAX:
        read.fault("stores", len(tables), f"at most {STORES_MAX}")
    found = {}
    for store in tables:
        one = read.table(tables, store, "stores.")
        read.known(f"stores.{store}", one, tuple(ELEMENTS), "a raw element code")
        if not one:
            read.fault(f"stores.{store}", one, "at least one element code with its columns")
        found[store] = {code: read.texts(one, code, f"stores.{store}.", required=True) for code in one if code in ELEMENTS}
    return found


class _Reader:
    """Takes typed values out of a TOML document and collects what is wrong with it."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def fault(self, field: str, got: object, wanted: str) -> None:
        self.faults.append(Fault(field, "nothing" if got is None else repr(got), wanted))

    def known(self, where: str, table: Mapping[str, Any], keys: Iterable[str], what: str = "") -> None:
        for key in table:
            if key not in keys:
                self.fault(f"{where}.{key}".lstrip("."), key, what or f"one of {', '.join(keys)}")

    def table(self, raw: Mapping[str, Any], key: str, where: str = "") -> Mapping[str, Any]:
        value = raw.get(key, {})
        if isinstance(value, Mapping):
            return value
        self.fault(where + key, value, "a table")
        return {}

    def text(self, raw: Mapping[str, Any], key: str, where: str = "") -> str | None:
        value = raw.get(key)
        if value is None or (isinstance(value, str) and value):
            return value
        self.fault(where + key, value, "a text that is not empty")
        return None

    def texts(self, raw: Mapping[str, Any], key: str, where: str = "", *, required: bool = False) -> tuple[str, ...]:
        value = raw.get(key, [])
        good = isinstance(value, list) and all(isinstance(v, str) and v for v in value)
        if not good or (required and not value):
            self.fault(where + key, value, "a list of column names")
            return ()
        return tuple(value)


def check_header(header: list[str], mapping: FileMapping) -> list[Fault]:
    """Return what is wrong with the first line of a file, given its mapping; empty when it fits."""
    faults = [
        Fault(f"column {name!r}", f"{header.count(name)} times", "once", 1) for name in sorted({h for h in header if header.count(h) > 1})
    ]
    faults += [
        Fault(place, f"no column {column!r}", f"one of the file's columns: {', '.join(header)}", 1)
        for column, place in mapping.columns().items()
        if column not in header
    ]
    return faults


def holding_of(filled: frozenset[str], mapping: FileMapping) -> dict[str, int]:
    """Return the holding profile (store -> mask) of a person whose `filled` columns are not empty. Stores without an element are left out."""
    found = {}
    for store, elements in mapping.stores.items():
        if mask := mask_of(code for code, columns in elements.items() if not filled.isdisjoint(columns)):
            found[store] = mask
    return found


def with_card(holding: Mapping[str, int], store: str) -> dict[str, int]:
    """Return the profile of the same person once a card token is known in `store`. Doing it twice changes nothing."""
    return {**holding, store: holding.get(store, 0) | mask_of([CARD_ELEMENT])}


def profile_digest(holding: Mapping[str, int]) -> bytes:
    """Return the 32 bytes that stand for a profile: SHA-256 over `store NUL mask LF` in the order of the stores' names."""
    return hashlib.sha256("".join(f"{store}\0{mask}\n" for store, mask in sorted(holding.items())).encode()).digest()


def day_of(text: str) -> date | None:
    """Return the day of an ISO 8601 date or instant (its first ten characters, YYYY-MM-DD); None if it is none."""
    try:
        return date.fromisoformat(text[:10]) if _DAY.match(text) else None
    except ValueError:
        return None


def is_card_number(text: str) -> bool:
    """Tell whether a text could be a card number (12 to 19 digits that pass the Luhn check, ISO/IEC 7812-1): those never come in here."""
    digits = text.replace(" ", "").replace("-", "")
    if not (digits.isascii() and digits.isdigit() and 12 <= len(digits) <= 19):
        return False
    doubled = [int(d) * (1 + i % 2) for i, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0
