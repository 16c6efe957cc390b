"""An incident's facts, from what the estate knows: the frozen exposure, answers people gave, determinations they signed.

Answers are keyed: `entity.PREDICATE` (of the company), `event.NAME` (a day or an instant), anything else is a condition
(`LAW.DUTY` or `LAW.CODE`), answered yes or no.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any, Protocol

from tocsin.inventory.types import codes_of
from tocsin.obligations.types import Cohort, Determination, Facts, Moment

from .clocks import EVENTS

ENTITY, EVENT = "entity.", "event."


class CohortLike(Protocol):
    """What is read of a frozen cohort: masks of the inventory's numbering."""

    @property
    def jurisdiction(self) -> str:
        """ISO 3166, ZZ if unknown."""

    @property
    def clear(self) -> int:
        """Mask of elements in clear."""

    @property
    def sealed(self) -> int:
        """Mask of elements sealed."""

    @property
    def state(self) -> str:
        """reachable, accessed or exfiltrated."""

    @property
    def count(self) -> int:
        """How many people."""


class ExposureLike(Protocol):
    """What is read of a frozen exposure."""

    @property
    def cohorts(self) -> Iterable[CohortLike]:
        """People by jurisdiction, elements and state."""


def facts_of(
    exposure: ExposureLike,
    *,
    discovered_at: Moment,
    answers: Mapping[str, Any],
    special: Iterable[str] = (),
    determinations: Iterable[Determination] = (),
    now: datetime | None = None,
) -> Facts:
    """Return the facts of an incident. Every predicate of the set-up that nobody answered is asked.

    `special` are the regime codes of the stores reached. An answered `event.discovery` corrects the declared one.
    """
    events: dict[str, Moment] = {"discovery": discovered_at}
    entity: dict[str, bool] = {}
    conditions: dict[str, bool] = {}
    for key, value in answers.items():
        if key.startswith(ENTITY):
            entity[key.removeprefix(ENTITY)] = bool(value)
        elif key.startswith(EVENT):
            events[key.removeprefix(EVENT)] = moment(str(value))
        else:
            conditions[key] = bool(value)
    return Facts(
        cohorts=tuple(_cohort(c) for c in exposure.cohorts),
        events=events,
        entity=entity,
        ask_entity=True,
        conditions=conditions,
        special=frozenset(special),
        determinations=tuple(determinations),
        now=now,
    )


def moment(text: str) -> Moment:
    """Return a day or an aware instant. Raises ValueError."""
    if len(text) == len("2026-03-01"):
        return date.fromisoformat(text)
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text} has no offset")
    return at


def fault_of_answer(key: str, value: Any) -> str | None:
    """Return what was wanted instead of this answer, None if it can be taken."""
    if key.startswith(EVENT):
        if key.removeprefix(EVENT) not in EVENTS:
            return f"an event the laws count from: {', '.join(sorted(EVENTS))}"
        try:
            moment(value)
        except (TypeError, ValueError):
            return "a day such as 2026-03-01 or an instant with its offset"
        return None
    if not isinstance(value, bool):
        return "yes or no"
    if not key.startswith(ENTITY) and key.count(".") > 1:
        return "entity.PREDICATE, event.NAME, LAW.DUTY or LAW.CODE"
    return None


def _cohort(cohort: CohortLike) -> Cohort:
    abroad = cohort.jurisdiction not in ("US", "ZZ") and not cohort.jurisdiction.startswith("US-")
    return Cohort(
        jurisdiction=cohort.jurisdiction,
        count=cohort.count,
        elements=_codes(cohort.clear, abroad),
        encrypted=_codes(cohort.sealed, abroad),
        state=cohort.state,
    )


def _codes(mask: int, abroad: bool) -> frozenset[str]:
    """Return the codes of a mask; a national identification number is a social security number only in the US."""
    return frozenset("other_gov_id" if abroad and code == "ssn" else code for code in codes_of(mask))


def document_of(facts: Facts) -> dict[str, Any]:
    """Return facts as canonical JSON values, in the form of a facts file: what an assessment pins as its input."""
    return {
        "as_of": facts.as_of.isoformat() if facts.as_of else None,
        "events": {name: m.isoformat() for name, m in sorted(facts.events.items())},
        "entity": dict(sorted(facts.entity.items())),
        "ask_entity": facts.ask_entity,
        "conditions": dict(sorted(facts.conditions.items())),
        "special": sorted(facts.special),
        "determinations": sorted(
            ({"kind": d.kind, "law": d.law} for d in facts.determinations), key=lambda d: (d["kind"] or "", d["law"] or "")
        ),
        "cohorts": [
            {
                "jurisdiction": c.jurisdiction,
                "count": c.count,
                "elements": sorted(c.elements),
                "encrypted": sorted(c.encrypted),
                "key_taken": c.key_taken,
                "state": c.state,
            }
            for c in facts.cohorts
        ],
    }
