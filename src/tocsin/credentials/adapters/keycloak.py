"""Keycloak, through its Admin REST API.

Gate: ONE `PUT /admin/realms/{realm}` binds the gate's flows (browser, direct grant) in place of the realm's own and raises the realm's
not-before. The flows end passwords, not-before ends tokens: either alone leaves the other alive. The gate's flows are copies of the
company's with one conditional sub-flow, made of Keycloak's own parts (`conditional-user-role`, negated, on the role tocsin-through; then
`deny-access-authenticator`); clients/keycloak/README.md says how they are made in peacetime. What the gate changes, and what stood there
before, is kept in the realm attribute `tocsin.gate`.

Drain: the password credential is deleted, UPDATE_PASSWORD is required, sessions are logged out. The required action alone would not do:
the old password would still open the page that asks for a new one.

Source: Keycloak Admin REST API 26 (realms, users, roles, authentication-management, events). Not-before is compared in whole seconds and
a token of the very second passes, so the gate writes the second after the provider's clock.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote

from tocsin.credentials.port import Finding
from tocsin.kernel.errors import BadInput, NotFound, Unavailable
from tocsin.kernel.private import Private

from ._hosted import HOSTED_OPTIONS, THROUGH, Hosted, Mark, Person, bucket_of, whole_seconds
from ._http import TIMEOUT_S, Client, client_credentials, wanted

ATTRIBUTE = "tocsin.gate"
DENY, CONDITION = "deny-access-authenticator", "conditional-user-role"
EVENTS = ("UPDATE_PASSWORD", "RESET_PASSWORD", "UPDATE_CREDENTIAL")
PAGE = 100


class Adapter(Hosted):
    """The port over one realm."""

    kind = "keycloak"

    def __init__(self, name: str, options: Mapping[str, Any], secret: Private[str] | None) -> None:
        taken = wanted(options, {"url": str, "realm": str, "client_id": str, "door_client_id": str, "gate_browser_flow": str, "gate_direct_flow": str},
                       {**HOSTED_OPTIONS, "admin_realm": str})  # fmt: skip
        if secret is None:
            raise BadInput.of("secret", None, "the secret of the connector's client")
        realm = quote(taken["realm"], safe="")
        token_path = f"/realms/{quote(taken.get('admin_realm', taken['realm']), safe='')}/protocol/openid-connect/token"
        client = Client(f"keycloak {name}", taken["url"], bucket=bucket_of(self.kind, taken), timeout_s=float(taken.get("timeout_s", TIMEOUT_S)),
                        sign_in=client_credentials(token_path, taken["client_id"], secret, {}))  # fmt: skip
        super().__init__(name, client, taken)
        self._admin, self._realm_path = f"/admin/realms/{realm}", f"/realms/{realm}"

    def _door(self) -> tuple[str, Mapping[str, str]]:
        return f"{self._realm_path}/protocol/openid-connect/token", {"scope": "openid"}

    def _realm(self) -> dict[str, Any]:
        told = self.client.json("GET", self._admin)
        if not isinstance(told, dict) or "realm" not in told:
            raise Unavailable(self.client.port, "the realm's representation is not what the Admin API documents")
        return told

    def _mark(self) -> Mark:
        return _mark_of(self._realm())

    def _subjects(self) -> int:
        return int(self.client.json("GET", f"{self._admin}/users/count"))

    def _findings(self) -> Sequence[Finding]:
        realm, found = self._realm(), []
        for option in ("gate_browser_flow", "gate_direct_flow"):
            alias = self.options[option]
            answer = self.client.call("GET", f"{self._admin}/authentication/flows/{quote(alias, safe='')}/executions", accept={404})
            parts = [] if answer.status_code == 404 else answer.json()
            live = {e.get("providerId") for e in parts if e.get("requirement") == "REQUIRED"}
            if not {DENY, CONDITION} <= live:
                found.append(Finding("blocker", f"the flow {alias!r} ({option}) is missing or has no required {CONDITION} and {DENY}",
                                     "make it as clients/keycloak/README.md says"))  # fmt: skip
        if not realm.get("eventsEnabled"):
            found.append(Finding("warning", "the realm stores no user events: passwords changed in Keycloak's own pages are not seen",
                                 "switch on Save events for UPDATE_PASSWORD and RESET_PASSWORD"))  # fmt: skip
        lives = int(realm.get("accessTokenLifespan") or 0)
        found.append(Finding("note", f"access tokens that a service checks by itself live on for up to {lives} s after the gate"))
        return found

    def _empty(self) -> None:
        """Put a role that nobody has in the place of the old one. While there is none the flow's condition fails the sign-in."""
        self.client.call("DELETE", f"{self._admin}/roles/{THROUGH}", accept={404})
        self.client.call("POST", f"{self._admin}/roles", body={"name": THROUGH}, accept={409}, repeat=True)

    def _prepare(self) -> None:
        self._empty()
        realm = self._realm()
        before = {k: realm.get(k) for k in ("browserFlow", "directGrantFlow", "notBefore")}
        mark = _written(realm)
        if mark.get("state") == "armed":
            before = mark["before"]
        self._put(realm, {"state": "armed", "before": before})

    def _fall(self, epoch: int) -> str:
        return self._bind_for(epoch, "gated")

    def _fall_again(self, epoch: int, state: Literal["gated", "draining"]) -> str:
        self._empty()
        return self._bind_for(epoch, state)

    def _bind_for(self, epoch: int, state: str) -> str:
        realm = self._realm()
        mark = _written(realm)
        gated_at = int(self.client.now())
        self._put(realm, {**mark, "state": state, "gated_at": gated_at, "epoch": epoch}, browserFlow=self.options["gate_browser_flow"],
                  directGrantFlow=self.options["gate_direct_flow"], notBefore=gated_at)  # fmt: skip
        told = self.client.json("POST", f"{self._admin}/push-revocation", repeat=True) or {}
        missed = len(told.get("failedRequests") or [])
        return "flows bound and not-before raised" + (
            f"; {missed} clients did not take the push and learn it at their next check" if missed else ""
        )

    def _rise(self) -> None:
        realm = self._realm()
        mark = _written(realm)
        if mark:
            self._put(realm, None, **{k: v for k, v in mark["before"].items() if v is not None})
        self.client.call("DELETE", f"{self._admin}/roles/{THROUGH}", accept={404})

    def _note(self, state: Literal["draining", "drained"]) -> None:
        realm = self._realm()
        self._put(realm, {**_written(realm), "state": state})

    def _put(self, realm: dict[str, Any], mark: dict[str, Any] | None, **settings: Any) -> None:
        """Write our attribute and settings; everything not named stays. All attributes are sent, since the update replaces the map."""
        attributes = {k: v for k, v in (realm.get("attributes") or {}).items() if k != ATTRIBUTE}
        attributes[ATTRIBUTE] = "" if mark is None else json.dumps(mark, sort_keys=True)
        self.client.call("PUT", self._admin, body={"realm": realm["realm"], "attributes": attributes, **settings})

    def _page(self, cursor: str | None, limit: int) -> tuple[Sequence[Person], str | None]:
        first, size = int(cursor or 0), min(limit, PAGE)
        rows = self.client.json("GET", f"{self._admin}/users", query={"first": first, "max": size, "briefRepresentation": "true"})
        people = [Person(row["id"], self._is_through(row["id"])) for row in rows]
        return people, str(first + len(rows)) if len(rows) == size else None

    def _is_through(self, account: str) -> bool:
        answer = self.client.call("GET", f"{self._admin}/users/{account}/role-mappings/realm", accept={404})
        return answer.status_code != 404 and any(role["name"] == THROUGH for role in answer.json())

    def _end(self, account: str) -> None:
        user = f"{self._admin}/users/{account}"
        held = self.client.call("GET", f"{user}/credentials", accept={404})
        if held.status_code == 404:
            raise NotFound("no such account")
        for credential in held.json():
            if credential["type"] == "password":
                self.client.call("DELETE", f"{user}/credentials/{credential['id']}", accept={404})
        self.client.call("PUT", user, body={"requiredActions": ["UPDATE_PASSWORD"]}, accept={404})
        self.client.call("POST", f"{user}/logout", repeat=True, accept={404})

    def _give(self, account: str, secret: Private[str]) -> None:
        user = f"{self._admin}/users/{quote(account, safe='')}"
        body = {"type": "password", "value": secret.reveal(), "temporary": False}
        answer = self.client.call("PUT", f"{user}/reset-password", body=body, accept={400, 404})
        if answer.status_code == 404:
            raise NotFound("no such account")
        if answer.status_code == 400:
            raise BadInput.of("secret", "a password", "one that the realm's password policy allows")
        self.client.call("PUT", user, body={"requiredActions": []})
        self.client.call("POST", f"{user}/logout", repeat=True)

    def _let_through(self, account: str) -> bool:
        role = self.client.json("GET", f"{self._admin}/roles/{THROUGH}")
        answer = self.client.call("POST", f"{self._admin}/users/{quote(account, safe='')}/role-mappings/realm", accept={404}, repeat=True,
                                  body=[{"id": role["id"], "name": role["name"]}])  # fmt: skip
        return answer.status_code != 404

    def _create(self, login: str, password: str) -> str:
        body = {"username": login, "email": login, "emailVerified": True, "enabled": True, "firstName": "Tocsin", "lastName": "Canary",
                "credentials": [{"type": "password", "value": password, "temporary": False}]}  # fmt: skip
        answer = self.client.call("POST", f"{self._admin}/users", body=body)
        return str(answer.headers.get("location", "")).rpartition("/")[2]

    def _remove(self, account: str) -> None:
        self.client.call("DELETE", f"{self._admin}/users/{quote(account, safe='')}", accept={404})

    def _changes(self, since: datetime) -> tuple[set[str], datetime | None]:
        """Read the user events, newest first, in pages until one is older than `since`. Events are kept as long as the realm's expiry says."""
        accounts: set[str] = set()
        newest: datetime | None = None
        for page in range(self.pages_max):
            rows = self.client.json("GET", f"{self._admin}/events", query={"type": list(EVENTS), "dateFrom": since.strftime("%Y-%m-%d"),
                                                                             "first": page * PAGE, "max": PAGE})  # fmt: skip
            for row in rows:
                at = datetime.fromtimestamp(row["time"] / 1000, UTC)
                # RESET_PASSWORD and UPDATE_CREDENTIAL are also written for what failed or was not a password.
                password = row["type"] != "UPDATE_CREDENTIAL" or (row.get("details") or {}).get("credential_type") == "password"
                if at >= since and password and not row.get("error") and row.get("userId"):
                    accounts.add(row["userId"])
                    newest = max(newest or at, at)
            if len(rows) < PAGE or rows[-1]["time"] < since.timestamp() * 1000:
                return accounts, newest
        raise Unavailable(self.client.port, "more password changes than one reading takes: read more often")


def _written(realm: Mapping[str, Any]) -> dict[str, Any]:
    text = (realm.get("attributes") or {}).get(ATTRIBUTE) or ""
    if isinstance(text, list):  # older servers give attributes as lists
        text = text[0] if text else ""
    try:
        told = json.loads(text) if text else {}
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _mark_of(realm: Mapping[str, Any]) -> Mark:
    mark = _written(realm)
    if not mark:
        return Mark("open")
    at = whole_seconds(mark["gated_at"]) if "gated_at" in mark else None
    return Mark(mark["state"], at, f"not-before {realm.get('notBefore')}, browser flow {realm.get('browserFlow')!r}", int(mark.get("epoch", 0)))
