"""Making one filter file from keys, with numpy.

Each key has three cells; a cell with a single key left lets that key be put there last. Taking all such keys away at once, round by round,
empties the graph; then the fingerprints are filled in, the last round first. Two keys of one round never share the cell of either, so a
round is a few array operations. Memory: about 32 bytes per key and 2.3 bytes per fingerprint.
Source: Graf and Lemire, Binary Fuse Filters (2022), arXiv 2201.01174; the sizes are those of its section 4.
"""

from __future__ import annotations

import hashlib
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tocsin.kernel.errors import InvariantError, ensure

from .fuse import HEADER, MIX_1, MIX_2, TRAILER

SEEDS_MAX = 100  # each succeeds nearly always; a hundred failures are a defect
SEGMENT_MAX = 1 << 18
BATCH = 1 << 20
LOW = np.uint64(0xFFFFFFFF)

Keys = NDArray[np.uint64]


def sizes(n: int) -> tuple[int, int]:
    """Return segment length and number of first segments for `n` different keys."""
    segment = min(SEGMENT_MAX, 1 << math.floor(math.log(n) / math.log(3.33) + 2.25)) if n > 1 else 4
    factor = max(1.125, 0.875 + 0.25 * math.log(1_000_000) / math.log(n)) if n > 1 else 2.0
    return segment, max(1, math.ceil(round(n * factor) / segment) - 2)


def each_once(keys: Keys) -> Keys:
    """Return the keys sorted, each once: one that comes twice could never be placed. By sorting, which is faster here than hashing."""
    keys = np.sort(keys)
    return keys[np.concatenate(([True], keys[1:] != keys[:-1]))] if keys.size else keys


def mixed(keys: Keys, seed: int) -> Keys:
    """Return the 64 mixed bits of each key."""
    h = keys + np.uint64(seed)
    h ^= h >> np.uint64(33)
    h *= np.uint64(MIX_1)
    h ^= h >> np.uint64(33)
    h *= np.uint64(MIX_2)
    h ^= h >> np.uint64(33)
    return h


def cells_of(h: Keys, segment: int, first: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the three cells of each mixed key."""
    size, shift, mask = np.uint64(first), np.uint64(32), np.uint64(segment - 1)
    a = ((h >> shift) * size + (((h & LOW) * size) >> shift)) >> shift
    b = (a + np.uint64(segment)) ^ ((h >> np.uint64(18)) & mask)
    c = (a + np.uint64(2 * segment)) ^ (h & mask)
    return a.astype(np.int64), b.astype(np.int64), c.astype(np.int64)


def fingerprints_of(h: Keys) -> NDArray[np.uint16]:
    """Return the 16 bits that stand for each mixed key."""
    return (h ^ (h >> np.uint64(32))).astype(np.uint16)


def write_part(path: Path, keys: Keys, *, seed: int = 1) -> int:
    """Write the filter of these keys (each once or several times) durably to a new file; return how many different ones there are.

    The same keys and seed give the same bytes. `path` must not be visible to readers yet: a crash leaves it half written.
    """
    keys = each_once(keys)
    segment, segments = sizes(keys.size)
    first = segment * segments
    chosen, filled = _placed(keys, seed, segment, first)
    ensure(bool(np.all(holds(keys, filled, chosen, segment, first))), "a filter does not hold a key that it was made of")
    body = HEADER.pack(chosen, segment, segments, first, first + 2 * segment)
    hashed = hashlib.sha256(body)
    hashed.update(filled.view(np.uint8).data)
    with path.open("xb") as f:
        f.write(body)
        filled.tofile(f)
        f.write(TRAILER.pack(keys.size, hashed.digest()))
        f.flush()
        os.fsync(f.fileno())
    return int(keys.size)


def _placed(keys: Keys, seed: int, segment: int, first: int) -> tuple[int, NDArray[np.uint16]]:
    for attempt in range(SEEDS_MAX):
        chosen = _seed(seed, attempt)
        filled = _fill(keys, chosen, segment, first)
        if filled is not None:
            return chosen, filled
    raise InvariantError(f"{keys.size} keys could not be placed with {SEEDS_MAX} seeds")


def holds(keys: Keys, fingerprints: Any, seed: int, segment: int, first: int) -> NDArray[np.bool_]:
    """Tell for many keys at once whether a filter holds them."""
    answers = np.empty(keys.size, dtype=np.bool_)
    for start in range(0, keys.size, BATCH):
        h = mixed(keys[start : start + BATCH], seed)
        a, b, c = cells_of(h, segment, first)
        answers[start : start + BATCH] = (fingerprints[a] ^ fingerprints[b] ^ fingerprints[c]) == fingerprints_of(h)
    return answers


def _fill(keys: Keys, seed: int, segment: int, first: int) -> NDArray[np.uint16] | None:
    """Return the fingerprints, or None if this seed leaves a knot that cannot be undone."""
    n = keys.size
    h = np.sort(mixed(keys, seed))  # in the order of their first cells, so that neighbours meet in the cache
    load, total = np.zeros(first + 2 * segment, dtype=np.uint8), np.zeros(first + 2 * segment, dtype=np.uint32)
    for start in range(0, n, BATCH):
        index = np.arange(start, min(start + BATCH, n), dtype=np.uint32)
        for cells in cells_of(h[start : start + BATCH], segment, first):
            np.add.at(load, cells, np.uint8(1))
            np.add.at(total, cells, index)  # modulo 2^32: where one key is left, the sum is its number
    if int(load.sum(dtype=np.int64)) != 3 * n:  # a counter ran over: more than 255 keys in one cell
        return None
    order, places = np.empty(n, dtype=np.uint32), np.empty(n, dtype=np.uint32)
    rounds, done = [0], 0
    alone = np.flatnonzero(load == 1)
    while alone.size:
        taken, at = np.unique(total[alone], return_index=True)  # a key alone in two of its cells is taken once
        order[done : done + taken.size], places[done : done + taken.size] = taken, alone[at]
        done += taken.size
        rounds.append(done)
        touched = np.concatenate(cells_of(h[taken], segment, first))
        np.subtract.at(load, touched, np.uint8(1))
        np.subtract.at(total, touched, np.tile(taken, 3))
        alone = touched[load[touched] == 1]
    if done < n:
        return None
    filled = np.zeros(first + 2 * segment, dtype=np.uint16)
    for start, end in zip(reversed(rounds[:-1]), reversed(rounds[1:]), strict=True):
        for low in range(start, end, BATCH):
            chosen = h[order[low : min(low + BATCH, end)]]
            a, b, c = cells_of(chosen, segment, first)
            filled[places[low : min(low + BATCH, end)]] = fingerprints_of(chosen) ^ filled[a] ^ filled[b] ^ filled[c]
    return filled


def _seed(seed: int, attempt: int) -> int:
    return int.from_bytes(hashlib.sha256(f"tocsin-filter/1 {seed} {attempt}".encode()).digest()[:8], "little")
