"""Reads of the surge room."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tocsin.kernel import clock

from . import policy
from .models import Measure
from .types import Forecast, Params, Phone, Spread


def forecast(params: Params) -> Forecast:
    """Return the forecast of these parameters with the time it took; touches no database. The seed stands in the parameters."""
    begun = clock.monotonic()
    made = policy.forecast(params, np.random.default_rng(params.seed))
    return replace(made, seconds=round(clock.monotonic() - begun, 3))


def staff_hours(params: Params, made: Forecast) -> dict[str, int]:
    """Return the hours of work behind a forecast: if all called, if all wrote, and with released answers."""
    return policy.staff_hours(params, calls=made.calls, letters=made.letters.p50)


def latest(incident: int) -> Forecast | None:
    """Return the latest forecast kept for an incident, or None."""
    row = Measure.objects.filter(incident=incident, kind="forecast").order_by("-id").first()
    return _forecast(row.figures) if row else None


def _forecast(figures: dict[str, Any]) -> Forecast:
    """Return a forecast from its JSON form."""
    values = dict(figures)
    for key in ("contacts", "letters", "resets", "resets_per_s_peak", "max_wait_s"):
        values[key] = Spread(**values[key])
    for key in ("phone", "phone_if_open"):
        values[key] = Phone(**values[key])
    values["hourly"] = tuple((int(c), int(a), int(b)) for c, a, b in values["hourly"])
    return Forecast(**values)
