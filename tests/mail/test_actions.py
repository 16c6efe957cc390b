"""The room's doors against a real database and real SMTP servers: single mails, mail in, bounce addresses."""

from __future__ import annotations

import email
import email.policy
import json
import os
import smtplib
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from tests.conftest import forget
from tests.ports.servers import DROP, Server
from tocsin.kernel import schema, wiring
from tocsin.kernel.errors import BadInput, Busy, NotFound, Refused, Unavailable
from tocsin.kernel.private import Private
from tocsin.mail import actions, intake, queries
from tocsin.mail.models import Inbound, Outbound
from tocsin.mail.sender.connection import Timeouts
from tocsin.mail.types import Delivery, InboundKind, Single

AT = datetime(2026, 11, 24, 9, tzinfo=UTC)
QUICK = Timeouts(connect=2, greeting=0.4, command=0.4, data=0.4, block=2, final=0.4, quit=0.4, retry=0.01)


def relay(server: Server) -> Any:
    return wiring.load("tocsin.mail.adapters.smtp.SmtpRelay")("127.0.0.1", server.port, helo="x.example", timeouts=QUICK)


def queue(key: str = "reset/1", **other: Any) -> int:
    asked: dict[str, Any] = {
        "purpose": "reset",
        "to": Private("anna@mailbox.example"),
        "subject": "Your link",
        "text": "Go to {{here}}.\n",
        "html": None,
        "reply_to": None,
        "in_reply_to": None,
        "references": [],
        "at": AT,
        "dedupe_key": key,
    } | other
    return actions.queue_single(**asked)


def jobs_waiting() -> list[tuple[str, int, dict[str, Any]]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT task_name, priority, args FROM procrastinate_jobs WHERE status = 'todo' ORDER BY id")
        return list(cursor.fetchall())


def single(key: str, **other: Any) -> Single:
    asked: dict[str, Any] = {
        "purpose": "answer",
        "to": Private("anna@mailbox.example"),
        "subject": "Re: it",
        "text": "Yes.\n",
        "at": AT,
        "dedupe_key": key,
    } | other
    return Single(**asked)


@pytest.mark.django_db
def test_many_mails_are_queued_once_each_and_a_faulty_one_stops_no_other(estate: Path) -> None:
    known = queue("many/2")
    ids = actions.queue_many(
        [
            single("many/1"),
            single("many/2"),
            single("many/3", to=Private("no address")),
            single("many/1"),
            single("many/4", in_reply_to="<a@x.example>", references=("<a@x.example>",)),
        ]
    )
    assert ids[1] == known
    assert ids[2] is None
    assert ids[0] == ids[3] is not None
    assert len({i for i in ids if i is not None}) == queries.singles_waiting() == 3
    assert sorted((p, json.loads(str(a))["outbound"]) for _, p, a in jobs_waiting()) == sorted([(5, ids[0]), (5, ids[4]), (10, known)])
    again = actions.queue_many([single("many/4"), single("many/1")])
    assert again == [ids[4], ids[0]]
    assert len(jobs_waiting()) == 3
    assert actions.queue_many([]) == []
    with pytest.raises(BadInput):
        actions.queue_many([single("x")] * 1001)
    with connection.cursor() as cursor:
        cursor.execute("SELECT mail_outbound::text FROM mail_outbound")
        assert "anna" not in str(cursor.fetchall())


@pytest.mark.django_db
def test_single_mail_is_queued_once_sealed_with_its_job(estate: Path) -> None:
    first = queue()
    assert queue() == first
    assert queue("reset/2") != first
    assert [(name, priority) for name, priority, _ in jobs_waiting()] == [("mail.tasks.send_single", 10)] * 2
    with pytest.raises(RuntimeError), transaction.atomic():
        queue("reset/3")
        raise RuntimeError
    assert len(jobs_waiting()) == queries.singles_waiting() == 2
    with connection.cursor() as cursor:
        cursor.execute("SELECT mail_outbound::text FROM mail_outbound")
        assert not any("anna" in row or "Go to" in row or b"anna".hex() in row for (row,) in cursor.fetchall())
    with pytest.raises(BadInput) as told:
        queue("reset/4", to=Private("anna@x"), purpose="Reset!", in_reply_to="x y", reply_to="nobody")
    assert len(told.value.faults) == 4
    assert "anna" not in str(told.value)
    with pytest.raises(BadInput, match="subject"):
        queue("reset/5", subject="a\r\nBcc: x@y.example")


@pytest.mark.django_db
def test_single_mail_is_sent_signed_and_recorded(estate: Path) -> None:
    outbound = queue(
        in_reply_to="<q@mailbox.example>", references=["<p@mailbox.example>", "<q@mailbox.example>"], html="<p>Go to {{here}}</p>"
    )
    with Server() as server:
        actions.send_single(outbound, at=AT, transport=relay(server))
        actions.send_single(outbound, at=AT, transport=relay(server))
        state = queries.outbound_state(outbound)
        assert (state.state, state.code, state.enhanced, state.ended_at) == ("sent", 250, "2.0.0", AT)
        [(to, raw)] = server.taken
    assert to == "anna@mailbox.example"
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    assert mail["Message-ID"] == state.message_id
    assert mail["In-Reply-To"] == "<q@mailbox.example>"
    assert "{\u2060{here}\u2060}" in mail.get_body(("plain",)).get_content()  # type: ignore[attr-defined]
    assert mail["DKIM-Signature"]
    sender = next(c for c in server.commands if c.startswith("MAIL"))[11:-1]
    assert sender.startswith(f"s+{outbound}.")
    assert queries.outbound_of(["<x@y>", state.message_id]) == outbound
    assert queries.outbound_of(["<x@y>"]) is None
    assert not list((estate / "journal").glob("*.jnl"))
    with pytest.raises(NotFound):
        actions.send_single(10**9, at=AT, transport=relay(server))


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("slot", "reply", "state", "reason"),
    [
        ("RCPT", b"550 5.1.1 no such user\r\n", "bounced", "userunknown"),
        ("RCPT", b"550 mailbox not found\r\n", "bounced", "userunknown"),
        ("RCPT", b"450 4.2.0 greylisted, come back\r\n", "deferred", ""),
        ("FINAL", b"554 5.7.1 spam\r\n", "bounced", "spamdetected"),
        ("FINAL", DROP, "waiting", ""),
    ],
)
def test_single_mail_refused_or_lost(estate: Path, slot: str, reply: bytes, state: str, reason: str) -> None:
    outbound = queue()
    with Server(script=lambda s, k, _: reply if s == slot and k == 1 else None) as server:
        if state == "bounced":
            actions.send_single(outbound, at=AT, transport=relay(server))
            assert (queries.outbound_state(outbound).state, queries.outbound_state(outbound).reason) == (state, reason)
            return
        with pytest.raises(Unavailable):
            actions.send_single(outbound, at=AT, transport=relay(server))
        assert queries.outbound_state(outbound).state == state
        actions.send_single(outbound, at=AT, transport=relay(server))  # the queue tries again
        assert queries.outbound_state(outbound).state == "sent"
    row = Outbound.objects.get(pk=outbound)
    assert row.repeats == (1 if reply == DROP else 0)
    assert len({next(line for line in c.split(b"\r\n") if line.startswith(b"Message-ID")) for _, c in server.taken}) == 1


@pytest.mark.django_db
def test_crash_after_the_reply_does_not_send_again(estate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbound = queue()
    with Server() as server:
        real = actions.jobs.fenced

        def die(row: Any, **changes: Any) -> None:
            if "state" in changes:
                raise KeyboardInterrupt
            real(row, **changes)

        monkeypatch.setattr(actions.jobs, "fenced", die)
        with pytest.raises(KeyboardInterrupt):
            actions.send_single(outbound, at=AT, transport=relay(server))
        monkeypatch.undo()
        with pytest.raises(Busy):
            actions.send_single(outbound, at=AT, transport=relay(server))  # the dead one's lease still stands
        Outbound.objects.update(lease_until=AT)
        actions.send_single(outbound, at=AT, transport=relay(server))
        assert len(server.taken) == 1
    assert queries.outbound_state(outbound).state == "sent"
    assert queries.outbound_state(outbound).code == 250


@pytest.mark.django_db
def test_single_mail_refuses_a_server_that_is_no_practice_post_office(estate: Path) -> None:
    outbound = queue()
    with Server(keywords=("PIPELINING",)) as world, pytest.raises(Refused):
        actions.send_single(outbound, at=AT, transport=relay(world))
    assert world.taken == []


LETTER = (
    b"From: Anna <anna@mailbox.example>\r\nTo: help@shop.example\r\nSubject: =?utf-8?q?K=C3=BCche?=\r\n"
    b"Message-ID: <m1@mailbox.example>\r\nDate: Tue, 24 Nov 2026 09:00:00 +0100\r\nReferences: <a@x> <b@x>\r\n"
    b"In-Reply-To: <b@x>\r\n\r\nHello,\r\nwhat was taken?\r\n"
)


@pytest.mark.django_db
def test_mail_in_is_sealed_deduplicated_and_read_again(estate: Path) -> None:
    first = actions.take_in(LETTER, envelope_from="anna@mailbox.example", envelope_to=["help@shop.example"], at=AT)
    again = b"Received: from elsewhere\r\n" + LETTER
    assert actions.take_in(again, envelope_from="anna@mailbox.example", envelope_to=["help@shop.example"], at=AT) == first
    other = actions.take_in(LETTER + b"more\r\n", envelope_from="", envelope_to=["help@shop.example"], at=AT)
    assert other > first
    [info, _] = queries.inbound()
    assert (info.id, info.kind, info.verp, info.size_bytes) == (first, InboundKind.MESSAGE, None, len(LETTER))
    assert [i.id for i in queries.inbound(after_id=first)] == [other]
    assert queries.inbound(kinds=[InboundKind.BOUNCE]) == []
    found = queries.open_inbound(first)
    assert found.from_address.reveal() == "anna@mailbox.example"
    assert found.from_name.reveal() == "Anna"
    assert found.subject.reveal() == "Küche"
    assert found.references == ("<a@x>", "<b@x>")
    assert found.message_id == "<m1@mailbox.example>"
    assert found.date == datetime(2026, 11, 24, 8, tzinfo=UTC)
    assert "what was taken?" in found.text.reveal()
    assert queries.raw_inbound(first)[2].reveal() == LETTER
    assert "anna" not in repr(found)
    assert b"anna" not in bytes(Inbound.objects.get(pk=first).deposit)
    with pytest.raises(NotFound):
        queries.open_inbound(10**9)


@pytest.mark.django_db
def test_intake_cannot_open_what_it_took(estate: Path) -> None:
    taken = actions.take_in(LETTER, envelope_from="a@b.example", envelope_to=["help@shop.example"], at=AT)
    os.environ["TOCSIN_PROCESS"] = "intake"
    forget()
    actions.take_in(LETTER + b"2", envelope_from="a@b.example", envelope_to=["help@shop.example"], at=AT)
    with pytest.raises(Refused, match="may not hold"):
        queries.open_inbound(taken)


@pytest.mark.django_db
def test_bounce_address_names_the_person_and_a_forged_one_nobody(estate: Path) -> None:
    address = actions.verp(17, 4)
    forged = address.replace("17.4", "17.5")
    assert queries.verp_of(address) == (17, 4)
    assert queries.verp_of(address.upper()) == (17, 4)
    assert queries.verp_of(forged) is None
    assert queries.verp_of(address.partition("@")[0] + "@elsewhere.example") is None
    for to in (address, forged):
        actions.take_in(LETTER, envelope_from="", envelope_to=[to], at=AT)
    assert [i.verp for i in queries.inbound()] == [(17, 4), None]


@pytest.mark.django_db
def test_suppression_is_by_digest_only(estate: Path) -> None:
    assert not queries.is_suppressed(Private("Anna@mailbox.example"))
    actions.suppress(Private("anna@mailbox.example"), reason="unsubscribed", at=AT)
    actions.suppress(Private("ANNA@mailbox.example "), reason="unsubscribed", at=AT)
    assert queries.is_suppressed(Private("Anna@mailbox.example"))


@pytest.mark.django_db
def test_batch_takes_any_bytes_and_counts_copies_once(estate: Path) -> None:
    odd = [b"", b"\x00\xff", b"\r\n" * 50, b"From: x\x00y\r\n\r\n", LETTER, LETTER]
    ids = actions.take_in_many([Delivery(raw, "a\x00b", ("h\x00@shop.example",), AT) for raw in odd])
    assert len(ids) == 6
    assert ids[4] == ids[5]
    assert len(set(ids)) == 4  # nothing and empty lines are the same nothing
    for i in ids:
        queries.open_inbound(i)


@pytest.fixture
def door(estate: Path, transactional_db: None) -> Iterator[int]:
    """Give the port of a running intake."""
    stop, ready = threading.Event(), threading.Event()
    thread = threading.Thread(target=intake.run, args=("127.0.0.1", 0, stop, ready))
    thread.start()
    assert ready.wait(10)
    yield intake.listening[0]
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def lmtp(port: int, *lines: bytes) -> list[bytes]:
    """Speak lines to the door and return all replies until it closes."""
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(b"\r\n".join([*lines, b"QUIT", b""]))
        data = b""
        while piece := sock.recv(65_536):
            data += piece
    return [line for line in data.split(b"\r\n") if line]


def test_intake_speaks_smtp_and_lmtp_and_commits_before_250(door: int) -> None:
    with smtplib.SMTP("127.0.0.1", door) as client:
        client.sendmail("anna@mailbox.example", ["help@shop.example"], LETTER)
        assert Inbound.objects.count() == 1
        assert client.mail("a@b.example")[0] == 250
        assert client.rcpt("a@elsewhere.example")[0] == 550  # no relay
    got = lmtp(
        door,
        b"LHLO x",
        b"MAIL FROM:<>",
        b"RCPT TO:<help@shop.example>",
        b"RCPT TO:<s+1.x@bounce.shop.example>",
        b"DATA",
        LETTER + b"second",
        b".",
    )
    assert [line[:3] for line in got[-4:]] == [b"354", b"250", b"250", b"221"]  # one reply per recipient
    assert Inbound.objects.count() == 2


def test_intake_refuses_size_by_552_and_goes_on(door: int) -> None:
    with smtplib.SMTP("127.0.0.1", door) as client:
        client.ehlo()
        assert int(client.esmtp_features["size"]) == intake.SIZE_BYTES_MAX
        assert client.mail("a@b.example", [f"SIZE={intake.SIZE_BYTES_MAX + 1}"])[0] == 552
        client.rset()
        long_line = b"From: a@b.example\r\n\r\n" + b"x" * 500_000 + b"\r\n"
        client.sendmail("a@b.example", ["help@shop.example"], long_line)
        client.mail("a@b.example")  # does not say how large it is
        client.rcpt("help@shop.example")
        assert client.data(b"From: a@b.example\r\n\r\n" + (b"y" * 998 + b"\r\n") * 26_500)[0] == 552
        client.sendmail("a@b.example", ["help@shop.example"], LETTER)
    assert Inbound.objects.count() == 2


def test_one_bad_mail_stops_no_other_and_a_lost_database_loses_none(door: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import DataError

    real: Callable[..., list[int]] = actions.take_in_many

    def fussy(deliveries: list[Delivery]) -> list[int]:
        if any(b"poison" in d.raw for d in deliveries):
            raise DataError("no")
        return real(deliveries)

    monkeypatch.setattr(actions, "take_in_many", fussy)
    codes: dict[int, int] = {}

    def post(n: int) -> None:
        with smtplib.SMTP("127.0.0.1", door) as client:
            client.ehlo()
            client.mail("a@b.example")
            client.rcpt("help@shop.example")
            codes[n] = client.data(LETTER + (b"poison" if n == 3 else b"fine %d" % n))[0]

    threads = [threading.Thread(target=post, args=(n,)) for n in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert [codes[n] for n in range(12)] == [250] * 3 + [451] + [250] * 8
    assert Inbound.objects.count() == 11


def test_four_connections_at_once_are_all_committed(door: int) -> None:
    """Group commit: each reply comes after its own commit, whoever else shares it."""

    def post(who: int) -> None:
        with smtplib.SMTP("127.0.0.1", door) as client:
            for n in range(15):
                client.sendmail("a@b.example", ["help@shop.example"], LETTER + b"%d %d" % (who, n))

    threads = [threading.Thread(target=post, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert Inbound.objects.count() == 60
    assert [i.id for i in queries.inbound()] == sorted(i.id for i in queries.inbound())


@pytest.mark.django_db
def test_grants_let_each_process_do_its_part_and_no_more(estate: Path) -> None:
    from tocsin.kernel import schema

    schema.migrate()
    wanted = {
        "tocsin_intake": {"mail_inbound": {"INSERT"}},
        "tocsin_public": {},
        "tocsin_sequencer": {},
        "tocsin_worker": {"mail_inbound": {"SELECT", "INSERT"}, "mail_outbound": {"SELECT", "INSERT", "UPDATE"}},
        "tocsin_console": {"mail_inbound": {"SELECT"}, "mail_outbound": {"SELECT", "INSERT"}},
    }
    with connection.cursor() as cursor:
        for role, tables in wanted.items():
            for table in ("mail_inbound", "mail_outbound"):
                have = set()
                for privilege in ("SELECT", "INSERT", "UPDATE", "DELETE"):
                    cursor.execute("SELECT has_table_privilege(%s, %s, %s)", [role, table, privilege])
                    have |= {privilege} if cursor.fetchone()[0] else set()
                assert have == tables.get(table, set()), (role, table)
        cursor.execute("SELECT has_column_privilege('tocsin_intake', 'mail_inbound', 'deposit', 'SELECT')")
        assert cursor.fetchone()[0] is False


@pytest.mark.django_db(transaction=True)
def test_intake_takes_mail_in_and_can_do_nothing_else(estate: Path) -> None:
    """The process that strangers talk to reaches neither log nor queue, and cannot read back what it took in."""
    schema.migrate()
    with connection.cursor() as cursor:
        cursor.execute("SET ROLE tocsin_intake")
        try:
            taken = actions.take_in(LETTER, envelope_from="anna@mailbox.example", envelope_to=["help@shop.example"], at=AT)
            assert actions.take_in(LETTER, envelope_from="anna@mailbox.example", envelope_to=["help@shop.example"], at=AT) == taken
            for forbidden in (
                "SELECT deposit FROM mail_inbound",
                "SELECT id FROM evidence_event",
                "INSERT INTO evidence_event (uuid, type, at, actor, event, commitment) VALUES (gen_random_uuid(), 80, now(), 'x', '{}', 'x')",
                "SELECT evidence_record_public(61, now(), 1, 1, 'x', '{}')",
                "SELECT credentials_ask_reset('x', gen_random_uuid(), now())",
                "SELECT args FROM procrastinate_jobs",
                "INSERT INTO procrastinate_jobs (queue_name, task_name) VALUES ('mail', 'mail.tasks.send_single')",
                "SELECT * FROM subjects_contact",
            ):
                with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
                    cursor.execute(forbidden)
        finally:
            cursor.execute("RESET ROLE")
    assert queries.inbound(after_id=0, kinds=tuple(InboundKind), limit=5)[0].id == taken
