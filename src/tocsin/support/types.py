"""Values of the support room that cross its wall. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class TakenIn:
    """What one call of `take_in` did, in messages. `joined`: those that belong to a case there was already; `urgent` is part of `messages`."""

    messages: int = 0
    opened: int = 0
    joined: int = 0
    urgent: int = 0
    set_aside: int = 0


class MessageView(NamedTuple):
    """One message as staff see it: redacted, the quoted mail below it left out."""

    received_at: datetime
    text: str


class Suggestion(NamedTuple):
    """A vetted answer that may fit, best first. `version` is what `answer` takes as `answer_version`."""

    version: int
    question: str
    text: str


@dataclass(frozen=True, slots=True)
class CaseView:
    """A case as the person who works on it sees it. `urgency` is "" or one of `policy.urgency.KINDS`; messages oldest first."""

    id: int
    state: str
    urgency: str
    lease_by: str
    lease_until: datetime | None
    messages: tuple[MessageView, ...]
    suggestions: tuple[Suggestion, ...]


@dataclass(frozen=True, slots=True)
class AnswerInfo:
    """A vetted answer. `id` is what `approve_answer` and `answer` take, `version` its number among the answers of its question."""

    id: int
    question: str
    version: int
    text: str
    approved_by: tuple[str, ...]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class QuestionInfo:
    """A kind of question. `open` and `size` count cases (open, all); `answer_version` is the newest answer that two people approved."""

    name: str
    title: str
    open: int
    size: int
    never_bulk: bool
    answer_version: int | None


@dataclass(frozen=True, slots=True)
class DeskStatus:
    """The desk in messages of people: received = answered + open. `urgent`: open ones of urgent cases; `urgent_received`: all of them.

    `bulk_answered` is part of `answered`, and so is what was closed without a mail for a recorded reason.
    `set_aside` (no sender, ourselves) is counted beside and never answered.
    `oldest_s`: how long the oldest open one waits, in seconds.
    """

    received: int
    open: int
    urgent: int
    urgent_received: int
    oldest_s: int
    answered: int
    bulk_answered: int
    set_aside: int


@dataclass(frozen=True, slots=True)
class ReleaseInfo:
    """A release: one answer, a frozen list of `cases` cases. `answered`/`skipped`: how they went; state prepared, running or done."""

    id: int
    question: str
    answer_version: int
    text: str
    cases: int
    state: str
    answered: int
    skipped: int
    approval: int | None
