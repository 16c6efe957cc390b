"""One vetted answer to many cases: frozen, signed by two people, sent in batches."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from django.db import transaction

from tocsin.evidence.types import EventType
from tocsin.kernel import sql
from tocsin.kernel.errors import NotFound, Refused
from tocsin.staff import actions as staff
from tocsin.staff import queries as approvals

from . import approving, books, replies, views
from .models import Answer, Case, Question, Release
from .policy.classify import BULK_SCORE
from .types import ReleaseInfo

ACT = "support.release"
BATCH = 1_000
CASES_MAX = 200_000


def prepare(name: str, *, at: datetime, by: str) -> ReleaseInfo:
    """Freeze a release; see `actions.prepare_release`."""
    question = Question.objects.filter(name=name).first()
    if question is None:
        raise NotFound(f"no question {name!r}")
    if question.never_bulk:
        raise Refused(f"{name} is never answered in bulk: a person answers each")
    newest = Answer.objects.filter(question=question).order_by("-version").first()
    if newest is None:
        raise Refused(f"{name} has no vetted answer: load one first")
    approving.check_usable(newest)  # not an older one instead: somebody had a reason to replace it
    with transaction.atomic():
        members = [row[0] for row in sql.rows("support", "members", question=question.pk, score=BULK_SCORE, at=at, most=CASES_MAX)]
        if not members:
            raise Refused(f"no open case clearly asks {name}")
        made = Release.objects.create(question=question, answer=newest, case_ids=members, prepared_by=by, prepared_at=at)
    return views.release_info(made)


def _payload(row: Release) -> dict[str, Any]:
    """Return what the two people sign: exactly this text, for exactly these cases."""
    return {
        "release": row.pk,
        "question": row.question.name,
        "answer": row.answer_id,
        "answer_sha256": hashlib.sha256(row.answer.body.encode()).hexdigest(),
        "cases": len(row.case_ids),
        "cases_sha256": hashlib.sha256(",".join(map(str, row.case_ids)).encode()).hexdigest(),
    }


def release(id: int, *, approval: int | None, at: datetime, by: str) -> int:
    """Send a release; see `actions.release`."""
    row = _load(id)
    if row.state == "done":
        return row.answered
    if approval is None and row.approval is None:
        asked = staff.request(ACT, _payload(row), by=by, at=at)
        raise Refused(f"the release of {row.question.name} to {len(row.case_ids)} cases needs the approval of two people", approval=asked)
    while row.state != "done":
        row = _batch(id, approval=approval, at=at, by=by)
    return row.answered


def _load(id: int, *, lock: bool = False) -> Release:
    rows = Release.objects.select_for_update() if lock else Release.objects.all()
    row = rows.filter(pk=id).first()
    if row is None:
        raise NotFound(f"no release {id}")
    return row


def _batch(id: int, *, approval: int | None, at: datetime, by: str) -> Release:
    """Send one batch in one transaction: the replies, their evidence and how far the release has come."""
    with transaction.atomic():
        row = _load(id, lock=True)
        if row.state == "done":
            return row
        if row.state == "prepared":
            granted = approvals.require(approval, act=ACT, payload=_payload(row))
            staff.close(granted.id, at=at)
            row.state, row.approval = "running", granted.id
            Answer.objects.filter(pk=row.answer_id).update(approved_by=sorted({*row.answer.approved_by, *granted.signed_by}))
            books.act(EventType.RELEASE_STARTED, at=at, by=by, body=_payload(row) | {"approval": granted.id})
        else:
            approvals.signed(row.approval, act=ACT, payload=_payload(row))
        ids = row.case_ids[row.position : row.position + BATCH]
        cases = list(Case.objects.select_for_update().filter(pk__in=ids).order_by("pk"))
        fitting = [case for case in cases if _fits(case, row, at)]
        answered = replies.send_many(fitting, answer=row.answer, release=row.pk, by=by, at=at)
        row.position += len(ids)
        row.answered += answered
        row.skipped += len(ids) - answered
        row.state = "done" if row.position >= len(row.case_ids) else "running"
        row.save(update_fields=["state", "approval", "position", "answered", "skipped"])
        return row


def _fits(case: Case, row: Release, at: datetime) -> bool:
    """Tell whether a locked case is still what was signed for."""
    leased = case.lease_until is not None and case.lease_until > at
    return case.state == "open" and not leased and not case.urgency and case.question_id == row.question_id and case.score >= BULK_SCORE
