"""Pages for customers. Each view makes one call into a room and renders.

Secrets live in cookies, all HttpOnly and SameSite=Lax: the reset link's token, swapped out of the address at the first GET so that it
stands in no history and no Referer; the session id; between password and second step a sealed ticket; the token of a remembered browser.
Lax and not Strict: the link is followed from a mail, and a Strict cookie would be withheld from the page that the redirect leads to. Pages
send `Referrer-Policy: same-origin`, because browsers that are told `no-referrer` post forms with `Origin: null`, which no check of the
origin can accept; the one response whose own address is secret says `no-referrer`.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from tocsin.credentials import actions as credentials
from tocsin.credentials import queries as credentials_now
from tocsin.credentials.types import (
    BEARER_LIFE,
    LOGIN_CHARS_MAX,
    PASSWORD_BYTES_MAX,
    PASSWORD_CHARS_MIN,
    SECOND_STEP_LIFE,
    SESSION_LIFE,
    TOKEN_SHAPE,
    SignedIn,
    Slowed,
)
from tocsin.kernel import clock, config
from tocsin.kernel.errors import BadInput, Busy, NotFound, Refused, Unavailable
from tocsin.kernel.private import Private
from tocsin.kernel.wording import Said, said
from tocsin.notices import queries as notices

from . import room
from .dead import dead, source_of
from .lost import LINK_COOKIE, LINK_PATH
from .page import SeeOther, kept_page
from .page import page as _page
from .page import put_cookie as _set
from .page import seal as _seal

SESSION_COOKIE = "tocsin_sign_in"
SECOND_COOKIE = "tocsin_second_step"
REMEMBER_COOKIE = "tocsin_remember"
SIGN_IN_PATH = "/login"
AFTER = {"passkey": "/account/passkey"}  # where a sign-in may lead besides the account: a name in the form, never an address
CODE_CHARS_MAX = 40
MAIL_MINUTES = 10  # after so long without mail the page says what to try

View = Callable[..., HttpResponse]


def waiting_page(view: View) -> View:
    """Answer with a waiting page, 503 and Retry-After, when all places for hashing are taken or the database is out of reach."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: str, **kwargs: str) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except Busy as e:
            response = _page(request, "waiting", 503, back=request.path_info)
            response.headers["Retry-After"] = str(math.ceil(e.retry_after_s))
            return response
        except Unavailable:
            response = _page(request, "waiting", 503, back=request.path_info, away=True)
            response.headers["Retry-After"] = "5"
            return response

    return guarded


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Show the site notice and the way to a new password."""
    found = notices.site_notice()
    spoken = config.current().company.locale if found else ""
    return _page(request, "home", notice=found, notice_language=spoken, all_were_reset=credentials_now.all_were_reset())


@require_http_methods(["GET", "HEAD", "POST"])
def ask(request: HttpRequest) -> HttpResponse:
    """Ask for a reset link: one answer for every address."""
    ticket, all_were_reset = room.ticket_of(request), credentials_now.all_were_reset()
    if request.method != "POST":
        stand = credentials.knock(ticket)
        if not stand.admitted:
            return room.page(request, stand, LINK_PATH, shell=_page)
        return _page(request, "ask", ticket=stand.ticket, all_were_reset=all_were_reset)
    email = request.POST.get("email", "")
    try:
        stand = credentials.request_reset(email, at=clock.now(), source=source_of(request), ticket=ticket)
    except BadInput:
        return _page(request, "ask", 422, email=email[:LOGIN_CHARS_MAX], fault=True, ticket=ticket, all_were_reset=all_were_reset)
    if not stand.admitted:
        return room.keep(
            _page(request, "asked_later", wait_minutes=room.minutes(stand.wait_s), disabled=all_were_reset is not None),
            stand,
        )
    return asked(request)


def asked(request: HttpRequest) -> HttpResponse:
    """Say what comes now, and what to try if it does not come. Knows of no address: it can be called up by anybody."""
    return _page(
        request,
        "asked",
        path=f"{LINK_PATH}/asked",
        minutes=int(credentials_now.link_life().total_seconds() // 60),
        mail_minutes=MAIL_MINUTES,
        sender=config.current().mail.reset_from,
    )


@require_safe
def later(request: HttpRequest) -> HttpResponse:
    """Take an address from somebody who would rather not wait: the letter comes when it is their turn."""
    return _page(request, "later", ticket=room.ticket_of(request))


@require_safe
def waiting_form(request: HttpRequest) -> HttpResponse:
    """Give the waiting page with gaps for its figures to the front, which fills them; nobody else can ask for it."""
    if not request.META.get(room.FORM_ASKED):
        raise Http404
    return room.page(request, None, str(request.META[room.FORM_ASKED]), shell=_page)


@require_safe
def follow_link(request: HttpRequest, token: str) -> HttpResponse:
    """Move the token from the address into a cookie. Reads and changes nothing else: mail scanners open links before people do."""
    response = SeeOther(f"{LINK_PATH}/new")
    if TOKEN_SHAPE.fullmatch(token):
        _set(response, LINK_COOKIE, token, credentials_now.link_life(), path=LINK_PATH)
    else:
        response.delete_cookie(LINK_COOKIE, path=LINK_PATH)
    return _seal(response, referrer="no-referrer")


@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters()
@waiting_page
def choose(request: HttpRequest) -> HttpResponse:
    """Choose a new password with the link in the cookie."""
    token, here = (
        request.COOKIES.get(LINK_COOKIE, ""),
        {"text": room.ticket_of(request), "grant": request.COOKIES.get(room.PASS_COOKIE, "")},
    )
    if request.method != "POST":
        stand = credentials.enter_form(token, at=clock.now(), **here)
        if stand is None:
            return _dead(request)
        if not stand.admitted:
            return room.page(request, stand, f"{LINK_PATH}/new", shell=_page)
        return room.keep(_choose(request, chars_min=stand.chars_min), stand)
    password, again = request.POST.get("password", ""), request.POST.get("password_again", "")
    if len(password.encode("utf-8", "surrogatepass")) > PASSWORD_BYTES_MAX:
        return _choose(request, 413, [said("It is longer than {most} bytes.", most=PASSWORD_BYTES_MAX)])
    if password != again:
        return _choose(request, 422, [said("The two entries differ. Please type the same password twice.")])
    stand = credentials.may_send(token, at=clock.now(), **here)
    if stand is None:
        return _dead(request)
    if not stand.admitted:
        return room.page(request, stand, f"{LINK_PATH}/new", shell=_page)
    try:
        on_its_way = credentials.redeem(token, Private(password), at=clock.now())
    except BadInput as e:
        return _choose(request, 422, [fault.wanted for fault in e.faults])
    except Busy:
        return room.page(request, credentials.keep_place(token, **here), f"{LINK_PATH}/new", shell=_page, full=True)
    except NotFound:
        return _dead(request)
    response = kept_page(request, "done", path=f"{LINK_PATH}/new") if not on_its_way else _page(request, "done", on_its_way=True)
    for name in (LINK_COOKIE, room.TICKET_COOKIE, room.PASS_COOKIE):
        response.delete_cookie(name, path=LINK_PATH)
    response.delete_cookie(SESSION_COOKIE)
    return response


@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters()
@waiting_page
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign in: one answer for a wrong password, an ended one and an unknown address."""
    all_were_reset = credentials_now.all_were_reset()
    if request.method != "POST":
        then = request.GET.get("then", "")
        remembered = REMEMBER_COOKIE in request.COOKIES
        return _page(request, "login", all_were_reset=all_were_reset, then=then if then in AFTER else "", remembered=remembered)
    email = request.POST.get("email", "")[:LOGIN_CHARS_MAX]
    remember, then = "remember" in request.POST, request.POST.get("then", "")
    known: dict[str, Any] = {"email": email, "all_were_reset": all_were_reset, "remember": remember, "then": then if then in AFTER else ""}
    try:
        begun = credentials.begin_sign_in(
            email,
            Private(request.POST.get("password", "")),
            at=clock.now(),
            source=source_of(request),
            remembered=request.COOKIES.get(REMEMBER_COOKIE, ""),
        )
    except BadInput:
        return _page(request, "login", 413, failed=True, **known)
    except Slowed as e:
        return slowed(request, e)
    if begun is None:
        return _page(request, "login", failed=True, **known)
    if isinstance(begun, SignedIn):
        return enter(request, begun.sid, remember=remember, then=then)
    response = SeeOther(f"{SIGN_IN_PATH}/second?{urlencode({'remember': int(remember), 'then': known['then']})}")
    _set(response, SECOND_COOKIE, begun.ticket, SECOND_STEP_LIFE, path=SIGN_IN_PATH)
    return _seal(response)


def slowed(request: HttpRequest, e: Slowed) -> HttpResponse:
    """Say that too many wrong passwords were typed, and how long to wait."""
    response = _page(request, "slowed", 429, wait_minutes=room.minutes(e.retry_after_s))
    response.headers["Retry-After"] = str(math.ceil(e.retry_after_s))
    return response


def enter(request: HttpRequest, sid: Private[str], *, remember: bool = False, then: str = "") -> HttpResponse:
    """Give a browser its new session, and a token to be remembered by if it asked for one. The session it came with ends."""
    if old := request.COOKIES.get(SESSION_COOKIE):
        credentials.log_out(old)
    response = SeeOther(AFTER.get(then, "/account"))
    _set(response, SESSION_COOKIE, sid.reveal(), SESSION_LIFE, path="/")
    response.delete_cookie(SECOND_COOKIE, path=SIGN_IN_PATH)
    if remember:
        try:
            token = credentials.issue_bearer(sid.reveal(), "remember_me", label="this browser", at=clock.now())
        except Refused:
            return _seal(response)  # fifty browsers are remembered already, or a cutover came between: signed in at most for now
        _set(response, REMEMBER_COOKIE, token.reveal(), BEARER_LIFE["remember_me"], path="/")
    return _seal(response)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session of this browser, and forget it."""
    if sid := request.COOKIES.get(SESSION_COOKIE):
        credentials.log_out(sid)
    if token := request.COOKIES.get(REMEMBER_COOKIE):
        credentials.forget_bearer(token, at=clock.now())
    response = SeeOther("/")
    response.delete_cookie(SESSION_COOKIE)
    response.delete_cookie(REMEMBER_COOKIE)
    return _seal(response)


@require_http_methods(["GET", "HEAD", "POST"])
def check(request: HttpRequest) -> HttpResponse:
    """Tell whether a message with this code came from us, and when."""
    if request.method != "POST":
        return _page(request, "check")
    code = request.POST.get("code", "").strip()[:CODE_CHARS_MAX]
    sent = notices.was_sent(code) if code else None
    return _page(request, "check", code=code, asked=True, sent=sent, notice_language=config.current().company.locale)


def _choose(
    request: HttpRequest, status: int = 200, reasons: list[str] | None = None, *, chars_min: int = PASSWORD_CHARS_MIN
) -> HttpResponse:
    words = credentials_now.four_words(secrets.randbelow) if "words" in request.GET else ""
    if status == 200 and not words:
        return kept_page(request, "choose", path=f"{LINK_PATH}/new", chars_min=chars_min)
    shown = [_in_their_language(reason) for reason in reasons or []]
    return _page(request, "choose", status, reasons=shown, chars_min=chars_min, words=words)


def _in_their_language(reason: str) -> str:
    return _(reason.key).format(**reason.values) if isinstance(reason, Said) else _(reason)


def _dead(request: HttpRequest) -> HttpResponse:
    response = dead(request, "dead", 410, tried=request.COOKIES.get(LINK_COOKIE, ""))
    response.delete_cookie(LINK_COOKIE, path=LINK_PATH)
    return response
