"""Reads of the desk."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models import F, Max

from tocsin.kernel import clock, sql
from tocsin.kernel.errors import NotFound, Refused

from . import approving, measuring, team, views
from .models import Case, Message, Release
from .policy.roles import APPROVALS_MIN
from .types import AnswerInfo, CaseView, DeskStatus, QuestionInfo, ReleaseInfo


def status() -> DeskStatus:
    """Return how the desk stands, in messages of people: received = answered + open."""
    [(received, waiting, urgent, urgent_all, oldest, answered, bulk, aside)] = sql.rows("support", "status")
    age = max(0, int((clock.now() - oldest).total_seconds())) if oldest else 0
    return DeskStatus(received, waiting, urgent, urgent_all, age, answered, bulk, aside)


def questions() -> list[QuestionInfo]:
    """Return every question, the most asked first, with its cases and its newest approved answer."""
    return [QuestionInfo(*row) for row in sql.rows("support", "questions", approvals=APPROVALS_MIN)]


def answers_waiting() -> list[AnswerInfo]:
    """Return the answers that wait for a second person's approval, oldest first; at most 500."""
    rows = approving.waiting().select_related("question").order_by("pk")[: approving.WAITING_MAX]
    return [views.answer_info(row) for row in rows]


def case(id: int, *, by: str, at: datetime) -> CaseView:
    """Return one case opened, and record that `by` read it. Raises NotFound, and Refused if it is urgent and `by` a novice."""
    with transaction.atomic():
        row = Case.objects.select_for_update().filter(pk=id).first()
        if row is None:
            raise NotFound(f"no case {id}")
        team.check_urgent(row, by=by)
        return views.view(row, by=by, at=at)


def person_of(case: int, *, by: str, at: datetime) -> int | None:
    """Return which customer of the register a case belongs to, None if its address is nobody's, for somebody who is about to help.

    Opens no text. Raises NotFound, and Refused if another person holds the case or it is urgent and `by` a novice.
    """
    row = Case.objects.filter(pk=case).first()
    if row is None:
        raise NotFound(f"no case {case}")
    if row.lease_by not in ("", by) and row.lease_until is not None and row.lease_until > at:
        raise Refused(f"case {case} is with {row.lease_by} until {row.lease_until:%H:%M:%S} UTC")
    team.check_urgent(row, by=by)
    return row.subject


def release_info(release: int) -> ReleaseInfo:
    """Return how a release stands. Raises NotFound."""
    row = Release.objects.select_related("question", "answer").filter(pk=release).first()
    if row is None:
        raise NotFound(f"no release {release}")
    return views.release_info(row)


def evaluate(train_csv: Path, test_csv: Path, *, shots: int | None = None, seed: int = 1) -> dict[str, Any]:
    """Return n, accuracy, top3 (fractions) and msgs_per_s of the classifier on CSV files of `text,label` lines under a heading.

    `shots`: so many examples of each label, chosen by `seed`; None for all of them. Raises BadInput.
    """
    return measuring.evaluate(train_csv, test_csv, shots=shots, seed=seed)


def longest_wait_s() -> float:
    """Return how long the message that waited longest for its answer has waited, in seconds; 0 before the first answer."""
    waited = Message.objects.filter(answered_at__isnull=False).aggregate(longest=Max(F("answered_at") - F("received_at")))["longest"]
    return waited.total_seconds() if waited is not None else 0.0
