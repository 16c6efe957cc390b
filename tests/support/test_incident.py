"""What the desk does while an incident runs stands in that incident's timeline; what touches a customer stands under their salt."""

from __future__ import annotations

from pathlib import Path

import pytest

from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.incidents.models import Incident
from tocsin.subjects.models import Holding, Subject
from tocsin.support import actions, queries
from tocsin.support.models import Case

from .desk import ANSWERS, AT, enrol, write

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("known", [True, False])
def test_events_carry_the_incident_and_the_customer_if_there_is_one(estate: Path, known: bool) -> None:
    enrol("otto", role="legal")
    actions.load_answers(ANSWERS, at=AT, by="lena")
    assert evidence.counts()[EventType.ANSWER_APPROVED] > 0
    incident = Incident.objects.create(
        name="shop", cause="stolen", discovered_at=AT, declared_at=AT, declared_by="ada", hosts=["web"], approval=1
    ).pk
    assert EventType.ANSWER_APPROVED not in evidence.counts(incident=incident)
    actions.approve_answers(by="otto", at=AT)
    write("ann@people.example", "How can I reset my password?")
    actions.take_in(at=AT)
    ann = Subject.objects.create(
        external_id="a1", jurisdiction="US-CA", basis="billing", locale="en", holding=Holding.objects.create(digest=b"h"), salt=b"s" * 16,
        created_at=AT,
    ).pk  # fmt: skip
    Case.objects.update(subject=ann if known else None)
    case = actions.next_case(by="dora", at=AT)
    assert case is not None
    queries.case(case.id, by="otto", at=AT)
    actions.answer(case.id, answer_version=case.suggestions[0].version, by="dora", at=AT)
    counts = evidence.counts(incident=incident)
    assert counts[EventType.ANSWER_APPROVED] == len({q.name for q in queries.questions()})
    assert (counts[EventType.MESSAGE_RECEIVED], counts[EventType.PERSONAL_DATA_READ], counts[EventType.REPLY_QUEUED]) == (1, 2, 1)
    of_ann = [(e.type, e.actor) for e in evidence.entries_of_subject(ann)]
    read, queued = EventType.PERSONAL_DATA_READ, EventType.REPLY_QUEUED
    assert sorted(of_ann) == (sorted([(read, "dora"), (read, "otto"), (queued, "dora")]) if known else [])
