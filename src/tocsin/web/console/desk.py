"""The desk: one button gives the most urgent case; one mail at a time, with vetted answers beside it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET, require_POST

from tocsin.kernel import clock
from tocsin.kernel.errors import BadInput, Fault, Refused
from tocsin.support import actions, queries

from .page import page, span, staff_only, who


@staff_only
@require_GET
def show(request: HttpRequest) -> HttpResponse:
    """Show how the desk stands and which questions people ask."""
    desk = queries.status()
    questions = sorted(queries.questions(), key=lambda q: (-q.open, -q.size))
    asked, unasked = [q for q in questions if q.size], [q for q in questions if not q.size]
    oldest = span(timedelta(seconds=desk.oldest_s)) if desk.open else "–"
    return page("desk", {"desk": desk, "oldest": oldest, "asked": asked, "unasked": unasked}, request)


@staff_only
@require_POST
def take_next(request: HttpRequest) -> HttpResponse:
    """Lease the most urgent open case to the operator and show it."""
    found = actions.next_case(by=who(request), at=clock.now())
    if found is None:
        messages.info(request, "Nothing is waiting.")
        return redirect("/desk")
    return redirect(f"/desk/{found.id}")


@staff_only
@require_GET
def case(request: HttpRequest, case: int) -> HttpResponse:
    """Show one case: what the person wrote, redacted, and the answers that may fit."""
    return _case(request, case)


def _case(request: HttpRequest, case: int, *, typed: str = "", faults: Sequence[Fault] = ()) -> HttpResponse:
    found = queries.case(case, by=who(request), at=clock.now())
    suggestions = [(s.version, s.question.replace("_", " "), s.text) for s in found.suggestions]
    words = {"urgency": found.urgency.replace("_", " "), "suggestions": suggestions, "typed": typed, "faults": faults}
    return page("case", {"case": found, **words}, request, status=400 if faults else 200)


@staff_only
@require_POST
def answer(request: HttpRequest, case: int) -> HttpResponse:
    """Send an answer, vetted or written, and take the next case."""
    version, text = request.POST.get("version", ""), request.POST.get("text", "").strip()
    try:
        actions.answer(case, answer_version=int(version) if version.isdigit() else None, text=text or None, by=who(request), at=clock.now())
    except BadInput as e:
        return _case(request, case, typed=text, faults=e.faults)
    except Refused as e:
        messages.error(request, str(e))
        return redirect(f"/desk/{case}")
    messages.success(request, "Answered.")
    return take_next(request)


@staff_only
@require_POST
def release(request: HttpRequest, case: int) -> HttpResponse:
    """Give a case back to the queue unanswered."""
    actions.release_lease(case, by=who(request), at=clock.now())
    return redirect("/desk")
