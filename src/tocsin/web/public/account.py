"""The account's pages: what lets its owner in, and how to add and end it. Secrets are shown once, in the answer to the POST that made them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from django.http import HttpRequest, HttpResponse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from tocsin.credentials import actions as credentials
from tocsin.credentials import queries as credentials_now
from tocsin.credentials.types import LABEL_CHARS_MAX, SessionInfo, TotpOffer
from tocsin.kernel import clock
from tocsin.kernel.errors import BadInput, NotFound, Refused
from tocsin.kernel.private import Private

from .page import SeeOther
from .page import page as _page
from .page import seal as _seal
from .views import SESSION_COOKIE, SIGN_IN_PATH, waiting_page

APP_CLASSES = ("api_token", "refresh")  # what an owner may ask for here; remember_me belongs to a browser
CODE_CHARS_MAX = 10
ID_DIGITS_MAX = 18

Inside = Callable[[HttpRequest, str, SessionInfo], HttpResponse]


def signed_in(view: Inside) -> Callable[[HttpRequest], HttpResponse]:
    """Give a view the session id and session, or lead to the sign-in. What it may not do so long after the sign-in is said on a page."""

    @wraps(view)
    @waiting_page
    def guarded(request: HttpRequest) -> HttpResponse:
        sid = request.COOKIES.get(SESSION_COOKIE, "")
        found = credentials_now.session(sid, at=clock.now())
        if found is None:
            return _seal(SeeOther(SIGN_IN_PATH))
        try:
            return view(request, sid, found)
        except Refused:
            return _page(request, "again", 409)

    return guarded


@require_safe
@signed_in
def account(request: HttpRequest, sid: str, mine: SessionInfo) -> HttpResponse:
    """Show everything that lets this person in."""
    return _page(request, "account", since=mine.created_at, held=credentials_now.holdings(mine.account, sid=sid, at=clock.now()))


@require_POST
@signed_in
def end(request: HttpRequest, sid: str, mine: SessionInfo) -> HttpResponse:
    """End a session, a token, or everything but this session. What is not there or not one's own is passed over in silence."""
    at, ref = clock.now(), request.POST.get("ref", "")
    match request.POST.get("what", ""):
        case "session":
            credentials.end_session(sid, ref, account=mine.account, at=at)
        case "token":
            credentials.revoke_bearer(sid, _id(ref), at=at)
        case "others":
            credentials.end_others(sid, at=at)
    return _seal(SeeOther("/account"))


@require_POST
@signed_in
def token(request: HttpRequest, sid: str, mine: SessionInfo) -> HttpResponse:
    """Make an API token or the refresh token of an app, and show it this once."""
    cred_class, label = request.POST.get("class", ""), request.POST.get("label", "").strip()
    if cred_class not in APP_CLASSES:
        raise BadInput.of("class", cred_class[:LABEL_CHARS_MAX], f"one of {', '.join(APP_CLASSES)}")
    made = credentials.issue_bearer(sid, cred_class, label=label, at=clock.now())
    return _page(request, "token", token=made.reveal(), cred_class=cred_class, label=label)


@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters()
@signed_in
def totp(request: HttpRequest, sid: str, mine: SessionInfo) -> HttpResponse:
    """Offer a seed for an authenticator app, take the confirming code, and show the recovery codes."""
    at = clock.now()
    if request.method != "POST":
        return _totp(request, credentials_now.offer_totp(mine.account, at=at))
    ticket = request.POST.get("ticket", "")
    try:
        credentials.add_totp(sid, ticket, request.POST.get("code", "")[:CODE_CHARS_MAX], account=mine.account, at=at)
    except BadInput:
        return _totp(request, credentials_now.offered_totp(ticket, account=mine.account, at=at), failed=True)
    except NotFound:
        return _totp(request, credentials_now.offer_totp(mine.account, at=at), old=True)
    return _added(request, sid, mine)


@require_POST
@signed_in
def codes(request: HttpRequest, sid: str, mine: SessionInfo) -> HttpResponse:
    """Make new recovery codes and show them this once; the earlier ones end."""
    return _codes(request, credentials.new_codes(sid, at=clock.now()))


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def passkey(request: HttpRequest, sid: str, mine: SessionInfo) -> HttpResponse:
    """Add a passkey."""
    failed, at = False, clock.now()
    if request.method == "POST":
        answer, challenge = request.POST.get("credential", ""), request.POST.get("challenge", "")
        label = request.POST.get("label", "").strip()[:LABEL_CHARS_MAX]
        try:
            credentials.add_passkey(sid, answer, challenge, label=label, account=mine.account, at=at)
        except (BadInput, NotFound):
            failed = True
        else:
            return _added(request, sid, mine)
    return _page(
        request, "add_passkey", ceremony=credentials_now.offer_passkey(mine.account, at=at), failed=failed, chars_max=LABEL_CHARS_MAX
    )


@require_POST
@signed_in
def remove(request: HttpRequest, sid: str, mine: SessionInfo) -> HttpResponse:
    """Remove a passkey or the authenticator app."""
    credentials.remove_factor(sid, _id(request.POST.get("ref", "")), at=clock.now())
    return _seal(SeeOther("/account"))


def _added(request: HttpRequest, sid: str, mine: SessionInfo) -> HttpResponse:
    """Show recovery codes behind the first factor; a later one leaves those that somebody has written down."""
    at = clock.now()
    if credentials_now.holdings(mine.account, sid=sid, at=at).codes_left:
        return _seal(SeeOther("/account"))
    return _codes(request, credentials.new_codes(sid, at=at))


def _codes(request: HttpRequest, made: tuple[Private[str], ...]) -> HttpResponse:
    return _page(request, "codes", codes=[c.reveal() for c in made])


def _totp(request: HttpRequest, offer: TotpOffer, *, failed: bool = False, old: bool = False) -> HttpResponse:
    seed = offer.secret.reveal()
    groups = [seed[n : n + 4] for n in range(0, len(seed), 4)]
    return _page(request, "totp", groups=groups, uri=offer.uri.reveal(), ticket=offer.ticket, failed=failed, old=old)


def _id(text: str) -> int:
    """Return a number from a form; 0, which nothing has, for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= ID_DIGITS_MAX else 0
