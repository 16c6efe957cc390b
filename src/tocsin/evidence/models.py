"""Tables of the evidence room. Events are inserted and never changed: triggers and grants both forbid it."""

from __future__ import annotations

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
    """Events of `[txid_from, txid_to)`, ordered by id, are the `n` leaves from `first_index` on."""

    txid_from = models.BigIntegerField()
    txid_to = models.BigIntegerField(unique=True)
    first_index = models.BigIntegerField(unique=True)
    n = models.BigIntegerField()


class Checkpoint(models.Model):
    """A signed tree head, as it was published."""

    size = models.BigIntegerField(primary_key=True)
    root = models.BinaryField()
    note = models.TextField()
    signed_at = models.DateTimeField()
