"""Kill senders at random instants, and worse, and count by the receiver's own record: `./run bench mail_kill [SCENARIO ...]`.

Scenarios, each on an estate of its own:
    kills     `--kills` times kill -9 of one of two senders while `--recipients` get their notice
    frozen    a sender is stopped (SIGSTOP) for `--freeze-s` in the middle; the other takes over; then it wakes up
    cut       as frozen, with two machines: each sender has a home and journals of its own, and one is cut off for `--freeze-s`
    restart   PostgreSQL goes through a crash restart under both senders
    lost      the machine is lost: both senders die and their journals are gone
    power     the power fails: both senders die, their journals end where the disk had them (the last fdatasync), the machine has booted anew
The receiver (`bench.sink`) writes down each message with its time before it answers: that record, and never a table of ours, says who got
what. Lost, repeated, and whether each repeat was named in the log before it arrived, is reckoned from it. The senders are real: processes of
their own with the code that the workers run. What the harness does in place of the queue's sweeper is to free the leases of a sender that it
knows to be dead or frozen, by its owner's number, without the 15 s that the sweeper waits.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SENDERS = 2
CONNECTIONS = 8  # of the relay; a block gets half
LOOK_S = 0.1
S_MAX = 3600.0
SWEEPER_S = 15.0
KILLED_UNTIL = 0.9  # of what is to be taken: the last of the killed are still missed by somebody
JITTER_S = 0.02
SLOW_PER_S = 400.0  # of the lanes when a machine is lost: slower than the machine, so that a block is under way for seconds
DOMAINS = ("gmail", "yahoo")
FIRST = ("recipients", "kills", "lost", "duplicates", "in_doubt", "bound", "unnamed", "message_ids", "seconds")


@dataclass
class World:
    """A mailing that is being sent, its senders, and the receiver's record."""

    home: Path
    record: Path
    mailing: int
    recipients: int
    nursery: subprocess.Popen[str]
    senders: dict[int, int] = field(default_factory=dict)  # lease owner: pid
    gone: set[int] = field(default_factory=set)  # owners that are dead or frozen
    kills: int = 0
    owners: int = 0

    def _ask(self, *words: object) -> str:
        assert self.nursery.stdin is not None
        assert self.nursery.stdout is not None
        self.nursery.stdin.write(" ".join(map(str, words)) + "\n")
        self.nursery.stdin.flush()
        return self.nursery.stdout.readline().strip()

    def start(self, *, machine: str = "") -> int:
        """Start a sender, on a machine of its own if one is named; return its number as an owner of leases."""
        self.owners += 1
        home = self.home / machine if machine else self.home
        if not home.exists():
            home.mkdir()
            shutil.copytree(self.home / "keys", home / "keys")
            shutil.copy(self.home / "tocsin.toml", home)
            (home / "synced").mkdir()
            (home / "boot_id").write_text(machine)
        self.senders[self.owners] = int(self._ask("start", self.owners, home))
        return self.owners

    def kill(self, owner: int) -> None:
        """Kill a sender, wait for its death, free what it held."""
        pid = self.senders.pop(owner)
        os.kill(pid, signal.SIGKILL)
        self._ask("reap", pid, "-")
        self.kills += 1
        self.gone.add(owner)
        free({owner})

    def taken(self) -> int:
        """Return how many messages the receiver has taken."""
        return self.record.stat().st_size // self.line_bytes if self.record.exists() else 0

    @property
    def line_bytes(self) -> int:
        """Return about how long a line of the record is."""
        with self.record.open("rb") as file:
            return max(1, len(file.readline()))

    def until_taken(self, n: int) -> None:
        """Wait until about so many messages were taken."""
        end = time.monotonic() + S_MAX
        while self.taken() < n and time.monotonic() < end:
            time.sleep(0.01)

    def until_done(self) -> None:
        """Wait until no block is open."""
        end = time.monotonic() + S_MAX
        while open_blocks(self.mailing):
            free(self.gone)  # again and again, as the sweeper: a claim may have been committed after its process was dead
            if time.monotonic() > end:
                raise SystemExit(f"{open_blocks(self.mailing)} blocks are still open")
            time.sleep(LOOK_S)


def free(owners: set[int]) -> None:
    """Do for dead or frozen senders what the sweeper does."""
    from tocsin.notices.models import Batch

    Batch.objects.filter(lease_owner__in=owners, state="open").update(lease_until=datetime(1970, 1, 1, tzinfo=UTC), lease_owner=None)


def open_blocks(mailing: int) -> int:
    """Return how many blocks of the mailing are not done."""
    from tocsin.notices.models import Batch

    return Batch.objects.filter(mailing=mailing, state="open").count()


# --- senders -------------------------------------------------------------------------------------------------------------------------


def nursery(mailing: int) -> None:
    """Fork senders on demand, with everything imported, so that 200 of them cost no 200 starts of Python. Holds no connection itself."""
    import django

    django.setup()
    from tocsin.notices import actions  # noqa: F401  (imported once, for all)

    for line in sys.stdin:
        word, number, home = line.split()
        if word == "start":
            pid = os.fork()
            if pid == 0:
                try:
                    os.environ["TOCSIN_HOME"] = home
                    sender(mailing, int(number))
                    os._exit(0)
                except BaseException:  # noqa: BLE001  (a child must not go on with its parent's loop)
                    traceback.print_exc()
                finally:
                    os._exit(1)
            sys.stdout.write(f"{pid}\n")
        else:
            sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(int(number), 0)[1])}\n")
        sys.stdout.flush()


def sender(mailing: int, owner: int) -> None:
    """Send block after block as a worker's job does, until none is open; what ends a job ends only this turn."""
    from django.db import Error, connection

    from tocsin.kernel import clock, config, jobs
    from tocsin.kernel.errors import Unavailable
    from tocsin.mail.sender import journal
    from tocsin.notices import actions, sending
    from tocsin.notices.models import Batch, Lane

    config.current.cache_clear()  # of the nursery's home
    jobs._worker_id.set(owner)
    journal._datasync = noted(journal._datasync)
    home = Path(os.environ["TOCSIN_HOME"])
    sending.BOOT_FILE = home / "boot_id"
    random.seed(owner)
    log = (home / f"sender-{owner}.log").open("w", buffering=1)
    while True:
        try:
            lanes = list(Lane.objects.filter(mailing=mailing).exclude(provider="letter").values_list("pk", flat=True))
            random.shuffle(lanes)
            for lane in lanes:
                actions.send_next(mailing, lane, at=clock.now())
            if not Batch.objects.filter(mailing=mailing, state="open").exists():
                return
        except jobs.LostLease as e:
            log.write(f"{time.time_ns()} lost the lease of {e}\n")
        except (Unavailable, Error) as e:
            log.write(f"{time.time_ns()} {type(e).__name__}: {e}\n")
            time.sleep(LOOK_S)
            if isinstance(e, Error):
                connection.close()
        time.sleep(0.02)


def noted(datasync: Callable[[int], None]) -> Callable[[int], None]:
    """Return a datasync that also writes down how long the file was that the disk has for certain now."""

    def sync(fd: int) -> None:
        size = os.fstat(fd).st_size
        datasync(fd)
        name = Path(f"/proc/self/fd/{fd}").readlink()
        (name.parent.parent / "synced" / name.name).write_text(str(size))

    return sync


# --- estate --------------------------------------------------------------------------------------------------------------------------


@contextmanager
def world(folder: Path, *, recipients: int, rate_per_s: float = 100_000.0) -> Iterator[World]:
    """Give an estate with a mailing that was started, a receiver, and nobody sending yet."""
    from tocsin.kernel.localpg import LocalPg

    folder.chmod(0o711)
    pg = LocalPg(folder / "pg")  # a throwaway one may forget what it committed
    record = folder / "record"
    receiver = subprocess.Popen([sys.executable, "-m", "bench.sink", str(record)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert receiver.stdout is not None
    child: subprocess.Popen[str] | None = None
    try:
        port = int(receiver.stdout.readline())
        (folder / "synced").mkdir()
        (folder / "boot_id").write_text("first")
        (folder / "tocsin.toml").write_text(
            f'[estate]\nkind = "drill"\n[mail]\nrelay_port = {port}\npreflight = false\nconnections = {CONNECTIONS}\n'
            f"rate_per_s = {rate_per_s}\n"
        )
        os.environ.update(
            TOCSIN_DATABASE_URL=pg.start(), TOCSIN_HOME=str(folder), TOCSIN_PROCESS="owner", DJANGO_SETTINGS_MODULE="tocsin.settings"
        )
        import django

        django.setup()
        from tests.notices import world as people
        from tocsin.evidence import actions as evidence
        from tocsin.kernel import schema
        from tocsin.kernel.sealing import create_all

        create_all()
        schema.migrate()
        evidence.open_estate(kind="drill")
        incident = people.people([f"user{n}@{DOMAINS[n % 2]}.example" for n in range(recipients)])
        mailing = people.started(folder, incident)
        child = subprocess.Popen(
            [sys.executable, "-m", "bench.mail_kill", "--nursery", str(mailing)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        made = World(folder, record, mailing, recipients, child)
        try:
            yield made
        finally:
            for pid in made.senders.values():
                os.kill(pid, signal.SIGKILL)
    finally:
        from django.db import connections

        connections.close_all()
        if child is not None:
            child.communicate()
        receiver.terminate()
        receiver.wait()
        pg.stop()


# --- scenarios -----------------------------------------------------------------------------------------------------------------------


def kills(here: World, wanted: int, rng: random.Random) -> dict[str, Any]:
    """Kill a sender so many times, at random instants of the mailing; then let it end."""
    for _ in range(SENDERS):
        here.start()
    here.until_taken(1)
    # The instants are drawn beforehand, as parts of what is to be taken: a mailing that goes faster is killed faster.
    for part in sorted(rng.uniform(0, KILLED_UNTIL) for _ in range(wanted)):
        here.until_taken(int(part * here.recipients))
        time.sleep(rng.expovariate(1 / JITTER_S))
        here.kill(rng.choice(list(here.senders)))
        here.start()
    here.until_done()
    return {"bound": here.kills * CONNECTIONS // 2}


def frozen(here: World, freeze_s: float, machines: tuple[str, str] = ("", "")) -> dict[str, Any]:
    """Freeze a sender; the other takes its block over when the sweeper would have freed it; wake the first up when all is sent."""
    first, _ = here.start(machine=machines[0]), here.start(machine=machines[1])
    here.until_taken(here.recipients // 4)
    from tocsin.notices import policy

    pid = here.senders[first]
    os.kill(pid, signal.SIGSTOP)
    frozen_at = time.monotonic()
    time.sleep(min(SWEEPER_S, freeze_s / 4))
    here.gone.add(first)
    free({first})
    here.until_done()
    time.sleep(max(0.0, freeze_s - (time.monotonic() - frozen_at)))
    before = here.taken()
    os.kill(pid, signal.SIGCONT)
    here._ask("reap", here.senders.pop(first), "-")
    log = (here.home / machines[0] / f"sender-{first}.log").read_text()
    return {
        "bound": policy.BLOCK_ROWS if machines[0] else CONNECTIONS // 2,  # nobody reads the journal of a machine that is cut off
        "frozen_s": round(time.monotonic() - frozen_at, 1),
        "sent_after_waking": here.taken() - before,
        "stopped_by_fence": "lost the lease" in log,
    }


def restart(here: World) -> dict[str, Any]:
    """Kill one of PostgreSQL's processes: it ends all connections, recovers from its log, and takes new ones."""
    from django.db import Error, connection

    for _ in range(SENDERS):
        here.start()
    here.until_taken(here.recipients // 3)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() LIMIT 1")
        (victim,) = cursor.fetchone()
    connection.close()
    os.kill(victim, signal.SIGKILL)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        time.sleep(LOOK_S)
        try:
            free(set(here.senders))  # their leases would run out in 90 s
            break
        except Error:  # away for a moment: that is the point
            connection.close()
    here.until_done()
    told = "".join((here.home / f"sender-{owner}.log").read_text() for owner in here.senders)
    return {"bound": SENDERS * CONNECTIONS // 2, "connections_lost": told.count("Error")}


def lost(here: World) -> dict[str, Any]:
    """Lose the machine with its journals in the middle of blocks."""
    from tocsin.notices import policy, sending

    for _ in range(SENDERS):
        here.start()
    here.until_taken(here.recipients // 2)
    both = list(here.senders)
    for owner in both:
        here.kill(owner)
    held = blocks_under_way(here.mailing)
    shutil.rmtree(here.home / "journal")
    for _ in range(SENDERS):
        here.start()
    here.until_done()
    per_block = policy.ahead(per_s=SLOW_PER_S, connections=CONNECTIONS // 2) + SLOW_PER_S * sending.SHIP_S
    return {"bound": round(len(held) * per_block), "blocks": len(held), "rest_of_the_blocks": sum(held)}


def power(here: World) -> dict[str, Any]:
    """Cut the power: what no fdatasync had brought to the disk is gone from the journals, and the machine comes up again."""
    from tocsin.notices import policy, sending

    for _ in range(SENDERS):
        here.start()
    here.until_taken(here.recipients // 2)
    for owner in list(here.senders):
        here.kill(owner)
    held = blocks_under_way(here.mailing)
    cut = 0
    for journal in (here.home / "journal").glob("*.jnl"):
        noted_size = here.home / "synced" / journal.name
        size = int(noted_size.read_text()) if noted_size.exists() else 0
        cut += journal.stat().st_size - size
        os.truncate(journal, size)
    (here.home / "boot_id").write_text("second")
    for _ in range(SENDERS):
        here.start()
    here.until_done()
    per_block = policy.ahead(per_s=SLOW_PER_S, connections=CONNECTIONS // 2) + SLOW_PER_S * sending.SHIP_S
    return {"bound": round(len(held) * per_block), "blocks": len(held), "journal_bytes_cut": cut}


def blocks_under_way(mailing: int) -> list[int]:
    """Return how many recipients wait in each block that an attempt has left unsettled."""
    from tocsin.notices.models import Batch

    found = Batch.objects.filter(mailing=mailing, state="open").exclude(unsettled=[])
    return [b.n - b.handed_over for b in found]


# --- the witness ---------------------------------------------------------------------------------------------------------------------


def witness(here: World) -> dict[str, Any]:
    """Reckon from the receiver's record who got what; compare with the log whether each repeat was named before it came."""
    arrivals: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for line in here.record.read_text().splitlines():
        mid, to, ns = line.split()
        arrivals[mid].append((int(ns), to))
    people = {to for got in arrivals.values() for _, to in got}
    expected = {f"user{n}@{DOMAINS[n % 2]}.example" for n in range(here.recipients)}
    named = doubts(here.mailing)
    unnamed = 0
    for mid, got in arrivals.items():
        moments = sorted(named.get(mid, []))
        for i, (ns, _) in enumerate(sorted(got)[1:]):
            unnamed += i >= len(moments) or moments[i] > ns
    entries = sum(len(moments) for moments in named.values())
    return {
        "recipients": here.recipients,
        "kills": here.kills,
        "arrived": sum(len(got) for got in arrivals.values()),
        "lost": len(expected - people),
        "strangers": len(people - expected),
        "duplicates": sum(len(got) - 1 for got in arrivals.values()),
        "in_doubt": entries,
        "unnamed": unnamed,
        "message_ids": len(arrivals),
        "people_with_two_message_ids": sum(n > 1 for n in Counter(to for got in arrivals.values() for to in {t for _, t in got}).values()),
    }


def doubts(mailing: int) -> dict[str, list[int]]:
    """Return, by Message-ID, when the log named its recipient as one who may get it again (nanoseconds since 1970)."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT h.mid, (extract(epoch FROM d.at) * 1000000)::bigint * 1000
               FROM (SELECT subject, at FROM evidence_event WHERE type = %s) d
               JOIN (SELECT subject, convert_from(event, 'UTF8')::jsonb #>> '{body,message_id}' AS mid FROM evidence_event WHERE type = %s) h
               USING (subject)""",
            [_type("NOTICE_IN_DOUBT"), _type("NOTICE_HANDED_OVER")],
        )
        found: dict[str, list[int]] = defaultdict(list)
        for mid, ns in cursor.fetchall():
            found[mid].append(int(ns))
    return found


def _type(name: str) -> int:
    from tocsin.evidence.types import EventType

    return int(EventType[name])


def faults(found: dict[str, Any]) -> list[str]:
    """Return what of the promise a run has broken."""
    broken = []
    if found["lost"] or found["strangers"]:
        broken.append(f"{found['lost']} lost, {found['strangers']} strangers")
    if not found["duplicates"] <= found["in_doubt"] <= found["bound"]:
        broken.append(f"duplicates {found['duplicates']} <= in doubt {found['in_doubt']} <= bound {found['bound']} does not hold")
    if found["unnamed"]:
        broken.append(f"{found['unnamed']} repeats were not named before they came")
    if found["message_ids"] != found["recipients"] or found["people_with_two_message_ids"]:
        broken.append(f"{found['message_ids']} Message-IDs for {found['recipients']} recipients")
    if found.get("sent_after_waking") or found.get("stopped_by_fence") is False:
        broken.append("a frozen sender sent after it woke up, or was not stopped by the fence")
    return broken


def once(scenario: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """Live through one scenario; return the figures."""
    recipients = chosen.recipients if scenario == "kills" else chosen.others
    slow = {"rate_per_s": SLOW_PER_S} if scenario in ("lost", "power") else {}
    folder = Path(tempfile.mkdtemp(prefix="tocsin-kill-", dir=chosen.folder))
    try:
        with world(folder, recipients=recipients, **slow) as here:
            began = time.monotonic()
            more = {
                "kills": lambda: kills(here, chosen.kills, random.Random(chosen.seed)),
                "frozen": lambda: frozen(here, chosen.freeze_s),
                "cut": lambda: frozen(here, chosen.freeze_s, ("one", "other")),
                "restart": lambda: restart(here),
                "lost": lambda: lost(here),
                "power": lambda: power(here),
            }[scenario]()
            took_s = time.monotonic() - began
            found = {**witness(here), **more, "seconds": round(took_s, 1)}
            return {**{name: found[name] for name in FIRST}, **found, "faults": faults(found)}
    finally:
        if chosen.keep:
            print(f"kept: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Run the scenarios asked for; write bench/results/mail_kill.json, or with --json print and write nothing."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("scenarios", nargs="*", default=[])
    arguments.add_argument("--recipients", type=int, default=200_000, help="of the scenario kills")
    arguments.add_argument("--others", type=int, default=20_000, help="recipients of the other scenarios")
    arguments.add_argument("--kills", type=int, default=200)
    arguments.add_argument("--freeze-s", type=float, default=120.0)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--folder", default=None)
    arguments.add_argument("--keep", action="store_true")
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--nursery", type=int)
    chosen = arguments.parse_args()
    if chosen.nursery:
        nursery(chosen.nursery)
        return
    scenarios = chosen.scenarios or ["kills", "frozen", "cut", "restart", "lost", "power"]
    if len(scenarios) == 1:
        rows = {scenarios[0]: once(scenarios[0], chosen)}
    else:  # an estate cannot be changed within a process
        rows = {}
        for scenario in scenarios:
            options = [f"--{k}={getattr(chosen, k.replace('-', '_'))}" for k in ("recipients", "others", "kills", "freeze-s", "seed")]
            place = [f"--folder={chosen.folder}"] if chosen.folder else []
            done = subprocess.run(
                [sys.executable, "-m", "bench.mail_kill", scenario, "--json", *options, *place],
                check=False,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
            rows |= json.loads(done.stdout)["rows"]
    result = {
        "bench": "mail_kill",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load": [round(x, 1) for x in os.getloadavg()],
        "python": platform.python_version(),
        "rows": rows,
    }
    if chosen.json:
        print(json.dumps(result))
    else:
        for row in rows.values():
            print("  ".join(f"{k} {v}" for k, v in row.items()))
        (ROOT / "bench" / "results" / "mail_kill.json").write_text(json.dumps(result, indent=1) + "\n")
    raise SystemExit(1 if any(row["faults"] for row in rows.values()) else 0)


if __name__ == "__main__":
    main()
