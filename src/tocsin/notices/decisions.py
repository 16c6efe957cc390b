"""What only two people may decide about a mailing that runs: an end after its deadline, and telling people before a filing that comes first."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel.clock import iso
from tocsin.kernel.errors import BadInput, Fault, NotFound, Refused
from tocsin.staff import actions as staff_actions
from tocsin.staff import queries as staff

from . import order, policy, sending
from .models import Lane, Mailing
from .types import MailingState

ACT_LATE = "notices.allow_late"
ACT_ORDER = "notices.override_order"
WHY_CHARS_MAX = 2_000
OVER = (MailingState.ENDED, MailingState.DISCARDED)


def allow_late(mailing: int, *, until: datetime, why: str, approval: int | None, at: datetime, by: str) -> None:
    """Let a mailing last beyond its legal deadline, until a moment that two people sign, one of Legal; pace is held to that from then on.

    Without an approval asks for it and raises Refused(approval=…). A later decision replaces an earlier one; `until` at the deadline takes
    it back. Raises NotFound, BadInput with all faults, Refused for a mailing without a deadline or that is over.
    """
    found = _live(mailing)
    faults = _faults(why)
    if found.deadline_at is None:
        raise Refused(f"mailing {mailing} has no deadline that it could miss")
    if until < found.deadline_at:
        faults.append(Fault("until", iso(until), f"not before the deadline, {iso(found.deadline_at)}"))
    if faults:
        raise BadInput(faults)
    payload = {"mailing": mailing, "deadline_at": iso(found.deadline_at), "until": iso(until), "why": why}
    if approval is None:
        raise Refused(f"{ACT_LATE} needs the approval of two people", approval=staff_actions.request(ACT_LATE, payload, by=by, at=at))
    with transaction.atomic():
        signed = staff.require(approval, act=ACT_LATE, payload=payload)
        staff_actions.close(approval, at=at)
        if not Mailing.objects.filter(pk=mailing, deadline_at=found.deadline_at).update(late_until=until):
            raise Refused(f"the deadline of mailing {mailing} was changed in between")
        body = {**payload, "approval": approval, "signed_by": list(signed.signed_by)}
        evidence.record(EventType.LATE_END_ALLOWED, at=at, actor=by, incident=found.incident, body=body)


def override_order(mailing: int, *, gate: str, why: str, approval: int | None, at: datetime, by: str) -> None:
    """Tell people before a filing (LAW.DUTY) that should come first, after two people, one of Legal, signed the reason.

    Without an approval asks for it and raises Refused(approval=…). Raises NotFound for a gate the mailing does not have, BadInput, Refused
    for a mailing that is over or a gate that is open already.
    """
    found = _live(mailing)
    known = [g["gate"] for g in found.gates]
    if gate not in known:
        raise NotFound(f"mailing {mailing} does not wait for {gate!r}; it waits for: {', '.join(known) or 'nothing'}")
    held = next((x for x in order.locked_people(found) if x.gate == gate), None)
    if held is None:
        raise Refused(f"{gate} is open: nobody of mailing {mailing} waits for it")
    if faults := _faults(why):
        raise BadInput(faults)
    payload = {"mailing": mailing, "gate": gate, "jurisdictions": list(held.jurisdictions), "recipients": held.recipients, "why": why}
    if approval is None:
        raise Refused(f"{ACT_ORDER} needs the approval of two people", approval=staff_actions.request(ACT_ORDER, payload, by=by, at=at))
    with transaction.atomic():
        signed = staff.require(approval, act=ACT_ORDER, payload=payload)
        staff_actions.close(approval, at=at)
        row = Mailing.objects.select_for_update(no_key=True).get(pk=mailing)
        row.overridden = [*row.overridden, gate]
        row.save(update_fields=["overridden"])
        body = {**payload, "approval": approval, "signed_by": list(signed.signed_by)}
        evidence.record(EventType.ORDER_OVERRIDDEN, at=at, actor=by, incident=found.incident, body=body)
        order.unlock(mailing, at=at, by=by)
        if row.state == MailingState.SENDING:
            wake(mailing)


def wake(mailing: int) -> None:
    """Give each lane that has a free block its job, if none waits. Joins the caller's transaction."""
    for lane in Lane.objects.filter(mailing=mailing).exclude(provider=policy.LETTER_LANE).order_by("pk").values_list("pk", flat=True):
        if sending.free_blocks(lane):
            sending.again(mailing, lane)


def _live(mailing: int) -> Mailing:
    found = Mailing.objects.filter(pk=mailing).first()
    if found is None:
        raise NotFound(f"no mailing {mailing}")
    if found.state in OVER:
        raise Refused(f"mailing {mailing} is {found.state}: there is nothing to decide")
    return found


def _faults(why: str) -> list[Fault]:
    return (
        []
        if why.strip() and len(why) <= WHY_CHARS_MAX
        else [Fault("why", f"{len(why)} characters", f"a reason of 1 to {WHY_CHARS_MAX} characters")]
    )
