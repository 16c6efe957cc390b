"""The forecast and the pace of a mailing as pure functions.

Forecast: responses as linear pools in waking time, phones by a Gaussian closure, letters first in, first out.

Design: what the mailing triggers is linear, so the pools run once for all draws and each draw is one product; only the phones need a
loop over time, with the draws as a vector. Uncertainty is in the parameters (Poisson noise would add 0.1 %), so those are drawn.
Refused: simulating single calls (minutes instead of half a second), a pure fluid for the phones (off by up to .09 at load 1).
Arrays: axis 0 is time, axis 1 the draws. Times in hours unless the name says otherwise. Source: surge.md section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.special import ndtr

from .types import Desk, Forecast, Pace, Params, Phone, Spread, Steered

Array = NDArray[np.float64]

ACTIVITY = np.array(
    [0.35, 0.2, 0.13, 0.1, 0.12, 0.25, 0.6, 1, 1.35, 1.5, 1.55, 1.5, 1.45, 1.4, 1.4, 1.4, 1.4, 1.4, 1.4, 1.45, 1.45, 1.35, 1.05, 0.65]
)  # by local hour
ZONES = ((0.47, 0), (0.29, 1), (0.07, 2), (0.17, 3))  # share of customers, hours behind the eastern zone
HALF_LIVES = np.array([0.25, 1.0, 4.0, 16.0, 64.0, 256.0])
RATES = np.log(2) / HALF_LIVES
PRESS_WEIGHTS = np.array([0, 0.018, 0.1953, 0.3542, 0.2279, 0.2047])  # log-normal, median 24 h, sigma 2
DEFLECTION, DEFLECTION_H, BULK_H = 0.35, 12.0, 18.0  # what public answers save, how fast it sets in; how fast released answers do
WRITES_AFTER_LOST_CALL = 0.3
SHIFTS = ((7, 15), (15, 23))
HANGS_UP_OK = 0.05
TRUNKS_MAX = 10_000_000
WAIT_H_MAX = 87_600.0  # ten years stand for "never": nobody answers at all
MAIL_SHARE = 0.7  # of the reset site's capacity for those whom the mailing brings; the rest is for people who come by themselves
CLICK_PRIOR = 1_000  # mails that the configured share weighs as much as
HOUR_S = 3600.0  # over which those come whom the share counts
QUEUE_S = 60.0  # who waits no longer than this is served while the mails that brought more are still on their way
DEADLINE_MARGIN = 1.1  # faster than the deadline needs: a receiver's pause must not break it
PAGE_P95_MS_MAX = 2_000.0  # what the form of a reset may wait in its queue at most; the hash itself takes about 25 ms of one core
DESK_OPEN_MIN = 50  # fewer are no queue: one person answers so many before lunch
SATURATED_S = 1_800.0  # so much work waiting means that nobody at the desk is idle
DESK_WINDOW_S = 6 * 3600.0  # over which the desk's answers are counted
SAMPLE_S = 300.0
LOOK_S = 3600.0
ANSWERS_MIN = 30
FLOOR_PER_S = 1.0
STEP = 0.1  # a lane is steered again when it is off by this share


# --- arrivals ----------------------------------------------------------------------------------------------------------------------


def kernel_weights(median_h: float, sigma: float) -> Array:
    """Return the weights of the six exponentials (`HALF_LIVES`) that stand for a log-normal delay; they sum to 1.

    Non-negative least squares on 60 points of the distribution function; its largest error is .4 percentage points at (4.6, 2.1).
    """
    at = np.geomspace(0.05, 2_000, 60)
    wanted = ndtr(np.log(at / median_h) / sigma)
    basis = 1 - np.exp(-np.outer(at, RATES))
    weights, _ = nnls(np.vstack([basis, np.full(len(RATES), 1_000.0)]), np.append(wanted, 1_000.0))
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def kernel_cdf(weights: Array, tau: Array) -> Array:
    """Return the share of answers that have come after `tau` waking hours."""
    return np.asarray((1 - np.exp(-np.outer(tau, RATES))) @ weights, dtype=np.float64)


def waking(hours: Array, *, start_hour: float, behind: int, activity: Array = ACTIVITY) -> Array:
    """Return the activity of a zone at each time: its local-hour curve, mean 1."""
    curve = activity / activity.mean()
    return np.asarray(curve[((hours + start_hour - behind) % 24).astype(int)], dtype=np.float64)


def pool_outflow(delivered: Array, dtau: Array) -> Array:
    """Return how much leaves each of the six pools in each step, from mails delivered evenly over the steps. Shape (steps, 6).

    Exact for constant inflow and activity within a step: P' = P e^(-l dtau) + m (1 - e^(-l dtau)) / (l dtau).
    """
    x = np.outer(dtau, RATES)
    keep = np.exp(-x)
    part = -np.expm1(-x) / x
    out = np.empty_like(x)
    pool = np.zeros(len(RATES))
    for t in range(len(dtau)):
        left = pool * keep[t] + delivered[t] * part[t]
        out[t] = pool + delivered[t] - left
        pool = left
    return out


def impulse_outflow(size: float, at: int, dtau: Array) -> Array:
    """Return the same for an impulse of `size` at the start of step `at`."""
    tau = np.concatenate([np.zeros(at + 1), np.cumsum(dtau[at:])])
    return np.asarray(size * -np.diff(np.exp(-np.outer(tau, RATES)), axis=0)[: len(dtau)], dtype=np.float64)


def mail_schedule(total: float, per_hour: float, steps: int, dt: float) -> Array:
    """Return the mails sent in each step at a steady rate until all are sent."""
    edges = np.minimum(total, per_hour * dt * np.arange(steps + 1))
    return np.asarray(np.diff(edges), dtype=np.float64)


# --- phones ------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PhoneRun:
    """Calls per step and draw; `left` are those still in the queue or being served at the end, `orbit` those who meant to try again."""

    offered: Array
    served: Array
    abandoned: Array
    blocked: Array
    left: Array
    orbit: Array
    queue: Array


def phones(fresh: Array, *, agents: Array, dt: float, mu: Array, theta: Array, redial: Array, delta: Array, trunks: float) -> PhoneRun:
    """Run the phones: fresh calls (steps, draws), agents per step, service, patience and redial rates per hour and draw.

    Erlang-A with time-varying load by a Gaussian closure of the number in the system (mean m, variance v), redials through an orbit Y, and
    implicit steps, so that any step length is stable. Mass closes: offered = served + abandoned + blocked + left. The closure is within
    .002 of exact Erlang-A in the share that hangs up, for 20 to 1,000 agents.
    """
    steps, draws = fresh.shape
    m, v, orbit = np.zeros(draws), np.full(draws, 1e-9), np.zeros(draws)
    offered, served, abandoned, blocked, queue = (np.zeros((steps, draws)) for _ in range(5))
    back = -np.expm1(-delta * dt)
    for t in range(steps):
        s = agents[t]
        sd = np.sqrt(np.maximum(v, 1e-9))
        chi = (m - s) / sd
        ph = ndtr(chi)
        e0 = sd * np.exp(-chi * chi / 2) / np.sqrt(2 * np.pi) + (m - s) * ph
        came = fresh[t] + orbit * back
        k = mu * (1 - ph) + theta * ph
        after = (m + came - dt * (mu * (ph * m - e0) + theta * (e0 - ph * m))) / (1 + dt * k)
        waiting = e0 + ph * (after - m)
        over = np.maximum(after - trunks, 0)
        after -= over
        waiting -= ph * over
        waiting = np.clip(waiting, 0, np.maximum(after, 0))
        busy = (1 + dt * k) * over
        # No more can leave than was there: near an empty system the closure may ask for a little more.
        out_s, out_a = mu * np.maximum(after - waiting, 0) * dt, theta * waiting * dt
        busy = np.minimum(busy, m + came)
        room = m + came - busy
        scale = np.where(out_s + out_a > room, room / np.maximum(out_s + out_a, 1e-300), 1.0)
        out_s, out_a = out_s * scale, out_a * scale
        v = (v + came + out_s + out_a) / (1 + 2 * dt * k)
        m = np.maximum(room - out_s - out_a, 0)
        orbit = orbit * (1 - back) + redial * (out_a + busy)
        offered[t], served[t], abandoned[t], blocked[t], queue[t] = came, out_s, out_a, busy, waiting
    return PhoneRun(offered, served, abandoned, blocked, m, orbit, queue)


def erlang_b(load: float, trunks: int) -> float:
    """Return the share of calls that meet all `trunks` busy at `load` erlangs. Exact, by the recursion over the number of trunks."""
    inverse = 1.0
    for n in range(1, trunks + 1):
        inverse = 1 + inverse * n / load
        if inverse > 1e300:
            return 0.0
    return 1 / inverse


def trunks_for(load: float, share: float) -> int:
    """Return the smallest number of trunks at which at most `share` of the calls are blocked. Source: Erlang B."""
    if load <= 0:
        return 0
    inverse, n = 1.0, 0
    while 1 / inverse > share and n < TRUNKS_MAX:
        n += 1
        inverse = 1 + inverse * n / load
    return n


# --- letters -----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Queue:
    """Letters answered and waiting at the end of each step."""

    answered: Array
    backlog: Array


def fifo(arrivals: Array, capacity: Array) -> Queue:
    """Return how a queue runs: first in, first out, at most `capacity` per step. Closed form: the reflected sum of arrivals less capacity.

    Source: Lindley's recursion, B' = max(0, B + x - c).
    """
    drift = np.cumsum(arrivals - capacity, axis=0)
    backlog = drift - np.minimum(np.minimum.accumulate(drift, axis=0), 0)
    before = np.vstack([np.zeros((1, backlog.shape[1])), backlog[:-1]])
    return Queue(np.maximum(before + arrivals - backlog, 0), backlog)


def waits(arrivals: Array, answered: Array, *, step_h: float, tail_per_step: Array) -> Array:
    """Return how long the last letter of each step waits, in hours, by the first step by whose end it was answered.

    A letter still unanswered at the end waits on at `tail_per_step` letters per step, the capacity of the last day; `WAIT_H_MAX` bounds it.
    """
    came, done = np.cumsum(arrivals, axis=0), np.cumsum(answered, axis=0)
    steps, draws = came.shape
    found = np.zeros_like(came)
    for r in range(draws):
        goal = came[:, r] * (1 - 1e-12)
        at = np.searchsorted(done[:, r], goal)
        wait = np.maximum(at - np.arange(steps), 0).astype(float)
        late = at >= steps
        if late.any():
            more = (goal[late] - done[-1, r]) / tail_per_step[r] if tail_per_step[r] > 0 else np.full(int(late.sum()), np.inf)
            wait[late] = steps - 1 - np.arange(steps)[late] + more
        found[:, r] = np.where(arrivals[:, r] > 1e-9, wait, 0)
    return np.minimum(found * step_h, WAIT_H_MAX)


def agents_on_mail(hours: Array, params: Params) -> Array:
    """Return the agents that answer mail in each hour, in professionals' worth: a third of the professionals, and the draftees by shift.

    A draftee's speed grows with the hours worked: 1 - (1 - f0) e^(-w / learning).
    """
    local = (hours + params.start_hour) % 24
    day = np.floor((hours + params.start_hour) / 24)
    total = np.full(len(hours), params.professionals / 3)
    for draft in params.draft:
        for begins, ends in SHIFTS:
            on = (local >= begins) & (local < ends) & (day >= draft.day)
            worked = 8 * (day - draft.day) + (local - begins)
            total += np.where(on, draft.people / 2 * (1 - (1 - params.first_speed) * np.exp(-np.maximum(worked, 0) / params.learning_h)), 0)
    return np.asarray((1 - params.shrinkage) * total, dtype=np.float64)


# --- the forecast -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Draws:
    call_rate: Array
    press: Array
    open_share: Array
    reset_share: Array
    weights: Array  # (6, draws)
    phone: Array
    divert: Array
    call_minutes: Array
    patience_minutes: Array
    redial: Array
    redial_minutes: Array
    letter_minutes: Array
    bulk: Array


def _draw(params: Params, rng: np.random.Generator) -> _Draws:
    n = params.draws

    def log_normal(median: float, gsd: float, top: float = np.inf) -> Array:
        return np.asarray(np.minimum(median * np.exp(np.log(gsd) * rng.standard_normal(n)), top), dtype=np.float64)

    medians = log_normal(params.kernel_median_h, params.kernel_median_gsd)
    sigmas = log_normal(params.kernel_sigma, params.kernel_sigma_gsd)
    return _Draws(
        call_rate=log_normal(params.call_rate, params.call_rate_gsd, 1.0),
        press=rng.beta(params.press_a, params.press_b, n),
        open_share=log_normal(params.open_share, params.open_share_gsd, 1.0),
        reset_share=log_normal(params.reset_share, params.reset_share_gsd, 1.0),
        weights=np.array([kernel_weights(m, s) for m, s in zip(medians, sigmas, strict=True)]).T,
        phone=rng.beta(params.phone_a, params.phone_b, n),
        divert=rng.beta(params.divert_a, params.divert_b, n),
        call_minutes=log_normal(params.call_minutes, params.call_minutes_gsd),
        patience_minutes=log_normal(params.patience_minutes, params.patience_minutes_gsd),
        redial=rng.beta(params.redial_a, params.redial_b, n),
        redial_minutes=log_normal(params.redial_minutes, params.redial_minutes_gsd),
        letter_minutes=log_normal(params.letter_minutes, params.letter_minutes_gsd),
        bulk=rng.beta(params.bulk_a, params.bulk_b, n),
    )


def forecast(params: Params, rng: np.random.Generator) -> Forecast:
    """Return the forecast of a mailing. The same parameters and generator state give the same figures; `seconds` is left 0."""
    dt = params.step_minutes / 60
    per_hour = 60 // params.step_minutes
    steps = params.days * 24 * per_hour
    hours: Array = np.arange(steps, dtype=np.float64) * np.float64(dt)
    draw = _draw(params, rng)

    sent = mail_schedule(params.customers, params.mails_per_hour, steps, dt)
    outflow, news = np.zeros((steps, len(RATES))), np.zeros((steps, len(RATES)))
    published = min(int(params.published_at_h / dt), steps - 1)
    for share, behind in ZONES:
        dtau = waking(hours, start_hour=params.start_hour, behind=behind) * dt
        outflow += pool_outflow(sent * share * (1 - params.bounce), dtau)
        news += impulse_outflow(share, published, dtau)

    eased = 1 - DEFLECTION * -np.expm1(-np.maximum(hours - params.faq_at_h, 0) / DEFLECTION_H)
    responses = outflow @ draw.weights
    contacts = eased[:, None] * (
        responses * (draw.call_rate * (1 - draw.press))
        + (params.customers * (news @ PRESS_WEIGHTS))[:, None] * (draw.call_rate * draw.press)
    )
    resets = responses * (draw.open_share * draw.reset_share)

    run = _phones(contacts * draw.phone, hours, dt, params, draw)
    lost = (run.abandoned + run.blocked) * (1 - draw.redial)
    letters = contacts * (1 - draw.phone) + (WRITES_AFTER_LOST_CALL * lost if params.phones_open else contacts * draw.phone * draw.divert)

    hourly = letters.reshape(params.days * 24, per_hour, -1).sum(axis=1)
    on_the_hour = np.arange(params.days * 24, dtype=np.float64)
    known = draw.bulk * -np.expm1(-np.maximum(on_the_hour - params.faq_at_h, 0) / BULK_H)[:, None]
    minutes = (1 - known) * draw.letter_minutes + known * params.bulk_minutes
    capacity = agents_on_mail(on_the_hour, params)[:, None] * 60 / minutes
    queue = fifo(hourly, capacity)
    longest = waits(hourly, queue.answered, step_h=1.0, tail_per_step=capacity[-24:].mean(axis=0)).max(axis=0)

    if_open = _phone_figures(run, contacts * draw.phone, draw, per_hour)
    told = np.sum(sent * (hours + dt / 2)) / max(sent.sum(), 1)
    totals = contacts.reshape(params.days * 24, per_hour, -1).sum(axis=1)
    by_hour = tuple(
        (int(c), int(a), int(b))
        for c, a, b in zip(np.median(totals, axis=1), np.median(queue.answered, axis=1), np.median(queue.backlog, axis=1), strict=True)
    )
    return Forecast(
        calls=round(params.customers * params.call_rate),
        contacts=_spread(contacts.sum(axis=0)),
        letters=_spread(letters.sum(axis=0)),
        resets=_spread(resets.sum(axis=0)),
        resets_per_s_peak=_spread(resets.max(axis=0) / (dt * 3600), digits=1),
        backlog_peak=round(float(np.median(queue.backlog.max(axis=0)))),
        max_wait_s=_spread(longest * 3600),
        mean_told_h=round(float(told), 2),
        phone=if_open if params.phones_open else Phone(),
        phone_if_open=if_open,
        hourly=by_hour,
    )


def _phones(fresh: Array, hours: Array, dt: float, params: Params, draw: _Draws) -> PhoneRun:
    local = (hours + params.start_hour) % 24
    agents = np.where((local >= SHIFTS[0][0]) & (local < SHIFTS[-1][1]), params.phone_agents, params.phone_agents_night).astype(np.float64)
    return phones(
        fresh,
        agents=agents,
        dt=dt,
        mu=60 / draw.call_minutes,
        theta=60 / draw.patience_minutes,
        redial=draw.redial,
        delta=60 / draw.redial_minutes,
        trunks=params.trunks,
    )


def _phone_figures(run: PhoneRun, fresh: Array, draw: _Draws, per_hour: int) -> Phone:
    offered, abandoned, blocked = (a.sum(axis=0).mean() for a in (run.offered, run.abandoned, run.blocked))
    by_hour = run.offered.reshape(-1, per_hour, run.offered.shape[1]).sum(axis=1)
    peak_load = float(np.median(by_hour.max(axis=0) * draw.call_minutes / 60))
    days = run.offered.reshape(-1, per_hour * 24, run.offered.shape[1]).sum(axis=1)
    gone = run.abandoned.reshape(days.shape[0], -1, days.shape[1]).sum(axis=1) / np.maximum(days, 1e-9)
    calm = np.flatnonzero(np.median(gone, axis=1) < HANGS_UP_OK)
    return Phone(
        offered=round(float(offered)),
        served=round(float(run.served.sum(axis=0).mean())),
        abandoned=round(float(abandoned)),
        blocked=round(float(blocked)),
        waiting=round(float(run.left.mean())),
        callers=round(float(fresh.sum(axis=0).mean())),
        trunks_for_1_percent=trunks_for(peak_load, 0.01),
        reopen_day=int(calm[0]) if len(calm) else None,
    )


def _spread(values: Any, digits: int = 0) -> Spread:
    low, middle, high = (float(q) for q in np.quantile(values, (0.1, 0.5, 0.9)))
    return Spread(round(low, digits), round(middle, digits), round(high, digits))


def staff_hours(params: Params, *, calls: float, letters: float) -> dict[str, int]:
    """Return the hours of work behind a forecast: if everybody called, if all wrote and each letter is answered alone, and with releases.

    Waiting, breaks and learning are not in it: divide by what one person really works a day (4.76 productive hours of 8 in the
    specification's arithmetic). Source: specification of the surge, section 6.
    """
    bulk = params.bulk_a / (params.bulk_a + params.bulk_b)
    mixed = (1 - bulk) * params.letter_minutes + bulk * params.bulk_minutes
    return {
        "by_phone": round(calls * params.call_minutes / 60),
        "by_letter": round(letters * params.letter_minutes / 60),
        "by_letter_with_releases": round(letters * mixed / 60),
    }


def click_rate(*, requested: int, handed_over: int, least: float) -> float:
    """Return the share of people mailed who ask for a new password, or write, for pacing: what was measured, but never below `least`.

    People act hours after the mail, so a low share among fresh mails is no finding; a high one is. The first CLICK_PRIOR mails weigh as a guess.
    """
    return min(1.0, max(least, (requested + least * CLICK_PRIOR) / (handed_over + CLICK_PRIOR)))


def steered(pace: Pace) -> Steered:
    """Return the total rate of a mailing: as allowed while resets and desk hold, else what they can bear, else the slowest that keeps the
    deadline. The lowest of the caps counts; no cap goes below what the deadline needs.
    """
    caps = {"resets": reset_cap(pace), "desk": desk_cap(pace.desk, waiting_mails=pace.waiting_mails) if pace.desk else None}
    held = [(cap, by) for by, cap in caps.items() if cap is not None]
    if not held:
        return Steered(pace.allowed_per_s, "free")
    cap, by = min(held)
    due = 0.0 if pace.left_s is None else pace.waiting_mails / pace.left_s * DEADLINE_MARGIN if pace.left_s > 0 else pace.allowed_per_s
    if max(cap, due) >= pace.allowed_per_s:
        return Steered(pace.allowed_per_s, "free") if cap >= due else Steered(pace.allowed_per_s, "deadline", by)
    return Steered(cap, by) if cap >= due else Steered(due, "deadline", by)


def reset_cap(pace: Pace) -> float | None:
    """Return the mails a second that the reset site can bear, None while it holds.

    It holds as long as nobody waits longer than QUEUE_S in the waiting room, one in twenty no longer than PAGE_P95_MS_MAX at the page while
    the room is open, and those whom the mails still to go bring within their first hour fit into an hour.
    Source: specification of the reset room: mail rate x click rate <= 0.7 x capacity.
    """
    crowd = pace.waiting_mails * pace.click_rate
    queued = pace.waiting_people > pace.resets_per_s * QUEUE_S or (pace.waiting_people > 0 and pace.page_p95_ms > PAGE_P95_MS_MAX)
    if pace.resets_per_s <= 0 or (not queued and crowd <= MAIL_SHARE * pace.resets_per_s * HOUR_S):
        return None
    return MAIL_SHARE * pace.resets_per_s / pace.click_rate


def desk_cap(desk: Desk, *, waiting_mails: int) -> float | None:
    """Return the mails a second that the desk can bear, None while it keeps up.

    What a desk answers tells what it can answer only while it has a queue: so it is read as its capacity from SATURATED_S of work on. Then
    the mails to go must fit into what can still be answered within `wait_s`, spread over an hour, beside MAIL_SHARE of what is answered
    meanwhile. A desk with a queue whose oldest message waits too long bears only the latter, and one that answers nobody FLOOR_PER_S: a
    queue must not end a mailing.
    """
    if desk.open < DESK_OPEN_MIN:
        return None
    late = desk.oldest_s > desk.wait_s
    if desk.answers_per_s is None:
        return FLOOR_PER_S if late else None
    room = desk.answers_per_s * desk.wait_s - desk.open - desk.coming
    if not late and (desk.open <= desk.answers_per_s * SATURATED_S or waiting_mails * desk.write_rate <= room):
        return None
    spare_per_s = 0.0 if late else max(0.0, room) / HOUR_S
    return max(FLOOR_PER_S, (MAIL_SHARE * desk.answers_per_s + spare_per_s) / desk.write_rate)


def answers_per_s(samples: Sequence[tuple[float, int]], *, at_s: float, answered: int) -> float | None:
    """Return what the desk answers per second, from earlier (time, messages answered so far), oldest first; None if too little was seen.

    ANSWERS_MIN answers tell at once; fewer, or none, tell after LOOK_S.
    """
    inside = [s for s in samples if at_s - s[0] <= DESK_WINDOW_S]
    if not inside or at_s <= inside[0][0]:
        return None
    n, took_s = answered - inside[0][1], at_s - inside[0][0]
    return n / took_s if n >= ANSWERS_MIN or took_s >= LOOK_S else None


def sampled(samples: Sequence[tuple[float, int]], *, at_s: float, answered: int) -> list[tuple[float, int]]:
    """Return the samples to keep: one each SAMPLE_S over DESK_WINDOW_S. The same list if there is nothing new to keep."""
    if samples and at_s - samples[-1][0] < SAMPLE_S:
        return list(samples)
    return [*(s for s in samples if at_s - s[0] <= DESK_WINDOW_S), (at_s, answered)]


def differs(now: float, wanted: float) -> bool:
    """Tell whether a lane's rate is so far from the one wanted that it is worth an act and its entry in the log."""
    return abs(now - wanted) > STEP * wanted
