"""In front of the site: answers those who wait, without Django.

Why: at twenty times the capacity the waiting page is asked for twenty times for each password that is hashed, on the same cores. Through
the whole site it would cost a tenth of a hash; here it costs a few microseconds of signature check and three figures put into ready bytes.
The bytes are the site's own: the page is asked of the site per language of ours, with gaps, and kept for a while with all its headers. The
answer to a followed link is kept in the same way: its token alone differs. Whatever is neither a plain question whether it is somebody's turn
yet nor a link goes on to the site.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from django.conf import settings

from tocsin.credentials import actions as credentials
from tocsin.credentials.types import TOKEN_SHAPE, Stand
from tocsin.kernel import clock

from . import room
from .language import CHOICES, COOKIE, COOKIE_S, resolved

ASK, FORM, LINK = "/passwordchange", "/passwordchange/new", "/passwordchange/t/"
SAMPLE = "T" * 43  # a token for which the site is asked how it answers to a link
LINK_COOKIE = "tocsin_link"
GAPS = re.compile("@(AHEAD|MINUTES|REFRESH|TICKET)@")
FORMS_MAX = 64
FORM_S_MAX = 30.0  # the page tells whether old passwords are ended already
LANGUAGE_CHARS_MAX = 100
FIELDS_MAX = 8
LANGUAGES = frozenset(code for code, _ in CHOICES)

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
App = Callable[[Environ, StartResponse], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class _Form:
    """The waiting page of one language with gaps."""

    status: str
    headers: tuple[tuple[str, str], ...]
    pieces: tuple[str, ...]  # every second one is the name of a gap
    made_at: float


class Front:
    """The WSGI application around the site's."""

    def __init__(self, site: App) -> None:
        self.site = site
        self._forms: dict[tuple[str, str], _Form] = {}
        self._lock = threading.Lock()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer with the waiting page, or let the site answer."""
        path = environ.get("PATH_INFO", "")
        query = environ.get("QUERY_STRING", "")
        if environ.get("REQUEST_METHOD") != "GET" or not path.startswith(ASK) or (path.startswith(LINK) and "lang=" in query):
            return self.site(environ, start_response)
        cookies = _cookies(environ.get("HTTP_COOKIE", ""))
        if path.startswith(LINK):
            return self._link(environ, start_response, path.removeprefix(LINK), cookies)
        if path not in (ASK, FORM):
            return self.site(environ, start_response)
        asked = _fields(query)
        ticket = asked.get(room.FIELD) or cookies.get(room.TICKET_COOKIE, "")
        token = cookies.get(LINK_COOKIE, "") if path == FORM else ""
        if path == FORM and (not ticket or room.PASS_COOKIE in cookies or not TOKEN_SHAPE.fullmatch(token)):
            return self.site(environ, start_response)
        stand = credentials.knock(ticket[: room.TICKET_CHARS_MAX], token=token, issue=path == ASK)
        if stand.admitted:
            return self.site(environ, start_response)
        chosen = asked.get("lang", "")
        if chosen in LANGUAGES:
            cookies[COOKIE] = chosen
        return self._wait(environ, start_response, stand, path, cookies, choose=chosen in LANGUAGES)

    def _link(self, environ: Environ, start_response: StartResponse, token: str, cookies: dict[str, str]) -> Iterable[bytes]:
        """Move a token from the address into a cookie, as the site does: it reads and changes nothing else."""
        if not TOKEN_SHAPE.fullmatch(token):
            return self.site(environ, start_response)
        form = self._form(environ, LINK + SAMPLE, cookies, asked_as=LINK + SAMPLE)
        start_response(form.status, [(k, v.replace(SAMPLE, token)) for k, v in form.headers])
        return [form.pieces[0].encode()]

    def _wait(
        self, environ: Environ, start_response: StartResponse, stand: Stand, path: str, cookies: dict[str, str], *, choose: bool
    ) -> Iterable[bytes]:
        form = self._form(environ, path, cookies)
        gaps = {
            "AHEAD": str(stand.ahead),
            "MINUTES": str(room.minutes(stand.wait_s)),
            "REFRESH": str(stand.refresh_s),
            "TICKET": stand.ticket,
        }
        body = "".join(gaps[piece] if n % 2 else piece for n, piece in enumerate(form.pieces)).encode()
        headers = [*form.headers, ("Content-Length", str(len(body))), ("Retry-After", str(stand.refresh_s))]
        if stand.ticket != cookies.get(room.TICKET_COOKIE):
            headers.append(_cookie(room.TICKET_COOKIE, stand.ticket, room.TICKET_COOKIE_S, path=room.PATH))
        if choose:
            headers.append(_cookie(COOKIE, cookies[COOKIE], COOKIE_S, path="/"))
        start_response(form.status, headers)
        return [body]

    def _form(self, environ: Environ, path: str, cookies: dict[str, str], *, asked_as: str = room.PATH + "/waiting") -> _Form:
        """Return the page with gaps in the language of a request, as the site gave it at most FORM_S_MAX ago, or last if it cannot now."""
        language = resolved(cookies.get(COOKIE, ""), environ.get("HTTP_ACCEPT_LANGUAGE", "")[:LANGUAGE_CHARS_MAX])
        key = (path, language)
        kept = self._forms.get(key)
        if kept is not None and clock.monotonic() - kept.made_at < FORM_S_MAX:
            return kept
        asked = {k: v for k, v in environ.items() if k not in {"HTTP_COOKIE", "CONTENT_LENGTH"}} | {
            "PATH_INFO": asked_as,
            "QUERY_STRING": "",
            "HTTP_COOKIE": f"{COOKIE}={language}",
            room.FORM_ASKED: path,
        }
        seen: list[tuple[str, tuple[tuple[str, str], ...]]] = []

        def start(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
            left_out = set() if asked_as == path else {"content-length", "set-cookie", "retry-after"}
            seen.append((status, tuple((k, v) for k, v in headers if k.lower() not in left_out)))

        answer = self.site(asked, start)
        try:
            body = b"".join(answer)
        finally:
            if callable(close := getattr(answer, "close", None)):
                close()
        form = _Form(*seen[0], tuple(GAPS.split(body.decode())), clock.monotonic())
        if len(form.pieces) == 1 and asked_as != path:  # the database is away
            return kept or form
        with self._lock:
            if len(self._forms) >= FORMS_MAX:
                self._forms.clear()
            self._forms[key] = form
        return form


def _fields(query: str) -> dict[str, str]:
    """Return the first value of each field of a query; nothing of one with more fields than any of our pages sends."""
    try:
        return {name: values[0] for name, values in parse_qs(query, max_num_fields=FIELDS_MAX).items()} if query else {}
    except ValueError:
        return {}


def _cookie(name: str, value: str, life_s: int, *, path: str) -> tuple[str, str]:
    secure = "; Secure" if settings.SESSION_COOKIE_SECURE else ""
    return "Set-Cookie", f"{name}={value}; HttpOnly; Max-Age={life_s}; Path={path}; SameSite=Lax{secure}"


def _cookies(header: str) -> dict[str, str]:
    """Return the cookies of a header as Django reads them: split at semicolons, ours have no quotes. A twentieth of SimpleCookie's time."""
    pairs = (piece.partition("=") for piece in header.split(";"))
    return {name.strip(): value.strip() for name, _, value in pairs}
