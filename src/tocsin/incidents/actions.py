"""Declare, scope, advance; record facts; hold and forget."""

from __future__ import annotations

import dataclasses
import tomllib
from datetime import datetime
from pathlib import Path

from django.db import OperationalError, transaction

from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType
from tocsin.inventory import queries as inventory
from tocsin.inventory.types import ReachReport
from tocsin.kernel import sql
from tocsin.kernel.clock import iso
from tocsin.kernel.errors import BadInput, Busy, Fault, NotFound, Refused, ensure
from tocsin.staff import actions as staff
from tocsin.staff import queries as approvals
from tocsin.subjects import actions as register
from tocsin.subjects import queries as subjects

from . import policy, queries
from .models import Cohort, Containment, Exposure, Fact, Incident, StoreReach
from .types import STATES, Declaration, ExposureInfo

ACT = "incidents.declare"
CONTAIN = "incidents.contain"
STATEMENT_CHARS_MAX = 4_000
COHORTS_MAX = 1_000_000
COHORT_ROWS = 5_000  # cohorts per INSERT
FORGET_ROWS = 10_000
RETRY_S = 30.0


def read_declaration(path: Path, *, now: datetime) -> Declaration:
    """Return the declaration of a TOML file. Raises BadInput with every fault, an instant still to come among them."""
    try:
        found = policy.parse_declaration(tomllib.loads(path.read_text()))
        policy.moments(found, asked_at=now)
        return found
    except OSError as e:
        raise BadInput.of("declaration", str(path), f"a file that can be read ({e.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise BadInput.of("declaration", str(path), f"valid TOML ({e})") from None


def declare(declaration: Declaration, *, approval: int | None, at: datetime, by: str) -> int:
    """Declare an incident that two people have signed; return its id.

    With `approval` None the signatures are asked for and Refused is raised, carrying the approval to be signed. Raises BadInput for a
    declaration that cannot be (every fault), Refused while signatures lack or once the approval was used. One transaction: incident,
    evidence and the closed approval.
    """
    stated = policy.parse_declaration(_as_file(declaration))
    signed = policy.payload(stated)
    if approval is None:
        policy.moments(stated, asked_at=at)
        _check_hosts(stated)
        asked = staff.request(ACT, signed, by=by, at=at)
        raise Refused(f"declaring needs two people: sign approval {asked}, then declare with it", approval=asked)
    with transaction.atomic():
        granted = approvals.require(approval, act=ACT, payload=signed)
        # Discovery is at the latest when somebody asked for the declaration: the earlier of two instants, so the stricter.
        discovered_at, window_from = policy.moments(stated, asked_at=granted.requested_at)
        _check_hosts(stated)
        staff.close(approval, at=at)
        made = Incident.objects.create(
            name=stated.name,
            cause=stated.cause,
            story=stated.story,
            discovered_at=discovered_at,
            declared_at=max(at, granted.requested_at),
            declared_by=by,
            window_from=window_from,
            hosts=list(stated.hosts),
            stolen=list(stated.stolen),
            entity=dict(stated.entity),
            approval=approval,
        )
        evidence.record(
            EventType.INCIDENT_DECLARED,
            at=at,
            actor=by,
            incident=made.pk,
            body={**signed, "discovered_at": iso(discovered_at), "approval": approval, "signed_by": list(granted.signed_by)},
        )
        return made.pk


def scope(incident: int, *, at: datetime, by: str) -> ExposureInfo:
    """Freeze whose what was reachable, as the data map and the register stand now; return the new version.

    One transaction: exposure, stores, cohorts, one row per person, evidence; a crash leaves the version before. The register is kept
    still meanwhile (24 million people: a minute). Raises NotFound without incident or data map, Refused once closed, Busy during an import.
    """
    with transaction.atomic():
        row = _locked(incident)
        if row.state == "closed":
            raise Refused(f"incident {incident} is closed: advance it to contained first")
        _keep_register_still()
        reach, profiles = _reach(row), subjects.profiles()
        if lacking := policy.unknown_stores(profiles, [*(r.store for r in reach.reached), *(s.store for s in reach.not_reached)]):
            raise BadInput.of("data map", lacking, "a map that knows every store of the customers' mapping file")
        grouping = policy.group(subjects.cube(), profiles, reach.reached)
        if len(grouping.cohorts) > COHORTS_MAX:
            raise BadInput.of("cohorts", len(grouping.cohorts), f"at most {COHORTS_MAX}")
        version = row.exposures.count() + 1
        exposure = Exposure.objects.create(
            incident=row,
            version=version,
            map_digest=reach.map_digest,
            keys_held=list(reach.keys_held),
            people=grouping.people,
            frozen_at=at,
            frozen_by=by,
        )
        StoreReach.objects.bulk_create(_stores(exposure, reach, grouping))
        _freeze(exposure, grouping)
        if row.state == "declared":
            row.state = "scoped"
            row.save(update_fields=["state"])
        evidence.record(
            EventType.EXPOSURE_FROZEN,
            at=at,
            actor=by,
            incident=incident,
            body={
                "exposure": exposure.pk,
                "version": version,
                "people": grouping.people,
                "cohorts": len(grouping.cohorts),
                "reached": {store: grouping.people_of_store[store] for store in sorted(grouping.people_of_store)},
                "not_reached": sorted(s.store for s in reach.not_reached),
                "proved": sorted(s.store for s in reach.not_reached if s.proved),
                "map_digest": reach.map_digest.hex(),
            },
        )
    return queries.exposure(exposure.pk)


def advance(incident: int, *, state: str, at: datetime, by: str, reason: str = "") -> None:
    """Take an incident to a later state. Raises BadInput for a state there is none of, Refused for a step back (see `may_advance`)."""
    if state not in STATES:
        raise BadInput.of("state", state, f"one of {', '.join(STATES)}")
    with transaction.atomic():
        row = _locked(incident)
        if not policy.may_advance(row.state, state):
            later = ", ".join(s for s in STATES if policy.may_advance(row.state, s))
            raise Refused(f"incident {incident} is {row.state}; it can become {later}")
        before, row.state = row.state, state
        row.save(update_fields=["state"])
        evidence.record(
            EventType.INCIDENT_ADVANCED, at=at, actor=by, incident=incident, body={"from": before, "to": state, "reason": reason}
        )


def record_fact(incident: int, *, key: str, value: str, at: datetime, by: str, exhibit: str = "", audience: str = "all") -> int:
    """Assert a fact; return its id. It supersedes the fact of the same key, which stays on record. Facts name no person.

    A fact `store.KEY.state` raises a store's proof state at the next scoping and needs an exhibit. The same fact again changes nothing.
    What only counsel or law enforcement may read goes into the log by key alone. Raises BadInput with every fault.
    """
    with transaction.atomic():
        row = _locked(incident)
        before = row.facts.filter(key=key, superseded_by=None).first()
        if before and (before.value, before.exhibit, before.audience) == (value, exhibit, audience):
            return before.pk
        if faults := policy.check_fact(key, value, exhibit=exhibit, audience=audience, before=before.value if before else None):
            raise BadInput(faults)
        made = Fact.objects.create(
            incident=row, key=key, value=value, exhibit=exhibit, audience=audience, asserted_by=by, at=at, supersedes=before
        )
        body = {"fact": made.pk, "key": key, "exhibit": exhibit, "audience": audience, "supersedes": before.pk if before else None}
        shown = {"value": value} if audience == "all" else {}
        evidence.record(EventType.FACT_RECORDED, at=at, actor=by, incident=incident, body=body | shown)
        return made.pk


def determine_containment(
    incident: int, *, system: str, statement: str, exhibit: str = "", approval: int | None, at: datetime, by: str
) -> int:
    """Determine that a reached system which has credentials in hand is out of the intruder's hands again; return the determination's id.

    Two people sign the statement. With `approval` None it is asked for, and Refused carries its id. Raises NotFound for an incident that
    is not scoped, BadInput for a system that the newest exposure does not show as reached, or without a statement. One transaction.
    """
    digest = queries.exposure_of(incident).map_digest
    reached = {f.system for f in queries.containment(incident)}
    faults = []
    if system not in reached:
        faults.append(
            Fault("system", repr(system), f"a reached system that has credentials in hand: {', '.join(sorted(reached)) or 'there is none'}")
        )
    if not statement.strip() or len(statement) > STATEMENT_CHARS_MAX:
        faults.append(Fault("statement", f"{len(statement)} characters", f"how it was contained, in 1 to {STATEMENT_CHARS_MAX} characters"))
    if faults:
        raise BadInput(faults)
    payload = {"incident": incident, "system": system, "statement": statement, "exhibit": exhibit, "map_digest": digest.hex()}
    if approval is None:
        asked = staff.request(CONTAIN, payload, by=by, at=at)
        raise Refused(f"a determination needs two people: sign approval {asked}, then give it again", approval=asked)
    with transaction.atomic():
        row = _locked(incident)
        granted = approvals.require(approval, act=CONTAIN, payload=payload)
        staff.close(approval, at=at)
        made = Containment.objects.create(
            incident=row,
            system=system,
            map_digest=digest,
            statement=statement,
            exhibit=exhibit,
            approval=approval,
            signed_by=list(granted.signed_by),
            determined_by=by,
            at=at,
        )
        body = {**payload, "approval": approval, "signed_by": list(granted.signed_by)}
        evidence.record(EventType.SYSTEM_CONTAINED, at=at, actor=by, incident=incident, body=body)
        return made.pk


def hold(incident: int, *, reason: str | None, at: datetime, by: str) -> None:
    """Forbid (or with None allow again) that anybody of an incident is forgotten. Recorded with its reason."""
    if reason is not None and not reason.strip():
        raise BadInput.of("reason", reason, "why nobody may be forgotten, or None to lift the hold")
    with transaction.atomic():
        row = _locked(incident)
        if row.hold == reason:
            return
        row.hold = reason
        row.save(update_fields=["hold"])
        evidence.record(EventType.INCIDENT_ADVANCED, at=at, actor=by, incident=incident, body={"hold": reason})


def forget(incident: int, *, at: datetime, by: str) -> int:
    """Forget the people of a closed incident whom no other incident still needs; return how many were not forgotten before.

    Refused while the incident is open or held. Batches, each a transaction: a crash leaves the rest for the next call.
    """
    row = Incident.objects.filter(pk=incident).first()
    if row is None:
        raise NotFound(f"no incident {incident}")
    if row.state != "closed":
        raise Refused(f"incident {incident} is {row.state}: only a closed one forgets its people")
    if row.hold is not None:
        raise Refused(f"a hold lies on incident {incident}: {row.hold}")
    own = list(row.exposures.values_list("pk", flat=True))
    needing = Incident.objects.exclude(pk=incident).exclude(state="closed", hold=None)
    others = list(Exposure.objects.filter(incident__in=needing).values_list("pk", flat=True))
    forgotten, after = 0, 0
    while page := [int(s) for (s,) in sql.rows("incidents", "forgettable", own=own, others=others, after=after, limit=FORGET_ROWS)]:
        forgotten += register.forget(page, incident=incident, at=at, by=by)
        after = page[-1]
    return forgotten


def _as_file(declaration: Declaration) -> dict[str, object]:
    """Return the document that would make this declaration, so that one made in code is checked like a file."""
    table = {f.name: getattr(declaration, f.name) for f in dataclasses.fields(declaration) if f.name != "entity"}
    return {
        "incident": {k: list(v) if isinstance(v, tuple) else v for k, v in table.items() if v is not None},
        "entity": declaration.entity,
    }


def _check_hosts(declaration: Declaration) -> None:
    """Refuse hosts that the data map does not know. Without a map an incident can be declared, but not scoped."""
    try:
        known = {s.key for s in inventory.current_map().systems}
    except NotFound:
        return
    if unknown := [h for h in declaration.hosts if h not in known]:
        raise BadInput([Fault("hosts", repr(h), f"a system of the data map: {', '.join(sorted(known)[:20])}") for h in unknown])


def _locked(incident: int) -> Incident:
    row = Incident.objects.select_for_update().filter(pk=incident).first()
    if row is None:
        raise NotFound(f"no incident {incident}")
    return row


def _keep_register_still() -> None:
    try:
        with transaction.atomic():  # a savepoint: the refusal must not spoil the caller's transaction
            sql.execute("incidents", "still_register")
    except OperationalError as e:
        raise Busy("the register of subjects is being written to; scope again when that has ended", retry_after_s=RETRY_S) from e


def _reach(row: Incident) -> ReachReport:
    reach = inventory.reach(row.hosts, stolen=row.stolen)
    facts = dict(row.facts.filter(superseded_by=None).values_list("key", "value"))
    return dataclasses.replace(reach, reached=policy.with_facts(reach.reached, facts))


def _stores(exposure: Exposure, reach: ReachReport, grouping: policy.Grouping) -> list[StoreReach]:
    reached = [
        StoreReach(
            exposure=exposure,
            store=r.store,
            reached=True,
            state=r.state,
            path=list(r.path),
            clear=r.clear,
            sealed=r.sealed,
            assumed=grouping.assumed.get(r.store, 0),
            people=grouping.people_of_store[r.store],
        )
        for r in reach.reached
    ]
    kept = [
        StoreReach(
            exposure=exposure,
            store=s.store,
            reached=False,
            state="not_reached",
            cut=[dataclasses.asdict(g) for g in s.cut],
            missing=[dataclasses.asdict(m) for m in s.missing],
            proved=s.proved,
            n_controls=s.n_controls,
        )
        for s in reach.not_reached
    ]
    return reached + kept


def _freeze(exposure: Exposure, grouping: policy.Grouping) -> None:
    """Write cohorts and people, and check that they are each other's."""
    made = Cohort.objects.bulk_create(
        [
            Cohort(exposure=exposure, jurisdiction=k.jurisdiction, clear=k.clear, sealed=k.sealed, state=k.state, count=n)
            for k, n in grouping.cohorts.items()
        ],
        batch_size=COHORT_ROWS,
    )
    ids = {key: cohort.pk for key, cohort in zip(grouping.cohorts, made, strict=True)}
    frozen = sql.execute(
        "incidents",
        "freeze",
        exposure=exposure.pk,
        jurisdictions=[m[0] for m in grouping.members],
        holdings=[m[1] for m in grouping.members],
        cohorts=[ids[m[2]] for m in grouping.members],
    )
    ensure(frozen == grouping.people == exposure.people, f"froze {frozen} people of {grouping.people}")
    ensure(not sql.rows("incidents", "miscounted", exposure=exposure.pk), f"cohorts of exposure {exposure.pk} do not hold their people")
