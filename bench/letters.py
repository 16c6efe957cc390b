"""Letters as PDF: one compilation per bundle, beside one per letter, and beside another setter (ReportLab) if its package can be fetched.

`./run bench letters [--letters N] [--bundle N]`. CPU seconds of the process that sets (user and system), alternated in one run; memory is the
largest resident set of that process. The letters are the scenario's notice, two pages each, every one with its own name, address and codes.
ReportLab sets the same paragraphs without window, page totals or bidirectional text, in a temporary environment that is removed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
AT = datetime(2026, 1, 15, tzinfo=UTC)
PEER = "reportlab==4.4.4"


def main() -> None:
    """Run the bench and write bench/results/letters.json; or, with --set, be the process that is measured."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--letters", type=int, default=10_000)
    arguments.add_argument("--bundle", type=int, default=1_000)
    arguments.add_argument("--set", choices=["bundle", "single"])
    chosen = arguments.parse_args()
    if chosen.set:
        measured(chosen.set, chosen.letters)
        return
    bundles, singles, peers = [], [], []
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-", dir="/var/tmp") as folder:
        peer = peer_python(Path(folder))
        small = max(1, min(100, chosen.bundle // 10))
        for n in range(max(1, chosen.letters // chosen.bundle)):
            bundles.append(child([sys.executable, "-m", "bench.letters", "--set", "bundle", "--letters", str(chosen.bundle)]))
            if n % 3 == 0:
                singles.append(child([sys.executable, "-m", "bench.letters", "--set", "single", "--letters", str(small)]))
                if peer:
                    peers.append(
                        child(
                            [str(peer), str(ROOT / "bench" / "letters_peer.py"), str(chosen.bundle)],
                            stdin=json.dumps(sheets(chosen.bundle)),
                        )
                    )
            print(f"{n + 1}: bundle {bundles[-1]}, single {singles[-1]}, peer {peers[-1] if peers else 'none'}", flush=True)
    result: dict[str, Any] = {
        "bench": "letters",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores",
        "python": platform.python_version(),
        "letters": sum(b["letters"] for b in bundles),
        "load": [round(x, 1) for x in os.getloadavg()],
        "rows": {"bundle": summed(bundles), "single": summed(singles)} | ({"reportlab": summed(peers)} if peers else {}),
    }
    (ROOT / "bench" / "results" / "letters.json").write_text(json.dumps(result, indent=1) + "\n")
    print("| setter | letters | letters/s per core | memory MB | KB per letter |\n|---|---|---|---|---|")
    for name, r in result["rows"].items():
        print(f"| {name} | {r['letters']} | {r['per_s']} | {r['rss_mb']} | {r['kb']} |")


def summed(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what several runs of one kind took in all."""
    letters, cpu = sum(r["letters"] for r in runs), sum(r["cpu_s"] for r in runs)
    return {
        "letters": letters,
        "per_s": round(letters / cpu, 1),
        "wall_s": round(sum(r["wall_s"] for r in runs), 1),
        "rss_mb": max(r["rss_mb"] for r in runs),
        "kb": round(sum(r["bytes"] for r in runs) / letters / 1000, 1),
    }


def child(command: list[str], stdin: str = "") -> dict[str, Any]:
    """Run a measured process; return what it says of itself and how long it took."""
    begin = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, text=True, check=True)
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**said, "wall_s": round(time.monotonic() - begin, 2)}


def sheets(n: int) -> list[dict[str, Any]]:
    """Return the letters as data."""
    from tocsin.notices.letters import address, body, number

    text = (ROOT / "scenarios" / "zappos-2012" / "notice.txt").read_text()
    made = []
    for i in range(n):
        name, code = f"Jo Sample {i}", f"{i:05}-ABCDE"
        to = address.addressed(
            name, {"street": f"{i} Main St", "city": "Reno", "region": "NV", "postcode": "89501", "country": "US"}, home="US"
        )
        assert isinstance(to, address.Addressed)
        filled = body.filled(text, {"name": name, "case_code": code, "references": f"C{i:05}", "company": "Example Shop"})
        made.append(
            {
                "number": number.shown(i + 1),
                "lang": "en",
                "page": "Page {page} of {pages}",
                "date": "January 15, 2026",
                "address": list(to.lines),
                "info": [f"Case code: {code}", f"Customer number: C{i:05}"],
                "subject": "Please create a new password for your Example account",
                "body": body.paragraphs(filled, headings={"What Happened", "What You Can Do"}),
            }
        )
    return made


def measured(way: str, n: int) -> None:
    """Set letters in one way, and say what the setting processes took; making the data is not counted."""
    from tocsin.notices.letters.setting import Setter, Sheet

    setter, letters = Setter(), [Sheet(**s) for s in sheets(n)]
    lots = [letters] if way == "bundle" else [[s] for s in letters]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    size = 0
    for lot in lots:
        made = setter.set(lot, layout="us", sender=["Example Shop", "1 Shop St", "Reno NV 89501"], date=AT, duplex=True)
        assert len(made.spans) == len(lot)
        size += len(made.pdf)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"letters": n, "cpu_s": round(cpu, 2), "rss_mb": after.ru_maxrss // 1024, "bytes": size}))


def peer_python(folder: Path) -> Path | None:
    """Return a Python that has the peer, None if it cannot be fetched."""
    python = folder / "peer" / "bin" / "python"
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder / "peer")], check=True, capture_output=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", PEER], check=True, capture_output=True)
    except (subprocess.CalledProcessError, OSError):
        print(f"{PEER} cannot be fetched: measured without it", file=sys.stderr)
        return None
    return python


if __name__ == "__main__":
    main()
