"""Where a case stands, derived from its waiting messages."""

from __future__ import annotations

from .models import Case
from .policy import urgency


def refresh(case: Case) -> None:
    """Derive urgency, question and age of a locked case that has waiting messages: urgent if one is; one question only if all ask it."""
    waiting = list(case.messages.filter(answered_at=None).values_list("urgency", "question_id", "score", "received_at"))
    asked = {question for _, question, _, _ in waiting}
    case.urgency = urgency.most_pressing([u for u, _, _, _ in waiting if u])
    case.rank = urgency.RANK[case.urgency]
    case.question_id = asked.pop() if len(asked) == 1 else None
    case.score = min(score for _, _, score, _ in waiting)
    case.waiting = len(waiting)
    case.waiting_since = min(received for _, _, _, received in waiting)
    case.save(update_fields=["urgency", "rank", "question", "score", "waiting", "waiting_since"])
