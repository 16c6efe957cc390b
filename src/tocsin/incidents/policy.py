"""The decisions of the incidents room, pure: is a declaration whole, and who belongs to which cohort."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from tocsin.inventory.types import StoreReached
from tocsin.kernel.errors import BadInput, Fault

from .types import Declaration

HOSTS_MAX = 1_000
TEXT_CHARS_MAX = 2_000
PROOF_STATES = ("reachable", "accessed", "exfiltrated")
_KEYS = ("name", "cause", "hosts", "discovered_at", "window_from")


def parse_declaration(raw: Mapping[str, Any], *, now: datetime) -> Declaration:
    """Return the declaration in a parsed TOML document, table `[incident]`. Raises BadInput with every fault."""
    faults: list[Fault] = []
    table = raw.get("incident")
    if not isinstance(table, Mapping):
        raise BadInput.of("incident", table, "a table [incident]")
    faults += [Fault(f"incident.{key}", repr(table[key]), f"one of {', '.join(_KEYS)}") for key in table if key not in _KEYS]
    for key in ("name", "cause"):
        value = table.get(key)
        if not isinstance(value, str) or not value.strip() or len(value) > TEXT_CHARS_MAX:
            faults.append(Fault(f"incident.{key}", repr(value)[:80], f"a text of 1 to {TEXT_CHARS_MAX} characters"))
    hosts = table.get("hosts")
    if not isinstance(hosts, list) or not 0 < len(hosts) <= HOSTS_MAX or not all(isinstance(h, str) and h for h in hosts):
        faults.append(Fault("incident.hosts", repr(hosts)[:80], f"a list of 1 to {HOSTS_MAX} systems of the data map"))
        hosts = []
    instants: dict[str, datetime | None] = {}
    for key in ("discovered_at", "window_from"):
        value = table.get(key)
        if value is None:
            instants[key] = None
        elif not isinstance(value, datetime) or value.tzinfo is None:
            faults.append(Fault(f"incident.{key}", repr(value), "an instant with an offset, such as 2012-01-15T08:00:00Z"))
        elif value > now:
            faults.append(Fault(f"incident.{key}", value.isoformat(), "an instant that has passed"))
        else:
            instants[key] = value.astimezone(UTC)
    if faults:
        raise BadInput(faults)
    return Declaration(name=table["name"].strip(), cause=table["cause"].strip(), hosts=tuple(hosts), **instants)


def unknown_stores(profiles: Mapping[int, Mapping[str, int]], known: Iterable[str]) -> list[str]:
    """Return the stores that people's profiles name and the data map does not."""
    return sorted({store for stores in profiles.values() for store in stores} - set(known))


def cohort_masks(profiles: Mapping[int, Mapping[str, int]], reached: Iterable[StoreReached]) -> dict[int, tuple[int, int, str]]:
    """Return for each holding profile that was touched (clear mask, sealed mask, proof state). Done once per profile, not per person.

    An element that a store is known to hold but that the register does not track per person counts for everybody in that store: missing
    information never protects anyone.
    """
    tracked: dict[str, int] = {}
    for stores in profiles.values():
        for store, mask in stores.items():
            tracked[store] = tracked.get(store, 0) | mask
    found: dict[int, tuple[int, int, str]] = {}
    for r in reached:
        for holding, stores in profiles.items():
            if r.store not in stores:
                continue
            held = stores[r.store] | ~tracked[r.store]
            clear, sealed, state = found.get(holding, (0, 0, PROOF_STATES[0]))
            worse = max(state, r.state, key=PROOF_STATES.index)
            clear |= r.clear & held
            found[holding] = (clear, (sealed | r.sealed & held) & ~clear, worse)
    return found
