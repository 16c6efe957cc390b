"""Reads of the mail room."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from tocsin.kernel import config
from tocsin.kernel.errors import BadInput, NotFound, Refused, ensure
from tocsin.kernel.private import Private
from tocsin.kernel.sealing import key, lookup_digest, open_deposit

from . import dkim, exchangers, policy, quotas, receivers
from . import preflight as checks
from .measuring import sender_speed as sender_speed
from .models import Inbound, Outbound, Suppression
from .parse import kind, mime
from .shaping import policy as shaping
from .shaping import table
from .types import (
    Check,
    Classified,
    InboundInfo,
    InboundKind,
    LaneLimits,
    LaneMemory,
    OutboundInfo,
    ParsedMessage,
    Quota,
    ReceiverNow,
    Shape,
)

INBOUND_MAX = 1000
HEADERS_SHOWN = ("auto-submitted", "precedence", "list-id", "return-path", "authentication-results")
CLASSIFY_BYTES_MAX = 30 * 1024 * 1024


def preflight(*, recipients: int = 0) -> list[Check]:
    """Return what receivers will look at before they take a mass mailing, each check with its remedy; sends nothing.

    `recipients`: how many are to be written to, for the days that the relay's quota will take.
    """
    return checks.run(recipients=recipients)


def require_preflight() -> None:
    """Raise Refused with every failed check and its remedy, unless `[mail] preflight` is false."""
    if config.current().mail.preflight and (wrong := checks.summary(checks.run())):
        raise Refused(f"receivers would refuse this mailing: {wrong}")


def inbound(*, after_id: int = 0, kinds: Collection[InboundKind] | None = None, limit: int = 200) -> list[InboundInfo]:
    """Return mails that came in after `after_id`, oldest first, of the given kinds. Ids rise in the order of commits: none is missed."""
    rows = Inbound.objects.filter(pk__gt=after_id)
    if kinds is not None:
        rows = rows.filter(kind__in=[k.value for k in kinds])
    return [_info(r) for r in rows.order_by("pk").defer("deposit")[:min(limit, INBOUND_MAX)]]


def _info(row: Inbound) -> InboundInfo:
    verp = None if row.verp_block is None or row.verp_n is None else (row.verp_block, row.verp_n)
    return InboundInfo(id=row.pk, received_at=row.received_at, kind=InboundKind(row.kind), verp=verp, single=row.single,
                       size_bytes=row.size_bytes)


def raw_inbound(inbound_id: int) -> tuple[str, tuple[str, ...], Private[bytes]]:
    """Return envelope sender, envelope recipients and the raw mail. Needs the key deposit. Raises NotFound."""
    row = Inbound.objects.filter(pk=inbound_id).first()
    if row is None:
        raise NotFound(f"no inbound mail {inbound_id}")
    data = open_deposit(row.deposit, context="mail-inbound").reveal()
    length = int.from_bytes(data[:4], "big")
    ensure(len(data) == 4 + length + row.size_bytes, f"inbound mail {inbound_id} is not as long as it was")
    envelope = json.loads(data[4:4 + length])
    return envelope["from"], tuple(envelope["to"]), Private(data[4 + length:])


def open_inbound(inbound_id: int) -> ParsedMessage:
    """Return a mail that came in, parsed; whatever its bytes, this does not fail. Needs the key deposit. Raises NotFound."""
    row = Inbound.objects.filter(pk=inbound_id).defer("deposit").first()
    sender, recipients, raw = raw_inbound(inbound_id)
    ensure(row is not None, "a mail that was opened is there")
    info = _info(row)  # type: ignore[arg-type]
    root = mime.parse(raw.reveal())
    text, markup = mime.texts(root)
    from_name, from_address = next(iter(mime.addresses(root.get("from"))), ("", ""))
    references = policy.MESSAGE_ID.findall(f"{root.get('references')} {root.get('in-reply-to')}")
    files = [(p.filename, p.media, len(p.content)) for p in root.walk()
             if not p.children and (p.filename or p.get("content-disposition").lower().startswith("attachment"))]
    headers = {name: root.get(name) for name in HEADERS_SHOWN if root.get(name)}
    return ParsedMessage(
        id=info.id, received_at=info.received_at, envelope_from=Private(sender), envelope_to=recipients, from_address=Private(from_address),
        from_name=Private(from_name), to=Private(mime.words(root.get("to"))), subject=Private(mime.words(root.get("subject"))),
        date=mime.date(root.get("date")), message_id=next(iter(policy.MESSAGE_ID.findall(root.get("message-id"))), ""),
        references=tuple(dict.fromkeys(references)), text=Private(text), html=Private(markup), attachments=tuple(files),
        classified=kind.classify(root), verp=info.verp, single=info.single, headers=headers)


def classify(raw: bytes) -> Classified:
    """Return what a mail is and, for a failure report or complaint, whom it is about. Never fails."""
    return kind.classify(mime.parse(raw[:CLASSIFY_BYTES_MAX]))


def classify_file(path: Path) -> dict[str, Any]:
    """Return `classify` of a file with the keys of the command line."""
    try:
        found = classify(path.read_bytes())
    except OSError as e:
        raise BadInput.of("file", str(path), f"a file that can be read ({e.strerror})") from None
    return {"file": str(path), "kind": found.kind.value, "recipients": [
        {"address": r.address, "action": r.action, "status": r.status, "reply_code": r.reply_code, "reason": r.reason, "hard": r.hard}
        for r in found.recipients]}


def classify_reply(code: int, enhanced: str, text: str) -> tuple[str, bool]:
    """Return (reason, hard) of a synchronous reply, by the same rules as a report's: hard means that this address is of no more use."""
    return kind.reply_reason(code, enhanced, text)


def speaks_of_us(code: int, enhanced: str) -> bool:
    """Tell whether a deferral is about our pace or standing and not about the recipient. See `policy.speaks_of_us`."""
    return policy.speaks_of_us(code, enhanced)


def shape_of(receiver: str) -> Shape:
    """Return what senders allow themselves towards a receiver, by the name of its lane."""
    return table.shape_of(receiver)


def quota() -> Quota:
    """Return what the relay grants now. Raises Unavailable if it cannot be asked."""
    return quotas.current()


def finish_s(*, waiting: int, rate_per_s: float, per_day: int | None, left_of_day: int) -> float:
    """Return in how many seconds so many messages are out; infinity if never. See `policy.finish_s`."""
    return policy.finish_s(waiting=waiting, rate_per_s=rate_per_s, per_day=per_day, left_of_day=left_of_day)


def lane_memory(stored: Mapping[str, Any]) -> LaneMemory:
    """Return a lane's memory as `LaneMemory.as_json` stored it."""
    return LaneMemory.of(stored)


def receiver_now(receiver: str, *, at: datetime) -> ReceiverNow:
    """Return what a receiver allows us at a moment, over everything we send to it."""
    return receivers.now(receiver, at=at)


def receivers_now(names: Collection[str], *, at: datetime) -> Mapping[str, ReceiverNow]:
    """Return what each of these receivers allows us at a moment, in one query."""
    return receivers.now_many(names, at=at)


def receiver_memory(stored: Mapping[str, Any]) -> LaneMemory:
    """Return the part of a lane's stored memory that is its receiver's."""
    return shaping.of_receiver(LaneMemory.of(stored))


def lane_with_receiver(lane: LaneMemory, receiver: LaneMemory) -> LaneMemory:
    """Return what is known of a receiver, with the breaker of one mailing's lane."""
    return shaping.shared(receiver, lane)


def receivers_by_mx(domains: Collection[str]) -> Mapping[str, str]:
    """Return the receiver of each domain by its mail exchangers, `other` where the table names none; empty unless `[mail] mx_lookup` is on.

    Domains that could not be asked are left out. Each is asked once per process.
    """
    return exchangers.receivers(domains)


def singles_open(receiver: str | None = None) -> int:
    """Return how many single mails are being sent now, to one receiver or all: each holds one connection."""
    return receivers.singles_open(receiver)


def lane_limits(memory: LaneMemory, *, at: datetime, cap_per_s: float, connections: int) -> LaneLimits:
    """Return what a lane may use now; a rate of 0 is a pause."""
    return shaping.limits(memory, at_s=at.timestamp(), cap_per_s=cap_per_s, connections=connections)


def released_lane(memory: LaneMemory) -> LaneMemory:
    """Return the memory of a broken lane that people let go on."""
    return shaping.released(memory)


def verp_of(address: str) -> tuple[int, int] | None:
    """Return (block, n) of one of our bounce addresses; None if it is none or its MAC is wrong (forged)."""
    local, _, domain = address.rpartition("@")
    if domain.lower() != config.current().mail.bounce_domain.lower():
        return None
    return policy.read_verp(key("verp").reveal(), local)


def singles_waiting() -> int:
    """Return how many single mails are not ended."""
    return Outbound.objects.filter(state="open").count()


def outbound_state(outbound_id: int) -> OutboundInfo:
    """Return the state of a single mail. Raises NotFound."""
    row = Outbound.objects.filter(pk=outbound_id).defer("sealed").first()
    if row is None:
        raise NotFound(f"no mail {outbound_id}")
    state = row.state if row.state != "open" else "deferred" if row.code else "waiting"
    return OutboundInfo(id=row.pk, purpose=row.purpose, state=state, message_id=row.message_id, queued_at=row.queued_at,
                        ended_at=row.ended_at, code=row.code, enhanced=row.enhanced, reason=row.reason)


def outbound_of(message_ids: Collection[str]) -> int | None:
    """Return the newest single mail that an answer with these references answers, or None. By Message-IDs that nobody can guess."""
    wanted = [m for m in message_ids if m][-policy.REFERENCES_MAX * 2:]
    found = Outbound.objects.filter(message_id__in=wanted).order_by("-pk").values_list("pk", flat=True).first() if wanted else None
    return None if found is None else int(found)


def is_suppressed(address: Private[str]) -> bool:
    """Return whether an address asked for no marketing."""
    return Suppression.objects.filter(digest=lookup_digest(address.reveal().strip().lower(), purpose="mail-suppression")).exists()


def dkim_record() -> tuple[str, str]:
    """Return name and content of the DNS record that verifies our signatures."""
    mail = config.current().mail
    return f"{mail.dkim_selector}._domainkey.{mail.dkim_domain}", dkim.public_record(key("dkim_public").reveal())
