"""Pages on which somebody who is signed in gives the account another address. Each view makes one call into a room and renders.

The link's token is swapped out of the address into a cookie at the first GET, as that of a reset; following it changes nothing yet.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe

from tocsin.credentials import actions as credentials
from tocsin.credentials import queries as credentials_now
from tocsin.credentials.types import CONTACT_LINK_LIFE, LOGIN_CHARS_MAX, PASSWORD_BYTES_MAX, TOKEN_SHAPE, Slowed
from tocsin.kernel import clock
from tocsin.kernel.errors import BadInput, NotFound, Refused
from tocsin.kernel.private import Private

from .page import SeeOther
from .page import page as _page
from .page import put_cookie as _set
from .page import seal as _seal
from .views import SESSION_COOKIE, slowed, waiting_page

COOKIE = "tocsin_address"
PATH = "/account/email"


@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters()
@waiting_page
def change(request: HttpRequest) -> HttpResponse:
    """Ask for another address: the password has to be typed again. One answer whether or not somebody has that address."""
    sid, at = request.COOKIES.get(SESSION_COOKIE, ""), clock.now()
    if credentials_now.session(sid, at=at) is None:
        return _seal(SeeOther("/login"))
    if request.method != "POST":
        return _page(request, "account_email", frozen_until=credentials_now.contacts_frozen_until(at))
    email, password = request.POST.get("email", "")[: LOGIN_CHARS_MAX + 1], request.POST.get("password", "")
    if len(password.encode("utf-8", "surrogatepass")) > PASSWORD_BYTES_MAX:
        return _page(request, "account_email", 413, email=email, faults={"password"})
    try:
        credentials.ask_contact_change(sid, Private(password), email, at=at)
    except Slowed as e:
        return slowed(request, e)
    except BadInput as e:
        return _page(request, "account_email", 422, email=email, faults={f.field for f in e.faults})
    except Refused:
        return _page(request, "account_email", 409, frozen_until=credentials_now.contacts_frozen_until(at))
    except NotFound:
        return _seal(SeeOther("/login"))
    return _page(request, "account_email", asked=True, minutes=int(CONTACT_LINK_LIFE.total_seconds() // 60))


@require_safe
def follow_link(request: HttpRequest, token: str) -> HttpResponse:
    """Move the token from the address into a cookie; nothing is read or changed."""
    response = SeeOther(f"{PATH}/confirm")
    if TOKEN_SHAPE.fullmatch(token):
        _set(response, COOKIE, token, CONTACT_LINK_LIFE, path=PATH)
    else:
        response.delete_cookie(COOKIE, path=PATH)
    return _seal(response, referrer="no-referrer")


@require_http_methods(["GET", "HEAD", "POST"])
@waiting_page
def confirm(request: HttpRequest) -> HttpResponse:
    """Confirm another address with the link in the cookie: a press of a button, because mail scanners open links too."""
    token = request.COOKIES.get(COOKIE, "")
    if request.method != "POST":
        return _page(request, "account_email_confirm", 200 if token else 410, dead=not token)
    try:
        credentials.confirm_contact_change(token, at=clock.now())
    except NotFound:
        response = _page(request, "account_email_confirm", 410, dead=True)
    else:
        response = _page(request, "account_email_confirm", done=True)
    response.delete_cookie(COOKIE, path=PATH)
    return response
