"""What the hashing pool of this process can do, measured by the pool itself: waits, refusals, and the time a slot is held.

The capacity is the lesser of two estimates. By the clock: slots / the time a hash holds one, which other work on the machine lengthens.
By CPU: what the process's other work (pages, queries, those who wait) leaves of its cores / the CPU time of a hash. Neither alone holds:
the first forgets that each new password also costs a page, the second that other processes want the cores too.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable
from dataclasses import dataclass

from tocsin.kernel import clock

WINDOW_S = 5.0  # the 95th percentile is of the waits of this long
SAMPLES_MAX = 4096
OTHER_LEAVES_MIN = 0.1  # of the cores: whatever else the process does
HELD_WEIGHT = 0.05  # of the newest hash in the moving average


@dataclass(frozen=True, slots=True)
class Reading:
    """The pool now: hashes per second it could do with every slot taken, hashes per second it did, 95th percentile of the waits.

    `hash_ms` is how long a slot is held, `refused` the share of those who came and found no place.
    """

    capacity_per_s: float
    hashes_per_s: float
    wait_p95_ms: float
    hash_ms: float
    refused: float


class Meter:
    """Takes one note per use of the pool. If more than one in twenty is refused, the 95th percentile is the longest wait there is."""

    def __init__(
        self,
        *,
        running: int,
        wait_s_max: float,
        monotonic: Callable[[], float] = clock.monotonic,
        cpu_s: Callable[[], float] = clock.process_cpu,
    ) -> None:
        self.running, self.wait_s_max, self._monotonic, self._cpu_s = running, wait_s_max, monotonic, cpu_s
        self._lock = threading.Lock()
        self._waits: collections.deque[tuple[float, float]] = collections.deque(maxlen=SAMPLES_MAX)
        self._done: collections.deque[float] = collections.deque(maxlen=SAMPLES_MAX)
        self._held_s: float | None = None
        self._hash_cpu_s: float | None = None
        self._hashing_s = 0.0
        self._read: collections.deque[tuple[float, float, float]] = collections.deque()  # time, CPU of the process, CPU of hashing

    def served(self, *, wait_s: float, held_s: float, cpu_s: float) -> None:
        """Note a hash that was made: how long it waited for a slot and held it, and the CPU time of its thread."""
        now = self._monotonic()
        with self._lock:
            self._waits.append((now, wait_s))
            self._done.append(now)
            self._held_s = held_s if self._held_s is None else self._held_s + HELD_WEIGHT * (held_s - self._held_s)
            self._hash_cpu_s = cpu_s if self._hash_cpu_s is None else self._hash_cpu_s + HELD_WEIGHT * (cpu_s - self._hash_cpu_s)
            self._hashing_s += cpu_s

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
        now = self._monotonic()
        since = now - WINDOW_S
        with self._lock:
            self._read.append((now, self._cpu_s(), self._hashing_s))
            while len(self._read) > 2 and self._read[1][0] <= since:
                self._read.popleft()
            other = self._other_share()
            while self._waits and self._waits[0][0] < since:
                self._waits.popleft()
            while self._done and self._done[0] < since:
                self._done.popleft()
            waits, done, held, cpu = sorted(w for _, w in self._waits), len(self._done), self._held_s, self._hash_cpu_s
        turned = sum(w >= self.wait_s_max for w in waits)
        p95 = waits[min(len(waits) - 1, int(len(waits) * 0.95))] if waits else 0.0
        capacity = self.running / held if held else 0.0
        if cpu:
            capacity = min(capacity, max(self.running - other, self.running * OTHER_LEAVES_MIN) / cpu)
        return Reading(capacity, done / WINDOW_S, p95 * 1000, (held or 0.0) * 1000, turned / len(waits) if waits else 0.0)

    def _other_share(self) -> float:
        """Return how many cores the process used for other things than hashing since the oldest reading kept."""
        (then, cpu, hashing), (now, cpu_now, hashing_now) = self._read[0], self._read[-1]
        return max(0.0, (cpu_now - cpu - (hashing_now - hashing)) / (now - then)) if now > then else 0.0
