"""Who takes the mail of a domain, asked of the name system and remembered by the process: the roll-up of many domains to one receiver."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import dns.exception

from tocsin.kernel import config

from .preflight import Names
from .shaping import policy, table
from .types import OTHER

ASKED_AT_ONCE = 16
REMEMBERED_MAX = 200_000
FAILURES_MAX = 50  # of one call: a name server that does not answer must not hold up an import for hours

_known: dict[str, str] = {}


def receivers(domains: Iterable[str]) -> dict[str, str]:
    """Return the receiver of each domain (`other` where none of the table takes its mail); those that could not be asked are left out.

    Each domain is asked once per process. Nothing is asked unless `[mail] mx_lookup` is on.
    """
    wanted = set(domains)
    if not config.current().mail.mx_lookup:
        return {}
    if len(_known) > REMEMBERED_MAX:
        _known.clear()
    names, suffixes, failed = Names(config.current().mail.dns_server), table.mx_suffixes(), 0
    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        unknown = sorted(wanted - _known.keys())
        for start in range(0, len(unknown), ASKED_AT_ONCE * 4):
            lot = unknown[start : start + ASKED_AT_ONCE * 4]
            for domain, hosts in zip(lot, pool.map(lambda d: _hosts(names, d), lot), strict=True):
                if hosts is None:
                    failed += 1
                else:
                    _known[domain] = policy.receiver_of_hosts(hosts, suffixes) or OTHER
            if failed > FAILURES_MAX:
                break
    return {d: _known[d] for d in wanted if d in _known}


def _hosts(names: Names, domain: str) -> list[str] | None:
    try:
        return names.ask(domain, "MX")
    except dns.exception.DNSException:
        return None
