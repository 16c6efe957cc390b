"""Pages for people who lost the mailbox of their account: a code by post, and the desk. The answer is the same for every address."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from tocsin.credentials import actions as credentials
from tocsin.credentials import queries as credentials_now
from tocsin.credentials.types import LOGIN_CHARS_MAX
from tocsin.kernel import clock
from tocsin.kernel.errors import BadInput

from .dead import dead, source_of
from .page import SeeOther, page, put_cookie, seal

LINK_COOKIE = "tocsin_link"
LINK_PATH = "/passwordchange"
CODE_CHARS_MAX = 60


@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters("postcode")
def letter(request: HttpRequest) -> HttpResponse:
    """Ask for a code by post."""
    if request.method != "POST":
        return page(request, "letter")
    email = request.POST.get("email", "")
    try:
        credentials.request_letter(email, request.POST.get("postcode", ""), at=clock.now(), source=source_of(request))
    except BadInput as e:
        faults = {fault.field: True for fault in e.faults}
        return page(request, "letter", 422, email=email[:LOGIN_CHARS_MAX], faults=faults)
    return page(request, "lettered", days=credentials_now.letter_life().days)


@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters()
def code(request: HttpRequest) -> HttpResponse:
    """Take a code out of a letter into the cookie that a mailed link would have set. The next page tells whether it is one of ours."""
    if request.method != "POST":
        return page(request, "code")
    typed = request.POST.get("code", "")[:CODE_CHARS_MAX]
    token = credentials_now.token_of_code(typed)
    if token is None:
        return dead(request, "code", 422, tried=typed, fault=True)
    response = SeeOther(f"{LINK_PATH}/new")
    put_cookie(response, LINK_COOKIE, token, credentials_now.link_life(), path=LINK_PATH)
    return seal(response)
