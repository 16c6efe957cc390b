"""`Private`: a value that must not reach a log, a traceback or a screen by accident; and a process that leaves none in a core file."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys
from typing import Generic, TypeVar

T = TypeVar("T")
PR_SET_DUMPABLE = 4


class Private(Generic[T]):
    """Holds personal data or a secret; shows only a mask. `reveal()` is the one way in, easy to search for in review.

    Not a defence against code that wants the value: a defence against `repr`, f-strings, logs, JSON dumps and pickles.
    """

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value = value

    def reveal(self) -> T:
        """Return the value itself."""
        return self._value

    def __repr__(self) -> str:
        return "Private(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Private) and bool(self._value == other._value)

    def __hash__(self) -> int:
        return hash((Private, self._value))

    def __reduce__(self) -> str:
        raise TypeError("a Private value is not pickled")


def leave_no_core() -> None:
    """Have this process write no core file when it crashes and, on Linux, be traced by nobody but root. Call at start; safe to repeat."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # a C library without prctl: the limit above stands
            ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
