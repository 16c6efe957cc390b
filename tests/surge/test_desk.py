"""A mailing that follows the desk: slower while its queue grows too long, never too slow for the law unless two people say so."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.conftest import forget
from tests.credentials.test_actions import as_role
from tests.notices.conftest import office, shop  # noqa: F401 - fixtures
from tests.notices.office import Office
from tests.notices.world import AT, people, sign, started
from tests.support import desk as mails
from tests.surge.test_steering import rates
from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel import config, schema
from tocsin.kernel.errors import BadInput, Refused
from tocsin.notices import actions as notices
from tocsin.notices import queries as notices_now
from tocsin.support import actions as support
from tocsin.support import queries as desk_now
from tocsin.support.models import Case
from tocsin.surge import actions, policy, tasks
from tocsin.surge.types import Desk, Pace, Steered

HOUR = 3600.0
DESK = Desk(open=10_000, oldest_s=HOUR, answers_per_s=1.0, coming=0.0, write_rate=0.03, wait_s=24 * HOUR)
PACE = Pace(waiting_mails=20_000_000, allowed_per_s=100_000.0, resets_per_s=0.0, waiting_people=0, click_rate=0.05, left_s=None)
EMAILS = [f"user{i}@{('gmail', 'yahoo')[i % 2]}.example" for i in range(600)]


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (
            {},
            (0.7 + (86_400 - 10_000) / HOUR) / 0.03,
        ),  # what fits into a day's promise, over an hour, and most of what is answered meanwhile
        ({"open": 49}, None),
        ({"open": 1_800}, None),  # half an hour's work: perhaps nobody waits for work, but nobody can tell
        ({"open": 86_400}, 0.7 / 0.03),
        ({"coming": 80_000.0}, 0.7 / 0.03),  # mails already out will fill the queue
        ({"oldest_s": 25 * HOUR}, 0.7 / 0.03),
        ({"answers_per_s": None}, None),
        ({"answers_per_s": None, "oldest_s": 25 * HOUR}, 1.0),
        ({"answers_per_s": 0.0}, 1.0),
        ({"write_rate": 0.5, "open": 90_000}, 1.4),
    ],
)
def test_what_a_desk_can_bear(change: dict[str, float], wanted: float | None) -> None:
    cap = policy.desk_cap(dataclasses.replace(DESK, **change), waiting_mails=20_000_000)  # type: ignore[arg-type]
    assert cap == (None if wanted is None else pytest.approx(wanted))


def test_a_few_mails_more_fit_into_the_promise() -> None:
    assert policy.desk_cap(DESK, waiting_mails=100_000) is None
    assert policy.desk_cap(DESK, waiting_mails=3_000_000) is not None


def test_the_lowest_cap_counts_and_the_deadline_goes_over_it() -> None:
    both = dataclasses.replace(PACE, desk=dataclasses.replace(DESK, open=86_400), resets_per_s=60.0)
    assert policy.steered(both) == Steered(pytest.approx(0.7 / 0.03), "desk")
    assert policy.steered(dataclasses.replace(both, resets_per_s=1.0)) == Steered(pytest.approx(14.0), "resets")
    due = policy.steered(dataclasses.replace(both, left_s=200_000.0))
    assert (due.rate_per_s, due.by, due.over) == (pytest.approx(110.0), "deadline", "desk")


def test_a_slow_page_counts_only_while_people_wait() -> None:
    slow = dataclasses.replace(PACE, waiting_mails=24_000, resets_per_s=10.0, page_p95_ms=2_500.0)
    assert policy.steered(slow).by == "free"
    assert policy.steered(dataclasses.replace(slow, waiting_people=1)) == Steered(pytest.approx(140.0), "resets")


def test_the_desks_speed_is_measured() -> None:
    kept: list[tuple[float, int]] = []
    for minute in range(0, 600, 1):
        kept = policy.sampled(kept, at_s=minute * 60.0, answered=minute)
    assert len(kept) <= policy.DESK_WINDOW_S / policy.SAMPLE_S + 1
    assert policy.answers_per_s(kept, at_s=599 * 60.0, answered=599) == pytest.approx(1 / 60, rel=0.05)
    assert policy.answers_per_s([(0.0, 5)], at_s=60.0, answered=34) is None  # 29 in a minute: too few to tell
    assert policy.answers_per_s([(0.0, 5)], at_s=60.0, answered=35) == 0.5
    assert policy.answers_per_s([(0.0, 5)], at_s=3600.0, answered=5) == 0.0
    assert policy.answers_per_s([], at_s=60.0, answered=35) is None


def letters(n: int, *, at: datetime) -> None:
    """So many people write to the desk."""
    for i in range(n):
        mails.write(f"person{i}@people.example", f"Is it true, number {i}?", at=at)
    while support.take_in(at=at).messages:
        continue


def closed(n: int, *, at: datetime) -> None:
    for case in list(Case.objects.filter(state="open").order_by("pk").values_list("pk", flat=True)[:n]):
        support.close(case, why="asks_nothing", by="dora", at=at)


@pytest.mark.django_db(transaction=True)
def test_a_mailing_follows_the_desk_down_and_up_again(shop: Path, office: Office) -> None:  # noqa: F811
    incident = people(EMAILS)
    mailing = started(shop, incident)
    allowed = rates(mailing)
    with (shop / "tocsin.toml").open("a") as f:
        f.write("[surge]\nwrite_rate = 0.5\ndesk_wait_h = 0.1\n")
    forget()
    mails.enrol("dora")
    now = datetime.now(UTC)
    assert actions.steer(incident, at=now) == Steered(sum(allowed), "free")
    letters(70, at=now)
    assert actions.steer(incident, at=now) == Steered(sum(allowed), "free")  # nobody knows yet how fast the desk is
    later = now + timedelta(hours=2)
    closed(5, at=now)
    assert desk_now.status().open == 65
    slow = actions.steer(incident, at=later)
    assert slow == Steered(pytest.approx(1.0), "desk")  # 5 in two hours: by that speed the rest takes a day
    assert sum(rates(mailing)) == pytest.approx(1.0, rel=0.2)
    closed(60, at=now)
    assert actions.steer(incident, at=later + timedelta(seconds=5)) == Steered(sum(allowed), "free")
    assert rates(mailing) == allowed
    schema.migrate()
    with as_role("worker"):
        tasks.steer()


@pytest.mark.django_db(transaction=True)
def test_the_deadline_wins_until_two_people_allow_a_later_end(shop: Path, office: Office) -> None:  # noqa: F811
    incident = people(EMAILS)
    deadline = AT + timedelta(minutes=5)
    mailing = started(shop, incident, deadline_at=deadline)
    letters(60, at=AT - timedelta(hours=25))  # so old that the promise is broken
    least = 600 / 300
    for _ in range(2):
        assert actions.steer(incident, at=AT) == Steered(pytest.approx(least * policy.DEADLINE_MARGIN), "deadline")
    found = evidence.activity(incident=incident, types=[EventType.PACE_ABOVE_DESK])
    assert [(e.body["mailing"], e.body["desk_open"]) for e in found] == [(mailing, 60)]
    with pytest.raises(Refused, match="allow-late"):
        notices.set_pace(mailing, rate_per_s=1.0, at=AT, by="ada")

    later = AT + timedelta(hours=1)
    with pytest.raises(BadInput) as wrong:
        notices.allow_late(mailing, until=AT, why=" ", approval=None, at=AT, by="ada")
    assert {f.field for f in wrong.value.faults} == {"until", "why"}
    with pytest.raises(Refused) as asked:
        notices.allow_late(mailing, until=later, why="counsel spoke with the agency", approval=None, at=AT, by="ada")
    approval = asked.value.approval
    assert approval is not None
    sign(shop, approval, "ada")
    with pytest.raises(Refused, match="legal"):
        notices.allow_late(mailing, until=later, why="counsel spoke with the agency", approval=approval, at=AT, by="ada")
    assert notices_now.status(mailing).pace_until == deadline
    sign(shop, approval, "bob")
    with pytest.raises(Refused, match="something else"):
        notices.allow_late(
            mailing, until=later + timedelta(hours=9), why="counsel spoke with the agency", approval=approval, at=AT, by="ada"
        )
    notices.allow_late(mailing, until=later, why="counsel spoke with the agency", approval=approval, at=AT, by="ada")
    with pytest.raises(Refused, match="used already"):
        notices.allow_late(mailing, until=later, why="counsel spoke with the agency", approval=approval, at=AT, by="ada")
    s = notices_now.status(mailing)
    assert (s.deadline_at, s.late_until, s.pace_until) == (deadline, later, later)
    assert evidence.activity(incident=incident, types=[EventType.LATE_END_ALLOWED])[0].body["signed_by"] == ["ada", "bob"]
    assert actions.steer(incident, at=AT) == Steered(pytest.approx(1.0), "desk")
    notices.set_pace(mailing, rate_per_s=0.2, at=AT, by="ada")


@pytest.mark.django_db(transaction=True)
def test_following_the_desk_can_be_switched_off(shop: Path, office: Office) -> None:  # noqa: F811
    incident = people(EMAILS)
    started(shop, incident)
    letters(60, at=AT - timedelta(hours=25))
    with (shop / "tocsin.toml").open("a") as f:
        f.write("[surge]\nfollow_desk = false\n")
    forget()
    assert actions.steer(incident, at=AT) == Steered(200_000.0, "free")
    (shop / "tocsin.toml").write_text((shop / "tocsin.toml").read_text() + "follow_resets = false\n")
    forget()
    assert actions.steer(incident, at=AT) is None


def test_shares_and_hours_are_checked(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as wrong:
        config.parse("[surge]\nwrite_rate = 0.0\ndesk_wait_h = -1.0\n", home=tmp_path, database_url="", process="worker")
    assert {f.field for f in wrong.value.faults} == {"surge.write_rate", "surge.desk_wait_h"}
