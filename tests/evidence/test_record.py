"""Events through the door: exact, salted, append-only, in the transaction of their effect."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest
from django.db import DatabaseError, connection, transaction

from tocsin.evidence import actions, policy, queries
from tocsin.evidence.models import Event
from tocsin.evidence.types import EventType, SubjectEvent
from tocsin.kernel import schema
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


@pytest.mark.django_db(transaction=True)
def test_no_process_chooses_when_an_event_happened_for_the_log() -> None:
    """A `txid` below the sequencer's horizon would keep an event out of the log for ever."""
    schema.migrate()
    forged = (
        "INSERT INTO evidence_event (uuid, type, at, actor, event, commitment{}) VALUES (gen_random_uuid(), 2, now(), 'x', '{{}}', 'x'{})"
    )
    for role in schema.ROLES:
        with connection.cursor() as cursor:
            cursor.execute(f"SET ROLE tocsin_{role}")
            try:
                for column, value in (("txid", "1"), ("id", "1")):
                    with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
                        cursor.execute(forged.format(f", {column}", f", {value}"))
                if role in ("operator", "console", "worker"):
                    actions.record(EventType.FACT_RECORDED, at=AT, actor=role, body={})
                    actions.record_many(EventType.NOTICE_FAILED, [SubjectEvent(1, b"s" * 16, AT, {})], actor=role, incident=None)
                    continue
                with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
                    cursor.execute(forged.format("", ""))
            finally:
                cursor.execute("RESET ROLE")
    assert Event.objects.count() == 6


@pytest.mark.django_db
def test_the_public_process_records_one_type_of_event_and_the_owner_makes_it() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT evidence_record_public(61, %s, 7, NULL, NULL, %s)", [AT, '{"n":1}'])
        (made,) = cursor.fetchone()
        row = Event.objects.get(pk=made)
        text = policy.event_json(EventType.PASSWORD_RESET, at=AT, actor="public", incident=7, subject=None, uuid=row.uuid, body={"n": 1})
        assert bytes(row.event) == text
        assert bytes(row.commitment) == policy.commitment(bytes(row.salt), text)
        with pytest.raises(DatabaseError, match="no event of type 51"), transaction.atomic():
            cursor.execute("SELECT evidence_record_public(51, %s, 7, NULL, NULL, '{}')", [AT])
