"""Any relay that can call a program: events as lines of JSON, signed with a shared secret.

    POST, body: up to 1,000 lines, each one JSON object
        id        text, 1 to 200 characters: the relay's name of this event, the same when it is told again
        event     "bounced" (given up), "delayed" (still tried) or "complained"
        at        ISO 8601 with its offset
        from      the envelope's sender, as we gave it in MAIL FROM
        to        the envelope's recipient
        code      SMTP reply code, 400 to 599, if there was one
        enhanced  enhanced status code, if there was one           reply    the receiver's words, if there were any
    X-Tocsin-Timestamp: seconds since 1970, at most 300 s from our clock
    X-Tocsin-Signature: v1=HEX       HMAC-SHA256 with the secret over  "v1:" TIMESTAMP ":" BODY

A line at fault is named with its number, and the others are taken. Options: `secret_file` (a file that only its owner may read; at least 32
octets in it).
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from tocsin.kernel.errors import BadInput, Fault, Refused
from tocsin.kernel.private import Private
from tocsin.mail.types import FeedEvent, FeedReading

LINES_MAX = 1_000
CLOCKS_APART_S_MAX = 300
SECRET_BYTES_MIN = 32
TEXT_CHARS_MAX = 1_000
FAULTS_MAX = 100
KEYS = {"id", "event", "at", "from", "to", "code", "enhanced", "reply"}
EVENTS: tuple[Literal["bounced", "delayed", "complained"], ...] = ("bounced", "delayed", "complained")
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")


class SignedLines:
    """The port `mail.port.EventFeed` for lines of JSON."""

    def __init__(self, secret: Private[bytes]) -> None:
        self._secret = secret

    @classmethod
    def configured(cls, name: str, options: Mapping[str, Any]) -> SignedLines:
        """Return the feed of `[feeds.NAME]`."""
        where = f"feeds.{name}"
        faults = [Fault(f"{where}.{k}", repr(v)[:80], "adapter and secret_file only") for k, v in options.items() if k != "secret_file"]
        file, secret = options.get("secret_file"), b""
        try:
            path = Path(file if isinstance(file, str) else "")
            secret = path.read_bytes().strip()
            if path.stat().st_mode & 0o077:
                faults.append(Fault(f"{where}.secret_file", repr(file), "a file that only its owner may read: chmod 600 it"))
            if len(secret) < SECRET_BYTES_MIN:
                faults.append(Fault(f"{where}.secret_file", f"{len(secret)} octets", f"at least {SECRET_BYTES_MIN}"))
        except OSError as e:
            faults.append(Fault(f"{where}.secret_file", repr(file), f"a file that can be read ({e.strerror})"))
        if faults:
            raise BadInput(faults)
        return cls(Private(secret))

    def read(self, headers: Mapping[str, str], body: bytes, *, at: datetime) -> FeedReading:
        """Return the events of one request."""
        stamp, signature = headers.get("x-tocsin-timestamp", ""), headers.get("x-tocsin-signature", "")
        if not re.fullmatch(r"[0-9]{1,12}", stamp):
            raise Refused("X-Tocsin-Timestamp is missing or no number of seconds")
        wanted = "v1=" + hmac.digest(self._secret.reveal(), b"v1:" + stamp.encode() + b":" + body, "sha256").hex()
        if not hmac.compare_digest(wanted.encode(), signature.encode("latin-1", "replace")):
            raise Refused("X-Tocsin-Signature is missing or wrong")
        if abs(at.timestamp() - int(stamp)) > CLOCKS_APART_S_MAX:
            raise Refused("the request is too old, or one of the clocks is wrong")
        lines = [(n, line) for n, line in enumerate(body.split(b"\n"), 1) if line.strip()]
        if len(lines) > LINES_MAX:
            raise BadInput.of("body", f"{len(lines)} lines", f"at most {LINES_MAX}")
        events: list[FeedEvent] = []
        faults: list[Fault] = []
        for n, line in lines:
            wrong: list[Fault] = []
            event = _event(line, n, wrong)
            if event is None:
                faults += wrong
            else:
                events.append(event)
        return FeedReading(len(lines), tuple(events), tuple(faults[:FAULTS_MAX]), len(lines) - len(events))


def _event(line: bytes, n: int, faults: list[Fault]) -> FeedEvent | None:
    """Return the event of a line, or None with all that is wrong with it in `faults`. Values of people are never quoted."""
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError):
        raw = None
    if not isinstance(raw, dict):
        faults.append(Fault("line", "no JSON object", "one JSON object per line", n))
        return None
    faults += [Fault(str(k)[:40], "a key", f"one of {', '.join(sorted(KEYS))}", n) for k in raw if k not in KEYS]
    id_, event, sender, to = raw.get("id"), raw.get("event"), raw.get("from"), raw.get("to")
    if not isinstance(id_, str) or not 0 < len(id_) <= 200:
        faults.append(Fault("id", type(id_).__name__, "a text of 1 to 200 characters", n))
    if event not in EVENTS:
        faults.append(Fault("event", repr(event)[:40], f"one of {', '.join(EVENTS)}", n))
    faults += [Fault(k, type(v).__name__, "an address", n) for k, v in (("from", sender), ("to", to)) if not isinstance(v, str) or "@" not in v]
    try:
        at = datetime.fromisoformat(raw["at"])
    except (KeyError, TypeError, ValueError):
        at = None
    if at is None or at.tzinfo is None:
        faults.append(Fault("at", repr(raw.get("at"))[:40], "an instant with its offset, as ISO 8601", n))
    code, enhanced, reply = raw.get("code"), raw.get("enhanced", ""), raw.get("reply", "")
    if code is not None and (type(code) is not int or not 400 <= code <= 599):
        faults.append(Fault("code", repr(code)[:40], "a reply code from 400 to 599", n))
    if not isinstance(enhanced, str) or (enhanced and not _STATUS.fullmatch(enhanced)):
        faults.append(Fault("enhanced", repr(enhanced)[:40], "an enhanced status code such as 5.1.1", n))
    if not isinstance(reply, str):
        faults.append(Fault("reply", type(reply).__name__, "a text", n))
    if faults or at is None or event not in EVENTS:
        return None
    kind = EVENTS[EVENTS.index(event)]
    return FeedEvent(id=str(id_), kind=kind, at=at, sender=str(sender), recipient=Private(str(to)), code="" if code is None else str(code),
                     enhanced=enhanced, text=Private(reply[:TEXT_CHARS_MAX]), original=Private(line))
