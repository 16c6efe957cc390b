"""No password is written anywhere: a real public process, a real database and their logs are searched for every one that was typed."""

from __future__ import annotations

import base64
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus
from uuid import uuid4

import httpx
import pytest
from django.db import connection

from tests.credentials.shop import GOOD, PEOPLE, enrol, open_shop
from tests.roles import dsn_of
from tocsin.credentials import actions
from tocsin.credentials.sign_in import login_of
from tocsin.kernel import clock, testing
from tocsin.kernel.localpg import find_binaries
from tocsin.kernel.private import Private

ROOT = Path(__file__).parents[2]
START_S_MAX = 60.0
FIRST, SECOND = PEOPLE[0], PEOPLE[1]
TOKEN = "S" * 43
WEAK = "Weak Example Wilhelmina"
WRONG = "wrong zebra & \u00fcmlaut? <42>"


def dsn_of_test_database() -> str:
    s = connection.settings_dict
    return f"postgresql://{s['USER']}:{quote(s['PASSWORD'])}@{s['HOST']}:{s['PORT']}/{s['NAME']}"


@pytest.fixture
def site(estate: Path, transactional_db: None) -> Iterator[tuple[str, Path, list[int]]]:
    """Give the address of a public process, the file its output goes to, and its process ids."""
    role = dsn_of("public")
    open_shop(enrol(estate))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (estate / "tocsin.toml").write_text(f'[estate]\nkind = "demo"\n[web]\npublic_port = {port}\n')
    env = {k: v for k, v in os.environ.items() if not k.startswith(("TOCSIN_", "DJANGO"))} | {
        "TOCSIN_HOME": str(estate), "TOCSIN_DATABASE_URL": role, "PYTHONPATH": str(ROOT / "src"), "PYTHONDEVMODE": "1",
    }  # fmt: skip
    with connection.cursor() as cursor:  # the server writes down every statement of the public process with its values
        cursor.execute("ALTER ROLE tocsin_public SET log_statement = 'all'")
        cursor.execute("ALTER ROLE tocsin_public SET log_parameter_max_length = -1")
    log = estate / "public.out"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tocsin.cli", "public"], env=env, cwd=estate, stdout=out, stderr=out, start_new_session=True
        )
    try:
        url, end = f"http://127.0.0.1:{port}", time.monotonic() + START_S_MAX
        while True:
            try:
                if httpx.get(f"{url}/account", timeout=5).status_code == 303:  # it serves, and its lease has been granted
                    break
            except httpx.HTTPError:
                time.sleep(0.1)
            assert time.monotonic() < end, log.read_text()
            assert process.poll() is None, log.read_text()
        yield url, log, workers(estate)
    finally:
        process.terminate()
        process.wait(20)
        with connection.cursor() as cursor:
            cursor.execute("ALTER ROLE tocsin_public RESET ALL")


def workers(home: Path) -> list[int]:
    """Return the processes of this estate that serve the site."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"TOCSIN_HOME={home}\0".encode() in (folder / "environ").read_bytes() and b"granian" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def post(client: httpx.Client, path: str, **form: str) -> httpx.Response:
    page = client.get(path).text
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert token, page
    return client.post(path, data={**form, "csrfmiddlewaretoken": token[1]})


def forms(secret: str) -> list[bytes]:
    """Return the ways in which a secret may have been written down."""
    raw = secret.encode()
    ways = {
        raw,
        raw.hex().encode(),
        quote(secret).encode(),
        quote_plus(secret).encode(),
        base64.b64encode(raw),
        repr(secret)[1:-1].encode(),
    }
    return [*ways, secret.encode("unicode_escape"), secret.encode("utf-16-le")]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_item_34_no_password_is_logged_stored_or_left_in_a_core(site: tuple[str, Path, list[int]], estate: Path) -> None:
    """NIST, OWASP: never log or trace a password; through a whole reset and log-in, refusals and errors included."""
    url, log, processes = site
    began = testing._pg.home / "postgres.log" if testing._pg else None
    size = began.stat().st_size if began else 0
    assert actions.send_reset(login_of(FIRST.email), request=uuid4(), token=Private(TOKEN), at=clock.now())
    with httpx.Client(base_url=url, timeout=30) as client:
        assert post(client, "/login", email=SECOND.email, password=SECOND.password).status_code == 303
        assert post(client, "/login", email=SECOND.email, password=WRONG).status_code == 200
        assert post(client, "/login", email="nobody@mail.example", password=WRONG).status_code == 200
        assert client.get(f"/passwordchange/t/{TOKEN}").status_code == 303
        assert post(client, "/passwordchange/new", password=WEAK, password_again=WEAK).status_code == 422
        assert post(client, "/passwordchange/new", password=GOOD, password_again=WRONG).status_code == 422
        assert post(client, "/passwordchange/new", password=GOOD, password_again=GOOD).status_code == 200
        assert post(client, "/login", email=FIRST.email, password=GOOD).status_code == 303
        assert client.post("/login", data={"email": FIRST.email, "password": GOOD}).status_code == 403  # without its token
        assert client.get("/nowhere", params={"password": "in-an-address-of-our-own"}).status_code == 404
        assert client.post("/login", content=b"\xff" * 100, headers={"Content-Type": "multipart/form-data; boundary=x"}).status_code < 500
    assert processes
    limits = {(Path("/proc") / str(p) / "limits").read_text() for p in processes}
    assert any(re.search(r"Max core file size\s+0\s+0\s", text) for text in limits)

    dump = subprocess.run([find_binaries()[0] / "pg_dump", dsn_of_test_database()], capture_output=True, check=True).stdout
    written = {"database": dump, "output": log.read_bytes()}
    written |= {str(p.relative_to(estate)): p.read_bytes() for p in estate.rglob("*") if p.is_file() and p.suffix != ".csv"}
    if began is not None:
        written["postgres.log"] = began.read_bytes()[size:]
        assert b"credentials_redeem" in written["postgres.log"]  # it did write down what it was asked
        assert b"credentials_open_session" in written["postgres.log"]
    assert b"$argon2id$" in dump
    secrets = {"new": GOOD, "weak": WEAK, "wrong": WRONG, "old": SECOND.password}
    found = [(where, name) for where, text in written.items() for name, secret in secrets.items() if any(f in text for f in forms(secret))]
    assert found == []
    assert sum(f in b"planted: " + GOOD.encode("utf-16-le") + quote_plus(GOOD).encode() for f in forms(GOOD)) == 2
