"""A batch of numbers, and the numbers written."""

from __future__ import annotations

from django.db import models

from tocsin.kernel.jobs import Leased


class Batch(Leased):
    """Numbers `start` to `start + n - 1`."""

    start = models.IntegerField()
    n = models.IntegerField()

    class Meta:
        app_label = "ledger"


class Written(models.Model):
    """One number written, by which fence; and each beginning of a batch."""

    number = models.IntegerField()
    fence = models.BigIntegerField()

    class Meta:
        app_label = "ledger"


class Begun(models.Model):
    """A claim of a batch, committed before its work."""

    batch = models.BigIntegerField()
    fence = models.BigIntegerField()
    pid = models.IntegerField()

    class Meta:
        app_label = "ledger"
