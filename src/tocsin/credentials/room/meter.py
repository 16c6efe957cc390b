"""What the hashing pool of this process can do, measured by the pool itself: waits, refusals, and the time a slot is held."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable
from dataclasses import dataclass

from tocsin.kernel import clock

WINDOW_S = 5.0  # the 95th percentile is of the waits of this long
SAMPLES_MAX = 4096
HELD_WEIGHT = 0.05  # of the newest hash in the moving average


@dataclass(frozen=True, slots=True)
class Reading:
    """The pool now: hashes per second it could do with every slot taken, hashes per second it did, 95th percentile of the waits."""

    capacity_per_s: float
    hashes_per_s: float
    wait_p95_ms: float


class Meter:
    """Takes one note per use of the pool. A refusal counts as the longest wait: it is what the bound makes of one."""

    def __init__(self, *, running: int, wait_s_max: float, monotonic: Callable[[], float] = clock.monotonic) -> None:
        self.running, self.wait_s_max, self._monotonic = running, wait_s_max, monotonic
        self._lock = threading.Lock()
        self._waits: collections.deque[tuple[float, float]] = collections.deque(maxlen=SAMPLES_MAX)
        self._done: collections.deque[float] = collections.deque(maxlen=SAMPLES_MAX)
        self._held_s: float | None = None

    def served(self, *, wait_s: float, held_s: float) -> None:
        """Note a hash that was made: how long it waited for a slot and held it."""
        now = self._monotonic()
        with self._lock:
            self._waits.append((now, wait_s))
            self._done.append(now)
            self._held_s = held_s if self._held_s is None else self._held_s + HELD_WEIGHT * (held_s - self._held_s)

    def refused(self) -> None:
        """Note somebody who found the queue full or waited too long."""
        with self._lock:
            self._waits.append((self._monotonic(), self.wait_s_max))

    def calibrate(self, held_s: float) -> None:
        """Tell what one hash takes, before the first was measured."""
        with self._lock:
            self._held_s = self._held_s or held_s

    def read(self) -> Reading:
        """Return the pool's state over the last WINDOW_S."""
        since = self._monotonic() - WINDOW_S
        with self._lock:
            while self._waits and self._waits[0][0] < since:
                self._waits.popleft()
            while self._done and self._done[0] < since:
                self._done.popleft()
            waits, done, held = sorted(w for _, w in self._waits), len(self._done), self._held_s
        p95 = waits[min(len(waits) - 1, int(len(waits) * 0.95))] if waits else 0.0
        return Reading(self.running / held if held else 0.0, done / WINDOW_S, p95 * 1000)
