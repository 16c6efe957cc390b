"""The rest of a sign-in: the second step, a passkey alone, a browser that is remembered.

A remembered browser signs in with a button (POST), not by opening a page: its token is spent and renewed, and a GET writes nothing.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from tocsin.credentials import actions as credentials
from tocsin.credentials import queries as credentials_now
from tocsin.credentials.types import BEARER_LIFE
from tocsin.kernel import clock
from tocsin.kernel.errors import Busy, NotFound
from tocsin.kernel.private import Private

from .page import SeeOther
from .page import page as _page
from .page import put_cookie as _set
from .page import seal as _seal
from .views import AFTER, REMEMBER_COOKIE, SECOND_COOKIE, SIGN_IN_PATH, enter, waiting_page

CODE_CHARS_MAX = 60


@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters()
@waiting_page
def second(request: HttpRequest) -> HttpResponse:
    """Ask for the second step: a code of the app, a recovery code, or a passkey. Without a good ticket: back to the password."""
    ticket = request.COOKIES.get(SECOND_COOKIE, "")
    try:
        if request.method != "POST":
            return _second(request, ticket)
        sid = _answer(request, ticket)
    except NotFound:
        response = SeeOther(SIGN_IN_PATH)
        response.delete_cookie(SECOND_COOKIE, path=SIGN_IN_PATH)
        return _seal(response)
    except Busy as e:
        return _second(request, ticket, 429, wait_minutes=round(e.retry_after_s / 60))
    if sid is None:
        return _second(request, ticket, failed=True)
    return enter(request, sid, remember=request.POST.get("remember") == "1", then=request.POST.get("then", ""))


def _answer(request: HttpRequest, ticket: str) -> Private[str] | None:
    if "credential" in request.POST:
        return credentials.answer_passkey(ticket, request.POST["credential"], request.POST.get("challenge", ""), at=clock.now())
    return credentials.answer_code(ticket, request.POST.get("code", "")[:CODE_CHARS_MAX], at=clock.now())


def _second(request: HttpRequest, ticket: str, status: int = 200, *, failed: bool = False, wait_minutes: int = 0) -> HttpResponse:
    at = clock.now()
    classes = credentials_now.second_step(ticket, at=at).classes
    asked = request.POST if request.method == "POST" else request.GET
    then = asked.get("then", "")
    return _page(
        request,
        "second",
        status,
        classes=classes,
        ceremony=credentials_now.ask_passkey(ticket, at=at) if "passkey" in classes else None,
        remember=asked.get("remember") == "1",
        then=then if then in AFTER else "",
        failed=failed,
        wait_minutes=wait_minutes,
    )


@require_http_methods(["GET", "HEAD", "POST"])
@waiting_page
def passkey(request: HttpRequest) -> HttpResponse:
    """Sign in with a passkey alone. The options name no account, so that they are the same for everybody."""
    failed = False
    if request.method == "POST":
        answer, challenge = request.POST.get("credential", ""), request.POST.get("challenge", "")
        try:
            sid = credentials.sign_in_with_passkey(answer, challenge, at=clock.now())
        except NotFound:
            sid = None
        if sid is not None:
            return enter(request, sid)
        failed = True
    return _page(request, "passkey", ceremony=credentials_now.ask_any_passkey(at=clock.now()), failed=failed)


@require_POST
@waiting_page
def remembered(request: HttpRequest) -> HttpResponse:
    """Open a new session for a browser that asked to be remembered; its token is spent and a new one takes its place."""
    try:
        renewed = credentials.renew(request.COOKIES.get(REMEMBER_COOKIE, ""), "remember_me", at=clock.now())
    except NotFound:
        response = SeeOther(SIGN_IN_PATH)
        response.delete_cookie(REMEMBER_COOKIE)
        return _seal(response)
    entered = enter(request, renewed.sid)
    _set(entered, REMEMBER_COOKIE, renewed.secret.reveal(), BEARER_LIFE["remember_me"], path="/")
    return entered
