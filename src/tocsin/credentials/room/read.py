"""Reads of the waiting room for the console and for whoever paces mail."""

from __future__ import annotations

from datetime import datetime

from tocsin.credentials.places import Lane, LaneStatus, ResetCapacity, RoomStatus
from tocsin.kernel import sql

from . import policy, state
from .models import RoomLimit


def room_status(*, at: datetime) -> RoomStatus:
    """Return the room as its gauge shows it. Zeros before the first public process has reported."""
    found = sql.rows("credentials", "room_now")
    is_open, rate, nodes, admitted, capacity, hashes, p95, issued, used = (
        found[0] if found else (True, 0.0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    )
    picture = state.load()
    waiting = picture.waiting()
    lanes = {lane: (mark, n) for lane, mark, n in sql.rows("credentials", "room_lanes")}
    limit = RoomLimit.objects.filter(population="customers").values_list("per_s", flat=True).first()
    oldest = [
        max(float(second), picture.marks.get(lane, 0.0))
        for lane, buckets in picture.buckets.items()
        for second in buckets.seconds
        if second + 1 > picture.marks.get(lane, 0.0)
    ]
    return RoomStatus(
        open=is_open,
        waiting=sum(waiting.values()),
        admitted_per_s=round(admitted, 2),
        oldest_wait_s=round(max(0.0, at.timestamp() - min(oldest)), 1) if oldest else 0.0,
        rate_per_s=round(rate, 2),
        capacity_per_s=round(capacity, 2),
        hashes_per_s=round(hashes, 2),
        write_rate_per_s=limit,
        show_up=round(policy.show_up(issued, used), 3),
        wait_p95_ms=round(p95, 1),
        nodes=nodes,
        lanes=tuple(
            LaneStatus(lane.name.lower(), waiting.get(lane, 0), round(lanes[lane][1]), round(lanes[lane][0], 3))
            for lane in Lane
            if lane in lanes
        ),
    )


def reset_capacity() -> ResetCapacity:
    """Return what the reset site can bear now: resets per second (0 before anything was measured), and whether people wait."""
    found = sql.rows("credentials", "room_now")
    if not found:
        return ResetCapacity(per_s=0.0, mail_per_s=0.0, waiting=0, admitted_per_s=0.0, wait_p95_ms=0.0)
    _, rate, _, admitted, _, _, p95, issued, used = found[0]
    per_s = rate * policy.show_up(issued, used)
    return ResetCapacity(
        per_s=per_s,
        mail_per_s=policy.mail_rate_per_s(per_s),
        waiting=sum(state.load().waiting().values()),
        admitted_per_s=admitted,
        wait_p95_ms=p95,
    )
