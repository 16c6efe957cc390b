"""Tables of the credentials room. What processes may read of them are the live views of migration 0002; see sql/grants.sql.

Invariant: a credential, session or token x is valid exactly if x.epoch >= epoch(population, cohort, class).epoch, and every x carries the
epoch read in the statement that made it, never one read later. Subjects and incidents are named by id; addresses stand here only as a
keyed digest.
"""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models

from .types import CLASSES

STATES = ("open", "armed", "committed", "sealed", "aborted")


class Population(models.Model):
    """People whose credentials end together. `version` rises with every commit and abort: the version of the epoch vector."""

    name = models.TextField(unique=True)
    connector = models.TextField(default="native")
    version = models.IntegerField(default=0)


class Epoch(models.Model):
    """The oldest epoch that is still valid. `highest` is the highest ever used: an aborted number is spent. `not_before` is for people."""

    pk = models.CompositePrimaryKey("population_id", "cohort", "cred_class")
    population = models.ForeignKey(Population, on_delete=models.PROTECT)
    cohort = models.SmallIntegerField()
    cred_class = models.TextField(db_column="class")
    epoch = models.IntegerField()
    highest = models.IntegerField()
    not_before = models.DateTimeField(null=True)
    incident = models.IntegerField(null=True)
    state = models.TextField(default="open")

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(name="credentials_epoch_class", condition=models.Q(cred_class__in=CLASSES)),
            models.CheckConstraint(name="credentials_epoch_state", condition=models.Q(state__in=STATES)),
            models.CheckConstraint(name="credentials_epoch_order", condition=models.Q(epoch__gte=1, highest__gte=models.F("epoch"))),
        ]


class Account(models.Model):
    """Who may sign in: a keyed digest of the normalised address. `subject` is None for canaries."""

    subject = models.BigIntegerField(null=True)
    population = models.ForeignKey(Population, on_delete=models.PROTECT, db_index=False)
    cohort = models.SmallIntegerField(default=0)
    login_hmac = models.BinaryField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["population", "login_hmac"], name="credentials_account_login"),
            models.UniqueConstraint(fields=["population", "subject"], name="credentials_account_subject"),
        ]


class Credential(models.Model):
    """One secret of an account, as a hash. `version` 0 was imported; each change by its owner adds one and ends earlier sessions."""

    pk = models.CompositePrimaryKey("account_id", "cred_class")
    account = models.ForeignKey(Account, on_delete=models.CASCADE, db_index=False)
    cred_class = models.TextField(db_column="class")
    epoch = models.IntegerField()
    version = models.IntegerField(default=0)
    hash = models.TextField()
    set_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(name="credentials_credential_class", condition=models.Q(cred_class__in=CLASSES))]


class Lift(models.Model):
    """The epoch under which an account got a new password in a target (a connector's system), whoever took it: it is let through again."""

    account = models.OneToOneField(Account, on_delete=models.CASCADE, primary_key=True)
    epoch = models.IntegerField()
    source = models.TextField()
    lifted_at = models.DateTimeField()


class Session(models.Model):
    """A sign-in session, under the SHA-256 of its id. `version` is that of the password it was opened with."""

    sid_sha256 = models.BinaryField(primary_key=True)
    account = models.ForeignKey(Account, on_delete=models.CASCADE)
    epoch = models.IntegerField()
    version = models.IntegerField()
    created_at = models.DateTimeField()


class ResetToken(models.Model):
    """A one-time link, under its SHA-256. `context` holds keyed digests of words a new password must not rest on (name, address)."""

    token_sha256 = models.BinaryField(primary_key=True)
    request = models.UUIDField(unique=True)
    account = models.ForeignKey(Account, on_delete=models.CASCADE)
    epoch = models.IntegerField()
    context = ArrayField(models.BinaryField(), default=list)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    channel = models.TextField(db_default="mail")  # mail or letter: a newer one replaces the older of its channel only
    outbound = models.BigIntegerField(null=True)  # the mail that carries it, by number
    handed_over_at = models.DateTimeField(null=True)  # the life of a mailed link starts here; before, `expires_at` is an upper bound

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["outbound"], name="credentials_reset_outbound", condition=models.Q(outbound__isnull=False))
        ]
        constraints: ClassVar = [
            models.CheckConstraint(name="credentials_resettoken_channel", condition=models.Q(channel__in=["mail", "letter"]))
        ]


class LetterRequest(models.Model):
    """Somebody without a mailbox asked for a code by post, and the postal code they typed is that of the account. Printed once."""

    request = models.UUIDField(unique=True)
    account = models.ForeignKey(Account, on_delete=models.CASCADE)
    asked_at = models.DateTimeField()
    printed_at = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["id"], name="credentials_letter_waiting", condition=models.Q(printed_at=None)),
        ]


class AffectedAnswer(models.Model):
    """The answer to "was I affected?", under the SHA-256 of the token that was mailed to whom it concerns. `answer` holds element codes."""

    token_sha256 = models.BinaryField(primary_key=True)
    request = models.UUIDField(unique=True)
    account = models.ForeignKey(Account, on_delete=models.CASCADE)
    answer = models.JSONField()
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    outbound = models.BigIntegerField(null=True)
    handed_over_at = models.DateTimeField(null=True)
    replaced_at = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["outbound"], name="credentials_affected_outbound", condition=models.Q(outbound__isnull=False))
        ]


class Cutover(models.Model):
    """One cutover from arm to seal. `cohort` None is everybody; `from_epochs` maps "cohort/class" to the epoch that an abort restores."""

    population = models.ForeignKey(Population, on_delete=models.PROTECT)
    cohort = models.SmallIntegerField(null=True)
    reason = models.TextField(default="")
    classes = ArrayField(models.TextField())
    incident = models.IntegerField(null=True)
    state = models.TextField()
    approval = models.BigIntegerField(null=True)
    from_epochs = models.JSONField()
    to_epoch = models.IntegerField()
    counts = models.JSONField()
    armed_by = models.TextField()
    armed_at = models.DateTimeField()
    committed_at = models.DateTimeField(null=True)
    sealed_at = models.DateTimeField(null=True)
    aborted_at = models.DateTimeField(null=True)
    erasing_at = models.DateTimeField(null=True)  # from here on old hashes are being erased and an abort is impossible
    canaries_tried = models.IntegerField(default=0)
    canaries_refused = models.IntegerField(default=0)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(name="credentials_cutover_state", condition=models.Q(state__in=STATES[1:])),
            models.CheckConstraint(name="credentials_cutover_narrow", condition=models.Q(cohort=None) | ~models.Q(reason="")),
            models.UniqueConstraint(fields=["population"], name="credentials_cutover_one_armed", condition=models.Q(state="armed")),
        ]


class CutoverAck(models.Model):
    """A node has seen a committed cutover."""

    pk = models.CompositePrimaryKey("cutover_id", "node")
    cutover = models.ForeignKey(Cutover, on_delete=models.CASCADE, db_index=False)
    node = models.TextField()
    seen_at = models.DateTimeField()


class NodeLease(models.Model):
    """Until when (the database's clock) a node may let people in, and the version of the epoch vector it has seen."""

    node = models.TextField(primary_key=True)
    until = models.DateTimeField()
    version = models.BigIntegerField(default=0)


class Canary(models.Model):
    """The secrets of an account of ours, sealed: JSON of login, password, sid and token."""

    account = models.OneToOneField(Account, on_delete=models.CASCADE, primary_key=True)
    sealed = models.BinaryField()


class Import(models.Model):
    """One file of old hashes: `read = accepted + rejected` once it is finished."""

    population = models.ForeignKey(Population, on_delete=models.PROTECT)
    file_sha256 = models.BinaryField(null=True)
    read = models.BigIntegerField(default=0)
    accepted = models.BigIntegerField(default=0)
    updated = models.BigIntegerField(default=0)
    rejected = models.BigIntegerField(default=0)
    started_by = models.TextField()
    started_at = models.DateTimeField()
    finished = models.BooleanField(default=False)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                name="credentials_import_closes",
                condition=models.Q(finished=False) | models.Q(read=models.F("accepted") + models.F("rejected")),
            )
        ]


class Reject(models.Model):
    """A line that was not taken, where and why; nothing of what stood there."""

    source = models.ForeignKey(Import, on_delete=models.CASCADE, db_column="import_id")
    line = models.BigIntegerField()
    field = models.TextField()
    reason = models.TextField()
