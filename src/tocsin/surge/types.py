"""Values of the surge room: the parameters of a forecast, read from a parsed table with all faults at once, and the forecast itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from tocsin.kernel.errors import Fault


@dataclass(frozen=True, slots=True)
class Draft:
    """So many colleagues called to the desk on that day (0 is the first), in two shifts of eight hours from 07:00."""

    day: int
    people: int


@dataclass(frozen=True, slots=True)
class Params:
    """What a forecast rests on. Rates per hour, shares as fractions, times in hours after the start; see surge.md section 3 for sources.

    Of a pair `x`, `x_gsd` the first is the median and the second the geometric standard deviation of a log-normal; a pair `x_a`, `x_b` is a
    Beta law. Values marked [A] there are assumptions, to be replaced by drill figures.
    """

    customers: int = 24_000_000
    call_rate: float = 0.05  # share of customers who turn to the company
    call_rate_gsd: float = 1.6
    press_a: float = 4.0  # share of the contacts that come from the news
    press_b: float = 16.0
    phones_open: bool = False
    days: int = 30
    step_minutes: int = 5
    draws: int = 300
    seed: int = 1
    start_hour: float = 16.0  # local hour of the eastern zone at which the mailing starts
    mails_per_hour: float = 2_000_000.0
    bounce: float = 0.03
    published_at_h: float = 0.0  # when the news breaks
    faq_at_h: float = 2.0  # when vetted answers are public
    kernel_median_h: float = 4.6
    kernel_median_gsd: float = 1.25
    kernel_sigma: float = 2.1
    kernel_sigma_gsd: float = 1.07
    open_share: float = 0.45
    open_share_gsd: float = 1.15
    reset_share: float = 0.55  # of those who open
    reset_share_gsd: float = 1.15
    phone_a: float = 7.0  # share of contacts that would rather call
    phone_b: float = 3.0
    divert_a: float = 6.0  # share of would-be callers who write when phones are closed
    divert_b: float = 4.0
    call_minutes: float = 6.0
    call_minutes_gsd: float = 1.15
    patience_minutes: float = 5.0
    patience_minutes_gsd: float = 1.4
    redial_a: float = 6.0
    redial_b: float = 4.0
    redial_minutes: float = 30.0
    redial_minutes_gsd: float = 1.4
    phone_agents: int = 300  # on duty from 07:00 to 23:00 if phones are open
    phone_agents_night: int = 100
    trunks: int = 5_000
    professionals: int = 450  # answer mail; a third is on duty at any hour
    draft: tuple[Draft, ...] = (Draft(0, 1_550),)
    first_speed: float = 0.45  # of a draftee in the first hour, of a professional's
    learning_h: float = 16.0
    shrinkage: float = 0.30
    letter_minutes: float = 6.0
    letter_minutes_gsd: float = 1.2
    bulk_minutes: float = 0.3
    bulk_a: float = 14.0  # share of letters that released answers cover, once they are known
    bulk_b: float = 6.0


@dataclass(frozen=True, slots=True)
class Spread:
    """A quantity over the draws."""

    p10: float
    p50: float
    p90: float


@dataclass(frozen=True, slots=True)
class Phone:
    """Calls over the horizon, mean over the draws; offered = served + abandoned + blocked + those still waiting at its end."""

    offered: float = 0.0
    served: float = 0.0
    abandoned: float = 0.0
    blocked: float = 0.0
    waiting: float = 0.0
    callers: float = 0.0  # persons, each of whom may try several times
    trunks_for_1_percent: int = 0  # lines that the busiest hour needs if one call in a hundred may meet a busy tone
    reopen_day: int | None = None  # first day on which under 5 % would hang up


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a mailing brings back. `calls` = customers x call rate.

    `phone` is as the parameters say (zero when the lines are closed), `phone_if_open` as if they had stayed open.
    """

    calls: int
    contacts: Spread
    letters: Spread  # contacts by e-mail
    resets: Spread
    resets_per_s_peak: Spread
    backlog_peak: float
    max_wait_s: Spread
    mean_told_h: float
    phone: Phone
    phone_if_open: Phone
    hourly: tuple[tuple[int, int, int], ...] = field(default=(), repr=False)  # median contacts, letters answered, backlog of each hour
    seconds: float = 0.0


_SHARES = {"call_rate", "bounce", "open_share", "reset_share", "first_speed", "shrinkage"}
_COUNTS = {
    "customers": (1, 10_000_000_000),
    "days": (1, 120),
    "step_minutes": (1, 60),
    "draws": (1, 5_000),
    "seed": (0, 2**63 - 1),
    "phone_agents": (0, 1_000_000),
    "phone_agents_night": (0, 1_000_000),
    "trunks": (1, 10_000_000),
    "professionals": (0, 1_000_000),
}
_NOT_NEGATIVE = {"published_at_h", "faq_at_h", "start_hour"}
DRAFTS_MAX = 100


def parse_params(raw: Mapping[str, Any], *, faults: list[Fault], where: str = "surge") -> Params:
    """Return the parameters in a parsed table; missing ones have their defaults, and what is wrong is added to `faults`."""
    good: dict[str, Any] = {}
    known = {f.name for f in fields(Params)}
    for key, value in raw.items():
        at = f"{where}.{key}"
        if key not in known:
            faults.append(Fault(at, repr(value)[:80], "a known parameter: " + ", ".join(sorted(known))))
        elif key == "draft":
            good[key] = _drafts(value, at, faults)
        elif key == "phones_open":
            _keep(good, key, value, type(value) is bool, at, "true or false", faults)
        elif key in _COUNTS:
            low, high = _COUNTS[key]
            _keep(good, key, value, type(value) is int and low <= value <= high, at, f"a whole number from {low} to {high}", faults)
        elif key in _SHARES:
            _keep(good, key, value, type(value) in (int, float) and 0 <= value < 1, at, "a share from 0 to below 1", faults)
        elif key.endswith("_gsd"):
            fits = type(value) in (int, float) and 1 <= value <= 10
            _keep(good, key, value, fits, at, "a geometric standard deviation from 1 to 10", faults)
        elif key in _NOT_NEGATIVE:
            _keep(good, key, value, type(value) in (int, float) and 0 <= value <= 2_400, at, "hours from 0 to 2400", faults)
        else:
            _keep(good, key, value, type(value) in (int, float) and 0 < value <= 1e9, at, "a number above 0", faults)
    if good.get("step_minutes", 5) and 60 % good.get("step_minutes", 5):
        faults.append(Fault(f"{where}.step_minutes", repr(good["step_minutes"]), "a divisor of 60"))
    return Params(**good)


def _keep(good: dict[str, Any], key: str, value: Any, fits: bool, where: str, wanted: str, faults: list[Fault]) -> None:
    if fits:
        good[key] = float(value) if type(value) is int and key not in _COUNTS else value
    else:
        faults.append(Fault(where, repr(value)[:80], wanted))


def _drafts(value: Any, where: str, faults: list[Fault]) -> tuple[Draft, ...]:
    rows = value if isinstance(value, list) and len(value) <= DRAFTS_MAX else None
    if rows is None:
        faults.append(Fault(where, repr(value)[:80], f"a list of at most {DRAFTS_MAX} tables with day and people"))
        return ()
    drafts = []
    for i, row in enumerate(rows):
        fits = isinstance(row, dict) and set(row) == {"day", "people"} and all(type(v) is int and v >= 0 for v in row.values())
        if fits:
            drafts.append(Draft(row["day"], row["people"]))
        else:
            faults.append(Fault(f"{where}[{i}]", repr(row)[:80], "a table with whole numbers day and people"))
    return tuple(drafts)


@dataclass(frozen=True, slots=True)
class Desk:
    """How the desk stands, in messages of people. `coming`: those whom mails already out will still bring.

    `answers_per_s`: measured over the last hours, None while too little was seen; `write_rate`: share of people mailed who write to it;
    `wait_s`: how long nobody should wait for an answer.
    """

    open: int
    oldest_s: float
    answers_per_s: float | None
    coming: float
    write_rate: float
    wait_s: float


@dataclass(frozen=True, slots=True)
class Pace:
    """What steering decides from: mails to go, what people allow in total, resets per second that can be borne, people in the waiting room.

    `left_s`: until the legal deadline (or the later end that two people signed), None without one. `page_p95_ms`: how long one in twenty
    waits at the reset page. `desk` None: the desk does not count.
    """

    waiting_mails: int
    allowed_per_s: float
    resets_per_s: float
    waiting_people: int
    click_rate: float
    left_s: float | None
    page_p95_ms: float = 0.0
    desk: Desk | None = None


@dataclass(frozen=True, slots=True)
class Steered:
    """The total rate that a mailing may have. `by`: "free" (as people allow), "resets" (what the reset site bears), "desk" (what the desk
    bears) or "deadline"; then `over` names whose limit the deadline goes over.
    """

    rate_per_s: float
    by: str
    over: str = field(default="", compare=False)
