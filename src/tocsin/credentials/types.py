"""Values of the credentials room that cross its wall."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from tocsin.incidents.types import ContainmentFinding
from tocsin.kernel.private import Private

from .places import TICKET_NONCE_BYTES as TICKET_NONCE_BYTES
from .places import LaneStatus as LaneStatus
from .places import ResetCapacity as ResetCapacity
from .places import RoomStatus as RoomStatus
from .places import Slowed as Slowed
from .places import Source as Source
from .places import Stand as Stand

CLASSES = ("password", "session", "remember_me", "reset_token", "refresh", "api_token", "totp", "recovery_code", "passkey")
# The default of a cutover: what a copied database makes worthless, and what whoever has an old password may have made with it.
BREACH_CLASSES = ("password", "session", "remember_me", "reset_token", "refresh", "api_token")
BEARER_CLASSES = ("remember_me", "refresh", "api_token")
FACTOR_CLASSES = ("totp", "recovery_code", "passkey")
POPULATIONS = ("customers", "staff")
API_KEY_ROLES = ("gate",)
FORMATS = ("md5", "sha1_salted", "sha256_salted", "pbkdf2_sha256", "bcrypt", "scrypt", "argon2id")
LOGIN_CHARS_MAX = 254  # RFC 5321 s4.5.3.1.3, less the angle brackets
PASSWORD_CHARS_MIN = 15  # NIST SP 800-63B-4 s3.1.1.2: a password that is the only factor
PASSWORD_CHARS_MIN_MFA = 8  # and one beside a second factor that still counts
PASSWORD_BYTES_MAX = 4096
TOKEN_SHAPE = re.compile(r"[A-Za-z0-9_-]{43}")  # 32 random bytes
CONTACT_LINK_LIFE = timedelta(minutes=30)  # of the link that confirms another address
SESSION_LIFE = timedelta(hours=12)
BEARER_LIFE = {"remember_me": timedelta(days=30), "refresh": timedelta(days=30), "api_token": timedelta(days=365)}
SECOND_STEP_LIFE = timedelta(minutes=5)
FRESH = timedelta(minutes=15)  # how young a sign-in must be to change how its owner signs in; source: ASVS 5.0 V7.5.1
RECOVERY_CODES = 10
LABEL_CHARS_MAX = 60


@dataclass(frozen=True, slots=True)
class HashColumns:
    """Which columns of a customers file hold what; the defaults are those of the drill's generator."""

    external_id: str = "customer_id"
    login: str = "email"
    format: str = "password_format"
    hash: str = "password_hash"
    set_at: str = ""  # when the password was set, ISO 8601; empty: the file has no such column


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
class SignedIn:
    """A sign-in that is complete: the id of the new session."""

    sid: Private[str]


@dataclass(frozen=True, slots=True)
class SecondStep:
    """A right password of an account that asks for more. `ticket` (sealed, a few minutes) takes the place of a session until then."""

    ticket: str
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Renewed:
    """What a remember-me or refresh token was changed for: a new session, and the token that takes its place."""

    sid: Private[str]
    secret: Private[str]


@dataclass(frozen=True, slots=True)
class HeldSession:
    """One of somebody's live sessions, as its owner sees it. `ref` is the SHA-256 of its id in hexadecimal: no secret."""

    ref: str
    created_at: datetime
    current: bool


@dataclass(frozen=True, slots=True)
class HeldBearer:
    """One of somebody's live bearer tokens, as its owner sees it. Nobody can read the token itself again."""

    id: int
    cred_class: str
    label: str
    created_at: datetime
    expires_at: datetime
    last_used: date | None


@dataclass(frozen=True, slots=True)
class HeldFactor:
    """One of somebody's live second steps, as its owner sees it."""

    id: int
    cred_class: str
    label: str
    created_at: datetime
    last_used: date | None


@dataclass(frozen=True, slots=True)
class Holdings:
    """All that lets somebody in besides the password. `ended` tells that a cutover ended a second step that has not been set up anew."""

    sessions: tuple[HeldSession, ...]
    bearers: tuple[HeldBearer, ...]
    factors: tuple[HeldFactor, ...]
    codes_left: int
    ended: bool


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls the API, and with what: `session` (an access token) or `api_token`."""

    subject: int | None
    cred_class: str
    label: str


@dataclass(frozen=True, slots=True)
class Ceremony:
    """What a browser is given to make or use a passkey: the options (WebAuthn JSON), and the sealed challenge that comes back with it."""

    options: str
    challenge: str


@dataclass(frozen=True, slots=True)
class TotpOffer:
    """A seed that is not in use yet: to be shown, and to be confirmed with a code. `ticket` is the same, sealed."""

    secret: Private[str]
    uri: Private[str]
    ticket: str


@dataclass(frozen=True, slots=True)
class ClassProposal:
    """Which classes a cutover should end, as the elements of the exposure say, and why those beyond the default."""

    classes: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """What ending all of one person's sign-ins ended."""

    sessions: int
    tokens: int


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """A reset link that would work now, and how many characters the new password needs."""

    expires_at: datetime
    chars_min: int = PASSWORD_CHARS_MIN


@dataclass(frozen=True, slots=True)
class AffectedIncident:
    """What one incident reached of somebody: element codes that could be read, and codes that could be taken in scrambled form only."""

    discovered_at: datetime
    readable: tuple[str, ...]
    scrambled: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AffectedInfo:
    """The answer to "was I affected?" as it was on `answered_at`. `known` is False while no incident has been scoped."""

    known: bool
    incidents: tuple[AffectedIncident, ...]
    answered_at: datetime


@dataclass(frozen=True, slots=True)
class CodeLetterReport:
    """What an export of letters with codes wrote, and how many it left out because no postal address is known any more."""

    letters: int
    skipped: int
    file: str


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
    proposal: ClassProposal | None = None  # None without a frozen exposure
    reason: str = ""
    spared: tuple[int, ...] = ()  # cohorts left alone, because an earlier and narrower cutover has ended theirs
    by_cohort: Mapping[int, Mapping[str, int]] = field(default_factory=dict)  # cohort -> class -> what it would end
    excluded: Mapping[str, int] = field(default_factory=dict)  # populations left alone, by name -> accounts
    undated: int = 0  # live passwords of which nobody knows when they were set
    contacts_changed: int = 0  # people whose contact points changed since the first possible entry
    containment: tuple[ContainmentFinding, ...] = ()  # reached systems that have credentials in hand; of an armed cutover, as it stands now
    override: str = ""
    not_armed: tuple[str, ...] = ()  # configured connectors where it would end nothing; of an armed cutover, as it stands now
    tried: CanaryReport | None = None  # what the doors answered to canaries when it was armed; None where they were not tried
    findings: tuple[str, ...] = ()  # what weakens the proof, in words

    @property
    def payload(self) -> dict[str, Any]:
        """Return what two people sign for `credentials.commit`: exactly what the commit will do."""
        return {
            "cutover": self.id,
            "incident": self.incident,
            "population": self.population,
            "classes": list(self.classes),
            "cohort": "everybody" if self.cohort is None else self.cohort,
            "from_epoch": dict(self.from_epoch),
            "to_epoch": self.to_epoch,
            **({"spared": list(self.spared)} if self.spared else {}),
        }

    @property
    def uncontained(self) -> tuple[str, ...]:
        """Return the reached systems with credentials in hand of which nobody has determined that they are contained."""
        return tuple(c.system for c in self.containment if not c.contained)

    def overriding(self, reason: str) -> dict[str, Any]:
        """Return what two people sign who commit although systems are not contained or not armed: the same, with these and their reason."""
        signed = {**self.payload, "containment_override": {"systems": list(self.uncontained), "reason": reason}}
        if self.not_armed:
            signed["containment_override"]["not_armed"] = list(self.not_armed)
        return signed

    @property
    def erase_payload(self) -> dict[str, Any]:
        """Return what two people sign for `credentials.erase`: that there is no way back from now on."""
        return {"cutover": self.id, "population": self.population, "classes": list(self.classes), "older_than_epoch": self.to_epoch}

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
class TargetGate:
    """What became of one connector's gate right after a cutover. `problem` is empty if it has fallen and holds."""

    name: str
    gated: bool
    took_ms: float
    problem: str = ""


@dataclass(frozen=True, slots=True)
class CommitReport:
    """A committed cutover: the new epoch, the milliseconds of its transaction and until it was sealed, the nodes, and the connectors.

    `gates_ms` is until the last connector's gate had fallen, or failed, and was tried with canaries; it runs beside the sealing. 0 without connectors.
    """

    cutover: int
    epoch: int
    commit_ms: float
    sealed_ms: float
    nodes: tuple[NodeSeal, ...]
    connectors: tuple[TargetGate, ...] = ()
    gates_ms: float = 0.0
    canaries: CanaryReport | None = None  # tried after the seal; None: not tried

    @property
    def shortfalls(self) -> tuple[str, ...]:
        """Return what this commit has not ended or not proved, in words; empty if everything fell and held."""
        left = [
            f"the gate of {c.name} has not fallen: {c.problem}" if not c.gated else f"canaries of {c.name} are red: {c.problem}"
            for c in self.connectors
            if c.problem or not c.gated
        ]
        lapsed = [n.node for n in self.nodes if not n.acked]
        return (*left, *([f"{', '.join(lapsed)} did not answer; its lease has run out"] if lapsed else []))


@dataclass(frozen=True, slots=True)
class Canary:
    """One account of ours with its secrets: a password, a session, a reset link, and in `more` one secret per further class it was given.

    Of totp it is the seed, of passkey the private key.
    """

    login: str
    password: Private[str]
    sid: Private[str]
    token: Private[str]
    more: Mapping[str, Private[str]]


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
    canaries_tried: int | None  # None: not tried since the commit
    canaries_refused: int | None
    age_s: float = 0.0  # how long ago `live` and `dead` were counted


@dataclass(frozen=True, slots=True)
class ResetCounts:
    """Reset links mailed and passwords set anew, of one incident."""

    requested: int
    completed: int


@dataclass(frozen=True, slots=True)
class FilterReport:
    """A filter of breached passwords as built: `read = accepted + rejected` lines; `left_out` (padding, too rare) is part of accepted.

    `false_positive_rate` was measured with random keys. `files` is 1, or 256 for a large one; `ranges` of 1,048,576 were there.
    """

    keys: int
    bytes: int
    bits_per_key: float
    false_positive_rate: float
    files: int
    seconds: float
    read: int
    accepted: int
    rejected: int
    left_out: int
    ranges: int
    rejects_file: Path | None


@dataclass(frozen=True, slots=True)
class FilterCheck:
    """A filter of breached passwords as found on the disk, every byte compared with the SHA-256 in its files."""

    keys: int
    bytes: int
    files: int
    seconds: float
    false_positive_rate: float


@dataclass(frozen=True, slots=True)
class GateAnswer:
    """What the gate says of one subject: `open`, `reset_required`, or `unknown` to us.

    `epoch` is the oldest epoch that a session of this subject may bear; 0 for an unknown one.
    """

    subject: str
    reason: Literal["open", "reset_required", "unknown"]
    epoch: int


@dataclass(frozen=True, slots=True)
class ApiKeyInfo:
    """A key of a company's own program, without its secret."""

    name: str
    role: str
    created_by: str
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class CutoverOverview:
    """A cutover from its arming on. Of a sealed one, `nodes` and the milliseconds are those of the log; before that, what is known so far."""

    info: CutoverInfo
    committed_at: datetime | None
    sealed_at: datetime | None
    aborted_at: datetime | None
    erasing_at: datetime | None
    canaries_tried: int
    canaries_refused: int
    commit_ms: float | None
    sealed_ms: float | None
    nodes: tuple[NodeSeal, ...]


@dataclass(frozen=True, slots=True)
class EpochLine:
    """The oldest epoch that still counts for one cohort and class, and the highest ever used there."""

    cohort: int
    cred_class: str
    epoch: int
    highest: int
    state: str
    not_before: datetime | None


@dataclass(frozen=True, slots=True)
class ConnectorInfo:
    """A connector as a person sees it: the keys of the command line's contract, and what goes beyond them.

    `canaries` counts the secrets presented after the gate and those refused; `red` says why a gate is not to be trusted, empty if it is.
    """

    name: str
    kind: str
    state: str
    subjects: int
    canaries: Mapping[str, int]
    write_rate_per_s: float | None
    drain_eta_s: float | None
    findings: tuple[Mapping[str, str], ...]
    population: str = ""
    adapter: str = ""
    epoch: int = 0
    took_ms: float | None = None
    drained: int = 0
    waiting: int = 0
    red: tuple[str, ...] = ()

    @property
    def comparison(self) -> str:
        """Return what revoking one by one would take and what the gate took, in one line."""
        one_by_one = "no figure" if self.drain_eta_s is None else _span(self.drain_eta_s)
        gate = "not fallen yet" if self.took_ms is None else f"{self.took_ms:.0f} ms"
        return f"one by one: {one_by_one}; the gate: {gate}"


def _span(seconds: float) -> str:
    """Return a length of time as people say it: `11 days`, `3 hours`, `8 s`."""
    for size, word in ((86_400, "days"), (3_600, "hours"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {word}"
    return f"{seconds:.0f} s"


@dataclass(frozen=True, slots=True)
class CohortReport:
    """What an assignment did: `selected` accounts belong to the cohort now, of which `moved` came by this call."""

    cohort: int
    selected: int
    moved: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ErasureInfo:
    """How far the erasure of a cutover's dead hashes has come. `state`: none | waiting (until `due_at`) | erasing | erased.

    `erased` hashes are gone, `held` of them were copied for the legal hold first; of `ranges` of accounts `ranges_done` are through.
    """

    cutover: int
    state: str
    due_at: datetime | None
    begun_at: datetime | None
    ended_at: datetime | None
    ranges: int
    ranges_done: int
    erased: int
    held: int
