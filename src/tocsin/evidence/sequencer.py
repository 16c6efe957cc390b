"""The sequencer: takes committed events into the log in order, and signs. One process of the estate does it, the others wait.

A turn, and what a crash after each step costs:

    1  read the events between the last horizon and the present one; append their leaves    nothing: the next start cuts them off
    2  fsync the log's files                                                                nothing: the same
    3  commit batches, head and counts to the database                                       the next start keeps the leaves and signs
    4  sign and publish the checkpoint                                                      the checkpoint's row: written at the next start

The horizon is the oldest transaction still running: below it every transaction is decided, so that no event can slip in behind us. A
transaction that stays open holds the horizon back; the log then lags, and `pending` shows by how much.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from django.db import close_old_connections, connection, transaction

from tocsin.kernel import clock, config, sql
from tocsin.kernel.sealing import key
from tocsin_tlog import checkpoint, note
from tocsin_tlog.appender import Appender
from tocsin_tlog.checkpoint import Head as TreeHead

from . import policy, queries
from .models import Batch, Checkpoint, Head

BATCH_ROWS = 65_536
TURN_S = 0.5
LOCK = 0x746F6C67  # advisory lock of the one who sequences

log = logging.getLogger("tocsin.sequencer")


def run(*, home: Path, stop: threading.Event) -> None:
    """Sequence until told to stop. Waits while another process holds the lock; ends with the database's connection."""
    while not _lock():
        if stop.wait(TURN_S):
            return
    with open_log(home) as appender:
        while True:
            sequence_once(appender)
            if stop.wait(TURN_S):
                sequence_once(appender)
                return


def open_log(home: Path) -> Appender:
    """Return the log of this estate, recovered to what the database recorded; publish its keys and the head that a crash left unsigned."""
    folder = queries.log_folder(home)
    head = Head.objects.order_by("-size").first()
    kept = TreeHead(head.size, bytes(head.root)) if head else None
    appender = Appender(folder, origin=_origin(), signers=_signers(), kept=kept)
    (folder / "log.vkey").write_text("\n".join(appender.vkeys) + "\n")
    if kept and not Checkpoint.objects.filter(size=kept.size).exists():
        _publish(appender)
    return appender


def sequence_once(appender: Appender) -> int:
    """Take in what is surely committed and publish a checkpoint over it; return how many events. Safe to repeat after any crash."""
    head = Head.objects.order_by("-size").first()
    txid_from = head.txid_to if head else 0
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        txid_to = int(sql.rows("evidence", "horizon")[0][0])
        seen: Counter[tuple[int, int]] = Counter()
        batches = list(_append(appender, seen, txid_from=txid_from, txid_to=txid_to))
        if not batches:
            return 0
        sealed = appender.sync()
        Batch.objects.bulk_create(batches)
        Head.objects.create(size=sealed.size, root=sealed.root, txid_to=txid_to)
        kinds = sorted(seen)
        sql.execute(
            "evidence",
            "add_counts",
            size=sealed.size,
            types=[type for type, _ in kinds],
            incidents=[incident for _, incident in kinds],
            ns=[seen[kind] for kind in kinds],
        )
    _publish(appender)
    return sum(b.n for b in batches)


def _append(appender: Appender, seen: Counter[tuple[int, int]], *, txid_from: int, txid_to: int) -> Iterator[Batch]:
    """Append the leaves of all events in the window, a batch at a time; count them by type and incident."""
    rows = sql.stream("evidence", "next_events", batch_rows=BATCH_ROWS, txid_from=txid_from, txid_to=txid_to)
    while batch := list(islice(rows, BATCH_ROWS)):
        first = appender.append([_leaf(row) for row in batch])
        seen.update((type, incident or 0) for _, type, _, incident, _ in batch)
        yield Batch(txid_from=txid_from, txid_to=txid_to, id_from=batch[0][0], id_to=batch[-1][0], first_index=first, n=len(batch))


def _leaf(row: tuple[Any, ...]) -> bytes:
    _, type, at, incident, commitment = row
    return policy.leaf(type, at=at, incident=incident, commitment=bytes(commitment))


def _publish(appender: Appender) -> None:
    at = clock.now()
    signed = appender.publish(at_s=clock.us(at) // 1_000_000)
    head = checkpoint.parse_signed(signed)[0]
    Checkpoint.objects.get_or_create(size=head.size, defaults={"root": head.root, "note": signed.decode(), "signed_at": at})


def _origin() -> str:
    return f"{config.current().company.domain}/tocsin-log"


def _signers() -> tuple[note.Signer, note.Signer]:
    seeds = key("log").reveal()
    return note.Signer(_origin(), note.Kind.ED25519, seeds[:32]), note.Signer(_origin(), note.Kind.ML_DSA_44, seeds[32:])


def _lock() -> bool:
    close_old_connections()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
        return bool(cursor.fetchone()[0])
