"""Jobs on the same PostgreSQL: enqueued in the transaction that makes them necessary, taken over within 20 s when a worker dies.

Design: procrastinate supplies queue, workers, priorities and heartbeats; only this file imports it. Ours are what it lacks: the batch
ledger (`Leased`: a lease and a fencing number per batch), the sweeper that puts a dead worker's jobs back, and the answer to each error
of `kernel/errors.py`. A job runs at least once; a batch's writes happen once, because each names its fence.
Refused: celery (no enqueue in the domain transaction), awa (one maintainer), dbos (recovery across hosts is not open).

A room's `tasks.py` declares jobs with `@job(queue=...)`; its `actions.py` calls `enqueue("room.tasks.name", key=value)`.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import logging
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import procrastinate
from django.apps import apps
from django.db import close_old_connections, connection, models, transaction
from django.db.models.functions import Now
from procrastinate import exceptions as queue_exceptions
from procrastinate.contrib.django import app as queue_app

from . import clock
from .errors import BadInput, Busy, NotFound, Refused, Unavailable

LEASE_S = 90
HEARTBEAT_S = 5.0
RENEWED_S = 10.0  # a holder that renewed so lately may still act on it: its batches are left alone (see `mail.sender.engine`)
STALLED_AFTER_S = 15  # with a sweep every SWEEP_S a dead worker's jobs are taken over within 20 s
SWEEP_S = 2.0  # 15 s and this, and the fetching of the job, stay under the promised 20 s
TICK_S = 0.5
WORKER_PRUNED_AFTER_S = 150.0  # a pruned worker's batches can no longer be found by owner and wait out their lease
UNAVAILABLE_TRIES_MAX = 20
JUMP_S = 2.0  # a clock that lost more than this since the last sweep was set
SWEEPER_LOCK = 0x746F6373  # advisory lock: one sweeper in the whole estate sweeps at a time
QUEUES = ("general", "mail", "urgent")  # urgent: what somebody waits for at a screen; it has workers that nothing else may fill

log = logging.getLogger("tocsin.jobs")
_every_s: dict[str, float] = {}
_serving = False  # whether this process is a worker
_worker_id: contextvars.ContextVar[int | None] = contextvars.ContextVar("worker_id", default=None)
F = TypeVar("F", bound=Callable[..., None])


class LostLease(Exception):
    """Another worker holds the batch now: stop at once and write nothing more."""


class _Retry(procrastinate.BaseRetryStrategy):
    """Busy comes back when it said; Unavailable after 5 s doubling to 5 min, bounded; all else is not retried."""

    def get_retry_decision(self, *, exception: BaseException, job: procrastinate.jobs.Job) -> procrastinate.RetryDecision | None:
        if isinstance(exception, Busy):
            return _again_in(max(1, int(exception.retry_after_s)))
        if isinstance(exception, Unavailable) and job.attempts < UNAVAILABLE_TRIES_MAX:
            return _again_in(min(300, 5 * 2 ** min(job.attempts, 6)))
        return None


def _again_in(seconds: int) -> procrastinate.RetryDecision:
    return procrastinate.RetryDecision(retry_at=clock.now() + timedelta(seconds=seconds))  # by our clock, which follows the database's


def job(*, queue: str = "general", every_s: float | None = None) -> Callable[[F], F]:
    """Declare a function of keyword arguments (JSON values) as a job named `module.function` without the leading `tocsin.`.

    The function is called at least once per enqueued job, outside any transaction, in a thread of its own. With `every_s` the workers of
    general jobs enqueue it again and again, at most one waiting copy in the whole estate: that is how a room above comes and asks a room
    below for what it left.
    """
    if queue not in QUEUES:
        raise BadInput.of("queue", queue, f"one of {QUEUES}")

    def declare(function: F) -> F:
        name = f"{function.__module__.removeprefix('tocsin.')}.{function.__name__}"

        def run(context: procrastinate.JobContext, /, **arguments: Any) -> None:
            close_old_connections()
            token = _worker_id.set(context.job.worker_id)
            try:
                if context.job.queueing_lock is not None:
                    _unlock([context.job.id])
                function(**arguments)
            except LostLease:
                log.warning("lost the lease of a batch: %s %s", name, json.dumps(arguments))
            except (BadInput, Refused, NotFound) as e:
                log.error("job ended: %s: %s: %s", name, e.kind, e)
                raise
            finally:
                _worker_id.reset(token)
                close_old_connections()

        queue_app.task(name=name, queue=queue, retry=_Retry(), pass_context=True)(run)
        if every_s is not None:
            _every_s[name] = every_s
        return function

    return declare


def enqueue(name: str, *, priority: int = 0, after_s: float = 0, unless_waiting: str | None = None, **arguments: Any) -> None:
    """Enqueue a job in the current transaction: it exists if, and only if, the transaction commits.

    `unless_waiting` names a job of which one waiting copy is enough. A higher `priority` is fetched first.
    """
    options: dict[str, Any] = {"priority": priority}
    if after_s:
        options["schedule_at"] = _db_now() + timedelta(seconds=after_s)  # the queue compares it with the database's clock
    if unless_waiting:
        options["queueing_lock"] = unless_waiting
    deferrer = queue_app.configure_task(name, **options)
    with contextlib.suppress(queue_exceptions.AlreadyEnqueued), transaction.atomic():  # a savepoint: a refusal must not spoil the caller's
        deferrer.defer(**arguments)


def enqueue_many(name: str, arguments: Iterable[dict[str, Any]], *, priority: int = 0) -> None:
    """Enqueue one job per set of arguments, in few statements, in the current transaction."""
    batch = list(arguments)
    for start in range(0, len(batch), 1000):
        queue_app.configure_task(name, priority=priority).batch_defer(*batch[start : start + 1000])


def worker_id() -> int | None:
    """Return the queue's id of the worker that runs this job; None outside a job."""
    return _worker_id.get()


class Leased(models.Model):
    """The batch ledger: one row per batch of work, claimed by raising its fence.

    Invariant: every write of a batch's outcome happens in a transaction that first matched `id` and `fence`. A frozen or cut-off
    owner that wakes up matches no row and stops.
    """

    state = models.TextField(default="open")  # open | done | whatever end states the room adds
    attempt = models.IntegerField(default=0)
    lease_owner = models.BigIntegerField(null=True)
    lease_until = models.DateTimeField(default=datetime(1970, 1, 1, tzinfo=UTC))
    fence = models.BigIntegerField(default=0)

    class Meta:
        abstract = True


L = TypeVar("L", bound=Leased)


def claim(batches: models.QuerySet[L], *, lease_s: int = LEASE_S) -> L | None:
    """Claim one open batch of the queryset whose lease has run out; None if there is none free. Commits by itself.

    Source of the pattern: FOR UPDATE SKIP LOCKED; the fence rises with each claim.
    """
    with transaction.atomic():
        free = batches.filter(state="open", lease_until__lte=_db_now()).order_by("pk").select_for_update(skip_locked=True).first()
        if free is None:
            return None
        free.fence += 1
        free.attempt += 1
        free.lease_owner = worker_id()
        free.lease_until = _db_now() + timedelta(seconds=lease_s)
        free.save(update_fields=["fence", "attempt", "lease_owner", "lease_until"])
        return free


def renew(batch: Leased, *, lease_s: int = LEASE_S) -> None:
    """Prolong the lease; raise LostLease if another worker has claimed the batch since."""
    fenced(batch, lease_until=Now() + timedelta(seconds=lease_s))


def fenced(batch: Leased, **changes: Any) -> None:
    """Write to the batch's row only if we still hold it; raise LostLease otherwise. Call it first in the transaction of an outcome."""
    if not type(batch)._default_manager.filter(pk=batch.pk, fence=batch.fence).update(**changes):
        raise LostLease(f"{type(batch).__name__} {batch.pk}")


def _db_now() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


def _leased_models() -> list[type[Leased]]:
    return [m for m in apps.get_models() if issubclass(m, Leased)]


def sweep() -> int:
    """Put back the jobs of workers without a heartbeat; return how many. Each job's batches are freed first.

    A worker that lost its heartbeat and still renews a lease is left alone until that is RENEWED_S old: what it holds it may be acting on.
    A crash between freeing and putting back costs one more sweep. Only one process of the estate sweeps at a time.
    """
    now = _db_now()
    if _serving:
        clock.follow(now)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [SWEEPER_LOCK])
        if not cursor.fetchone()[0]:
            return 0
        if _went_back(now):
            _bring_back(now)
        cursor.execute(
            """SELECT job.id, job.worker_id FROM procrastinate_jobs job LEFT JOIN procrastinate_workers w ON w.id = job.worker_id
               WHERE job.status = 'doing' AND (w.id IS NULL OR w.last_heartbeat < now() - make_interval(secs => %s))""",
            [STALLED_AFTER_S],
        )
        stalled = cursor.fetchall()
        owners = {owner for _, owner in stalled if owner is not None}
        fresh = now + timedelta(seconds=LEASE_S - RENEWED_S)
        for model in _leased_models() if owners else []:
            renewed = model._default_manager.filter(lease_owner__in=owners, state="open", lease_until__gt=fresh)
            owners -= set(renewed.values_list("lease_owner", flat=True))
        stalled = [(job_id, owner) for job_id, owner in stalled if owner is None or owner in owners]
        _unlock([job_id for job_id, _ in stalled])
        for model in _leased_models() if owners else []:
            model._default_manager.filter(lease_owner__in=owners, state="open").update(lease_until=now, lease_owner=None)
        for job_id, _ in stalled:
            queue_app.job_manager.retry_job_by_id(job_id, retry_at=now)
    if stalled:
        log.warning("put back %d jobs of workers without a heartbeat", len(stalled))
    return len(stalled)


_seen: tuple[datetime, float] | None = None


def _went_back(now: datetime) -> bool:
    """Return whether the database's clock was set back since the last look, by more than JUMP_S."""
    global _seen
    before, _seen = _seen, (now, clock.awake())
    return before is not None and (now - before[0]).total_seconds() < _seen[1] - before[1] - JUMP_S


def _bring_back(now: datetime) -> None:
    """Shorten what is dated by a clock that was set back since: a dead worker's heartbeat and lease would hold until it caught up again.

    Live workers write theirs anew within seconds.
    """
    log.warning("the database's clock went back")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE procrastinate_workers SET last_heartbeat = %s WHERE last_heartbeat > %s", [now, now])
    latest = now + timedelta(seconds=LEASE_S)
    for model in _leased_models():
        model._default_manager.filter(state="open", lease_owner__isnull=False, lease_until__gt=latest).update(lease_until=latest)


_ticked_at: dict[str, float] = {}


def tick() -> None:
    """Enqueue each recurring job whose time has come, unless a copy already waits."""
    now = clock.monotonic()
    for name, every_s in _every_s.items():
        if now - _ticked_at.get(name, -every_s) >= every_s:
            _ticked_at[name] = now
            enqueue(name, unless_waiting=name)


def _unlock(job_ids: list[int | None]) -> None:
    """Let running jobs go back to waiting although a waiting copy exists: `unless_waiting` counts waiting jobs, and its index would refuse."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE procrastinate_jobs SET queueing_lock = NULL WHERE id = ANY(%s) AND status = 'doing'", [job_ids])


def run_worker(*, queues: Iterable[str], concurrency: int, name: str, wait: bool = True) -> None:
    """Run jobs until SIGTERM or SIGINT; with `wait=False` until the queues are empty.

    Beside them it sweeps and, if it serves `general`, ticks. The process's clock follows the database's (see `clock`).
    """
    global _serving
    stop, served = threading.Event(), list(queues)
    _serving = True
    clock.follow(_db_now())
    close_old_connections()

    def keep_going(what: Callable[[], object], every_s: float) -> None:
        while not stop.wait(every_s):
            try:
                what()
            except Exception:  # the runner's own edge: a database away for a moment must not end the sweeping
                log.exception("%s failed and will be tried again", what.__name__)
            finally:
                close_old_connections()

    def start(what: Callable[[], object], every_s: float) -> None:
        threading.Thread(target=keep_going, args=(what, every_s), name=what.__name__, daemon=True).start()

    connector = queue_app.connector.get_worker_connector()  # type: ignore[attr-defined]
    worker_app = procrastinate.App(connector=connector)
    worker_app.tasks = queue_app.tasks  # the tasks keep their link to the Django connection: what they enqueue is transactional
    start(sweep, SWEEP_S)
    if "general" in served and wait:
        start(tick, TICK_S)

    async def main() -> None:
        async with worker_app.open_async():
            await worker_app.run_worker_async(
                queues=list(queues),
                name=name,
                concurrency=concurrency,
                wait=wait,
                delete_jobs="successful",
                fetch_job_polling_interval=1.0,
                update_heartbeat_interval=HEARTBEAT_S,
                stalled_worker_timeout=WORKER_PRUNED_AFTER_S,
                shutdown_graceful_timeout=10.0,
            )

    try:
        asyncio.run(main())
    finally:
        stop.set()
        _serving = False
        clock.follow(None)


def waiting(queue: str | None = None) -> int:
    """Return how many jobs wait or run, in one queue or all."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT count(*) FROM procrastinate_jobs
               WHERE status IN ('todo', 'doing') AND (%s::text IS NULL OR queue_name = %s)""",
            [queue, queue],
        )
        return int(cursor.fetchone()[0])


def failed() -> list[tuple[int, str]]:
    """Return the dead letters: id and name of each job that ended in failure."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, task_name FROM procrastinate_jobs WHERE status = 'failed' ORDER BY id")
        return [(int(i), str(n)) for i, n in cursor.fetchall()]
