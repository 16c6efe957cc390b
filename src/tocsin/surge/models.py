"""Tables of the surge room. A measure is written once and never changed: what was forecast is evidence of why we mailed at that pace."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models.functions import Length
from django.db.models.lookups import Exact


class Measure(models.Model):
    """One forecast as made: its inputs (canonical JSON, with the SHA-256 the evidence entry names) and its figures."""

    incident = models.IntegerField()
    kind = models.TextField()
    at = models.DateTimeField()
    by = models.TextField()
    inputs = models.TextField()
    digest = models.BinaryField()
    figures = models.JSONField()

    class Meta:
        indexes = [models.Index(fields=["incident", "-id"], name="surge_measure_latest")]
        constraints = [
            models.CheckConstraint(name="surge_measure_kind_known", condition=models.Q(kind="forecast")),
            models.CheckConstraint(name="surge_measure_digest_sha256", condition=Exact(Length("digest"), 32)),
        ]


class Steering(models.Model):
    """How a mailing is steered. `base`: what people allow each lane, kept while steering holds it lower; `held`: what steering set last.

    Both map a lane's number to its rate; both are empty while the mailing is free. `requested_before`, `received_before`: reset links and
    messages to the desk before the first look. `desk`: [time in seconds since 1970, messages answered until then], for the desk's speed.
    """

    mailing = models.BigIntegerField(primary_key=True)
    requested_before = models.BigIntegerField()
    received_before = models.BigIntegerField(default=0)
    desk = models.JSONField(default=list)
    base = models.JSONField(default=dict)
    held = models.JSONField(default=dict)
    by = models.TextField(default="free")
    at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(name="surge_steering_by_known", condition=models.Q(by__in=["free", "resets", "desk", "deadline"])),
        ]
