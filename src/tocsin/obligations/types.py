"""Values of the obligations room that cross its wall."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

STATES = ("due", "asked", "open", "done", "waived")
REASONS = ("residents", "entity", "status", "in_force", "element", "encrypted", "determination", "threshold", "condition")
COHORT_STATES = ("reachable", "accessed", "exfiltrated")
DETERMINATIONS = (
    "no_harm", "not_acquired", "hash_not_password", "displacement", "law_enforcement_delay", "substitute_notice", "deemed_compliant",
)  # fmt: skip
Moment = datetime | date  # an instant (aware), or a calendar day that holds in every legal zone


@dataclass(frozen=True, slots=True)
class Cohort:
    """People of one jurisdiction with the same elements: `elements` lie in clear, `encrypted` are sealed (a code in both is sealed)."""

    jurisdiction: str
    count: int
    elements: frozenset[str]
    encrypted: frozenset[str] = frozenset()
    key_taken: bool = False
    state: str = "reachable"


@dataclass(frozen=True, slots=True)
class Determination:
    """A signed finding. `law` None: under every law that knows the kind (`no_harm` always needs its law)."""

    kind: str
    law: str | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a duty may depend on. `entity` holds answers; what is not in it is asked if `ask_entity`, else taken as no.

    `as_of` None: the local date of discovery in each law's zone. `now`: for `earliest` and the age of the data; None: the last event.
    """

    cohorts: tuple[Cohort, ...]
    events: Mapping[str, Moment]
    entity: Mapping[str, bool] = field(default_factory=dict)
    ask_entity: bool = False
    as_of: date | None = None
    conditions: Mapping[str, bool] = field(default_factory=dict)
    special: frozenset[str] = frozenset()
    determinations: tuple[Determination, ...] = ()
    now: datetime | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Law:
    """One law as read: `raw` is its checked YAML entry, with `past`. Compared by identity, so that its versions can be cached."""

    id: str
    file: str
    data_version: str
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class LawData:
    """A set of law files: `data_version` is the newest of them, `digest` the SHA-256 (hex) over their names and bytes."""

    laws: tuple[Law, ...]
    data_version: str
    digest: str


@dataclass(frozen=True, slots=True)
class DutyInfo:
    """One duty. `due_date` is the local day in `zone`; `due_at` its end, or the exact hour, in UTC; both None where the law has no date.

    `ours` is our own target where the law gives only a standard: ours, not the law's. `earliest` is the day if every unset act
    happened now. `relation` is before, same_time or not_later_than `relation_event`. `counsel`: confirm the date with counsel, the
    law's core facts have no primary or official source. `count` people match, `unknown` more may live there. `notice` is what the law
    wants of a letter.
    """

    law: str
    duty: str
    jurisdiction: str
    to: str
    name: str
    state: str
    due_date: date | None
    due_at: datetime | None
    earliest: date | None
    ours: date | None
    ours_at: datetime | None
    zone: str
    basis: str
    relation: str | None
    relation_event: str | None
    standard: str | None
    source: str
    source_url: str | None
    confidence: str
    counsel: bool
    count: int
    unknown: int
    matched: tuple[str, ...]
    threshold: str | None
    version: str
    fallbacks: tuple[str, ...]
    marks: tuple[str, ...]
    questions: tuple[str, ...]
    waits_for: tuple[str, ...]
    content: tuple[str, ...]
    notice: Mapping[str, Any]

    @property
    def sort_key(self) -> tuple[bool, datetime, str, str]:
        """Order duties by due instant, then by our own target, undated ones last."""
        at = self.due_at or self.ours_at
        return (at is None, at or datetime.max.replace(tzinfo=UTC), self.law, self.duty)

    def as_json(self) -> dict[str, Any]:
        """Return the duty as `duties assess` prints it."""
        return {
            "law": self.law,
            "duty": self.duty,
            "jurisdiction": self.jurisdiction,
            "to": self.to,
            "name": self.name,
            "state": self.state,
            "due_date": _day(self.due_date),
            "due_at": _instant(self.due_at),
            "earliest": _day(self.earliest),
            "ours": _day(self.ours),
            "ours_at": _instant(self.ours_at),
            "zone": self.zone,
            "basis": self.basis,
            "relation": self.relation,
            "relation_event": self.relation_event,
            "standard": self.standard,
            "source": self.source,
            "source_url": self.source_url,
            "confidence": self.confidence,
            "confirm_with_counsel": self.counsel,
            "count": self.count,
            "unknown_residence": self.unknown,
            "matched": list(self.matched),
            "threshold": self.threshold,
            "version": self.version,
            "fallbacks": list(self.fallbacks),
            "marks": list(self.marks),
            "questions": list(self.questions),
            "waits_for": list(self.waits_for),
            "content": list(self.content),
            "notice": dict(self.notice),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> DutyInfo:
        """Return the duty of an `as_json` document."""
        values: dict[str, Any] = {key: stored[key] for key in cls.__dataclass_fields__ if key in stored}
        for key in ("matched", "fallbacks", "marks", "questions", "waits_for", "content"):
            values[key] = tuple(stored[key])
        for key in ("due_date", "earliest", "ours"):
            values[key] = date.fromisoformat(stored[key]) if stored[key] else None
        for key in ("due_at", "ours_at"):
            values[key] = datetime.fromisoformat(stored[key]) if stored[key] else None
        return cls(**values, counsel=stored["confirm_with_counsel"], unknown=stored["unknown_residence"])


@dataclass(frozen=True, slots=True)
class NotTriggered:
    """A law (`duty` None) or one duty that does not bind, with the one reason for it."""

    law: str
    duty: str | None
    reason: str
    detail: str

    def as_json(self) -> dict[str, Any]:
        """Return it as `duties assess` prints it."""
        return {"law": self.law, "duty": self.duty, "reason": self.reason, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Question:
    """Something a person must answer. `key` is where the answer goes: `conditions[key]`, or `entity` for `entity.*`.

    `due_date` and `due_at` are the earliest date if the answer is yes; `if_yes` names each duty of the law with its date.
    """

    law: str
    duty: str | None
    key: str
    text: str
    due_date: date | None
    due_at: datetime | None
    if_yes: tuple[tuple[str, date | None, datetime | None], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as `duties assess` prints it."""
        return {
            "law": self.law,
            "duty": self.duty,
            "key": self.key,
            "text": self.text,
            "due_date": _day(self.due_date),
            "due_at": _instant(self.due_at),
            "if_yes": [{"duty": d, "due_date": _day(day), "due_at": _instant(at)} for d, day, at in self.if_yes],
        }


@dataclass(frozen=True, slots=True)
class OrderStep:
    """Acts that come together, lower steps first; `gate` says what stays locked until when."""

    step: int
    jurisdiction: str
    acts: tuple[str, ...]
    gate: str

    def as_json(self) -> dict[str, Any]:
        """Return it as `duties assess` prints it."""
        return {"step": self.step, "jurisdiction": self.jurisdiction, "acts": list(self.acts), "gate": self.gate}


@dataclass(frozen=True, slots=True)
class Gate:
    """A filing that comes before the mailing to the people of `jurisdictions`. `closed`: filed (then `sent_at`) or waived."""

    law: str
    duty: str
    name: str
    jurisdictions: tuple[str, ...]
    closed: bool
    sent_at: datetime | None

    @property
    def key(self) -> str:
        """Return LAW.DUTY, as people name it."""
        return f"{self.law}.{self.duty}"


@dataclass(frozen=True, slots=True)
class CohortRank:
    """By when a cohort must be told (None: no dated duty), and how grave the breach is for it (ENISA score)."""

    cohort: int
    jurisdiction: str
    due_at: datetime | None
    severity: float


@dataclass(frozen=True, slots=True)
class Severity:
    """The ENISA 2013 score SE = DPC x EI + CB, advisory only: it never decides a duty."""

    score: float
    band: str
    dpc: int
    ei: float
    cb: float
    next_dpc: float
    flags: tuple[str, ...]
    reasons: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as `duties assess` prints it."""
        return {
            "score": self.score,
            "band": self.band,
            "dpc": self.dpc,
            "ei": self.ei,
            "cb": self.cb,
            "score_at_next_dpc": self.next_dpc,
            "flags": list(self.flags),
            "reasons": list(self.reasons),
        }


@dataclass(frozen=True, slots=True)
class Assessment:
    """The whole answer: every law of the data stands in `duties` or in `not_triggered` (an asked one in `questions` too)."""

    duties: tuple[DutyInfo, ...]
    not_triggered: tuple[NotTriggered, ...]
    questions: tuple[Question, ...]
    watch: tuple[str, ...]
    order: tuple[OrderStep, ...]
    uncovered: tuple[tuple[str, int], ...]
    flags: tuple[str, ...]
    data_version: str
    data_digest: str

    def as_json(self) -> dict[str, Any]:
        """Return the document of `duties assess --json`."""
        return {
            "duties": [d.as_json() for d in self.duties],
            "not_triggered": [n.as_json() for n in self.not_triggered],
            "questions": [q.as_json() for q in self.questions],
            "watch": list(self.watch),
            "order": [o.as_json() for o in self.order],
            "uncovered": [{"jurisdiction": j, "count": n} for j, n in self.uncovered],
            "flags": list(self.flags),
            "data_version": self.data_version,
            "data_digest": self.data_digest,
        }


def _day(value: date | None) -> str | None:
    return value.isoformat() if value is not None else None


def _instant(value: datetime | None) -> str | None:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if value is not None else None
