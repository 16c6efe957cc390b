"""Lifting the gate for people whose new password lives in a company's own system, not in our store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tocsin.kernel import sql
from tocsin.kernel.errors import BadInput

LIFTS_MAX = 10_000


def lift(subjects: Sequence[int], *, source: str, at: datetime, population: str = "customers") -> int:
    """Let accounts through the gate again that have a new password in `source` (a connector's name); return for how many that is new.

    Safe to repeat: an account that is through already is left as it is. Belongs into the transaction of what tells us of the password.
    Raises BadInput for more than LIFTS_MAX at once.
    """
    if len(subjects) > LIFTS_MAX:
        raise BadInput.of("subjects", len(subjects), f"at most {LIFTS_MAX} at once")
    sql.execute("credentials", "lift_failed", subjects=list(subjects), population=population)
    return sql.execute("credentials", "lift", subjects=list(subjects), source=source, at=at, population=population)
