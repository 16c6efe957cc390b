"""Proofs that outlive us: inclusion and consistency after RFC 9162, and the `.tlog-proof` file.

    c2sp.org/tlog-proof@v1
    extra <base64>                       optional, unauthenticated; we never write it, so that `index` is line 2
    index <decimal>
    <base64 of 32 bytes>                 inclusion proof, the leaf's sibling first; no line in a tree of one leaf
    (empty line)
    <the signed checkpoint, verbatim>    we keep the Ed25519 lines only: a proof stays under 2 kB (an ML-DSA-44 line is 3.3 kB)

Every line ends in one newline. The entry itself travels beside the proof.

Source: C2SP tlog-proof; RFC 9162 s2.1.3 (inclusion), s2.1.4 (consistency).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

from . import checkpoint, note, tree
from .errors import Malformed, Unverified

HEADER = "c2sp.org/tlog-proof@v1"
HASHES_MAX = 63  # a tree of 2**63 leaves
PROOF_BYTES_MAX = note.NOTE_BYTES_MAX + 8192


@dataclass(frozen=True, slots=True)
class LogProof:
    """A `.tlog-proof` file taken apart; nothing in it is verified yet. `signed` is the checkpoint, verbatim."""

    index: int
    hashes: tuple[bytes, ...]
    signed: bytes
    extra: bytes | None = None


def inclusion(index: int, size: int, node: tree.Node) -> list[bytes]:
    """Return the proof that leaf `index` is in the tree of the first `size` leaves: sibling first, at most one hash per height.

    Raises Malformed unless 0 <= index < size.
    """
    if not 0 <= index < size:
        raise Malformed(f"leaf {index} is not in a tree of {size} leaves")
    start, end, out = 0, size, []
    while end - start > 1:
        split = start + (1 << (end - start - 1).bit_length() - 1)
        if index < split:
            out.append((split, end))
            end = split
        else:
            out.append((start, split))
            start = split
    return [tree.subtree(a, b, node) for a, b in reversed(out)]


def verify_inclusion(*, leaf: bytes, index: int, size: int, hashes: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf hash `leaf` stands at `index` under `root`. Raises Unverified otherwise."""
    if not 0 <= index < size:
        raise Unverified(f"leaf {index} is not in a tree of {size} leaves")
    at, last, total = index, size - 1, leaf
    for sibling in hashes:
        if last == 0:
            raise Unverified("the proof is too long")
        if at & 1 or at == last:
            total = tree.node_hash(sibling, total)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            total = tree.node_hash(total, sibling)
        at, last = at >> 1, last >> 1
    if last or total != root:
        raise Unverified("the proof does not lead to the root")


def consistency(old: int, new: int, node: tree.Node) -> list[bytes]:
    """Return the proof that the tree of `old` leaves is a prefix of the tree of `new` leaves. Raises Malformed unless 0 <= old <= new.

    Empty for old = 0 (anything extends nothing) and old = new.
    """
    if not 0 <= old <= new:
        raise Malformed(f"a tree of {old} leaves is not before one of {new}")
    if old in (0, new):
        return []
    start, end, out, whole = 0, new, [], True
    while old != end:
        split = start + (1 << (end - start - 1).bit_length() - 1)
        if old <= split:
            out.append((split, end))
            end = split
        else:
            out.append((start, split))
            start, whole = split, False
    if not whole:  # the verifier does not know this subtree; when it is the whole old tree he has its root already
        out.append((start, end))
    return [tree.subtree(a, b, node) for a, b in reversed(out)]


def verify_consistency(*, old: int, old_root: bytes, new: int, new_root: bytes, hashes: Sequence[bytes]) -> None:
    """Check that the tree (new, new_root) extends (old, old_root). Raises Unverified otherwise."""
    if not 0 <= old <= new:
        raise Unverified(f"a tree of {old} leaves is not before one of {new}")
    if old in (0, new):
        if hashes or (old == 0 and old_root != tree.EMPTY_ROOT) or (old == new and old_root != new_root):
            raise Unverified("the two roots do not agree")
        return
    path = list(hashes)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise Unverified("the proof is empty")
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise Unverified("the proof is too long")
        if at & 1 or at == last:
            first, second = tree.node_hash(sibling, first), tree.node_hash(sibling, second)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            second = tree.node_hash(second, sibling)
        at, last = at >> 1, last >> 1
    if last or first != old_root or second != new_root:
        raise Unverified("the proof does not join the two roots")


def format_proof(*, index: int, hashes: Sequence[bytes], signed: bytes) -> str:
    """Return the text of a `.tlog-proof`. `signed` is a signed checkpoint; only its Ed25519 lines are kept.

    Raises Malformed when the checkpoint is none, has no Ed25519 line, or does not hold `index`.
    """
    short = checkpoint.ed25519_only(signed)
    if not 0 <= index < checkpoint.parse_signed(short)[0].size:
        raise Malformed(f"leaf {index} is not in the checkpoint's tree")
    lines = [HEADER, f"index {index}", *(base64.b64encode(h).decode() for h in hashes), ""]
    return "\n".join(lines) + "\n" + short.decode()


def parse_proof(data: bytes) -> LogProof:
    """Take a `.tlog-proof` apart. Raises Malformed for anything that is not one."""
    if len(data) > PROOF_BYTES_MAX:
        raise Malformed("a proof this long is none")
    head, blank, signed = data.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise Malformed("a proof's head is ASCII") from None
    if not blank or lines[0] != HEADER:
        raise Malformed(f"a proof starts with {HEADER} and holds an empty line before its checkpoint")
    del lines[0]
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = _base64(lines.pop(0)[6:])
    if not lines or not lines[0].startswith("index "):
        raise Malformed("a proof names its index")
    index = checkpoint.decimal(lines.pop(0)[6:])
    hashes = tuple(_base64(line) for line in lines)
    if len(hashes) > HASHES_MAX or any(len(h) != tree.HASH_BYTES for h in hashes):
        raise Malformed(f"a proof holds at most {HASHES_MAX} hashes of {tree.HASH_BYTES} bytes")
    checkpoint.parse_signed(signed)
    return LogProof(index, hashes, signed, extra)


def verify_proof(data: bytes, *, entry: bytes, vkeys: Sequence[str]) -> checkpoint.Checkpoint:
    """Check a `.tlog-proof` for an entry against trusted keys and return the checkpoint it stands in.

    Raises Malformed when the text is no proof, Unverified when leaf, index, hashes or signature do not hold.
    """
    parsed = parse_proof(data)
    signed_head, _ = checkpoint.open_signed(parsed.signed, vkeys)
    verify_inclusion(leaf=tree.leaf_hash(entry), index=parsed.index, size=signed_head.size, hashes=parsed.hashes, root=signed_head.root)
    return signed_head


def _base64(text: str) -> bytes:
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("a proof's hashes are in standard base64") from None
    if base64.b64encode(value).decode() != text:
        raise Malformed("a proof's base64 is canonical")
    return value
