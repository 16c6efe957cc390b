"""Filings that the law wants before people are told: the blocks of those people stay locked until it was filed, or two people go past it.

A block carries the gates that hold it as bits (`Batch.locked`, in the order of `Mailing.gates`); nobody claims it before all are gone. Gates
are set when a mailing is frozen and looked at every time it is looked after until it ends: a duty that is closed opens its gate for good.
GAP: a duty that binds only after the freeze (a fact or a law changed meanwhile) holds nothing that is frozen already; freeze a new draft.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import Sum

from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel import sql
from tocsin.kernel.errors import ensure
from tocsin.obligations import queries as obligations

from . import policy
from .models import Batch, Mailing
from .types import LockedPeople

ACTOR = "worker"
GATES_MAX = 62  # bits of a signed 64-bit number; the laws shipped have five such filings


def of_cohorts(mailing: Mailing) -> tuple[list[int], list[int], list[int]]:
    """Return cohorts, the rank in which each is told (0 first; deadline, then severity), and its locks; sets the mailing's gates."""
    closed = [g for g in obligations.gates(mailing.incident) if not g.closed and g.jurisdictions]
    ensure(len(closed) <= GATES_MAX, f"{len(closed)} filings come before the mailing: more than a block has bits for")
    mailing.gates = [{"gate": g.key, "name": g.name, "jurisdictions": list(g.jurisdictions)} for g in closed]
    ranked = obligations.cohort_ranks(mailing.incident)
    steps = {key: rank for rank, key in enumerate(dict.fromkeys((c.due_at, c.severity) for c in ranked))}
    locks = [sum(1 << bit for bit, g in enumerate(closed) if c.jurisdiction in g.jurisdictions) for c in ranked]
    return [c.cohort for c in ranked], [steps[c.due_at, c.severity] for c in ranked], locks


def unlock(mailing: int, *, at: datetime, by: str) -> bool:
    """Open the gates whose duty is closed, or that two people went past; return whether blocks became free. Safe to repeat.

    One transaction: the blocks, and one evidence entry per gate that opened.
    """
    if not Batch.objects.filter(mailing=mailing, state="open", locked__gt=0).exists():
        return False
    with transaction.atomic():
        found = Mailing.objects.select_for_update(no_key=True).get(pk=mailing)
        pending = {g.key for g in obligations.gates(found.incident) if not g.closed}
        opened = {bit: g["gate"] for bit, g in enumerate(found.gates) if g["gate"] not in pending or g["gate"] in found.overridden}
        bits = sum(1 << bit for bit in opened)
        before = {x.gate for x in locked_people(found)}
        if not bits or not sql.execute("notices", "unlock", mailing=mailing, bits=bits):
            return False
        for key in sorted(before & set(opened.values())):
            body = {"mailing": mailing, "gate": key, "overridden": key in found.overridden}
            evidence.record(EventType.GATE_OPENED, at=at, actor=by, incident=found.incident, body=body)
        close_letters(found, at=at)
    return True


def close_letters(mailing: Mailing, *, at: datetime) -> None:
    """Give the people without an e-mail address, whom no gate holds, to the letters. Joins the caller's transaction; safe to repeat."""
    if mailing.manifest.get("letters"):
        sql.execute("notices", "without_address_people", mailing=mailing.pk, letter_lane=policy.LETTER_LANE, at=at)
        sql.execute("notices", "without_address_blocks", mailing=mailing.pk, letter_lane=policy.LETTER_LANE, at=at)


def locked_people(mailing: Mailing) -> tuple[LockedPeople, ...]:
    """Return each gate that still holds people of a mailing, with how many."""
    if not mailing.gates:
        return ()
    found = Batch.objects.filter(mailing=mailing, state="open", locked__gt=0).values_list("locked").annotate(people=Sum("n"))
    rows = [(int(locked), int(n)) for locked, n in found.order_by("locked")]
    waiting = [sum(n for locked, n in rows if locked >> bit & 1) for bit in range(len(mailing.gates))]
    return tuple(LockedPeople(g["gate"], g["name"], tuple(g["jurisdictions"]), n) for g, n in zip(mailing.gates, waiting, strict=True) if n)
