"""Read the log: what happened, how far it is sealed, and proofs for outsiders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from tocsin.kernel import config, sql
from tocsin.kernel.errors import NotFound, Refused
from tocsin_tlog import checkpoint, proof
from tocsin_tlog.tiles import TileReader
from tocsin_tlog.verify import Verification, verify_log

from . import policy
from .models import Checkpoint, Event, Head
from .types import Entry, EventType, LogStatus, Proof, Volumes

LIMIT_MAX = 10_000
SAMPLE_ROWS = 100_000  # of 1.5 million: 0.6 s on two overloaded cores (load 10), each of 19 hourly columns within 12 %
BUCKETS_S = (1, 2, 5, 10, 30, 60, 300, 900, 3_600, 10_800, 21_600, 86_400, 604_800, 31_536_000)


def activity(
    *,
    incident: int | None = None,
    after_id: int = 0,
    limit: int = 200,
    types: Sequence[EventType] | None = None,
    newest_first: bool = False,
) -> list[Entry]:
    """Return acts (events that touch no single customer), oldest first unless asked otherwise; at most `limit`."""
    found = Event.objects.filter(subject__isnull=True, pk__gt=after_id)
    if incident is not None:
        found = found.filter(incident=incident)
    if types is not None:
        found = found.filter(type__in=types)
    return [_entry(e) for e in found.order_by("-pk" if newest_first else "pk")[: min(limit, LIMIT_MAX)]]


def entries_of_subject(subject: int) -> list[Entry]:
    """Return every event that touched one customer, oldest first."""
    return [_entry(e) for e in Event.objects.filter(subject=subject).order_by("pk")[:LIMIT_MAX]]


def counts(*, incident: int | None = None) -> dict[EventType, int]:
    """Return how many events of each type there are, exactly: the sequencer's running counts and what it has not taken in yet."""
    head = Head.objects.order_by("-size").first()
    size, txid_from = (head.size, head.txid_to) if head else (0, 0)
    found = sql.rows("evidence", "counts", incident=incident, types=[int(t) for t in EventType], size=size, txid_from=txid_from)
    return {EventType(t): int(n) for t, n in found}


def log_status() -> LogStatus:
    """Return how many events there are and how many of them stand under the newest signed checkpoint. Counts only the unsequenced."""
    head, signed = Head.objects.order_by("-size").first(), Checkpoint.objects.order_by("-size").first()
    waiting = sql.rows("evidence", "count_waiting", txid_from=head.txid_to if head else 0)[0][0]
    entries = (head.size if head else 0) + int(waiting)
    if signed is None:
        return LogStatus(entries=entries, pending=entries, size=0, root_hex="", signed_at=None)
    root = bytes(signed.root).hex()
    return LogStatus(entries=entries, pending=entries - signed.size, size=signed.size, root_hex=root, signed_at=signed.signed_at)


def volumes(types: Sequence[EventType], *, incident: int, since: datetime, columns_max: int = 48) -> Volumes:
    """Return how many events of each type there were in each time bucket since an instant: those of the incident, and those of none.

    Costs the same however long the log is: above SAMPLE_ROWS entries it reads a fixed sample of the table's blocks and scales up.
    """
    p = min(1.0, SAMPLE_ROWS / max(1, log_status().entries))
    found = sql.rows(
        "evidence", "volumes", types=[int(t) for t in types], incident=incident, since=since, columns=columns_max,
        widths=list(BUCKETS_S), percent=p * 100,
    )  # fmt: skip
    return Volumes(
        bucket_s=int(found[0][1]) if found else BUCKETS_S[0],
        exact=p == 1.0,
        counts={t: {at: round(n / p) for type, _, at, n, _ in found if type == t} for t in types},
        first_at={t: min((first for type, _, _, _, first in found if type == t), default=None) for t in types},
    )


def newest_entry_of_subject(subject: int, type: EventType) -> Entry:
    """Return the last event of a type that touched a customer. Raises NotFound."""
    found = Event.objects.filter(subject=subject, type=type).order_by("-pk").first()
    if found is None:
        raise NotFound(f"no entry {type.label!r} for this customer")
    return _entry(found)


def prove(entry: int, *, subject_salt: bytes | None = None) -> Proof:
    """Return event, salt, leaf and inclusion proof of one entry, checked against the signed checkpoint before it is given away.

    `subject_salt` is needed for an event of a customer. Raises NotFound if there is no such entry or it is not signed yet, and Refused
    for a wrong or erased salt.
    """
    row = sql.rows("evidence", "locate", entry=entry)
    if not row or row[0][0] is None:
        raise NotFound(f"entry {entry} is not in the log yet: the sequencer takes in a new one within a second or two")
    index, event = int(row[0][0]), Event.objects.get(pk=entry)
    stored = bytes(event.event)
    if event.salt is None and subject_salt is None:
        raise Refused("the salt of this customer was erased, so that nobody can open the leaf any more")
    salt = bytes(event.salt) if event.salt is not None else policy.subject_leaf_salt(subject_salt or b"", event.uuid)
    if policy.commitment(salt, stored) != bytes(event.commitment):
        raise Refused("this is not the salt under which the event was recorded")
    leaf = policy.leaf(event.type, at=event.at, incident=event.incident, commitment=bytes(event.commitment))
    folder = log_folder(config.current().home)
    signed = (folder / "checkpoint").read_bytes()
    size = checkpoint.parse_signed(signed)[0].size
    if index >= size:
        raise NotFound(f"entry {entry} is not under a signed checkpoint yet")
    with TileReader(folder) as reader:
        text = proof.format_proof(index=index, hashes=proof.inclusion(index, size, reader.node), signed=signed)
    proof.verify_proof(text.encode(), entry=leaf, vkeys=vkeys(config.current().home))
    return Proof(index=index, event_json=stored, salt=salt, leaf=leaf, tlog_proof=text)


def verify(home: Path) -> Verification:
    """Re-derive the log's root from its files alone and check it against the signed checkpoint."""
    return verify_log(log_folder(home), vkeys(home))


def log_folder(home: Path) -> Path:
    """Return where the log's files lie."""
    return home / "log"


def vkeys(home: Path) -> list[str]:
    """Return the log's public keys, as published beside it. Raises NotFound before the sequencer has run."""
    try:
        return (log_folder(home) / "log.vkey").read_text().split()
    except FileNotFoundError:
        raise NotFound(f"no log in {log_folder(home)}: the sequencer has not run yet") from None


def _entry(e: Event) -> Entry:
    return Entry(
        id=e.pk,
        uuid=e.uuid,
        type=EventType(e.type),
        at=e.at,
        actor=e.actor,
        incident=e.incident,
        subject=e.subject,
        body=json.loads(bytes(e.event))["body"],
    )
