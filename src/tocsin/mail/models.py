"""Tables of the mail room: single mails out, mail in, marketing suppression. Addresses and contents are sealed."""

from __future__ import annotations

from django.db import models

from tocsin.kernel.jobs import Leased

from .types import InboundKind


class Outbound(Leased):
    """One single mail. `sealed` holds address, texts and threading; the row shows only what a queue's operator needs.

    Invariant: an ended row (sent, bounced) is never sent again; an open one always has a job. `repeats` counts runs begun while an earlier
    one was in doubt: so many copies too many may exist, all with this row's Message-ID.
    """

    purpose = models.TextField()
    dedupe = models.BinaryField(unique=True)
    sealed = models.BinaryField()
    message_id = models.TextField(default="")
    queued_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    code = models.IntegerField(default=0)
    enhanced = models.TextField(default="")
    reason = models.TextField(default="")
    repeats = models.IntegerField(default=0)
    receiver = models.TextField(default="")

    class Meta:
        constraints = [
            models.CheckConstraint(name="mail_outbound_state_known", condition=models.Q(state__in=["open", "sent", "bounced"])),
            models.CheckConstraint(name="mail_outbound_ended", condition=models.Q(state="open", ended_at=None)
                                   | (~models.Q(state="open") & models.Q(ended_at__isnull=False))),
        ]
        indexes = [
            models.Index(fields=["id"], condition=models.Q(state="open"), name="mail_outbound_open"),
            models.Index(fields=["message_id"], name="mail_outbound_message_id"),
            models.Index(fields=["lease_until"], condition=models.Q(state="open"), name="mail_outbound_leased"),
        ]


class Inbound(models.Model):
    """One mail as it came in, sealed so that the process that took it cannot open it again. Ids rise in the order of commits.

    `deposit` opens to: u32 big-endian length, that many bytes of JSON {"from", "to"}, then the raw mail.
    """

    received_at = models.DateTimeField()
    kind = models.TextField(choices=[(k.value, k.value) for k in InboundKind])
    digest = models.BinaryField(unique=True)
    deposit = models.BinaryField()
    size_bytes = models.IntegerField()
    verp_block = models.BigIntegerField(null=True)
    verp_n = models.BigIntegerField(null=True)
    single = models.BigIntegerField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(name="mail_inbound_kind_known", condition=models.Q(kind__in=[k.value for k in InboundKind])),
            models.CheckConstraint(name="mail_inbound_verp_whole", condition=models.Q(verp_block=None, verp_n=None)
                                   | models.Q(verp_block__isnull=False, verp_n__isnull=False)),
        ]
        indexes = [models.Index(fields=["kind", "id"], name="mail_inbound_kind")]


class Suppression(models.Model):
    """An address that wants no marketing, by keyed digest. Notices under a legal duty neither read nor change it."""

    digest = models.BinaryField(unique=True)
    reason = models.TextField()
    at = models.DateTimeField()


class Receiver(models.Model):
    """What one receiver has made of one source of ours, over everything sent: see `receivers`. `held_…`: the rate that holds until then.

    `tokens`, `refilled_at`: the bucket of that rate. `day`, `sent_of_day`: how many went to it on a day of UTC, for a warm-up.
    """

    source = models.TextField()
    receiver = models.TextField()
    memory = models.JSONField(default=dict)
    held_rate_per_s = models.FloatField(null=True)
    held_until = models.DateTimeField(null=True)
    tokens = models.FloatField(default=0)
    refilled_at = models.DateTimeField(auto_now_add=True)
    first_used_at = models.DateTimeField(null=True)
    day = models.DateField(null=True)
    sent_of_day = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["source", "receiver"], name="mail_receiver_once")]
