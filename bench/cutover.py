"""The cutover's commit against what a system without epochs must do, on the same table, alternated in one run; and its seal on eight nodes.

`./run bench cutover [--accounts N] [--rounds N] [--commits N]`. A server of its own with fsync on, in a folder that is removed afterwards;
N accounts with a 97-character Argon2id hash and a session each. Eight processes hold leases as nodes do. A round is a number of cutovers
through the public action (arm, two signatures, commit; what is timed is the commit's whole transaction, evidence included, and until every
node has acknowledged) and then the peers, each timed with its COMMITs, which do to the passwords alone what a row-by-row system must do:
one UPDATE of all; UPDATEs of 10,000 rows, each its own commit; Django's bulk_update by 1,000; a loop of Django's save. The last three do a
sample and are scaled to all rows. After each round the table is vacuumed, untimed. WAL is what the server wrote. While a peer runs, old passwords
work; that time is the ratio.

Every round begins with another peer, so that no peer always follows the same one; each round's figure of each peer is recorded. At least
three rounds.

The full size, `--accounts 24000000`, needs 30 GB of disk and more than an hour. Above a million accounts a cutover is
armed without counting what it would end: counting is no part of the commit and takes 10 s each time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tocsin.credentials.types import CutoverInfo

ROOT = Path(__file__).parent.parent
AT = datetime(2026, 1, 15, 3, 0, tzinfo=UTC)
NODES, ROUNDS_MIN = 8, 3
BATCH, BATCHED_MAX, BULK_MAX, LOOP_MAX = 10_000, 1_000_000, 20_000, 2_000
ENDED = "hash = '!' || right(hash, 20), epoch = epoch + 1"
HASH = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$"  # and 43 characters that differ by row


def main() -> None:
    """Run the rounds and print the table; write bench/results/cutover.json."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--accounts", type=int, default=200_000)
    arguments.add_argument("--node", action="store_true", help="be one of the eight nodes until standard input ends")
    arguments.add_argument("--rounds", type=int, default=ROUNDS_MIN, help="at least 3: one round of the peers shows no spread")
    arguments.add_argument("--commits", type=int, default=70, help="cutovers in a round")
    chosen = arguments.parse_args()
    if chosen.rounds < ROUNDS_MIN:
        arguments.error(f"--rounds {chosen.rounds}: at least {ROUNDS_MIN}")
    if chosen.node:
        return node()
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder:
        from tocsin.kernel.localpg import LocalPg

        Path(folder).chmod(0o711)  # as root the server runs as a user of its own and must reach its folder
        server = LocalPg(Path(folder) / "pg")
        try:
            os.environ.update(
                TOCSIN_DATABASE_URL=server.start(), TOCSIN_HOME=folder, TOCSIN_PROCESS="owner", DJANGO_SETTINGS_MODULE="tocsin.settings"
            )
            (Path(folder) / "tocsin.toml").write_text('[estate]\nkind = "drill"\n')
            import django

            django.setup()
            report(run(Path(folder), chosen.accounts, chosen.rounds, chosen.commits), chosen)
        finally:
            server.stop()
    return None


def node() -> None:
    """Hold a lease, as the public process does, and acknowledge every cutover."""
    import django

    django.setup()
    from tocsin.credentials import actions

    held = actions.join_as_node()
    print("node", flush=True)
    sys.stdin.read()
    held.stop()


def open_estate() -> None:
    """Make keys, tables and the two people who sign."""
    from tocsin.kernel import schema
    from tocsin.kernel.sealing import create_all
    from tocsin.staff import actions as staff

    create_all()
    schema.migrate()
    for name, roles in (("ada", ["identity"]), ("bob", ["legal"])):
        staff.add_operator(name=name, roles=roles, at=AT, by="owner")


def run(home: Path, rows: int, rounds: int, commits: int) -> dict[str, list[float]]:
    """Return milliseconds of each commit, seal and peer, and bytes of WAL of each."""
    open_estate()
    began = time.monotonic()
    fill(rows)
    print(f"{rows:,} accounts after {time.monotonic() - began:.0f} s", file=sys.stderr)
    found: dict[str, list[float]] = {"commit_ms": [], "commit_wal": [], "sealed_ms": [], "unacked": []}
    command = [sys.executable, "-m", "bench.cutover", "--node"]
    nodes = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT / "src")}
        )
        for _ in range(NODES)
    ]
    try:
        for one in nodes:
            assert one.stdout is not None
            one.stdout.readline()
        cutover(home)  # untimed: caches are filled, statements planned
        for n in range(rounds):
            for _ in range(commits):
                before = wal()
                commit_ms, sealed_ms, acked = cutover(home)
                found["commit_ms"].append(commit_ms)
                found["sealed_ms"].append(sealed_ms)
                found["unacked"].append(NODES - acked)
                found["commit_wal"].append(wal() - before)
            print(f"round {n + 1}: commit {statistics.median(found['commit_ms']):.2f} ms", file=sys.stderr)
            names = list(PEERS)
            for name in names[n % len(names) :] + names[: n % len(names)]:
                peer = PEERS[name]
                before, started = wal(), time.monotonic()
                done = peer(rows)
                found.setdefault(f"{name}_ms", []).append((time.monotonic() - started) * 1000 * rows / done)
                found.setdefault(f"{name}_wal", []).append((wal() - before) * rows / done)
                print(f"round {n + 1}: {name} {found[f'{name}_ms'][-1] / 1000:.1f} s for {rows:,}, {done:,} done", file=sys.stderr)
            if n + 1 < rounds:
                restore()
    finally:
        for one in nodes:
            one.communicate(b"")
    return found


def one_update(rows: int) -> int:
    """End all passwords in one statement."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE credentials_credential SET {ENDED} WHERE class = 'password'")
        return int(cursor.rowcount)


def batched_updates(rows: int) -> int:
    """End a sample in batches of 10,000, each with its commit."""
    from django.db import connection

    sample = min(rows, BATCHED_MAX)
    with connection.cursor() as cursor:
        cursor.execute("SELECT min(account_id) FROM credentials_credential")
        first = cursor.fetchone()[0]
        for low in range(first, first + sample, BATCH):
            cursor.execute(
                f"UPDATE credentials_credential SET {ENDED} WHERE class = 'password' AND account_id >= %s AND account_id < %s",
                [low, min(low + BATCH, first + sample)],
            )
    return sample


def bulk_update(rows: int) -> int:
    """End a sample with Django's bulk_update, 1,000 at a time."""
    from tocsin.credentials.models import Credential

    found = list(Credential.objects.filter(cred_class="password").order_by("account_id")[: min(rows, BULK_MAX)])
    for row in found:
        row.hash, row.epoch = f"!{row.hash[-20:]}", row.epoch + 1
    for start in range(0, len(found), 1000):
        Credential.objects.bulk_update(found[start : start + 1000], ["hash", "epoch"])
    return len(found)


def save_loop(rows: int) -> int:
    """End a sample with Django's save, one by one."""
    from tocsin.credentials.models import Credential

    found = Credential.objects.filter(cred_class="password").order_by("account_id")[: min(rows, LOOP_MAX)]
    n = 0
    for row in found:
        row.hash, row.epoch = f"!{row.hash[-20:]}", row.epoch + 1
        row.save(update_fields=["hash", "epoch"])
        n += 1
    return n


PEERS: dict[str, Callable[[int], int]] = {
    "update": one_update,
    "batched": batched_updates,
    "bulk_update": bulk_update,
    "save_loop": save_loop,
}


def restore() -> None:
    """Give every account its long hash back, untimed."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("UPDATE credentials_credential SET hash = %s || left(md5(account_id::text) || md5(account_id::text), 43)", [HASH])
        cursor.execute("VACUUM credentials_credential")
        cursor.execute("CHECKPOINT")


def fill(rows: int) -> None:
    """Make the accounts with a password and a session each."""
    from django.db import connection

    from tocsin.credentials import cutover

    home = cutover.open_population("customers")
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # no look-up of a foreign key per row: the rows are made to fit
        cursor.execute("SET maintenance_work_mem = '1GB'")
        late = {
            "credentials_account": ["credentials_account_login", "credentials_account_subject"],
            "credentials_session": ["credentials_session_pkey"],
        }
        kept = {}
        for table, names in late.items():  # indexes are made once, over rows that are there
            for name in names:
                cursor.execute("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s", [name])
                kept[table, name] = cursor.fetchone()[0]
                cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        cursor.execute(
            "INSERT INTO credentials_account (subject, population_id, cohort, login_hmac) "
            "SELECT n, %s, 0, sha256(n::text::bytea) FROM generate_series(1, %s) n",
            [home.pk, rows],
        )
        cursor.execute(
            "INSERT INTO credentials_credential (account_id, class, epoch, version, hash, set_at) "
            "SELECT id, 'password', 1, 0, %s || left(md5(id::text) || md5(id::text), 43), %s FROM credentials_account",
            [HASH, AT],
        )
        cursor.execute(
            "INSERT INTO credentials_session (sid_sha256, account_id, epoch, version, created_at) "
            "SELECT sha256(id::text::bytea), id, 1, 0, %s FROM credentials_account",
            [AT],
        )
        for (table, name), definition in kept.items():
            cursor.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
        cursor.execute("SET session_replication_role = origin")
        cursor.execute("VACUUM ANALYZE credentials_account, credentials_credential, credentials_session")
        cursor.execute("CHECKPOINT")


def armed_without_counting() -> CutoverInfo:
    """Arm as the action does, but for the counts: at 24 million they take 10 s, and the commit does not use them."""
    from tocsin.credentials import cutover
    from tocsin.credentials.models import Cutover, Epoch
    from tocsin.credentials.types import BREACH_CLASSES

    home = cutover.open_population("customers")
    classes = sorted(BREACH_CLASSES)
    found = list(Epoch.objects.filter(population=home, cred_class__in=classes))
    row = Cutover.objects.create(
        population=home, classes=classes, incident=1, state="armed", counts={}, armed_by="ada", armed_at=AT,
        from_epochs={f"{e.cohort}/{e.cred_class}": e.epoch for e in found}, to_epoch=max(e.highest for e in found) + 1,
    )  # fmt: skip
    return cutover.info(row)


def cutover(home: Path) -> tuple[float, float, int]:
    """Arm, sign twice, commit; return milliseconds of the commit and until sealed, and how many nodes have acknowledged."""
    from tocsin.credentials import actions
    from tocsin.credentials.models import Account
    from tocsin.kernel.errors import Refused
    from tocsin.staff import actions as staff
    from tocsin.staff import keyfiles

    many = Account.objects.order_by("-pk").values_list("pk", flat=True)[0] > 1_000_000
    armed = armed_without_counting() if many else actions.arm(incident=1, at=AT, by="ada")
    approval = staff.request("credentials.commit", armed.payload, by="ada", at=AT)
    for name in ("ada", "bob"):
        staff.sign_with_key_file(approval, operator=name, key_file=keyfiles.folder(home) / f"{name}.key", at=AT)
    try:
        done = actions.commit(armed.id, approval=approval, at=AT, by="ada")
    except Refused as e:
        raise SystemExit(f"the commit was refused: {e}") from e
    return done.commit_ms, done.sealed_ms, sum(n.acked for n in done.nodes)


def wal() -> float:
    """Return bytes of WAL written so far."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')")
        return float(cursor.fetchone()[0])


def spread(values: list[float]) -> dict[str, float]:
    """Return the middle and the ends of many measurements."""
    ordered = sorted(values)
    at = lambda share: ordered[min(len(ordered) - 1, int(len(ordered) * share))]  # noqa: E731
    return {
        "median": round(statistics.median(ordered), 3),
        "min": round(ordered[0], 3),
        "p99": round(at(0.99), 3),
        "max": round(ordered[-1], 3),
    }


def report(found: dict[str, list[float]], chosen: argparse.Namespace) -> None:
    """Print medians, spread and ratio; write the JSON."""
    described = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    processor = next((line.split(":", 1)[1].strip() for line in described if line.startswith("model name")), platform.processor())
    commit = statistics.median(found["commit_ms"])
    rows = {
        "commit_epoch": {**spread(found["commit_ms"]), "WAL_bytes": statistics.median(found["commit_wal"]), "n": len(found["commit_ms"])},
        f"until_sealed_on_{NODES}_nodes": {**spread(found["sealed_ms"]), "n": len(found["sealed_ms"])},
    } | {
        f"{name}_of_all": {
            **spread(found[f"{name}_ms"]),
            "WAL_bytes": statistics.median(found[f"{name}_wal"]),
            "n": len(found[f"{name}_ms"]),
            "rounds_ms": [round(ms, 1) for ms in found[f"{name}_ms"]],
        }
        for name in PEERS
    }
    result = {
        "bench": "cutover",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} x {processor}",
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "accounts": chosen.accounts,
        "rounds": chosen.rounds,
        "unit": "ms",
        "nodes_that_did_not_acknowledge": sum(found["unacked"]),
        "ratio_to_commit": {name: statistics.median(found[f"{name}_ms"]) / commit for name in PEERS},
        "rows": rows,
    }
    print(f"{chosen.accounts:,} accounts, fsync on; milliseconds")
    for name, row in rows.items():
        print(f"{name.replace('_', ' '):<30}" + "".join(f"{k} {v:>14,.2f}  " for k, v in row.items() if k != "rounds_ms"))
    for name in PEERS:
        print(f"commit : {name:<12} 1 : {statistics.median(found[f'{name}_ms']) / commit:>14,.0f}")
    folder = ROOT / "bench" / "results"
    folder.mkdir(exist_ok=True)
    (folder / "cutover.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
