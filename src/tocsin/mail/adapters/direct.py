"""Straight to the receivers' own mail exchangers, without a relay. Experimental: for companies whose addresses receivers already know.

Everything is sent by the engine that a relay gets (`mail/sender/engine.py`); what differs is that each domain's servers are looked up first
(`mail/sender/lookup.py`), and that one receiver's trouble puts off its own recipients only.
GAP: limits per receiver are counted within a run; of several workers that write to many small domains at once, each counts its own.
GAP: no TLS reports are sent (RFC 8460).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tocsin.kernel import config
from tocsin.kernel.errors import Refused, Unavailable
from tocsin.mail.port import Journal
from tocsin.mail.sender import probe
from tocsin.mail.sender.connection import Timeouts, Undeliverable
from tocsin.mail.sender.engine import PORT, Engine
from tocsin.mail.sender.lookup import Lookup, Settings
from tocsin.mail.shaping import table
from tocsin.mail.types import Envelope, Outcome, Pace, Reach

NOT_MEANT = "direct delivery is experimental: set [mail] experimental = true to use it, or transport to a relay's"


class DirectMx:
    """The port `mail.port.Transport` over the receivers' mail exchangers."""

    def __init__(self, lookup: Lookup, *, experimental: bool, timeouts: Timeouts | None = None) -> None:
        """Take what `configured` reads from `[mail]`. Raises Refused unless the operator means it."""
        if not experimental:
            raise Refused(NOT_MEANT)
        self._lookup, self._timeouts = lookup, timeouts or Timeouts()

    @classmethod
    def configured(cls) -> DirectMx:
        """Return the transport of `[mail]`: experimental, dns_server, dns_trusted, relay_ca_file, relay_tls (starttls: nothing in clear)."""
        mail = config.current().mail
        if not mail.experimental:
            raise Refused(NOT_MEANT)
        return cls(_lookup(config.current().home, Settings(
            config.current().home, mail.bounce_domain, server=mail.dns_server, trusted=mail.dns_trusted,
            verified=mail.relay_tls == "starttls", ca_file=mail.relay_ca_file or None)), experimental=mail.experimental)  # fmt: skip

    def reach(self) -> Reach:
        """Return `world`: it leads wherever the DNS says. The practice post office is never met on this way."""
        return "world"

    def check(self) -> str:
        """Look up the exchangers of our own bounce domain and greet one of them, sending nothing: many networks let no mail out at all."""
        domain = config.current().mail.bounce_domain
        way = self._lookup.find(domain)[1]
        if isinstance(way, Undeliverable):
            raise Unavailable(PORT, way.text)
        trouble = ""
        for endpoint in way.endpoints:
            try:
                return f"direct, reached {probe.greet(endpoint, self._timeouts)}"
            except Unavailable as e:
                trouble = str(e)
        raise Unavailable(PORT, trouble)

    def deliver(self, envelopes: Iterable[Envelope], *, pace: Pace, journal: Journal, renew: Callable[[], None],
                stopped: Callable[[], bool]) -> Iterator[Outcome]:
        """Send each envelope to its domain's exchangers. `pace.connections` are shared among them; each receiver has its own limits beside."""
        engine = Engine(self._lookup, self._timeouts, envelopes, pace=pace, journal=journal, renew=renew, stopped=stopped, practice=False)
        return engine.run()


@functools.lru_cache(maxsize=1)
def _lookup(home: Path, settings: Settings) -> Lookup:
    """Return the look-up of this process: what it remembers must outlive a block."""
    return Lookup(settings, receivers=table.mx_suffixes(), shape_of=table.shape_of)
