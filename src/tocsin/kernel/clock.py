"""The only place that reads the clock: aware UTC instants. Actions take `at`; the edges (web, command line, jobs) ask here.

A process that works for others (`jobs.run_worker`) lets its clock follow the database's: leases, heartbeats and the times of jobs are read
on that one, and a machine whose own clock is set hours wrong, or is put right in the middle, must neither hold a mailing up nor date it
wrongly. Between two looks at the database time runs on by a clock that nobody can set.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

_followed: tuple[int, float] | None = None  # microseconds since 1970 of another clock, and when it was read


def _wall_us() -> int:
    return time.time_ns() // 1000


def now_us() -> int:
    """Return the present instant in microseconds since 1970."""
    if _followed is None:
        return _wall_us()
    return _followed[0] + int((awake() - _followed[1]) * 1_000_000)


def now() -> datetime:
    """Return the present instant, aware, in UTC."""
    return from_us(now_us())


def follow(at: datetime | None) -> None:
    """Let `now` go on from this instant of another clock, whatever this machine's says; None: ask this machine's again."""
    global _followed
    _followed = None if at is None else (us(at), awake())


def us(at: datetime) -> int:
    """Return an instant as whole microseconds since 1970-01-01T00:00Z, exact (no float in between)."""
    delta = at.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def from_us(value: int) -> datetime:
    """Return the instant of `us` as an aware UTC datetime."""
    return datetime.fromtimestamp(value // 1_000_000, UTC).replace(microsecond=value % 1_000_000)


def iso(at: datetime) -> str:
    """Return an instant as JSON shows it: ISO 8601 in UTC with a `Z`."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def parse_iso(text: str) -> datetime:
    """Return the aware UTC instant of an ISO 8601 text with an offset or `Z`. Raises ValueError for anything else."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} has no offset from UTC")
    return at.astimezone(UTC)


def process_cpu() -> float:
    """Return seconds of CPU, user and system, that this process has used."""
    return time.process_time()


def thread_cpu() -> float:
    """Return seconds of CPU, user and system, that this thread has used."""
    return time.thread_time()


def monotonic() -> float:
    """Return seconds on a clock that never goes back, for intervals only."""
    return time.monotonic()


def awake() -> float:
    """Return seconds on a clock that never goes back and also counts while the machine sleeps, where the system has one."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
