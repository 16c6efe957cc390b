"""Reads of the obligations room: an incident's duties, its whole assessment, and the answer to a facts file."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from typing import Any

from tocsin.kernel.errors import NotFound

from . import laws, policy
from .models import Answer, Assessment, Determination, Obligation
from .ordering import cohort_ranks, gates, individuals_due
from .types import Determination as Signed
from .types import DutyInfo

__all__ = ["answers", "assess_file", "assessment", "cohort_ranks", "determinations", "duties", "gates", "individuals_due"]


def duties(incident: int) -> list[DutyInfo]:
    """Return the duties of an incident by due date, closed ones included; empty before the first assessment."""
    rows = Obligation.objects.filter(incident=incident, withdrawn_at=None)
    return sorted((replace(DutyInfo.from_json(o.info), state=o.state) for o in rows), key=lambda d: d.sort_key)


def assessment(incident: int) -> dict[str, Any]:
    """Return the newest whole answer with the present states, as `duties assess --incident --json` prints it. Raises NotFound."""
    row = Assessment.objects.filter(incident=incident).order_by("-pk").first()
    if row is None:
        raise NotFound(f"the duties of incident {incident} were not assessed")
    return {
        **row.answer,
        "duties": [d.as_json() for d in duties(incident)],
        "incident": incident,
        "exposure": row.exposure,
        "assessed_at": row.at.isoformat().replace("+00:00", "Z"),
    }


def assess_file(document: Any, *, as_of: date | None = None, at: datetime | None = None) -> dict[str, Any]:
    """Return the answer to a parsed facts file, as `duties assess --facts --json` prints it. Writes nothing.

    `as_of` overrides the file's; `at` is the present, for `earliest` and the age of the data (default: the last event of the file).
    Raises BadInput with every fault.
    """
    facts = policy.read(document, now=at)
    if as_of is not None:
        facts = replace(facts, as_of=as_of)
    return {**policy.assess(facts, laws.shipped()).as_json(), "as_of": facts.as_of.isoformat() if facts.as_of else None}


def answers(incident: int) -> dict[str, Any]:
    """Return what was answered for an incident and of the company, newest first to count."""
    rows = Answer.objects.filter(incident=incident) | Answer.objects.filter(incident=None)
    return {row.key: row.value for row in rows.order_by("pk")}


def determinations(incident: int) -> list[Signed]:
    """Return the signed findings of an incident."""
    return [Signed(kind=d.kind, law=d.law) for d in Determination.objects.filter(incident=incident).order_by("pk")]
