"""Read incidents: what was declared, what was frozen, what is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tocsin.evidence import queries as evidence
from tocsin.evidence.types import Entry
from tocsin.inventory import queries as inventory
from tocsin.inventory.types import CutGate, Missing, StoreCut, StoreReached
from tocsin.kernel import sql
from tocsin.kernel.errors import NotFound

from .models import Containment, ExposedSubject, Exposure, Fact, Incident, StoreReach
from .types import CohortInfo, ContainmentFinding, ExposureDiff, ExposureInfo, FactInfo, IncidentInfo, JurisdictionDiff

SHOWN_MAX = 500
PAGE_MAX = 100_000
FACTS_MAX = 10_000


def incident(id: int) -> IncidentInfo:
    """Return one incident. Raises NotFound."""
    return _info(Incident.objects.filter(pk=id).first(), f"no incident {id}")


def latest() -> IncidentInfo:
    """Return the incident declared last. Raises NotFound if there is none."""
    return _info(Incident.objects.order_by("-pk").first(), "no incident was declared")


def incidents() -> list[IncidentInfo]:
    """Return incidents, newest first; at most SHOWN_MAX."""
    return [_info(i, "") for i in Incident.objects.order_by("-pk")[:SHOWN_MAX]]


def exposure_of(incident: int, *, version: int | None = None) -> ExposureInfo:
    """Return an incident's newest exposure, or one version of it. Raises NotFound before it is scoped."""
    found = Exposure.objects.filter(incident_id=incident).order_by("-version")
    row = (found if version is None else found.filter(version=version)).first()
    if row is None:
        what = "is not scoped yet" if version is None else f"has no exposure of version {version}"
        raise NotFound(f"incident {incident} {what}: tocsin incident scope {incident}")
    return _exposure(row)


def exposure(id: int) -> ExposureInfo:
    """Return one exposure. Raises NotFound."""
    row = Exposure.objects.filter(pk=id).first()
    if row is None:
        raise NotFound(f"no exposure {id}")
    return _exposure(row)


def exposed_count(exposure: int) -> int:
    """Return how many people an exposure holds. Raises NotFound."""
    people = Exposure.objects.filter(pk=exposure).values_list("people", flat=True).first()
    if people is None:
        raise NotFound(f"no exposure {exposure}")
    return people


def exposed_subjects(exposure: int, *, after: int = 0, limit: int = 10_000, not_in: int | None = None) -> list[tuple[int, int]]:
    """Return (subject, cohort) of an exposure's people after a subject, in the order of their numbers; at most PAGE_MAX.

    Page through by giving the last subject as `after`; an empty list is the end. With `not_in`, only those whom that exposure lacks.
    """
    page = sql.rows("incidents", "exposed", exposure=exposure, after=after, limit=min(limit, PAGE_MAX), not_in=not_in)
    return [(int(subject), int(cohort)) for subject, cohort in page]


def elements_of(exposure: int, subjects: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Return (clear, sealed) element masks of people in an exposure; whoever is not in it is left out. For one block at a time."""
    return {int(s): (int(clear), int(sealed)) for s, clear, sealed in sql.rows("incidents", "elements_of", exposure=exposure, subjects=list(subjects))}


def exposure_diff(old: int, new: int) -> ExposureDiff:
    """Return what a later exposure says otherwise than an earlier one, by their ids.

    Who came, went, or has other elements, state or home now, by jurisdiction; and which stores changed sides.
    """
    by = tuple(
        JurisdictionDiff(str(j), int(added), int(removed), int(changed))
        for j, added, removed, changed in sql.rows("incidents", "diff", old=old, new=new)
        if added or removed or changed
    )
    before, after = (set(StoreReach.objects.filter(exposure_id=e, reached=True).values_list("store", flat=True)) for e in (old, new))
    return ExposureDiff(
        people_added=sum(d.people_added for d in by),
        people_removed=sum(d.people_removed for d in by),
        people_changed=sum(d.people_changed for d in by),
        by_jurisdiction=by,
        stores_added=tuple(sorted(after - before)),
        stores_removed=tuple(sorted(before - after)),
    )


def is_exposed(exposure: int, subject: int) -> bool:
    """Tell whether somebody stands in an exposure."""
    return ExposedSubject.objects.filter(exposure_id=exposure, subject_id=subject).exists()


def containment(incident: int) -> list[ContainmentFinding]:
    """Return the systems that have credentials in hand and that the intruder controls by the newest exposure, with what was determined.

    By their keys. Empty for an incident that is not scoped, or unknown: nothing is known to be reached. Computed from the map that the
    exposure was frozen with, so a map loaded since changes nothing.
    """
    row = Exposure.objects.filter(incident_id=incident).select_related("incident").order_by("-version").first()
    if row is None:
        return []
    digest = bytes(row.map_digest)
    controlled = set(inventory.reach(row.incident.hosts, stolen=row.incident.stolen, digest=digest).controlled)
    stated = {c.system: c for c in Containment.objects.filter(incident_id=incident, map_digest=digest).order_by("pk")[:FACTS_MAX]}
    found = []
    for s in inventory.map_of(digest).systems:
        if s.handles_credentials and s.key in controlled:
            bare = ContainmentFinding(system=s.key, handles=s.handles_credentials)
            c = stated.get(s.key)
            found.append(
                replace(bare, statement=c.statement, exhibit=c.exhibit, signed_by=tuple(c.signed_by), at=c.at) if c is not None else bare
            )
    return found


def timeline(incident: int, *, after_id: int = 0, limit: int = 500) -> list[Entry]:
    """Return the acts of an incident from the log, oldest first. There is no second store of them."""
    return evidence.activity(incident=incident, after_id=after_id, limit=limit)


def facts(incident: int, *, superseded: bool = False) -> list[FactInfo]:
    """Return the facts that hold, by key; with `superseded` all that were ever asserted, oldest first. At most FACTS_MAX."""
    found = Fact.objects.filter(incident_id=incident).select_related("superseded_by")
    found = found.order_by("pk") if superseded else found.filter(superseded_by=None).order_by("key")
    return [
        FactInfo(
            id=f.pk,
            key=f.key,
            value=f.value,
            exhibit=f.exhibit,
            audience=f.audience,
            asserted_by=f.asserted_by,
            at=f.at,
            supersedes=f.supersedes_id,
            superseded_by=f.superseded_by.pk if hasattr(f, "superseded_by") else None,
        )
        for f in found[:FACTS_MAX]
    ]


def _info(row: Incident | None, missing: str) -> IncidentInfo:
    if row is None:
        raise NotFound(missing)
    return IncidentInfo(
        id=row.pk,
        name=row.name,
        cause=row.cause,
        state=row.state,
        discovered_at=row.discovered_at,
        declared_at=row.declared_at,
        window_from=row.window_from,
        hosts=tuple(row.hosts),
        stolen=tuple(row.stolen),
        entity=row.entity,
        story=row.story,
        hold=row.hold,
    )


def _exposure(row: Exposure) -> ExposureInfo:
    stores = list(row.stores.order_by("store"))
    reached = [s for s in stores if s.reached]
    return ExposureInfo(
        id=row.pk,
        incident=row.incident_id,
        version=row.version,
        people=row.people,
        cohorts=tuple(
            CohortInfo(id=c.pk, jurisdiction=c.jurisdiction, clear=c.clear, sealed=c.sealed, state=c.state, count=c.count)
            for c in row.cohorts.order_by("jurisdiction", "pk")
        ),
        reached=tuple(StoreReached(store=s.store, path=tuple(s.path), clear=s.clear, sealed=s.sealed, state=s.state) for s in reached),
        not_reached=tuple(_cut(s) for s in stores if not s.reached),
        keys_held=tuple(row.keys_held),
        people_of_store={s.store: s.people for s in reached},
        assumed={s.store: s.assumed for s in reached if s.assumed},
        map_digest=bytes(row.map_digest),
        frozen_at=row.frozen_at,
    )


def _cut(s: StoreReach) -> StoreCut:
    return StoreCut(
        store=s.store,
        cut=tuple(CutGate(dimension=g["dimension"], control=g["control"], evidence=tuple(g["evidence"])) for g in s.cut),
        proved=s.proved,
        missing=tuple(Missing(path=tuple(m["path"]), role=m["role"]) for m in s.missing),
        n_controls=s.n_controls,
    )
