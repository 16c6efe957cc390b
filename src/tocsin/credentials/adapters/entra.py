"""Microsoft Entra, through Microsoft Graph v1.0.

Gate: ONE `PATCH /identity/conditionalAccess/policies/{id}` sets a policy that `arm` wrote from `disabled` to `enabled`: block all users on
all apps, except the group tocsin-through and the accounts of `emergency_accounts` (a company that locks out its last administrator has no
way back). Conditional access is evaluated when tokens are issued, for passwords and for refresh tokens alike, and needs no call to us.

What Entra leaves open: a policy takes effect within minutes, not in the same second, and an access token lives to its end (60 to 90
minutes) where an application does not do continuous access evaluation. The canaries tell when the policy is in force.

Drain: PATCH passwordProfile with a random password to be changed at the next sign-in, then revokeSignInSessions.

Source: Microsoft Graph reference v1.0 (user, group, conditionalAccessPolicy, directoryAudit); Microsoft identity platform, ROPC and
refresh grants. The door works for accounts of the tenant's own directory without a second factor only.
"""

from __future__ import annotations

import re
import secrets as randomness
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote

from tocsin.credentials.port import Finding
from tocsin.kernel import clock
from tocsin.kernel.errors import BadInput, NotFound, Refused, Unavailable
from tocsin.kernel.private import Private

from ._hosted import GATE, HOSTED_OPTIONS, THROUGH, Hosted, Mark, Person, bucket_of, whole_seconds
from ._http import TIMEOUT_S, Client, client_credentials, wanted

POLICIES = "/v1.0/identity/conditionalAccess/policies"
PAGE = 100
CHANGES = {"Change user password", "Change password (self-service)", "Reset password (self-service)"}  # Source: Entra audit activities
SKIP = re.compile(r"[?&]\$skiptoken=([^&]+)")


class Adapter(Hosted):
    """The port over one tenant."""

    kind = "entra"

    def __init__(self, name: str, options: Mapping[str, Any], secret: Private[str] | None) -> None:
        taken = wanted(options, {"tenant": str, "client_id": str, "door_client_id": str, "domain": str},
                       {**HOSTED_OPTIONS, "graph_url": str, "login_url": str, "emergency_accounts": list})  # fmt: skip
        if secret is None:
            raise BadInput.of("secret", None, "the secret of the connector's application")
        tenant = quote(taken["tenant"], safe="")
        graph = taken.get("graph_url", "https://graph.microsoft.com").rstrip("/")
        self._tokens = f"{taken.get('login_url', 'https://login.microsoftonline.com').rstrip('/')}/{tenant}/oauth2/v2.0/token"
        client = Client(f"entra {name}", graph, bucket=bucket_of(self.kind, taken), timeout_s=float(taken.get("timeout_s", TIMEOUT_S)),
                        sign_in=client_credentials(self._tokens, taken["client_id"], secret, {"scope": f"{graph}/.default"}))  # fmt: skip
        super().__init__(name, client, {"canary_domain": taken["domain"], **taken})

    def _door(self) -> tuple[str, Mapping[str, str]]:
        return self._tokens, {"scope": "openid offline_access"}

    def _policy(self) -> dict[str, Any] | None:
        rows = self.client.json("GET", POLICIES)["value"]
        return next((row for row in rows if row["displayName"].split(" ")[0] == GATE), None)

    def _group(self) -> str | None:
        rows = self.client.json("GET", "/v1.0/groups", query={"$filter": f"displayName eq '{THROUGH}'", "$select": "id"})["value"]
        return str(rows[0]["id"]) if rows else None

    def _mark(self) -> Mark:
        policy = self._policy()
        if policy is None:
            return Mark("open")
        if policy["state"] != "enabled":
            return Mark("armed", None, "the policy tocsin-gate is written and disabled")
        _, state, at, epoch = policy["displayName"].split(" ")  # "tocsin-gate gated 1794873600 2"
        return Mark(state, whole_seconds(int(at)), "the policy tocsin-gate is enabled", int(epoch))

    def _subjects(self) -> int:
        return int(self.client.call("GET", "/v1.0/users/$count", headers={"ConsistencyLevel": "eventual"}).text.lstrip("\ufeff"))

    def _findings(self) -> Sequence[Finding]:
        found = [Finding("warning", "access tokens live on for up to 90 minutes where an application does no continuous access evaluation",
                         "list those applications and restart their sessions by hand")]  # fmt: skip
        if not self.options.get("emergency_accounts"):
            found.append(Finding("blocker", "no emergency account is named: the gate would lock out the last administrator",
                                 "name the object ids of two emergency access accounts as emergency_accounts"))  # fmt: skip
        return found

    def _prepare(self) -> None:
        if self._policy() is not None:
            return
        block = {"operator": "OR", "builtInControls": ["block"]}
        body = {"displayName": GATE, "state": "disabled", "grantControls": block, "conditions": self._sparing(self._empty_group())}
        self.client.call("POST", POLICIES, body=body)

    def _empty_group(self) -> str:
        """Make the group of those who are through anew."""
        old = self._group()
        if old is not None:
            self.client.call("DELETE", f"/v1.0/groups/{old}", accept={404})
        made = self.client.json("POST", "/v1.0/groups", body={"displayName": THROUGH, "mailEnabled": False, "securityEnabled": True,
                                                               "mailNickname": THROUGH})  # fmt: skip
        return str(made["id"])

    def _sparing(self, group: str) -> dict[str, Any]:
        users = {"includeUsers": ["All"], "excludeUsers": list(self.options["emergency_accounts"]), "excludeGroups": [group]}
        return {"clientAppTypes": ["all"], "applications": {"includeApplications": ["All"]}, "users": users}

    def _write(self, policy: Mapping[str, Any], **settings: Any) -> None:
        self.client.call("PATCH", f"{POLICIES}/{policy['id']}", body=settings)

    def _fall(self, epoch: int) -> str:
        policy = self._policy()
        if policy is None:
            raise Refused("the gate's policy is gone: arm this connector again")
        self._write(policy, state="enabled", displayName=f"{GATE} gated {int(self.client.now())} {epoch}")
        return f"the policy {GATE} is enabled for epoch {epoch}; Entra spreads it within minutes"

    def _fall_again(self, epoch: int, state: Literal["gated", "draining"]) -> str:
        policy = self._policy()
        if policy is None:
            raise Refused("the gate's policy is gone: arm this connector again")
        group = self._empty_group()
        self._write(policy, displayName=f"{GATE} {state} {int(self.client.now())} {epoch}", conditions=self._sparing(group))
        return f"the policy {GATE} spares an empty group for epoch {epoch}; Entra spreads it within minutes"

    def _rise(self) -> None:
        policy = self._policy()
        if policy is not None:
            self._write(policy, state="disabled", displayName=GATE)
            self.client.call("DELETE", f"{POLICIES}/{policy['id']}", accept={404})
        group = self._group()
        if group is not None:
            self.client.call("DELETE", f"/v1.0/groups/{group}", accept={404})

    def _note(self, state: Literal["draining", "drained"]) -> None:
        policy, mark = self._policy(), self._mark()
        if policy is not None and mark.gated_at is not None:
            self._write(policy, displayName=f"{GATE} {state} {int(mark.gated_at.timestamp())} {mark.epoch}")

    def _page(self, cursor: str | None, limit: int) -> tuple[Sequence[Person], str | None]:
        """The cursor is the $skiptoken of Graph's own next link. Emergency accounts are passed by."""
        query = {"$top": min(limit, PAGE), "$select": "id,lastPasswordChangeDateTime", **({"$skiptoken": cursor} if cursor else {})}
        told = self.client.json("GET", "/v1.0/users", query=query)
        gated_at, group, people = self._mark().gated_at, self._group(), []
        for row in told["value"]:
            changed = row.get("lastPasswordChangeDateTime")
            # Group membership costs a request, so it is asked only of those whose password is no older than the gate.
            fresh = bool(changed) and gated_at is not None and clock.parse_iso(changed) >= gated_at
            spared = row["id"] in (self.options.get("emergency_accounts") or [])
            people.append(Person(row["id"], spared or (fresh and self._is_member(row["id"], group))))
        following = SKIP.search(told.get("@odata.nextLink") or "")
        return people, following[1] if following else None

    def _is_member(self, account: str, group: str | None) -> bool:
        return (
            group in self.client.json("POST", f"/v1.0/users/{account}/checkMemberGroups", body={"groupIds": [group]}, repeat=True)["value"]
        )

    def _user(self, account: str) -> str:
        return f"/v1.0/users/{quote(account, safe='')}"

    def _end(self, account: str) -> None:
        body = {"passwordProfile": {"password": "Aa1!" + randomness.token_urlsafe(36), "forceChangePasswordNextSignIn": True}}
        answer = self.client.call("PATCH", self._user(account), body=body, accept={403, 404})
        if answer.status_code == 404:
            raise NotFound("no such account")
        if answer.status_code == 403:
            raise Refused("Graph does not let this application reset the account's password: it holds a directory role, or is synchronized")
        self.client.call("POST", f"{self._user(account)}/revokeSignInSessions", repeat=True, accept={404})

    def _give(self, account: str, secret: Private[str]) -> None:
        body = {"passwordProfile": {"password": secret.reveal(), "forceChangePasswordNextSignIn": False}}
        answer = self.client.call("PATCH", self._user(account), body=body, accept={400, 404})
        if answer.status_code == 404:
            raise NotFound("no such account")
        if answer.status_code == 400:
            raise BadInput.of("secret", "a password", "one that the tenant's password policy allows")
        self.client.call("POST", f"{self._user(account)}/revokeSignInSessions", repeat=True)

    def _let_through(self, account: str) -> bool:
        group = self._group()
        if group is None:
            raise Refused("no gate is armed at this tenant: there is nothing to let anybody through")
        body = {"@odata.id": f"{self.client.base_url}/v1.0/directoryObjects/{account}"}
        # 400: the account is a member already (Graph says so with this status).
        return self.client.call("POST", f"/v1.0/groups/{group}/members/$ref", body=body, accept={400, 404}, repeat=True).status_code != 404

    def _create(self, login: str, password: str) -> str:
        body = {"accountEnabled": True, "displayName": "Tocsin canary", "mailNickname": login.partition("@")[0], "userPrincipalName": login,
                "passwordProfile": {"password": password, "forceChangePasswordNextSignIn": False}}  # fmt: skip
        return str(self.client.json("POST", "/v1.0/users", body=body)["id"])

    def _remove(self, account: str) -> None:
        self.client.call("DELETE", self._user(account), accept={404})

    def _changes(self, since: datetime) -> tuple[set[str], datetime | None]:
        """Read the directory's audit log, which keeps 7 to 30 days and lags by minutes."""
        accounts: set[str] = set()
        newest: datetime | None = None
        path: str = "/v1.0/auditLogs/directoryAudits"
        query: dict[str, Any] | None = {"$filter": f"category eq 'UserManagement' and activityDateTime ge {clock.iso(since)}", "$top": PAGE}
        for _ in range(self.pages_max):
            told = self.client.json("GET", path, query=query)
            for row in told["value"]:
                at = clock.parse_iso(row["activityDateTime"])
                own = [t["id"] for t in row.get("targetResources") or []
                       if t["id"] == ((row.get("initiatedBy") or {}).get("user") or {}).get("id")]  # fmt: skip
                if at >= since and row["activityDisplayName"] in CHANGES and row.get("result") == "success" and own:
                    accounts.update(own)
                    newest = max(newest or at, at)
            following = told.get("@odata.nextLink")
            if not following:
                return accounts, newest
            path, query = following, None
        raise Unavailable(self.client.port, "more password changes than one reading takes: read more often")
