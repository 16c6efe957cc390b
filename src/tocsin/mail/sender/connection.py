"""One SMTP dialogue as a state machine without I/O: replies in, bytes out, outcomes reported to a sink. And what it is held about:
endpoints, routes, messages, and the sites that a run knows.

Design: every command that was written puts a slot into `expect`; every reply takes the oldest slot. With PIPELINING (RFC 2920) MAIL, RCPT
and DATA of a message go out together, and those of the next message together with the content before: one round trip per message.
Without it the same slots are filled one by one. Rules that the slots make easy to keep:
  - RCPT refused and DATA answered 354: send a lone dot (RFC 2920 s3.1), and whatever comes back is not about the message;
  - RCPT refused and DATA refused: RSET before the next MAIL, for the transaction that MAIL opened still stands;
  - 421 may come in any slot (RFC 5321 s3.8): the server is closing. Only in the slot of the final dot is it an answer to the message;
  - a refused MAIL says nothing about the recipient, so it defers, whatever its class; the engine counts such refusals and gives up.
"""

from __future__ import annotations

from base64 import b64encode
from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal, NamedTuple, Protocol

from tocsin.kernel.private import Private
from tocsin.mail.types import Envelope, OutcomeKind

from .dane import Tlsa
from .replies import ProtocolError, Reply

Tls = Literal["none", "opportunistic", "starttls", "implicit", "dane"]
PRACTICE_KEYWORD = "X-TOCSIN-PRACTICE"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and how to reach a server. `opportunistic`: STARTTLS if offered, any certificate; `starttls`, `implicit`: verified, or
    nothing; `dane`: STARTTLS, and the certificate that `tlsa` names, or nothing (without any: STARTTLS and whatever certificate).

    `addresses`: where its name leads, in order; empty: asked of the system. `domain`: whose mail it takes, which a certificate vouched for
    by a trust anchor of `tlsa` may name instead of the host.
    """

    host: str
    port: int
    helo: str
    tls: Tls = "opportunistic"
    ca_file: str | None = None
    credentials: Private[tuple[str, str]] | None = None
    pipelining: bool = True
    addresses: tuple[str, ...] = ()
    tlsa: tuple[Tlsa, ...] = ()
    domain: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class Route:
    """The servers that take the same mail, in the order to be tried. One object per destination: the engine keeps a site for each.

    `name`: for words. `receiver`: whose limits these are; 0: no limit beyond the run's.
    """

    name: str
    endpoints: tuple[Endpoint, ...]
    receiver: str = ""
    connections: int = 0
    messages_per_connection: int = 0


class Undeliverable(NamedTuple):
    """Why no server can be tried for an address: `bounced` if that is for good."""

    kind: Literal["bounced", "deferred"]
    enhanced: str
    text: str


class Router(Protocol):
    """Knows which servers take an envelope. `lone`: there is one route for everybody, so that its trouble ends the run."""

    lone: bool

    def route(self, envelope: Envelope) -> Route | Undeliverable | None:
        """Return the way, why there is none, or None: it is still being looked up, ask again."""
        ...


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait in each slot before the connection is given up. Source: RFC 5321 s4.5.3.2."""

    connect: float = 30.0
    greeting: float = 300.0
    command: float = 300.0
    data: float = 120.0
    block: float = 180.0
    final: float = 600.0
    quit: float = 5.0
    retry: float = 0.5  # before a new connection after one that came to nothing; doubles each time


class Slot(IntEnum):
    """What a reply answers."""

    GREETING, EHLO, HELO, STARTTLS, AUTH, MAIL, RCPT, DATA, FINAL, LONE_DOT, RSET, QUIT = range(12)


@dataclass(eq=False, slots=True)
class Site:
    """A route as one run knows it: what waits for it, and how its servers have fared."""

    route: Route
    waiting: deque[Message] = field(default_factory=deque)
    candidates: list[tuple[Endpoint, int, tuple[object, ...]]] = field(default_factory=list)  # endpoint, address family, address
    at: int = 0  # of the candidates, the one to be tried next
    pipelining: bool = True
    fruitless: int = 0  # connections in a row that brought no answer to any message
    open_after: float = 0.0
    mail_refusals: int = 0  # of our sender, in a row
    trouble: str = ""
    untrusted: bool = False  # the last trouble was that a server did not show what was required of it


class Message:
    """An envelope on its way, with what has happened to it so far."""

    __slots__ = ("dot_at", "envelope", "failure", "failure_slot", "site", "tries")

    def __init__(self, envelope: Envelope, site: Site) -> None:
        self.envelope = envelope
        self.site = site
        self.tries = 0
        self.failure: Reply | None = None
        self.failure_slot = Slot.MAIL
        self.dot_at = -1  # stream offset behind its final dot, once queued


class Sink(Protocol):
    """What a dialogue needs of the engine."""

    def take(self, connection: Dialogue) -> Message | None:
        """Return the next message for this connection, or None: nothing left, not yet (rate), or stopping."""
        ...

    def may_send_content(self) -> bool:
        """Return False once the run is to stop."""
        ...

    def intent(self, message: Message) -> None:
        """Note that the content goes into the next write."""
        ...

    def outcome(self, message: Message, kind: OutcomeKind, code: int, enhanced: str, text: str) -> None:
        """Take the end of a message."""
        ...

    def mail_answered(self, message: Message, *, accepted: bool, reply: Reply) -> None:
        """Hear how the server took our sender address."""
        ...


class Fatal(Exception):
    """The server cannot be used as configured: no new connection will change that."""


class Dialogue:
    """The dialogue of one connection. `out` holds bytes to be written; `ready` says that it idles and may take a message."""

    def __init__(self, endpoint: Endpoint, sink: Sink, site: Site, *, practice: bool | None, encrypted: bool, pipelining: bool) -> None:
        """Start by waiting for the greeting. `practice`: whether the server must be the practice post office (None: not asked)."""
        self.site = site
        self._endpoint, self._sink, self._practice = endpoint, sink, practice
        self._allow_pipelining = pipelining
        self.encrypted = encrypted
        self.pipelining = False
        self.extensions: dict[str, str] = {}
        self.expect: deque[tuple[Slot, Message | None]] = deque([(Slot.GREETING, None)])
        self.out: list[bytes] = []
        self.queued_bytes = 0
        self.started = 0  # messages begun on this connection
        self.outcomes = 0  # messages that the server answered
        self.ready = False
        self.greeted = False
        self.start_tls = False  # set when the server said "go ahead": the engine shakes hands and calls `secured`
        self.closing = ""  # why this side wants to close; "" while it does not

    # -- writing -------------------------------------------------------------------------------------------------------------

    def _say(self, data: bytes, *slots: tuple[Slot, Message | None]) -> None:
        self.out.append(data)
        self.queued_bytes += len(data)
        self.expect.extend(slots)

    def quit(self) -> None:
        """Take leave; the engine closes when the reply, the end of the stream or the time-out comes."""
        self.ready = False
        self._say(b"QUIT\r\n", (Slot.QUIT, None))

    def secured(self) -> None:
        """Go on after the TLS handshake."""
        self.start_tls, self.encrypted = False, True
        self._ehlo()

    def _ehlo(self) -> None:
        self._say(b"EHLO " + self._endpoint.helo.encode() + b"\r\n", (Slot.EHLO, None))

    def advance(self) -> None:
        """Begin the next message if there is one and nothing is under way."""
        if self.ready:
            self._next(b"")

    def _next(self, before: bytes) -> None:
        """Begin the next message behind `before` in the same write, or idle."""
        while True:
            message = self._sink.take(self)
            if message is None:
                if before:
                    self._say(before)
                self.ready = not self.expect
                return
            if message.envelope.recipient.isascii() or "SMTPUTF8" in self.extensions:
                break
            self._sink.outcome(message, "bounced", 0, "5.6.7", "the next server takes no address beyond ASCII (it does not offer SMTPUTF8)")
        self.ready = False
        self.started += 1
        envelope = message.envelope
        plus = b"> BODY=8BITMIME SMTPUTF8\r\n" if not envelope.recipient.isascii() else b">\r\n"
        mail = before + b"MAIL FROM:<" + envelope.sender.encode() + plus
        if self.pipelining:
            self._say(mail + b"RCPT TO:<" + envelope.recipient.encode() + b">\r\nDATA\r\n",
                      (Slot.MAIL, message), (Slot.RCPT, message), (Slot.DATA, message))
        else:
            self._say(mail, (Slot.MAIL, message))

    # -- replies -------------------------------------------------------------------------------------------------------------

    def receive(self, reply: Reply) -> None:
        """Take one reply. Raises ProtocolError when it makes no sense where it stands, Fatal when the server cannot be used at all."""
        if not self.expect:
            if reply.code == 421:
                self.closing = f"421 {reply.text}"
                return
            raise ProtocolError(f"a reply to nothing: {reply.code} {reply.text}")
        slot, message = self.expect[0]
        if message is None:
            self.expect.popleft()
            self._session_reply(slot, reply)
            return
        if slot <= Slot.RCPT and self.pipelining and 200 <= reply.code < 300:  # the plain way, twice for each message
            self.expect.popleft()
            if slot is Slot.MAIL:
                self._sink.mail_answered(message, accepted=True, reply=reply)
            return
        if reply.code == 421 and slot is not Slot.FINAL and message.failure is None:
            self.closing = f"421 {reply.text}"  # the slot stays: the engine puts its message back
            return
        self.expect.popleft()
        try:
            if slot is Slot.FINAL:
                self._final(message, reply)
            elif slot is Slot.DATA:
                self._data(message, reply)
            elif slot is Slot.LONE_DOT:
                self._failed(message, reset=False)
            else:
                self._mail_or_rcpt(slot, message, reply)
        except ProtocolError:
            self.expect.appendleft((slot, message))  # the engine settles what stands in a slot: nothing may fall out of it unsettled
            raise
        if reply.code == 421:
            self.closing = f"421 {reply.text}"

    def _mail_or_rcpt(self, slot: Slot, message: Message, reply: Reply) -> None:
        accepted = 200 <= reply.code < 300
        if 300 <= reply.code < 400:
            raise ProtocolError(f"{reply.code} to {slot.name}")
        if slot is Slot.MAIL:
            self._sink.mail_answered(message, accepted=accepted, reply=reply)
        if not accepted and message.failure is None:
            message.failure, message.failure_slot = reply, slot
        if self.pipelining:
            return  # the answers to RCPT and DATA are on their way
        if not accepted:
            self._failed(message, reset=slot is Slot.RCPT)
        elif slot is Slot.MAIL:
            self._say(b"RCPT TO:<" + message.envelope.recipient.encode() + b">\r\n", (Slot.RCPT, message))
        else:
            self._say(b"DATA\r\n", (Slot.DATA, message))

    def _data(self, message: Message, reply: Reply) -> None:
        if reply.code == 354:
            if message.failure is not None:
                self._say(b".\r\n", (Slot.LONE_DOT, message))
                return
            if not self._sink.may_send_content():
                self.expect.appendleft((Slot.DATA, message))
                self.closing = "stopped"
                return
            self._sink.intent(message)
            content = message.envelope.content
            message.dot_at = self.queued_bytes + len(content)
            self.expect.append((Slot.FINAL, message))
            if self.pipelining:
                self._next(content)
            else:
                self._say(content)
            return
        if 200 <= reply.code < 400:
            raise ProtocolError(f"{reply.code} to DATA")
        if message.failure is None:
            message.failure, message.failure_slot = reply, Slot.DATA
        self._failed(message, reset=True)

    def _final(self, message: Message, reply: Reply) -> None:
        if 300 <= reply.code < 400:
            raise ProtocolError(f"{reply.code} to the content")
        kind: OutcomeKind = "handed_over" if reply.code < 300 else "deferred" if reply.code < 500 else "bounced"
        self.outcomes += 1
        after = "" if kind == "handed_over" else " (in reply to end of DATA)"
        self._sink.outcome(message, kind, reply.code, reply.enhanced, reply.text + after)
        if not self.expect:
            self._next(b"")

    def _failed(self, message: Message, *, reset: bool) -> None:
        reply = message.failure
        if reply is None:
            raise ProtocolError("a failure without a reply")
        kind: OutcomeKind = "bounced" if reply.code >= 500 and message.failure_slot is not Slot.MAIL else "deferred"
        self.outcomes += 1
        self._sink.outcome(message, kind, reply.code, reply.enhanced, f"{reply.text} (in reply to {message.failure_slot.name})")
        if reset:
            self.expect.append((Slot.RSET, None))
            if self.pipelining:
                self._next(b"RSET\r\n")
            else:
                self._say(b"RSET\r\n")
        elif not self.expect:
            self._next(b"")

    def _session_reply(self, slot: Slot, reply: Reply) -> None:
        good = 200 <= reply.code < 300
        if slot is Slot.QUIT:
            self.closing = "done"
        elif reply.code == 421:
            self.closing = f"421 {reply.text}"
        elif slot is Slot.GREETING:
            if not good:
                self.closing = f"greeted with {reply.code} {reply.text}"
            else:
                self._ehlo()
        elif slot is Slot.EHLO and not good and not self.encrypted and self._endpoint.tls in {"none", "opportunistic"}:
            self._say(b"HELO " + self._endpoint.helo.encode() + b"\r\n", (Slot.HELO, None))
        elif not good and slot in {Slot.EHLO, Slot.HELO, Slot.STARTTLS, Slot.RSET}:
            self.closing = f"{slot.name} answered {reply.code} {reply.text}"
        elif slot is Slot.EHLO:
            self.extensions = {word.upper(): rest for word, _, rest in (line.strip().partition(" ") for line in reply.lines[1:])}
            self._greeted()
        elif slot is Slot.HELO:
            self._check_practice()
            self._authenticated()
        elif slot is Slot.STARTTLS:
            if self.expect:
                raise ProtocolError("replies behind the go-ahead for TLS")
            self.start_tls = True
        elif slot is Slot.AUTH:
            if not good:
                raise Fatal(f"the server refuses our credentials: {reply.code}")
            self._authenticated()
        elif slot is Slot.RSET and not self.expect:
            self._next(b"")

    def _check_practice(self) -> None:
        if self._practice is not None and (PRACTICE_KEYWORD in self.extensions) != self._practice:
            raise Fatal("the server is " + ("no practice post office" if self._practice else "a practice post office") + " any more")

    def _greeted(self) -> None:
        self._check_practice()
        if not self.encrypted and self._endpoint.tls in {"opportunistic", "starttls", "dane"}:
            if "STARTTLS" in self.extensions:
                self._say(b"STARTTLS\r\n", (Slot.STARTTLS, None))
                return
            if self._endpoint.tls != "opportunistic":
                raise Fatal("the server does not offer STARTTLS, which is required here")
        self.pipelining = self._allow_pipelining and "PIPELINING" in self.extensions
        if self._endpoint.credentials is not None:
            if not self.encrypted:
                raise Fatal("credentials are only sent over TLS")
            user, password = self._endpoint.credentials.reveal()
            self._say(b"AUTH PLAIN " + b64encode(f"\0{user}\0{password}".encode()) + b"\r\n", (Slot.AUTH, None))
            return
        self._authenticated()

    def _authenticated(self) -> None:
        self.greeted = True
        self._next(b"")
