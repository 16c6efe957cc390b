"""Senders killed, frozen, and bereft of their journals: nobody is lost, repeats are few, and each was named before.

The witness is the post office's own record; the log is read before the take-over sends anything.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.db.models import F

from tests.notices.office import Office
from tests.notices.test_mailing import closes, lanes, run
from tests.notices.world import AT, people, sender, started, worker
from tocsin.evidence.types import EventType
from tocsin.kernel import clock, jobs
from tocsin.mail.types import LEASE_AGE_S_MAX
from tocsin.notices import actions, policy, sending
from tocsin.notices.models import Batch, Shipped
from tocsin.notices.types import Retry

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


def repeats_were_named(office: Office) -> int:
    """Return how many people got the notice twice, after checking that the log named each of them before."""
    twice = {m for m, n in by_message(office).items() if n > 1}
    assert max(by_message(office).values()) <= 2
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT convert_from(h.event, 'UTF8')::jsonb #>> '{body,message_id}', extract(epoch FROM d.at)::float8
               FROM evidence_event h JOIN evidence_event d USING (subject) WHERE h.type = %s AND d.type = %s AND d.id < h.id""",
            [EventType.NOTICE_HANDED_OVER, EventType.NOTICE_IN_DOUBT],
        )
        named = dict(cursor.fetchall())
    assert twice <= named.keys()
    second = {t.message_id: t.wall for t in office.taken}  # the last arrival of each
    assert all(named[m] <= second[m] for m in twice)
    return len(twice)


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


def test_a_frozen_sender_writes_and_sends_nothing_when_it_wakes(shop: Path, office: Office) -> None:
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
    began = time.monotonic()
    run(mailing)
    assert time.monotonic() - began >= LEASE_AGE_S_MAX  # nobody knows that it will not wake up before its lease is old
    done = closes(mailing, at=AT)
    rows = entries(EventType.NOTICE_HANDED_OVER)
    assert (done.handed_over, sum(rows.values())) == (500, 500)
    before = by_message(office)
    os.kill(child[0].pid, signal.SIGCONT)
    assert child[0].wait(60) == 75, child[0].stderr
    assert closes(mailing, at=AT) == done
    assert entries(EventType.NOTICE_HANDED_OVER) == rows
    assert by_message(office) == before
    assert taken_then < len(before) == 500
    assert repeats_were_named(office) <= done.in_doubt <= CONNECTIONS


def test_a_lease_that_a_clock_ended_is_no_proof_of_death(shop: Path, office: Office) -> None:
    """The database's clock goes forward by hours: the lease is over, its holder sends on. It stops before the next one begins."""
    incident = people([f"user{i}@gmail.example" for i in range(700)])
    mailing = started(shop, incident)
    child: list[subprocess.Popen[str]] = []
    going = threading.Event()
    office.on_message = lambda n: going.set() if n == 100 else None
    office.delay_s = 0.04  # 100 a second: it would go on for longer than until its next renewal
    child.append(sender(shop, mailing))
    assert going.wait(60)
    free_leases()
    threading.Timer(6.0, setattr, (office, "delay_s", 0.0)).start()
    run(mailing)
    s = closes(mailing)
    assert child[0].wait(60) in (0, 75), child[0].stderr and child[0].stderr.read()
    assert (s.handed_over, s.waiting) == (700, 0)
    assert len(by_message(office)) == 700
    assert repeats_were_named(office) <= s.in_doubt <= CONNECTIONS


def killed_at(shop: Path, office: Office, mailing: int, n: int) -> None:
    """Start a sender, kill it at the n-th message, end its lease."""
    child: list[subprocess.Popen[str]] = []
    ready = threading.Event()

    def kill(count: int) -> None:
        if count == n:
            ready.wait(30)
            os.kill(child[0].pid, signal.SIGKILL)

    office.on_message = kill
    child.append(sender(shop, mailing))
    ready.set()
    assert child[0].wait(60) == -signal.SIGKILL
    office.on_message = lambda n: None
    free_leases()


def test_a_lost_machine_puts_in_doubt_only_what_it_had_announced_and_not_shipped(
    shop: Path, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "OUTLAST_S", 0.1)  # its process is dead: nobody need be waited for
    incident = people([f"user{i}@gmail.example" for i in range(300)])
    mailing = started(shop, incident)
    killed_at(shop, office, mailing, 100)
    told = Shipped.objects.order_by("pk").last()
    assert told is not None
    assert told.ahead < 200  # it had not announced the whole block
    shutil.rmtree(shop / "journal")
    run(mailing)
    s = closes(mailing)
    announced = policy.AHEAD_PER_CONNECTION * CONNECTIONS
    assert s.handed_over == len(by_message(office)) == 300
    assert repeats_were_named(office) <= s.in_doubt == len(entries(EventType.NOTICE_IN_DOUBT)) <= 2 * announced
    assert entries(EventType.NOTICE_HANDED_OVER) == Counter(dict.fromkeys(Batch.objects.get().subjects, 1))
    assert not Shipped.objects.exists()


def test_a_power_cut_takes_the_end_of_the_journal_and_no_name(shop: Path, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "OUTLAST_S", 0.1)
    incident = people([f"user{i}@gmail.example" for i in range(300)])
    mailing = started(shop, incident)
    killed_at(shop, office, mailing, 100)
    (journal,) = (shop / "journal").glob("*.jnl")
    os.truncate(journal, 31 * 36 + 7)  # what the disk had, torn in the middle of a record
    (shop / "boot_id").write_text("another boot")
    monkeypatch.setattr(sending, "BOOT_FILE", shop / "boot_id")
    run(mailing)
    s = closes(mailing)
    assert s.handed_over == len(by_message(office)) == 300
    assert repeats_were_named(office) > CONNECTIONS  # the journal alone would have named so many at most
    assert repeats_were_named(office) <= s.in_doubt < 300


def test_a_full_disk_stops_the_sender_cleanly_and_it_goes_on_when_there_is_room(shop: Path, office: Office) -> None:
    incident = people([f"user{i}@gmail.example" for i in range(500)])
    mailing = started(shop, incident)
    child = sender(shop, mailing, file_bytes_max=200 * 36 + 11)  # a limit on a file's size fails a write as a full disk does: in its middle
    _, said = child.communicate(timeout=60)
    assert child.returncode == 1
    assert "journal" in said
    assert "free some space" in said or "check the disk" in said
    s = closes(mailing)
    assert 0 < s.handed_over < 500
    assert s.waiting == 500 - s.handed_over
    assert s.in_doubt <= CONNECTIONS
    assert not Batch.objects.exclude(unsettled=[]).exists()  # it gave the block back with all it knew
    run(mailing)  # there is room again
    s = closes(mailing)
    assert (s.handed_over, s.waiting) == (500, 0)
    assert len(by_message(office)) == 500
    assert repeats_were_named(office) <= s.in_doubt <= CONNECTIONS


def test_a_worker_whose_clock_is_set_wrong_in_the_middle_goes_by_the_databases(shop: Path, office: Office) -> None:
    incident = people([f"user{i}@gmail.example" for i in range(200)] + ["full1@gmail.example"])
    mailing = started(shop, incident, retry=Retry(first_s=0.5, tries_max=3))
    child = worker(shop, clock_jumps_s=3 * 3600)
    out, said = child.communicate(timeout=60)
    assert child.returncode == 0, out + said
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT max(abs(extract(epoch FROM now() - at))) FROM evidence_event WHERE type = %s", [EventType.NOTICE_HANDED_OVER]
        )
        assert cursor.fetchone()[0] < 60
        cursor.execute("SELECT max(scheduled_at - now()) < interval '1 hour' FROM procrastinate_jobs WHERE status = 'todo'")
        assert cursor.fetchone()[0] is True  # whatever waits is not put off for hours
    run(mailing)
    s = closes(mailing)
    assert (s.handed_over, s.waiting, s.in_doubt) == (201, 0, 0)


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
    assert jobs.sweep() == 0  # no heartbeat, but its lease was renewed just now: it may be sending
    Batch.objects.filter(state="open").update(lease_until=F("lease_until") - timedelta(seconds=jobs.RENEWED_S))
    assert jobs.sweep() >= 1
    assert actions.send_next(mailing, lanes(mailing)[0], at=clock.now()) > 0
    s = closes(mailing)
    assert (s.handed_over, s.waiting) == (400, 0)
    assert s.in_doubt <= CONNECTIONS
    assert len(by_message(office)) == 400
