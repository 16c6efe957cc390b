"""E-mail addresses: is it one, which mailbox is it, and who receives its mail.

Case rules: the domain is lowered and written in ASCII (IDNA 2008 after UTS 46); the local part is sent as typed, and compared in NFC and
case-folded. RFC 5321 lets a server tell `Ada@` from `ada@`; no large one does, and two accounts at one mailbox must be recognised.
Dots and `+tags` are not folded: their meaning is each provider's own.
Source: RFC 5321 s4.1.2, s4.5.3.1; RFC 5322 s3.4.1; RFC 6531 s3.3 (UTF-8 local parts); RFC 5890.
"""

from __future__ import annotations

import functools
import re
import unicodedata

import idna

from tocsin.mail.types import receiver_of

from ..types import EmailAddress

ADDRESS_OCTETS_MAX = 254  # RFC 5321 s4.5.3.1.3: a path of 256 with its angle brackets
LOCAL_OCTETS_MAX = 64
DOMAIN_OCTETS_MAX = 253
DOMAINS_CACHED = 65_536  # a large file names some 100,000 domains, most people live at few of them

_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~\-"
_PLAIN = re.compile(rf"([{_ATEXT}]+(?:\.[{_ATEXT}]+)*)@([^@\s]+)")
_UTF8 = re.compile(rf"([{_ATEXT}\u00a0-\U0010ffff]+(?:\.[{_ATEXT}\u00a0-\U0010ffff]+)*)@([^@\s]+)")
_QUOTED = re.compile(r'("(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\[\x20-\x7e])+")@([^@\s]+)')
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def normalise(text: str) -> EmailAddress | str:
    """Return the address that `text` is, or in words why it is none (the words never quote it). Space around it is not part of it."""
    text = text.strip()
    match = _PLAIN.fullmatch(text) or _QUOTED.fullmatch(text) or _UTF8.fullmatch(text)
    if match is None:
        return "no @" if "@" not in text else "not of the form local@domain"
    local, raw_domain = match.groups()
    found = domain(raw_domain)
    if found is None:
        return "not a domain name after the @"
    ascii_domain, family = found
    if not local.isascii():
        local = unicodedata.normalize("NFC", local)
        if not local.isprintable():
            return "an invisible character before the @"
    octets = len(local) if local.isascii() else len(local.encode())
    if octets > LOCAL_OCTETS_MAX or octets + 1 + len(ascii_domain) > ADDRESS_OCTETS_MAX:
        return f"longer than {LOCAL_OCTETS_MAX} octets before the @, or {ADDRESS_OCTETS_MAX} in all"
    return EmailAddress(address=f"{local}@{ascii_domain}", key=f"{fold(local)}@{ascii_domain}", provider=family)


def fold(local: str) -> str:
    """Return the form in which local parts are compared."""
    return local.lower() if local.isascii() else unicodedata.normalize("NFC", unicodedata.normalize("NFC", local).casefold())


@functools.lru_cache(maxsize=DOMAINS_CACHED)
def domain(text: str) -> tuple[str, str] | None:
    """Return a mail domain in ASCII and lower case, and its provider; None if it is no domain name of at least two labels."""
    try:
        name = text.lower() if text.isascii() else idna.encode(text, uts46=True).decode()
    except idna.IDNAError:
        return None
    labels = name.split(".")
    if len(labels) < 2 or len(name) > DOMAIN_OCTETS_MAX or not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        return None
    return name, receiver_of(name)
