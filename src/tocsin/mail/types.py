"""Values of the mail room that cross its wall. Pure: no clock, no I/O.

`Recipient`, `Outcome` and `Envelope` are named tuples, not dataclasses: one of each is made per message, and at 24 million a frozen
dataclass costs three times as much (1.4 us against 0.45 us measured).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, NamedTuple

from tocsin.kernel.errors import Fault
from tocsin.kernel.private import Private

from .shaping.families import OTHER, receiver_of
from .shaping.policy import Limits as LaneLimits
from .shaping.policy import Memory as LaneMemory
from .shaping.policy import Said as Heard
from .shaping.policy import Shape, Verdict

__all__ = ["OTHER", "Heard", "LaneLimits", "LaneMemory", "Shape", "Verdict", "receiver_of"]  # of the shaping folder, for those outside

Reach = Literal["loopback", "world"]
OutcomeKind = Literal["handed_over", "deferred", "bounced", "in_doubt"]
LEASE_AGE_S_MAX = 10.0  # a sender whose last renewal is older renews before its next message; take-over begins at 15 s without a heartbeat


@dataclass(frozen=True, slots=True)
class Template:
    """A notice compiled to canonical bytes: CRLF, dot-stuffed, no blank a verifier would remove. Made by `actions.compile_template`.

    `head`: the fixed header fields as (name, unfolded value, wire bytes), without Date, To, Message-ID and DKIM-Signature.
    `literals` and `slots` alternate in the body: literals[0], slots[0], literals[1] …; one literal more than slots.
    A slot is (name, is_html). `digest` is SHA-256 over all of it and names the text in manifests and evidence.
    """

    head: tuple[tuple[str, str, bytes], ...]
    literals: tuple[bytes, ...]
    slots: tuple[tuple[str, bool], ...]
    digest: bytes

    @property
    def slot_names(self) -> frozenset[str]:
        """Return the names that every recipient must give a value for."""
        return frozenset(name for name, _ in self.slots)


class Recipient(NamedTuple):
    """One person of a block. `n` is the place in the block (0 ≤ n < 2^32), unique within it.

    `address`: where to; `slots`: values of the template's slots, plain text (the room escapes and encodes them; CR and LF become blanks).
    `key`: what the keyed Message-ID is made of: the same key gives the same Message-ID (incident, subject, notice version).
    `template`: index into `BlockToSend.templates`.
    """

    n: int
    address: str
    slots: Mapping[str, str]
    key: str
    template: int = 0


@dataclass(frozen=True, slots=True)
class BlockToSend:
    """A leased block of recipients and what they get.

    `id`, `attempt`: the ledger's; a higher attempt is a later lease. `date`: the Date field of all its messages.
    `named_in_doubt`: the recipients that `actions.in_doubt` returned and that the caller has already named in the evidence log: only these
    may be sent a second time.
    """

    id: int
    attempt: int
    templates: Sequence[Template]
    recipients: Sequence[Recipient]
    date: datetime
    named_in_doubt: frozenset[int] = frozenset()


class Envelope(NamedTuple):
    """One message ready for the wire. `content` is dot-stuffed, CRLF, and ends with the final `.` line."""

    n: int
    sender: str
    recipient: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Pace:
    """Limits of one sending: open connections at once, messages over one connection, messages per second over all of them."""

    connections: int
    messages_per_connection: int
    rate_per_s: float


class Outcome(NamedTuple):
    """What became of one recipient in this run.

    `handed_over`: final 2yz reply to the content. `deferred`: 4yz for this recipient or message. `bounced`: 5yz, or an address no server
    can take.
    `in_doubt`: the final dot was written and no reply came; nobody knows. Name it in the evidence log before the next run may repeat it.
    `code` 0 means that no reply was received; `enhanced` is "" when the reply had none; `at_us`: microseconds since 1970, when the reply
    came.
    """

    n: int
    kind: OutcomeKind
    code: int
    enhanced: str
    text: str
    at_us: int


@dataclass(frozen=True, slots=True)
class Recovery:
    """What the journals of this machine know of a block. `runs`: the attempts that left a journal here (none: all of it may be in
    doubt)."""

    done: Mapping[int, Outcome]
    in_doubt: frozenset[int]
    runs: frozenset[int]


class InboundKind(StrEnum):
    """What an inbound mail is: of a person, a failure report, a complaint (ARF), or a machine's answer."""

    MESSAGE = "message"
    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    AUTO = "auto"


@dataclass(frozen=True, slots=True)
class BounceRecipient:
    """One recipient in a report. `action`: failed, delayed, delivered, relayed, expanded or "". `hard`: trying this address again is
    useless."""

    address: str
    action: str
    status: str
    reply_code: str
    reason: str
    hard: bool


@dataclass(frozen=True, slots=True)
class Classified:
    """What `classify` found: the kind and, for bounces and complaints, whom it is about."""

    kind: InboundKind
    recipients: tuple[BounceRecipient, ...] = ()


@dataclass(frozen=True, slots=True)
class InboundInfo:
    """One mail that came in, without its content. `verp`: (block, n) when it came to a bounce address of ours with a valid MAC;
    `single`: id of the Outbound it answers, likewise."""

    id: int
    received_at: datetime
    kind: InboundKind | None
    verp: tuple[int, int] | None
    single: int | None
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ParsedMessage:
    """An inbound mail, opened. Personal data is `Private`. `references`: Message-IDs of In-Reply-To and References, oldest first.

    `envelope_to`: every address of ours it came for. `classified` says what kind it is. `attachments`: (file name, media type, bytes in
    size).
    """

    id: int
    received_at: datetime
    envelope_from: Private[str]
    envelope_to: tuple[str, ...]
    from_address: Private[str]
    from_name: Private[str]
    to: Private[str]
    subject: Private[str]
    date: datetime | None
    message_id: str
    references: tuple[str, ...]
    text: Private[str]
    html: Private[str]
    attachments: tuple[tuple[str, str, int], ...]
    classified: Classified
    verp: tuple[int, int] | None = None
    single: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OutboundInfo:
    """State of a single mail: waiting, sent, deferred (will be tried again), bounced or in_doubt."""

    id: int
    purpose: str
    state: str
    message_id: str
    queued_at: datetime
    ended_at: datetime | None
    code: int
    enhanced: str
    reason: str


@dataclass(frozen=True, slots=True)
class Single:
    """One mail to one person, as `queue_many` takes it; the fields are those of `queue_single`. `urgent` changes the sender, not the lane."""

    purpose: str
    to: Private[str]
    subject: str
    text: str
    at: datetime
    dedupe_key: str
    html: str | None = None
    reply_to: str | None = None
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()
    urgent: bool = False
    then: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A mail handed to us: its envelope, its bytes, when it came."""

    raw: bytes
    envelope_from: str
    envelope_to: tuple[str, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """What a relay told of one message of ours. `id`: the relay's own, the same when it tells it again; `sender`: the envelope's.

    `kind`: bounced (given up), delayed (still tried), complained. `code` "" and `enhanced` "" where it told none. `original`: its words.
    """

    id: str
    kind: Literal["bounced", "delayed", "complained"]
    at: datetime
    sender: str
    recipient: Private[str]
    code: str
    enhanced: str
    text: Private[str]
    original: Private[bytes]


@dataclass(frozen=True, slots=True)
class FeedReading:
    """What one request of a feed held: so many entries `read`, of them events, and faults; the rest is of no concern to us."""

    read: int
    events: tuple[FeedEvent, ...]
    faults: tuple[Fault, ...] = ()
    n_faulty: int = 0


@dataclass(frozen=True, slots=True)
class FeedReport:
    """What became of one request: read = accepted + ignored + rejected. Accepted are repeated events too; they change nothing."""

    read: int
    accepted: int
    ignored: int
    rejected: int
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class ReceiverNow:
    """What a receiver allows our source now, over everything sent to it. `rate_per_s` 0: it asked for a pause.

    `per_day`, `left_of_day`: of a warm-up, None without one; `first_used_at`: when our source first sent to it.
    """

    memory: LaneMemory
    rate_per_s: float
    connections: int
    messages_per_connection: int
    per_day: int | None
    left_of_day: int | None
    first_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Quota:
    """What a relay grants: messages in any 24 hours (None: no limit), how many of them are used (None: it does not tell), messages per
    second, and which shares of our mail bounced and were complained about lately. `trouble`: why it will not take our mail, or may soon stop;
    "" if all is well.
    """

    per_day: int | None
    used_of_day: int | None
    rate_per_s: float | None
    p_bounced: float | None
    p_complained: float | None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that receivers look at: how it is, and what to do if it is not `ok`."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
