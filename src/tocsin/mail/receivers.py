"""What a receiver allows us now, over everything sent from one address: mailings and single mails, on every machine.

One row per source and receiver holds what its replies made of us (`shaping.policy.Memory`), a bucket for the rate while one is in force, and
how many were sent today. Single mails go first: they take from the bucket below zero, by up to a second's worth, and mailings wait for it;
of its connections one is theirs. A pause holds for them too: a receiver that said stop hears nothing.

The row's lock is held for the length of the caller's transaction: take it last, and before any lane's.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from django.db import transaction
from django.db.models.functions import Now

from tocsin.kernel import clock, config, sql
from tocsin.kernel.errors import Busy

from . import warmup
from .models import Outbound, Receiver
from .shaping import policy as shaping
from .shaping import table
from .types import Heard, LaneMemory, ReceiverNow, Verdict

UNLIMITED_PER_S = 100_000.0
SINGLE_WAIT_S_MAX = 300.0  # a paused single mail looks again that often at the latest
LINE_BUSY_S = 1.0


def source() -> str:
    """Return the name of where our mail leaves: the first of the addresses it is sent from, else the relay."""
    mail = config.current().mail
    return mail.sending_addresses.partition(",")[0].strip() or mail.relay_host


def now(receiver: str, *, at: datetime) -> ReceiverNow:
    """Return what a receiver allows us at a moment. Reads one row; a receiver that nobody wrote to yet allows what its shape does."""
    row = Receiver.objects.filter(source=source(), receiver=receiver).first()
    return _now(row, receiver, at=at)


def now_many(names: Collection[str], *, at: datetime) -> dict[str, ReceiverNow]:
    """Return what each receiver allows us, in one query."""
    rows = {row.receiver: row for row in Receiver.objects.filter(source=source(), receiver__in=names)}
    return {name: _now(rows.get(name), name, at=at) for name in names}


def _now(row: Receiver | None, receiver: str, *, at: datetime) -> ReceiverNow:
    shape, direct = table.shape_of(receiver), config.current().mail.direct
    memory = LaneMemory.of(row.memory) if row else LaneMemory()
    cap = shape.rate_per_s if direct and shape.rate_per_s else UNLIMITED_PER_S
    connections = shape.connections if direct else 1_000
    limits = shaping.limits(memory, at_s=at.timestamp(), cap_per_s=cap, connections=connections)
    per_day = warmup.allowed(receiver, first_used_at=row.first_used_at if row else None, at=at)
    sent = row.sent_of_day if row and row.day == at.date() else 0
    return ReceiverNow(
        memory=memory,
        rate_per_s=limits.rate_per_s,
        connections=limits.connections,
        messages_per_connection=min(limits.messages_per_connection or 10**9, shape.messages_per_connection if direct else 10**9),
        per_day=per_day,
        left_of_day=None if per_day is None else max(0, per_day - sent),
        first_used_at=row.first_used_at if row else None,
    )


def lock(receiver: str) -> Receiver:
    """Return the row, made if there is none, locked until the caller's transaction ends."""
    Receiver.objects.get_or_create(source=source(), receiver=receiver)
    return Receiver.objects.select_for_update(no_key=True).get(source=source(), receiver=receiver)


def hear(
    receiver: str,
    breaker: LaneMemory,
    heard: Sequence[Heard],
    *,
    sent: int,
    cap_per_s: float,
    connections: int,
    measured_per_s: float,
    at: datetime,
) -> tuple[LaneMemory, list[Verdict]]:
    """Let a receiver's memory react to what it said of `sent` messages, and count them; return it with the lane's breaker, and what changed.

    Joins the caller's transaction. A rate adapted or asked for holds for everybody who sends to it; the breaker is the lane's alone.
    """
    row = lock(receiver)
    before = shaping.shared(LaneMemory.of(row.memory), breaker)
    memory, verdicts = shaping.judge(
        before,
        heard,
        sent=sent,
        receiver=receiver,
        reactions=table.reactions(),
        cap_per_s=cap_per_s,
        measured_per_s=measured_per_s,
        connections=connections,
    )
    if not any(h.us for h in heard):
        memory = shaping.recover(memory, at_s=at.timestamp(), cap_per_s=cap_per_s)
    _write(row, memory, receiver, sent=sent, cap_per_s=cap_per_s, connections=connections, at=at)
    return memory, verdicts


def _write(row: Receiver, memory: LaneMemory, receiver: str, *, sent: int, cap_per_s: float, connections: int, at: datetime) -> None:
    limits = shaping.limits(shaping.of_receiver(memory), at_s=at.timestamp(), cap_per_s=cap_per_s, connections=connections)
    ends = (
        [memory.paused_until] if memory.paused_until > at.timestamp() else [memory.slow_until] if memory.slow_until > at.timestamp() else []
    )
    held = limits.rate_per_s < cap_per_s
    row.memory = shaping.of_receiver(memory).as_json()
    row.held_rate_per_s = limits.rate_per_s if held else None
    row.held_until = clock.from_us(round(ends[0] * 1_000_000)) if held and ends else None
    if row.day != at.date():
        row.day, row.sent_of_day = at.date(), 0
    row.sent_of_day += sent
    row.first_used_at = row.first_used_at or (at if sent else None)
    row.save(update_fields=["memory", "held_rate_per_s", "held_until", "day", "sent_of_day", "first_used_at"])


def take(receiver: str, n: int, *, rate_per_s: float) -> float:
    """Debit a receiver's bucket, refilled at a rate, by `n` messages; return what is in it. Below zero: wait."""
    Receiver.objects.get_or_create(source=source(), receiver=receiver)
    ((tokens,),) = sql.rows("mail", "take", source=source(), receiver=receiver, n=n, rate=rate_per_s)
    return float(tokens)


def admit(receiver: str, *, at: datetime, outbound: int) -> None:
    """Let a single mail go to a receiver now, or raise Busy with when to come again: a pause, the rate, or no connection free."""
    allowed = now(receiver, at=at)
    if allowed.rate_per_s <= 0:
        wait_s = max(LINE_BUSY_S, allowed.memory.paused_until - at.timestamp())
        raise Busy(f"{receiver} asked for a pause", retry_after_s=min(wait_s, SINGLE_WAIT_S_MAX))
    if singles_open(receiver, but=outbound) >= allowed.connections:
        raise Busy(f"every connection to {receiver} is in use", retry_after_s=LINE_BUSY_S)
    if allowed.rate_per_s < UNLIMITED_PER_S:
        with transaction.atomic():
            tokens = take(receiver, 1, rate_per_s=allowed.rate_per_s)
            if tokens < -max(1.0, allowed.rate_per_s):
                # The debit goes with the transaction.
                raise Busy(f"{receiver} takes {allowed.rate_per_s:.3g} a second", retry_after_s=max(1.0, -tokens / allowed.rate_per_s))


def singles_open(receiver: str | None = None, *, but: int = 0) -> int:
    """Return how many single mails are being sent now, to one receiver or all: each holds one connection."""
    found = Outbound.objects.filter(state="open", lease_until__gt=Now()).exclude(pk=but)
    return found.filter(receiver=receiver).count() if receiver is not None else found.count()
