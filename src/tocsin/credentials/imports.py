"""A customers file's old hashes: checked line by line, copied in batches, joined to the register of subjects by their external ids.

Each batch is one transaction and idempotent; a crash costs a repeat from the start of the file. The log has an entry before the first batch
and one after the last, so that a run that breaks off is on record with who began it. An import never replaces a password that
somebody has set, and what it brings is of epoch 1: brought after a cutover, it is dead on arrival.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from django.db import connection, transaction

from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel import clock, sql
from tocsin.kernel.errors import BadInput, Fault, NotFound, ensure

from . import cutover, policy
from .models import Import
from .passwords import formats
from .sign_in import login_of
from .types import HashColumns, ImportReport

BATCH_ROWS = 50_000
FIELD_CHARS_MAX = 1_000
STEPS = (
    "incoming_subject",
    "incoming_faults",
    "incoming_rejects",
    "incoming_account_moves",
    "incoming_accounts",
    "incoming_hashes",
    "incoming_new",
    "incoming_done",
)


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the file: a row for the incoming table, or a fault."""

    number: int
    external_id: str = ""
    login: bytes = b""
    hash: str = ""
    set_at: datetime | None = None
    fault: Fault | None = None


def import_hashes(
    path: Path,
    *,
    mapping: HashColumns | None = None,
    at: datetime,
    by: str,
    population: str = "customers",
    progress: Callable[[int], None] | None = None,
) -> ImportReport:
    """Import the password hashes of a customers file (CSV, UTF-8, with a header); read = accepted + rejected.

    Subjects must be imported first. `progress` is called with the lines read so far. Raises NotFound for the file and BadInput with every
    missing column before anything is written; bad lines are rejected one by one with line, field and reason (`queries.rejects`). Safe to
    repeat: a line that is there already counts as updated.
    """
    columns = mapping or HashColumns()
    header = _header(path)
    if faults := policy.mapping_faults(_named(columns), header, file=path.name):
        raise BadInput(faults)
    started, totals = clock.monotonic(), dict.fromkeys(("read", "accepted", "updated", "rejected"), 0)
    with transaction.atomic():
        run = Import.objects.create(population=cutover.open_population(population), started_by=by, started_at=at)
        begun = {"import": run.pk, "population": population}
        evidence.record(EventType.CREDENTIALS_IMPORTED, at=at, actor=by, body={**begun, "stage": "begun"})
    digest = hashlib.sha256()
    lines = _lines(path, columns, header, digest.update)
    while batch := list(islice(lines, BATCH_ROWS)):
        with transaction.atomic():
            for name, n in _take(run, batch, at=at).items():
                totals[name] += n
        if progress is not None:
            progress(totals["read"])
    with transaction.atomic():
        ensure(totals["read"] == totals["accepted"] + totals["rejected"], f"import {run.pk} does not close: {totals}")
        Import.objects.filter(pk=run.pk).update(finished=True, file_sha256=digest.digest(), **totals)
        evidence.record(
            EventType.CREDENTIALS_IMPORTED,
            at=at,
            actor=by,
            body={**begun, "stage": "ended", "file_sha256": digest.hexdigest(), **totals},
        )
    return ImportReport(id=run.pk, seconds=round(clock.monotonic() - started, 3), **totals)


def _take(run: Import, batch: list[_Line], *, at: datetime) -> dict[str, int]:
    """Write one batch; return its counts."""
    bad = [(run.pk, line.number, line.fault.field, f"{line.fault.got}; wanted {line.fault.wanted}") for line in batch if line.fault]
    sql.copy_in("credentials_reject", ("import_id", "line", "field", "reason"), bad)
    with connection.cursor() as cursor:
        cursor.execute(sql.text("credentials", "incoming"))
    rows = ((line.number, line.external_id, line.login, line.hash, line.set_at) for line in batch if not line.fault)
    n = sql.copy_in("credentials_incoming", ("line", "external_id", "login_hmac", "hash", "set_at"), rows)
    done = {step: sql.execute("credentials", step, run=run.pk, population=run.population_id, at=at) for step in STEPS}
    rejected = done["incoming_rejects"]
    return {"read": len(batch), "accepted": n - rejected, "updated": n - rejected - done["incoming_new"], "rejected": len(bad) + rejected}


def _header(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as f:
            return next(csv.reader(f), [])
    except FileNotFoundError:
        raise NotFound(f"no file {path}") from None


def _lines(path: Path, columns: HashColumns, header: list[str], seen: Callable[[bytes], None]) -> Iterator[_Line]:
    """Yield each record of the file, checked, and pass the file's bytes on for its digest."""
    at = {what: header.index(name) for what, name in _named(columns).items()}
    with path.open("rb") as raw:

        def decoded() -> Iterator[str]:
            for n, line in enumerate(raw):
                seen(line)
                yield line.decode("utf-8-sig" if n == 0 else "utf-8", errors="surrogateescape")

        reader = csv.reader(decoded())
        next(reader, None)
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as e:
                yield _Line(reader.line_num, fault=Fault("line", str(e), "a line of CSV"))
                continue
            if row:
                yield _check(reader.line_num, row, at, len(header))


def _check(number: int, row: list[str], at: dict[str, int], width: int) -> _Line:
    if len(row) != width:
        return _Line(number, fault=Fault("line", f"{len(row)} fields", f"{width} fields, as in the header"))
    external_id, login, format, text = (row[at[what]].strip() for what in ("external_id", "login", "format", "hash"))
    for field, value in (("external_id", external_id), ("login", login), ("format", format), ("hash", text)):
        if not value or len(value) > FIELD_CHARS_MAX or "\x00" in value or any("\ud800" <= c <= "\udfff" for c in value):
            return _Line(number, fault=Fault(field, f"{len(value)} characters", "text in UTF-8, not empty, without NUL"))
    if not policy.looks_like_address(login):
        return _Line(number, fault=Fault("login", f"{len(login)} characters", "an e-mail address"))
    stored = formats.encode(format, text)
    if isinstance(stored, Fault):
        return _Line(number, fault=stored)
    set_at = _instant(row[at["set_at"]]) if "set_at" in at else None
    return _Line(number, external_id=external_id, login=login_of(login), hash=stored, set_at=set_at)


def _named(columns: HashColumns) -> dict[str, str]:
    """Return the columns that the mapping names: the date is optional."""
    return {what: name for what, name in asdict(columns).items() if name}


def _instant(text: str) -> datetime | None:
    """Return when a password was set, in UTC unless the text says otherwise; None where it cannot be read: counted, and cut over with the old."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
