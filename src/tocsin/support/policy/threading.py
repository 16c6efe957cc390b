"""To which case a mail belongs, and how often we write. The subject line never joins: people copy subjects, and strangers know them.

reply address   help+c.<case>.<mac>@…    mac = 13 hexadecimal digits of the keyed digest of the case's number
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

JOIN_DAYS = 14
REPLIES_PER_DAY_MAX = 5
LEASE = timedelta(minutes=6)
MAC_CHARS = 13
SUBJECT_CHARS_MAX = 150
_ADDRESS = re.compile(r"[^@\s]+\+c\.(\d{1,18})\.([0-9a-f]{13})", re.IGNORECASE)
_RE = re.compile(r"(?:\s*(?:re|aw|sv|antw|fw|fwd|wg)\s*(?:\[\d+\])?:)+\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class OfPerson:
    """The newest case of the sender that is not closed: its id, whether something in it waits, when it last moved."""

    id: int
    open: bool
    moved_at: datetime


def case_in_address(address: str) -> tuple[int, str] | None:
    """Return (case, mac as written) of an address that has the form of ours; whether the MAC is right is for the caller to say."""
    found = _ADDRESS.fullmatch(address.rpartition("@")[0])
    return (int(found[1]), found[2].lower()) if found else None


def reply_address(help_address: str, *, case: int, mac: str) -> str:
    """Return the address that answers of this case go to."""
    local, _, domain = help_address.rpartition("@")
    return f"{local}+c.{case}.{mac}@{domain}"


def same_mac(a: str, b: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(a.encode(), b.encode())


def joins(*, by_address: int | None, by_reference: int | None, of_person: OfPerson | None, at: datetime) -> int | None:
    """Return the case a mail joins, None for a new one: reply address first, then our own Message-ID, then the same sender.

    A sender's open case is joined however old it is: one person, one waiting case; an answered one for JOIN_DAYS.
    """
    if by_address is not None:
        return by_address
    if by_reference is not None:
        return by_reference
    if of_person is not None and (of_person.open or at - of_person.moved_at <= timedelta(days=JOIN_DAYS)):
        return of_person.id
    return None


def is_reply(subject: str) -> bool:
    """Tell whether a subject line says that it answers or forwards another mail."""
    return _RE.match(subject) is not None


def reply_subject(subject: str) -> str:
    """Return the subject of an answer: one `Re:`, one line, not too long."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in _RE.sub("", subject, count=1)).split())
    return f"Re: {plain[:SUBJECT_CHARS_MAX] or 'your message'}"
