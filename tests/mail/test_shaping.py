"""What a lane does after what receivers say: reactions, the adapted rate, the breaker. Pure."""

from __future__ import annotations

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from tocsin.mail.shaping import policy, table
from tocsin.mail.shaping.policy import Limits, Memory, Said

CAP = 100.0


def judged(memory: Memory, *said: Said, sent: int = 1, receiver: str = "yahoo.com", measured: float = 0.0) -> tuple[Memory, list[str]]:
    after, verdicts = policy.judge(
        memory, said, sent=sent, receiver=receiver, reactions=table.reactions(), cap_per_s=CAP, measured_per_s=measured
    )
    return after, [v.what for v in verdicts]


def now(memory: Memory, at_s: float) -> Limits:
    return policy.limits(memory, at_s=at_s, cap_per_s=CAP, connections=8)


def test_yahoo_says_tss04_and_hears_nothing_for_two_hours() -> None:
    memory, what = judged(Memory(), Said(1000.0, 421, "4.7.0", "4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred"))
    assert "pause" in what
    assert now(memory, 1001.0).rate_per_s == 0
    assert now(memory, 1000.0 + 7199).rate_per_s == 0
    assert now(memory, 1000.0 + 7201).rate_per_s > 0
    other, what = judged(Memory(), Said(1000.0, 421, "4.7.0", "[TSS04]"), receiver="gmail.com")
    assert "pause" not in what
    assert now(other, 1001.0).rate_per_s > 0


def test_a_reaction_waits_for_its_hits_within_its_window() -> None:
    busy = "Server busy. Please try again later"
    memory = Memory()
    for at_s in (0.0, 100.0):
        memory, what = judged(memory, Said(at_s, 451, "4.7.500", busy), receiver="outlook.com")
        assert "pause" not in what
    late, what = judged(memory, Said(3650.0, 451, "4.7.500", busy), receiver="outlook.com")  # the first has left the window
    assert "pause" not in what
    memory, what = judged(memory, Said(200.0, 451, "4.7.500", busy), receiver="outlook.com")
    assert "pause" in what
    assert now(memory, 300.0) == Limits(0.0, 1)
    assert now(late, 3651.0).rate_per_s > 0


def test_connections_are_lowered_for_a_while() -> None:
    memory = Memory()
    for at_s in (0.0, 1.0):
        memory, what = judged(memory, Said(at_s, 550, "5.7.1", "exceeded the maximum number of connections"), receiver="outlook.com")
    assert what == ["slow"]
    assert now(memory, 10.0) == Limits(CAP, 1)
    assert now(memory, 3602.0) == Limits(CAP, 8)


def test_the_rate_halves_once_and_comes_back_step_by_step() -> None:
    slow = [Said(t, 451, "4.7.1", "later", us=True) for t in (0.0, 1.0, 2.0)]
    memory, what = judged(Memory(), *slow, receiver="other", measured=40.0)
    assert what == ["adapt"]
    assert now(memory, 3.0).rate_per_s == 20.0  # half of what really went out, not of the cap
    again, what = judged(memory, Said(5.0, 451, "4.7.1", "later", us=True), receiver="other", measured=20.0)
    assert (again.rate_per_s, what) == (20.0, [])
    steps = 0
    while memory.rate_per_s is not None:
        steps += 1
        before = memory
        memory = policy.recover(memory, at_s=policy.INCREASE_S * steps + 2.0, cap_per_s=CAP)
        assert memory.rate_per_s is None or memory.rate_per_s > (before.rate_per_s or 0)
    assert steps == 10  # back at the 40 where it began
    assert now(memory, 1e6).rate_per_s == CAP


def test_the_breaker_opens_at_three_in_a_hundred_and_not_on_a_handful() -> None:
    hard = [Said(float(i), 550, "5.1.1", "no such user", hard=True) for i in range(6)]
    few, what = judged(Memory(), *hard, sent=100, receiver="other")
    assert (few.broken, what) == (False, [])
    memory, what = judged(few, sent=99, receiver="other")
    assert not memory.broken
    memory, what = judged(few, sent=100, receiver="other")
    assert (memory.broken, what) == (True, ["breaker"])
    assert now(memory, 1e9).rate_per_s == 0
    assert now(policy.released(memory), 1e9).rate_per_s == CAP
    healthy, what = judged(Memory(), *hard[:2], sent=1000, receiver="other")
    assert not healthy.broken


REPLY = st.builds(
    Said,
    at_s=st.floats(0, 1e5),
    code=st.sampled_from([421, 450, 451, 550, 554]),
    enhanced=st.sampled_from(["4.7.0", "4.2.2", "5.1.1", "5.7.1", ""]),
    text=st.sampled_from(["later", "[TSS04]", "Server busy", "no such user", "throttled", "RP:ORQ"]),
    hard=st.booleans(),
    us=st.booleans(),
)


@given(
    st.lists(st.tuples(st.lists(REPLY, max_size=5), st.integers(0, 500)), max_size=12), st.sampled_from(["yahoo.com", "other", "163.com"])
)
def test_limits_stay_within_bounds_and_memory_survives_storage(runs: list[tuple[list[Said], int]], receiver: str) -> None:
    memory = Memory()
    for said, sent in runs:
        memory, _ = judged(memory, *said, sent=sent, receiver=receiver, measured=50.0)
        assert Memory.of(json.loads(json.dumps(memory.as_json()))).as_json() == json.loads(json.dumps(memory.as_json()))
        limits = now(memory, max([s.at_s for s in said], default=0.0))
        assert 0 <= limits.rate_per_s <= CAP
        assert 1 <= limits.connections <= 8
        assert memory.asked <= policy.BREAKER_WINDOW
    assert policy.limits(policy.released(memory), at_s=1e9, cap_per_s=CAP, connections=8).rate_per_s > 0


def test_the_table_is_whole() -> None:
    assert table.shape_of("gmail.com") == policy.Shape(5, 50, 100.0)
    assert table.shape_of("a domain nobody knows") == table.shape_of("*")
    for reaction in table.reactions():
        assert reaction.hits >= 1
        assert reaction.for_s > 0
        asks = (reaction.pause, reaction.rate_per_s, reaction.connections, reaction.slower, reaction.messages_per_connection)
        assert any(asks)
        assert isinstance(reaction.match, re.Pattern)
