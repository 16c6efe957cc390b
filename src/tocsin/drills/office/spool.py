"""The spool: one append-only file that holds every accepted message, written before the sender hears 250. The witness of a drill.

    file    b"tocsin-spool 1\\n" NUL                                16 octets, then records without gaps
    record  u32 n | u32 crc32 of the body | body of n octets        all integers big-endian
    body    u64 instant of acceptance, microseconds since 1970 UTC
            u16 length | envelope sender                            UTF-8, empty for the null path
            u16 count  | per recipient: u16 length | address        UTF-8, as given in RCPT, domain and local part in lower case
            the message, CRLF line ends, dots unstuffed             to the end of the body

Crash promise: a record is in the page cache before the reply, so `kill -9` of the office loses no message that was acknowledged; at the
next start a torn last record (never acknowledged) is cut off. Power loss may lose what the kernel had not written back; a drill does not
pretend otherwise. One writer at a time: an advisory lock on the file, held for as long as it is open.
Alternatives refused: Maildir (a file per message: 24 million inodes), mbox (needs quoting, cannot be indexed by length),
the messages inside SQLite (copies each one twice).
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tocsin.kernel.errors import BadInput, NotFound, Refused, ensure

MAGIC = b"tocsin-spool 1\n\0"
RECORD_BYTES_MAX = 64 << 20
_HEAD = struct.Struct(">II")
_AT = struct.Struct(">QH")
_U16 = struct.Struct(">H")


@dataclass(frozen=True, slots=True)
class Letter:
    """One accepted message with its envelope."""

    at_us: int
    sender: str
    recipients: tuple[str, ...]
    content: bytes


class Spool:
    """The open spool file. Not thread-safe: the loop of the post office owns it; `read` alone may be called from other threads."""

    def __init__(self, file: Path) -> None:
        """Open or create the file, take the lock and cut off a torn tail. Raises Refused when another process has it."""
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Refused(f"another post office writes to {file}; stop it first") from None
            self.end = self._recover(file)
        except BaseException:
            os.close(self._fd)
            raise

    def _recover(self, file: Path) -> int:
        size = os.fstat(self._fd).st_size
        if size < len(MAGIC):  # new, or killed while the first 16 octets were written
            ensure(MAGIC.startswith(os.pread(self._fd, size, 0)), f"{file} is too short to be a spool")
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, MAGIC, 0)
            return len(MAGIC)
        if os.pread(self._fd, len(MAGIC), 0) != MAGIC:
            raise BadInput.of(str(file), os.pread(self._fd, len(MAGIC), 0), "a spool of format 1; move the file away")
        end = len(MAGIC)
        for offset, length, _ in self.scan(end, size):
            end = offset + length
        os.ftruncate(self._fd, end)
        return end

    def append(self, at_us: int, sender: str, recipients: Sequence[str], content: bytes) -> tuple[int, int]:
        """Write one record and return its offset and length. Raises OSError (disk full) with the file as it was before."""
        sent = sender.encode()
        parts = [b"", _AT.pack(at_us, len(sent)), sent, _U16.pack(len(recipients))]
        for recipient in recipients:
            octets = recipient.encode()
            parts += (_U16.pack(len(octets)), octets)
        parts.append(content)
        crc = 0
        length = 0
        for part in parts:
            crc = zlib.crc32(part, crc)
            length += len(part)
        parts[0] = _HEAD.pack(length, crc)
        length += _HEAD.size
        offset = self.end
        try:
            written = os.pwritev(self._fd, parts, offset)
            if written != length:
                raise OSError(f"only {written} of {length} octets fit")
        except OSError:
            os.ftruncate(self._fd, offset)
            raise
        self.end = offset + length
        return offset, length

    def read(self, offset: int, length: int) -> Letter:
        """Return the record at an offset that `append` or `scan` gave. Raises NotFound if the record does not check."""
        record = os.pread(self._fd, length, offset)
        if len(record) == length > _HEAD.size:
            n, crc = _HEAD.unpack_from(record)
            if n == length - _HEAD.size and zlib.crc32(memoryview(record)[_HEAD.size:]) == crc:
                return _letter(record, _HEAD.size)
        raise NotFound(f"no sound record at {offset} of the spool")

    def scan(self, start: int, size: int | None = None) -> Iterator[tuple[int, int, Letter]]:
        """Yield offset, length and letter of every sound record from `start`; stops before the first that is torn or does not check."""
        offset, end = start, os.fstat(self._fd).st_size if size is None else size
        while offset + _HEAD.size <= end:
            n, _ = _HEAD.unpack(os.pread(self._fd, _HEAD.size, offset))
            length = n + _HEAD.size
            if n > RECORD_BYTES_MAX or offset + length > end:
                return
            try:
                letter = self.read(offset, length)
            except NotFound:
                return
            yield offset, length, letter
            offset += length

    def close(self) -> None:
        """Let go of the file and its lock."""
        os.close(self._fd)


def _letter(record: bytes, at: int) -> Letter:
    at_us, n = _AT.unpack_from(record, at)
    at += _AT.size
    sender = record[at:at + n].decode()
    at += n
    (count,) = _U16.unpack_from(record, at)
    at += 2
    recipients = []
    for _ in range(count):
        (n,) = _U16.unpack_from(record, at)
        recipients.append(record[at + 2:at + 2 + n].decode())
        at += 2 + n
    return Letter(at_us, sender, tuple(recipients), record[at:])
