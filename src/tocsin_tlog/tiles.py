"""The log's folder: flat append-only files, of which every C2SP resource is a slice.

    entries          entry i at bytes [47 i, 47 i + 47)                                        see leaf.py
    level0           leaf hash i at bytes [32 i, 32 i + 32)
    level1           hash i covers leaves [256 i, 256 (i + 1)); only complete groups have one
    level2 ...       likewise, each hash over 256 of the level below
    head, checkpoint, lock                                                                     see appender.py

Tile N of a level is bytes [8192 N, 8192 N + 8192) of its file; a partial tile is the beginning of one. So with size s a level L holds
floor(s / 256^L) hashes, and every tile, partial tile and entry bundle of every size ever published stays readable.
Why not one file per tile: 24 M leaves are 188,000 files; flat files were measured 4 to 5 times faster with the same root.

    tile/<L>/<N>[.p/<W>]          hashes, 32 bytes each
    tile/entries/<N>[.p/<W>]      entries, each behind its length as big-endian u16 (0x002f)
    N in groups of three digits, all but the last with an `x`: 1234067 is x001/x234/067; W from 1 to 255

Bytes behind the published size are not yet part of the log; a crash may leave some, whole or torn, and the writer cuts them off.
A reader takes no lock: bytes below a published size never change.

Source: C2SP tlog-tiles v0.1.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import tree
from .checkpoint import Head
from .durable import sync_folder
from .errors import Damaged, Malformed, NoSuchTile
from .leaf import ENTRY_BYTES

TILE_HASHES = 256
TILE_HEIGHT = 8
LEVELS_MAX = 8  # 256^8 leaves are more than SIZE_MAX
BATCH_LEAVES = 65_536  # leaves read at once by whoever goes through the whole log
_PATH = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")
_PATH_CHARS_MAX = 64


class TileReader:
    """Read access to a log's folder, for one thread; it holds files open until `close`."""

    _flags = os.O_RDONLY

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._files: dict[str, int] = {}

    def close(self) -> None:
        """Close the files. Safe to call twice."""
        while self._files:
            os.close(self._files.popitem()[1])

    def __enter__(self) -> TileReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def hashes(self, level: int, start: int, count: int) -> bytes:
        """Return `count` hashes of a level as one string. Raises Damaged when the file is too short."""
        return self._read(f"level{level}", start * tree.HASH_BYTES, count * tree.HASH_BYTES)

    def entries(self, start: int, count: int) -> list[bytes]:
        """Return `count` entries from leaf `start` on. Raises Damaged when the file is too short."""
        raw = self._read("entries", start * ENTRY_BYTES, count * ENTRY_BYTES)
        return [raw[i : i + ENTRY_BYTES] for i in range(0, len(raw), ENTRY_BYTES)]

    def batches(self, start: int, end: int) -> Iterator[list[bytes]]:
        """Give the entries of [start, end) in lists of at most BATCH_LEAVES."""
        for at in range(start, end, BATCH_LEAVES):
            yield self.entries(at, min(BATCH_LEAVES, end - at))

    def node(self, height: int, index: int) -> bytes:
        """Return the hash of a complete subtree with one read of at most half a tile."""
        level, rest = divmod(height, TILE_HEIGHT)
        raw = self.hashes(level, index << rest, 1 << rest)
        return tree.fold(split(raw), heights=rest)[0]

    def root(self, size: int) -> bytes:
        """Return the root of the first `size` leaves from the level files: one read per peak, O(log n)."""
        return tree.root(size, self.node)

    def tile_bytes(self, path: str, *, size: int) -> bytes:
        """Return the resource `tile/...` of the published tree of `size` leaves. Raises NoSuchTile for any other path."""
        match = _PATH.fullmatch(path) if len(path) <= _PATH_CHARS_MAX else None
        if not match:
            raise NoSuchTile("no such path")
        kind, digits, partial = match.groups()
        index, width = int(digits.replace("/", "").replace("x", "")), int(partial or TILE_HASHES)
        level = 0 if kind == "entries" else int(kind)
        if tile_path(kind, index, width if partial else TILE_HASHES) != path:  # x000/005 is not a second name of 005
            raise NoSuchTile("no such path")
        start = index * TILE_HASHES
        if start + width > size >> (TILE_HEIGHT * level):
            raise NoSuchTile("not in the published tree")
        if kind != "entries":
            return self.hashes(level, start, width)
        return b"".join(ENTRY_BYTES.to_bytes(2, "big") + entry for entry in self.entries(start, width))

    def _fd(self, name: str) -> int:
        if name not in self._files:
            self._files[name] = os.open(self.folder / name, self._flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        return self._files[name]

    def _read(self, name: str, start: int, count: int) -> bytes:
        if not count:
            return b""
        try:
            fd = self._fd(name)
        except FileNotFoundError:
            raise Damaged(f"{self.folder / name} is missing") from None
        parts = []
        while count:
            part = os.pread(fd, count, start)
            if not part:
                raise Damaged(f"{self.folder / name} ends before byte {start + count}")
            parts.append(part)
            start, count = start + len(part), count - len(part)
        return b"".join(parts)


class TileStore(TileReader):
    """Write access: append, sync, cut. Exactly one at a time may exist per folder; the appender's lock sees to that.

    Not durable before `sync` returns; after a crash call `recover` with the size that must be there.
    """

    _flags = os.O_RDWR | os.O_CREAT

    def __init__(self, folder: Path | str) -> None:
        super().__init__(folder)
        self.size = 0
        self._tails: list[list[bytes]] = [[]]  # per level, the hashes of its partial tile
        self._dirty: set[str] = set()
        self._names_durable = False

    def recover(self, size: int) -> bytes:
        """Cut everything behind `size` leaves and return the root of what is left. Raises Damaged when there is less than that.

        Durable on return; calling it again changes nothing.
        """
        self._cut("entries", size * ENTRY_BYTES)
        levels = 0
        while (self.folder / f"level{levels}").exists() or size >> (TILE_HEIGHT * levels):
            self._cut(f"level{levels}", (size >> (TILE_HEIGHT * levels)) * tree.HASH_BYTES)
            levels += 1
        self._tails = []
        for level in range(max(levels, 1)):
            count = size >> (TILE_HEIGHT * level)
            width = count % TILE_HASHES
            self._tails.append(list(split(self.hashes(level, count - width, width))))
        self.size = size
        self.sync()
        return self.root(size)

    def append(self, entries: Sequence[bytes]) -> int:
        """Add entries of 47 bytes and return the index of the first. Raises Malformed, with nothing written, for another length.

        Any number may come at once; batches of tens of thousands are fastest. Not durable before `sync`. After an OSError (disk full)
        nothing has been added as far as this object knows, and the same call may be made again.
        """
        if set(map(len, entries)) - {ENTRY_BYTES}:
            raise Malformed(f"every entry has {ENTRY_BYTES} bytes")
        first, tails = self.size, list(self._tails)
        self._write("entries", first * ENTRY_BYTES, b"".join(entries))
        level, below = 0, tree.leaf_hashes(entries)
        while below:
            if level == len(tails):
                tails.append([])
            self._write(f"level{level}", (first >> (TILE_HEIGHT * level)) * tree.HASH_BYTES, b"".join(below))
            group = tails[level] + below
            whole = len(group) & -TILE_HASHES
            tails[level] = group[whole:]
            below = list(tree.fold(group[:whole], heights=TILE_HEIGHT))
            level += 1
        self.size, self._tails = first + len(entries), tails
        return first

    def sync(self) -> Head:
        """Make everything appended durable and return (size, root). The entries go first: levels can be made anew from them."""
        for name in sorted(self._dirty):  # "entries" sorts before "level0"
            os.fsync(self._fd(name))
        if not self._names_durable:
            sync_folder(self.folder)
            self._names_durable = True
        self._dirty.clear()
        return self.head()

    def head(self) -> Head:
        """Return (size, root) from the partial tiles in memory, without reading a file."""
        parts: list[bytes] = []
        for tail in self._tails:  # from the smallest subtrees to the largest
            parts = _peaks_of(tail) + parts
        return Head(self.size, tree.bag(parts) if parts else tree.EMPTY_ROOT)

    def _fd(self, name: str) -> int:
        if name not in self._files:
            self._names_durable = False  # the open may create the file
        return super()._fd(name)

    def _write(self, name: str, start: int, blob: bytes) -> None:
        fd = self._fd(name)
        view = memoryview(blob)
        while view:
            n = os.pwrite(fd, view, start)
            view, start = view[n:], start + n
        self._dirty.add(name)

    def _cut(self, name: str, length: int) -> None:
        fd = self._fd(name)
        there = os.fstat(fd).st_size
        if there < length:
            raise Damaged(f"{self.folder / name} has {there} bytes; {length} were acknowledged")
        if there > length:
            os.ftruncate(fd, length)
        self._dirty.add(name)


def tile_path(kind: str, index: int, width: int = TILE_HASHES) -> str:
    """Return the C2SP path of a tile; `kind` is a level in decimal or "entries", `width` below 256 makes it a partial one."""
    digits = f"{index:03d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    name = "/".join([*(f"x{g}" for g in groups[:-1]), groups[-1]])
    return f"tile/{kind}/{name}" + (f".p/{width}" if width < TILE_HASHES else "")


def split(raw: bytes) -> list[bytes]:
    """Cut a string of hashes into single ones."""
    return [raw[i : i + tree.HASH_BYTES] for i in range(0, len(raw), tree.HASH_BYTES)]


def _peaks_of(tail: Sequence[bytes]) -> list[bytes]:
    out, at = [], 0
    for height, _ in tree.peaks(len(tail)):
        out.append(tree.fold(tail[at : at + (1 << height)], heights=height)[0])
        at += 1 << height
    return out
