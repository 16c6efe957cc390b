"""A seeded scheduler: real code in threads with connections of their own, one database statement at a time, in an order drawn from a seed.

Each actor stops before every statement and before every COMMIT. The scheduler lets one of them take one step, waits until it stops again, has
ended, or waits for a lock of another (which the server tells), and draws the next. The same seed gives the same order. Nothing is replaced but
the moment at which a statement is sent, so what is found is an order that a real server could see.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

STEPS_MAX = 5_000
LOCK_LOOK_S = 0.004  # how long a step may take before the server is asked whether it waits for a lock
STEP_S_MAX = 30.0
DELAY_STEPS_MAX = 30
BURST_MAX = 6


@dataclass
class Actor:
    """One thread with its connection; runs one program per schedule."""

    name: str
    program: Callable[[], None] | None = None
    state: str = "idle"  # idle, parked, running, ended
    pid: int = 0
    error: BaseException | None = None
    eligible_at: int = 0
    go: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None


class Scheduler:
    """Actors that live for many schedules. `now` counts the steps taken: the only clock that orders what happened."""

    def __init__(self, n: int) -> None:
        self.now = 0
        self.steps: list[str] = []
        self._changed = threading.Condition()
        self._closing = False
        self.actors = [Actor(f"actor {i}") for i in range(n)]
        for actor in self.actors:
            actor.thread = threading.Thread(target=self._live, args=(actor,), daemon=True)
            actor.thread.start()
        self._settle(lambda a: a.state == "idle" and a.pid > 0)

    def run(self, programs: Sequence[Callable[[], None]], *, seed: int) -> None:
        """Run the programs to their ends in the order of a seed. Raises what a program raised, AssertionError if all wait for one another."""
        draw = random.Random(seed)
        self.now, self.steps = 0, []
        busy = self.actors[: len(programs)]
        for actor, program in zip(busy, programs, strict=True):
            actor.program, actor.error, actor.state = program, None, "running"
            actor.eligible_at = draw.randrange(DELAY_STEPS_MAX)
            actor.go.set()
        self._settle()
        last: Actor | None = None
        burst = 0
        while any(a.state != "ended" for a in busy):
            parked = [a for a in busy if a.state == "parked"]
            if not parked:
                self._settle(patient=True)
                continue
            ready = [a for a in parked if a.eligible_at <= self.now] or parked
            if burst <= 0 or last not in ready:
                last, burst = draw.choice(ready), draw.randrange(1, BURST_MAX)
            burst -= 1
            self.now += 1
            assert self.now < STEPS_MAX, f"seed {seed}: no end after {STEPS_MAX} steps"
            self.steps.append(last.name)
            last.state = "running"
            last.go.set()
            self._settle()
        for actor in busy:
            actor.state = "idle"
            if actor.error is not None:
                raise AssertionError(f"seed {seed}, step {self.now}: {actor.name} failed") from actor.error

    def close(self) -> None:
        """End the threads and their connections."""
        self._closing = True
        for actor in self.actors:
            actor.go.set()
        for actor in self.actors:
            if actor.thread is not None:
                actor.thread.join(10)

    def park(self) -> None:
        """Stop here until the scheduler lets this actor take a step. Called in its thread."""
        actor = next(a for a in self.actors if a.thread is threading.current_thread())
        with self._changed:
            actor.state = "parked"
            self._changed.notify_all()
        actor.go.wait()
        actor.go.clear()

    def _live(self, actor: Actor) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            actor.pid = cursor.fetchone()[0]

        def stop_first(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
            self.park()
            return execute(sql, params, many, context)

        commit = connection._commit

        def stop_then_commit() -> None:
            self.park()
            commit()

        connection._commit = stop_then_commit
        connection.execute_wrappers.append(stop_first)
        with self._changed:
            self._changed.notify_all()
        while True:
            actor.go.wait()
            actor.go.clear()
            if self._closing or actor.program is None:
                break
            try:
                actor.program()
            except Exception as e:  # noqa: BLE001  # handed to the scheduler, which raises it
                actor.error = e
            with self._changed:
                actor.state = "ended"
                self._changed.notify_all()
        connection.close()

    def _settle(self, done: Callable[[Actor], bool] | None = None, *, patient: bool = False) -> None:
        """Wait until nobody runs, except those who wait for a lock that somebody who is parked holds."""
        end = time.monotonic() + STEP_S_MAX
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._still(done), timeout=LOCK_LOOK_S)
                if self._still(done):
                    return
                running = [a for a in self.actors if a.state == "running"]
            if done is None and running and all(self._waits_for_lock(a) for a in running):
                assert not patient or any(a.state == "parked" for a in self.actors), "everybody waits for a lock"
                return
            assert time.monotonic() < end, f"a step took more than {STEP_S_MAX} s"

    def _still(self, done: Callable[[Actor], bool] | None) -> bool:
        return all(done(a) for a in self.actors) if done else not any(a.state == "running" for a in self.actors)

    def _waits_for_lock(self, actor: Actor) -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT cardinality(pg_blocking_pids(%s)) > 0", [actor.pid])
            return bool(cursor.fetchone()[0])
