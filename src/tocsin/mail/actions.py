"""Writes of the mail room: compile and send notices, single mails out, mail in."""

from __future__ import annotations

import contextlib
import hmac
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import connection, transaction

from tocsin.kernel import clock, config, jobs, sql, wiring
from tocsin.kernel.errors import BadInput, Busy, Fault, NotFound, Refused, Unavailable
from tocsin.kernel.private import Private
from tocsin.kernel.sealing import deposit, key, lookup_digest, open_sealed, seal

from . import dkim, feeds, policy, receivers, template
from .models import Outbound, Suppression
from .parse import kind, mime
from .port import Transport
from .receivers import hear, lock, take
from .sender import journal
from .types import (
    BlockToSend,
    Delivery,
    Envelope,
    FeedReport,
    Heard,
    LaneMemory,
    Outcome,
    Pace,
    Recipient,
    Recovery,
    Single,
    Template,
    receiver_of,
)

__all__ = [
    "check_feed", "close_block", "compile_template", "hear", "in_doubt", "is_being_sent", "lock", "message_id", "queue_many",
    "queue_single", "recover", "send_block", "send_single", "shipment", "suppress", "take", "take_feed", "take_in", "take_in_many",
    "transport", "verp",
]  # fmt: skip

BLOCK_RECIPIENTS_MAX = 10_000
SINGLE_PRIORITY = 10  # above mailings: somebody waits for it
MANY_PRIORITY = 5  # above mailings, below mail that one person waits for
QUEUE_MANY_MAX = 1_000
SINGLE_TRIES_MAX = 18  # below the queue's own limit, so that the row ends before the job does; about an hour and a half
SINGLE_BUSY_S = 30
SINGLE_BLOCKS_FROM = 1 << 62  # single mails use the journal under block numbers that no ledger reaches
REFERENCES_CHARS_MAX = 800
TAKE_IN_MAX = 200
TAKE_IN_LOCK = 0x746F634D  # advisory: ids of inbound mail rise in the order of commits
SINGLE_PACE = Pace(connections=1, messages_per_connection=1, rate_per_s=1000.0)
SINGLE_CONNECTIONS = 8  # of which a deferral takes its part from the receiver's window
SIGN_AHEAD = 32  # messages made at once: a signature drives the interpreter out of the caches, see `dkim.Signer.contents`


def compile_template(*, subject: str, text: str, html: str | None = None, reply_to: str | None = None,
                     headers: Mapping[str, str] | None = None) -> Template:
    """Return a notice compiled for `send_block`, from the configured sender. Raises BadInput with all faults.

    Slots are `{{lower_case_name}}` in `text` and `html`, never in header fields. `reply_to` defaults to the configured help address.
    Keep the result: its `digest` belongs into what is approved.
    """
    mail = config.current().mail
    return template.compile_notice(from_name=mail.from_name, from_address=mail.from_address, reply_to=reply_to or mail.help_address,
                                   subject=subject, text=text, html_text=html, headers=headers)


def transport() -> Transport:
    """Return the configured transport. One object asks the server once where it reaches: make one per job."""
    made: Transport = wiring.load(config.current().mail.transport).configured()
    return made


def verp(block: int, n: int) -> str:
    """Return the bounce address of a recipient: a failure sent to it names the person exactly, and nobody else can make one up."""
    return f"{policy.verp_local(key('verp').reveal(), block, n)}@{config.current().mail.bounce_domain}"


def message_id(recipient_key: str) -> str:
    """Return the Message-ID, with its angle brackets, of whatever is sent under a recipient's `key`: for the evidence of the hand-over."""
    return dkim.message_id(key("message_id").reveal(), recipient_key, config.current().mail.dkim_domain)


def recover(block_id: int, home: Path | None = None, *, attempts: Collection[int] | None = None,
            shipped: Iterable[bytes] = ()) -> Recovery:
    """Return what this machine's journals know of a block, or of some attempts at it: outcomes, who is in doubt, which attempts ran here.

    `shipped`: lots that `shipment` made. An attempt that is not in `runs` ran elsewhere, or died before its first record.
    """
    return journal.recover(home or config.current().home, block_id, attempts=attempts, shipped=shipped)


def shipment(outcomes: Iterable[Outcome], *, block: int, attempt: int) -> bytes:
    """Return outcomes in the journal's format, to be kept where the loss of this machine does not reach; read back by `recover`."""
    return journal.packed(outcomes, block=block, attempt=attempt)


def is_being_sent(block_id: int, home: Path | None = None) -> bool:
    """Return whether a process of this machine that lives, running or frozen, has the block under way."""
    return journal.is_being_written(home or config.current().home, block_id)


def in_doubt(block_id: int, home: Path | None = None) -> set[int]:
    """Return the recipients of a block that may have got their message although no reply was read. Name them before `send_block`."""
    return set(recover(block_id, home).in_doubt)


def close_block(block_id: int, home: Path | None = None) -> None:
    """Forget a block's journals. Call after the transaction that holds its outcomes; a crash before this only leaves a file behind."""
    journal.forget(home or config.current().home, block_id)


def send_block(block: BlockToSend, *, transport: Transport, pace: Pace, renew: Callable[[], None], stopped: Callable[[], bool],
               home: Path | None = None, announce: Callable[[int], None] | None = None) -> Iterator[Outcome]:
    """Send a block and yield one outcome per recipient; fewer if it was stopped, or raised.

    First come the outcomes that earlier runs left in the journal (their text is ""), so that a block whose run was killed is finished, not
    repeated. Raises Refused before anything is sent if the transport's reach does not suit the estate, or if somebody is in doubt whom
    `named_in_doubt` does not list; Unavailable if the transport or the journal's disk fails; what `renew` raises. After any of these, or
    a kill, call `in_doubt`, record it, and call again with the next attempt: nobody is lost, and only the recorded are repeated.
    `stopped` is asked every turn: let it answer from memory. `announce(n)` comes before the first byte to recipient n leaves, in the order
    of `block.recipients`; what it raises ends the run. The process needs the keys dkim, message_id and verp.
    """
    place = home or config.current().home
    _check(block)
    wrong = policy.wrong_reach(config.current().estate.kind, transport.reach())
    if wrong:
        raise Refused(wrong)
    known = journal.recover(place, block.id)
    unnamed = known.in_doubt - block.named_in_doubt
    if unnamed:
        raise Refused(f"block {block.id}: {len(unnamed)} recipients may have got their message; record them, then send with named_in_doubt")
    return _send(block, known, transport=transport, pace=pace, renew=renew, stopped=stopped, home=place, announce=announce)


def _send(block: BlockToSend, known: Recovery, *, transport: Transport, pace: Pace, renew: Callable[[], None], stopped: Callable[[], bool],
          home: Path, announce: Callable[[int], None] | None) -> Iterator[Outcome]:
    yield from (known.done[r.n] for r in block.recipients if r.n in known.done)
    unusable: list[Outcome] = []
    with journal.RunJournal(home, block=block.id, attempt=block.attempt) as notes:
        envelopes = _envelopes([r for r in block.recipients if r.n not in known.done], block, unusable)
        if announce is not None:
            envelopes = _announced(envelopes, announce)
        with contextlib.closing(transport.deliver(envelopes, pace=pace, journal=notes, renew=renew, stopped=stopped)) as outcomes:  # type: ignore[type-var]
            yield from outcomes
        for outcome in unusable:
            notes.done(outcome.n, outcome.kind, outcome.code, outcome.enhanced, outcome.at_us)
        notes.flush()
        yield from unusable


def _announced(envelopes: Iterator[Envelope], announce: Callable[[int], None]) -> Iterator[Envelope]:
    for envelope in envelopes:
        announce(envelope.n)
        yield envelope


def _envelopes(recipients: list[Recipient], block: BlockToSend, unusable: list[Outcome]) -> Iterator[Envelope]:
    """Yield signed messages one by one, as connections ask for them; put recipients whose address no server takes into `unusable`."""
    mail = config.current().mail
    signing_key = dkim.load_rsa(key("dkim"))
    signers = [dkim.Signer(t, date=block.date, key=signing_key, domain=mail.dkim_domain, selector=mail.dkim_selector,
                           message_id_key=key("message_id")) for t in block.templates]
    secret, domain = key("verp").reveal(), mail.bounce_domain
    for start in range(0, len(recipients), SIGN_AHEAD):
        usable: list[list[tuple[Recipient, bytes]]] = [[] for _ in signers]
        for recipient in recipients[start:start + SIGN_AHEAD]:
            address = policy.wire_address(recipient.address)
            if address is None:
                unusable.append(Outcome(recipient.n, "bounced", 0, "5.1.3",
                                        f"the address cannot be used: {policy.why_unusable(recipient.address)}", clock.now_us()))
            else:
                usable[recipient.template].append((recipient, address.encode()))
        for signer, lot in zip(signers, usable, strict=True):
            for (recipient, to), content in zip(lot, signer.contents(lot), strict=True):
                local = policy.verp_local(secret, block.id, recipient.n) if block.id < SINGLE_BLOCKS_FROM \
                    else policy.single_local(secret, block.id - SINGLE_BLOCKS_FROM)
                yield Envelope(recipient.n, f"{local}@{domain}", to.decode(), content)


def _check(block: BlockToSend) -> None:
    """Raise BadInput before the first message if a recipient cannot be served: a block is sent whole."""
    if not 0 < len(block.recipients) <= BLOCK_RECIPIENTS_MAX:
        raise BadInput.of("block.recipients", len(block.recipients), f"1 to {BLOCK_RECIPIENTS_MAX}")
    if len({r.n for r in block.recipients}) != len(block.recipients):
        raise BadInput.of("block.recipients", "the same n twice", "each n once")
    needed = [t.slot_names for t in block.templates]
    for r in block.recipients:
        if not 0 <= r.template < len(needed) or not needed[r.template] <= r.slots.keys():
            raise BadInput.of("block.recipients", f"n = {r.n}", "a template of the block, and a value for each of its slots")
        if any(len(v) > template.SLOT_CHARS_MAX for v in r.slots.values()):
            raise BadInput.of("block.recipients", f"n = {r.n}, a slot value that is too long",
                              f"at most {template.SLOT_CHARS_MAX} characters")


def queue_single(*, purpose: str, to: Private[str], subject: str, text: str, html: str | None = None, reply_to: str | None = None,
                 in_reply_to: str | None = None, references: Sequence[str] = (), at: datetime, dedupe_key: str, urgent: bool = False,
                 then: str = "") -> int:
    """Queue one mail to one person, with its job, in the caller's transaction; return its Outbound's id.

    `urgent`: it goes out under a sender and through workers of its own (queue `urgent`), so that no mailing stands in its way. `then` names
    a job that is enqueued with `outbound=` this id in the transaction that records the hand-over.
    The same `dedupe_key` gives the same id and no second mail. `purpose`: what the queue's operator may read ("reset", "answer").
    Everything else is sealed. `text` and `html` are taken as they are: braces are no slots. Raises BadInput with all faults, the address
    not shown.
    """
    single = Single(purpose=purpose, to=to, subject=subject, text=text, html=html, reply_to=reply_to, in_reply_to=in_reply_to,
                    references=tuple(references), at=at, dedupe_key=dedupe_key, urgent=urgent, then=then)
    fields = _checked(single)
    digest = lookup_digest(dedupe_key, purpose="mail-outbound")
    with transaction.atomic():
        row, new = Outbound.objects.get_or_create(dedupe=digest, defaults={
            "purpose": purpose, "sealed": seal(json.dumps(fields), context="mail-outbound"), "queued_at": at})
        if new:
            jobs.enqueue("mail.tasks.send_urgent" if urgent else "mail.tasks.send_single", priority=SINGLE_PRIORITY, outbound=row.pk)
    return int(row.pk)


def queue_many(singles: Sequence[Single]) -> list[int | None]:
    """Queue mails to many, with their jobs, in the caller's transaction and in few statements; return the Outbounds' ids, in order.

    As `queue_single`, but a mail that is itself at fault (an address no server takes) is not queued and gets None: one person's address
    must not stop the others'. Jobs go behind those of `queue_single`: for such mail somebody waits at a screen. Raises BadInput for more
    than QUEUE_MANY_MAX at once.
    """
    if len(singles) > QUEUE_MANY_MAX:
        raise BadInput.of("singles", len(singles), f"at most {QUEUE_MANY_MAX}")
    digests: list[bytes | None] = []
    rows: dict[bytes, tuple[str, bytes, datetime]] = {}
    bodies: set[tuple[str, str | None]] = set()
    for single in singles:
        try:
            fields = _checked(single, bodies)
        except BadInput:
            digests.append(None)
            continue
        digest = lookup_digest(single.dedupe_key, purpose="mail-outbound")
        digests.append(digest)
        rows.setdefault(digest, (single.purpose, seal(json.dumps(fields), context="mail-outbound"), single.at))
    if not rows:
        return [None] * len(singles)
    order = sorted(rows)  # two callers with the same mails wait for each other instead of locking each other out
    with transaction.atomic():
        new = sql.rows("mail", "queue_many", dedupe=order, purpose=[rows[d][0] for d in order], sealed=[rows[d][1] for d in order],
                       queued_at=[rows[d][2] for d in order])
        ids = {bytes(digest): int(i) for i, digest in new}
        jobs.enqueue_many("mail.tasks.send_single", [{"outbound": i} for i in sorted(ids.values())], priority=MANY_PRIORITY)
        known = [d for d in order if d not in ids]
        if known:
            ids |= {bytes(d): i for i, d in Outbound.objects.filter(dedupe__in=known).values_list("pk", "dedupe")}
    return [ids[d] if d is not None else None for d in digests]


def _checked(single: Single, bodies: set[tuple[str, str | None]] | None = None) -> dict[str, Any]:
    """Return what is sealed of a single mail. Raises BadInput here, not in the worker.

    `bodies`: texts that were found sound before. Encoding a body is most of the work, and thousands may get the same one.
    """
    faults = []
    if not re.fullmatch(r"[a-z][a-z_]{0,30}", single.purpose):
        faults.append(Fault("purpose", repr(single.purpose), "a lower-case word"))
    if policy.wire_address(single.to.reveal()) is None:
        faults.append(Fault("to", "***", "an e-mail address that a mail server can take"))
    threading = [*([single.in_reply_to] if single.in_reply_to else []), *single.references]
    if any(not policy.MESSAGE_ID.fullmatch(m) for m in threading):
        faults.append(Fault("in_reply_to, references", "***", "Message-IDs with their angle brackets"))
    if single.reply_to is not None and policy.wire_address(single.reply_to) is None:
        faults.append(Fault("reply_to", "***", "an e-mail address"))
    if faults:
        raise BadInput(faults)
    fields: dict[str, Any] = {
        "to": single.to.reveal(), "subject": single.subject, "text": single.text, "html": single.html, "reply_to": single.reply_to,
        "in_reply_to": single.in_reply_to, "references": list(single.references)[-policy.REFERENCES_MAX:],
        "urgent": single.urgent, "then": single.then}
    body = (single.text, single.html)
    if bodies is None or body not in bodies:
        _single_template(fields)
    else:
        _single_template(fields | {"text": "-", "html": None})
    if bodies is not None:
        bodies.add(body)
    return fields


def _single_template(single: dict[str, Any]) -> Template:
    """Return the compiled template of a single mail. Braces in its texts are text: slots are none here, so they are broken up first."""
    mail = config.current().mail
    headers = {"Auto-Submitted": "auto-generated"}
    if single["in_reply_to"]:
        references = list(map(str, single["references"] or [])) or [str(single["in_reply_to"])]
        while len(" ".join(references)) > REFERENCES_CHARS_MAX:
            references.pop(0)
        headers = {"In-Reply-To": str(single["in_reply_to"]), "References": " ".join(references)}
    text, markup = (None if v is None else re.sub(r"([{}])(?=\1)", "\\1\u2060", str(v)) for v in (single["text"], single["html"]))
    return template.compile_notice(
        from_name=mail.from_name, from_address=mail.reset_from if single.get("urgent") else mail.from_address,
        reply_to=str(single["reply_to"] or mail.help_address), subject=str(single["subject"]), text=text or "", html_text=markup, headers=headers)


def send_single(outbound: int, *, at: datetime, transport: Transport) -> None:
    """Send a queued mail and record how it ended. Safe to repeat: an ended one is left alone.

    Raises Unavailable when it should be tried again (4yz, relay away), Busy when another worker has it, Refused for a wrong reach. A crash
    between the final dot and the commit is found in the journal: a reply that was read is recorded without sending again; a reply that
    was not is a repeat with the same Message-ID, counted in the row.
    """
    row = jobs.claim(Outbound.objects.filter(pk=outbound))
    if row is None:
        state = Outbound.objects.filter(pk=outbound).values_list("state", flat=True).first()
        if state is None:
            raise NotFound(f"no mail {outbound}")
        if state == "open":
            raise Busy(f"mail {outbound} is with another worker", retry_after_s=SINGLE_BUSY_S)
        return
    single = json.loads(open_sealed(row.sealed, context="mail-outbound").reveal())
    receiver = receiver_of(single["to"].rpartition("@")[2].lower())
    _admit(row, receiver, at=at)
    number = SINGLE_BLOCKS_FROM + outbound
    mail = config.current().mail
    doubt = recover(number).in_doubt
    # Durable before the wire: the Message-ID by which an answer will find this row, and that a repeat may be on its way.
    jobs.fenced(row, message_id=dkim.message_id(key("message_id").reveal(), f"single/{outbound}", mail.dkim_domain),
                repeats=row.repeats + bool(doubt))
    person = Recipient(0, single["to"], {}, f"single/{outbound}")
    block = BlockToSend(number, row.attempt, [_single_template(single)], [person], row.queued_at, named_in_doubt=doubt)
    outcomes = list(send_block(block, transport=transport, pace=SINGLE_PACE, renew=lambda: jobs.renew(row), stopped=lambda: False))
    if not outcomes:
        raise Unavailable("mail transport", f"mail {outbound} was not tried")
    outcome = outcomes[0]
    ended = {"handed_over": "sent", "bounced": "bounced"}.get(outcome.kind)
    if ended is None and row.attempt >= SINGLE_TRIES_MAX:
        ended = "bounced"
    reason = "" if ended == "sent" else kind.reply_reason(outcome.code, outcome.enhanced, outcome.text)[0]
    with transaction.atomic():
        _hear_single(receiver, outcome, at=at)
        jobs.fenced(row, code=outcome.code, enhanced=outcome.enhanced, reason=reason, state=ended or "open", ended_at=at if ended else None,
                    lease_until=at)
        if ended == "sent" and single.get("then"):
            jobs.enqueue(single["then"], priority=SINGLE_PRIORITY, outbound=outbound)
    if outcome.kind != "in_doubt":
        close_block(number)  # a deferred one starts afresh; one in doubt must stay in the journal until it is named above
    if ended is None:
        raise Unavailable("mail transport", f"mail {outbound}: {outcome.kind} {outcome.code} {outcome.enhanced}")


def _admit(row: Outbound, receiver: str, *, at: datetime) -> None:
    """Wait for a receiver that wants it so, giving the lease back: a single mail goes before mailings and not before the receiver's word."""
    jobs.fenced(row, receiver=receiver)
    try:
        receivers.admit(receiver, at=at, outbound=row.pk)
    except Busy:
        jobs.fenced(row, lease_until=at, attempt=row.attempt - 1)
        raise


def _hear_single(receiver: str, outcome: Outcome, *, at: datetime) -> None:
    """Let the receiver's memory hear what was said to a single mail. Joins the caller's transaction."""
    if outcome.kind == "in_doubt" or not outcome.code:
        return
    us = outcome.kind == "deferred" and policy.speaks_of_us(outcome.code, outcome.enhanced)
    said = [Heard(outcome.at_us / 1_000_000, outcome.code, outcome.enhanced, outcome.text, us=us)] if outcome.kind != "handed_over" else []
    hear(receiver, LaneMemory(), said, sent=1, cap_per_s=receivers.UNLIMITED_PER_S, connections=SINGLE_CONNECTIONS, measured_per_s=0.0, at=at)


def take_in(raw: bytes, *, envelope_from: str, envelope_to: Sequence[str], at: datetime) -> int:
    """Put one mail in, committed when this returns; return its Inbound's id, that of the first copy if it came before."""
    return take_in_many([Delivery(raw, envelope_from, tuple(envelope_to), at)])[0]


def take_in_many(deliveries: Sequence[Delivery]) -> list[int]:
    """Put mails in, in one transaction; return their ids in order. Needs only the keys deposit_public and verp.

    A copy is one with the same Message-ID, From and body as one that is in already, sent to the same bounce address: what a server sends
    again when our reply was lost. Nothing is ever refused for its content.
    """
    if not 0 < len(deliveries) <= TAKE_IN_MAX:
        raise BadInput.of("deliveries", len(deliveries), f"1 to {TAKE_IN_MAX}")
    rows = [_inbound(d) for d in deliveries]
    unique = list({row["digest"]: row for row in rows}.values())
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [TAKE_IN_LOCK])
        cursor.execute(sql.text("mail", "take_in"), {name: [row[name] for row in unique] for name in unique[0]})
        ids = {bytes(digest): int(i) for i, digest in cursor.fetchall()}
        missing = [row["digest"] for row in unique if row["digest"] not in ids]
        if missing:
            cursor.execute("SELECT id, digest FROM mail_inbound WHERE digest = ANY(%s::bytea[])", [missing])
            ids |= {bytes(digest): int(i) for i, digest in cursor.fetchall()}
    return [ids[row["digest"]] for row in rows]


def check_feed(name: str) -> None:
    """Raise NotFound if no feed of that name is configured, BadInput with every fault of its options."""
    feeds.feed(name)


def take_feed(name: str, *, headers: Mapping[str, str], body: bytes, at: datetime) -> FeedReport:
    """Take in what a relay tells of our mail through the feed `name`; committed when this returns. Needs the keys deposit_public and verp.

    Each event about a message of ours is put in as a report to its bounce address and takes the way of every report from there. Told again
    it changes nothing. Raises NotFound, Refused (forged, stale, another topic), BadInput (no such request), Unavailable (cannot be checked
    now): nothing was taken then.
    """
    reading = feeds.feed(name).read(headers, body, at=at)
    ours = [feeds.delivery(name, event, at=at) for event in reading.events if feeds.is_ours(event)]
    with transaction.atomic():
        for start in range(0, len(ours), TAKE_IN_MAX):
            take_in_many(ours[start:start + TAKE_IN_MAX])
    ignored = reading.read - reading.n_faulty - len(ours)
    return FeedReport(read=reading.read, accepted=len(ours), ignored=max(0, ignored), rejected=reading.n_faulty, faults=reading.faults)


def _inbound(delivery: Delivery) -> dict[str, Any]:
    root = mime.parse(delivery.raw)
    secret = key("verp").reveal()
    locals_ = [a.rpartition("@")[0] for a in delivery.envelope_to]
    verp_of = next((v for v in (policy.read_verp(secret, x) for x in locals_) if v), None)
    single = next((v for v in (policy.read_single(secret, x) for x in locals_) if v is not None), None)
    same = json.dumps([root.get("message-id"), root.get("from"), verp_of, single]).encode()
    envelope = json.dumps({"from": delivery.envelope_from, "to": delivery.envelope_to}).encode()
    blob = deposit(len(envelope).to_bytes(4, "big") + envelope + delivery.raw, context="mail-inbound")
    digest = hmac.digest(secret, b"inbound/1\x00" + same + root.body, "sha256")
    return {"received_at": delivery.at, "kind": kind.classify(root).kind.value, "digest": digest, "deposit": blob,
            "size_bytes": len(delivery.raw), "verp_block": verp_of[0] if verp_of else None,
            "verp_n": verp_of[1] if verp_of else None, "single": single}


def suppress(address: Private[str], *, reason: str, at: datetime) -> None:
    """Record that an address wants no marketing. Notices are not affected."""
    Suppression.objects.get_or_create(digest=lookup_digest(address.reveal().strip().lower(), purpose="mail-suppression"),
                                      defaults={"reason": reason, "at": at})
