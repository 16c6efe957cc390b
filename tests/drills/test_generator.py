"""Synthetic customers: same seed, same files; hashes that check; cards that pass Luhn; figures that an import must come to."""

from __future__ import annotations

import base64
import csv
import hashlib
import re
from collections import Counter
from pathlib import Path

import bcrypt
import pytest

from tocsin.drills import generator
from tocsin.drills.generator import Customer, Made
from tocsin.drills.places import STATES
from tocsin.kernel.errors import BadInput

SEED, N = 11, 4_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Give one set of files for all tests."""
    return generator.write(tmp_path_factory.mktemp("made"), customers=N, seed=SEED, bad=12)


def rows(made: Made) -> list[list[str]]:
    """Read the customers file as any importer would."""
    with made.customers_file.open(encoding="utf-8", newline="") as f:
        return list(csv.reader(f))


def good(made: Made) -> list[Customer]:
    """Return the good rows: well-formed, known id, first of its id."""
    found: dict[str, Customer] = {}
    for row in rows(made)[1:]:
        if len(row) == len(Customer._fields) and row[0].startswith("C"):
            found.setdefault(row[0], Customer(*row))
    return list(found.values())


def test_the_header_is_the_contract(made: Made) -> None:
    assert ",".join(rows(made)[0]) == (
        "customer_id,first_name,last_name,email,phone,bill_street,bill_city,bill_region,bill_postcode,bill_country,ship_street,ship_city,"
        "ship_region,ship_postcode,ship_country,locale,password_format,password_hash,created,last_login"
    )


def test_files_follow_from_the_seed(made: Made, tmp_path: Path) -> None:
    again = generator.write(tmp_path / "a", customers=N, seed=SEED, bad=12)
    other = generator.write(tmp_path / "b", customers=N, seed=SEED + 1, bad=12)
    assert again.customers_file.read_bytes() == made.customers_file.read_bytes()
    assert again.cards_file.read_bytes() == made.cards_file.read_bytes()
    assert other.customers_file.read_bytes() != made.customers_file.read_bytes()
    assert not list(tmp_path.rglob("*.part"))


def test_the_figures_are_those_of_the_file(made: Made) -> None:
    people = good(made)
    assert len(rows(made)) - 1 == made.read == N + 12
    assert len(people) == made.customers == N
    assert sum(made.bad_kinds.values()) == made.bad == 12
    assert set(made.bad_kinds) == {*generator.BAD_KINDS, "open_quote"}
    assert Counter(p.password_format for p in people) == made.formats
    assert (
        Counter(f"{p.bill_country}-{p.bill_region}" if p.bill_country in {"US", "CA"} else p.bill_country for p in people)
        == made.jurisdictions
    )
    assert people[17] == generator.customer(SEED, 17)


def test_bad_rows_are_bad_in_the_way_they_say(made: Made) -> None:
    seen: set[str] = set()
    kinds: Counter[str] = Counter()
    for row in rows(made)[1:]:
        if len(row) != len(Customer._fields):
            kinds["open_quote" if row[1:2] and "Open,Quote" in row[1] else "too_few_fields"] += 1
        elif row[0] in seen:
            kinds["duplicate_id"] += 1
        elif not row[3]:
            kinds["missing_email"] += 1
        elif "@" not in row[3]:
            kinds["bad_email"] += 1
        elif row[9] == "XQ":
            kinds["bad_country"] += 1
        seen.add(row[0])
    assert kinds == made.bad_kinds


def test_everybody_lives_somewhere_and_nobody_is_real(made: Made) -> None:
    people = good(made)
    assert len({p.email for p in people}) == N
    assert {p.bill_region for p in people if p.bill_country == "US"} >= {s.region for s in STATES if s.weight > 60}
    assert len(STATES) == 51
    assert 0.02 < sum(p.bill_country != "US" for p in people) / N < 0.08
    assert abs(sum(p.bill_region == "CA" and p.bill_country == "US" for p in people) / N - 0.115) < 0.02
    for p in people:
        domain = p.email.rpartition("@")[2]
        assert domain.endswith(".example") or domain in {"example.com", "example.net", "example.org"}
        assert re.fullmatch(r"[a-z.0-9]+", p.email.rpartition("@")[0])
        assert not p.phone or re.fullmatch(
            r"\+1 \d{3} 555 01\d\d|\+44 20 7946 0\d{3}|\+49 30 23125 \d{3}|\+33 1 99 00 \d\d \d\d|\+61 2 5550 \d{4}", p.phone
        )
        assert p.created[:10] >= "1999-06-01"
        assert not p.last_login or p.created <= p.last_login < "2012-01-15"
    assert any("," in p.bill_street for p in people)
    assert any(not p.phone for p in people)
    assert any(not p.last_login for p in people)
    assert any(p.bill_street != p.ship_street for p in people)


def test_every_hash_is_that_of_the_old_password(made: Made) -> None:
    tried: Counter[str] = Counter()
    for p in good(made):
        if tried[p.password_format] >= 20:
            continue
        tried[p.password_format] += 1
        password = generator.plain_password(SEED, p.customer_id).encode()
        if p.password_format == "md5":
            assert p.password_hash == hashlib.md5(password).hexdigest()
        elif p.password_format == "sha1_salted":
            salt, digest = p.password_hash.split("$")
            assert digest == hashlib.sha1(salt.encode() + password).hexdigest()
        elif p.password_format == "pbkdf2_sha256":
            name, n, salt, digest = p.password_hash.split("$")
            assert name == "pbkdf2_sha256"
            assert base64.b64decode(digest) == hashlib.pbkdf2_hmac("sha256", password, salt.encode(), int(n))
        else:
            assert bcrypt.checkpw(password, p.password_hash.encode())
            assert not bcrypt.checkpw(password + b"x", p.password_hash.encode())
    assert set(tried) == {"md5", "sha1_salted", "pbkdf2_sha256", "bcrypt"}


def luhn(number: str) -> bool:
    """Check by the textbook."""
    total = 0
    for i, c in enumerate(reversed(number)):
        d = int(c) * (2 if i % 2 else 1)
        total += d - 9 if d > 9 else d
    return total % 10 == 0


def test_cards_pass_luhn_and_lie_in_test_ranges(made: Made) -> None:
    with made.cards_file.open(newline="") as f:
        cards = list(csv.DictReader(f))
    assert len(cards) == made.cards
    assert 0.78 < len(cards) / N < 0.86
    assert len({c["card_number"] for c in cards}) == len(cards)
    heads = {
        "visa": ("411111", "400000", "401288"),
        "mastercard": ("555555", "510510", "222300"),
        "amex": ("378282", "371449"),
        "discover": ("601111", "601100"),
    }
    for c in cards:
        assert luhn(c["card_number"])
        assert c["card_number"].startswith(heads[c["brand"]])
        assert len(c["card_number"]) == (15 if c["brand"] == "amex" else 16)
        assert re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])", c["expiry_month"])
    assert {c["brand"] for c in cards} == set(heads)


def test_passwords_differ_by_seed_and_person_and_new_ones_are_long() -> None:
    assert generator.plain_password(1, "C00000001") == generator.plain_password(1, "C00000001")
    assert len({generator.plain_password(s, f"C{n:08d}") for s in range(3) for n in range(500)}) > 1_490
    assert all(len(generator.new_password(1, f"C{n:08d}")) >= 15 for n in range(500))
    assert generator.new_password(1, "C00000001") != generator.plain_password(1, "C00000001")


@pytest.mark.parametrize(("customers", "size"), [(1, 1), (10, 10), (24_000, 500), (24_000_000, 200), (7, 50), (0, 5)])
def test_a_sample_holds_different_people_and_repeats(customers: int, size: int) -> None:
    found = list(generator.sample(3, customers=customers, size=size))
    assert len(found) == len(set(found)) == min(size, customers)
    assert all(0 <= n < customers for n in found)
    assert found == list(generator.sample(3, customers=customers, size=size))


def test_light_views_agree_with_the_whole_person() -> None:
    for n in (0, 5, 23_999_999):
        person = generator.customer(SEED, n)
        assert generator.email_of(SEED, n) == person.email
        assert generator.name_of(SEED, n) == (person.first_name, person.last_name)


def test_counts_out_of_range_are_refused(tmp_path: Path) -> None:
    for customers, bad in ((0, 0), (100_000_000, 0), (5, 6)):
        with pytest.raises(BadInput):
            generator.write(tmp_path, customers=customers, seed=1, bad=bad)
    assert not list(tmp_path.iterdir())
    assert generator.write(tmp_path, customers=5, seed=1, bad=0).read == 5
