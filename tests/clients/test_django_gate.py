"""The Django client, installed by pip into an environment of its own, in a real Django project, against the gate's real process."""

from __future__ import annotations

import http.cookiejar
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import sysconfig
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.credentials.shop import AT, cut, enrol, open_shop, signed
from tests.roles import dsn_of
from tests.web.gate_process import free_port, running
from tocsin.credentials import actions
from tocsin.credentials.models import Cutover
from tocsin.kernel.localpg import tied
from tocsin.subjects import queries as subjects

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "django"
SHOP = Path(__file__).parent / "django_shop"


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the client with pip into a fresh environment, without a network: Django is that of this checkout."""
    home = tmp_path_factory.mktemp("client") / "venv"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    site = next(home.glob("lib/python*/site-packages"))
    (site / "django.pth").write_text(sysconfig.get_path("purelib") + "\n")
    before = {p for p in CLIENT.rglob("*") if "__pycache__" not in p.parts}
    done = subprocess.run(
        [python, "-m", "pip", "install", "--no-index", "--disable-pip-version-check", str(CLIENT)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Successfully installed tocsin-django-gate" in done.stdout
    assert {p for p in CLIENT.rglob("*") if "__pycache__" not in p.parts} == before
    where = subprocess.run([python, "-P", "-c", "import tocsin_django_gate as t; print(t.__file__)"], capture_output=True, text=True).stdout
    assert where.startswith(str(home))
    return python


@pytest.fixture
def customers(estate: Path, transactional_db: None) -> Path:
    open_shop(enrol(estate))
    return estate


class Browser:
    """A customer's browser."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.cookies = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def open(self, path: str, form: dict[str, str] | None = None) -> tuple[int, str]:
        data = urllib.parse.urlencode(form).encode() if form is not None else None
        try:
            with self._opener.open(self.url + path, data=data, timeout=20) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()

    def log_in(self, name: str, password: str, *, path: str = "/login") -> tuple[int, str]:
        page = self.open(path)[1]
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token is not None, page
        return self.open(path, {"username": name, "password": password, "csrfmiddlewaretoken": token.group(1)})

    @property
    def is_in(self) -> bool:
        return self.open("/account")[1].startswith("signed in as")


@contextmanager
def shop(python: Path, folder: Path, *, gate_url: str, key: str, **more: str) -> Iterator[Callable[[], Browser]]:
    """Serve the Django project; give what opens a browser on it."""
    port = free_port()
    env = {"PATH": os.environ["PATH"], "SHOP_DIR": str(folder), "TOCSIN_GATE_URL": gate_url, "TOCSIN_GATE_KEY": key, **more}
    log = (folder / "shop.log").open("ab")
    proc = subprocess.Popen([python, str(SHOP / "serve.py"), str(port)], cwd=SHOP, env=env, stdout=log, stderr=log, **tied(signal.SIGTERM))
    try:
        end = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert proc.poll() is None, (folder / "shop.log").read_text()
                assert time.monotonic() < end, (folder / "shop.log").read_text()
                time.sleep(0.05)
        yield lambda: Browser(f"http://127.0.0.1:{port}")
    finally:
        proc.terminate()
        proc.wait(10)
        log.close()


def set_password(python: Path, folder: Path, name: str, password: str) -> None:
    """Choose a new password in the shop's own system, as its reset page or a connector does."""
    code = (
        "import django; django.setup(); from django.contrib.auth import get_user_model as m; "
        f"u = m().objects.get(username={name!r}); u.set_password({password!r}); u.save()"
    )
    env = {"SHOP_DIR": str(folder), "DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": str(SHOP)}
    subprocess.run([python, "-c", code], env=env, check=True, cwd=SHOP)


def lift(external_id: str) -> None:
    actions.lift([subjects.by_external_ids([external_id])[external_id]], source="django", at=AT)


OLD, NEW = "old password of wilma", "gravel lantern osprey Tuesday"


def test_a_token_in_a_header_opens_nothing_before_its_owner_has_a_new_password(customers: Path, python: Path, tmp_path: Path) -> None:
    def asked(url: str, name: str) -> int:
        try:
            with urllib.request.urlopen(urllib.request.Request(f"{url}/api", headers={"Authorization": f"Token of {name}"})) as response:
                return int(response.status)
        except urllib.error.HTTPError as e:
            return e.code

    with running(customers) as gate, shop(python, tmp_path, gate_url=gate.url, key=gate.key) as browser:
        url = browser().url
        assert [asked(url, n) for n in ("wilma", "boss", "nobody")] == [200, 200, 403]
        cut(customers)
        time.sleep(1.0)
        assert [asked(url, n) for n in ("wilma", "boss")] == [403, 200]
        lift("C1")
        end = time.monotonic() + 5
        while asked(url, "wilma") != 200:
            assert time.monotonic() < end
            time.sleep(0.05)


def test_old_passwords_and_sessions_end_and_a_new_password_works(customers: Path, python: Path, tmp_path: Path) -> None:
    with running(customers) as gate, shop(python, tmp_path, gate_url=gate.url, key=gate.key) as browser:
        wilma, fred, staff = browser(), browser(), browser()
        wilma.log_in("wilma", OLD)
        fred.log_in("fred", "old password of fred")
        assert wilma.is_in
        assert fred.is_in
        assert not _in(browser(), "wilma", "wrong")
        assert _in(staff, "boss", "old password of boss")  # exempt: none of the customers
        wrong_before = _words(browser().log_in("wilma", "wrong")[1])

        armed = actions.arm(incident=1, at=AT, by="ada")
        cut(customers, armed=armed)
        time.sleep(1.0)  # what the shop may remember of a session's answer

        assert not wilma.is_in
        assert not fred.is_in
        assert staff.is_in
        status, page = browser().log_in("wilma", OLD)
        assert (status, _words(page)) == (200, wrong_before)  # the same page as for a wrong password
        assert not _in(browser(), "wilma", OLD)
        assert not _in(browser(), "ghost", "old password of ghost")  # unknown to the gate: refused
        alien = browser()
        assert alien.open("/sso?user=fred")[0] == 200
        assert not alien.is_in  # another way in, the same gate

        set_password(python, tmp_path, "wilma", NEW)
        assert not _in(browser(), "wilma", NEW)  # the shop alone cannot open the gate
        lift("C1")
        gate.until("C1", 200, limit_s=1.0)
        again = browser()
        assert _in(again, "wilma", NEW)
        assert not _in(browser(), "wilma", OLD)
        assert not wilma.is_in  # the session from before stays ended
        assert not _in(browser(), "fred", "old password of fred")
        time.sleep(1.1)
        assert again.is_in

        second = actions.arm(incident=1, at=AT, by="ada")
        cut(customers, armed=second)
        time.sleep(1.0)
        assert not again.is_in
        approval = signed(customers, lambda: actions.abort(second.id, at=AT, by="ada"))
        actions.abort(second.id, approval=approval, at=AT, by="ada")
        gate.until("C1", 200, limit_s=2.0)
        assert _in(browser(), "wilma", NEW)


def _in(browser: Browser, name: str, password: str) -> bool:
    browser.log_in(name, password)
    return browser.is_in


def _words(page: str) -> str:
    return re.sub(r'value="[^"]*"', "", page)


def test_a_session_opened_while_the_cutover_falls_is_dead(customers: Path, python: Path, tmp_path: Path) -> None:
    """The gate says yes, then the cutover commits and the customer sets a new password; only then is the old password's check done."""
    with running(customers) as gate, shop(python, tmp_path, gate_url=gate.url, key=gate.key) as browser:
        early = browser()
        early.log_in("wilma", OLD)  # its session bears the epoch of before the cutover
        cut(customers)
        lift("C1")
        gate.until("C1", 200, limit_s=2.0)
        time.sleep(1.0)
        assert Cutover.objects.get().state == "sealed"
        assert not early.is_in  # although the gate is open for her


def test_a_gate_that_is_down_slow_or_not_ours_lets_nobody_in_and_says_so(customers: Path, python: Path, tmp_path: Path) -> None:
    port = free_port()
    dsn = dsn_of("api")
    with running(customers, dsn=dsn, port=port) as gate:
        key = gate.key
        with shop(python, tmp_path, gate_url=gate.url, key=key) as browser:
            wilma = browser()
            assert _in(wilma, "wilma", OLD)
            gate.proc.terminate()
            gate.proc.wait(10)
            time.sleep(1.0)
            begun = time.monotonic()
            status, page = browser().log_in("wilma", OLD)
            assert time.monotonic() - begun < 2.0
            assert (status, "Signing in is paused" in page, "Nothing is wrong with your password" in page) == (503, True, True)
            status, page = wilma.open("/account")
            assert (status, "signed in" in page) == (503, False)
            assert browser().open("/login")[0] == 200  # pages without a session stay up
            assert _in(browser(), "boss", "old password of boss")
            with running(customers, dsn=dsn, port=port, key=key):
                assert wilma.is_in  # nobody's session was thrown away
                assert _in(browser(), "wilma", OLD)
            for answer in (None, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
                           _json(200, subject="C2", allow=True), _json(200, allow="yes"), _json(403, allow=True), b"nonsense\r\n\r\n",
                           b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + b"x" * 900_000):  # fmt: skip
                with false_gate(port, answer):
                    begun = time.monotonic()
                    status, page = browser().log_in("wilma", OLD)
                    assert (status, "paused" in page) == (503, True), answer and answer[:80]
                    assert time.monotonic() - begun < 2.0
        with running(customers, dsn=dsn, port=port, key=key) as right, shop(python, tmp_path, gate_url=right.url, key="x" + key) as browser:
            status, page = browser().log_in("wilma", OLD)
            assert (status, "paused" in page) == (503, True)


def _json(status: int, **changed: Any) -> bytes:
    body = {"subject": "C1", "allow": True, "reason": "open", "reset_url": "", "epoch": 1, "lease_ms": 1000} | changed
    raw = json.dumps(body).encode()
    return b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(raw)) + raw


@contextmanager
def false_gate(port: int, answer: bytes | None) -> Iterator[None]:
    """Listen where the gate should be and give one answer to everything; None: never answer."""
    server = socket.create_server(("127.0.0.1", port))
    kept: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                near, _ = server.accept()
            except OSError:
                return
            kept.append(near)
            threading.Thread(target=talk, args=(near,), daemon=True).start()

    def talk(near: socket.socket) -> None:
        try:
            while near.recv(65536):
                if answer is not None:
                    near.sendall(answer)
        except OSError:
            return

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        for near in kept:
            near.close()


def test_a_refusal_takes_as_long_as_a_wrong_password(customers: Path, python: Path, tmp_path: Path) -> None:
    with running(customers) as gate, shop(python, tmp_path, gate_url=gate.url, key=gate.key) as browser:
        cut(customers)
        lift("C1")
        gate.until("C1", 200, limit_s=2.0)

        def ms(name: str, password: str) -> float:
            one = browser()
            page = one.open("/login")[1]
            token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
            assert token is not None
            begun = time.perf_counter()
            one.open("/login", {"username": name, "password": password, "csrfmiddlewaretoken": token.group(1)})
            return (time.perf_counter() - begun) * 1000

        cases = {"wrong": ("wilma", "wrong"), "refused": ("fred", "old password of fred"), "nobody": ("nobody", "wrong")}
        found: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(7):
            for name, case in cases.items():
                found[name].append(ms(*case))
        middle = {name: statistics.median(times) for name, times in found.items()}
        assert max(middle.values()) < 1.5 * min(middle.values()), middle  # a refusal without a hash would take a tenth


def test_the_client_imports_nothing_of_ours() -> None:
    found = {w for p in (CLIENT / "src").rglob("*.py") for w in re.findall(r"^\s*(?:from|import) (\w+)", p.read_text(), re.M)}
    outside = found - set(sys.stdlib_module_names)
    assert outside == {"django"}
