"""Tables of the incidents room. An exposure and its rows are written once; facts and determinations are never changed (triggers and grants forbid it)."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from .types import AUDIENCES, PROOF_STATES, STATES


class Incident(models.Model):
    """One incident, as two people declared it. `approval` is theirs, by number."""

    name = models.TextField()
    cause = models.TextField()
    story = models.TextField(blank=True)
    state = models.TextField(default="declared")
    discovered_at = models.DateTimeField()
    declared_at = models.DateTimeField()
    declared_by = models.TextField()
    window_from = models.DateTimeField(null=True)
    hosts = ArrayField(models.TextField())
    stolen = ArrayField(models.TextField(), default=list)
    entity = models.JSONField(default=dict)
    approval = models.BigIntegerField(unique=True)
    hold = models.TextField(null=True)  # why nobody may be forgotten

    class Meta:
        constraints = [
            models.CheckConstraint(name="incidents_incident_state", condition=Q(state__in=STATES)),
            models.CheckConstraint(
                name="incidents_incident_order",
                condition=Q(discovered_at__lte=F("declared_at")) & (Q(window_from=None) | Q(window_from__lte=F("discovered_at"))),
            ),
        ]


class Exposure(models.Model):
    """One frozen answer; the newest version holds."""

    incident = models.ForeignKey(Incident, on_delete=models.PROTECT, related_name="exposures")
    version = models.IntegerField()
    map_digest = models.BinaryField()
    keys_held = ArrayField(models.TextField(), default=list)
    people = models.BigIntegerField()
    frozen_at = models.DateTimeField()
    frozen_by = models.TextField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["incident", "version"], name="incidents_exposure_version")]


class StoreReach(models.Model):
    """What one exposure says of one store: reached (path, elements, state, people) or kept (cut, proved, missing)."""

    exposure = models.ForeignKey(Exposure, on_delete=models.PROTECT, related_name="stores")
    store = models.TextField()
    reached = models.BooleanField()
    state = models.TextField()
    path = ArrayField(models.TextField(), default=list)
    clear = models.BigIntegerField(default=0)
    sealed = models.BigIntegerField(default=0)
    assumed = models.BigIntegerField(default=0)
    people = models.BigIntegerField(default=0)
    cut = models.JSONField(default=list)
    missing = models.JSONField(default=list)
    proved = models.BooleanField(default=False)
    n_controls = models.IntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["exposure", "store"], name="incidents_storereach_once"),
            models.CheckConstraint(
                name="incidents_storereach_state", condition=Q(reached=True, state__in=PROOF_STATES) | Q(reached=False, state="not_reached")
            ),
        ]


class Cohort(models.Model):
    """People of one exposure that the law cannot tell apart. No element is both clear and sealed."""

    exposure = models.ForeignKey(Exposure, on_delete=models.PROTECT, related_name="cohorts")
    jurisdiction = models.TextField()
    clear = models.BigIntegerField()
    sealed = models.BigIntegerField()
    state = models.TextField()
    count = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["exposure", "jurisdiction", "clear", "sealed", "state"], name="incidents_cohort_once"),
            models.CheckConstraint(name="incidents_cohort_state", condition=Q(state__in=PROOF_STATES)),
            models.CheckConstraint(name="incidents_cohort_count", condition=Q(count__gt=0)),
        ]


class ExposedSubject(models.Model):
    """One person in one exposure.

    The database checks no foreign keys here: 24 million checks of three keys would take longer than the freeze, whose one statement reads
    subject and cohort from their tables; its counts are checked before it commits.
    """

    pk = models.CompositePrimaryKey("exposure_id", "subject_id")
    exposure = models.ForeignKey(Exposure, on_delete=models.PROTECT, db_constraint=False, db_index=False)
    subject = models.ForeignKey("subjects.Subject", on_delete=models.PROTECT, db_constraint=False, db_index=False)
    cohort = models.ForeignKey(Cohort, on_delete=models.PROTECT, db_constraint=False, db_index=False)


class Fact(models.Model):
    """A statement about an incident. Facts of one key form a chain: each but the first supersedes exactly one."""

    incident = models.ForeignKey(Incident, on_delete=models.PROTECT, related_name="facts")
    key = models.TextField()
    value = models.TextField()
    exhibit = models.TextField(blank=True)
    audience = models.TextField(default="all")
    asserted_by = models.TextField()
    at = models.DateTimeField()
    supersedes = models.OneToOneField("self", on_delete=models.PROTECT, null=True, related_name="superseded_by")

    class Meta:
        indexes = [models.Index(fields=["incident", "key"], name="incidents_fact_key")]
        constraints = [
            models.UniqueConstraint(fields=["incident", "key"], condition=Q(supersedes=None), name="incidents_fact_first"),
            models.CheckConstraint(name="incidents_fact_audience", condition=Q(audience__in=AUDIENCES)),
        ]


class Containment(models.Model):
    """What two people state of a system that the intruder reached and that has credentials in hand: that it is out of those hands again.

    Bound to the data map by which it was reached: under another map it has to be stated anew.
    """

    incident = models.ForeignKey(Incident, on_delete=models.PROTECT, related_name="containments")
    system = models.TextField()
    map_digest = models.BinaryField()
    statement = models.TextField()
    exhibit = models.TextField(blank=True)
    approval = models.BigIntegerField(unique=True)
    signed_by = ArrayField(models.TextField())
    determined_by = models.TextField()
    at = models.DateTimeField()

    class Meta:
        constraints = [models.CheckConstraint(name="incidents_containment_stated", condition=~Q(statement=""))]
