"""Tables of the notices room. Ids of incident, exposure, subjects and approvals are numbers: those rows may outlive or precede these."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Length

from tocsin.kernel.jobs import Leased

from . import casecode, policy
from .types import MailingState

STATES = [s.value for s in MailingState]
LETTER_STATES = ("queued", "bundled", "rejected", "returned")
EXCEPTION_STATES = ("deferred", "bounced", "letter", "told")  # told: was deferred once, handed over later


class BitCount(models.Func):
    """The number of set bits of a bytea (PostgreSQL 14 and newer)."""

    function = "bit_count"
    output_field = models.BigIntegerField()


class Notice(models.Model):
    """A text for the people of one incident. Never changed: a new text is a new version.

    `languages`: jurisdiction -> the language of readers whose own is not known. `facts`: key -> the id of the ledger's fact that fills it.
    `faq` and `statements`: what is said beside it, filled (`types.FaqTexts`, `types.StatementTexts`).
    `source`: the texts as they were written, slots and all (`editing.as_json`), so that they can be edited on.
    """

    incident = models.IntegerField()
    version = models.IntegerField()
    created_at = models.DateTimeField()
    created_by = models.TextField()
    languages = models.JSONField(default=dict)
    facts = models.JSONField(default=dict)
    source = models.JSONField(default=dict)
    faq = models.JSONField(default=list)
    statements = models.JSONField(default=list)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["incident", "version"], name="notices_notice_version")]


class Variant(models.Model):
    """One text of a notice, all its slots filled but those that differ from person to person.

    `translation_of`: the key of the variant that this one says in another language. `headed`: under the line that names the languages.
    """

    notice = models.ForeignKey(Notice, on_delete=models.PROTECT, related_name="variants")
    key = models.TextField()
    locale = models.TextField()
    jurisdictions = ArrayField(models.TextField(), default=list)
    subject = models.TextField()
    text = models.TextField()
    html = models.TextField()
    blocks = models.JSONField()
    allow_links = models.BooleanField()
    translation_of = models.TextField(default="")
    headed = models.BooleanField(default=False)
    template_sha256 = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["notice", "key"], name="notices_variant_key")]


class Review(models.Model):
    """A reviewer's signature over all texts of one language of an incident's notices. Insert only.

    `sha256` (`text.languages.texts_sha256`) names the texts and not the notice: a new draft that says the same in this language keeps it.
    `approval` is the statement they signed, by number.
    """

    incident = models.IntegerField()
    locale = models.TextField()
    sha256 = models.TextField()
    reviewer = models.TextField()
    approval = models.BigIntegerField(unique=True)
    reviewed_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["incident", "sha256"], name="notices_review_texts")]


class TestMail(models.Model):
    """A variant that was sent to a seed address. `outbound` is the mail room's, where its state is. Insert only."""

    notice = models.ForeignKey(Notice, on_delete=models.PROTECT, related_name="+")
    variant = models.ForeignKey(Variant, on_delete=models.PROTECT, related_name="+")
    outbound = models.BigIntegerField(unique=True)
    queued_at = models.DateTimeField()
    queued_by = models.TextField()

    __test__ = False  # no test class, whatever its name begins with


class Mailing(models.Model):
    """One frozen sending of a notice to the people of one exposure. `manifest` is what two people sign.

    `gates`: filings that must come before some of its recipients are told ({"gate": LAW.DUTY, "name", "jurisdictions"}), in the order of
    the bits of `Batch.locked`; `overridden`: the LAW.DUTY of those that two people went past.
    `late_until`: until when two people allow it to last beyond `deadline_at`.
    `reviews`: locale -> [reviewer, approval], as they stood when it was frozen; part of the manifest.
    """

    notice = models.ForeignKey(Notice, on_delete=models.PROTECT)
    incident = models.IntegerField()
    exposure = models.IntegerField()
    state = models.TextField(default=MailingState.READY.value)
    recipients = models.BigIntegerField(default=0)
    merged = models.BigIntegerField(default=0)
    manifest = models.JSONField(default=dict)
    reviews = models.JSONField(default=dict)
    approval = models.BigIntegerField(null=True)
    connections = models.IntegerField()
    retry_first_s = models.FloatField()
    retry_tries_max = models.IntegerField()
    retry_soft_days = models.FloatField(db_default=3.0)
    frozen_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    held_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    deadline_at = models.DateTimeField(null=True)
    late_until = models.DateTimeField(null=True)
    waves = models.BooleanField(default=False)
    gates = models.JSONField(default=list)
    overridden = models.JSONField(default=list)

    @property
    def pace_until(self) -> datetime | None:
        """Return by when it must be out: the deadline, or the later end that two people signed."""
        return self.late_until or self.deadline_at

    class Meta:
        constraints = [
            models.CheckConstraint(name="notices_mailing_state", condition=Q(state__in=STATES)),
            models.UniqueConstraint(fields=["notice"], name="notices_mailing_one_live", condition=~Q(state=MailingState.DISCARDED.value)),
        ]


class Lane(models.Model):
    """One mailing's share of a provider: what it may use, its token bucket (see `sql/take_tokens.sql`), and what receivers made of it.

    `rate_per_s` and `connections` are what people and steering allow; until `held_until` the lower `held_…` hold (see `lanes.py`), because
    of `held_what` (pause, slow, adapt, breaker) and in the receiver's words `held_why`.
    """

    mailing = models.ForeignKey(Mailing, on_delete=models.PROTECT, related_name="lanes")
    provider = models.TextField()
    connections = models.IntegerField()
    messages_per_connection = models.IntegerField()
    rate_per_s = models.FloatField()
    tokens = models.FloatField(default=0)
    refilled_at = models.DateTimeField()
    memory = models.JSONField(default=dict)
    held_rate_per_s = models.FloatField(null=True)
    held_connections = models.IntegerField(null=True)
    held_until = models.DateTimeField(null=True)
    held_what = models.TextField(default="")
    held_why = models.TextField(default="")

    @property
    def rate_now(self) -> float:
        """Return the rate that holds now, as read: `refresh` first if a hold may have run out."""
        return self.rate_per_s if self.held_rate_per_s is None else min(self.rate_per_s, self.held_rate_per_s)

    @property
    def connections_now(self) -> int:
        """Return the connections that hold now."""
        return self.connections if self.held_connections is None else min(self.connections, self.held_connections)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["mailing", "provider"], name="notices_lane_provider"),
            models.CheckConstraint(
                name="notices_lane_limits", condition=Q(connections__gte=1, messages_per_connection__gte=1, rate_per_s__gte=0)
            ),
        ]


class Batch(Leased):
    """A block: up to 1,000 recipients of one lane and variant, sent under one lease. Formats of `tried` and `sha256`: `policy`.

    Invariant, checked by the database: the places tried are exactly those counted as handed over, deferred, bounced or letters. Counts
    change by addition only, because reports of failure come in beside the sender that holds the fence.
    `locked`: the gates of the mailing (as bits) that keep its recipients from being told yet; nobody claims it until it is 0.
    `unsettled`: attempts ({"attempt", "machine", "ahead"}) that began and have not written how they ended; `ahead` as in `Shipped`, -1: to
    nobody. `connections`: held under the lease.
    """

    mailing = models.ForeignKey(Mailing, on_delete=models.PROTECT, related_name="batches")
    lane = models.ForeignKey(Lane, on_delete=models.PROTECT)
    variant = models.ForeignKey(Variant, on_delete=models.PROTECT)
    n = models.IntegerField()
    subjects = ArrayField(models.BigIntegerField())
    sha256 = models.BinaryField()
    tried = models.BinaryField(default=b"")
    doubted = models.BinaryField(default=b"")
    handed_over = models.IntegerField(default=0)
    deferred = models.IntegerField(default=0)
    bounced = models.IntegerField(default=0)
    letters = models.IntegerField(default=0)
    connections = models.IntegerField(default=0)
    unsettled = models.JSONField(default=list)
    sent_at = models.DateTimeField(null=True)
    locked = models.BigIntegerField(default=0)

    class Meta:
        indexes = [
            models.Index(fields=["lane", "id"], name="notices_batch_open", condition=Q(state="open")),
            models.Index(fields=["mailing", "id"], name="notices_batch_mailing"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(name="notices_batch_state", condition=Q(state__in=["open", "done"])),
            models.CheckConstraint(name="notices_batch_case_code", condition=Q(id__lt=casecode.BLOCKS_MAX)),
            models.CheckConstraint(name="notices_batch_rows", condition=Q(n__gte=1, n__lte=policy.BLOCK_ROWS)),
            models.CheckConstraint(
                name="notices_batch_counts_close",
                condition=Q(handed_over__gte=0, deferred__gte=0, bounced__gte=0, letters__gte=0)
                & Q(handed_over=BitCount(F("tried")) - F("deferred") - F("bounced") - F("letters")),
            ),
            models.CheckConstraint(
                name="notices_batch_done",
                condition=~Q(state="done") | Q(deferred=0, n=F("handed_over") + F("bounced") + F("letters")),
            ),
            models.CheckConstraint(name="notices_batch_bits", condition=Q(n__gte=8 * Length(F("tried")) - Value(7))),
        ]


class Merged(models.Model):
    """An account whose mailbox is also that of `told_with`: one notice names both."""

    mailing = models.ForeignKey(Mailing, on_delete=models.PROTECT, related_name="+")
    subject = models.BigIntegerField()
    told_with = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["mailing", "subject"], name="notices_merged_once")]
        indexes = [models.Index(fields=["mailing", "told_with"], name="notices_merged_told_with")]


class RecipientException(models.Model):
    """A recipient with whom something went wrong: the only rows per recipient. `text` is a receiver's reply without addresses.

    `rank`: which of the person's e-mail addresses is meant, 0 being the first. `soft`: how often a report said that it fails for now.
    """

    mailing = models.ForeignKey(Mailing, on_delete=models.PROTECT)
    batch = models.ForeignKey(Batch, on_delete=models.PROTECT)
    place = models.SmallIntegerField()
    subject = models.BigIntegerField()
    state = models.TextField()
    code = models.IntegerField(default=0)
    enhanced = models.TextField(default="")
    text = models.TextField(default="")
    tries = models.IntegerField(default=0)
    tried_at = models.DateTimeField()
    next_at = models.DateTimeField(null=True)
    rank = models.SmallIntegerField(db_default=0)
    soft = models.SmallIntegerField(db_default=0)

    class Meta:
        db_table = "notices_exception"
        constraints = [
            models.UniqueConstraint(fields=["batch", "place"], name="notices_exception_place"),
            models.CheckConstraint(name="notices_exception_state", condition=Q(state__in=EXCEPTION_STATES)),
        ]
        indexes = [models.Index(fields=["mailing", "state", "id"], name="notices_exception_state_ix")]


class Receipt(models.Model):
    """What the receivers said about a lot of recipients of a block, compressed. Format: `policy`. Insert only."""

    mailing = models.ForeignKey(Mailing, on_delete=models.PROTECT)
    batch = models.ForeignKey(Batch, on_delete=models.PROTECT)
    attempt = models.IntegerField()
    handed_over = models.IntegerField()
    packed = models.BinaryField()
    sha256 = models.BinaryField()
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["mailing", "at"], name="notices_receipt_at")]


class Shipped(models.Model):
    """What a sender told the database while it had a block under way, for the day its machine is lost. Gone once the block is settled.

    `ahead`: to no place beyond it was anything sent before the next row was written. `records`: outcomes (`mail.shipment`).
    """

    batch = models.ForeignKey(Batch, on_delete=models.PROTECT, related_name="+")
    attempt = models.IntegerField()
    ahead = models.IntegerField()
    records = models.BinaryField()
    at = models.DateTimeField()


class Bounce(models.Model):
    """What a machine sent back to a bounce address of ours, by the id of the inbound mail. `applied_at`: when its block was told.

    Only a `bounce` changes where a recipient stands; a complaint does not un-notify, an automatic reply says nothing of the kind.
    """

    inbound = models.BigIntegerField(primary_key=True)
    batch = models.BigIntegerField()
    place = models.IntegerField()
    status = models.TextField(default="")
    reason = models.TextField(default="")
    hard = models.BooleanField()
    received_at = models.DateTimeField()
    applied_at = models.DateTimeField(null=True)
    kind = models.TextField(db_default="bounce")
    rank = models.SmallIntegerField(db_default=0)

    class Meta:
        indexes = [
            models.Index(fields=["inbound"], name="notices_bounce_open", condition=Q(applied_at=None)),
            models.Index(fields=["batch"], name="notices_bounce_other", condition=~Q(kind="bounce")),
        ]
        constraints = [models.CheckConstraint(name="notices_bounce_kind", condition=Q(kind__in=["bounce", "complaint", "auto"]))]


class Cursor(models.Model):
    """How far a reader of another room's rows has come."""

    name = models.TextField(primary_key=True)
    after_id = models.BigIntegerField(default=0)


class Letter(models.Model):
    """One letter to one person; a second `attempt` goes to another address. Who and where stays in `subjects` until it is set.

    States: queued, bundled (in a PDF for the print house), rejected (no address that a letter can go to; tried again with each export),
    returned. A recipient counts as `letters` while a letter of theirs is queued or bundled. `address_mac`: keyed digest of the lines it
    went to, so that no address gets a second one. `exported_at`: when its bundle was written. `faults`: [address kind, field, reason].
    """

    mailing = models.ForeignKey(Mailing, on_delete=models.PROTECT)
    batch = models.ForeignKey(Batch, on_delete=models.PROTECT)
    place = models.SmallIntegerField()
    subject = models.BigIntegerField()
    attempt = models.SmallIntegerField(db_default=1)
    state = models.TextField(db_default="queued")
    kind = models.TextField(db_default="")
    country = models.TextField(db_default="")
    address_mac = models.BinaryField(null=True)
    faults = models.JSONField(db_default=[])
    queued_at = models.DateTimeField()
    exported_at = models.DateTimeField(null=True)
    returned_date = models.DateField(null=True)
    return_reason = models.TextField(db_default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["mailing", "subject", "attempt"], name="notices_letter_once"),
            models.CheckConstraint(name="notices_letter_state", condition=Q(state__in=LETTER_STATES)),
            models.CheckConstraint(name="notices_letter_returned", condition=~Q(state="returned") | Q(returned_date__isnull=False)),
        ]
        indexes = [
            models.Index(fields=["mailing", "state", "id"], name="notices_letter_state_ix"),
            models.Index(fields=["batch", "place"], name="notices_letter_place"),
        ]


class Bundle(models.Model):
    """Letters in one PDF for the print house. `made_at` is the date on them and of the PDF: the same bundle again is the same bytes.

    `sha256` is null until it was set once; from then on what is set must be that. `written_at` is null until its files lie in a folder;
    a bundle that never did and cannot be made again is dissolved: its letters wait once more.
    """

    mailing = models.ForeignKey(Mailing, on_delete=models.PROTECT)
    layout = models.TextField()
    letters = models.IntegerField()
    pages = models.IntegerField(default=0)
    sheets = models.IntegerField(default=0)
    duplex = models.BooleanField()
    countries = models.JSONField(default=dict)
    sha256 = models.BinaryField(null=True)
    made_at = models.DateTimeField()
    made_by = models.TextField()
    written_at = models.DateTimeField(null=True)
    dissolved_at = models.DateTimeField(null=True)
    reissue = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.CheckConstraint(name="notices_bundle_layout", condition=Q(layout__in=["us", "din"])),
            models.CheckConstraint(name="notices_bundle_letters", condition=Q(letters__gte=1)),
        ]
        indexes = [models.Index(fields=["mailing", "id"], name="notices_bundle_mailing")]


class BundledLetter(models.Model):
    """A letter's place in a bundle. Invariant, kept by the database: no letter is in two bundles but by a re-issue."""

    bundle = models.ForeignKey(Bundle, on_delete=models.PROTECT)
    place = models.IntegerField()
    letter = models.ForeignKey(Letter, on_delete=models.PROTECT)
    first_page = models.IntegerField(null=True)
    pages = models.SmallIntegerField(null=True)
    address_mac = models.BinaryField()
    reissue = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["bundle", "place"], name="notices_bundledletter_place"),
            models.UniqueConstraint(fields=["letter"], condition=Q(reissue=False), name="notices_bundledletter_once"),
        ]


class Substitute(models.Model):
    """A recipient whom no channel reaches. `site_sha256`: the notice on the site that stands for them since `noticed_at`; null until there is
    one. `ended_at`: when a channel was found after all.
    """

    mailing = models.ForeignKey(Mailing, on_delete=models.PROTECT)
    batch = models.ForeignKey(Batch, on_delete=models.PROTECT)
    place = models.SmallIntegerField()
    subject = models.BigIntegerField()
    why = models.TextField()
    found_at = models.DateTimeField()
    site_sha256 = models.BinaryField(null=True)
    noticed_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["batch", "place"], name="notices_substitute_once"),
            models.CheckConstraint(name="notices_substitute_why", condition=Q(why__in=["no_address", "bad_address", "returned"])),
        ]
        indexes = [models.Index(fields=["mailing", "id"], name="notices_substitute_mailing", condition=Q(ended_at=None))]


class PagesWritten(models.Model):
    """Pages of a notice, written to a folder for a web server: path -> SHA-256. Insert only."""

    notice = models.ForeignKey(Notice, on_delete=models.PROTECT, related_name="+")
    folder = models.TextField()
    pages = models.JSONField()
    written_at = models.DateTimeField()
    written_by = models.TextField()

    class Meta:
        db_table = "notices_pageswritten"


class PagesSeen(models.Model):
    """One look at an address where such pages should stand. `wrong`: path -> what came instead; empty: all as written. Insert only."""

    written = models.ForeignKey(PagesWritten, on_delete=models.PROTECT, related_name="+")
    url = models.TextField()
    wrong = models.JSONField(default=dict)
    seen_at = models.DateTimeField()
    seen_by = models.TextField()

    class Meta:
        db_table = "notices_pagesseen"
        indexes = [models.Index(fields=["written", "url", "seen_at"], name="notices_pagesseen_at")]


class SitePublication(models.Model):
    """A notice as it stood on the company's site from `published_at` until the next one. Insert only.

    `facts`: key -> the id of the ledger's fact that fills it.
    """

    incident = models.IntegerField()
    html = models.TextField()
    text = models.TextField()
    sha256 = models.BinaryField()
    published_at = models.DateTimeField()
    published_by = models.TextField()
    facts = models.JSONField(default=dict)

    class Meta:
        db_table = "notices_sitenotice"
