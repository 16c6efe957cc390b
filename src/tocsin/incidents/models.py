"""Tables of the incidents room."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models

from .types import AUDIENCES, STATES


class Incident(models.Model):
    """An incident as two people declared it."""

    name = models.TextField()
    cause = models.TextField()
    state = models.TextField(default="declared")
    hosts = ArrayField(models.TextField())
    discovered_at = models.DateTimeField()
    declared_at = models.DateTimeField()
    declared_by = models.TextField()
    window_from = models.DateTimeField(null=True)
    approval = models.BigIntegerField(unique=True)

    class Meta:
        constraints = [models.CheckConstraint(name="incidents_incident_state", condition=models.Q(state__in=list(STATES)))]


class Exposure(models.Model):
    """A frozen exposure; `people` closes with its cohorts and its rows."""

    incident = models.ForeignKey(Incident, on_delete=models.PROTECT)
    version = models.IntegerField()
    map_digest = models.BinaryField()
    people = models.BigIntegerField()
    frozen_at = models.DateTimeField()
    frozen_by = models.TextField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["incident", "version"], name="incidents_exposure_once")]


class Cohort(models.Model):
    """Exposed people of one jurisdiction with the same elements."""

    exposure = models.ForeignKey(Exposure, on_delete=models.PROTECT, related_name="cohorts")
    jurisdiction = models.TextField()
    clear = models.BigIntegerField()
    sealed = models.BigIntegerField()
    state = models.TextField()
    count = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["exposure", "jurisdiction", "clear", "sealed", "state"], name="incidents_cohort_once"),
            models.CheckConstraint(name="incidents_cohort_disjoint", condition=models.Q(count__gt=0)),
        ]


class ExposedSubject(models.Model):
    """One exposed person, written by `sql/freeze.sql` alone. No foreign key is checked per row: the join that writes them proves them."""

    pk = models.CompositePrimaryKey("exposure_id", "subject_id")
    exposure = models.ForeignKey(Exposure, on_delete=models.PROTECT, db_constraint=False, db_index=False)
    subject = models.ForeignKey("subjects.Subject", on_delete=models.PROTECT, db_constraint=False, db_index=False)
    cohort = models.ForeignKey(Cohort, on_delete=models.PROTECT, db_constraint=False, db_index=False)


class StoreReach(models.Model):
    """One store in a frozen exposure: how it was reached, or what kept it."""

    exposure = models.ForeignKey(Exposure, on_delete=models.PROTECT, related_name="stores")
    store = models.TextField()
    reached = models.BooleanField()
    state = models.TextField()
    path = ArrayField(models.TextField(), default=list)
    clear = models.BigIntegerField(default=0)
    sealed = models.BigIntegerField(default=0)
    proved = models.BooleanField(default=False)
    cut = models.JSONField(default=list)
    missing = models.JSONField(default=list)
    n_controls = models.IntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["exposure", "store"], name="incidents_storereach_once")]


class Fact(models.Model):
    """One fact, never changed; a later one may supersede it."""

    incident = models.ForeignKey(Incident, on_delete=models.PROTECT, related_name="facts")
    key = models.TextField()
    value = models.TextField()
    exhibit = models.TextField(blank=True)
    asserted_by = models.TextField()
    at = models.DateTimeField()
    supersedes = models.OneToOneField("self", on_delete=models.PROTECT, null=True)
    audience = models.TextField(default="all")

    class Meta:
        constraints = [models.CheckConstraint(name="incidents_fact_audience", condition=models.Q(audience__in=list(AUDIENCES)))]
