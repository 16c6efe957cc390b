"""A mailing that follows the reset site: slower while people would queue, as allowed otherwise, never too slow for the law."""

from __future__ import annotations

import dataclasses
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import DatabaseError, transaction

from tests.conftest import forget
from tests.credentials.test_actions import as_role
from tests.notices.conftest import office, shop  # noqa: F401 - fixtures
from tests.notices.office import Office
from tests.notices.world import AT, people, started
from tocsin.credentials.models import Room, RoomLane, RoomSecond
from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel import clock, jobs, schema
from tocsin.notices import actions as notices
from tocsin.notices import queries as notices_now
from tocsin.surge import actions, policy, tasks
from tocsin.surge.models import Steering
from tocsin.surge.types import Pace, Steered

PACE = Pace(waiting_mails=10_000_000, allowed_per_s=100_000.0, resets_per_s=60.0, waiting_people=0, click_rate=0.05, left_s=None)
EMAILS = [f"user{i}@{('gmail', 'yahoo')[i % 2]}.example" for i in range(600)]


def bears(per_s: float, *, waiting: int = 0) -> None:
    """Write what the nodes of the reset site would have reported: resets a second, and people in the waiting room."""
    now = int(clock.now().timestamp())
    Room.objects.update_or_create(id=1, defaults={"open": not waiting, "rate_per_s": per_s, "nodes": 1, "ticked_at": clock.now()})
    for lane in range(3):
        RoomLane.objects.update_or_create(lane=lane, defaults={"mark": now - 60})
    RoomSecond.objects.all().delete()
    if waiting:
        RoomSecond.objects.create(lane=0, second=now - 30, node="a", issued=waiting)


def rates(mailing: int) -> list[float]:
    return [lane.rate_per_s_max for lane in notices_now.status(mailing).lanes]


def acts(incident: int) -> int:
    return sum(e.type == EventType.PACE_SET and e.actor == "surge" for e in evidence.activity(incident=incident))


@pytest.mark.django_db(transaction=True)
def test_a_mailing_follows_the_waiting_room_down_and_up_again(shop: Path, office: Office) -> None:  # noqa: F811
    incident = people(EMAILS)
    mailing = started(shop, incident)
    allowed = rates(mailing)
    assert actions.steer(incident, at=clock.now()) == Steered(sum(allowed), "free")  # nothing was measured yet
    bears(10.0)
    assert actions.steer(incident, at=clock.now()) == Steered(sum(allowed), "free")  # 30 people in an hour are no surge for it
    bears(10.0, waiting=500)
    assert actions.steer(incident, at=clock.now()) == Steered(sum(allowed), "free")  # nor are 500 who wait: they are through in a minute
    assert (rates(mailing), acts(incident)) == (allowed, 0)

    bears(10.0, waiting=700)
    assert actions.steer(incident, at=clock.now()) == Steered(pytest.approx(140.0), "resets")  # .7 x 10 / .05
    assert rates(mailing) == pytest.approx([70.0, 70.0])
    assert acts(incident) == 2
    tasks.steer()
    assert acts(incident) == 2  # nothing new is no act
    begun = time.monotonic()
    notices.send_next(mailing, notices_now.status(mailing).lanes[0].lane, at=clock.now())
    assert len(office.taken) == 300
    assert time.monotonic() - begun > 2.5  # 300 at 70 a second, less what a bucket holds

    bears(10.0)
    assert actions.steer(incident, at=clock.now()) == Steered(allowed[1], "free")
    assert rates(mailing) == allowed
    while any(notices.send_next(mailing, lane.lane, at=clock.now()) for lane in notices_now.status(mailing).lanes):
        continue
    assert notices.finish(mailing, at=clock.now())
    assert actions.steer(incident, at=clock.now()) is None
    assert len(office.taken) == 600


@pytest.mark.django_db(transaction=True)
def test_the_deadline_wins_and_the_finding_is_recorded_once(shop: Path, office: Office) -> None:  # noqa: F811
    incident = people(EMAILS)
    mailing = started(shop, incident, deadline_at=AT + timedelta(hours=1))
    bears(0.001, waiting=700)
    least = 600 / 3600
    for _ in range(2):
        assert actions.steer(incident, at=AT) == Steered(pytest.approx(least * policy.DEADLINE_MARGIN), "deadline")
    assert least < sum(rates(mailing)) < least * 1.2
    found = [e for e in evidence.activity(incident=incident) if e.type == EventType.PACE_ABOVE_RESETS]
    assert [(e.body["mailing"], e.body["waiting"], e.body["waiting_people"]) for e in found] == [(mailing, 600, 700)]
    assert actions.steer(incident, at=AT + timedelta(minutes=59)) == Steered(pytest.approx(600 / 60 * policy.DEADLINE_MARGIN), "deadline")
    late = actions.steer(incident, at=AT + timedelta(hours=2))
    assert late == Steered(200_000.0, "deadline")  # missed already: as fast as people allow


@pytest.mark.django_db(transaction=True)
def test_what_people_set_meanwhile_is_what_they_allow(shop: Path, office: Office) -> None:  # noqa: F811
    incident = people(EMAILS)
    mailing = started(shop, incident)
    bears(10.0, waiting=700)
    actions.steer(incident, at=clock.now())
    one, _ = (lane.lane for lane in notices_now.status(mailing).lanes)
    notices.set_pace(mailing, lane=one, rate_per_s=5.0, at=clock.now(), by="ada")
    actions.steer(incident, at=clock.now())
    assert rates(mailing) == [5.0, pytest.approx(70.0)]
    bears(10.0)
    actions.steer(incident, at=clock.now())
    assert rates(mailing) == [5.0, 100_000.0]
    notices.pause(mailing, at=clock.now(), by="ada")
    assert actions.steer(incident, at=clock.now()) is None


@pytest.mark.django_db(transaction=True)
def test_following_can_be_switched_off_and_the_share_that_comes_is_set(shop: Path, office: Office) -> None:  # noqa: F811
    incident = people(EMAILS)
    started(shop, incident)
    bears(10.0, waiting=700)
    text = (shop / "tocsin.toml").read_text()
    (shop / "tocsin.toml").write_text(text + "[surge]\nfollow_resets = false\nfollow_desk = false\n")
    forget()
    assert actions.steer(incident, at=clock.now()) is None
    assert not Steering.objects.exists()
    (shop / "tocsin.toml").write_text(text + "[surge]\nclick_rate = 0.5\n")
    forget()
    assert actions.steer(incident, at=clock.now()) == Steered(pytest.approx(14.0), "resets")


@pytest.mark.django_db(transaction=True)
def test_the_worker_steers_by_itself_and_nobody_else(shop: Path, office: Office) -> None:  # noqa: F811
    assert jobs._every_s["surge.tasks.steer"] <= 5
    incident = people(EMAILS)
    mailing = started(shop, incident)
    bears(10.0, waiting=700)
    schema.migrate()
    with as_role("console"), pytest.raises(DatabaseError), transaction.atomic():
        actions.steer(incident, at=clock.now())
    with as_role("worker"):
        tasks.steer()
    assert rates(mailing) == pytest.approx([70.0, 70.0])


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({}, Steered(840.0, "resets")),
        ({"resets_per_s": 0.0}, Steered(100_000.0, "free")),  # nothing measured
        ({"waiting_mails": 24_000}, Steered(100_000.0, "free")),  # the demo: 1,200 people in an hour are no surge
        ({"waiting_mails": 24_000, "resets_per_s": 0.5}, Steered(100_000.0, "free")),  # not even for a machine that does much else
        ({"waiting_mails": 24_000, "resets_per_s": 0.4}, Steered(5.6, "resets")),
        ({"waiting_mails": 24_000, "waiting_people": 3_600}, Steered(100_000.0, "free")),
        ({"waiting_mails": 24_000, "waiting_people": 3_601}, Steered(840.0, "resets")),
        ({"allowed_per_s": 500.0}, Steered(500.0, "free")),
        ({"click_rate": 0.5}, Steered(84.0, "resets")),
        ({"left_s": 10_000.0}, Steered(1_100.0, "deadline")),
        ({"left_s": 100_000.0}, Steered(840.0, "resets")),
        ({"left_s": -1.0}, Steered(100_000.0, "deadline")),
    ],
)
def test_the_pace(change: dict[str, float], wanted: Steered) -> None:
    made = policy.steered(dataclasses.replace(PACE, **change))  # type: ignore[arg-type]
    assert (made.rate_per_s, made.by) == (pytest.approx(wanted.rate_per_s), wanted.by)


def test_the_share_that_comes_is_measured_upwards_only() -> None:
    assert policy.click_rate(requested=0, handed_over=0, least=0.05) == 0.05
    assert policy.click_rate(requested=10, handed_over=1_000_000, least=0.05) == 0.05  # most have not read their mail yet
    assert policy.click_rate(requested=300_000, handed_over=1_000_000, least=0.05) == pytest.approx(0.3, rel=0.01)
    assert policy.click_rate(requested=10_000, handed_over=10, least=0.05) == 1.0
