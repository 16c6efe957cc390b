"""Values of the evidence room that cross its wall, and the registry of event types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any
from uuid import UUID


class EventType(IntEnum):
    """What happened; the number stands in the leaf in clear and is never reused."""

    ESTATE_OPENED = 1
    OPERATOR_ADDED = 2
    APPROVAL_REQUESTED = 3
    APPROVAL_SIGNED = 4
    SUBJECTS_IMPORTED = 10
    CARDS_ATTACHED = 11
    SUBJECTS_FORGOTTEN = 12
    MAP_LOADED = 20
    INCIDENT_DECLARED = 30
    EXPOSURE_FROZEN = 31
    FACT_RECORDED = 32
    INCIDENT_ADVANCED = 33
    DUTIES_ASSESSED = 40
    DUTY_CLOSED = 41
    CUTOVER_ARMED = 50
    CUTOVER_COMMITTED = 51
    CUTOVER_SEALED = 52
    CUTOVER_ABORTED = 53
    CREDENTIALS_IMPORTED = 54
    RESET_REQUESTED = 60
    PASSWORD_RESET = 61
    NOTICE_DRAFTED = 70
    NOTICE_APPROVED = 71
    MAILING_STARTED = 72
    NOTICE_HANDED_OVER = 73
    NOTICE_FAILED = 74
    NOTICE_IN_DOUBT = 75
    MAILING_STOPPED = 76
    MAILING_ENDED = 77
    LETTER_QUEUED = 78
    SITE_NOTICE_PUBLISHED = 79
    MESSAGE_RECEIVED = 80
    ANSWER_APPROVED = 81
    RELEASE_STARTED = 82
    REPLY_QUEUED = 83
    BOUNCE_RECEIVED = 84
    CASE_CLOSED = 85
    PERSONAL_DATA_READ = 90
    FORECAST_MADE = 100
    PACE_SET = 101
    LANE_SLOWED = 102
    API_KEY_CREATED = 150
    API_KEY_REVOKED = 151
    TOKEN_REUSED = 110
    FACTOR_ADDED = 111
    FACTOR_REMOVED = 112
    SIGN_INS_ENDED = 113
    RESET_STARTED = 114
    CONNECTOR_SECRET_SET = 120
    TARGET_ARMED = 121
    TARGET_GATED = 122
    TARGET_VERIFIED = 123
    TARGET_DRAINED = 124
    TARGET_ABORTED = 125
    TARGET_FAILED = 126
    PASSWORD_DELIVERED = 127
    PASSWORD_CHANGED_ELSEWHERE = 128
    ACCOUNTS_ENROLLED = 129
    ROOM_RATE_SET = 140
    ROOM_TICKET_ISSUED = 141
    SYSTEM_CONTAINED = 160
    COHORT_ASSIGNED = 161
    ERASURE_BEGUN = 162
    ERASURE_ENDED = 163
    CONTACT_CHANGED = 164
    RESET_LETTER_ASKED = 66
    RESET_LETTER_PRINTED = 67
    AFFECTED_ANSWERED = 68
    PACE_ABOVE_RESETS = 103
    PACE_ABOVE_DESK = 104
    LATE_END_ALLOWED = 105
    ORDER_OVERRIDDEN = 106
    GATE_OPENED = 107
    HELD_HASHES_OPENED = 170
    NOTICE_PUT_OFF = 180
    NEXT_ADDRESS_TAKEN = 181
    COMPLAINT_RECEIVED = 182
    LETTER_PRINTED = 183
    LETTER_REJECTED = 184
    LETTER_RETURNED = 185
    SUBSTITUTE_NOTICE = 186
    LETTERS_BUNDLED = 187
    LETTERS_WRITTEN = 188
    RETURNED_MAIL_READ = 189
    TRANSLATION_REVIEWED = 190
    NOTICE_TESTED = 191
    SITE_PAGES_WRITTEN = 192
    SITE_PAGES_SEEN = 193
    STATEMENT_RELEASED = 195

    @property
    def label(self) -> str:
        """Return the name as people read it: `notice handed over`."""
        return self.name.lower().replace("_", " ")


# Always of one customer: found by that customer, never in the list of acts.
OF_CUSTOMERS = frozenset({
    EventType.RESET_REQUESTED, EventType.PASSWORD_RESET, EventType.NOTICE_HANDED_OVER, EventType.NOTICE_FAILED, EventType.NOTICE_IN_DOUBT,
    EventType.LETTER_QUEUED, EventType.RESET_LETTER_ASKED, EventType.RESET_LETTER_PRINTED, EventType.AFFECTED_ANSWERED,
    EventType.TOKEN_REUSED, EventType.FACTOR_ADDED, EventType.FACTOR_REMOVED, EventType.PASSWORD_DELIVERED,
    EventType.PASSWORD_CHANGED_ELSEWHERE, EventType.CONTACT_CHANGED, EventType.NOTICE_PUT_OFF, EventType.NEXT_ADDRESS_TAKEN,
    EventType.COMPLAINT_RECEIVED, EventType.LETTER_PRINTED, EventType.LETTER_REJECTED, EventType.LETTER_RETURNED,
    EventType.SUBSTITUTE_NOTICE,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class SubjectEvent:
    """An event that touches one customer, before it is recorded. `salt` is the subject's 16 bytes; `body` holds no personal data."""

    subject: int
    salt: bytes
    at: datetime
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """A recorded event, as a person reads it."""

    id: int
    uuid: UUID
    type: EventType
    at: datetime
    actor: str
    incident: int | None
    subject: int | None
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LogStatus:
    """How far the log has come: `entries` recorded, `pending` of them not yet under the signed checkpoint of `size` leaves."""

    entries: int
    pending: int
    size: int
    root_hex: str
    signed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Proof:
    """What an outsider needs for one event: the event itself, its leaf salt, the 47-byte leaf, and the `.tlog-proof` text."""

    index: int
    event_json: bytes
    salt: bytes
    leaf: bytes
    tlog_proof: str


@dataclass(frozen=True, slots=True)
class Volumes:
    """Events of some types over time. `counts`: by type, by the bucket's first instant, empty buckets left out; `bucket_s`: its length.

    `first_at`: the first event of each type, None without one. Not `exact`: estimated from a sample, and the first may have been earlier.
    """

    bucket_s: int
    exact: bool
    counts: Mapping[EventType, Mapping[datetime, int]]
    first_at: Mapping[EventType, datetime | None]
