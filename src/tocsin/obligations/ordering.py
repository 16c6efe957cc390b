"""What a mailing must know of the duties: which filings come before it and where, by when each cohort must be told, how grave it is for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from tocsin.incidents import queries as incidents
from tocsin.inventory.types import codes_of
from tocsin.kernel.errors import NotFound

from . import laws, policy
from .models import Obligation
from .policy.order import NOTIFIED
from .types import CohortRank, DutyInfo, Gate

CLOSED = ("done", "waived")
NEVER = datetime.max.replace(tzinfo=UTC)
ASKED = "asked"  # may bind, depending on an answer that is not there yet: a question, no gate


def gates(incident: int) -> list[Gate]:
    """Return the filings that must come before the mailing to the people of some places, closed ones included, by law and duty.

    A gate is open once the duty is closed as done, which records when it was filed, or waived. Source: specification of exposure and duties,
    section 5, Ordering.
    """
    places = _places(incident)
    found = []
    for row in Obligation.objects.filter(incident=incident, withdrawn_at=None).exclude(state=ASKED).order_by("law", "duty"):
        duty = DutyInfo.from_json(row.info)
        if (duty.relation, duty.relation_event) == ("before", NOTIFIED):
            sent_at = datetime.fromisoformat(row.proof["at"]) if row.state == "done" and row.proof else None
            covered = tuple(sorted(_covered(row.law, duty.jurisdiction, places)))
            found.append(Gate(row.law, row.duty, duty.name, covered, row.state in CLOSED, sent_at))
    return found


def individuals_due(incident: int) -> dict[str, datetime]:
    """Return by when the people of each place must be told: the earliest dated duty to individuals. Places without one are left out."""
    places = _places(incident)
    due: dict[str, datetime] = {}
    for row in Obligation.objects.filter(incident=incident, withdrawn_at=None, due_at__isnull=False).exclude(state__in=(*CLOSED, ASKED)):
        if row.due_at is not None and row.info["to"] == "individuals":
            for place in _covered(row.law, row.jurisdiction, places):
                due[place] = min(row.due_at, due.get(place, row.due_at))
    return due


def cohort_ranks(incident: int) -> list[CohortRank]:
    """Return the cohorts of the newest exposure in the order in which they are told: earliest deadline, then gravest. Raises NotFound."""
    due = individuals_due(incident)
    found = []
    for cohort in incidents.exposure_of(incident).cohorts:
        clear = frozenset(codes_of(cohort.clear & ~cohort.sealed))
        score = policy.severity(clear, people=cohort.count, unintelligible=not clear).score
        found.append(CohortRank(cohort.id, cohort.jurisdiction, due.get(cohort.jurisdiction), score))
    return sorted(found, key=lambda c: (c.due_at or NEVER, -c.severity, c.cohort))


def _places(incident: int) -> frozenset[str]:
    try:
        return frozenset(c.jurisdiction for c in incidents.exposure_of(incident).cohorts)
    except NotFound:
        return frozenset()


def _covered(law: str, jurisdiction: str, places: Iterable[str]) -> Iterator[str]:
    """Yield the places a law covers: a place is found under itself, its country, and `*`."""
    members = next((entry.raw.get("members", ()) for entry in laws.shipped().laws if entry.id == law), ())
    names = {jurisdiction, *members}
    for place in places:
        if names & {place, place.partition("-")[0], "*"}:
            yield place
