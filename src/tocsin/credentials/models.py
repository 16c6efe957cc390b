"""Tables of the credentials room. What processes may read of them are the live views of migration 0002; see sql/grants.sql.

Invariant: a credential, session or token x is valid exactly if x.epoch >= epoch(population, cohort, class).epoch, and every x carries the
epoch read in the statement that made it, never one read later. Subjects and incidents are named by id; addresses stand here only as a
keyed digest.
"""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models

from tocsin.kernel.jobs import Leased

from .types import API_KEY_ROLES, BEARER_CLASSES, CLASSES, FACTOR_CLASSES

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
    hash = models.TextField()  # empty once it was erased
    set_at = models.DateTimeField(null=True)  # None: the file of old hashes did not say, or not readably

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(name="credentials_credential_class", condition=models.Q(cred_class__in=CLASSES))]


class Lift(models.Model):
    """The epoch under which an account got a new password in a target (a connector's system), whoever took it: it is let through again."""

    account = models.OneToOneField(Account, on_delete=models.CASCADE, primary_key=True)
    epoch = models.IntegerField()
    source = models.TextField()
    lifted_at = models.DateTimeField()


class Session(models.Model):
    """A sign-in session, under the SHA-256 of its id. `version` is that of the password it was opened with.

    `family` names the bearer tokens it was opened with, None after a sign-in: only such a session may change how its owner signs in.
    """

    sid_sha256 = models.BinaryField(primary_key=True)
    account = models.ForeignKey(Account, on_delete=models.CASCADE)
    epoch = models.IntegerField()
    version = models.IntegerField()
    family = models.UUIDField(null=True)
    created_at = models.DateTimeField()


class Bearer(models.Model):
    """A secret that lets in whoever holds it, under its SHA-256: remember_me, refresh or api_token.

    `family` is what one sign-in made and every rotation of it; `version` is that of the password at that sign-in. A rotated one keeps its
    row, spent, until it would have expired: presented again, it tells that somebody copied it.
    """

    secret_sha256 = models.BinaryField(unique=True)
    account = models.ForeignKey(Account, on_delete=models.CASCADE)
    cred_class = models.TextField(db_column="class")
    family = models.UUIDField(db_index=True)
    epoch = models.IntegerField()
    version = models.IntegerField()
    label = models.TextField(default="")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    last_used = models.DateField(null=True)
    spent_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(name="credentials_bearer_class", condition=models.Q(cred_class__in=BEARER_CLASSES))]


class Factor(models.Model):
    """A second step of an account, or a passkey. Several of a class may stand beside each other, unlike in Credential.

    `secret` is the sealed seed (totp), the SHA-256 of a code (recovery_code) or the public key (passkey); `handle` the passkey's own id.
    `last_step` is the time step of the last accepted code, or the microsecond of the last accepted challenge: nothing older counts again.
    """

    account = models.ForeignKey(Account, on_delete=models.CASCADE)
    cred_class = models.TextField(db_column="class")
    epoch = models.IntegerField()
    secret = models.BinaryField()
    handle = models.BinaryField(null=True, unique=True)
    label = models.TextField(default="")
    sign_count = models.BigIntegerField(default=0)
    last_step = models.BigIntegerField(default=0)
    created_at = models.DateTimeField()
    last_used = models.DateField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(name="credentials_factor_class", condition=models.Q(cred_class__in=FACTOR_CLASSES)),
            models.CheckConstraint(name="credentials_factor_handle", condition=models.Q(handle=None) ^ models.Q(cred_class="passkey")),
        ]


class StepTries(models.Model):
    """How often a second step was tried since `since`. Whoever gets this far knows the password, so no stranger locks anybody out."""

    account = models.OneToOneField(Account, on_delete=models.CASCADE, primary_key=True)
    tries = models.IntegerField()
    since = models.DateTimeField()


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
    erased_at = models.DateTimeField(null=True)
    spared = ArrayField(models.SmallIntegerField(), default=list)  # cohorts that an earlier, narrower cutover has ended already
    report = models.JSONField(default=dict)  # what the dry run counted besides `counts`
    override = models.TextField(default="")  # why two people committed although a reached system was not contained
    canaries_tried = models.IntegerField(default=0)
    canaries_refused = models.IntegerField(default=0)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(name="credentials_cutover_state", condition=models.Q(state__in=STATES[1:])),
            models.CheckConstraint(name="credentials_cutover_narrow", condition=models.Q(cohort=None) | ~models.Q(reason="")),
            models.UniqueConstraint(fields=["population"], name="credentials_cutover_one_armed", condition=models.Q(state="armed")),
        ]


class Raised(models.Model):
    """What a committed cutover raised, as `credentials_raise_epochs` found it: an abort lowers to nothing else. No process reads or writes it."""

    cutover = models.OneToOneField(Cutover, on_delete=models.PROTECT, primary_key=True)
    from_epochs = models.JSONField()
    to_epoch = models.IntegerField()


class CutoverAck(models.Model):
    """A node has seen a committed cutover."""

    pk = models.CompositePrimaryKey("cutover_id", "node")
    cutover = models.ForeignKey(Cutover, on_delete=models.CASCADE, db_index=False)
    node = models.TextField()
    seen_at = models.DateTimeField()


class NodeLease(models.Model):
    """Until when (the database's clock) a node may let people in, and the version of the epoch vector it has seen.

    `role` is the database role that made the lease: no other renews it, acknowledges for it or gives it up.
    """

    node = models.TextField(primary_key=True)
    role = models.TextField()
    until = models.DateTimeField()
    version = models.BigIntegerField(default=0)


class Canary(models.Model):
    """The secrets of an account of ours, sealed: JSON of the login and a secret per class."""

    account = models.OneToOneField(Account, on_delete=models.CASCADE, primary_key=True)
    sealed = models.BinaryField()


class ConnectorSecret(models.Model):
    """What a connector signs in with. `rest` opens for the operator's process alone; `live`, made at arming, for the worker's alone."""

    name = models.TextField(primary_key=True)
    rest = models.BinaryField()
    live = models.BinaryField(null=True)
    set_by = models.TextField()
    set_at = models.DateTimeField()


class Target(models.Model):
    """An identity system or session store as we last knew it. The target itself says where it stands; this is for the queue and the eye.

    `epoch` is the password epoch of the population that its gate stands for. `drain_cursor` and `change_cursor` are the adapter's own.
    """

    name = models.TextField(unique=True)
    kind = models.TextField()
    population = models.ForeignKey(Population, on_delete=models.PROTECT, db_index=False)
    state = models.TextField(default="open")
    epoch = models.IntegerField(default=0)
    formats = ArrayField(models.TextField(), default=list)
    write_rate_per_s = models.FloatField(null=True)
    probe = models.JSONField(default=dict)
    probed_at = models.DateTimeField(null=True)
    armed_at = models.DateTimeField(null=True)
    gated_at = models.DateTimeField(null=True)
    took_ms = models.FloatField(null=True)
    canaries_tried = models.IntegerField(default=0)
    canaries_refused = models.IntegerField(default=0)
    red = ArrayField(models.TextField(), default=list)
    draining = models.BooleanField(default=False)
    drain_cursor = models.TextField(null=True)
    drained = models.BigIntegerField(default=0)
    drain_failed = models.JSONField(default=dict)
    change_cursor = models.TextField(null=True)
    problem = models.TextField(default="")

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                name="credentials_target_state",
                condition=models.Q(state__in=("open", "armed", "gated", "draining", "drained", "aborted")),
            )
        ]


class PlantedCanary(models.Model):
    """An account of ours in a target. `sealed` holds its secrets by class; `epoch` is that of its newest password, 0 for the planted one."""

    target = models.ForeignKey(Target, on_delete=models.CASCADE)
    account = models.TextField()
    login = models.TextField()
    sealed = models.BinaryField()
    epoch = models.IntegerField(default=0)


class Outbox(models.Model):
    """A new password on its way to a target, in the target's format, sealed for the worker; the secret is erased once it is there."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE)
    target = models.ForeignKey(Target, on_delete=models.CASCADE)
    epoch = models.IntegerField()
    format = models.TextField()
    sealed = models.BinaryField(null=True)
    state = models.TextField(default="waiting")
    tries = models.IntegerField(default=0)
    problem = models.TextField(default="")
    created_at = models.DateTimeField()
    done_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                name="credentials_outbox_state", condition=models.Q(state__in=("waiting", "done", "replaced", "failed"))
            ),
            models.CheckConstraint(name="credentials_outbox_secret", condition=models.Q(state="waiting") | models.Q(sealed=None)),
        ]
        indexes: ClassVar = [
            models.Index(fields=["target", "state"], name="credentials_outbox_waiting", condition=models.Q(state="waiting"))
        ]


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


class ApiKey(models.Model):
    """A key with which a company's own program asks us, under its SHA-256. A name is never used twice."""

    name = models.TextField(unique=True)
    key_sha256 = models.BinaryField(unique=True)
    role = models.TextField()
    created_by = models.TextField()
    created_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(name="credentials_apikey_role", condition=models.Q(role__in=API_KEY_ROLES))]


class Erasure(Leased):
    """A range of accounts whose dead hashes are to be erased, in the ledger of one cutover. `held`: of these, copied for the legal hold."""

    cutover = models.ForeignKey(Cutover, on_delete=models.PROTECT, related_name="erasures")
    first_account = models.BigIntegerField()
    last_account = models.BigIntegerField()
    erased = models.BigIntegerField(default=0)
    held = models.BigIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["cutover", "first_account"], name="credentials_erasure_once"),
            models.CheckConstraint(name="credentials_erasure_state", condition=models.Q(state__in=["open", "done"])),
        ]


class HeldHashes(models.Model):
    """The dead hashes of a range as they were before they were erased under a legal hold: a deposit that the estate's owner alone opens.

    Format of what is sealed: JSON, a list of [account, class, hash].
    """

    cutover = models.ForeignKey(Cutover, on_delete=models.PROTECT)
    first_account = models.BigIntegerField()
    last_account = models.BigIntegerField()
    n = models.BigIntegerField()
    sealed = models.BinaryField()
    at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["cutover", "first_account"], name="credentials_heldhashes_once")]


class ContactRequest(models.Model):
    """A customer's wish for another address, until the link mailed to that address is followed. `deposit` holds it, for the worker alone.

    `version` is that of the password shown: another one since, or a cutover, and the wish is void.
    """

    id = models.UUIDField(primary_key=True)
    account = models.ForeignKey(Account, on_delete=models.CASCADE)
    version = models.IntegerField()
    deposit = models.BinaryField()
    token_sha256 = models.BinaryField(null=True, unique=True)
    asked_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    confirmed_at = models.DateTimeField(null=True)
    done_at = models.DateTimeField(null=True)


from .room.models import (  # noqa: E402  # Django finds models here
    KnownPlace,  # noqa: F401
    Pacer,  # noqa: F401
    Room,  # noqa: F401
    RoomLane,  # noqa: F401
    RoomLimit,  # noqa: F401
    RoomNode,  # noqa: F401
    RoomPlace,  # noqa: F401
    RoomSecond,  # noqa: F401
    RoomUse,  # noqa: F401
    Try,  # noqa: F401
)
