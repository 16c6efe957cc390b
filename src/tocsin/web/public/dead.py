"""Links and codes that do not work: one page for all of them, and after many from one place the same page with 429 and Retry-After."""

from __future__ import annotations

import math
from typing import Any

from django.http import HttpRequest, HttpResponse

from tocsin.credentials import actions as credentials
from tocsin.credentials.types import Source
from tocsin.kernel import clock

from .page import page


def source_of(request: HttpRequest) -> Source:
    """Return where a request came from, as it arrived."""
    return Source(request.META.get("REMOTE_ADDR", ""), request.META.get("HTTP_X_FORWARDED_FOR", ""))


def dead(request: HttpRequest, name: str, status: int, *, tried: str, **context: Any) -> HttpResponse:
    """Return the page for a link or code that does not work; `tried` is what was brought, and nothing brought is no try."""
    wait_s = credentials.dead_link(source_of(request), at=clock.now()) if tried else 0.0
    response = page(request, name, 429 if wait_s > 0 else status, **context)
    if wait_s > 0:
        response.headers["Retry-After"] = str(math.ceil(wait_s))
    return response
