"""From a request for a reset link to the relay's 250, beside a mailing that is throttled: our lane of urgent mail, and the ordinary queue.

`./run bench reset_lane [--people N] [--requests N] [--rate R]`. Real processes: PostgreSQL, the practice post office, and the workers as an
estate runs them (one for general jobs, one for urgent ones, one per core for mail). A mailing to N people runs at R messages/s all the time.
Requests for a reset come evenly over the first half of the mailing; beside each fourth one the same letter is queued as ordinary single
mail, which is what a system without a lane does. The end of a request is the instant at which the post office took its mail.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import hashlib
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

ROOT = Path(__file__).parent.parent
DOMAINS = ("gmail.com", "outlook.com", "mail.example")
UP_S_MAX = 30.0
TAIL_S_MAX = 240.0
BESIDE_EACH = 4


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


def main() -> None:
    """Run it once and write bench/results/reset_lane.json."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--people", type=int, default=4_000)
    arguments.add_argument("--requests", type=int, default=200)
    arguments.add_argument("--rate", type=float, default=30.0, help="messages per second of the mailing")
    chosen = arguments.parse_args()
    smtp, http = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder, contextlib.ExitStack() as started:
        from tocsin.kernel.localpg import LocalPg

        Path(folder).chmod(0o711)  # as root the server runs as a user of its own and must reach its folder
        dsn = started.enter_context(LocalPg(Path(folder) / "pg"))
        os.environ.update(TOCSIN_DATABASE_URL=dsn, TOCSIN_HOME=folder, TOCSIN_PROCESS="owner", DJANGO_SETTINGS_MODULE="tocsin.settings")
        (Path(folder) / "tocsin.toml").write_text(
            f'[estate]\nkind = "drill"\n[mail]\nrelay_port = {smtp}\n[practice]\nsmtp_port = {smtp}\nhttp_port = {http}\n'
        )
        (Path(folder) / "postoffice").mkdir()
        (Path(folder) / "postoffice" / "personalities.toml").write_text("seed = 1\n[default]\n")
        import django

        django.setup()
        from tocsin.kernel import schema
        from tocsin.kernel.sealing import create_all

        create_all()
        schema.migrate()
        addresses = [f"person.{n}@{DOMAINS[n % len(DOMAINS)]}" for n in range(chosen.people)]
        mailing = prepare(Path(folder), addresses, chosen.rate)
        for command in ("postoffice", "worker"):
            env = os.environ | ({"TOCSIN_PROCESS": command} if command == "postoffice" else {})
            process = subprocess.Popen([sys.executable, "-P", "-m", "tocsin.cli", command], cwd=ROOT, env=env)
            started.callback(end, process)
            if command == "postoffice":
                wait_for(http)
        until_it_runs(mailing)
        report(run(addresses, chosen.requests, chosen.people / chosen.rate / 2, http), mailing, chosen)


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop a process we started."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()


def wait_for(port: int) -> None:
    """Wait until somebody listens."""
    until = time.monotonic() + UP_S_MAX
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def prepare(home: Path, addresses: list[str], rate: float) -> int:
    """Register everybody with a password, and start a mailing to all of them at this rate; return it."""
    from tests.notices import world
    from tocsin.credentials import actions as credentials
    from tocsin.kernel import clock
    from tocsin.notices import actions as notices
    from tocsin.notices.types import Retry

    incident = world.people(addresses)
    hashes = home / "hashes.csv"
    with hashes.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["customer_id", "email", "password_format", "password_hash"])
        table.writerows([f"C{n:05}", a, "md5", hashlib.md5(a.encode()).hexdigest()] for n, a in enumerate(addresses))
    credentials.import_hashes(hashes, at=clock.now(), by="ada")
    mailing = world.started(home, incident, retry=Retry())
    notices.set_pace(mailing, rate_per_s=rate, at=clock.now(), by="ada")
    return mailing


def until_it_runs(mailing: int) -> None:
    """Wait until the mailing fills the mail workers."""
    from tocsin.notices import queries

    until = time.monotonic() + UP_S_MAX * 4
    while not queries.status(mailing).handed_over and time.monotonic() < until:
        time.sleep(0.5)


def run(addresses: list[str], requests: int, over_s: float, http: int) -> dict[str, list[float]]:
    """Return the seconds from each request to its 250, by lane; infinity for what never came."""
    from tocsin.credentials import actions as credentials
    from tocsin.kernel import clock
    from tocsin.kernel.private import Private
    from tocsin.mail import actions as mail

    asked: dict[str, list[tuple[str, datetime]]] = {"urgent lane": [], "ordinary queue": []}
    for n in range(requests):
        address = addresses[n * len(addresses) // requests]
        asked["urgent lane"].append((address, clock.now()))
        credentials.request_reset(address, at=clock.now())
        if n % BESIDE_EACH == 0:
            asked["ordinary queue"].append((address, clock.now()))
            mail.queue_single(purpose="reset", to=Private(address), subject="Ordinary queue", text="x", at=clock.now(), dedupe_key=f"o{n}")
        time.sleep(over_s / requests)
    found: dict[str, list[float]] = {lane: [] for lane in asked}
    until = time.monotonic() + TAIL_S_MAX
    for lane, subject in (("urgent lane", "Set your new"), ("ordinary queue", "Ordinary queue")):
        for address, at in asked[lane]:
            taken = None
            while taken is None and time.monotonic() < until:
                with urlopen(f"http://127.0.0.1:{http}/api/messages?to={quote(address)}") as reply:
                    mails = json.load(reply)["messages"]
                taken = next((datetime.fromisoformat(m["at"]) for m in mails if m["subject"].startswith(subject)), None)
                if taken is None:
                    time.sleep(1)
            found[lane].append((taken - at).total_seconds() if taken else float("inf"))
    return found


def quantile(values: list[float], share: float) -> float:
    """Return the value that this share of the sample does not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def report(found: dict[str, list[float]], mailing: int, chosen: argparse.Namespace) -> None:
    """Print the table and write the result."""
    from tocsin.notices import queries

    status = queries.status(mailing)
    rows = {
        lane: {"mails": len(s), "lost": sum(x == float("inf") for x in s), "p50_s": round(quantile(s, 0.5), 2), "p95_s": round(quantile(s, 0.95), 2),
               "max_s": round(max(s), 2)}
        for lane, s in found.items()
    }  # fmt: skip
    for lane, row in rows.items():
        print(f"{lane:16} {row}")
    print(f"mailing: {status.handed_over} of {status.recipients} handed over at the end, {status.waiting} waiting")
    result = {
        "bench": "reset_lane",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "load": [round(x, 1) for x in os.getloadavg()],
        "people": chosen.people,
        "mailing_per_s": chosen.rate,
        "p95_s_allowed": 60,
        "rows": rows,
    }
    (ROOT / "bench" / "results" / "reset_lane.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
