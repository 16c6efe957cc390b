"""Read: sessions and links that are still good, and where a cutover stands."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count

from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel import clock, config, sql
from tocsin.kernel.errors import NotFound

from . import cutover as cutovers
from . import erasure as erasures
from . import lease, policy
from .bearers import bearer_lives, caller
from .connectors.targets import known, slowest
from .connectors.targets import status as status_of_connector
from .contacts import contacts_frozen_until
from .digests import digest
from .filter.doors import check_filter
from .gate.keys import api_keys
from .models import Account, Cutover, CutoverAck, Epoch, Population, Reject
from .overview import epoch_lines, overviews
from .room.read import reset_capacity, room_status
from .second.factors import holdings, offer_passkey, offer_totp, offered_totp
from .second.passkeys import to_use as ask_any_passkey
from .second.steps import ask_passkey, second_step
from .types import SESSION_LIFE, ConnectorInfo, CutoverInfo, CutoverStatus, ErasureInfo, ResetCounts, SessionInfo, TokenInfo

__all__ = [
    "all_were_reset",
    "api_keys",
    "ask_any_passkey",
    "ask_passkey",
    "bearer_lives",
    "caller",
    "check_filter",
    "cohorts",
    "connector",
    "connectors",
    "contacts_frozen_until",
    "cutover",
    "epoch_lines",
    "erasure",
    "four_words",
    "held_hashes",
    "holdings",
    "letter_life",
    "link_life",
    "offer_passkey",
    "offer_totp",
    "offered_totp",
    "open_affected",
    "open_token",
    "overviews",
    "rejects",
    "reset_capacity",
    "reset_counts",
    "room_status",
    "second_step",
    "session",
    "status",
    "token_of_code",
    "write_rate",
]
from .affected import open_affected
from .codes import letter_life, token_of_code
from .post import link_life
from .suggestion import four_words

SHOWN_MAX = 1000
COUNT_SHARE = 6  # a count is kept so many times as long as it took, so that counting never fills more than a seventh of the time


def session(sid: str, *, at: datetime) -> SessionInfo | None:
    """Return the session of an id if it is still good, else None. Every use asks anew. Raises Unavailable without a lease."""
    lease.check()
    found = sql.rows("credentials", "live_session", sid=digest(sid), oldest=at - SESSION_LIFE)
    return SessionInfo(account=found[0][0], subject=found[0][1], created_at=found[0][2]) if found else None


def open_token(token: str, *, at: datetime) -> TokenInfo | None:
    """Return what a reset link would do now, None if nothing. Looking never uses it up: mail scanners open links before people do."""
    lease.check()
    found = sql.rows("credentials", "live_token", token=digest(token), at=at)
    return TokenInfo(expires_at=found[0][2], chars_min=policy.chars_min(second_factor=found[0][3])) if found else None


def all_were_reset(population: str = "customers") -> datetime | None:
    """Return since when all older passwords are ended, None if they are not. The same for everybody: it is on the log-in page."""
    return (
        Epoch.objects.filter(population__name=population, cred_class="password", state__in=["committed", "sealed"])
        .order_by("-not_before")
        .values_list("not_before", flat=True)
        .first()
    )


def cutover(id: int) -> CutoverInfo:
    """Return one cutover. Raises NotFound."""
    row = Cutover.objects.select_related("population").filter(pk=id).first()
    if row is None:
        raise NotFound(f"no cutover {id}")
    return cutovers.info(row)


def erasure(cutover: int) -> ErasureInfo:
    """Return how far the erasure of a cutover's dead hashes has come. Raises NotFound."""
    return erasures.progress(cutover)


def held_hashes(cutover: int) -> list[tuple[int, str, str]]:
    """Return account, class and hash of what was copied under a legal hold. Refused to every process but the estate's owner."""
    return erasures.held_hashes(cutover)


def cohorts(population: str = "customers") -> dict[int, int]:
    """Return the cohorts of a population with their accounts. Scans the accounts once: about 5 s at 24 million."""
    there = dict.fromkeys(Epoch.objects.filter(population__name=population).values_list("cohort", flat=True), 0)
    found = Account.objects.filter(population__name=population).values_list("cohort").annotate(n=Count("pk"))
    return dict(sorted((there | dict(found)).items()))


def status(of: int | str = "customers", *, max_age_s: float = 0.0) -> CutoverStatus:
    """Return where a population stands, by its name or by one of its cutovers.

    Counting passwords one by one takes seconds at 24 million. Whoever asks again and again passes `max_age_s` and gets live and dead as
    they were counted by this process at most that long ago, or COUNT_SHARE times as long as the counting took; `age_s` tells. Everything
    else is as it is now, and a commit or an abort is counted at once.
    """
    found = Cutover.objects.select_related("population")
    row = found.filter(pk=of).first() if isinstance(of, int) else found.filter(population__name=of).order_by("-pk").first()
    home = row.population if row is not None else Population.objects.filter(name=str(of)).first()
    if home is None:
        raise NotFound(f"no cutover and no population {of!r}")
    live, dead, age_s = _live_and_dead(home, max_age_s=max_age_s)
    epochs = Epoch.objects.filter(population=home, cred_class="password").values_list("epoch", flat=True)
    return CutoverStatus(
        population=home.name,
        cutover=row.pk if row else None,
        state=row.state if row else "open",
        epoch=max(epochs, default=1),
        live=live,
        dead=dead,
        sealed=bool(row and row.state == "sealed"),
        nodes=tuple(CutoverAck.objects.filter(cutover=row).order_by("node").values_list("node", flat=True)[:SHOWN_MAX]) if row else (),
        canaries_tried=row.canaries_tried if row and row.canaries_tried else None,
        canaries_refused=row.canaries_refused if row and row.canaries_tried else None,
        age_s=round(age_s, 1),
    )


@dataclass(frozen=True, slots=True)
class _Counted:
    """Live and dead passwords of a population at a version of its epochs, when they were counted and how long that took."""

    version: int
    live: int
    dead: int
    at: float
    took_s: float


_counted: dict[int, _Counted] = {}
_counting = threading.Lock()


def _live_and_dead(home: Population, *, max_age_s: float) -> tuple[int, int, float]:
    """Return live, dead and their age in seconds. One thread counts; the others take what there is, if it is of this version."""

    def kept(limit_s: float) -> tuple[int, int, float] | None:
        last = _counted.get(home.pk)
        if last is None or last.version != home.version:
            return None
        age = clock.monotonic() - last.at
        return (last.live, last.dead, age) if age < max(limit_s, COUNT_SHARE * last.took_s) else None

    if max_age_s <= 0:
        return (*_count(home), 0.0)
    if found := kept(max_age_s):
        return found
    if not _counting.acquire(blocking=False):
        if found := kept(float("inf")):
            return found
        _counting.acquire()
    try:
        return kept(max_age_s) or (*_count(home), 0.0)
    finally:
        _counting.release()


def _count(home: Population) -> tuple[int, int]:
    began = clock.monotonic()
    live, dead = sql.rows("credentials", "live_and_dead", population=home.pk)[0]
    ended = clock.monotonic()
    _counted[home.pk] = _Counted(version=home.version, live=live, dead=dead, at=ended, took_s=ended - began)
    return live, dead


def connectors() -> list[ConnectorInfo]:
    """Return every configured connector as we last knew it, by name; asks no target."""
    return [known(name) for name in sorted(config.current().connectors)]


def connector(name: str) -> ConnectorInfo:
    """Return where one connector's target stands, asked of the target itself. Raises NotFound."""
    return status_of_connector(name)


def write_rate(population: str = "customers") -> float | None:
    """Return how many new passwords per second the slowest armed target of a population takes, None if none sets a limit."""
    return slowest(population)


def reset_counts(incident: int) -> ResetCounts:
    """Return how many reset links were mailed and passwords set anew in an incident."""
    counts = evidence.counts(incident=incident)
    return ResetCounts(requested=counts.get(EventType.RESET_REQUESTED, 0), completed=counts.get(EventType.PASSWORD_RESET, 0))


def rejects(import_id: int, *, after_line: int = 0) -> list[tuple[int, str, str]]:
    """Return line, field and reason of lines that an import did not take, in the order of the file; at most SHOWN_MAX."""
    found = Reject.objects.filter(source_id=import_id, line__gt=after_line).order_by("line", "pk")
    return list(found.values_list("line", "field", "reason")[:SHOWN_MAX])
