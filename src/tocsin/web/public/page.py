"""What every answer of the customers' site has in common: the frame of its pages, its headers, its cookies."""

from __future__ import annotations

import functools
from datetime import timedelta

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.translation import get_language

from tocsin.kernel import config

from .language import CHOICES

HSTS_S = 31_536_000
FORM_GAP = "@FORM@"
KEPT_MAX = 64  # pages x languages x the few values they may show


class SeeOther(HttpResponseRedirect):
    """303: go there with a GET, whatever this request was."""

    status_code = 303


def page(request: HttpRequest, name: str, status: int = 200, *, path: str = "", **context: object) -> HttpResponse:
    """Return a page in its frame. `path` is where it can be called up again in another language; its own address if none is given."""
    return seal(render(request, f"public/{name}.html", _frame(name, path or request.path) | context, status=status))


def kept_page(request: HttpRequest, name: str, *, path: str, **context: str | int) -> HttpResponse:
    """Return, as `page` does, one that is the same for everybody but for its form's token: rendered once per language, then only filled.

    Rendering costs a twentieth of a hash. Give it nothing of a person and nothing of endless variety: it is kept, KEPT_MAX of them.
    """
    current = config.current()
    pieces = _pieces(name, path, get_language() or "", current.company.brand, current.mail.help_address, tuple(sorted(context.items())))
    return seal(HttpResponse(pieces[0] if len(pieces) == 1 else get_token(request).join(pieces)))


@functools.lru_cache(maxsize=KEPT_MAX)
def _pieces(
    name: str, path: str, _language: str, _brand: str, _help_address: str, context: tuple[tuple[str, str | int], ...]
) -> tuple[str, ...]:
    return tuple(render_to_string(f"public/{name}.html", _frame(name, path) | dict(context) | {"csrf_token": FORM_GAP}).split(FORM_GAP))


def _frame(name: str, path: str) -> dict[str, object]:
    current = config.current()
    return {
        "brand": current.company.brand,
        "help_address": current.mail.help_address,
        "here": name,
        "again": path,
        "languages": CHOICES,
    }


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
