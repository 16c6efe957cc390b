"""Senders killed at random instants while a mailing runs: `bench/mail_kill.py` in short; `./run bench mail_kill` is the long form.

The witness is the receiver's own record. TOCSIN_KILLS="200 200000" runs as many kills over as many recipients as it says.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KILLS, RECIPIENTS = os.environ.get("TOCSIN_KILLS", "21 12000").split()
S_MAX = 3600

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks senders and reads /proc")


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="tocsin-test-kill-", dir="/var/tmp"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_nobody_is_lost_repeats_are_bounded_and_each_was_named_before(folder: Path) -> None:
    env = {k: v for k, v in os.environ.items() if not k.startswith("TOCSIN_")} | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    options = ("--recipients", RECIPIENTS, "--kills", KILLS, "--folder", str(folder), "--json")
    done = subprocess.run(
        [sys.executable, "-m", "bench.mail_kill", "kills", *options], env=env, cwd=ROOT, capture_output=True, text=True, timeout=S_MAX
    )
    assert done.stdout, done.stderr[-4000:]
    found = json.loads(done.stdout.splitlines()[-1])["rows"]["kills"]
    assert found["faults"] == [], found
    assert (found["lost"], found["strangers"], found["unnamed"]) == (0, 0, 0)
    assert found["message_ids"] == found["recipients"] == int(RECIPIENTS)
    assert found["kills"] >= int(KILLS)
    assert found["duplicates"] <= found["in_doubt"] <= found["bound"]
