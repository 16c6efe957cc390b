"""The gate's HTTP interface, version 1, as a bare WSGI application. Reference: docs/reference/gate-api.md.

    GET, HEAD  /gate/v1/{subject}     subject percent-encoded; everything behind /gate/v1/ is the subject
    GET, HEAD  /gate/v1/              subject in the header of `[gate] subject_header`     nginx auth_request
    any        /gate/authz/...        subject in that header, the rest of the path is ignored   Envoy ext_authz
    POST       /gate/v1/batch         {"subjects": [at most 1000]} -> {"answers": [...], "lease_ms": n}
    200 may come in, 403 may not, 400 no subject, 401 no key, 404 no such address, 405, 411, 413, 429 and 503 with Retry-After

Design: not a Django view. An answer from memory costs 15 microseconds and Django's request cycle ten times that; there is no session, no
form and no page here. What Django's middleware is for elsewhere (errors become answers) is done by `_answer`; whatever it does not name is
a defect, which the server answers with 500, and no client takes that for "open".
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from tocsin.credentials.types import GateAnswer
from tocsin.kernel import clock
from tocsin.kernel.errors import BadInput, Busy, Unavailable

PREFIX, BATCH, AUTHZ = "/gate/v1/", "/gate/v1/batch", "/gate/authz"
BODY_BYTES_MAX = 1_000_000  # 1,000 subjects of 256 bytes, spelled as JSON may spell them
BURST_S = 2.0
UNAVAILABLE_RETRY_S = 1
REASONS = {
    200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    411: "Length Required", 413: "Content Too Large", 429: "Too Many Requests", 503: "Service Unavailable",
}  # fmt: skip

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], object]
Headers = list[tuple[str, str]]


class Answers(Protocol):
    """What this application needs of a gate."""

    def knows_key(self, key: str) -> bool:
        """Tell whether this key may ask."""
        ...

    def ask(self, subjects: list[str]) -> tuple[list[GateAnswer], float]:
        """Return an answer per subject and the seconds they are good for."""
        ...


@dataclass(frozen=True, slots=True)
class Settings:
    """How answers are worded: what of unknown subjects, in which header a subject stands, where a new password is chosen."""

    unknown_allowed: bool
    subject_header: str
    reset_url: str
    rate_per_s: float


class _Refusal(Exception):
    """A request that is no question: answered with a status and a reason."""

    def __init__(self, status: int, reason: str, *headers: tuple[str, str]) -> None:
        self.status, self.reason, self.headers = status, reason, list(headers)
        super().__init__(reason)


class Rate:
    """A bucket that fills with `per_s` and holds BURST_S of it. Raises Busy when it is empty."""

    def __init__(self, per_s: float, *, monotonic: Callable[[], float] = clock.monotonic) -> None:
        self._per_s, self._monotonic = per_s, monotonic
        self._left, self._at = per_s * BURST_S, monotonic()
        self._lock = threading.Lock()

    def take(self, n: int) -> None:
        """Take `n` questions out of the bucket."""
        with self._lock:
            now = self._monotonic()
            self._left = min(self._per_s * BURST_S, self._left + (now - self._at) * self._per_s)
            self._at = now
            if self._left < min(n, self._per_s):
                raise Busy("more questions than [gate] rate_per_s", retry_after_s=(n - self._left) / self._per_s)
            self._left -= n


class GateApplication:
    """Answers questions of who holds a key."""

    def __init__(self, gate: Answers, settings: Settings) -> None:
        self._gate, self._settings = gate, settings
        self._header = "HTTP_" + settings.subject_header.upper().replace("-", "_")
        self._rates: dict[str, Rate] = {}

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request. Source: PEP 3333."""
        status, headers, document = self._answer(environ)
        body = json.dumps(document, ensure_ascii=False).encode() + b"\n"
        start_response(
            f"{status} {REASONS[status]}",
            [
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(body))),
                ("Cache-Control", "no-store"),
                ("X-Content-Type-Options", "nosniff"),
                *headers,
            ],
        )
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _answer(self, environ: Environ) -> tuple[int, Headers, dict[str, Any]]:
        try:
            key = self._key(environ)
            path = environ["PATH_INFO"]
            if path == BATCH and environ["REQUEST_METHOD"] == "POST":
                return self._many(environ, key)
            return self._one(environ, path, key)
        except _Refusal as e:
            return e.status, e.headers, _error(e.reason)
        except BadInput as e:
            return 400, [], _error("bad_input") | {"faults": [{"field": f.field, "got": f.got, "wanted": f.wanted} for f in e.faults]}
        except Busy as e:
            return 429, [("Retry-After", str(max(1, math.ceil(e.retry_after_s))))], _error("too_many_questions")
        except Unavailable:
            return 503, [("Retry-After", str(UNAVAILABLE_RETRY_S))], _error("unavailable") | {"allow": False}

    def _key(self, environ: Environ) -> str:
        scheme, _, key = str(environ.get("HTTP_AUTHORIZATION", "")).partition(" ")
        if scheme.lower() != "bearer" or not self._gate.knows_key(key.strip()):
            raise _Refusal(401, "key_unknown", ("WWW-Authenticate", 'Bearer realm="tocsin gate"'))
        return key

    def _one(self, environ: Environ, path: str, key: str) -> tuple[int, Headers, dict[str, Any]]:
        subject = self._subject(environ, path)
        self._rate(key).take(1)
        (answer,), left_s = self._gate.ask([subject])
        document = self._worded(answer) | {"lease_ms": int(left_s * 1000)}
        headers = [
            ("X-Tocsin-Reason", answer.reason),
            ("X-Tocsin-Reset-Url", self._settings.reset_url),
            ("X-Tocsin-Epoch", str(answer.epoch)),
            ("X-Tocsin-Lease-Ms", str(document["lease_ms"])),
        ]
        return (200 if document["allow"] else 403), headers, document

    def _many(self, environ: Environ, key: str) -> tuple[int, Headers, dict[str, Any]]:
        subjects = _subjects(_body(environ))
        self._rate(key).take(len(subjects))
        answers, left_s = self._gate.ask(subjects)
        lease_ms = int(left_s * 1000)
        return 200, [], {"answers": [self._worded(a) | {"lease_ms": lease_ms} for a in answers], "lease_ms": lease_ms}

    def _worded(self, answer: GateAnswer) -> dict[str, Any]:
        allow = answer.reason == "open" or (answer.reason == "unknown" and self._settings.unknown_allowed)
        return {
            "subject": answer.subject,
            "allow": allow,
            "reason": answer.reason,
            "reset_url": self._settings.reset_url,
            "epoch": answer.epoch,
        }

    def _subject(self, environ: Environ, path: str) -> str:
        named_by_header = path in {PREFIX, AUTHZ} or path.startswith(AUTHZ + "/")
        if not named_by_header and not path.startswith(PREFIX):
            raise _Refusal(404, "no_such_address")
        if not path.startswith(AUTHZ) and environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            raise _Refusal(405, "method_not_allowed", ("Allow", "GET, HEAD"))
        raw = str(environ.get(self._header, "")) if named_by_header else path[len(PREFIX) :]
        try:
            return raw.encode("latin-1").decode()  # PEP 3333: octets as characters of Latin-1
        except UnicodeError:
            raise _Refusal(400, "subject_is_not_utf8") from None

    def _rate(self, key: str) -> Rate:
        """Return the bucket of a known key; there are no more of them than keys."""
        found = self._rates.get(key)
        if found is None:
            found = self._rates.setdefault(key, Rate(self._settings.rate_per_s))
        return found


def _error(reason: str) -> dict[str, Any]:
    return {"error": reason}


def _body(environ: Environ) -> bytes:
    try:
        length = int(environ.get("CONTENT_LENGTH") or -1)
    except ValueError:
        length = -1
    if length < 0:
        raise _Refusal(411, "length_required")
    if length > BODY_BYTES_MAX:
        raise _Refusal(413, "body_too_long")
    return bytes(environ["wsgi.input"].read(length))


def _subjects(body: bytes) -> list[str]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise _Refusal(400, "body_is_not_json") from None
    subjects = document.get("subjects") if isinstance(document, dict) else None
    if not isinstance(subjects, list) or not all(isinstance(s, str) for s in subjects):
        raise _Refusal(400, "subjects_is_not_a_list_of_texts")
    return subjects
