"""The simulated people at the desk: a lead, two who sign, and drafted colleagues. They use only the doors that the console uses.

They know what customers of a drill mean because they know how those put things (`letters`), as a colleague who reads the mail would; the
desk's own classifier only offers them answers. `slips` makes them choose wrong so often.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.db import connections

from tocsin.kernel.errors import BadInput, Refused, ensure
from tocsin.staff import actions as staff
from tocsin.support import actions, queries
from tocsin.support.types import CaseView

from . import letters
from .office.personality import number

ALIKE_MIN = 3  # open cases of a question from which the lead releases one answer to all
THREADS = 4
CASES_MAX = 1_000_000  # of one person, in one drill
_URGENT = "We have read your message ourselves and put it before all others. "
_PERSONAL = {
    "fraud_now": "If you have not done so yet, please call your bank on the number on the back of your card and have the card stopped. "
    "Tell us the day and the amount of each payment that is not yours; please do not send card numbers.",
    "account_taken": "All passwords from before are ended, so whoever had yours is locked out. Please secure your mailbox first, then set a new "
    "password on the page /passwordchange. I am looking through what was changed in your account.",
    "data_request": "I have noted the day on which your request came. Before we give out anything we must be sure that the account is yours; "
    "please sign in and send the request from your account.",
}
_OTHERWISE = "I have passed your message to the colleague who is responsible for this, who will contact you today."


@dataclass(frozen=True, slots=True)
class CrewReport:
    """What the crew did, in cases: answered = bulk_answered + one_by_one. `releases`: how many answers went to many at once."""

    answered: int
    bulk_answered: int
    one_by_one: int
    releases: int


Expected = Callable[[CaseView], Sequence[str]]


def work(
    *,
    home: Path,
    seed: int,
    clock: Callable[[], datetime],
    lead: str,
    approvers: Sequence[tuple[str, Path]],
    drafted: Sequence[str],
    expected: Expected | None = None,
    slips: float = 0.0,
) -> CrewReport:
    """Work until nothing is open: releases first, the lead takes the urgent ones, drafted colleagues the rest, some at a time.

    `approvers`: two operators with their key files. `expected`: which questions a case really asks (default: read from its words).
    A case whose answer is refused (cap, address) stays open. Raises BadInput without two approvers or anybody drafted.
    """
    if len(approvers) < 2 or not drafted or not 0 <= slips <= 1:
        raise BadInput.of(
            "approvers, drafted, slips", (len(approvers), len(drafted), slips), "two approvers, one drafted, a share from 0 to 1"
        )
    ensure(all(file.is_relative_to(home) for _, file in approvers), "simulated approvers sign with key files of this estate")
    bulk, releases = _release(clock, lead, approvers)
    person = _Person(seed=seed, clock=clock, expected=expected or read, slips=slips, versions=_versions())
    done, before = 0, -1
    with ThreadPoolExecutor(max_workers=min(THREADS, len(drafted))) as pool:
        while done > before:
            before = done
            done += person.work(lead, urgent=True)
            done += sum(pool.map(lambda name: _in_thread(person, name), drafted))
    return CrewReport(answered=bulk + done, bulk_answered=bulk, one_by_one=done, releases=releases)


def _in_thread(person: _Person, name: str) -> int:
    try:
        return person.work(name, urgent=False)
    finally:
        connections.close_all()


def _release(clock: Callable[[], datetime], lead: str, approvers: Sequence[tuple[str, Path]]) -> tuple[int, int]:
    """Release the answer to every question that enough people ask; return cases answered and releases."""
    answered = releases = 0
    for question in queries.questions():
        if question.never_bulk or question.open < ALIKE_MIN:
            continue
        try:
            prepared = actions.prepare_release(question.name, at=clock(), by=lead)
            actions.release(prepared.id, approval=None, at=clock(), by=lead)
        except Refused as e:
            if e.approval is None:  # nobody is left to answer
                continue
            for name, key_file in approvers[:2]:
                staff.sign_with_key_file(e.approval, operator=name, key_file=key_file, at=clock())
            answered += actions.release(prepared.id, approval=e.approval, at=clock(), by=lead)
            releases += 1
    return answered, releases


def _versions() -> dict[str, int]:
    return {q.name: q.answer_version for q in queries.questions() if q.answer_version is not None}


def read(case: CaseView) -> Sequence[str]:
    """Return the kinds of question that the words of a case ask, in the order of `letters`."""
    words = " ".join(" ".join(m.text for m in case.messages).lower().split())
    return [kind.name for kind in letters.KINDS if any(" ".join(p.lower().split()) in words for p in kind.phrasings)]


@dataclass(slots=True)
class _Person:
    """How a simulated colleague works through cases."""

    seed: int
    clock: Callable[[], datetime]
    expected: Expected
    slips: float
    versions: dict[str, int]

    def work(self, name: str, *, urgent: bool) -> int:
        """Take case after case; return how many were answered. Stops at the first that is somebody else's kind, urgent or not."""
        answered = 0
        for _ in range(CASES_MAX):
            case = actions.next_case(by=name, at=self.clock())
            if case is None:
                break
            if bool(case.urgency) != urgent:
                actions.release_lease(case.id, by=name, at=self.clock())
                break
            try:
                self._answer(case, name)
            except (Refused, BadInput):
                break  # the lease keeps it from the others for a while
            answered += 1
        return answered

    def _answer(self, case: CaseView, name: str) -> None:
        if case.urgency:
            text = _URGENT + _PERSONAL.get(case.urgency, _OTHERWISE)
            actions.answer(case.id, text=text, by=name, at=self.clock())
            return
        asked = [q for q in self.expected(case) if q in self.versions]
        if len(asked) > 1:
            offered = {s.question: s.text for s in case.suggestions}
            texts = [offered[q] for q in asked if q in offered]
            if len(texts) == len(asked):
                actions.answer(case.id, text="\n\n".join(texts), by=name, at=self.clock())
                return
        slip = number(self.seed, f"slip|{case.id}|{name}") / 2**64 < self.slips
        choice = case.suggestions[-1].version if slip and case.suggestions else self.versions[asked[0]] if asked else None
        if choice is None and case.suggestions:
            choice = case.suggestions[0].version
        if choice is None:
            actions.answer(case.id, text=_OTHERWISE, by=name, at=self.clock())
        else:
            actions.answer(case.id, answer_version=choice, by=name, at=self.clock())
