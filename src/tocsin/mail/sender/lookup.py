"""Looks up where a domain's mail goes: MX, addresses, TLSA in the DNS, MTA-STS over HTTPS. In threads, remembered for as long as it may be.

What is decided from the answers stands in `exchangers`, `dane` and `sts`; here is only the asking. Everything is asked of one name server.
Only if the operator calls it trusted (it validates DNSSEC, and nobody sits between) is its word believed that an answer is signed.
MTA-STS policies are kept in HOME/mta-sts until their max_age has passed, also across restarts, so that somebody who can suppress the
record or the HTTPS answer for a while takes no protection away (RFC 8461 s5.1). Answers of the DNS are kept in memory for their TTL.

    HOME/mta-sts/SHA256(domain)[:40].json    {"domain", "id", "fetched_at" (seconds since 1970), "policy" (the file as it came)}
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import json
import os
import secrets
import ssl
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.flags
import dns.resolver
import httpx

from tocsin.kernel import clock
from tocsin.kernel.errors import BadInput
from tocsin.mail.types import Envelope, Shape

from . import exchangers, sts
from .connection import Endpoint, Route, Undeliverable
from .dane import Tlsa

DNS_S_MAX = 5.0
HTTPS_S_MAX = 10.0
THREADS = 16
TTL_S_MIN, TTL_S_MAX = 60.0, 3_600.0
FAILED_S = 30.0  # how long a failure is remembered
DOMAINS_MAX = 200_000  # remembered, the oldest is forgotten first
POLICIES_MAX = 20_000  # files of policies
EDNS_OCTETS = 1_232  # Source: DNS flag day 2020


@dataclass(frozen=True, slots=True)
class Answer:
    """Records of a name: empty if there are none. `secure`: signed, says a server that is trusted to know. `exists`: the name does."""

    records: tuple[object, ...]
    secure: bool
    exists: bool
    ttl_s: float


@dataclass(frozen=True, slots=True)
class Settings:
    """How to ask and what to demand. `server`: "address" or "address:port", empty: the system's. `verified`: a certificate that verifies
    is demanded of everybody, not only where a domain asks for it. `reserved`: addresses that are no public ones may be written to.
    """

    home: Path
    helo: str
    server: str = ""
    trusted: bool = False
    verified: bool = False
    ca_file: str | None = None
    port: int = 25
    https_port: int = 443
    reserved: bool = False


class Lookup:
    """Where mail goes, by domain. One per process: it remembers. `route` never waits; the first question about a domain starts its look-up."""

    lone = False

    def __init__(self, settings: Settings, *, receivers: Mapping[str, str], shape_of: Callable[[str], Shape]) -> None:
        """`receivers`: by suffixes of host names; `shape_of(receiver)` gives the limits towards it."""
        self._settings, self._receivers, self._shape_of = settings, receivers, shape_of
        self._salt = secrets.token_bytes(16)  # this process's order of equal exchangers
        self._resolver = dns.resolver.Resolver(configure=not settings.server)
        if settings.server:
            host, _, port = settings.server.rpartition(":") if settings.server.count(":") == 1 else (settings.server, "", "")
            self._resolver.nameservers = [host or settings.server]
            self._resolver.port = int(port or 53)
        self._resolver.lifetime = DNS_S_MAX
        if settings.trusted:
            self._resolver.use_edns(0, dns.flags.DO, EDNS_OCTETS)
            self._resolver.flags = dns.flags.RD | dns.flags.AD
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="lookup")
        self._known: OrderedDict[str, tuple[float, Route | Undeliverable]] = OrderedDict()
        self._asked: dict[str, Future[tuple[float, Route | Undeliverable]]] = {}
        self._routes: dict[tuple[tuple[object, ...], ...], Route] = {}
        self._lock = threading.Lock()
        self._tls: ssl.SSLContext | None = None

    # -- for the engine ------------------------------------------------------------------------------------------------------

    def route(self, envelope: Envelope) -> Route | Undeliverable | None:
        """Return the way to a recipient's domain, why there is none, or None while it is being looked up."""
        domain = envelope.recipient.rpartition("@")[2].lower()
        found = self._known.get(domain)
        if found is not None and found[0] > clock.monotonic():
            return found[1]
        asked = self._asked.get(domain)
        if asked is None:
            self._asked[domain] = self._pool.submit(self.find, domain)
            return None
        if not asked.done():
            return None
        ttl_s, way = asked.result()
        del self._asked[domain]
        self._known[domain] = (clock.monotonic() + ttl_s, way)
        self._known.move_to_end(domain)
        while len(self._known) > DOMAINS_MAX:
            self._known.popitem(last=False)
        return way

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    # -- in the threads ------------------------------------------------------------------------------------------------------

    def find(self, domain: str) -> tuple[float, Route | Undeliverable]:
        """Look a domain up; return for how many seconds the answer is good, and the way or why there is none."""
        try:
            return self._find(domain)
        except dns.exception.DNSException as e:
            return FAILED_S, Undeliverable("deferred", "4.4.3", f"the DNS does not say where mail for {domain} goes: {type(e).__name__}")

    def _find(self, domain: str) -> tuple[float, Route | Undeliverable]:
        settings = self._settings
        mx = self._ask(domain, "MX")
        if not mx.exists:
            return mx.ttl_s, Undeliverable("bounced", "5.1.2", f"the domain {domain} does not exist")
        names = exchangers.in_order([(r.preference, r.exchange.to_text(omit_final_dot=True) if len(r.exchange.labels) > 1 else "")  # type: ignore[attr-defined]
                                     for r in mx.records], domain, self._salt)
        if isinstance(names, Undeliverable):
            return mx.ttl_s, names
        hosts, ttl_s, failed = [], mx.ttl_s, None
        for name in names:
            try:
                host, host_ttl_s = self._host(name, mx_secure=mx.secure)
            except dns.exception.DNSException as e:
                failed = e
                continue
            hosts.append(host)
            ttl_s = min(ttl_s, host_ttl_s)
        if not any(h.addresses for h in hosts):
            if failed is not None:
                raise failed
            if not mx.records:
                return ttl_s, Undeliverable("bounced", "5.4.4", f"nothing takes mail for {domain}: it has neither MX nor address")
        found = exchangers.endpoints(domain, hosts, secure=mx.secure, policy=self._policy(domain), verified=settings.verified,
                                     port=settings.port, helo=settings.helo, ca_file=settings.ca_file)
        if isinstance(found, Undeliverable):
            return FAILED_S, found
        receiver = exchangers.rollup(found[0].host, self._receivers)
        return ttl_s, self._shared(domain, found, receiver)

    def _shared(self, domain: str, found: tuple[Endpoint, ...], receiver: str) -> Route:
        """Return one and the same route for all domains with the same endpoints, so that they share connections."""
        key = tuple((e.host, e.tls, e.addresses, e.tlsa, e.domain if e.tlsa else "") for e in found)
        shape = self._shape_of(receiver)
        with self._lock:
            if key not in self._routes:
                if len(self._routes) >= DOMAINS_MAX:
                    self._routes.clear()
                self._routes[key] = Route(domain, found, receiver, shape.connections, shape.messages_per_connection)
            return self._routes[key]

    def _host(self, name: str, *, mx_secure: bool) -> tuple[exchangers.Host, float]:
        answers = [self._ask(name, kind) for kind in ("AAAA", "A")]
        addresses = tuple(a for answer in answers for a in (r.to_text() for r in answer.records) if self._usable(a))  # type: ignore[attr-defined]
        secure = all(a.secure for a in answers)
        ttl_s = min(a.ttl_s for a in answers)
        if not (addresses and secure and mx_secure):
            return exchangers.Host(name, addresses), ttl_s
        try:
            answer = self._ask(f"_{self._settings.port}._tcp.{name}", "TLSA")
        except dns.exception.DNSException:
            return exchangers.Host(name, addresses, secure=True, tlsa=None), FAILED_S
        records = tuple(Tlsa(r.usage, r.selector, r.mtype, r.cert) for r in answer.records) if answer.secure else ()  # type: ignore[attr-defined]
        return exchangers.Host(name, addresses, secure=True, tlsa=records), min(ttl_s, answer.ttl_s)

    def _usable(self, address: str) -> bool:
        """Return whether mail may go there: a stranger's MX record must not lead to a server behind our own walls."""
        return self._settings.reserved or ipaddress.ip_address(address).is_global

    def _ask(self, name: str, kind: str) -> Answer:
        """Return the records of a name. Raises DNSException when it cannot be known."""
        try:
            found = self._resolver.resolve(name, kind, search=False)
        except dns.resolver.NXDOMAIN as e:
            responses = list(e.responses().values())  # type: ignore[no-untyped-call]
            return Answer((), self._is_signed(responses[0] if responses else None), False, TTL_S_MIN)
        except dns.resolver.NoAnswer as e:
            return Answer((), self._is_signed(e.response()), True, TTL_S_MIN)  # type: ignore[no-untyped-call]
        ttl_s = min(TTL_S_MAX, max(TTL_S_MIN, float(found.rrset.ttl if found.rrset is not None else 0)))
        return Answer(tuple(found), self._is_signed(found.response), True, ttl_s)

    def _is_signed(self, response: object) -> bool:
        return self._settings.trusted and bool(getattr(response, "flags", 0) & dns.flags.AD)

    # -- MTA-STS -------------------------------------------------------------------------------------------------------------

    def _policy(self, domain: str) -> sts.StsPolicy | None:
        """Return the policy that holds now. One kept and not yet expired holds although the domain is silent. Source: RFC 8461 s5.1."""
        kept_id, kept = self._kept(domain)
        try:
            texts = [b"".join(r.strings).decode("utf-8", "replace") for r in self._ask(f"_mta-sts.{domain}", "TXT").records]  # type: ignore[attr-defined]
        except dns.exception.DNSException:
            texts = []
        new_id = sts.record_id(texts)
        if new_id is None or new_id == kept_id:
            return kept
        text = self._fetch(domain)
        if text is None:
            return kept
        try:
            policy = sts.parse(text)
        except BadInput:
            return kept
        self._keep(domain, new_id, text)
        return policy

    def _fetch(self, domain: str) -> str | None:
        """Return a domain's policy file; None if it cannot be had over HTTPS with a certificate that verifies, or is none."""
        name = f"mta-sts.{domain}"
        try:
            answers = [self._ask(name, kind) for kind in ("AAAA", "A")]
        except dns.exception.DNSException:
            return None
        for address in [a for answer in answers for a in (r.to_text() for r in answer.records) if self._usable(a)]:  # type: ignore[attr-defined]
            with contextlib.suppress(httpx.HTTPError, UnicodeDecodeError):
                return self._get(name, address)
        return None

    def _get(self, name: str, address: str) -> str | None:
        if self._tls is None:
            self._tls = ssl.create_default_context(cafile=self._settings.ca_file)
        place = f"[{address}]" if ":" in address else address
        # No redirects, no proxy (s3.3); the certificate must be that of the name, not of the address we dial.
        with (
            httpx.Client(verify=self._tls, timeout=HTTPS_S_MAX, follow_redirects=False, trust_env=False) as client,
            client.stream("GET", f"https://{place}:{self._settings.https_port}{sts.PATH}", headers={"Host": name},
                          extensions={"sni_hostname": name}) as response,
        ):
            if response.status_code != 200 or response.headers.get("content-type", "").partition(";")[0].strip().lower() != "text/plain":
                return None
            octets, until = b"", clock.monotonic() + HTTPS_S_MAX
            for piece in response.iter_bytes():
                octets += piece
                if len(octets) > sts.POLICY_BYTES_MAX or clock.monotonic() > until:
                    return None
            return octets.decode()

    def _file(self, domain: str) -> Path:
        return self._settings.home / "mta-sts" / f"{hashlib.sha256(domain.encode()).hexdigest()[:40]}.json"

    def _kept(self, domain: str) -> tuple[str, sts.StsPolicy | None]:
        try:
            kept = json.loads(self._file(domain).read_text())
            policy = sts.parse(kept["policy"])
        except (FileNotFoundError, ValueError, KeyError, TypeError, BadInput):
            return "", None  # none yet, or not one of ours: it is fetched anew
        if kept.get("domain") != domain or kept["fetched_at"] + policy.max_age_s < clock.now().timestamp():
            return "", None
        return str(kept["id"]), policy

    def _keep(self, domain: str, id_: str, text: str) -> None:
        file = self._file(domain)
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not file.exists() and sum(1 for _ in file.parent.iterdir()) >= POLICIES_MAX:
            return  # it holds now; what is kept is a second line of defence
        part = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
        part.write_text(json.dumps({"domain": domain, "id": id_, "fetched_at": clock.now().timestamp(), "policy": text}))
        os.replace(part, file)  # noqa: PTH105  # atomic, also where another process writes the same policy
