"""One question to the gate. Fails closed: an answer that is late, odd, about somebody else or none at all lets nobody in."""

from __future__ import annotations

import http.client
import json
import logging
import threading
import time
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

ANSWER_BYTES_MAX = 65_536
REMEMBERED_MAX = 10_000

log = logging.getLogger("tocsin_django_gate")


@dataclass(frozen=True)
class Answer:
    """What the gate said. `reason`: open, reset_required, unknown, or unavailable when it could not be asked.

    `epoch` is the oldest that a session of this customer may bear; `until` is when, by time.monotonic, the answer ends.
    """

    subject: str
    allow: bool
    reason: str
    reset_url: str = ""
    epoch: int = 0
    until: float = 0.0


class GateClient:
    """Asks one gate; may be used from many threads, each of which keeps a connection of its own."""

    def __init__(self, url: str, key: str, *, timeout_s: float = 0.3) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or not key:
            raise ImproperlyConfigured(
                "TOCSIN_GATE_URL must be an http or https address and TOCSIN_GATE_KEY a key of `tocsin api-key create`"
            )
        self._connection = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._host, self._port, self._path = parts.hostname, parts.port, parts.path.rstrip("/")
        self._key, self._timeout_s = key, timeout_s
        self._local = threading.local()
        self._remembered: dict[str, Answer] = {}

    def ask(self, subject: str) -> Answer:
        """Return what the gate says now. Never raises: what goes wrong is logged without the subject and becomes "unavailable"."""
        asked = time.monotonic()
        try:
            status, body = self._get(f"{self._path}/gate/v1/{quote(subject, safe='')}")
            answer = _read(subject, status, body, asked)
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as e:
            log.warning("the gate could not be asked: %s", type(e).__name__)
            return Answer(subject, False, "unavailable")
        return answer

    def ask_remembered(self, subject: str, *, for_s: float) -> Answer:
        """Return an answer that is at most `for_s` old and within its lease. Only "yes" is remembered: a "no" may end at any moment."""
        now = time.monotonic()
        kept = self._remembered.get(subject)
        if kept is not None and now < kept.until:
            return kept
        answer = self.ask(subject)
        if answer.allow:
            if len(self._remembered) >= REMEMBERED_MAX:
                self._remembered.clear()
            self._remembered[subject] = replace(answer, until=min(answer.until, now + for_s))
        return answer

    def _get(self, path: str) -> tuple[int, bytes]:
        """Ask on this thread's connection; once more on a new one if the kept one was closed from the other end before an answer."""
        kept, self._local.connection = getattr(self._local, "connection", None), None
        if kept is not None:
            try:
                return self._once(kept, path)
            except (ConnectionError, http.client.BadStatusLine, http.client.CannotSendRequest):
                kept.close()
        return self._once(self._connection(self._host, self._port, timeout=self._timeout_s), path)

    def _once(self, connection: http.client.HTTPConnection, path: str) -> tuple[int, bytes]:
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self._key}", "Accept": "application/json"})
            response = connection.getresponse()
            body = response.read(ANSWER_BYTES_MAX + 1)
        except (OSError, http.client.HTTPException):
            connection.close()
            raise
        if len(body) > ANSWER_BYTES_MAX or response.will_close:
            connection.close()
        else:
            self._local.connection = connection
        return response.status, body


def _read(subject: str, status: int, body: bytes, asked: float) -> Answer:
    if status not in {200, 403}:
        raise ValueError(f"status {status}")
    document: dict[str, Any] = json.loads(body)
    allow, epoch, lease_ms = document["allow"], document["epoch"], document["lease_ms"]
    if document["subject"] != subject or allow is not (status == 200) or type(epoch) is not int or type(lease_ms) is not int:
        raise ValueError("an answer to another question")
    return Answer(subject, allow, str(document["reason"]), str(document["reset_url"]), epoch, asked + lease_ms / 1000)


@lru_cache(maxsize=1)
def gate() -> GateClient:
    """Return the gate of the settings. Raises ImproperlyConfigured."""
    return GateClient(
        getattr(settings, "TOCSIN_GATE_URL", ""),
        getattr(settings, "TOCSIN_GATE_KEY", ""),
        timeout_s=getattr(settings, "TOCSIN_GATE_TIMEOUT_S", 0.3),
    )


def subject_of(user: Any) -> str:
    """Return the customer number of a user as Tocsin knows it."""
    named = getattr(settings, "TOCSIN_GATE_SUBJECT", None)
    return str(import_string(named)(user)) if named else str(user.pk)


def is_exempt(user: Any) -> bool:
    """Tell whether this user is none of Tocsin's customers."""
    named = getattr(settings, "TOCSIN_GATE_EXEMPT", None)
    return bool(import_string(named)(user)) if named else False


def _forget(**_changed: Any) -> None:
    gate.cache_clear()


setting_changed.connect(_forget, dispatch_uid="tocsin_django_gate")
