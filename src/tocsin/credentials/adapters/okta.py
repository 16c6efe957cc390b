"""Okta, through its management API.

Gate: ONE `POST /api/v1/policies/{id}/lifecycle/activate` puts in force a sign-on policy that `arm` wrote: everyone is denied. A policy
before it, always active, admits the members of the group tocsin-through. With `inline_hook_id` the gate first activates that token inline
hook (clients/okta/hook.py), which refuses refresh tokens and new tokens of custom authorization servers; without it refresh tokens are
not gated, and `probe` says so.

What a hook cannot do: Okta's documentation says that when a token hook does not answer in time the tokens are minted without it. So the
hook is never the gate of the password: the policy is, and it asks nobody.

Drain: `lifecycle/expire_password` and `DELETE users/{id}/sessions?oauthTokens=true`.

Source: Okta API reference (users, groups, policies, inline hooks, system log). Sign-in of the connector: an API token in the scheme SSWS.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote

from tocsin.credentials.port import Finding, State
from tocsin.kernel import clock
from tocsin.kernel.errors import BadInput, NotFound, Refused, Unavailable
from tocsin.kernel.private import Private

from ._hosted import GATE, HOSTED_OPTIONS, THROUGH, Hosted, Mark, Person, bucket_of, whole_seconds
from ._http import TIMEOUT_S, Client, wanted

PAGE = 200  # Source: Okta API reference, list users: limit
EVENTS = ("user.account.reset_password", "user.account.update_password")
NEXT = re.compile(r'<([^>]+)>;\s*rel="next"')
FOREVER_S = 10 * 365 * 86_400


class Adapter(Hosted):
    """The port over one Okta organization."""

    kind = "okta"

    def __init__(self, name: str, options: Mapping[str, Any], secret: Private[str] | None) -> None:
        taken = wanted(options, {"url": str, "door_client_id": str}, {**HOSTED_OPTIONS, "authorization_server": str, "inline_hook_id": str})
        if secret is None:
            raise BadInput.of("secret", None, "an API token")
        client = Client(f"okta {name}", taken["url"], bucket=bucket_of(self.kind, taken), timeout_s=float(taken.get("timeout_s", TIMEOUT_S)),
                        sign_in=lambda _client: (secret.reveal(), FOREVER_S), scheme="SSWS")  # fmt: skip
        super().__init__(name, client, taken)
        self._hook: str | None = taken.get("inline_hook_id")

    def _classes(self) -> tuple[str, ...]:
        return ("password", "refresh") if self._hook else ("password",)

    def _door(self) -> tuple[str, Mapping[str, str]]:
        return f"/oauth2/{self.options.get('authorization_server', 'default')}/v1/token", {"scope": "openid offline_access"}

    def _policy(self, name: str) -> dict[str, Any] | None:
        rows = self.client.json("GET", "/api/v1/policies", query={"type": "OKTA_SIGN_ON"})
        return next((row for row in rows if row["name"] == name), None)

    def _group(self, name: str) -> str | None:
        rows = self.client.json("GET", "/api/v1/groups", query={"q": name, "limit": 20})
        return next((str(row["id"]) for row in rows if row["profile"]["name"] == name), None)

    def _mark(self) -> Mark:
        policy = self._policy(GATE)
        if policy is None:
            return Mark("open")
        if policy["status"] != "ACTIVE":
            return Mark("armed", None, "the policy tocsin-gate is written and inactive")
        noted = policy.get("description")
        state: State = "draining" if noted == "draining" else "drained" if noted == "drained" else "gated"
        # Activating writes lastUpdated, and so do our notes: instant and epoch are kept in the description of the policy before ours.
        at, _, epoch = str((self._policy(THROUGH) or {}).get("description") or policy["lastUpdated"]).partition(" ")
        return Mark(state, clock.parse_iso(at), "the policy tocsin-gate is active", int(epoch or 0))

    def _subjects(self) -> int:
        """Count by paging, for the API has no total: one request per 200 accounts."""
        n, path = 0, "/api/v1/users"
        query: dict[str, Any] | None = {"limit": PAGE}
        for _ in range(POPULATION_PAGES_MAX):
            answer = self.client.call("GET", path, query=query)
            n += len(answer.json())
            following = NEXT.search(", ".join(answer.headers.get_list("link")))
            if following is None:
                return n
            path, query = following[1], None
        raise Unavailable(self.client.port, f"more than {POPULATION_PAGES_MAX} pages of accounts")

    def _findings(self) -> Sequence[Finding]:
        if self._hook is None:
            return [Finding("warning", "refresh tokens are not gated: a sign-on policy does not govern them",
                            "set up clients/okta/hook.py as a token inline hook and name it as inline_hook_id")]  # fmt: skip
        answer = self.client.call("GET", f"/api/v1/inlineHooks/{quote(self._hook, safe='')}", accept={404})
        if answer.status_code == 404:
            return [Finding("blocker", f"there is no inline hook {self._hook!r}", "name the id that Okta gave it as inline_hook_id")]
        return [Finding("warning", "when the token hook does not answer in time Okta issues tokens without it",
                        "watch the hook's failures in the system log; drain soon")]  # fmt: skip

    def _prepare(self) -> None:
        written = self._policy(GATE)
        if written is not None and self.client.json("GET", f"/api/v1/policies/{written['id']}/rules"):
            return
        everyone = self._group("Everyone")
        if everyone is None:
            raise Unavailable(self.client.port, "the built-in group Everyone is not listed: the token lacks a right on groups")
        self._write_policy(THROUGH, self._empty_group(), "ALLOW", priority=1, active=True)
        self._write_policy(GATE, everyone, "DENY", priority=2, active=False)

    def _empty_group(self) -> str:
        """Make the group of those who are through anew."""
        old = self._group(THROUGH)
        if old is not None:
            self.client.call("DELETE", f"/api/v1/groups/{old}", accept={404})
        profile = {"name": THROUGH, "description": "through the gate of a cutover"}
        return str(self.client.json("POST", "/api/v1/groups", body={"profile": profile})["id"])

    def _write_policy(self, name: str, group: str, access: str, *, priority: int, active: bool) -> None:
        left = self._policy(name)
        if left is not None:  # of an arming that was cut short: it speaks of a group that is gone
            self.client.call("DELETE", f"/api/v1/policies/{left['id']}", accept={404})
        policy = self.client.json("POST", "/api/v1/policies", query={"activate": str(active).lower()}, body={
            "type": "OKTA_SIGN_ON", "name": name, "priority": priority, "conditions": _of(group)})  # fmt: skip
        self.client.call("POST", f"/api/v1/policies/{policy['id']}/rules", body={
            "type": "SIGN_ON", "name": name, "actions": {"signon": {"access": access}}}, repeat=True, accept={409})  # fmt: skip

    def _fall(self, epoch: int) -> str:
        policy, first = self._policy(GATE), self._policy(THROUGH)
        if policy is None or first is None:
            raise Refused("the gate's policies are gone: arm this connector again")
        # The instant is written first: a crash between the two leaves an armed target with a date that the next call overwrites.
        self._put(first, description=self._dated(epoch))
        if self._hook:
            self.client.call("POST", f"/api/v1/inlineHooks/{quote(self._hook, safe='')}/lifecycle/activate", repeat=True)
        self.client.call("POST", f"/api/v1/policies/{policy['id']}/lifecycle/activate", repeat=True)
        return f"the policy {GATE} is active for epoch {epoch}"

    def _fall_again(self, epoch: int, state: Literal["gated", "draining"]) -> str:
        first = self._policy(THROUGH)
        if first is None:
            raise Refused("the gate's policies are gone: arm this connector again")
        group = self._empty_group()  # from here on the policy before ours admits nobody
        if state == "draining":
            self._note(state)
        self._put(first, conditions=_of(group), description=self._dated(epoch))
        return f"the policy {THROUGH} admits an empty group for epoch {epoch}"

    def _dated(self, epoch: int) -> str:
        return f"{clock.iso(whole_seconds(self.client.now()))} {epoch}"

    def _put(self, policy: Mapping[str, Any], **settings: Any) -> None:
        body = {k: policy[k] for k in ("type", "name", "priority", "conditions", "description") if k in policy} | settings
        self.client.call("PUT", f"/api/v1/policies/{policy['id']}", body=body)

    def _rise(self) -> None:
        policy = self._policy(GATE)
        if policy is not None:
            self.client.call("POST", f"/api/v1/policies/{policy['id']}/lifecycle/deactivate", repeat=True)
        if self._hook:
            self.client.call("POST", f"/api/v1/inlineHooks/{quote(self._hook, safe='')}/lifecycle/deactivate", repeat=True)
        for name in (GATE, THROUGH):
            left = self._policy(name)
            if left is not None:
                self.client.call("DELETE", f"/api/v1/policies/{left['id']}", accept={404})
        group = self._group(THROUGH)
        if group is not None:
            self.client.call("DELETE", f"/api/v1/groups/{group}", accept={404})

    def _note(self, state: Literal["draining", "drained"]) -> None:
        policy = self._policy(GATE)
        if policy is not None:
            self._put(policy, description=state)

    def _page(self, cursor: str | None, limit: int) -> tuple[Sequence[Person], str | None]:
        """The cursor is the `after` of Okta's own next link."""
        query = {"limit": min(limit, PAGE), **({"after": cursor} if cursor else {})}
        answer = self.client.call("GET", "/api/v1/users", query=query)
        gated_at, group = self._mark().gated_at, self._group(THROUGH)
        people = []
        for row in answer.json():
            changed = row.get("passwordChanged")
            # Group membership costs a request, so it is asked only of those whose password is no older than the gate.
            fresh = bool(changed) and gated_at is not None and clock.parse_iso(changed) >= gated_at
            people.append(Person(row["id"], fresh and self._is_member(row["id"], group)))
        following = NEXT.search(", ".join(answer.headers.get_list("link")))
        after = re.search(r"[?&]after=([^&]+)", following[1]) if following else None
        return people, after[1] if after else None

    def _is_member(self, account: str, group: str | None) -> bool:
        return any(row["id"] == group for row in self.client.json("GET", f"/api/v1/users/{account}/groups"))

    def _user(self, account: str) -> str:
        return f"/api/v1/users/{quote(account, safe='')}"

    def _end(self, account: str) -> None:
        answer = self.client.call("POST", f"{self._user(account)}/lifecycle/expire_password", accept={403, 404}, repeat=True)
        if answer.status_code == 404:
            raise NotFound("no such account")
        if answer.status_code == 403:
            raise Refused("Okta does not expire this account's password: it is not in a status that has one, or not Okta's own")
        self._end_sessions(account)

    def _end_sessions(self, account: str) -> None:
        self.client.call("DELETE", f"{self._user(account)}/sessions", query={"oauthTokens": "true"}, accept={404})

    def _give(self, account: str, secret: Private[str]) -> None:
        body = {"credentials": {"password": {"value": secret.reveal()}}}
        answer = self.client.call("POST", self._user(account), body=body, accept={400, 404}, repeat=True)
        if answer.status_code == 404:
            raise NotFound("no such account")
        if answer.status_code == 400:
            raise BadInput.of("secret", "a password", "one that the organization's password policy allows")
        self._end_sessions(account)

    def _let_through(self, account: str) -> bool:
        group = self._group(THROUGH)
        if group is None:
            raise Refused("no gate is armed at this organization: there is nothing to let anybody through")
        return self.client.call("PUT", f"/api/v1/groups/{group}/users/{quote(account, safe='')}", accept={404}).status_code != 404

    def _create(self, login: str, password: str) -> str:
        body = {
            "profile": {"firstName": "Tocsin", "lastName": "Canary", "email": login, "login": login},
            "credentials": {"password": {"value": password}},
        }
        return str(self.client.json("POST", "/api/v1/users", query={"activate": "true"}, body=body)["id"])

    def _remove(self, account: str) -> None:
        """Delete twice, as documented: the first call deactivates, the second deletes."""
        for _ in range(2):
            self.client.call("DELETE", self._user(account), accept={404})

    def _changes(self, since: datetime) -> tuple[set[str], datetime | None]:
        accounts: set[str] = set()
        newest: datetime | None = None
        asked = " or ".join(f'eventType eq "{event}"' for event in EVENTS)
        path = "/api/v1/logs"
        query: dict[str, Any] | None = {"since": clock.iso(since), "filter": asked, "limit": 1000, "sortOrder": "ASCENDING"}
        for _ in range(self.pages_max):
            answer = self.client.call("GET", path, query=query)
            rows = answer.json()
            for row in rows:
                at = clock.parse_iso(row["published"])
                # The actor tells a person's own change from an administrator's.
                own = [
                    t["id"] for t in row.get("target") or [] if t.get("type") == "User" and t["id"] == (row.get("actor") or {}).get("id")
                ]
                if at >= since and (row.get("outcome") or {}).get("result") == "SUCCESS" and own:
                    accounts.update(own)
                    newest = max(newest or at, at)
            following = NEXT.search(", ".join(answer.headers.get_list("link")))
            if following is None or not rows:  # the log's next link never ends; an empty page is its end
                return accounts, newest
            path, query = following[1], None
        raise Unavailable(self.client.port, "more password changes than one reading takes: read more often")


def _of(group: str) -> dict[str, Any]:
    """Return the condition of a policy that governs one group."""
    return {"people": {"groups": {"include": [group]}}}


POPULATION_PAGES_MAX = 1_000_000
