"""The whole incident with real processes: it closes, it survives a killed worker, it can be interrupted and continued."""

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

ROOT = Path(__file__).parents[2]
DEMO_S_MAX = 420.0
GONE_S_MAX = 2.0  # from the signal to the end of the last process
PULL_AFTER = 300  # messages in the post office when the plug is pulled
CUSTOMERS = 1500

pytestmark = pytest.mark.trip


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tocsin-test-trip-", dir="/var/tmp"))
    folder.chmod(0o711)
    yield folder / "estate"
    shutil.rmtree(folder, ignore_errors=True)


def demo(home: Path, *flags: str, customers: int = CUSTOMERS) -> subprocess.Popen[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("TOCSIN_")} | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-P", "-m", "tocsin.cli", "demo", "--json", "--customers", str(customers), "--home", str(home), *flags]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=DEMO_S_MAX)
    assert process.returncode == 0, out[-3000:] + err[-3000:]
    report: dict[str, Any] = json.loads(out)
    return report


def until(condition: Any, what: str, *, limit_s: float = DEMO_S_MAX) -> Any:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if found := condition():
            return found
        select.select([], [], [], 0.1)
    raise AssertionError(f"{what} did not happen within {limit_s:.0f} s")


def spooled(home: Path) -> int:
    """Return how many octets the post office has written down: its spool grows with each message it takes."""
    return sum(p.stat().st_size for p in (home / "postoffice").rglob("*") if p.is_file()) if (home / "postoffice").exists() else 0


def processes_of(home: Path) -> list[int]:
    """Return every process whose command line or environment names the home, except ourselves."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:
            continue
        if str(home).encode() in text and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def check(report: dict[str, Any]) -> None:
    s, m, d = report["subjects"], report["mailing"], report["support"]
    assert s["read"] == s["accepted"] + s["rejected"]
    assert s["rejected"] > 0
    assert m["recipients"] == m["handed_over"] + m["deferred"] + m["bounced"] + m["letters"] == report["customers"]
    assert m["lost"] == 0
    assert m["duplicates"] <= m["in_doubt"]
    assert report["cutover"]["old_password_logins_before"] > 0
    assert report["cutover"]["old_password_logins_after"] == 0
    assert report["evidence"]["verified"] is True
    assert report["vault"]["cards"] > 0
    assert report["vault"]["released"] == 0
    assert d["received"] == d["answered"] + d["open"] > 0
    assert report["resets"]["completed"] > 0
    assert set(report["exposure"]["stores_not_reached"]) >= {"cards"}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_worker_killed_in_the_middle_of_the_mailing_costs_nobody(home: Path) -> None:
    run = demo(home, "--exit", customers=6000)
    try:
        until(lambda: spooled(home) > PULL_AFTER * 4000, "the mailing")
        workers = json.loads((home / "workers.json").read_text())
        victims = [pid for name, pid in workers.items() if name.startswith("worker-mail")]
        assert victims
        os.kill(victims[0], signal.SIGKILL)
        report = ended(run)
    finally:
        run.kill()
        run.wait()
    check(report)
    connections = 8
    assert report["mailing"]["duplicates"] <= report["mailing"]["in_doubt"] <= connections
    assert processes_of(home) == []
    proof = home / "drill" / "proof"
    verify = ROOT / "src" / "tocsin_tlog" / "pubverify.sh"
    outsider = subprocess.run(
        ["bash", verify, proof / "proof", proof / "leaf", proof / "log.vkey"], cwd=proof, capture_output=True, text=True
    )
    assert outsider.returncode == 0, outsider.stdout + outsider.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_running_and_the_demo_can_go_on(home: Path, how: signal.Signals) -> None:
    run = demo(home, "--exit")
    try:
        until(lambda: (home / "drill" / "run.json").exists() and '"cutover"' in (home / "drill" / "run.json").read_text(), "the cutover")
        os.kill(run.pid, how)
        until(lambda: run.poll() is not None and not processes_of(home), "the end of every process", limit_s=GONE_S_MAX)
    finally:
        run.kill()
        run.wait()
    if how == signal.SIGKILL:  # the hardest way to go is the one to come back from
        check(ended(demo(home, "--exit", "--resume")))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_steps_that_were_cut_off_are_not_done_twice(home: Path) -> None:
    """What a crash between a step's effect and its note in run.json leaves behind: the effect without the note."""
    first = ended(demo(home, "--exit", customers=300))
    file = home / "drill" / "run.json"
    saved = json.loads(file.read_text())
    saved["steps"] = [
        s for s in saved["steps"] if s["name"] not in {"team", "customers", "cards", "declare", "cutover", "mailing", "letters", "evidence"}
    ]
    file.write_text(json.dumps(saved))
    again = ended(demo(home, "--exit", "--resume", customers=300))
    check(first)
    check(again)
    # A second incident, cutover or mailing would be hundreds of entries more; what is repeated are enrolment, imports and their like.
    assert again["evidence"]["entries"] - first["evidence"]["entries"] < 100
    assert again["mailing"] == first["mailing"] | {"rate_per_s": again["mailing"]["rate_per_s"]}
    assert again["support"]["received"] == first["support"]["received"]


def test_bad_input_is_refused_whole_and_changes_nothing(home: Path, tmp_path: Path) -> None:
    scenario = tmp_path / "bad.toml"
    scenario.write_text('[scenario]\nname = 3\n[incident]\nhosts = []\nnonsense = 1\n[drill]\nlogins = "many"\n')
    run = demo(home, "--exit", "--scenario", str(scenario))
    out, _ = run.communicate(timeout=60)
    assert run.returncode == 2
    answer = json.loads(out)
    assert answer["error"]["kind"] == "bad_input"
    assert len(answer["faults"]) >= 4
    assert all({"line", "field", "got", "wanted"} <= set(f) for f in answer["faults"])
    assert not (home / "tocsin.toml").exists()
    home.mkdir(parents=True, exist_ok=True)
    (home / "something.txt").write_text("not a demo's home")
    out, _ = (run := demo(home, "--exit")).communicate(timeout=60)
    assert run.returncode == 3
    assert (home / "something.txt").exists()
