"""Writes of the desk: take mail in, work cases, release one answer to many."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from django.db import transaction
from django.db.models import Max

from tocsin.kernel import config, sql
from tocsin.kernel.errors import BadInput, NotFound, Refused

from . import approving, arrivals, releasing, replies, team, vetted, views
from .models import Answer, Case, Question
from .policy import own_words, text, threading, urgency
from .policy.closing import REASONS
from .types import CaseView, ReleaseInfo, TakenIn


def load_answers(path: Path, *, at: datetime, by: str) -> int:
    """Load questions and vetted answers from a TOML file; return how many answers are new. An unchanged answer makes no new version.

    `by` is the first who stands for each new one; nobody can use it before another person approved it. Safe to repeat.
    Raises BadInput with every fault in the file, and then changes nothing.
    """
    found, new = vetted.read(path), 0
    with transaction.atomic():
        for one in found:
            question, _ = Question.objects.update_or_create(
                name=one.name, defaults={"title": one.title, "never_bulk": one.never_bulk, "examples": list(one.examples)}
            )
            newest = Answer.objects.filter(question=question, lang="en").order_by("-version").first()
            if newest is not None and newest.body == one.answer:
                continue
            last = Answer.objects.filter(question=question, lang="en").aggregate(Max("version"))["version__max"] or 0
            made = Answer.objects.create(question=question, version=last + 1, body=one.answer, approved_by=[by], created_at=at)
            approving.record(made, by=by, at=at)
            new += 1
    return new


def approve_answer(version: int, *, by: str, at: datetime) -> None:
    """Stand for a vetted answer (its id) as the second person; from then on it may be used. Safe to repeat.

    Raises NotFound; Refused for who loaded it, and for who is no active commander, legal, communications or support_lead.
    """
    approving.approve(version, by=by, at=at)


def approve_answers(*, by: str, at: datetime) -> int:
    """Stand for every question's newest answer that waits and that another person loaded; return how many. Raises Refused as above."""
    return approving.approve_waiting(by=by, at=at)


def take_in(*, at: datetime) -> TakenIn:
    """Take in the mails that have come since the last call, in batches of 200, each in one transaction with its evidence.

    Each mail becomes one message of one case, or is set aside when nobody may be answered. Needs the key deposit. Safe to repeat and to
    call from several processes: one works, the others return at once.
    """
    return arrivals.take_in(at=at)


def next_case(*, by: str, at: datetime) -> CaseView | None:
    """Lease the most pressing case that nobody holds, for six minutes; None when nothing waits. Who holds one gets that one again.

    No two people get the same case, and nobody two: calls of one person wait for each other. Whose roles are only `drafted` (or who is not
    on the team) gets no urgent case; one that became urgent in their hands goes back to the queue. The reading is recorded.
    """
    with transaction.atomic():
        sql.rows("support", "one_at_a_time", by=by)
        novice = team.novice(by)
        held = Case.objects.select_for_update().filter(state="open", lease_by=by, lease_until__gt=at).order_by("pk").first()
        if held is not None and held.urgency and novice:
            held.lease_by, held.lease_until, held.seen = "", None, None
            held.save(update_fields=["lease_by", "lease_until", "seen"])
            held = None
        if held is not None:
            held.lease_until = at + threading.LEASE
            held.save(update_fields=["lease_until"])
            return views.view(held, by=by, at=at)
        taken = sql.rows(
            "support",
            "next",
            by=by,
            at=at,
            until=at + threading.LEASE,
            rank_from=urgency.RANK[""] if novice else min(urgency.RANK.values()),
        )
        return views.view(Case.objects.get(pk=taken[0][0]), by=by, at=at) if taken else None


def answer(case: int, *, answer_version: int | None = None, text: str | None = None, by: str, at: datetime) -> None:
    """Answer a case with a vetted answer (its id) or in own words; the mail is queued in the same transaction.

    Raises NotFound; BadInput without exactly one of the two, and with every fault of own words (empty, too long, a secret, a link to a host
    that is not the company's); Refused if another person holds the case, if it is urgent and `by` a novice, if nothing in it waits, if the
    vetted answer lacks a second approval, or if it had five answers within a day.
    """
    if (answer_version is None) == (text is None):
        raise BadInput.of("answer_version, text", (answer_version, text is not None), "exactly one of the two")
    with transaction.atomic():
        row = _workable(case, by=by, at=at)
        chosen = Answer.objects.filter(pk=answer_version).first() if answer_version is not None else None
        if answer_version is not None and chosen is None:
            raise NotFound(f"no vetted answer {answer_version}")
        if chosen is not None:
            approving.check_usable(chosen)
        words = chosen.body if chosen is not None else _own_words(text or "")
        replies.send(row, text=words, answer=chosen, by=by, at=at)


def close(case: int, *, why: str, by: str, at: datetime) -> None:
    """Close a case without a mail, for a reason of `policy.closing.REASONS`; what its holder has seen then counts as answered.

    `received` = `answered` + `open` holds on: a message is answered when its case was, and a case closed for a recorded reason was. Only
    with the reason: it stands in the message and in the log, so that such cases can be told from answered ones and counted. A later mail
    of the person opens the case again. Raises BadInput for another reason, NotFound, and Refused as `answer` does.
    """
    if why not in REASONS:
        raise BadInput.of("why", why, f"one of {', '.join(REASONS)}")
    with transaction.atomic():
        replies.close(_workable(case, by=by, at=at), why=why, by=by, at=at)


def _workable(case: int, *, by: str, at: datetime) -> Case:
    """Return an open case, locked, that `by` may end now. Raises NotFound and Refused."""
    row = Case.objects.select_for_update().filter(pk=case).first()
    if row is None:
        raise NotFound(f"no case {case}")
    if row.state != "open":
        raise Refused(f"case {case} was answered already")
    if row.lease_by != by and row.lease_until is not None and row.lease_until > at:
        raise Refused(f"case {case} is with {row.lease_by} until {row.lease_until:%H:%M:%S} UTC")
    team.check_urgent(row, by=by)
    return row


def _own_words(words: str) -> str:
    words = text.clean(words).strip()
    current = config.current()
    pages = urlsplit(current.web.public_url).hostname or ""
    faults = own_words.faults(words, domains=(current.company.domain, current.mail.help_address.rpartition("@")[2]), hosts=(pages,))
    if faults:
        raise BadInput(faults)
    return words


def release_lease(case: int, *, by: str, at: datetime) -> None:
    """Give a case back to the queue unanswered. Raises NotFound, and Refused if another person holds it; safe to repeat."""
    with transaction.atomic():
        row = Case.objects.select_for_update().filter(pk=case).first()
        if row is None:
            raise NotFound(f"no case {case}")
        if row.lease_by != by and row.lease_until is not None and row.lease_until > at:
            raise Refused(f"case {case} is with {row.lease_by}")
        row.lease_by, row.lease_until = "", None
        row.save(update_fields=["lease_by", "lease_until"])


def prepare_release(question: str, *, at: datetime, by: str) -> ReleaseInfo:
    """Freeze which cases the newest vetted answer of a question would go to: open, nobody's, not urgent, clearly this question.

    Raises NotFound, and Refused for a question that is never answered in bulk, whose newest answer lacks approval, or that no such case
    asks.
    """
    return releasing.prepare(question, at=at, by=by)


def release(release: int, *, approval: int | None, at: datetime, by: str) -> int:
    """Send a prepared release; return how many cases it answered. Without `approval` it asks for one and raises Refused(approval=id).

    Two people must have signed exactly this answer for exactly these cases. Batches of 1000, each in one transaction: after a crash the same
    call goes on. A case that was answered, taken, or became urgent or something else meanwhile is passed over. Raises NotFound.
    """
    return releasing.release(release, approval=approval, at=at, by=by)
