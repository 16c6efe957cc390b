"""What the desk writes into the log: with the incident that it answers for, and under the customer's salt where the sender is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType, SubjectEvent
from tocsin.incidents import queries as incidents
from tocsin.kernel.errors import NotFound
from tocsin.subjects import queries as subjects

from .models import Case

Told = tuple[int | None, dict[str, Any]]  # subject, body


def incident() -> int | None:
    """Return the incident declared last: people write about what they were just told. None in peacetime."""
    try:
        return incidents.latest().id
    except NotFound:
        return None


def act(type: EventType, *, at: datetime, by: str, body: dict[str, Any]) -> None:
    """Record what somebody did that touches no customer alone."""
    evidence.record(type, at=at, actor=by, incident=incident(), body=body)


def of_case(type: EventType, case: Case, *, at: datetime, by: str, body: dict[str, Any]) -> None:
    """Record what was done with one person's case."""
    salt = salts_of([case]).get(case.subject) if case.subject is not None else None
    if case.subject is None or salt is None:
        act(type, at=at, by=by, body=body)
    else:
        evidence.record_subject(type, at=at, actor=by, incident=incident(), subject=case.subject, salt=salt, body=body)


def of_cases(type: EventType, told: Sequence[Told], *, salts: Mapping[int, bytes], at: datetime, by: str) -> None:
    """Record one event per case. Under the customer's salt, erasing the customer erases the link; strangers and forgotten people have none."""
    under = incident()
    evidence.record_many(
        type, [SubjectEvent(s, salts[s], at, body) for s, body in told if s is not None and s in salts], actor=by, incident=under
    )
    evidence.record_acts(type, [body for s, body in told if s is None or s not in salts], at=at, actor=by, incident=under)


def salts_of(cases: Sequence[Case]) -> dict[int, bytes]:
    """Return the evidence salts of the customers among these cases."""
    return subjects.salts([c.subject for c in cases if c.subject is not None])
