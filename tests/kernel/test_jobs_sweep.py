"""The sweeper and jobs of which one waiting copy is enough: a dead worker's job goes back although another copy waits."""

from __future__ import annotations

import pytest
from django.db import connection, transaction

from tocsin.kernel import jobs


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
