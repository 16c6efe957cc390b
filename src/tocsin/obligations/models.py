"""Tables of the obligations room. `incident` and `exposure` name rows of a lower room by id."""

from __future__ import annotations

from django.db import models

from .types import DETERMINATIONS, STATES


class Assessment(models.Model):
    """One evaluation: facts in, answer out, pinned to the law data and its digest. Never changed."""

    incident = models.IntegerField()
    exposure = models.BigIntegerField()
    data_version = models.TextField()
    data_digest = models.TextField()
    facts = models.JSONField()
    answer = models.JSONField()
    at = models.DateTimeField()
    by = models.TextField()

    class Meta:
        indexes = [models.Index(fields=["incident", "-id"], name="obligations_assessment_newest")]


class Obligation(models.Model):
    """One duty of an incident. `withdrawn_at`: a later assessment no longer finds it; the row stays as a record."""

    incident = models.IntegerField()
    assessment = models.ForeignKey(Assessment, on_delete=models.PROTECT, related_name="obligations")
    law = models.TextField()
    duty = models.TextField()
    jurisdiction = models.TextField()
    version = models.TextField()
    state = models.TextField()
    due_date = models.DateField(null=True)
    due_at = models.DateTimeField(null=True)
    basis = models.TextField()
    count = models.BigIntegerField()
    info = models.JSONField()
    proof = models.JSONField(null=True)  # how it was closed: text, approval, by whom, when
    withdrawn_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["incident", "law", "duty"], name="obligations_obligation_once"),
            models.CheckConstraint(name="obligations_obligation_state_known", condition=models.Q(state__in=STATES)),
            models.CheckConstraint(
                name="obligations_obligation_closed_with_proof",
                condition=~models.Q(state__in=("done", "waived")) | models.Q(proof__isnull=False),
            ),
        ]


class Answer(models.Model):
    """What somebody answered; the newest row of a key counts. `incident` null: true of the company in every incident."""

    incident = models.IntegerField(null=True)
    key = models.TextField()
    value = models.JSONField()
    at = models.DateTimeField()
    by = models.TextField()

    class Meta:
        indexes = [models.Index(fields=["incident", "key", "-id"], name="obligations_answer_newest")]


class Determination(models.Model):
    """A finding two people signed, one of them Legal; kept for the years its law wants."""

    incident = models.IntegerField()
    kind = models.TextField()
    law = models.TextField(null=True)
    text = models.TextField()
    approval = models.BigIntegerField()
    at = models.DateTimeField()
    by = models.TextField()
    retention_until = models.DateField()

    class Meta:
        constraints = [
            models.CheckConstraint(name="obligations_determination_kind_known", condition=models.Q(kind__in=DETERMINATIONS)),
            models.CheckConstraint(
                name="obligations_determination_no_harm_has_law", condition=~models.Q(kind="no_harm") | models.Q(law__isnull=False)
            ),
        ]
