"""Whether a new password is known from breaches: asked of the filter on disk first, then, if one is configured, of a range API.

Asked before a hashing slot is taken. The filter is opened once and again whenever another file has taken its place. The API learns five
hexadecimal digits of a SHA-1 and nothing else; the answer is padded so that its length says nothing either. Source: the Pwned Passwords
range API (k-anonymity): GET {base}/range/{5 digits} answers lines SUFFIX:COUNT, where a count of 0 is padding.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from pathlib import Path

import httpx

from tocsin.credentials import policy
from tocsin.kernel import config
from tocsin.kernel.errors import BadInput, NotFound, Unavailable
from tocsin.kernel.private import Private

from .fuse import Filter

log = logging.getLogger("tocsin.credentials")
BUILT_IN = Path(__file__).parent / "builtin.fuse16"
RANGE_TIMEOUT_S = 0.3
RANGE_BYTES_MAX = 1 << 20
RANGE_REQUESTS = 8  # at a time; one more counts as an API that does not answer

_opened: tuple[tuple[str, int, int], Filter] | None = None
_opening = threading.Lock()


def forms(password: str) -> tuple[bytes, ...]:
    """Return what is looked up of a password, each once: as it is hashed, as it was typed, and without capitals."""
    normal = policy.normal(password)
    return tuple(dict.fromkeys(form.encode("utf-8", "surrogatepass") for form in (normal, password, normal.casefold())))


def breached(password: Private[str]) -> bool:
    """Tell whether a password stands in the filter or is known to the range API. About 5 microseconds without the API.

    Raises Unavailable if the configured filter cannot be read, or if the API does not answer in RANGE_TIMEOUT_S and `range_fail` is closed.
    """
    asked, here = forms(password.reveal()), current_filter()
    return any(here.holds(form) for form in asked) or any(_in_range(form) for form in asked)


def current_filter() -> Filter:
    """Return the filter of the configuration, or the built-in one; opened anew when its file is another one than before."""
    global _opened
    settings = config.current()
    path = settings.home / settings.passwords.filter if settings.passwords.filter else BUILT_IN
    try:
        found = path.stat()
        key = (str(path), found.st_ino, found.st_mtime_ns)
        held = _opened
        if held is not None and held[0] == key:
            return held[1]
        with _opening:
            if _opened is None or _opened[0] != key:
                _opened = (key, Filter(path))
            return _opened[1]
    except (OSError, BadInput, NotFound) as e:
        raise Unavailable("filter", f"the filter of breached passwords cannot be read ({e})") from None


def _in_range(form: bytes) -> bool:
    settings = config.current().passwords
    if not settings.range_url:
        return False
    digest = hashlib.sha1(form, usedforsecurity=False).hexdigest().upper()
    try:
        return _requests().submit(_ask, settings.range_url.rstrip("/"), digest).result(timeout=RANGE_TIMEOUT_S)
    except (httpx.HTTPError, TooLate) as e:
        if settings.range_fail == "closed":
            raise Unavailable("range", "the service that knows breached passwords does not answer; please try again in a moment") from None
        log.warning("the range API did not answer (%s): the password was checked against the filter only", type(e).__name__)
        return False


def _ask(base: str, digest: str) -> bool:
    """Ask for one range. Raises httpx.HTTPError for anything but a whole answer of bounded length."""
    with _client().stream("GET", f"{base}/range/{digest[:5]}", headers={"Add-Padding": "true"}) as answer:
        answer.raise_for_status()
        body = b""
        for piece in answer.iter_bytes():
            body += piece
            if len(body) > RANGE_BYTES_MAX:
                raise httpx.DecodingError("an answer without end")
    for line in body.split(b"\n"):
        suffix, colon, count = line.strip().partition(b":")
        if colon and suffix.upper() == digest[5:].encode() and count.isdigit():
            return int(count) > 0
    return False


@functools.cache
def _client() -> httpx.Client:
    """Return the one client of this process; it follows no redirect and keeps its connections."""
    return httpx.Client(timeout=RANGE_TIMEOUT_S, follow_redirects=False, limits=httpx.Limits(max_connections=RANGE_REQUESTS))


@functools.cache
def _requests() -> ThreadPoolExecutor:
    """Return the threads that ask: the wait has a hard end, which timeouts of single reads have not."""
    return ThreadPoolExecutor(RANGE_REQUESTS, thread_name_prefix="range")
