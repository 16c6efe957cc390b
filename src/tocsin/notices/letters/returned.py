"""Returned mail: the list of letters that came back, and what follows for each.

CSV with a header: letter_id (as printed in the window), reason (one of REASONS), date (of the return, ISO 8601). A letter that came back is
marked so; if another address of the person is known to which no letter went, a new letter waits for the next export; else the notice on the
site stands for them. Bad lines are named with every fault in a file beside the list. Reading a list twice changes nothing.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Max

from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType, SubjectEvent
from tocsin.kernel import sql
from tocsin.kernel.errors import BadInput, Fault, ensure
from tocsin.subjects import queries as subjects
from tocsin.subjects.types import Postal

from .. import reach
from ..models import Letter, Mailing
from ..types import ReturnReport
from . import number
from .bundles import chosen

COLUMNS = ("letter_id", "reason", "date")
REASONS = ("unknown", "moved", "no_such_address", "unclaimed", "refused", "deceased", "other")
ROWS = 1000  # lines taken in one transaction
LINES_MAX = 5_000_000
CELL_CHARS_MAX = 100


class Line(NamedTuple):
    """A line of the list that says what it should."""

    line: int
    letter: int
    reason: str
    day: date


def take(file: Path, *, at: datetime, by: str, rejects: Path | None = None) -> ReturnReport:
    """Take a list of returned mail in; see `actions.letters_returned`."""
    counts = {"read": 0, "again": 0, "substitute": 0, "known": 0}
    bad: list[tuple[int, str, str, str]] = []
    rejected, mailings, digest = 0, set[int](), hashlib.sha256()
    lines = _lines(file, digest)
    while lot := list(islice(lines, ROWS)):
        counts["read"] += len(lot)
        good = []
        for n, cells in lot:
            line = _read(n, cells, today=at.date())
            if isinstance(line, Line):
                good.append(line)
            else:
                bad += [(n, *fault) for fault in line]
                rejected += 1
        with transaction.atomic():
            taken, unfit = _apply(good, at=at, by=by)
            bad += unfit
            rejected += len({n for n, *_ in unfit})
        for key in ("again", "substitute", "known"):
            counts[key] += len(taken[key])
        mailings |= taken["mailings"]
    for mailing in sorted(mailings):
        reach.substitute(mailing, at=at)
    accepted = counts["again"] + counts["substitute"] + counts["known"]
    ensure(counts["read"] == accepted + rejected, f"a list of returned mail does not close: {counts}, {rejected} rejected")
    evidence.record(
        EventType.RETURNED_MAIL_READ,
        at=at,
        actor=by,
        body={**counts, "accepted": accepted, "rejected": rejected, "sha256": digest.hexdigest()},
    )
    written = _write_rejects(rejects or file.with_name(f"{file.name}.rejects.csv"), sorted(bad))
    return ReturnReport(**counts, accepted=accepted, rejected=rejected, rejects_file=str(written) if written else None)


def _lines(file: Path, digest: Any) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of a list. Raises BadInput for a file that cannot be read or is another file than it should be."""
    try:
        raw = file.read_bytes()
        text = raw.decode("utf-8-sig")
    except OSError as e:
        raise BadInput.of("file", str(file), f"a file that can be read ({e.strerror})") from None
    except UnicodeDecodeError as e:
        raise BadInput.of("file", str(file), f"text in UTF-8 (byte {e.start} is not)") from None
    digest.update(raw)
    table = csv.reader(text.splitlines(keepends=True))
    header = [h.strip().lower() for h in next(table, [])]
    faults = [Fault(f"column {name!r}", f"{header.count(name)} times", "once", 1) for name in COLUMNS if header.count(name) != 1]
    if faults:
        raise BadInput(faults)
    at = [header.index(name) for name in COLUMNS]
    for cells in table:
        if table.line_num > LINES_MAX:
            raise BadInput.of("file", f"more than {LINES_MAX} lines", "a list in parts")
        if any(map(str.strip, cells)):
            yield table.line_num, [cells[i].strip() if i < len(cells) else "" for i in at]


def _read(n: int, cells: Sequence[str], *, today: date) -> Line | list[tuple[str, str, str]]:
    """Return a line, or all that is wrong with it as (field, got, wanted)."""
    letter, reason = number.read(cells[0]), cells[1].lower()
    faults = []
    if letter is None:
        faults.append(("letter_id", cells[0][:CELL_CHARS_MAX], "the number in the window, as in L123-0"))
    if reason not in REASONS:
        faults.append(("reason", cells[1][:CELL_CHARS_MAX], f"one of {', '.join(REASONS)}"))
    day = None
    try:
        day = date.fromisoformat(cells[2])
    except ValueError:
        faults.append(("date", cells[2][:CELL_CHARS_MAX], "a day as 2026-01-31"))
    if day is not None and day > today:
        faults.append(("date", cells[2], "a day that has come"))
    return faults if faults or letter is None or day is None else Line(n, letter, reason, day)


def _apply(lines: Sequence[Line], *, at: datetime, by: str) -> tuple[dict[str, Any], list[tuple[int, str, str, str]]]:
    """Mark letters as returned and queue the next where an address is left. Joins the caller's transaction; locks these letters."""
    there = {x.pk: x for x in Letter.objects.select_for_update().filter(pk__in=[x.letter for x in lines])}
    unfit: list[tuple[int, str, str, str]] = []
    taken: dict[str, Any] = {"again": [], "substitute": [], "known": [], "mailings": set()}
    new: dict[int, Line] = {}
    for line in lines:
        letter = there.get(line.letter)
        if letter is None or letter.state in ("queued", "rejected"):
            unfit.append((line.line, "letter_id", number.shown(line.letter), "a letter that was in a bundle"))
        elif letter.state == "returned" or letter.pk in new:
            taken["known"].append(line)
        elif letter.exported_at is None or line.day < letter.exported_at.date():
            unfit.append((line.line, "date", line.day.isoformat(), "a day after the letter was written"))
        else:
            new[letter.pk] = line
    back = [there[pk] for pk in new]
    for letter in back:
        letter.state, letter.returned_date, letter.return_reason = "returned", new[letter.pk].day, new[letter.pk].reason
    Letter.objects.bulk_update(back, ["state", "returned_date", "return_reason"], batch_size=ROWS)
    sql.execute("notices", "letters_without_way", letters=[x.pk for x in back])
    again = _next_letters(back, at=at)
    for letter in back:
        taken["again" if letter.pk in again else "substitute"].append(letter.pk)
        taken["mailings"].add(letter.mailing_id)
    _record(back, again, at=at, by=by)
    return taken, unfit


def _next_letters(back: Sequence[Letter], *, at: datetime) -> dict[int, Letter]:
    """Queue a letter for everybody with an address that no letter went to; return them by the letter that came back."""
    people = [x.subject for x in back]
    known: dict[int, list[Postal]] = {}
    for postal in subjects.postal(people, every=True):
        known.setdefault(postal.subject, []).append(postal)
    mailings = {x.mailing_id for x in back}
    tried: dict[tuple[int, int], set[bytes]] = {}
    for mailing, subject, mac in Letter.objects.filter(mailing__in=mailings, subject__in=people, address_mac__isnull=False).values_list(
        "mailing_id", "subject", "address_mac"
    ):
        tried.setdefault((mailing, subject), set()).add(bytes(mac or b""))
    latest = {
        (mailing, subject): n
        for mailing, subject, n in Letter.objects.filter(mailing__in=mailings, subject__in=people)
        .values_list("mailing_id", "subject")
        .annotate(n=Max("attempt"))
    }
    made = {}
    for x in back:
        who = (x.mailing_id, x.subject)
        if x.attempt == latest[who] and not isinstance(chosen(known.get(x.subject, []), tried=frozenset(tried.get(who, ()))), list):
            made[x.pk] = Letter(
                mailing_id=x.mailing_id,
                batch_id=x.batch_id,
                place=x.place,
                subject=x.subject,
                attempt=x.attempt + 1,
                state="queued",
                kind="",
                country="",
                faults=[],
                return_reason="",
                queued_at=at,
            )
    Letter.objects.bulk_create(made.values(), batch_size=ROWS)
    sql.execute("notices", "letters_with_way", letters=[x.pk for x in made.values()])
    return made


def _record(back: Sequence[Letter], again: Mapping[int, Letter], *, at: datetime, by: str) -> None:
    salts = subjects.salts([x.subject for x in back])
    incidents = dict(Mailing.objects.filter(pk__in={x.mailing_id for x in back}).values_list("pk", "incident"))
    for mailing, incident in incidents.items():
        mine = [x for x in back if x.mailing_id == mailing and x.subject in salts]
        returned = (
            SubjectEvent(
                x.subject,
                salts[x.subject],
                at,
                {
                    "mailing": mailing,
                    "letter": number.shown(x.pk),
                    "reason": x.return_reason,
                    "date": x.returned_date.isoformat() if x.returned_date else "",
                    **({"next_letter": number.shown(again[x.pk].pk)} if x.pk in again else {}),
                },
            )
            for x in mine
        )
        evidence.record_many(EventType.LETTER_RETURNED, returned, actor=by, incident=incident)
        queued = (SubjectEvent(x.subject, salts[x.subject], at, {"mailing": mailing}) for x in mine if x.pk in again)
        evidence.record_many(EventType.LETTER_QUEUED, queued, actor=by, incident=incident)


def _write_rejects(file: Path, bad: Sequence[tuple[int, str, str, str]]) -> Path | None:
    """Write what is wrong beside the list, for whoever mends it; nothing wrong, no file."""
    if not bad:
        return None
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", newline="", encoding="utf-8") as out:
        table = csv.writer(out)
        table.writerow(("line", "field", "got", "wanted"))
        table.writerows([str(n), *map(_cell, rest)] for n, *rest in bad)
    return file


def _cell(value: str) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
