"""What comes back after the hand-over: reports of failure, and the letters for those whom no mail reaches."""

from __future__ import annotations

import csv
import hashlib
import os
from datetime import datetime
from pathlib import Path

from django.db import transaction
from django.db.models import F

from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType, SubjectEvent
from tocsin.kernel import sql
from tocsin.kernel.errors import BadInput, NotFound
from tocsin.mail import queries as mail
from tocsin.mail.types import InboundKind
from tocsin.subjects import queries as subjects

from . import casecode, policy
from .models import Batch, Bounce, Cursor, Letter, Mailing, RecipientException
from .sending import ACTOR, code_key
from .types import LetterReport

CURSOR = "bounces"
BOUNCE_ROWS = 500  # inbound mails taken in one transaction
LETTER_ROWS = 1000  # letters queued or exported in one transaction


def record_failure(batch: int, n: int, *, at: datetime, status: str, reason: str) -> bool:
    """Count a recipient whose mail was handed over as bounced; return whether that changed anything. Joins the caller's transaction or
    makes one.

    Changes nothing for a recipient who is already deferred, bounced or due for a letter. Raises NotFound for a block or place that never
    was.
    """
    with transaction.atomic():
        block = Batch.objects.select_for_update(no_key=True).filter(pk=batch).first()
        if block is None or not 0 <= n < block.n:
            raise NotFound(f"no block {batch} with a place {n}")
        if n not in policy.places(bytes(block.tried)):
            raise NotFound(f"block {batch}: place {n} has no outcome yet")
        known = RecipientException.objects.filter(batch=block, place=n).first()
        if known is not None and known.state != "told":
            return False
        subject = block.subjects[n]
        text = policy.masked(reason, "")
        RecipientException.objects.update_or_create(
            batch=block,
            place=n,
            defaults={
                "mailing_id": block.mailing_id,
                "subject": subject,
                "state": "bounced",
                "enhanced": status[:20],
                "text": text,
                "tried_at": at,
            },
        )
        Batch.objects.filter(pk=batch).update(handed_over=F("handed_over") - 1, bounced=F("bounced") + 1)
        salt = subjects.salts([subject]).get(subject)
        if salt is not None:
            evidence.record_subject(
                EventType.NOTICE_FAILED,
                at=at,
                actor=ACTOR,
                incident=Mailing.objects.values_list("incident", flat=True).get(pk=block.mailing_id),
                subject=subject,
                salt=salt,
                body={"mailing": block.mailing_id, "block": batch, "place": n, "enhanced": status[:20], "reply": text, "reported": True},
            )
    return True


def take_bounces(*, at: datetime) -> int:
    """Take in the reports of failure that came back to our bounce addresses; return how many recipients they moved to bounced.

    A report that is quicker than its block's own bookkeeping waits for it. Only an address with our MAC counts. Safe to repeat: each
    inbound mail counts once. One caller at a time: a second one waits for the first's transaction.
    """
    while _take_in():
        continue
    return _apply(at=at)


def _take_in() -> bool:
    with transaction.atomic():
        Cursor.objects.get_or_create(name=CURSOR)
        cursor = Cursor.objects.select_for_update().get(name=CURSOR)
        found = mail.inbound(after_id=cursor.after_id, kinds=(InboundKind.BOUNCE,), limit=BOUNCE_ROWS)
        rows = []
        for info in found:
            if info.verp is None:
                continue
            reports = mail.open_inbound(info.id).classified.recipients
            failed = next((r for r in reports if r.action in ("failed", "")), None)
            if failed is None:
                continue
            rows.append(
                Bounce(
                    inbound=info.id,
                    batch=info.verp[0],
                    place=info.verp[1],
                    status=failed.status,
                    reason=failed.reason,
                    hard=failed.hard,
                    received_at=info.received_at,
                )
            )
        Bounce.objects.bulk_create(rows, ignore_conflicts=True)
        if found:
            cursor.after_id = max(info.id for info in found)
            cursor.save(update_fields=["after_id"])
    return len(found) == BOUNCE_ROWS


def _apply(*, at: datetime) -> int:
    moved, after = 0, -1
    while True:
        lot = list(Bounce.objects.filter(applied_at=None, pk__gt=after).order_by("pk")[:BOUNCE_ROWS])
        if not lot:
            return moved
        after = lot[-1].pk
        for report in lot:
            moved += _apply_one(report, at=at)


def _apply_one(report: Bounce, *, at: datetime) -> bool:
    with transaction.atomic():
        try:
            changed = record_failure(report.batch, report.place, at=at, status=report.status, reason=report.reason)
        except NotFound:
            if Batch.objects.filter(pk=report.batch, state="open").exists():
                return False  # the block has not written this place down yet: next time
            changed = False
        return bool(Bounce.objects.filter(pk=report.pk, applied_at=None).update(applied_at=at)) and changed


def queue_letters(mailing: int, *, at: datetime) -> int:
    """Queue a letter for everybody who bounced and has a postal address; return how many. In lots, each with its evidence; safe to
    repeat.
    """
    incident, queued = Mailing.objects.values_list("incident", flat=True).get(pk=mailing), 0
    while True:
        with transaction.atomic():
            lot = [subject for (subject,) in sql.rows("notices", "queue_letters", mailing=mailing, rows=LETTER_ROWS, at=at)]
            salts = subjects.salts(lot)
            events = (SubjectEvent(s, salts[s], at, {"mailing": mailing}) for s in lot if s in salts)
            evidence.record_many(EventType.LETTER_QUEUED, events, actor=ACTOR, incident=incident)
        queued += len(lot)
        if len(lot) < LETTER_ROWS:
            return queued


def export_letters(mailing: int, file: Path, *, at: datetime, by: str) -> LetterReport:
    """Write the letters of a mailing as CSV for a print house; see `actions.letters`.

    That somebody will read the addresses is recorded before the first is opened, how many were read after the last: a run that breaks off
    between leaves the first entry alone.
    """
    incident = Mailing.objects.values_list("incident", flat=True).get(pk=mailing)
    written, skipped, digest, key = 0, 0, hashlib.sha256(), code_key()
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as e:
        raise BadInput.of("file", str(file), f"a new file in a folder that can be written to ({e.strerror})") from None
    reading = {"what": "letters", "mailing": mailing}
    evidence.record(EventType.PERSONAL_DATA_READ, at=at, actor=by, incident=incident, body={**reading, "stage": "begun"})
    with os.fdopen(descriptor, "w", newline="", encoding="utf-8") as out:
        table = csv.writer(out)
        table.writerow(COLUMNS)
        after = 0
        while lot := list(Letter.objects.filter(mailing_id=mailing, pk__gt=after).order_by("pk")[:LETTER_ROWS]):
            after = lot[-1].pk
            people = {p.subject: p for p in subjects.postal([x.subject for x in lot])}
            for letter in lot:
                person = people.get(letter.subject)
                if person is None:
                    skipped += 1
                    continue
                code = casecode.encode(key, block=letter.batch_id, place=letter.place)
                address = person.address.reveal()
                row = [code, person.external_id, person.name.reveal(), *(_cell(address.get(k, "")) for k in ADDRESS)]
                table.writerow([_cell(v) for v in row])
                digest.update("\x1f".join(row).encode())
                written += 1
            Letter.objects.filter(pk__in=[x.pk for x in lot], exported_at=None).update(exported_at=at)
    evidence.record(
        EventType.PERSONAL_DATA_READ,
        at=at,
        actor=by,
        incident=incident,
        body={**reading, "stage": "ended", "letters": written, "skipped": skipped, "sha256": digest.hexdigest()},
    )
    return LetterReport(letters=written, skipped=skipped, file=str(file))


ADDRESS = ("street", "city", "region", "postcode", "country")
COLUMNS = ("case_code", "customer_number", "name", *ADDRESS)


def _cell(value: str) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
