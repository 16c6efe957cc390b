"""Mailings through the door, with a real PostgreSQL and a real SMTP server: the counts close, and what went out is what was signed."""

from __future__ import annotations

import contextlib
import email
import email.policy
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pypdf
import pytest
from django.db import connection, transaction
from django.db.utils import IntegrityError, ProgrammingError

from tests.notices.office import Office
from tests.notices.world import AT, NOW, TEXTS, people, sign, started, worker
from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel import clock, jobs, schema
from tocsin.kernel.errors import BadInput, NotFound, Refused
from tocsin.mail import actions as mail
from tocsin.notices import actions, frozen, policy, queries
from tocsin.notices.letters import bundles
from tocsin.notices.models import Batch, Lane, Letter, Mailing, Receipt, RecipientException, Variant
from tocsin.notices.types import MailingState, MailingStatus, Retry

pytestmark = pytest.mark.django_db(transaction=True)


def run(mailing: int) -> int:
    """Send in this process until no lane has a free block; return how many outcomes there were."""
    total = 0
    while got := sum(actions.send_next(mailing, lane, at=clock.now()) for lane in lanes(mailing)):
        total += got
    return total


def lanes(mailing: int) -> list[int]:
    return list(Lane.objects.filter(mailing=mailing).exclude(provider=policy.LETTER_LANE).order_by("pk").values_list("pk", flat=True))


def closes(mailing: int, at: datetime | None = None) -> MailingStatus:
    """Return the status after checking that every recipient is in exactly one state, and that rows and counts agree."""
    s = queries.status(mailing, at=at)
    assert s.recipients == s.waiting + s.handed_over + s.deferred + s.bounced + s.letters
    assert s.lost == 0
    rows = Counter(RecipientException.objects.filter(mailing=mailing).values_list("state", flat=True))
    assert (rows["deferred"], rows["bounced"], rows["letter"]) == (s.deferred, s.bounced, s.letters)
    assert sum(x.handed_over for x in s.lanes) == s.handed_over
    assert sum(Receipt.objects.filter(mailing=mailing).values_list("handed_over", flat=True)) >= s.handed_over
    return s


def test_a_whole_mailing(shop: Path, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    emails: list[str | None] = [f"user{i}@{('gmail', 'yahoo')[i % 2]}.example" for i in range(2100)]
    emails += [
        "unknown1@gmail.example",
        "full1@yahoo.example",
        "user7@yahoo.example",
        "policy1@gmail.example",
        None,
        None,
    ]
    incident = people(emails, postal=[2100, 2104])
    mailing = started(shop, incident)
    s = closes(mailing)
    assert (s.recipients, s.merged, s.bounced, s.waiting) == (2105, 1, 2, 2103)
    assert {x.provider for x in s.lanes} == {"gmail.com", "yahoo.com", "letter"}
    assert Batch.objects.filter(mailing=mailing).count() == 5

    run(mailing)
    s = closes(mailing)
    assert (s.handed_over, s.waiting, s.state) == (2101, 0, MailingState.SENDING)
    assert evidence.counts()[EventType.NOTICE_HANDED_OVER] == 2101 + 1  # the merged account has an entry of its own
    assert actions.finish(mailing, at=clock.now())
    s = closes(mailing)
    # One unknown and one blocked for good bounced, and two have no address; two of the four have a street to write to.
    assert (s.state, s.handed_over, s.deferred, s.bounced, s.letters) == (MailingState.ENDED, 2101, 0, 2, 2)
    assert len({t.message_id for t in office.taken}) == len(office.taken) == 2101
    assert office.tries["full1@yahoo.example"] == 2
    assert office.tries["policy1@gmail.example"] == NOW.tries_max
    assert evidence.counts()[EventType.LETTER_QUEUED] == 2
    assert evidence.counts()[EventType.NOTICE_FAILED] == 2
    ended = evidence.activity(types=[EventType.MAILING_ENDED])[-1].body
    assert (ended["recipients"], ended["handed_over"], ended["letters"]) == (2105, 2101, 2)

    # What a person got: signed, text first, no link, no picture, no subscription, the code, both customer numbers.
    taken = next(t for t in office.taken if t.to == "user7@yahoo.example")
    message = email.message_from_bytes(taken.raw, policy=email.policy.default)
    text = message.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert [p.get_content_type() for p in message.walk()] == ["multipart/alternative", "text/plain", "text/html"]
    assert message["DKIM-Signature"]
    assert not message["List-Unsubscribe"]
    for banned in ("http:", "https:", "<img", "<a ", "{{"):
        assert banned not in taken.raw.decode()
    assert "C00007, C02102" in text
    code = text.split("enter your case code: ")[1].split()[0]
    sent = queries.was_sent(code.lower())
    assert sent is not None
    assert sent.subject == message["Subject"]
    assert queries.was_sent(code[:-1] + ("0" if code[-1] != "0" else "1")) is None
    merged = Mailing.objects.get(pk=mailing)
    entry = evidence.entries_of_subject(Batch.objects.filter(mailing=mailing, handed_over__gt=0).first().subjects[0])[0]  # type: ignore[union-attr]
    assert entry.type == EventType.NOTICE_HANDED_OVER
    assert entry.body["template_sha256"] == merged.manifest["variants"]["default"]
    assert entry.body["message_id"] in {t.message_id for t in office.taken}

    # Nothing personal outside the register: neither reply texts nor evidence name an address.
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM evidence_event WHERE convert_from(event, 'UTF8') ~ '@(gmail|yahoo)'")
        assert cursor.fetchone()[0] == 0
    assert RecipientException.objects.get(enhanced="5.1.1").text.startswith("5.1.1 <[address]>: no such user [address]")

    report = actions.letters(mailing, folder=shop / "letters", at=AT, by="ada")
    assert (report.read, report.written, report.rejected) == (2, 2, 0)
    pages = "".join(p.extract_text() for p in pypdf.PdfReader(next((shop / "letters").glob("*.pdf"))).pages)
    codes = re.findall(r"Case code: (\S{11})", pages)
    assert len(set(codes)) == 2
    assert all(queries.was_sent(code) for code in codes)
    assert {n for n in ("C02100", "C02104") if f"Customer number: {n}" in pages} == {"C02100", "C02104"}
    assert Letter.objects.filter(exported_at=None).count() == 0
    begun, ended_read = evidence.activity(types=[EventType.PERSONAL_DATA_READ])
    assert (begun.actor, begun.body) == ("ada", {"what": "letters", "mailing": mailing, "stage": "begun"})
    assert (ended_read.body["stage"], ended_read.body["letters"]) == ("ended", 2)

    def power_cut(*_: Any, **__: Any) -> list[Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr(bundles.subjects, "postal", power_cut)
    with pytest.raises(KeyboardInterrupt):
        actions.letters(mailing, folder=shop / "more", at=AT, by="bob", again=report.bundles)
    assert [(e.actor, e.body["stage"]) for e in evidence.activity(types=[EventType.PERSONAL_DATA_READ])[2:]] == [("bob", "begun")]


def test_nothing_goes_out_without_two_signatures_over_exactly_this(shop: Path, office: Office) -> None:
    incident = people([f"user{i}@gmail.example" for i in range(1500)])
    notice = actions.draft(incident=incident, template=TEXTS, at=AT, by="ada")
    assert actions.check(notice) == []
    with pytest.raises(Refused) as asked:
        actions.start(notice, approval=None, at=AT, by="ada", retry=NOW)
    approval = asked.value.approval
    assert approval is not None
    with pytest.raises(Refused) as again:
        actions.start(notice, approval=None, at=AT, by="bob", retry=NOW)
    assert again.value.approval == approval
    sign(shop, approval, "ada")
    with pytest.raises(Refused, match="1 more signature"):
        actions.start(notice, approval=approval, at=AT, by="ada", retry=NOW)
    sign(shop, approval, "bob")
    mailing = actions.start(notice, approval=approval, at=AT, by="ada", retry=NOW)
    assert actions.start(notice, approval=approval, at=AT, by="ada", retry=NOW) == mailing
    with pytest.raises(Refused, match="a new draft"):
        actions.start(notice, approval=None, at=AT, by="ada")
    assert jobs.waiting("mail") == 1

    lane = lanes(mailing)[0]
    assert actions.send_next(mailing, lane, at=AT) == 1000
    # One recipient put in another's place: this sender has verified the list, and refuses the block.
    last = Batch.objects.get(mailing=mailing, state="open")
    good = list(last.subjects)
    Batch.objects.filter(pk=last.pk).update(subjects=[*good[:-1], good[0]])
    with pytest.raises(Refused, match="not what two people signed"):
        actions.send_next(mailing, lane, at=AT)
    assert (len(office.taken), queries.status(mailing).state) == (1000, MailingState.STOPPED)
    assert evidence.activity(types=[EventType.MAILING_STOPPED])[-1].body["why"].startswith(f"block {last.pk}")

    # The hash changed with it: a fresh sender finds that the manifest is another one.
    wrong = policy.block_sha256([*good[:-1], good[0]])
    Batch.objects.filter(pk=last.pk).update(sha256=wrong, lease_until=AT)
    _resume_by_hand(mailing)
    frozen.forget_plans()
    with pytest.raises(Refused, match="what was signed is not what would be done"):
        actions.send_next(mailing, lane, at=AT)
    Batch.objects.filter(pk=last.pk).update(subjects=good, sha256=policy.block_sha256(good), lease_until=AT)

    # A word of the text changed: the same.
    variant = Variant.objects.get(notice=notice)
    for text, refused in ((variant.text + "Pay now.", True), (variant.text, False)):
        Variant.objects.filter(pk=variant.pk).update(text=text)
        _resume_by_hand(mailing)
        frozen.forget_plans()
        if refused:
            with pytest.raises(Refused, match="what was signed is not what would be done"):
                actions.send_next(mailing, lane, at=AT)
            assert len(office.taken) == 1000
        else:
            assert actions.send_next(mailing, lane, at=AT) == 500
    closes(mailing)
    assert len(set(office.addresses)) == len(office.taken) == 1500


def _resume_by_hand(mailing: int) -> None:
    """What somebody who can write to the database would do."""
    Mailing.objects.filter(pk=mailing).update(state=MailingState.SENDING.value, held_at=None)


def test_a_changed_exposure_or_text_needs_new_signatures(shop: Path, office: Office) -> None:
    incident = people(["user1@gmail.example", "user2@gmail.example"])
    notice = actions.draft(incident=incident, template=TEXTS, at=AT, by="ada")
    with pytest.raises(Refused) as first:
        actions.start(notice, approval=None, at=AT, by="ada")
    approval = first.value.approval
    assert approval is not None
    sign(shop, approval, "ada", "bob")
    Batch.objects.update(subjects=[1], n=1, sha256=policy.block_sha256([1]))
    with pytest.raises(Refused, match="what was signed is not what would be done"):
        actions.start(notice, approval=approval, at=AT, by="ada")
    assert not office.taken
    assert Mailing.objects.filter(state=MailingState.DISCARDED.value).count() == 1
    assert Batch.objects.get().n == 2  # frozen anew


def test_the_database_keeps_the_counts_closed(shop: Path, office: Office) -> None:
    mailing = started(shop, _two(shop))
    run(mailing)
    block = Batch.objects.get(mailing=mailing)
    for wrong in ({"handed_over": 1}, {"bounced": 1}, {"tried": b"\x01"}, {"state": "done", "deferred": 1, "handed_over": 1}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Batch.objects.filter(pk=block.pk).update(**wrong)


def _two(home: Path) -> int:
    return people(["user1@gmail.example", "user2@gmail.example"])


def test_stop_acts_within_a_second(shop: Path, office: Office) -> None:
    incident = people([f"user{i}@gmail.example" for i in range(1000)])
    mailing = started(shop, incident)
    office.delay_s = 0.05
    stopped: list[tuple[float, int]] = []

    def stop() -> None:
        actions.stop(mailing, at=clock.now(), by="ada", why="a wrong word")
        stopped.append((time.monotonic(), len(office.taken)))
        connection.close()

    def on_message(n: int) -> None:
        if n == 40:
            threading.Thread(target=stop).start()

    office.on_message = on_message
    run(mailing)
    at, _ = stopped[0]
    late = [t for t in office.taken if t.at > at + 1.0]
    assert len(late) == 0
    s = closes(mailing)
    assert (s.state, s.handed_over) == (MailingState.STOPPED, len(office.taken))
    assert 40 <= s.handed_over < 400
    assert run(mailing) == 0
    with pytest.raises(Refused, match="nothing to hold"):
        actions.pause(mailing, at=AT, by="ada")
    # Two people let it go on, once.
    with pytest.raises(Refused) as asked:
        actions.resume(mailing, approval=None, at=AT, by="ada")
    assert asked.value.approval is not None
    sign(shop, asked.value.approval, "ada", "bob")
    actions.resume(mailing, approval=asked.value.approval, at=AT, by="ada")
    office.delay_s = 0
    run(mailing)
    s = closes(mailing)
    assert (s.handed_over, s.in_doubt, s.waiting) == (1000, 0, 0)
    assert len(set(office.addresses)) == len(office.taken) == 1000
    with pytest.raises(Refused, match="not paused or stopped"):
        actions.resume(mailing, approval=asked.value.approval, at=AT, by="ada")


def test_a_lost_answer_is_named_before_the_repeat(shop: Path, office: Office) -> None:
    incident = people(["user1@gmail.example", "droplost1@gmail.example", "dropkept1@gmail.example", "user2@gmail.example"])
    mailing = started(shop, incident)
    lane = lanes(mailing)[0]
    actions.send_next(mailing, lane, at=clock.now())
    s = closes(mailing)
    assert (s.handed_over, s.waiting, s.in_doubt) == (2, 2, 2)
    named = _named(mailing)
    assert len(named) == 2
    office.on_message = lambda n: None
    run(mailing)
    s = closes(mailing)
    assert (s.handed_over, s.waiting, s.in_doubt) == (4, 0, 2)
    repeats = {m: n for m, n in Counter(t.message_id for t in office.taken).items() if n > 1}
    assert len(repeats) == 1
    assert Counter(office.addresses)["dropkept1@gmail.example"] == 2
    assert _named(mailing) == named


def _named(mailing: int) -> list[int]:
    """The subjects named as in doubt, in the order of the log."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT subject FROM evidence_event WHERE type = %s ORDER BY id", [EventType.NOTICE_IN_DOUBT])
        return [row[0] for row in cursor.fetchall()]


def test_pace_is_kept_and_steered(shop: Path, office: Office) -> None:
    incident = people([f"user{i}@{('gmail', 'yahoo')[i % 2]}.example" for i in range(600)])
    mailing = started(shop, incident, deadline_at=AT + timedelta(hours=1))
    one, two = lanes(mailing)
    assert actions.set_pace(mailing, rate_per_s=200, at=AT, by="surge") == {one: 100.0, two: 100.0}
    with pytest.raises(Refused, match=r"at least 0\.0833 per second"):
        actions.set_pace(mailing, lane=one, rate_per_s=0.05, at=AT, by="surge")
    begin = time.monotonic()
    actions.send_next(mailing, one, at=clock.now())
    took = time.monotonic() - begin
    assert took > 2.0  # 300 at 100 per second, less what a bucket may hold
    with pytest.raises(BadInput):
        actions.set_pace(mailing, rate_per_s=-1, at=AT, by="surge")
    with pytest.raises(NotFound):
        actions.set_pace(mailing, lane=10**9, rate_per_s=1, at=AT, by="surge")
    office.open_max = 0
    actions.set_pace(mailing, lane=two, rate_per_s=policy.UNLIMITED_PER_S, connections=2, at=AT, by="surge")
    run(mailing)
    assert office.open_max <= 2  # half of two, and the question where the relay reaches
    assert max(Counter(t.connection for t in office.taken).values()) <= 50
    assert closes(mailing).handed_over == 600


def test_reports_of_failure_move_people_once(shop: Path, office: Office) -> None:
    mailing = started(shop, _two(shop))
    block = Batch.objects.get(mailing=mailing)
    with pytest.raises(NotFound, match="no outcome yet"):
        actions.record_failure(block.pk, 0, at=AT, status="5.1.1", reason="no such user user1@gmail.example")
    run(mailing)
    assert actions.record_failure(block.pk, 0, at=AT, status="5.1.1", reason="no such user user1@gmail.example")
    assert not actions.record_failure(block.pk, 0, at=AT, status="5.1.1", reason="again")
    s = closes(mailing)
    assert (s.handed_over, s.bounced) == (1, 1)
    assert RecipientException.objects.get().text == "no such user [address]"
    with pytest.raises(NotFound):
        actions.record_failure(block.pk, 2, at=AT, status="", reason="")


DSN = """From: MAILER-DAEMON@relay.example
To: {to}
Subject: Undelivered Mail Returned to Sender
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

Your message could not be delivered.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; relay.example

Final-Recipient: rfc822; user1@gmail.example
Action: {action}
Status: {status}
Diagnostic-Code: smtp; 550 {status} no such user

--b--
"""


def report(to: str, *, action: str = "failed", status: str = "5.1.1") -> None:
    """A report of failure comes in."""
    raw = DSN.format(to=to, action=action, status=status).replace("\n", "\r\n").encode()
    mail.take_in(raw, envelope_from="", envelope_to=(to,), at=clock.now())


def test_reports_come_in_by_mail_and_forged_ones_change_nothing(shop: Path, office: Office) -> None:
    mailing = started(shop, people([f"user{i}@gmail.example" for i in range(4)], postal=range(4)))
    block = Batch.objects.get(mailing=mailing)
    early = mail.verp(block.pk, 0)
    report(early)
    assert actions.take_bounces(at=clock.now()) == 0  # quicker than the block's own bookkeeping: it waits
    run(mailing)
    assert actions.take_bounces(at=clock.now()) == 1
    good = mail.verp(block.pk, 1)
    local, _, domain = good.partition("@")
    report(f"{local[:-1]}{'0' if local[-1] != '0' else '1'}@{domain}")
    report(mail.verp(block.pk, 2), action="delayed", status="4.4.1")
    report(good)
    report(good, status="5.2.1")
    assert actions.take_bounces(at=clock.now()) == 1
    assert actions.take_bounces(at=clock.now()) == 0
    actions.keep(mailing, at=clock.now())
    s = closes(mailing)
    assert (s.state, s.handed_over, s.bounced, s.letters) == (MailingState.ENDED, 2, 0, 2)
    assert evidence.counts()[EventType.NOTICE_FAILED] == 2


def test_the_site_notice_passes_the_same_gates(shop: Path) -> None:
    incident = people(["user1@gmail.example"])
    assert queries.site_notice() is None
    actions.publish_site_notice(incident=incident, template=TEXTS, at=AT, by="ada")
    shown = queries.site_notice()
    assert shown is not None
    assert "January 15, 2026" in shown.text
    assert "{{" not in shown.html
    assert evidence.activity(types=[EventType.SITE_NOTICE_PUBLISHED])[0].body["sha256"] == shown.sha256
    folder = shop / "bad"
    folder.mkdir()
    (folder / "notice.toml").write_text('[site]\ntext = "a"\nhtml = "b"\n')
    (folder / "a").write_text("Hello there.")
    (folder / "b").write_text('<p>Hello there.<script src="x"></script></p>')
    with pytest.raises(Refused, match="<script>"):
        actions.publish_site_notice(incident=incident, template=folder, at=AT, by="ada")


def test_a_demo_never_mails_the_world(shop: Path, office: Office) -> None:
    office.practice = False
    mailing = started(shop, _two(shop))
    with pytest.raises(Refused, match="practice post office"):
        run(mailing)
    assert not office.taken
    assert closes(mailing).state == MailingState.STOPPED


@contextlib.contextmanager
def role(name: str) -> Iterator[None]:
    """Act with the rights of a process's database role, and no more."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET ROLE {name}")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET ROLE")


def test_each_process_has_the_rights_it_needs(shop: Path, office: Office) -> None:
    with connection.cursor() as cursor:
        cursor.execute((schema.SRC / "kernel" / "roles.sql").read_text())
        for file in sorted(schema.SRC.glob("*/sql/grants.sql")):
            cursor.execute(file.read_text())
    incident = people(["user1@gmail.example", "full1@gmail.example", "unknown1@gmail.example", "user1@gmail.example", None], postal=[2, 4])
    with role("tocsin_operator"):
        mailing = started(shop, incident)
        actions.publish_site_notice(incident=incident, template=TEXTS, at=AT, by="ada")
        actions.set_pace(mailing, rate_per_s=1000, at=AT, by="ada")
    with role("tocsin_worker"):
        run(mailing)
        actions.keep(mailing, at=clock.now())
        assert closes(mailing).state == MailingState.ENDED
    text = email.message_from_bytes(office.taken[0].raw, policy=email.policy.default).get_body(("plain",)).get_content()  # type: ignore[union-attr]
    code = text.split("enter your case code: ")[1].split()[0]
    with role("tocsin_public"):
        assert queries.was_sent(code)
        assert queries.site_notice()
        with pytest.raises(ProgrammingError, match="permission denied"):
            list(Batch.objects.values_list("subjects"))
    with role("tocsin_console"):
        assert queries.latest_status(incident).letters == 2
        notice = actions.draft(incident=incident, template=TEXTS, at=AT, by="ada")
        with pytest.raises(Refused, match="two people"):
            actions.start(notice, approval=None, at=AT, by="ada")
        assert queries.preview(notice)[0].grade < 8
        assert [n.version for n in queries.notices(incident)] == [2, 1]
    with role("tocsin_operator"):
        assert actions.letters(mailing, folder=shop / "letters", at=AT, by="ada").written == 2
    for statement in ("UPDATE notices_variant SET text = 'x'", "DELETE FROM notices_receipt", "UPDATE notices_receipt SET at = now()"):
        with role("tocsin_worker"), pytest.raises(ProgrammingError, match="permission denied"), connection.cursor() as cursor:
            cursor.execute(statement)


def test_a_draft_is_refused_with_all_faults(shop: Path) -> None:
    incident = people(["user1@gmail.example"])
    folder = shop / "bad"
    folder.mkdir()
    (folder / "notice.toml").write_text('[[variant]]\ntext = "../x"\nhtml = "none"\nlocale = 7\ncolour = "red"\n[facts]\na = 1\n')
    with pytest.raises(BadInput) as caught:
        actions.draft(incident=incident, template=folder, at=AT, by="ada")
    wanted = {"variant[0].subject", "variant[0].text", "variant[0].html", "variant[0].locale", "variant[0].colour", "facts.a"}
    assert {f.field for f in caught.value.faults} == wanted
    with pytest.raises(BadInput, match="readable"):
        actions.draft(incident=incident, template=shop / "nowhere", at=AT, by="ada")
    with pytest.raises(NotFound):
        actions.check(10**6)


def test_a_retry_waits_its_time(shop: Path, office: Office) -> None:
    mailing = started(shop, people(["full1@gmail.example", "user1@gmail.example"]), retry=Retry(first_s=3600, tries_max=2))
    office.full_times = 2
    run(mailing)
    s = closes(mailing)
    assert (s.handed_over, s.deferred) == (1, 1)
    assert run(mailing) == 0
    assert not actions.finish(mailing, at=clock.now())
    due = RecipientException.objects.get().next_at
    assert due is not None
    assert timedelta(minutes=59) < due - clock.now() < timedelta(minutes=67)
    Batch.objects.update(lease_until=AT)
    assert actions.send_next(mailing, lanes(mailing)[0], at=due) == 1
    s = closes(mailing)
    assert (s.deferred, s.bounced) == (0, 1)  # the second try was the last
    assert actions.finish(mailing, at=clock.now())


def test_a_worker_takes_the_jobs(shop: Path, office: Office) -> None:
    incident = people([f"user{i}@{('gmail', 'yahoo', 'outlook')[i % 3]}.example" for i in range(300)] + ["full1@gmail.example"])
    mailing = started(shop, incident)
    for _ in range(20):
        assert worker(shop).wait(60) == 0
        if queries.status(mailing).state == MailingState.ENDED:
            break
    s = closes(mailing)
    assert (s.handed_over, s.state) == (301, MailingState.ENDED)
    assert jobs.failed() == []
