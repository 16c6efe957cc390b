"""What these tests need: a vault in a folder of its own, its commands, its server, and made-up cards that pass Luhn."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tocsin_vault import pg, places

ROOT = os.geteuid() == 0
WAIT_S_MAX = 30.0


def pan(rng: random.Random, prefix: str = "4", length: int = 16) -> str:
    """Return a number that passes Luhn."""
    body = prefix + "".join(rng.choice("0123456789") for _ in range(length - len(prefix) - 1))
    total = sum(sum(divmod(int(c) * (2 - i % 2), 10)) for i, c in enumerate(reversed(body)))
    return body + str(-total % 10)


def card_rows(n: int, seed: int) -> list[tuple[str, str, str, str]]:
    """Return n rows of a cards file."""
    rng, rows = random.Random(seed), []
    for i in range(n):
        brand, prefix, length = rng.choice([("visa", "4", 16), ("mastercard", "53", 16), ("amex", "37", 15)])
        rows.append((f"C{i:06d}", pan(rng, prefix, length), f"20{rng.randint(12, 30)}-{rng.randint(1, 12):02d}", brand))
    return rows


def write_cards(file: Path, rows: list[tuple[str, str, str, str]]) -> Path:
    """Write a cards file that only its owner may read."""
    file.write_text("customer_id,card_number,expiry_month,brand\n" + "".join(",".join(row) + "\n" for row in rows))
    file.chmod(0o600)
    return file


def pause_until(condition: Any, what: str, within_s: float = WAIT_S_MAX) -> None:
    """Wait for a condition of other processes, with a limit; fail with `what`."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


class Vault:
    """One vault under test. `work` is a private folder of the caller for input and output files."""

    def __init__(self, home: Path, work: Path) -> None:
        self.home, self.work = home, work

    def run(self, command: str, *args: object, code: int = 0) -> dict[str, Any]:
        """Run one command and return its JSON; its exit code must be `code`."""
        done = subprocess.run(
            [sys.executable, "-m", "tocsin_vault", command, "--home", self.home, "--json", *map(str, args)],
            capture_output=True,
            text=True,
            cwd=self.work,
        )
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return dict(json.loads(done.stdout))

    def take(self, file: Path, name: str = "tokens.csv", *args: object, code: int = 0) -> dict[str, Any]:
        """Import a file; the tokens go to work/name."""
        return self.run("import", file, "--tokens", self.work / name, *args, code=code)

    @property
    def folder(self) -> Path:
        """Where the vault lives."""
        return Path(json.loads((self.home / "vault" / "where.json").read_text())["folder"])

    @property
    def socket(self) -> Path:
        """Where applications ask."""
        return Path(json.loads((self.home / "vault" / "where.json").read_text())["socket"])

    @contextlib.contextmanager
    def serving(self, *args: str) -> Iterator[subprocess.Popen[str]]:
        """Serve while the block runs; stopped with SIGTERM unless it ended already."""
        command = [sys.executable, "-m", "tocsin_vault", "serve", "--home", str(self.home), *args]
        child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            self.wait_for_socket()
            yield child
        finally:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
            child.communicate(timeout=WAIT_S_MAX)

    def wait_for_socket(self) -> None:
        """Wait until the vault answers."""
        pause_until(self.answers, "the vault does not serve")

    def answers(self) -> bool:
        """Say whether somebody serves."""
        with contextlib.suppress(OSError), Client(self.socket) as client:
            return client.ask(op="ping") == {"ok": True}
        return False

    def postmaster(self) -> int:
        """Return the process id of the database server."""
        return int((self.folder / "data" / "postmaster.pid").read_text().split("\n")[0])

    def sql(self, text: str) -> str:
        """Run SQL as the vault's user in the running cluster."""
        place = places.find(self.home)
        user: dict[str, Any] = {"user": place.uid, "group": place.gid, "extra_groups": []} if ROOT else {}
        command = [pg.binaries(place) / "psql", "-h", place.private_sockets, "-U", place.user, "-d", "postgres", "-At"]
        options = ["-v", "ON_ERROR_STOP=1", "-c", text]
        done = subprocess.run([*map(str, command), *options], capture_output=True, text=True, cwd="/", **user)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def grant(self, purpose: str, *, per_minute: int = 1000) -> None:
        """Make a grant for this process as custodians would; no command does that yet."""
        self.sql(
            "INSERT INTO vault_grant (client_uid, purpose, per_minute, per_day, until_us, approved_by) "
            f"VALUES ({os.geteuid()}, '{purpose}', {per_minute}, 100000, 4102444800000000, ARRAY['ada', 'grace'])"
        )


class Client:
    """An application at the vault's socket."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(WAIT_S_MAX)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("r")

    def ask(self, **request: object) -> dict[str, Any]:
        """Send one request and return its answer; {} when the vault hung up."""
        return self.send(json.dumps(request).encode() + b"\n")

    def send(self, line: bytes) -> dict[str, Any]:
        """Send one line and return its answer; {} when the vault hung up."""
        self._socket.sendall(line)
        return dict(json.loads(self._lines.readline() or "{}"))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self._lines.close()
        self._socket.close()


@contextlib.contextmanager
def new_vault() -> Iterator[Vault]:
    """Give a fresh vault in a folder that every user may pass through."""
    base = Path(tempfile.mkdtemp(prefix="tv-", dir="/tmp"))
    base.chmod(0o755)
    work = base / "work"
    work.mkdir(mode=0o700)
    vault = Vault(base / "estate", work)
    try:
        vault.run("init")
        yield vault
    finally:
        shutil.rmtree(base, ignore_errors=True)
