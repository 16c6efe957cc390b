"""What every page of the console shares: sign-in required, the links of the rooms, the answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any, Concatenate, ParamSpec
from urllib.parse import urlencode, urlsplit

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache

from tocsin.incidents import queries as incidents
from tocsin.incidents.types import IncidentInfo
from tocsin.kernel.errors import NotFound

P = ParamSpec("P")

ROOMS = (
    ("/", "Incident", "i"),
    ("/cutover", "Cutover", "c"),
    ("/mailing", "Mailing", "m"),
    ("/notices", "Notices", "o"),
    ("/desk", "Desk", "d"),
    ("/approvals", "Approvals", "a"),
    ("/log", "Log", "l"),
    ("/receipt", "Receipt", "r"),
)
PARTS = {"/cutover": "/cutover", "/mailing": "/mailing", "/letters": "/mailing", "/notices": "/notices"}  # of an incident -> their room


def page(template: str, context: dict[str, Any], request: HttpRequest, *, status: int = 200) -> HttpResponse:
    """Return a page of the console with the room links."""
    here = max((url for url, _, _ in ROOMS if request.path.startswith(url)), key=len, default="/")
    if here == "/":  # an incident's own
        here = next((room for part, room in PARTS.items() if part in request.path), here)
    links = [{"url": url, "name": name, "key": key, "here": url == here} for url, name, key in ROOMS]
    return render(request, f"console/{template}.html", {**context, "links": links}, status=status)


def of_newest(request: HttpRequest, show: Callable[[IncidentInfo], HttpResponse]) -> HttpResponse:
    """Return what `show` makes of the newest incident, or what to do when there is none."""
    try:
        found = incidents.latest()
    except NotFound:
        return page("no_incident", {}, request)
    return show(found)


def staff_only(view: Callable[Concatenate[HttpRequest, P], HttpResponse]) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """Let only signed-in operators see a view, and let no cache keep it.

    A page whose session ended while it polled is told to go to the sign-in whole: a redirect would put the form into its live part.
    """

    @wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if request.headers.get("HX-Request") and not request.user.is_authenticated:
            here = urlsplit(request.headers.get("HX-Current-URL", "")).path or "/"
            return HttpResponse(headers={"HX-Redirect": f"/sign-in?{urlencode({'next': here})}"})
        return required(request, *args, **kwargs)

    required = login_required(view)
    return never_cache(guarded)


def who(request: HttpRequest) -> str:
    """Return the signed-in operator's name."""
    return str(request.user.get_username())


def span(length: timedelta) -> str:
    """Return a span of time in the two largest units that matter."""
    minutes = int(length.total_seconds() // 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} days"
