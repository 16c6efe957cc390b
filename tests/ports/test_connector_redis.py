"""Sessions in Redis: the promises of a connector against Debian's redis-server, under Django's own cache sessions."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from tocsin.credentials.port import Connector
from tocsin.kernel.errors import BadInput, Refused, Unavailable

from .connector_suite import *  # noqa: F403  the promises themselves
from .connector_suite import AT, PEOPLE, all_open, make, none_opens, said

PASSWORD = "the-password-of-redis"
PREFIX = ":1:django.contrib.sessions.cache"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


class Server:
    """One redis-server in a folder of its own, with its data kept over a stop."""

    def __init__(self, folder: Path, *more: str) -> None:
        self.folder, self.more, self.port = folder, more, free_port()
        self.running: subprocess.Popen[bytes] | None = None
        self.start()

    def client(self, db: int = 0, **more: Any) -> redis.Redis:
        return redis.Redis(port=self.port, db=db, password=PASSWORD, socket_timeout=5, **more)

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "", "--appendonly", "yes",
                   "--requirepass", PASSWORD, "--masterauth", PASSWORD, *self.more]  # fmt: skip
        self.running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(100):
            try:
                self.client().ping()
                return
            except redis.RedisError:
                time.sleep(0.05)
        pytest.fail("redis-server does not answer")

    def stop(self) -> None:
        if self.running is not None:
            self.running.terminate()
            self.running.wait(10)
            self.running = None


class Shop:
    """The target of the suite: thirty sessions of Django's cache backend in database 1; database 2 is spare."""

    secret = PASSWORD
    takes_passwords = False
    drains = True
    seconds_matter = False

    def __init__(self, folder: Path, mode: str) -> None:
        self.server = Server(folder)
        self.mode = mode
        self.file = folder / "shop.env"
        self.file.write_text(f"DEBUG=0\nSESSION_PREFIX={PREFIX}\nOTHER=left alone\n")
        self.people = {}
        for k in range(PEOPLE):
            sid = f"{k:032d}"
            self.server.client(1).set(PREFIX + sid, b"\x80\x05}.", ex=3600)
            self.people[f"person{k}"] = sid

    def connector(self, **more: Any) -> Connector:
        options: dict[str, Any] = {"host": "127.0.0.1", "port": self.server.port, "database": 1, "mode": self.mode, "timeout_s": 2.0}
        if self.mode == "swapdb":
            options |= {"spare_database": 2, "key_prefix": PREFIX}
        else:
            options |= {"prefix_file": str(self.file), "prefix_format": "env", "prefix_variable": "SESSION_PREFIX", "reload": ["true"]}
        return make("tocsin.credentials.adapters.redis_sessions.Adapter", {**options, **more}, PASSWORD)

    def prefix(self) -> str:
        """What the shop's process reads when it is reloaded."""
        return next(line.partition("=")[2] for line in self.file.read_text().splitlines() if line.startswith("SESSION_PREFIX="))

    def sign_in(self, sid: str) -> None:
        self.server.client(1).set(self.prefix() + sid, b"\x80\x05}.", ex=3600)

    def opens(self, account: str, secret: str) -> bool:
        return bool(self.server.client(1).exists(self.prefix() + secret))

    def change(self, account: str, secret: str) -> None:
        raise AssertionError("no passwords here")

    def stop(self) -> None:
        self.server.stop()

    def start(self) -> None:
        self.server.start()


def need(program: str, package: str) -> None:
    if shutil.which(program) is None:
        if os.environ.get("TOCSIN_NO_SKIPS"):
            pytest.fail(f"{program} is missing: apt install {package}")
        pytest.skip(f"apt install {package}")


@pytest.fixture(params=["swapdb", "prefix"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    need("redis-server", "redis-server")
    shop = Shop(tmp_path, request.param)
    yield shop
    shop.server.stop()


@pytest.fixture
def swap(tmp_path: Path) -> Iterator[Shop]:
    need("redis-server", "redis-server")
    shop = Shop(tmp_path, "swapdb")
    yield shop
    shop.server.stop()


def fallen(shop: Shop, **more: Any) -> Connector:
    connector = shop.connector(**more)
    connector.arm()
    connector.gate(2, at=AT)
    return connector


def test_new_sessions_live_and_survive_an_abort(target: Shop) -> None:
    connector = fallen(target)
    assert none_opens(target)
    target.sign_in("new-session")
    assert target.opens("x", "new-session")
    assert connector.status().state == "gated"
    assert target.opens("x", "new-session")
    connector.abort()
    assert all_open(target)
    assert target.opens("x", "new-session")
    assert target.file.read_text() == f"DEBUG=0\nSESSION_PREFIX={PREFIX}\nOTHER=left alone\n"
    assert target.server.client(2).dbsize() == 0
    assert not target.server.client(1).exists("tocsin:mark")


def test_a_session_written_back_by_a_request_in_flight_dies(target: Shop) -> None:
    connector = fallen(target)
    old = target.people["person7"]
    target.server.client(1).set(PREFIX + old, b"written back by a request that began before the gate")
    target.sign_in("new-session")
    connector.status()
    assert not target.opens("person7", old)
    assert target.opens("x", "new-session")


def test_the_gate_does_not_grow_with_the_sessions(swap: Shop) -> None:
    pipe = swap.server.client(1).pipeline(transaction=False)
    for k in range(200_000):
        pipe.set(f"{PREFIX}{k:032x}", b"x")
    pipe.execute()
    connector = swap.connector()
    connector.arm()
    assert connector.gate(2, at=AT).took_ms < 100
    assert none_opens(swap)


def test_many_workers_at_once_swap_once(swap: Shop) -> None:
    """An even number of swaps would open the gate again."""
    for _ in range(10):
        swap.connector().arm()
        connectors = [swap.connector() for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda c: c.gate(2, at=AT), connectors))
        assert none_opens(swap)
        swap.connector().abort()
        assert all_open(swap)


def test_a_connected_client_sees_the_gate_without_reconnecting(swap: Shop) -> None:
    kept = swap.server.client(1, single_connection_client=True)
    assert kept.exists(PREFIX + swap.people["person1"])
    fallen(swap)
    assert not kept.exists(PREFIX + swap.people["person1"])


def test_other_keys_and_a_spare_in_use_block_arming(swap: Shop) -> None:
    swap.server.client(2).set("somebody", "else")
    with pytest.raises(Refused, match="not empty"):
        swap.connector().arm()
    swap.server.client(2).flushdb()
    swap.server.client(1).set("stock:42", "17")
    with pytest.raises(Refused, match="no sessions"):
        swap.connector().arm()
    assert swap.connector().status().state == "open"
    swap.server.client(1).delete("stock:42")
    swap.connector().arm()
    assert swap.connector().status().state == "armed"


def test_a_replica_a_full_disk_and_a_missing_right_each_say_so(swap: Shop, tmp_path: Path) -> None:
    folder = tmp_path / "replica"
    folder.mkdir()
    replica = Server(folder, "--replicaof", f"127.0.0.1 {swap.server.port}")
    try:
        other = swap.connector(port=replica.port)
        with pytest.raises(Refused, match="replica"):
            other.arm()
        with pytest.raises(Unavailable, match=r"READONLY|ReadOnly|replica"):
            other.plant(1)
    finally:
        replica.stop()
    connector = swap.connector()
    connector.arm()
    canaries = connector.plant(1)
    admin = swap.server.client()
    admin.config_set("min-replicas-to-write", 1)  # the server then refuses writes, as it does with MISCONF when its disk is full
    with pytest.raises(Unavailable, match=r"NOREPLICAS|refuses writes"):
        connector.gate(2, at=AT)
    admin.config_set("min-replicas-to-write", 0)
    admin.execute_command("ACL", "SETUSER", "default", "-swapdb")
    with pytest.raises(Unavailable, match="lacks a right"):
        swap.connector().gate(2, at=AT)
    admin.execute_command("ACL", "SETUSER", "default", "+swapdb")
    assert all(answer.accepted for answer in said(connector, canaries))
    assert all_open(swap)
    connector.gate(2, at=AT)
    assert none_opens(swap)


def test_a_stalling_server_is_given_up_in_time(swap: Shop) -> None:
    connector = swap.connector(timeout_s=0.3)
    connector.arm()
    swap.server.client().execute_command("CLIENT", "PAUSE", 3000)
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"Timeout|in time"):
        connector.gate(2, at=AT)
    assert time.monotonic() - began < 10
    swap.server.client(socket_connect_timeout=5).execute_command("CLIENT", "UNPAUSE")
    assert swap.connector().status().state == "armed"


def test_djangos_own_sessions_end_and_come_back(swap: Shop, tmp_path: Path) -> None:
    """An unmodified Django, in a process of its own, with sessions in its Redis cache."""
    (tmp_path / "shop_settings.py").write_text(
        "SECRET_KEY = 'x' * 50\nINSTALLED_APPS = ['django.contrib.sessions']\nSESSION_ENGINE = 'django.contrib.sessions.backends.cache'\n"
        "CACHES = {'default': {'BACKEND': 'django.core.cache.backends.redis.RedisCache', "
        f"'LOCATION': 'redis://:{PASSWORD}@127.0.0.1:{swap.server.port}/1'}}}}\n"
    )

    def django(code: str) -> str:
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path), "DJANGO_SETTINGS_MODULE": "shop_settings"}
        code = f"from django.contrib.sessions.backends.cache import SessionStore as S\n{code}"
        return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout.strip()

    make_one = "s = S(); s['user'] = 7; s.save(); print(s.session_key)"
    old = django(make_one)
    read = "print(S({!r}).get('user'))"
    assert django(read.format(old)) == "7"
    command = [sys.executable, "-c", "import os, sys; os.environ.update(PYTHONPATH=sys.argv[1], DJANGO_SETTINGS_MODULE='shop_settings'); "
               "sys.path.insert(0, sys.argv[1]); from django.contrib.sessions.backends.cache import SessionStore as S; " + make_one,
               str(tmp_path)]  # fmt: skip
    connector = swap.connector(plant_command=command)
    canaries = connector.plant(1)
    assert all(answer.accepted for answer in said(connector, canaries))
    connector.arm()
    connector.gate(2, at=AT)
    assert django(read.format(old)) == "None"
    assert not any(answer.accepted for answer in said(connector, canaries))
    new = django(make_one)
    assert django(read.format(new)) == "7"
    connector.abort()
    assert django(read.format(old)) == "7"
    assert django(read.format(new)) == "7"


def test_a_prefix_that_is_not_reloaded_is_said_and_completed_later(tmp_path: Path) -> None:
    need("redis-server", "redis-server")
    shop = Shop(tmp_path, "prefix")
    try:
        connector = shop.connector(reload=["false"])
        connector.arm()
        with pytest.raises(Unavailable, match="reload command ended with 1"):
            connector.gate(2, at=AT)
        assert shop.connector().gate(2, at=AT).detail == "already gated"  # ran the reload that was left out
        shop.connector().abort()
        assert all_open(shop)
    finally:
        shop.server.stop()


def test_options_are_checked(tmp_path: Path) -> None:
    for options in (
        {"mode": "swapdb", "database": 1, "spare_database": 1},
        {"mode": "drop", "database": 1},
        {"mode": "prefix", "database": 1},
    ):
        with pytest.raises(BadInput):
            make("tocsin.credentials.adapters.redis_sessions.Adapter", {"host": "127.0.0.1", "port": 1, **options}, None)
