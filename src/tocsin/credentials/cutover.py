"""Arm, commit, seal, abort.

The commit is one short transaction: the epochs rise, the cutover and its evidence are written, the approval is used up, the nodes are
notified. Crash before COMMIT: nothing happened, commit again. Crash after it: everything older is dead already; `seal` can be repeated.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction

from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType
from tocsin.incidents import queries as incidents
from tocsin.incidents.types import ContainmentFinding
from tocsin.inventory.types import codes_of
from tocsin.kernel import clock, config, sql
from tocsin.kernel.errors import BadInput, NotFound, Refused, ensure
from tocsin.staff import actions as staff
from tocsin.staff import queries as staff_queries
from tocsin.subjects import actions as subjects

from . import dry_run, policy
from .connectors import targets
from .models import Account, Canary, Cutover, Epoch, Population
from .populations import open_population as open_population
from .types import BREACH_CLASSES, ClassProposal, CommitReport, CutoverInfo, NodeSeal

SEAL_POLL_S = 0.01
NO_CANARIES = "no canaries are planted: nothing would prove that old credentials end. `tocsin credentials canaries plant`"


def arm(
    *,
    population: str = "customers",
    classes: Sequence[str] | None = None,
    incident: int | None,
    at: datetime,
    by: str,
    cohort: int | None = None,
    reason: str = "",
    spared: Sequence[int] = (),
) -> CutoverInfo:
    """Prepare a cutover and count what it would end; nothing ends yet. Arming the same again returns the one that is armed.

    `classes` None means those that the incident's exposure proposes, BREACH_CLASSES without one. `cohort` None means everybody; anything
    narrower needs a `reason`, as does leaving the `spared` cohorts alone: their people have set new passwords since an earlier cutover
    (`widen`). Raises BadInput with all faults; Refused while another is armed.
    """
    if classes is None:
        proposal = propose(incident)
        classes = proposal.classes if proposal else BREACH_CLASSES
    if faults := policy.cutover_faults(population=population, classes=classes, cohort=next(iter(spared), cohort), reason=reason):
        raise BadInput(faults)
    with transaction.atomic():
        home = locked(open_population(population).name)
        wanted, left = sorted(set(classes)), sorted(set(spared))
        if waiting := Cutover.objects.filter(population=home, state="armed").first():
            if (waiting.classes, waiting.cohort, waiting.incident, waiting.spared) != (wanted, cohort, incident, left):
                raise Refused(f"cutover {waiting.pk} of {population} is armed: commit or abort it first")
            if dict(waiting.from_epochs) == _epochs(waiting):
                return info(waiting)
            _withdraw(waiting, at=at, by=by)  # the epochs have moved since: what two people might sign would not happen
        found = _of(home, wanted, cohort, left)
        if not found:
            raise BadInput.of("cohort", cohort, f"a cohort of {population}")
        counted = dry_run.count(home, classes=wanted, cohorts=sorted({e.cohort for e in found}), incident=incident, at=at)
        counts = counted.counts
        made = Cutover.objects.create(
            population=home,
            cohort=cohort,
            reason=reason,
            classes=wanted,
            incident=incident,
            state="armed",
            from_epochs={policy.epochs_key(e.cohort, e.cred_class): e.epoch for e in found},
            # Above every number of the whole population, not of these cohorts alone: an account may have come here with a credential of an
            # epoch that only its former cohort has used.
            to_epoch=policy.next_epoch(e.highest for e in _of(home, wanted, None)),
            spared=left,
            counts=counts,
            report=counted.report,
            armed_by=by,
            armed_at=at,
        )
        evidence.record(
            EventType.CUTOVER_ARMED, at=at, actor=by, incident=incident, body={**value(made).payload, "counts": counts, "reason": reason}
        )
        return info(made)


def propose(incident: int | None) -> ClassProposal | None:
    """Return which classes to end, by the elements that lay readable in the reached stores; None before the exposure is frozen."""
    try:
        exposure = incidents.exposure_of(incident) if incident is not None else None
    except NotFound:
        exposure = None
    if exposure is None:
        return None
    masks = [*(c.clear for c in exposure.cohorts), *exposure.assumed.values()]
    return policy.propose_classes({code for mask in masks for code in codes_of(mask)})


def widen(cutover: int, *, at: datetime, by: str) -> CutoverInfo:
    """Arm for everybody what was narrow: the same classes, the reason "widened from ..."; return it, to be committed by two people.

    A narrow cutover that is only armed is withdrawn. Of committed ones of the same incident the cohorts are spared: their old credentials
    are ended already, and what their people have set since then stays. Asking twice returns the one that is armed. Raises NotFound;
    Refused for a cutover that covers everybody or was aborted, or if nobody is left.
    """
    row = _get(cutover)
    if row.cohort is None:
        raise Refused(f"cutover {cutover} covers everybody already")
    with transaction.atomic():
        home = locked(row.population.name)
        row = _get(cutover)
        if row.state == "armed":
            _withdraw(row, at=at, by=by)
        elif row.state == "aborted" and row.committed_at is not None:
            raise Refused(f"cutover {cutover} was taken back: arm what is needed")
        ended = Cutover.objects.filter(
            population=home, incident=row.incident, cohort__isnull=False, state__in=["committed", "sealed"], classes__contains=row.classes
        )
        spared = {c.cohort for c in ended if c.cohort is not None}
        if not _of(home, row.classes, None, sorted(spared)):
            raise Refused(f"cutover {cutover} leaves nobody: every cohort has been cut over")
        return arm(
            population=home.name,
            classes=row.classes,
            incident=row.incident,
            at=at,
            by=by,
            reason=f"widened from cutover {cutover} of cohort {row.cohort}",
            spared=sorted(spared),
        )


def commit(cutover: int, *, approval: int | None, at: datetime, by: str, override: str = "") -> CommitReport:
    """End every credential of the armed classes that is older than this moment, in one commit; return when it is sealed.

    Two people must have signed `CutoverInfo.payload`. Without an approval one is asked for, and Refused carries its id. Raises NotFound;
    Refused if it is not armed, the approval does not cover exactly this, the epochs have moved since arming, or a reached system that has
    credentials in hand is not contained (`incidents.determine_containment`): the new passwords would be the intruder's too; or a configured
    connector of the population is not armed: old passwords would go on working there. `override` is the reason of two people who commit all
    the same; they sign `CutoverInfo.overriding(reason)`. From here on contact points are frozen.
    After return no log-in that begins can succeed with an older credential, and none that began before stays usable.
    """
    row = _get(cutover)
    _must_be(row, "armed")
    payload = _to_sign(row, override=override)
    if approval is None:
        raise Refused(f"cutover {cutover} needs two signatures", approval=staff.request("credentials.commit", payload, by=by, at=at))
    staff_queries.require(approval, act="credentials.commit", payload=payload)
    started = clock.monotonic()
    with transaction.atomic():
        locked(row.population.name)
        row = Cutover.objects.select_related("population").get(pk=cutover)  # under the lock: nobody else moves it now
        _must_be(row, "armed")
        ensure(value(row).payload.items() <= payload.items(), "a cutover changed after it was armed")
        ((raised,),) = sql.rows("credentials", "raise_epochs", cutover=cutover, at=at)
        if raised != len(row.from_epochs):
            raise Refused(f"the epochs have moved since cutover {cutover} was armed: abort it and arm again")
        _moved(row, state="committed", approval=approval, committed_at=at, override=override.strip())
        _freeze_contacts(row, at=at, by=by)
        staff.close(approval, at=at)
        evidence.record(EventType.CUTOVER_COMMITTED, at=at, actor=by, incident=row.incident, body={**payload, "approval": approval})
    # Durable from here: everything older is dead. What follows lets the gates of the company's own systems fall (the worker does it if we die
    # here) and, beside it, waits for the nodes to say that they know: a slow system holds up no seal.
    committed, commit_ms = _clock_of_database(), _ms_since(started)
    with targets.falling(row.population.name, at=at, by=by) as became:
        sealed = _seal(row, committed=committed, started=started, commit_ms=commit_ms, at=at, by=by)
        gates = became()
    return dataclasses.replace(sealed, connectors=gates, gates_ms=round(_ms_since(started), 3) if gates else 0.0)


def seal(cutover: int, *, at: datetime, by: str) -> CommitReport:
    """Finish a committed cutover whose process died before it was sealed. Raises Refused unless it is committed."""
    row = _get(cutover)
    _must_be(row, "committed")
    return _seal(row, committed=_clock_of_database(), started=clock.monotonic(), commit_ms=0.0, at=at, by=by)


def abort(cutover: int, *, approval: int | None = None, at: datetime, by: str) -> CutoverInfo:
    """Withdraw an armed cutover, or take a committed one back: older credentials work again. Returns it as it then stands.

    Taking back needs two signatures over `CutoverInfo.abort_payload`; without an approval one is asked for, and Refused carries its id.
    Raises Refused once old hashes are being erased, or if another cutover followed. The number of the epoch is spent.
    """
    row = _get(cutover)
    if row.state == "armed":
        with transaction.atomic():
            locked(row.population.name)
            row = _get(cutover)
            _must_be(row, "armed")
            _withdraw(row, at=at, by=by)
        return info(row)
    _must_be(row, "committed", "sealed")
    payload = value(row).abort_payload
    if approval is None:
        raise Refused(
            f"taking cutover {cutover} back needs two signatures", approval=staff.request("credentials.abort", payload, by=by, at=at)
        )
    staff_queries.require(approval, act="credentials.abort", payload=payload)
    with transaction.atomic():
        locked(row.population.name)
        # The row itself is locked too: an erasure that begins now waits, or has begun.
        row = Cutover.objects.select_for_update(no_key=True, of=("self",)).select_related("population").get(pk=cutover)
        _must_be(row, "committed", "sealed")
        if row.erasing_at is not None:
            raise Refused(f"old hashes of cutover {cutover} are being erased since {clock.iso(row.erasing_at)}: there is no way back")
        ((restored,),) = sql.rows("credentials", "restore_epochs", cutover=cutover)
        if restored != len(row.from_epochs):
            raise Refused(f"another cutover followed cutover {cutover}: abort that one first")
        _moved(row, state="aborted", aborted_at=at)
        staff.close(approval, at=at)
        evidence.record(EventType.CUTOVER_ABORTED, at=at, actor=by, incident=row.incident, body={**payload, "approval": approval})
    return info(row)


def info(row: Cutover) -> CutoverInfo:
    """Return a cutover as a value, with what surrounds it counted."""
    canaries = Canary.objects.filter(account__population=row.population).count()
    return value(
        row,
        findings=(NO_CANARIES,) if row.state == "armed" and not canaries else (),
        containment=tuple(incidents.containment(row.incident)) if row.incident is not None and row.state == "armed" else (),
        canaries=canaries,
        staff_untouched=Account.objects.filter(population__name="staff").exclude(population=row.population).count(),
        proposal=propose(row.incident),
        not_armed=targets.not_armed(row.population.name) if row.state == "armed" else (),
    )


def value(
    row: Cutover,
    *,
    canaries: int = 0,
    staff_untouched: int = 0,
    containment: tuple[ContainmentFinding, ...] = (),
    proposal: ClassProposal | None = None,
    not_armed: tuple[str, ...] = (),
    findings: tuple[str, ...] = (),
) -> CutoverInfo:
    """Return a cutover as a value, from its row and what the caller has counted."""
    return CutoverInfo(
        id=row.pk,
        population=row.population.name,
        classes=tuple(row.classes),
        cohort=row.cohort,
        incident=row.incident,
        state=row.state,
        from_epoch=dict(row.from_epochs),
        to_epoch=row.to_epoch,
        counts=dict(row.counts),
        canaries=canaries,
        staff_untouched=staff_untouched,
        approval=row.approval,
        armed_at=row.armed_at,
        proposal=proposal,
        reason=row.reason,
        spared=tuple(row.spared),
        by_cohort={int(c): dict(n) for c, n in row.report.get("by_cohort", {}).items()},
        excluded=dict(row.report.get("excluded", {})),
        undated=row.report.get("undated", 0),
        contacts_changed=row.report.get("contacts_changed", 0),
        containment=containment,
        override=row.override,
        not_armed=not_armed,
        findings=findings,
    )


def _to_sign(row: Cutover, *, override: str) -> dict[str, Any]:
    """Return what two people must have signed to commit.

    Raises Refused while something is not contained, or a configured system not armed, and nobody says why to go on.
    """
    what = value(
        row,
        containment=tuple(incidents.containment(row.incident)) if row.incident is not None else (),
        not_armed=targets.not_armed(row.population.name),
    )
    if not what.uncontained and not what.not_armed:
        return what.payload
    if override.strip():
        return what.overriding(override.strip())
    if what.uncontained:
        raise Refused(
            f"{', '.join(what.uncontained)} has credentials in hand and is in the intruder's: whoever holds it sees each new password too. "
            f"Contain it, then `tocsin credentials contain {row.incident} {what.uncontained[0]} --statement ...`; or commit with --override REASON"
        )
    raise Refused(
        f"connector {', '.join(what.not_armed)} is configured and not armed: its old credentials would go on working. "
        f"Arm it with `tocsin connector arm {what.not_armed[0]}`, or take its table out of tocsin.toml; or commit with --override REASON"
    )


def _freeze_contacts(row: Cutover, *, at: datetime, by: str) -> None:
    """Freeze contact points with the commit: whoever had the old password may still have a session in which to change the address."""
    hours = config.current().credentials.contact_freeze_h
    if row.population.name == "customers" and hours:
        subjects.freeze_contacts(until=at + timedelta(hours=hours), reason=f"cutover {row.pk}", at=at, by=by)


def _get(cutover: int) -> Cutover:
    try:
        return Cutover.objects.select_related("population").get(pk=cutover)
    except Cutover.DoesNotExist:
        raise NotFound(f"no cutover {cutover}") from None


def _must_be(row: Cutover, *states: str) -> None:
    if row.state not in states:
        raise Refused(f"cutover {row.pk} is {row.state}, not {' or '.join(states)}")


def locked(name: str) -> Population:
    """Return the population, locked until the transaction ends: one cutover of a population moves at a time.

    NO KEY UPDATE: an import that inserts accounts holds KEY SHARE on this row for as long as it runs, and must not hold up a cutover.
    """
    return Population.objects.select_for_update(no_key=True).get(name=name)


def _of(home: Population, classes: Sequence[str], cohort: int | None, spared: Sequence[int] = ()) -> list[Epoch]:
    found = Epoch.objects.filter(population=home, cred_class__in=classes).exclude(cohort__in=spared)
    return list(found if cohort is None else found.filter(cohort=cohort))


def _epochs(row: Cutover) -> dict[str, int]:
    return {policy.epochs_key(e.cohort, e.cred_class): e.epoch for e in _of(row.population, row.classes, row.cohort, row.spared)}


def _withdraw(row: Cutover, *, at: datetime, by: str) -> None:
    row.state, row.aborted_at = "aborted", at
    row.save(update_fields=["state", "aborted_at"])
    evidence.record(EventType.CUTOVER_ABORTED, at=at, actor=by, incident=row.incident, body={**value(row).payload, "was": "armed"})


def _moved(row: Cutover, **changes: object) -> None:
    """Write a cutover that has moved the epochs, and tell the nodes. Their notice leaves with the commit."""
    for name, value in changes.items():
        setattr(row, name, value)
    row.save(update_fields=list(changes))
    sql.rows("credentials", "raise_version", population=row.population_id, cutover=str(row.pk))


def _clock_of_database() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


def _ms_since(started: float) -> float:
    return (clock.monotonic() - started) * 1000


def _seal(row: Cutover, *, committed: datetime, started: float, commit_ms: float, at: datetime, by: str) -> CommitReport:
    """Wait until each node that held a lease at the commit has acknowledged it or lost its lease; at most lease and drift.

    `committed` is the database's clock at the commit, `started` ours before its transaction, from which the milliseconds count.
    """
    waiting = clock.monotonic()
    waited: set[str] = set()
    while True:
        nodes = sql.rows("credentials", "leases_at_commit", cutover=row.pk, committed=committed)
        acked = {n for n, _, after_ms in nodes if after_ms is not None}
        if not waited:
            waited = {n for n, _, _ in nodes}
        holding = {n for n, valid, _ in nodes if valid}
        if policy.sealed(leases=waited & holding, acked=acked) or clock.monotonic() - waiting > policy.LEASE_S + policy.SEAL_DRIFT_S:
            break
        time.sleep(SEAL_POLL_S)
    sealed_ms = _ms_since(started)
    after = {n: float(ms) for n, _, ms in nodes if ms is not None}
    seals = tuple(
        NodeSeal(node=n, acked=n in after, after_ms=round(max(0.0, after[n]), 3) if n in after else None)
        for n in sorted(waited | set(after))
    )
    with transaction.atomic():
        if Cutover.objects.filter(pk=row.pk, state="committed").update(state="sealed", sealed_at=at):
            sql.rows("credentials", "seal_epochs", cutover=row.pk)
            evidence.record(
                EventType.CUTOVER_SEALED,
                at=at,
                actor=by,
                incident=row.incident,
                body={
                    "cutover": row.pk,
                    "acked": [s.node for s in seals if s.acked],
                    "lapsed": [s.node for s in seals if not s.acked],
                    "after_us": {s.node: round(s.after_ms * 1000) for s in seals if s.after_ms is not None},
                    "commit_us": round(commit_ms * 1000),
                    "sealed_us": round(sealed_ms * 1000),
                },
            )
    return CommitReport(cutover=row.pk, epoch=row.to_epoch, commit_ms=round(commit_ms, 3), sealed_ms=round(sealed_ms, 3), nodes=seals)
