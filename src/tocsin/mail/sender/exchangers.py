"""Which servers take a domain's mail, and what must be true of each before it may have any. Pure: answers of the DNS in, endpoints out.

    MX records       in order of preference, equal ones shuffled (RFC 5321 s5.1); none: the domain's own addresses; `0 .`: takes no mail
    DANE             where MX, addresses and TLSA are all signed (RFC 7672): TLS with the certificate that TLSA names, or nothing
    MTA-STS enforce  (RFC 8461): only hosts that the policy names, with a certificate that verifies for the host, or nothing
    neither          STARTTLS if offered, whatever the certificate; with `verified`, a certificate that verifies, or nothing
DANE stands before MTA-STS: a policy never mends a TLSA record that fails. Where something is required and a host does not show it, the next
host is tried; when none is left the mail waits. Nothing falls back to a clear line.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tocsin.mail.shaping.policy import receiver_of_hosts

from . import dane
from .connection import Endpoint, Tls, Undeliverable
from .sts import StsPolicy

HOSTS_MAX = 16  # more MX records than any mail system has use for
ADDRESSES_MAX = 8  # of one host


@dataclass(frozen=True, slots=True)
class Host:
    """A mail exchanger. `secure`: its addresses are signed. `tlsa`: its records if they are signed; None if they could not be had."""

    name: str
    addresses: tuple[str, ...]
    secure: bool = False
    tlsa: tuple[dane.Tlsa, ...] | None = ()


def in_order(records: Sequence[tuple[int, str]], domain: str, salt: bytes) -> list[str] | Undeliverable:
    """Return the names of a domain's exchangers in the order to be tried; the domain itself if it has none.

    `records`: (preference, name without its last dot). Equal ones come in the order that `salt` gives them, the same for every domain, so
    that domains with the same exchangers share connections. A null MX is for good. Source: RFC 5321 s5.1, RFC 7505.
    """
    if any(not name for _, name in records):
        if len(records) == 1:
            return Undeliverable("bounced", "5.1.10", f"the domain {domain} says that it takes no mail (null MX)")
        records = [(p, n) for p, n in records if n]  # a null MX beside others is against RFC 7505 s3, and says nothing
    if not records:
        return [domain]
    shuffled = sorted(((p, n.lower()) for p, n in records), key=lambda r: (r[0], hashlib.blake2b(r[1].encode(), key=salt).digest()))
    return list(dict.fromkeys(name for _, name in shuffled))[:HOSTS_MAX]


def endpoints(domain: str, hosts: Sequence[Host], *, secure: bool, policy: StsPolicy | None, verified: bool, port: int, helo: str,
              ca_file: str | None) -> tuple[Endpoint, ...] | Undeliverable:
    """Return the endpoints that may be tried, in order. `secure`: the MX records are signed. Deferred if what is required bars them all."""
    found: list[Endpoint] = []
    barred: list[str] = []
    for host in hosts:
        if not host.addresses:
            continue
        if policy is not None and policy.mode == "enforce" and not policy.allows(host.name):
            barred.append(f"{host.name} is not in the policy")
            continue
        tls, tlsa, why = _required(host, secure=secure, enforced=policy is not None and policy.mode == "enforce", verified=verified)
        if why:
            barred.append(f"{host.name}: {why}")
            continue
        found.append(Endpoint(host.name, port, helo, tls=tls, ca_file=ca_file, addresses=host.addresses[:ADDRESSES_MAX], tlsa=tlsa,
                              domain=domain))
    if found:
        return tuple(found)
    if barred:
        return Undeliverable("deferred", "4.7.5", f"the domain {domain} requires more than its hosts show: {'; '.join(barred)}"[:400])
    return Undeliverable("deferred", "4.4.4", f"no mail exchanger of {domain} has an address that can be used")


def _required(host: Host, *, secure: bool, enforced: bool, verified: bool) -> tuple[Tls, tuple[dane.Tlsa, ...], str]:
    if secure and host.secure:
        if host.tlsa is None:
            return "dane", (), "its TLSA records could not be had"  # RFC 7672 s2.1.2: silence of a signed zone is no permission
        usable = dane.usable(host.tlsa)
        if usable:
            return "dane", usable, ""
        if host.tlsa and not enforced and not verified:
            return "dane", (), ""
    return "starttls" if enforced or verified else "opportunistic", (), ""


def rollup(host: str, table: Mapping[str, str]) -> str:
    """Return whose limits a host falls under: the receiver of the longest suffix in the table, else the host's own domain."""
    return receiver_of_hosts([host], table) or ".".join(host.lower().split(".")[-2:])
