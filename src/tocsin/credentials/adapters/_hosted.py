"""What Keycloak, Auth0, Okta and Entra have in common, so that an adapter says only what its provider does differently.

Design. None of the four can revoke all passwords in one call, but each lets one setting of the tenant decide who may sign in. `arm` puts
that setting there switched off, beside an empty group of those who are through; `gate` switches it on; a new password puts its owner into
the group. So the gate needs no list of accounts, no call to us while somebody signs in, and refuses whoever is not in the group: it fails
closed by its shape. A later cutover puts an empty group in the place of the full one. `drain` then revokes account by account behind the gate
at the documented rate. Where the cutover stands is read from that setting each time: a new worker after a crash needs nothing else.

The door of the canaries is the provider's own token endpoint: the password grant for class `password`, the refresh grant for `refresh`
(RFC 6749 s4.3, s6), by a public client that the company makes for it (`door_client_id`). Its refresh tokens must not rotate: a rotated
one is refused for being old and would prove nothing.
"""

from __future__ import annotations

import secrets as randomness
import time
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from tocsin.credentials.port import PLAIN, Changed, Drained, Finding, Gated, Presented, Probe, State, TargetCanary, TargetStatus
from tocsin.kernel import clock
from tocsin.kernel.errors import BadInput, NotFound, Refused, Unavailable
from tocsin.kernel.private import Private

from ._http import Bucket, Client, reach_of

GATE = "tocsin-gate"  # the setting that refuses
THROUGH = "tocsin-through"  # the group of those who are through
CANARY = "tocsin-canary"
BEHIND = frozenset({"gated", "draining", "drained"})
LIMITS = Path(__file__).with_name("hosted_limits.toml")
POPULATION = 24_000_000  # the size that the table of drain times is computed for
PLANT_MAX = 100


@dataclass(frozen=True, slots=True)
class Limit:
    """A provider's documented limit and what revoking one account costs under it."""

    rate_per_s: float
    calls_per_account: float
    source: str

    def accounts_per_s(self, rate_per_s: float | None = None) -> float:
        """Return how many accounts a second can be revoked, at another rate than the documented one if given."""
        return (rate_per_s or self.rate_per_s) / self.calls_per_account


def limits() -> dict[str, Limit]:
    """Return the documented limits by provider."""
    return {name: Limit(float(row["rate_per_s"]), float(row["calls_per_account"]), row["source"])
            for name, row in tomllib.loads(LIMITS.read_text()).items()}  # fmt: skip


def spoken(seconds: float) -> str:
    """Return a length of time as a person says it: `11.1 days`, `3.4 hours`, `8 ms`."""
    for unit, size in (("years", 31_557_600.0), ("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0)):
        if seconds >= size * (1 if unit != "years" else 2):
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


@dataclass(frozen=True, slots=True)
class Mark:
    """Where the provider's own setting says the cutover stands."""

    state: State
    gated_at: datetime | None = None
    detail: str = ""
    epoch: int = 0  # of the cutover that the gate fell for


@dataclass(frozen=True, slots=True)
class Person:
    """One account as the provider lists it, and whether it has a new password since the gate."""

    account: str
    through: bool


def whole_seconds(seconds: float) -> datetime:
    """Return an instant of a provider's clock."""
    return datetime.fromtimestamp(int(seconds), UTC)


class Hosted(ABC):
    """The port over a provider's admin API. Subclasses answer the questions at the end."""

    kind = ""
    pages_max = 1000  # of one listing within one call

    def __init__(self, name: str, client: Client, options: Mapping[str, Any]) -> None:
        self.name, self.client, self.options = name, client, options
        limit = limits().get(self.kind)
        rate = options.get("rate_per_s")
        self.rate_per_s: float | None = float(rate) if rate is not None else limit.rate_per_s if limit else None
        self.accounts_per_s = None if self.rate_per_s is None else limit.accounts_per_s(self.rate_per_s) if limit else self.rate_per_s
        self.door_client_id: str = options["door_client_id"]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name}: {self.client.base_url})"

    # -- the port ---------------------------------------------------------------------------------------------------------------

    def reach(self) -> Literal["loopback", "world"]:
        """Return `loopback` for a provider on this machine, `world` otherwise."""
        return reach_of(self.client.base_url)

    def probe(self) -> Probe:
        """Count the accounts, read the tenant's settings, and compute how long revoking one by one takes."""
        subjects = self._subjects()
        eta = None if self.accounts_per_s is None else subjects / self.accounts_per_s
        findings = list(self._findings())
        if self.accounts_per_s is not None:
            whole = POPULATION / self.accounts_per_s
            findings.append(Finding("note", f"one by one, 24 million accounts take {spoken(whole)} at {self.accounts_per_s:g} a second; "
                                            "the gate is one request"))  # fmt: skip
        return Probe(kind=self.kind, subjects=subjects, classes=self._classes(), formats=(PLAIN,), write_rate_per_s=self.accounts_per_s,
                     drain_eta_s=eta, findings=tuple(findings))  # fmt: skip

    def arm(self) -> None:
        """Put the gate there, switched off, with nobody through. Does nothing on a target that is gated already."""
        if self._mark().state in BEHIND:
            return
        blockers = [f for f in self._findings() if f.level == "blocker"]
        if blockers:
            raise Refused("; ".join(f"{f.text}: {f.remedy}" for f in blockers))
        self._prepare()

    def gate(self, epoch: int, *, at: datetime) -> Gated:
        """Switch the gate on: one request. The provider's own clock dates it. A gate of a higher epoch shuts those out whom the first let through."""
        mark = self._mark()
        behind = mark.state in BEHIND
        if behind and mark.epoch >= epoch:
            return Gated(0.0, f"was gated already under epoch {mark.epoch}")
        if not behind and mark.state != "armed":
            raise Refused("the gate of this connector is not armed: arm it first")
        began = time.monotonic()
        detail = self._fall_again(epoch, "gated" if mark.state == "gated" else "draining") if behind else self._fall(epoch)
        return Gated((time.monotonic() - began) * 1000, detail)

    def plant(self, n: int) -> Sequence[TargetCanary]:
        """Make accounts of ours and sign each in once, for a refresh token."""
        if not 1 <= n <= PLANT_MAX:
            raise BadInput.of("n", n, f"1 to {PLANT_MAX} canaries")
        planted = []
        for _ in range(n):
            login = f"{CANARY}-{randomness.token_hex(8)}@{self.options.get('canary_domain', 'canary.invalid')}"
            password = "Aa1!" + randomness.token_urlsafe(18)
            account = self._create(login, password)
            held = {"password": Private(password)}
            told = self._grant({"grant_type": "password", "username": login, "password": password})
            if "refresh" in self._classes():
                if not isinstance(told, dict) or "refresh_token" not in told:
                    self._remove(account)
                    raise Unavailable(self.client.port, "the door client gave a new canary no refresh token: allow it the password grant and "
                                                        "the scope offline_access")  # fmt: skip
                held["refresh"] = Private(str(told["refresh_token"]))
            planted.append(TargetCanary(account, login, held))
        return planted

    def present(self, canary: TargetCanary) -> Sequence[Presented]:
        """Ask the provider's token endpoint for tokens, with each secret in turn."""
        answers = []
        for cred_class, secret in canary.secrets.items():
            if cred_class == "password":
                told = self._grant({"grant_type": "password", "username": canary.login, "password": secret.reveal()})
            else:
                told = self._grant({"grant_type": "refresh_token", "refresh_token": secret.reveal()})
            accepted = isinstance(told, dict)
            answers.append(Presented(canary.account, cred_class, accepted, "tokens were issued" if accepted else str(told)))
        return answers

    def uproot(self, canary: TargetCanary) -> None:
        """Delete an account of ours; one that is gone already is no fault."""
        self._remove(canary.account)

    def drain(self, cursor: str | None, *, limit: int) -> Drained:
        """Revoke one page of accounts; those who are through are passed by."""
        mark = self._mark()
        if mark.state not in BEHIND:
            raise Refused("draining stands behind the gate: gate this connector first")
        people, following = self._page(cursor, limit)
        if mark.state != "draining":
            self._note("draining")  # before the first account loses its password: from here on an abort is refused
        done, failed = 0, {}
        for person in people:
            if person.through:
                continue
            try:
                self._end(person.account)
                done += 1
            except NotFound:
                continue  # deleted since the page was read: nothing of it is left to revoke
            except Refused as e:
                failed[person.account] = str(e)
        if following is None:
            self._note("drained")
        return Drained(done, failed, following)

    def abort(self) -> None:
        """Switch the gate off and take it away. Raises Refused once draining has begun."""
        if self._mark().state in {"draining", "drained"}:
            raise Refused("draining has begun: passwords and tokens that it ended do not come back")
        self._rise()

    def status(self) -> TargetStatus:
        """Read the gate's setting at the provider."""
        mark = self._mark()
        return TargetStatus(mark.state, mark.detail, mark.gated_at)

    def set_password(self, account: str, secret: Private[str], *, format: str) -> None:
        """Set a password and put its owner among those who are through; older sessions and tokens of the account end first.

        Before the gate falls nobody is put there: what is older than the gate ends by it, this password too.
        """
        if format != PLAIN:
            raise BadInput.of("format", format, f"`{PLAIN}`: {self.kind} hashes by itself")
        self._give(account, secret)
        if self._mark().state != "armed":
            self._let_through(account)

    def write_rate_limit(self) -> float | None:
        """Return how many new passwords a second the documented limit leaves room for."""
        return self.accounts_per_s

    def changed_elsewhere(self, since: str | None) -> Changed:
        """Read the provider's log for passwords changed in its own pages, and let those people through.

        The cursor is an instant; asking again names people of the same second again rather than miss one.
        """
        mark = self._mark()
        if mark.gated_at is None:
            return Changed((), since or clock.iso(whole_seconds(self.client.now())))
        start = clock.parse_iso(since) if since else mark.gated_at
        accounts, newest = self._changes(start)
        ours = {a for a in accounts if self._let_through(a)}
        return Changed(tuple(sorted(ours)), clock.iso(newest or start))

    # -- the door ---------------------------------------------------------------------------------------------------------------

    def _grant(self, form: Mapping[str, str]) -> dict[str, Any] | str:
        """Present a secret at the token endpoint: the tokens, or the error code of the refusal. Raises Unavailable if it gives neither."""
        path, extra = self._door()
        answer = self.client.call("POST", path, form={"client_id": self.door_client_id, **extra, **form}, signed=False, repeat=True,
                                  accept={400, 401, 403})  # fmt: skip
        try:
            told = answer.json()
        except ValueError as e:
            raise Unavailable(self.client.port, f"the token endpoint answered {answer.status_code} without JSON") from e
        if answer.is_success and isinstance(told, dict) and "access_token" in told:
            return told
        code = told.get("error") if isinstance(told, dict) else None
        # A door that is closed for the client itself says nothing of the secret: that must not pass for a refusal.
        if code in {"unauthorized_client", "invalid_client", "unsupported_grant_type", "invalid_scope"}:
            raise Unavailable(self.client.port, f"the door client is not allowed in ({code}): it needs the password and refresh grants")
        return f"refused: {code or answer.status_code}"

    # -- what each provider answers ---------------------------------------------------------------------------------------------

    def _classes(self) -> tuple[str, ...]:
        return ("password", "refresh")

    @abstractmethod
    def _door(self) -> tuple[str, Mapping[str, str]]:
        """Return the token endpoint and what its form needs besides the client."""

    @abstractmethod
    def _mark(self) -> Mark:
        """Return where the gate's setting stands."""

    @abstractmethod
    def _subjects(self) -> int:
        """Return how many accounts there are."""

    @abstractmethod
    def _findings(self) -> Sequence[Finding]:
        """Return what stands in the way."""

    @abstractmethod
    def _prepare(self) -> None:
        """Put the gate there, switched off, with nobody through."""

    @abstractmethod
    def _fall(self, epoch: int) -> str:
        """Switch it on for this epoch; return what to say of it."""

    @abstractmethod
    def _fall_again(self, epoch: int, state: Literal["gated", "draining"]) -> str:
        """Shut out everybody who is through, then write this epoch and state; return what to say of it. In this order: a crash between
        the two leaves a gate of the older epoch, which the next call lets fall again."""

    @abstractmethod
    def _rise(self) -> None:
        """Switch it off and take it away."""

    @abstractmethod
    def _note(self, state: Literal["draining", "drained"]) -> None:
        """Write at the provider that draining has begun or ended."""

    @abstractmethod
    def _page(self, cursor: str | None, limit: int) -> tuple[Sequence[Person], str | None]:
        """Return up to `limit` accounts and where to go on."""

    @abstractmethod
    def _end(self, account: str) -> None:
        """Revoke one account's password, sessions and tokens."""

    @abstractmethod
    def _give(self, account: str, secret: Private[str]) -> None:
        """Set a password, end older sessions and tokens. Raises NotFound."""

    @abstractmethod
    def _let_through(self, account: str) -> bool:
        """Let an account through; False if there is none of that name."""

    @abstractmethod
    def _create(self, login: str, password: str) -> str:
        """Make an account and return its key."""

    @abstractmethod
    def _remove(self, account: str) -> None:
        """Delete an account, if it is there."""

    @abstractmethod
    def _changes(self, since: datetime) -> tuple[set[str], datetime | None]:
        """Return whose password changed at or after an instant, and the newest instant seen."""


def bucket_of(kind: str, options: Mapping[str, Any]) -> Bucket:
    """Return the bucket of a provider: the configured rate, or the documented one."""
    limit = limits().get(kind)
    rate = options.get("rate_per_s", limit.rate_per_s if limit else None)
    return Bucket(None if rate is None else float(rate), burst=max(1.0, float(rate or 1.0) / 2))


HOSTED_OPTIONS: dict[str, type] = {"rate_per_s": float, "canary_domain": str, "timeout_s": float}
