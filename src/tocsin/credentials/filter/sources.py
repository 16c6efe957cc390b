"""Where breached passwords come from, read line by line in blocks: every line ends as accepted or as rejected, and memory stays bounded.

Three kinds, each plain or gzip:
    ranges     a folder of files named by five hex digits (with or without .txt, .gz, in sub-folders): lines SUFFIX:COUNT, 35 hex digits
    hashes     one file of lines SHA1:COUNT or SHA1, 40 hex digits, in any order
    passwords  one file with a password in UTF-8 on each line
Source of the first two: the Pwned Passwords range API and its downloads. A line with count 0 is padding, which hides how many there are.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from tocsin.credentials import policy
from tocsin.credentials.types import PASSWORD_BYTES_MAX
from tocsin.kernel.errors import BadInput, NotFound

from .construct import Keys

KINDS = ("auto", "ranges", "hashes", "passwords")
BLOCK_BYTES = 4 << 20
LINE_BYTES_MAX = 1 << 16  # a longer one is no line of any of these files
RANGE_NAME = re.compile(r"([0-9A-Fa-f]{5})(\.txt)?(\.gz)?")
HASH_LINE = re.compile(rb"[0-9A-Fa-f]{40}(:[0-9]{1,10})?\r?")
GUESS_LINES = 100
RANGES = 1 << 20
COUNT_DIGITS_MAX = 10
PASSWORD_LINES = 100_000

_NIBBLE = np.full(256, 0xFF, dtype=np.uint8)
for _digits in (b"0123456789abcdef", b"0123456789ABCDEF"):
    _NIBBLE[np.frombuffer(_digits, dtype=np.uint8)] = np.arange(16, dtype=np.uint8)

Bytes = NDArray[np.uint8]


@dataclass(slots=True)
class Read:
    """One block of lines: the passwords to put in, by first byte of the SHA-1 and key, and what became of every line."""

    first_bytes: Bytes
    keys: Keys
    read: int = 0
    left_out: int = 0
    rejects: list[tuple[str, int, str]] = field(default_factory=list)


def guess(source: Path) -> str:
    """Return which kind a source is: a folder holds ranges; a file whose first lines all look like SHA-1 holds hashes. Raises NotFound."""
    if source.is_dir():
        return "ranges"
    head = list(islice(_lines(source), GUESS_LINES))
    return "hashes" if head and all(HASH_LINE.fullmatch(line) for line in head) else "passwords"


def range_files(folder: Path) -> list[list[Path]]:
    """Return the range files of a folder and its sub-folders by the first byte they stand for, in order. Raises BadInput if there is none, or
    if two stand for the same range."""
    found: dict[str, Path] = {}
    twice = []
    for path in folder.rglob("*"):
        if (named := RANGE_NAME.fullmatch(path.name)) and found.setdefault(named.group(1).upper(), path) is not path:
            twice.append(path.name)
    if twice:
        raise BadInput.of("source", sorted(twice)[:5], "one file for each range")
    if not found:
        raise BadInput.of("source", str(folder), "a folder with files named 00000 to FFFFF")
    files: list[list[Path]] = [[] for _ in range(256)]
    for prefix in sorted(found):
        files[int(prefix[:2], 16)].append(found[prefix])
    return files


def read_ranges(files: list[Path], *, min_count: int) -> Iterator[Read]:
    """Read range files, several to a block."""
    waiting: list[tuple[Path, bytes]] = []
    size = 0
    for file in files:
        data = _whole(file)
        waiting.append((file, data if data.endswith(b"\n") or not data else data + b"\n"))
        size += len(data)
        if size >= BLOCK_BYTES:
            yield _ranges_block(waiting, min_count)
            waiting, size = [], 0
    if waiting:
        yield _ranges_block(waiting, min_count)


def read_hashes(source: Path, *, min_count: int) -> Iterator[Read]:
    """Read a file of hashes."""
    number = 0
    for block in _blocks(source):
        text = np.frombuffer(block, dtype=np.uint8)
        starts, ends = _line_bounds(text)
        nibbles, good = _hex(text, starts, 40)
        first = (nibbles[:, 0] * 16 + nibbles[:, 1]).astype(np.uint8)
        yield _checked(
            text, starts, ends, good, 40, first, _number(nibbles[:, 2:18]), min_count, lambda i, n=number: (source.name, n + i + 1)
        )
        number += starts.size


def read_passwords(source: Path) -> Iterator[Read]:
    """Read a list of passwords. Each goes in as it would be hashed here: in NFKC."""
    lines = enumerate(_lines(source), 1)
    while batch := list(islice(lines, PASSWORD_LINES)):
        digests, rejects = bytearray(), []
        for number, line in batch:
            try:
                text = line.removesuffix(b"\r").decode()
            except UnicodeDecodeError:
                rejects.append((source.name, number, "not UTF-8"))
                continue
            if not text or len(line) > PASSWORD_BYTES_MAX:
                rejects.append((source.name, number, f"empty, or longer than {PASSWORD_BYTES_MAX} bytes"))
                continue
            digests += hashlib.sha1(policy.normal(text).encode(), usedforsecurity=False).digest()[:9]
        table = np.frombuffer(bytes(digests), dtype=np.uint8).reshape(-1, 9)
        keys = np.ascontiguousarray(table[:, 1:]).view(">u8").reshape(-1).astype(np.uint64)
        yield Read(table[:, 0].copy(), keys, read=len(batch), rejects=rejects)


def _ranges_block(files: list[tuple[Path, bytes]], min_count: int) -> Read:
    text = np.frombuffer(b"".join(data for _, data in files), dtype=np.uint8)
    starts, ends = _line_bounds(text)
    offsets = np.cumsum([0, *(len(data) for _, data in files)])
    of = np.searchsorted(offsets, starts, side="right") - 1
    prefixes = np.array([int(path.name[:5], 16) for path, _ in files], dtype=np.uint64)[of]
    first_lines = np.searchsorted(starts, offsets)
    nibbles, good = _hex(text, starts, 35)
    keys = ((prefixes & np.uint64(0xFFF)) << np.uint64(52)) | _number(nibbles[:, :13])
    first = (prefixes >> np.uint64(12)).astype(np.uint8)
    return _checked(text, starts, ends, good, 35, first, keys, min_count, lambda i: (files[of[i]][0].name, int(i - first_lines[of[i]]) + 1))


def _checked(text: Bytes, starts: Any, ends: Any, good: Any, digits: int, first: Bytes, keys: Keys, min_count: int, name: Any) -> Read:
    """Return the block with its bad lines taken out: hex digits, then either the end (whole hashes only) or a colon and a count."""
    size = ends - starts
    padded = np.concatenate((text, np.zeros(digits + COUNT_DIGITS_MAX + 2, dtype=np.uint8)))
    counted = good & (size >= digits + 2) & (size <= digits + 1 + COUNT_DIGITS_MAX) & (padded[starts + digits] == ord(":"))
    counts = np.zeros(starts.size, dtype=np.int64)
    for n in range(min(COUNT_DIGITS_MAX, int(size.max(initial=0)) - digits - 1)):
        here = counted & (size > digits + 1 + n)
        digit = padded[starts + (digits + 1 + n)].astype(np.int64) - ord("0")
        counted &= ~here | ((digit >= 0) & (digit <= 9))
        counts = np.where(here, counts * 10 + digit, counts)
    bare = good & (size == digits) if digits == 40 else np.zeros(starts.size, dtype=np.bool_)
    counts[bare] = max(1, min_count)  # a list without counts holds what its maker thought common enough
    fine = counted | bare
    wanted = fine & (counts >= max(1, min_count))
    rejects = [(*name(i), f"not {digits} hexadecimal digits, a colon and a count") for i in np.flatnonzero(~fine)]
    return Read(first[wanted], keys[wanted], read=starts.size, left_out=int(np.count_nonzero(fine & ~wanted)), rejects=rejects)


def _line_bounds(text: Bytes) -> tuple[Any, Any]:
    """Return where each line begins and ends, the end without line feed and carriage return. Every line has its line feed."""
    ends = np.flatnonzero(text == ord("\n"))
    starts = np.concatenate(([0], ends[:-1] + 1)) if ends.size else ends
    return starts, ends - ((ends > starts) & (text[ends - 1] == ord("\r")))


def _hex(text: Bytes, starts: Any, digits: int) -> tuple[Bytes, Any]:
    """Return the values of the first digits of each line, and whether all of them are hexadecimal."""
    padded = np.concatenate((text, np.zeros(digits, dtype=np.uint8)))
    windows = np.lib.stride_tricks.as_strided(padded, shape=(text.size + 1, digits), strides=(1, 1), writeable=False)
    nibbles = _NIBBLE[windows[starts]]
    return nibbles, ~np.any(nibbles == 0xFF, axis=1) if starts.size else np.zeros(0, dtype=np.bool_)


def _number(nibbles: Bytes) -> Keys:
    made = np.zeros(nibbles.shape[0], dtype=np.uint64)
    for column in range(nibbles.shape[1]):
        made = (made << np.uint64(4)) | nibbles[:, column]
    return made


def _open(path: Path) -> IO[bytes]:
    try:
        with path.open("rb") as f:
            zipped = f.read(2) == b"\x1f\x8b"
        opened: Any = gzip.open(path, "rb") if zipped else path.open("rb")  # noqa: SIM115  # the caller closes it
        return cast("IO[bytes]", opened)
    except FileNotFoundError:
        raise NotFound(f"no file {path}") from None


def _whole(path: Path) -> bytes:
    with _open(path) as f:
        try:
            data = f.read(LINE_BYTES_MAX * 1024 + 1)
        except (EOFError, zlib.error, gzip.BadGzipFile) as e:
            raise BadInput.of("source", f"{path.name}: {e}", "a whole gzip file") from None
    if len(data) > LINE_BYTES_MAX * 1024:
        raise BadInput.of("source", path.name, "a range file of at most 64 MiB")
    return data


def _blocks(path: Path) -> Iterator[bytes]:
    """Yield blocks of whole lines, each ended by a line feed."""
    rest = b""
    with _open(path) as f:
        while True:
            try:
                block = f.read(BLOCK_BYTES)
            except (EOFError, zlib.error, gzip.BadGzipFile) as e:
                raise BadInput.of("source", f"{path.name}: {e}", "a whole gzip file") from None
            if not block:
                break
            cut = block.rfind(b"\n") + 1
            if not cut:
                rest += block
                if len(rest) > BLOCK_BYTES + LINE_BYTES_MAX:
                    raise BadInput.of("source", path.name, "a file of lines")
                continue
            yield rest + block[:cut]
            rest = block[cut:]
    if rest:
        yield rest + b"\n"


def _lines(path: Path) -> Iterator[bytes]:
    for block in _blocks(path):
        yield from block.split(b"\n")[:-1]
