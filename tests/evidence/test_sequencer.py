"""Events to leaves to checkpoint to proof, through real files and a real database; crashes at each step of a turn."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from django.db import connection, transaction
from django.db.models import Count

from tocsin.evidence import actions, policy, queries, sequencer
from tocsin.evidence.models import Event
from tocsin.evidence.types import EventType, SubjectEvent
from tocsin.kernel.errors import NotFound, Refused
from tocsin_tlog import proof
from tocsin_tlog.appender import Appender
from tocsin_tlog.errors import Unverified

AT = datetime(2026, 1, 15, 3, 0, tzinfo=UTC)
SALT = b"s" * 16

pytestmark = pytest.mark.django_db(transaction=True)


def record(n: int) -> None:
    with transaction.atomic():
        actions.record_many(
            EventType.NOTICE_HANDED_OVER, (SubjectEvent(i, SALT, AT, {"n": i}) for i in range(n)), actor="worker", incident=1
        )


def sequence(log: Appender, n: int) -> None:
    """Take in so many events: at once, unless a connection that another test closed is still ending and holds the horizon back."""
    until = time.monotonic() + 30
    taken = sequencer.sequence_once(log)
    while taken < n and time.monotonic() < until:
        time.sleep(0.05)
        taken += sequencer.sequence_once(log)
    assert taken == n


def test_every_event_is_proved_from_the_files(estate: Path) -> None:
    act = actions.record(EventType.INCIDENT_DECLARED, at=AT, actor="ada", incident=1, body={})
    record(300)
    with pytest.raises(NotFound, match="not in the log yet"):
        queries.prove(act)
    with sequencer.open_log(estate) as log:
        sequence(log, 301)
        record(5)
        sequence(log, 5)
        assert sequencer.sequence_once(log) == 0
    status = queries.log_status()
    assert (status.entries, status.pending, status.size) == (306, 0, 306)
    verified = queries.verify(estate)
    assert verified.consistent
    assert verified.root == status.root_hex
    assert {s.kind for s in verified.signatures} == {"ed25519", "ml_dsa_44"}
    indices = set()
    for event in Event.objects.all():
        found = queries.prove(event.pk, subject_salt=SALT if event.subject is not None else None)
        indices.add(found.index)
        assert policy.commitment(found.salt, found.event_json) == found.leaf[15:]
        with pytest.raises(Unverified):
            proof.verify_proof(found.tlog_proof.encode(), entry=found.leaf[:-1] + bytes([found.leaf[-1] ^ 1]), vkeys=queries.vkeys(estate))
    assert indices == set(range(306))
    of_subject = queries.newest_entry_of_subject(7, EventType.NOTICE_HANDED_OVER)
    with pytest.raises(Refused, match="salt"):
        queries.prove(of_subject.id, subject_salt=b"x" * 16)
    with pytest.raises(Refused, match="erased"):
        queries.prove(of_subject.id)


def test_counts_are_exact_at_every_moment(estate: Path) -> None:
    """Sequenced, waiting, several incidents and none: the running counts say what counting one by one says."""

    def one_by_one(incident: int | None) -> dict[EventType, int]:
        found = Event.objects.all() if incident is None else Event.objects.filter(incident=incident)
        return {EventType(t): n for t, n in found.values_list("type").annotate(n=Count("pk")).order_by("type")}

    def agree() -> None:
        for incident in (None, 1, 2, 3):
            assert queries.counts(incident=incident) == one_by_one(incident)

    agree()
    with sequencer.open_log(estate) as log:
        for turn in range(3):
            record(10)
            for incident in (None, 1, 2):
                actions.record(EventType.FACT_RECORDED, at=AT, actor="ada", incident=incident, body={"turn": turn})
            agree()
            sequence(log, 13)
            agree()
        actions.record(EventType.FACT_RECORDED, at=AT, actor="ada", incident=2, body={})
        assert sequencer.sequence_once(log) == 1
        agree()
        actions.record(EventType.DUTY_CLOSED, at=AT, actor="ada", incident=2, body={})
        agree()
    assert queries.counts(incident=2) == {EventType.FACT_RECORDED: 4, EventType.DUTY_CLOSED: 1}


def test_an_open_transaction_holds_the_horizon_and_loses_nothing(estate: Path) -> None:
    settings = connection.get_connection_params()
    other = psycopg.connect(**{k: v for k, v in settings.items() if k in {"host", "port", "user", "password", "dbname"}})
    with sequencer.open_log(estate) as log:
        other.execute(
            "INSERT INTO evidence_event (uuid, type, at, actor, event, salt, commitment)"
            " VALUES (gen_random_uuid(), 2, now(), 'x', '{}', 'a', %s)",
            [b"c" * 32],
        )
        record(10)
        assert sequencer.sequence_once(log) == 0
        assert queries.log_status().pending == 10
        other.commit()
        other.close()
        assert sequencer.sequence_once(log) == 11
    assert queries.verify(estate).consistent


def test_a_crash_at_any_step_of_a_turn_costs_nothing(estate: Path) -> None:
    record(10)
    with sequencer.open_log(estate) as log:
        sequence(log, 10)
    for durable in (False, True):  # a crash after step 1, and after step 2
        with sequencer.open_log(estate) as log:
            log.append([b"\x01" * policy.LEAF_BYTES])
            if durable:
                log.sync()
    record(10)
    folder = queries.log_folder(estate)
    before = {name: (folder / name).read_bytes() for name in ("head", "checkpoint")}
    with sequencer.open_log(estate) as log:
        sequence(log, 10)
    # What a crash after step 3 leaves behind: the database has the head, the files have the leaves, nothing is signed.
    for name, content in before.items():
        (folder / name).write_bytes(content)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE evidence_checkpoint DISABLE TRIGGER USER")
        cursor.execute("DELETE FROM evidence_checkpoint WHERE size = 20")
        cursor.execute("ALTER TABLE evidence_checkpoint ENABLE TRIGGER USER")
    assert queries.log_status().size == 10
    with sequencer.open_log(estate) as log:
        assert log.size == 20
        assert sequencer.sequence_once(log) == 0
    assert queries.log_status().size == 20
    assert queries.verify(estate).consistent


def test_the_process_takes_in_events_until_told_to_stop(estate: Path) -> None:
    record(3)
    stop = threading.Event()
    stop.set()
    sequencer.run(home=estate, stop=stop)
    assert queries.log_status().size == 3
