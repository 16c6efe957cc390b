"""Log-ins racing cutovers: twelve at a time, over twenty cutovers and more; how many succeed too late, and how many stay usable. Both must be 0.

`./run bench race [--attempts N] [--rounds N] [--accounts N]`. A server of its own without fsync (what is asked is order, not
durability). A round: everybody gets a password of the present epoch; ten connections of pgbench and two threads of ours try passwords without
pause; a cutover is armed, signed and committed in the midst; the attempts go on. The ten send the statements of a log-in
(the one of `credential_of_login.sql` on the live view, the function that opens a session, the live view of sessions), each as a transaction
of its own; the two call `log_in` itself, with Argon2id at its lowest price so that the database is the limit.

An attempt reads the server's clock before it reads the password. Late: it began after the commit had returned, and was let in. Usable: its
session is live when the round is over, whenever it began. Born across: it began before the commit had returned, was let in, and its session
was dead when it was first used; nearly all of these a design without the epoch in the session's row would leave usable.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).parent.parent
AT = datetime(2026, 1, 15, 3, 0, tzinfo=UTC)
DOORS, FUNCTIONS = 10, 2
ROUNDS = 20
SECONDS_MIN = 1
CUT_AT = 0.3  # of a round: most attempts shall come after the commit

SET_UP = """
CREATE UNLOGGED TABLE race_let_in (sid bytea PRIMARY KEY, began_us bigint NOT NULL, usable boolean NOT NULL);
CREATE FUNCTION race_now_us() RETURNS bigint LANGUAGE sql VOLATILE AS $$ SELECT trunc(extract(epoch FROM clock_timestamp()) * 1000000)::bigint $$;
CREATE FUNCTION race_sid(client bigint, n bigint) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$ SELECT sha256((client || ' ' || n)::bytea) $$;
CREATE FUNCTION race_login(n bigint) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$ SELECT sha256(('login ' || n)::bytea) $$;
"""
ATTEMPT = """
\\set n random(1, {accounts})
\\set a random(1, 9223372036854775807)
SELECT race_now_us() AS began \\gset
SELECT count(*) AS found, coalesce(max(account_id), 0) AS account, coalesce(max(session_epoch), 0) AS epoch, coalesce(max(version), 0) AS version
FROM ({credential_of_login}) x WHERE hash = 'md5$' || md5('password ' || :n::text) \\gset
\\if :found
SELECT credentials_open_session(race_sid(:client_id, :a), :account, :epoch, :version, to_timestamp({at}));
INSERT INTO race_let_in SELECT race_sid(:client_id, :a), :began,
  EXISTS (SELECT FROM credentials_live_session WHERE sid_sha256 = race_sid(:client_id, :a)) ON CONFLICT DO NOTHING;
\\endif
"""


@dataclass
class Outcome:
    """What a race came to."""

    attempts: int = 0
    let_in: int = 0
    late: int = 0
    usable: int = 0
    born_across: int = 0
    rounds: int = 0
    seconds: float = 0.0
    by_function: int = 0


def main() -> None:
    """Race and report; write bench/results/race.json. Exits 1 if a single session came too late or stayed usable."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--attempts", type=int, default=1_000_000)
    arguments.add_argument("--rounds", type=int, default=ROUNDS)
    arguments.add_argument("--accounts", type=int, default=10_000)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder:
        from tocsin.kernel.localpg import LocalPg

        Path(folder).chmod(0o711)
        server = LocalPg(Path(folder) / "pg", throwaway=True)
        try:
            os.environ.update(
                TOCSIN_DATABASE_URL=server.start(), TOCSIN_HOME=folder, TOCSIN_PROCESS="owner", DJANGO_SETTINGS_MODULE="tocsin.settings"
            )
            (Path(folder) / "tocsin.toml").write_text('[estate]\nkind = "drill"\n')
            import django

            django.setup()
            from bench.cutover import cutover, open_estate

            open_estate()
            fill(chosen.accounts)
            outcome = race(
                chosen.accounts,
                rounds=chosen.rounds,
                attempts=chosen.attempts,
                cut=lambda: cutover(Path(folder)),
                say=lambda text: print(text, file=sys.stderr),
            )
        finally:
            server.stop()
    report(outcome, chosen)
    raise SystemExit(1 if outcome.late or outcome.usable else 0)


def fill(accounts: int) -> None:
    """Make accounts n = 1, 2, ... with the MD5 of `password n`. The ten find them by a digest of n, the two by that of an address."""
    from django.db import connection

    from tocsin.credentials import cutover, sign_in

    home = cutover.open_population("customers")
    with connection.cursor() as cursor:
        cursor.execute(SET_UP)
        cursor.execute(
            "INSERT INTO credentials_account (subject, population_id, cohort, login_hmac) "
            "SELECT n, %s, 0, race_login(n) FROM generate_series(1, %s) n",
            [home.pk, accounts],
        )
        for n in range(FUNCTIONS):
            cursor.execute(
                "INSERT INTO credentials_account (subject, population_id, cohort, login_hmac) VALUES (%s, %s, 0, %s)",
                [accounts + 1 + n, home.pk, sign_in.login_of(f"racer.{n}@mail.example")],
            )
        cursor.execute(
            "INSERT INTO credentials_credential (account_id, class, epoch, version, hash, set_at) "
            "SELECT id, 'password', 1, 0, 'md5$' || md5('password ' || subject), %s FROM credentials_account",
            [AT],
        )
        cursor.execute("VACUUM ANALYZE credentials_account, credentials_credential")


def race(
    accounts: int, *, rounds: int, attempts: int, cut: Callable[[], object], say: Callable[[str], None] = lambda text: None
) -> Outcome:
    """Run at least this many rounds and attempts; `cut` arms, signs and commits one cutover of everybody and returns after its commit."""
    import argon2
    from django.db import connection

    from tocsin.credentials.passwords import hashing
    from tocsin.kernel.localpg import find_binaries

    dear = hashing._argon2
    hashing._argon2 = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    hashing._dummy.cache_clear()
    outcome, began = Outcome(), time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="tocsin-race-") as folder:
            script = Path(folder) / "attempt.sql"
            script.write_text(attempt(accounts))
            seconds = SECONDS_MIN
            while outcome.rounds < rounds or outcome.attempts < attempts:
                one_round(outcome, str(find_binaries()[0] / "pgbench"), script, seconds=seconds, cut=cut, accounts=accounts)
                left = max(1, rounds - outcome.rounds)
                rate = outcome.attempts / (time.monotonic() - began)
                seconds = max(SECONDS_MIN, min(60, round((attempts - outcome.attempts) / rate / left)))
                say(f"round {outcome.rounds}: {outcome.attempts:,} attempts, {outcome.let_in:,} let in, {outcome.born_across} born across, "
                    f"{outcome.late} late, {outcome.usable} usable")  # fmt: skip
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE race_let_in")
    finally:
        hashing._argon2 = dear
        hashing._dummy.cache_clear()
    outcome.seconds = round(time.monotonic() - began, 1)
    return outcome


def attempt(accounts: int) -> str:
    """Return the script of one attempt, with the log-in's own statement in it."""
    from tocsin.kernel import sql

    statement = sql.text("credentials", "credential_of_login")
    statement = re.sub(r"--[^\n]*\n", "", statement).replace("%(population)s", "'customers'").replace("%(login)s", "race_login(:n)")
    return ATTEMPT.format(accounts=accounts, credential_of_login=" ".join(statement.split()), at=int(AT.timestamp()))


def one_round(outcome: Outcome, pgbench: str, script: Path, *, seconds: int, cut: Callable[[], object], accounts: int) -> None:
    """Everybody alive; twelve racing; a cutover in the midst; then count."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE credentials_session, race_let_in")
        cursor.execute("UPDATE credentials_credential SET epoch = (SELECT max(epoch) FROM credentials_epoch WHERE class = 'password')")
    s = connection.settings_dict
    dsn = f"postgresql://{s['USER']}:{quote(str(s['PASSWORD']))}@{s['HOST']}:{s['PORT']}/{s['NAME']}"
    stop = threading.Event()
    mine: list[int] = []
    threads = [threading.Thread(target=keep_trying, args=(n, accounts, stop, mine)) for n in range(FUNCTIONS)]
    command = [pgbench, dsn, "-n", "-M", "prepared", "-c", str(DOORS), "-j", "2", "-T", str(seconds), "-f", str(script)]
    doors = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for thread in threads:
        thread.start()
    try:
        time.sleep(seconds * CUT_AT)
        cut()
        with connection.cursor() as cursor:
            cursor.execute("SELECT race_now_us()")
            returned = cursor.fetchone()[0]
        said, complaints = doors.communicate(timeout=seconds + 60)
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    counted = re.search(r"number of transactions actually processed: (\d+)", said)
    if doors.returncode or counted is None:
        raise SystemExit(f"pgbench failed: {complaints[-2000:]}")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), count(*) FILTER (WHERE began_us > %(t)s), count(*) FILTER (WHERE began_us <= %(t)s AND NOT usable) FROM race_let_in",
            {"t": returned},
        )
        let_in, late, across = cursor.fetchone()
        cursor.execute("SELECT count(*) FROM credentials_live_session")
        usable = cursor.fetchone()[0]
    outcome.attempts += int(counted[1]) + sum(mine)
    outcome.by_function += sum(mine)
    outcome.let_in += let_in
    outcome.late += late
    outcome.usable += usable
    outcome.born_across += across
    outcome.rounds += 1


def keep_trying(n: int, accounts: int, stop: threading.Event, tried: list[int]) -> None:
    """Sign in again and again through the function, and note each success as the ten do."""
    from django.db import connection

    from tocsin.credentials import queries, sign_in
    from tocsin.kernel.private import Private

    count, password = 0, Private(f"password {accounts + 1 + n}")
    with connection.cursor() as cursor:
        while not stop.is_set():
            cursor.execute("SELECT race_now_us()")
            began = cursor.fetchone()[0]
            count += 1
            sid = sign_in.log_in(f"racer.{n}@mail.example", password, at=AT, counted=False)
            if sid is not None:
                usable = queries.session(str(sid), at=AT) is not None
                cursor.execute("INSERT INTO race_let_in VALUES (%s, %s, %s)", [sign_in.digest(str(sid)), began, usable])
    connection.close()
    tried.append(count)


def report(outcome: Outcome, chosen: argparse.Namespace) -> None:
    """Print the figures; write the JSON."""
    described = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    processor = next((line.split(":", 1)[1].strip() for line in described if line.startswith("model name")), platform.processor())
    result = {
        "bench": "race",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} x {processor}",
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "accounts": chosen.accounts,
        "connections": DOORS + FUNCTIONS,
        "cutovers": outcome.rounds,
        "attempts": outcome.attempts,
        "attempts_through_log_in": outcome.by_function,
        "let_in_before": outcome.let_in,
        "refused_after": outcome.attempts - outcome.let_in,
        "begun_before_and_dead_at_first_use": outcome.born_across,
        "late_successes": outcome.late,
        "usable_sessions_left": outcome.usable,
        "seconds": outcome.seconds,
    }
    for name, value in result.items():
        if name not in {"bench", "at", "machine", "load", "python"}:
            print(f"{name.replace('_', ' '):<34}{value:>14,}")
    (ROOT / "bench" / "results" / "race.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
