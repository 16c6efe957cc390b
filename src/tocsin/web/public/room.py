"""The waiting page, and the cookies that keep a place. Without cookies the place is in the page's own address (`q`) and in its forms."""

from __future__ import annotations

import math
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from tocsin.credentials import queries as credentials_now
from tocsin.credentials.types import Stand

TICKET_COOKIE = "tocsin_place"
PASS_COOKIE = "tocsin_pass"  # noqa: S105  # a name
PATH = "/passwordchange"
FIELD = "q"
TICKET_CHARS_MAX = 100
TICKET_COOKIE_S, PASS_COOKIE_S = 30 * 86_400, 900
FORM_ASKED = "tocsin.waiting_form"  # the path that the form is for: a key of the WSGI environment that no HTTP header can set

Shell = Callable[..., HttpResponse]


def ticket_of(request: HttpRequest) -> str:
    """Return the ticket that a request brings: in the form, in the address, or in the cookie. Not yet verified."""
    found = request.POST.get(FIELD) or request.GET.get(FIELD) or request.COOKIES.get(TICKET_COOKIE, "")
    return found[:TICKET_CHARS_MAX]


def minutes(wait_s: float) -> int:
    """Return a wait in whole minutes, at least one."""
    return max(1, math.ceil(wait_s / 60))


def page(request: HttpRequest, stand: Stand | None, path: str, *, shell: Shell, full: bool = False) -> HttpResponse:
    """Return the waiting page for a stand: 503, Retry-After, the place kept. Without a stand, with gaps that the front fills."""
    figures = (
        {"ahead": stand.ahead, "minutes": minutes(stand.wait_s), "refresh": stand.refresh_s, "ticket": stand.ticket}
        if stand
        else {"ahead": "@AHEAD@", "minutes": "@MINUTES@", "refresh": "@REFRESH@", "ticket": "@TICKET@"}
    )
    response = shell(request, "room", 503, path=path, full=full, disabled=credentials_now.all_were_reset() is not None, **figures)
    if stand is None:
        return response
    response.headers["Retry-After"] = str(stand.refresh_s)
    return keep(response, stand)


def keep(response: HttpResponse, stand: Stand) -> HttpResponse:
    """Set the cookies that a stand asks for."""
    for name, value, life_s in ((TICKET_COOKIE, stand.ticket, TICKET_COOKIE_S), (PASS_COOKIE, stand.grant, PASS_COOKIE_S)):
        if value:
            response.set_cookie(
                name, value, max_age=life_s, path=PATH, secure=settings.SESSION_COOKIE_SECURE, httponly=True, samesite="Lax"
            )
    return response
