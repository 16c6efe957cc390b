"""How many messages a day a source that is new to a receiver may send it: `[warm_up]` of the configuration, by days since first use."""

from __future__ import annotations

from datetime import datetime

from tocsin.kernel import config

from . import policy


def allowed(receiver: str, *, first_used_at: datetime | None, at: datetime) -> int | None:
    """Return how many messages may go to a receiver on a day, all that go from our source to it counted; None: as many as they are.

    Days are those of UTC; the day of the first use is day 1. Before it, the curve's first step holds.
    """
    curve = config.current().warm_up.get(receiver) or config.current().warm_up.get("*")
    if not curve:
        return None
    day = 1 if first_used_at is None else (at.date() - first_used_at.date()).days + 1
    return policy.warm_up_allows(curve, day)
