"""A small estate for benches and crash tests: a PostgreSQL of its own, customers with reset links, and the real public process.

Nothing here is measured. The public process is started as `tocsin up` starts it, with its own database role.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import http.client
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

AT = datetime(2026, 1, 15, 3, 0, tzinfo=UTC)
MAPPING = """
format = "tocsin-mapping/1"
external_id = "customer_id"
name = ["first_name", "last_name"]
email = "email"
[stores.customers]
email = ["email"]
"""
UP_S_MAX = 60.0
PASSWORD = "gravel lantern osprey Tuesday"


@dataclass
class Estate:
    """A running database with everything in it, and how to start the site."""

    home: Path
    pg: Any
    owner_dsn: str
    public_dsn: str
    port: int

    def public(self, *, core: int | None = None) -> subprocess.Popen[bytes]:
        """Start the public process and wait until it answers."""
        from tocsin.cli.processes import site_command

        env = os.environ | {"TOCSIN_HOME": str(self.home), "TOCSIN_PROCESS": "public", "TOCSIN_DATABASE_URL": self.public_dsn}
        pinned = ["taskset", "-c", str(core)] if core is not None else []
        with (self.home / "public.log").open("ab") as log:
            process = subprocess.Popen(
                [*pinned, *site_command("public", port=self.port)], env=env, stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + UP_S_MAX
        while time.monotonic() < end and process.poll() is None:
            try:
                if Person(self.port, "").get("/login")[0] == 200:
                    return process
            except OSError:
                time.sleep(0.1)
        raise SystemExit(f"the public process did not come up: {(self.home / 'public.log').read_text()[-2000:]}")


def end(process: subprocess.Popen[bytes], *, how: int = signal.SIGTERM) -> None:
    """End a process that we started, with its children."""
    try:
        os.killpg(process.pid, how)
    except ProcessLookupError:
        return
    process.wait(timeout=30)


@contextmanager
def estate(folder: Path, *, customers: int) -> Iterator[Estate]:
    """Give a migrated estate with so many customers, each with a live reset link (`token_of`)."""
    from tocsin.kernel.localpg import LocalPg

    folder.chmod(0o711)
    pg = LocalPg(folder / "pg")
    owner = pg.start()
    try:
        port = free_port()
        (folder / "tocsin.toml").write_text(
            f'[estate]\nkind = "drill"\n[web]\npublic_port = {port}\npublic_url = "http://127.0.0.1:{port}"\n'
        )
        os.environ.update(
            TOCSIN_DATABASE_URL=owner, TOCSIN_HOME=str(folder), TOCSIN_PROCESS="owner", DJANGO_SETTINGS_MODULE="tocsin.settings"
        )
        import django

        django.setup()
        from tocsin.evidence import actions as evidence
        from tocsin.kernel import schema
        from tocsin.kernel.sealing import create_all

        create_all()
        schema.migrate()
        evidence.open_estate(kind="drill")
        passwords = schema.set_passwords(owner, kept={})
        fill(folder, customers)
        yield Estate(folder, pg, owner, schema.dsn(owner, "public", passwords["public"]), port)
    finally:
        from django.db import connections

        connections.close_all()
        pg.stop()


def fill(folder: Path, customers: int) -> None:
    """Import the customers and give each a reset link that lives for a day."""
    from django.db import connection

    from tocsin.credentials import actions as credentials
    from tocsin.credentials import policy, reset
    from tocsin.subjects import actions as subjects

    file, mapping = folder / "customers.csv", folder / "mapping.toml"
    mapping.write_text(MAPPING)
    with file.open("w", newline="", encoding="utf-8") as f:
        out = csv.writer(f)
        out.writerow(["customer_id", "first_name", "last_name", "email", "password_format", "password_hash"])
        for n in range(customers):
            old = hashlib.sha1(f"Nx7old secret {n}".encode()).hexdigest()
            out.writerow([f"C{n}", "Wilhelmina", "Okonkwo", f"person.{n}@mail.example", "sha1_salted", f"Nx7${old}"])
    subjects.import_file(file, mapping=mapping, rejects=None, at=AT, by="owner")
    credentials.import_hashes(file, at=AT, by="owner")
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM credentials_account ORDER BY id")
        accounts = [row[0] for row in cursor.fetchall()]
        words = [policy.context_words(f"person.{n}", "Wilhelmina Okonkwo") for n in range(customers)]
        cursor.executemany(
            "INSERT INTO credentials_resettoken (token_sha256, request, account_id, epoch, context, created_at, expires_at) "
            "VALUES (%s, gen_random_uuid(), %s, 1, %s, now(), now() + interval '1 day')",
            [
                (hashlib.sha256(token_of(n).encode()).digest(), account, reset.context_of(account, words[n]))
                for n, account in enumerate(accounts)
            ],
        )
        cursor.execute("ANALYZE")


def token_of(n: int) -> str:
    """Return the reset link's token of customer n."""
    return base64.urlsafe_b64encode(hashlib.sha256(f"token {n}".encode()).digest()).rstrip(b"=").decode()


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def cpu_ms(leader: int) -> float:
    """Return milliseconds of CPU, user and system, that a process and those of its group have used."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == leader:
            ticks += sum(int(x) for x in fields[11:13])
    return ticks * 1000 / os.sysconf("SC_CLK_TCK")


class Person:
    """A browser without scripts: cookies and one connection."""

    def __init__(self, port: int, token: str, *, cookies: dict[str, str] | None = None) -> None:
        self.cookies = {**({"tocsin_link": token} if token else {}), **(cookies or {})}
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def get(self, path: str) -> tuple[int, str]:
        """GET a path; return status and page."""
        return self._ask("GET", path, None)

    def post(self, path: str, page: str, values: dict[str, str]) -> tuple[int, str]:
        """Send the form on a page with these values."""
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        return self._ask("POST", path, urlencode({**values, "csrfmiddlewaretoken": found.group(1) if found else ""}))

    def reset(self, page: str, password: str = PASSWORD) -> int:
        """Send the form for a new password; return the status."""
        return self.post("/passwordchange/new", page, {"password": password, "password_again": password})[0]

    def _ask(self, method: str, path: str, body: str | None) -> tuple[int, str]:
        headers = {"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())} if self.cookies else {}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        page = answer.read().decode("utf-8", "replace")
        for line in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name.strip()] = value.strip().strip('"')
        return answer.status, page
