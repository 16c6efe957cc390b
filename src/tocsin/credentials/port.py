"""What an identity system or a session store must do so that a cutover ends its credentials too. Adapters: `credentials/adapters/`, named in
configuration by dotted path (`[connectors.NAME] adapter = "..."`).

    probe -> arm -> gate -> verify -> drain (behind the gate, in its own time) -> status;   abort leads back to before `arm`

Accounts are named by the target's own key, as text: what the register of subjects calls `external_id`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from tocsin.kernel.private import Private

State = Literal["open", "armed", "gated", "draining", "drained", "aborted"]
PLAIN = "plain"  # the format of a target that hashes by itself


@dataclass(frozen=True, slots=True)
class Finding:
    """Something a person must know before the gate falls. A `blocker` stops `arm`; `remedy` says what to do."""

    level: Literal["note", "warning", "blocker"]
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a look at the target found; looking changed nothing.

    `formats` are the hash formats that `set_password` takes, best first (`plain`: the target hashes by itself). `write_rate_per_s` is the
    documented or measured limit of writes, None if the target has none. `drain_eta_s` is how long revoking every account one by one takes.
    """

    kind: str
    subjects: int
    classes: tuple[str, ...]
    formats: tuple[str, ...]
    write_rate_per_s: float | None
    drain_eta_s: float | None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Gated:
    """The gate has fallen: how long the one switch took, in milliseconds, and what the target said of it."""

    took_ms: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Drained:
    """How far revoking one by one has come. `cursor` is where the next call goes on, None when nothing is left."""

    done: int
    failed: Mapping[str, str] = field(default_factory=dict)  # account -> the target's reason; tried again later, never dropped
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """Accounts whose password was changed in the target's own pages since a cursor, and the cursor to ask with next."""

    accounts: tuple[str, ...]
    cursor: str


@dataclass(frozen=True, slots=True)
class TargetCanary:
    """An account of ours in the target with secrets that we know, by credential class."""

    account: str
    login: str
    secrets: Mapping[str, Private[str]]


@dataclass(frozen=True, slots=True)
class Presented:
    """What the target's own door said to one secret of a canary. `detail` says why, without quoting a secret."""

    account: str
    cred_class: str
    accepted: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """Where the target stands, read from the target and not from our memory of it."""

    state: State
    detail: str = ""
    gated_at: datetime | None = None


class Connector(Protocol):
    """One identity system or session store.

    Promises: every method may be called again after a crash and then does what is left to do (`gate` on a gated target changes nothing);
    each has a time limit of its own and raises Unavailable with the target's reason when the target is down, slow, read-only or
    half-configured. `gate` fails closed: what the target cannot place is refused. No secret stands in an error or a log.
    """

    name: str
    kind: str

    def reach(self) -> Literal["loopback", "world"]:
        """Return whether the target is on this machine or may be anybody's: demo and drill refuse the world, live refuses loopback."""
        ...

    def probe(self) -> Probe:
        """Look at the target: accounts, classes, formats, rates, and all that stands in the way. Changes nothing."""
        ...

    def arm(self) -> None:
        """Prepare all that is slow, so that `gate` is one switch. No log-in changes yet. Raises Refused for a blocker."""
        ...

    def gate(self, epoch: int, *, at: datetime) -> Gated:
        """Refuse every credential older than this moment, in one switch that does not grow with the number of accounts."""
        ...

    def plant(self, n: int) -> Sequence[TargetCanary]:
        """Make `n` accounts of ours with known secrets, one for each class the target has; planting again adds more."""
        ...

    def present(self, canary: TargetCanary) -> Sequence[Presented]:
        """Present each secret of a canary at the target's own door, as a customer's browser or program would."""
        ...

    def uproot(self, canary: TargetCanary) -> None:
        """Remove an account of ours."""
        ...

    def drain(self, cursor: str | None, *, limit: int) -> Drained:
        """Revoke up to `limit` accounts one by one behind the gate, at the target's own pace, never those that have changed since."""
        ...

    def abort(self) -> None:
        """Lead back to before `arm`: older credentials work again. Raises Refused once draining has destroyed some."""
        ...

    def status(self) -> TargetStatus:
        """Return where the target stands."""
        ...

    def set_password(self, account: str, secret: Private[str], *, format: str) -> None:
        """Give an account its new password, a hash of `format` (or the plain text for `plain`), and lift the gate for it if it has fallen.

        Of an armed target the password alone is replaced: the gate ends it with all others that are older.

        Raises NotFound for no such account, BadInput for a format the target does not take.
        """
        ...

    def write_rate_limit(self) -> float | None:
        """Return how many passwords per second the target takes, None if it sets no limit. The waiting room admits no more."""
        ...

    def changed_elsewhere(self, since: str | None) -> Changed:
        """Return whose password was changed in the target's own pages since a cursor; None begins at the gate."""
        ...
