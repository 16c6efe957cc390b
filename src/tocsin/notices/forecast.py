"""When a mailing ends: for each lane and in all, from what leaves per second now, what receivers hold back, and the relay's daily quota. Pure.

A lane goes on at the rate of its last minute, or of the whole mailing where it has none of its own yet, never above what it may use; while
it is paused its waiting begins when the pause ends. The quota is one for all lanes: each is given its share by who waits. The whole ends
with its latest lane, and not before the quota lets the rest out. Nobody knows (None) while a lane that has people waiting stands still until
somebody acts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

YEARS_S = 10 * 365 * 86_400.0  # what ends later ends never


@dataclass(frozen=True, slots=True)
class Load:
    """What a lane has to do: people waiting, handed over per second now, what it may use, seconds until a pause ends.

    `stands`: it does not go on by itself. `per_day`, `left_of_day`: of a warm-up, None without one.
    """

    waiting: int
    rate_per_s: float
    rate_max: float
    pause_s: float = 0.0
    stands: bool = False
    per_day: int | None = None
    left_of_day: int = 0


Finish = Callable[[int, float, int | None, int], float]  # waiting, rate, per day, left of the day: seconds; see mail's `finish_s`


def ends(
    loads: Sequence[Load], *, rate_per_s: float, per_day: int | None, left_of_day: int, finish: Finish, unlimited_per_s: float
) -> tuple[list[float | None], float | None]:
    """Return seconds until each lane has no one waiting, and until the whole has not; None where nobody knows."""
    waiting = sum(x.waiting for x in loads)
    lanes = [_end(x, waiting, rate_per_s, per_day, left_of_day, finish, unlimited_per_s) for x in loads]
    if any(x.waiting and x.stands for x in loads):
        return lanes, None
    whole = finish(waiting, rate_per_s, per_day, left_of_day)
    known = [s for s in lanes if s is not None]
    if whole >= YEARS_S:  # nothing left in the last minute: the lanes tell as far as they know
        return lanes, max(known) if len(known) == len(lanes) and known else None
    return lanes, max([whole, *known])


def _end(
    x: Load, waiting: int, rate_per_s: float, per_day: int | None, left_of_day: int, finish: Finish, unlimited_per_s: float
) -> float | None:
    if not x.waiting:
        return 0.0
    if x.stands:
        return None
    bound = x.rate_max if 0 < x.rate_max < unlimited_per_s else None
    rate = x.rate_per_s or rate_per_s or bound
    if rate is None:
        return None
    rate, share = min(rate, bound or rate), x.waiting / waiting
    # The quota's share of a small lane is no whole number: the lane ends when all would, if all went as fast as it does.
    seconds = x.pause_s + finish(waiting, rate / share, per_day, left_of_day)
    if x.per_day is not None:
        seconds = max(seconds, x.pause_s + finish(x.waiting, rate, x.per_day, x.left_of_day))
    return seconds if seconds < YEARS_S else None
