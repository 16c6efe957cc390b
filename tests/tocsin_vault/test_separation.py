"""As root: other users reach neither keys, files, memory, cluster nor sockets of the vault; only listed users are answered."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.tocsin_vault.parts import ROOT, Vault, card_rows, write_cards
from tocsin.kernel.localpg import LocalPg

pytestmark = pytest.mark.skipif(not ROOT, reason="run as root: only then can the vault be another user")


@pytest.fixture(scope="module")
def served(shared_vault: Vault) -> Iterator[tuple[Vault, int]]:
    """Give a serving vault with cards, and its process id."""
    shared_vault.take(write_cards(shared_vault.work / "cards.csv", card_rows(5, seed=8)))
    with shared_vault.serving() as server:
        yield shared_vault, server.pid


def as_nobody(*command: object) -> subprocess.CompletedProcess[str]:
    user = pwd.getpwnam("nobody")
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, cwd="/", user=user.pw_uid, group=user.pw_gid, extra_groups=[]
    )


def test_process_files_and_memory(served: tuple[Vault, int]) -> None:
    vault, pid = served
    status = vault.run("status")
    assert (status["separated_user"], status["user"]) == (True, "tocsin-vault")
    uids = Path(f"/proc/{pid}/status").read_text().split("Uid:")[1].split("\n")[0].split()
    assert set(uids) == {str(pwd.getpwnam("tocsin-vault").pw_uid)}, "some of the four user ids is still root"
    assert Path(f"/proc/{vault.postmaster()}/status").read_text().split("Uid:")[1].split()[0] == uids[0]
    folder = vault.folder
    secrets = [folder / "keys/kek.1", folder / "keys/kek.2", folder / "keys/log.key"]
    assert {oct(f.stat().st_mode & 0o777) for f in secrets} == {"0o400"}
    others = [folder / "data/PG_VERSION", folder / "postgres.log", folder / "log/entries", f"/proc/{pid}/environ", f"/proc/{pid}/mem"]
    for path in [*secrets, *others]:
        assert "Permission denied" in as_nobody("head", "-c", "1", path).stderr, path
    assert as_nobody("cat", folder / "where.json").returncode == 0  # the control: that user runs, and reads what is public
    assert as_nobody("cat", folder / "log.vkey").returncode == 0


def test_the_application_socket_answers_listed_users_only(served: tuple[Vault, int]) -> None:
    vault, _ = served
    # Perl, which Debian's base has: the Python that runs the tests may lie where that user cannot go.
    code = 'use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new($ARGV[0]) or die "no: $!"; print scalar <$s>;'
    done = as_nobody("perl", "-e", code, vault.socket)
    assert "not on the vault's list" in done.stdout, done.stderr
    assert "no: Permission denied" in as_nobody("perl", "-e", code, vault.socket.parent / "run" / "cmd.sock").stderr
    assert vault.answers()


def test_a_superuser_of_another_cluster_cannot_connect(served: tuple[Vault, int]) -> None:
    """COPY FROM PROGRAM of the main side's cluster, as its superuser, against the vault's socket; the same program reaches its own."""
    vault, _ = served
    with main_cluster() as (dsn, psql), psycopg.connect(dsn, autocommit=True) as db:
        row = db.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
        assert row is not None
        assert row[0], "the attacker of this test is a superuser"
        db.execute("CREATE TEMP TABLE loot (line text)")
        db.execute("COPY loot FROM PROGRAM 'id -un'")  # the control: programs do run
        assert db.execute("SELECT line FROM loot").fetchone() == ("tocsin-pg",)
        for user in ("tocsin-vault", "postgres", "tocsin"):
            command = f"{psql} -h {vault.socket.parent / 'run'} -U {user} -d postgres -c 'SELECT * FROM vault_card' 2>&1 | tr '\\t' ' '"
            db.execute("TRUNCATE loot")
            db.execute(sql.SQL("COPY loot FROM PROGRAM {}").format(command))
            said = " ".join(line for (line,) in db.execute("SELECT line FROM loot").fetchall())
            assert "Permission denied" in said, said
    assert "Permission denied" in as_nobody("ls", vault.socket.parent / "run").stderr


@contextlib.contextmanager
def main_cluster() -> Iterator[tuple[str, Path]]:
    """Run a cluster as the main side runs it; give its superuser's connection string and the psql that its programs can run."""
    base = Path(tempfile.mkdtemp(prefix="tv-main-", dir="/tmp"))
    base.chmod(0o755)
    server, environment = LocalPg(base / "pg", throwaway=True), dict(os.environ)
    try:
        yield server.start(), server.bin / "psql"
    finally:
        server.stop()
        os.environ.update(environment)  # the launcher drops PG* variables
        shutil.rmtree(base, ignore_errors=True)
