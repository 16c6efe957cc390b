"""Tables of the desk. Addresses, subject lines and texts are sealed; persons are known by keyed digest."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models

from .policy.closing import REASONS
from .policy.urgency import KINDS


class Question(models.Model):
    """A kind of thing people ask. `examples`: phrasings the classifier learns from. `never_bulk`: urgent, a person answers each."""

    name = models.TextField(unique=True)
    title = models.TextField()
    never_bulk = models.BooleanField(default=False)
    examples = models.JSONField()


class Answer(models.Model):
    """A version of a vetted answer; its words never change. `approved_by`: who loaded it, who approved it, then those who signed releases.

    Invariant: `approved_by` holds each name once; with fewer than two names the answer is not used.
    """

    question = models.ForeignKey(Question, on_delete=models.PROTECT, related_name="answers")
    version = models.IntegerField()
    lang = models.TextField(default="en")
    body = models.TextField()
    approved_by = ArrayField(models.TextField())
    created_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["question", "lang", "version"], name="support_answer_version")]


class Case(models.Model):
    """One person's matter. Invariant: a person has at most one case that is not closed; state is open exactly if a message waits.

    `rank` orders the queue (urgent first), `waiting_since` is the oldest waiting message's arrival. `question` is set only when every
    waiting message clearly asks this one thing, which is what a release may answer.
    `waiting`: how many messages wait. `seen`: the newest message that the person who works on it was shown; what came later is not answered by what they write.
    """

    person = models.BinaryField()
    address = models.BinaryField()
    subject = models.BigIntegerField(null=True)
    state = models.TextField(default="open")
    urgency = models.TextField(default="")
    rank = models.SmallIntegerField()
    question = models.ForeignKey(Question, null=True, on_delete=models.PROTECT)
    score = models.FloatField(default=0)
    opened_at = models.DateTimeField()
    moved_at = models.DateTimeField()
    waiting_since = models.DateTimeField()
    waiting = models.IntegerField(default=0)
    lease_by = models.TextField(default="")
    lease_until = models.DateTimeField(null=True)
    seen = models.BigIntegerField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(name="support_case_state_known", condition=models.Q(state__in=["open", "answered", "closed"])),
            models.CheckConstraint(
                name="support_case_open_waits",
                condition=models.Q(state="open", waiting__gt=0) | (~models.Q(state="open") & models.Q(waiting=0)),
            ),
            models.CheckConstraint(name="support_case_urgency_known", condition=models.Q(urgency__in=["", *KINDS])),
            models.UniqueConstraint(fields=["person"], condition=~models.Q(state="closed"), name="support_case_one_per_person"),
        ]
        indexes = [
            models.Index(fields=["rank", "waiting_since", "id"], condition=models.Q(state="open"), name="support_case_next"),
            models.Index(fields=["waiting"], condition=models.Q(state="open") & ~models.Q(urgency=""), name="support_case_urgent"),
            models.Index(fields=["lease_by"], condition=models.Q(state="open") & ~models.Q(lease_by=""), name="support_case_held"),
            models.Index(fields=["question", "id"], condition=models.Q(state="open"), name="support_case_alike"),
        ]


class Release(models.Model):
    """One answer for a frozen list of cases, ascending. `position`: how many of them have been gone through."""

    question = models.ForeignKey(Question, on_delete=models.PROTECT)
    answer = models.ForeignKey(Answer, on_delete=models.PROTECT)
    case_ids = ArrayField(models.BigIntegerField())
    state = models.TextField(default="prepared")
    position = models.IntegerField(default=0)
    answered = models.IntegerField(default=0)
    skipped = models.IntegerField(default=0)
    approval = models.BigIntegerField(null=True)
    prepared_by = models.TextField()
    prepared_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(name="support_release_state_known", condition=models.Q(state__in=["prepared", "running", "done"])),
            models.CheckConstraint(name="support_release_closes", condition=models.Q(position=models.F("answered") + models.F("skipped"))),
        ]


class Reply(models.Model):
    """One answer that was queued. `outbound`: its id in the mail room, by which an answer to it finds the case."""

    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="replies")
    outbound = models.BigIntegerField(unique=True)
    at = models.DateTimeField()
    by = models.TextField()
    answer = models.ForeignKey(Answer, null=True, on_delete=models.PROTECT)
    release = models.ForeignKey(Release, null=True, on_delete=models.PROTECT)


class Message(models.Model):
    """One mail of a person, redacted. Invariant: without `case` it is set aside; otherwise it waits until `answered_at` is set with
    either `reply` or, when its case was closed without one, the reason `closed_why`.

    `inbound`: its id in the mail room, unique, so that it is taken once. `message_id`, `reply_references`: for the answer's threading.
    """

    case = models.ForeignKey(Case, null=True, on_delete=models.PROTECT, related_name="messages")
    inbound = models.BigIntegerField(unique=True)
    received_at = models.DateTimeField()
    message_id = models.TextField()
    reply_references = ArrayField(models.TextField())
    subject_line = models.BinaryField()
    text = models.BinaryField()
    ranking = models.JSONField(default=list)
    question = models.ForeignKey(Question, null=True, on_delete=models.PROTECT)
    score = models.FloatField(default=0)
    urgency = models.TextField(default="")
    set_aside = models.TextField(default="")
    reply = models.ForeignKey(Reply, null=True, on_delete=models.PROTECT, related_name="messages")
    answered_at = models.DateTimeField(null=True)
    closed_why = models.TextField(default="")

    class Meta:
        constraints = [
            models.CheckConstraint(name="support_message_placed", condition=models.Q(case=None) ^ models.Q(set_aside="")),
            models.CheckConstraint(
                name="support_message_answered",
                condition=models.Q(reply=None, answered_at=None, closed_why="")
                | models.Q(reply__isnull=False, answered_at__isnull=False, closed_why="")
                | models.Q(reply=None, answered_at__isnull=False, closed_why__in=REASONS),
            ),
        ]
        indexes = [
            models.Index(fields=["received_at"], condition=models.Q(answered_at=None, case__isnull=False), name="support_message_waiting")
        ]


class Tally(models.Model):
    """Counts of messages as differences: their sum is how the desk stands. Written by triggers on support_message, never by our code.

    Rows are added, never changed, so that nobody waits for anybody; `fold` of arrivals sums them up now and then.
    """

    received = models.BigIntegerField()
    urgent_received = models.BigIntegerField()
    answered = models.BigIntegerField()
    bulk_answered = models.BigIntegerField()
    set_aside = models.BigIntegerField()


class Cursor(models.Model):
    """How far the mail room's inbox has been read; one row."""

    last_inbound = models.BigIntegerField(default=0)
