"""Mails per second that intake takes in, committed to PostgreSQL before each 250: `./run bench intake [--messages N]`.

Client and server share the machine, on 1 and on 20 connections, in turn; an embedded throwaway PostgreSQL with durable commits. The need at
the peak of a surge is 33/s.
"""

from __future__ import annotations

import argparse
import json
import os
import smtplib
import statistics
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parent.parent
LETTER = "From: p{n}@mailbox.example\r\nTo: help@shop.example\r\nSubject: Question {n}\r\nMessage-ID: <{n}@mailbox.example>\r\n\r\n" + \
    "Hello,\r\n\r\nwas my card taken? Please tell me what to do.\r\n" * 20


def main() -> None:
    """Run and print; write bench/results/intake.json."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--messages", type=int, default=2000)
    arguments.add_argument("--rounds", type=int, default=3)
    chosen = arguments.parse_args()
    from tocsin.kernel.localpg import LocalPg

    with tempfile.TemporaryDirectory(prefix="tocsin-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        with LocalPg(Path(folder) / "pg") as dsn:
            os.environ.update(TOCSIN_HOME=folder, TOCSIN_PROCESS="owner", TOCSIN_DATABASE_URL=dsn, DJANGO_SETTINGS_MODULE="tocsin.settings")
            (Path(folder) / "tocsin.toml").write_text('[estate]\nkind = "drill"\n')
            import django
            django.setup()
            from tocsin.kernel import schema
            from tocsin.kernel.sealing import create_all
            create_all()
            schema.migrate()
            rows = measure(chosen.messages, chosen.rounds)
    for name, rates in rows.items():
        print(f"  {name:16} median {statistics.median(rates):7.0f}/s  ({min(rates):.0f}-{max(rates):.0f})")
    (ROOT / "bench" / "results").mkdir(exist_ok=True)
    (ROOT / "bench" / "results" / "intake.json").write_text(json.dumps({
        "bench": "intake", "at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": f"{os.cpu_count()} cores",
        "load": os.getloadavg(),
        "messages": chosen.messages, "per_s_median": {n: round(statistics.median(r)) for n, r in rows.items()}}, indent=1) + "\n")


def measure(messages: int, rounds: int) -> dict[str, list[float]]:
    """Return mails per second by number of connections."""
    from tocsin.mail import intake

    stop, ready = threading.Event(), threading.Event()
    server = threading.Thread(target=intake.run, args=("127.0.0.1", 0, stop, ready))
    server.start()
    ready.wait(10)
    rows: dict[str, list[float]] = {"1 connection": [], "20 connections": []}
    number = iter(range(10**9))
    try:
        for _ in range(rounds):
            for name, connections, share in (("1 connection", 1, 10), ("20 connections", 20, 1)):
                lots = [[LETTER.format(n=next(number)) for _ in range(messages // share // connections)] for _ in range(connections)]
                began = time.perf_counter()
                threads = [threading.Thread(target=post, args=(intake.listening[0], lot)) for lot in lots]
                for t in threads:
                    t.start()
                for t in threads:
                    t.join()
                rows[name].append(sum(map(len, lots)) / (time.perf_counter() - began))
    finally:
        stop.set()
        server.join()
    return rows


def post(port: int, lot: list[str]) -> None:
    """Send a lot over one connection."""
    with smtplib.SMTP("127.0.0.1", port) as client:
        for mail in lot:
            client.sendmail("p@mailbox.example", ["help@shop.example"], mail)


if __name__ == "__main__":
    main()
