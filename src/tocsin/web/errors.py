"""The answer to whatever a view could not do: the web's one place that catches everything, logs it, and ends that request.

    BadInput 400 with every fault    Refused 409    NotFound 404    Busy 429 and Unavailable 503, both with Retry-After
    a database that does not answer is Unavailable
    anything else is a defect: 500, a page with a reference number, and a log line that bears it

Our own errors say in English what is wrong; whoever reads the site in another language is told by the title, and what to do.

What reaches the log is the kind of the defect and where it rose, not its message: a database error quotes values, and those are people's.
"""

from __future__ import annotations

import logging
import math
import secrets
import sys
import traceback
from collections.abc import Callable
from http import HTTPStatus

from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from tocsin.kernel.errors import BadInput, Busy, TocsinError, Unavailable

UNAVAILABLE_RETRY_S = 5
FAULTS_SHOWN_MAX = 50
TITLES = {
    400: gettext_noop("That input could not be read"),
    403: gettext_noop("That is not allowed"),
    404: gettext_noop("There is nothing here"),
    405: gettext_noop("That does not work here"),
    409: gettext_noop("Not now"),
    413: gettext_noop("That was too much"),
    429: gettext_noop("One moment, please"),
    500: gettext_noop("Something broke on our side"),
    503: gettext_noop("Not reachable for a moment"),
}

log = logging.getLogger("tocsin.web")


class ErrorsMiddleware:
    """Answer what a view raised. Django's own exceptions go on to the handlers below, which the urls of both sites name."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on: Django hands what a view raises to `process_exception`. A method that a page does not have gets a page."""
        response = self.get_response(request)
        if response.status_code != HTTPStatus.METHOD_NOT_ALLOWED:
            return response
        shown = page(request, HTTPStatus.METHOD_NOT_ALLOWED, _("Please check the address, or start at the first page."))
        shown.headers["Allow"] = response.headers["Allow"]
        return shown

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Return the page for an exception of a view; None for those that Django's handlers answer."""
        if isinstance(exception, Http404 | PermissionDenied | SuspiciousOperation):
            return None
        if isinstance(exception, OperationalError):
            exception = Unavailable("database", "it does not answer; please try again in a moment")
        if isinstance(exception, TocsinError):
            return answer(request, exception)
        return defect(request, exception)


def answer(request: HttpRequest, error: TocsinError) -> HttpResponse:
    """Return the page for one of our own errors."""
    faults = list(error.faults[:FAULTS_SHOWN_MAX]) if isinstance(error, BadInput) else []
    message = "" if faults else str(error)
    if translation.get_language() != settings.LANGUAGE_CODE:
        faults, message = [], _("Please go back, check what you typed, and try again.")
    response = page(request, error.http_status, message, faults=faults)
    if isinstance(error, Busy):
        response.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, Unavailable):
        response.headers["Retry-After"] = str(UNAVAILABLE_RETRY_S)
        log.warning("unavailable: %s", error.port)
    return response


def defect(request: HttpRequest, exception: BaseException | None) -> HttpResponse:
    """Return the page for a defect, with the reference number under which the log holds it."""
    reference = secrets.token_hex(4)
    frames = "".join(traceback.format_tb(exception.__traceback__)) if exception is not None else ""
    log.error("defect %s: %s %s: %s\n%s", reference, request.method, request.path_info, type(exception).__name__, frames)
    return page(request, 500, _("Nothing you did was wrong. Please try again; if it stays, tell us this number."), reference=reference)


def page(request: HttpRequest, status: int, message: str, **context: object) -> HttpResponse:
    """Return the error page. It asks nothing of the database, so that it works when that is away."""
    return _plain(
        render(request, "error.html", {"title": _(TITLES[status]), "status": status, "message": message, **context}, status=status)
    )


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer what Django itself could not read (`handler400`)."""
    if isinstance(exception, RequestDataTooBig):
        return page(request, 413, _("The text you sent is longer than anything this page needs."))
    return page(request, 400, _("Your browser sent something that this page does not understand."))


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer what Django itself forbids (`handler403`)."""
    return page(request, 403, _("You may not see this."))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer an address that leads nowhere (`handler404`)."""
    return page(request, 404, _("Please check the address, or start at the first page."))


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer a defect outside any view (`handler500`)."""
    return defect(request, sys.exc_info()[1])


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form that does not bear its token: from another site, too old, or sent without cookies (`CSRF_FAILURE_VIEW`)."""
    log.info("form without its token: %s", reason)
    return page(
        request, 403, _("This form was open for too long, or your browser keeps no cookies. Go back, reload the page, and send it again.")
    )


def _plain(response: HttpResponse) -> HttpResponse:
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "same-origin"
    return response
