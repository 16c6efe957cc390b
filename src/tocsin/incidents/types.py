"""Values of the incidents room that cross its wall."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tocsin.inventory.types import StoreCut, StoreReached

STATES = ("declared", "scoped", "contained", "notifying", "recovering", "closed")
AUDIENCES = ("all", "counsel", "law_enforcement")


@dataclass(frozen=True, slots=True)
class Declaration:
    """What is said when an incident is declared. `window_from`: the first instant at which the intruder may have been inside."""

    name: str
    cause: str
    hosts: tuple[str, ...]
    discovered_at: datetime | None = None
    window_from: datetime | None = None

    @property
    def payload(self) -> dict[str, Any]:
        """Return what two people sign for `incidents.declare`."""
        return {
            "name": self.name,
            "cause": self.cause,
            "hosts": list(self.hosts),
            "discovered_at": self.discovered_at.isoformat() if self.discovered_at else None,
            "window_from": self.window_from.isoformat() if self.window_from else None,
        }


@dataclass(frozen=True, slots=True)
class IncidentInfo:
    """An incident as declared, and where it stands."""

    id: int
    name: str
    cause: str
    state: str
    hosts: tuple[str, ...]
    discovered_at: datetime
    declared_at: datetime
    window_from: datetime | None


@dataclass(frozen=True, slots=True)
class CohortInfo:
    """Exposed people of one jurisdiction with the same elements: masks of `inventory.types.ELEMENTS`."""

    id: int
    jurisdiction: str
    clear: int
    sealed: int
    state: str
    count: int


@dataclass(frozen=True, slots=True)
class ExposureInfo:
    """The frozen answer to "whose what was reachable"."""

    id: int
    incident: int
    version: int
    people: int
    cohorts: tuple[CohortInfo, ...]
    reached: tuple[StoreReached, ...]
    not_reached: tuple[StoreCut, ...]
    map_digest: bytes
    frozen_at: datetime


@dataclass(frozen=True, slots=True)
class ExposureDiff:
    """What changed between two versions: people newly in, people no longer in, and stores that changed sides."""

    people_added: int
    people_removed: int
    stores_added: tuple[str, ...]
    stores_removed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FactInfo:
    """One fact of the ledger; `supersedes` names the fact it replaces."""

    id: int
    key: str
    value: str
    exhibit: str
    asserted_by: str
    at: datetime
    supersedes: int | None
    audience: str
