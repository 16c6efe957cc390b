"""Check a whole log from its files and a few public keys, trusting neither the writer nor its database.

Reads: `checkpoint`, `entries`, `level0` ... of the folder (layout: tiles.py). Computes: every leaf hash and every node anew from the
entries, the level files compared byte by byte on the way, the root at the end. Memory stays constant (one batch); about a million leaves
per second and core. Takes no lock: a log may grow meanwhile, the size checked is that of the checkpoint read first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import checkpoint, note, tree
from .errors import Damaged, Malformed, TlogError, Unverified
from .tiles import TILE_HASHES, TILE_HEIGHT, TileReader


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature by a trusted key that holds; `kind` is "ed25519", "ed25519_cosignature" or "ml_dsa_44", `at_s` its time if it has one."""

    name: str
    kind: str
    key_id: str
    at_s: int | None


@dataclass(frozen=True, slots=True)
class Verification:
    """What the files prove. `root` is hex, of the tree computed anew (empty when it could not be).

    `consistent`: root, level files, earlier checkpoints and at least one signature all hold; else `faults` says what does not.
    """

    size: int
    root: str
    consistent: bool
    signatures: tuple[Signature, ...]
    faults: tuple[str, ...] = ()


def verify_log(folder: Path | str, vkeys: Sequence[str], *, earlier: Sequence[bytes] = ()) -> Verification:
    """Re-derive the root from the files alone and check it against the signed checkpoint.

    `earlier`: signed checkpoints from elsewhere (an auditor's, a witness's) that this log must extend.
    Damage is reported in the result; raises Malformed only for a bad key text.
    """
    keys = [note.Verifier.of(v).vkey for v in vkeys]
    folder = Path(folder)
    faults: list[str] = []
    signatures: tuple[Signature, ...] = ()
    try:
        signed = (folder / "checkpoint").read_bytes()
        value, parts = checkpoint.parse_signed(signed)
    except FileNotFoundError:
        return Verification(0, "", False, (), ("the log has no checkpoint",))
    except Malformed as e:
        return Verification(0, "", False, (), (f"the checkpoint is unreadable: {e}",))
    try:
        signatures = tuple(Signature(v.name, v.kind.name.lower(), v.key_id.hex(), v.at_s) for v in note.verify(parts, keys))
    except Unverified as e:
        faults.append(str(e))
    root = b""
    with TileReader(folder) as reader:
        try:
            root = _rederive(reader, value.size, faults)
            if root != value.root:
                faults.append("the entries do not lead to the root of the checkpoint")
            faults += _check_earlier(reader, value, keys, earlier)
        except Damaged as e:
            faults.append(str(e))
    return Verification(value.size, root.hex(), not faults, signatures, tuple(faults))


def _rederive(reader: TileReader, size: int, faults: list[str]) -> bytes:
    """Return the root of the first `size` entries; note every level whose file says something else."""
    tails: list[list[bytes]] = []
    counts: list[int] = []
    wrong: set[int] = set()
    for batch in reader.batches(0, size):
        level, below = 0, tree.leaf_hashes(batch)
        while below:
            if level == len(tails):
                tails.append([])
                counts.append(0)
            if reader.hashes(level, counts[level], len(below)) != b"".join(below):
                wrong.add(level)
            counts[level] += len(below)
            group = tails[level] + below
            whole = len(group) & -TILE_HASHES
            tails[level] = group[whole:]
            below = list(tree.fold(group[:whole], heights=TILE_HEIGHT))
            level += 1
    faults += [f"level{level} does not follow from the entries" for level in sorted(wrong)]
    return tree.root(size, lambda height, index: _tail_node(tails, counts, height, index))


def _tail_node(tails: Sequence[Sequence[bytes]], counts: Sequence[int], height: int, index: int) -> bytes:
    """Return a peak of the tree: peaks lie in the partial tiles, which are the tails still in memory."""
    level, rest = divmod(height, TILE_HEIGHT)
    start = (index << rest) - (counts[level] - len(tails[level]))
    return tree.fold(tails[level][start : start + (1 << rest)], heights=rest)[0]


def _check_earlier(reader: TileReader, value: checkpoint.Checkpoint, keys: Sequence[str], earlier: Sequence[bytes]) -> list[str]:
    out = []
    for signed in earlier:
        try:
            old, _ = checkpoint.open_signed(signed, keys)
        except TlogError as e:
            out.append(f"an earlier checkpoint is not usable: {e}")
            continue
        if old.origin != value.origin or old.size > value.size or reader.root(old.size) != old.root:
            out.append(f"the log does not extend its earlier checkpoint of {old.size} leaves")
    return out
