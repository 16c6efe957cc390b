"""The one writer of a log: what it acknowledges is durable, and it signs nothing that it could later have to deny.

    lock         flock held exclusively while a writer lives; the kernel frees it when the process dies
    head         the last state that may have been signed: decimal size, space, root in hex, newline; replaced atomically
    checkpoint   the last published signed checkpoint; replaced atomically
    entries, level0 ...   see tiles.py

`publish`, step by step, and what a crash after each step costs:

    1  entries and levels are written      nothing acknowledged; the next start cuts them off
    2  they are fsynced                    the same, unless the owner recorded the head and passes it as `kept`: then they stay
    3  `head` is replaced                  the head stands for ever; the next start signs it (again) before anything else is added
    4  signatures are made                 as 3: a second signature of the same head is no fork
    5  `checkpoint` is replaced            nothing

An owner with a database commits its own record of (size, root) between 2 and 3: `sync`, commit, `publish`. After a crash in between it
passes that record as `kept`, so database and log agree again without adding a leaf twice.

On start the root of every recorded size (checkpoint, head, kept) is computed anew from the level files and must match; what lies behind
the largest recorded size is cut off. Files that lack leaves once recorded, or lead to another root, raise Damaged: a writer that went on
would sign a fork. `verify.verify_log` checks every byte; this check reads O(log n) of them.

GAP: a log keeps its keys for life; a new key is a new log, whose first leaf should name the last checkpoint of the old one.
GAP: on macOS fsync does not empty the drive's own cache (F_FULLFSYNC would): a power cut there may cost acknowledged leaves.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Sequence
from pathlib import Path

from . import checkpoint, durable, note, tree
from .checkpoint import Checkpoint, Head
from .errors import Damaged, Locked, Malformed, Unverified
from .tiles import TileStore

CHECKPOINT = "checkpoint"
HEAD = "head"
LOCK = "lock"
_HEAD = re.compile(r"(0|[1-9][0-9]{0,18}) ([0-9a-f]{64})\n")


class Appender:
    """The writer of one log folder, for one thread; close it, or let the process end.

    Raises Locked when another process (or object) writes this log, Damaged when the files contradict what was recorded.
    """

    def __init__(self, folder: Path | str, *, origin: str, signers: Sequence[note.Signer], kept: Head | None = None) -> None:
        """Open or make the log of `origin` and recover it. `signers` make the checkpoint's lines in that order, an Ed25519 key first."""
        note.check_name(origin)
        if not signers or signers[0].verifier.kind is not note.Kind.ED25519 or any(s.verifier.name != origin for s in signers):
            raise Malformed("a log signs with an Ed25519 key first, and every key bears the log's origin as its name")
        self.folder, self.origin, self._signers = Path(folder), origin, tuple(signers)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._store = TileStore(self.folder)
        try:
            self._take_lock()
            self.published = self._recover(kept)
        except BaseException:
            self.close()
            raise

    @property
    def size(self) -> int:
        """Leaves appended so far, published or not."""
        return self._store.size

    @property
    def vkeys(self) -> tuple[str, ...]:
        """The public keys of this log as text."""
        return tuple(s.vkey for s in self._signers)

    def append(self, entries: Sequence[bytes]) -> int:
        """Add entries and return the index of the first. Not durable before `sync` or `publish`. Raises Malformed, nothing added."""
        return self._store.append(entries)

    def sync(self) -> Head:
        """Make all appended entries durable and return the head to record. Signs nothing."""
        return self._store.sync()

    def publish(self, *, at_s: int, cosignatures: Sequence[bytes] = ()) -> bytes:
        """Make all entries durable, sign the head and publish it; return the signed checkpoint.

        `at_s`: seconds since 1970 for the ML-DSA-44 line. `cosignatures`: complete lines of witnesses over this very head.
        After a crash at any step the same head is published again on the next start: no second opinion is ever signed.
        """
        head = self._store.sync()
        durable.replace(self.folder / HEAD, _head_text(head))
        signed = checkpoint.sign(Checkpoint(self.origin, head.size, head.root), self._signers, at_s=at_s) + b"".join(cosignatures)
        if cosignatures:
            note.parse(signed)
        durable.replace(self.folder / CHECKPOINT, signed)
        self.published = head
        return signed

    def close(self) -> None:
        """Give the log free. Entries not synced may be gone or not; they were never acknowledged. Safe to call twice."""
        self._store.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Appender:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked(f"another process writes {self.folder}") from None

    def _recover(self, kept: Head | None) -> Head | None:
        """Bring the files to the largest recorded head; return the head of the published checkpoint, None when there is none yet."""
        recorded = read_head(self.folder)
        published = self._published()
        if recorded is None:
            if published or _has_entries(self.folder):
                raise Damaged(f"{self.folder / HEAD} is missing beside a log that has leaves")
            # The head of a new log is written before its first entry, so leaves without a head always mean a loss.
            recorded = Head(0, tree.EMPTY_ROOT)
            durable.replace(self.folder / HEAD, _head_text(recorded))
        heads = [h for h in (published, recorded, kept) if h is not None]
        largest = max(heads, key=lambda h: h.size)
        self._store.recover(largest.size)
        for head in heads:
            if self._store.root(head.size) != head.root:
                raise Damaged(f"the files of {self.folder} lead to another root than the one recorded for {head.size} leaves")
        return published

    def _published(self) -> Head | None:
        try:
            data = (self.folder / CHECKPOINT).read_bytes()
        except FileNotFoundError:
            return None
        try:
            value, _ = checkpoint.open_signed(data, self.vkeys)
        except (Malformed, Unverified) as e:
            raise Damaged(f"{self.folder / CHECKPOINT} is not signed by this log's keys: {e}") from None
        if value.origin != self.origin:
            raise Damaged(f"{self.folder / CHECKPOINT} is of the log {value.origin}, not of {self.origin}")
        return value.head


def read_head(folder: Path) -> Head | None:
    """Return the head that a log may last have signed, None for a log never begun. Raises Damaged when the file is unreadable."""
    try:
        text = (folder / HEAD).read_text("ascii")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        text = ""
    match = _HEAD.fullmatch(text)
    if not match:
        raise Damaged(f"{folder / HEAD} is not a size and a root")
    return Head(checkpoint.decimal(match[1]), bytes.fromhex(match[2]))


def _head_text(head: Head) -> bytes:
    return f"{head.size} {head.root.hex()}\n".encode()


def _has_entries(folder: Path) -> bool:
    try:
        return (folder / "entries").stat().st_size > 0
    except FileNotFoundError:
        return False
