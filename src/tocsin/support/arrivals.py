"""Mail in: from the mail room's inbox into cases. Each mail is taken once, in order, with the evidence of it in the same transaction."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from tocsin.evidence.types import EventType
from tocsin.kernel import config, sql
from tocsin.mail import queries as mail
from tocsin.mail.types import InboundInfo, InboundKind, ParsedMessage
from tocsin.subjects import queries as subjects

from . import books, learned, sealed, standing, team
from .models import Case, Cursor, Message, Reply
from .policy import classify, redact, text, threading, urgency
from .types import TakenIn

BATCH = 200
BATCHES_MAX = 50  # in one call: ten thousand mails, then the next call goes on
FOLD_ABOVE = 100  # rows of the tally; below, summing them costs nothing
ACTOR = "desk"
REFERENCES_MAX = 20
RANKED = 3  # suggestions kept with a message


@dataclass(frozen=True, slots=True)
class _Read:
    """A mail, opened and judged, before it has a case."""

    mail: ParsedMessage
    address: str
    person: bytes
    set_aside: str
    words: str
    subject_line: str
    verdict: classify.Verdict
    urgent: str


def take_in(*, at: datetime) -> TakenIn:
    """Take in what waits, batch by batch. Returns at once with nothing while another process is taking in."""
    total: Counter[str] = Counter()
    Cursor.objects.get_or_create(pk=1)
    for _ in range(BATCHES_MAX):
        taken = _batch(at)
        total.update(taken)
        if taken["read"] < BATCH:
            break
    sql.execute("support", "fold", rows=FOLD_ABOVE)
    return TakenIn(**{name: total[name] for name in ("messages", "opened", "joined", "urgent", "set_aside")})


def _batch(at: datetime) -> Counter[str]:
    with transaction.atomic():
        cursor = Cursor.objects.select_for_update(skip_locked=True).filter(pk=1).first()
        if cursor is None:
            return Counter()
        waiting = mail.inbound(after_id=cursor.last_inbound, kinds=[InboundKind.MESSAGE], limit=BATCH)
        if not waiting:
            return Counter()
        classifier, question_ids = learned.current()
        taken: Counter[str] = Counter({"read": len(waiting)})
        events: list[books.Told] = []
        for info in waiting:
            found = _read(info, classifier)
            if found.set_aside:
                _message(found, None, None)
                taken["set_aside"] += 1
                books.act(EventType.MESSAGE_RECEIVED, at=at, by=ACTOR, body={"inbound": info.id, "set_aside": found.set_aside})
                continue
            question = None if found.urgent else question_ids.get(found.verdict.question or "")
            case, new = _case(found, info, question, at)
            _message(found, case, question)
            if not new:
                standing.refresh(case)
                if case.urgency and case.lease_by and team.novice(case.lease_by):
                    case.lease_by, case.lease_until, case.seen = "", None, None
                    case.save(update_fields=["lease_by", "lease_until", "seen"])
            taken.update(["messages", "opened" if new else "joined", *(["urgent"] if found.urgent else [])])
            events.append((case.subject, {"inbound": info.id, "case": case.pk, "opened": new, "urgent": found.urgent}))
        salts = subjects.salts([s for s, _ in events if s is not None])
        books.of_cases(EventType.MESSAGE_RECEIVED, events, salts=salts, at=at, by=ACTOR)
        cursor.last_inbound = waiting[-1].id
        cursor.save(update_fields=["last_inbound"])
    return taken


def _read(info: InboundInfo, classifier: classify.Classifier) -> _Read:
    parsed = mail.open_inbound(info.id)
    address = parsed.from_address.reveal().strip()
    if subjects.mailbox_key(address) is None:
        address = parsed.envelope_from.reveal().strip()
    words = redact.redact(text.clean(text.own_words(text.clean(parsed.text.reveal())))).text
    subject_line = redact.redact(text.clean(parsed.subject.reveal()).replace("\n", " ")).text
    said = text.sentences(words)
    own_subject = "" if parsed.references and threading.is_reply(subject_line) else subject_line  # "Re:" is our subject, not theirs
    verdict = classifier.judge([*said, own_subject] if own_subject.strip() else said)
    urgent = urgency.most_pressing([urgency.of_text(f"{own_subject}\n{words}"), *verdict.urgent])
    return _Read(parsed, address, sealed.person_digest(address), _set_aside(parsed, address), words, subject_line, verdict, urgent)


def _set_aside(parsed: ParsedMessage, address: str) -> str:
    """Return why nobody is to be answered: no sender, or ourselves; "" for a person's mail. Machines and lists the mail room has sorted out."""
    own = config.current().mail
    if subjects.mailbox_key(address) is None:
        return "no_sender"
    ours = {own.help_address.lower(), own.from_address.lower(), own.reset_from.lower()}
    return "ourselves" if address.lower() in ours or address.lower().endswith(f"@{own.bounce_domain.lower()}") else ""


def _case(found: _Read, info: InboundInfo, question: int | None, at: datetime) -> tuple[Case, bool]:
    """Return the case the mail belongs to, locked, and whether it is new."""
    mine = Case.objects.filter(person=found.person).exclude(state="closed").select_for_update().first()
    of_person = threading.OfPerson(mine.pk, mine.state == "open", mine.moved_at) if mine else None
    outbound = info.single if info.single is not None else mail.outbound_of(found.mail.references)
    by_reference = Reply.objects.filter(outbound=outbound).values_list("case_id", flat=True).first() if outbound is not None else None
    joined = threading.joins(
        by_address=sealed.case_of_addresses(found.mail.envelope_to), by_reference=by_reference, of_person=of_person, at=info.received_at
    )
    case = (
        mine if mine is not None and joined == mine.pk else Case.objects.select_for_update().filter(pk=joined).first() if joined else None
    )
    if case is not None and case.state == "closed":  # the person has a newer case, or is free for this one again
        newer = Case.objects.filter(person=bytes(case.person)).exclude(state="closed").select_for_update().first()
        case = newer or case
    if case is not None:
        if case.state != "open":
            case.lease_by, case.lease_until, case.seen = "", None, None
        case.state, case.moved_at, case.waiting = "open", max(case.moved_at, info.received_at), case.waiting + 1
        case.save(update_fields=["state", "moved_at", "waiting", "lease_by", "lease_until", "seen"])
        return case, False
    if mine is not None:
        mine.state = "closed"
        mine.save(update_fields=["state"])
    return Case.objects.create(
        person=found.person,
        address=sealed.seal_address(found.person, found.address),
        subject=subjects.by_email(found.address),
        urgency=found.urgent,
        rank=urgency.RANK[found.urgent],
        question_id=question,
        score=found.verdict.score,
        opened_at=at,
        moved_at=info.received_at,
        waiting_since=info.received_at,
        waiting=1,
    ), True


def _message(found: _Read, case: Case | None, question: int | None) -> None:
    Message.objects.create(
        case=case,
        inbound=found.mail.id,
        received_at=found.mail.received_at,
        message_id=found.mail.message_id,
        reply_references=list(found.mail.references[-REFERENCES_MAX:]),
        subject_line=sealed.text(found.subject_line, sealed.SUBJECT),
        text=sealed.text(found.words, sealed.TEXT),
        ranking=[[name, round(score, 4)] for name, score in found.verdict.ranking[:RANKED]],
        question_id=question,
        score=found.verdict.score,
        urgency=found.urgent,
        set_aside=found.set_aside,
    )
