"""The SMTP side of the practice post office: one small parser over the bytes as they come, built for pipelined senders.

EHLO announces PIPELINING, 8BITMIME, SIZE, ENHANCEDSTATUSCODES and X-TOCSIN-PRACTICE, by which a sender knows that it talks to a drill.
A message ends at CRLF.CRLF and nowhere else, and one with a bare line feed is refused, so that no second message can be smuggled in.
250 after the final dot means: the record is in the spool. Replies leave in the order of the commands, in one write per read.
Not offered, as nobody here needs it: STARTTLS, AUTH, CHUNKING, SMTPUTF8. Source: RFC 5321, 2920, 1870, 6152, 2034, 3463.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter as Tally
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tocsin.kernel import clock

from .personality import Personalities, Provider, reply

SIZE_MAX = 32 << 20
LINE_BYTES_MAX = 2_048
RECIPIENTS_MAX = 100
FAULTS_MAX = 50  # commands in error before a connection is closed
SESSIONS_MAX = 1_000
IDLE_S = 300.0
REMEMBERED_MAX = 500_000  # recipients whose first refusal is remembered; the oldest is forgotten first
TURNED_AWAY_SHOWN = 100  # of tries that went wrong, the latest

PRACTICE = "X-TOCSIN-PRACTICE"
NAME = "practice.post.example"
_PATH = re.compile(r"(?:MAIL FROM|RCPT TO):[ ]?<(?:@[^:<>\s]*:)?([^<>\s]*)>((?: [^\s]+)*) *", re.IGNORECASE)
_ADDRESS = re.compile(r"[^@\s]+@[A-Za-z0-9.\-\[\]:]+")

Accept = Callable[[int, str, Sequence[str], bytes], int]


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """A try that went wrong for a recipient: what happened (a fate, limit or rate), and what the sender heard ("" for nothing)."""

    at_us: int
    address: str
    provider: str
    what: str
    reply: str


class Counter:
    """The office's tally of replies, for the pages and the tests. `by_provider` counts (provider, "accepted" or what happened instead)."""

    __slots__ = ("accepted", "by_provider", "connections", "dropped", "refused", "turned_away")

    def __init__(self) -> None:
        self.accepted = self.refused = self.dropped = self.connections = 0
        self.by_provider: Tally[tuple[str, str]] = Tally()
        self.turned_away: deque[TurnedAway] = deque(maxlen=TURNED_AWAY_SHOWN)

    def away(self, provider: Provider, address: str, what: str, said: bytes = b"") -> None:
        """Note that a recipient got nothing this time, or that its sender did not hear that it did."""
        self.by_provider[(provider.name, what)] += 1
        text = said.decode("utf-8", "replace").replace("\r\n", " ").strip()
        self.turned_away.append(TurnedAway(clock.us(clock.now()), address, provider.name, what, text))


class Door:
    """What all sessions share: the personalities, what is remembered of earlier tries, and the way into the spool."""

    def __init__(self, personalities: Personalities, accept: Accept) -> None:
        self.personalities, self.accept = personalities, accept
        self.sessions: set[Session] = set()
        self.count = Counter()
        self._met: OrderedDict[str, float] = OrderedDict()
        self._rates: dict[str, tuple[float, float]] = {}  # by provider: what is left of a second's messages, and since when
        self._penalties: dict[str, float] = {}

    def over_rate(self, provider: Provider, now: float) -> bool:
        """Return whether a provider takes no message now, because more came than it takes or because it is still cross about that."""
        if self._penalties.get(provider.name, 0.0) > now:
            return True
        most = float(provider.rate_per_s_max)
        left, since = self._rates.get(provider.name, (most, now))
        left = min(most, left + (now - since) * most)
        if left < 1:
            self._penalties[provider.name] = now + provider.penalty_s
            return True
        self._rates[provider.name] = (left - 1, now)
        return False

    def first_try(self, key: str, now: float) -> float | None:
        """Return when this key was met first, or None and remember it now."""
        met = self._met.get(key)
        if met is None:
            self._met[key] = now
            if len(self._met) > REMEMBERED_MAX:
                self._met.popitem(last=False)
        return met

    def sweep(self, now: float) -> None:
        """Close sessions that have been silent too long."""
        for session in [s for s in self.sessions if now - s.heard > IDLE_S and not s.held]:
            session.close(b"421 4.4.2 Silent for too long, closing\r\n")


class Session(asyncio.Protocol):
    """One connection of a sender."""

    transport: asyncio.Transport

    def __init__(self, door: Door) -> None:
        self.door = door
        self.loop = asyncio.get_running_loop()
        self.heard = self.loop.time()
        self.held = False  # a reply is late on purpose: nothing more is read from the buffer until it has left
        self._buffer = bytearray()
        self._at = 0  # everything before this offset of the buffer is done with
        self._scan = 0  # in DATA: where the search for the final dot goes on
        self._out: list[bytes] = []
        self._greeted = self._in_data = self._skipping = self._closed = False
        self._faults = 0
        self._per_provider: dict[str, int] = {}
        self._reset()

    def _reset(self) -> None:
        self._sender: str | None = None
        self._recipients: list[str] = []
        self._fates: list[tuple[str, str, Provider]] = []

    # --- transport -------------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet, or turn away when the house is full."""
        self.transport = transport  # type: ignore[assignment]
        self.door.count.connections += 1
        if len(self.door.sessions) >= SESSIONS_MAX:
            self.close(b"421 4.3.2 Too many connections, come back later\r\n")
            return
        self.door.sessions.add(self)
        self.transport.write(b"220 " + NAME.encode() + b" ESMTP practice post office: nothing leaves this house\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the session."""
        self._closed = True
        self.door.sessions.discard(self)

    def pause_writing(self) -> None:
        """Read no more from a sender that does not read our replies."""
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on once it has read them."""
        if not self.held:
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Work through everything that is complete, then answer it in one write."""
        self.heard = self.loop.time()
        self._buffer += data
        if not self.held:
            self._work()

    def close(self, last: bytes = b"") -> None:
        """Send what is due and close in good order."""
        self._flush(last)
        self._closed = True
        self.transport.close()

    def _flush(self, last: bytes = b"") -> None:
        if last:
            self._out.append(last)
        if self._out:
            self.transport.write(b"".join(self._out))
            self._out.clear()

    def _hold(self, late: bytes, seconds: float) -> None:
        self._flush()
        self.held = True
        self.transport.pause_reading()
        self.loop.call_later(seconds, self._release, late)

    def _release(self, late: bytes) -> None:
        self.held = False
        if not self._closed:
            self._out.append(late)
            self.transport.resume_reading()
            self._work()

    # --- parsing ---------------------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while not self._closed and not self.held and (self._data() if self._in_data else self._line()):
            continue
        if self._closed:
            return
        if self._at:
            del self._buffer[:self._at]
            self._scan -= self._at
            self._at = 0
        self._flush()

    def _line(self) -> bool:
        """Take one command line; False when none is complete."""
        buffer, start = self._buffer, self._at
        end = buffer.find(b"\n", start)
        if end < 0:
            if len(buffer) - start > LINE_BYTES_MAX:
                self.close(b"500 5.5.2 Line too long\r\n")
            return False
        line = buffer[start:end].rstrip(b"\r").decode("utf-8", "replace") if end - start <= LINE_BYTES_MAX else ""
        self._at = end + 1
        verb = line[:4].upper()
        if verb == "RCPT":
            self._rcpt(line)
        elif verb == "MAIL":
            self._mail(line)
        elif verb == "DATA" and len(line.rstrip()) == 4:
            self._data_begins(end)
        else:
            self._other(verb, line)
        return True

    def _fault(self, text: bytes) -> None:
        self._faults += 1
        self.door.count.refused += 1
        self._out.append(text)
        if self._faults >= FAULTS_MAX:
            self.close(b"421 4.7.0 Too many errors on this connection\r\n")

    def _other(self, verb: str, line: str) -> None:
        say = self._out.append
        if verb in {"EHLO", "HELO"}:
            if len(line.split()) < 2:
                self._fault(b"501 5.5.4 Say your name\r\n")
                return
            self._reset()
            self._greeted = True
            lines = (NAME, "PIPELINING", "8BITMIME", f"SIZE {SIZE_MAX}", PRACTICE, "ENHANCEDSTATUSCODES") if verb == "EHLO" else (NAME,)
            say("".join(f"250{' ' if i == len(lines) - 1 else '-'}{text}\r\n" for i, text in enumerate(lines)).encode())
        elif verb == "RSET":
            self._reset()
            say(b"250 2.0.0 Forgotten\r\n")
        elif verb == "NOOP":
            say(b"250 2.0.0 Still here\r\n")
        elif verb == "QUIT":
            self.close(b"221 2.0.0 Good day\r\n")
        elif verb == "VRFY":
            say(b"252 2.5.1 Send it and see\r\n")
        elif verb == "HELP":
            say(b"214 2.0.0 EHLO MAIL RCPT DATA RSET NOOP VRFY QUIT\r\n")
        else:
            self._fault(b"500 5.5.2 Command not known here\r\n" if verb not in {"STAR", "AUTH", "BDAT"} else b"502 5.5.1 Not offered\r\n")

    def _mail(self, line: str) -> None:
        match = _PATH.fullmatch(line)
        if not self._greeted:
            self._fault(b"503 5.5.1 EHLO first\r\n")
        elif self._sender is not None:
            self._fault(b"503 5.5.1 A message is under way already\r\n")
        elif match is None or (match[1] and not _ADDRESS.fullmatch(match[1])):
            self._fault(b"501 5.1.7 Not a sender address\r\n")
        else:
            for parameter in match[2].split():
                key, _, value = parameter.upper().partition("=")
                if key == "SIZE" and value.isdigit():
                    if int(value) > SIZE_MAX:
                        self._fault(b"552 5.3.4 Too large for this house\r\n")
                        return
                elif not (key == "BODY" and value in {"7BIT", "8BITMIME"}):
                    self._fault(b"555 5.5.4 Parameter not known here\r\n")
                    return
            self._sender = match[1]
            self._out.append(b"250 2.1.0 Sender noted\r\n")

    def _rcpt(self, line: str) -> None:
        match = _PATH.fullmatch(line)
        if self._sender is None:
            self._fault(b"503 5.5.1 MAIL first\r\n")
        elif match is None or not _ADDRESS.fullmatch(match[1]):
            self._fault(b"501 5.1.3 Not a recipient address\r\n")
        elif match[2]:
            self._fault(b"555 5.5.4 Parameter not known here\r\n")
        elif len(self._recipients) >= RECIPIENTS_MAX:
            self._fault(b"452 4.5.3 Too many recipients\r\n")
        else:
            self._judge(match[1].lower())

    def _judge(self, address: str) -> None:
        """Answer RCPT as the provider of this recipient does."""
        door = self.door
        personalities = door.personalities
        provider = personalities.provider_of(address)
        seed = personalities.seed
        limit = provider.messages_per_connection_max
        fate = personalities.fate(address, provider)
        situation, seconds = "", 0.0
        if limit and self._per_provider.get(provider.name, 0) >= limit:
            situation = "limit"
        elif provider.rate_per_s_max and door.over_rate(provider, self.heard):
            situation, fate = "throttle", "rate"
        elif fate in {"unknown", "full"}:
            situation = fate
        elif fate == "greylist":
            met = door.first_try(f"greylist|{address}", self.heard)
            seconds = provider.greylist_s if met is None else provider.greylist_s - (self.heard - met)
            situation = "greylist" if met is None or seconds > 0 else ""
        elif fate == "throttle" and door.first_try(f"throttle|{address}", self.heard) is None:
            situation = "throttle"
        if situation:
            said = reply(provider, situation, seed=seed, address=address, seconds=seconds)
            door.count.refused += 1
            door.count.away(provider, address, "limit" if situation == "limit" else fate, said)
            if said.startswith(b"421"):
                self.close(said)
            else:
                self._out.append(said)
            return
        self._recipients.append(address)
        if limit or fate:
            self._fates.append((address, fate, provider))
        self._out.append(b"250 2.1.5 Recipient noted\r\n")

    def _data_begins(self, end: int) -> None:
        if self._sender is None:
            self._fault(b"503 5.5.1 MAIL first\r\n")
            return
        if not self._recipients and not self.door.personalities.data_when_no_recipient:
            self._out.append(b"554 5.5.1 No recipient was accepted\r\n")  # no fault of a pipelining sender
            return
        # The CRLF that ends the DATA line stays in the buffer: the final dot is then CRLF.CRLF even for an empty message.
        crlf = end > 0 and self._buffer[end - 1] == 13
        self._at = end - 1 if crlf else end
        if not crlf:
            self._buffer[end:end + 1] = b"\r\n"
        self._scan = self._at
        self._in_data, self._skipping = True, False
        self._out.append(b"354 Go on, end with a dot on a line of its own\r\n")

    def _data(self) -> bool:
        """Take one message; False when its final dot has not come."""
        buffer, start = self._buffer, self._at
        end = buffer.find(b"\r\n.\r\n", self._scan)
        if end < 0:
            if len(buffer) - start > SIZE_MAX or self._skipping:
                self._skipping = True
                self._at = max(start, len(buffer) - 4)
            self._scan = max(self._at, len(buffer) - 4)
            for address, fate, _ in self._fates:
                if fate == "cut" and len(buffer) - start > 2 and self.door.first_try(f"cut|{address}", self.heard) is None:
                    self._drop(address, fate)
            return False
        self._in_data = False
        self._at = end + 5
        if self._skipping or end - start > SIZE_MAX:
            self._fault(b"552 5.3.4 Too large for this house\r\n")
            self._reset()
            return True
        content = bytes(memoryview(buffer)[start:end + 2])
        self._message(content.replace(b"\r\n.", b"\r\n")[2:] if b"\r\n." in content else content[2:])
        return True

    def _drop(self, address: str, fate: str) -> None:
        """End the connection without the reply that is due, as lines and machines do."""
        self.door.count.dropped += 1
        self.door.count.away(self.door.personalities.provider_of(address), address, fate)
        self.close()

    def _message(self, content: bytes) -> None:
        sender, recipients, fates = self._sender or "", self._recipients, self._fates
        self._reset()
        door = self.door
        if not recipients:
            self._out.append(b"554 5.5.1 No recipient was accepted\r\n")
            return
        if content.count(b"\n") != content.count(b"\r\n"):
            self._fault(b"550 5.6.0 A line feed without carriage return stands in the message\r\n")
            return
        for address, fate, provider in fates:
            self._per_provider[provider.name] = self._per_provider.get(provider.name, 0) + 1
            if fate == "cut" and door.first_try(f"cut|{address}", self.heard) is None:
                self._drop(address, fate)
                return
            if fate == "refused":
                said = reply(provider, "refused", seed=door.personalities.seed, address=address)
                door.count.refused += 1
                door.count.away(provider, address, fate, said)
                self._out.append(said)
                return
        try:
            number = door.accept(clock.us(clock.now()), sender, recipients, content)
        except OSError:
            self._fault(b"452 4.3.1 No room in the spool\r\n")
            return
        door.count.accepted += 1
        for address in recipients:
            door.count.by_provider[(door.personalities.provider_of(address).name, "accepted")] += 1
        for address, fate, provider in fates:
            if fate == "lost_reply" and door.first_try(f"lost|{address}", self.heard) is None:
                self._drop(address, fate)
                return
            if fate == "slow":
                self._hold(b"250 2.0.0 Kept as %d\r\n" % number, provider.slow_s)
                return
        self._out.append(b"250 2.0.0 Kept as %d\r\n" % number)
