"""The gate against the smallest WSGI answer on the same server, in one run, and how soon it is closed after a cutover.

`./run bench gate [--accounts N] [--seconds S] [--rounds N] [--cutovers N]`. Needs wrk (apt install wrk). A PostgreSQL of its own with N accounts;
granian with one worker and eight threads serves, alternated, the gate and an application that answers two bytes. Both servers stand on one
core, wrk on the others where there are any, with 32 connections; it asks about subjects at random.

  open, remembered   every subject was asked about before: answers from memory
  open, first time   no subject was asked about before (a fresh gate): each needs one indexed question to PostgreSQL
  closed             after a cutover: a refusal is remembered for half a second only, so nearly each needs that question

Then cutovers are committed and taken back while questions run: milliseconds of the commit, until the node has acknowledged (sealed), and from
the return of `commit` to the beginning of the last question that was answered "open", which must lie before it.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import platform
import re
import secrets
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
AT = datetime(2026, 1, 15, 3, 0, tzinfo=UTC)
CONNECTIONS = 32
PORTS = {"gate": 18_402, "hello": 18_403}
SCRIPT = """
math.randomseed({seed})
request = function()
  return wrk.format("GET", "/gate/v1/C" .. math.random(1, {accounts}), {{["Authorization"] = "Bearer {key}"}})
end
"""


def hello(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer two bytes: the least that a WSGI application can do."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


def main() -> None:
    """Run all of it, print the table, write bench/results/gate.json."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--accounts", type=int, default=1_000_000)
    arguments.add_argument("--seconds", type=int, default=6, help="of each measurement")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--cutovers", type=int, default=10)
    chosen = arguments.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("this bench needs wrk: apt install wrk")
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder:
        from tocsin.kernel.localpg import LocalPg

        home = Path(folder)
        home.chmod(0o711)  # as root the server runs as a user of its own and must reach its folder
        server = LocalPg(home / "pg")
        try:
            os.environ.update(
                TOCSIN_DATABASE_URL=server.start(), TOCSIN_HOME=folder, TOCSIN_PROCESS="owner", DJANGO_SETTINGS_MODULE="tocsin.settings"
            )
            (home / "tocsin.toml").write_text('[estate]\nkind = "drill"\n[gate]\nrate_per_s = 1000000\n')
            import django

            django.setup()
            report(run(home, chosen), chosen)
        finally:
            server.stop()


def run(home: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure and return all figures."""
    from tocsin.credentials import actions
    from tocsin.kernel import schema
    from tocsin.kernel.sealing import create_all
    from tocsin.staff import actions as staff

    create_all()
    schema.migrate()
    for name, roles in (("ada", ["identity"]), ("bob", ["legal"])):
        staff.add_operator(name=name, roles=roles, at=AT, by="owner")
    fill(chosen.accounts)
    key = actions.create_api_key("bench", at=AT, by="owner").reveal()
    owner = os.environ["TOCSIN_DATABASE_URL"]
    dsn = schema.dsn(owner, "api", schema.set_passwords(owner, kept={})["api"])
    rows: dict[str, list[tuple[float, float]]] = {"hello": [], "open, remembered": [], "open, first time": [], "closed": []}
    load_s: list[float] = []
    with serving("hello", home, dsn), serving("gate", home, dsn):
        wait(key)
        load_s.append(loaded(home, chosen.accounts))
        warm(key, chosen.accounts)
        for n in range(chosen.rounds):
            rows["hello"].append(wrk("hello", key, chosen, home, seed=n))
            rows["open, remembered"].append(wrk("gate", key, chosen, home, seed=n))
        rss_mb = rss("gate") / 1e6
    for n in range(chosen.rounds):
        with serving("gate", home, dsn):
            wait(key)
            rows["open, first time"].append(wrk("gate", key, chosen, home, seed=n))
    with serving("gate", home, dsn):
        wait(key)
        found = cutovers(home, key, chosen)
        commit(home)
        for n in range(chosen.rounds):
            rows["closed"].append(wrk("gate", key, chosen, home, seed=n))
    return {"rows": rows, "cutovers": found, "load_s": statistics.median(load_s), "rss_mb": rss_mb}


def fill(accounts: int) -> None:
    """Make subjects and accounts with a password each."""
    from django.db import connection

    from bench.cutover import HASH
    from tocsin.credentials import cutover
    from tocsin.subjects.models import Holding
    from tocsin.subjects.types import BASES

    home, holding = cutover.open_population("customers"), Holding.objects.create(digest=b"bench")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO subjects_subject (external_id, jurisdiction, basis, locale, holding_id, created_at) "
            "SELECT 'C' || n, 'US-KY', %s, 'en', %s, %s FROM generate_series(1, %s) n",
            [BASES[0], holding.pk, AT, accounts],
        )
        cursor.execute(
            "INSERT INTO credentials_account (subject, population_id, cohort, login_hmac) "
            "SELECT id, %s, 0, sha256(id::text::bytea) FROM subjects_subject",
            [home.pk],
        )
        cursor.execute(
            "INSERT INTO credentials_credential (account_id, class, epoch, version, hash, set_at) "
            "SELECT id, 'password', 1, 0, %s || left(md5(id::text) || md5(id::text), 43), %s FROM credentials_account",
            [HASH, AT],
        )
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")


@contextlib.contextmanager
def serving(name: str, home: Path, dsn: str) -> Iterator[None]:
    """Serve one of the two on the first core."""
    from tocsin.cli.processes import site_command
    from tocsin.kernel.localpg import tied

    command = site_command("api", port=PORTS[name])
    if name == "hello":
        command[-1] = "bench.gate:hello"
    env = os.environ | {
        "TOCSIN_PROCESS": "api",
        "TOCSIN_DATABASE_URL": dsn,
        "TOCSIN_HOME": str(home),
        "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
    }
    with (home / f"{name}.log").open("ab") as log:
        pinned = [*(["taskset", "-c", "0"] if shutil.which("taskset") else []), *command]
        server = subprocess.Popen(pinned, env=env, stdout=log, stderr=log, **tied(signal.SIGTERM))
    _servers[name] = server.pid
    try:
        yield
    finally:
        server.terminate()
        server.wait(15)


_servers: dict[str, int] = {}


def ask(connection: http.client.HTTPConnection, key: str, subject: str) -> int:
    """Return the status of one question; 0 when nobody listens yet."""
    try:
        connection.request("GET", f"/gate/v1/{subject}", headers={"Authorization": f"Bearer {key}"})
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException):
        connection.close()
        return 0
    return response.status


def wait(key: str) -> None:
    """Wait until the gate answers."""
    end, connection = time.monotonic() + 60, http.client.HTTPConnection("127.0.0.1", PORTS["gate"], timeout=5)
    while ask(connection, key, "C1") not in {200, 403}:
        if time.monotonic() > end:
            raise SystemExit("the gate did not come up")
        time.sleep(0.05)
    connection.close()


def loaded(home: Path, accounts: int) -> float:
    """Load a board in this process, as the gate does beside its answers; return the seconds."""
    from tocsin.credentials.gate.node import Gate

    gate = Gate("bench")
    gate._advance(0)
    begun = time.monotonic()
    gate.load()
    took = time.monotonic() - begun
    if sum(1 for n in range(1, accounts + 1) if gate._board.epoch(n)) != accounts:
        raise SystemExit("the board lacks accounts")
    return took


def warm(key: str, accounts: int) -> None:
    """Ask about everybody once, a thousand at a time."""
    connection = http.client.HTTPConnection("127.0.0.1", PORTS["gate"], timeout=60)
    for first in range(1, accounts + 1, 1000):
        body = json.dumps({"subjects": [f"C{n}" for n in range(first, min(first + 1000, accounts + 1))]})
        connection.request("POST", "/gate/v1/batch", body, {"Authorization": f"Bearer {key}"})
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            raise SystemExit(f"warming failed: {response.status}")
    connection.close()


def wrk(name: str, key: str, chosen: argparse.Namespace, home: Path, *, seed: int) -> tuple[float, float]:
    """Return requests per second and the 99th percentile in milliseconds."""
    script = home / "ask.lua"
    script.write_text(SCRIPT.format(seed=seed + 1, accounts=chosen.accounts, key=key))
    others = f"1-{os.cpu_count() - 1}" if (os.cpu_count() or 1) > 1 and shutil.which("taskset") else None
    command = [
        *(["taskset", "-c", others] if others else []), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{chosen.seconds}s", "--latency",
        "-s", str(script), f"http://127.0.0.1:{PORTS[name]}/",
    ]  # fmt: skip
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    per_s = re.search(r"Requests/sec:\s+([\d.]+)", text)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    if per_s is None or p99 is None or "Socket errors" in text:
        raise SystemExit(text)
    scale = {"us": 0.001, "ms": 1.0, "s": 1000.0}[p99.group(2)]
    return float(per_s.group(1)), float(p99.group(1)) * scale


def commit(home: Path) -> tuple[int, Any]:
    """Arm, sign twice, commit; return the cutover and its report."""
    from tocsin.credentials import actions
    from tocsin.staff import actions as staff

    armed = actions.arm(incident=1, at=AT, by="ada")
    approval = staff.request("credentials.commit", armed.payload, by="ada", at=AT)
    signed(home, approval)
    return armed.id, actions.commit(armed.id, approval=approval, at=AT, by="ada")


def signed(home: Path, approval: int) -> None:
    """Let two people sign."""
    from tocsin.staff import actions as staff
    from tocsin.staff import keyfiles

    for name in ("ada", "bob"):
        staff.sign_with_key_file(approval, operator=name, key_file=keyfiles.folder(home) / f"{name}.key", at=AT)


def cutovers(home: Path, key: str, chosen: argparse.Namespace) -> dict[str, list[float]]:
    """Commit and take back under questions; return milliseconds."""
    from tocsin.credentials import actions, queries
    from tocsin.staff import actions as staff

    found: dict[str, list[float]] = {"commit_ms": [], "sealed_ms": [], "last_open_ms": []}
    asked: list[tuple[float, int]] = []
    stop = threading.Event()

    def question() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", PORTS["gate"], timeout=5)
        while not stop.is_set():
            begun = time.monotonic()
            asked.append((begun, ask(connection, key, f"C{1 + secrets.randbelow(chosen.accounts)}")))

    threads = [threading.Thread(target=question) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(chosen.cutovers):
        time.sleep(0.5)
        asked.clear()
        cutover, done = commit(home)
        returned = time.monotonic()
        time.sleep(0.5)
        found["commit_ms"].append(done.commit_ms)
        found["sealed_ms"].append(done.sealed_ms)
        if not all(n.acked for n in done.nodes) or not done.nodes:
            raise SystemExit(f"the node did not acknowledge: {done.nodes}")
        open_at = [at for at, status in asked if status == 200]
        found["last_open_ms"].append((max(open_at) - returned) * 1000)
        approval = staff.request("credentials.abort", queries.cutover(cutover).abort_payload, by="ada", at=AT)
        signed(home, approval)
        actions.abort(cutover, approval=approval, at=AT, by="ada")
    stop.set()
    for thread in threads:
        thread.join()
    return found


def rss(name: str) -> float:
    """Return bytes of memory of a server and its worker."""
    pids = [_servers[name], *(int(p) for t in Path(f"/proc/{_servers[name]}/task").iterdir() for p in (t / "children").read_text().split())]
    kib = [re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()) for pid in pids]
    return sum(int(m.group(1)) * 1024 for m in kib if m)


def report(found: dict[str, Any], chosen: argparse.Namespace) -> None:
    """Print the table and write the JSON."""
    hello_per_s = statistics.median(r for r, _ in found["rows"]["hello"])
    rows = {
        name: {
            "per_s": statistics.median(r for r, _ in runs),
            "p99_ms": statistics.median(p for _, p in runs),
            "of_hello": statistics.median(r for r, _ in runs) / hello_per_s,
        }
        for name, runs in found["rows"].items()
    }
    described = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    processor = next((line.split(":", 1)[1].strip() for line in described if line.startswith("model name")), platform.processor())
    falls = found["cutovers"]
    result = {
        "bench": "gate",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} x {processor}",
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "accounts": chosen.accounts,
        "connections": CONNECTIONS,
        "rounds": chosen.rounds,
        "board_load_s": found["load_s"],
        "server_rss_mb": found["rss_mb"],
        "cutovers": len(falls["commit_ms"]),
        "commit_ms": {"median": statistics.median(falls["commit_ms"]), "max": max(falls["commit_ms"])},
        "sealed_ms": {"median": statistics.median(falls["sealed_ms"]), "max": max(falls["sealed_ms"])},
        "last_open_began_ms_after_commit_returned": {"median": statistics.median(falls["last_open_ms"]), "max": max(falls["last_open_ms"])},
        "rows": rows,
    }
    print(f"{chosen.accounts:,} accounts, {CONNECTIONS} connections, one core\n{'':22}{'per s':>10}{'p99':>12}{'of hello':>10}")
    for name, row in rows.items():
        print(f"{name:22}{row['per_s']:>10,.0f}{row['p99_ms']:>9.2f} ms{row['of_hello']:>10.2f}")
    print(json.dumps({k: v for k, v in result.items() if k.endswith("_ms") or k in {"board_load_s", "server_rss_mb"} or "commit" in k}))
    folder = ROOT / "bench" / "results"
    folder.mkdir(exist_ok=True)
    (folder / "gate.json").write_text(json.dumps(result, indent=2) + "\n")
    if max(falls["last_open_ms"]) > 0:
        raise SystemExit("a question that began after the commit returned was answered open")


if __name__ == "__main__":
    sys.exit(main())
