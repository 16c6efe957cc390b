"""A small shop on disk: a customers file with one person per password format, imported through the doors."""

from __future__ import annotations

import base64
import csv
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import bcrypt
import pytest
from argon2 import PasswordHasher

from tocsin.credentials import actions
from tocsin.credentials.types import CutoverInfo, ImportReport
from tocsin.kernel.errors import Refused
from tocsin.kernel.private import Private
from tocsin.staff import actions as staff
from tocsin.staff import keyfiles
from tocsin.subjects import actions as subjects

AT = datetime(2026, 1, 15, 3, 0, tzinfo=UTC)
GOOD = "gravel lantern osprey Tuesday"
MAPPING = """
format = "tocsin-mapping/1"
external_id = "customer_id"
name = ["first_name", "last_name"]
email = "email"
[stores.customers]
email = ["email"]
"""
COLUMNS = ["customer_id", "first_name", "last_name", "email", "password_format", "password_hash"]


def hash_of(format: str, password: str) -> str:
    """Return a hash as such shops stored it, at the lowest price the format knows."""
    raw, salt = password.encode(), "Nx7"
    match format:
        case "md5":
            return hashlib.md5(raw).hexdigest()
        case "sha1_salted":
            return f"{salt}${hashlib.sha1(salt.encode() + raw).hexdigest()}"
        case "sha256_salted":
            return f"{salt}${hashlib.sha256(salt.encode() + raw).hexdigest()}"
        case "pbkdf2_sha256":
            return f"pbkdf2_sha256$1000${salt}${base64.b64encode(hashlib.pbkdf2_hmac('sha256', raw, salt.encode(), 1000)).decode()}"
        case "bcrypt":
            return bcrypt.hashpw(raw, bcrypt.gensalt(4)).decode()
        case "scrypt":
            made = hashlib.scrypt(raw, salt=salt.encode(), n=1024, r=8, p=1, dklen=64)
            return f"scrypt$1024${salt}$8$1${base64.b64encode(made).decode()}"
        case _:
            return PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(password)


@dataclass(frozen=True)
class Customer:
    """One customer and what only the customer knows."""

    external_id: str
    email: str
    password: str
    format: str


PEOPLE = tuple(
    Customer(f"C{n}", f"person.{n}.{format.replace('_', '-')}@mail.example", f"old secret {format} 7", format)
    for n, format in enumerate(("md5", "sha1_salted", "sha256_salted", "pbkdf2_sha256", "bcrypt", "scrypt", "argon2id"), 1)
)


def write(path: Path, rows: list[list[str]]) -> Path:
    """Write a customers file."""
    with path.open("w", newline="", encoding="utf-8") as f:
        csv.writer(f).writerows([COLUMNS, *rows])
    return path


def rows(people: tuple[Customer, ...] = PEOPLE) -> list[list[str]]:
    """Return the lines of a customers file."""
    return [[c.external_id, "Wilhelmina", "Okonkwo", c.email, c.format, hash_of(c.format, c.password)] for c in people]


def open_shop(home: Path, people: tuple[Customer, ...] = PEOPLE) -> ImportReport:
    """Import the customers and their old hashes."""
    file = write(home / "customers.csv", rows(people))
    mapping = home / "mapping.toml"
    mapping.write_text(MAPPING)
    subjects.import_file(file, mapping=mapping, rejects=None, at=AT, by="owner")
    return actions.import_hashes(file, at=AT, by="owner")


def enrol(home: Path) -> Path:
    """Enrol two people who may end all passwords together."""
    for name, roles in (("ada", ["identity", "commander"]), ("bob", ["legal"])):
        staff.add_operator(name=name, roles=roles, at=AT, by="owner")
    return home


def signed(home: Path, ask: Callable[[], object]) -> int:
    """Let an act ask for its approval, sign it twice, and return its id."""
    with pytest.raises(Refused, match="two signatures") as e:
        ask()
    assert e.value.approval is not None
    for name in ("ada", "bob"):
        staff.sign_with_key_file(e.value.approval, operator=name, key_file=keyfiles.folder(home) / f"{name}.key", at=AT)
    return e.value.approval


def cut(home: Path, *, incident: int | None = 1, armed: CutoverInfo | None = None, override: str = "") -> object:
    """Arm (unless armed), sign twice, commit."""
    info = armed or actions.arm(incident=incident, at=AT, by="ada")
    approval = signed(home, lambda: actions.commit(info.id, approval=None, at=AT, by="ada", override=override))
    return actions.commit(info.id, approval=approval, at=AT, by="ada", override=override)


def log_in(customer: Customer, password: str | None = None) -> str | None:
    """Sign a customer in through the door; tests of epochs try more often than the limit on wrong passwords lets anybody."""
    return actions.log_in(customer.email, Private(password or customer.password), at=AT, counted=False)
