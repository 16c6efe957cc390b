"""What a mail transport must do. Adapters: `mail/adapters/`, named in configuration as `mail.transport`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Protocol

from .types import Envelope, FeedReading, Outcome, OutcomeKind, Pace, Quota, Reach


class Journal(Protocol):
    """Where a transport notes what it is about to do. Implemented by `mail/sender/journal.py`."""

    def intent(self, n: int) -> None:
        """Note that the next write may deliver recipient `n`."""
        ...

    def void(self, n: int) -> None:
        """Note that the final dot of recipient `n` was not sent after all."""
        ...

    def done(self, n: int, kind: OutcomeKind, code: int, enhanced: str, at_us: int) -> None:
        """Note how recipient `n` ended."""
        ...

    def flush(self) -> None:
        """Bring the notes so far past the death of this process. Raises Unavailable if that fails: then nothing more may be sent."""
        ...


class Transport(Protocol):
    """Brings finished messages to another mail system.

    The class has a `configured()` that makes one from `[mail]`.

    Promises: an envelope is delivered only after its intent was flushed; each envelope taken from the iterator ends in exactly one
    Outcome, or in none if the run ends before its content was sent; nothing is sent twice within a run. A run that dies leaves at most one
    intent without a done per open connection.
    """

    def reach(self) -> Reach:
        """Return whether mail handed over here stays on practice ground (`loopback`) or may reach anybody (`world`).

        Asks the server. Raises Unavailable if it does not answer.
        """
        ...

    def check(self) -> str:
        """Connect as a mailing would, up to and with the log-in, sending nothing; return what was found. Raises Unavailable with the reason."""
        ...

    def deliver(
        self, envelopes: Iterable[Envelope], *, pace: Pace, journal: Journal, renew: Callable[[], None], stopped: Callable[[], bool]
    ) -> Iterator[Outcome]:
        """Send each envelope and yield outcomes as they come, in no order.

        `renew` is called at least every 5 s, and before the next message when its last call lies over 10 s back; what it raises ends the
        run at once. `stopped` is polled each turn (at most 1 s, but thousands of times a second under load: answer from
        memory, look into the database at most every half second); once true, at most one further message per connection goes out.
        Raises Unavailable when no connection can be had. Envelopes not attempted have no outcome.
        """
        ...


class QuotaSource(Protocol):
    """Knows how much a relay takes from us. Named in configuration as `mail.quota_source`."""

    def quota(self) -> Quota:
        """Return what the relay grants now. Raises Unavailable if it cannot be asked; changes nothing."""
        ...


class EventFeed(Protocol):
    """Reads what a relay tells of our mail over HTTP. Named in configuration as `[feeds.NAME] adapter`.

    The class has a `configured(name, options)` that makes one from the rest of that table and raises BadInput with every fault in it.
    Promises: nothing is returned whose origin was not proved; the same event told again has the same id, sender and original.
    """

    def read(self, headers: Mapping[str, str], body: bytes, *, at: datetime) -> FeedReading:
        """Return what a request holds; header names in lower case.

        Raises Refused when it does not come from the relay or is too old; BadInput when it is no such request; Unavailable when its origin
        cannot be checked now.
        """
        ...
