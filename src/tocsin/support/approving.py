"""Two people behind every vetted answer: who loaded it, and another one who may approve."""

from __future__ import annotations

import hashlib
from datetime import datetime

from django.db import models, transaction

from tocsin.evidence.types import EventType
from tocsin.kernel.errors import NotFound, Refused

from . import books, team
from .models import Answer
from .policy.roles import APPROVALS_MIN, APPROVER_ROLES, may_approve

WAITING_MAX = 500  # answers that one call approves, and that a page shows


def usable() -> models.QuerySet[Answer]:
    """Return the answers that enough different people stand for; the array holds each name once."""
    return Answer.objects.filter(approved_by__len__gte=APPROVALS_MIN)


def waiting() -> models.QuerySet[Answer]:
    """Return the newest answer of each question where it still lacks approval: an older one that a newer replaced needs none."""
    newer = Answer.objects.filter(
        question=models.OuterRef("question"), lang=models.OuterRef("lang"), version__gt=models.OuterRef("version")
    )
    return Answer.objects.filter(~models.Exists(newer), approved_by__len__lt=APPROVALS_MIN)


def check_usable(answer: Answer) -> None:
    """Raise Refused while an answer lacks approval."""
    if len(set(answer.approved_by)) < APPROVALS_MIN:
        raise Refused(
            f"answer {answer.pk} ({answer.question.name}, version {answer.version}) waits for approval: "
            f"{', '.join(answer.approved_by)} stands for it, another person must too"
        )


def approve(version: int, *, by: str, at: datetime) -> None:
    """Approve one answer; see `actions.approve_answer`."""
    _check_approver(by)
    with transaction.atomic():
        row = Answer.objects.select_for_update(of=("self",)).select_related("question").filter(pk=version).first()
        if row is None:
            raise NotFound(f"no vetted answer {version}")
        if by in row.approved_by:
            if len(row.approved_by) >= APPROVALS_MIN:
                return
            raise Refused(f"{by} stands for answer {version} already: another person must approve it")
        row.approved_by = [*row.approved_by, by]
        row.save(update_fields=["approved_by"])
        record(row, by=by, at=at)


def approve_waiting(*, by: str, at: datetime) -> int:
    """Approve what waits; see `actions.approve_answers`."""
    _check_approver(by)
    with transaction.atomic():
        found = waiting().exclude(approved_by__contains=[by]).order_by("pk").values_list("pk", flat=True)[:WAITING_MAX]
        ids = list(found)
        for version in ids:
            approve(version, by=by, at=at)
    return len(ids)


def record(row: Answer, *, by: str, at: datetime) -> None:
    """Record that `by` stands for exactly these words."""
    books.act(
        EventType.ANSWER_APPROVED,
        at=at,
        by=by,
        body={
            "question": row.question.name,
            "answer": row.pk,
            "version": row.version,
            "sha256": hashlib.sha256(row.body.encode()).hexdigest(),
            "approvals": len(row.approved_by),
        },
    )


def _check_approver(by: str) -> None:
    if not may_approve(team.roles(by)):
        raise Refused(f"{by} may not approve answers: one of the roles {', '.join(sorted(APPROVER_ROLES))} is needed")
