"""The desk through its doors against a real PostgreSQL: mail in, cases, leases, answers, releases; counts close."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel import sql
from tocsin.kernel.errors import BadInput, NotFound, Refused
from tocsin.kernel.sealing import open_sealed
from tocsin.mail.models import Outbound
from tocsin.staff import actions as staff
from tocsin.support import actions, queries, sealed
from tocsin.support.models import Case, Message, Reply, Tally

from .desk import ANSWERS, AT, enrol, minutes, team, write

pytestmark = pytest.mark.django_db
RESET = "How can I reset my password?"


@pytest.fixture
def desk(estate: Path) -> Path:
    actions.load_answers(ANSWERS, at=AT, by="lena")
    enrol("otto", role="legal")
    actions.approve_answers(by="otto", at=AT)
    return estate


def closes() -> None:
    """Check the status, which is read from sums, against a count over all rows."""
    s = queries.status()
    of_people = Message.objects.filter(case__isnull=False)
    waiting = of_people.filter(answered_at=None)
    assert (s.received, s.open, s.answered) == (of_people.count(), waiting.count(), of_people.exclude(answered_at=None).count())
    assert s.bulk_answered == of_people.filter(reply__release__isnull=False).count()
    assert s.urgent == waiting.exclude(case__urgency="").count()
    assert s.urgent_received == of_people.exclude(urgency="").count()
    assert s.set_aside == Message.objects.filter(case=None).count()
    assert s.received == s.answered + s.open
    assert sum(Case.objects.values_list("waiting", flat=True)) == s.open


def single(outbound: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(open_sealed(Outbound.objects.get(pk=outbound).sealed, context="mail-outbound").reveal())
    return found


def newest_reply() -> dict[str, Any]:
    return single(Reply.objects.order_by("-pk").values_list("outbound", flat=True)[0])


def take_and_answer(by: str = "dora", *, at: Any = AT) -> int:
    case = actions.next_case(by=by, at=at)
    assert case is not None
    actions.answer(case.id, answer_version=case.suggestions[0].version, by=by, at=at)
    return case.id


def test_the_status_reads_no_message_but_the_oldest_waiting_one(desk: Path) -> None:
    for n in range(150):
        write(f"p{n}@people.example", RESET if n % 10 else "There are fraudulent charges on my card.")
    actions.take_in(at=AT)
    assert Tally.objects.count() == 1
    closes()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE support_message, support_case")
        cursor.execute("SET LOCAL enable_bitmapscan = off")
        cursor.execute("SET LOCAL enable_seqscan = off")  # with a hundred rows a scan would be cheaper; with a million it is not
        cursor.execute("EXPLAIN " + sql.text("support", "status"))
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "using support_message_waiting on" in plan
    assert "using support_case_urgent on" in plan
    assert plan.count("support_message") == 2  # the index and its table, once


def test_a_mail_becomes_a_case_and_is_answered_in_its_thread(desk: Path) -> None:
    write("ann@people.example", f"Hello,\n\n{RESET}\n\nThanks\nAnn", message_id="<a@people.example>", references=["<old@x.example>"])
    assert actions.take_in(at=AT).opened == 1
    case = actions.next_case(by="dora", at=AT)
    assert case is not None
    assert case.suggestions[0].question == "how_reset"
    actions.answer(case.id, answer_version=case.suggestions[0].version, by="dora", at=AT)
    sent = newest_reply()
    assert sent["to"] == "ann@people.example"
    assert sent["in_reply_to"] == "<a@people.example>"
    assert sent["references"] == ["<old@x.example>", "<a@people.example>"]
    assert sent["reply_to"] == sealed.reply_address(case.id)
    assert sent["subject"] == "Re: a question"
    status = queries.status()
    assert (status.received, status.open, status.answered, status.bulk_answered) == (1, 0, 1, 0)
    counts = evidence.counts()
    assert (counts[EventType.MESSAGE_RECEIVED], counts[EventType.REPLY_QUEUED], counts[EventType.PERSONAL_DATA_READ]) == (1, 1, 1)
    with pytest.raises(Refused, match="answered already"):
        actions.answer(case.id, text="again", by="dora", at=AT)
    assert "ann@" not in str(list(Case.objects.values()) + list(Message.objects.values()))


def test_same_mail_twice_and_mail_without_message_id(desk: Path) -> None:
    first = write("ann@people.example", RESET, message_id="<a@people.example>")
    assert write("ann@people.example", RESET, message_id="<a@people.example>") == first
    write("bob@people.example", RESET, message_id=None)
    taken = actions.take_in(at=AT)
    assert (taken.messages, taken.opened) == (2, 2)
    assert actions.take_in(at=AT).messages == 0
    assert Message.objects.count() == 2
    take_and_answer()
    take_and_answer()
    closes()


def test_second_mail_of_a_person_joins_however_the_address_is_spelt(desk: Path) -> None:
    write("Ann@People.Example", RESET)
    write("ann@people.example", "Is my order on its way?", subject="quite another thing", at=minutes(5))
    taken = actions.take_in(at=minutes(6))
    assert (taken.opened, taken.joined) == (1, 1)
    case = actions.next_case(by="dora", at=minutes(6))
    assert case is not None
    assert len(case.messages) == 2
    actions.answer(case.id, text="Both: see the page.", by="dora", at=minutes(6))
    assert queries.status().answered == 2
    assert Reply.objects.count() == 1


@pytest.mark.parametrize(("days", "joins"), [(13, True), (15, False)])
def test_an_answered_case_is_reopened_for_fourteen_days(desk: Path, days: int, joins: bool) -> None:
    write("ann@people.example", RESET)
    actions.take_in(at=AT)
    case = take_and_answer()
    later = AT + timedelta(days=days)
    write("ann@people.example", "It does not work.", at=later)
    taken = actions.take_in(at=later)
    assert (taken.joined, taken.opened) == ((1, 0) if joins else (0, 1))
    again = actions.next_case(by="dora", at=later)
    assert again is not None
    assert (again.id == case) is joins
    closes()


def test_subject_alone_never_joins_but_reply_address_and_our_message_id_do(desk: Path) -> None:
    write("ann@people.example", RESET, subject="Case 1")
    actions.take_in(at=AT)
    case = take_and_answer()
    Outbound.objects.update(message_id="<ours@notice.shop.example>")
    write("bob@people.example", "me too", subject="Re: Case 1", at=minutes(1))
    assert actions.take_in(at=minutes(1)).opened == 1
    write("ann@elsewhere.example", "from my other address", to=sealed.reply_address(case).upper(), at=minutes(2))
    assert actions.take_in(at=minutes(2)).joined == 1
    write("ann@third.example", "and from a third", references=["<ours@notice.shop.example>"], at=minutes(3))
    assert actions.take_in(at=minutes(3)).joined == 1
    forged = sealed.reply_address(case).replace(sealed.mac(case), "0" * 13)
    write("eve@people.example", "let me in", to=forged, at=minutes(4))
    assert actions.take_in(at=minutes(4)).opened == 1
    assert len(queries.case(case, by="dora", at=minutes(5)).messages) == 3


def test_nobody_is_answered_more_than_five_times_a_day(desk: Path) -> None:
    for n in range(6):
        write("ann@people.example", f"{RESET} {n}", at=minutes(n))
        actions.take_in(at=minutes(n))
        case = actions.next_case(by="dora", at=minutes(n))
        assert case is not None
        if n < 5:
            actions.answer(case.id, text="Please see the page.", by="dora", at=minutes(n))
            continue
        with pytest.raises(Refused, match="within a day"):
            actions.answer(case.id, text="Please see the page.", by="dora", at=minutes(n))
        actions.answer(case.id, text="Please see the page.", by="dora", at=minutes(n) + timedelta(days=1))
    assert queries.status().answered == 6


def test_a_lease_keeps_others_away_and_comes_back(desk: Path) -> None:
    write("ann@people.example", RESET)
    actions.take_in(at=AT)
    case = actions.next_case(by="dora", at=AT)
    assert case is not None
    again = actions.next_case(by="dora", at=minutes(1))
    assert again is not None
    assert again.id == case.id
    assert actions.next_case(by="emil", at=minutes(5)) is None
    for act in (
        lambda: actions.answer(case.id, text="x", by="emil", at=minutes(5)),
        lambda: actions.release_lease(case.id, by="emil", at=minutes(5)),
    ):
        with pytest.raises(Refused, match="dora"):
            act()
    late = actions.next_case(by="emil", at=minutes(8))
    assert late is not None
    assert late.id == case.id
    with pytest.raises(Refused, match="emil"):
        actions.answer(case.id, text="x", by="dora", at=minutes(8))
    actions.release_lease(case.id, by="emil", at=minutes(8))
    assert queries.case(case.id, by="dora", at=minutes(8)).lease_by == ""
    with pytest.raises(NotFound):
        actions.release_lease(case.id + 99, by="emil", at=AT)


def test_what_comes_while_somebody_writes_is_not_answered_unseen(desk: Path) -> None:
    enrol("dora")
    write("ann@people.example", RESET)
    actions.take_in(at=AT)
    case = actions.next_case(by="dora", at=AT)
    assert case is not None
    write("ann@people.example", "Somebody charges my card right now!", at=minutes(1))
    actions.take_in(at=minutes(1))
    actions.answer(case.id, answer_version=case.suggestions[0].version, by="dora", at=minutes(2))
    status = queries.status()
    assert (status.answered, status.open, status.urgent) == (1, 1, 1)
    again = actions.next_case(by="dora", at=minutes(2))
    assert again is not None
    assert again.urgency == "fraud_now"
    closes()


def test_urgent_first_then_oldest(desk: Path) -> None:
    enrol(*(f"p{n}" for n in range(4)))
    write("ann@people.example", RESET)
    write("bob@people.example", "Is my card safe?", at=minutes(1))
    write("cleo@people.example", "As a journalist I need a statement.", at=minutes(2))
    write("dan@people.example", "There are fraudulent charges on my card.", at=minutes(3))
    actions.take_in(at=minutes(4))
    order = [actions.next_case(by=f"p{n}", at=minutes(4)) for n in range(4)]
    assert [c.urgency for c in order if c] == ["fraud_now", "journalist", "", ""]
    assert order[2] is not None
    assert order[2].messages[0].text == RESET
    assert queries.status().urgent == 2


@pytest.mark.parametrize("novice", [True, False])
def test_an_urgent_case_never_reaches_a_novice(desk: Path, novice: bool) -> None:
    enrol("dora", role="drafted" if novice else "support_lead")
    write("dan@people.example", "There are fraudulent charges on my card.")
    write("ann@people.example", RESET)
    actions.take_in(at=AT)
    urgent = Case.objects.get(urgency="fraud_now").pk
    first = actions.next_case(by="dora", at=AT)
    assert first is not None
    assert (first.id == urgent) is not novice
    if not novice:
        assert queries.case(urgent, by="dora", at=AT).urgency == "fraud_now"
        actions.answer(urgent, text="We look into it.", by="dora", at=AT)
        return
    for act in (
        lambda: queries.case(urgent, by="dora", at=AT),
        lambda: queries.case(urgent, by="stranger", at=AT),
        lambda: actions.answer(urgent, text="Not me.", by="dora", at=AT),
    ):
        with pytest.raises(Refused, match="urgent"):
            act()
    assert queries.status().answered == 0


def test_a_case_that_becomes_urgent_leaves_the_novice_who_holds_it(desk: Path) -> None:
    enrol("dora", role="drafted")
    enrol("lead")
    write("ann@people.example", RESET)
    actions.take_in(at=AT)
    held = actions.next_case(by="dora", at=AT)
    assert held is not None
    write("ann@people.example", "Somebody charges my card right now!", at=minutes(1))
    actions.take_in(at=minutes(1))
    with pytest.raises(Refused, match="urgent"):
        actions.answer(held.id, text="Please see the page.", by="dora", at=minutes(1))
    urgent = actions.next_case(by="lead", at=minutes(1))
    assert urgent is not None
    assert (urgent.id, urgent.lease_by) == (held.id, "lead")
    assert actions.next_case(by="dora", at=minutes(1)) is None


def test_a_case_closed_without_a_mail_counts_as_answered_for_its_reason(desk: Path) -> None:
    enrol("nora", role="drafted")
    write("ann@people.example", "Hello, thank you all for your work.")
    write("dan@people.example", "There are fraudulent charges on my card.", at=minutes(1))
    actions.take_in(at=minutes(1))
    case = actions.next_case(by="nora", at=minutes(1))
    assert case is not None
    urgent = Case.objects.get(urgency="fraud_now").pk
    with pytest.raises(BadInput, match="thanks"):
        actions.close(case.id, why="no time", by="nora", at=minutes(1))
    for wrong, by in ((case.id, "emil"), (urgent, "nora")):
        with pytest.raises(Refused):
            actions.close(wrong, why="thanks", by=by, at=minutes(1))
    with pytest.raises(NotFound):
        actions.close(10**9, why="thanks", by="nora", at=minutes(1))
    write("ann@people.example", RESET, at=minutes(2))
    actions.take_in(at=minutes(2))
    actions.close(case.id, why="thanks", by="nora", at=minutes(3))
    closes()
    status = queries.status()
    assert (status.received, status.answered, status.open) == (3, 1, 2)  # what came unseen still waits
    again = actions.next_case(by="nora", at=minutes(4))
    assert again is not None
    assert again.id == case.id
    actions.close(case.id, why="answered_elsewhere", by="nora", at=minutes(4))
    with pytest.raises(Refused, match="already"):
        actions.close(case.id, why="thanks", by="nora", at=minutes(4))
    assert list(Message.objects.filter(case=case.id).order_by("pk").values_list("closed_why", flat=True)) == [
        "thanks",
        "answered_elsewhere",
    ]
    assert evidence.counts()[EventType.CASE_CLOSED] == 2
    assert Outbound.objects.count() == 0
    closes()
    write("ann@people.example", RESET, at=minutes(5))
    assert actions.take_in(at=minutes(5)).joined == 1


def test_secrets_are_gone_before_anybody_reads_and_before_they_rest(desk: Path) -> None:
    write("ann@people.example", "Card 4111 1111 1111 1111, my password is hunter2!x", subject="4111111111111111")
    actions.take_in(at=AT)
    case = actions.next_case(by="dora", at=AT)
    assert case is not None
    assert "4111" not in case.messages[0].text
    assert "hunter2" not in case.messages[0].text
    with pytest.raises(BadInput) as found:
        actions.answer(case.id, text="You wrote 4111 1111 1111 1111. See https://evil.test, http://127.0.0.1:8001/.", by="dora", at=AT)
    assert [f.got for f in found.value.faults] == ["1 card number(s)", "a link to 'evil.test'"]
    for words in ("", "x" * 20_001):
        with pytest.raises(BadInput, match="characters"):
            actions.answer(case.id, text=words, by="dora", at=AT)
    with pytest.raises(BadInput):
        actions.answer(case.id, by="dora", at=AT)
    with pytest.raises(NotFound):
        actions.answer(case.id, answer_version=10**9, by="dora", at=AT)
    actions.answer(case.id, text="Thank you.", by="dora", at=AT)
    assert "4111" not in newest_reply()["subject"]


def test_mail_without_sender_and_from_ourselves_is_kept_and_not_answered(desk: Path) -> None:
    write("nobody", RESET)
    write("help@shop.example", RESET)
    write("ann@people.example", RESET, headers={"List-Id": "<news.people.example>"})  # a machine's: the mail room keeps it to itself
    assert actions.take_in(at=AT).set_aside == 2
    closes()
    status = queries.status()
    assert (status.received, status.set_aside) == (0, 2)
    assert actions.next_case(by="dora", at=AT) is None


def test_a_release_needs_two_and_leaves_out_what_a_person_must_see(desk: Path) -> None:
    keys = team()
    for n in range(6):
        write(f"p{n}@people.example", f"Hello,\n\n{RESET}\n\nP{n}", subject="password")
    write("urgent@people.example", f"{RESET} And there are fraudulent charges on my card.", subject="password")
    actions.take_in(at=AT)
    leased = actions.next_case(by="lena", at=AT)
    assert leased is not None
    assert leased.urgency == "fraud_now"
    mine = actions.next_case(by="dora", at=AT)
    assert mine is not None
    prepared = actions.prepare_release("how_reset", at=AT, by="lena")
    assert prepared.cases == 5
    assert "/passwordchange" in prepared.text
    with pytest.raises(Refused) as asked:
        actions.release(prepared.id, approval=None, at=AT, by="lena")
    approval = asked.value.approval
    assert approval is not None
    staff.sign_with_key_file(approval, operator="lena", key_file=keys["lena"], at=AT)
    with pytest.raises(Refused, match="1 more signature"):
        actions.release(prepared.id, approval=approval, at=AT, by="lena")
    assert queries.status().answered == 0
    staff.sign_with_key_file(approval, operator="carl", key_file=keys["carl"], at=AT)
    emil = actions.next_case(by="emil", at=AT)
    assert emil is not None
    actions.answer(emil.id, text="Answered by hand.", by="emil", at=AT)
    assert actions.release(prepared.id, approval=approval, at=AT, by="lena") == 4
    assert actions.release(prepared.id, approval=approval, at=AT, by="lena") == 4
    info = queries.release_info(prepared.id)
    assert (info.state, info.answered, info.skipped) == ("done", 4, 1)
    status = queries.status()
    assert (status.received, status.open, status.answered, status.bulk_answered, status.urgent) == (7, 2, 5, 4, 1)
    assert Outbound.objects.count() == 5
    closes()


def test_a_release_passes_over_who_is_over_the_cap_or_has_no_address(desk: Path) -> None:
    keys = team()
    for n in range(4):
        write(f"p{n}@people.example", RESET, subject="password")
    actions.take_in(at=AT)
    fine, odd, capped, twice = Case.objects.order_by("pk")
    write("p3@people.example", f"Hello again. {RESET}", subject="password", at=minutes(1))
    actions.take_in(at=minutes(1))
    odd.address = sealed.seal_address(bytes(odd.person), "p1 at people.example")
    odd.save(update_fields=["address"])
    Reply.objects.bulk_create([Reply(case=capped, outbound=-n, at=AT, by="dora") for n in range(1, 6)])
    prepared = actions.prepare_release("how_reset", at=minutes(1), by="lena")
    assert prepared.cases == 4
    with pytest.raises(Refused) as asked:
        actions.release(prepared.id, approval=None, at=minutes(1), by="lena")
    for name, key_file in keys.items():
        staff.sign_with_key_file(asked.value.approval or 0, operator=name, key_file=key_file, at=minutes(1))
    assert actions.release(prepared.id, approval=asked.value.approval, at=minutes(1), by="lena") == 2
    assert {c.pk: c.state for c in Case.objects.all()} == {fine.pk: "answered", odd.pk: "open", capped.pk: "open", twice.pk: "answered"}
    assert {r.case_id: r.messages.count() for r in Reply.objects.filter(release=prepared.id)} == {fine.pk: 1, twice.pk: 2}
    assert evidence.counts()[EventType.REPLY_QUEUED] == 2
    sent = newest_reply()
    assert (sent["to"], sent["reply_to"], sent["subject"]) == ("p3@people.example", sealed.reply_address(twice.pk), "Re: password")
    status = queries.status()
    assert (status.answered, status.bulk_answered, status.open) == (3, 3, 2)
    closes()


def test_what_is_never_answered_in_bulk(desk: Path) -> None:
    for question, error in (("fraud_now", Refused), ("how_reset", Refused), ("nonsense", NotFound)):
        with pytest.raises(error):
            actions.prepare_release(question, at=AT, by="lena")
    assert {q.name for q in queries.questions() if q.never_bulk} == {
        "fraud_now", "account_taken", "journalist", "lawyer", "regulator", "data_request",
    }  # fmt: skip


def test_answers_are_loaded_whole_or_not_at_all_and_versioned(desk: Path, tmp_path: Path) -> None:
    assert actions.load_answers(ANSWERS, at=AT, by="lena") == 0
    changed = tmp_path / "answers.toml"
    changed.write_text(ANSWERS.read_text().replace("Thank you for your kind words;", "Thank you, that is kind;"))
    assert actions.load_answers(changed, at=AT, by="lena") == 1
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('[[question]]\nname = "A b"\ntitle = ""\nexamples = ["x"]\nanswer = "Dear {{name}}"\n')
    with pytest.raises(BadInput) as found:
        actions.load_answers(wrong, at=AT, by="lena")
    assert len(found.value.faults) == 4


def test_an_answer_is_used_only_when_two_people_stand_for_it(desk: Path, tmp_path: Path) -> None:
    enrol("lena")
    enrol("nora", role="drafted")
    changed = tmp_path / "answers.toml"
    changed.write_text(ANSWERS.read_text().replace("/passwordchange", "/passwordchange now"))
    assert actions.load_answers(changed, at=AT, by="lena") > 0
    write("ann@people.example", RESET)
    actions.take_in(at=AT)
    new = next(a for a in queries.answers_waiting() if a.question == "how_reset")
    case = actions.next_case(by="dora", at=AT)
    assert case is not None
    assert case.suggestions[0].question == "how_reset"
    assert case.suggestions[0].version != new.id
    assert new.id not in {q.answer_version for q in queries.questions()}
    for act in (
        lambda: actions.answer(case.id, answer_version=new.id, by="dora", at=AT),
        lambda: actions.prepare_release("how_reset", at=AT, by="lena"),
        lambda: actions.approve_answer(new.id, by="lena", at=AT),
        lambda: actions.approve_answer(new.id, by="nora", at=AT),
        lambda: actions.approve_answer(new.id, by="stranger", at=AT),
    ):
        with pytest.raises(Refused, match="approv"):
            act()
    assert actions.approve_answers(by="lena", at=AT) == 0
    before = evidence.counts()[EventType.ANSWER_APPROVED]
    for _ in range(2):
        actions.approve_answer(new.id, by="otto", at=AT)
    assert evidence.counts()[EventType.ANSWER_APPROVED] == before + 1
    assert queries.case(case.id, by="dora", at=AT).suggestions[0].version == new.id
    actions.answer(case.id, answer_version=new.id, by="dora", at=AT)
    with pytest.raises(NotFound):
        actions.approve_answer(10**9, by="otto", at=AT)


def test_the_authentication_results_of_strangers_change_nothing(desk: Path) -> None:
    write("ann@people.example", RESET, headers={"Authentication-Results": "mx.evil.example; dmarc=pass header.from=shop.example"})
    write("bob@people.example", RESET)
    actions.take_in(at=AT)
    rows = list(Message.objects.order_by("inbound").values("urgency", "question", "set_aside", "ranking"))
    assert rows[0] == rows[1]
