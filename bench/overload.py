"""Twenty times more people than the site can serve: how many still get a new password, how fast the others learn that they wait.

`./run bench overload [--seconds N] [--times N]`; needs wrk (apt install wrk). The real public process is pinned to one core, everything else
to the others. Three parts in one run:
  capacity   people with passes set passwords in a closed loop: what the core can do when nobody waits (before and after; the mean counts)
  overload   --times as many people as that in every second of the queue, each with a ticket. wrk asks, as often per second, whether it is
             their turn; those whose turn it is set a password
  order      when each person was let through, against the second of the ticket: the largest inversion
goodput = passwords set per second under overload / capacity; goodput_in_cpu = the server's CPU time for one password without / with the
crowd, for machines on which other work is done meanwhile. Every second of the queue is put in as another node would report it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import re
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .estate import Estate, Person, cpu_ms, end, estate, token_of

ROOT = Path(__file__).parent.parent
SERVER_CORE, OTHERS = 0, 1
CLOSED_LOOP = 5  # one at work and as many in front as the pool takes: nobody is turned back
WINDOW = 240  # people round the watermark whom we ask for; wrk asks for the others
POLL_S = (1.0, 2.0)  # the page itself says 15 to 25 s; shorter, or the run would be over before anybody was back
TYPING_S = (0.0, 4.0)
AGAIN_S = 2.0  # who met a full pool; the page itself says 15 to 25 s
WARM_S = 8.0  # until the first have typed
LUA = """
local tickets = {}
for line in io.lines(os.getenv("TICKETS")) do tickets[#tickets + 1] = line end
local seed = 0
function setup(thread) seed = seed + 1; thread:set("seed", seed) end
function init() math.randomseed(seed or 1) end
function request()
  return wrk.format("GET", "/passwordchange", {["Cookie"] = "tocsin_place=" .. tickets[math.random(#tickets)]})
end
function delay() return tonumber(os.getenv("DELAY_MS")) end
"""


def main() -> None:
    """Run the parts, print the table, write bench/results/overload.json."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--seconds", type=int, default=30)
    arguments.add_argument("--times", type=int, default=20)
    arguments.add_argument(
        "--realtime", action="store_true", help="before everything else on the machine; as root, on a shared machine, briefly"
    )
    chosen = arguments.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("needs wrk: apt install wrk")
    if chosen.realtime:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))  # inherited by everything we start
    os.sched_setaffinity(0, set(range(os.cpu_count() or 1)) - {SERVER_CORE} or {SERVER_CORE})
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder, estate(Path(folder), customers=12_000) as home:
        process = home.public(core=SERVER_CORE)
        try:
            report(run(home, process.pid, chosen.seconds, chosen.times), chosen)
        finally:
            end(process)


def run(home: Estate, pid: int, seconds: int, times: int) -> dict[str, Any]:
    """Return what was measured."""
    used = iter(range(12_000))
    capacity(home, pid, used, 3.0)  # caches, connections
    before, cpu_before = capacity(home, pid, used, 6.0)
    print(f"capacity before: {before:.1f}/s, {cpu_before:.1f} ms of CPU each", file=sys.stderr)
    found = overload(home, pid, used, seconds, times, before)
    after, cpu_after = capacity(home, pid, used, 6.0)
    print(f"capacity after: {after:.1f}/s, {cpu_after:.1f} ms of CPU each", file=sys.stderr)
    return {
        "capacity_per_s": {"before": before, "after": after},
        "cpu_ms_per_password": {"alone": statistics.mean([cpu_before, cpu_after]), "overloaded": found["cpu_ms"]},
        **{k: v for k, v in found.items() if k != "cpu_ms"},
        "goodput": found["set_per_s"] / statistics.mean([before, after]),
        "goodput_in_cpu": statistics.mean([cpu_before, cpu_after]) / found["cpu_ms"],
    }


def capacity(home: Estate, pid: int, used: Any, for_s: float) -> tuple[float, float]:
    """Return how many passwords a second people with passes set in a closed loop, and milliseconds of the server's CPU for each."""
    from tocsin.credentials.room import ticket

    done: list[float] = []
    stop, cpu = time.monotonic() + for_s, cpu_ms(pid)

    def one() -> None:
        while time.monotonic() < stop:
            token = token_of(next(used))
            grant = ticket.grant(binding=ticket.binding_of(token), now_ms=int(time.time() * 1000))
            person = Person(home.port, token, cookies={"tocsin_pass": grant})
            status, page = person.get("/passwordchange/new")
            while status == 200 and person.reset(page) == 503:
                time.sleep(0.02)
            done.append(time.monotonic())

    threads = [threading.Thread(target=one) for _ in range(CLOSED_LOOP)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    inside = [d for d in done if stop - for_s + 1.0 <= d <= stop]
    return len(inside) / (for_s - 1.0), (cpu_ms(pid) - cpu) / max(1, len(done))


def overload(home: Estate, pid: int, used: Any, seconds: int, times: int, per_s: float) -> dict[str, Any]:
    """Fill the queue, let wrk ask, serve those whose turn it is; return rates, latencies and the largest inversion."""
    from django.db import connection

    from tocsin.credentials.places import Lane, Place
    from tocsin.credentials.room import ticket

    crowd = int(per_s * times)  # people a second
    need = int(per_s * seconds * 1.3) + WINDOW
    start = int(time.time()) - 60
    people = []
    for n in range(max(need, crowd * 3)):
        people.append(Place((start + n // crowd) * 1000 + n % crowd * 1000 // crowd, secrets.token_bytes(8), Lane.REGULAR))
    people.sort(key=lambda p: p.position)
    length = len(people) // crowd + 20
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT credentials_room_report('bench', %s::int[], %s::bigint[], %s::int[], 0, 0, 0, false, 0, 0, %s)",
            [[0] * length, [start + s for s in range(length)], [crowd] * length, start],
        )
    tickets = home.home / "tickets"
    tickets.write_text("".join(f"{ticket.sign(p)}\n" for p in people[need:][:20_000] or people[-1000:]))
    script = home.home / "people.lua"
    script.write_text(LUA)
    connections = 128
    env = os.environ | {"TICKETS": str(tickets), "DELAY_MS": str(max(1, round(1000 * connections / crowd)))}
    wrk = subprocess.Popen(
        [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "--latency",
            "--timeout",
            "5s",
            "-s",
            str(script),
            f"http://127.0.0.1:{home.port}",
        ],
        env=env,
        stdout=subprocess.PIPE,
        text=True,
    )
    cpu = cpu_ms(pid)
    queue, lock, began = iter(people[:need]), threading.Lock(), time.monotonic()
    admitted: list[tuple[float, int]] = []
    done: list[float] = []
    turned_back: list[int] = []

    def one() -> None:
        while time.monotonic() < began + seconds:
            with lock:
                place, token = next(queue), token_of(next(used))
            person = Person(home.port, token, cookies={"tocsin_place": ticket.sign(place, binding=ticket.binding_of(token))})
            status, page = person.get("/passwordchange/new")
            while status == 503 and time.monotonic() < began + seconds:
                time.sleep(random.uniform(*POLL_S))
                status, page = person.get("/passwordchange/new")
            if status != 200:
                return
            with lock:
                admitted.append((time.monotonic(), place.second))
            time.sleep(random.uniform(*TYPING_S))
            while (sent := person.reset(page)) == 503 and time.monotonic() < began + seconds:
                turned_back.append(1)
                time.sleep(AGAIN_S)
            if sent == 200:
                done.append(time.monotonic())

    threads = [threading.Thread(target=one) for _ in range(WINDOW)]
    for t in threads:
        t.start()
    out, _ = wrk.communicate()
    for t in threads:
        t.join()
    with connection.cursor() as cursor:
        cursor.execute("SELECT capacity_per_s, rate_per_s, wait_p95_ms, factor FROM credentials_room")
        measured = cursor.fetchone()
    inside = [d for d in done if began + WARM_S <= d <= began + seconds]
    latest, inversion = 0, 0
    for _, second in sorted(admitted):
        inversion, latest = max(inversion, latest - second), max(latest, second)
    print(out, file=sys.stderr)
    print(
        f"room measured capacity {measured[0]:.1f}, rate {measured[1]:.1f}, p95 {measured[2]:.0f} ms, factor {measured[3]:.2f}",
        file=sys.stderr,
    )
    figures = {
        k: _ms(m.group(1), m.group(2)) for k, m in ((k, re.search(rf"{k}\s+([\d.]+)(us|ms|s)", out)) for k in ("50%", "90%", "99%")) if m
    }
    pages = re.search(r"Requests/sec:\s+([\d.]+)", out)
    return {
        "times": times,
        "cpu_ms": (cpu_ms(pid) - cpu) / max(1, len(done)),
        "set_per_s": len(inside) / (seconds - WARM_S),
        "waiting_pages_per_s": float(pages.group(1)) if pages else 0.0,
        "page_ms": {"p50": figures.get("50%", 0.0), "p90": figures.get("90%", 0.0), "p99": figures.get("99%", 0.0)},
        "inversion_s": inversion,
        "turned_back_share": len(turned_back) / max(1, len(done) + len(turned_back)),
        "admitted": len(admitted),
    }


def _ms(number: str, unit: str) -> float:
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


def report(found: dict[str, Any], chosen: argparse.Namespace) -> None:
    """Print what was found; write the JSON."""
    described = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    processor = next((line.split(":", 1)[1].strip() for line in described if line.startswith("model name")), platform.processor())
    result = {
        "bench": "overload",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"1 of {os.cpu_count()} x {processor}",
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "seconds": chosen.seconds,
        **found,
    }
    for key, value in found.items():
        print(f"{key:24}{json.dumps(value)}")
    folder = ROOT / "bench" / "results"
    folder.mkdir(exist_ok=True)
    (folder / "overload.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
