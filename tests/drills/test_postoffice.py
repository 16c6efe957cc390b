"""The practice post office over real sockets: pipelining, every personality, the spool after a kill, the interface and the pages."""

from __future__ import annotations

import email
import http.client
import json
import os
import signal
import smtplib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tocsin.drills import postoffice
from tocsin.drills.office import personality
from tocsin.drills.office.index import Index
from tocsin.drills.office.personality import Personalities, Provider
from tocsin.drills.office.spool import MAGIC, Spool
from tocsin.kernel.errors import BadInput, Refused

HERE = "127.0.0.1"
NOWHERE = (HERE, 9)  # the discard port: nothing listens, so returned mail stays owed
BODY = b"Subject: Hello\r\nFrom: Shop <security@shop.example>\r\nMessage-ID: <%s@shop.example>\r\n\r\nDear customer,\r\n..leading dot\r\n"
DEADLINE_S = 20.0


@pytest.fixture
def office(tmp_path: Path) -> Iterator[postoffice.Office]:
    """Give a quiet post office."""
    with postoffice.running(tmp_path, personalities=personality.quiet(), intake=NOWHERE) as running:
        yield running


def get(office: postoffice.Office, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Ask the office over HTTP."""
    connection = http.client.HTTPConnection(HERE, office.http_port, timeout=DEADLINE_S)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), body


def ask(office: postoffice.Office, path: str) -> Any:
    """Ask for JSON."""
    status, _, body = get(office, path)
    assert status == 200, body
    return json.loads(body)


class Wire:
    """A raw connection that reads whole replies."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HERE, port), timeout=DEADLINE_S)
        self.file = self.socket.makefile("rb")
        self.reply()

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def reply(self) -> bytes:
        lines = [self.file.readline()]
        while lines[-1][3:4] == b"-":
            lines.append(self.file.readline())
        return b"".join(lines)

    def ehlo(self) -> bytes:
        self.send(b"EHLO sender.example\r\n")
        return self.reply()

    def replies(self, n: int) -> list[bytes]:
        return [self.reply()[:3] for _ in range(n)]


def one(wire: Wire, to: bytes, *, sender: bytes = b"b+1@bounce.shop.example", name: bytes = b"m1") -> list[bytes]:
    """Send one pipelined message; return the reply codes of MAIL, RCPT, DATA and, after a 354, of the final dot."""
    wire.send(b"MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n" % (sender, to))
    codes = wire.replies(3)
    if codes[2] == b"354":
        wire.send(BODY % name + b".\r\n")
        try:
            codes.append(wire.reply()[:3])
        except ConnectionResetError:
            codes.append(b"")
    return codes


def test_ehlo_announces_what_senders_look_for(office: postoffice.Office) -> None:
    with smtplib.SMTP(HERE, office.smtp_port) as client:
        client.ehlo()
        assert {"pipelining", "8bitmime", "size", "enhancedstatuscodes", "x-tocsin-practice"} <= set(client.esmtp_features)
        assert int(client.esmtp_features["size"]) == 32 << 20
        client.sendmail("a@shop.example", ["Ann@Example.COM", "bob@example.com"], BODY % b"m1")
    found = ask(office, "/api/messages?to=ann@example.com")["messages"]
    assert [(m["id"], m["to"], m["from"], m["subject"], m["message_id"]) for m in found] == [
        (1, "ann@example.com", "Shop <security@shop.example>", "Hello", "<m1@shop.example>")
    ]
    assert found[0]["text"] == "Dear customer,\n..leading dot\n"
    assert ask(office, "/api/messages?to=bob@example.com")["messages"][0]["id"] == 1
    assert ask(office, "/api/messages?to=ann@example.com&after=1") == {"messages": []}


def test_pipelined_messages_in_pieces_of_every_size(office: postoffice.Office) -> None:
    """Content opens a group as RFC 2920 section 3.1 allows; where the bytes are cut must not matter."""
    group = b"MAIL FROM:<a@shop.example>\r\nRCPT TO:<c@example.com>\r\nDATA\r\n"
    for size in (1, 2, 3, 7, 64, 100_000):
        wire = Wire(office.smtp_port)
        wire.ehlo()
        wire.send(group)
        assert wire.replies(3) == [b"250", b"250", b"354"]
        stuffed = BODY.replace(b"\r\n..", b"\r\n...")
        stream = b"".join(stuffed % b"n%d" % i + b".\r\n" + group for i in range(3)) + b".\r\nQUIT\r\n"
        for at in range(0, len(stream), size):
            wire.send(stream[at : at + size])
        assert wire.replies(14) == [b"250", b"250", b"250", b"354"] * 3 + [b"250", b"221"]
    found = ask(office, "/api/messages?to=c@example.com&limit=500")["messages"]
    assert len(found) == 6 * 4
    assert {m["text"] for m in found if m["subject"]} == {"Dear customer,\n..leading dot\n"}
    assert sum(1 for m in found if m["message_id"] == "") == 6  # the empty message of each run


def test_bad_commands_are_answered_in_order_and_change_nothing(office: postoffice.Office) -> None:
    wire = Wire(office.smtp_port)
    wire.send(b"MAIL FROM:<a@shop.example>\r\n")
    assert wire.reply()[:3] == b"503"  # before EHLO
    wire.ehlo()
    wire.send(
        b"RCPT TO:<x@example.com>\r\nDATA\r\nMAIL FROM:<bad>\r\nMAIL FROM:<a@shop.example> SIZE=99999999\r\n"
        b"MAIL FROM:<a@shop.example> AUTH=<>\r\nSTARTTLS\r\nWHAT\r\nMAIL FROM:<a@shop.example> SIZE=10 BODY=8BITMIME\r\n"
        b"RCPT TO:<no-at-sign>\r\nRCPT TO:<a b@example.com>\r\nDATA\r\nRSET\r\nNOOP\r\nVRFY x\r\n"
    )
    assert b" ".join(wire.replies(14)) == b"503 503 501 552 555 502 500 250 501 501 554 250 250 252"
    assert one(wire, b"ok@example.com") == [b"250", b"250", b"354", b"250"]
    assert ask(office, "/api/counts")["received"] == 1


def test_no_second_message_can_be_smuggled_in(office: postoffice.Office) -> None:
    """An end of data in other line ends is content; content with bare line feeds is refused as a whole."""
    for end in (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r"):
        wire = Wire(office.smtp_port)
        wire.ehlo()
        wire.send(b"MAIL FROM:<a@shop.example>\r\nRCPT TO:<x@example.com>\r\nDATA\r\n")
        assert wire.replies(3)[2] == b"354"
        inner = b"MAIL FROM:<evil@shop.example>\r\nRCPT TO:<y@example.com>\r\nDATA\r\nx\r\n.\r\nNOOP\r\n"
        wire.send(b"Subject: one\r\n\r\nfirst" + end + inner)
        assert wire.replies(2)[0] in {b"550", b"250"}
    assert ask(office, "/api/messages?to=y@example.com") == {"messages": []}
    assert ask(office, "/api/counts")["received"] == 1  # only the one whose bare CRs are mere characters


def test_a_message_over_the_size_limit_is_refused_and_the_next_is_taken(office: postoffice.Office) -> None:
    wire = Wire(office.smtp_port)
    wire.ehlo()
    wire.send(b"MAIL FROM:<a@shop.example>\r\nRCPT TO:<big@example.com>\r\nDATA\r\n")
    assert wire.replies(3)[2] == b"354"
    for _ in range(33):
        wire.send((b"x" * 1022 + b"\r\n") * 1024)
    wire.send(b".\r\n")
    assert wire.reply().startswith(b"552 5.3.4")
    assert one(wire, b"big@example.com")[-1] == b"250"
    assert ask(office, "/api/counts")["received"] == 1


def test_counts_name_duplicates_by_message_id(office: postoffice.Office) -> None:
    wire = Wire(office.smtp_port)
    wire.ehlo()
    for name in (b"a", b"b", b"a", b"a"):
        assert one(wire, b"d%s@example.com" % name, name=name)[-1] == b"250"
    counts = ask(office, "/api/counts")
    assert (counts["received"], counts["distinct_message_ids"], counts["mailboxes"], counts["duplicates"], counts["surplus"]) == (
        4,
        2,
        2,
        ["<a@shop.example>"],
        2,
    )
    record = ask(office, "/api/record?after=1&limit=2")
    assert [(r["id"], r["to"], r["from"]) for r in record["record"]] == [
        (2, ["db@example.com"], "b+1@bounce.shop.example"),
        (3, ["da@example.com"], "b+1@bounce.shop.example"),
    ]
    assert record["next"] == 3


def test_waiting_for_mail_needs_no_polling(office: postoffice.Office) -> None:
    found: list[Any] = []
    waiter = threading.Thread(target=lambda: found.append(ask(office, "/api/messages?to=late@example.com&wait=15")))
    waiter.start()
    wire = Wire(office.smtp_port)
    wire.ehlo()
    assert one(wire, b"late@example.com")[-1] == b"250"
    waiter.join(DEADLINE_S)
    assert [m["id"] for m in found[0]["messages"]] == [1]


# --- personalities ---------------------------------------------------------------------------------------------------------------


def with_fate(fate: str, **values: Any) -> Personalities:
    """Return personalities under which everybody at sad.example has one fate and all others none."""
    share = {fate: 1.0} if fate else {}
    return Personalities(default=personality.QUIET, providers=(Provider("sad", ("sad.example",), **share, **values),))


@pytest.mark.parametrize(("fate", "codes"), [("unknown", {b"550", b"554"}), ("full", {b"552"})])
def test_a_permanent_refusal_stays(tmp_path: Path, fate: str, codes: set[bytes]) -> None:
    with postoffice.running(tmp_path, personalities=with_fate(fate), intake=NOWHERE) as office:
        wire = Wire(office.smtp_port)
        wire.ehlo()
        for i in range(2):
            for n in range(8):  # every text, on one line and on several, keeps the replies in step
                wire.send(b"MAIL FROM:<a@shop.example>\r\nRCPT TO:<u%d@sad.example>\r\nDATA\r\nRSET\r\n" % n)
                got = wire.replies(4)
                assert got[1] in codes, (i, n)
                assert [got[0], *got[2:]] == [b"250", b"554", b"250"], (i, n)
        assert one(wire, b"ok@glad.example")[-1] == b"250"
        assert ask(office, "/api/counts")["received"] == 1


def test_data_may_be_let_through_without_a_recipient_and_delivers_nothing(tmp_path: Path) -> None:
    """RFC 2920 section 3.1: a client that pipelined DATA behind refused recipients must send a lone dot."""
    personalities = with_fate("unknown")
    personalities.data_when_no_recipient = True
    with postoffice.running(tmp_path, personalities=personalities, intake=NOWHERE) as office:
        wire = Wire(office.smtp_port)
        wire.ehlo()
        wire.send(b"MAIL FROM:<a@shop.example>\r\nRCPT TO:<u@sad.example>\r\nDATA\r\n")
        assert wire.replies(3)[2] == b"354"
        wire.send(b".\r\n")
        assert wire.reply()[:3] == b"554"
        assert ask(office, "/api/counts")["received"] == 0


def test_greylisting_refuses_until_its_time_has_passed(tmp_path: Path) -> None:
    with postoffice.running(tmp_path, personalities=with_fate("greylist", greylist_s=0.3), intake=NOWHERE) as office:
        wire = Wire(office.smtp_port)
        wire.ehlo()
        begun = time.monotonic()
        tries = 0
        while one(wire, b"g@sad.example")[1] == b"450":
            tries += 1
            wire.send(b"RSET\r\n")
            wire.reply()
            assert time.monotonic() - begun < DEADLINE_S
        assert tries >= 1
        assert time.monotonic() - begun >= 0.3
        assert one(wire, b"g@sad.example")[-1] == b"250"  # once known, always welcome
        assert ask(office, "/api/counts")["received"] == 2


def test_greylisting_without_delay_takes_the_second_try(tmp_path: Path) -> None:
    with postoffice.running(tmp_path, personalities=with_fate("greylist", greylist_s=0.0), intake=NOWHERE) as office:
        wire = Wire(office.smtp_port)
        wire.ehlo()
        assert one(wire, b"g@sad.example")[1:] == [b"450", b"554"]
        wire.send(b"RSET\r\n")
        wire.reply()
        assert one(wire, b"g@sad.example")[-1] == b"250"


def test_a_throttle_closes_the_connection_once(tmp_path: Path) -> None:
    with postoffice.running(tmp_path, personalities=with_fate("throttle"), intake=NOWHERE) as office:
        wire = Wire(office.smtp_port)
        wire.ehlo()
        wire.send(b"MAIL FROM:<a@shop.example>\r\nRCPT TO:<t@sad.example>\r\nDATA\r\n")
        assert wire.replies(2) == [b"250", b"421"]
        assert wire.file.read() == b""
        again = Wire(office.smtp_port)
        again.ehlo()
        assert one(again, b"t@sad.example")[-1] == b"250"


def test_a_connection_carries_so_many_messages_and_no_more(tmp_path: Path) -> None:
    with postoffice.running(tmp_path, personalities=with_fate("", messages_per_connection_max=2), intake=NOWHERE) as office:
        wire = Wire(office.smtp_port)
        wire.ehlo()
        assert [one(wire, b"n%d@sad.example" % n)[-1] for n in range(2)] == [b"250", b"250"]
        assert one(wire, b"other@glad.example")[-1] == b"250"  # the limit is the provider's, not the house's
        wire.send(b"MAIL FROM:<a@shop.example>\r\nRCPT TO:<n3@sad.example>\r\nDATA\r\n")
        assert wire.replies(2) == [b"250", b"421"]
        assert wire.file.read() == b""


def test_a_lost_reply_is_recorded_and_its_repeat_is_a_named_duplicate(tmp_path: Path) -> None:
    with postoffice.running(tmp_path, personalities=with_fate("lost_reply"), intake=NOWHERE) as office:
        wire = Wire(office.smtp_port)
        wire.ehlo()
        assert one(wire, b"l@sad.example")[-1] == b""  # closed without the 250
        assert ask(office, "/api/counts")["received"] == 1
        again = Wire(office.smtp_port)
        again.ehlo()
        assert one(again, b"l@sad.example")[-1] == b"250"
        assert ask(office, "/api/counts")["duplicates"] == ["<m1@shop.example>"]


def test_a_cut_in_the_middle_of_data_records_nothing(tmp_path: Path) -> None:
    with postoffice.running(tmp_path, personalities=with_fate("cut"), intake=NOWHERE) as office:
        wire = Wire(office.smtp_port)
        wire.ehlo()
        assert one(wire, b"c@sad.example")[-1] == b""
        assert ask(office, "/api/counts")["received"] == 0
        again = Wire(office.smtp_port)
        again.ehlo()
        assert one(again, b"c@sad.example")[-1] == b"250"
        assert ask(office, "/api/counts")["surplus"] == 0


def test_a_slow_reply_comes_late_and_in_order(tmp_path: Path) -> None:
    with postoffice.running(tmp_path, personalities=with_fate("slow", slow_s=0.2), intake=NOWHERE) as office:
        wire = Wire(office.smtp_port)
        wire.ehlo()
        wire.send(b"MAIL FROM:<a@shop.example>\r\nRCPT TO:<s@sad.example>\r\nDATA\r\n")
        wire.replies(3)
        begun = time.monotonic()
        wire.send(BODY % b"s" + b".\r\nNOOP\r\nMAIL FROM:<b@shop.example>\r\n")
        assert wire.replies(3) == [b"250"] * 3
        assert time.monotonic() - begun >= 0.2


class Intake:
    """A minimal intake on a real socket that keeps what it is given."""

    def __init__(self, *, refuse: int = 0) -> None:
        self.got: list[tuple[str, str, bytes]] = []
        self.come = threading.Semaphore(0)
        self._refuse = refuse
        self._listener = socket.create_server((HERE, 0))
        self.address = (HERE, self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            peer, _ = self._listener.accept()
            with peer, peer.makefile("rb") as lines:
                peer.sendall(b"220 intake\r\n")
                sender = to = ""
                for line in lines:
                    verb = line[:4].upper()
                    if verb == b"STOP":
                        return
                    if verb == b"MAIL":
                        sender = line.decode().split("<")[1].split(">")[0]
                    elif verb == b"RCPT":
                        to = line.decode().split("<")[1].split(">")[0]
                    elif verb == b"DATA":
                        if self._refuse:
                            self._refuse -= 1
                            peer.sendall(b"451 4.3.0 not now\r\n")
                            continue
                        peer.sendall(b"354 go\r\n")
                        content = b"".join(iter(lines.readline, b".\r\n"))
                        self.got.append((sender, to, content))
                        self.come.release()
                    peer.sendall(b"250-two\r\n250 lines\r\n")

    def wait(self) -> tuple[str, str, bytes]:
        assert self.come.acquire(timeout=DEADLINE_S)
        return self.got[-1]

    def close(self) -> None:
        with socket.create_connection(self.address) as last:
            last.sendall(b"STOP\r\n")
        self._thread.join()
        self._listener.close()


@pytest.fixture
def intake() -> Iterator[Intake]:
    """Give an intake that takes everything."""
    taker = Intake()
    yield taker
    taker.close()


def test_a_delayed_bounce_goes_to_the_envelope_sender(tmp_path: Path, intake: Intake) -> None:
    with postoffice.running(tmp_path, personalities=with_fate("dsn", return_delay_s=0.0), intake=intake.address) as office:
        wire = Wire(office.smtp_port)
        wire.ehlo()
        assert one(wire, b"d@sad.example", sender=b"b+7.3.abc@bounce.shop.example")[-1] == b"250"
        sender, to, content = intake.wait()
        assert (sender, to) == ("", "b+7.3.abc@bounce.shop.example")
        mail = email.message_from_bytes(content)
        assert (mail.get_content_type(), mail.get_param("report-type")) == ("multipart/report", "delivery-status")
        text, status, headers = mail.get_payload()  # type: ignore[misc, str-unpack]
        assert status.get_content_type() == "message/delivery-status"  # type: ignore[union-attr]
        about, recipient = status.get_payload()  # type: ignore[union-attr, misc]
        assert about["Reporting-MTA"].startswith("dns; ")
        assert recipient["Final-Recipient"] == "rfc822; d@sad.example"
        assert recipient["Action"] == "failed"
        assert recipient["Status"][:2] in {"5.", "4."}
        assert recipient["Diagnostic-Code"].startswith("smtp; ")
        assert "Message-ID: <m1@shop.example>" in str(headers.get_payload())  # type: ignore[union-attr]
        assert "d@sad.example" in str(text.get_payload())  # type: ignore[union-attr]
        while ask(office, "/api/counts")["returns"]["sent"] != 1:
            pass
        # The null path gets no answer: two machines must not write to each other for ever.
        wire.send(b"MAIL FROM:<>\r\nRCPT TO:<d@sad.example>\r\nRSET\r\n")
        wire.replies(3)
        assert one(wire, b"d@sad.example", sender=b"")[-1] == b"250"
        assert ask(office, "/api/counts")["returns"] == {"waiting": 0, "sent": 1, "given_up": 0}


def test_a_refused_return_is_tried_again(tmp_path: Path) -> None:
    taker = Intake(refuse=1)
    try:
        with postoffice.running(tmp_path, personalities=with_fate("complaint", return_delay_s=0.0), intake=taker.address) as office:
            wire = Wire(office.smtp_port)
            wire.ehlo()
            assert one(wire, b"c@sad.example")[-1] == b"250"
            mail = email.message_from_bytes(taker.wait()[2])
            assert mail.get_param("report-type") == "feedback-report"
            assert b"Feedback-Type: abuse" in mail.as_bytes()
    finally:
        taker.close()


def test_mail_owed_back_outlives_the_process_and_its_index(tmp_path: Path, intake: Intake) -> None:
    for forget_index in (False, True):
        home = tmp_path / str(forget_index)
        with postoffice.running(home, personalities=with_fate("dsn", return_delay_s=0.0), intake=NOWHERE) as office:
            wire = Wire(office.smtp_port)
            wire.ehlo()
            assert one(wire, b"d@sad.example")[-1] == b"250"
            assert ask(office, "/api/counts")["returns"]["waiting"] == 1
        if forget_index:
            for file in (home / "postoffice").glob("index.sqlite*"):
                file.unlink()
        with postoffice.running(home, personalities=with_fate("dsn", return_delay_s=0.0), intake=intake.address):
            assert intake.wait()[1] == "b+1@bounce.shop.example"


def test_automatic_replies_keep_the_rules_or_break_them_as_people_s_do(tmp_path: Path, intake: Intake) -> None:
    """Two thirds answer the envelope sender and never automatic mail; the rest writes to Reply-To whatever the mail is."""
    with postoffice.running(tmp_path, personalities=with_fate("vacation", return_delay_s=0.0), intake=intake.address) as office:
        wire = Wire(office.smtp_port)
        wire.ehlo()
        mail = b"From: s@shop.example\r\nReply-To: help@shop.example\r\nSubject: Notice\r\nMessage-ID: <v%d@x.example>\r\n%s\r\nhi\r\n.\r\n"
        for n in range(24):
            wire.send(b"MAIL FROM:<b+%d@bounce.shop.example>\r\nRCPT TO:<v%d@sad.example>\r\nDATA\r\n" % (n, n))
            wire.replies(3)
            wire.send(mail % (n, b"Auto-Submitted: auto-generated\r\n" if n % 2 else b""))
            assert wire.reply()[:3] == b"250"
        begun = time.monotonic()
        while ask(office, "/api/counts")["returns"]["waiting"]:
            assert time.monotonic() - begun < DEADLINE_S
        kinds = {"kept": 0, "broke": 0}
        for sender, to, content in intake.got:
            answer = email.message_from_bytes(content)
            n = int(str(answer["From"])[1:].split("@")[0])
            assert sender == ""
            assert answer["In-Reply-To"] == f"<v{n}@x.example>"
            if answer["Auto-Submitted"]:
                assert to == f"b+{n}@bounce.shop.example"
                assert n % 2 == 0, "a responder that keeps RFC 3834 answered automatic mail"
                kinds["kept"] += 1
            else:
                assert to == "help@shop.example"
                kinds["broke"] += 1
        assert kinds["kept"] > 0
        assert kinds["broke"] > 0


def test_fates_follow_from_seed_and_address_alone() -> None:
    many = [f"user{n}@example.com" for n in range(20_000)]
    first, same, other = Personalities(seed=1), Personalities(seed=1), Personalities(seed=2)
    fates = [first.fate(a, first.default) for a in many]
    assert fates == [same.fate(a, same.default) for a in many]
    assert fates != [other.fate(a, other.default) for a in many]
    for fate in ("unknown", "greylist", "dsn", "vacation", "full"):
        share = getattr(first.default, fate)
        assert abs(fates.count(fate) / len(many) - share) < 4 * (share / len(many)) ** 0.5


def test_a_faulty_personality_file_names_every_fault(tmp_path: Path) -> None:
    file = tmp_path / "personalities.toml"
    file.write_text('seed = "x"\n[default]\nunknown = 0.9\nfull = 0.2\n[[provider]]\ndomains = ["UPPER.example"]\nslow_s = -1\nwhat = 1\n')
    with pytest.raises(BadInput) as e:
        personality.load(file)
    assert {f.field for f in e.value.faults} == {
        "seed",
        "default",
        "provider[0].domains",
        "provider[0].slow_s",
        "provider[0].what",
        "provider[0].name",
    }
    file.write_text("enabled = false\nseed = 7\n[default]\nunknown = 0.9\n")
    off = personality.load(file)
    assert (off.seed, off.default.steps()) == (7, ())


# --- durability ------------------------------------------------------------------------------------------------------------------

SERVER = """
import sys, threading
from pathlib import Path
from tocsin.drills import postoffice
from tocsin.drills.office import personality
postoffice.run(0, 0, Path(sys.argv[1]), threading.Event(), personalities=personality.quiet(), intake=("127.0.0.1", 9),
               ready=lambda s, h: print(s, h, flush=True))
"""


def test_kill_9_loses_no_acknowledged_message(tmp_path: Path) -> None:
    """Kill the process in full flow, several times; every message that heard 250 must be there afterwards, whole and once."""
    acknowledged: set[str] = set()
    for life in range(3):
        with subprocess.Popen([sys.executable, "-c", SERVER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            port = int(process.stdout.readline().split()[0])
            wire = Wire(port)
            wire.ehlo()
            try:
                for n in range(4_000):
                    name = f"k{life}-{n}"
                    if n == 400 + 100 * life:
                        threading.Timer(0.01, os.kill, (process.pid, signal.SIGKILL)).start()
                    if one(wire, b"k@example.com", name=name.encode())[-1] != b"250":
                        break
                    acknowledged.add(f"<{name}@shop.example>")
            except OSError:
                pass  # the connection died with the process, as it should
            assert process.wait(DEADLINE_S) == -signal.SIGKILL
    assert len(acknowledged) > 1_000
    with postoffice.running(tmp_path, personalities=personality.quiet(), intake=NOWHERE) as office:
        record, after = [], 0
        while page := ask(office, f"/api/record?after={after}&limit=1000")["record"]:
            record += page
            after = page[-1]["id"]
        kept = [r["message_id"] for r in record]
        assert len(kept) == len(set(kept))
        assert acknowledged <= set(kept)
        assert len(kept) <= len(acknowledged) + 3  # at most the one in flight at each kill


def test_a_torn_tail_is_cut_off_and_the_index_is_made_again(tmp_path: Path) -> None:
    file = tmp_path / "spool"
    spool = Spool(file)
    places = [
        spool.append(1_700_000_000_000_000 + n, f"s{n}@a.example", [f"r{n}@b.example", "all@b.example"], BODY % b"t%d" % n)
        for n in range(5)
    ]
    with pytest.raises(Refused):
        Spool(file)  # one writer at a time
    spool.close()
    whole = file.read_bytes()
    last = places[-1][0]
    for cut in (last + 1, last + 9, len(whole) - 1):
        file.write_bytes(whole[:cut])
        spool = Spool(file)
        assert spool.end == last
        index = Index(tmp_path / "index.sqlite", spool, personality.quiet())
        assert [e.sender for e in index.record(after=0, limit=99)] == [f"s{n}@a.example" for n in range(4)]
        assert [e.id for e in index.delivered("all@b.example", limit=99)] == [1, 2, 3, 4]
        index.close()
        spool.close()
    (tmp_path / "index.sqlite").write_bytes(b"not a database" * 100)
    flipped = bytearray(whole)
    flipped[places[2][0] + 40] ^= 1
    file.write_bytes(flipped)
    spool = Spool(file)
    index = Index(tmp_path / "index.sqlite", spool, personality.quiet())
    assert [e.recipients[0] for e in index.record(after=0, limit=99)] == ["r0@b.example", "r1@b.example"]
    assert spool.read(*places[1]).content == BODY % b"t1"
    index.close()
    spool.close()
    file.write_bytes(b"something else entirely, longer than the magic")
    with pytest.raises(BadInput):
        Spool(file)
    assert file.read_bytes().startswith(b"something")
    file.write_bytes(MAGIC[:7])
    Spool(file).close()
    assert file.read_bytes() == MAGIC


# --- HTTP ------------------------------------------------------------------------------------------------------------------------

EVIL = (
    b"From: =?utf-8?q?J=C3=BCrgen_=3Cb=3E?= <j@shop.example>\r\nSubject: <script>alert(1)</script>\r\nMessage-ID: <e@shop.example>\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=B\r\n\r\n--B\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe <b>\r\n--B\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
    b"<p style='color:red'>Hi</p><script>alert(2)</script><img src=http://tracker.example/x.gif>\r\n--B--\r\n"
)


def test_pages_escape_what_stands_in_mails_and_forbid_scripts(office: postoffice.Office) -> None:
    with smtplib.SMTP(HERE, office.smtp_port) as client:
        client.sendmail("a@shop.example", ["j'&x@example.com"], EVIL)
    box = quote("j'&x@example.com")
    for path in ("/", f"/box/{box}", "/message/1", "/source/1", "/?q=%3Cscript%3E"):
        status, headers, body = get(office, path)
        assert status == 200
        assert b"<script" not in body
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "script-src" not in headers["Content-Security-Policy"]
    _, _, body = get(office, "/message/1")
    assert "Grüße &lt;b&gt;" in body.decode()
    assert b"<iframe sandbox title" in body
    status, headers, body = get(office, "/frame/1")
    assert status == 200
    assert headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert b"color:red" in body
    assert get(office, "/api/raw/1")[2] == EVIL
    message = ask(office, f"/api/messages?to={box}")["messages"][0]
    assert (message["from"], message["text"]) == ("Jürgen <b> <j@shop.example>", "Grüße <b>")


def test_search_finds_mailboxes_and_pages_go_on(office: postoffice.Office) -> None:
    wire = Wire(office.smtp_port)
    wire.ehlo()
    for n in range(70):
        assert one(wire, b"p%03d@example.com" % n, name=b"p%d" % n)[-1] == b"250"
    _, _, body = get(office, "/?q=P01")
    assert body.count(b'class="n"') == 10
    _, _, body = get(office, "/?q=%25")
    assert b"No mailbox has this" in body  # a percent sign is a character, not a wild card
    _, _, body = get(office, "/")
    assert body.count(b'class="subject"') == 60
    assert b"?before=11" in body
    assert get(office, "/?before=11")[2].count(b'class="subject"') == 10
    assert b"p069@example.com" in get(office, "/?from=p060@example.com")[2]


def test_only_local_questions_of_the_right_form_are_answered(office: postoffice.Office) -> None:
    assert get(office, "/", Host="rebound.example")[0] == 421
    assert get(office, "/", Host=f"localhost:{office.http_port}")[0] == 200
    assert get(office, "/message/99")[0] == 404
    assert get(office, "/message/x")[0] == 404
    assert get(office, "/api/raw/99")[0] == 404
    assert get(office, "/nothing")[0] == 404
    assert get(office, "/api/messages?to=nobody")[0] == 400
    assert get(office, "/api/messages?to=a@b.example&after=minus")[0] == 400
    connection = http.client.HTTPConnection(HERE, office.http_port, timeout=DEADLINE_S)
    connection.request("POST", "/", body=b"x")
    assert connection.getresponse().status == 405
    connection.close()
    raw = socket.create_connection((HERE, office.http_port), timeout=DEADLINE_S)
    raw.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 40_000)
    assert b" 431 " in raw.recv(100)
    raw.close()


def test_two_offices_do_not_share_a_spool(tmp_path: Path, office: postoffice.Office) -> None:
    with pytest.raises(Refused), postoffice.running(office.home, personalities=personality.quiet(), intake=NOWHERE):
        pass
    assert ask(office, "/api/counts")["received"] == 0
