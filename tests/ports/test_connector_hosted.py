"""Keycloak, Auth0, Okta and Entra: the promises of a connector, over protocol servers of our own (no tenant is reachable from a test)."""

from __future__ import annotations

import io
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from clients.okta import hook
from tocsin.credentials.port import Connector
from tocsin.kernel.errors import BadInput, Busy, Refused, Unavailable

from . import connector_suite
from .connector_suite import *  # noqa: F403  the promises themselves
from .connector_suite import AT, NEW, PEOPLE, make, said
from .gate_standin import GateStandIn
from .hosted_servers import ROOT, SECRET, Auth0, Call, Entra, Keycloak, Okta, Provider, Reply

KINDS: dict[str, type[Provider]] = {"keycloak": Keycloak, "auth0": Auth0, "okta": Okta, "entra": Entra}
TOKEN_PATHS = {"keycloak": "/realms/shop/protocol/openid-connect/token", "auth0": "/oauth/token", "okta": "/oauth2/default/v1/token",
               "entra": "/tenant/oauth2/v2.0/token"}  # fmt: skip


class Hosted:
    """The target of the suite: thirty people at a provider."""

    secret = SECRET
    takes_passwords = True
    drains = True
    seconds_matter = True

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.provider = KINDS[kind]()
        self.people = {}
        for k in range(PEOPLE):
            password = f"old password {k} of a customer"
            self.people[self.provider.add(f"person{k}@example.org", password).id] = password
        self.stopped = False
        self.options: dict[str, Any] = {"door_client_id": "door", "rate_per_s": 5000.0, "timeout_s": 2.0}
        url = self.provider.url
        self.options |= {
            "keycloak": {"url": url, "realm": "shop", "client_id": "tocsin", "gate_browser_flow": "tocsin browser", "gate_direct_flow": "tocsin direct"},
            "auth0": {"url": url, "client_id": "tocsin", "connection": "customers", "action_file": str(ROOT / "clients/auth0/action.js")},
            "okta": {"url": url, "inline_hook_id": "cal1"},
            "entra": {"graph_url": url, "login_url": url, "tenant": "tenant", "client_id": "tocsin", "domain": "example.onmicrosoft.com",
                      "emergency_accounts": ["break-glass"]},
        }[kind]  # fmt: skip

    def connector(self, **more: Any) -> Connector:
        return make(f"tocsin.credentials.adapters.{self.kind}.Adapter", {**self.options, **more}, SECRET)

    def opens(self, account: str, secret: str) -> bool:
        form = {"grant_type": "http://auth0.com/oauth/grant-type/password-realm" if self.kind == "auth0" else "password",
                "username": self.provider.users[account].login, "password": secret, "client_id": "door"}  # fmt: skip
        try:
            with urlopen(Request(self.provider.url + TOKEN_PATHS[self.kind], urlencode(form).encode()), timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def change(self, account: str, secret: str) -> None:
        self.provider.change_in_own_page(account, secret)

    def stop(self) -> None:
        self.provider.stop()
        self.stopped = True

    def start(self) -> None:
        self.provider.start()
        self.stopped = False


@pytest.fixture(scope="module")
def hook_url() -> Iterator[tuple[str, GateStandIn]]:
    """The Okta hook that we deliver, served as it is."""
    gate = GateStandIn(lambda subject: False)

    class Quiet(WSGIRequestHandler):
        def log_message(self, *args: object) -> None:
            """Keep the test's output clean."""

    with make_server("127.0.0.1", 0, hook.application, handler_class=Quiet) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", gate
        server.shutdown()
    gate.close()


@pytest.fixture(params=sorted(KINDS))
def target(request: pytest.FixtureRequest, hook_url: tuple[str, GateStandIn], monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosted]:
    if request.param == "auth0" and shutil.which("node") is None:
        if os.environ.get("TOCSIN_NO_SKIPS"):
            pytest.fail("node is missing: apt install nodejs")
        pytest.skip("apt install nodejs")
    target = Hosted(request.param)
    if isinstance(target.provider, Okta):
        okta = target.provider
        okta.hook["uri"], gate = hook_url
        # Tocsin's gate knows its own lifts; here they are read where the connector wrote them.
        gate.through = lambda subject: bool(okta.users[subject].through & set(okta.groups))
        monkeypatch.setenv("GATE_URL", gate.url)
        monkeypatch.setenv("HOOK_KEY", "hook-key")
    yield target
    if target.stopped:
        target.start()
    target.provider.close()


def armed(target: Hosted) -> Connector:
    connector = target.connector()
    connector.arm()
    return connector


def once(reply: Reply | str, *, path: str = "", n: int = 1) -> Any:
    """Return a fault that strikes the first `n` calls of a path."""
    left = [n]

    def fault(call: Call) -> Reply | str | None:
        if left[0] and path in call.path:
            left[0] -= 1
            return reply
        return None

    return fault


def test_a_short_429_is_waited_for_and_a_long_one_goes_back_to_the_queue(target: Hosted) -> None:
    connector = armed(target)
    target.provider.fault = once((429, {"error": "too_many"}, {"Retry-After": "1"}))
    began = time.monotonic()
    connector.status()
    assert 0.9 < time.monotonic() - began < 5
    target.provider.fault = once((429, {"error": "too_many"}, {"Retry-After": "120"}))
    with pytest.raises(Busy) as e:
        connector.gate(2, at=AT)
    assert e.value.retry_after_s == 120
    target.provider.fault = lambda call: None
    assert target.connector().status().state == "armed"


def test_headers_that_say_the_window_is_used_up_slow_the_next_call(target: Hosted) -> None:
    connector = target.connector()
    connector.status()
    reset = str(int(time.time()) + 2)
    answer: Reply = (
        503,
        {},
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset, "X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Reset": reset},
    )
    target.provider.fault = once(answer)
    began = time.monotonic()
    connector.status()
    assert 0.5 < time.monotonic() - began < 6


def test_a_5xx_is_tried_again_and_a_lasting_one_is_unavailable(target: Hosted) -> None:
    connector = armed(target)
    target.provider.fault = once((502, "<html>bad gateway</html>"), n=2)
    assert connector.status().state == "armed"
    target.provider.fault = once((500, {"error": "server_error"}), n=10_000)
    with pytest.raises(Unavailable, match="500"):
        connector.gate(2, at=AT)
    target.provider.fault = lambda call: None
    assert connector_suite.all_open(target)


def test_a_stalling_target_is_given_up_in_time(target: Hosted) -> None:
    connector = target.connector(timeout_s=0.3)
    connector.arm()
    target.provider.fault = once("STALL", n=10_000)
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"no answer in 0\.3 s"):
        connector.gate(2, at=AT)
    assert time.monotonic() - began < 10
    target.provider.fault = lambda call: None
    target.provider.let_go.set()
    assert target.connector().status().state == "armed"


def test_a_missing_right_is_named_and_nothing_changes(target: Hosted) -> None:
    connector = target.connector()
    target.provider.fault = lambda call: (403, {"error": "insufficient_scope"}) if "token" not in call.path else None
    for call in (connector.probe, connector.arm, lambda: connector.plant(1), lambda: connector.drain(None, limit=1)):
        with pytest.raises(Unavailable, match="lacks a right") as e:
            call()
        assert SECRET not in str(e.value)
    target.provider.fault = lambda call: None
    assert target.connector().status().state == "open"
    assert connector_suite.all_open(target)


def test_an_access_token_that_ended_is_renewed_once(target: Hosted) -> None:
    connector = armed(target)
    if target.kind == "okta":  # an API token does not end; one that was revoked is refused for good
        target.provider.admin_tokens.clear()
        with pytest.raises(Unavailable, match="401"):
            connector.status()
        return
    target.provider.admin_tokens.clear()
    assert connector.status().state == "armed"
    target.provider.fault = lambda call: (401, {"error": "invalid_token"}) if TOKEN_PATHS[target.kind] != call.path else None
    with pytest.raises(Unavailable, match="sign-in is refused"):
        connector.status()


def test_a_wrong_secret_is_refused_without_being_shown(target: Hosted) -> None:
    wrong = make(f"tocsin.credentials.adapters.{target.kind}.Adapter", target.options, "the-wrong-secret")
    with pytest.raises(Unavailable, match="401") as e:
        wrong.probe()
    assert "the-wrong-secret" not in repr(e.value) + repr(wrong)


def test_options_are_checked_all_at_once(target: Hosted) -> None:
    with pytest.raises(BadInput) as e:
        make(f"tocsin.credentials.adapters.{target.kind}.Adapter", {"door_client_id": 7, "surprise": 1}, SECRET)
    assert {f.field for f in e.value.faults} >= {"door_client_id", "surprise"}
    with pytest.raises(BadInput):
        make(f"tocsin.credentials.adapters.{target.kind}.Adapter", target.options, None)


def test_the_time_to_drain_is_computed_from_the_documented_limit(target: Hosted) -> None:
    options = {k: v for k, v in target.options.items() if k != "rate_per_s"}
    probe = make(f"tocsin.credentials.adapters.{target.kind}.Adapter", options, SECRET).probe()
    if target.kind == "keycloak":  # a server of the company's own: no documented limit
        assert (probe.write_rate_per_s, probe.drain_eta_s) == (None, None)
        return
    rate, days = {"okta": (5.0, "55.6 days"), "auth0": (16 / 3, "52.1 days"), "entra": (10.0, "27.8 days")}[target.kind]
    assert probe.write_rate_per_s == pytest.approx(rate)
    assert probe.drain_eta_s == pytest.approx(PEOPLE / rate)
    assert any(days in f.text for f in probe.findings)


def test_a_connector_that_stopped_half_way_through_arming_arms_again(target: Hosted) -> None:
    """Every write of `arm` is dropped in turn; the next `arm` and `gate` must still end every secret."""
    for k in range(12):
        seen = [0]

        def fault(call: Call, seen: list[int] = seen, k: int = k) -> str | None:
            if call.method == "GET" or call.path == TOKEN_PATHS[target.kind]:
                return None
            seen[0] += 1
            return "DROP" if seen[0] > k else None

        target.provider.fault = fault
        try:
            target.connector().arm()
        except Unavailable:
            pass
        else:
            break
        target.provider.fault = lambda call: None
        connector = armed(target)
        time.sleep(1.1 if target.kind == "keycloak" else 0)
        connector.gate(2, at=AT)
        assert connector_suite.none_opens(target), k
        connector.abort()
        assert connector_suite.all_open(target), k
    else:
        pytest.fail("arming never ended")


def test_canaries_tell_a_gate_that_somebody_took_away(target: Hosted) -> None:
    connector = target.connector()
    canaries = connector.plant(1)
    connector.arm()
    time.sleep(1.1)
    connector.gate(2, at=AT)
    assert not any(answer.accepted for answer in said(connector, canaries))
    connector.abort()  # what an administrator does by hand looks the same to a canary
    assert all(answer.accepted for answer in said(connector, canaries))


def test_draining_before_the_gate_is_refused(target: Hosted) -> None:
    with pytest.raises(Refused, match="gate"):
        armed(target).drain(None, limit=10)
    assert connector_suite.all_open(target)
    assert target.opens(next(iter(target.people)), NEW) is False


@pytest.mark.parametrize("mood", ["stall", "500", "redirect", "garbage", "gone"])
def test_the_okta_hook_and_the_auth0_action_fail_closed(mood: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each asks a gate that says yes to all, and then one that misbehaves. Okta passes over a hook that fails: it may only answer."""
    gate = GateStandIn(lambda subject: True)
    auth0 = Auth0()
    person = auth0.add("ann@example.org", "old password of ann")
    action = {
        "code": (ROOT / "clients/auth0/action.js").read_text(),
        "secrets": [{"name": "GATE_ID", "value": "g1"}, {"name": "GATE_URL", "value": gate.url}],
    }
    monkeypatch.setenv("GATE_URL", gate.url)
    monkeypatch.setenv("HOOK_KEY", "hook-key")
    try:
        assert ask_hook(person.id) == ("204 No Content", b"")
        assert auth0.run_action(action, person)
        if mood == "gone":
            gate.close()
        else:
            gate.mood = mood
        status, body = ask_hook(person.id)
        assert status == "200 OK"
        assert b'"error"' in body
        assert not auth0.run_action(action, person)
        person.metadata = {"tocsin_gate": "g1"}
        assert auth0.run_action(action, person)
        person.metadata = {"tocsin_gate": ""}
        assert not auth0.run_action({**action, "secrets": []}, person)
        assert ask_hook(person.id, key="guessed")[0].startswith("401")
    finally:
        auth0.close()
        if mood != "gone":
            gate.close()


def ask_hook(subject: str, *, key: str = "hook-key") -> tuple[str, bytes]:
    """Call the hook's application as its server does."""
    body = json.dumps({"data": {"context": {"user": {"id": subject}}}}).encode()
    said_status: list[str] = []
    environ = {"HTTP_AUTHORIZATION": key, "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
    answer = b"".join(hook.application(environ, lambda status, headers: said_status.append(status)))
    return said_status[0], answer
