"""A mailing under the relay's quota for 24 hours: it never sends more, loses nobody, and says when it will be done."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.notices.office import Office
from tests.notices.test_mailing import closes, run
from tests.notices.world import people, started
from tocsin.kernel import clock, config
from tocsin.mail import policy
from tocsin.notices import queries, sending
from tocsin.notices.models import Receipt


@pytest.mark.django_db(transaction=True)
def test_no_more_than_the_quota_leaves_in_a_day(shop: Path, office: Office) -> None:
    with (shop / "tocsin.toml").open("a") as f:
        f.write("quota_per_day = 250\n")
    config.current.cache_clear()
    sending._asked.cache_clear()
    mailing = started(shop, people([f"user{i}@{('gmail', 'yahoo')[i % 2]}.example" for i in range(600)]))
    sent = []
    began = clock.now()
    for _ in range(3):
        run(mailing)
        sent.append(len(office.taken))
        s = queries.status(mailing)
        if s.waiting:
            assert s.eta_at is not None
            days = (600 - 1) // 250 - len(sent) + 1
            assert abs((s.eta_at - began).total_seconds() - days * 86_400) < 0.15 * 86_400
        Receipt.objects.filter(mailing=mailing).update(at=clock.now() - timedelta(days=1, seconds=1))  # a day goes by
    assert sent == [250, 500, 600]
    assert closes(mailing).handed_over == 600
    sending._asked.cache_clear()


@settings(deadline=None, max_examples=60)
@given(
    waiting=st.integers(1, 5000),
    rate=st.sampled_from([0.05, 0.5, 5.0]),
    per_day=st.integers(50, 5000),
    used=st.floats(0, 1),
    spread=st.integers(1, 24),
)
def test_the_forecast_is_within_15_percent_of_what_happens(waiting: int, rate: float, per_day: int, used: float, spread: int) -> None:
    """Play the sending minute by minute under a rolling window of 24 hours, earlier mail having left `spread` hours ago or less."""
    before = int(per_day * used)
    told = policy.finish_s(waiting=waiting, rate_per_s=rate, per_day=per_day, left_of_day=per_day - before)
    window = [(-60, before)] if before else []
    minute, left, carry = 0, waiting, 0.0
    while left > 0 and minute < 60 * 24 * 120:
        while window and window[0][0] <= minute * 60 - 86_400:
            window.pop(0)
        carry += rate * 60
        n = min(left, int(carry), per_day - sum(k for _, k in window))
        carry = min(carry - n, rate * 60 + 1)
        if n > 0:
            window.append((minute * 60, n))
            left -= n
        minute += 1
    happened = minute * 60
    assert abs(told - happened) <= 0.15 * happened + 3600
