"""The waiting room's decisions: order, rate, lanes, and places that nobody can forge."""

from __future__ import annotations

import itertools
import math
import random
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.credentials.places import WEIGHTS, Lane, Place, Source
from tocsin.credentials.room import limits, policy, ticket
from tocsin.credentials.room.state import Buckets, Picture

NOW_MS = 1_768_446_000_000
counts = st.lists(st.integers(0, 500), min_size=1, max_size=40)
lanes = st.dictionaries(st.sampled_from(list(Lane)), counts, min_size=1)


def queue(n: list[int], *, mark: float = 0.0, weight: float = 1.0) -> policy.Queue:
    return policy.Queue(mark, [(s, k) for s, k in enumerate(n) if k], weight)


@given(counts, st.floats(0, 3000), st.integers(0, 45), st.floats(0, 40))
def test_a_watermark_rises_by_what_the_budget_pays_for_and_no_further(n: list[int], budget: float, upto: int, mark: float) -> None:
    before = queue(n, mark=min(mark, float(upto)))
    left = policy.waiting(before, upto=upto)
    after, taken = policy.advance(before, budget=budget, upto=upto)
    assert before.mark <= after <= max(before.mark, upto)
    assert taken <= min(budget, left) + 1e-6
    assert taken == pytest.approx(min(budget, left), abs=1e-6)  # nobody waits while there is budget
    assert left - policy.waiting(policy.Queue(after, before.buckets, 1.0), upto=upto) == pytest.approx(taken, abs=1e-3)


@given(lanes, st.floats(0, 5000), st.integers(0, 45))
def test_lanes_share_the_budget_and_waste_none(n: dict[Lane, list[int]], budget: float, upto: int) -> None:
    queues = {lane: queue(c, weight=WEIGHTS[lane]) for lane, c in n.items()}
    total = sum(policy.waiting(q, upto=upto) for q in queues.values())
    moved = policy.admit(queues, budget=budget, upto=upto)
    passed = {lane: taken for lane, (_, taken) in moved.items()}
    assert sum(passed.values()) <= budget + 1e-6
    assert sum(passed.values()) == pytest.approx(min(budget, total), abs=1e-4)
    for lane, q in queues.items():  # a lane that still waits got at least its share
        if passed[lane] < policy.waiting(q, upto=upto) - 1e-6:
            assert passed[lane] >= budget * q.weight / sum(o.weight for o in queues.values()) - 1e-6


@given(st.lists(st.tuples(st.floats(0, 400), st.booleans()), min_size=1, max_size=300), st.floats(0.01, 1.08))
def test_the_factor_stays_in_its_bounds_and_is_cut_at_most_every_eight_seconds(seconds: list[tuple[float, bool]], start: float) -> None:
    factor, since_cut = max(policy.FACTOR_MIN, start), 1e9
    for p95, skipped in seconds:
        elapsed = 2.0 if skipped else 1.0
        before = factor
        factor, cut = policy.factor(
            before, strained=policy.strained(wait_p95_ms=p95, hash_ms=20, refused=0.0), elapsed_s=elapsed, since_cut_s=since_cut
        )
        assert policy.FACTOR_MIN <= factor <= policy.FACTOR_MAX
        if cut:
            assert p95 > policy.P95_MS_MAX
            assert since_cut >= policy.CUT_EVERY_S
            assert factor == pytest.approx(max(policy.FACTOR_MIN, before * 0.7))
        elif p95 <= policy.P95_MS_MAX:
            assert before <= factor <= before * 1.05**2 + 1e-9
        else:
            assert factor == before
        since_cut = 0.0 if cut else since_cut + elapsed


@given(
    st.lists(st.tuples(st.integers(0, 900), st.floats(0.2, 1.8)), min_size=1, max_size=60),
    st.floats(0.5, 200),
)
def test_admission_never_exceeds_the_rate_by_more_than_one_tick(seconds: list[tuple[int, float]], rate: float) -> None:
    """Over any run of ticks: rate x time, plus BURST_S of reserve, plus nothing."""
    mark, credit, now, admitted, buckets = 0.0, 0.0, 0.0, 0.0, []
    history = []
    for arriving, elapsed in seconds:
        buckets.append((len(buckets), arriving))
        now += elapsed
        credit = policy.credit(credit, rate_per_s=rate, elapsed_s=elapsed, direct=0)
        mark, taken = policy.advance(policy.Queue(mark, buckets, 1.0), budget=credit, upto=len(buckets))
        credit, admitted = credit - taken, admitted + taken
        history.append((now, elapsed, admitted, taken))
    for start, end in itertools.combinations(range(len(history)), 2):
        span = history[end][0] - history[start][0]
        assert history[end][2] - history[start][2] <= rate * (span + policy.BURST_S) + 1e-6


def test_people_who_came_directly_are_paid_for_but_only_for_a_while() -> None:
    credit = policy.credit(0.0, rate_per_s=10, elapsed_s=1, direct=500)
    assert credit == -20
    for _ in range(4):
        credit = policy.credit(credit, rate_per_s=10, elapsed_s=1, direct=0)
    assert credit == 20  # full again: one tick and one second of reserve


def test_a_million_people_are_served_in_the_order_of_their_seconds() -> None:
    """Ten minutes of arrivals at up to 5,000 a second and 40 to 60 admitted a second: hours. Places by the ticket's own random fraction."""
    rng = np.random.default_rng(7)
    began = time.monotonic()
    seconds = np.sort(rng.integers(0, 600, 1_000_000)).astype(np.int64)
    fractions = rng.integers(0, 65_536, 1_000_000)
    positions = seconds + fractions / 65_536
    per_second = np.bincount(seconds, minlength=600)
    buckets = [(s, int(n)) for s, n in enumerate(per_second)]
    served_in = np.full(1_000_000, -1, dtype=np.int64)
    order = np.argsort(positions, kind="stable")
    ranked = positions[order]
    mark, credit, tick, low, allowed = 0.0, 0.0, 0, 0, 0.0
    start = 0
    while low < 1_000_000:
        rate = 4000.0 + 1000.0 * math.sin(tick / 50)
        tick += 1
        allowed += rate
        credit = policy.credit(credit, rate_per_s=rate, elapsed_s=1.0, direct=0)
        while start < 600 and start + 1 <= mark:
            start += 1
        mark, taken = policy.advance(policy.Queue(mark, buckets[start:], 1.0), budget=credit, upto=min(600, tick + 1))
        credit -= taken
        high = int(np.searchsorted(ranked, mark, side="left"))
        served_in[order[low:high]] = tick
        low = high
        assert low <= allowed + 4 * math.sqrt(1_000_000 / 600) + rate  # the fraction is random: a tick may be off by a few sigma
        assert tick < 10_000
    assert (served_in >= 0).all()
    assert (np.diff(served_in[order]) >= 0).all()  # nobody is served before somebody of an earlier second
    waits = served_in - seconds
    for s in range(0, 600, 97):  # whoever came in the same second waits about as long
        mine = waits[seconds == s]
        assert mine.max() - mine.min() <= 2
    assert time.monotonic() - began < 30


# -- tickets ---------------------------------------------------------------------------------------------------------------------------


def test_a_ticket_says_what_was_signed_and_nothing_else_is_one(estate: Path) -> None:
    rng = random.Random(3)
    place = Place(NOW_MS, rng.randbytes(8), Lane.ASSISTED)
    bound = ticket.binding_of("T" * 43)
    text = ticket.sign(place, binding=bound)
    assert len(text) == ticket.TICKET_CHARS
    assert ticket.read(text, binding=bound, now_ms=NOW_MS) == place
    assert ticket.read(text, now_ms=NOW_MS) is None  # of another link, or of none
    assert ticket.read(text, binding=bound, now_ms=NOW_MS + ticket.TICKET_LIFE_S * 1000 + 1) is None
    grant = ticket.grant(binding=bound, now_ms=NOW_MS)
    assert ticket.granted(grant, binding=bound, now_ms=NOW_MS + 900_000)
    assert not ticket.granted(grant, binding=bound, now_ms=NOW_MS + 900_001)
    assert not ticket.granted(grant, binding=bound, now_ms=NOW_MS - 1)
    assert not ticket.granted(grant, binding=ticket.binding_of("U" * 43), now_ms=NOW_MS)
    assert not ticket.granted(text, binding=bound, now_ms=NOW_MS)
    assert ticket.read(grant, binding=bound, now_ms=NOW_MS) is None
    for wrong in ("", "x", text[:-1], text + "A", text.swapcase(), "é" * 54, "=" * 54, "A" * 54, text.replace(text[20], "\x00", 1)):
        assert ticket.read(wrong, binding=bound, now_ms=NOW_MS) is None, wrong


@given(st.data())
def test_no_changed_character_passes(data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        from tocsin.kernel.private import Private

        patch.setattr(ticket, "key", lambda name: Private(b"k" * 32))
        text = ticket.sign(Place(NOW_MS, data.draw(st.binary(min_size=8, max_size=8)), Lane.REGULAR))
        at = data.draw(st.integers(0, len(text) - 1))
        other = data.draw(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"))
        changed = text[:at] + other + text[at + 1 :]
        assert (ticket.read(changed, now_ms=NOW_MS) is not None) is (changed == text)


# -- places --------------------------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 300), min_size=1, max_size=30), st.floats(0, 31), st.floats(0, 31))
def test_people_ahead_are_those_between_watermark_and_place(n: list[int], mark: float, position: float) -> None:
    buckets = [(s, k) for s, k in enumerate(n) if k]
    found = Buckets.of(buckets)
    assert found.below(position) - found.below(mark) == pytest.approx(
        policy.ahead(buckets, mark=mark, position=position) - policy.ahead(buckets, mark=position, position=mark), abs=1e-6
    )


def test_an_open_room_passes_everybody_and_a_closed_one_those_before_its_watermark() -> None:
    early, late = Place(5_000, b"\x40\x00" + b"x" * 6, Lane.REGULAR), Place(5_999, b"\xc0\x00" + b"x" * 6, Lane.REGULAR)
    assert Picture().passes(late)
    closed = Picture(open=False, rate_per_s=10, marks={0: 5.5, 2: 6.0}, buckets={0: Buckets.of([(4, 7), (5, 100)])})
    assert closed.passes(early)
    assert not closed.passes(late)
    assert closed.passes(Place(5_999, late.nonce, Lane.ASSISTED))
    assert closed.ahead(late) == 25
    assert closed.ahead(early) == 0
    assert closed.waiting() == {0: 50}
    assert closed.wait_s(late, 25) == pytest.approx(2.6)


@given(st.floats(0, 1e6), st.integers(0, 24_000_000), st.floats(0, 1))
def test_pages_ask_again_later_the_longer_the_queue(wait_s: float, waiting: int, jitter: float) -> None:
    again = policy.refresh_s(wait_s=wait_s, waiting=waiting, jitter=jitter)
    assert 15 <= again <= policy.REFRESH_S_MAX * (1 + policy.JITTER)
    if wait_s <= 200 and waiting <= 10_000:
        assert again <= 25
    on_average = policy.refresh_s(wait_s=wait_s, waiting=waiting, jitter=0.5)
    if waiting <= 900_000:
        assert waiting / (on_average + 1) <= policy.POLLS_PER_S_MAX


def test_rates_and_what_mail_may_bring() -> None:
    assert policy.rate_per_s(capacity_per_s=100, factor=1.0, show_up=1.0, write_rate_per_s=None) == 85
    assert policy.rate_per_s(capacity_per_s=100, factor=1.0, show_up=0.5, write_rate_per_s=None) == 170
    assert policy.rate_per_s(capacity_per_s=100, factor=1.0, show_up=0.5, write_rate_per_s=25) == 50
    assert policy.rate_per_s(capacity_per_s=100, factor=1.0, show_up=0.0, write_rate_per_s=25) == 125
    assert policy.show_up(0, 0) == 1
    assert policy.show_up(950, 450) == 0.5
    assert policy.decay(100, elapsed_s=300) == 50
    assert policy.mail_rate_per_s(100) * policy.CLICK_RATE == pytest.approx(70)
    assert policy.may_open(waiting=0, coming=3, credit=3)
    assert not policy.may_open(waiting=1, coming=0, credit=3)
    assert not policy.may_open(waiting=0, coming=4, credit=3)


# -- where a request comes from ----------------------------------------------------------------------------------------------------------

TRUSTED = limits.networks("10.0.0.0/8, 127.0.0.1 2001:db8:1::/48")


@pytest.mark.parametrize(
    ("peer", "forwarded", "seen"),
    [
        ("198.51.100.7", "", "198.51.100.7"),
        ("198.51.100.7", "203.0.113.9", "198.51.100.7"),  # a stranger may write what it likes
        ("127.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.1.1.1", "1.2.3.4, 203.0.113.9", "203.0.113.9"),  # the left end is the client's own invention
        ("10.1.1.1", "1.2.3.4, 203.0.113.9, 10.2.2.2", "203.0.113.9"),
        ("10.1.1.1", "10.3.3.3", "10.3.3.3"),
        ("10.1.1.1", "", "10.1.1.1"),
        ("10.1.1.1", "unknown", "10.1.1.1"),
        ("10.1.1.1", "203.0.113.9, nonsense, 10.2.2.2", "10.2.2.2"),
        ("10.1.1.1", "203.0.113.9:4711", "203.0.113.9"),
        ("10.1.1.1", "[2001:db8:7::1]:443", "2001:db8:7::1"),
        ("10.1.1.1", "[2001:db8:7::1]", "2001:db8:7::1"),
        ("2001:db8:1::2", "2001:db8:7::1", "2001:db8:7::1"),
        ("::ffff:10.1.1.1", "203.0.113.9", "203.0.113.9"),
        ("", "203.0.113.9", None),
    ],
)
def test_forwarded_addresses_are_read_from_the_right(peer: str, forwarded: str, seen: str | None) -> None:
    found = limits.client_address(Source(peer, forwarded), trusted=TRUSTED)
    assert (str(found) if found else None) == seen


def test_a_header_of_many_hops_is_read_to_a_bound() -> None:
    hops = ", ".join(["203.0.113.9"] + ["10.2.2.2"] * 100_000)
    assert str(limits.client_address(Source("10.1.1.1", hops), trusted=TRUSTED)) == "10.2.2.2"


@given(st.lists(st.floats(0, 100), min_size=1, max_size=200))
def test_a_pacer_slows_down_and_never_refuses(gaps: list[float]) -> None:
    ready, now, last = 0.0, 0.0, 0.0
    for gap in gaps:
        now += gap
        ready, delay = policy.pacer_delay_s(ready_at=ready, now=now, burst=5, every_s=30, delay_s_max=900)
        assert 0 <= delay <= 900
        if gap >= 60:
            assert delay <= last
        last = delay
