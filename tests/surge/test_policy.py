"""The forecast's parts against exact results, and the figures of surge.md's "Must show" rows 1 to 8."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from tocsin.kernel.errors import Fault
from tocsin.surge import policy
from tocsin.surge.types import Draft, Params, parse_params

SMALL = Params(
    customers=240_000,
    mails_per_hour=20_000,
    draws=40,
    days=14,
    step_minutes=15,
    professionals=6,
    draft=(Draft(0, 16),),
    phone_agents=3,
    phone_agents_night=1,
    trunks=50,
)


def run(params: Params, seed: int = 1) -> policy.Forecast:
    """Forecast with a fresh generator."""
    return policy.forecast(params, np.random.default_rng(seed))


def exact_erlang_a(agents: int, load: float, aht_min: float, patience_min: float) -> tuple[float, float]:
    """Return the share that abandons and the mean queue of M/M/s+M, from its birth and death rates: an oracle of another make."""
    mu, theta = 1 / aht_min, 1 / patience_min
    rate = load * agents * mu
    logs, level = [0.0], 0.0
    for n in range(1, agents * 6 + 2_000):
        level += math.log(rate) - math.log(min(n, agents) * mu + max(0, n - agents) * theta)
        logs.append(level)
    top = max(logs)
    weights = [math.exp(x - top) for x in logs]
    total = sum(weights)
    queue = sum((n - agents) * w for n, w in enumerate(weights) if n > agents) / total
    return theta * queue / rate, queue


def steady(agents: int, load: float, *, redial: float = 0.0, hours: float = 40.0, dt: float = 1 / 12) -> policy.PhoneRun:
    """Run the phones under constant fresh load (AHT 6 min, patience 5 min)."""
    steps = int(hours / dt)
    one = np.ones(1)
    return policy.phones(
        np.full((steps, 1), load * agents * 10 * dt),
        agents=np.full(steps, float(agents)),
        dt=dt,
        mu=10 * one,
        theta=12 * one,
        redial=redial * one,
        delta=2 * one,
        trunks=math.inf,
    )


def late_share(run_: policy.PhoneRun) -> float:
    """Return the share that hangs up in the last quarter of a run."""
    tail = slice(-len(run_.offered) // 4, None)
    return float(run_.abandoned[tail].sum() / run_.offered[tail].sum())


# --- Must show ---------------------------------------------------------------------------------------------------------------------


def test_row_1_five_percent_of_24_million_is_exact() -> None:
    assert run(dataclasses.replace(SMALL, customers=24_000_000, mails_per_hour=2e6, draws=3)).calls == 1_200_000


@pytest.mark.parametrize(
    ("agents", "load", "abandon", "queue"),
    [
        (20, 1.0, 0.0928, 1.55),
        (50, 1.1, 0.1127, 5.16),
        (100, 1.0, 0.0417, 3.47),
        (100, 1.1, 0.1006, 9.22),
        (300, 1.0, 0.0241, 6.02),
        (1000, 1.0, 0.0132, 10.99),
    ],
)
def test_row_2_the_closure_agrees_with_exact_erlang_a(agents: int, load: float, abandon: float, queue: float) -> None:
    exact, length = exact_erlang_a(agents, load, 6, 5)
    assert (exact, length) == (pytest.approx(abandon, abs=5e-5), pytest.approx(queue, abs=5e-3))
    ours = steady(agents, load)
    assert late_share(ours) == pytest.approx(abandon, abs=0.002)
    assert float(ours.queue[-1, 0]) == pytest.approx(queue, rel=0.03)


@pytest.mark.parametrize("agents", [50, 300, 1000])
@pytest.mark.parametrize(("load", "abandon"), [(1.5, 1 / 3), (3.0, 2 / 3)])
def test_row_3_under_overload_all_that_cannot_be_served_hang_up(agents: int, load: float, abandon: float) -> None:
    assert late_share(steady(agents, load)) == pytest.approx(abandon, abs=5e-4)


def test_row_4_redials_multiply_the_attempts() -> None:
    ours = steady(300, 2.0, redial=0.6, hours=400)
    attempts = float(ours.offered[-1, 0]) / (300 * 10 / 12)
    assert attempts == pytest.approx((2 - 0.6) / (1 - 0.6), abs=1e-6)


@pytest.mark.parametrize(("load", "trunks", "blocked"), [(100, 100, 0.0757), (80, 100, 0.0040), (150, 100, 0.3454), (1000, 1000, 0.0248)])
def test_row_5_erlang_b_is_exact(load: float, trunks: int, blocked: float) -> None:
    assert policy.erlang_b(load, trunks) == pytest.approx(blocked, abs=5e-5)


def test_row_5_trunks_are_the_fewest_that_do() -> None:
    for load in (5.0, 80.0, 1000.0):
        n = policy.trunks_for(load, 0.01)
        assert policy.erlang_b(load, n) <= 0.01 < policy.erlang_b(load, n - 1)
    assert policy.trunks_for(0, 0.01) == 0
    assert policy.erlang_b(1.0, 1_000) == 0


def test_row_6_the_kernel_is_the_log_normal() -> None:
    weights = policy.kernel_weights(4.6, 2.1)
    assert weights.sum() == pytest.approx(1)
    assert policy.kernel_cdf(weights, np.array([1.0, 6, 24, 168])) == pytest.approx([0.234, 0.550, 0.784, 0.957], abs=0.005)
    # The pools step through the same law: an impulse under even activity, in steps of five minutes.
    dtau = np.full(168 * 12, 1 / 12)
    came = np.cumsum(policy.impulse_outflow(1.0, 0, dtau) @ weights)
    assert [came[int(h * 12) - 1] for h in (1, 6, 24, 168)] == pytest.approx([0.234, 0.550, 0.784, 0.957], abs=0.005)


def test_row_7_letters_first_in_first_out() -> None:
    steps = 200
    arrivals, capacity = np.zeros((steps, 1)), np.full((steps, 1), 5_000.0)
    arrivals[0] = 600_000
    queue = policy.fifo(arrivals, capacity)
    assert int(np.flatnonzero(queue.backlog[:, 0] <= 0)[0]) + 1 == 120
    done = np.cumsum(queue.answered[:, 0])
    for p in (0.1, 0.5, 0.9, 1.0):
        assert abs(int(np.searchsorted(done, p * 600_000 * (1 - 1e-12))) + 1 - 120 * p) <= 1
    assert policy.waits(arrivals, queue.answered, step_h=1.0, tail_per_step=np.array([5_000.0])).max() == pytest.approx(119, abs=1)


def test_row_8_no_call_is_lost_from_the_count() -> None:
    rng = np.random.default_rng(4)
    steps, draws = 2_000, 5
    fresh = rng.gamma(2, 20, (steps, draws)) * (rng.random((steps, 1)) < 0.7)
    agents = np.where(np.arange(steps) // 97 % 2 == 0, 5.0, 40.0)
    one = np.ones(draws)
    for trunks in (60.0, math.inf):
        ours = policy.phones(fresh, agents=agents, dt=1 / 12, mu=10 * one, theta=12 * one, redial=0.6 * one, delta=2 * one, trunks=trunks)
        total = ours.served.sum(0) + ours.abandoned.sum(0) + ours.blocked.sum(0) + ours.left
        assert ours.offered.sum(0) == pytest.approx(total, rel=1e-9)
        assert (ours.blocked.sum() > 0) == math.isfinite(trunks)
        for flow in (ours.served, ours.abandoned, ours.blocked, ours.queue):
            assert flow.min() >= 0
        # Who hung up or met a busy tone and did not try again is all that leaves the circle beside the served.
        assert ours.offered.sum(0) == pytest.approx(fresh.sum(0) + 0.6 * (ours.abandoned + ours.blocked).sum(0) - ours.orbit, rel=1e-9)


# --- parts -------------------------------------------------------------------------------------------------------------------------


def test_pools_lose_nothing_and_mails_end() -> None:
    sent = policy.mail_schedule(1_000, 300, 48 * 12, 1 / 12)
    assert sent.sum() == pytest.approx(1_000)
    assert np.flatnonzero(sent)[-1] == 39  # three hours and twenty minutes
    dtau = np.full(200_000, 1.0)
    inflow = np.zeros(200_000)
    inflow[:10] = 7
    assert policy.pool_outflow(inflow, dtau).sum(axis=0) == pytest.approx(np.full(6, 70.0))
    late = policy.impulse_outflow(1.0, 5, np.full(20, 1.0))
    assert late[:5].sum() == 0
    assert late[5:].sum(axis=0) == pytest.approx(1 - np.exp(-15 * policy.RATES))


def test_activity_follows_the_zone() -> None:
    hours = np.arange(24.0)
    east, west = (policy.waking(hours, start_hour=0, behind=b) for b in (0, 3))
    assert east.mean() == pytest.approx(1)
    assert np.roll(east, 3) == pytest.approx(west)


def test_draftees_learn_and_keep_their_shifts() -> None:
    params = dataclasses.replace(SMALL, start_hour=0, professionals=0, draft=(Draft(1, 100),), shrinkage=0.0, first_speed=0.5, learning_h=8)
    agents = policy.agents_on_mail(np.arange(96.0), params)
    assert agents[:31].max() == 0  # day 0, and the night of day 1
    assert agents[31] == pytest.approx(25)
    assert agents[24 + 23] == 0
    assert 45 < agents[72 + 14] < 50


def test_letters_that_nobody_answers_wait_for_ever_within_bounds() -> None:
    arrivals = np.ones((10, 2))
    queue = policy.fifo(arrivals, np.zeros((10, 2)))
    found = policy.waits(arrivals, queue.answered, step_h=1.0, tail_per_step=np.array([0.0, 2.0]))
    assert found[0, 0] == policy.WAIT_H_MAX
    assert found[9, 1] == pytest.approx(5)  # ten letters before the end of its own step, two an hour from then on


def test_same_seed_same_forecast_and_the_levers_pull_the_right_way() -> None:
    base = run(SMALL)
    assert base == run(SMALL)
    assert base != run(SMALL, seed=2)
    more_staff = run(dataclasses.replace(SMALL, draft=(Draft(0, 60),)))
    no_bulk = run(dataclasses.replace(SMALL, bulk_a=1.0, bulk_b=99.0))
    slower = run(dataclasses.replace(SMALL, mails_per_hour=2_000))
    assert more_staff.max_wait_s.p50 < base.max_wait_s.p50 < no_bulk.max_wait_s.p50
    assert more_staff.backlog_peak <= base.backlog_peak < no_bulk.backlog_peak
    assert slower.mean_told_h > base.mean_told_h
    assert slower.backlog_peak < base.backlog_peak
    assert base.contacts.p10 < base.contacts.p50 < base.contacts.p90


def test_closing_the_phones_moves_calls_to_letters() -> None:
    closed, opened = run(SMALL), run(dataclasses.replace(SMALL, phones_open=True))
    assert closed.phone.offered == 0
    assert closed.phone_if_open == opened.phone
    assert opened.phone.offered == pytest.approx(
        opened.phone.served + opened.phone.abandoned + opened.phone.blocked + opened.phone.waiting, abs=4
    )
    assert opened.phone.offered > opened.phone.callers > opened.phone.served
    assert closed.letters.p50 > opened.letters.p50
    assert closed.letters.p50 < closed.contacts.p50  # some would-be callers let it be


def test_parameters_are_refused_with_all_their_faults() -> None:
    faults: list[Fault] = []
    wrong = {
        "customers": 0,
        "call_rate": 1.5,
        "bounce": "x",
        "faq_at_h": -1,
        "what": 1,
        "phones_open": 1,
        "call_rate_gsd": 0.5,
        "step_minutes": 7,
        "trunks": 5.5,
        "call_minutes": 0,
    }
    parse_params(wrong | {"draft": [{"day": 0}, {"day": 0, "people": 5}]}, faults=faults)
    assert {f.field for f in faults} == {f"surge.{key}" for key in wrong} | {"surge.draft[0]"}
    faults.clear()
    good = parse_params({"customers": 10, "call_minutes": 7, "draft": [{"day": 1, "people": 5}]}, faults=faults)
    assert not faults
    assert (good.customers, good.call_minutes, good.draft) == (10, 7.0, (Draft(1, 5),))
    parse_params({"draft": 3}, faults=faults)
    assert [f.field for f in faults] == ["surge.draft"]


def test_the_hours_behind_a_forecast() -> None:
    """The specification's arithmetic: 1.2 million calls of 6 minutes, or 864,000 letters alone and with releases for 70 %."""
    hours = policy.staff_hours(Params(customers=24_000_000), calls=1_200_000, letters=864_000)
    assert hours == {"by_phone": 120_000, "by_letter": 86_400, "by_letter_with_releases": 28_944}
