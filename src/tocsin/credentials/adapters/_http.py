"""Talking to an identity provider's HTTP API: sign-in by client credentials, documented rates, retries, and errors without secrets.

What a call does, in this order: wait for a token of the bucket (the documented rate, or the slower one that the answers' headers ask for);
send with a time limit; on 401 fetch a new access token once; on 429 and on 503 with Retry-After wait what the provider says, if that is
short, else raise Busy with it; on a lost connection, a time-out or another 5xx repeat what may be repeated (everything but POST), with
doubled pauses. What is left then is Unavailable with the method, the path, the status and the provider's own error code: never a body, a
header or a query, for those hold secrets and people.

Headers read: Retry-After in seconds (RFC 9110 s10.2.3), X-RateLimit-Remaining/-Reset (Auth0), X-Rate-Limit-Remaining/-Reset (Okta); resets
are seconds since 1970.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx

from tocsin.kernel.errors import BadInput, Busy, Fault, Unavailable
from tocsin.kernel.hosts import is_local
from tocsin.kernel.private import Private

TIMEOUT_S = 8.0  # for one exchange: connect, write and each read
BUDGET_S = 25.0  # for one call with all its repeats
TRIES = 4
PAUSE_S = 0.2  # before the second try; doubled each time
WAIT_S_MAX = 10.0  # a provider that asks for a longer pause gets it from the job queue, not from a sleeping worker
REASON_MAX = 160  # characters of a provider's own words in an error
RENEW_S = 30.0  # an access token is replaced this long before it ends
BODY_BYTES_MAX = 32 * 1024 * 1024
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


def reach_of(url: str) -> Literal["loopback", "world"]:
    """Return whether a URL leads to this machine."""
    return "loopback" if is_local(urlsplit(url).hostname or "") else "world"


def wanted(options: Mapping[str, Any], required: Mapping[str, type], optional: Mapping[str, type]) -> dict[str, Any]:
    """Return the options of a connector, checked. Raises BadInput with every missing, unknown or mistyped one."""
    faults = [Fault(key, "nothing", f"an option of type {kind.__name__}") for key, kind in required.items() if key not in options]
    known = {**required, **optional}
    for key, value in options.items():
        if key not in known:
            faults.append(Fault(key, "an unknown option", f"one of {', '.join(sorted(known))}"))
        elif not isinstance(value, known[key]) and not (known[key] is float and isinstance(value, int)):
            faults.append(Fault(key, repr(value), f"a value of type {known[key].__name__}"))
    if faults:
        raise BadInput(faults)
    return dict(options)


class Bucket:
    """A token bucket: at most `rate_per_s` takes a second, `burst` at once. None as rate sets no limit. Safe between threads."""

    def __init__(self, rate_per_s: float | None, *, burst: float = 1.0) -> None:
        self.rate_per_s = rate_per_s
        self._burst, self._held, self._filled = burst, burst, time.monotonic()
        self._closed_until = 0.0
        self._lock = threading.Lock()

    def take(self, n: float = 1.0) -> float:
        """Take `n` and return how many seconds to wait before going on."""
        with self._lock:
            now = time.monotonic()
            wait = max(0.0, self._closed_until - now)
            if self.rate_per_s is not None:
                self._held = min(self._burst, self._held + (now - self._filled) * self.rate_per_s) - n
                self._filled = now
                wait = max(wait, -self._held / self.rate_per_s)
            return wait

    def close_for(self, seconds: float) -> None:
        """Give nothing out for a while: the provider said that its window is used up."""
        with self._lock:
            self._closed_until = max(self._closed_until, time.monotonic() + seconds)


class Client:
    """One provider's API. `sign_in` returns an access token and how many seconds it lives; None sends no Authorization header."""

    def __init__(self, port: str, base_url: str, *, bucket: Bucket, sign_in: Callable[[Client], tuple[str, float]] | None = None,
                 scheme: str = "Bearer", timeout_s: float = TIMEOUT_S, headers: Mapping[str, str] | None = None) -> None:  # fmt: skip
        self.port, self.base_url, self.bucket = port, base_url.rstrip("/"), bucket
        self._sign_in, self._scheme, self._timeout_s = sign_in, scheme, timeout_s
        self._headers = dict(headers or {})
        self._token: Private[str] | None = None
        self._token_ends = 0.0
        self._http = httpx.Client(timeout=timeout_s, follow_redirects=False, trust_env=False)
        self.clock_at: float | None = None  # the provider's own clock at its last answer, seconds since 1970

    def __repr__(self) -> str:
        return f"Client({self.base_url})"

    def call(
        self,
        method: Method,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        form: Mapping[str, str] | None = None,
        accept: Collection[int] = (),
        headers: Mapping[str, str] | None = None,
        signed: bool = True,
        repeat: bool | None = None,
    ) -> httpx.Response:
        """Send one request and return its answer: a 2xx, or a status of `accept`.

        `repeat` says whether it may be sent twice (default: all but POST). Raises Busy for a long pause that the provider asks for, and
        Unavailable for everything else, with the provider's reason.
        """
        may_repeat = method != "POST" if repeat is None else repeat
        began, pause, renewed, fault = time.monotonic(), PAUSE_S, False, "no answer"
        for attempt in range(1, TRIES + 1):
            self._wait(self.bucket.take(), began)
            try:
                answer = self._send(method, path, query, body, form, headers, signed)
            except httpx.ConnectError:
                fault = "no connection"  # nothing was sent: every method may be repeated
            except httpx.TimeoutException:
                fault = f"no answer in {self._timeout_s:g} s"
                if not may_repeat:
                    break
            except httpx.HTTPError as e:
                fault = type(e).__name__
                if not may_repeat:
                    break
            else:
                self._heed(answer)
                if answer.status_code in accept or answer.is_success:
                    return answer
                fault = f"{answer.status_code}{self._reason(answer)}"
                if answer.status_code == 401 and signed and self._sign_in is not None and not renewed:
                    self._token, renewed = None, True
                    continue
                if answer.status_code == 429 or (answer.status_code == 503 and "retry-after" in answer.headers):
                    pause = self._asked_pause(answer)
                    if pause > WAIT_S_MAX:
                        raise Busy(f"{self.port}: {method} {path}: over the provider's limit", retry_after_s=pause)
                elif answer.status_code < 500 or not may_repeat:
                    break
            if attempt == TRIES or time.monotonic() - began + pause > BUDGET_S:
                break
            time.sleep(pause)
            pause *= 2
        raise Unavailable(self.port, f"{method} {urlsplit(path).path}: {fault}{_advice(fault)}")

    def json(self, method: Method, path: str, **more: Any) -> Any:
        """Send one request and return the JSON of its answer, None for an empty one."""
        answer = self.call(method, path, **more)
        if not answer.content:
            return None
        try:
            return answer.json()
        except ValueError as e:
            raise Unavailable(self.port, f"{method} {urlsplit(path).path}: {answer.status_code} with something that is not JSON") from e

    def now(self) -> float:
        """Return the provider's clock as of its last answer (its Date header, whole seconds), or ours before the first."""
        return self.clock_at if self.clock_at is not None else time.time()

    def _send(self, method: str, path: str, query: Mapping[str, Any] | None, body: Any, form: Mapping[str, str] | None,
              headers: Mapping[str, str] | None, signed: bool) -> httpx.Response:  # fmt: skip
        sent = {"Accept": "application/json", **self._headers, **(headers or {})}
        if signed and self._sign_in is not None and "Authorization" not in sent:
            sent["Authorization"] = f"{self._scheme} {self._access().reveal()}"
        content = None if body is None else json.dumps(body).encode()
        if content is not None:
            sent.setdefault("Content-Type", "application/json")
        url = path if "://" in path else self.base_url + path
        if signed and urlsplit(url)[:2] != urlsplit(self.base_url)[:2]:
            # A next link is the provider's text: it may not carry our token to another host.
            raise Unavailable(self.port, f"{method}: a link leads away from {self.base_url}")
        with self._http.stream(method, url, params=query, content=content, data=form, headers=sent) as answer:
            taken = bytearray()
            for piece in answer.iter_bytes():
                taken += piece
                if len(taken) > BODY_BYTES_MAX:
                    raise httpx.RemoteProtocolError("the answer is too long")
        # The body is decoded by now: the headers that spoke of its coding no longer hold.
        kept = [
            (k, v) for k, v in answer.headers.multi_items() if k.lower() not in {"content-encoding", "content-length", "transfer-encoding"}
        ]
        return httpx.Response(answer.status_code, headers=kept, content=bytes(taken))

    def _access(self) -> Private[str]:
        if self._token is None or time.monotonic() > self._token_ends:
            if self._sign_in is None:
                raise Unavailable(self.port, "there is no way to sign in")
            token, lives_s = self._sign_in(self)
            self._token, self._token_ends = Private(token), time.monotonic() + max(1.0, lives_s - RENEW_S)
        return self._token

    def _heed(self, answer: httpx.Response) -> None:
        date = answer.headers.get("date")
        if date:
            try:
                self.clock_at = parsedate_to_datetime(date).timestamp()
            except ValueError:
                self.clock_at = None
        remaining = answer.headers.get("x-ratelimit-remaining", answer.headers.get("x-rate-limit-remaining"))
        reset = answer.headers.get("x-ratelimit-reset", answer.headers.get("x-rate-limit-reset"))
        if remaining == "0" and reset is not None and reset.isdecimal():
            self.bucket.close_for(min(max(0.0, float(reset) - self.now()), WAIT_S_MAX))

    def _asked_pause(self, answer: httpx.Response) -> float:
        asked = answer.headers.get("retry-after", "")
        if asked.isdecimal():
            return float(asked)
        reset = answer.headers.get("x-ratelimit-reset", answer.headers.get("x-rate-limit-reset", ""))
        return max(1.0, float(reset) - self.now()) if reset.isdecimal() else 1.0

    def _wait(self, seconds: float, began: float) -> None:
        if time.monotonic() - began + seconds > BUDGET_S:
            raise Busy(f"{self.port}: the provider's documented rate is used up", retry_after_s=seconds)
        if seconds > 0:
            time.sleep(seconds)

    def _reason(self, answer: httpx.Response) -> str:
        """Return the provider's error code. Only fields that hold codes are read; free text may quote what was sent."""
        try:
            told = answer.json()
        except ValueError:
            return ""
        if not isinstance(told, dict):
            return ""
        inner = told.get("error")
        code = inner.get("code") if isinstance(inner, dict) else inner
        code = code or told.get("errorCode") or told.get("scimType") or told.get("__type")
        return f" {str(code)[:REASON_MAX]}" if isinstance(code, str) and code.replace("_", "").replace(".", "").isalnum() else ""


def _advice(fault: str) -> str:
    if fault.startswith("401"):
        return " (the connector's own sign-in is refused: check its client and secret)"
    if fault.startswith("403"):
        return " (the connector's client lacks a right for this: grant it the scope or role that the how-to names)"
    return ""


def client_credentials(
    token_url: str, client_id: str, secret: Private[str], extra: Mapping[str, str]
) -> Callable[[Client], tuple[str, float]]:
    """Return a sign-in by client credentials (RFC 6749 s4.4), the secret in the form as all four providers take it."""

    def sign_in(client: Client) -> tuple[str, float]:
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret.reveal(), **extra}
        told = client.json("POST", token_url, form=form, signed=False, repeat=True)
        if not isinstance(told, dict) or not isinstance(told.get("access_token"), str):
            raise Unavailable(client.port, "the token endpoint answered without an access_token")
        return told["access_token"], float(told.get("expires_in", 60))

    return sign_in
