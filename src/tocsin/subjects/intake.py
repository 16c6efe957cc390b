"""From the rows of a customers file to sealed rows ready for COPY: check, seal, and say what is wrong with the others.

This is the inner loop of an import: some 25 us a row, half of it sealing. Columns are found once, by index; a column that the mapping does
not name is the empty cell behind the last one.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from json.encoder import encode_basestring_ascii as quoted
from operator import itemgetter
from typing import Any, NamedTuple

from tocsin.kernel.sealing import lookup_digest, seal

from .lines import Row
from .policy import mailbox, mapping, residence
from .types import EmailAddress, FileMapping, Residence

SALT_BYTES = 16
CELL_CHARS_MAX = 1_000
CARD_CHARS_MIN = 12
ROW_DIGEST_BYTES = 16
# A line break in a name is a header in a letter to somebody; nothing below a blank belongs in a contact point.
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_BETWEEN = "\x1e"  # a control character, so no cell holds it


@dataclass(slots=True)
class Batch:
    """One batch on its way: people new and changed (`people` are both), external ids seen, and the rejects of its rows."""

    new: list[tuple[Any, ...]] = field(default_factory=list)
    changed: list[tuple[Any, ...]] = field(default_factory=list)
    people: list[tuple[int, Checked]] = field(default_factory=list)
    rejects: list[tuple[int, str, str]] = field(default_factory=list)
    seen: list[tuple[str]] = field(default_factory=list)
    accepted: int = 0
    updated: int = 0


class Checked(NamedTuple):
    """A row that is in order, still in clear. `shows` says for each mapped column whether it is filled; `digest` stands for all it says."""

    line: int
    external_id: str
    cells: list[str]
    shows: tuple[bool, ...]
    addresses: tuple[EmailAddress, ...]
    lives: Residence
    digest: bytes
    active: date | None


def email_context(subject: int, rank: int) -> str:
    """Return what somebody's e-mail address of a rank is sealed for."""
    return f"subjects_contact|{subject}|email|{rank}" if rank else f"subjects_contact|{subject}|email"


class _Place(NamedTuple):
    kind: str
    street: tuple[int, ...]
    city: int
    region: int
    postcode: int
    country: int


class Reader:
    """Understands the rows of one file by its header and mapping."""

    def __init__(self, header: Sequence[str], means: FileMapping) -> None:
        self.means, self.width = means, len(header)
        at: Mapping[str | None, int] = {None: self.width, **{name: i for i, name in enumerate(header)}}
        mapped = sorted({at[c] for c in means.columns()})
        self._names = [header[i] for i in mapped]
        self._picked: Callable[[list[str]], tuple[str, ...]] = itemgetter(*mapped, self.width)
        self._external_id, self._email, self._phone = at[means.external_id], at[means.email], at[means.phone]
        self._further = tuple(at[c] for c in means.email_further)
        self._locale, self._ip_country = at[means.locale], at[means.ip_country]
        self._last_activity = at[means.last_activity]
        self._name = tuple(at[c] for c in means.name)
        self._places = [
            _Place(kind, tuple(at[c] for c in a.street), at[a.city], at[a.region], at[a.postcode], at[a.country])
            for kind, a in means.addresses.items()
        ]
        self._meaning = hashlib.sha256(repr(means).encode()).hexdigest()
        self._holdings: dict[tuple[bool, ...], dict[str, int]] = {}

    def check(self, row: Row) -> Checked | tuple[str, str]:
        """Return the row checked, or (field, reason) for the first thing wrong with it; a reason never quotes what stood there."""
        if row.fault:
            return "row", row.fault
        if len(row.cells) != self.width:
            return "row", f"{len(row.cells)} fields; the header has {self.width}"
        cells = [c.strip() for c in row.cells]
        cells.append("")
        picked = self._picked(cells)
        if wrong := self._unfit(picked):
            return wrong
        external_id = cells[self._external_id]
        if not external_id:
            return self.means.external_id, "empty"
        addresses: tuple[EmailAddress, ...] = ()
        if self.means.email is not None and (cells[self._email] or self.means.email_required):
            found = mailbox.normalise(cells[self._email])
            if isinstance(found, str):
                return self.means.email, found if cells[self._email] else "empty"
            addresses = (found,)
        for column, i in zip(self.means.email_further, self._further, strict=True):
            if cells[i]:
                found = mailbox.normalise(cells[i])
                if isinstance(found, str):
                    return column, found
                if found.key not in {a.key for a in addresses}:
                    addresses = (*addresses, found)
        active = None
        if (said := cells[self._last_activity]) and (active := mapping.day_of(said)) is None:
            return self.means.last_activity or "last_activity", "not a day as in 2026-11-24"
        places = []
        for kind, street, city, region, postcode, country in self._places:
            where = cells[country]
            if where:
                if residence.country_of(where) is None:
                    return getattr(self.means.addresses[kind], "country", None) or kind, "not a country"
            elif cells[region] or cells[city] or cells[postcode] or any(cells[s] for s in street):
                where = self.means.country_default
            places.append((kind, where, cells[region]))
        lives = residence.residence(
            addresses=tuple(places),
            phone=cells[self._phone],
            ip_country=cells[self._ip_country],
            phone_default=self.means.country_default,
        )
        digest = lookup_digest(self._meaning + _BETWEEN.join(picked), purpose="row")[:ROW_DIGEST_BYTES]
        return Checked(row.line, external_id, cells, tuple(map(bool, picked)), addresses, lives, digest, active)

    def holding(self, row: Checked) -> dict[str, int]:
        """Return which elements of this person lie in which stores. The same object for all who fill the same columns."""
        found = self._holdings.get(row.shows)
        if found is None:
            filled = frozenset(name for name, shows in zip(self._names, row.shows, strict=False) if shows)
            found = self._holdings[row.shows] = mapping.holding_of(filled, self.means)
        return found

    def person(self, row: Checked, *, subject: int, holding: int) -> tuple[Any, ...]:
        """Return somebody's row of the register, the name sealed for their number."""
        cells = row.cells
        name = " ".join([cells[i] for i in self._name if cells[i]])
        return (
            subject,
            row.lives.jurisdiction,
            row.lives.basis,
            cells[self._locale] or self.means.locale_default,
            holding,
            secrets.token_bytes(SALT_BYTES),
            seal(name, context=f"subjects_subject|{subject}|name"),
            row.digest,
            row.active,
        )

    def contacts(self, people: Sequence[tuple[int, Checked]]) -> Iterator[tuple[Any, ...]]:
        """Yield the contact points of (subject, row), sealed one by one: the server stores one while the next is sealed."""
        for subject, row in people:
            cells = row.cells
            for rank, address in enumerate(row.addresses):
                sealed = seal(address.address, context=email_context(subject, rank))
                yield subject, "email", rank, sealed, lookup_digest(address.key, purpose="email"), address.provider
            if phone := cells[self._phone]:
                yield subject, "phone", 0, seal(phone, context=f"subjects_contact|{subject}|phone"), None, ""
            for place in self._places:
                if postal := self._postal(cells, place):
                    yield subject, place.kind, 0, seal(postal, context=f"subjects_contact|{subject}|{place.kind}"), None, ""

    def _unfit(self, picked: tuple[str, ...]) -> tuple[str, str] | None:
        """Return what no cell may hold: control characters, too much, a card number. One look at the whole row passes nearly all."""
        text = " ".join(picked)
        if len(text) > CELL_CHARS_MAX or not text.isprintable():
            for name, cell in zip(self._names, picked, strict=False):
                if len(cell) > CELL_CHARS_MAX:
                    return name, f"more than {CELL_CHARS_MAX} characters"
                if _CONTROL.search(cell):
                    return name, "a line break or another control character"
        for i, cell in enumerate(picked):
            if len(cell) >= CARD_CHARS_MIN and cell[-1].isdigit() and mapping.is_card_number(cell):
                return self._names[i], "looks like a card number; card numbers go to the vault, never in here"
        return None

    def _postal(self, cells: list[str], place: _Place) -> str | None:
        """Return an address as JSON, None if it has neither street nor city."""
        street, city = "\n".join([cells[i] for i in place.street if cells[i]]), cells[place.city]
        if not street and not city:
            return None
        country = cells[place.country] or self.means.country_default
        return (
            f'{{"street":{quoted(street)},"city":{quoted(city)},"region":{quoted(cells[place.region])},'
            f'"postcode":{quoted(cells[place.postcode])},"country":{quoted(country)}}}'
        )
