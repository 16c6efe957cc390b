"""What several of these tests need: deterministic entries and keys, and trees in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from tocsin_tlog import leaf, note, tree
from tocsin_tlog.appender import Appender

ORIGIN = "shop.example/test-log"
AT_S = 1_800_000_000


def entry(i: int) -> bytes:
    """Return the i-th test entry."""
    return leaf.pack(type=73, at_us=1_800_000_000_000_000 + i, incident=7, commitment=hashlib.sha256(b"event %d" % i).digest())


def entries(start: int, end: int) -> list[bytes]:
    """Return the test entries of [start, end)."""
    return [entry(i) for i in range(start, end)]


def signers(origin: str = ORIGIN, seed: bytes = b"s") -> list[note.Signer]:
    """Return the two keys of a test log."""
    return [note.Signer(origin, kind, hashlib.sha256(seed + bytes([kind])).digest()) for kind in (note.Kind.ED25519, note.Kind.ML_DSA_44)]


def open_log(folder: Path) -> Appender:
    """Open the test log in a folder."""
    return Appender(folder, origin=ORIGIN, signers=signers())


def nodes(items: Sequence[bytes]) -> tree.Node:
    """Return a reader of every complete subtree over entries in memory, built one pair at a time."""
    heights = [[tree.leaf_hash(e) for e in items]]
    while len(heights[-1]) > 1:
        below = heights[-1]
        heights.append([tree.node_hash(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)])
    return lambda height, index: heights[height][index]


def recursive_root(items: Sequence[bytes]) -> bytes:
    """Return the root exactly as RFC 6962 s2.1 defines it, by recursion."""
    if not items:
        return hashlib.sha256().digest()
    if len(items) == 1:
        return hashlib.sha256(b"\x00" + items[0]).digest()
    k = 1
    while k * 2 < len(items):
        k *= 2
    return hashlib.sha256(b"\x01" + recursive_root(items[:k]) + recursive_root(items[k:])).digest()
