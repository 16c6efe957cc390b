"""Read incidents, their frozen exposures and their facts."""

from __future__ import annotations

from tocsin.evidence import queries as evidence
from tocsin.evidence.types import Entry
from tocsin.inventory.types import CutGate, Missing, StoreCut, StoreReached
from tocsin.kernel import sql
from tocsin.kernel.errors import NotFound

from .models import Cohort, ExposedSubject, Exposure, Fact, Incident, StoreReach
from .types import CohortInfo, ExposureDiff, ExposureInfo, FactInfo, IncidentInfo

SHOWN_MAX = 1_000


def incident(id: int) -> IncidentInfo:
    """Return one incident. Raises NotFound."""
    found = Incident.objects.filter(pk=id).first()
    if found is None:
        raise NotFound(f"no incident {id}")
    return _info(found)


def latest() -> IncidentInfo:
    """Return the incident declared last. Raises NotFound if there is none."""
    found = Incident.objects.order_by("-pk").first()
    if found is None:
        raise NotFound("no incident was declared")
    return _info(found)


def incidents() -> list[IncidentInfo]:
    """Return incidents, newest first; at most SHOWN_MAX."""
    return [_info(i) for i in Incident.objects.order_by("-pk")[:SHOWN_MAX]]


def exposure_of(incident: int, *, version: int | None = None) -> ExposureInfo:
    """Return the newest exposure of an incident, or one version. Raises NotFound before it is scoped."""
    found = Exposure.objects.filter(incident=incident)
    row = (found.filter(version=version) if version is not None else found.order_by("-version")).first()
    if row is None:
        raise NotFound(f"incident {incident} is not scoped yet")
    stores = list(StoreReach.objects.filter(exposure=row).order_by("pk"))
    return ExposureInfo(
        id=row.pk,
        incident=incident,
        version=row.version,
        people=row.people,
        cohorts=tuple(
            CohortInfo(c.pk, c.jurisdiction, c.clear, c.sealed, c.state, c.count)
            for c in Cohort.objects.filter(exposure=row).order_by("pk")
        ),
        reached=tuple(StoreReached(s.store, tuple(s.path), s.clear, s.sealed, s.state) for s in stores if s.reached),
        not_reached=tuple(_kept(s) for s in stores if not s.reached),
        map_digest=bytes(row.map_digest),
        frozen_at=row.frozen_at,
    )


def exposed_subjects(exposure: int, *, after: int = 0, limit: int = 10_000) -> list[tuple[int, int]]:
    """Return (subject, cohort) of an exposure, by subject, from behind `after` on; at most `limit`."""
    found = ExposedSubject.objects.filter(exposure_id=exposure, subject_id__gt=after).order_by("subject_id")
    return list(found.values_list("subject_id", "cohort_id")[:limit])


def is_exposed(exposure: int, subject: int) -> bool:
    """Tell whether somebody stands in an exposure."""
    return ExposedSubject.objects.filter(exposure_id=exposure, subject_id=subject).exists()


def exposure_diff(old: int, new: int) -> ExposureDiff:
    """Return who and what changed between two exposures, by their ids."""
    added, removed = sql.rows("incidents", "diff", old=old, new=new)[0]
    stores = {e: set(StoreReach.objects.filter(exposure=e, reached=True).values_list("store", flat=True)) for e in (old, new)}
    return ExposureDiff(
        people_added=int(added),
        people_removed=int(removed),
        stores_added=tuple(sorted(stores[new] - stores[old])),
        stores_removed=tuple(sorted(stores[old] - stores[new])),
    )


def facts(incident: int) -> list[FactInfo]:
    """Return the facts that stand, by key: those that no later one supersedes; at most SHOWN_MAX."""
    found = Fact.objects.filter(incident=incident, fact=None).order_by("key", "pk")[:SHOWN_MAX]
    return [FactInfo(f.pk, f.key, f.value, f.exhibit, f.asserted_by, f.at, f.supersedes_id, f.audience) for f in found]


def timeline(incident: int, *, limit: int = 500) -> list[Entry]:
    """Return the acts of an incident, oldest first: read from the evidence, there is no second store."""
    return evidence.activity(incident=incident, limit=limit)


def _info(i: Incident) -> IncidentInfo:
    return IncidentInfo(
        id=i.pk,
        name=i.name,
        cause=i.cause,
        state=i.state,
        hosts=tuple(i.hosts),
        discovered_at=i.discovered_at,
        declared_at=i.declared_at,
        window_from=i.window_from,
    )


def _kept(s: StoreReach) -> StoreCut:
    return StoreCut(
        store=s.store,
        cut=tuple(CutGate(g["dimension"], g["control"], tuple(g["evidence"])) for g in s.cut),
        proved=s.proved,
        missing=tuple(Missing(tuple(m["path"]), m["role"]) for m in s.missing),
        n_controls=s.n_controls,
    )
