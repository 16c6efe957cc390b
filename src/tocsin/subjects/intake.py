"""From the rows of a customers file to sealed rows ready for COPY: check, seal, and say what is wrong with the others."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tocsin.kernel.sealing import lookup_digest, seal

from .lines import Row
from .policy import mailbox, mapping, residence
from .types import AddressColumns, EmailAddress, FileMapping, Residence

SALT_BYTES = 16
CELL_CHARS_MAX = 1_000


@dataclass(slots=True)
class Batch:
    """One batch on its way: sealed subjects and contacts, and the rejects of its rows."""

    subjects: list[tuple[Any, ...]] = field(default_factory=list)
    contacts: list[tuple[Any, ...]] = field(default_factory=list)
    rejects: list[tuple[int, str, str]] = field(default_factory=list)
    updated: int = 0


@dataclass(frozen=True, slots=True)
class Checked:
    """A row that is in order, still in clear."""

    external_id: str
    cells: list[str]
    address: EmailAddress | None
    lives: Residence


class Reader:
    """Understands the rows of one file by its header and mapping."""

    def __init__(self, header: Sequence[str], means: FileMapping) -> None:
        self.means, self.width = means, len(header)
        self.at: Mapping[str, int] = {name: i for i, name in enumerate(header)}
        self._mapped = sorted({self.at[c] for c in means.columns()})
        self._shows = [(i, header[i]) for i in self._mapped]

    def check(self, row: Row) -> Checked | tuple[str, str]:
        """Return the row checked, or (field, reason) for the first thing wrong with it; a reason never quotes what stood there."""
        if row.fault:
            return "row", row.fault
        if len(row.cells) != self.width:
            return "row", f"{len(row.cells)} fields; the header has {self.width}"
        means, at = self.means, self.at
        cells = [c.strip() for c in row.cells]
        for i in self._mapped:
            if len(cells[i]) > CELL_CHARS_MAX:
                return self._name(i), f"more than {CELL_CHARS_MAX} characters"
            if len(cells[i]) >= 12 and mapping.is_card_number(cells[i]):
                return self._name(i), "looks like a card number; card numbers go to the vault, never in here"
        external_id = cells[at[means.external_id]]
        if not external_id:
            return means.external_id, "empty"
        address = None
        if means.email:
            found = mailbox.normalise(cells[at[means.email]])
            if isinstance(found, str):
                return means.email, "empty" if not cells[at[means.email]] else found
            address = found
        places = []
        for kind, columns in means.addresses.items():
            country, region = self._cell(cells, columns.country), self._cell(cells, columns.region)
            if country and residence.country_of(country) is None:
                return columns.country or kind, "not a country"
            if not country and any(self._cell(cells, c) for c in (*columns.street, columns.city, columns.region, columns.postcode)):
                country = means.country_default
            places.append((kind, country, region))
        lives = residence.residence(
            addresses=tuple(places),
            phone=self._cell(cells, means.phone),
            ip_country=self._cell(cells, means.ip_country),
            phone_default=means.country_default,
        )
        return Checked(external_id, cells, address, lives)

    def holding(self, row: Checked) -> dict[str, int]:
        """Return which elements of this person lie in which stores."""
        return mapping.holding_of(frozenset(name for i, name in self._shows if row.cells[i]), self.means)

    def sealed(self, row: Checked, *, subject: int, known: bool, holding: int, into: Batch) -> None:
        """Seal a person for their number and add them to the batch."""
        means, cells = self.means, row.cells
        name = " ".join(filter(None, (cells[self.at[c]] for c in means.name)))
        locale = self._cell(cells, means.locale) or means.locale_default
        into.subjects.append(
            (
                subject,
                row.external_id,
                row.lives.jurisdiction,
                row.lives.basis,
                locale,
                holding,
                secrets.token_bytes(SALT_BYTES),
                seal(name, context=f"subjects_subject|{subject}|name"),
                known,
            )
        )
        into.updated += known
        add: Callable[[tuple[Any, ...]], None] = into.contacts.append
        if row.address:
            lookup = lookup_digest(row.address.key, purpose="email")
            add((subject, "email", 0, seal(row.address.address, context=f"subjects_contact|{subject}|email"), lookup, row.address.provider))
        if phone := self._cell(cells, means.phone):
            add((subject, "phone", 0, seal(phone, context=f"subjects_contact|{subject}|phone"), None, ""))
        for kind, columns in means.addresses.items():
            if address := self._postal(cells, columns):
                add((subject, kind, 0, seal(json.dumps(address), context=f"subjects_contact|{subject}|{kind}"), None, ""))

    def _postal(self, cells: list[str], columns: AddressColumns) -> dict[str, str] | None:
        street = "\n".join(filter(None, (cells[self.at[c]] for c in columns.street)))
        city, postcode = self._cell(cells, columns.city), self._cell(cells, columns.postcode)
        if not street and not city:
            return None
        country = self._cell(cells, columns.country) or self.means.country_default
        return {"street": street, "city": city, "region": self._cell(cells, columns.region), "postcode": postcode, "country": country}

    def _cell(self, cells: list[str], column: str | None) -> str:
        return cells[self.at[column]] if column is not None else ""

    def _name(self, index: int) -> str:
        return next(name for name, i in self.at.items() if i == index)
