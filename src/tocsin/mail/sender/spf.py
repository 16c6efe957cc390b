"""Whether an address may send for a domain. Source: RFC 7208.

Evaluated are all, include, a, mx, ip4, ip6, exists and redirect, with the limits of s4.6.4. `ptr` counts as no match (s5.5: do not use), macros
are a permanent error: neither belongs into the record of a company that sends in bulk.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Callable
from enum import StrEnum

LOOKUPS_MAX = 10
MX_MAX = 10
Ask = Callable[[str, str], list[str]]


class Spf(StrEnum):
    """The results of RFC 7208 s2.6 that concern us."""

    PASS = "pass"  # noqa: S105  # the standard's word for it
    FAIL = "fail"
    SOFTFAIL = "softfail"
    NEUTRAL = "neutral"
    NONE = "none"
    PERMERROR = "permerror"


QUALIFIERS = {"": Spf.PASS, "+": Spf.PASS, "-": Spf.FAIL, "~": Spf.SOFTFAIL, "?": Spf.NEUTRAL}


def evaluate(address: str, domain: str, ask: Ask) -> Spf:
    """Return what a receiver will find for mail from `address` with a sender in `domain`. `ask(name, kind)` returns records as text."""
    return _check(ipaddress.ip_address(address), domain, ask, [0])


def _check(address: ipaddress.IPv4Address | ipaddress.IPv6Address, domain: str, ask: Ask, asked: list[int]) -> Spf:
    records = [r for r in ask(domain, "TXT") if r.lower() == "v=spf1" or r.lower().startswith("v=spf1 ")]
    if len(records) != 1:
        return Spf.PERMERROR if records else Spf.NONE
    redirect = ""
    for term in records[0].split()[1:]:
        if "=" in term.partition(":")[0]:
            name, _, value = term.partition("=")
            redirect = value if name.lower() == "redirect" else redirect
            continue
        found = _parse(term)
        if found is None:
            return Spf.PERMERROR
        qualifier, mechanism, target, lengths = found
        if mechanism in {"include", "a", "mx", "ptr", "exists"}:
            asked[0] += 1
            if asked[0] > LOOKUPS_MAX:
                return Spf.PERMERROR
        if mechanism == "include":
            inner = _check(address, target, ask, asked)
            if inner in {Spf.PERMERROR, Spf.NONE}:
                return Spf.PERMERROR
            hit = inner is Spf.PASS
        else:
            hit = _hits(address, mechanism, target or domain, lengths, ask)
        if hit:
            return QUALIFIERS[qualifier]
    if redirect:
        asked[0] += 1
        if asked[0] > LOOKUPS_MAX:
            return Spf.PERMERROR
        inner = _check(address, redirect, ask, asked)
        return Spf.PERMERROR if inner is Spf.NONE else inner
    return Spf.NEUTRAL


def _parse(term: str) -> tuple[str, str, str, str] | None:
    """Return qualifier, mechanism, target and prefix lengths of a directive; None if it cannot be read."""
    qualifier = term[0] if term[0] in "+-~?" else ""
    mechanism, colon, rest = term[len(qualifier) :].partition(":")
    if not colon:
        mechanism, slash, tail = mechanism.partition("/")
        target, lengths = "", slash + tail
    elif mechanism.lower() in {"ip4", "ip6"}:
        target, lengths = rest, ""
    else:
        target, slash, tail = rest.partition("/")
        lengths = slash + tail
    mechanism = mechanism.lower()
    known = {"all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists"}
    if mechanism not in known or "%" in target or (mechanism in {"include", "ip4", "ip6", "exists"} and not target):
        return None
    if lengths and not re.fullmatch(r"(/\d{1,2})?(//\d{1,3})?", lengths):
        return None
    if mechanism in {"ip4", "ip6"}:
        try:
            network = ipaddress.ip_network(target, strict=False)
        except ValueError:
            return None
        if network.version != int(mechanism[-1]):
            return None
    return qualifier, mechanism, target, lengths


def _hits(address: ipaddress.IPv4Address | ipaddress.IPv6Address, mechanism: str, target: str, lengths: str, ask: Ask) -> bool:
    if mechanism == "all":
        return True
    if mechanism in {"ip4", "ip6"}:
        return address in ipaddress.ip_network(target, strict=False)
    if mechanism == "exists":
        return bool(ask(target, "A"))
    if mechanism not in {"a", "mx"}:
        return False
    hosts = [target] if mechanism == "a" else ask(target, "MX")[:MX_MAX]
    four, _, six = lengths.removeprefix("/").partition("//") if not lengths.startswith("//") else ("", "", lengths[2:])
    prefix = (six or "128") if address.version == 6 else (four or "32")
    for host in hosts:
        for found in ask(host, "AAAA" if address.version == 6 else "A"):
            with contextlib.suppress(ValueError):
                if address in ipaddress.ip_network(f"{found}/{prefix}", strict=False):
                    return True
    return False
