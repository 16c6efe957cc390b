"""Many people at the desk at once, each on a connection of their own; the simulated crew; what each process may do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import ProgrammingError, connection, connections, transaction

from tocsin.drills import crew, letters
from tocsin.kernel import schema
from tocsin.mail.models import Outbound
from tocsin.support import actions, queries
from tocsin.support.models import Answer, Case, Release, Reply

from .desk import ANSWERS, AT, enrol, team, write

pytestmark = pytest.mark.django_db(transaction=True)
RESET = "How can I reset my password?"


@pytest.fixture
def desk(estate: Path) -> Iterator[Path]:
    actions.load_answers(ANSWERS, at=AT, by="lena")
    enrol("otto", role="legal")
    actions.approve_answers(by="otto", at=AT)
    yield estate
    connections.close_all()


def on_own_connection(act: Callable[[str], object], names: list[str]) -> list[object]:
    def run(name: str) -> object:
        try:
            return act(name)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(run, names))


def test_takers_at_once_never_get_the_same_case(desk: Path) -> None:
    for n in range(30):
        write(f"p{n}@people.example", RESET)
    actions.take_in(at=AT)

    def take(name: str) -> int | None:
        case = actions.next_case(by=name, at=AT)
        return case.id if case else None

    got = on_own_connection(take, [f"colleague-{n}" for n in range(40)])
    cases = [c for c in got if c is not None]
    assert len(cases) == len(set(cases)) == 30


def test_one_person_who_asks_many_times_at_once_holds_one_case(desk: Path) -> None:
    for n in range(10):
        write(f"p{n}@people.example", RESET)
    actions.take_in(at=AT)

    def take(_: str) -> int | None:
        case = actions.next_case(by="dora", at=AT)
        return case.id if case else None

    assert len(set(on_own_connection(take, list("abcdefgh")))) == 1
    assert Case.objects.filter(lease_by="dora").count() == 1


def test_takers_in_at_once_take_each_mail_once(desk: Path) -> None:
    for n in range(25):
        write(f"p{n % 20}@people.example", f"{RESET} {n}")
    on_own_connection(lambda _: actions.take_in(at=AT), ["a", "b", "c", "d"])
    actions.take_in(at=AT)
    status = queries.status()
    assert (status.received, Case.objects.count()) == (25, 20)


def test_answers_at_once_send_one_mail(desk: Path) -> None:
    write("ann@people.example", RESET)
    actions.take_in(at=AT)
    case = actions.next_case(by="dora", at=AT)
    assert case is not None

    def answer(_: str) -> bool:
        try:
            actions.answer(case.id, text="Once.", by="dora", at=AT)
        except actions.Refused:
            return False
        return True

    assert sum(map(bool, on_own_connection(answer, list("abcd")))) == 1
    assert Outbound.objects.count() == Reply.objects.count() == 1


def test_a_crew_clears_the_desk(desk: Path) -> None:
    keys = team()
    wrote = {}
    for n in range(60):
        asked = letters.question(11, str(n), name="Al Berg")
        wrote[f"p{n}@people.example"] = asked.kind
        write(f"p{n}@people.example", asked.text, subject=asked.subject)
    actions.take_in(at=AT)
    done = crew.work(
        home=desk, seed=1, clock=lambda: AT, lead="lena", approvers=list(keys.items()), drafted=[f"colleague-{n}" for n in range(6)]
    )
    status = queries.status()
    assert (status.received, status.open, status.answered, status.bulk_answered) == (60, 0, 60, done.bulk_answered)
    assert done.answered == done.bulk_answered + done.one_by_one == 60
    assert done.releases == Release.objects.filter(state="done").count() > 0
    assert not Reply.objects.filter(release__isnull=False).exclude(case__urgency="").exists()
    assert Outbound.objects.count() == 60
    urgent = sum(kind.urgent for kind in wrote.values())
    assert status.urgent_received >= urgent
    assert Reply.objects.filter(by="lena", release=None).count() >= urgent


def test_each_process_may_do_its_part_and_no_more(desk: Path) -> None:
    schema.migrate()

    def as_role(role: str, act: Callable[[], object]) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET ROLE tocsin_{role}")
        try:
            act()
        finally:
            with connection.cursor() as cursor:
                cursor.execute("RESET ROLE")

    write("ann@people.example", RESET)
    write("bob@people.example", RESET)
    as_role("worker", lambda: actions.take_in(at=AT))

    def unapproved() -> Answer:
        newest = Answer.objects.order_by("-pk")[0]
        Answer.objects.filter(pk=newest.pk).update(approved_by=["lena"])
        return newest

    def work() -> None:
        case = actions.next_case(by="dora", at=AT)
        assert case is not None
        actions.answer(case.id, answer_version=case.suggestions[0].version, by="dora", at=AT)
        assert queries.status().answered > 0
        assert queries.questions()

    as_role("console", lambda: actions.approve_answer(unapproved().pk, by="otto", at=AT))
    as_role("console", work)
    as_role("operator", work)

    as_role("operator", lambda: actions.approve_answer(unapproved().pk, by="otto", at=AT))

    def peek() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM support_message")

    for role in ("public", "intake", "sequencer"):
        with pytest.raises(ProgrammingError, match="permission denied"):
            as_role(role, peek)


def test_a_crew_without_two_who_sign_does_not_begin(desk: Path) -> None:
    keys = team()
    with pytest.raises(crew.BadInput):
        crew.work(home=desk, seed=1, clock=lambda: AT, lead="lena", approvers=list(keys.items())[:1], drafted=["dora"])
