"""`python -m tests.crash.worker migrate | fill N | work | tell`: one process of the crash tests, on the database of its environment."""

from __future__ import annotations

import json
import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.crash.settings")

import django


def main(command: str, *arguments: str) -> None:
    """Run one command."""
    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from tests.crash.ledger.models import Batch, Begun, Written
    from tocsin.kernel import jobs, logs

    if command == "migrate":
        call_command("migrate", verbosity=0, run_syncdb=True)
    elif command == "fill":
        n, chunk_s = int(arguments[0]), float(arguments[1])
        for i in range(n):
            Batch.objects.create(start=i * 100, n=20)
        jobs.enqueue_many("tests.crash.ledger.tasks.write", [{"chunk_s": chunk_s}] * n)
    elif command == "work":
        logs.configure("worker")
        jobs.run_worker(queues=["general"], concurrency=2, name="test")
    elif command == "tell":
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM procrastinate_jobs WHERE status = 'failed'")
            failed = cursor.fetchone()[0]
        sys.stdout.write(
            json.dumps(
                {
                    "open": Batch.objects.filter(state="open").count(),
                    "written": Written.objects.count(),
                    "distinct": Written.objects.values("number").distinct().count(),
                    "begun": list(Begun.objects.order_by("pk").values("batch", "fence", "pid")),
                    "failed": failed,
                }
            )
        )


main(*sys.argv[1:])
