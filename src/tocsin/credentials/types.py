"""Values of the credentials room that cross its wall."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tocsin.kernel.private import Private

from .places import LaneStatus as LaneStatus
from .places import ResetCapacity as ResetCapacity
from .places import RoomStatus as RoomStatus
from .places import Slowed as Slowed
from .places import Source as Source
from .places import Stand as Stand

CLASSES = ("password", "session", "remember_me", "reset_token", "refresh", "api_token", "totp", "recovery_code", "passkey")
BREACH_CLASSES = ("password", "session", "remember_me", "reset_token")  # what a copied database makes worthless; the default of a cutover
POPULATIONS = ("customers", "staff")
FORMATS = ("md5", "sha1_salted", "sha256_salted", "pbkdf2_sha256", "bcrypt", "scrypt", "argon2id")
LOGIN_CHARS_MAX = 254  # RFC 5321 s4.5.3.1.3, less the angle brackets
PASSWORD_CHARS_MIN = 15  # NIST SP 800-63B-4 s3.1.1.2: a password that is the only factor
PASSWORD_BYTES_MAX = 4096
TOKEN_SHAPE = re.compile(r"[A-Za-z0-9_-]{43}")  # 32 random bytes
TOKEN_LIFE = timedelta(minutes=30)
SESSION_LIFE = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class HashColumns:
    """Which columns of a customers file hold what; the defaults are those of the drill's generator."""

    external_id: str = "customer_id"
    login: str = "email"
    format: str = "password_format"
    hash: str = "password_hash"


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of a file of old hashes: `read = accepted + rejected`; `updated` is part of accepted. `queries.rejects(id)` says why."""

    id: int
    read: int
    accepted: int
    updated: int
    rejected: int
    seconds: float


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A live sign-in session. `subject` is None for an account of ours (a canary)."""

    account: int
    subject: int | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """A reset link that would work now."""

    expires_at: datetime


@dataclass(frozen=True, slots=True)
class CutoverInfo:
    """A cutover as armed: what it would end. `from_epoch` maps "cohort/class" to the epoch now, `cohort` None is everybody."""

    id: int
    population: str
    classes: tuple[str, ...]
    cohort: int | None
    incident: int | None
    state: str
    from_epoch: Mapping[str, int]
    to_epoch: int
    counts: Mapping[str, int]
    canaries: int
    staff_untouched: int
    approval: int | None
    armed_at: datetime

    @property
    def payload(self) -> dict[str, Any]:
        """Return what two people sign for `credentials.commit`: exactly what the commit will do."""
        return {
            "cutover": self.id,
            "population": self.population,
            "classes": list(self.classes),
            "cohort": "everybody" if self.cohort is None else self.cohort,
            "from_epoch": dict(self.from_epoch),
            "to_epoch": self.to_epoch,
        }

    @property
    def abort_payload(self) -> dict[str, Any]:
        """Return what two people sign for `credentials.abort` of a committed cutover: the same, backwards."""
        return {**self.payload, "from_epoch": self.to_epoch, "to_epoch": dict(self.from_epoch)}


@dataclass(frozen=True, slots=True)
class NodeSeal:
    """How one node was sealed: `acked` with the milliseconds after the commit, or else its lease ran out."""

    node: str
    acked: bool
    after_ms: float | None


@dataclass(frozen=True, slots=True)
class CommitReport:
    """A committed cutover: the new epoch, the milliseconds of its transaction and until it was sealed, and the nodes."""

    cutover: int
    epoch: int
    commit_ms: float
    sealed_ms: float
    nodes: tuple[NodeSeal, ...]


@dataclass(frozen=True, slots=True)
class Canary:
    """One account of ours with its secrets: a password, a session and a reset link."""

    login: str
    password: Private[str]
    sid: Private[str]
    token: Private[str]


@dataclass(frozen=True, slots=True)
class CanaryReport:
    """How many secrets of canaries were presented, and what the doors said. Before a cutover all are accepted, after it all refused."""

    tried: int
    accepted: int
    refused: int
    survivors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CutoverStatus:
    """Where a population stands: passwords that live and that are dead, and how far its newest cutover has come."""

    population: str
    cutover: int | None
    state: str
    epoch: int
    live: int
    dead: int
    sealed: bool
    nodes: tuple[str, ...]
    canaries_tried: int
    canaries_refused: int
    age_s: float = 0.0  # how long ago `live` and `dead` were counted


@dataclass(frozen=True, slots=True)
class ResetCounts:
    """Reset links mailed and passwords set anew, of one incident."""

    requested: int
    completed: int
