"""Preflight: what receivers will look at before they take a mass mailing, looked at first.

Each check stands alone, names what it found and how to mend it; one that fails holds the mailing back. Names are asked of the DNS server in
`[mail] dns_server` (empty: the system's), and what a server does not answer is a failed check, never a passed one.

Sources: RFC 7208 (SPF), RFC 6376 s3.6.2 (DKIM keys), RFC 7489 s3.1 (DMARC alignment), RFC 1912 s2.1 (PTR forward and back), RFC 5321 s5
(MX); requirements of large receivers towards bulk senders, 2024 to 2026: all of the above.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence

import dns.exception
import dns.resolver
import dns.reversename

from tocsin.kernel import config
from tocsin.kernel.errors import TocsinError
from tocsin.kernel.sealing import key

from . import actions, dkim, policy, quotas
from .sender.spf import Spf, evaluate
from .types import Check

DNS_S_MAX = 5.0
STRICT = "s"
DAYS_MAX = 3.0  # the shortest duty to tell people that names a number of days leaves few; more is a decision, not a default
P_BOUNCED_MAX = 0.05  # Source: Amazon SES reviews accounts at 5 % and pauses them at 10 %
P_COMPLAINED_MAX = 0.001  # Source: Amazon SES reviews accounts at 0.1 %; Gmail asks for less than 0.1 %


class Names:
    """Answers of the domain name system: empty where a name or record does not exist. Raises `dns.exception.DNSException` when it cannot be asked."""

    def __init__(self, server: str = "") -> None:
        """Ask `server` ("address" or "address:port"), or the system's."""
        self._resolver = dns.resolver.Resolver(configure=not server)
        if server:
            host, _, port = server.rpartition(":") if server.count(":") == 1 else (server, "", "")
            self._resolver.nameservers = [host or server]
            self._resolver.port = int(port or 53)
        self._resolver.lifetime = DNS_S_MAX

    def ask(self, name: str, kind: str) -> list[str]:
        """Return the records of a kind, as text: TXT joined, names without their last dot, MX in order of preference."""
        try:
            answer = self._resolver.resolve(name, kind, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        if kind == "TXT":
            return [b"".join(r.strings).decode("utf-8", "replace") for r in answer]
        if kind == "MX":
            return [r.exchange.to_text().rstrip(".") for r in sorted(answer, key=lambda r: r.preference)]
        return [r.to_text().rstrip(".") for r in answer]

    def pointers(self, address: str) -> list[str]:
        """Return the names an address points back to."""
        return self.ask(dns.reversename.from_address(address).to_text(), "PTR")


def run(names: Names | None = None, *, recipients: int = 0) -> list[Check]:
    """Return every check of the configured sending domain and relay, failed ones too; changes nothing and sends nothing.

    `recipients`: how many are to be written to, for the time that the relay's quota will take.
    GAP: a relay that signs or rewrites by itself, and the reputation of an address, cannot be seen from here.
    """
    mail, asked = config.current().mail, names or Names(config.current().mail.dns_server)
    sender = mail.from_address.rpartition("@")[2]
    addresses = [a.strip() for a in mail.sending_addresses.split(",") if a.strip()]
    checks: list[tuple[str, Callable[[], Check]]] = [
        ("relay", _relay),
        ("spf", lambda: _spf(asked, mail.bounce_domain, addresses)),
        ("dkim", lambda: _dkim(asked)),
        ("dmarc", lambda: _dmarc(asked, sender)),
        ("alignment", lambda: _alignment(asked, sender)),
        ("ptr", lambda: _pointer(asked, addresses)),
        ("bounces", lambda: _mailbox(asked, "bounces", mail.bounce_domain)),
        ("replies", lambda: _mailbox(asked, "replies", mail.help_address.rpartition("@")[2])),
        ("from", lambda: _mailbox(asked, "from", sender)),
        ("quota", lambda: _quota(recipients)),
    ]
    found = []
    for name, check in checks:
        try:
            found.append(check())
        except dns.exception.DNSException as e:
            found.append(Check(name, False, f"the name server does not answer: {type(e).__name__}", "set [mail] dns_server, or ask again"))
    return found


def _relay() -> Check:
    """The relay answers, over TLS with a certificate that verifies unless it is this machine, and takes our credentials."""
    try:
        detail = actions.transport().check()
    except TocsinError as e:
        return Check("relay", False, str(e), "set [mail] transport, relay_host, relay_port, relay_tls, relay_ca_file and the relay's credentials")
    return Check("relay", True, detail)


def _spf(names: Names, domain: str, addresses: Sequence[str]) -> Check:
    remedy = f"publish a TXT record at {domain} that passes every address the mail leaves from, and end it with -all"
    if not addresses:
        return Check("spf", False, "the addresses that mail leaves from are not known", "list them in [mail] sending_addresses")
    results = {a: evaluate(a, domain, names.ask) for a in addresses}
    bad = {a: r for a, r in results.items() if r is not Spf.PASS}
    if bad:
        return Check("spf", False, f"{domain}: " + ", ".join(f"{a} gives {r.value}" for a, r in bad.items()), remedy)
    return Check("spf", True, f"{domain} passes {', '.join(addresses)}")


def _dkim(names: Names) -> Check:
    mail = config.current().mail
    at = f"{mail.dkim_selector}._domainkey.{mail.dkim_domain}"
    ours = dkim.public_record(key("dkim_public").reveal())
    records = names.ask(at, "TXT")
    wanted = f"publish at {at} the TXT record: {ours}"
    if len(records) != 1:
        return Check("dkim", False, f"{at} has {len(records)} TXT records", wanted)
    tags = _tags(records[0])
    if not tags.get("p"):
        return Check("dkim", False, f"{at} revokes its key (p= is empty)", wanted)
    if tags["p"].replace(" ", "") != _tags(ours)["p"]:
        return Check("dkim", False, f"the key at {at} is not the one we sign with", wanted)
    if "y" in tags.get("t", "").split(":"):
        return Check("dkim", False, f"{at} is marked as a test (t=y)", "publish it without t=y")
    return Check("dkim", True, f"{at} holds our key")


def _dmarc(names: Names, domain: str) -> Check:
    record, at = _dmarc_record(names, domain)
    if record is None:
        return Check(
            "dmarc", False, f"no DMARC record for {domain}", f"publish at _dmarc.{domain} the TXT record: v=DMARC1; p=none; rua=mailto:…"
        )
    if _tags(record).get("p", "").lower() not in {"none", "quarantine", "reject"}:
        return Check("dmarc", False, f"the record at {at} has no policy", "add p=none, p=quarantine or p=reject")
    return Check("dmarc", True, f"{at}: {record}")


def _alignment(names: Names, domain: str) -> Check:
    """From is aligned with the signature's domain or the bounce domain. Source: RFC 7489 s3.1."""
    mail = config.current().mail
    record, _ = _dmarc_record(names, domain)
    tags = _tags(record or "")
    by = [w for w, other, mode in (("DKIM", mail.dkim_domain, tags.get("adkim", "r")), ("SPF", mail.bounce_domain, tags.get("aspf", "r")))
          if _aligned(domain, other, strict=mode == STRICT)]  # fmt: skip
    if "DKIM" not in by:  # SPF breaks at every forwarder, so it alone is not enough for a mailing
        return Check("alignment", False, f"{mail.dkim_domain} is not aligned with {domain}", "sign with the domain of [mail] from_address")
    return Check("alignment", True, f"From {domain} is aligned by {' and '.join(by)}")


def _pointer(names: Names, addresses: Sequence[str]) -> Check:
    bad = []
    for address in addresses:
        wanted = ipaddress.ip_address(address)
        kind = "AAAA" if wanted.version == 6 else "A"
        pointers = names.pointers(address)
        if not any(ipaddress.ip_address(a) == wanted for p in pointers for a in names.ask(p, kind)):
            bad.append(f"{address} points to {', '.join(pointers) or 'nothing'}, which does not point back")
    if bad or not addresses:
        return Check("ptr", False, "; ".join(bad) or "the addresses that mail leaves from are not known",
                     "have whoever runs the address publish a PTR record whose name resolves to it")  # fmt: skip
    return Check("ptr", True, f"{', '.join(addresses)}: forward and back agree")


def _quota(recipients: int) -> Check:
    """What the relay grants is enough within DAYS_MAX, and its view of our mail is not about to end in a suspension."""
    try:
        granted = quotas.current()
    except TocsinError as e:
        return Check("quota", False, str(e), "set [mail] quota_source, and the credentials it needs")
    told = f"{granted.per_day:,} in 24 hours" if granted.per_day is not None else "no daily quota"
    told += f", {granted.used_of_day:,} of them used" if granted.used_of_day is not None else ""
    told += f", {granted.rate_per_s:g} per second" if granted.rate_per_s is not None else ""
    if granted.trouble:
        return Check("quota", False, f"{told}; {granted.trouble}", "settle that with the relay before you start")
    for share, most, what in ((granted.p_bounced, P_BOUNCED_MAX, "bounced"), (granted.p_complained, P_COMPLAINED_MAX, "drew complaints")):
        if share is not None and share > most:
            return Check("quota", False, f"{told}; {share:.1%} of our mail {what} lately", f"clean the list until it is below {most:.1%}")
    if not recipients:
        return Check("quota", True, told)
    left = max(0, (granted.per_day or 0) - (granted.used_of_day or 0))
    seconds = policy.finish_s(waiting=recipients, rate_per_s=granted.rate_per_s or float("inf"), per_day=granted.per_day, left_of_day=left)
    days = seconds / policy.DAY_S
    if days > DAYS_MAX:
        return Check("quota", False, f"{told}: {recipients:,} messages = {days:,.1f} days", "ask the relay for more today")
    return Check("quota", True, f"{told}: {recipients:,} messages = {days:,.2f} days")


def _mailbox(names: Names, what: str, domain: str) -> Check:
    hosts = names.ask(domain, "MX")
    if hosts == [""]:  # Source: RFC 7505
        return Check(what, False, f"{domain} says that it takes no mail", f"publish an MX record for {domain}")
    reached = [h for h in (hosts or [domain]) if names.ask(h, "A") or names.ask(h, "AAAA")]
    if not reached:
        return Check(what, False, f"nothing takes mail for {domain}", f"publish an MX record for {domain} that leads to the intake")
    return Check(what, True, f"{domain} goes to {', '.join(reached)}")


def _dmarc_record(names: Names, domain: str) -> tuple[str | None, str]:
    """Return the policy of a domain, or else of the nearest domain above it, and where it stands."""
    labels = domain.split(".")
    for start in range(max(1, len(labels) - 1)):
        at = "_dmarc." + ".".join(labels[start:])
        found = [r for r in names.ask(at, "TXT") if r.lower().startswith("v=dmarc1")]
        if len(found) == 1:
            return found[0], at
    return None, f"_dmarc.{domain}"


def _aligned(domain: str, other: str, *, strict: bool) -> bool:
    """Tell whether two domains are the same or, relaxed, one lies below the other.

    Receivers compare organizational domains by the public suffix list. One lying below the other implies that they are equal; sisters
    below a common domain may be aligned too, and are refused here: the safe side.
    """
    a, b = domain.lower(), other.lower()
    return a == b or (not strict and (a.endswith(f".{b}") or b.endswith(f".{a}")))


def _tags(record: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in record.split(";"))
    return {name.strip().lower(): value.strip() for name, equals, value in pairs if equals}


def summary(checks: Sequence[Check]) -> str:
    """Return what failed and how to mend it, in one line each."""
    return "; ".join(f"{c.name}: {c.detail} ({c.remedy})" for c in checks if not c.ok)
