"""`Private`: a value that must not reach a log, a traceback or a screen by accident."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


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
