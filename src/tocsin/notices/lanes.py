"""A lane listens: what receivers say slows it down, pauses it, or breaks it, within the transaction that writes their replies down.

What a receiver makes of us is the mail room's, for everything we send to it; the lane's row holds a copy with its own breaker
(`mail.shaping.policy.Memory`) and what follows from it for the senders: `held_rate_per_s` and
`held_connections` until `held_until`. Senders look at the row every half second, so a pause acts as quickly as one that a person orders.
Every change is an entry of the evidence; one that a person must look at also goes to `[mail] alarm_address`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel import clock, config
from tocsin.kernel.errors import NotFound, Refused
from tocsin.kernel.private import Private
from tocsin.mail import actions as mail
from tocsin.mail import queries as mail_now
from tocsin.mail.types import Heard, LaneMemory
from tocsin.staff import actions as staff_actions
from tocsin.staff import queries as staff

from .models import Lane, Mailing

ACT = "notices.release_lane"
GRAVITY = {"adapt": 1, "slow": 2, "pause": 3, "breaker": 4}
LONG = timedelta(days=3650)  # as long as nobody changes it


def hear(lane: int, heard: Sequence[Heard], *, sent: int, measured_per_s: float, at: datetime) -> None:
    """Let a lane react to what receivers said of `sent` messages, `heard` being the replies that were no plain acceptance.

    Joins the caller's transaction and locks the lane's row, so call it last.
    """
    mail.lock(Lane.objects.values_list("provider", flat=True).get(pk=lane))  # before the lane: single mails hold it alone
    row = Lane.objects.select_for_update(no_key=True).get(pk=lane)
    before = mail_now.lane_memory(row.memory)
    now, verdicts = mail.hear(
        row.provider,
        before,
        heard,
        sent=sent,
        cap_per_s=row.rate_per_s,
        connections=row.connections,
        measured_per_s=measured_per_s,
        at=at,
    )
    if now == before:
        return
    for verdict in verdicts:  # the gravest is what people are told
        if GRAVITY[verdict.what] >= GRAVITY.get(row.held_what, 0):
            row.held_what, row.held_why = verdict.what, verdict.why
    _store(row, now, at=at)
    for verdict in verdicts:
        body = {"mailing": row.mailing_id, "lane": lane, "provider": row.provider, "what": verdict.what, "for_s": round(verdict.for_s)}
        incident = Mailing.objects.values_list("incident", flat=True).get(pk=row.mailing_id)
        evidence.record(EventType.LANE_SLOWED, at=at, actor="sender", incident=incident, body={**body, "why": verdict.why})
        if verdict.page:
            _page(row, what=verdict.what, why=verdict.why, at=at)


def refresh(lane: int, *, at: datetime) -> None:
    """Bring a lane to what its receiver makes of us by now: a hold that has run out, or what it said to somebody else of us.

    Joins the caller's transaction.
    """
    row = Lane.objects.select_for_update(no_key=True).get(pk=lane)
    known = mail_now.receiver_now(row.provider, at=at).memory
    _store(row, mail_now.lane_with_receiver(mail_now.lane_memory(row.memory), known), at=at)


def release(lane: int, *, approval: int | None, at: datetime, by: str) -> None:
    """Let a lane go on that the breaker stopped, after two people signed; without an approval asks for it and raises Refused(approval=…).

    Raises NotFound; Refused if the lane is not broken.
    """
    row = Lane.objects.select_related("mailing").filter(pk=lane).first()
    if row is None:
        raise NotFound(f"no lane {lane}")
    memory = mail_now.lane_memory(row.memory)
    if not memory.broken:
        raise Refused(f"lane {lane} ({row.provider}) is not broken")
    payload = {"lane": lane, "mailing": row.mailing_id, "provider": row.provider, "asked": memory.asked, "failed_hard": memory.failed_hard}
    if approval is None:
        raise Refused(f"{ACT} needs the approval of two people", approval=staff_actions.request(ACT, payload, by=by, at=at))
    with transaction.atomic():
        staff.require(approval, act=ACT, payload=payload)
        staff_actions.close(approval, at=at)
        row = Lane.objects.select_for_update(no_key=True).select_related("mailing").get(pk=lane)
        _store(row, mail_now.released_lane(mail_now.lane_memory(row.memory)), at=at)
        body: dict[str, Any] = {**payload, "approval": approval, "what": "released"}
        evidence.record(EventType.LANE_SLOWED, at=at, actor=by, incident=row.mailing.incident, body=body)


def _store(row: Lane, memory: LaneMemory, *, at: datetime) -> None:
    at_s = at.timestamp()
    limits = mail_now.lane_limits(memory, at=at, cap_per_s=row.rate_per_s, connections=row.connections)
    ends = [memory.paused_until] if memory.paused_until > at_s else [memory.slow_until] if memory.slow_until > at_s else []
    held = limits.rate_per_s < row.rate_per_s or limits.connections < row.connections
    row.memory = memory.as_json()
    row.held_rate_per_s = limits.rate_per_s if held else None
    row.held_connections = limits.connections if held else None
    row.held_until = (clock.from_us(round(ends[0] * 1_000_000)) if ends and not memory.broken else at + LONG) if held else None
    if not held:
        row.held_what = row.held_why = ""
    row.save(update_fields=["memory", "held_rate_per_s", "held_connections", "held_until", "held_what", "held_why"])


def _page(row: Lane, *, what: str, why: str, at: datetime) -> None:
    """Write to whoever is on call, in the same transaction; the log has it in any case."""
    current = config.current().mail
    if not current.alarm_address:
        return
    mail.queue_single(
        purpose="alarm",
        to=Private(current.alarm_address),
        subject=f"Mailing {row.mailing_id}: lane {row.provider} is held ({what})",
        text=f"The lane {row.provider} of mailing {row.mailing_id} is held.\n\nReason: {why}\n\nSee the mailing's page in the console.\n",
        at=at,
        dedupe_key=f"lane:{row.pk}:{what}:{int(at.timestamp())}",
    )
