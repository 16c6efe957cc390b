"""Declare, scope, advance, and add to the ledger of facts."""

from __future__ import annotations

import tomllib
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from django.db import transaction

from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType
from tocsin.inventory import queries as inventory
from tocsin.inventory.types import ReachReport
from tocsin.kernel import sql
from tocsin.kernel.errors import BadInput, NotFound, Refused, ensure
from tocsin.staff import actions as staff
from tocsin.staff import queries as approvals
from tocsin.subjects import queries as subjects

from . import policy, queries
from .models import Cohort, Exposure, Fact, Incident, StoreReach
from .types import AUDIENCES, STATES, Declaration, ExposureInfo

ACT = "incidents.declare"  # two people, one of them a commander


def read_declaration(path: Path, *, now: datetime) -> Declaration:
    """Return the declaration of a TOML file. Raises BadInput with every fault."""
    try:
        return policy.parse_declaration(tomllib.loads(path.read_text()), now=now)
    except OSError as e:
        raise BadInput.of("file", str(path), f"a file that can be read ({e.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise BadInput.of("file", str(path), f"valid TOML ({e})") from None


def declare(declaration: Declaration, *, approval: int | None, at: datetime, by: str) -> int:
    """Declare an incident; return its id.

    Without an approval one is asked for and Refused names it; with one that two people have signed over exactly this declaration, the
    incident, its evidence and the use of the approval commit together. Raises NotFound if the data map does not know a host.
    """
    inventory.reach(declaration.hosts)
    if approval is None:
        waiting = staff.request(ACT, declaration.payload, by=by, at=at)
        raise Refused("declaring an incident needs two people, one of them a commander", approval=waiting)
    approvals.require(approval, act=ACT, payload=declaration.payload)
    with transaction.atomic():
        staff.close(approval, at=at)
        made = Incident.objects.create(
            name=declaration.name,
            cause=declaration.cause,
            hosts=list(declaration.hosts),
            discovered_at=declaration.discovered_at or at,
            declared_at=at,
            declared_by=by,
            window_from=declaration.window_from,
            approval=approval,
        )
        evidence.record(EventType.INCIDENT_DECLARED, at=at, actor=by, incident=made.pk, body={**declaration.payload, "approval": approval})
    return made.pk


def scope(incident: int, *, at: datetime, by: str) -> ExposureInfo:
    """Compute and freeze the exposure; return it. The next version each time, the old ones stay.

    One transaction: a crash leaves nothing frozen. Raises NotFound without an incident or a data map, BadInput if people's profiles name
    stores that the data map lacks.
    """
    found = queries.incident(incident)
    report, profiles = inventory.reach(found.hosts), subjects.profiles()
    if lacking := policy.unknown_stores(profiles, [s.key for s in inventory.current_map().stores]):
        raise BadInput.of("data map", lacking, "a map that knows every store of the customers' mapping file")
    masks = policy.cohort_masks(profiles, report.reached)
    with transaction.atomic():
        Incident.objects.select_for_update().get(pk=incident)
        cells = [(j, h, n) for j, h, n in subjects.cube() if h in masks]
        version = Exposure.objects.filter(incident=incident).count() + 1
        exposure = Exposure.objects.create(
            incident_id=incident,
            version=version,
            map_digest=report.map_digest,
            people=sum(n for _, _, n in cells),
            frozen_at=at,
            frozen_by=by,
        )
        counts: dict[tuple[str, int, int, str], int] = {}
        for jurisdiction, holding, n in cells:
            key = (jurisdiction, *masks[holding])
            counts[key] = counts.get(key, 0) + n
        made = Cohort.objects.bulk_create(
            Cohort(exposure=exposure, jurisdiction=j, clear=clear, sealed=sealed, state=state, count=n)
            for (j, clear, sealed, state), n in sorted(counts.items())
        )
        ids = {(c.jurisdiction, c.clear, c.sealed, c.state): c.pk for c in made}
        sql.execute(
            "incidents",
            "freeze",
            exposure=exposure.pk,
            jurisdictions=[j for j, _, _ in cells],
            holdings=[h for _, h, _ in cells],
            cohorts=[ids[(j, *masks[h])] for j, h, _ in cells],
        )
        written = {int(c): int(n) for c, n in sql.rows("incidents", "count_rows", exposure=exposure.pk)}
        ensure(written == {c.pk: c.count for c in made}, "the frozen people do not add up to their cohorts")
        _write_stores(exposure, report)
        if found.state == "declared":
            Incident.objects.filter(pk=incident).update(state="scoped")
        evidence.record(
            EventType.EXPOSURE_FROZEN,
            at=at,
            actor=by,
            incident=incident,
            body={
                "exposure": exposure.pk,
                "version": version,
                "people": exposure.people,
                "cohorts": len(made),
                "reached": [s.store for s in report.reached],
                "not_reached": [{"store": s.store, "proved": s.proved} for s in report.not_reached],
                "map_digest": report.map_digest.hex(),
            },
        )
    return queries.exposure_of(incident)


def advance(incident: int, *, state: str, at: datetime, by: str) -> None:
    """Move an incident to a later state. Raises Refused for a step back."""
    found = queries.incident(incident)
    if state not in STATES or STATES.index(state) <= STATES.index(found.state):
        raise Refused(
            f"incident {incident} is {found.state}; it can become {', '.join(STATES[STATES.index(found.state) + 1 :]) or 'nothing more'}"
        )
    with transaction.atomic():
        Incident.objects.filter(pk=incident).update(state=state)
        evidence.record(EventType.INCIDENT_ADVANCED, at=at, actor=by, incident=incident, body={"from": found.state, "to": state})


def record_fact(
    incident: int, *, key: str, value: str, at: datetime, by: str, exhibit: str = "", supersedes: int | None = None, audience: str = "all"
) -> int:
    """Add a fact to the ledger; return its id. A superseded fact stays, named by the one that replaces it."""
    if not key or audience not in AUDIENCES:
        raise BadInput.of("fact", (key, audience), f"a key, and an audience of {', '.join(AUDIENCES)}")
    with transaction.atomic():
        if supersedes is not None and not Fact.objects.filter(pk=supersedes, incident=incident, fact=None).exists():
            raise NotFound(f"no fact {supersedes} of incident {incident} that still stands")
        made = Fact.objects.create(
            incident_id=incident, key=key, value=value, exhibit=exhibit, asserted_by=by, at=at, supersedes_id=supersedes, audience=audience
        )
        body = {"fact": made.pk, "key": key, "value": value, "exhibit": exhibit, "supersedes": supersedes, "audience": audience}
        evidence.record(EventType.FACT_RECORDED, at=at, actor=by, incident=incident, body=body)
    return made.pk


def _write_stores(exposure: Exposure, report: ReachReport) -> None:
    reached = [
        StoreReach(exposure=exposure, store=s.store, reached=True, state=s.state, path=list(s.path), clear=s.clear, sealed=s.sealed)
        for s in report.reached
    ]
    kept = [
        StoreReach(
            exposure=exposure,
            store=s.store,
            reached=False,
            state="not_reached",
            proved=s.proved,
            cut=[asdict(g) for g in s.cut],
            missing=[asdict(m) for m in s.missing],
            n_controls=s.n_controls,
        )
        for s in report.not_reached
    ]
    StoreReach.objects.bulk_create([*reached, *kept])
