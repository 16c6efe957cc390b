"""The desk: one button gives the most urgent case; one mail at a time, with vetted answers beside it, and what helps its writer sign in."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import timedelta

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from tocsin.credentials import actions as credentials
from tocsin.credentials.types import TICKET_NONCE_BYTES
from tocsin.kernel import clock
from tocsin.kernel.errors import BadInput, Fault, NotFound, Refused
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


def _case(request: HttpRequest, case: int, *, typed: str = "", faults: Sequence[Fault] = (), ticket: str = "") -> HttpResponse:
    found = queries.case(case, by=who(request), at=clock.now())
    suggestions = [(s.version, s.question.replace("_", " "), s.text) for s in found.suggestions]
    words = {"urgency": found.urgency.replace("_", " "), "suggestions": suggestions, "typed": typed, "faults": faults, "ticket": ticket}
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


@staff_only
@require_POST
def ticket(request: HttpRequest, case: int) -> HttpResponse:
    """Show, this once, an address that leads the person of a case past the ordinary queue. It opens no account."""
    queries.person_of(case, by=who(request), at=clock.now())
    made = credentials.assisted_ticket(secrets.token_bytes(TICKET_NONCE_BYTES), at=clock.now(), by=who(request))
    return _case(request, case, ticket=made)


@staff_only
@require_POST
def start_reset(request: HttpRequest, case: int) -> HttpResponse:
    """Have a reset link mailed to the person of a case, to the address in the register. Nobody here sees it or chooses a password."""
    try:
        credentials.start_reset(_customer(request, case), at=clock.now(), by=who(request))
    except NotFound as e:
        messages.error(request, str(e))
    else:
        messages.success(request, "A reset link goes to the address in the register.")
    return redirect(f"/desk/{case}")


@staff_only
@require_http_methods(["GET", "HEAD", "POST"])
def end_sign_ins(request: HttpRequest, case: int) -> HttpResponse:
    """End all sign-ins of the person of a case: say first what that does, then do it."""
    try:
        subject = _customer(request, case)
        if request.method != "POST":
            return page("end_sign_ins", {"case": case}, request)
        ended = credentials.end_sign_ins(subject, at=clock.now(), by=who(request))
    except NotFound as e:
        messages.error(request, str(e))
    else:
        messages.success(request, f"Ended: {ended.sessions} sessions and {ended.tokens} tokens. The password stays.")
    return redirect(f"/desk/{case}")


def _customer(request: HttpRequest, case: int) -> int:
    """Return the customer of a case. Raises NotFound, also where the address is nobody's, and Refused as `support.queries.person_of`."""
    subject = queries.person_of(case, by=who(request), at=clock.now())
    if subject is None:
        raise NotFound("nobody in the register has the address that this case came from")
    return subject
