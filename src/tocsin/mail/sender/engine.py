"""The engine of one run: sockets, TLS, pace, lease, stop, journal; one thread, one selector.

A turn: renew the lease if due; poll the stop flag; take in all replies that have come; begin messages; write the journal once; only then
send. What is durable: when bytes of a final dot leave, its intent is in the system's hands; when an outcome is yielded, its done is.
A crash at any point leaves at most one open intent per connection, because a connection has at most one content unanswered.

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
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from tocsin.kernel import clock
from tocsin.kernel.errors import BadInput, Unavailable
from tocsin.mail.port import Journal
from tocsin.mail.types import LEASE_AGE_S_MAX, Envelope, Outcome, OutcomeKind, Pace

from .connection import Dialogue, Endpoint, Fatal, Message, Slot, Timeouts
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
PORT = "mail transport"


class Connection:
    """A socket with its dialogue."""

    def __init__(self, sock: socket.socket, dialogue: Dialogue, now: float) -> None:
        self.sock: socket.socket | ssl.SSLSocket = sock
        self.dialogue = dialogue
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


class Engine:
    """One run over one endpoint. Call `run` once."""

    def __init__(self, endpoint: Endpoint, timeouts: Timeouts, envelopes: Iterable[Envelope], *, pace: Pace, journal: Journal,
                 renew: Callable[[], None], stopped: Callable[[], bool], practice: bool | None) -> None:
        if not 0 < pace.connections <= CONNECTIONS_MAX or pace.messages_per_connection < 1 or pace.rate_per_s <= 0:
            raise BadInput.of("pace", pace, f"1 to {CONNECTIONS_MAX} connections, a positive rate, at least one message per connection")
        self._endpoint, self._timeouts, self._pace, self._journal, self._practice = endpoint, timeouts, pace, journal, practice
        self._renew, self._stopped = renew, stopped
        self._envelopes = iter(envelopes)
        self._waiting: deque[Message] = deque()  # put back, or peeked at
        self._exhausted = False
        self._outcomes: list[Outcome] = []
        self._connections: set[Connection] = set()
        self._selector = selectors.DefaultSelector()
        self._now = clock.monotonic()
        self._at_us = 0
        self._renewed_at = float("-inf")
        self._stop_by: float | None = None
        self._expire_at = self._now + EXPIRE_S
        self._tokens, self._tokens_at = 1.0, self._now
        self._fruitless, self._open_after = 0, 0.0
        self._mail_refusals = 0
        self._last_trouble = ""
        self._pipelining = endpoint.pipelining
        self._addresses: list[tuple[socket.AddressFamily, tuple[object, ...]]] = []
        self._address_at = 0
        self._tls: ssl.SSLContext | None = None
        self._session: ssl.SSLSession | None = None

    # -- the loop ------------------------------------------------------------------------------------------------------------

    def run(self) -> Iterator[Outcome]:
        """Send everything and yield outcomes. Raises Unavailable, and whatever `renew` raises; closes all its sockets however it ends."""
        try:
            while True:
                self._now = clock.monotonic()
                self._keep_lease(RENEW_S)
                self._poll_stop()
                self._open()
                self._offer()
                self._write()
                if self._outcomes:
                    outcomes, self._outcomes = self._outcomes, []
                    yield from outcomes
                if not self._connections and (self._stop_by is not None or not self._peek()):
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
        if self._open_after > self._now and not self._connections:
            wait = min(wait, self._open_after - self._now)
        return wait

    # -- messages ------------------------------------------------------------------------------------------------------------

    def _peek(self) -> bool:
        if not self._waiting and not self._exhausted:
            envelope = next(self._envelopes, None)
            if envelope is None:
                self._exhausted = True
            else:
                self._waiting.append(Message(envelope))
        return bool(self._waiting)

    def _token(self) -> bool:
        rate = self._pace.rate_per_s
        self._tokens = min(max(1.0, rate * BURST_S), self._tokens + (self._now - self._tokens_at) * rate)
        self._tokens_at = self._now
        return self._tokens >= 1

    def take(self, connection: Dialogue) -> Message | None:
        """Give a connection its next message, within its cap and our rate."""
        if self._stop_by is not None or connection.closing or connection.started >= self._pace.messages_per_connection:
            return None
        if not self._peek() or not self._token():
            return None
        self._tokens -= 1
        return self._waiting.popleft()

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
            self._fruitless = 0
        self._outcomes.append(Outcome(n, kind, code, enhanced, text, self._at_us))

    def mail_answered(self, *, accepted: bool, reply: Reply) -> None:
        """Count refusals of our sender in a row: they are about us, so they end the run instead of the block's recipients."""
        self._mail_refusals = 0 if accepted else self._mail_refusals + 1
        if not accepted:
            self._last_trouble = f"MAIL answered {reply.code} {reply.text}"

    def _put_back(self, message: Message, why: str) -> None:
        message.tries += 1
        message.failure, message.dot_at = None, -1
        if message.tries >= TRIES_MAX and self._stop_by is None:
            n, code = message.envelope.n, int(why[:3]) if why[:3].isdigit() else 0
            self._outcomes.append(Outcome(n, "deferred", code, "", f"given up after {TRIES_MAX} connections: {why}", self._at_us))
            self._journal.done(n, "deferred", code, "", self._at_us)
        else:
            self._waiting.append(message)

    def _offer(self) -> None:
        if self._mail_refusals >= MAIL_REFUSALS_MAX:
            raise Unavailable(PORT, f"{self._mail_refusals} refusals of our sender in a row: {self._last_trouble}")
        for connection in self._connections:
            dialogue = connection.dialogue
            if dialogue.ready:
                dialogue.advance()
                if dialogue.ready and (dialogue.started >= self._pace.messages_per_connection or not self._peek()):
                    dialogue.quit()
                    connection.progress_at = self._now

    # -- connections ---------------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Open connections: one, then as many more as are already in use, so that a single message needs a single connection."""
        if self._stop_by is not None or self._now < self._open_after:
            return
        if self._fruitless >= FRUITLESS_MAX and not any(c.dialogue.greeted for c in self._connections):
            raise Unavailable(PORT, f"{self._endpoint.host}:{self._endpoint.port}: {self._fruitless} connections came to nothing, last: "
                                    f"{self._last_trouble}")
        greeted = sum(c.dialogue.greeted for c in self._connections)
        room = min(self._pace.connections - len(self._connections), max(1, greeted) - (len(self._connections) - greeted))
        if room > 0 and self._peek() and not any(c.dialogue.ready for c in self._connections) and self._token():
            for _ in range(room):
                self._connect()

    def _connect(self) -> None:
        if not self._addresses:
            try:
                found = socket.getaddrinfo(self._endpoint.host, self._endpoint.port, type=socket.SOCK_STREAM)
            except OSError as e:
                raise Unavailable(PORT, f"the name {self._endpoint.host} has no address: {e}") from e
            self._addresses = [(family, address) for family, _, _, _, address in found]
        family, address = self._addresses[self._address_at % len(self._addresses)]
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        dialogue = Dialogue(self._endpoint, self, practice=self._practice, encrypted=self._endpoint.tls == "implicit",
                            pipelining=self._pipelining)
        connection = Connection(sock, dialogue, self._now)
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
                if self._endpoint.tls == "implicit":
                    self._secure(connection)
            if connection.handshaking:
                self._shake(connection)
            elif mask & selectors.EVENT_READ:
                self._receive(connection)
        except (OSError, ProtocolError) as e:
            self._lost(connection, str(e) or type(e).__name__)
        except Fatal as e:
            raise Unavailable(PORT, str(e)) from None

    def _receive(self, connection: Connection) -> None:
        dialogue = connection.dialogue
        while True:
            try:
                data = connection.sock.recv(RECEIVE_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            if not data:
                raise ProtocolError(dialogue.closing or "the server closed the connection")
            connection.progress_at = self._now
            for reply in connection.parser.feed(data):
                dialogue.receive(reply)
                if dialogue.closing:
                    self._lost(connection, dialogue.closing)
                    return
            if dialogue.start_tls:
                self._flush(connection)
                self._secure(connection)
                return
            if len(data) < RECEIVE_BYTES and not isinstance(connection.sock, ssl.SSLSocket):
                return

    def _secure(self, connection: Connection) -> None:
        if self._tls is None:
            self._tls = ssl.create_default_context(cafile=self._endpoint.ca_file)
            if self._endpoint.tls == "opportunistic":  # RFC 7435: better than none; whoever can tamper could as well hide the offer
                self._tls.check_hostname, self._tls.verify_mode = False, ssl.CERT_NONE
        self._selector.unregister(connection.sock)
        connection.parser = ReplyParser()  # nothing that came before TLS may count after it
        connection.sock = self._tls.wrap_socket(connection.sock, server_hostname=self._endpoint.host, do_handshake_on_connect=False,
                                                session=self._session)
        self._selector.register(connection.sock, selectors.EVENT_READ, connection)
        connection.handshaking, connection.writing = True, False
        self._shake(connection)

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
        connection.handshaking, connection.progress_at = False, self._now
        self._watch(connection, writing=False)
        if self._endpoint.tls != "implicit":
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
        self._keep_lease(LEASE_AGE_S_MAX)
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
                self._pipelining = False  # it took MAIL and then nothing: it offered PIPELINING and lost what came behind
            waited_for = slots[0].name if slots else "connect"
            self._lost(connection, f"no answer for {limit:.0f} s ({waited_for if connection.connected else 'connect'})")

    def _lost(self, connection: Connection, why: str) -> None:
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
            self._fruitless += 1
            self._address_at += 1
            self._open_after = self._now + min(30.0, self._timeouts.retry * 2 ** (self._fruitless - 1))
            self._last_trouble = why
        self._close(connection)

    def _close(self, connection: Connection) -> None:
        self._connections.discard(connection)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(connection.sock)
        if isinstance(connection.sock, ssl.SSLSocket) and not connection.handshaking:
            self._session = connection.sock.session or self._session
        with contextlib.suppress(OSError):
            connection.sock.close()
