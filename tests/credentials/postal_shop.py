"""A shop whose customers have languages and postal addresses, and an incident that reached some of them."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.credentials.shop import Customer, enrol, hash_of
from tocsin.credentials import actions
from tocsin.incidents import actions as incidents
from tocsin.incidents.types import Declaration
from tocsin.inventory import actions as inventory
from tocsin.kernel.errors import Refused
from tocsin.staff import actions as staff
from tocsin.staff import keyfiles
from tocsin.subjects import actions as subjects

AT = datetime(2026, 1, 15, 3, 0, tzinfo=UTC)
DATAMAP = Path(__file__).parents[2] / "scenarios" / "zappos-2012" / "datamap.yaml"
MAPPING = """
format = "tocsin-mapping/1"
external_id = "customer_id"
name = ["first_name", "last_name"]
email = "email"
locale = "locale"
[address.billing]
street = ["street"]
city = "city"
region = "region"
postcode = "postcode"
country = "country"
[stores.customers]
name = ["first_name", "last_name"]
email = ["email"]
password_hash = ["password_hash"]
"""
COLUMNS = ["customer_id", "first_name", "last_name", "email", "locale", "street", "city", "region", "postcode", "country"]
COLUMNS += ["password_format", "password_hash"]
LOCALES = ("en", "es-MX", "fr_FR", "de", "pt-BR", "zh-CN", "ja")
REACHED = tuple(Customer(f"P{n}", f"reached.{n}@mail.example", f"old secret {n} 7", "md5") for n in range(len(LOCALES)))
LATER = Customer("P99", "later@mail.example", "old secret 99 7", "md5")
POSTCODE = "SW1A 1AA"


def register(home: Path, people: tuple[Customer, ...], *, locales: tuple[str, ...] = ("en",)) -> None:
    """Import customers with their hashes, languages and addresses."""
    file, mapping = home / f"{people[0].external_id}.csv", home / "postal.toml"
    mapping.write_text(MAPPING)
    with file.open("w", newline="", encoding="utf-8") as out:
        table = csv.writer(out)
        table.writerow(COLUMNS)
        for n, c in enumerate(people):
            where = ["1 High Street", "London", "", POSTCODE, "GB"]
            table.writerow(
                [c.external_id, "Jo", f"Sample{n}", c.email, locales[n % len(locales)], *where, c.format, hash_of(c.format, c.password)]
            )
    subjects.import_file(file, mapping=mapping, rejects=None, at=AT, by="owner")
    actions.import_hashes(file, at=AT, by="owner")


def open_postal_shop(home: Path) -> int:
    """Register REACHED, declare and scope an incident that reached their store, then register LATER; return the incident."""
    enrol(home)
    register(home, REACHED, locales=LOCALES)
    incident = scoped(home)
    register(home, (LATER,))
    return incident


def scoped(home: Path) -> int:
    """Declare an incident, signed by two, and freeze whom it reached; return it."""
    inventory.load_map([DATAMAP], at=AT, by="ada")
    declared = Declaration(name="Kentucky server", cause="a stranger came in through a server", hosts=("web_ky",))
    with pytest.raises(Refused) as asked:
        incidents.declare(declared, approval=None, at=AT, by="ada")
    assert asked.value.approval is not None
    for name in ("ada", "bob"):
        staff.sign_with_key_file(asked.value.approval, operator=name, key_file=keyfiles.folder(home) / f"{name}.key", at=AT)
    incident = incidents.declare(declared, approval=asked.value.approval, at=AT, by="ada")
    incidents.scope(incident, at=AT, by="ada")
    return incident
