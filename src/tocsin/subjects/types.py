"""Values of the subjects room that cross its wall."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tocsin.kernel.private import Private

BASES = ("verified", "billing", "shipping", "phone", "ip", "none")
ADDRESS_KINDS = ("verified", "billing", "shipping")  # best evidence of residence first
CONTACT_KINDS = ("email", "phone", *ADDRESS_KINDS)
UNKNOWN = "ZZ"
CHANGED_BY = ("import", "customer", "operator")


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of a file: read = accepted + rejected; `updated` is the part of accepted that was known before."""

    read: int
    accepted: int
    updated: int
    rejected: int
    rejects_file: Path | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Contactable:
    """One person with an e-mail address, opened. `provider` groups addresses by who receives their mail."""

    subject: int
    salt: bytes
    external_id: str
    address: Private[str]
    name: Private[str]
    locale: str
    provider: str
    jurisdiction: str


@dataclass(frozen=True, slots=True)
class Postal:
    """One person with a postal address, opened: `address` has street (lines), city, region, postcode, country. `kind`: of ADDRESS_KINDS."""

    subject: int
    external_id: str
    name: Private[str]
    address: Private[dict[str, str]]
    locale: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class FormerContact:
    """An e-mail address that somebody had until it was changed, opened. An import may have learned of the change later than it was made."""

    subject: int
    address: Private[str]
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Residence:
    """Where a person lives, as far as known, and by which evidence (one of BASES)."""

    jurisdiction: str
    basis: str


@dataclass(frozen=True, slots=True)
class EmailAddress:
    """A checked address: `address` to send to, `key` by which equal mailboxes are equal, and the provider that receives it."""

    address: str
    key: str
    provider: str

    @property
    def domain(self) -> str:
        """Return the domain, in ASCII and lower case."""
        return self.address.rpartition("@")[2]


@dataclass(frozen=True, slots=True)
class AddressColumns:
    """Which columns make up one postal address; None where the file has none."""

    street: tuple[str, ...]
    city: str | None
    region: str | None
    postcode: str | None
    country: str | None


@dataclass(frozen=True, slots=True)
class FileMapping:
    """A mapping file: what each column of a customers file means. `stores` is store -> element code -> columns that show it."""

    external_id: str
    name: tuple[str, ...]
    email: str | None
    phone: str | None
    locale: str | None
    ip_country: str | None
    country_default: str
    locale_default: str
    addresses: Mapping[str, AddressColumns]
    stores: Mapping[str, Mapping[str, tuple[str, ...]]]
    cards_store: str | None
    delimiter: str = ","
    email_required: bool = True
    last_activity: str | None = None
    email_further: tuple[str, ...] = ()

    def columns(self) -> dict[str, str]:
        """Return each column the mapping names, with the first place that names it."""
        found: dict[str, str] = {}
        single = {
            "external_id": self.external_id,
            "email": self.email,
            "phone": self.phone,
            "locale": self.locale,
            "ip_country": self.ip_country,
            "last_activity": self.last_activity,
        }
        for place, column in single.items():
            if column is not None:
                found.setdefault(column, place)
        for n, column in enumerate(self.email_further, 2):
            found.setdefault(column, f"email_{n}")
        for column in self.name:
            found.setdefault(column, "name")
        for kind, a in self.addresses.items():
            for column in (*a.street, a.city, a.region, a.postcode, a.country):
                if column is not None:
                    found.setdefault(column, f"address.{kind}")
        for store, elements in self.stores.items():
            for code, columns in elements.items():
                for column in columns:
                    found.setdefault(column, f"stores.{store}.{code}")
        return found
