"""Building a filter: read a source into 256 files of keys, make each part from its file, and put the whole in place in one step.

Two passes, because the size of a part follows from how many keys it has. Both passes use all cores; a folder of ranges is read by several
processes, a single file by one. Durable: the old filter stays until every part of the new one is on the disk, then one rename swaps them.
A crash before that leaves the old one and working folders beside it, which the next build removes.
"""

from __future__ import annotations

import csv
import fcntl
import multiprocessing
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import starmap
from pathlib import Path

import numpy as np

from tocsin.credentials.types import FilterReport
from tocsin.kernel import clock
from tocsin.kernel.errors import BadInput, Busy, Refused, ensure

from . import construct, sources
from .fuse import SHARDS, Filter, shard_name

KEYS_OF_ONE_FILE_MAX = 16_000_000
REJECTS_MAX = 1_000_000  # a source with more is another source than it was taken for
PROBES = 1 << 24
PROCESSES_MAX = 8  # each takes about 300 MB while it makes a part of four million keys; two cores stay below 1 GiB
KEY_BYTES = 8

Progress = Callable[[int], None]


def build(
    source: Path,
    *,
    out: Path,
    min_count: int = 1,
    kind: str = "auto",
    rejects: Path | None = None,
    processes: int | None = None,
    progress: Progress | None = None,
) -> FilterReport:
    """Make the filter of a source and put it at `out`; return its figures. `progress` is called with the lines read so far.

    Lines that are padding, or seen less often than `min_count`, are accepted and left out. Bad lines go to the reject file with file, line
    and reason, never with what stood there. Raises NotFound or BadInput for the source, Refused for an `out` that is not ours to replace,
    Busy while another build of the same `out` runs. Safe to repeat.
    """
    began = clock.monotonic()
    if faults := _faults(min_count=min_count, kind=kind):
        raise faults
    if out.is_dir() and not out.is_symlink():
        raise Refused(f"{out} is a folder and not a filter that this command made: name another place")
    kind = sources.guess(source) if kind == "auto" else kind
    rejects = rejects or out.with_name(f"{out.name}.rejects.csv")
    with _alone(out), tempfile.TemporaryDirectory(prefix=f".{out.name}.spool-", dir=out.parent) as spool, _pool(processes) as pool:
        counts = _spool(source, kind, Path(spool), min_count=min_count, pool=pool, rejects=rejects, progress=progress)
        spooled = [(Path(spool) / f"{n:02x}").stat().st_size // KEY_BYTES for n in range(SHARDS)]
        if not sum(spooled):
            raise BadInput.of("source", str(source), "a source with at least one password")
        made = out.with_name(f".{out.name}.parts-{secrets.token_hex(4)}")
        if sum(spooled) <= KEYS_OF_ONE_FILE_MAX:
            keys = np.concatenate([np.fromfile(Path(spool) / f"{n:02x}", dtype=np.uint64) for n in range(SHARDS)])
            construct.write_part(made, keys)
            del keys
        else:
            made.mkdir()
            list(pool.map(_part, [Path(spool) / f"{n:02x}" for n in range(SHARDS)], [made / shard_name(n) for n in range(SHARDS)]))
            _sync(made)
        _put(made, out)
    built = Filter(out)
    return FilterReport(
        keys=built.keys,
        bytes=built.bytes,
        bits_per_key=round(built.bytes * 8 / built.keys, 3),
        false_positive_rate=false_positive_rate(built),
        files=len(built.parts),
        seconds=round(clock.monotonic() - began, 3),
        rejects_file=rejects if counts["rejected"] else None,
        **counts,
    )


def false_positive_rate(of: Filter, *, seed: int = 1) -> float:
    """Return the share of PROBES random keys that a filter holds: wrongly, but for one chance in many millions."""
    random, hits, each = np.random.default_rng(seed), 0, PROBES // len(of.parts)
    for part in of.parts:
        cells = np.frombuffer(part.fingerprints, dtype=np.uint16)
        for start in range(0, each, construct.BATCH):
            probes = random.integers(0, 1 << 64, min(construct.BATCH, each - start), dtype=np.uint64)
            hits += int(np.count_nonzero(construct.holds(probes, cells, part.seed, part.segment, part.first)))
    return hits / (each * len(of.parts))


def _faults(*, min_count: int, kind: str) -> BadInput | None:
    if min_count < 1:
        return BadInput.of("min_count", min_count, "1 or more")
    return None if kind in sources.KINDS else BadInput.of("kind", kind, f"one of {', '.join(sources.KINDS)}")


def _spool(
    source: Path, kind: str, spool: Path, *, min_count: int, pool: Executor, rejects: Path, progress: Progress | None
) -> dict[str, int]:
    """Write every key to the file of its first byte; return the counts, read = accepted + rejected."""
    for n in range(SHARDS):
        (spool / f"{n:02x}").touch()
    counts = dict.fromkeys(("read", "accepted", "rejected", "left_out"), 0) | {"ranges": 0}
    if kind == "ranges":
        files = sources.range_files(source)
        counts["ranges"] = sum(len(f) for f in files)
        tallies: Iterator[tuple[int, int, list[tuple[str, int, str]]]] = iter(
            pool.map(_spool_ranges, files, [spool] * SHARDS, [min_count] * SHARDS)
        )
    else:
        read = sources.read_hashes(source, min_count=min_count) if kind == "hashes" else sources.read_passwords(source)
        tallies = starmap(_spool_block, ((block, spool) for block in read))
    with rejects.open("w", newline="", encoding="utf-8") as f:
        bad = csv.writer(f)
        bad.writerow(("file", "line", "reason"))
        for lines, left_out, faults in tallies:
            bad.writerows(faults)
            counts["read"] += lines
            counts["left_out"] += left_out
            counts["rejected"] += len(faults)
            counts["accepted"] += lines - len(faults)
            if counts["rejected"] > REJECTS_MAX:
                raise BadInput.of("source", f"more than {REJECTS_MAX} bad lines", "ranges, hashes or passwords: see --kind")
            if progress is not None:
                progress(counts["read"])
    keys = sum((spool / f"{n:02x}").stat().st_size // KEY_BYTES for n in range(SHARDS))
    ensure(counts["read"] == counts["accepted"] + counts["rejected"], f"a source does not close: {counts}")
    ensure(keys == counts["accepted"] - counts["left_out"], f"{keys} keys were kept of {counts}")
    if not counts["rejected"]:
        rejects.unlink()
    return counts


def _spool_ranges(files: list[Path], spool: Path, min_count: int) -> tuple[int, int, list[tuple[str, int, str]]]:
    """Spool the ranges of one first byte, in a process of their own."""
    lines = left_out = 0
    faults: list[tuple[str, int, str]] = []
    for block in sources.read_ranges(files, min_count=min_count):
        read, without, bad = _spool_block(block, spool)
        lines, left_out = lines + read, left_out + without
        faults += bad
    return lines, left_out, faults


def _spool_block(block: sources.Read, spool: Path) -> tuple[int, int, list[tuple[str, int, str]]]:
    order = np.argsort(block.first_bytes, kind="stable")
    first, keys = block.first_bytes[order], block.keys[order]
    bounds = np.searchsorted(first, np.arange(SHARDS + 1))
    for n in np.flatnonzero(np.diff(bounds)):
        low, high = bounds[n], bounds[n + 1]
        with (spool / f"{n:02x}").open("ab") as f:
            keys[low:high].tofile(f)
    return block.read, block.left_out, block.rejects


def _part(keys: Path, made: Path) -> int:
    """Make one of 256 files, in a process of its own, and give the room of its keys back."""
    n = construct.write_part(made, np.fromfile(keys, dtype=np.uint64))
    keys.unlink()
    return n


@contextmanager
def _pool(processes: int | None) -> Iterator[Executor]:
    """Give processes that start afresh: a copy of this one might hold a connection to the database."""
    n = min(processes or len(os.sched_getaffinity(0)), PROCESSES_MAX)
    with ProcessPoolExecutor(n, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Keep other builds of the same filter out, and remove what a build that was killed has left."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.with_name(f".{out.name}.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(f"another build of {out} runs", retry_after_s=60.0) from None
        kept = out.resolve() if out.is_symlink() else None
        for old in [*out.parent.glob(f".{out.name}.spool-*"), *out.parent.glob(f".{out.name}.parts-*")]:
            if old.resolve() != kept:
                _remove(old)
        yield


def _put(made: Path, out: Path) -> None:
    """Put a file, or a link to a folder of 256, where readers look for it: one rename. Then the old folder may go."""
    old = out.resolve() if out.is_symlink() else None
    new = made
    if made.is_dir():
        new = made.with_name(f"{made.name}.link")
        new.symlink_to(made.name)
    new.replace(out)
    _sync(out.parent)
    if old is not None:
        _remove(old)


def _remove(old: Path) -> None:
    if old.is_dir() and not old.is_symlink():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
