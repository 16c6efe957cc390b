"""The decisions of the incidents room, pure: declaration files, cohorts, proof states, the order of states.

A declaration file is TOML:

    [incident]
    name, cause            texts
    hosts                  list of systems of the data map that were broken into
    stolen                 optional list of roles and keys the intruder is known to hold
    discovered_at          optional instant with offset; without it, the moment the declaration is first asked for
    window_from            optional instant with offset: the earliest the intruder may have been inside
    window_hours           instead of it: hours before the discovery
    story                  optional text for the record; names no person
    [entity]               optional answers to the law files' predicates: card_accepting_merchant = true
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tocsin.inventory.types import StoreReached
from tocsin.kernel.errors import BadInput, Fault

from .types import AUDIENCES, PROOF_STATES, STATES, Declaration

TABLES = ("incident", "entity")
KEYS = ("name", "cause", "hosts", "stolen", "discovered_at", "window_from", "window_hours", "story")
NAME_CHARS_MAX = 200
TEXT_CHARS_MAX = 20_000
HOSTS_MAX = 10_000
WINDOW_HOURS_MAX = 87_600  # ten years
STATE_FACT = ("store.", ".state")


def parse_declaration(document: Mapping[str, Any]) -> Declaration:
    """Return the declaration that a parsed TOML document makes. Raises BadInput with every fault in it."""
    faults = [Fault(key, repr(document[key])[:80], f"one of the tables {', '.join(TABLES)}") for key in document if key not in TABLES]
    table, entity = document.get("incident"), document.get("entity", {})
    if not isinstance(table, Mapping):
        raise BadInput([*faults, Fault("incident", "nothing" if table is None else repr(table)[:80], "a table [incident]")])
    if not isinstance(entity, Mapping) or not all(isinstance(v, bool) for v in entity.values()):
        faults.append(Fault("entity", repr(entity)[:80], "a table of predicates that are true or false"))
        entity = {}
    read = _Table(table, faults)
    hours = read.hours("window_hours")
    found = Declaration(
        name=read.text("name", NAME_CHARS_MAX, required=True),
        cause=read.text("cause", TEXT_CHARS_MAX, required=True),
        hosts=read.names("hosts", required=True),
        discovered_at=read.instant("discovered_at"),
        window_from=read.instant("window_from"),
        window_hours=hours,
        stolen=read.names("stolen", required=False),
        entity=dict(entity),
        story=read.text("story", TEXT_CHARS_MAX, required=False),
    )
    if hours is not None and "window_from" in table:
        read.fault("window_hours", "nothing: window_from stands already")
    if found.window_from and found.discovered_at and found.window_from > found.discovered_at:
        read.fault("window_from", "an instant not after discovered_at")
    if faults:
        raise BadInput(faults)
    return found


class _Table:
    """Takes typed values out of `[incident]` and collects what is wrong with it."""

    def __init__(self, table: Mapping[str, Any], faults: list[Fault]) -> None:
        self.table, self.faults = table, faults
        for key in table:
            if key not in KEYS:
                self.fault(key, f"one of {', '.join(KEYS)}")

    def fault(self, key: str, wanted: str) -> None:
        got = repr(self.table[key])[:80] if key in self.table else "nothing"
        self.faults.append(Fault(f"incident.{key}", got, wanted))

    def text(self, key: str, chars_max: int, *, required: bool) -> str:
        value = self.table.get(key, "")
        if isinstance(value, str) and len(value) <= chars_max and (value.strip() or not required):
            return value.strip()
        self.fault(key, f"a text of at most {chars_max} characters" + (" that is not empty" if required else ""))
        return ""

    def names(self, key: str, *, required: bool) -> tuple[str, ...]:
        value = self.table.get(key, [])
        good = isinstance(value, list) and len(value) <= HOSTS_MAX and all(isinstance(v, str) and v for v in value)
        if good and len(set(value)) == len(value) and (value or not required):
            return tuple(value)
        self.fault(key, f"a list of {int(required)} to {HOSTS_MAX} keys of the data map, each once")
        return ()

    def instant(self, key: str) -> datetime | None:
        value = self.table.get(key)
        if value is None or (isinstance(value, datetime) and value.tzinfo is not None):
            return value.astimezone(UTC) if value else None
        self.fault(key, "an instant with its offset such as 2026-03-01T12:00:00Z")
        return None

    def hours(self, key: str) -> int | None:
        value = self.table.get(key)
        if value is None or (type(value) is int and 0 <= value <= WINDOW_HOURS_MAX):
            return value
        self.fault(key, f"whole hours from 0 to {WINDOW_HOURS_MAX}")
        return None


def payload(declaration: Declaration) -> dict[str, Any]:
    """Return what two people sign: the declaration as JSON. What it leaves to the moment of asking stands as null."""

    def iso(at: datetime | None) -> str | None:
        return at.astimezone(UTC).isoformat() if at else None

    return {
        "name": declaration.name,
        "cause": declaration.cause,
        "hosts": list(declaration.hosts),
        "stolen": list(declaration.stolen),
        "discovered_at": iso(declaration.discovered_at),
        "window_from": iso(declaration.window_from),
        "window_hours": declaration.window_hours,
        "entity": dict(declaration.entity),
        "story": declaration.story,
    }


def moments(declaration: Declaration, *, asked_at: datetime) -> tuple[datetime, datetime | None]:
    """Return (discovered_at, window_from). Raises BadInput for a discovery that is still to come, or a window that opens after it."""
    discovered_at = declaration.discovered_at or asked_at
    window_from = declaration.window_from
    if window_from is None and declaration.window_hours is not None:
        window_from = discovered_at - timedelta(hours=declaration.window_hours)
    faults = []
    if discovered_at > asked_at:
        faults.append(Fault("discovered_at", discovered_at.isoformat(), f"an instant not after that of asking, {asked_at.isoformat()}"))
    if window_from is not None and window_from > discovered_at:
        faults.append(Fault("window_from", window_from.isoformat(), f"an instant not after the discovery, {discovered_at.isoformat()}"))
    if faults:
        raise BadInput(faults)
    return discovered_at, window_from


@dataclass(frozen=True, slots=True)
class CohortKey:
    """What makes a cohort."""

    jurisdiction: str
    clear: int
    sealed: int
    state: str


@dataclass(frozen=True, slots=True)
class Grouping:
    """People by cohort, and which (jurisdiction, holding profile) belongs to which; people by reached store; what was assumed there."""

    cohorts: Mapping[CohortKey, int]
    members: tuple[tuple[str, int, CohortKey], ...]
    people_of_store: Mapping[str, int]
    assumed: Mapping[str, int]

    @property
    def people(self) -> int:
        """Return how many people there are in all cohorts."""
        return sum(self.cohorts.values())


def group(cube: Iterable[tuple[str, int, int]], profiles: Mapping[int, Mapping[str, int]], reached: Sequence[StoreReached]) -> Grouping:
    """Return the cohorts of everybody held in a reached store.

    `cube` is (jurisdiction, holding profile, people); `profiles` is profile -> store -> mask. Each profile's masks are OR-ed once. A person
    held in no reached store is in no cohort. What lies clear in one store is clear.
    """
    told: Counter[str] = Counter()
    for profile in profiles.values():
        for store, mask in profile.items():
            told[store] |= mask
    assumed = {r.store: (r.clear | r.sealed) & ~told[r.store] for r in reached if told[r.store]}
    exposed = {holding: _exposed(profile, reached, assumed) for holding, profile in profiles.items()}
    cohorts: Counter[CohortKey] = Counter()
    people_of_store: Counter[str] = Counter({r.store: 0 for r in reached})
    members = []
    for jurisdiction, holding, people in cube:
        found = exposed.get(holding)
        if found is None:
            continue
        key = CohortKey(jurisdiction, *found)
        cohorts[key] += people
        members.append((jurisdiction, holding, key))
        for r in reached:
            if profiles[holding].get(r.store):
                people_of_store[r.store] += people
    return Grouping(
        cohorts=dict(sorted(cohorts.items(), key=lambda c: (c[0].jurisdiction, c[0].clear, c[0].sealed, c[0].state))),
        members=tuple(members),
        people_of_store=dict(people_of_store),
        assumed={store: mask for store, mask in assumed.items() if mask},
    )


def _exposed(profile: Mapping[str, int], reached: Sequence[StoreReached], assumed: Mapping[str, int]) -> tuple[int, int, str] | None:
    clear, sealed, state = 0, 0, -1
    for r in reached:
        if not profile.get(r.store):
            continue
        held = profile[r.store] | assumed[r.store]
        sealed |= held & r.sealed
        clear |= held & ~r.sealed
        state = max(state, PROOF_STATES.index(r.state))
    return None if state < 0 else (clear, sealed & ~clear, PROOF_STATES[state])


def with_facts(reached: Sequence[StoreReached], facts: Mapping[str, str]) -> tuple[StoreReached, ...]:
    """Return the reached stores, raised to the proof state that a fact `store.KEY.state` gives. No fact lowers one."""

    def state(r: StoreReached) -> str:
        stated = facts.get(r.store.join(STATE_FACT), r.state)
        return max(r.state, stated, key=PROOF_STATES.index)

    return tuple(replace(r, state=state(r)) for r in reached)


def check_fact(key: str, value: str, *, exhibit: str, audience: str, before: str | None) -> list[Fault]:
    """Return what is wrong with a fact; `before` is the value it would supersede."""
    faults = []
    if not key or len(key) > NAME_CHARS_MAX or any(c.isspace() for c in key):
        faults.append(Fault("key", repr(key)[:80], f"1 to {NAME_CHARS_MAX} characters without blanks"))
    if not value.strip() or len(value) > TEXT_CHARS_MAX:
        faults.append(Fault("value", f"{len(value)} characters", f"a text of 1 to {TEXT_CHARS_MAX} characters"))
    if audience not in AUDIENCES:
        faults.append(Fault("audience", repr(audience), f"one of {', '.join(AUDIENCES)}"))
    if key.startswith(STATE_FACT[0]) and key.endswith(STATE_FACT[1]):
        if value not in PROOF_STATES:
            faults.append(Fault("value", repr(value)[:80], f"one of {', '.join(PROOF_STATES)}"))
        elif not exhibit:
            faults.append(Fault("exhibit", "nothing", "what shows it: a query log, a flow record, a dump that was found"))
        elif before is not None and PROOF_STATES.index(value) < PROOF_STATES.index(before):
            faults.append(Fault("value", value, f"not less than {before}: going down needs a signed determination"))
    return faults


def unknown_stores(profiles: Mapping[int, Mapping[str, int]], known: Iterable[str]) -> list[str]:
    """Return the stores that people's profiles name and the data map does not."""
    return sorted({store for profile in profiles.values() for store in profile} - set(known))


def may_advance(state: str, to: str) -> bool:
    """Tell whether an incident in `state` may go to `to`: forward only, but that a closed one may turn out not to be contained."""
    return STATES.index(to) > STATES.index(state) or (state, to) == ("closed", "contained")
