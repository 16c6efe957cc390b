"""Reading a filter: the standard library and a memory map, about 2 microseconds per password. The format stands in `__init__.py`."""

from __future__ import annotations

import hashlib
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

from tocsin.kernel.errors import BadInput, NotFound

HEADER = struct.Struct("<QIIII")
TRAILER = struct.Struct("<Q32s")
SHARDS = 256
WORD = (1 << 64) - 1
MIX_1, MIX_2 = 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53
CHUNK_BYTES = 1 << 20


def shard_name(first_byte: int) -> str:
    """Return the name of the file that holds the passwords whose SHA-1 begins with this byte."""
    return f"{first_byte:02x}.fuse16"


@dataclass(frozen=True, slots=True)
class Part:
    """One mapped file. Its pages are shared by every process that reads them."""

    seed: int
    segment: int
    first: int
    fingerprints: memoryview
    keys: int
    bytes: int

    def holds(self, key: int) -> bool:
        """Tell whether a key is in this file; for one that is not, wrongly so once in 65,536."""
        h = (key + self.seed) & WORD
        h = ((h ^ (h >> 33)) * MIX_1) & WORD
        h = ((h ^ (h >> 33)) * MIX_2) & WORD
        h ^= h >> 33
        a, segment, f = (h * self.first) >> 64, self.segment, self.fingerprints
        b, c = (a + segment) ^ ((h >> 18) & (segment - 1)), (a + 2 * segment) ^ (h & (segment - 1))
        return not (f[a] ^ f[b] ^ f[c] ^ h ^ (h >> 32)) & 0xFFFF


def open_part(path: Path) -> Part:
    """Map one file. Raises NotFound, or BadInput for a file that is not a filter or was cut short."""
    try:
        with path.open("rb") as f:
            mapped = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise NotFound(f"no filter {path}") from None
    except (ValueError, IsADirectoryError):  # an empty file cannot be mapped
        raise BadInput.of("filter", str(path), "a filter made by `tocsin credentials filter build`") from None
    if len(mapped) >= HEADER.size + TRAILER.size:
        seed, segment, segments, first, cells = HEADER.unpack_from(mapped)
        whole = len(mapped) == HEADER.size + 2 * cells + TRAILER.size
        if whole and segment and segment & (segment - 1) == 0 and first == segment * segments and cells == first + 2 * segment:
            keys, _ = TRAILER.unpack_from(mapped, HEADER.size + 2 * cells)
            view = memoryview(mapped)[HEADER.size : HEADER.size + 2 * cells].cast("H")
            return Part(seed=seed, segment=segment, first=first, fingerprints=view, keys=keys, bytes=len(mapped))
    raise BadInput.of("filter", str(path), "a whole filter made by `tocsin credentials filter build`")


class Filter:
    """A filter, one file or a folder of 256, opened whole: what it reads stays readable when a newer one takes its place."""

    def __init__(self, path: Path) -> None:
        """Open it. Raises NotFound or BadInput as `open_part` does."""
        self.path = path
        self.sharded = path.is_dir()
        self.parts = tuple(open_part(path / shard_name(n)) for n in range(SHARDS)) if self.sharded else (open_part(path),)
        self.keys, self.bytes = sum(p.keys for p in self.parts), sum(p.bytes for p in self.parts)

    def holds(self, password: bytes) -> bool:
        """Tell whether a password, as UTF-8, is in the filter."""
        digest = hashlib.sha1(password, usedforsecurity=False).digest()
        return self.parts[digest[0] if self.sharded else 0].holds(int.from_bytes(digest[1:9], "big"))

    def verify(self) -> None:
        """Compare every file with its SHA-256. Reads all of it. Raises BadInput naming the first that differs."""
        for n in range(len(self.parts)):
            file = self.path / shard_name(n) if self.sharded else self.path
            left, hashed = file.stat().st_size - TRAILER.size, hashlib.sha256()
            with file.open("rb") as f:
                while left and (block := f.read(min(CHUNK_BYTES, left))):
                    hashed.update(block)
                    left -= len(block)
                if TRAILER.unpack(f.read(TRAILER.size))[1] != hashed.digest():
                    raise BadInput.of("filter", str(file), "a file whose SHA-256 is the one written at its end")
