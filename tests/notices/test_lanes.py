"""A lane listens to its receiver, against a real SMTP server."""

from __future__ import annotations

import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from tests.notices.office import Office
from tests.notices.test_mailing import closes, lanes, run
from tests.notices.world import people, sender, sign, started
from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel import clock, config
from tocsin.kernel.errors import Refused
from tocsin.mail.models import Outbound, Receiver
from tocsin.notices import actions
from tocsin.notices.models import Lane
from tocsin.notices.types import Retry

pytestmark = pytest.mark.django_db(transaction=True)
LATER = Retry(first_s=600, tries_max=5)


def slowed() -> list[tuple[str, str]]:
    return [(e.body["provider"], e.body["what"]) for e in evidence.activity(types=[EventType.LANE_SLOWED])]


def test_a_receiver_that_says_stop_is_left_alone_and_the_others_go_on(shop: Path, office: Office) -> None:
    office.delay_s = 0.005
    incident = people(["tss0@yahoo.example", *[f"user{i}@yahoo.example" for i in range(999)], *[f"u{i}@gmail.example" for i in range(200)]])
    with (shop / "tocsin.toml").open("a") as f:
        f.write('alarm_address = "oncall@shop.example"\n')
    config.current.cache_clear()
    mailing = started(shop, incident, retry=LATER)
    run(mailing)
    s = closes(mailing)
    by = {x.provider: x for x in s.lanes}
    assert by["gmail.com"].handed_over == 200
    assert by["yahoo.com"].waiting > 0  # less than a second's worth went out behind the reply
    held = Lane.objects.get(provider="yahoo.com")
    assert held.held_until is not None
    assert timedelta(minutes=119) < held.held_until - clock.now() <= timedelta(hours=2)
    assert ("yahoo.com", "pause") in slowed()
    assert Outbound.objects.get().purpose == "alarm"
    assert actions.send_next(mailing, held.pk, at=clock.now()) == 0

    Lane.objects.filter(pk=held.pk).update(held_until=clock.now() - timedelta(seconds=1))
    Receiver.objects.filter(receiver="yahoo.com").update(memory={}, held_rate_per_s=None, held_until=None)  # two hours go by
    run(mailing)
    assert closes(mailing).waiting == 0


def test_deferrals_for_our_own_sake_lower_the_rate(shop: Path, office: Office) -> None:
    mailing = started(
        shop, people([f"slow{i}@gmail.example" for i in range(40)] + [f"user{i}@gmail.example" for i in range(400)]), retry=LATER
    )
    begin = time.monotonic()
    run(mailing)
    lane = Lane.objects.get(mailing=mailing)
    assert ("gmail.com", "adapt") in slowed()
    assert lane.held_rate_per_s is not None
    assert 0 < lane.held_rate_per_s < lane.rate_per_s
    assert time.monotonic() - begin < 30


def test_a_bad_list_stops_before_the_relay_stops_us(shop: Path, office: Office) -> None:
    emails = [f"user{i}@gmail.example" for i in range(1900)] + [f"unknown{i}@gmail.example" for i in range(100)]
    mailing = started(shop, people(emails[:100] + emails[1900:] + emails[100:1900]))
    run(mailing)
    s = closes(mailing)
    assert s.waiting >= 1000
    assert slowed() == [("gmail.com", "breaker")]
    [lane] = lanes(mailing)
    with pytest.raises(Refused) as asked:
        actions.release_lane(lane, approval=None, at=clock.now(), by="ada")
    assert asked.value.approval is not None
    with pytest.raises(Refused):
        actions.release_lane(lane, approval=asked.value.approval, at=clock.now(), by="ada")
    assert actions.send_next(mailing, lane, at=clock.now()) == 0
    sign(shop, asked.value.approval, "ada", "bob")
    actions.release_lane(lane, approval=asked.value.approval, at=clock.now(), by="ada")
    run(mailing)
    s = closes(mailing)
    assert (s.waiting, s.bounced) == (0, 100)
    with pytest.raises(Refused, match="not broken"):
        actions.release_lane(lane, approval=None, at=clock.now(), by="ada")


def test_what_a_row_of_the_table_allows_is_never_passed_by_several_senders(shop: Path, office: Office) -> None:
    """yahoo.co.jp: 2 connections, 20 messages over each, 10 a second; two senders and two mailings at once, as the server saw them."""
    file = shop / "tocsin.toml"
    file.write_text(file.read_text() + "direct = true\n")
    config.current.cache_clear()
    incident = people([f"user{i}@yahoo.co.jp.example" for i in range(40)])
    first, second = started(shop, incident, retry=LATER), started(shop, incident, retry=LATER)
    lane = Lane.objects.get(mailing=first)
    assert (lane.provider, lane.connections, lane.messages_per_connection, lane.rate_per_s) == ("yahoo.co.jp", 2, 20, 10.0)
    office.open_max = 0
    senders = [sender(shop, mailing) for mailing in (first, second)]
    try:
        end = time.monotonic() + 40
        while len(office.taken) < 70 and time.monotonic() < end:
            time.sleep(0.1)
            senders = [s if s.poll() is None else sender(shop, m) for s, m in zip(senders, (first, second), strict=True)]
    finally:
        for process in senders:
            process.kill()
            process.communicate()
    assert len(office.taken) >= 70
    assert office.open_max <= 2 + 1  # and the question where the relay reaches
    assert max(Counter(t.connection for t in office.taken).values()) <= 20
    times = sorted(t.at for t in office.taken)
    for width_s in (1.0, 3.0):
        busiest = max(sum(at <= t < at + width_s for t in times) for at in times)
        assert busiest <= 10.0 * (width_s + 1.0)  # the bucket holds one second's worth
