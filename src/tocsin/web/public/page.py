"""What every answer of the customers' site has in common: the frame of its pages, its headers, its cookies."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render

from tocsin.kernel import config

from .language import CHOICES

HSTS_S = 31_536_000


class SeeOther(HttpResponseRedirect):
    """303: go there with a GET, whatever this request was."""

    status_code = 303


def page(request: HttpRequest, name: str, status: int = 200, *, path: str = "", **context: object) -> HttpResponse:
    """Return a page in its frame. `path` is where it can be called up again in another language; its own address if none is given."""
    current = config.current()
    frame = {
        "brand": current.company.brand,
        "help_address": current.mail.help_address,
        "here": name,
        "again": path or request.path,
        "languages": CHOICES,
    }
    return seal(render(request, f"public/{name}.html", frame | context, status=status))


def put_cookie(response: HttpResponse, name: str, value: str, life: timedelta, *, path: str) -> None:
    """Give the browser a secret that no script reads. Lax: a link in a mail leads to the page that needs it."""
    response.set_cookie(
        name,
        value,
        max_age=int(life.total_seconds()),
        path=path,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def seal(response: HttpResponse, *, referrer: str = "same-origin") -> HttpResponse:
    """Add the headers that every answer bears."""
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = referrer
    response.headers["Permissions-Policy"] = "camera=(), microphone=(), geolocation=()"
    if settings.SESSION_COOKIE_SECURE:
        response.headers["Strict-Transport-Security"] = f"max-age={HSTS_S}; includeSubDomains"
    return response
