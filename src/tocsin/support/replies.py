"""One answer to one case: queued in the caller's transaction, with the evidence of it, threaded under the person's own mail."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Q

from tocsin.evidence.types import EventType
from tocsin.kernel import sql
from tocsin.kernel.errors import Refused, ensure
from tocsin.mail import actions as mail
from tocsin.mail.types import Single

from . import books, sealed, standing
from .models import Answer, Case, Message, Reply
from .policy import threading

GREETING, CLOSING = "Hello,", "Your customer desk"


def send(case: Case, *, text: str, answer: Answer | None, by: str, at: datetime) -> None:
    """Queue the answer to a locked open case and mark its waiting messages answered. Raises Refused over the cap.

    The same case and newest message never get two mails: the mail room's de-duplication key names both.
    """
    if _capped([case.pk], at):
        raise Refused(f"case {case.pk} got {threading.REPLIES_PER_DAY_MAX} answers within a day: the next one must wait")
    waiting = _seen(case)
    newest = waiting[-1]
    single = _single(case, newest, text=text, at=at)
    outbound = mail.queue_single(
        purpose=single.purpose,
        to=single.to,
        subject=single.subject,
        text=single.text,
        reply_to=single.reply_to,
        in_reply_to=single.in_reply_to,
        references=single.references,
        at=at,
        dedupe_key=single.dedupe_key,
    )
    reply = Reply.objects.create(case=case, outbound=outbound, at=at, by=by, answer=answer)
    Message.objects.filter(pk__in=[m.pk for m in waiting]).update(reply=reply, answered_at=at)
    _settle(case, len(waiting), at)
    body = _body(case, outbound, len(waiting), answer, None)
    books.of_case(EventType.REPLY_QUEUED, case, at=at, by=by, body=body)


def close(case: Case, *, why: str, by: str, at: datetime) -> None:
    """Close a locked open case without a mail: what its holder saw counts as answered, for a recorded reason."""
    waiting = _seen(case)
    Message.objects.filter(pk__in=[m.pk for m in waiting]).update(answered_at=at, closed_why=why)
    _settle(case, len(waiting), at)
    books.of_case(EventType.CASE_CLOSED, case, at=at, by=by, body={"case": case.pk, "messages": len(waiting), "why": why})


def _seen(case: Case) -> list[Message]:
    """Return the waiting messages that the case's holder was shown, oldest first."""
    later = Q(pk__gt=case.seen) if case.seen is not None else Q(pk=None)
    waiting = list(case.messages.filter(~later, answered_at=None).order_by("received_at", "pk"))
    ensure(bool(waiting), f"open case {case.pk} has a waiting message")
    return waiting


def _settle(case: Case, messages: int, at: datetime) -> None:
    """End the lease and the waiting of so many messages; what came meanwhile keeps the case open."""
    unseen = case.messages.filter(answered_at=None).exists()
    case.state, case.moved_at, case.waiting = "open" if unseen else "answered", at, case.waiting - messages
    case.lease_by, case.lease_until, case.seen = "", None, None
    case.save(update_fields=["state", "moved_at", "waiting", "lease_by", "lease_until", "seen"])
    if unseen:
        standing.refresh(case)


def send_many(cases: Sequence[Case], *, answer: Answer, release: int, by: str, at: datetime) -> int:
    """Queue one vetted answer to locked open cases, in few statements; return how many got it.

    Passed over, and left as they are: who is over the cap, and whose address no server takes. Everything that waits in a case is answered.
    """
    if not cases:
        return 0
    capped = _capped([c.pk for c in cases], at)
    waiting: dict[int, list[Message]] = {c.pk: [] for c in cases if c.pk not in capped}
    for message in Message.objects.filter(case__in=list(waiting), answered_at=None).order_by("received_at", "pk"):
        if message.case_id is not None:
            waiting[message.case_id].append(message)
    ensure(all(waiting.values()), "every open case has a waiting message")
    served = [c for c in cases if c.pk in waiting]
    outbounds = mail.queue_many([_single(c, waiting[c.pk][-1], text=answer.body, at=at) for c in served])
    sent = [(c, outbound) for c, outbound in zip(served, outbounds, strict=True) if outbound is not None]
    replies = Reply.objects.bulk_create(
        [Reply(case=c, outbound=outbound, at=at, by=by, answer=answer, release_id=release) for c, outbound in sent]
    )
    pairs = [(m.pk, reply.pk) for reply in replies for m in waiting[reply.case_id]]
    sql.execute("support", "answered", messages=[m for m, _ in pairs], replies=[r for _, r in pairs], at=at)
    Case.objects.filter(pk__in=[c.pk for c, _ in sent]).update(
        state="answered", waiting=0, moved_at=at, lease_by="", lease_until=None, seen=None
    )
    bodies = [(c.subject, _body(c, outbound, len(waiting[c.pk]), answer, release)) for c, outbound in sent]
    books.of_cases(EventType.REPLY_QUEUED, bodies, salts=books.salts_of(cases), at=at, by=by)
    return len(sent)


def _capped(cases: list[int], at: datetime) -> set[int]:
    """Return those of these cases that had their answers of the day."""
    recent = Reply.objects.filter(case__in=cases, at__gt=at - timedelta(days=1)).values("case").annotate(n=Count("pk"))
    return set(recent.filter(n__gte=threading.REPLIES_PER_DAY_MAX).values_list("case", flat=True))


def _single(case: Case, newest: Message, *, text: str, at: datetime) -> Single:
    """Return the mail that answers a case, threaded under its newest message."""
    references = [*newest.reply_references, newest.message_id] if newest.message_id else newest.reply_references
    return Single(
        purpose="answer",
        to=sealed.open_address(bytes(case.person), bytes(case.address)),
        subject=threading.reply_subject(sealed.opened(newest.subject_line, sealed.SUBJECT)),
        text=f"{GREETING}\n\n{text.strip()}\n\n{CLOSING}\n",
        reply_to=sealed.reply_address(case.pk),
        in_reply_to=newest.message_id or None,
        references=tuple(references),
        at=at,
        dedupe_key=f"support|{case.pk}|{newest.pk}",
    )


def _body(case: Case, outbound: int, messages: int, answer: Answer | None, release: int | None) -> dict[str, Any]:
    return {"case": case.pk, "outbound": outbound, "messages": messages, "answer": answer.pk if answer else None, "release": release}
