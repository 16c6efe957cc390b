"""Fill the register, attach cards, forget."""

from __future__ import annotations

import contextlib
import csv
import gc
import os
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from django.db import connection, transaction

from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel import clock, sql
from tocsin.kernel.errors import BadInput, NotFound, Refused, ensure
from tocsin.kernel.private import Private
from tocsin.kernel.sealing import lookup_digest, open_sealed, seal
from tocsin.mail import queries as mail
from tocsin.mail.types import OTHER

from . import queries
from .intake import Batch, Checked, Reader
from .lines import Lines, Row
from .models import Contact, ContactFreeze, Holding, HoldingStore, Import, Subject
from .policy import mailbox
from .policy import mapping as policy
from .types import FileMapping, ImportReport

BATCH_ROWS = 10_000
PROFILES_MAX = 100_000
FORGET_ROWS = 10_000
CHANGEABLE = ("email", "phone")
PHONE_CHARS_MAX = 40
TWICE = "the file names this customer before"
IMPORT_LOCK = 0x73756273  # advisory lock: one import at a time
CARD_COLUMNS = ("customer_id", "token", "last4")
KNOWN_COLUMNS = ("id", "jurisdiction", "basis", "locale", "holding_id", "salt", "name_sealed", "row_digest", "last_active_date")
SUBJECT_COLUMNS = (*KNOWN_COLUMNS, "external_id", "created_at")
CONTACT_COLUMNS = ("subject_id", "kind", "rank", "sealed", "lookup", "provider")
REJECTS_MAX = 1_000_000  # a file with more is another file than its mapping means

Progress = Callable[[int], None]


def read_mapping(path: Path) -> FileMapping:
    """Return the mapping of a TOML file. Raises BadInput with every fault."""
    try:
        return policy.parse_mapping(tomllib.loads(path.read_text()))
    except OSError as e:
        raise BadInput.of("mapping", str(path), f"a file that can be read ({e.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise BadInput.of("mapping", str(path), f"valid TOML ({e})") from None


def import_file(
    path: Path, *, mapping: Path, at: datetime, by: str, rejects: Path | None = None, progress: Progress | None = None
) -> ImportReport:
    """Read customers from CSV (plain or .gz) into the register; return the counts, read = accepted + rejected.

    Known external ids are updated and keep their salt; who is said nothing new about is left as they are. A bad row goes to the reject file (line, field,
    reason; never what it said) and to `subjects_reject`. One transaction: a crash leaves the register as it was. Raises BadInput with
    every fault of mapping and header before anything is read, Refused while another import runs.
    """
    began = clock.monotonic()
    means = read_mapping(mapping)
    lines = Lines(path, means.delimiter)
    if faults := policy.check_header(lines.header, means):
        raise BadInput(faults)
    reader, counts = Reader(lines.header, means), _Counts()
    with _no_collector(), transaction.atomic():
        _one_at_a_time()
        sql.execute("subjects", "stage")
        profiles = _Profiles()
        rows = lines.rows()
        while taken := list(islice(rows, BATCH_ROWS)):
            batch = _checked(reader, taken, profiles=profiles)
            _write(reader, batch, at=at, by=by)
            counts.add(batch, rows=len(taken))
            if len(counts.rejects) > REJECTS_MAX:
                raise BadInput.of("file", f"more than {REJECTS_MAX} bad rows", "a file that fits its mapping")
            if progress:
                progress(counts.read)
        report = _finish("customers", counts, sha256=lines.sha256, at=at, by=by, type=EventType.SUBJECTS_IMPORTED)
    file = _write_rejects(rejects or path.with_name(f"{path.name}.rejects.csv"), counts.rejects)
    return ImportReport(**report, rejects_file=file, seconds=clock.monotonic() - began)


def attach_cards(path: Path, *, store: str, at: datetime, by: str, rejects: Path | None = None) -> ImportReport:
    """Read the vault's answer (customer_id, token, last4) into the register; people get the profile of somebody with a card in `store`.

    A token known already changes nothing. One transaction. Raises BadInput for another header, or for a file that holds card numbers.
    """
    began = clock.monotonic()
    lines, counts = Lines(path, ","), _Counts()
    if tuple(lines.header) != CARD_COLUMNS:
        raise BadInput.of("header", ",".join(lines.header), ",".join(CARD_COLUMNS), 1)
    with transaction.atomic():
        _one_at_a_time()
        sql.execute("subjects", "stage_cards")
        sql.copy_in("subjects_incoming_card", ("line", "external_id", "token", "last4"), _card_rows(lines, counts))
        unknown = [int(line) for (line,) in sql.rows("subjects", "unknown_cards")]
        counts.rejects += [(line, "customer_id", "no such customer in the register") for line in unknown]
        counts.accepted -= len(unknown)
        new = sql.execute("subjects", "merge_cards")
        counts.updated = counts.accepted - new
        _move_to_card_profiles(store)
        report = _finish("cards", counts, sha256=lines.sha256, at=at, by=by, type=EventType.CARDS_ATTACHED)
    file = _write_rejects(rejects or path.with_name(f"{path.name}.rejects.csv"), sorted(counts.rejects))
    return ImportReport(**report, rejects_file=file, seconds=clock.monotonic() - began)


def change_contact(
    subject: int, *, kind: str, value: Private[str], at: datetime, by: str, reauthenticated: bool, incident: int | None = None
) -> bool:
    """Put another e-mail address or phone number in the place of somebody's; tell whether it is another one. What it was is kept, sealed.

    `reauthenticated`: whoever asks has just shown the password again (ASVS 5.0 7.5.1), or a member of staff answers for it. Raises BadInput
    for what is no address or number, NotFound for who is unknown or forgotten, Refused without that proof, or while a freeze lasts. Joins
    the caller's transaction: contact point, history and the log's entry.
    """
    if kind not in CHANGEABLE:
        raise BadInput.of("kind", kind, f"one of {', '.join(CHANGEABLE)}")
    if not reauthenticated:
        raise Refused(f"the {kind} of an account is changed only by who has just shown its password")
    if until := queries.contacts_frozen_until(at):
        raise Refused(f"contact points are frozen until {clock.iso(until)}: an address changed now may be a stranger's")
    lookup, provider, stored = None, "", value.reveal().strip()
    if kind == "email":
        found = mailbox.normalise(stored)
        if isinstance(found, str):
            raise BadInput.of("email", f"{len(stored)} characters", f"an e-mail address ({found})")
        stored, provider, lookup = found.address, found.provider, lookup_digest(found.key, purpose="email")
    elif not (0 < len(stored) <= PHONE_CHARS_MAX and stored.isprintable()) or policy.is_card_number(stored):
        raise BadInput.of("phone", f"{len(stored)} characters", f"a phone number of at most {PHONE_CHARS_MAX} characters")
    context = f"subjects_contact|{subject}|{kind}"
    with transaction.atomic():
        salt = queries.salts([subject]).get(subject)
        if salt is None:
            raise NotFound(f"no subject {subject}")
        old = Contact.objects.filter(subject_id=subject, kind=kind, rank=0).values_list("sealed", flat=True).first()
        if old is not None and open_sealed(old, context=context).reveal().decode() == stored:
            return False
        sql.execute(
            "subjects",
            "change_contact",
            subject=subject,
            kind=kind,
            sealed=seal(stored, context=context),
            lookup=lookup,
            provider=provider,
            at=at,
            changed_by="customer" if by == "customer" else "operator",
            by=by,
        )
        evidence.record_subject(
            EventType.CONTACT_CHANGED, at=at, actor=by, incident=incident, subject=subject, salt=salt, body={"kind": kind}
        )
        return True


def freeze_contacts(*, until: datetime, reason: str, at: datetime, by: str) -> None:
    """Let nobody's contact points be changed one by one until then. Joins the caller's transaction; an earlier freeze is not shortened."""
    ContactFreeze.objects.create(until=until, reason=reason, at=at, by=by)


def forget(subjects: Sequence[int], *, incident: int | None, at: datetime, by: str) -> int:
    """Delete salts, names and contact points of these people; return how many were not forgotten before.

    Their leaves in the log can be opened by nobody from then on, and their numbers stay, so that every count still closes. Batches of
    FORGET_ROWS, each a transaction with its entry: a crash leaves the rest for the next call.
    """
    forgotten = 0
    for start in range(0, len(subjects), FORGET_ROWS):
        lot = list(subjects[start : start + FORGET_ROWS])
        with transaction.atomic():
            n = Subject.objects.filter(pk__in=lot, salt__isnull=False).count()
            sql.execute("subjects", "forget", subjects=lot)
            if n:
                evidence.record(EventType.SUBJECTS_FORGOTTEN, at=at, actor=by, incident=incident, body={"subjects": n})
        forgotten += n
    return forgotten


class _Counts:
    """The running counts of one file."""

    def __init__(self) -> None:
        self.read = self.accepted = self.updated = 0
        self.rejects: list[tuple[int, str, str]] = []

    def add(self, batch: Batch, *, rows: int) -> None:
        self.read += rows
        self.accepted += batch.accepted
        self.updated += batch.updated
        self.rejects += sorted(batch.rejects)


class _Profiles:
    """Holding profiles by digest, made as they are met; thousands describe millions of people."""

    def __init__(self) -> None:
        self._ids = {bytes(d): i for d, i in Holding.objects.values_list("digest", "pk")[: PROFILES_MAX + 1]}
        self._met: dict[tuple[tuple[str, int], ...], int] = {}

    def id_of(self, holding: dict[str, int]) -> int:
        key = tuple(holding.items())
        if key not in self._met:
            self._met[key] = self._id_of(holding)
        return self._met[key]

    def _id_of(self, holding: dict[str, int]) -> int:
        digest = policy.profile_digest(holding)
        if digest not in self._ids:
            if len(self._ids) >= PROFILES_MAX:
                raise BadInput.of("stores", f"more than {PROFILES_MAX} holding profiles", "a mapping with fewer columns as elements")
            made = Holding.objects.create(digest=digest)
            HoldingStore.objects.bulk_create(HoldingStore(holding=made, store=s, mask=m) for s, m in sorted(holding.items()))
            self._ids[digest] = made.pk
        return self._ids[digest]


def _roll_up(checked: dict[str, Checked]) -> None:
    """Name the receiver of addresses whose domain no table names, by its mail exchangers, where the configuration asks for that."""
    domains = {a.domain for row in checked.values() for a in row.addresses if a.provider == OTHER}
    found = mail.receivers_by_mx(domains) if domains else {}
    for external_id, row in checked.items() if found else ():
        named = tuple(replace(a, provider=found.get(a.domain, OTHER)) if a.provider == OTHER else a for a in row.addresses)
        checked[external_id] = row._replace(addresses=named)


def _checked(reader: Reader, rows: Sequence[Row], *, profiles: _Profiles) -> Batch:
    """Check a batch of rows, and say who in it is new, changed, or as the register has them already."""
    batch, checked, means = Batch(), dict[str, Checked](), reader.means
    for row in rows:
        found = reader.check(row)
        if not isinstance(found, Checked):
            batch.rejects.append((row.line, *found))
        elif found.external_id in checked:
            batch.rejects.append((row.line, means.external_id, TWICE))
        else:
            checked[found.external_id] = found
    _roll_up(checked)
    known = sql.rows("subjects", "known", external_ids=list(checked))
    fresh = iter([i for (i,) in sql.rows("subjects", "new_ids", n=sum(subject is None for _, subject, _, _, _ in known))])
    for external_id, subject, has_card, digest, twice in known:
        one = checked[external_id]
        if twice:
            batch.rejects.append((one.line, means.external_id, TWICE))
            continue
        batch.accepted += 1
        batch.updated += subject is not None
        batch.seen.append((external_id,))
        if digest is not None and bytes(digest) == one.digest:
            continue
        holding = reader.holding(one)
        if has_card and means.cards_store:
            holding = policy.with_card(holding, means.cards_store)
        number = subject if subject is not None else next(fresh)
        person = reader.person(one, subject=number, holding=profiles.id_of(holding))
        batch.people.append((number, one))
        if subject is None:
            batch.new.append((*person, external_id))
        else:
            batch.changed.append(person)
    return batch


def _write(reader: Reader, batch: Batch, *, at: datetime, by: str) -> None:
    """Copy a batch into the register: new people straight into their table, known ones by way of staging."""
    if batch.changed:
        sql.copy_in("subjects_incoming", KNOWN_COLUMNS, batch.changed)
        sql.execute("subjects", "merge")
    sql.copy_in("subjects_subject", SUBJECT_COLUMNS, ((*person, at) for person in batch.new))
    sql.copy_in("subjects_contact", CONTACT_COLUMNS, reader.contacts(batch.people))
    if batch.changed:
        sql.execute("subjects", "changed_addresses", at=at, by=by)
    sql.copy_in("subjects_seen", ("external_id",), batch.seen)


def _card_rows(lines: Lines, counts: _Counts) -> Iterator[tuple[Any, ...]]:
    for row in lines.rows():
        counts.read += 1
        reason = row.fault or ("" if len(row.cells) == len(CARD_COLUMNS) else f"{len(row.cells)} fields")
        if not reason:
            customer, token, last4 = row.cells
            if not (len(last4) == 4 and last4.isascii() and last4.isdigit()):
                reason = "last4 is not four digits"
            elif not customer or not token or policy.is_card_number(token):
                reason = "no customer, no token, or a card number in place of a token"
        if reason:
            counts.rejects.append((row.line, "row", reason))
            continue
        counts.accepted += 1
        yield row.line, customer, token, last4


def _move_to_card_profiles(store: str) -> None:
    """Give everybody with a card the profile that says so: one step per profile, not per person."""
    profiles = _Profiles()
    sources = [h for (h,) in sql.rows("subjects", "profiles_with_cards")]
    held: dict[int, dict[str, int]] = {s: {} for s in sources}
    for holding, name, mask in HoldingStore.objects.filter(holding__in=sources).values_list("holding_id", "store", "mask"):
        held[holding][name] = mask
    targets = [profiles.id_of(policy.with_card(held[s], store)) for s in sources]
    sql.execute("subjects", "move_holding", sources=sources, targets=targets)


def _finish(kind: str, counts: _Counts, *, sha256: bytes, at: datetime, by: str, type: EventType) -> dict[str, int]:
    """Record the file in the same transaction as its rows."""
    report = {"read": counts.read, "accepted": counts.accepted, "updated": counts.updated, "rejected": len(counts.rejects)}
    ensure(counts.read == counts.accepted + len(counts.rejects), f"an import of {kind} does not close: {report}")
    made = Import.objects.create(kind=kind, sha256=sha256, at=at, by=by, **report)
    sql.copy_in("subjects_reject", ("source_id", "line", "field", "reason"), ((made.pk, *reject) for reject in counts.rejects))
    evidence.record(type, at=at, actor=by, body={**report, "sha256": sha256.hex()})
    return report


def _write_rejects(file: Path, rejects: list[tuple[int, str, str]]) -> Path | None:
    """Write the rejects beside the file, for the person who mends them; none, no file."""
    if not rejects:
        return None
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", newline="") as out:
        table = csv.writer(out)
        table.writerow(("line", "field", "reason"))
        table.writerows(rejects)
    return file


@contextlib.contextmanager
def _no_collector() -> Iterator[None]:
    """Suspend the cycle collector: an import makes no cycles, and scanning its live rows took 15 of 58 us a row."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _one_at_a_time() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [IMPORT_LOCK])
        if not cursor.fetchone()[0]:
            raise Refused("another import is running; wait for it")
