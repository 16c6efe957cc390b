"""The nginx sample as it is shipped, with other ports, on the real nginx, before a shop that checks passwords, against the real gate."""

from __future__ import annotations

import base64
import http.client
import http.server
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.credentials.shop import AT, cut, enrol, open_shop
from tests.roles import dsn_of
from tests.web.gate_process import Process, free_port, running
from tocsin.credentials import actions
from tocsin.kernel.localpg import tied
from tocsin.subjects import queries as subjects

SAMPLE = Path(__file__).parents[2] / "clients" / "nginx" / "gate.conf"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@pytest.fixture
def customers(estate: Path, transactional_db: None) -> Path:
    if NGINX is None:
        pytest.skip("needs nginx with auth_request: apt install nginx-light")
    open_shop(enrol(estate))
    return estate


class Shop(http.server.BaseHTTPRequestHandler):
    """A shop behind nginx that knows names and passwords, and nothing of the gate."""

    passwords = {"C1": "old", "C2": "old"}
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        scheme, _, raw = self.headers.get("Authorization", "").partition(" ")
        name, _, password = base64.b64decode(raw).decode().partition(":") if scheme == "Basic" else ("", "", "")
        good = self.passwords.get(name) == password
        body = (f"hello {name}" if good else "wrong").encode()
        self.send_response(200 if good else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def behind_nginx(home: Path, gate_port: int, key: str) -> Iterator[int]:
    """Run the shop and nginx with the sample; give nginx's port."""
    port, shop_port = free_port(), free_port()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", shop_port), Shop)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    text = SAMPLE.read_text()
    for old, new in (("127.0.0.1:8002", f"127.0.0.1:{gate_port}"), ("127.0.0.1:9000", f"127.0.0.1:{shop_port}"),
                     ("127.0.0.1:8080", f"127.0.0.1:{port}"), ("GATE_KEY", key)):  # fmt: skip
        assert text.count(old) == 1
        text = text.replace(old, new)
    folder = home / f"nginx-{port}"
    for name in ("body", "proxy", "fastcgi", "uwsgi", "scgi"):
        (folder / name).mkdir(parents=True)
    (folder / "gate.conf").write_text(text)
    paths = "".join(
        f"{kind}_temp_path {folder / name};"
        for kind, name in (("client_body", "body"), ("proxy", "proxy"), ("fastcgi", "fastcgi"), ("uwsgi", "uwsgi"), ("scgi", "scgi"))
    )
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log; events {{ worker_connections 256; }} "
        f"http {{ access_log off; {paths} include {folder}/gate.conf; }}"
    )
    command = [str(NGINX), "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
    proc = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **tied(signal.SIGTERM))
    try:
        end = time.monotonic() + 10
        while True:
            try:
                call(port, "C1", "x")
                break
            except OSError:
                assert proc.poll() is None, proc.stdout and proc.stdout.read()
                assert time.monotonic() < end
                time.sleep(0.02)
        yield port
    finally:
        proc.terminate()
        proc.wait(10)
        if proc.stdout:
            proc.stdout.close()
        server.shutdown()
        server.server_close()


def call(
    port: int, name: str, password: str, *, method: str = "GET", path: str = "/account", **headers: str
) -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    sent = {k.replace("_", "-"): v for k, v in headers.items()}
    if name:
        sent["Authorization"] = "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()
    try:
        connection.request(method, path, body=b"a=1" if method == "POST" else None, headers=sent)
        response = connection.getresponse()
        return response.status, response.read().decode(), {k.lower(): v for k, v in response.getheaders()}
    finally:
        connection.close()


def test_nginx_lets_through_whom_the_gate_lets_through(customers: Path) -> None:
    dsn = dsn_of("api")
    with running(customers, dsn=dsn) as gate, behind_nginx(customers, gate.port, gate.key) as port:
        assert call(port, "C1", "old")[:2] == (200, "hello C1")
        assert call(port, "C1", "old", method="POST")[:2] == (200, "hello C1")
        assert call(port, "C1", "wrong")[0] == 401
        status, _, headers = call(port, "", "")
        assert (status, headers["www-authenticate"].startswith("Basic")) == (401, True)
        assert call(port, "nobody", "old")[0] == 403
        cut(customers)
        status, page, headers = call(port, "C1", "old")
        assert (status, 'href="http://127.0.0.1:8001/passwordchange"' in page, headers["cache-control"]) == (403, True, "no-store")
        actions.lift([subjects.by_external_ids(["C1"])["C1"]], source="shop", at=AT)
        gate.until("C1", 200, limit_s=2.0)
        assert call(port, "C1", "old")[0] == 200  # through the gate; the password is the shop's to check
        assert call(port, "C2", "old", X_Tocsin_Subject="C1")[0] == 403  # nobody names somebody else
        assert call(port, "C2", "old", path="/_gate")[0] in {403, 404}
        _gone(gate)
        begun = time.monotonic()
        status, page, headers = call(port, "C1", "old")
        assert (status, "paused" in page, headers["retry-after"]) == (503, True, "5")
        assert time.monotonic() - begun < 2
        with running(customers, dsn=dsn, port=gate.port, key=gate.key):
            assert call(port, "C1", "old")[0] == 200
    with running(customers, dsn=dsn) as gate, behind_nginx(customers, gate.port, "not a key") as port:
        assert call(port, "C1", "old")[0] == 401  # the gate refuses nginx, nginx refuses the customer


def _gone(gate: Process) -> None:
    gate.proc.terminate()
    gate.proc.wait(10)
