"""SCIM 2.0: the promises of a connector against scim2-server, as a process without a door and as the library under an application with one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tocsin.credentials.port import PLAIN, Connector
from tocsin.kernel.errors import BadInput, Refused, Unavailable
from tocsin.kernel.private import Private

from . import connector_suite
from .aws_front import wait_for
from .connector_suite import *  # noqa: F403  the promises themselves
from .connector_suite import AT, NEW, PEOPLE, all_open, make

TOKEN = "bearer-token-of-the-connector"


class Application:
    """The target of the suite: an application with a log-in page and thirty people."""

    secret = TOKEN
    takes_passwords = True
    drains = True
    seconds_matter = False

    def __init__(self, *, door: bool = True) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        command = [sys.executable, str(Path(__file__).with_name("scim_application.py")), str(self.port), TOKEN]
        if not door:
            command = [sys.executable, "-m", "scim2_server.testserver.cli", "--port", str(self.port), "--bearer-token", TOKEN]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.url = f"http://127.0.0.1:{self.port}"
        wait_for(f"{self.url}/v2/ServiceProviderConfig")
        self.http = httpx.Client(
            base_url=f"{self.url}/v2", headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/scim+json"}
        )
        self.logins, self.people = {}, {}
        self.timeout_s = 2.0
        for k in range(PEOPLE):
            login, password = f"person{k}@example.org", f"old password {k} of a customer"
            body = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": login, "password": password, "active": True}
            account = self.http.post("/Users", json=body).raise_for_status().json()["id"]
            self.logins[account], self.people[account] = login, password

    def connector(self, **more: Any) -> Connector:
        options = {"url": f"{self.url}/v2", "door_asks": "groups", "login_url": f"{self.url}/login", "timeout_s": self.timeout_s, **more}
        return make("tocsin.credentials.adapters.scim.Adapter", {k: v for k, v in options.items() if v is not None}, TOKEN)

    def opens(self, account: str, secret: str) -> bool:
        answer = httpx.post(f"{self.url}/login", data={"username": self.logins[account], "password": secret}, timeout=10)
        return answer.status_code == 200

    def change(self, account: str, secret: str) -> None:
        raise AssertionError("SCIM tells no date of a password")

    def stop(self) -> None:
        """The store is in memory: the process is stopped in its tracks, and its port answers nothing."""
        os.kill(self.process.pid, signal.SIGSTOP)
        self.timeout_s = 0.3

    def start(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)
        self.timeout_s = 2.0

    def close(self) -> None:
        self.start()
        self.http.close()
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def target() -> Iterator[Application]:
    application = Application()
    yield application
    application.close()


@pytest.fixture
def plain() -> Iterator[Application]:
    """scim2-server as its own command starts it: no door."""
    server = Application(door=False)
    yield server
    server.close()


def test_changes_in_the_targets_own_pages_are_seen(target: Application) -> None:
    connector = target.connector()
    assert connector.changed_elsewhere(None).accounts == ()
    assert any("no date of a password" in f.text for f in connector.probe().findings)


def test_without_a_door_the_drain_still_ends_passwords_and_the_probe_says_what_is_not_proved(plain: Application) -> None:
    without = plain.connector(login_url=None)
    probe = without.probe()
    assert (probe.subjects, probe.classes) == (PEOPLE, ())
    assert any("no door" in f.text for f in probe.findings)
    canary = without.plant(1)[0]
    assert without.present(canary) == []
    without.uproot(canary)
    without.arm()
    without.gate(2, at=AT)
    first = next(iter(plain.people))
    without.set_password(first, Private(NEW), format=PLAIN)
    versions = {r["id"]: r["meta"]["version"] for r in plain.http.get("/Users", params={"count": 100}).json()["Resources"]}
    done, cursor = 0, None
    while True:
        part = without.drain(cursor, limit=10)
        assert not part.failed
        done, cursor = done + part.done, part.cursor
        if cursor is None:
            break
    assert done == PEOPLE - 1
    later = {r["id"]: r["meta"]["version"] for r in plain.http.get("/Users", params={"count": 100}).json()["Resources"]}
    assert {account for account in versions if versions[account] != later[account]} == set(plain.people) - {first}


def test_a_provider_without_a_switch_blocks_arming(target: Application) -> None:
    with pytest.raises(Refused, match="no switch"):
        target.connector(door_asks=None).arm()
    assert all_open(target)


def test_deactivation_is_the_other_drain(target: Application) -> None:
    connector = target.connector(drain_by="deactivate")
    connector.arm()
    connector.gate(2, at=AT)
    assert connector.drain(None, limit=100).done == PEOPLE
    first = next(iter(target.people))
    assert target.http.get(f"/Users/{first}").json()["active"] is False
    connector.set_password(first, Private(NEW), format=PLAIN)
    assert target.opens(first, NEW)


def test_a_wrong_token_is_refused_without_being_shown(target: Application) -> None:
    wrong = make("tocsin.credentials.adapters.scim.Adapter", {"url": f"{target.url}/v2"}, "the-wrong-token")
    with pytest.raises(Unavailable, match="401") as e:
        wrong.probe()
    assert "the-wrong-token" not in repr(e.value) + repr(wrong)
    assert connector_suite.all_open(target)


def test_options_are_checked() -> None:
    for options in ({}, {"url": "http://127.0.0.1", "door_asks": "nobody"}, {"url": "http://127.0.0.1", "drain_by": "prayer"}):
        with pytest.raises(BadInput):
            make("tocsin.credentials.adapters.scim.Adapter", options, TOKEN)
