"""Rows of a CSV file by line, so that one broken row costs that row alone.

A line without a quote is split at the delimiter; one with quotes is parsed by the standard library, together with the lines that a quoted
line break continues. A quote that never closes spoils its own line: reading goes on with the next one.
Source: RFC 4180.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from typing_extensions import Buffer

from tocsin.kernel.errors import BadInput

LINE_BYTES_MAX = 65_536
BUFFER_BYTES = 1 << 20
CONTINUED_LINES_MAX = 20
_BROKEN = (OSError, EOFError, zlib.error)  # a disk that fails; a gzip file cut off or damaged


class Row(NamedTuple):
    """A row: the number of its first line, its cells, or in `fault` why it is none."""

    line: int
    cells: list[str]
    fault: str = ""


class Lines:
    """Reads a file once: `header`, then `rows()`, then `sha256` of all its bytes as stored. Raises BadInput if it cannot be opened."""

    def __init__(self, path: Path, delimiter: str) -> None:
        self.delimiter, self._hash, self._number = delimiter, hashlib.sha256(), 0
        try:
            raw = path.open("rb")
        except OSError as e:
            raise BadInput.of("file", str(path), f"a file that can be read ({e.strerror})") from None
        hashed = io.BufferedReader(_Hashed(raw, self._hash), BUFFER_BYTES)
        self._file: io.BufferedIOBase = gzip.GzipFile(fileobj=hashed, mode="rb") if path.suffix == ".gz" else hashed
        self._held: list[bytes] = []
        try:
            first = self._next()
        except _BROKEN as e:
            raise BadInput.of("file", str(path), f"a whole file ({e})") from None
        self.header = [] if first is None else self._row(first.removeprefix(b"\xef\xbb\xbf")).cells

    def rows(self) -> Iterator[Row]:
        """Yield the rows after the header; empty lines are no rows."""
        try:
            while (line := self._next()) is not None:
                if line.strip():
                    yield self._row(line)
        except _BROKEN as e:
            raise BadInput.of("file", f"line {self._number}", f"a whole file ({e})") from None

    @property
    def sha256(self) -> bytes:
        """Return the digest of what was read so far: of the whole file once `rows` is exhausted."""
        return self._hash.digest()

    def _next(self) -> bytes | None:
        self._number += 1
        if self._held:
            return self._held.pop()
        line = rest = self._file.readline(LINE_BYTES_MAX + 1)
        while len(rest) > LINE_BYTES_MAX and not rest.endswith(b"\n"):  # skipped in pieces: a line without an end must not fill the memory
            rest = self._file.readline(LINE_BYTES_MAX + 1)
        if not line:
            self._number -= 1
            return None
        return line

    def _row(self, line: bytes) -> Row:
        number = self._number
        if len(line) > LINE_BYTES_MAX:
            return Row(number, [], f"more than {LINE_BYTES_MAX} bytes")
        try:
            text = line.decode()
        except UnicodeDecodeError:
            return Row(number, [], "not UTF-8")
        if "\0" in text:
            return Row(number, [], "a NUL character")
        if '"' not in text:
            return Row(number, text.rstrip("\r\n").split(self.delimiter))
        taken = [line]
        while True:
            try:
                cells = next(csv.reader([text], delimiter=self.delimiter, strict=True))
            except csv.Error:
                more = self._next() if len(taken) <= CONTINUED_LINES_MAX else None
                if more is None:
                    self._give_back(taken[1:])
                    return Row(number, [], "a quote that never closes, or text behind a closed one")
                taken.append(more)
                try:
                    text = b"".join(taken).decode()
                except UnicodeDecodeError:
                    self._give_back(taken[1:])
                    return Row(number, [], "not UTF-8")
            else:
                return Row(number, cells)

    def _give_back(self, lines: list[bytes]) -> None:
        self._held += reversed(lines)
        self._number -= len(lines)


class _Hashed(io.RawIOBase):
    """A binary file that is hashed as it is read."""

    def __init__(self, raw: IO[bytes], digest: hashlib._Hash) -> None:
        self._raw, self._digest = raw, digest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer).cast("B")
        data = self._raw.read(len(view))
        view[: len(data)] = data
        self._digest.update(data)
        return len(data)
