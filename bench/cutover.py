"""The cutover's commit against one UPDATE of every password, on the same table, alternated in one run.

`./run bench cutover [--rows N] [--rounds N] [--commits N]`. A server of its own with fsync on, in a folder that is removed afterwards;
N accounts with a 97-character Argon2id hash and a session each. A round is a number of cutovers through the public action (arm, two
signatures, commit; what is timed is the commit's whole transaction, evidence included) and then one UPDATE, timed with its COMMIT, that
does to the passwords alone what a row-by-row system must do. After each UPDATE the table is vacuumed, untimed. WAL is what the server
wrote. While the UPDATE runs, old passwords work; that time is the ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parent.parent
AT = datetime(2026, 1, 15, 3, 0, tzinfo=UTC)
HASH = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$"  # and 43 characters that differ by row


def main() -> None:
    """Run the rounds and print the table; write bench/results/cutover.json."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--commits", type=int, default=70, help="cutovers in a round")
    chosen = arguments.parse_args()
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
            report(run(Path(folder), chosen.rows, chosen.rounds, chosen.commits), chosen)
        finally:
            server.stop()


def run(home: Path, rows: int, rounds: int, commits: int) -> dict[str, list[float]]:
    """Return milliseconds of each commit and each UPDATE, and bytes of WAL of each."""
    from django.db import connection

    from tocsin.kernel import schema
    from tocsin.kernel.sealing import create_all
    from tocsin.staff import actions as staff

    create_all()
    schema.migrate()
    for name, roles in (("ada", ["identity"]), ("bob", ["legal"])):
        staff.add_operator(name=name, roles=roles, at=AT, by="owner")
    fill(rows)
    found: dict[str, list[float]] = {"commit_ms": [], "commit_wal": [], "update_ms": [], "update_wal": [], "sealed_ms": []}
    cutover(home)  # untimed: caches are filled, statements planned
    for n in range(rounds):
        for _ in range(commits):
            before = wal()
            commit_ms, sealed_ms = cutover(home)
            found["commit_ms"].append(commit_ms)
            found["sealed_ms"].append(sealed_ms)
            found["commit_wal"].append(wal() - before)
        before, started = wal(), time.monotonic()
        with connection.cursor() as cursor:
            cursor.execute("UPDATE credentials_credential SET hash = '!' || right(hash, 20), epoch = epoch + 1 WHERE class = 'password'")
            assert cursor.rowcount == rows
        found["update_ms"].append((time.monotonic() - started) * 1000)
        found["update_wal"].append(wal() - before)
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE credentials_credential SET hash = %s || left(md5(account_id::text) || md5(account_id::text), 43)", [HASH]
            )
            cursor.execute("VACUUM credentials_credential")
            cursor.execute("CHECKPOINT")
        print(
            f"round {n + 1}: commit {statistics.median(found['commit_ms']):.2f} ms, UPDATE {found['update_ms'][-1] / 1000:.1f} s",
            file=sys.stderr,
        )
    return found


def fill(rows: int) -> None:
    """Make the accounts with a password and a session each."""
    from django.db import connection

    from tocsin.credentials import cutover

    home = cutover.open_population("customers")
    with connection.cursor() as cursor:
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
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")


def cutover(home: Path) -> tuple[float, float]:
    """Arm, sign twice, commit; return milliseconds of the commit and until sealed."""
    from tocsin.credentials import actions
    from tocsin.kernel.errors import Refused
    from tocsin.staff import actions as staff
    from tocsin.staff import keyfiles

    armed = actions.arm(incident=1, at=AT, by="ada")
    approval = staff.request("credentials.commit", armed.payload, by="ada", at=AT)
    for name in ("ada", "bob"):
        staff.sign_with_key_file(approval, operator=name, key_file=keyfiles.folder(home) / f"{name}.key", at=AT)
    try:
        done = actions.commit(armed.id, approval=approval, at=AT, by="ada")
    except Refused as e:
        raise SystemExit(f"the commit was refused: {e}") from e
    return done.commit_ms, done.sealed_ms


def wal() -> float:
    """Return bytes of WAL written so far."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')")
        return float(cursor.fetchone()[0])


def report(found: dict[str, list[float]], chosen: argparse.Namespace) -> None:
    """Print medians, spread and ratio; write the JSON."""
    commits, updates = sorted(found["commit_ms"]), sorted(found["update_ms"])
    p99 = commits[min(len(commits) - 1, int(len(commits) * 0.99))]
    ratio = statistics.median(updates) / statistics.median(commits)
    described = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    processor = next((line.split(":", 1)[1].strip() for line in described if line.startswith("model name")), platform.processor())
    result = {
        "bench": "cutover",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} x {processor}",
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "rows": chosen.rows,
        "commits": len(commits),
        "commit_ms": {"median": statistics.median(commits), "min": commits[0], "p99": p99, "max": commits[-1]},
        "commit_wal_bytes": statistics.median(found["commit_wal"]),
        "updates": len(updates),
        "update_ms": {"median": statistics.median(updates), "min": updates[0], "max": updates[-1]},
        "update_wal_bytes": statistics.median(found["update_wal"]),
        "ratio": ratio,
    }
    width = 34
    print(f"{chosen.rows:,} accounts, fsync on\n{'':{width}}{'median':>12}{'min':>12}{'p99':>12}{'max':>12}{'WAL':>12}")

    print(
        f"{'cutover: one commit':{width}}{statistics.median(commits):>9.2f} ms{commits[0]:>9.2f} ms{p99:>9.2f} ms{commits[-1]:>9.2f} ms"
        f"{result['commit_wal_bytes'] / 1000:>9.1f} kB"
    )
    print(
        f"{'UPDATE of every password':{width}}{statistics.median(updates):>9.0f} ms{updates[0]:>9.0f} ms{'':>12}{updates[-1]:>9.0f} ms"
        f"{result['update_wal_bytes'] / 1e6:>9.0f} MB"
    )
    print(f"ratio of medians 1 : {ratio:,.0f}")
    folder = ROOT / "bench" / "results"
    folder.mkdir(exist_ok=True)
    (folder / "cutover.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
