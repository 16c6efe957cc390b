"""What comes back after the hand-over: reports of failure, complaints and automatic answers.

A report counts only at a bounce address with our MAC. One that says that the address is of no more use moves the recipient to bounced; one
that says that it fails for now lets the mailbox be tried again for `Retry.soft_days`, then it counts as failed. A complaint (RFC 5965) is
written down and un-notifies nobody; an automatic answer (RFC 3834) says that the mailbox works. What happens to those who bounced: `reach`.
Replies to the sender and reports by mail are read by the same classifier (`mail.parse.reason`).
"""

from __future__ import annotations

import re
from datetime import datetime

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Least

from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel import clock
from tocsin.kernel.errors import Busy, NotFound
from tocsin.mail import queries as mail
from tocsin.mail.types import InboundInfo, InboundKind
from tocsin.subjects import queries as subjects

from . import policy
from .models import Batch, Bounce, Cursor, Mailing, RecipientException
from .reach import reopen
from .sending import ACTOR
from .types import Retry

CURSOR = "bounces"
BOUNCE_ROWS = 500  # inbound mails taken in one transaction
KINDS = (InboundKind.BOUNCE, InboundKind.COMPLAINT, InboundKind.AUTO)
_BOUNCE_ADDRESS = re.compile(rb"b\+\d{1,19}\.\d{1,10}\.[0-9a-fA-F]{13}@[A-Za-z0-9.-]{1,253}")
ORIGINAL_BYTES_MAX = 256 * 1024  # of a complaint: the headers of our mail stand in its first parts
ADDRESSES_TRIED_MAX = 4


def record_failure(batch: int, n: int, *, at: datetime, status: str, reason: str, hard: bool = True) -> bool:
    """Count a recipient whose mail was handed over as bounced; return whether that changed anything. Joins the caller's transaction or
    makes one.

    `n` as it stands in the bounce address. Not `hard`: the mailbox is tried again while `Retry.soft_days` last, and counts as deferred.
    Changes nothing for a recipient who is already deferred, bounced or due for a letter, nor for an address that was given up for the next
    one. Raises NotFound for a block or place that never was, Busy while a sender holds the block of somebody who would wait again.
    """
    place, rank = policy.place_of(n)
    with transaction.atomic():
        block = Batch.objects.select_for_update(no_key=True).filter(pk=batch).first()
        if block is None or not 0 <= place < block.n:
            raise NotFound(f"no block {batch} with a place {place}")
        if place not in policy.places(bytes(block.tried)):
            raise NotFound(f"block {batch}: place {place} has no outcome yet")
        known = RecipientException.objects.filter(batch=block, place=place).first()
        if (known is not None and known.state != "told") or rank != (known.rank if known else 0):
            return False
        reports = (known.soft if known else 0) + 1
        due = None if hard else policy.soft_try(reports=reports, at=at, retry=_retry(block.mailing_id))
        if due is not None and sent_now(block):
            raise Busy(f"block {batch} is being sent; its sender would not see that place {place} waits again", retry_after_s=5)
        subject = block.subjects[place]
        text = policy.masked(reason, "")
        RecipientException.objects.update_or_create(
            batch=block,
            place=place,
            defaults={
                "mailing_id": block.mailing_id,
                "subject": subject,
                "state": "bounced" if due is None else "deferred",
                "enhanced": status[:20],
                "text": text,
                "tried_at": at,
                "next_at": due,
                "soft": reports if not hard else 0,
            },
        )
        _count(block, due=due)
        incident = Mailing.objects.values_list("incident", flat=True).get(pk=block.mailing_id)
        salt = subjects.salts([subject]).get(subject)
        if salt is not None:
            body = {"mailing": block.mailing_id, "block": batch, "place": place, "enhanced": status[:20], "reply": text, "reported": True}
            again = {"again_at": clock.iso(due)} if due else {}
            evidence.record_subject(
                EventType.NOTICE_FAILED if due is None else EventType.NOTICE_PUT_OFF,
                at=at,
                actor=ACTOR,
                incident=incident,
                subject=subject,
                salt=salt,
                body={**body, **again},
            )
        if due is not None:
            reopen(block.mailing_id, at=at, why="a mailbox fails for now")
    return True


def sent_now(block: Batch) -> bool:
    """Tell whether a sender holds the block: its memory would overwrite what is written beside it. The row must be locked."""
    return block.state == "open" and block.connections > 0 and block.lease_until > clock.now()


def _count(block: Batch, *, due: datetime | None) -> None:
    """Move one recipient from handed over to bounced, or to deferred: then the block is open again from when it is due."""
    row = Batch.objects.filter(pk=block.pk)
    if due is None:
        row.update(handed_over=F("handed_over") - 1, bounced=F("bounced") + 1)
    elif block.state == "done":
        row.update(handed_over=F("handed_over") - 1, deferred=F("deferred") + 1, state="open", lease_until=due, fence=F("fence") + 1)
    else:
        row.update(
            handed_over=F("handed_over") - 1, deferred=F("deferred") + 1, lease_until=Least(F("lease_until"), due), fence=F("fence") + 1
        )


def _retry(mailing: int) -> Retry:
    first_s, tries_max, days = Mailing.objects.values_list("retry_first_s", "retry_tries_max", "retry_soft_days").get(pk=mailing)
    return Retry(first_s=first_s, tries_max=tries_max, soft_days=days)


def take_bounces(*, at: datetime) -> int:
    """Take in what machines sent back to our bounce addresses; return how many recipients it moved.

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
        found = mail.inbound(after_id=cursor.after_id, kinds=KINDS, limit=BOUNCE_ROWS)
        rows = [row for info in found if (row := _row(info)) is not None]
        Bounce.objects.bulk_create(rows, ignore_conflicts=True)
        if found:
            cursor.after_id = max(info.id for info in found)
            cursor.save(update_fields=["after_id"])
    return len(found) == BOUNCE_ROWS


def _row(info: InboundInfo) -> Bounce | None:
    """Return what a mail says of a recipient of ours, None if it names none."""
    if info.verp is None and info.kind != InboundKind.COMPLAINT:
        return None
    verp = info.verp or _original(info.id)
    if verp is None:
        return None
    place, rank = policy.place_of(verp[1])
    row = Bounce(
        inbound=info.id, batch=verp[0], place=place, rank=rank, hard=False, received_at=info.received_at, kind=str(info.kind.value)
    ) if info.kind else None  # fmt: skip
    if row is None or info.kind != InboundKind.BOUNCE:
        return row
    reports = mail.open_inbound(info.id).classified.recipients
    failed = next((r for r in reports if r.action in ("failed", "")), None)
    if failed is None:
        return None
    row.status, row.reason, row.hard = failed.status, failed.reason, failed.hard
    return row


def _original(inbound: int) -> tuple[int, int] | None:
    """Return whom a complaint to another address of ours is about: our own bounce address, with its MAC, in the mail that it quotes."""
    content = mail.raw_inbound(inbound)[2].reveal()[:ORIGINAL_BYTES_MAX]
    addresses = list(dict.fromkeys(_BOUNCE_ADDRESS.findall(content)))[:ADDRESSES_TRIED_MAX]
    return next((v for v in (mail.verp_of(a.decode()) for a in addresses) if v is not None), None)


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
        changed = False
        if report.kind == "bounce":
            try:
                n = policy.wire_number(report.place, report.rank)
                changed = record_failure(report.batch, n, at=at, status=report.status, reason=report.reason, hard=report.hard)
            except (NotFound, Busy):
                if Batch.objects.filter(pk=report.batch, state="open").exists():
                    return False  # the block has not written this place down yet, or is being sent: next time
        elif not Bounce.objects.filter(pk=report.pk, applied_at=None).exists():
            return False
        elif report.kind == "complaint":
            _record_complaint(report, at=at)
        return bool(Bounce.objects.filter(pk=report.pk, applied_at=None).update(applied_at=at)) and changed


def _record_complaint(report: Bounce, *, at: datetime) -> None:
    """Record that somebody marked the notice as unwanted. Where they stand does not change: they were told, and the law wanted it."""
    block = Batch.objects.filter(pk=report.batch, n__gt=report.place).select_related("mailing").first()
    if block is None:
        return
    subject = block.subjects[report.place]
    salt = subjects.salts([subject]).get(subject)
    if salt is not None:
        body = {"mailing": block.mailing_id, "block": block.pk, "place": report.place, "inbound": report.inbound}
        evidence.record_subject(
            EventType.COMPLAINT_RECEIVED, at=at, actor=ACTOR, incident=block.mailing.incident, subject=subject, salt=salt, body=body
        )
