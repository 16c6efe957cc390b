"""The simulated desk: a lead who prepares releases, two who sign them, and drafted colleagues who take one case after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tocsin.kernel.errors import Refused
from tocsin.staff import actions as staff
from tocsin.support import actions, queries

MEMBERS_MIN = 3  # fewer of the same are answered one by one
CASES_MAX = 10_000_000


@dataclass(frozen=True, slots=True)
class CrewReport:
    """Cases answered by a release, and one by one."""

    bulk_answered: int
    one_by_one: int
    releases: int


def work(*, home: Path, seed: int, clock: Callable[[], datetime], lead: str, approvers: Sequence[tuple[str, Path]], drafted: Sequence[str],
         **_: Any) -> CrewReport:
    """Answer until nothing is left."""
    bulk = releases = 0
    for question in queries.questions():
        if question.never_bulk or question.open < MEMBERS_MIN:
            continue
        prepared = actions.prepare_release(question.name, at=clock(), by=lead)
        if prepared.cases < MEMBERS_MIN:
            continue
        try:
            actions.release(prepared.id, approval=None, at=clock(), by=lead)
        except Refused as waiting:
            for name, key in approvers:
                staff.sign_with_key_file(waiting.approval or 0, operator=name, key_file=key, at=clock())
            bulk += actions.release(prepared.id, approval=waiting.approval, at=clock(), by=lead)
            releases += 1
    alone = 0
    while alone < CASES_MAX:
        who = drafted[alone % len(drafted)]
        case = actions.next_case(by=who, at=clock())
        if case is None:
            break
        if case.suggestions and not case.urgency:
            actions.answer(case.id, answer_version=case.suggestions[0].version, by=who, at=clock())
        else:
            actions.answer(case.id, text="Thank you for writing. A colleague who looks after urgent matters has read this and is on it.", by=who, at=clock())
        alone += 1
    return CrewReport(bulk_answered=bulk, one_by_one=alone, releases=releases)
