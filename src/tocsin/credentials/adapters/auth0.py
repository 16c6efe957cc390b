"""Auth0, through its Management API v2.

Gate: ONE `PATCH /api/v2/actions/triggers/post-login/bindings` binds our Action in front of the tenant's others. The Action (the file
clients/auth0/action.js, deployed by `arm`) runs at every sign-in and every refresh token exchange and denies whoever does not carry this
gate's id in app_metadata, which only the Management API can write; an Action that fails or times out fails the sign-in. Each arming deploys
the Action under a new id, so nobody is through from an earlier cutover.

Drain: a random password, `DELETE users/{id}/sessions` and `DELETE users/{id}/refresh-tokens`.

Source: Auth0 Management API v2 (users, actions, logs), Authentication API (oauth/token). Access tokens already issued live to their end.
"""

from __future__ import annotations

import secrets as randomness
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from tocsin.credentials.port import Finding
from tocsin.kernel import clock
from tocsin.kernel.errors import BadInput, NotFound, Refused, Unavailable
from tocsin.kernel.private import Private

from ._hosted import GATE, HOSTED_OPTIONS, Hosted, Mark, Person, bucket_of, whole_seconds
from ._http import TIMEOUT_S, Client, client_credentials, wanted

BINDINGS = "/api/v2/actions/triggers/post-login/bindings"
METADATA = "tocsin_gate"
PAGE = 100
BUILD_TRIES = 20  # how often a new Action is asked whether it is built, at the documented rate


class Adapter(Hosted):
    """The port over one database connection of a tenant."""

    kind = "auth0"

    def __init__(self, name: str, options: Mapping[str, Any], secret: Private[str] | None) -> None:
        taken = wanted(options, {"url": str, "client_id": str, "door_client_id": str, "connection": str, "action_file": str},
                       {**HOSTED_OPTIONS, "audience": str, "gate_url": str})  # fmt: skip
        if secret is None:
            raise BadInput.of("secret", None, "the secret of the connector's client")
        url = taken["url"].rstrip("/")
        client = Client(f"auth0 {name}", url, bucket=bucket_of(self.kind, taken), timeout_s=float(taken.get("timeout_s", TIMEOUT_S)),
                        sign_in=client_credentials("/oauth/token", taken["client_id"], secret,
                                                   {"audience": taken.get("audience", f"{url}/api/v2/")}))  # fmt: skip
        super().__init__(name, client, taken)

    def _door(self) -> tuple[str, Mapping[str, str]]:
        return "/oauth/token", {"scope": "openid offline_access", "realm": self.options["connection"]}

    def _grant(self, form: Mapping[str, str]) -> dict[str, Any] | str:
        if form["grant_type"] == "password":  # the grant that names the database connection
            form = {**form, "grant_type": "http://auth0.com/oauth/grant-type/password-realm"}
        return super()._grant(form)

    def _bindings(self) -> list[dict[str, Any]]:
        return list(self.client.json("GET", BINDINGS, query={"per_page": 50})["bindings"])

    def _action(self) -> dict[str, Any] | None:
        """Return the Action that is bound, or else one that may be: two are there only while a later cutover changes them."""
        bound = {b["action"]["id"] for b in self._bindings()}
        return min(self._actions(), key=lambda a: a["id"] not in bound, default=None)

    def _actions(self) -> list[dict[str, Any]]:
        told = self.client.json("GET", "/api/v2/actions/actions", query={"triggerId": "post-login", "per_page": PAGE})
        return [a for a in told["actions"] if a["name"].startswith(f"{GATE}-")]

    def _mark(self) -> Mark:
        action = self._action()
        if action is None or not action.get("deployed_version"):
            return Mark("open")
        bound = next((b for b in self._bindings() if b["action"]["id"] == action["id"]), None)
        if bound is None:
            return Mark("armed", None, f"the Action {action['name']} is deployed and not bound")
        # The display name of the binding: "tocsin-gate gated 1794873600 2".
        _, state, at, epoch = bound["display_name"].split(" ")
        return Mark(state, whole_seconds(int(at)), f"the Action {action['name']} is bound to post-login", int(epoch))

    def _others(self) -> list[dict[str, Any]]:
        """Return the tenant's own bindings, as they are written."""
        ours = {a["id"] for a in self._actions()}
        return [{"ref": {"type": "action_id", "value": b["action"]["id"]}, "display_name": b["display_name"]}
                for b in self._bindings() if b["action"]["id"] not in ours]  # fmt: skip

    def _bind(self, state: str, at: int, epoch: int, action: Mapping[str, Any]) -> None:
        """Write the whole list of bindings, ours first: one request that takes effect as a whole."""
        ours = {"ref": {"type": "action_id", "value": action["id"]}, "display_name": f"{GATE} {state} {at} {epoch}"}
        self.client.call("PATCH", BINDINGS, body={"bindings": [ours, *self._others()]})

    def _subjects(self) -> int:
        return int(self.client.json("GET", "/api/v2/users", query={"per_page": 1, "include_totals": "true"})["total"])

    def _findings(self) -> Sequence[Finding]:
        found = [
            Finding("warning", "access tokens that were issued before the gate live to their end", "keep them short in each API's settings")
        ]
        if not Path(self.options["action_file"]).is_file():
            found.append(Finding("blocker", f"{self.options['action_file']!r} (action_file) is not there", "name clients/auth0/action.js"))
        return found

    def _prepare(self) -> None:
        self._deploy(self._action() or self._write())

    def _write(self) -> dict[str, Any]:
        """Make the Action under a new id: nobody carries it."""
        identity = randomness.token_hex(8)
        secrets = {"GATE_ID": identity, "GATE_URL": self.options.get("gate_url", "")}
        body = {"name": f"{GATE}-{identity}", "supported_triggers": [{"id": "post-login", "version": "v3"}], "runtime": "node22",
                "code": Path(self.options["action_file"]).read_text(),
                "secrets": [{"name": name, "value": value} for name, value in secrets.items() if value]}  # fmt: skip
        return dict(self.client.json("POST", "/api/v2/actions/actions", body=body))

    def _deploy(self, action: Mapping[str, Any]) -> None:
        path = f"/api/v2/actions/actions/{action['id']}"
        for _ in range(BUILD_TRIES):
            seen = self.client.json("GET", path)
            if seen.get("deployed_version"):
                return
            if seen["status"] == "built":
                self.client.call("POST", f"{path}/deploy", repeat=True)
                return
        raise Unavailable(self.client.port, "the new Action is not built yet: arm again in a minute")

    def _fall(self, epoch: int) -> str:
        action = self._action()
        if action is None:
            raise Refused("the gate's Action is gone: arm this connector again")
        self._bind("gated", int(self.client.now()), epoch, action)
        return f"the Action {action['name']} is bound for epoch {epoch}"

    def _fall_again(self, epoch: int, state: Literal["gated", "draining"]) -> str:
        """Bind a new Action in the place of the old one. It is built in seconds, during which those who are through still are."""
        bound = self._action()
        for left in self._actions():  # of a call that was cut short
            if bound is None or left["id"] != bound["id"]:
                self.client.call("DELETE", f"/api/v2/actions/actions/{left['id']}", accept={404})
        action = self._write()
        self._deploy(action)
        self._bind(state, int(self.client.now()), epoch, action)
        if bound is not None:
            self.client.call("DELETE", f"/api/v2/actions/actions/{bound['id']}", accept={404})
        return f"the Action {action['name']} is bound for epoch {epoch}"

    def _rise(self) -> None:
        actions = self._actions()
        if actions:
            self.client.call("PATCH", BINDINGS, body={"bindings": self._others()})
        for action in actions:
            self.client.call("DELETE", f"/api/v2/actions/actions/{action['id']}", accept={404})

    def _note(self, state: Literal["draining", "drained"]) -> None:
        mark, action = self._mark(), self._action()
        if action is not None and mark.gated_at is not None:
            self._bind(state, int(mark.gated_at.timestamp()), mark.epoch, action)

    def _identity(self) -> str:
        action = self._action()
        if action is None:
            raise Refused("no gate is armed at this tenant: there is nothing to let anybody through")
        return str(action["name"]).removeprefix(f"{GATE}-")

    def _page(self, cursor: str | None, limit: int) -> tuple[Sequence[Person], str | None]:
        """Page by user id: a search gives its first 1,000 users only, so each page begins behind the last id of the one before."""
        identity = self._identity()
        query = {"per_page": min(limit, PAGE), "sort": "user_id:1", "search_engine": "v3", "fields": "user_id,app_metadata",
                 **({"q": f'user_id:{{"{cursor}" TO *]'} if cursor else {})}  # fmt: skip
        rows = self.client.json("GET", "/api/v2/users", query=query)
        people = [Person(row["user_id"], (row.get("app_metadata") or {}).get(METADATA) == identity) for row in rows]
        return people, rows[-1]["user_id"] if len(rows) == query["per_page"] else None

    def _user(self, account: str) -> str:
        return f"/api/v2/users/{quote(account, safe='')}"

    def _end(self, account: str) -> None:
        body = {"password": "Aa1!" + randomness.token_urlsafe(36), "connection": self.options["connection"]}
        answer = self.client.call("PATCH", self._user(account), body=body, accept={400, 404})
        if answer.status_code == 404:
            raise NotFound("no such account")
        if answer.status_code == 400:
            raise Refused("Auth0 does not set a password for this account: its identity is not in this connection")
        self._end_sessions(account)

    def _end_sessions(self, account: str) -> None:
        self.client.call("DELETE", f"{self._user(account)}/sessions", accept={404})
        self.client.call("DELETE", f"{self._user(account)}/refresh-tokens", accept={404})

    def _give(self, account: str, secret: Private[str]) -> None:
        body = {"password": secret.reveal(), "connection": self.options["connection"]}
        answer = self.client.call("PATCH", self._user(account), body=body, accept={400, 404})
        if answer.status_code == 404:
            raise NotFound("no such account")
        if answer.status_code == 400:
            raise BadInput.of("secret", "a password", "one that the connection's password policy allows")
        self._end_sessions(account)

    def _let_through(self, account: str) -> bool:
        body = {"app_metadata": {METADATA: self._identity()}}
        return self.client.call("PATCH", self._user(account), body=body, accept={404}).status_code != 404

    def _create(self, login: str, password: str) -> str:
        body = {
            "email": login,
            "password": password,
            "connection": self.options["connection"],
            "email_verified": True,
            "verify_email": False,
        }
        return str(self.client.json("POST", "/api/v2/users", body=body)["user_id"])

    def _remove(self, account: str) -> None:
        self.client.call("DELETE", self._user(account), accept={404})

    def _changes(self, since: datetime) -> tuple[set[str], datetime | None]:
        """Read the tenant's log for `scp` (a password changed by its owner), oldest first. A search gives 1,000 entries at most."""
        accounts: set[str] = set()
        newest: datetime | None = None
        for page in range(10):
            rows = self.client.json("GET", "/api/v2/logs", query={"q": f"type:scp AND date:[{clock.iso(since)} TO *]", "sort": "date:1",
                                                                    "page": page, "per_page": PAGE})  # fmt: skip
            for row in rows:
                at = clock.parse_iso(row["date"])
                if at >= since and row.get("user_id"):
                    accounts.add(row["user_id"])
                    newest = max(newest or at, at)
            if len(rows) < PAGE:
                break
        return accounts, newest  # a full search goes on from the newest at the next call
