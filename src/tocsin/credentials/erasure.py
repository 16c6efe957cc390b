"""Dead hashes are erased after the grace period, or at once when two people say that they are being cracked.

A cutover leaves the old hashes where they are, so that it can be taken back. From `erasing_at` on it cannot: the ledger
(`credentials_erasure`) has one row per range of accounts, the worker claims range after range, and each is one transaction: fence, copy
under a legal hold, erasure, counts. Killed between two ranges, the next job goes on with the next one; killed within one, nothing of it
happened. The log has an entry when it begins and one when nothing is left.

Under a legal hold on the incident (`incidents.hold`) the hashes of a range are first sealed for the estate's owner (key `custody`), who
alone opens them: what investigators may need is kept, and no process has it. The database refuses to erase without that copy.

GAP: the bytes of an erased hash leave the files of the database with its next vacuum, and its log and backups when these expire. With an
old hash goes the comparison of a new password with it: who sets one later than the grace period may set one like the old.
"""

from __future__ import annotations

import csv
import json
import os
from datetime import datetime, timedelta
from pathlib import Path

from django.db import transaction
from django.db.models import Count, Q, Sum

from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType
from tocsin.incidents import queries as incidents
from tocsin.kernel import clock, config, jobs, sql
from tocsin.kernel.errors import BadInput, NotFound, Refused, ensure
from tocsin.kernel.sealing import deposit, open_deposit
from tocsin.staff import actions as staff
from tocsin.staff import queries as staff_queries

from . import cutover as cutovers
from .models import Cutover, Erasure, HeldHashes
from .types import ErasureInfo

RANGE_ROWS = 50_000
NEXT = "credentials.tasks.erase_next"


def erase(cutover: int, *, approval: int | None, at: datetime, by: str) -> ErasureInfo:
    """Begin to erase the dead hashes of a cutover now, before the grace period is over; return how far it is.

    Two people must have signed `CutoverInfo.erase_payload`; without an approval one is asked for, and Refused carries its id. There is no
    way back. Raises NotFound; Refused unless it is committed, or once its erasure has begun.
    """
    row = _get(cutover)
    _must_be_waiting(row)
    payload = cutovers.value(row).erase_payload
    if approval is None:
        raise Refused(
            f"erasing the old hashes of cutover {cutover} needs two signatures",
            approval=staff.request("credentials.erase", payload, by=by, at=at),
        )
    staff_queries.require(approval, act="credentials.erase", payload=payload)
    with transaction.atomic():
        _begin(cutover, at=at, by=by, approval=approval)
        staff.close(approval, at=at)
    return progress(cutover)


def erase_due(*, at: datetime) -> int:
    """Begin the erasure of each cutover whose grace period is over, and wake those that stand still; return how many have begun.

    The worker's clock job; safe to repeat, also by two workers at once.
    """
    begun = 0
    due = at - timedelta(hours=config.current().credentials.grace_h)
    for cutover in Cutover.objects.filter(state__in=["committed", "sealed"], erasing_at=None, committed_at__lte=due).order_by("pk"):
        with transaction.atomic():
            begun += _begin(cutover.pk, at=at, by="worker")
    for cutover in Cutover.objects.filter(erasing_at__isnull=False, erased_at=None).order_by("pk"):
        _go_on(cutover.pk)
    return begun


def erase_next(cutover: int, *, at: datetime) -> bool:
    """Erase the dead hashes of one range of accounts, or end the erasure when none is left; tell whether there is more to do.

    One transaction per range, fenced: of two workers one writes. Raises LostLease if another has taken the range over.
    """
    mine = jobs.claim(Erasure.objects.filter(cutover_id=cutover))
    if mine is None:
        return _end(cutover, at=at)
    with transaction.atomic():
        jobs.renew(mine)
        held = _hold(mine, at=at)
        erased = int(sql.rows("credentials", "erase", cutover=cutover, first=mine.first_account, last=mine.last_account)[0][0])
        ensure(held is None or held == erased, f"range {mine.pk}: {held} hashes copied, {erased} erased")
        jobs.fenced(mine, state="done", erased=erased, held=held or 0)
        _go_on(cutover)
    # Durable: this range is erased, and the job of the next one exists. A crash before costs this range once more.
    return True


def progress(cutover: int) -> ErasureInfo:
    """Return how far the erasure of a cutover is. Raises NotFound."""
    row = _get(cutover)
    counted = Erasure.objects.filter(cutover=row).aggregate(
        n=Count("pk"), done=Count("pk", filter=Q(state="done")), erased=Sum("erased"), held=Sum("held")
    )
    waits = row.state in {"committed", "sealed"} and row.committed_at is not None
    due_at = row.committed_at + timedelta(hours=config.current().credentials.grace_h) if waits and row.committed_at else None
    state = "erased" if row.erased_at else "erasing" if row.erasing_at else "waiting" if waits else "none"
    return ErasureInfo(
        cutover=cutover,
        state=state,
        due_at=due_at,
        begun_at=row.erasing_at,
        ended_at=row.erased_at,
        ranges=counted["n"],
        ranges_done=counted["done"],
        erased=counted["erased"] or 0,
        held=counted["held"] or 0,
    )


def held_hashes(cutover: int) -> list[tuple[int, str, str]]:
    """Return what was copied under a legal hold: account, class, hash. Only the owner of the estate has the key and the right to read it."""
    found: list[tuple[int, str, str]] = []
    for row in HeldHashes.objects.filter(cutover_id=cutover).order_by("first_account"):
        opened = json.loads(open_deposit(row.sealed, context=_context(cutover, row.first_account), to="custody").reveal())
        ensure(len(opened) == row.n, f"held hashes {row.pk}: {len(opened)} of {row.n}")
        found += [(int(a), str(c), str(h)) for a, c, h in opened]
    return found


def open_held(cutover: int, out: Path, *, at: datetime, by: str) -> int:
    """Write what is held of a cutover to a new file (lines `account,class,hash`) that its owner alone may read; return how many lines.

    Raises NotFound if nothing is held; Refused for a process that is not the owner's; BadInput if the file exists or cannot be made. The entry
    in the log is written before the file: what was opened is in the log even if the process dies between the two.
    """
    if config.current().process != "owner":
        raise Refused("held hashes are opened by the owner alone: set TOCSIN_PROCESS=owner, with the owner's database and keys")
    _get(cutover)
    found = held_hashes(cutover)
    if not found:
        raise NotFound(f"no hashes of cutover {cutover} are held")
    try:
        to = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as e:
        raise BadInput.of("--out", str(out), f"a new file in a folder that can be written ({e.strerror})") from None
    with os.fdopen(to, "w", newline="", encoding="utf-8") as file:
        evidence.record(EventType.HELD_HASHES_OPENED, at=at, actor=by, incident=None, body={"cutover": cutover, "hashes": len(found)})
        csv.writer(file).writerows([("account", "class", "hash"), *found])
    return len(found)


def _get(cutover: int) -> Cutover:
    row = Cutover.objects.select_related("population").filter(pk=cutover).first()
    if row is None:
        raise NotFound(f"no cutover {cutover}")
    return row


def _must_be_waiting(row: Cutover) -> None:
    if row.state not in {"committed", "sealed"}:
        raise Refused(f"cutover {row.pk} is {row.state}: only what was committed leaves hashes to be erased")
    if row.erasing_at is not None:
        raise Refused(f"the old hashes of cutover {row.pk} are being erased since {clock.iso(row.erasing_at)}")


def _begin(cutover: int, *, at: datetime, by: str, approval: int | None = None) -> bool:
    """Pass the point of no return: mark the cutover, make the ledger, say so in the log, enqueue the job. Tells whether this call did it."""
    row = Cutover.objects.select_for_update(no_key=True, of=("self",)).select_related("population").get(pk=cutover)
    if approval is None and (row.state not in {"committed", "sealed"} or row.erasing_at is not None):
        return False
    _must_be_waiting(row)
    row.erasing_at = at
    row.save(update_fields=["erasing_at"])
    ranges = sql.execute("credentials", "erasure_ranges", cutover=cutover, rows=RANGE_ROWS)
    evidence.record(
        EventType.ERASURE_BEGUN,
        at=at,
        actor=by,
        incident=row.incident,
        body={
            **cutovers.value(row).erase_payload,
            "why": "two people" if approval is not None else "grace period",
            "approval": approval,
            "hashes": _unerased(cutover),
            "ranges": ranges,
            "held": _is_held(row.incident),
        },
    )
    _go_on(cutover)
    return True


def _go_on(cutover: int) -> None:
    jobs.enqueue(NEXT, unless_waiting=f"erase:{cutover}", cutover=cutover)


def _hold(mine: Erasure, *, at: datetime) -> int | None:
    """Copy the hashes of a range for the owner if a legal hold lies on the incident; return how many, None without a hold."""
    row = _get(mine.cutover_id)
    if not _is_held(row.incident):
        return None
    span = {"cutover": mine.cutover_id, "first": mine.first_account, "last": mine.last_account}
    found = [list(r) for r in sql.rows("credentials", "dead_hashes", **span)]
    sealed = deposit(json.dumps(found).encode(), context=_context(mine.cutover_id, mine.first_account), to="custody")
    sql.copy_in(
        "credentials_heldhashes",
        ("cutover_id", "first_account", "last_account", "n", "sealed", "at"),
        [(mine.cutover_id, mine.first_account, mine.last_account, len(found), sealed, at)],
    )
    return len(found)


def _is_held(incident: int | None) -> bool:
    if incident is None:
        return False
    try:
        return incidents.incident(incident).hold is not None
    except NotFound:
        return False


def _context(cutover: int, first: int) -> str:
    return f"credentials_heldhashes|{cutover}|{first}"


def _unerased(cutover: int) -> int:
    return int(sql.rows("credentials", "unerased", cutover=cutover)[0][0])


def _end(cutover: int, *, at: datetime) -> bool:
    """End the erasure if every range is done: one transaction with its entry. Tells whether it must go on (a range is another worker's)."""
    with transaction.atomic():
        row = Cutover.objects.select_for_update(no_key=True).get(pk=cutover)
        if row.erasing_at is None or row.erased_at is not None:
            return False
        if Erasure.objects.filter(cutover=row, state="open").exists():
            return True
        ensure(_unerased(cutover) == 0, f"every range of cutover {cutover} is through, and dead hashes are left")
        done = progress(cutover)
        row.erased_at = at
        row.save(update_fields=["erased_at"])
        evidence.record(
            EventType.ERASURE_ENDED,
            at=at,
            actor="worker",
            incident=row.incident,
            body={"cutover": cutover, "erased": done.erased, "held": done.held, "ranges": done.ranges},
        )
    return False
