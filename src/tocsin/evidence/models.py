"""Tables of the evidence room. Events are inserted and never changed: triggers and grants both forbid it."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Event(models.Model):
    """One event, in the transaction of its effect. The column `txid` (see the migration) tells the sequencer what is surely committed."""

    uuid = models.UUIDField()
    type = models.SmallIntegerField()
    at = models.DateTimeField()
    actor = models.TextField()
    incident = models.IntegerField(null=True)
    subject = models.BigIntegerField(null=True)
    event = models.BinaryField()  # RFC 8785 JSON, exactly as committed to
    salt = models.BinaryField(null=True)  # an act's own; a subject's leaf salt is derived from the subject's
    commitment = models.BinaryField()

    class Meta:
        indexes = [
            models.Index(fields=["subject"], name="evidence_event_subject", condition=models.Q(subject__isnull=False)),
            models.Index(fields=["incident", "id"], name="evidence_event_act", condition=models.Q(subject__isnull=True)),
        ]


class Batch(models.Model):
    """A run of leaves: the `n` events with `txid_from <= txid < txid_to` and `id_from <= id <= id_to`, by id, from `first_index` on.

    Ranges instead of an index per event: 24 million rows are never updated.
    """

    txid_from = models.BigIntegerField()
    txid_to = models.BigIntegerField()
    id_from = models.BigIntegerField()
    id_to = models.BigIntegerField()
    first_index = models.BigIntegerField(unique=True)
    n = models.IntegerField()

    class Meta:
        indexes = [models.Index(fields=["txid_to"], name="evidence_batch_txid")]


class Head(models.Model):
    """A tree head that the sequencer recorded before signing it; `txid_to` is where the next turn begins."""

    size = models.BigIntegerField(primary_key=True)
    root = models.BinaryField()
    txid_to = models.BigIntegerField()


class Count(models.Model):
    """How many events of a type there were in the first `size` leaves, of one incident and of all. Written where a turn changed it.

    Running sums, so that the newest row answers: nobody counts 24 million events. `incident` 0 means none, as in the leaf.
    """

    size = models.BigIntegerField()
    type = models.SmallIntegerField()
    incident = models.IntegerField()
    of_incident = models.BigIntegerField()
    of_type = models.BigIntegerField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["type", "incident", "size"], name="evidence_count_incident")]
        indexes: ClassVar = [models.Index(fields=["type", "size"], name="evidence_count_type")]


class Checkpoint(models.Model):
    """A signed tree head, as it was published."""

    size = models.BigIntegerField(primary_key=True)
    root = models.BinaryField()
    note = models.TextField()
    signed_at = models.DateTimeField()
