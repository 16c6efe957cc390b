"""Writes of the obligations room: assess an incident, answer what it asks, sign a determination, close a duty."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

from django.db import transaction

from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType
from tocsin.incidents import queries as incidents
from tocsin.inventory import queries as inventory
from tocsin.inventory.types import StoreReached
from tocsin.kernel import sql
from tocsin.kernel.clock import iso
from tocsin.kernel.errors import BadInput, Fault, NotFound, Refused
from tocsin.staff import actions as staff
from tocsin.staff import queries as approvals

from . import laws, policy, queries
from .models import Answer, Assessment, Determination, Obligation
from .policy.codes import REGIME
from .policy.estate import ENTITY, CohortLike
from .types import DETERMINATIONS, DutyInfo, Facts
from .types import Assessment as AssessmentAnswer

ACT = "obligations.close"  # two people, one of the Legal role: closing a duty, and finding that a law does not bind
RECORD_YEARS = 5  # how long a determination is kept where its law names no time
TEXT_CHARS_MAX = 20_000


class Exposure(Protocol):
    """What is read of incidents' ExposureInfo."""

    @property
    def id(self) -> int:
        """Of the frozen exposure."""

    @property
    def cohorts(self) -> Iterable[CohortLike]:
        """People by jurisdiction, elements and state."""

    @property
    def reached(self) -> Iterable[StoreReached]:
        """Stores the intruder can read."""


def assess(incident: int, *, at: datetime, by: str) -> list[DutyInfo]:
    """Evaluate every law for an incident's newest exposure; return its duties by due date.

    The same exposure, answers and law data change nothing. One transaction: assessment, duties and evidence, or none of them. Closed
    duties stay closed; a duty no longer found is marked withdrawn, never deleted. Raises NotFound before the incident is scoped.
    """
    exposure, discovered_at = incidents.exposure_of(incident), incidents.incident(incident).discovered_at
    return assess_exposure(incident, exposure, discovered_at=discovered_at, at=at, by=by)


def assess_exposure(incident: int, exposure: Exposure, *, discovered_at: datetime, at: datetime, by: str) -> list[DutyInfo]:
    """Do what `assess` does, for a given exposure."""
    data = laws.shipped()
    with transaction.atomic():
        sql.execute("obligations", "lock_incident", incident=incident)
        facts = policy.facts_of(
            exposure,
            discovered_at=discovered_at,
            answers=queries.answers(incident),
            special=_regimes(exposure),
            determinations=queries.determinations(incident),
            now=at,
        )
        document = policy.document_of(facts)
        before = Assessment.objects.filter(incident=incident).order_by("-pk").first()
        if before is not None and (before.facts, before.exposure, before.data_digest) == (document, exposure.id, data.digest):
            return queries.duties(incident)
        answer = policy.assess(facts, data)
        row = Assessment.objects.create(
            incident=incident,
            exposure=exposure.id,
            data_version=data.data_version,
            data_digest=data.digest,
            facts=document,
            answer={**answer.as_json(), "severity": severity_of(facts)},
            at=at,
            by=by,
        )
        difference = _write(incident, row, answer, at=at)
        evidence.record(
            EventType.DUTIES_ASSESSED,
            at=at,
            actor=by,
            incident=incident,
            body={
                "assessment": row.pk,
                "exposure": exposure.id,
                "data_version": data.data_version,
                "data_digest": data.digest,
                "duties": len(answer.duties),
                "questions": len(answer.questions),
                "earliest_due_at": next((iso(d.due_at) for d in answer.duties if d.due_at), None),
                "cause": _cause(before, document, exposure.id, data.digest),
                **difference,
            },
        )
    return queries.duties(incident)


def answer(key: str, value: Any, *, incident: int | None, at: datetime, by: str) -> None:
    """Record an answer: `entity.PREDICATE` (incident None), `event.NAME`, `LAW.DUTY` or `LAW.CODE`. Takes effect at the next `assess`.

    The same answer again changes nothing. Raises BadInput for an unknown key or a value of the wrong kind.
    """
    wanted = policy.fault_of_answer(key, value)
    if wanted is None and key.startswith(ENTITY) != (incident is None):
        wanted = "entity.* of the company, without an incident; everything else of one incident"
    if wanted is None and not key.startswith((ENTITY, "event.")) and key.split(".")[0] not in {law.id for law in laws.shipped().laws}:
        wanted = "LAW.DUTY or LAW.CODE of a law in the data"
    if wanted is not None:
        raise BadInput(Fault(key, repr(value), wanted))
    with transaction.atomic():
        sql.execute("obligations", "lock_incident", incident=incident or 0)
        newest = Answer.objects.filter(incident=incident, key=key).order_by("-pk").first()
        if newest is not None and newest.value == value:
            return
        Answer.objects.create(incident=incident, key=key, value=value, at=at, by=by)
        evidence.record(EventType.FACT_RECORDED, at=at, actor=by, incident=incident, body={"key": key, "value": value})


def determine(incident: int, *, kind: str, law: str | None, text: str, approval: int | None, at: datetime, by: str) -> int:
    """Record a signed finding; return its id. Takes effect at the next `assess`.

    Without a granted approval one is requested and Refused names it. Raises BadInput for an unknown kind or law.
    """
    known = {entry.id: entry for entry in laws.shipped().laws}
    faults = []
    if kind not in DETERMINATIONS:
        faults.append(Fault("kind", repr(kind), f"one of {', '.join(DETERMINATIONS)}"))
    if law is not None and law not in known:
        faults.append(Fault("law", repr(law), "a law of the data"))
    if law is None and kind == "no_harm":
        faults.append(Fault("law", "none", "the law whose test of harm was made: it differs from law to law"))
    if not text.strip() or len(text) > TEXT_CHARS_MAX:
        faults.append(Fault("text", f"{len(text)} characters", f"the finding and its factors, 1 to {TEXT_CHARS_MAX} characters"))
    if faults:
        raise BadInput(faults)
    payload = {"determination": kind, "incident": incident, "law": law, "text": text}
    years = known[law].raw["trigger"]["harm"].get("record_years", RECORD_YEARS) if law else RECORD_YEARS
    _signed(approval, payload, by=by, at=at)
    with transaction.atomic():
        used = approvals.require(approval, act=ACT, payload=payload).id
        row = Determination.objects.create(
            incident=incident,
            kind=kind,
            law=law,
            text=text,
            approval=used,
            at=at,
            by=by,
            retention_until=(at + timedelta(days=366 * years)).date(),
        )
        staff.close(used, at=at)
        body = {"determination": row.pk, "kind": kind, "law": law, "approval": used, "retention_until": row.retention_until.isoformat()}
        evidence.record(EventType.FACT_RECORDED, at=at, actor=by, incident=incident, body=body)
    return row.pk


def close(incident: int, *, law: str, duty: str, state: str, text: str, approval: int | None, at: datetime, by: str) -> None:
    """Close a duty as done or waived, with the proof in words. Two people, one of Legal.

    Without a granted approval one is requested and Refused names it. Raises NotFound, BadInput, Refused if it is closed already.
    """
    if state not in ("done", "waived") or not text.strip() or len(text) > TEXT_CHARS_MAX:
        raise BadInput([Fault("state", repr(state), "done or waived, with a text of the proof or the reason")])
    payload = {"incident": incident, "law": law, "duty": duty, "state": state, "text": text}
    row = Obligation.objects.filter(incident=incident, law=law, duty=duty, withdrawn_at=None).first()
    if row is None:
        raise NotFound(f"incident {incident} has no duty {law}.{duty}")
    if row.state in ("done", "waived"):
        raise Refused(f"{law}.{duty} is {row.state} already")
    _signed(approval, payload, by=by, at=at)
    with transaction.atomic():
        used = approvals.require(approval, act=ACT, payload=payload).id
        proof = {"text": text, "approval": used, "by": by, "at": iso(at)}
        # The state is read again under the row's lock: of two closings at once one is refused.
        if not Obligation.objects.filter(pk=row.pk).exclude(state__in=("done", "waived")).update(state=state, proof=proof):
            raise Refused(f"{law}.{duty} was closed meanwhile")
        staff.close(used, at=at)
        evidence.record(
            EventType.DUTY_CLOSED,
            at=at,
            actor=by,
            incident=incident,
            body={"law": law, "duty": duty, "state": state, "text": text, "approval": used},
        )


def severity_of(facts: Facts) -> dict[str, Any]:
    """Return the advisory severity of everything exposed, as JSON values."""
    exposed = [c for c in facts.cohorts if c.count > 0]
    clear = frozenset(code for c in exposed for code in c.elements - c.encrypted)
    return policy.severity(
        clear | facts.special, people=sum(c.count for c in exposed), unintelligible=bool(exposed) and not clear
    ).as_json()


def _signed(approval: int | None, payload: Mapping[str, Any], *, by: str, at: datetime) -> None:
    """Ask for the signatures if none were offered: outside the act's transaction, so that the request stays when the act is refused."""
    if approval is None:
        asked = staff.request(ACT, payload, by=by, at=at)
        raise Refused(f"{ACT} needs the approval of two people, one of the Legal role", approval=asked)


def _regimes(exposure: Exposure) -> set[str]:
    """Return the regime codes of the stores reached; stores that the map no longer has bring none."""
    try:
        stores = {s.key: s for s in inventory.current_map().stores}
    except NotFound:
        return set()
    return {REGIME[r] for reached in exposure.reached if reached.store in stores for r in stores[reached.store].regime}


def _write(incident: int, row: Assessment, answer: AssessmentAnswer, *, at: datetime) -> dict[str, list[str]]:
    """Bring the incident's duties to the new answer; return what was added, removed and changed."""
    old = {(o.law, o.duty): o for o in Obligation.objects.select_for_update().filter(incident=incident)}
    current = {key: o for key, o in old.items() if o.withdrawn_at is None}
    new = {(d.law, d.duty): d for d in answer.duties}
    rows = []
    for key, duty in new.items():
        kept = old.get(key)
        closed = kept is not None and kept.state in ("done", "waived")
        rows.append(
            Obligation(
                incident=incident,
                assessment=row,
                law=duty.law,
                duty=duty.duty,
                jurisdiction=duty.jurisdiction,
                version=duty.version,
                state=kept.state if kept is not None and closed else duty.state,
                due_date=duty.due_date,
                due_at=duty.due_at,
                basis=duty.basis,
                count=duty.count,
                info=duty.as_json(),
                proof=kept.proof if kept is not None else None,
            )
        )
    columns = ["assessment", "jurisdiction", "version", "state", "due_date", "due_at", "basis", "count", "info", "proof", "withdrawn_at"]
    Obligation.objects.bulk_create(rows, update_conflicts=True, unique_fields=["incident", "law", "duty"], update_fields=columns)
    gone = [o.pk for key, o in current.items() if key not in new]
    Obligation.objects.filter(pk__in=gone).update(withdrawn_at=at)
    same = ("due_at", "due_date", "count", "version")
    return {
        "added": sorted(".".join(key) for key in new.keys() - current.keys()),
        "removed": sorted(".".join(key) for key in current.keys() - new.keys()),
        "changed": sorted(
            ".".join(key)
            for key in new.keys() & current.keys()
            if any(getattr(new[key], f) != getattr(current[key], f) for f in same) or new[key].state != current[key].info["state"]
        ),
    }


def _cause(before: Assessment | None, document: Mapping[str, Any], exposure: int, digest: str) -> list[str]:
    if before is None:
        return ["first"]
    return [
        name
        for name, moved in (
            ("exposure", before.exposure != exposure),
            ("facts", before.facts != document),
            ("law data", before.data_digest != digest),
        )
        if moved
    ]
