"""Values of the incidents room that cross its wall."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tocsin.inventory.types import StoreCut, StoreReached, codes_of

STATES = ("declared", "scoped", "contained", "notifying", "recovering", "closed")
PROOF_STATES = ("reachable", "accessed", "exfiltrated")  # weakest first
AUDIENCES = ("all", "counsel", "law_enforcement")


@dataclass(frozen=True, slots=True)
class Declaration:
    """What two people declare. Without `discovered_at`, discovery is the moment the declaration was first asked for.

    `window_hours` reaches back from discovery and stands in for `window_from`; without either the window is open. `entity` are answers of
    the set-up to the law files' predicates. `stolen` are roles and keys the intruder is known to hold.
    """

    name: str
    cause: str
    hosts: tuple[str, ...]
    discovered_at: datetime | None = None
    window_from: datetime | None = None
    window_hours: int | None = None
    stolen: tuple[str, ...] = ()
    entity: Mapping[str, bool] = field(default_factory=dict)
    story: str = ""


@dataclass(frozen=True, slots=True)
class IncidentInfo:
    """A declared incident. `hold` says why nobody of it may be forgotten, None if nothing forbids it."""

    id: int
    name: str
    cause: str
    state: str
    discovered_at: datetime
    declared_at: datetime
    window_from: datetime | None
    hosts: tuple[str, ...]
    stolen: tuple[str, ...]
    entity: Mapping[str, bool]
    story: str
    hold: str | None


@dataclass(frozen=True, slots=True)
class CohortInfo:
    """People of one jurisdiction with the same elements (bits of `inventory.types.ELEMENTS`) and proof state."""

    id: int
    jurisdiction: str
    clear: int
    sealed: int
    state: str
    count: int


@dataclass(frozen=True, slots=True)
class ExposureInfo:
    """A frozen exposure. `people_of_store` counts a person in each reached store; `assumed` are elements nobody's profile tells of."""

    id: int
    incident: int
    version: int
    people: int
    cohorts: tuple[CohortInfo, ...]
    reached: tuple[StoreReached, ...]
    not_reached: tuple[StoreCut, ...]
    keys_held: tuple[str, ...]
    people_of_store: Mapping[str, int]
    assumed: Mapping[str, int]
    map_digest: bytes
    frozen_at: datetime

    @property
    def people_unknown(self) -> int:
        """Return how many of the people live nobody knows where."""
        return sum(c.count for c in self.cohorts if c.jurisdiction == "ZZ")

    def as_json(self) -> dict[str, Any]:
        """Return the document of `incident scope --json`."""
        return {
            "exposure_id": self.id,
            "version": self.version,
            "people": self.people,
            "people_unknown": self.people_unknown,
            "cohorts": [
                {
                    "jurisdiction": c.jurisdiction,
                    "elements": list(codes_of(c.clear)),
                    "encrypted": list(codes_of(c.sealed)),
                    "state": c.state,
                    "count": c.count,
                }
                for c in self.cohorts
            ],
            "reached": [
                {"store": r.store, "state": r.state, "path": list(r.path), "people": self.people_of_store.get(r.store, 0)}
                for r in self.reached
            ],
            "not_reached": [{"store": s.store, "proved": s.proved, "cut": [g.control for g in s.cut]} for s in self.not_reached],
            "assumed": {store: list(codes_of(mask)) for store, mask in self.assumed.items()},
            "map_digest": self.map_digest.hex(),
        }


@dataclass(frozen=True, slots=True)
class JurisdictionDiff:
    """How many people of one jurisdiction came, went, or stand in another cohort now."""

    jurisdiction: str
    people_added: int
    people_removed: int
    people_changed: int


@dataclass(frozen=True, slots=True)
class ExposureDiff:
    """What a later exposure says otherwise than an earlier one. A person who moved counts as changed under the later jurisdiction."""

    people_added: int
    people_removed: int
    people_changed: int
    by_jurisdiction: tuple[JurisdictionDiff, ...]
    stores_added: tuple[str, ...]
    stores_removed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FactInfo:
    """A statement about an incident; `supersedes` and `superseded_by` name its neighbours; what holds has no newer one."""

    id: int
    key: str
    value: str
    exhibit: str
    audience: str
    asserted_by: str
    at: datetime
    supersedes: int | None
    superseded_by: int | None


@dataclass(frozen=True, slots=True)
class ContainmentFinding:
    """A system that has credentials in hand (what of them: `handles`, of `inventory.types.HANDLES`) and that the intruder controls.

    `statement` is what two people (`signed_by`) have determined about it, None while nobody has.
    """

    system: str
    handles: tuple[str, ...]
    statement: str | None = None
    exhibit: str = ""
    signed_by: tuple[str, ...] = ()
    at: datetime | None = None

    @property
    def contained(self) -> bool:
        """Tell whether a signed determination stands."""
        return self.statement is not None
