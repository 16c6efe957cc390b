"""Cohorts: who is cut over together. Everybody stands in cohort 0; an assignment moves accounts, set by set, into another.

A move changes nothing about what lives and what is dead (`policy.movable`): into lower epochs dead credentials would come back to life,
into higher ones live ones would end without two signatures. Who has to be cut over beside a cohort that is cut over already gets a cohort
of their own. While a cutover is armed, or can still be taken back, nobody enters or leaves the cohorts it covers.

Ranges of RANGE_ROWS accounts, each a transaction that holds its population (a cutover waits for one range at most). A crash leaves the
accounts of the ranges before it moved, which is as good as not: both cohorts stand at the same epochs. Giving the command again goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType
from tocsin.incidents import queries as incidents
from tocsin.kernel import clock, sql
from tocsin.kernel.errors import BadInput, Fault, Refused

from . import cutover as cutovers
from . import policy
from .models import Cutover, Epoch, Population
from .types import CohortReport

RANGE_ROWS = 50_000
SUBJECTS_MAX = 1_000_000
COHORT_MAX = 32_767  # a smallint


def assign_cohort(
    cohort: int,
    *,
    subjects: Sequence[int] | None = None,
    exposure: int | None = None,
    set_before: datetime | None = None,
    reason: str,
    at: datetime,
    by: str,
    population: str = "customers",
    progress: Callable[[int], None] | None = None,
) -> CohortReport:
    """Move accounts into a cohort: those of `subjects`, of an `exposure`'s people, or with a password `set_before` an instant.

    Exactly one of the three. A password of which nobody knows when it was set counts as set before. A new cohort gets the epochs of the
    one its accounts come from. Safe to repeat. Raises BadInput with every fault, NotFound for an exposure there is none of; Refused, before
    anybody is moved, if a move would end a credential or bring one back to life, or if a cutover of these cohorts is under way.
    """
    if faults := _faults(cohort, subjects=subjects, exposure=exposure, set_before=set_before, reason=reason, at=at):
        raise BadInput(faults)
    if exposure is not None:
        incidents.exposed_count(exposure)  # raises NotFound
    started = clock.monotonic()
    which = {"subjects": None if subjects is None else list(subjects), "exposure": exposure, "set_before": set_before}
    said = {
        "population": population,
        "cohort": cohort,
        "reason": reason.strip(),
        "by": "subjects" if subjects is not None else "exposure" if exposure is not None else "set_before",
        "of": len(subjects)
        if subjects is not None
        else exposure
        if exposure is not None
        else clock.iso(set_before)
        if set_before
        else None,
    }
    with transaction.atomic():
        home = cutovers.locked(cutovers.open_population(population).name)
        found = sql.rows("credentials", "cohort_sources", population=home.pk, **which)
        there = {c: (n, low, high) for c, n, low, high in found}
        sources = sorted(c for c in there if c != cohort)
        _open(home, cohort, sources)
        evidence.record(EventType.COHORT_ASSIGNED, at=at, actor=by, body={**said, "stage": "begun"})
    moved = 0
    for after, upto in _ranges([there[c][1:] for c in sources]):
        with transaction.atomic():
            home = cutovers.locked(population)
            _must_be_movable(home, cohort, sources)
            moved += sql.execute(
                "credentials", "move_accounts", population=home.pk, cohort=cohort, sources=sources, after=after, upto=upto, **which
            )
        if progress is not None:
            progress(moved)
    selected = sum(n for n, _, _ in there.values())
    evidence.record(EventType.COHORT_ASSIGNED, at=at, actor=by, body={**said, "stage": "ended", "selected": selected, "moved": moved})
    return CohortReport(cohort=cohort, selected=selected, moved=moved, seconds=round(clock.monotonic() - started, 3))


def _faults(
    cohort: int, *, subjects: Sequence[int] | None, exposure: int | None, set_before: datetime | None, reason: str, at: datetime
) -> list[Fault]:
    faults = []
    if not 0 <= cohort <= COHORT_MAX:
        faults.append(Fault("cohort", repr(cohort), f"0 to {COHORT_MAX}"))
    if sum(x is not None for x in (subjects, exposure, set_before)) != 1:
        faults.append(Fault("selection", "none, or several", "one of: subjects, exposure, set_before"))
    if subjects is not None and len(subjects) > SUBJECTS_MAX:
        faults.append(Fault("subjects", f"{len(subjects)} people", f"at most {SUBJECTS_MAX} at once; give the rest in another call"))
    if set_before is not None and set_before > at:
        faults.append(Fault("set_before", clock.iso(set_before), "an instant that has passed"))
    if not reason.strip():
        faults.append(Fault("reason", repr(reason), "why these people are a cohort of their own"))
    return faults


def _open(home: Population, cohort: int, sources: Sequence[int]) -> None:
    """Make the cohort's epochs if it is new. Raises Refused if somebody cannot be moved there."""
    if not Epoch.objects.filter(population=home, cohort=cohort).exists():
        sql.execute("credentials", "new_cohort", population=home.pk, cohort=cohort, source=sources[0] if sources else 0)
    _must_be_movable(home, cohort, sources)


def _must_be_movable(home: Population, cohort: int, sources: Sequence[int]) -> None:
    epochs: dict[int, dict[str, int]] = {}
    for c, cred_class, epoch in Epoch.objects.filter(population=home).values_list("cohort", "cred_class", "epoch"):
        epochs.setdefault(c, {})[cred_class] = epoch
    moving = {
        int(key.partition("/")[0])
        for under_way in Cutover.objects.filter(population=home, state__in=["armed", "committed", "sealed"], erased_at=None)
        for key in under_way.from_epochs
    }
    if stuck := sorted(set(sources) - policy.movable(epochs, to=cohort, moving=moving)):
        why = (
            "a cutover of it is armed or can still be taken back"
            if moving & {cohort, *stuck}
            else "it stands at other epochs: the move would end live credentials, or bring dead ones back to life"
        )
        raise Refused(
            f"accounts of cohort {', '.join(map(str, stuck))} cannot go to cohort {cohort}: {why}. Give them a cohort of their own"
        )


def _ranges(spans: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, int]]:
    """Yield (after, up to) over all spans of ids together."""
    if not spans:
        return
    low, high = min(s[0] for s in spans), max(s[1] for s in spans)
    for after in range(low - 1, high, RANGE_ROWS):
        yield after, min(after + RANGE_ROWS, high)
