"""The writer: one at a time, durable before signing, and no fork or loss wherever it is stopped."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tocsin_tlog.crasher import BATCHES
from tests.tocsin_tlog.parts import AT_S, ORIGIN, entries, open_log, signers
from tocsin_tlog import checkpoint, tree
from tocsin_tlog.appender import Appender, read_head
from tocsin_tlog.checkpoint import Head
from tocsin_tlog.errors import Damaged, Locked, Malformed
from tocsin_tlog.verify import verify_log

VKEYS = [s.vkey for s in signers()]
ROOT = Path(__file__).parents[2]


def crash(folder: Path, k: int) -> tuple[list[int], int | None]:
    """Run the crasher; return the sizes it acknowledged, and its number of calls if it reached its end."""
    command = [sys.executable, "-m", "tests.tocsin_tlog.crasher", str(folder), str(k)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    calls = re.search(r"calls (\d+)", done.stdout)
    return [int(n) for n in re.findall(r"acked (\d+)", done.stdout)], int(calls[1]) if calls else None


def assert_goes_on(folder: Path, acked: list[int], old: bytes | None) -> None:
    """After a crash: nothing acknowledged is lost, the log extends its last checkpoint, and grows to the same end as one never stopped."""
    with open_log(folder) as log:
        assert log.size >= max(acked, default=0)
        log.publish(at_s=AT_S)
        size = log.size
        assert size in {sum(BATCHES[:i]) for i in range(len(BATCHES) + 1)}, "half a batch was signed"
        assert log.sync().root == tree.root_of(entries(0, size))
        log.append(entries(size, 700))
        log.publish(at_s=AT_S)
    result = verify_log(folder, VKEYS, earlier=[old] if old else [])
    assert result.consistent, result.faults
    assert (result.size, result.root) == (700, tree.root_of(entries(0, 700)).hex())


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        log.append(entries(0, 5))
        with pytest.raises(Locked):
            open_log(tmp_path)
        log.publish(at_s=AT_S)
    with open_log(tmp_path) as log:
        assert log.size == 5


def test_killed_at_every_system_call(tmp_path: Path) -> None:
    acked, calls = crash(tmp_path / "whole", 0)
    assert acked == [3, 303, 304, 560, 600]
    assert calls is not None
    assert calls > 60
    rng = random.Random(20120115)
    # Every call of the first two publications, then a seeded third of the rest: the steps repeat.
    points = [*range(1, calls // 3), *sorted(rng.sample(range(calls // 3, calls + 1), calls // 3))]
    for k in points:
        folder = tmp_path / f"k{k}"
        acked, end = crash(folder, k)
        assert end is None
        old = (folder / "checkpoint").read_bytes() if (folder / "checkpoint").exists() else None
        lose_unsynced(folder, rng)
        assert_goes_on(folder, acked, old)


def lose_unsynced(folder: Path, rng: random.Random) -> None:
    """Emulate a power cut: cut each file somewhere between what was fsynced and what was written, or tear its end."""
    synced: dict[str, int] = {}
    for line in (folder.parent / f"{folder.name}.synced").read_text().splitlines():
        size, name = line.split(" ", 1)
        synced[Path(name).name] = int(size)
    for file in folder.iterdir():
        if file.name.startswith(("entries", "level")):
            there = file.stat().st_size
            kept = min(synced.get(file.name, 0), there)
            keep = rng.randint(kept, there)
            with file.open("r+b") as f:
                f.truncate(keep)
                if keep < there and rng.random() < 0.5:
                    f.truncate(there)  # the length reached the disk, the bytes did not: zeros


def test_the_owner_keeps_what_its_database_recorded(tmp_path: Path) -> None:
    """Killed between the owner's commit and the signature: the leaves stay, or go when the owner recorded nothing."""
    for kept in (True, False):
        folder = tmp_path / str(kept)
        log = open_log(folder)
        log.append(entries(0, 10))
        log.publish(at_s=AT_S)
        log.append(entries(10, 25))
        head = log.sync()
        log.close()
        with Appender(folder, origin=ORIGIN, signers=signers(), kept=head if kept else None) as log:
            assert log.size == (25 if kept else 10)
            assert log.published == Head(10, tree.root_of(entries(0, 10)))
    with pytest.raises(Damaged):
        Appender(tmp_path / "False", origin=ORIGIN, signers=signers(), kept=head)


def test_a_head_that_may_have_been_signed_stands(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        log.append(entries(0, 10))
        log.publish(at_s=AT_S)
        old = (tmp_path / "checkpoint").read_bytes()
        log.append(entries(10, 25))
        log.publish(at_s=AT_S)
    (tmp_path / "checkpoint").write_bytes(old)  # as after a crash before step 5
    assert read_head(tmp_path) == Head(25, tree.root_of(entries(0, 25)))
    with open_log(tmp_path) as log:
        assert log.size == 25
        assert log.published is not None
        assert log.published.size == 10
        value, _ = checkpoint.open_signed(log.publish(at_s=AT_S), VKEYS)
        assert value.size == 25


@pytest.mark.parametrize("what", ["head gone", "both gone", "head torn", "checkpoint forged", "leaf changed", "level cut", "entries cut"])
def test_damage_stops_the_writer(tmp_path: Path, what: str) -> None:
    with open_log(tmp_path) as log:
        log.append(entries(0, 600))
        log.publish(at_s=AT_S)
    open_log(tmp_path).close()  # the same log opens before the damage
    head, level0 = tmp_path / "head", tmp_path / "level0"
    if what in ("head gone", "both gone"):
        head.unlink()
        if what == "both gone":
            (tmp_path / "checkpoint").unlink()
    elif what == "head torn":
        head.write_text("600")
    elif what == "checkpoint forged":
        (tmp_path / "checkpoint").write_bytes(checkpoint.sign(checkpoint.Checkpoint(ORIGIN, 1, b"x" * 32), signers(seed=b"o"), at_s=AT_S))
    elif what == "leaf changed":
        level0.write_bytes(level0.read_bytes()[:-1] + b"?")
    else:
        file = level0 if what == "level cut" else tmp_path / "entries"
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(Damaged):
        open_log(tmp_path)


def test_a_log_needs_its_own_keys(tmp_path: Path) -> None:
    for wrong in ([], signers("other.example/log"), signers()[::-1]):
        with pytest.raises(Malformed):
            Appender(tmp_path, origin=ORIGIN, signers=wrong)
    open_log(tmp_path).close()
