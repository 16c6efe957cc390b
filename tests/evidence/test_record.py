"""Events through the door: exact, salted, append-only, in the transaction of their effect."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest
from django.db import DatabaseError, connection, transaction

from tocsin.evidence import actions, policy, queries
from tocsin.evidence.models import Event
from tocsin.evidence.types import EventType, SubjectEvent
from tocsin.kernel.errors import Refused

AT = datetime(2026, 1, 15, 3, 0, 0, 123456, tzinfo=UTC)


@pytest.mark.django_db
def test_an_event_is_what_its_commitment_says() -> None:
    salt = b"s" * 16
    one = actions.record(EventType.INCIDENT_DECLARED, at=AT, actor="ada", incident=7, body={"name": "köln"})
    two = actions.record_subject(EventType.PASSWORD_RESET, at=AT, actor="public", incident=7, subject=42, salt=salt, body={})
    n = actions.record_many(
        EventType.NOTICE_HANDED_OVER, [SubjectEvent(i, salt, AT, {"code": 250}) for i in range(3)], actor="worker", incident=7
    )
    assert n == 3
    for row in Event.objects.all():
        leaf_salt = bytes(row.salt) if row.salt else policy.subject_leaf_salt(salt, row.uuid)
        assert hashlib.sha256(leaf_salt + bytes(row.event)).digest() == bytes(row.commitment)
    leaf = policy.leaf(EventType.INCIDENT_DECLARED, at=AT, incident=7, commitment=bytes(Event.objects.get(pk=one).commitment))
    assert len(leaf) == policy.LEAF_BYTES
    assert leaf[:3] == b"\x01\x00\x1e"
    assert [e.id for e in queries.entries_of_subject(42)] == [two]
    assert queries.counts(incident=7)[EventType.NOTICE_HANDED_OVER] == 3
    assert [e.body for e in queries.activity(incident=7)] == [{"name": "köln"}]


@pytest.mark.django_db(transaction=True)
def test_events_are_never_changed_and_vanish_with_their_transaction() -> None:
    kept = actions.record(EventType.ESTATE_OPENED, at=AT, actor="owner", body={"kind": "demo"})
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        actions.record(EventType.OPERATOR_ADDED, at=AT, actor="owner", body={})
        raise ZeroDivisionError
    assert list(Event.objects.values_list("pk", flat=True)) == [kept]
    for statement in ("UPDATE evidence_event SET actor = 'x'", "DELETE FROM evidence_event"):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)


@pytest.mark.django_db
def test_an_estate_keeps_its_kind() -> None:
    actions.open_estate(kind="demo", at=AT)
    actions.open_estate(kind="demo", at=AT)
    assert Event.objects.count() == 1
    with pytest.raises(Refused, match="kind 'demo'"):
        actions.open_estate(kind="live", at=AT)
