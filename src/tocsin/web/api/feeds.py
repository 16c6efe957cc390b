"""Feeds of relays over HTTP, version 1, as a bare WSGI application. How-to: docs/how-to/relay-feeds.md.

    POST  /feeds/v1/{name}     body and headers as the feed's adapter documents them
    200 {"read", "accepted", "ignored", "rejected", "faults": [{"line", "field", "got", "wanted"}]}     committed
    400 no such request, with all faults; 403 not from the relay, or too old; 404 no such feed; 405, 411, 413; 429 and 503 with Retry-After

A relay tells an event again until it hears 200, and told again it changes nothing. The rate is limited before anything is looked at, since
whoever reaches the port may ask: let the proxy in front pass on the relay's addresses only, where it publishes them.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.db import DatabaseError, InterfaceError, close_old_connections

from tocsin.kernel import clock
from tocsin.kernel.errors import BadInput, Busy, Fault, NotFound, Refused, Unavailable
from tocsin.mail import actions as mail
from tocsin.mail.types import FeedReport

from .gate import REASONS, Rate

PREFIX = "/feeds/v1/"
BODY_BYTES_MAX = 1_000_000
RATE_PER_S = 50.0
RETRY_S = 30
log = logging.getLogger("tocsin.feeds")
Application = Callable[[dict[str, Any], Callable[[str, list[tuple[str, str]]], object]], Iterable[bytes]]


class FeedApplication:
    """Takes feeds in; whatever does not lie under PREFIX goes to the other application."""

    def __init__(self, other: Application, *, rate_per_s: float = RATE_PER_S) -> None:
        self._other, self._rate = other, Rate(rate_per_s)

    def __call__(self, environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]) -> Iterable[bytes]:
        """Answer one request. Source: PEP 3333."""
        if not environ["PATH_INFO"].startswith(PREFIX):
            return self._other(environ, start_response)
        status, headers, document = self._answer(environ)
        body = json.dumps(document, ensure_ascii=False).encode() + b"\n"
        start_response(f"{status} {REASONS[status]}", [("Content-Type", "application/json"), ("Content-Length", str(len(body))),
                                                       ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"), *headers])  # fmt: skip
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _answer(self, environ: Mapping[str, Any]) -> tuple[int, list[tuple[str, str]], dict[str, Any]]:
        name = environ["PATH_INFO"][len(PREFIX) :]
        if environ["REQUEST_METHOD"] != "POST":
            return 405, [("Allow", "POST")], {"error": "method_not_allowed"}
        try:
            length = int(environ.get("CONTENT_LENGTH") or -1)
        except ValueError:
            length = -1
        if not 0 <= length <= BODY_BYTES_MAX:
            return (411, [], {"error": "length_required"}) if length < 0 else (413, [], {"error": "body_too_long"})
        try:
            self._rate.take(1)
            return 200, [], _worded(self._take(name, environ, bytes(environ["wsgi.input"].read(length))))
        except BadInput as e:
            return 400, [], {"error": "bad_input", "faults": [_fault(f) for f in e.faults]}
        except NotFound:
            return 404, [], {"error": "no_such_feed"}
        except Refused as e:
            log.warning("feed %s: refused: %s", name, e.rule)
            return 403, [], {"error": "refused", "why": e.rule}
        except Busy as e:
            return 429, [("Retry-After", str(max(1, math.ceil(e.retry_after_s))))], {"error": "too_many_requests"}
        except (Unavailable, DatabaseError, InterfaceError) as e:
            log.error("feed %s: %s", name, e if isinstance(e, Unavailable) else type(e).__name__)
            return 503, [("Retry-After", str(RETRY_S))], {"error": "unavailable"}

    @staticmethod
    def _take(name: str, environ: Mapping[str, Any], body: bytes) -> FeedReport:
        headers = {k[5:].replace("_", "-").lower(): str(v) for k, v in environ.items() if k.startswith("HTTP_")}
        close_old_connections()  # no request cycle of Django's does it here
        try:
            return mail.take_feed(name, headers=headers, body=body, at=clock.now())
        finally:
            close_old_connections()


def _worded(report: FeedReport) -> dict[str, Any]:
    return {"read": report.read, "accepted": report.accepted, "ignored": report.ignored, "rejected": report.rejected,
            "faults": [_fault(f) for f in report.faults]}  # fmt: skip


def _fault(fault: Fault) -> dict[str, Any]:
    return {"line": fault.line, "field": fault.field, "got": fault.got, "wanted": fault.wanted}
