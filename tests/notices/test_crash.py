"""Senders killed, frozen, and bereft of their journals: nobody is lost, repeats are few, and each was named before.

The witness is the post office's own record; the log is read before the take-over sends anything.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections import Counter
from pathlib import Path

import pytest
from django.db import connection

from tests.notices.office import Office
from tests.notices.test_mailing import closes, lanes, run
from tests.notices.world import AT, people, sender, started, worker
from tocsin.evidence.types import EventType
from tocsin.kernel import clock, jobs
from tocsin.notices import actions
from tocsin.notices.models import Batch

pytestmark = pytest.mark.django_db(transaction=True)

CONNECTIONS = 4  # of one block: half of the relay's eight


def entries(type_: EventType) -> Counter[int]:
    """How many entries of a type each subject has."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT subject, count(*) FROM evidence_event WHERE type = %s GROUP BY subject", [type_])
        return Counter(dict(cursor.fetchall()))


def free_leases() -> None:
    """What the sweeper does for a worker without a heartbeat."""
    Batch.objects.filter(state="open").update(lease_until="1970-01-01T00:00:00Z")


def by_message(office: Office) -> Counter[str]:
    return Counter(t.message_id for t in office.taken)


@pytest.mark.parametrize("kill_at", [1, 37, 190, 600])
def test_killed_in_the_middle_of_a_block(shop: Path, office: Office, kill_at: int) -> None:
    incident = people([f"user{i}@gmail.example" for i in range(700)])
    mailing = started(shop, incident)
    child: list[subprocess.Popen[str]] = []
    ready = threading.Event()

    def kill(n: int) -> None:
        if n == kill_at:
            ready.wait(30)
            os.kill(child[0].pid, signal.SIGKILL)

    office.on_message = kill
    child.append(sender(shop, mailing))
    ready.set()
    assert child[0].wait(60) == -signal.SIGKILL
    office.on_message = lambda n: None
    before = by_message(office)
    assert len(before) >= kill_at
    assert closes(mailing).waiting == 700  # nothing was written down yet
    free_leases()

    run(mailing)
    s = closes(mailing)
    after = by_message(office)
    repeats = {m for m, n in after.items() if n > 1}
    named = entries(EventType.NOTICE_IN_DOUBT)
    assert (s.handed_over, s.waiting, s.lost) == (700, 0, 0)
    assert len(after) == 700
    assert max(after.values()) <= 2
    assert len(repeats) <= s.in_doubt == len(named) <= CONNECTIONS
    assert entries(EventType.NOTICE_HANDED_OVER) == Counter(dict.fromkeys(Batch.objects.get().subjects, 1))
    with connection.cursor() as cursor:  # each repeat was named before anything was sent again
        cursor.execute(
            """SELECT count(*) FROM evidence_event h JOIN evidence_event d USING (subject)
               WHERE h.type = %s AND d.type = %s AND h.id < d.id""",
            [EventType.NOTICE_HANDED_OVER, EventType.NOTICE_IN_DOUBT],
        )
        assert cursor.fetchone()[0] == 0
    assert not list((shop / "journal").glob("*.jnl"))


def test_a_frozen_sender_writes_nothing_when_it_wakes(shop: Path, office: Office) -> None:
    incident = people([f"user{i}@gmail.example" for i in range(500)])
    mailing = started(shop, incident)
    child: list[subprocess.Popen[str]] = []
    ready, frozen = threading.Event(), threading.Event()

    def freeze(n: int) -> None:
        if n == 120:
            ready.wait(30)
            os.kill(child[0].pid, signal.SIGSTOP)
            frozen.set()

    office.on_message = freeze
    child.append(sender(shop, mailing))
    ready.set()
    assert frozen.wait(60)
    office.on_message = lambda n: None
    taken_then = len(office.taken)
    free_leases()
    run(mailing)
    done = closes(mailing, at=AT)
    rows = entries(EventType.NOTICE_HANDED_OVER)
    assert (done.handed_over, sum(rows.values())) == (500, 500)
    os.kill(child[0].pid, signal.SIGCONT)
    assert child[0].wait(60) == 75, child[0].stderr
    assert closes(mailing, at=AT) == done
    assert entries(EventType.NOTICE_HANDED_OVER) == rows
    counts = by_message(office)
    assert taken_then < len(counts) == 500
    assert max(counts.values()) <= 2


def test_a_lost_journal_puts_the_rest_of_the_block_in_doubt(shop: Path, office: Office) -> None:
    incident = people([f"user{i}@gmail.example" for i in range(300)])
    mailing = started(shop, incident)
    child: list[subprocess.Popen[str]] = []
    ready = threading.Event()

    def kill(n: int) -> None:
        if n == 50:
            ready.wait(30)
            os.kill(child[0].pid, signal.SIGKILL)

    office.on_message = kill
    child.append(sender(shop, mailing))
    ready.set()
    assert child[0].wait(60) == -signal.SIGKILL
    office.on_message = lambda n: None
    shutil.rmtree(shop / "journal")
    free_leases()
    run(mailing)
    s = closes(mailing)
    assert (s.handed_over, s.in_doubt) == (300, 300)
    assert len(entries(EventType.NOTICE_IN_DOUBT)) == 300
    assert len(by_message(office)) == 300


def test_a_dead_workers_block_is_swept_and_taken_over(shop: Path, office: Office) -> None:
    incident = people([f"user{i}@gmail.example" for i in range(400)])
    mailing = started(shop, incident)
    child: list[subprocess.Popen[str]] = []
    ready = threading.Event()

    def kill(n: int) -> None:
        if n == 60:
            ready.wait(30)
            os.kill(child[0].pid, signal.SIGKILL)

    office.on_message = kill
    child.append(worker(shop))
    ready.set()
    assert child[0].wait(60) == -signal.SIGKILL
    office.on_message = lambda n: None
    with connection.cursor() as cursor:
        cursor.execute("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 minute'")
    assert jobs.sweep() >= 1
    assert actions.send_next(mailing, lanes(mailing)[0], at=clock.now()) > 0
    s = closes(mailing)
    assert (s.handed_over, s.waiting) == (400, 0)
    assert s.in_doubt <= CONNECTIONS
    assert len(by_message(office)) == 400
