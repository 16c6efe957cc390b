"""When a mailing ends, lane by lane; what receivers ask for; what wants a person. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.mail.policy import finish_s
from tocsin.notices import forecast, policy
from tocsin.notices.forecast import Load
from tocsin.notices.types import Retry

AT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
DAY = 86_400.0


def finish(waiting: int, rate_per_s: float, per_day: int | None, left_of_day: int) -> float:
    return finish_s(waiting=waiting, rate_per_s=rate_per_s, per_day=per_day, left_of_day=left_of_day)


def ends(*loads: Load, rate: float = 0.0, per_day: int | None = None, left: int = 0) -> tuple[list[float | None], float | None]:
    return forecast.ends(loads, rate_per_s=rate, per_day=per_day, left_of_day=left, finish=finish, unlimited_per_s=100_000.0)


def test_the_whole_ends_with_its_latest_lane() -> None:
    fast, slow = Load(1000, 100.0, 1e5), Load(1000, 1.0, 1e5)
    assert ends(fast, slow, rate=101.0) == ([10.0, 1000.0], 1000.0)
    paused = Load(1000, 0.0, 1e5, pause_s=7200.0)
    assert ends(fast, paused, rate=100.0) == ([10.0, 7210.0], 7210.0)
    assert ends(fast, Load(5, 9.0, 1e5, stands=True), rate=100.0) == ([10.0, None], None)
    assert ends(fast, Load(0, 0.0, 1e5, stands=True), rate=100.0) == ([10.0, 0.0], 10.0)
    assert ends(Load(100, 0.0, 1e5)) == ([None], None)  # nothing has left yet, no cap tells
    assert ends(Load(100, 0.0, 2.0)) == ([50.0], 50.0)
    assert ends(Load(100, 50.0, 2.0), rate=50.0)[0] == [50.0]  # never faster than it may go


def test_a_warm_up_and_a_quota_tell_in_days() -> None:
    (lane,), whole = ends(Load(1000, 10.0, 1e5, per_day=200, left_of_day=100), rate=10.0)
    assert lane is not None
    assert lane == pytest.approx(5 * DAY + 10.0)
    assert whole == lane
    lanes, whole = ends(Load(300, 10.0, 1e5), Load(300, 10.0, 1e5), rate=20.0, per_day=250, left=250)
    assert whole == pytest.approx(2 * DAY, rel=0.01)
    assert all(x == pytest.approx(2 * DAY, rel=0.01) for x in lanes)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 4000), st.sampled_from([0.5, 2.0, 20.0])), min_size=1, max_size=5), st.integers(200, 4000))
def test_the_forecast_over_lanes_is_within_15_percent_of_what_happens(lanes: list[tuple[int, float]], per_day: int) -> None:
    """Play lanes minute by minute under one rolling quota, each lane as fast as it can, in turn."""
    _, told = ends(*(Load(n, rate, 1e5) for n, rate in lanes), rate=sum(r for _, r in lanes), per_day=per_day, left=per_day)
    left, window, minute = [n for n, _ in lanes], list[tuple[int, int]](), 0
    carry = [0.0] * len(lanes)
    while sum(left) and minute < 60 * 24 * 200:
        while window and window[0][0] <= minute * 60 - DAY:
            window.pop(0)
        free, total = per_day - sum(k for _, k in window), 0
        for i, (_, rate) in enumerate(lanes):
            carry[i] = min(carry[i] + rate * 60, rate * 60 + 1)
            n = min(left[i], int(carry[i]), free - total)
            left[i], carry[i], total = left[i] - n, carry[i] - n, total + n
        if total:
            window.append((minute * 60, total))
        minute += 1
    assert told is not None
    assert abs(told - minute * 60) <= 0.15 * minute * 60 + 3600


@pytest.mark.parametrize(
    ("code", "text", "wanted"),
    [
        (450, "4.7.1 Try again in 300 seconds and the letter will be taken", 300.0),
        (451, "4.7.1 Greylisted, please retry in 5 minutes", 300.0),
        (450, "greylisted, please come again in 61 seconds", 61.0),
        (421, "Too many messages. Wait 2 hours", 7200.0),
        (451, "retry after 30s", 30.0),
        (421, "4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred", 0.0),
        (450, "Recipient is busy, try again later", 0.0),
        (450, "in 99999 hours", 6 * 3600.0),
        (550, "try again in 300 seconds", 0.0),
    ],
)
def test_try_again_in_n_is_heard(code: int, text: str, wanted: float) -> None:
    assert policy.asked_s(code, text) == wanted


def test_nobody_is_tried_before_the_receiver_asked() -> None:
    real, drill = Retry(), Retry(first_s=3.0)
    assert policy.next_try(tries=1, at=AT, retry=real, spread=0, asked_s=60.0) == AT + timedelta(seconds=300)
    assert policy.next_try(tries=1, at=AT, retry=real, spread=0, asked_s=900.0) == AT + timedelta(seconds=900)
    assert policy.next_try(tries=3, at=AT, retry=real, spread=0, asked_s=900.0) == AT + timedelta(seconds=1200)
    assert policy.next_try(tries=1, at=AT, retry=real, spread=99, asked_s=0.0) == AT + timedelta(seconds=300 * 1.099)
    assert policy.next_try(tries=1, at=AT, retry=drill, spread=0, asked_s=900.0) == AT + timedelta(seconds=9)
    assert policy.next_try(tries=13, at=AT, retry=real, spread=0) is None
