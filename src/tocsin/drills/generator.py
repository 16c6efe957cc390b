"""Synthetic customers from a seed: the customers file, the cards file, each one's old password, and the figures an import must come to.

Design: customer `n` of a seed is a pure function of both (`customer(seed, n)`), so nothing is held in memory, 24 million rows stream, and
simulated people need no file to know who they are. Randomness is the 64 octets of a keyed BLAKE2b of `n`.

Formats: the two CSV files of the drill (UTF-8, header, LF; a field with a comma stands in quotes)
    customers  customer_id … last_login in the order of `Customer`; password_hash by password_format:
               md5 = hex of md5(password); sha1_salted = salt$hex of sha1(salt + password); pbkdf2_sha256 = pbkdf2_sha256$N$salt$base64;
               bcrypt = $2b$04$… (OpenBSD)
    cards      customer_id,card_number,expiry_month,brand      numbers pass Luhn and lie in the ranges of published test cards

A few rows are bad on purpose (`BAD_KINDS`), so that an import has something to refuse: read = customers + bad, rejected = bad.
Nothing here is a secret: e-mail domains are reserved (RFC 2606, 6761), phones lie in ranges kept for fiction.
Measured on one core: 48,500 customers/s with the default mix of hashes, their cards included.
"""

from __future__ import annotations

import base64
import csv
import functools
import io
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from hashlib import blake2b, md5, pbkdf2_hmac, sha1
from math import gcd
from pathlib import Path
from struct import Struct
from typing import NamedTuple

import bcrypt

from tocsin.kernel.errors import BadInput

from .places import ABROAD, DOMAINS, FIRST, KINDS, LAST, STATES, STREETS, Place

CUSTOMERS_MAX = 100_000_000 - 1  # customer ids have eight digits
CHUNK_ROWS = 2_000
BAD_KINDS = ("missing_email", "bad_email", "duplicate_id", "bad_country", "too_few_fields")  # and, as the very last row, an open quote
PBKDF2_ITERATIONS = 1_000
BCRYPT_COST = 4
ABROAD_PER_10000 = 450
CARDS_PER_10000 = 8_200
# Per 10,000. The slow ones are few, because a drill must start soon.
_FORMATS = (("md5", 5_200), ("sha1_salted", 4_680), ("pbkdf2_sha256", 100), ("bcrypt", 20))
_OPENED, _LAST_DAY = date(1999, 6, 1), date(2012, 1, 14)
_WORDS_TEXT = """
amber anchor apple arrow autumn badge bakery basket beacon birch blanket bottle branch bridge bucket butter button cabin candle canyon
carbon castle cedar circle cliff clover cobalt copper coral cotton crayon cricket crystal daisy desert dragon eagle ember engine falcon
feather fiddle finger flower forest fossil garden garlic ginger glacier gravel guitar hammer harbor hazel helmet honey island jacket
jasmine jungle kettle ladder lagoon lantern lemon lettuce lizard magnet maple marble meadow melon mirror monkey mosaic muffin needle
nickel nugget ocean olive onion orchid otter oyster paddle panther parrot pebble pencil pepper pickle pillow planet pocket pollen potato
puzzle rabbit raven ribbon river rocket saddle salmon sandal saturn shadow silver socket spider spruce summer sunset tablet temple thunder
ticket tiger timber tomato trumpet tulip tunnel turtle velvet violet walnut whistle willow window winter yellow zipper
"""
_WORDS = tuple(_WORDS_TEXT.split())
_CAPITALS = tuple(word.capitalize() for word in _WORDS)
_BRANDS = (("visa", ("411111", "400000", "401288"), 16, 52), ("mastercard", ("555555", "510510", "222300"), 16, 26),
           ("amex", ("378282", "371449"), 15, 13), ("discover", ("601111", "601100"), 16, 9))
_U32 = Struct("<16I")


class Customer(NamedTuple):
    """One customer as the customers file holds them; the fields in its order."""

    customer_id: str
    first_name: str
    last_name: str
    email: str
    phone: str
    bill_street: str
    bill_city: str
    bill_region: str
    bill_postcode: str
    bill_country: str
    ship_street: str
    ship_city: str
    ship_region: str
    ship_postcode: str
    ship_country: str
    locale: str
    password_format: str
    password_hash: str
    created: str
    last_login: str


class Card(NamedTuple):
    """One line of the cards file."""

    customer_id: str
    card_number: str
    expiry_month: str
    brand: str


@dataclass(slots=True)
class Made:
    """What was written, and what an import of it must find."""

    customers_file: Path
    cards_file: Path
    customers: int = 0
    bad: int = 0
    cards: int = 0
    bad_kinds: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    jurisdictions: Counter[str] = field(default_factory=Counter)  # of billing addresses

    @property
    def read(self) -> int:
        """Return how many rows an import must read."""
        return self.customers + self.bad


def _table(weights: list[tuple[int, int]], size: int = 1 << 13) -> list[int]:
    """Return `size` indexes in proportion to their weights, so that one number modulo `size` is a weighted choice."""
    total = sum(w for _, w in weights)
    table: list[int] = []
    reached = 0
    for index, weight in weights:
        reached += weight
        table.extend([index] * (round(reached * size / total) - len(table)))
    return table


def _plain(name: str) -> str:
    """Return a name as it stands in an e-mail address: ASCII letters in lower case."""
    text = name.replace("ß", "ss").replace("ø", "o").replace("ł", "l").replace("ı", "i")
    return "".join(c for c in unicodedata.normalize("NFKD", text).lower() if c.isascii() and c.isalpha())


_SIZE = 1 << 13
_STATE_TABLE = _table([(i, p.weight) for i, p in enumerate(STATES)])
_ABROAD_TABLE = _table([(i, p.weight) for i, p in enumerate(ABROAD)])
_DOMAIN_TABLE = _table([(i, w) for i, (_, w) in enumerate(DOMAINS)])
_FORMAT_TABLE = _table([(i, w) for i, (_, w) in enumerate(_FORMATS)], 10_000)
_BRAND_TABLE = _table([(i, w) for i, (*_, w) in enumerate(_BRANDS)], 100)
_FIRST_PLAIN = tuple(_plain(name) for name in FIRST)
_LAST_PLAIN = tuple(_plain(name) for name in LAST)
_DAYS = tuple((_OPENED + timedelta(days=n)).isoformat() for n in range((_LAST_DAY - _OPENED).days + 1))
_N_FIRST, _N_LAST, _N_DAYS = len(FIRST), len(LAST), len(_DAYS)
_TWO = tuple(f"{n:02d}" for n in range(100))
_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"
_BCRYPT64 = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def customer_id(n: int) -> str:
    """Return the id of customer `n`, counted from 0."""
    return f"C{n:08d}"


def plain_password(seed: int, customer: str) -> str:
    """Return the old password of a customer: two words and a number, as people choose them. Never stored anywhere but in their head."""
    draw, first = divmod(_mac(seed, b"old", customer), len(_WORDS))
    draw, second = divmod(draw, len(_WORDS))
    return f"{_WORDS[first]}{_CAPITALS[second]}{draw % 1000}"


def new_password(seed: int, customer: str) -> str:
    """Return the password a customer chooses at the reset: four words and a number, well over 15 characters."""
    draw = _mac(seed, b"new", customer)
    count = len(_WORDS)
    return " ".join(_WORDS[draw // count ** k % count] for k in range(4)) + f" {draw % 9_000 + 1_000}"


def customer(seed: int, n: int) -> Customer:
    """Return customer `n` of a seed. Pure: the same two numbers give the same person."""
    r = _draw(seed, n)
    ident = customer_id(n)
    place = ABROAD[_ABROAD_TABLE[r[1] % _SIZE]] if r[0] % 10_000 < ABROAD_PER_10000 else STATES[_STATE_TABLE[r[1] % _SIZE]]
    first, last = r[2] % _N_FIRST, r[3] % _N_LAST
    bill = _address(place, r[4], r[5])
    ship = bill if r[6] % 10 < 8 else _address(STATES[_STATE_TABLE[r[7] % _SIZE]] if place.country == "US" else place, r[8], r[9])
    created = r[11] % _N_DAYS
    login = created + r[12] % (_N_DAYS - created) if r[13] % 12 else -1
    seconds = r[14] % 86_400
    clock = f"T{_TWO[seconds // 3600]}:{_TWO[seconds // 60 % 60]}:{_TWO[seconds % 60]}Z"
    locale = "es-US" if place.country == "US" and r[6] % 100 < 7 else place.locale
    form = _FORMATS[_FORMAT_TABLE[r[10] % 10_000]][0]
    return Customer(ident, FIRST[first], LAST[last],
                    f"{_FIRST_PLAIN[first]}.{_LAST_PLAIN[last]}.{_base36(n)}@{DOMAINS[_DOMAIN_TABLE[r[15] % _SIZE]][0]}",
                    _phone(place, r[13]), *bill, *ship, locale, form, _hash(form, plain_password(seed, ident), r),
                    _DAYS[created] + clock, _DAYS[login] + clock if login >= 0 else "")


def email_of(seed: int, n: int) -> str:
    """Return the e-mail address of customer `n`, without the cost of the hash."""
    r = _draw(seed, n)
    return (f"{_FIRST_PLAIN[r[2] % _N_FIRST]}.{_LAST_PLAIN[r[3] % _N_LAST]}.{_base36(n)}"
            f"@{DOMAINS[_DOMAIN_TABLE[r[15] % _SIZE]][0]}")


def name_of(seed: int, n: int) -> tuple[str, str]:
    """Return first and last name of customer `n`."""
    r = _draw(seed, n)
    return FIRST[r[2] % _N_FIRST], LAST[r[3] % _N_LAST]


def card(seed: int, n: int) -> Card | None:
    """Return the card of customer `n`, or None: about one in six paid otherwise."""
    r = _draw(seed ^ 0x63617264, n)
    if r[0] % 10_000 >= CARDS_PER_10000:
        return None
    brand, heads, length, _ = _BRANDS[_BRAND_TABLE[r[1] % 100]]
    head = heads[r[2] % len(heads)]
    body = length - len(head) - 1
    # Multiplying by a number without factors 2 and 5 only shuffles the values below a power of ten: no number comes twice per head.
    digits = head + str((n * 387_420_489 + seed * 7_919) % 10 ** body).zfill(body)
    return Card(customer_id(n), digits + _luhn_digit(digits), f"{2012 + r[3] % 5}-{r[4] % 12 + 1:02d}", brand)


def sample(seed: int, *, customers: int, size: int) -> Iterator[int]:
    """Yield `size` different customer numbers below `customers` (all, if there are no more), in an order that follows from the seed."""
    if not customers:
        return
    draw = _draw(seed ^ 0x73616D70, customers)
    step = draw[0] % customers or 1
    while gcd(step, customers) != 1:
        step += 1
    at = draw[1] % customers
    for _ in range(min(size, customers)):
        yield at
        at = (at + step) % customers


def write(folder: Path, *, customers: int, seed: int, bad: int = 12, progress: Callable[[int], None] | None = None) -> Made:
    """Write `customers.csv` and `cards.csv` into a folder and return what they hold. `progress` hears the rows written so far.

    Existing files are replaced only when both are complete. Raises BadInput for counts out of range.
    """
    if not 0 < customers <= CUSTOMERS_MAX or not 0 <= bad <= customers:
        raise BadInput.of("customers", (customers, bad), f"1 to {CUSTOMERS_MAX} customers and no more bad rows than those")
    folder.mkdir(parents=True, exist_ok=True)
    made = Made(folder / "customers.csv", folder / "cards.csv", customers=customers, bad=bad)
    parts = [made.customers_file.with_suffix(".part"), made.cards_file.with_suffix(".part")]
    with parts[0].open("w", encoding="utf-8", newline="") as people, parts[1].open("w", encoding="utf-8", newline="") as cards:
        people.write(",".join(Customer._fields) + "\n")
        cards.write(",".join(Card._fields) + "\n")
        every = max(1, customers // bad) if bad else customers + 1
        for start in range(0, customers, CHUNK_ROWS):
            end = min(start + CHUNK_ROWS, customers)
            people.write("".join(_rows(seed, start, end, every, made)))
            found = [",".join(c) + "\n" for n in range(start, end) if (c := card(seed, n))]
            cards.write("".join(found))
            made.cards += len(found)
            if progress:
                progress(end)
        if bad:
            # The open quote stands last: a reader that runs on to the end of the file must not swallow a good row.
            people.write(f'X{customers:08d},"Open,Quote,open.quote@mail.example\n')
            made.bad_kinds["open_quote"] += 1
    parts[0].replace(made.customers_file)
    parts[1].replace(made.cards_file)
    return made


def _rows(seed: int, start: int, end: int, every: int, made: Made) -> Iterator[str]:
    states = made.jurisdictions
    for n in range(start, end):
        row = customer(seed, n)
        states[f"{row.bill_country}-{row.bill_region}" if row.bill_country in {"US", "CA"} else row.bill_country] += 1
        made.formats[row.password_format] += 1
        yield _line(row)
        written = sum(made.bad_kinds.values())
        if (n + 1) % every == 0 and written < made.bad - 1:
            kind = BAD_KINDS[written % len(BAD_KINDS)]
            made.bad_kinds[kind] += 1
            yield _bad(kind, row, n)


def _line(row: Customer) -> str:
    line = ",".join(row)
    if line.count(",") == len(row) - 1:
        return line + "\n"
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(row)
    return out.getvalue()


def _bad(kind: str, row: Customer, n: int) -> str:
    """Return a faulty neighbour of a good row."""
    stranger = row._replace(customer_id=f"X{n:08d}", email=f"x.{row.email}")
    if kind == "missing_email":
        return _line(stranger._replace(email=""))
    if kind == "bad_email":
        return _line(stranger._replace(email=stranger.email.replace("@", " at ")))
    if kind == "duplicate_id":
        return _line(row)
    if kind == "bad_country":
        return _line(stranger._replace(bill_country="XQ", bill_region="??"))
    return ",".join(stranger[:7]) + "\n"


def _draw(seed: int, n: int) -> tuple[int, ...]:
    state = _keyed(seed).copy()
    state.update(n.to_bytes(8, "little"))
    return _U32.unpack(state.digest())


def _mac(seed: int, purpose: bytes, text: str) -> int:
    state = _keyed(seed, purpose).copy()
    state.update(text.encode())
    return int.from_bytes(state.digest()[:16], "little")


@functools.cache
def _keyed(seed: int, purpose: bytes = b"") -> blake2b:
    """Return the hash with its key block already worked in; copying it saves half the work of each draw."""
    return blake2b(key=(seed & (1 << 64) - 1).to_bytes(8, "little") + purpose)


def _base36(n: int) -> str:
    text = ""
    while True:
        n, rest = divmod(n, 36)
        text = _BASE36[rest] + text
        if not n:
            return text


def _address(place: Place, a: int, b: int) -> tuple[str, str, str, str, str]:
    town, head = place.towns[a % len(place.towns)]
    street = f"{b % 9_800 + 1} {STREETS[a // 7 % len(STREETS)]} {KINDS[b // 11 % len(KINDS)]}"
    if a % 8 == 0:
        street += f", Apt {b % 48 + 1}" if a % 16 == 0 else f" #{b % 48 + 1}"
    return street, town, place.region, _POSTCODES.get(place.country, _two_digits)(head, b), place.country


def _two_digits(head: str, b: int) -> str:
    return f"{head}{b % 100:02d}"


_GB, _CA = "ABDEFGHJLNPQRSTUWXYZ", "ABCEGHJKLMNPRSTVWXYZ"
_POSTCODES: dict[str, Callable[[str, int], str]] = {
    "CA": lambda head, b: f"{head} {b % 10}{_CA[b // 10 % 20]}{b // 200 % 10}",
    "GB": lambda head, b: f"{head} {b % 9 + 1}{_GB[b // 9 % 20]}{_GB[b // 180 % 20]}",
    "NL": lambda head, b: f"{head}{b % 10} {_GB[b // 10 % 20]}{_GB[b // 200 % 20]}",
    "SE": lambda head, b: f"{head} {b % 100:02d}",
    "IE": lambda head, b: f"{head} {'ACDEFHKN'[b % 8]}{b // 8 % 900 + 100}",
    "BR": lambda head, b: f"{head}{b % 100:02d}-{b // 100 % 1000:03d}",
    "JP": lambda head, b: f"{head}-{b % 10_000:04d}",
}
_PHONES: dict[str, Callable[[int], str]] = {
    "GB": lambda d: f"+44 20 7946 0{d % 1000:03d}",
    "DE": lambda d: f"+49 30 23125 {d % 1000:03d}",
    "FR": lambda d: f"+33 1 99 00 {d % 100:02d} {d // 100 % 100:02d}",
    "AU": lambda d: f"+61 2 5550 {d % 10_000:04d}",
}


def _phone(place: Place, draw: int) -> str:
    if place.country in {"US", "CA"}:
        return f"+1 {place.area} 555 01{draw % 100:02d}" if draw % 9 else ""
    form = _PHONES.get(place.country)
    return form(draw) if form else ""


def _hash(form: str, password: str, r: tuple[int, ...]) -> str:
    """Return the hash as the old shop stored it. MD5 and SHA-1 are the point: such shops had them."""
    if form == "md5":
        return md5(password.encode(), usedforsecurity=False).hexdigest()
    if form == "sha1_salted":
        salt = f"{r[0]:08x}"
        return f"{salt}${sha1((salt + password).encode(), usedforsecurity=False).hexdigest()}"
    if form == "pbkdf2_sha256":
        salt = f"{r[0]:08x}{r[1]:08x}"
        made = pbkdf2_hmac("sha256", password.encode(), salt.encode(), PBKDF2_ITERATIONS)
        return f"pbkdf2_sha256${PBKDF2_ITERATIONS}${salt}${base64.b64encode(made).decode()}"
    bits = r[0] | r[1] << 32 | r[2] << 64 | r[3] << 96
    salt = "".join(_BCRYPT64[bits >> 6 * k & 63] for k in range(21)) + ".Oeu"[bits >> 126 & 3]
    return bcrypt.hashpw(password.encode(), f"$2b${BCRYPT_COST:02d}${salt}".encode()).decode()


_DOUBLED = bytes(48 + (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)[c - 48] if 48 <= c < 58 else c for c in range(256))


def _luhn_digit(digits: str) -> str:
    """Return the check digit behind `digits`. Source: ISO/IEC 7812-1 annex B."""
    octets = digits.encode()
    return str((48 * len(octets) - sum(octets[::-2].translate(_DOUBLED)) - sum(octets[-2::-2])) % 10)
