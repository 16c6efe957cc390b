"""Deadlines: event, legal zone and rule in; instant, day and one line of arithmetic out.

Hours run from the instant through weekends and clock changes. Days: the local date of the event is day 0, due at the end of day N,
no roll over weekends. Business days: Monday to Friday without national public holidays. Months: same day number, else the last.
Source: specification of the duty engine, Clocks; Regulation (EEC) 1182/71 would give later dates and is not applied.
"""

from __future__ import annotations

import calendar
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import holidays

from tocsin.kernel.errors import ensure
from tocsin.obligations.types import Moment

# If unset these fall back to discovery, the earliest and so the strictest.
KNOWING = frozenset({
    "discovery", "notification_received", "discovery_or_notification", "detection", "awareness", "awareness_personal_data_affected",
    "awareness_and_scope_identified", "knowledge", "noticing_or_being_told", "suspicion", "reasonable_suspicion", "reasonable_belief",
    "reasonable_grounds_to_believe", "credible_grounds", "occurrence_or_possibility", "determination",
    "determination_or_reason_to_believe", "confirmation_and_information_ascertained", "duty_to_notify_established",
    "investigation_concluded", "harm_determination", "high_risk_assessed", "assessed_notifiable", "classification",
})  # fmt: skip
# If unset the clock does not run yet.
ACTS = frozenset({
    "individuals_notified", "initial_notification", "intermediate_report", "notification_sent", "pdpc_notified", "brand_notified",
    "statement_prepared", "materiality_determination", "no_harm_determination", "missing_information_available", "commissioner_requires",
    "ocabr_list_received", "extortion_payment", "law_enforcement_delay_ended",
})  # fmt: skip
YEAR_END = "calendar_year_end"
EVENTS = KNOWING | ACTS | {YEAR_END}

OURS_DAYS = 30  # our target for a bare standard: the strictest number of a US state
OURS_IMMEDIATELY_HOURS = 24
BUSINESS_DAYS_MAX = 400

_BY_ZONE = {
    "America/New_York": "CT DE DC FL GA IN KY ME MD MA MI NH NJ NY NC OH PA RI SC VT VA WV",
    "America/Chicago": "AL AR IL IA KS LA MN MS MO NE ND OK SD TN TX WI",
    "America/Denver": "CO ID MT NM UT WY",
    "America/Phoenix": "AZ",
    "America/Los_Angeles": "CA NV OR WA",
    "America/Anchorage": "AK",
    "Pacific/Honolulu": "HI",
    "America/Puerto_Rico": "PR VI",
    "Pacific/Guam": "GU",
}
US = tuple(sorted(f"US-{state}" for states in _BY_ZONE.values() for state in states.split()))
ZONES: Mapping[str, str] = {
    **{f"US-{state}": zone for zone, states in _BY_ZONE.items() for state in states.split()},
    "US": "America/New_York",
    "EU": "Europe/Brussels",
    "GB": "Europe/London",
    "CH": "Europe/Zurich",
    "CA": "America/Toronto",
    "CA-QC": "America/Toronto",
    "CA-AB": "America/Edmonton",
    "AU": "Australia/Sydney",
    "NZ": "Pacific/Auckland",
    "BR": "America/Sao_Paulo",
    "JP": "Asia/Tokyo",
    "KR": "Asia/Seoul",
    "SG": "Asia/Singapore",
    "IN": "Asia/Kolkata",
    "ZA": "Africa/Johannesburg",
    "CN": "Asia/Shanghai",
    "*": "UTC",
}


def zone_of(jurisdiction: str) -> str | None:
    """Return the legal zone of a jurisdiction, its country's if it has none of its own."""
    return ZONES.get(jurisdiction) or ZONES.get(jurisdiction.split("-")[0])


@functools.lru_cache(maxsize=64)
def zone(name: str) -> ZoneInfo:
    """Return a zone by name."""
    return ZoneInfo(name)


@functools.lru_cache(maxsize=512)
def _holidays(country: str, year: int) -> frozenset[date]:
    if country not in holidays.list_supported_countries(include_aliases=False):
        return frozenset()  # fewer holidays: an earlier, stricter date
    return frozenset(holidays.country_holidays(country, years=year))


def add_business_days(day: date, n: int, *, country: str) -> date:
    """Return the n-th business day after a day."""
    ensure(0 <= n <= BUSINESS_DAYS_MAX, f"{n} business days")
    while n:
        day += timedelta(days=1)
        if day.weekday() < 5 and day not in _holidays(country, day.year):
            n -= 1
    return day


def add_months(day: date, n: int) -> date:
    """Return the same day number n months on, the last of that month if it has no such day."""
    years, month0 = divmod(day.month - 1 + n, 12)
    year = day.year + years
    return date(year, month0 + 1, min(day.day, calendar.monthrange(year, month0 + 1)[1]))


@functools.lru_cache(maxsize=4096)
def end_of_day(day: date, zone_name: str) -> datetime:
    """Return the last second of a local day, as UTC."""
    midnight = datetime.combine(day + timedelta(days=1), time(), zone(zone_name))
    return midnight.astimezone(UTC) - timedelta(seconds=1)


def local_day(moment: Moment, zone_name: str) -> date:
    """Return the local date of an instant; a day is itself everywhere."""
    return moment.astimezone(zone(zone_name)).date() if isinstance(moment, datetime) else moment


def instant(moment: Moment, zone_name: str) -> datetime:
    """Return an instant in UTC; a day counts from its local midnight."""
    return moment.astimezone(UTC) if isinstance(moment, datetime) else datetime.combine(moment, time(), zone(zone_name)).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Due:
    """A computed deadline. Without `at` the law gives no date, or waits for the acts in `waits`."""

    day: date | None = None
    at: datetime | None = None
    basis: str = ""
    relation: str | None = None
    relation_event: str | None = None
    standard: str | None = None
    fallbacks: tuple[str, ...] = ()
    waits: tuple[str, ...] = ()
    ours_day: date | None = None
    ours_at: datetime | None = None


class Timeline:
    """The events of an incident as one law sees them: its zone, its country's holidays, fallbacks noted."""

    def __init__(self, events: Mapping[str, Moment], jurisdiction: str, *, unset_acts: Moment | None = None) -> None:
        name = zone_of(jurisdiction)
        ensure(name is not None, f"no legal zone is known for {jurisdiction}")
        self.zone = str(name)
        self._jurisdiction, self._country = jurisdiction, jurisdiction.split("-")[0]
        self._events = events
        self._unset_acts = unset_acts

    def with_acts_at(self, now: Moment) -> Timeline:
        """Return the same with every unset act happening at `now`."""
        return Timeline(self._events, self._jurisdiction, unset_acts=now)

    def is_set(self, event: str) -> bool:
        """Tell whether an event was stated."""
        return event in self._events

    @property
    def discovery(self) -> Moment:
        """Return discovery, or the earliest event of knowing if it was not stated."""
        if "discovery" in self._events:
            return self._events["discovery"]
        known = [m for e, m in self._events.items() if e in KNOWING]
        return min(known, key=lambda m: instant(m, self.zone))

    def resolve(self, event: str) -> tuple[Moment | None, str | None]:
        """Return an event's moment (None: an act that has not happened) and the fallback that was taken, if any."""
        if event in self._events:
            return self._events[event], None
        if event == YEAR_END:
            return date(local_day(self.discovery, self.zone).year, 12, 31), None
        if event in ACTS:
            return self._unset_acts, None
        if event == "discovery_or_notification":
            either = [self._events[e] for e in ("discovery", "notification_received") if e in self._events]
            if either:
                return min(either, key=lambda m: instant(m, self.zone)), None
        return self.discovery, f"{event} not stated: counted from discovery"

    def due(self, deadline: Mapping[str, Any], *, guidance_hours: int | None = None) -> Due:
        """Compute one `deadline` of the law data."""
        if "earliest_of" in deadline:
            return self._earliest([self.due(d) for d in deadline["earliest_of"]])
        if "relation" in deadline:
            return self._relation(deadline["relation"], deadline["to_event"])
        event = deadline.get("from", "discovery")
        standard = deadline.get("standard")
        moment, fallback = self.resolve(event)
        fallbacks = (fallback,) if fallback else ()
        if moment is None:
            wait = f"{_amount(deadline)} after {event}" if "within" in deadline else f"{standard} after {event}"
            return Due(basis=f"{wait}, which has not happened", standard=standard, waits=(event,))
        if "within" not in deadline:
            return self._standard(standard, event, moment, fallbacks, guidance_hours)
        day, at = self._count(deadline["within"], deadline["unit"], deadline.get("clock", "calendar"), moment)
        shown = _shown(at) if deadline["unit"] == "hours" else day.isoformat()
        basis = f"{_amount(deadline)} after {event} {self._moment(moment)} = {shown} ({self.zone})"
        return Due(day=day, at=at, basis=basis, standard=standard, fallbacks=fallbacks)

    def _count(self, n: int, unit: str, clock: str, moment: Moment) -> tuple[date, datetime]:
        if unit == "hours":
            at = instant(moment, self.zone) + timedelta(hours=n)
            return local_day(at, self.zone), at
        day = local_day(moment, self.zone)
        if unit == "months":
            day = add_months(day, n)
        elif clock == "business":
            day = add_business_days(day, n, country=self._country)
        else:
            day += timedelta(days=n)
        return day, end_of_day(day, self.zone)

    def _standard(self, standard: str | None, event: str, moment: Moment, fallbacks: tuple[str, ...], guidance_hours: int | None) -> Due:
        """Return no legal date, and our own target."""
        hours = guidance_hours or (OURS_IMMEDIATELY_HOURS if standard == "immediately" else None)
        day, at = self._count(hours, "hours", "calendar", moment) if hours else self._count(OURS_DAYS, "days", "calendar", moment)
        target = f"{hours} hours" if hours else f"{OURS_DAYS} days"
        basis = f"{standard} after {event} {self._moment(moment)}: no date in the law; {day.isoformat()} ({target}) is ours, not the law's"
        return Due(basis=basis, standard=standard, fallbacks=fallbacks, ours_day=day, ours_at=at)

    def _relation(self, relation: str, event: str) -> Due:
        moment, _ = self.resolve(event)
        text = {"before": "before", "same_time": "at the same time as", "not_later_than": "not later than"}[relation] + f" {event}"
        if moment is None:
            return Due(basis=f"{text}, which has not happened", relation=relation, relation_event=event, waits=(event,))
        day = local_day(moment, self.zone)
        at = instant(moment, self.zone) if isinstance(moment, datetime) else end_of_day(day, self.zone)
        return Due(day=day, at=at, basis=f"{text} {self._moment(moment)}", relation=relation, relation_event=event)

    @staticmethod
    def _earliest(options: Sequence[Due]) -> Due:
        dated = sorted((d for d in options if d.at is not None), key=lambda d: d.at or datetime.max.replace(tzinfo=UTC))
        best = dated[0] if dated else options[0]
        return Due(
            day=best.day,
            at=best.at,
            basis="earliest of: " + "; ".join(d.basis for d in options),
            relation=next((d.relation for d in options if d.relation), None),
            relation_event=next((d.relation_event for d in options if d.relation_event), None),
            standard=next((d.standard for d in options if d.standard), None),
            fallbacks=tuple(f for d in options for f in d.fallbacks),
            waits=() if dated else tuple(w for d in options for w in d.waits),
            ours_day=None if dated else best.ours_day,
            ours_at=None if dated else best.ours_at,
        )

    def _moment(self, moment: Moment) -> str:
        return _shown(moment) if isinstance(moment, datetime) else moment.isoformat()


def _shown(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _amount(deadline: Mapping[str, Any]) -> str:
    clock = "business " if deadline.get("clock") == "business" else ""
    return f"{deadline['within']} {clock}{deadline['unit']}"
