"""What a relay tells of our mail becomes a report, as if it had come by mail: the same sorting, the same table, the same states, once each.

A report (RFC 3464; RFC 5965 for complaints) is written from the event and put in for the bounce address that the message was sent from. That
address carries our MAC: an event about mail that is not ours changes nothing. The relay's own words lie in the report as its last part, so
that the evidence is what it said and not what we made of it. The report follows from the event alone: told again, it is found to be in.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from datetime import datetime
from email.utils import format_datetime

from tocsin.kernel import config, wiring
from tocsin.kernel.errors import NotFound
from tocsin.kernel.sealing import key

from . import policy
from .port import EventFeed
from .types import Delivery, FeedEvent

_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@functools.cache
def feed(name: str) -> EventFeed:
    """Return the configured feed. Raises NotFound if there is none of that name, BadInput if its options are at fault."""
    table = config.current().feeds.get(name)
    if table is None:
        raise NotFound(f"no feed {name!r}")
    made: EventFeed = wiring.load(table.adapter).configured(name, table.options)
    return made


def is_ours(event: FeedEvent) -> bool:
    """Return whether the message was sent from a bounce address that we made."""
    local, secret = event.sender.rpartition("@")[0], key("verp").reveal()
    return policy.read_verp(secret, local) is not None or policy.read_single(secret, local) is not None


def delivery(name: str, event: FeedEvent, *, at: datetime) -> Delivery:
    """Return the report of an event, addressed to the bounce address of its message."""
    mark = hashlib.sha256(f"{name}|{event.id}".encode()).hexdigest()[:32]
    mail = config.current().mail
    complaint = event.kind == "complained"
    head = (f"From: Feed {name} <feed+{name}@{mail.bounce_domain}>\nTo: <{_flat(event.sender)}>\nSubject: Report of the feed {name}\n"
            f"Date: {format_datetime(event.at)}\nMessage-ID: <{mark}@{mail.bounce_domain}>\nAuto-Submitted: auto-generated\nMIME-Version: 1.0\n"
            f'Content-Type: multipart/report; report-type={"feedback-report" if complaint else "delivery-status"}; boundary="={mark}"\n')
    parts = [("text/plain; charset=utf-8", f"The relay says of a message of ours: {event.kind}.\n"),
             ("message/feedback-report", _feedback(name, event)) if complaint else ("message/delivery-status", _status(name, event)),
             ('application/octet-stream; name="event"\nContent-Transfer-Encoding: base64', _base64(event.original.reveal()))]
    body = "".join(f"\n--={mark}\nContent-Type: {kind}\n\n{text}" for kind, text in parts)
    raw = (f"{head}{body}\n--={mark}--\n").replace("\n", "\r\n").encode("utf-8", "replace")
    return Delivery(raw, "", (event.sender,), at)


def _status(name: str, event: FeedEvent) -> str:
    status = event.enhanced or (f"{event.code[0]}.0.0" if event.code else "4.0.0" if event.kind == "delayed" else "5.0.0")
    said = _flat(event.text.reveal())
    told = said if not event.code or said.startswith(event.code) else f"{event.code} {event.enhanced} {said}".replace("  ", " ")
    return (f"Reporting-MTA: x-feed; {name}\n\nFinal-Recipient: rfc822; {_flat(event.recipient.reveal())}\n"
            f"Action: {'delayed' if event.kind == 'delayed' else 'failed'}\nStatus: {status}\n"
            + (f"Diagnostic-Code: smtp; {told}\n" if told else ""))


def _feedback(name: str, event: FeedEvent) -> str:
    return (f"Feedback-Type: abuse\nUser-Agent: feed-{name}/1\nVersion: 1\nOriginal-Mail-From: <{_flat(event.sender)}>\n"
            f"Original-Rcpt-To: <{_flat(event.recipient.reveal())}>\n")


def _flat(text: str) -> str:
    """Return a text that cannot leave its line."""
    return _LINE.sub(" ", text).strip()


def _base64(octets: bytes) -> str:
    return base64.encodebytes(octets).decode()
