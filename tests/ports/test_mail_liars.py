"""Servers that lie about PIPELINING, answer out of step, or say yes before they have anything: nobody is lost by it, nobody told twice."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.ports.servers import DROP, Script, Server
from tests.ports.test_mail_transport import ONE_EACH, addresses_taken, deliver, kinds, send
from tests.ports.test_mail_transport import block as lot
from tocsin.mail import policy
from tocsin.mail.sender import journal
from tocsin.mail.sender.connection import Timeouts
from tocsin.mail.sender.replies import ReplyParser

PIPELINED = ("PIPELINING", "X-TOCSIN-PRACTICE")
LOCK_STEP = ("X-TOCSIN-PRACTICE",)
Deal = Callable[[list[tuple[str, bytes]]], list[bytes]]


@dataclass
class Dealer:
    """A server that announces PIPELINING, reads whole groups, and deals the replies out as `deal` says: replies by slot in, pieces out.

    `taken`: whom it took a content for, counted where the final dot came.
    """

    deal: Deal
    pause_s: float = 0.0
    taken: list[str] = field(default_factory=list)

    def __enter__(self) -> Dealer:
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._door.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(b"220 dealer\r\n")
            for group in self._groups(sock):
                for piece in self.deal(group):
                    sock.sendall(piece)
                    time.sleep(self.pause_s)

    def _groups(self, sock: socket.socket) -> Iterator[list[tuple[str, bytes]]]:
        """Yield, for each read, the slots that it completed with the honest reply of each."""
        buffer, in_data, to = b"", False, ""
        while data := sock.recv(65_536):
            buffer += data
            group: list[tuple[str, bytes]] = []
            while True:
                end = buffer.find(b"\r\n.\r\n") if in_data else buffer.find(b"\r\n")
                if end < 0:
                    break
                line, buffer = buffer[:end], buffer[end + (5 if in_data else 2) :]
                if in_data:
                    in_data = False
                    self.taken.append(to)
                    group.append(("FINAL", b"250 2.0.0 taken\r\n"))
                    continue
                verb = line[:4].upper()
                if verb == b"EHLO":
                    group.append(("EHLO", b"250-dealer\r\n250-PIPELINING\r\n250 X-TOCSIN-PRACTICE\r\n"))
                elif verb == b"MAIL":
                    group.append(("MAIL", b"250 2.1.0 ok\r\n"))
                elif verb == b"RCPT":
                    to = line[9:].partition(b">")[0].decode()
                    refused = to.startswith("u")
                    to = "" if refused else to
                    group.append(("RCPT", b"550 5.1.1 unknown\r\n" if refused else b"250 2.1.5 ok\r\n"))
                elif verb == b"DATA":
                    in_data = bool(to)
                    group.append(("DATA", b"354 go\r\n" if to else b"554 5.5.1 nobody\r\n"))
                elif verb == b"QUIT":
                    group.append(("QUIT", b"221 bye\r\n"))
                else:
                    group.append((verb.decode(), b"250 ok\r\n"))
            yield group


def honest(group: list[tuple[str, bytes]]) -> list[bytes]:
    return [reply for _, reply in group]


PEOPLE = ["a@x.example", "u@x.example", "c@x.example", "d@x.example"]


@pytest.mark.parametrize("deal", [honest, lambda g: [b"".join(honest(g))], lambda g: [bytes([b]) for r in honest(g) for b in r]],
                         ids=["one by one", "all at once", "bytewise"])  # fmt: skip
def test_replies_in_any_pieces_are_the_same_replies(tmp_path: Path, deal: Deal) -> None:
    with Dealer(deal, pause_s=0.002 if deal is honest else 0.0) as dealer:
        outcomes = deliver(tmp_path, dealer, PEOPLE)  # type: ignore[arg-type]
    assert [k for k, _ in kinds(outcomes)] == ["handed_over", "bounced", "handed_over", "handed_over"]
    assert sorted(dealer.taken) == ["a@x.example", "c@x.example", "d@x.example"]


def test_replies_out_of_order_give_nobody_up_and_tell_nobody_twice(tmp_path: Path) -> None:
    """Those of RCPT and DATA are swapped: 354 to RCPT makes no sense, so that connection ends before any content, and the next asks singly."""

    def swapped(group: list[tuple[str, bytes]]) -> list[bytes]:
        slots = [s for s, _ in group]
        if "RCPT" in slots and "DATA" in slots:
            r, d = slots.index("RCPT"), slots.index("DATA")
            group[r], group[d] = group[d], group[r]
        return honest(group)

    with Dealer(swapped) as dealer:
        outcomes = deliver(tmp_path, dealer, ONE_EACH)  # type: ignore[arg-type]
    assert kinds(outcomes) == [("handed_over", 250)] * 3
    assert sorted(dealer.taken) == ONE_EACH
    assert not journal.recover(tmp_path, 1).in_doubt


@pytest.mark.parametrize("slot", ["MAIL", "RCPT", "DATA"])
def test_one_reply_too_few_is_noticed_before_any_content(tmp_path: Path, slot: str) -> None:
    swallowed: list[int] = []

    def deal(group: list[tuple[str, bytes]]) -> list[bytes]:
        if slot in [s for s, _ in group] and not swallowed:
            swallowed.append(1)
            return [r for s, r in group if s != slot]
        return honest(group)

    with Dealer(deal) as dealer:
        outcomes = deliver(tmp_path, dealer, ONE_EACH)  # type: ignore[arg-type]
    assert kinds(outcomes) == [("handed_over", 250)] * 3
    assert sorted(dealer.taken) == ONE_EACH


@pytest.mark.parametrize("slot", ["MAIL", "RCPT", "DATA", "FINAL"])
@pytest.mark.parametrize("extra", [b"250 2.0.0 ok\r\n", b"354 go\r\n"], ids=["250", "354"])
def test_one_reply_too_many_loses_nobody(tmp_path: Path, slot: str, extra: bytes) -> None:
    """Whoever is believed to have it was taken by the server; whoever is not is tried again or in doubt."""
    doubled: list[int] = []

    def deal(group: list[tuple[str, bytes]]) -> list[bytes]:
        out: list[bytes] = []
        for s, reply in group:
            out.append(reply)
            if s == slot and not doubled:
                doubled.append(1)
                out.append(extra)
        return [b"".join(out)]

    with Dealer(deal) as dealer:
        outcomes = deliver(tmp_path, dealer, ONE_EACH)  # type: ignore[arg-type]
    times = Counter(dealer.taken)
    assert len(outcomes) == 3
    for n, address in enumerate(ONE_EACH):
        if outcomes[n].kind == "handed_over":
            assert times[address] >= 1
        assert times[address] <= (2 if n in journal.recover(tmp_path, 1).in_doubt else 1)


@pytest.mark.parametrize("keywords", [PIPELINED, LOCK_STEP], ids=["pipelined", "lock-step"])
def test_a_yes_before_the_content_is_no_yes(tmp_path: Path, keywords: tuple[str, ...]) -> None:
    """With the 354 comes a 250 for a content that was not given yet; then the server goes. Believed, it would lose the message."""

    def script(slot: str, k: int, _: str) -> bytes | None:
        return {"DATA": b"354 go\r\n250 2.0.0 taken already\r\n", "MID_DATA": DROP}.get(slot) if k == 2 else None

    with Server(script=script, keywords=keywords) as server:
        outcomes = deliver(tmp_path, server)
    assert kinds(outcomes) == [("handed_over", 250)] * 3
    assert addresses_taken(server) == ONE_EACH
    assert server.connections == 2
    assert not journal.recover(tmp_path, 1).in_doubt


@pytest.mark.parametrize("reply", [b"250 2.0.0 taken, whatever it was\r\n", b"554 5.5.1 nobody\r\n"], ids=["250", "554"])
def test_a_lone_dot_that_is_welcomed_tells_nobody(tmp_path: Path, reply: bytes) -> None:
    def script(slot: str, k: int, _: str) -> bytes | None:
        return {"RCPT": b"550 5.1.1 unknown\r\n", "DATA": b"354 go\r\n", "LONE_DOT": reply}.get(slot) if k == 2 else None

    with Server(script=script) as server:
        outcomes = deliver(tmp_path, server)
    assert kinds(outcomes) == [("handed_over", 250), ("bounced", 550), ("handed_over", 250)]
    assert addresses_taken(server) == ["a@x.example", "c@x.example"]


@pytest.mark.parametrize(
    "reply", [b"", b"abc\r\n", b"99 x\r\n", b"700 x\r\n", b"250\xff\r\n", b"\x00" * 100 + b"\r\n", b"250-no end\r\n550 of it\r\n"]
)
def test_what_is_no_reply_ends_the_connection_and_no_message(tmp_path: Path, reply: bytes) -> None:
    script: Script = lambda s, k, _: reply if s == "RCPT" and k == 2 else None  # noqa: E731
    with Server(script=script) as server:
        outcomes = deliver(tmp_path, server)
    assert len(outcomes) == 3
    assert outcomes[0].kind == outcomes[2].kind == "handed_over"
    assert max(Counter(addresses_taken(server)).values()) == 1


def test_what_stands_before_junk_counts_and_junk_ends_the_connection_at_once(tmp_path: Path) -> None:
    """The 250 to a content and junk come in one read: the message is handed over, not in doubt, and nobody waits for a time-out."""
    parser = ReplyParser()
    assert [r.code for r in parser.feed(b"250 taken\r\njunk\r\n")] == [250]
    assert parser.fault is not None
    script: Script = lambda s, k, _: b"250 2.0.0 taken\r\njunk\r\n" if s == "FINAL" and k == 2 else None  # noqa: E731
    begun = time.monotonic()
    with Server(script=script) as server:
        outcomes = deliver(tmp_path, server, timeouts=Timeouts(connect=30, retry=0.01))
    assert kinds(outcomes) == [("handed_over", 250)] * 3
    assert addresses_taken(server) == ONE_EACH
    assert server.connections == 2
    assert time.monotonic() - begun < 20  # the shortest time-out is far longer


# -- addresses ------------------------------------------------------------------------------------------------------------------

LONGEST = "l" * 64 + "@" + ".".join(["d" * 61] * 3) + ".xyz"  # 64 octets, an @, 189 octets: 254 in all


def test_addresses_as_they_stand_on_the_wire(estate: Path) -> None:
    """Quoted local parts, IDN domains in A-labels, the longest that may be; UTF-8 before the @ where SMTPUTF8 is offered (RFC 6531)."""
    people = ['"anna smith"@x.example', '"a@b"@x.example', '"a\\"b"@x.example', "anna@bücher.example", "jörg@bücher.example", LONGEST]
    assert len(LONGEST) == 254
    with Server(keywords=(*PIPELINED, "SMTPUTF8", "8BITMIME")) as server:
        outcomes = {o.n: o for o in send(lot(people), server)}
    assert [outcomes[n].kind for n in range(len(people))] == ["handed_over"] * len(people)
    recipients = [c[9:].rpartition(">")[0] for c in server.commands if c.startswith("RCPT")]
    assert recipients == [*people[:3], "anna@xn--bcher-kva.example", "jörg@xn--bcher-kva.example", LONGEST]
    utf8 = [c for c in server.commands if c.startswith("MAIL") and "SMTPUTF8" in c]
    assert len(utf8) == 1  # the address in A-labels needs none


def test_without_smtputf8_that_one_recipient_fails_with_the_reason(estate: Path) -> None:
    with Server() as server:
        outcomes = {o.n: o for o in send(lot(["anna@x.example", "jörg@x.example", "zoe@bücher.example"]), server)}
    assert [outcomes[n].kind for n in range(3)] == ["handed_over", "bounced", "handed_over"]
    assert (outcomes[1].enhanced, "SMTPUTF8" in outcomes[1].text) == ("5.6.7", True)
    assert len(server.taken) == 2


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("a@x.example\r\nRCPT TO:<evil@x.example>", "line break"),
        ('"a\r\nb"@x.example', "line break"),
        ("a\n@x.example", "line break"),
        ("no-at", "local@domain"),
        ("@x.example", "local@domain"),
        ("a@", "local@domain"),
        ("", "local@domain"),
        ("x" * 65 + "@x.example", "64 octets"),
        ("ö" * 33 + "@x.example", "64 octets"),
        ("a" * 60 + "@" + "y" * 259, "254 octets"),  # 320 characters
        ("a b@x.example", "quotes"),
        ("a\u202eb@x.example", "invisible"),
        ("a@x", "domain name"),
        ("a@x..example", "domain name"),
        ("a@exa\u2044mple.example", "domain name"),
        ("a@[192.0.2.1]", "domain name"),
    ],
)
def test_an_address_that_no_server_takes_fails_alone_and_says_why(estate: Path, address: str, why: str) -> None:
    assert policy.wire_address(address) is None
    with Server() as server:
        outcomes = {o.n: o for o in send(lot([address, "good@x.example"]), server)}
    assert (outcomes[0].kind, outcomes[0].code, outcomes[0].enhanced) == ("bounced", 0, "5.1.3")
    assert why in outcomes[0].text
    assert not address or address not in outcomes[0].text
    assert addresses_taken(server) == ["good@x.example"]
    assert not any("evil" in c for c in server.commands)
