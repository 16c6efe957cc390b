"""Was I affected? Asked with an address, answered to its mailbox; the page shows kinds of data to whoever comes with the mailed link."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_http_methods, require_safe

from tocsin.credentials import actions as credentials
from tocsin.credentials import queries as credentials_now
from tocsin.credentials.types import LOGIN_CHARS_MAX, TOKEN_SHAPE
from tocsin.kernel import clock, config
from tocsin.kernel.errors import BadInput
from tocsin.notices.queries import words_of

from .dead import dead, source_of
from .page import SeeOther, page, put_cookie, seal

COOKIE = "tocsin_affected"
PATH = "/affected"


@require_http_methods(["GET", "HEAD", "POST"])
def ask(request: HttpRequest) -> HttpResponse:
    """Ask whether one was affected: one answer for every address."""
    if request.method != "POST":
        return page(request, "affected")
    email = request.POST.get("email", "")
    try:
        credentials.ask_affected(email, at=clock.now(), source=source_of(request))
    except BadInput:
        return page(request, "affected", 422, email=email[:LOGIN_CHARS_MAX], fault=True)
    minutes = int(credentials_now.link_life().total_seconds() // 60)
    return page(request, "affected_asked", minutes=minutes, sender=config.current().mail.reset_from)


@require_safe
def follow_link(request: HttpRequest, token: str) -> HttpResponse:
    """Move the token from the address into a cookie, as a reset link's."""
    response = SeeOther(f"{PATH}/answer")
    if TOKEN_SHAPE.fullmatch(token):
        put_cookie(response, COOKIE, token, credentials_now.link_life(), path=PATH)
    else:
        response.delete_cookie(COOKIE, path=PATH)
    return seal(response, referrer="no-referrer")


@require_safe
def answer(request: HttpRequest) -> HttpResponse:
    """Show which kinds of data were reached; never the data."""
    token = request.COOKIES.get(COOKIE, "")
    found = credentials_now.open_affected(token, at=clock.now())
    if found is None:
        return dead(request, "affected_dead", 410, tried=token)
    shown = [
        {"discovered_at": i.discovered_at, "readable": words_of(i.readable), "scrambled": words_of(i.scrambled)} for i in found.incidents
    ]
    return page(request, "affected_answer", known=found.known, incidents=shown, answered_at=found.answered_at)
