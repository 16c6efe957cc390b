"""Workers that are killed, and workers that freeze and wake up: real processes against the batch ledger."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tocsin.kernel.jobs import STALLED_AFTER_S, SWEEP_S
from tocsin.kernel.localpg import LocalPg

BATCHES, NUMBERS = 8, 20
TAKE_OVER_S_MAX = 20.0
WAIT_S_MAX = 90.0
ROOT = Path(__file__).parents[2]


@pytest.fixture
def database() -> Iterator[dict[str, str]]:
    folder = Path(tempfile.mkdtemp(prefix="tocsin-test-crash-"))
    folder.chmod(0o711)
    with LocalPg(folder / "pg", throwaway=True) as dsn:
        env = os.environ | {
            "TOCSIN_DATABASE_URL": dsn,
            "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
            "DJANGO_SETTINGS_MODULE": "tests.crash.settings",
        }
        call(env, "migrate")
        yield env
    shutil.rmtree(folder, ignore_errors=True)


def call(env: dict[str, str], *arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash.worker", *arguments], env=env, cwd=ROOT, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout) if done.stdout else None


def work(env: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as out:
        return subprocess.Popen([sys.executable, "-m", "tests.crash.worker", "work"], env=env, cwd=ROOT, stdout=out, stderr=out)


def wait_for(env: dict[str, str], what: str, condition: Any) -> dict[str, Any]:
    end = time.monotonic() + WAIT_S_MAX
    while time.monotonic() < end:
        told: dict[str, Any] = call(env, "tell")
        if condition(told):
            return told
        select.select([], [], [], 0.2)
    raise AssertionError(f"{what} did not happen within {WAIT_S_MAX:.0f} s: {told}")


@pytest.mark.trip
def test_a_killed_worker_is_taken_over_within_20_s_and_nothing_is_written_twice(database: dict[str, str], tmp_path: Path) -> None:
    call(database, "fill", str(BATCHES), "0.5")
    victim, heir = work(database, tmp_path / "victim"), work(database, tmp_path / "heir")
    try:
        wait_for(database, "a claim by the victim", lambda t: any(b["pid"] == victim.pid for b in t["begun"]))
        victim.kill()
        killed_at = time.monotonic()
        mine = {b["batch"] for b in call(database, "tell")["begun"] if b["pid"] == victim.pid}
        wait_for(database, "the take-over", lambda t: mine <= {b["batch"] for b in t["begun"] if b["fence"] > 1} or not t["open"])
        took_s = time.monotonic() - killed_at
        told = wait_for(database, "the end", lambda t: t["open"] == 0)
        assert took_s <= TAKE_OVER_S_MAX
        assert told["written"] == told["distinct"] == BATCHES * NUMBERS
        assert {b["batch"] for b in told["begun"] if b["fence"] > 1} <= mine
        assert told["failed"] == 0
    finally:
        for p in (victim, heir):
            p.kill()
            p.wait()


@pytest.mark.trip
def test_a_frozen_worker_that_wakes_up_writes_nothing(database: dict[str, str], tmp_path: Path) -> None:
    call(database, "fill", "2", "1.0")
    sleeper = work(database, tmp_path / "sleeper")
    heir = None
    try:
        told = wait_for(database, "both claims", lambda t: len(t["begun"]) == 2)
        os.kill(sleeper.pid, signal.SIGSTOP)
        heir = work(database, tmp_path / "heir")
        told = wait_for(database, "the take-over", lambda t: t["open"] == 0)
        os.kill(sleeper.pid, signal.SIGCONT)
        wait_for(database, "the waking", lambda t: "lost the lease" in (tmp_path / "sleeper").read_text() or t["written"] != 2 * NUMBERS)
        told = call(database, "tell")
        assert told["written"] == told["distinct"] == 2 * NUMBERS
        assert "lost the lease" in (tmp_path / "sleeper").read_text()
        assert STALLED_AFTER_S + SWEEP_S <= TAKE_OVER_S_MAX
    finally:
        for p in [p for p in (sleeper, heir) if p]:
            p.kill()  # SIGKILL ends a stopped process too
            p.wait()
