"""Pure decisions of the mail room: which addresses can be used, how bounce addresses are made, which reach suits which estate."""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence

import idna

from .types import Reach

ADDRESS_BYTES_MAX = 254  # Source: RFC 5321 s4.5.3.1.3 with the angle brackets taken off
LOCAL_BYTES_MAX = 64  # Source: RFC 5321 s4.5.3.1.1
REFERENCES_MAX = 20  # of a thread, the latest
MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,250}>")  # anything printable between angle brackets: real ones keep no grammar
DAY_S = 86_400.0
MAC_CHARS = 13  # 52 bits, hexadecimal: a forger needs 2^51 mails on average for one hit

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u0080-\U0010ffff]+"
_LOCAL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*|\"(?:[ !#-\[\]-~]|\\[ -~])*\"")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")
_SPACE_BEYOND_ASCII = re.compile(r"[\u0080-\u00a0\u2028\u2029\u3000\ufeff\ud800-\udfff\u200b-\u200f\u202a-\u202e]")
_VERP = re.compile(r"b\+(\d{1,19})\.(\d{1,10})\.([0-9a-f]{13})", re.IGNORECASE)
_SINGLE = re.compile(r"s\+(\d{1,19})\.([0-9a-f]{13})", re.IGNORECASE)


def wire_address(address: str) -> str | None:
    """Return the address as it may stand in a command and in To (domain in A-labels), or None if no server can take it.

    Letters beyond ASCII before the @ stay: such an address needs SMTPUTF8. Source: RFC 5321 s4.1.2, RFC 6531 s3.3.
    """
    local, at, domain = address.rpartition("@")
    if not at or _LOCAL.fullmatch(local) is None or _SPACE_BEYOND_ASCII.search(local):
        return None
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True, std3_rules=True).decode()
        except idna.IDNAError:  # a look-alike of a dot or slash among others: IDNA 2003, as in the standard library, lets those pass
            return None
    if _DOMAIN.fullmatch(domain) is None or len(local.encode()) > LOCAL_BYTES_MAX:
        return None
    result = f"{local}@{domain}"
    return result if len(result.encode()) <= ADDRESS_BYTES_MAX else None


def why_unusable(address: str) -> str:
    """Return in words why `wire_address` takes no such address; the words never quote it."""
    local, at, domain = address.rpartition("@")
    if any(c in address for c in "\r\n"):
        return "a line break stands in it"
    if not at or not local or not domain:
        return "it is not of the form local@domain"
    if len(local.encode("utf-8", "replace")) > LOCAL_BYTES_MAX:
        return f"more than {LOCAL_BYTES_MAX} octets stand before the @"
    if len(address.encode("utf-8", "replace")) > ADDRESS_BYTES_MAX:
        return f"it is longer than {ADDRESS_BYTES_MAX} octets"
    if _LOCAL.fullmatch(local) is None or _SPACE_BEYOND_ASCII.search(local):
        return "a character that needs quotes, or an invisible one, stands before the @"
    return "no domain name stands behind the @"


def _mac(secret: bytes, what: str) -> str:
    return hmac.digest(secret, what.encode(), "sha256").hex()[:MAC_CHARS]


def verp_local(secret: bytes, block: int, n: int) -> str:
    """Return the local part of the bounce address of a recipient of a block."""
    return f"b+{block}.{n}.{_mac(secret, f'b/{block}/{n}')}"


def single_local(secret: bytes, outbound: int) -> str:
    """Return the local part of the bounce address of a single mail."""
    return f"s+{outbound}.{_mac(secret, f's/{outbound}')}"


def read_verp(secret: bytes, local: str) -> tuple[int, int] | None:
    """Return (block, n) of a bounce address, or None when it is none or its MAC is wrong. Case does not matter: relays change it."""
    found = _VERP.fullmatch(local)
    if found is None:
        return None
    block, n = int(found[1]), int(found[2])
    return (block, n) if hmac.compare_digest(found[3].lower(), _mac(secret, f"b/{block}/{n}")) else None


def read_single(secret: bytes, local: str) -> int | None:
    """Return the Outbound's id of a single mail's bounce address, or None when it is none or its MAC is wrong."""
    found = _SINGLE.fullmatch(local)
    if found is None:
        return None
    return int(found[1]) if hmac.compare_digest(found[2].lower(), _mac(secret, f"s/{int(found[1])}")) else None


def wrong_reach(estate_kind: str, reach: Reach) -> str | None:
    """Return why an estate of this kind must not use a transport of this reach; None if it may."""
    if estate_kind == "live" and reach == "loopback":
        return "a live estate does not send real warnings to the practice post office: set mail.relay_host to the company's relay"
    if estate_kind != "live" and reach == "world":
        return (f"a {estate_kind} estate does not send to a server that is no practice post office: it may reach real people; "
                "set mail.relay_host and relay_port to the practice post office")
    return None


def finish_s(*, waiting: int, rate_per_s: float, per_day: int | None, left_of_day: int) -> float:
    """Return in how many seconds `waiting` messages are out, at a rate and under a quota for any 24 hours; infinity if never.

    What is left of the quota goes first; each further lot of `per_day` opens as the sendings of 24 hours before leave the window.
    """
    if waiting <= 0:
        return 0.0
    if rate_per_s <= 0 or per_day == 0:
        return float("inf")
    if per_day is None or waiting <= left_of_day:
        return waiting / rate_per_s
    beyond = waiting - left_of_day
    days = -(-beyond // per_day)
    rest = beyond - (days - 1) * per_day
    return max(days * DAY_S + rest / rate_per_s, waiting / rate_per_s)


def warm_up_allows(curve: Sequence[tuple[int, int]], day: int) -> int | None:
    """Return how many messages a warm-up allows on its `day` (1 is that of the first use); None once it is over.

    `curve`: (day, messages a day), days rising; between two of them the allowance rises by the same factor each day, as senders do it. The
    last step is the end: from the day after it there is no limit.
    """
    if day > curve[-1][0]:
        return None
    before = curve[0]
    for step in curve:
        if day <= step[0]:
            if step[0] == before[0]:
                return step[1]
            share = (day - before[0]) / (step[0] - before[0])
            factor: float = (step[1] / before[1]) ** max(0.0, share)
            return max(1, round(before[1] * factor))
        before = step
    return None


def speaks_of_us(code: int, enhanced: str) -> bool:
    """Tell whether a deferral is about the sender's pace or standing and not about the recipient: then the lane slows down.

    Source: RFC 3463 s3.8 (X.7.x: security or policy), s3.5 (4.3.2 system not accepting, 4.4.5 congestion), RFC 5321 s3.8 (421).
    """
    return code == 421 or (400 <= code < 500 and enhanced.startswith(("4.7.", "4.3.2", "4.4.5")))
