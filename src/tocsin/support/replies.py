"""One answer to one case: queued in the caller's transaction, with the evidence of it, threaded under the person's own mail."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from django.db.models import Q

from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel.errors import Refused, ensure
from tocsin.mail import actions as mail
from tocsin.subjects import queries as subjects

from . import sealed, standing
from .models import Answer, Case, Message, Reply
from .policy import threading

GREETING, CLOSING = "Hello,", "Your customer desk"


def send(case: Case, *, text: str, answer: Answer | None, release: int | None, by: str, at: datetime, salts: Mapping[int, bytes]) -> None:
    """Queue the answer to a locked open case and mark its waiting messages answered. Raises Refused over the cap.

    The same case and newest message never get two mails: the mail room's de-duplication key names both.
    """
    if Reply.objects.filter(case=case, at__gt=at - timedelta(days=1)).count() >= threading.REPLIES_PER_DAY_MAX:
        raise Refused(f"case {case.pk} got {threading.REPLIES_PER_DAY_MAX} answers within a day: the next one must wait")
    later = Q(pk__gt=case.seen) if case.seen is not None and release is None else Q(pk=None)
    waiting = list(case.messages.filter(~later, answered_at=None).order_by("received_at", "pk"))
    ensure(bool(waiting), f"open case {case.pk} has a waiting message")
    newest = waiting[-1]
    outbound = mail.queue_single(
        purpose="answer",
        to=sealed.open_address(bytes(case.person), bytes(case.address)),
        subject=threading.reply_subject(sealed.opened(newest.subject_line, sealed.SUBJECT)),
        text=f"{GREETING}\n\n{text.strip()}\n\n{CLOSING}\n",
        html=None,
        reply_to=sealed.reply_address(case.pk),
        in_reply_to=newest.message_id or None,
        references=[*newest.reply_references, newest.message_id] if newest.message_id else newest.reply_references,
        at=at,
        dedupe_key=f"support|{case.pk}|{newest.pk}",
    )
    reply = Reply.objects.create(case=case, outbound=outbound, at=at, by=by, answer=answer, release_id=release)
    Message.objects.filter(pk__in=[m.pk for m in waiting]).update(reply=reply, answered_at=at)
    unseen = case.messages.filter(answered_at=None).exists()
    case.state, case.moved_at, case.lease_by, case.lease_until, case.seen = "open" if unseen else "answered", at, "", None, None
    case.save(update_fields=["state", "moved_at", "lease_by", "lease_until", "seen"])
    if unseen:
        standing.refresh(case)
    body = {"case": case.pk, "outbound": outbound, "messages": len(waiting), "answer": answer.pk if answer else None, "release": release}
    if case.subject is not None and case.subject in salts:
        evidence.record_subject(
            EventType.REPLY_QUEUED, at=at, actor=by, incident=None, subject=case.subject, salt=salts[case.subject], body=body
        )
    else:
        evidence.record(EventType.REPLY_QUEUED, at=at, actor=by, body=body)


def salts_of(cases: list[Case]) -> dict[int, bytes]:
    """Return the evidence salts of the customers among these cases."""
    return subjects.salts([c.subject for c in cases if c.subject is not None])
