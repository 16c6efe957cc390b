"""The sweeper and jobs of which one waiting copy is enough: a dead worker's job goes back although another copy waits."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection, transaction

from tocsin.kernel import clock, jobs
from tocsin.mail.models import Outbound


@pytest.mark.django_db(transaction=True)
def test_a_stalled_job_goes_back_beside_its_waiting_copy() -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM procrastinate_jobs")  # no model of ours: the flush between tests leaves them
        cursor.execute("INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id")
        worker = cursor.fetchone()[0]
        cursor.execute("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'")
        for status in ("doing", "todo"):
            cursor.execute(
                """INSERT INTO procrastinate_jobs (queue_name, task_name, status, queueing_lock, worker_id)
                   VALUES ('general', 'x', %s, 'only-one', %s)""",
                [status, worker if status == "doing" else None],
            )
    assert jobs.sweep() == 1
    assert jobs.waiting("general") == 2
    assert jobs.sweep() == 0


@pytest.mark.django_db(transaction=True)
def test_a_database_whose_clock_went_back_does_not_keep_the_dead_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() + interval '3 hours') RETURNING id")
        (dead,) = cursor.fetchone()
    row = Outbound.objects.create(purpose="reset", sealed=b"", queued_at=clock.now(), dedupe=b"clock", lease_owner=dead)
    Outbound.objects.filter(pk=row.pk).update(lease_until=clock.now() + timedelta(hours=3))
    monkeypatch.setattr(jobs, "_seen", (clock.now() - timedelta(seconds=2), clock.awake() - 2))
    jobs.sweep()
    row.refresh_from_db()
    assert row.lease_until > clock.now() + timedelta(hours=2)  # no jump was seen: nothing is touched
    monkeypatch.setattr(jobs, "_seen", (clock.now() + timedelta(hours=3), clock.awake() - 2))
    jobs.sweep()
    row.refresh_from_db()
    assert row.lease_until <= clock.now() + timedelta(seconds=jobs.LEASE_S + 1)
    with connection.cursor() as cursor:
        cursor.execute("SELECT last_heartbeat <= now() FROM procrastinate_workers WHERE id = %s", [dead])
        assert cursor.fetchone()[0] is True
        cursor.execute("DELETE FROM procrastinate_workers WHERE id = %s", [dead])
