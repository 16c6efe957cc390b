"""The one error vocabulary: what happened decides the answer of web, command line and job runner.

    TocsinError
      BadInput      malformed or out of range, all faults at once     web 400   exit 2   job fails, no retry
      Refused       well-formed, but not now or not by you            web 409   exit 3   job fails, no retry
      NotFound      no such thing (same answer where existence is private) 404  exit 4   job fails, no retry
      Busy          over a limit; carries when to come back           web 429   exit 5   job is retried after retry_after_s
      Unavailable   an outside system failed after its own retries    web 503   exit 6   job is retried, bounded

Anything else is a defect: it rises to the web middleware, the job runner or `cli.main`, and ends with exit code 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SHOWN_MAX = 20  # faults in the one-line message; `faults` holds them all


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with an input: where, what stood there, what was wanted, and so what to do."""

    field: str
    got: str
    wanted: str
    line: int | None = None

    def __str__(self) -> str:
        where = f"line {self.line}, {self.field}" if self.line is not None else self.field
        return f"{where}: got {self.got}; wanted {self.wanted}"


class TocsinError(Exception):
    """An error that has a name, an exit code and an HTTP status."""

    kind = "defect"
    exit_code = 1
    http_status = 500


class BadInput(TocsinError):
    """The input is malformed or out of range. Carries every fault found, never only the first."""

    kind, exit_code, http_status = "bad_input", 2, 400

    def __init__(self, faults: Sequence[Fault] | Fault) -> None:
        self.faults: tuple[Fault, ...] = (faults,) if isinstance(faults, Fault) else tuple(faults)
        more = len(self.faults) - SHOWN_MAX
        super().__init__("; ".join(str(f) for f in self.faults[:SHOWN_MAX]) + (f"; and {more} more" if more > 0 else ""))

    @classmethod
    def of(cls, field: str, got: object, wanted: str, line: int | None = None) -> BadInput:
        """Return the error of a single fault."""
        return cls(Fault(field, repr(got), wanted, line))


class Refused(TocsinError):
    """Well-formed, but a rule forbids it now: a phase, a missing approval, already done. Names the rule and the remedy."""

    kind, exit_code, http_status = "refused", 3, 409

    def __init__(self, rule: str, *, approval: int | None = None) -> None:
        self.rule, self.approval = rule, approval
        super().__init__(rule)


class NotFound(TocsinError):
    """No such thing, or none that the asker may know of."""

    kind, exit_code, http_status = "not_found", 4, 404


class Busy(TocsinError):
    """Over a limit; try again after `retry_after_s` seconds."""

    kind, exit_code, http_status = "busy", 5, 429

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class Unavailable(TocsinError):
    """An outside system did not answer as promised, after the port's own retries."""

    kind, exit_code, http_status = "unavailable", 6, 503

    def __init__(self, port: str, message: str) -> None:
        self.port = port
        super().__init__(f"{port}: {message}")


class InvariantError(Exception):
    """A promise of our own code was broken: a defect, never an answer to bad input."""


def ensure(condition: bool, message: str) -> None:
    """Stop this unit of work if an invariant does not hold. Unlike `assert` it also holds under `python -O`."""
    if not condition:
        raise InvariantError(message)
