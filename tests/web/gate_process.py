"""The gate's real process for tests: granian with `tocsin.web.api.wsgi`, as the database role tocsin_api, on a free loopback port."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.roles import dsn_of
from tocsin.cli.processes import site_command
from tocsin.credentials import actions
from tocsin.kernel import clock
from tocsin.kernel.localpg import tied

ROOT = Path(__file__).parents[2]
START_S_MAX = 30.0


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@dataclass
class Process:
    """A running gate."""

    port: int
    key: str
    proc: subprocess.Popen[bytes]
    log: Path
    _kept: http.client.HTTPConnection | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, path: str, *, method: str = "GET", key: str | None = None, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], Any]:
        """Ask on a connection that is kept; return status, headers (lower case) and the JSON."""
        named = {k.replace("_", "-"): v for k, v in headers.items()}
        if key is None:
            key = self.key
        sent = named | ({"Authorization": f"Bearer {key}"} if key else {})
        for again in (self._kept is not None, False):  # a kept connection may have been closed from the other end
            if self._kept is None:
                self._kept = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            try:
                self._kept.request(method, path, body=body, headers=sent)
                response = self._kept.getresponse()
                raw = response.read()
                break
            except (OSError, http.client.HTTPException):
                self._kept.close()
                self._kept = None
                if not again:
                    raise
        return response.status, {k.lower(): v for k, v in response.getheaders()}, json.loads(raw) if raw else None

    def of(self, subject: str, **more: Any) -> tuple[int, dict[str, str], Any]:
        return self.ask("/gate/v1/" + quote(subject, safe=""), **more)

    def until(self, subject: str, status: int, *, limit_s: float) -> float:
        """Ask until the status comes; return the seconds it took. Fails after `limit_s`."""
        begun = time.monotonic()
        while (took := time.monotonic() - begun) < limit_s:
            if self.of(subject)[0] == status:
                return took
            time.sleep(0.005)
        raise AssertionError(f"{subject} did not come to {status} within {limit_s} s; {self.of(subject)}")


@contextmanager
def running(home: Path, *, dsn: str | None = None, key: str | None = None, port: int | None = None) -> Iterator[Process]:
    """Run the gate until the block ends."""
    key = key or actions.create_api_key(f"test-{time.monotonic_ns()}", at=clock.now(), by="owner").reveal()
    dsn, port = dsn or dsn_of("api"), port or free_port()
    env = {k: v for k, v in os.environ.items() if not k.startswith(("TOCSIN_", "DJANGO_"))} | {
        "TOCSIN_HOME": str(home),
        "TOCSIN_PROCESS": "api",
        "TOCSIN_DATABASE_URL": dsn,
        "PYTHONPATH": str(ROOT / "src"),
    }
    log = home / f"api-{port}.log"
    with log.open("ab") as out:
        proc = subprocess.Popen(site_command("api", port=port), env=env, stdout=out, stderr=out, **tied(signal.SIGTERM))
    made = Process(port, key, proc, log)
    try:
        end = time.monotonic() + START_S_MAX
        while True:
            try:
                if made.of("nobody")[0] in {200, 403}:
                    break
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)
            assert proc.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < end, log.read_text()[-3000:]
        yield made
    finally:
        proc.terminate()
        try:
            proc.wait(5)
        except subprocess.TimeoutExpired:
            proc.kill()
            proc.wait()
