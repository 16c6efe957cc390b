"""A case as staff see it, opened. Every opening is recorded: these texts are people's."""

from __future__ import annotations

from datetime import datetime

from tocsin.evidence.types import EventType

from . import approving, books, sealed
from .models import Answer, Case, Release
from .types import AnswerInfo, CaseView, MessageView, ReleaseInfo, Suggestion

MESSAGES_MAX = 50
SUGGESTIONS = 3


def view(case: Case, *, by: str, at: datetime) -> CaseView:
    """Return a locked case opened, and record who read it, in the caller's transaction; what its holder was shown is remembered."""
    messages = list(case.messages.order_by("-received_at", "-pk")[:MESSAGES_MAX])[::-1]
    if case.lease_by == by and case.state == "open":
        case.seen = max(m.pk for m in messages)
        case.save(update_fields=["seen"])
    books.of_case(EventType.PERSONAL_DATA_READ, case, at=at, by=by, body={"case": case.pk, "messages": len(messages)})
    best: dict[str, float] = {}
    for message in [m for m in messages if m.answered_at is None] or messages[-1:]:
        for name, score in message.ranking:
            best[name] = max(best.get(name, 0.0), score)
    names = sorted(best, key=lambda n: -best[n])[:SUGGESTIONS]
    newest = {
        a.question.name: a for a in approving.usable().filter(question__name__in=names).select_related("question").order_by("version")
    }
    return CaseView(
        id=case.pk,
        state=case.state,
        urgency=case.urgency,
        lease_by=case.lease_by,
        lease_until=case.lease_until,
        messages=tuple(MessageView(m.received_at, sealed.opened(m.text, sealed.TEXT)) for m in messages),
        suggestions=tuple(Suggestion(newest[n].pk, n, newest[n].body) for n in names if n in newest),
    )


def release_info(row: Release) -> ReleaseInfo:
    """Return a release as others see it."""
    return ReleaseInfo(
        id=row.pk,
        question=row.question.name,
        answer_version=row.answer_id,
        text=row.answer.body,
        cases=len(row.case_ids),
        state=row.state,
        answered=row.answered,
        skipped=row.skipped,
        approval=row.approval,
    )


def answer_info(row: Answer) -> AnswerInfo:
    """Return a vetted answer as others see it."""
    return AnswerInfo(row.pk, row.question.name, row.version, row.body, tuple(row.approved_by), row.created_at)
