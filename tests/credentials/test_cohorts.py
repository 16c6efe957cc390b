"""Cohorts: who is moved, who may not be, and that no order of moves, cutovers and aborts brings a dead password back to life."""

from __future__ import annotations

import csv
import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tests.credentials.shop import AT, GOOD, PEOPLE, cut, enrol, log_in, open_shop, rows
from tests.credentials.test_actions import as_role, link
from tests.credentials.under_attack import approved, cut_over, incident, opened
from tocsin.credentials import actions, cohorts, policy, queries
from tocsin.credentials.models import Account, Credential, Epoch, ResetToken
from tocsin.credentials.types import BREACH_CLASSES, HashColumns
from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.incidents import queries as incidents
from tocsin.kernel import schema
from tocsin.kernel.errors import BadInput, NotFound, Refused
from tocsin.kernel.private import Private
from tocsin.subjects import queries as subjects

FIRST, SECOND, THIRD = PEOPLE[:3]


def subject(customer: object) -> int:
    return subjects.by_external_ids([customer.external_id])[customer.external_id]  # type: ignore[attr-defined]


def assign(cohort: int, *people: object, reason: str = "seen in the intruder's list") -> int:
    return actions.assign_cohort(cohort, subjects=[subject(p) for p in people], reason=reason, at=AT, by="ada").moved


def where() -> dict[int, int]:
    return dict(Account.objects.filter(subject__isnull=False).values_list("subject", "cohort"))


@pytest.fixture
def shop(estate: Path, db: None) -> Path:
    open_shop(enrol(estate))
    return estate


def test_a_list_an_exposure_and_a_date_choose_people(estate: Path, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cohorts, "RANGE_ROWS", 2)  # several ranges of seven accounts
    at = opened(estate)
    seen: list[int] = []
    report = actions.assign_cohort(3, subjects=[subject(FIRST), subject(SECOND)], reason="listed", at=AT, by="ada", progress=seen.append)
    assert (report.selected, report.moved, where()[subject(FIRST)], where()[subject(THIRD)]) == (2, 2, 3, 0)
    assert queries.cohorts() == {0: 5, 3: 2}
    assert actions.assign_cohort(3, subjects=[subject(FIRST), subject(SECOND)], reason="again", at=AT, by="ada").moved == 0
    assert set(Epoch.objects.filter(cohort=3).values_list("cred_class", "epoch")) == set(
        Epoch.objects.filter(cohort=0).values_list("cred_class", "epoch")
    )
    exposure = incidents.exposure_of(at)
    assert actions.assign_cohort(4, exposure=exposure.id, reason="exposed", at=AT, by="ada").moved == len(PEOPLE) == exposure.people
    assert queries.cohorts() == {0: 0, 3: 0, 4: 7}
    begun, ended = (e.body for e in evidence.activity(types=[EventType.COHORT_ASSIGNED])[-2:])
    assert (begun["stage"], ended["stage"], ended["by"], ended["of"], ended["moved"]) == ("begun", "ended", "exposure", exposure.id, 7)
    with pytest.raises(NotFound):
        actions.assign_cohort(5, exposure=99, reason="x", at=AT, by="ada")


def test_a_watermark_takes_who_set_the_password_before_it_and_whom_nobody_can_date(shop: Path, tmp_path: Path) -> None:
    """Dropbox 2016: only passwords unchanged since mid-2012 had to go. A date that cannot be read protects nobody."""
    dated = [
        [*row, date]
        for row, date in zip(rows(), ("2012-01-05", "2012-08-01T10:00:00Z", "last summer", "", *["2015-01-01"] * 3), strict=True)
    ]
    file = tmp_path / "dated.csv"
    with file.open("w", newline="") as out:
        csv.writer(out).writerows(
            [["customer_id", "first_name", "last_name", "email", "password_format", "password_hash", "pw_set"], *dated]
        )
    assert actions.import_hashes(file, mapping=HashColumns(set_at="pw_set"), at=AT, by="owner").accepted == len(PEOPLE)
    assert actions.assign_cohort(2, set_before=datetime(2012, 7, 1, tzinfo=UTC), reason="2012", at=AT, by="ada").moved == 3
    assert {s for s, c in where().items() if c == 2} == {subject(p) for p in (FIRST, PEOPLE[2], PEOPLE[3])}
    armed = actions.arm(incident=None, cohort=2, reason="only what was copied in 2012", at=AT, by="ada")
    assert (armed.undated, armed.counts["password"], armed.by_cohort) == (2, 3, {2: dict(armed.counts)})


def test_what_is_no_assignment_is_refused_with_every_fault(shop: Path) -> None:
    with pytest.raises(BadInput) as e:
        actions.assign_cohort(-1, reason=" ", at=AT, by="ada")
    assert [f.field for f in e.value.faults] == ["cohort", "selection", "reason"]
    with pytest.raises(BadInput, match="set_before"):
        actions.assign_cohort(1, set_before=AT + timedelta(1), reason="x", at=AT, by="ada")
    with pytest.raises(BadInput, match="selection"):
        actions.assign_cohort(1, set_before=AT, exposure=1, reason="x", at=AT, by="ada")


def test_nobody_comes_back_to_life_by_moving_and_nobody_ends_by_it(shop: Path) -> None:
    assign(1, FIRST)
    armed = actions.arm(incident=None, cohort=1, reason="only the listed", at=AT, by="ada")
    with pytest.raises(Refused, match="armed or can still be taken back"):
        assign(1, SECOND)  # two people would sign for one person, and end two
    cut(shop, armed=armed)
    assert (log_in(FIRST), log_in(SECOND) is not None) == (None, True)
    with pytest.raises(Refused, match="armed or can still be taken back"):
        assign(0, FIRST)
    finish(armed.id, shop)
    with pytest.raises(Refused, match="other epochs"):
        assign(0, FIRST)  # back among the living
    with pytest.raises(Refused, match="other epochs"):
        assign(1, SECOND)  # ended without two signatures
    assert (log_in(FIRST), log_in(SECOND) is not None) == (None, True)
    assert assign(2, FIRST) == 1
    assert log_in(FIRST) is None
    with transaction.atomic():
        both = [subject(FIRST), subject(SECOND)]
        with pytest.raises(Refused, match="cohort of their own"):
            actions.assign_cohort(7, subjects=both, reason="x", at=AT, by="ada")
    assert where()[subject(SECOND)] == 0


def finish(cutover: int, home: Path) -> None:
    """Erase what a cutover left dead, so that it cannot be taken back any more."""
    approved(home, lambda a: actions.erase(cutover, approval=a, at=AT, by="ada"))
    while actions.erase_next(cutover, at=AT):
        pass
    assert queries.erasure(cutover).state == "erased"


def test_an_aborted_number_of_another_cohort_is_spent_for_all(shop: Path) -> None:
    """Somebody who set a password under an aborted epoch and then moved must still be ended by the next cutover there."""
    assign(1, FIRST)
    armed = actions.arm(incident=None, cohort=1, reason="first", at=AT, by="ada")
    cut(shop, armed=armed)
    assert link(FIRST)
    actions.redeem("T" * 43, Private(GOOD), at=AT)
    approved(shop, lambda a: actions.abort(armed.id, approval=a, at=AT, by="ada"))
    assert assign(0, FIRST) == 1
    assert Credential.objects.get(account__subject=subject(FIRST), cred_class="password").epoch == armed.to_epoch
    rest = actions.arm(incident=None, cohort=0, reason="the rest", at=AT, by="ada")
    assert rest.to_epoch > armed.to_epoch
    cut(shop, armed=rest)
    assert log_in(FIRST, GOOD) is None


def test_widening_is_one_call_and_spares_who_was_cut_over(shop: Path) -> None:
    assign(1, FIRST)
    narrow = actions.arm(incident=1, cohort=1, reason="we believed it was only these", at=AT, by="ada")
    cut(shop, armed=narrow)
    assert link(FIRST)
    actions.redeem("T" * 43, Private(GOOD), at=AT)
    wide = actions.widen(narrow.id, at=AT, by="ada")
    assert (wide.cohort, wide.spared, wide.classes) == (None, (1,), narrow.classes)
    assert wide.reason == f"widened from cutover {narrow.id} of cohort 1"
    assert (wide.counts["password"], set(wide.by_cohort)) == (6, {0})
    assert wide.payload["spared"] == [1]
    assert actions.widen(narrow.id, at=AT, by="ada").id == wide.id
    assert log_in(SECOND) is not None
    cut_over(shop, wide.id)
    assert log_in(SECOND) is None
    assert log_in(FIRST, GOOD) is not None  # a password set after the first cutover stays
    approved(shop, lambda a: actions.abort(wide.id, approval=a, at=AT, by="ada"))
    assert (log_in(SECOND) is not None, log_in(FIRST), log_in(FIRST, GOOD) is not None) == (True, None, True)


def test_widening_what_is_only_armed_withdraws_it(shop: Path) -> None:
    assign(1, FIRST)
    narrow = actions.arm(incident=1, cohort=1, reason="we believed it was only these", at=AT, by="ada")
    wide = actions.widen(narrow.id, at=AT, by="ada")
    assert (queries.cutover(narrow.id).state, wide.spared, wide.counts["password"]) == ("aborted", (), 7)
    cut_over(shop, wide.id)
    assert (log_in(FIRST), log_in(SECOND)) == (None, None)
    with pytest.raises(Refused, match="everybody already"):
        actions.widen(wide.id, at=AT, by="ada")


def test_the_arm_report_says_what_two_people_should_know(estate: Path, db: None) -> None:
    open_shop(enrol(estate))
    at = incident(estate)
    actions.plant_canaries(2, at=AT)
    actions.plant_canaries(1, at=AT, population="staff")
    assign(1, FIRST, SECOND)
    armed = actions.arm(incident=at, at=AT, by="ada")
    assert {c: n["password"] for c, n in armed.by_cohort.items()} == {0: 7, 1: 2}  # five customers and two canaries; the two
    assert armed.counts["password"] == 9
    assert (armed.canaries, armed.staff_untouched, dict(armed.excluded)) == (2, 1, {"staff": 1})
    assert (armed.undated, armed.contacts_changed) == (7, 0)
    assert [(c.system, c.handles, c.contained) for c in armed.containment] == [("web_ky", ("login",), False)]
    assert queries.cutover(armed.id) == dataclasses.replace(armed, tried=None)  # a look at it later tries nothing


def test_each_process_can_move_widen_and_no_more(real_shop: Path) -> None:
    schema.migrate()
    with as_role("operator"):
        assert assign(1, FIRST) == 1
        narrow = actions.arm(incident=1, cohort=1, reason="listed", at=AT, by="ada")
        assert actions.widen(narrow.id, at=AT, by="ada").counts["password"] == 7


@pytest.fixture
def real_shop(estate: Path, transactional_db: None) -> Path:
    open_shop(enrol(estate))
    return estate


# -- no order of acts revives anybody ---------------------------------------------------------------------------------------

MOVES = st.tuples(st.just("move"), st.integers(0, 2), st.integers(0, 2))
CUTS = st.tuples(st.just("cut"), st.sampled_from([0, 1, 2, 0, 1, 2, None]), st.just(0))
TAKEN_BACK = st.tuples(st.just("abort"), st.integers(0, 1), st.just(0))
RENEWED = st.tuples(st.just("renew"), st.integers(0, 2), st.just(0))
ERASED = st.tuples(st.just("erase"), st.integers(0, 1), st.just(0))
STEPS = st.lists(st.one_of(MOVES, MOVES, CUTS, CUTS, TAKEN_BACK, RENEWED, ERASED), min_size=8, max_size=14)


def live() -> dict[int, bool]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT subject FROM credentials_live_credential WHERE class = 'password'")
        there = {row[0] for row in cursor.fetchall()}
    return {s: s in there for s in where()}


@pytest.mark.django_db
@settings(
    database=None,
    max_examples=20,
    phases=(Phase.explicit, Phase.generate),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@example(steps=[("cut", 1, 0), ("cut", None, 0), ("erase", 1, 0), ("move", 1, 0), ("abort", 0, 0)])
@given(steps=STEPS)
def test_dead_is_dead_until_the_two_people_who_signed_take_it_back(estate: Path, steps: list[tuple[str, int, int]]) -> None:
    """A password lives until a cutover covers its account, and again only if every cutover that covered it was taken back.

    The model knows nothing of epochs: per account the set of cutovers that ended its present password. Whatever the rooms allow must agree
    with it after each step; what they refuse must change nothing.
    """
    with transaction.atomic():
        open_shop(enrol(estate), PEOPLE[:3])
        people = sorted(where())
        for n in (1, 2):
            actions.assign_cohort(n, subjects=[people[n]], reason="property", at=AT, by="ada")
        ended: dict[int, set[int]] = {s: set() for s in people}
        done: list[int] = []
        for what, which, to in steps:
            before = where()
            try:
                with transaction.atomic():
                    match what:
                        case "move":
                            actions.assign_cohort(to, subjects=[people[which]], reason="property", at=AT, by="ada")
                        case "cut":
                            armed = actions.arm(incident=None, cohort=which, reason="property", at=AT, by="ada")
                            cut_over(estate, armed.id)
                            done.append(armed.id)
                            for s in people:
                                if which is None or before[s] == which:
                                    ended[s].add(armed.id)
                        case "abort" if which < len(done):
                            back = done[-1 - which]
                            approved(estate, lambda a, back=back: actions.abort(back, approval=a, at=AT, by="ada"))  # type: ignore[misc]
                            for s in people:
                                ended[s].discard(back)
                        case "renew":
                            renew(people[which])
                            ended[people[which]] = set()
                        case "erase" if which < len(done):
                            finish(done[-1 - which], estate)
            except (Refused, BadInput, AssertionError) as e:
                if isinstance(e, AssertionError) and not isinstance(e.args[0] if e.args else None, Refused):
                    raise
                assert where() == before
            assert live() == {s: not by for s, by in ended.items()}, (steps, what, which, to)
        transaction.set_rollback(True)


def renew(who: int) -> None:
    """Give an account a new password as a redeemed link does."""
    token = f"{who}-".ljust(43, "x")
    lookup = bytes(Account.objects.get(subject=who).login_hmac)
    ResetToken.objects.all().delete()
    assert actions.send_reset(lookup, request=uuid4(), token=Private(token), at=AT)
    actions.redeem(token, Private(GOOD + str(uuid4())), at=AT)


# -- the decision itself ----------------------------------------------------------------------------------------------------

VECTORS = st.dictionaries(st.integers(0, 5), st.fixed_dictionaries({c: st.integers(1, 4) for c in BREACH_CLASSES}), min_size=1)


@given(epochs=VECTORS, to=st.integers(0, 5), moving=st.sets(st.integers(0, 5)), epoch=st.integers(1, 4))
def test_a_move_changes_nothing_about_what_lives(epochs: dict[int, dict[str, int]], to: int, moving: set[int], epoch: int) -> None:
    for source in policy.movable(epochs, to=to, moving=moving):
        assert source != to
        assert not moving & {source, to}
        for cred_class in BREACH_CLASSES:
            assert (epoch >= epochs[source][cred_class]) == (epoch >= epochs[to][cred_class])
    assert policy.movable(epochs, to=to, moving={to}) == set()
