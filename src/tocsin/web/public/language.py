"""In which language a page answers: what was chosen with `?lang=`, else what was chosen before, else what the browser asks for, else the
company's own.

Django's LocaleMiddleware knows no `?lang=`, and its switch is a form that needs a session or a script. Here a plain link chooses; the
choice is a cookie that says nothing else about anybody.
"""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.utils.translation.trans_real import parse_accept_lang_header

from tocsin.kernel import config

COOKIE = "tocsin_lang"
COOKIE_S = 30 * 86_400
CHOICES = tuple(settings.LANGUAGES)
TAGS = {"zh-hans": "zh-Hans"}  # as HTML and HTTP write them


def tag(language: str) -> str:
    """Return the BCP 47 tag of one of our languages."""
    return TAGS.get(language, language)


class LanguageMiddleware:
    """Choose the language of each request and say on the answer what it is and what it depended on."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer in the language of this request."""
        wanted = request.GET.get("lang", "")
        chosen = wanted if wanted in dict(CHOICES) else ""
        language = chosen or resolved(request.COOKIES.get(COOKIE, ""), request.headers.get("Accept-Language", ""))
        with translation.override(language):
            response = self.get_response(request)
        response.headers.setdefault("Content-Language", tag(language))
        patch_vary_headers(response, ("Accept-Language", "Cookie"))
        if chosen:
            response.set_cookie(COOKIE, chosen, max_age=COOKIE_S, httponly=True, samesite="Lax", secure=settings.SESSION_COOKIE_SECURE)
        return response


def resolved(before: str, accepted: str) -> str:
    """Return the language of a browser that chose `before` (or nothing) and sends this Accept-Language header: one of ours."""
    if before in dict(CHOICES):
        return before
    asked = [language for language, _ in parse_accept_lang_header(accepted) if language != "*"]
    for wanted in (*asked, config.current().company.locale.replace("_", "-").lower()):
        try:
            return translation.get_supported_language_variant(wanted)
        except LookupError:
            continue
    return settings.LANGUAGE_CODE
