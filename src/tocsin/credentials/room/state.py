"""What a node knows of the room: one immutable picture, replaced as a whole, read by request threads without a lock."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from tocsin.credentials.places import WEIGHTS, Lane, Place
from tocsin.kernel import sql

from . import policy


@dataclass(frozen=True)
class Buckets:
    """The tickets of one lane per second, with sums, so that a place is found in a long queue in a few microseconds."""

    seconds: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()
    sums: tuple[int, ...] = (0,)

    @classmethod
    def of(cls, buckets: Sequence[policy.Bucket]) -> Buckets:
        """Return the buckets of (second, tickets) in the order of the seconds."""
        counts = tuple(n for _, n in buckets)
        return cls(tuple(s for s, _ in buckets), counts, (0, *accumulate(counts)))

    def below(self, position: float) -> float:
        """Return how many tickets lie before a place."""
        at = bisect_left(self.seconds, math.floor(position))
        part = position - self.seconds[at] if at < len(self.seconds) and self.seconds[at] == math.floor(position) else 0.0
        return self.sums[at] + (self.counts[at] * part if part else 0.0)


@dataclass(frozen=True)
class Picture:
    """The room as the database holds it."""

    open: bool = True
    rate_per_s: float = 0.0
    nodes: int = 1
    admitted_per_s: float = 0.0
    marks: Mapping[int, float] = field(default_factory=dict)
    buckets: Mapping[int, Buckets] = field(default_factory=dict)

    def passes(self, place: Place) -> bool:
        """Tell whether a place is let through."""
        return self.open or place.position < self.marks.get(place.lane, 0.0)

    def ahead(self, place: Place) -> int:
        """Return how many people of the same lane wait before a place."""
        found = self.buckets.get(place.lane)
        return max(0, round(found.below(place.position) - found.below(self.marks.get(place.lane, 0.0)))) if found else 0

    def waiting(self) -> dict[int, int]:
        """Return how many people wait in each lane."""
        return {lane: max(0, round(b.sums[-1] - b.below(self.marks.get(lane, 0.0)))) for lane, b in self.buckets.items()}

    def wait_s(self, place: Place, ahead: int) -> float:
        """Return how long a place still waits at the present rate and its lane's share of it."""
        busy = {lane for lane, n in self.waiting().items() if n} | {int(place.lane)}
        share = WEIGHTS[place.lane] / sum(WEIGHTS[Lane(lane)] for lane in busy)
        return (ahead + 1) / max(self.rate_per_s * share, 0.01)


def load() -> Picture:
    """Return the room as it is now; an open one if no node has reported yet."""
    found = sql.rows("credentials", "room_now")
    if not found:
        return Picture()
    is_open, rate, nodes, admitted = found[0][:4]
    if is_open:
        return Picture(rate_per_s=rate, nodes=max(1, nodes), admitted_per_s=admitted)
    grouped: dict[int, list[policy.Bucket]] = {}
    for lane, second, n in sql.rows("credentials", "room_seconds"):
        grouped.setdefault(lane, []).append((second, n))
    return Picture(
        open=False,
        rate_per_s=rate,
        nodes=max(1, nodes),
        admitted_per_s=admitted,
        marks={lane: mark for lane, mark, _ in sql.rows("credentials", "room_lanes")},
        buckets={lane: Buckets.of(b) for lane, b in grouped.items()},
    )
