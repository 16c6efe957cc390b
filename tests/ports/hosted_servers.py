"""Protocol servers of our own for Keycloak, Auth0, Okta and Entra: the documented endpoints over HTTP, and the faults of real tenants.

They are not the products. Each keeps the meaning that the provider documents (what a policy, a flow, an Action refuses; what a page link
looks like; which headers tell the rate) as far as the connector touches it, and knows nothing of the connector.
"""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from urllib.request import Request, urlopen

SECRET = "s3cret-of-the-connector"
Reply = tuple[int, Any] | tuple[int, Any, dict[str, str]]
ROOT = Path(__file__).parents[2]


def iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


@dataclass
class User:
    id: str
    login: str
    password: str | None
    changed: float
    through: set[str] = field(default_factory=set)  # groups or roles
    metadata: dict[str, Any] = field(default_factory=dict)
    required: list[str] = field(default_factory=list)
    expired: bool = False
    active: bool = True


class Call:
    """One request, taken apart."""

    def __init__(self, method: str, path: str, query: dict[str, list[str]], headers: Any, raw: bytes) -> None:
        self.method, self.path, self.query, self.headers, self.raw = method, path, query, headers, raw
        self.groups: tuple[str, ...] = ()

    def q(self, key: str, default: str = "") -> str:
        return self.query.get(key, [default])[0]

    @property
    def body(self) -> Any:
        return json.loads(self.raw) if self.raw else {}

    @property
    def form(self) -> dict[str, str]:
        return {k: v[0] for k, v in parse_qs(self.raw.decode()).items()}


class Provider:
    """Accounts, tokens, faults, and a server that can be stopped and started with all of it kept."""

    scheme = "Bearer"
    prefix = ""

    def __init__(self) -> None:
        self.users: dict[str, User] = {}
        self.admin_tokens: dict[str, float] = {}  # token -> the monotonic instant of its end
        self.token_lives_s = 300.0
        self.refresh: dict[str, tuple[str, float]] = {}  # token -> account, instant of issue
        self.events: list[dict[str, Any]] = []
        self.calls: list[tuple[str, str]] = []
        self.fault: Callable[[Call], Reply | str | None] = lambda call: None  # "STALL" never answers, "DROP" closes
        self.lock = threading.RLock()
        self.let_go = threading.Event()
        self.down = False
        self.routes: list[tuple[str, re.Pattern[str], Callable[[Call], Reply]]] = []
        self.port = 0
        self.start()

    def route(self, method: str, pattern: str, answer: Callable[[Call], Reply]) -> None:
        self.routes.append((method, re.compile(pattern + r"\Z"), answer))

    # -- server

    def start(self) -> None:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def answer(self) -> None:
                parts = urlsplit(self.path)
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if provider.down:  # a connection that was kept open does not outlive the server
                    self.close_connection = True
                    return
                call = Call(self.command, parts.path, parse_qs(parts.query, keep_blank_values=True), self.headers, raw)
                with provider.lock:
                    provider.calls.append((call.method, call.path))
                    reply = provider.fault(call)
                    if reply is None:
                        reply = provider.reply(call)
                if reply == "STALL":
                    provider.let_go.wait(20)
                    self.close_connection = True
                    return
                if reply == "DROP":
                    self.close_connection = True
                    return
                assert not isinstance(reply, str)
                status, body, headers = reply if len(reply) == 3 else (*reply, {})
                raw = b"" if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
                self.send_response(status)
                for key, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815  the standard library's names

            def log_message(self, *args: object) -> None:
                """Keep the test's output clean."""

        ThreadingHTTPServer.allow_reuse_address = True
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.down = False
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        self.down = True
        self._server.shutdown()
        self._server.server_close()

    def close(self) -> None:
        self.let_go.set()
        self.stop()

    def reply(self, call: Call) -> Reply:
        for method, pattern, answer in self.routes:
            match = pattern.match(call.path)
            if method == call.method and match:
                call.groups = tuple(unquote(g) for g in match.groups())
                if not getattr(answer, "public", False) and not self.signed(call):
                    return 401, {"error": "invalid_token"}
                return answer(call)
        return 404, {"error": "not_found"}

    def signed(self, call: Call) -> bool:
        scheme, _, token = (call.headers.get("Authorization") or "").partition(" ")
        return scheme == self.scheme and self.admin_tokens.get(token, 0) > time.monotonic()

    # -- people

    def add(self, login: str, password: str) -> User:
        user = User(self.prefix + secrets.token_hex(8), login, password, time.time())
        self.users[user.id] = user
        return user

    def by_login(self, login: str) -> User | None:
        return next((u for u in self.users.values() if u.login == login), None)

    def change_in_own_page(self, account: str, password: str) -> None:
        """What the provider does when a person resets the password by the provider's own mail."""
        user = self.users[account]
        user.password, user.changed, user.expired, user.required = password, time.time(), False, []
        self.end_tokens(account)
        self.log_change(user)

    def end_tokens(self, account: str) -> None:
        self.refresh = {t: held for t, held in self.refresh.items() if held[0] != account}

    # -- the door

    def token(self, call: Call) -> Reply:
        form = call.form
        if form["grant_type"] == "client_credentials":
            if form.get("client_secret") != SECRET:
                return 401, {"error": "invalid_client"}
            token = secrets.token_hex(16)
            self.admin_tokens[token] = time.monotonic() + self.token_lives_s
            return 200, {"access_token": token, "expires_in": self.token_lives_s, "token_type": "Bearer"}
        if form["client_id"] != "door":
            return 401, {"error": "invalid_client"}
        if form["grant_type"] == "refresh_token":
            held = self.refresh.get(form["refresh_token"])
            user = self.users.get(held[0]) if held else None
            if held is None or user is None or not user.active or not self.refresh_passes(user, held[1]):
                return 400, {"error": "invalid_grant"}
            return 200, {"access_token": secrets.token_hex(16), "expires_in": 300}
        user = self.by_login(form["username"])
        if user is None or not user.active or user.password is None or user.password != form["password"] or user.expired or user.required:
            return 400, {"error": "invalid_grant"}
        if not self.password_passes(user):
            return 403, {"error": "access_denied"}
        token = secrets.token_hex(16)
        self.refresh[token] = (user.id, time.time())
        return 200, {"access_token": secrets.token_hex(16), "refresh_token": token, "expires_in": 300}

    token.public = True  # type: ignore[attr-defined]

    def password_passes(self, user: User) -> bool:
        raise NotImplementedError

    def refresh_passes(self, user: User, issued: float) -> bool:
        raise NotImplementedError

    def log_change(self, user: User) -> None:
        raise NotImplementedError


def public(answer: Callable[[Call], Reply]) -> Callable[[Call], Reply]:
    def wrapped(call: Call) -> Reply:
        return answer(call)

    wrapped.public = True  # type: ignore[attr-defined]
    return wrapped


class Keycloak(Provider):
    """Realm `shop`. Flows are bound by the realm; not-before is compared in whole seconds, and the very second passes."""

    def __init__(self) -> None:
        gate = [
            {"providerId": "auth-username-password-form", "requirement": "REQUIRED"},
            {"providerId": "conditional-user-role", "requirement": "REQUIRED"},
            {"providerId": "deny-access-authenticator", "requirement": "REQUIRED"},
        ]
        self.flows = {"browser": [], "direct grant": [], "tocsin browser": gate, "tocsin direct": gate}
        self.roles: dict[str, str] = {}
        self.realm: dict[str, Any] = {
            "realm": "shop",
            "browserFlow": "browser",
            "directGrantFlow": "direct grant",
            "notBefore": 0,
            "eventsEnabled": True,
            "accessTokenLifespan": 300,
            "attributes": {"frontendUrl": "https://id.example"},
        }
        super().__init__()
        a = "/admin/realms/shop"
        self.route("POST", "/realms/shop/protocol/openid-connect/token", public(self.token))
        self.route("GET", a, lambda c: (200, self.realm))
        self.route("PUT", a, self.put_realm)
        self.route("POST", f"{a}/push-revocation", lambda c: (200, {"successRequests": [], "failedRequests": []}))
        self.route(
            "GET",
            f"{a}/authentication/flows/([^/]+)/executions",
            lambda c: (200, self.flows[c.groups[0]]) if c.groups[0] in self.flows else (404, {"error": "Flow not found"}),
        )
        self.route("GET", f"{a}/users/count", lambda c: (200, len(self.users)))
        self.route("GET", f"{a}/users", self.list_users)
        self.route("POST", f"{a}/users", self.create)
        self.route(
            "DELETE",
            f"{a}/users/([^/]+)",
            lambda c: (204, None) if self.users.pop(c.groups[0], None) else (404, {"error": "User not found"}),
        )
        self.route(
            "PUT", f"{a}/users/([^/]+)", lambda c: self.on(c, lambda u: setattr(u, "required", c.body.get("requiredActions", u.required)))
        )
        self.route("PUT", f"{a}/users/([^/]+)/reset-password", lambda c: self.on(c, lambda u: self.set_password(u, c.body["value"])))
        self.route("POST", f"{a}/users/([^/]+)/logout", lambda c: self.on(c, lambda u: self.end_tokens(u.id)))
        self.route("GET", f"{a}/users/([^/]+)/credentials", self.credentials)
        self.route("DELETE", f"{a}/users/([^/]+)/credentials/([^/]+)", lambda c: self.on(c, lambda u: setattr(u, "password", None)))
        self.route("GET", f"{a}/users/([^/]+)/role-mappings/realm", self.mappings)
        self.route("POST", f"{a}/users/([^/]+)/role-mappings/realm", lambda c: self.on(c, lambda u: u.through.add(c.body[0]["id"])))
        self.route(
            "GET",
            f"{a}/roles/([^/]+)",
            lambda c: (200, {"id": self.roles[c.groups[0]], "name": c.groups[0]}) if c.groups[0] in self.roles else (404, {}),
        )
        self.route("POST", f"{a}/roles", self.create_role)
        self.route("DELETE", f"{a}/roles/([^/]+)", lambda c: (204, None) if self.roles.pop(c.groups[0], None) else (404, {}))
        self.route("GET", f"{a}/events", self.list_events)

    def on(self, call: Call, do: Callable[[User], object]) -> Reply:
        user = self.users.get(call.groups[0])
        if user is None:
            return 404, {"error": "User not found"}
        do(user)
        return 204, None

    def put_realm(self, call: Call) -> Reply:
        told = call.body
        if told.get("browserFlow", "browser") not in self.flows or told.get("directGrantFlow", "browser") not in self.flows:
            return 400, {"error": "unknown flow"}
        self.realm.update(told)  # fields not named stay; the map of attributes is replaced
        self.realm["attributes"] = {k: v for k, v in self.realm["attributes"].items() if v != ""}
        return 204, None

    def list_users(self, call: Call) -> Reply:
        first, size = int(call.q("first", "0")), int(call.q("max", "100"))
        rows = sorted(self.users.values(), key=lambda u: u.login)[first : first + size]
        return 200, [{"id": u.id, "username": u.login} for u in rows]

    def create(self, call: Call) -> Reply:
        told = call.body
        if self.by_login(told["username"]):
            return 409, {"errorMessage": "User exists with same username"}
        user = self.add(told["username"], told["credentials"][0]["value"])
        return 201, None, {"Location": f"{self.url}/admin/realms/shop/users/{user.id}"}

    def set_password(self, user: User, password: str) -> None:
        user.password, user.changed = password, time.time()

    def credentials(self, call: Call) -> Reply:
        user = self.users.get(call.groups[0])
        if user is None:
            return 404, {"error": "User not found"}
        return 200, [{"id": "c1", "type": "password"}] * (user.password is not None) + [{"id": "c2", "type": "otp"}]

    def mappings(self, call: Call) -> Reply:
        user = self.users.get(call.groups[0])
        return (404, {}) if user is None else (200, [{"id": i, "name": n} for n, i in self.roles.items() if i in user.through])

    def create_role(self, call: Call) -> Reply:
        if call.body["name"] in self.roles:
            return 409, {"errorMessage": "Role with name already exists"}
        self.roles[call.body["name"]] = secrets.token_hex(8)
        return 201, None

    def list_events(self, call: Call) -> Reply:
        rows = [e for e in reversed(self.events) if e["type"] in call.query["type"] and iso(e["time"] / 1000)[:10] >= call.q("dateFrom")]
        return 200, rows[int(call.q("first", "0")) :][: int(call.q("max", "100"))]

    def password_passes(self, user: User) -> bool:
        return self.realm["directGrantFlow"] != "tocsin direct" or self.roles.get("tocsin-through") in user.through

    def refresh_passes(self, user: User, issued: float) -> bool:
        return int(issued) >= self.realm["notBefore"]

    def log_change(self, user: User) -> None:
        self.events.append({"time": int(time.time() * 1000), "type": "UPDATE_PASSWORD", "userId": user.id})


class Auth0(Provider):
    """A tenant with one database connection. A bound Action runs for real, in node, from the code that was deployed."""

    prefix = "auth0|"

    def __init__(self) -> None:
        self.actions: dict[str, dict[str, Any]] = {}
        self.bound: list[dict[str, Any]] = [{"ref": {"value": "theirs"}, "display_name": "consent"}]
        self.node: subprocess.Popen[str] | None = None
        super().__init__()
        v2 = "/api/v2"
        self.route("POST", "/oauth/token", public(self.token))
        self.route("GET", f"{v2}/users", self.list_users)
        self.route("POST", f"{v2}/users", self.create)
        self.route("PATCH", f"{v2}/users/([^/]+)", self.patch_user)
        self.route("DELETE", f"{v2}/users/([^/]+)", lambda c: (204, self.users.pop(c.groups[0], None) and None))
        self.route("DELETE", f"{v2}/users/([^/]+)/(?:sessions|refresh-tokens)", lambda c: (202, self.end_tokens(c.groups[0])))
        self.route("GET", f"{v2}/actions/actions", lambda c: (200, {"actions": [self.shown(a) for a in self.actions.values()]}))
        self.route("POST", f"{v2}/actions/actions", self.create_action)
        self.route("GET", f"{v2}/actions/actions/([^/]+)", self.get_action)
        self.route("POST", f"{v2}/actions/actions/([^/]+)/deploy", self.deploy)
        self.route("DELETE", f"{v2}/actions/actions/([^/]+)", self.delete_action)
        self.route(
            "GET",
            f"{v2}/actions/triggers/post-login/bindings",
            lambda c: (
                200,
                {"bindings": [{"id": "b", "display_name": b["display_name"], "action": {"id": b["ref"]["value"]}} for b in self.bound]},
            ),
        )
        self.route("PATCH", f"{v2}/actions/triggers/post-login/bindings", self.bind)
        self.route("GET", f"{v2}/logs", self.list_logs)

    def shown(self, action: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in action.items() if k != "secrets"}

    def list_users(self, call: Call) -> Reply:
        behind = re.search(r'\{"([^"]+)" TO \*\]', call.q("q"))
        rows = [u for u in sorted(self.users.values(), key=lambda u: u.id) if behind is None or u.id > behind[1]]
        size = int(call.q("per_page", "50"))
        shown = [{"user_id": u.id, "app_metadata": u.metadata} for u in rows[:size]]
        return 200, ({"users": shown, "total": len(rows)} if call.q("include_totals") == "true" else shown)

    def create(self, call: Call) -> Reply:
        return 201, {"user_id": self.add(call.body["email"], call.body["password"]).id}

    def patch_user(self, call: Call) -> Reply:
        user, told = self.users.get(call.groups[0]), call.body
        if user is None:
            return 404, {"errorCode": "inexistent_user"}
        if "password" in told:
            if told.get("connection") != "customers" or len(told["password"]) < 8:
                return 400, {"errorCode": "invalid_body"}
            user.password, user.changed = told["password"], time.time()
        user.metadata.update(told.get("app_metadata", {}))
        return 200, {"user_id": user.id}

    def create_action(self, call: Call) -> Reply:
        action = {**call.body, "id": secrets.token_hex(8), "status": "pending"}
        self.actions[action["id"]] = action
        return 201, self.shown(action)

    def get_action(self, call: Call) -> Reply:
        action = self.actions[call.groups[0]]
        shown = self.shown(action)
        action["status"] = "built"  # the build takes as long as one look
        return 200, shown

    def deploy(self, call: Call) -> Reply:
        action = self.actions[call.groups[0]]
        if action["status"] != "built":
            return 400, {"errorCode": "not_built"}
        action["deployed_version"] = {"number": 1}
        return 200, self.shown(action)

    def delete_action(self, call: Call) -> Reply:
        if any(b["ref"]["value"] == call.groups[0] for b in self.bound):
            return 409, {"errorCode": "action_bound"}
        return (204, None) if self.actions.pop(call.groups[0], None) else (404, {})

    def bind(self, call: Call) -> Reply:
        told = call.body["bindings"]
        if any(b["ref"]["value"] != "theirs" and not self.actions.get(b["ref"]["value"], {}).get("deployed_version") for b in told):
            return 400, {"errorCode": "action_not_deployed"}
        self.bound = told
        return 200, {"bindings": told}

    def list_logs(self, call: Call) -> Reply:
        since = re.search(r"date:\[(\S+) TO", call.q("q"))
        rows = [e for e in self.events if since is None or e["date"] >= since[1][:19]]
        size = int(call.q("per_page"))
        return 200, rows[int(call.q("page")) * size :][:size]

    def runs(self, user: User) -> bool:
        """Run what is bound, as Auth0 does: a denial ends the sign-in."""
        ours = [self.actions[b["ref"]["value"]] for b in self.bound if b["ref"]["value"] in self.actions]
        return all(self.run_action(action, user) for action in ours)

    def run_action(self, action: dict[str, Any], user: User) -> bool:
        if self.node is None:
            self.node = subprocess.Popen(
                ["node", str(ROOT / "tests/ports/run_action.js")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self.node.stdin is not None
        assert self.node.stdout is not None
        event = {"secrets": {s["name"]: s["value"] for s in action["secrets"]}, "user": {"user_id": user.id, "app_metadata": user.metadata}}
        self.node.stdin.write(json.dumps({"code": action["code"], "event": event}) + "\n")
        self.node.stdin.flush()
        return bool(json.loads(self.node.stdout.readline())["denied"] is None)

    def close(self) -> None:
        super().close()
        if self.node is not None:
            assert self.node.stdin is not None
            assert self.node.stdout is not None
            self.node.stdin.close()
            self.node.wait(10)
            self.node.stdout.close()

    def password_passes(self, user: User) -> bool:
        return self.runs(user)

    def refresh_passes(self, user: User, issued: float) -> bool:
        return self.runs(user)

    def token(self, call: Call) -> Reply:
        if call.form["grant_type"] == "password":
            return 403, {"error": "unauthorized_client"}  # the plain grant has no default connection here
        return super().token(call)

    def log_change(self, user: User) -> None:
        self.events.append({"type": "scp", "date": iso(time.time()), "user_id": user.id})


class Okta(Provider):
    """An organization. Sign-on policies by priority govern passwords; an active token hook is called over HTTP for every token."""

    scheme = "SSWS"
    prefix = "00u"

    def __init__(self) -> None:
        self.groups = {"00g-everyone": "Everyone"}
        self.policies: dict[str, dict[str, Any]] = {}
        self.hook = {"id": "cal1", "status": "INACTIVE", "uri": "", "key": "hook-key"}
        super().__init__()
        self.admin_tokens[SECRET] = float("inf")
        v1 = "/api/v1"
        self.route("POST", "/oauth2/default/v1/token", public(self.token))
        self.route("GET", f"{v1}/users", self.list_users)
        self.route(
            "POST",
            f"{v1}/users",
            lambda c: (200, {"id": self.add(c.body["profile"]["login"], c.body["credentials"]["password"]["value"]).id}),
        )
        self.route("POST", f"{v1}/users/([^/]+)", self.set_password)
        self.route("DELETE", f"{v1}/users/([^/]+)", self.delete_user)
        self.route("DELETE", f"{v1}/users/([^/]+)/sessions", lambda c: (204, self.end_tokens(c.groups[0])))
        self.route("POST", f"{v1}/users/([^/]+)/lifecycle/expire_password", self.expire)
        self.route(
            "GET", f"{v1}/users/([^/]+)/groups", lambda c: (200, [{"id": g} for g in ("00g-everyone", *self.users[c.groups[0]].through)])
        )
        self.route(
            "GET",
            f"{v1}/groups",
            lambda c: (200, [{"id": i, "profile": {"name": n}} for i, n in self.groups.items() if n.startswith(c.q("q"))]),
        )
        self.route("POST", f"{v1}/groups", self.create_group)
        self.route("DELETE", f"{v1}/groups/([^/]+)", lambda c: (204, self.groups.pop(c.groups[0], None) and None))
        self.route("PUT", f"{v1}/groups/([^/]+)/users/([^/]+)", self.join)
        self.route("GET", f"{v1}/policies", lambda c: (200, list(self.policies.values())))
        self.route("POST", f"{v1}/policies", self.create_policy)
        self.route("PUT", f"{v1}/policies/([^/]+)", self.put_policy)
        self.route("DELETE", f"{v1}/policies/([^/]+)", lambda c: (204, self.policies.pop(c.groups[0], None) and None))
        self.route("GET", f"{v1}/policies/([^/]+)/rules", lambda c: (200, self.policies[c.groups[0]]["rules"]))
        self.route("POST", f"{v1}/policies/([^/]+)/rules", lambda c: (200, self.policies[c.groups[0]]["rules"].append(c.body)))
        self.route(
            "POST", f"{v1}/policies/([^/]+)/lifecycle/(activate|deactivate)", lambda c: self.switch(self.policies[c.groups[0]], c.groups[1])
        )
        self.route("GET", f"{v1}/inlineHooks/cal1", lambda c: (200, self.hook))
        self.route("POST", f"{v1}/inlineHooks/(cal1)/lifecycle/(activate|deactivate)", lambda c: self.switch(self.hook, c.groups[1]))
        self.route("GET", f"{v1}/logs", self.list_logs)

    def list_users(self, call: Call) -> Reply:
        size, after = int(call.q("limit", "200")), call.q("after")
        rows = [u for u in sorted(self.users.values(), key=lambda u: u.id) if u.id > after]
        links = [f'<{self.url}/api/v1/users?limit={size}>; rel="self"']
        if len(rows) > size:
            links.append(f'<{self.url}/api/v1/users?after={rows[size - 1].id}&limit={size}>; rel="next"')
        return 200, [{"id": u.id, "passwordChanged": iso(u.changed)} for u in rows[:size]], {"Link": ", ".join(links)}

    def set_password(self, call: Call) -> Reply:
        user = self.users.get(call.groups[0])
        if user is None:
            return 404, {"errorCode": "E0000007"}
        user.password, user.changed, user.expired = call.body["credentials"]["password"]["value"], time.time(), False
        return 200, {"id": user.id}

    def delete_user(self, call: Call) -> Reply:
        user = self.users.get(call.groups[0])
        if user is None:
            return 404, {"errorCode": "E0000007"}
        if user.active:
            user.active = False
        else:
            del self.users[user.id]
        return 204, None

    def expire(self, call: Call) -> Reply:
        user = self.users.get(call.groups[0])
        if user is None:
            return 404, {"errorCode": "E0000007"}
        user.expired = True
        return 200, {"id": user.id}

    def create_group(self, call: Call) -> Reply:
        identity = "00g" + secrets.token_hex(8)
        self.groups[identity] = call.body["profile"]["name"]
        return 200, {"id": identity}

    def join(self, call: Call) -> Reply:
        group, account = call.groups
        if group not in self.groups or account not in self.users:
            return 404, {"errorCode": "E0000007"}
        self.users[account].through.add(group)
        return 204, None

    def create_policy(self, call: Call) -> Reply:
        identity = "00p" + secrets.token_hex(8)
        self.policies[identity] = {
            **call.body,
            "id": identity,
            "rules": [],
            "status": "ACTIVE" if call.q("activate") == "true" else "INACTIVE",
            "lastUpdated": iso(time.time()),
        }
        return 200, self.policies[identity]

    def put_policy(self, call: Call) -> Reply:
        self.policies[call.groups[0]].update(call.body, lastUpdated=iso(time.time()))
        return 200, self.policies[call.groups[0]]

    def switch(self, what: dict[str, Any], verb: str) -> Reply:
        what["status"] = "ACTIVE" if verb == "activate" else "INACTIVE"
        return 204, None

    def list_logs(self, call: Call) -> Reply:
        since = call.q("since")[:19]
        after = int(call.q("after", "0"))
        rows = [e for e in self.events if e["published"] >= since][after:][:1000]
        link = f'<{self.url}/api/v1/logs?since={since}&after={after + len(rows)}>; rel="next"'  # the log's next link never ends
        return 200, rows, {"Link": link}

    def password_passes(self, user: User) -> bool:
        for policy in sorted(self.policies.values(), key=lambda p: p["priority"]):
            include = set(policy["conditions"]["people"]["groups"]["include"])
            if policy["status"] == "ACTIVE" and policy["rules"] and include & {"00g-everyone", *user.through}:
                if policy["rules"][0]["actions"]["signon"]["access"] == "DENY":
                    return False
                break
        return self.hook_passes(user)

    def refresh_passes(self, user: User, issued: float) -> bool:
        return self.hook_passes(user)

    def hook_passes(self, user: User) -> bool:
        """Call the hook as Okta does: an error object refuses, anything wrong on the way is passed over."""
        if self.hook["status"] != "ACTIVE":
            return True
        body = json.dumps({"eventType": "com.okta.oauth2.tokens.transform", "data": {"context": {"user": {"id": user.id}}}}).encode()
        request = Request(self.hook["uri"], body, {"Authorization": self.hook["key"], "Content-Type": "application/json"})
        try:
            with urlopen(request, timeout=3) as answer:
                raw = answer.read()
        except OSError:
            return True
        return not (raw and "error" in json.loads(raw))

    def log_change(self, user: User) -> None:
        self.events.append(
            {
                "published": iso(time.time()),
                "eventType": "user.account.update_password",
                "outcome": {"result": "SUCCESS"},
                "actor": {"id": user.id},
                "target": [{"id": user.id, "type": "User"}],
            }
        )


class Entra(Provider):
    """A tenant. One server is both Graph and the login host."""

    def __init__(self) -> None:
        self.groups: dict[str, str] = {}
        self.policies: dict[str, dict[str, Any]] = {}
        super().__init__()
        v1, ca = "/v1.0", "/v1.0/identity/conditionalAccess/policies"
        self.route("POST", "/tenant/oauth2/v2.0/token", public(self.token))
        self.route("GET", f"{v1}/users/\\$count", self.count)
        self.route("GET", f"{v1}/users", self.list_users)
        self.route(
            "POST", f"{v1}/users", lambda c: (201, {"id": self.add(c.body["userPrincipalName"], c.body["passwordProfile"]["password"]).id})
        )
        self.route("PATCH", f"{v1}/users/([^/]+)", self.patch_user)
        self.route(
            "DELETE",
            f"{v1}/users/([^/]+)",
            lambda c: (204, None) if self.users.pop(c.groups[0], None) else (404, {"error": {"code": "Request_ResourceNotFound"}}),
        )
        self.route("POST", f"{v1}/users/([^/]+)/revokeSignInSessions", lambda c: (200, {"value": self.end_tokens(c.groups[0]) is None}))
        self.route(
            "POST",
            f"{v1}/users/([^/]+)/checkMemberGroups",
            lambda c: (200, {"value": [g for g in c.body["groupIds"] if g in self.users[c.groups[0]].through]}),
        )
        self.route(
            "GET", f"{v1}/groups", lambda c: (200, {"value": [{"id": i} for i, n in self.groups.items() if f"'{n}'" in c.q("$filter")]})
        )
        self.route("POST", f"{v1}/groups", self.create_group)
        self.route("DELETE", f"{v1}/groups/([^/]+)", lambda c: (204, self.groups.pop(c.groups[0], None) and None))
        self.route("POST", f"{v1}/groups/([^/]+)/members/\\$ref", self.join)
        self.route("GET", ca, lambda c: (200, {"value": list(self.policies.values())}))
        self.route("POST", ca, self.create_policy)
        self.route("PATCH", f"{ca}/([^/]+)", lambda c: (204, self.policies[c.groups[0]].update(c.body)))
        self.route("DELETE", f"{ca}/([^/]+)", lambda c: (204, self.policies.pop(c.groups[0], None) and None))
        self.route("GET", f"{v1}/auditLogs/directoryAudits", self.list_audits)

    def count(self, call: Call) -> Reply:
        if call.headers.get("ConsistencyLevel") != "eventual":
            return 400, {"error": {"code": "Request_BadRequest"}}
        return 200, "\ufeff" + str(len(self.users)), {"Content-Type": "text/plain"}

    def list_users(self, call: Call) -> Reply:
        size, after = int(call.q("$top", "100")), call.q("$skiptoken")
        rows = [u for u in sorted(self.users.values(), key=lambda u: u.id) if u.id > after]
        told: dict[str, Any] = {"value": [{"id": u.id, "lastPasswordChangeDateTime": iso(u.changed)} for u in rows[:size]]}
        if len(rows) > size:
            told["@odata.nextLink"] = f"{self.url}/v1.0/users?$top={size}&$skiptoken={rows[size - 1].id}"
        return 200, told

    def patch_user(self, call: Call) -> Reply:
        user = self.users.get(call.groups[0])
        if user is None:
            return 404, {"error": {"code": "Request_ResourceNotFound"}}
        profile = call.body["passwordProfile"]
        user.password, user.changed, user.expired = profile["password"], time.time(), profile["forceChangePasswordNextSignIn"]
        return 204, None

    def create_group(self, call: Call) -> Reply:
        identity = secrets.token_hex(8)
        self.groups[identity] = call.body["displayName"]
        return 201, {"id": identity}

    def join(self, call: Call) -> Reply:
        group, account = call.groups[0], call.body["@odata.id"].rpartition("/")[2]
        if group not in self.groups or account not in self.users:
            return 404, {"error": {"code": "Request_ResourceNotFound"}}
        if group in self.users[account].through:
            return 400, {"error": {"code": "Request_BadRequest"}}
        self.users[account].through.add(group)
        return 204, None

    def create_policy(self, call: Call) -> Reply:
        identity = secrets.token_hex(8)
        self.policies[identity] = {**call.body, "id": identity}
        return 201, self.policies[identity]

    def list_audits(self, call: Call) -> Reply:
        since = re.search(r"activityDateTime ge (\S+)", call.q("$filter"))
        skip = int(call.q("$skiptoken", "0"))
        rows = [e for e in self.events if since is None or e["activityDateTime"] >= since[1][:19]]
        told: dict[str, Any] = {"value": rows[skip : skip + 1]}  # pages of one: Graph may give fewer than were asked for
        if len(rows) > skip + 1:
            told["@odata.nextLink"] = (
                f"{self.url}/v1.0/auditLogs/directoryAudits?$filter={call.q('$filter').replace(' ', '%20')}&$skiptoken={skip + 1}"
            )
        return 200, told

    def blocked(self, user: User) -> bool:
        for policy in self.policies.values():
            who = policy["conditions"]["users"]
            if policy["state"] == "enabled" and user.id not in who["excludeUsers"] and not user.through & set(who["excludeGroups"]):
                return True
        return False

    def password_passes(self, user: User) -> bool:
        return not self.blocked(user)

    def refresh_passes(self, user: User, issued: float) -> bool:
        return not self.blocked(user)

    def log_change(self, user: User) -> None:
        self.events.append(
            {
                "activityDateTime": iso(time.time()),
                "activityDisplayName": "Reset password (self-service)",
                "result": "success",
                "initiatedBy": {"user": {"id": user.id}},
                "targetResources": [{"id": user.id}],
            }
        )
