"""Writes of the surge room."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from datetime import datetime

import rfc8785
from django.db import transaction

from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType

from . import queries
from .models import Measure
from .types import Forecast, Params, Spread


def forecast(incident: int, params: Params, *, at: datetime, by: str) -> Forecast:
    """Make a forecast, keep it with its inputs, and record it; return it. The figures are computed before the transaction begins.

    One transaction holds the row and its evidence entry: a crash leaves both or neither, and asking again makes a further row.
    """
    made = queries.forecast(params)
    inputs = rfc8785.dumps(asdict(params) | {"draft": [asdict(d) for d in params.draft], "seed": str(params.seed)})
    digest = hashlib.sha256(inputs).digest()
    with transaction.atomic():
        row = Measure.objects.create(
            incident=incident, kind="forecast", at=at, by=by, inputs=inputs.decode(), digest=digest, figures=asdict(made)
        )
        evidence.record(
            EventType.FORECAST_MADE,
            at=at,
            actor=by,
            incident=incident,
            body={
                "measure": row.pk,
                "inputs_sha256": digest.hex(),
                "seed": params.seed,
                "draws": params.draws,
                "calls": made.calls,
                "contacts": _whole(made.contacts),
                "letters": _whole(made.letters),
                "max_wait_s": _whole(made.max_wait_s),
                "backlog_peak": round(made.backlog_peak),
            },
        )
    return made


def _whole(spread: Spread) -> list[int]:
    """Return a spread as whole numbers: the log's canonical JSON holds no fractions."""
    return [round(spread.p10), round(spread.p50), round(spread.p90)]
