"""Tables of the subjects room. Rows are written by set-based SQL (`sql/`); 24 million of them never pass through model instances."""

from __future__ import annotations

from django.db import models

from .types import BASES, CHANGED_BY, CONTACT_KINDS


class Holding(models.Model):
    """A holding profile: what some people have in which stores, told apart by its digest (`policy.mapping.profile_digest`)."""

    digest = models.BinaryField(unique=True)


class HoldingStore(models.Model):
    """One store of a profile and the elements held there."""

    holding = models.ForeignKey(Holding, on_delete=models.PROTECT, related_name="stores")
    store = models.TextField()
    mask = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["holding", "store"], name="subjects_holdingstore_once")]


class Subject(models.Model):
    """One account's person. `salt` opens their leaves in the evidence log; `forget` sets it, `name_sealed` and `last_active_date` to null.

    `last_active_date`: the day they last used the service, if the company told. `row_digest` is the keyed digest of the row and mapping they
    came from: a file that says nothing new about them writes nothing.
    """

    external_id = models.TextField()
    jurisdiction = models.TextField()
    basis = models.TextField()
    locale = models.TextField()
    holding = models.ForeignKey(Holding, on_delete=models.PROTECT, db_index=False)
    salt = models.BinaryField(null=True)
    name_sealed = models.BinaryField(null=True)
    row_digest = models.BinaryField(null=True)
    last_active_date = models.DateField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["jurisdiction", "holding"], name="subjects_subject_cube")]
        constraints = [
            models.CheckConstraint(name="subjects_subject_basis", condition=models.Q(basis__in=list(BASES))),
            # Not unique=True: that makes a second index for LIKE, which nothing asks for.
            models.UniqueConstraint(fields=["external_id"], name="subjects_subject_external_id"),
        ]


class Contact(models.Model):
    """A way to reach somebody, sealed. `lookup` finds an e-mail address again without storing it; `provider` is its lane.

    The database checks no foreign key here: 24 million people have some 100 million contact points, and each check would lock the person's
    row. An import copies both in one transaction; `forget` deletes contact points and never the person.
    """

    pk = models.CompositePrimaryKey("subject_id", "kind", "rank")
    subject = models.ForeignKey(Subject, on_delete=models.CASCADE, db_constraint=False, db_index=False)
    kind = models.TextField()
    rank = models.SmallIntegerField(default=0)
    sealed = models.BinaryField()
    lookup = models.BinaryField(null=True)
    provider = models.TextField(default="")

    class Meta:
        constraints = [
            models.CheckConstraint(name="subjects_contact_kind", condition=models.Q(kind__in=list(CONTACT_KINDS))),
        ]
        indexes = [models.Index(fields=["lookup"], name="subjects_contact_lookup", condition=models.Q(lookup__isnull=False))]


class ContactChange(models.Model):
    """What a contact point was before it changed, as sealed then (None: there was none): an intruder's first act is to change the address.

    Of an import only e-mail addresses: they alone can be compared without opening them. No foreign key is checked, as for `Contact`.
    """

    subject = models.ForeignKey(Subject, on_delete=models.CASCADE, db_constraint=False)
    kind = models.TextField()
    sealed = models.BinaryField(null=True)
    lookup = models.BinaryField(null=True)
    provider = models.TextField(default="")
    changed_at = models.DateTimeField(db_index=True)
    changed_by = models.TextField()
    by = models.TextField()

    class Meta:
        constraints = [
            models.CheckConstraint(name="subjects_contactchange_kind", condition=models.Q(kind__in=list(CONTACT_KINDS))),
            models.CheckConstraint(name="subjects_contactchange_by", condition=models.Q(changed_by__in=list(CHANGED_BY))),
        ]


class ContactFreeze(models.Model):
    """Until when nobody's contact points may be changed one by one, and why. A later row does not shorten an earlier one."""

    until = models.DateTimeField()
    reason = models.TextField()
    at = models.DateTimeField()
    by = models.TextField()


class Card(models.Model):
    """A card of somebody, as the main side knows it: the vault's token and the last four digits."""

    subject = models.ForeignKey(Subject, on_delete=models.CASCADE)
    token = models.TextField()
    last4 = models.CharField(max_length=4)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["subject", "token"], name="subjects_card_once")]


class Import(models.Model):
    """A file that was read, customers or card tokens: read = accepted + rejected."""

    kind = models.TextField()
    sha256 = models.BinaryField()
    at = models.DateTimeField()
    by = models.TextField()
    read = models.BigIntegerField()
    accepted = models.BigIntegerField()
    updated = models.BigIntegerField()
    rejected = models.BigIntegerField()

    class Meta:
        constraints = [
            models.CheckConstraint(name="subjects_import_closes", condition=models.Q(read=models.F("accepted") + models.F("rejected"))),
            models.CheckConstraint(name="subjects_import_kind", condition=models.Q(kind__in=["customers", "cards"])),
        ]


class Reject(models.Model):
    """A row that was not taken: line, field and reason, and nothing the row said."""

    source = models.ForeignKey(Import, on_delete=models.CASCADE)
    line = models.BigIntegerField()
    field = models.TextField()
    reason = models.TextField()
