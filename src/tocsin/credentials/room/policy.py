"""The decisions of the waiting room. Pure: time, measurements and buckets are arguments.

Admission is a token bucket of at most BURST_S of the rate, shared out over lanes by weight and moved along each lane's histogram of
tickets per second. The rate follows what the hashing pool was measured to do, lowered at once when people wait in front of it and raised
slowly otherwise (additive increase would take minutes after a cut of a large rate, so both are factors).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Bucket = tuple[int, int]  # second since 1970, tickets issued in it

CAPACITY_SHARE = 0.85  # of the measured capacity, at factor 1
FACTOR_MIN, FACTOR_MAX = 0.2, 1.08  # of it: between 17 % and 92 % of the capacity
GROW_PER_S = 1.05
CUT = 0.7
REFUSED_MAX = 0.10  # one core at 90 % turns back 4 in 100 by chance alone (M/D/1 with four places); they keep place and pass
CUT_EVERY_S = 8.0  # longer than the waits are remembered for (meter.WINDOW_S), or one crowd would be answered by several cuts
P95_MS_MAX = 250.0
P95_HASHES_MAX = 3.0  # on a machine so slow that this many hashes take longer than P95_MS_MAX, one or two people in front are no surge
BURST_S = 1.0  # unused rate is kept this long
TICK_S_MAX = 2.0  # after a pause of the leader no more than this is made up for
SHOW_UP_MIN = 0.2
SHOW_UP_HALF_LIFE_S = 300.0
SHOW_UP_LAG_S = 300.0  # mean time from being let in to the new password: the letter's way, and typing
SHOW_UP_PRIOR = 50.0  # admissions that the first guess (everybody comes) weighs as much as
MAIL_SHARE = 0.7  # a mailing may bring in this much of the capacity; the rest is for people who come by themselves
CLICK_RATE = 0.25  # of the people mailed, those who set a new password: opened 0.45 x reset 0.55 as in the forecast's defaults
REFRESH_S, REFRESH_S_MAX = 20.0, 1800.0
JITTER = 0.25
POLLS_PER_S_MAX = 500.0
TRIES_FREE = 5  # wrong passwords in a row before anybody is slowed down
TRIES_MAX_HERE = 25  # from one network: no single one uses up what all have together
TRIES_MAX = 100  # Source: NIST SP 800-63B-4 s3.2.2: at most 100 consecutive failed attempts
TRY_DELAY_S_MAX = 900.0
TRIES_FORGOTTEN_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Queue:
    """One lane: its watermark, its tickets per second in the order of the seconds, and its weight."""

    mark: float
    buckets: Sequence[Bucket]
    weight: float


def waiting(queue: Queue, *, upto: float = float("inf")) -> float:
    """Return how many tickets of a lane lie between its watermark and `upto` (seconds whose bucket begins before it, whole)."""
    return sum(n * (1.0 - _passed(queue.mark, s)) for s, n in queue.buckets if s < upto)


def ahead(buckets: Sequence[Bucket], *, mark: float, position: float) -> float:
    """Return how many tickets lie between a watermark and a place."""
    return sum(n * max(0.0, _passed(position, s) - _passed(mark, s)) for s, n in buckets)


def _passed(mark: float, second: int) -> float:
    """Return which share of a second's bucket lies before a mark."""
    return min(1.0, max(0.0, mark - second))


def advance(queue: Queue, *, budget: float, upto: int) -> tuple[float, float]:
    """Return the new watermark and how many tickets it passes: at most `budget`, and no second from `upto` on, which is still filling."""
    mark, taken = queue.mark, 0.0
    for second, n in queue.buckets:
        if second >= upto:
            break
        left = n * (1.0 - _passed(mark, second))
        if left <= 0.0:
            continue
        take = min(left, budget - taken)
        if take < left:
            if take > 0.0:
                mark = max(mark, float(second)) + take / n
            return mark, taken + max(0.0, take)
        mark, taken = second + 1.0, taken + left
    return max(mark, float(upto)), taken


def admit(queues: Mapping[int, Queue], *, budget: float, upto: int) -> dict[int, tuple[float, float]]:
    """Return each lane's new watermark and how many it lets through: at most `budget` together, shared by weight among those who wait.

    Work-conserving: what a lane cannot use goes to the others. Every lane's watermark passes seconds in which nobody waits for free.
    """
    given = dict.fromkeys(queues, 0.0)
    left = max(0.0, budget)
    hungry = {lane: waiting(q, upto=upto) for lane, q in queues.items()}
    hungry = {lane: n for lane, n in hungry.items() if n > 0.0}
    while left > 1e-9 and hungry:
        share = left / sum(queues[lane].weight for lane in hungry)
        served = {lane: min(n, share * queues[lane].weight) for lane, n in hungry.items()}
        for lane, n in served.items():
            given[lane] += n
        left -= sum(served.values())
        hungry = {lane: n - served[lane] for lane, n in hungry.items() if n - served[lane] > 1e-9}
    return {lane: advance(q, budget=given[lane], upto=upto) for lane, q in queues.items()}


def strained(*, wait_p95_ms: float, hash_ms: float, refused: float) -> bool:
    """Tell whether a pool in which one hash takes so long keeps people waiting for too long, or turns too many back."""
    if 0.05 <= refused <= REFUSED_MAX:  # the percentile is that of a refusal then, and tells nothing of the waits
        return False
    return wait_p95_ms > max(P95_MS_MAX, P95_HASHES_MAX * hash_ms)


def factor(now: float, *, strained: bool, elapsed_s: float, since_cut_s: float) -> tuple[float, bool]:
    """Return the factor on the measured capacity after `elapsed_s`, and whether it was cut: at most every CUT_EVERY_S."""
    if strained:
        if since_cut_s < CUT_EVERY_S:
            return now, False
        return max(FACTOR_MIN, now * CUT), True
    return min(FACTOR_MAX, now * GROW_PER_S ** max(0.0, min(elapsed_s, TICK_S_MAX))), False


def rate_per_s(*, capacity_per_s: float, factor: float, show_up: float, write_rate_per_s: float | None) -> float:
    """Return how many people a second are let through: so many that those who then send the form fill the share of the capacity.

    `write_rate_per_s` is what the slowest connector can take; None is no limit.
    """
    resets = CAPACITY_SHARE * factor * capacity_per_s
    if write_rate_per_s is not None:
        resets = min(resets, write_rate_per_s)
    return resets / min(1.0, max(SHOW_UP_MIN, show_up))


def credit(left: float, *, rate_per_s: float, elapsed_s: float, direct: float) -> float:
    """Return the budget of this tick: what was left and what the rate brought, at most BURST_S above one tick's, less who went in directly.

    It may be below zero: people who came back late were let in at once and are paid for by the next ticks, at most TICK_S_MAX of them.
    """
    step = rate_per_s * max(0.0, min(elapsed_s, TICK_S_MAX))
    full = min(left, rate_per_s * BURST_S) + step - direct
    return max(-rate_per_s * TICK_S_MAX, min(full, rate_per_s * BURST_S + step))


def show_up(issued: float, used: float) -> float:
    """Return the share of people let through who then set a password, from decayed totals and a first guess that all do."""
    return min(1.0, max(SHOW_UP_MIN, (used + SHOW_UP_PRIOR) / (issued + SHOW_UP_PRIOR)))


def matured(pending: float, *, elapsed_s: float) -> float:
    """Return how many of the people let in are due by now. Whoever was let in a moment ago has not failed to come."""
    return float(pending * (1.0 - math.exp(-max(0.0, elapsed_s) / SHOW_UP_LAG_S)))


def decay(total: float, *, elapsed_s: float) -> float:
    """Return a total that forgets half of itself in SHOW_UP_HALF_LIFE_S."""
    return float(total * 0.5 ** (max(0.0, elapsed_s) / SHOW_UP_HALF_LIFE_S))


def may_open(*, waiting: float, coming: float, credit: float) -> bool:
    """Tell whether the room can be opened: nobody waits whose second is over, and those of the seconds still filling fit into the credit."""
    return waiting <= 1e-6 and coming <= max(0.0, credit)


def refresh_s(*, wait_s: float, waiting: float, jitter: float) -> int:
    """Return after how many seconds a waiting page asks again: 15 to 25, longer the longer the queue. `jitter` is from 0 to 1.

    Bounded so that everybody together asks at most POLLS_PER_S_MAX times a second.
    """
    base = min(REFRESH_S_MAX, max(REFRESH_S, wait_s / 10.0, waiting / POLLS_PER_S_MAX))
    return max(1, round(base * (1.0 - JITTER + 2 * JITTER * jitter)))


def mail_rate_per_s(capacity_per_s: float) -> float:
    """Return how many notices a second a reset site of this capacity can bear."""
    return MAIL_SHARE * capacity_per_s / CLICK_RATE


def try_wait_s(failures: int, *, since_s: float, most: int = TRIES_MAX) -> float:
    """Return how long the next password for a login must wait: nothing for the first TRIES_FREE, then 1 s doubling to 15 minutes.

    After `most` in a row a day, or a new password by mail. Tries made while waiting are not counted, so a stranger cannot prolong it.
    """
    if failures >= most:
        return max(0.0, TRIES_FORGOTTEN_S - since_s)
    if failures < TRIES_FREE:
        return 0.0
    return max(0.0, min(TRY_DELAY_S_MAX, 2.0 ** min(failures - TRIES_FREE, 20)) - since_s)


def pacer_delay_s(*, ready_at: float, now: float, burst: float, every_s: float, delay_s_max: float) -> tuple[float, float]:
    """Return when the next one from here is due, and the delay of this one: after a free burst, one every `every_s`, at most `delay_s_max`.

    A leaky bucket kept as one instant. It slows down and refuses nobody: past the bound everything waits equally long.
    """
    ready = min(max(ready_at, now), now + burst * every_s + delay_s_max)
    return ready + every_s, max(0.0, ready - now - burst * every_s)
