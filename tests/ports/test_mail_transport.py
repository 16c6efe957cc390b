"""The promises of `mail.port.Transport`, on the SMTP adapter against real servers on loopback that refuse, stall, drop and lie."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import random
import signal
import ssl
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tocsin.kernel import clock, wiring
from tocsin.kernel.errors import BadInput, Refused, Unavailable
from tocsin.kernel.private import Private
from tocsin.mail import actions
from tocsin.mail.sender import journal
from tocsin.mail.sender.connection import Timeouts
from tocsin.mail.types import BlockToSend, Envelope, Outcome, Pace, Recipient, Template

from .servers import DROP, HALF, STALL, Script, Server

ROOT = Path(__file__).parents[2]
QUICK = Timeouts(connect=2, greeting=0.4, command=0.4, data=0.4, block=2, final=0.4, quit=0.4, retry=0.01)
PACE = Pace(connections=1, messages_per_connection=100, rate_per_s=1e6)
ONE_EACH = ["a@x.example", "b@x.example", "c@x.example"]


def relay(server: Server, **options: Any) -> Any:
    """Return the adapter under test, with short time-outs."""
    options.setdefault("timeouts", QUICK)
    return wiring.load("tocsin.mail.adapters.smtp.SmtpRelay")("127.0.0.1", server.port, helo="sender.example", **options)


def envelopes(addresses: list[str], size: int = 300) -> list[Envelope]:
    """Return ready envelopes; the content names its recipient."""
    return [
        Envelope(n, f"b+1.{n}.x@bounce.example", a, f"To: {a}\r\n\r\n{'x' * 70}\r\n".encode() + b"y" * 70 * (size // 70) + b"\r\n.\r\n")
        for n, a in enumerate(addresses)
    ]


def deliver(
    home: Path,
    server: Server,
    addresses: list[str] = ONE_EACH,
    *,
    pace: Pace = PACE,
    size: int = 300,
    stopped: Callable[[], bool] = lambda: False,
    renew: Callable[[], None] = lambda: None,
    **options: Any,
) -> dict[int, Outcome]:
    """Send and return the outcomes by n; each n at most once."""
    outcomes: dict[int, Outcome] = {}
    with journal.RunJournal(home, block=1, attempt=1) as notes:
        for o in relay(server, **options).deliver(envelopes(addresses, size), pace=pace, journal=notes, renew=renew, stopped=stopped):
            assert o.n not in outcomes
            outcomes[o.n] = o
    return outcomes


def kinds(outcomes: dict[int, Outcome]) -> list[tuple[str, int]]:
    """Return (kind, code) by n."""
    return [(outcomes[n].kind, outcomes[n].code) for n in sorted(outcomes)]


def on(slot: str, reply: bytes, *, mails: tuple[int, ...] = (2,)) -> Script:
    """Return a script that answers `reply` in one slot of the given mails."""
    return lambda s, k, _: reply if s == slot and k in mails else None


def addresses_taken(server: Server) -> list[str]:
    """Return whom the server took a message for, sorted."""
    return sorted(a for a, _ in server.taken)


@pytest.fixture(params=["pipelined", "lock-step"])
def keywords(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Run a test once with PIPELINING offered and once without."""
    return ("PIPELINING", "X-TOCSIN-PRACTICE") if request.param == "pipelined" else ("X-TOCSIN-PRACTICE",)


def test_hands_over_once_each(tmp_path: Path, keywords: tuple[str, ...]) -> None:
    with Server(keywords=keywords) as server:
        outcomes = deliver(tmp_path, server)
    assert kinds(outcomes) == [("handed_over", 250)] * 3
    assert outcomes[0].enhanced == "2.0.0"
    assert [c for _, c in server.taken] == [e.content[:-3] for e in envelopes(ONE_EACH)]
    assert server.connections == 1
    assert journal.recover(tmp_path, 1).in_doubt == frozenset()
    assert journal.recover(tmp_path, 1).done.keys() == {0, 1, 2}


def test_one_round_trip_per_message_only_when_offered(tmp_path: Path) -> None:
    """Pipelined: the server that waits for the whole group before it answers is answered; lock-step: never two commands at once."""
    seen: list[int] = []

    def script(slot: str, k: int, _: str) -> bytes | None:
        seen.append(k)
        return None

    with Server(script=script) as server:
        deliver(tmp_path, server)
        assert "QUIT" in server.commands
    with Server(script=script, keywords=("X-TOCSIN-PRACTICE",), flush_input=True) as strict:
        outcomes = deliver(tmp_path, strict)  # what came early is thrown away: a pipelining client would stall
    assert kinds(outcomes) == [("handed_over", 250)] * 3


@pytest.mark.parametrize(
    ("slot", "reply", "expected"),
    [
        ("RCPT", b"550 5.1.1 no such user\r\n", ("bounced", 550)),
        ("RCPT", b"450 4.2.1 try later\r\n", ("deferred", 450)),
        ("MAIL", b"550 5.7.1 no\r\n", ("deferred", 550)),
        ("MAIL", b"451 4.3.0 no\r\n", ("deferred", 451)),
        ("DATA", b"451 4.3.0 no\r\n", ("deferred", 451)),
        ("DATA", b"554 5.5.1 no\r\n", ("bounced", 554)),
        ("FINAL", b"452 4.3.1 disk\r\n", ("deferred", 452)),
        ("FINAL", b"554 5.7.1 spam\r\n", ("bounced", 554)),
        ("FINAL", b"421 4.7.0 closing\r\n", ("deferred", 421)),
        ("FINAL", b"552-5.2.2 over\r\n552-5.2.2 quota\r\n552 5.2.2 really\r\n", ("bounced", 552)),
    ],
)
def test_each_refusal_ends_its_message_and_no_other(
    tmp_path: Path, keywords: tuple[str, ...], slot: str, reply: bytes, expected: tuple[str, int]
) -> None:
    with Server(script=on(slot, reply), keywords=keywords) as server:
        outcomes = deliver(tmp_path, server)
    assert kinds(outcomes) == [("handed_over", 250), expected, ("handed_over", 250)]
    assert outcomes[1].enhanced == reply[4:9].decode()
    assert addresses_taken(server) == ["a@x.example", "c@x.example"] or slot == "FINAL"
    assert not journal.recover(tmp_path, 1).in_doubt


def test_rejected_recipient_with_354_gets_a_lone_dot(tmp_path: Path) -> None:
    """RFC 2920 s3.1: nothing may be delivered for a refused recipient, although DATA was accepted."""

    def script(slot: str, k: int, _: str) -> bytes | None:
        return {"RCPT": b"550 5.1.1 unknown\r\n", "DATA": b"354 go\r\n"}.get(slot) if k == 2 else None

    with Server(script=script) as server:
        outcomes = deliver(tmp_path, server)
    assert kinds(outcomes) == [("handed_over", 250), ("bounced", 550), ("handed_over", 250)]
    assert addresses_taken(server) == ["a@x.example", "c@x.example"]


@pytest.mark.parametrize("slot", ["MAIL", "RCPT", "DATA", "RSET", "QUIT"])
def test_421_in_any_slot_moves_the_message_to_another_connection(tmp_path: Path, keywords: tuple[str, ...], slot: str) -> None:
    def script(s: str, k: int, _: str) -> bytes | None:
        if slot == "RSET" and s == "RCPT" and k == 2:
            return b"550 5.1.1 unknown\r\n"
        return b"421 4.3.2 shutting down\r\n" if s == slot and k in {2, 3} and (slot in {"RSET", "QUIT"} or k == 2) else None

    with Server(script=script, keywords=keywords) as server:
        outcomes = deliver(tmp_path, server)
    middle = ("bounced", 550) if slot == "RSET" else ("handed_over", 250)
    assert kinds(outcomes) == [("handed_over", 250), middle, ("handed_over", 250)]
    assert max(Counter(addresses_taken(server)).values()) == 1
    assert not journal.recover(tmp_path, 1).in_doubt


@pytest.mark.parametrize("slot", ["GREETING", "EHLO"])
def test_421_before_any_message_gives_up_bounded(tmp_path: Path, slot: str) -> None:
    script: Script = lambda s, k, _: b"421 4.3.2 no service\r\n" if s == slot else None  # noqa: E731
    with Server(script=script) as server, pytest.raises(Unavailable, match="421"):
        deliver(tmp_path, server)
    assert server.taken == []
    assert server.connections == 6


@pytest.mark.parametrize(
    ("slot", "action"),
    [("MAIL", STALL), ("RCPT", STALL), ("DATA", STALL), ("MAIL", DROP), ("RCPT", DROP), ("DATA", DROP), ("MAIL", HALF), ("DATA", HALF)],
)
def test_stall_or_drop_before_the_content_is_tried_again(tmp_path: Path, keywords: tuple[str, ...], slot: str, action: bytes) -> None:
    with Server(script=on(slot, action), keywords=keywords) as server:
        outcomes = deliver(tmp_path, server)
    assert kinds(outcomes) == [("handed_over", 250)] * 3
    assert addresses_taken(server) == ONE_EACH
    assert not journal.recover(tmp_path, 1).in_doubt


@pytest.mark.parametrize("action", [DROP, STALL, HALF, b"no smtp at all\r\n"])
def test_lost_reply_after_the_final_dot_is_in_doubt_and_not_repeated(tmp_path: Path, keywords: tuple[str, ...], action: bytes) -> None:
    with Server(script=on("FINAL", action), keywords=keywords) as server:
        outcomes = deliver(tmp_path, server)
    assert kinds(outcomes) == [("handed_over", 250), ("in_doubt", 0), ("handed_over", 250)]
    assert addresses_taken(server) == ONE_EACH  # it was taken: a second sending would have been a duplicate
    assert journal.recover(tmp_path, 1).in_doubt == {1}


def test_drop_in_the_middle_of_a_large_content_is_not_in_doubt(tmp_path: Path) -> None:
    """The final dot never left us: the message is sent again, on another connection, and the journal says why."""
    with Server(script=on("MID_DATA", DROP)) as server:
        outcomes = deliver(tmp_path, server, size=12_000_000, timeouts=Timeouts(retry=0.01))  # far more than the socket buffers hold
    assert kinds(outcomes) == [("handed_over", 250)] * 3
    assert addresses_taken(server) == ONE_EACH
    assert journal.recover(tmp_path, 1).in_doubt == frozenset()


def test_a_message_that_kills_every_connection_ends_deferred(tmp_path: Path) -> None:
    with Server(script=lambda s, k, arg: DROP if s == "RCPT" and "b@x" in arg else None) as server:
        outcomes = deliver(tmp_path, server)
    assert kinds(outcomes) == [("handed_over", 250), ("deferred", 0), ("handed_over", 250)]


def test_partial_writes_and_bytewise_replies(tmp_path: Path) -> None:
    with Server(slow_reader=True, bytewise=True) as server:
        outcomes = deliver(tmp_path, server, size=400_000)
    assert kinds(outcomes) == [("handed_over", 250)] * 3
    assert [len(c) for _, c in server.taken] == [len(e.content) - 3 for e in envelopes(ONE_EACH, 400_000)]


def test_multi_line_replies_everywhere(tmp_path: Path, keywords: tuple[str, ...]) -> None:
    def script(slot: str, k: int, _: str) -> bytes | None:
        code = {"MAIL": 250, "RCPT": 250, "DATA": 354, "FINAL": 250, "GREETING": 220}.get(slot)
        return f"{code}-one\r\n{code}-two\r\n{code}\r\n".encode() if code else None

    with Server(script=script, keywords=keywords) as server:
        assert kinds(deliver(tmp_path, server)) == [("handed_over", 250)] * 3


def test_server_that_lies_about_pipelining_is_found_out(tmp_path: Path) -> None:
    """It offers PIPELINING and throws away what comes behind a command: after the first stall the run goes on in lock-step."""
    with Server(flush_input=True) as server:
        outcomes = deliver(tmp_path, server)
    assert kinds(outcomes) == [("handed_over", 250)] * 3
    assert addresses_taken(server) == ONE_EACH


def test_replies_to_nothing_and_endless_replies_end_the_connection_only(tmp_path: Path) -> None:
    def script(slot: str, k: int, _: str) -> bytes | None:
        if slot == "RCPT" and k == 2:
            return b"250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n"
        return b"250-" + b"x" * 6000 if slot == "MAIL" and k == 4 else None

    with Server(script=script) as server:
        outcomes = deliver(tmp_path, server)
    assert len(outcomes) == 3
    assert "handed_over" in {o.kind for o in outcomes.values()}


def test_no_ehlo_falls_back_to_helo(tmp_path: Path) -> None:
    with Server(script=lambda s, k, _: b"502 5.5.1 what\r\n" if s == "EHLO" else None) as server:
        assert kinds(deliver(tmp_path, server)) == [("handed_over", 250)] * 3
    assert any(c.startswith("HELO") for c in server.commands)


def test_refused_sender_gives_up_instead_of_failing_everybody(tmp_path: Path) -> None:
    with (
        Server(script=lambda s, k, _: b"550 5.7.1 sender refused\r\n" if s == "MAIL" else None) as server,
        pytest.raises(Unavailable, match="refusals of our sender"),
    ):
        deliver(tmp_path, server, [f"p{n}@x.example" for n in range(200)])
    assert len(server.commands) < 100


def test_pace_is_kept(tmp_path: Path) -> None:
    people = [f"p{n}@x.example" for n in range(60)]
    at = datetime.now(UTC)
    with Server() as server:
        outcomes = deliver(tmp_path, server, people, pace=Pace(connections=3, messages_per_connection=7, rate_per_s=60))
    assert kinds(outcomes) == [("handed_over", 250)] * 60
    assert server.open_max <= 3
    assert max(server.per_connection) <= 7
    assert (datetime.now(UTC) - at).total_seconds() > 60 / 60 - 0.2


def test_stop_lets_at_most_one_further_message_per_connection_through(tmp_path: Path) -> None:
    stop = threading.Event()
    people = [f"p{n}@x.example" for n in range(2000)]
    counted: list[int] = []

    def script(slot: str, k: int, _: str) -> bytes | None:
        if slot == "FINAL" and k == 100:
            stop.set()
            counted.append(len(server.taken))
        return None

    with Server(script=script) as server:
        outcomes = deliver(tmp_path, server, people, pace=Pace(4, 1000, 1e6), stopped=stop.is_set)
    assert len(server.taken) <= counted[0] + 2 * 4  # those under way when the flag rose, and one each
    assert {o.kind for o in outcomes.values()} <= {"handed_over", "in_doubt"}
    assert len(outcomes) + len(journal.recover(tmp_path, 1).in_doubt - outcomes.keys()) == len(server.taken)


def test_lost_lease_ends_the_run_before_the_next_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock jumps as after a freeze: the lease is renewed before anything is sent, and its loss ends the run."""
    class LostLeaseError(Exception):
        pass

    ahead = [0.0]
    real = clock.awake
    monkeypatch.setattr(clock, "awake", lambda: real() + ahead[0])

    def script(slot: str, k: int, _: str) -> bytes | None:
        if slot == "DATA" and k == 2:
            ahead[0] = 120.0
        return None

    def renew() -> None:
        if ahead[0]:
            raise LostLeaseError

    with Server(script=script, keywords=("X-TOCSIN-PRACTICE",)) as server, pytest.raises(LostLeaseError):
        deliver(tmp_path, server, renew=renew)
    assert addresses_taken(server) == ["a@x.example"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, str]:
    """Give a server context for 127.0.0.1 and the file a client may trust it by."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    (folder / "cert.pem").write_bytes(pem)
    (folder / "both.pem").write_bytes(
        pem + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    return context, str(folder / "cert.pem")


@pytest.mark.parametrize("mode", ["starttls", "implicit"])
def test_tls_is_verified_and_resumed(tmp_path: Path, certificate: tuple[ssl.SSLContext, str], mode: Any) -> None:
    context, trusted = certificate
    with Server(tls=context, implicit=mode == "implicit") as server:
        outcomes = deliver(tmp_path, server, [f"p{n}@x.example" for n in range(9)], pace=Pace(1, 3, 1e6), tls=mode, ca_file=trusted)
        assert kinds(outcomes) == [("handed_over", 250)] * 9
        assert server.connections == 3
        assert server.resumed == 2
        journal.forget(tmp_path, 1)
        before = len(server.taken)
        with pytest.raises(Unavailable, match=r"(?i)certificate"):
            deliver(tmp_path, server, tls=mode)  # nobody vouches for it
        assert len(server.taken) == before


def test_starttls_wanted_and_not_offered_sends_nothing(tmp_path: Path) -> None:
    with Server() as server:
        with pytest.raises(Unavailable, match="STARTTLS"):
            deliver(tmp_path, server, tls="starttls")
        with pytest.raises(Unavailable, match="TLS"):
            deliver(tmp_path, server, credentials=Private(("user", "secret")))
        assert server.taken == []
        assert not any("AUTH" in c for c in server.commands)


def test_opportunistic_tls_and_login(tmp_path: Path, certificate: tuple[ssl.SSLContext, str]) -> None:
    context, trusted = certificate
    with Server(tls=context, script=lambda s, k, _: b"235 2.7.0 welcome\r\n" if s == "AUTH" else None) as server:
        assert kinds(deliver(tmp_path, server, tls="opportunistic")) == [("handed_over", 250)] * 3
        journal.forget(tmp_path, 1)
        assert (
            kinds(deliver(tmp_path, server, tls="starttls", ca_file=trusted, credentials=Private(("user", "secret"))))
            == [("handed_over", 250)] * 3
        )
    assert "AUTH PLAIN AHVzZXIAc2VjcmV0" in server.commands


def test_smtputf8_address_needs_the_offer(tmp_path: Path) -> None:
    people = ["a@x.example", "jörg@x.example"]
    with Server() as server:
        assert kinds(deliver(tmp_path, server, people)) == [("handed_over", 250), ("bounced", 0)]
    journal.forget(tmp_path, 1)
    with Server(keywords=("PIPELINING", "SMTPUTF8", "X-TOCSIN-PRACTICE")) as server:
        assert kinds(deliver(tmp_path, server, people)) == [("handed_over", 250)] * 2
    assert any("SMTPUTF8" in c for c in server.commands if c.startswith("MAIL"))


def test_nobody_listens(tmp_path: Path) -> None:
    with Server() as server:
        port = server.port
    server.port = port
    with pytest.raises(Unavailable, match="ECONNREFUSED"):
        deliver(tmp_path, server)


def test_disk_full_under_the_journal_sends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the journal cannot take is not sent; the torn record is cut off, and those before it are read."""
    with Server() as server:
        real, left = os.write, [journal.RECORD_BYTES * 4 + 5]

        def full(fd: int, data: bytes) -> int:
            if len(data) % journal.RECORD_BYTES:
                return real(fd, data)
            taken = real(fd, data[: left[0]])
            left[0] -= taken
            if not taken:
                raise OSError(28, "No space left on device")
            return taken

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(Unavailable, match="journal"):
            deliver(tmp_path, server, [f"p{n}@x.example" for n in range(50)])
        monkeypatch.undo()
        known = journal.recover(tmp_path, 1)
        assert len(server.taken) == len(known.done) + len(known.in_doubt)
        assert 0 < len(server.taken) < 5


# -- through the door -----------------------------------------------------------------------------------------------------------


def notice() -> Template:
    """Return a compiled notice with two slots."""
    return actions.compile_template(
        subject="Your data", text="Dear {{name}},\n\nyour code is {{code}}.\n", html="<p>Dear {{name}}: {{code}}</p>"
    )


def block(addresses: list[str], *, attempt: int = 1, named: frozenset[int] = frozenset()) -> BlockToSend:
    """Return a block of those addresses."""
    people = [Recipient(n, a, {"name": f"Person {n}", "code": f"C{n}"}, f"1/{n}") for n, a in enumerate(addresses)]
    return BlockToSend(7, attempt, [notice()], people, datetime(2026, 11, 24, 9, tzinfo=UTC), named)


def send(what: BlockToSend, server: Server) -> list[Outcome]:
    """Send a block without limits."""
    return list(actions.send_block(what, transport=relay(server), pace=PACE, renew=lambda: None, stopped=lambda: False))


def test_block_refuses_what_it_must_before_the_first_message(estate: Path) -> None:
    with Server(keywords=("PIPELINING",)) as world, pytest.raises(Refused, match="real people"):
        send(block(ONE_EACH), world)
    assert world.taken == []
    with Server() as practice:
        with pytest.raises(BadInput, match="each n once"):
            send(BlockToSend(7, 1, [notice()], [*block(ONE_EACH).recipients, *block(ONE_EACH).recipients], datetime.now(UTC)), practice)
        with pytest.raises(BadInput, match="each of its slots"):
            send(BlockToSend(7, 1, [notice()], [Recipient(0, "a@x.example", {"name": "A"}, "k")], datetime.now(UTC)), practice)
        assert practice.taken == []
        assert [o.kind for o in send(block(ONE_EACH), practice)] == ["handed_over"] * 3


def test_live_estate_refuses_the_practice_post_office(estate: Path) -> None:
    from tests.conftest import forget

    (estate / "tocsin.toml").write_text('[estate]\nkind = "live"\n')
    forget()
    with Server() as practice, pytest.raises(Refused, match="live estate"):
        send(block(ONE_EACH), practice)
    assert practice.taken == []


def test_relay_that_changes_its_nature_under_way_is_dropped(estate: Path) -> None:
    """The first connection announces practice, later ones do not: nothing goes out over those."""
    with Server() as server:
        transport = relay(server)
        assert transport.reach() == "loopback"
        server.keywords = ("PIPELINING",)
        with pytest.raises(Unavailable, match="practice"):
            list(actions.send_block(block(ONE_EACH), transport=transport, pace=PACE, renew=lambda: None, stopped=lambda: False))
        assert server.taken == []


def test_in_doubt_is_refused_until_named_then_repeated_with_the_same_message_id(estate: Path) -> None:
    with Server(script=on("FINAL", DROP)) as server:
        first = send(block(ONE_EACH), server)
        assert {o.n: o.kind for o in first} == {0: "handed_over", 1: "in_doubt", 2: "handed_over"}
        assert actions.in_doubt(7) == {1}
        with pytest.raises(Refused, match="named_in_doubt"):
            send(block(ONE_EACH, attempt=2), server)
        assert len(server.taken) == 3
        second = send(block(ONE_EACH, attempt=2, named=frozenset({1})), server)
        assert {o.n: o.kind for o in second} == dict.fromkeys(range(3), "handed_over")
    assert addresses_taken(server) == ["a@x.example", "b@x.example", "b@x.example", "c@x.example"]
    ids = [next(line for line in c.split(b"\r\n") if line.startswith(b"Message-ID")) for a, c in server.taken if a.startswith("b")]
    assert ids[0] == ids[1]
    assert actions.recover(7).runs == {1, 2}
    actions.close_block(7)
    assert actions.recover(7).runs == frozenset()


@pytest.mark.parametrize(
    "address",
    [
        "no-at",
        "a b@x.example",
        "a@x.example\r\nRCPT TO:<evil@x.example>",
        "a@x..example",
        "<a@x.example>",
        "x" * 65 + "@x.example",
        "a@" + "y" * 250 + ".example",
        "a@-x.example",
        "a@x",
        "",
        "a\u2028@x.example",
        '"a\r\nb"@x.example',
        "a@x.example>",
        "a@exa\u2044mple.example",
    ],
)
def test_unusable_address_bounces_without_a_word_on_the_wire(estate: Path, address: str) -> None:
    with Server() as server:
        outcomes = {o.n: o for o in send(block([address, "good@x.example"]), server)}
    assert (outcomes[0].kind, outcomes[0].code, outcomes[0].enhanced) == ("bounced", 0, "5.1.3")
    assert outcomes[1].kind == "handed_over"
    assert addresses_taken(server) == ["good@x.example"]
    assert not any("evil" in c for c in server.commands)


# -- kill -9 --------------------------------------------------------------------------------------------------------------------

NURSERY = """
import os, sys
from datetime import UTC, datetime
import django
django.setup()
from tocsin.kernel import clock, wiring
from tocsin.kernel.sealing import key
from tocsin.mail import actions, dkim
from tocsin.mail.types import BlockToSend, Pace, Recipient
dkim.load_rsa(key("dkim"))  # read and checked once: it takes longer than the time to the kill
port, n_people, connections = map(int, sys.argv[1:])
notice = actions.compile_template(subject="Your data", text="Dear {{name}}")
people = [Recipient(n, f"p{n}@x.example", {"name": f"P {n}"}, f"1/{n}") for n in range(n_people)]

def send(attempt, named):
    relay = wiring.load("tocsin.mail.adapters.smtp.SmtpRelay")("127.0.0.1", port, helo="x.example")
    block = BlockToSend(1, attempt, [notice], people, datetime.now(UTC), named)
    pace = Pace(connections, 50, 1e6)
    outcomes = actions.send_block(block, transport=relay, pace=pace, renew=lambda: None, stopped=lambda: False)
    return sum(o.kind == "handed_over" for o in outcomes)

for line in sys.stdin:
    attempt, _, named = line.strip().partition(" ")
    child = os.fork()
    if not child:
        os._exit(0 if send(int(attempt), frozenset(map(int, filter(None, named.split(","))))) == n_people else 1)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_kill_9_at_any_instant_loses_nobody_and_names_every_repeat(estate: Path, tmp_path: Path) -> None:
    """Senders are killed at random instants; a sink in another process writes down what it took before it answers: it is the witness.

    The senders are forked from one prepared process, so that the kills are many and the interpreter's start is not what they hit.
    TOCSIN_TEST_KILLS and TOCSIN_TEST_PEOPLE make it longer.
    """
    n_people, kills = int(os.environ.get("TOCSIN_TEST_PEOPLE", "6000")), int(os.environ.get("TOCSIN_TEST_KILLS", "21"))
    connections = 8
    chance = random.Random(20261124)
    witness = tmp_path / "witness"
    witness.touch()
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "DJANGO_SETTINGS_MODULE": "tocsin.settings"}
    sink = subprocess.Popen([sys.executable, "-m", "bench.sink", str(witness)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert sink.stdout
    nursery = subprocess.Popen(
        [sys.executable, "-c", NURSERY, sink.stdout.readline().strip(), str(n_people), str(connections)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    assert nursery.stdin
    assert nursery.stdout
    named: list[frozenset[int]] = []
    killed = 0
    try:
        for attempt in range(1, kills + 100):
            doubt = frozenset(actions.in_doubt(1))
            named.append(doubt)  # this list is the evidence log of the test: complete before the next sender starts
            nursery.stdin.write(f"{attempt} {','.join(map(str, doubt))}\n")
            nursery.stdin.flush()
            child = int(nursery.stdout.readline())
            if killed < kills:
                timer = threading.Timer(chance.uniform(0.005, 0.01 + 2 * n_people / 2000 / kills), kill, [child])
                timer.start()
                status = int(nursery.stdout.readline())
                timer.cancel()
                timer.join()
            else:
                status = int(nursery.stdout.readline())
            killed += status == -signal.SIGKILL
            if status != -signal.SIGKILL:
                assert status == 0
                break
        else:
            pytest.fail("never finished")
    finally:
        for process in (nursery, sink):
            process.terminate()
            process.wait()
    lines = witness.read_text().split("\n")[:-1]
    times = Counter(line.split()[1] for line in lines)
    lost = {f"p{n}@x.example" for n in range(n_people)} - times.keys()
    duplicates = {address: t - 1 for address, t in times.items() if t > 1}
    in_doubt = Counter(f"p{n}@x.example" for lot in named for n in lot)
    sys.stdout.write(
        f"{n_people} people, {killed} kills: lost {len(lost)}, duplicates {sum(duplicates.values())}, "
        f"in doubt {sum(in_doubt.values())}, bound {connections * killed}\n"
    )
    assert killed >= kills // 2, "the senders were too quick to be killed"
    assert lost == set()
    assert all(in_doubt[address] >= extra for address, extra in duplicates.items()), "a repeat that was not named"
    assert sum(duplicates.values()) <= sum(in_doubt.values()) <= connections * killed
    assert len({line.split()[0] for line in lines}) == n_people


def kill(process: int) -> None:
    """Kill -9, if it still runs."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
