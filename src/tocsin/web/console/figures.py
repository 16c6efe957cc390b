"""Figures that many screens ask for every two seconds, made once for all of them.

Some are counted row by row (seconds at 24 million). A figure is kept for ten times as long as it took to make, so that screens, however many,
take at most a tenth of one connection per process; while one request makes it anew, the others get the last one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

KEPT_FACTOR = 10.0
KEYS_MAX = 64

T = TypeVar("T")


@dataclass
class _Made(Generic[T]):
    lock: threading.Lock = field(default_factory=threading.Lock)
    value: T | None = None
    until: float = 0.0


class Kept(Generic[T]):
    """Values by key, each made anew when it is older than KEPT_FACTOR times what making it took. What raises is not kept."""

    def __init__(self) -> None:
        self._made: dict[Hashable, _Made[T]] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value, made by `make` if it is too old and nobody else is making it."""
        if len(self._made) >= KEYS_MAX:
            self._made.clear()
        made = self._made.setdefault(key, _Made())
        if made.value is not None and time.monotonic() < made.until:
            return made.value
        if not made.lock.acquire(blocking=made.value is None):
            return made.value  # type: ignore[return-value]  # not None: somebody makes the next one
        try:
            begin = time.monotonic()
            if made.value is None or begin >= made.until:
                made.value = make()
                end = time.monotonic()
                made.until = end + (end - begin) * KEPT_FACTOR
            return made.value
        finally:
            made.lock.release()

    def forget(self, key: Hashable) -> None:
        """Make the value anew for whoever asks next: an act has just changed it."""
        self._made.pop(key, None)
