"""Okta token inline hook of Tocsin's gate, as a small WSGI application. Standard library only; imports nothing of Tocsin.

    GATE_URL=https://gate.example.org HOOK_KEY=... python hook.py 8080          (behind a reverse proxy that does TLS)

Register it as an inline hook of type com.okta.oauth2.tokens.transform with the header `Authorization: HOOK_KEY`, attach it to the rules of
each custom authorization server's access policies, and leave it INACTIVE: Tocsin activates it when the gate falls.

Answers to Okta: 204 (no commands) for a person who is through, else 200 with an `error` object, which makes Okta refuse the token request.
Everything that goes wrong here is answered with that error, not with a status of failure: a hook that fails or is slow is passed over by
Okta, and the tokens are issued without it. So GATE_TIMEOUT_S stays well below Okta's three seconds.
Source: Okta developer documentation, token inline hook, inline hooks timeouts.
"""

from __future__ import annotations

import hmac
import http.client
import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import make_server

GATE_TIMEOUT_S = 1.0
BODY_BYTES_MAX = 1024 * 1024
ERROR = {"error": {"errorSummary": "All passwords were reset. Please choose a new one."}}


def application(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    """Answer one call of Okta."""
    key = os.environ.get("HOOK_KEY", "")
    if not key or not hmac.compare_digest(environ.get("HTTP_AUTHORIZATION", ""), key):
        start("401 Unauthorized", [("Content-Type", "application/json")])  # not Okta: it learns nothing
        return [b"{}"]
    if _through(_subject(environ)):
        start("204 No Content", [])
        return [b""]
    start("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(ERROR).encode()]


def _subject(environ: dict[str, Any]) -> str:
    """Return the id of the user whose tokens are asked for, empty if the body does not say."""
    try:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        told = json.loads(environ["wsgi.input"].read(min(length, BODY_BYTES_MAX)))
        return str(told["data"]["context"]["user"]["id"])
    except (ValueError, KeyError, TypeError):
        return ""


def _through(subject: str) -> bool:
    base = os.environ.get("GATE_URL", "")
    if not base or not subject:
        return False
    request = urllib.request.Request(base.rstrip("/") + "/gate/v1/" + urllib.parse.quote(subject, safe=""))
    if os.environ.get("GATE_KEY"):
        request.add_header("Authorization", "Bearer " + os.environ["GATE_KEY"])
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=GATE_TIMEOUT_S) as answer:
            return answer.status in (200, 204)
    except (OSError, ValueError, http.client.HTTPException):
        return False


if __name__ == "__main__":
    with make_server("127.0.0.1", int(sys.argv[1]), application) as server:
        server.serve_forever()
