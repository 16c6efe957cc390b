"""The middleware that ends sessions older than the cutover. Behind AuthenticationMiddleware.

A session bears the epoch that the gate named before its password was checked. It ends when the gate refuses its customer, or names a later epoch:
then the session was opened before the cutover, or while it fell. A session without an epoch, from before this middleware was installed, counts
as of epoch 1. Whether somebody opened the session by a password or by single sign-on makes no difference. A request without a session, which a
view authenticates by a token in a header, is nobody's yet when it comes by here: its view asks with tokens.py.

While the gate cannot be asked no session counts, and none is ended: the page is 503 for whoever is signed in, and a log-in that the gate could
not be asked about says so instead of calling the password wrong.
"""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse
from django.utils.html import escape

from .backends import ANSWER, EPOCH
from .client import gate, is_exempt, subject_of

FIRST_EPOCH = 1
RETRY_AFTER_S = "5"
PAUSED = (
    "Signing in is paused for a moment, because we cannot check whether this account is safe. "
    "Nothing is wrong with your password. Please try again in a minute."
)


class TocsinGateMiddleware:
    """Ask the gate about the session of each request."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on, without its session if that is too old."""
        user = request.user
        if user.is_authenticated and not is_exempt(user):
            answer = gate().ask_remembered(subject_of(user), for_s=getattr(settings, "TOCSIN_GATE_SESSION_S", 1.0))
            if answer.reason == "unavailable":
                return _paused()
            if not answer.allow or int(request.session.get(EPOCH, FIRST_EPOCH)) < answer.epoch:
                logout(request)
        response = self.get_response(request)
        asked = getattr(request, ANSWER, None)
        if asked is not None and asked.reason == "unavailable":
            return _paused()
        return response


def _paused() -> HttpResponse:
    page = f"<!doctype html><html lang=en><meta charset=utf-8><title>One moment, please</title><h1>One moment, please</h1><p>{escape(PAUSED)}</p></html>"
    return HttpResponse(page, status=503, headers={"Retry-After": RETRY_AFTER_S, "Cache-Control": "no-store"})
