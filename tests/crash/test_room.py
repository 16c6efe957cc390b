"""The waiting room with real processes: kill -9 of the public process and of PostgreSQL in the middle of a surge.

No place is lost, no reset is half done, and the order stays. The witnesses are the tickets people hold and the rows of the database.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PEOPLE = 60
S_MAX = 180.0

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kills processes by their group and reads /proc")


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="tocsin-test-room-", dir="/var/tmp"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def surge(folder: Path, victim: str) -> dict[str, Any]:
    """Live through a surge in which a victim is killed; return what its witnesses saw. In a process of its own: its database is another."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("TOCSIN_")} | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    run = subprocess.run(
        [sys.executable, "-m", "tests.crash.surge", str(folder), victim, str(PEOPLE)],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=S_MAX,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("victim", ["public", "postgres"])
def test_killed_in_a_surge_no_place_is_lost_no_reset_is_half_done_and_the_order_stays(folder: Path, victim: str) -> None:
    found = surge(folder, victim)
    assert found["killed"] == [victim, signal.SIGKILL]
    assert found["waiting_before"] >= PEOPLE - 10
    assert found["tickets_changed"] == 0
    assert found["set"] == PEOPLE  # everybody got a new password in the end
    assert found["inversion_s"] <= 1
    for spent, changed, entries in (found["at_the_kill"], found["at_the_end"]):  # link, password, entry in the log: all or nothing
        assert spent == changed == entries
    assert found["at_the_kill"][0] < found["at_the_end"][0] == PEOPLE
    if victim == "postgres":
        assert found["pages_while_away"] > 0  # those who wait are told so while the database is away
