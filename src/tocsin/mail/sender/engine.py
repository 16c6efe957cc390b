"""The engine of one run: sockets, TLS, pace, lease, stop, journal; one thread, one selector.

A turn: renew the lease if due; poll the stop flag; take in all replies that have come; begin messages; write the journal once; only then
send. What is durable: when bytes of a final dot leave, its intent is in the system's hands; when an outcome is yielded, its done is.
A crash at any point leaves at most one open intent per connection, because a connection has at most one content unanswered.

One run may lead to one server (a relay) or to many (direct): each destination is a site with its own queue, connections and troubles. With
one, its trouble ends the run; with many, it puts off those who wait for that site and nobody else.

After SIGSTOP or a cut-off machine the lease may be somebody else's. The age of the last renewal is checked right before sending, on a clock
that also counts a suspended machine's time and that nobody can set: over LEASE_AGE_S_MAX it is renewed first, and what the renewal raises
ends the run unsent. So whoever raised the fence may rely on it that LEASE_AGE_S_MAX later the holder before it sends nothing. The first
renewal comes before the first message, when the journal's lock can be seen already (`journal.is_being_written`).
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import ssl
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator

from tocsin.kernel import clock
from tocsin.kernel.errors import BadInput, Unavailable
from tocsin.mail.port import Journal
from tocsin.mail.types import LEASE_AGE_S_MAX, Envelope, Outcome, OutcomeKind, Pace

from . import dane
from .connection import Dialogue, Endpoint, Fatal, Message, Route, Router, Site, Slot, Timeouts, Undeliverable
from .replies import ProtocolError, Reply, ReplyParser

RENEW_S = 5.0
TURN_S_MAX = 0.25
EXPIRE_S = 0.1  # how often time-outs are looked at
STOP_WAIT_S = 5.0  # for the answers to contents already sent
TRIES_MAX = 3  # connections that may end before a message's content was sent
FRUITLESS_MAX = 6  # connections in a row that brought no answer to any message
MAIL_REFUSALS_MAX = 10  # refusals of our sender in a row
BURST_S = 0.1  # the token bucket holds so much of a second
RECEIVE_BYTES = 65_536
CONNECTIONS_MAX = 1000
AHEAD_MAX = 2_000  # messages taken in before their turn where they go to many sites: a slow site must not hold up the others
AHEAD_A_TURN = 64
LOOKING_S = 0.02  # how soon a way that is being looked up is asked for again
CANDIDATES_MIN = 2  # tries at a site with one address. Source: RFC 5321 s5.1 (at least two)
PORT = "mail transport"


class Connection:
    """A socket with its dialogue."""

    def __init__(self, sock: socket.socket, endpoint: Endpoint, dialogue: Dialogue, now: float) -> None:
        self.sock: socket.socket | ssl.SSLSocket = sock
        self.endpoint, self.dialogue, self.site = endpoint, dialogue, dialogue.site
        self.parser = ReplyParser()
        self.connected = False
        self.handshaking = False
        self.writing = False  # the selector waits for room to write
        self.buffer = b""
        self.sent_bytes = 0
        self.tried_bytes = 0  # under TLS a try that failed may still have put the bytes into a record
        self.progress_at = now

    def is_out(self, message: Message) -> bool:
        """Return whether the server may have seen the message's final dot; its last two bytes (CR LF) may be missing."""
        return message.dot_at >= 0 and max(self.sent_bytes, self.tried_bytes) >= message.dot_at - 2


class Lone:
    """The router of a run over one endpoint."""

    lone = True

    def __init__(self, endpoint: Endpoint) -> None:
        self._route = Route(f"{endpoint.host}:{endpoint.port}", (endpoint,))

    def route(self, envelope: Envelope) -> Route:
        """Return the one way."""
        return self._route


class Engine:
    """One run, over one site or many. Call `run` once."""

    def __init__(self, router: Router, timeouts: Timeouts, envelopes: Iterable[Envelope], *, pace: Pace, journal: Journal,
                 renew: Callable[[], None], stopped: Callable[[], bool], practice: bool | None) -> None:
        if not 0 < pace.connections <= CONNECTIONS_MAX or pace.messages_per_connection < 1 or pace.rate_per_s <= 0:
            raise BadInput.of("pace", pace, f"1 to {CONNECTIONS_MAX} connections, a positive rate, at least one message per connection")
        self._router, self._timeouts, self._pace, self._journal, self._practice = router, timeouts, pace, journal, practice
        self._lone = router.lone
        self._renew, self._stopped = renew, stopped
        self._envelopes = iter(envelopes)
        self._sites: dict[Route, Site] = {}
        self._looking: deque[Envelope] = deque()  # their way is being looked up
        self._exhausted = False
        self._outcomes: list[Outcome] = []
        self._connections: set[Connection] = set()
        self._selector = selectors.DefaultSelector()
        self._now = clock.monotonic()
        self._at_us = 0
        self._renewed_at = float("-inf")
        self._stop_by: float | None = None
        self._expire_at = self._now + EXPIRE_S
        self._tokens, self._tokens_at, self._tokens_max = 1.0, self._now, max(1.0, pace.rate_per_s * BURST_S)
        self._verified: dict[str | None, ssl.SSLContext] = {}  # by file of authorities
        self._unverified: ssl.SSLContext | None = None
        self._sessions: dict[tuple[str, int, str], ssl.SSLSession] = {}  # by host, port, kind of TLS

    # -- the loop ------------------------------------------------------------------------------------------------------------

    def run(self) -> Iterator[Outcome]:
        """Send everything and yield outcomes. Raises Unavailable, and whatever `renew` raises; closes all its sockets however it ends."""
        try:
            while True:
                self._now = clock.monotonic()
                self._keep_lease(RENEW_S)
                self._poll_stop()
                if not self._lone and self._stop_by is None:
                    self._draw(AHEAD_A_TURN)
                self._open()
                self._offer()
                self._write()
                if self._outcomes:
                    outcomes, self._outcomes = self._outcomes, []
                    yield from outcomes
                if not self._connections and (self._stop_by is not None or not self._any_left()):
                    return
                events = self._selector.select(self._patience())
                self._now = clock.monotonic()
                self._at_us = clock.now_us()
                self._poll_stop()
                for key, mask in events:
                    if key.data in self._connections:
                        self._handle(key.data, mask)
                if self._now >= self._expire_at:
                    self._expire_at = self._now + EXPIRE_S
                    self._expire()
        finally:
            for connection in list(self._connections):
                self._close(connection)
            self._selector.close()

    def _keep_lease(self, age_s: float) -> None:
        now = clock.awake()
        if now - self._renewed_at >= age_s:
            self._renew()
            self._renewed_at = now  # of before the call: the database must not think it older than we do

    def _poll_stop(self) -> None:
        if self._stop_by is None:
            if not self._stopped():
                return
            self._stop_by = self._now + STOP_WAIT_S
        for connection in list(self._connections):
            # What is not yet out stays in: an unfinished content is no message for the server.
            waits = any(slot is Slot.FINAL and m and connection.is_out(m) for slot, m in connection.dialogue.expect)
            if self._now >= self._stop_by or not waits:
                self._lost(connection, "stopped")

    def _patience(self) -> float:
        wait = TURN_S_MAX
        if self._tokens < 1:
            wait = min(wait, (1 - self._tokens) / self._pace.rate_per_s)
        if self._looking or (not self._lone and not self._exhausted):
            wait = min(wait, LOOKING_S)
        if not self._connections:
            waits = [site.open_after - self._now for site in self._sites.values() if site.waiting and site.open_after > self._now]
            wait = min([wait, *waits])
        return wait

    # -- messages ------------------------------------------------------------------------------------------------------------

    def _draw(self, most: int) -> None:
        """Take up to `most` messages in, each to its site; look again after those whose way was not known yet."""
        for _ in range(len(self._looking)):
            self._place(self._looking.popleft())
        room = AHEAD_MAX - len(self._looking) - sum(len(site.waiting) for site in self._sites.values()) if not self._lone else 1
        for _ in range(min(most, room)):
            envelope = next(self._envelopes, None)
            if envelope is None:
                self._exhausted = True
                return
            self._place(envelope)

    def _place(self, envelope: Envelope) -> None:
        way = self._router.route(envelope)
        if way is None:
            self._looking.append(envelope)
        elif isinstance(way, Undeliverable):
            self._at_us = clock.now_us()
            self.outcome(Message(envelope, Site(_NOWHERE)), way.kind, 0, way.enhanced, way.text)
        else:
            site = self._sites.get(way)
            if site is None:
                site = self._sites[way] = Site(way)
            site.waiting.append(Message(envelope, site))

    def _peek(self, site: Site) -> bool:
        if self._lone and not site.waiting and not self._exhausted:
            self._draw(1)
        return bool(site.waiting)

    def _any_left(self) -> bool:
        return not self._exhausted or bool(self._looking) or any(site.waiting for site in self._sites.values())

    def _token(self) -> bool:
        if self._tokens < self._tokens_max and self._now > self._tokens_at:
            self._tokens = min(self._tokens_max, self._tokens + (self._now - self._tokens_at) * self._pace.rate_per_s)
        self._tokens_at = self._now
        return self._tokens >= 1

    def take(self, connection: Dialogue) -> Message | None:
        """Give a connection its next message, within its cap and our rate."""
        site = connection.site
        if self._stop_by is not None or connection.closing or connection.started >= self._messages_max(site):
            return None
        if not self._peek(site) or not self._token():
            return None
        self._tokens -= 1
        return site.waiting.popleft()

    def _messages_max(self, site: Site) -> int:
        own = site.route.messages_per_connection
        return min(own, self._pace.messages_per_connection) if own else self._pace.messages_per_connection

    def may_send_content(self) -> bool:
        """Return whether contents may still go out."""
        return self._stop_by is None

    def intent(self, message: Message) -> None:
        """Note the intent in the journal, for the write of this turn."""
        self._journal.intent(message.envelope.n)

    def outcome(self, message: Message, kind: OutcomeKind, code: int, enhanced: str, text: str) -> None:
        """Note the end of a message in the journal and keep it for the caller."""
        n = message.envelope.n
        if kind != "in_doubt":
            self._journal.done(n, kind, code, enhanced, self._at_us)
        if code:
            message.site.fruitless = 0
        self._outcomes.append(Outcome(n, kind, code, enhanced, text, self._at_us))

    def mail_answered(self, message: Message, *, accepted: bool, reply: Reply) -> None:
        """Count refusals of our sender in a row: they are about us, so they end the site instead of the block's recipients."""
        site = message.site
        site.mail_refusals = 0 if accepted else site.mail_refusals + 1
        if not accepted:
            site.trouble, site.untrusted = f"MAIL answered {reply.code} {reply.text}", False

    def _put_back(self, message: Message, why: str) -> None:
        message.tries += 1
        message.failure, message.dot_at = None, -1
        if message.tries >= TRIES_MAX and self._stop_by is None:
            n, code = message.envelope.n, int(why[:3]) if why[:3].isdigit() else 0
            self._outcomes.append(Outcome(n, "deferred", code, "", f"given up after {TRIES_MAX} connections: {why}", self._at_us))
            self._journal.done(n, "deferred", code, "", self._at_us)
        else:
            message.site.waiting.append(message)

    def _offer(self) -> None:
        for site in self._sites.values():
            if site.mail_refusals >= MAIL_REFUSALS_MAX:
                self._give_up(site, f"{site.mail_refusals} refusals of our sender in a row: {site.trouble}")
        for connection in self._connections:
            dialogue = connection.dialogue
            if dialogue.ready:
                dialogue.advance()
                if dialogue.ready and (dialogue.started >= self._messages_max(connection.site) or not self._peek(connection.site)):
                    dialogue.quit()
                    connection.progress_at = self._now

    def _give_up(self, site: Site, why: str) -> None:
        """End a site that cannot be used now: with one for everybody the run, with many only what waits for it."""
        if self._lone:
            raise Unavailable(PORT, why)
        enhanced = "4.7.5" if site.untrusted else "4.4.1"  # Source: RFC 7372 and IANA (cryptographic failure); RFC 3463 (no answer)
        self._at_us = clock.now_us()
        while site.waiting:
            self.outcome(site.waiting.popleft(), "deferred", 0, enhanced, f"{site.route.name}: {why}")

    # -- connections ---------------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Open connections: at each site one, then as many more as are already in use, so that a single message needs a single one."""
        if self._stop_by is not None:
            return
        if self._lone and not self._sites:
            self._draw(1)
        held = Counter(c.site.route.receiver for c in self._connections) if not self._lone else {}
        for site in self._sites.values():
            if self._now >= site.open_after and len(self._connections) < self._pace.connections and self._peek(site):
                self._open_site(site, held)

    def _open_site(self, site: Site, held: dict[str, int]) -> None:
        own = [c for c in self._connections if c.site is site]
        greeted = sum(c.dialogue.greeted for c in own)
        if site.fruitless >= self._tries_max(site) and not greeted:
            self._give_up(site, f"{site.route.name}: {site.fruitless} connections came to nothing, last: {site.trouble}" if self._lone
                          else f"no connection: {site.trouble}")
            return
        route = site.route
        room = min(self._pace.connections - len(self._connections), max(1, greeted) - (len(own) - greeted))
        if route.connections:
            room = min(room, route.connections - held.get(route.receiver, 0))
        if len(self._sites) > 1:  # a large site leaves room for the small ones behind it
            room = min(room, max(1, self._pace.connections // 2) - len(own))
        if room > 0 and not any(c.dialogue.ready for c in own) and self._token():
            for _ in range(room):
                self._connect(site)
            held[route.receiver] = held.get(route.receiver, 0) + room

    def _tries_max(self, site: Site) -> int:
        return FRUITLESS_MAX if self._lone else min(FRUITLESS_MAX, max(CANDIDATES_MIN, len(site.candidates)))

    def _connect(self, site: Site) -> None:
        if not site.candidates:
            site.candidates = [(e, family, address) for e in site.route.endpoints for family, address in _addresses(e)]
        endpoint, family, address = site.candidates[site.at % len(site.candidates)]
        sock = socket.socket(socket.AddressFamily(family), socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        dialogue = Dialogue(endpoint, self, site, practice=self._practice, encrypted=endpoint.tls == "implicit",
                            pipelining=site.pipelining and endpoint.pipelining)
        connection = Connection(sock, endpoint, dialogue, self._now)
        self._connections.add(connection)
        self._selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE, connection)
        connection.writing = True
        fault = sock.connect_ex(address)
        if fault not in (0, errno.EINPROGRESS):
            self._lost(connection, f"connect: {errno.errorcode.get(fault, fault)}")

    def _handle(self, connection: Connection, mask: int) -> None:
        try:
            if not connection.connected:
                fault = connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if fault:
                    self._lost(connection, f"connect: {errno.errorcode.get(fault, fault)}")
                    return
                connection.connected, connection.progress_at = True, self._now
                self._watch(connection, writing=False)
                if connection.endpoint.tls == "implicit":
                    self._secure(connection)
            if connection.handshaking:
                self._shake(connection)
            elif mask & selectors.EVENT_READ:
                self._receive(connection)
        except OSError as e:
            self._lost(connection, str(e) or type(e).__name__, untrusted=isinstance(e, ssl.SSLError))
        except ProtocolError as e:
            if connection.dialogue.pipelining:
                connection.site.pipelining = False  # out of step: one command at a time it may still be understood
            self._lost(connection, str(e))
        except dane.Mismatch as e:
            self._lost(connection, str(e), untrusted=True)
        except Fatal as e:
            if self._lone:
                raise Unavailable(PORT, str(e)) from None
            self._lost(connection, str(e), untrusted=True)

    def _receive(self, connection: Connection) -> None:
        dialogue = connection.dialogue
        while True:
            try:
                data = connection.sock.recv(RECEIVE_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            if not data:
                raise ConnectionError(dialogue.closing or "the server closed the connection")
            connection.progress_at = self._now
            for reply in connection.parser.feed(data):
                if reply.code < 300 and dialogue.expect and dialogue.expect[0][0] is Slot.FINAL:
                    message = dialogue.expect[0][1]
                    if message is not None and not connection.is_out(message):  # believed, it would lose the message
                        raise ProtocolError("the server took a content that it was not given yet")
                dialogue.receive(reply)
                if dialogue.closing:
                    self._lost(connection, dialogue.closing)
                    return
            if connection.parser.fault is not None:
                raise connection.parser.fault
            if dialogue.start_tls:
                self._flush(connection)
                self._secure(connection)
                return
            if len(data) < RECEIVE_BYTES and not isinstance(connection.sock, ssl.SSLSocket):
                return

    def _secure(self, connection: Connection) -> None:
        endpoint, context = connection.endpoint, self._context(connection.endpoint)
        self._selector.unregister(connection.sock)
        connection.parser = ReplyParser()  # nothing that came before TLS may count after it
        connection.sock = context.wrap_socket(connection.sock, server_hostname=endpoint.host, do_handshake_on_connect=False,
                                              session=self._sessions.get((endpoint.host, endpoint.port, endpoint.tls)))
        self._selector.register(connection.sock, selectors.EVENT_READ, connection)
        connection.handshaking, connection.writing = True, False
        self._shake(connection)

    def _context(self, endpoint: Endpoint) -> ssl.SSLContext:
        if endpoint.tls in {"starttls", "implicit"}:
            if endpoint.ca_file not in self._verified:
                self._verified[endpoint.ca_file] = ssl.create_default_context(cafile=endpoint.ca_file)
            return self._verified[endpoint.ca_file]
        if self._unverified is None:
            # RFC 7435: better than none; whoever can tamper could as well hide the offer. DANE looks at the certificate after the handshake.
            self._unverified = ssl.create_default_context()
            self._unverified.check_hostname, self._unverified.verify_mode = False, ssl.CERT_NONE
        return self._unverified

    def _shake(self, connection: Connection) -> None:
        sock = connection.sock
        if not isinstance(sock, ssl.SSLSocket):
            return
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            self._watch(connection, writing=False)
            return
        except ssl.SSLWantWriteError:
            self._watch(connection, writing=True)
            return
        # A resumed session is one whose first handshake was looked at: only such sessions are kept.
        if connection.endpoint.tlsa and not sock.session_reused:
            endpoint = connection.endpoint
            dane.require(endpoint.tlsa, chain_shown(sock), names=(endpoint.host, endpoint.domain), at=clock.now())
        connection.handshaking, connection.progress_at = False, self._now
        self._watch(connection, writing=False)
        if connection.endpoint.tls != "implicit":
            connection.dialogue.secured()
        self._receive(connection)  # the layer below may have read ahead

    def _watch(self, connection: Connection, *, writing: bool) -> None:
        if connection.writing != writing:
            connection.writing = writing
            self._selector.modify(connection.sock, selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0), connection)

    # -- writing -------------------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        """Put this turn's notes into the journal, then, and only then, send."""
        self._journal.flush()
        for connection in list(self._connections):
            if connection.connected and not connection.handshaking and (connection.buffer or connection.dialogue.out):
                try:
                    self._flush(connection)
                except OSError as e:
                    self._lost(connection, str(e) or type(e).__name__)
        self._journal.flush()  # voids and outcomes of connections lost just now

    def _flush(self, connection: Connection) -> None:
        if connection.dialogue.out:
            connection.buffer = b"".join([connection.buffer, *connection.dialogue.out])
            connection.dialogue.out.clear()
        if isinstance(connection.sock, ssl.SSLSocket):
            connection.tried_bytes = connection.sent_bytes + len(connection.buffer)
        try:
            while connection.buffer:
                self._keep_lease(LEASE_AGE_S_MAX)  # here, and not once a turn: it may freeze between two connections
                taken = connection.sock.send(connection.buffer)
                connection.sent_bytes += taken
                connection.buffer = connection.buffer[taken:]
                connection.progress_at = self._now
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            self._watch(connection, writing=True)
            return
        self._watch(connection, writing=False)

    # -- ends ----------------------------------------------------------------------------------------------------------------

    def _limit(self, connection: Connection) -> float:
        """Return the seconds after which a connection without progress is given up."""
        t = self._timeouts
        if not connection.connected:
            return t.connect
        if connection.handshaking:
            return t.command
        if connection.buffer:
            return t.block
        slot = connection.dialogue.expect[0][0] if connection.dialogue.expect else None
        return {Slot.GREETING: t.greeting, Slot.DATA: t.data, Slot.FINAL: t.final, Slot.LONE_DOT: t.final, Slot.QUIT: t.quit,
                None: float("inf")}.get(slot, t.command)

    def _expire(self) -> None:
        for connection in list(self._connections):
            limit = self._limit(connection)
            if self._now - connection.progress_at < limit:
                continue
            slots = [slot for slot, _ in connection.dialogue.expect]
            if connection.dialogue.pipelining and slots and slots[0] in {Slot.RCPT, Slot.DATA}:
                connection.site.pipelining = False  # it took MAIL and then nothing: it offered PIPELINING and lost what came behind
            waited_for = slots[0].name if slots else "connect"
            self._lost(connection, f"no answer for {limit:.0f} s ({waited_for if connection.connected else 'connect'})")

    def _lost(self, connection: Connection, why: str, *, untrusted: bool = False) -> None:
        """Close a connection and settle its messages: known failures end, sent contents are in doubt, the rest is put back."""
        self._at_us = self._at_us or clock.now_us()
        dialogue = connection.dialogue
        quiet = why == "done" or bool(dialogue.expect and dialogue.expect[0][0] is Slot.QUIT) or (dialogue.greeted and not dialogue.expect)
        settled: set[int] = set()
        for slot, message in dialogue.expect:
            if message is None or message.envelope.n in settled:
                continue
            settled.add(message.envelope.n)
            if message.failure is not None:
                failed = message.failure
                kind: OutcomeKind = "bounced" if failed.code >= 500 and message.failure_slot is not Slot.MAIL else "deferred"
                self.outcome(message, kind, failed.code, failed.enhanced, f"{failed.text} (in reply to {message.failure_slot.name})")
            elif slot is Slot.FINAL and connection.is_out(message):
                self.outcome(message, "in_doubt", 0, "", f"no reply to the content: {why}")
            else:
                if slot is Slot.FINAL:
                    self._journal.void(message.envelope.n)
                self._put_back(message, why)
        if not dialogue.outcomes and not quiet and self._stop_by is None:
            site = connection.site
            site.fruitless += 1
            site.at += 1
            site.trouble, site.untrusted = why, untrusted
            # The next of several addresses is tried at once (RFC 5321 s5.1).
            again = self._lone or site.fruitless >= len(site.candidates)
            site.open_after = self._now + (min(30.0, self._timeouts.retry * 2 ** (site.fruitless - 1)) if again else 0.0)
        self._close(connection)

    def _close(self, connection: Connection) -> None:
        self._connections.discard(connection)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(connection.sock)
        if isinstance(connection.sock, ssl.SSLSocket) and not connection.handshaking:
            session, endpoint = connection.sock.session, connection.endpoint
            if session is not None:
                self._sessions[(endpoint.host, endpoint.port, endpoint.tls)] = session
        with contextlib.suppress(OSError):
            connection.sock.close()


_NOWHERE = Route("", ())


def _addresses(endpoint: Endpoint) -> list[tuple[int, tuple[object, ...]]]:
    """Return address families and addresses of an endpoint, in the order to be tried. Raises Unavailable if its name leads nowhere."""
    if endpoint.addresses:
        return [(socket.AF_INET6, (a, endpoint.port, 0, 0)) if ":" in a else (socket.AF_INET, (a, endpoint.port)) for a in endpoint.addresses]
    try:
        found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except OSError as e:
        raise Unavailable(PORT, f"the name {endpoint.host} has no address: {e}") from e
    return [(family, address) for family, _, _, _, address in found]


def chain_shown(sock: ssl.SSLSocket) -> list[bytes]:
    """Return the certificates that the server showed, its own first, in DER."""
    # Public from Python 3.13 on; before that, the object behind the socket has it.
    shown = getattr(sock, "get_unverified_chain", None)
    if shown is not None:
        return [bytes(c) for c in shown()]
    return [c.public_bytes(2) for c in getattr(sock, "_sslobj").get_unverified_chain() or ()]  # noqa: B009  # 2: DER
