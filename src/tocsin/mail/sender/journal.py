"""The sender's journal: what is about to be sent, and what came back, on disk before the wire sees it.

Format (a second implementation needs no more than this). Folder HOME/journal, one file per run of a block, written by one process and only
ever appended to: `BLOCK-ATTEMPT-PID-RANDOM.jnl`, BLOCK and ATTEMPT decimal. A file is a sequence of records of 36 bytes, little-endian:

    offset 0  u8   type: 1 begin, 2 intent, 3 done, 4 void
    offset 1  u8   kind of a done: 1 handed_over, 2 deferred, 3 bounced; else 0
    offset 2  u16  SMTP reply code, 0 if none
    offset 4  u64  block
    offset 12 u32  attempt
    offset 16 u32  n, the recipient's place in the block
    offset 20 u64  time, microseconds since 1970 (done only)
    offset 28 u8   enhanced status: class, 0 if none
    offset 29 u8   enhanced status: subject
    offset 30 u16  enhanced status: detail
    offset 32 u32  CRC-32 of bytes 0-31

An intent is written before the write that holds the message's final dot; a done when the reply to it was read; a void when the connection
ended before the final dot was handed to the system, so that the message cannot have been taken. The records of one turn of the engine go in
one write(). A reader stops at the first record that is short or has a wrong CRC: it is the torn end of a write that was never acted on,
because the sending comes after the write returned.

In doubt = an intent without a later done or void in the same file, and without a done in any other file of the block.

While its process lives the file is locked (flock): whoever takes the block over can see whether the sender before it may still be sending. The
file gets its name only when it is locked.

Safe against kill -9 as it stands: what write() took, the system keeps. Against power loss a second thread calls fdatasync every 100 ms
or 1,000 records, and the sender waits when 4,000 records are not yet on disk. After a power cut the file may lack that end, so its intents
do not bound the doubt any more; the caller knows by the machine's boot (`notices.sending`) and goes by what was announced to the database.
The reply's text is not in the journal: after a crash the outcome keeps code and status, and its text is empty.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import re
import secrets
import struct
import threading
import zlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from tocsin.kernel.errors import Unavailable
from tocsin.mail.types import Outcome, OutcomeKind, Recovery

RECORD = struct.Struct("<BBHQIIQBBH")
CRC = struct.Struct("<I")
_HEAD, _NO_OUTCOME = struct.Struct("<BBHQI"), bytes(12)
RECORD_BYTES = RECORD.size + CRC.size
BEGIN, INTENT, DONE, VOID = 1, 2, 3, 4
SYNC_S = 0.1
SYNC_RECORDS = 1000
UNSYNCED_RECORDS_MAX = 4000
SYNC_WAIT_S_MAX = 60.0

_NUMBER: dict[OutcomeKind, int] = {"handed_over": 1, "deferred": 2, "bounced": 3}
_KIND: dict[int, OutcomeKind] = {v: k for k, v in _NUMBER.items()}
_NAME = re.compile(r"(\d{1,20})-(\d{1,10})-\d+-[0-9a-f]+\.jnl")


def folder(home: Path) -> Path:
    """Return the folder of an estate's journals."""
    return home / "journal"


class RunJournal:
    """The journal of one run of one block. Use as a context; the file stays until `forget`."""

    def __init__(self, home: Path, *, block: int, attempt: int) -> None:
        self._block, self._attempt = block, attempt
        self._folder = folder(home)
        self._pending: list[bytes] = []
        self._written = 0  # records in the file
        self._synced = 0  # of these, on disk
        self._fault: OSError | None = None
        self._wake, self._caught_up = threading.Event(), threading.Condition()
        self._closing = False
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            name = f"{block}-{attempt}-{os.getpid()}-{secrets.token_hex(4)}.jnl"
            made = self._folder / f".{name}"
            self._fd = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            made.rename(self._folder / name)
        except OSError as e:
            raise Unavailable("journal", f"cannot be opened in {self._folder}: {e.strerror}") from e
        head = _HEAD.pack(INTENT, 0, 0, block, attempt)
        self._intent, self._intent_crc = head, zlib.crc32(head)  # an intent differs from the next in its place alone
        self._add(BEGIN, 0)
        self._syncer = threading.Thread(target=self._keep_syncing, name=f"journal-{block}", daemon=True)
        self._syncer.start()

    def __enter__(self) -> RunJournal:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def intent(self, n: int) -> None:
        """Note that the next write may deliver recipient `n`. In memory until `flush`."""
        rest = n.to_bytes(4, "little") + _NO_OUTCOME
        self._pending.append(self._intent + rest + zlib.crc32(rest, self._intent_crc).to_bytes(4, "little"))

    def void(self, n: int) -> None:
        """Note that the final dot of recipient `n` never left this process."""
        self._add(VOID, n)

    def done(self, n: int, kind: OutcomeKind, code: int, enhanced: str, at_us: int) -> None:
        """Note the final reply for recipient `n`. In memory until `flush`: lost there, the recipient is in doubt, never lost."""
        self._add(DONE, n, _NUMBER[kind], code, at_us, enhanced)

    def _add(self, type_: int, n: int, kind: int = 0, code: int = 0, at_us: int = 0, enhanced: str = "") -> None:
        self._pending.append(_record(type_, kind, code, self._block, self._attempt, n, at_us, enhanced))

    def flush(self) -> None:
        """Hand all notes to the system in one write. Raises Unavailable if it does not take them (disk full): then send nothing more."""
        if not self._pending:
            return
        if self._fault:
            raise Unavailable("journal", f"fdatasync failed: {self._fault.strerror}")
        data = b"".join(self._pending)
        try:
            taken = os.write(self._fd, data)
            if taken != len(data):  # a regular file takes less only when the disk is full or a limit is reached
                os.ftruncate(self._fd, self._written * RECORD_BYTES)
                raise Unavailable("journal", f"the disk took {taken} of {len(data)} bytes; free some space under {self._folder}")
        except OSError as e:
            raise Unavailable("journal", f"cannot be written: {e.strerror}; check the disk under {self._folder}") from e
        self._written += len(self._pending)
        self._pending.clear()
        behind = self._written - self._synced
        if behind >= SYNC_RECORDS:
            self._wake.set()
        if behind >= UNSYNCED_RECORDS_MAX:
            with self._caught_up:
                if not self._caught_up.wait_for(lambda: self._fault is not None or self._written - self._synced < UNSYNCED_RECORDS_MAX,
                                                SYNC_WAIT_S_MAX):
                    raise Unavailable("journal", f"the disk did not take the journal within {SYNC_WAIT_S_MAX:.0f} s")

    def _keep_syncing(self) -> None:
        with contextlib.suppress(OSError):
            directory = os.open(self._folder, os.O_RDONLY)  # the file's name must survive a power cut too
            os.fsync(directory)
            os.close(directory)
        while True:
            self._wake.wait(SYNC_S)
            self._wake.clear()
            closing, written = self._closing, self._written
            if written > self._synced:
                try:
                    _datasync(self._fd)
                except OSError as e:
                    self._fault = e
                with self._caught_up:
                    self._synced = written
                    self._caught_up.notify_all()
            if closing or self._fault:
                return

    def close(self) -> None:
        """Write and sync what is left. A failure here costs nothing but a wider doubt."""
        if self._closing:
            return
        with contextlib.suppress(Unavailable):
            self.flush()
        self._closing = True
        self._wake.set()
        self._syncer.join()
        os.close(self._fd)


_datasync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


def _record(type_: int, kind: int, code: int, block: int, attempt: int, n: int, at_us: int, enhanced: str) -> bytes:
    body = RECORD.pack(type_, kind, code, block, attempt, n, at_us, *_status(enhanced))
    return body + zlib.crc32(body).to_bytes(4, "little")


@functools.lru_cache(maxsize=64)
def _status(enhanced: str) -> tuple[int, int, int]:
    a, b, c = (int(part) for part in enhanced.split(".")) if enhanced else (0, 0, 0)
    return a, min(b, 255), min(c, 65_535)


def packed(outcomes: Iterable[Outcome], *, block: int, attempt: int) -> bytes:
    """Return outcomes as done records, to be kept elsewhere than in a file of this machine; who is in doubt is left out."""
    return b"".join(_record(DONE, _NUMBER[o.kind], o.code, block, attempt, o.n, o.at_us, o.enhanced) for o in outcomes if o.kind != "in_doubt")


def read(data: bytes) -> Iterator[tuple[int, int, int, Outcome | None]]:
    """Yield (type, attempt, n, outcome of a done) of each whole record, up to the torn end."""
    for at in range(0, len(data) - RECORD_BYTES + 1, RECORD_BYTES):
        body = data[at:at + RECORD.size]
        if CRC.unpack_from(data, at + RECORD.size)[0] != zlib.crc32(body):
            return
        type_, kind, code, _, attempt, n, at_us, a, b, c = RECORD.unpack(body)
        outcome = Outcome(n, _KIND[kind], code, f"{a}.{b}.{c}" if a else "", "", at_us) if type_ == DONE else None
        yield type_, attempt, n, outcome


def _files(home: Path, block: int) -> list[tuple[int, Path]]:
    """Return (attempt, file) of each run of a block, the earliest attempt first."""
    try:
        paths = sorted(folder(home).glob(f"{block}-*.jnl"))
    except FileNotFoundError:
        return []
    named = [(_NAME.fullmatch(path.name), path) for path in paths]
    return sorted((int(found.group(2)), path) for found, path in named if found and int(found.group(1)) == block)


def is_being_written(home: Path, block: int) -> bool:
    """Return whether a process that lives holds a journal of the block: it may be sending, or frozen in the middle of it."""
    for _, path in _files(home, block):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    return False


def recover(home: Path, block: int, *, attempts: Collection[int] | None = None, shipped: Iterable[bytes] = ()) -> Recovery:
    """Return what the journals under `home` know of a block, or of some attempts at it: outcomes, who is in doubt, which attempts ran here.

    `shipped`: what `packed` made, of runs whose files may be lost. Of two outcomes a hand-over stands, else that of the later attempt: no
    clock is asked.
    """
    done: dict[int, Outcome] = {}
    doubt: set[int] = set()
    runs: set[int] = set()

    def note(outcome: Outcome) -> None:
        if outcome.n not in done or done[outcome.n].kind != "handed_over":
            done[outcome.n] = outcome

    for lot in shipped:
        for _, _, _, outcome in read(lot):
            if outcome is not None:
                note(outcome)
    for run, path in _files(home, block):
        if attempts is not None and run not in attempts:
            continue
        open_here: set[int] = set()
        for type_, attempt, n, outcome in read(path.read_bytes()):
            if type_ == BEGIN:
                runs.add(attempt)
            elif type_ == INTENT:
                open_here.add(n)
            else:
                open_here.discard(n)
                if outcome is not None:
                    note(outcome)
        doubt |= open_here
    return Recovery(done=done, in_doubt=frozenset(doubt - done.keys()), runs=frozenset(runs))


def forget(home: Path, block: int) -> int:
    """Remove the journals of a block whose outcomes are committed elsewhere; return how many files."""
    files = _files(home, block)
    for _, path in files:
        path.unlink(missing_ok=True)
    return len(files)
