"""Any SCIM 2.0 service provider (RFC 7643, RFC 7644): applications and directories that take their accounts from outside.

SCIM has no verb that ends passwords and no door where a password could be presented. So:

Gate: the state of the cutover is ONE group, `tocsin-gate`, whose externalId `gate` writes in one request; those who are through are the
members of the group `tocsin-through`. The application's log-in must ask: either it reads those two groups (`door_asks = "groups"`: while
tocsin-gate says `gated` only members of tocsin-through come in), or it stands behind Tocsin's gate `/gate/v1` (`door_asks = "gate"`), whose
switch is the cutover's commit itself. Without either the provider accepts old passwords until the drain is through: `probe` says how long
that takes, and refuses to arm.

Drain: PATCH replaces each password with a random one, by /Bulk where the provider offers it. `drain_by = "deactivate"` sets active=false
instead, for providers that take no password (a new password then sets it back).

Door of the canaries: SCIM has none; `login_url` names the application's own (a POST of the form fields `login_fields`; 200, 204 or a redirect
elsewhere than to itself lets in; 400, 401, 403 do not). Without it there is no class to prove, and `probe` says so as a blocker.

Limits: SCIM tells no date of a password. `changed_elsewhere` names nobody; `meta.lastModified` moves with every attribute, and to lift the
gate for a changed telephone number would be worse than not to lift it. ETags (RFC 7644 s3.14) are sent back as If-Match where given: a
change between our reading and our writing is a conflict, read again and tried once more.
"""

from __future__ import annotations

import json
import secrets as randomness
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import httpx

from tocsin.credentials.port import PLAIN, Changed, Drained, Finding, Gated, Presented, Probe, State, TargetCanary, TargetStatus
from tocsin.kernel import clock
from tocsin.kernel.errors import BadInput, NotFound, Refused, Unavailable
from tocsin.kernel.private import Private

from ._hosted import BEHIND, CANARY, GATE, PLANT_MAX, THROUGH, spoken
from ._http import TIMEOUT_S, Bucket, Client, reach_of, wanted

PATCH_SCHEMA = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
BULK_SCHEMA = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
USER_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:Group"
TYPE = {"Content-Type": "application/scim+json"}
PAGE = 100
BULK_MAX = 100  # operations of ours in one request, or fewer if the provider says so
FOREVER_S = 10 * 365 * 86_400.0


class Adapter:
    """The port over one provider's /Users and /Groups."""

    kind = "scim"

    def __init__(self, name: str, options: Mapping[str, Any], secret: Private[str] | None) -> None:
        taken = wanted(options, {"url": str}, {"door_asks": str, "login_url": str, "login_fields": list, "drain_by": str, "rate_per_s": float,
                                               "timeout_s": float, "canary_domain": str})  # fmt: skip
        if taken.get("door_asks") not in (None, "groups", "gate"):
            raise BadInput.of("door_asks", taken["door_asks"], "`groups` or `gate`")
        if taken.get("drain_by", "password") not in ("password", "deactivate"):
            raise BadInput.of("drain_by", taken["drain_by"], "`password` or `deactivate`")
        self.name, self._options, self._port = name, taken, f"scim {name}"
        self._rate: float | None = taken.get("rate_per_s")
        sign_in = None if secret is None else (lambda _client: (secret.reveal(), FOREVER_S))
        self._client = Client(self._port, taken["url"], bucket=Bucket(self._rate, burst=max(1.0, (self._rate or 2.0) / 2)), sign_in=sign_in,
                              headers={"Accept": "application/scim+json"}, timeout_s=float(taken.get("timeout_s", TIMEOUT_S)))  # fmt: skip

    def __repr__(self) -> str:
        return f"Adapter({self.name}: {self._client.base_url})"

    def reach(self) -> Literal["loopback", "world"]:
        """Return `loopback` for a provider on this machine."""
        return reach_of(self._client.base_url)

    def probe(self) -> Probe:
        """Read the provider's configuration and count its users."""
        told = self._client.json("GET", "/ServiceProviderConfig")
        subjects = int(self._client.json("GET", "/Users", query={"count": 1, "attributes": "id"})["totalResults"])
        rate = self._accounts_per_s(told)
        return Probe(kind=self.kind, subjects=subjects, classes=("password",) if "login_url" in self._options else (), formats=(PLAIN,),
                     write_rate_per_s=self._rate, drain_eta_s=None if rate is None else subjects / rate,
                     findings=tuple(self._findings(told, subjects, rate)))  # fmt: skip

    def _accounts_per_s(self, told: Mapping[str, Any]) -> float | None:
        return None if self._rate is None else self._rate * (self._bulk_size(told) or 1)

    def _findings(self, told: Mapping[str, Any], subjects: int, rate: float | None) -> list[Finding]:
        found = []
        if "door_asks" not in self._options:
            eta = "as long as the drain takes" if rate is None else spoken(subjects / rate)
            found.append(Finding("blocker", f"SCIM has no switch: old passwords would go on for {eta}",
                                 'put the log-in behind /gate/v1 (door_asks = "gate") or let it read the groups (door_asks = "groups")'))  # fmt: skip
        if "login_url" not in self._options:
            found.append(
                Finding(
                    "warning", "SCIM has no door: nothing can be proved with canaries", "name the application's own log-in as login_url"
                )
            )
        if not (told.get("patch") or {}).get("supported"):
            found.append(Finding("blocker", "the provider does not support PATCH", "revoke in the application itself"))
        if not (told.get("changePassword") or {}).get("supported") and self._options.get("drain_by", "password") == "password":
            found.append(
                Finding("blocker", "the provider takes no password (changePassword is not supported)", 'set drain_by = "deactivate"')
            )
        if not self._bulk_size(told):
            found.append(Finding("note", "the provider takes no /Bulk: one request for each account"))
        found.append(Finding("warning", "SCIM tells no date of a password: changes in the application's own pages are not seen",
                             "let the application call Tocsin's reset page, or lift by hand"))  # fmt: skip
        return found

    def _bulk_size(self, told: Mapping[str, Any]) -> int:
        bulk = told.get("bulk") or {}
        return min(BULK_MAX, int(bulk.get("maxOperations") or 0)) if bulk.get("supported") else 0

    def arm(self) -> None:
        """Make the two groups anew. Raises Refused for a blocker."""
        if self._mark()["state"] != "open":
            return
        probe = self.probe()
        blockers = [f for f in probe.findings if f.level == "blocker"]
        if blockers:
            raise Refused("; ".join(f"{f.text}: {f.remedy}" for f in blockers))
        self._anew(THROUGH)
        self._anew(GATE, externalId=json.dumps({"state": "armed"}))  # last: it is what says `armed`

    def _anew(self, name: str, **more: str) -> None:
        """Put a group without members in the place of the one of that name."""
        old = self._group(name)
        if old is not None:
            self._client.call("DELETE", f"/Groups/{old['id']}", accept={404})
        self._client.call("POST", "/Groups", body={"schemas": [GROUP_SCHEMA], "displayName": name, **more}, headers=TYPE)

    def gate(self, epoch: int, *, at: datetime) -> Gated:
        """Write `gated` into the group tocsin-gate: one request. A gate of a higher epoch makes tocsin-through anew before it."""
        mark = self._mark()
        behind = mark["state"] in BEHIND
        if behind and int(mark["epoch"]) >= epoch:
            return Gated(0.0, f"was gated already under epoch {mark['epoch']}")
        if not behind and mark["state"] != "armed":
            raise Refused("the gate of this connector is not armed: arm it first")
        began = time.monotonic()
        if behind:
            self._anew(THROUGH)
        state = "draining" if mark["state"] in {"draining", "drained"} else "gated"
        self._note({"state": state, "gated_at": clock.iso(at), "epoch": epoch})
        return Gated((time.monotonic() - began) * 1000, f"the group {GATE} says gated; the log-in asks {self._options['door_asks']}")

    def plant(self, n: int) -> Sequence[TargetCanary]:
        """Make users of ours."""
        if not 1 <= n <= PLANT_MAX:
            raise BadInput.of("n", n, f"1 to {PLANT_MAX} canaries")
        planted = []
        for _ in range(n):
            login, password = (
                f"{CANARY}-{randomness.token_hex(8)}@{self._options.get('canary_domain', 'canary.invalid')}",
                randomness.token_urlsafe(24),
            )
            body = {
                "schemas": [USER_SCHEMA],
                "userName": login,
                "password": password,
                "active": True,
                "emails": [{"value": login, "primary": True}],
            }
            made = self._client.json("POST", "/Users", body=body, headers=TYPE)
            planted.append(TargetCanary(str(made["id"]), login, {"password": Private(password)} if "login_url" in self._options else {}))
        return planted

    def present(self, canary: TargetCanary) -> Sequence[Presented]:
        """Sign in at the application's own page. Without `login_url` there is nothing to present."""
        return [self._sign_in(canary, secret) for secret in canary.secrets.values()]

    def _sign_in(self, canary: TargetCanary, secret: Private[str]) -> Presented:
        user, password = self._options.get("login_fields", ["username", "password"])
        url = self._options["login_url"]
        try:
            answer = httpx.post(
                url, data={user: canary.login, password: secret.reveal()}, timeout=TIMEOUT_S, follow_redirects=False, trust_env=False
            )
        except httpx.HTTPError as e:
            raise Unavailable(self._port, f"the log-in does not answer: {type(e).__name__}") from None
        elsewhere = answer.is_redirect and urlsplit(answer.headers.get("location", "")).path not in ("", urlsplit(url).path)
        if not elsewhere and answer.status_code not in (200, 204, 302, 303, 400, 401, 403):
            raise Unavailable(self._port, f"the log-in answers {answer.status_code}: neither in nor out")
        return Presented(
            canary.account, "password", elsewhere or answer.status_code in (200, 204), f"the log-in answers {answer.status_code}"
        )

    def uproot(self, canary: TargetCanary) -> None:
        """Delete a user of ours; one that is gone already is no fault."""
        self._client.call("DELETE", f"/Users/{quote(canary.account, safe='')}", accept={404})

    def drain(self, cursor: str | None, *, limit: int) -> Drained:
        """Replace the passwords of one page of users, by /Bulk where there is one; members of tocsin-through are passed by."""
        mark = self._mark()
        if mark["state"] not in BEHIND:
            raise Refused("draining stands behind the gate: gate this connector first")
        start, size = int(cursor or 1), min(limit, PAGE)
        query = {"startIndex": start, "count": size, "sortBy": "id", "attributes": "id"}
        page = self._client.json("GET", "/Users", query=query)
        if mark["state"] != "draining":
            self._note({**mark, "state": "draining"})  # before the first user loses the password: from here on an abort is refused
        through = self._members()
        accounts = [row["id"] for row in page.get("Resources") or [] if row["id"] not in through]
        failed = self._end_all(accounts)
        following = start + len(page.get("Resources") or [])
        ended = following > int(page["totalResults"]) or not page.get("Resources")
        if ended:
            self._note({**mark, "state": "drained"})
        return Drained(len(accounts) - len(failed), failed, None if ended else str(following))

    def _end_all(self, accounts: Sequence[str]) -> dict[str, str]:
        size, failed = self._bulk_size(self._client.json("GET", "/ServiceProviderConfig")), {}
        for at in range(0, len(accounts), size or 1):
            some = accounts[at : at + (size or 1)]
            if not size:
                answer = self._client.call("PATCH", f"/Users/{some[0]}", body=self._ending(), headers=TYPE, accept={400, 403, 404, 409})
                if answer.status_code >= 400 and answer.status_code != 404:
                    failed[some[0]] = f"the provider answers {answer.status_code}"
                continue
            operations = [{"method": "PATCH", "path": f"/Users/{account}", "data": self._ending()} for account in some]
            told = self._client.json("POST", "/Bulk", body={"schemas": [BULK_SCHEMA], "Operations": operations}, headers=TYPE, repeat=True)
            done = told.get("Operations") or []
            for account, one in zip(some, done, strict=False):
                status = int(one["status"]["code"] if isinstance(one["status"], dict) else one["status"])
                if status >= 400 and status != 404:
                    failed[account] = f"the provider answers {status}"
            failed |= dict.fromkeys(some[len(done) :], "the provider left this operation out")
        return failed

    def _ending(self) -> dict[str, Any]:
        if self._options.get("drain_by") == "deactivate":
            operation = {"op": "replace", "path": "active", "value": False}
        else:
            operation = {"op": "replace", "path": "password", "value": "Aa1!" + randomness.token_urlsafe(36)}
        return {"schemas": [PATCH_SCHEMA], "Operations": [operation]}

    def abort(self) -> None:
        """Take both groups away. Raises Refused once draining has begun."""
        if self._mark()["state"] in {"draining", "drained"}:
            raise Refused("draining has begun: passwords that it ended do not come back")
        for name in (GATE, THROUGH):
            group = self._group(name)
            if group is not None:
                self._client.call("DELETE", f"/Groups/{group['id']}", accept={404})

    def status(self) -> TargetStatus:
        """Read the group tocsin-gate."""
        mark = self._mark()
        state: State = mark["state"]
        return TargetStatus(state, "", clock.parse_iso(mark["gated_at"]) if "gated_at" in mark else None)

    def set_password(self, account: str, secret: Private[str], *, format: str) -> None:
        """Replace a user's password and put the user into tocsin-through; not before the gate falls, which ends this one too."""
        if format != PLAIN:
            raise BadInput.of("format", format, f"`{PLAIN}`: a SCIM provider hashes by itself")
        path = f"/Users/{quote(account, safe='')}"
        operations: list[Mapping[str, Any]] = [
            {"op": "replace", "path": "password", "value": secret.reveal()},
            {"op": "replace", "path": "active", "value": True},
        ]
        if not self._patch(path, operations):
            raise NotFound("no such account")
        group = self._group(THROUGH)
        if group is None:
            raise Refused("no gate is armed at this provider: there is nothing to let anybody through")
        if self._mark()["state"] != "armed" and account not in {member["value"] for member in group.get("members") or []}:
            self._patch(f"/Groups/{group['id']}", [{"op": "add", "path": "members", "value": [{"value": account}]}])

    def write_rate_limit(self) -> float | None:
        """Return the configured rate: SCIM documents none."""
        return self._rate

    def changed_elsewhere(self, since: str | None) -> Changed:
        """Return nobody: SCIM tells no date of a password."""
        return Changed((), since or "none")

    # -- groups and writing -------------------------------------------------------------------------------------------------------

    def _group(self, name: str) -> dict[str, Any] | None:
        told = self._client.json("GET", "/Groups", query={"filter": f'displayName eq "{name}"'})
        return next((dict(row) for row in told.get("Resources") or [] if row.get("displayName") == name), None)

    def _members(self) -> set[str]:
        return {member["value"] for member in (self._group(THROUGH) or {}).get("members") or []}

    def _mark(self) -> dict[str, Any]:
        group = self._group(GATE)
        if group is None:
            return {"state": "open"}
        try:
            return dict(json.loads(group.get("externalId") or '{"state": "armed"}'))
        except ValueError as e:
            raise Unavailable(self._port, f"the group {GATE} is not ours") from e

    def _note(self, mark: Mapping[str, Any]) -> None:
        group = self._group(GATE)
        if group is None:
            raise Refused(f"the group {GATE} is gone: arm this connector again")
        self._patch(f"/Groups/{group['id']}", [{"op": "replace", "path": "externalId", "value": json.dumps(dict(mark), sort_keys=True)}])

    def _patch(self, path: str, operations: Sequence[Mapping[str, Any]]) -> bool:
        """Send a PATCH under the version that was just read; once more after a conflict. False if there is no such resource."""
        for _ in range(2):
            seen = self._client.call("GET", path, query={"attributes": "id,meta"}, accept={404})
            if seen.status_code == 404:
                return False
            version = seen.headers.get("etag") or (seen.json().get("meta") or {}).get("version")
            headers = {**TYPE, **({"If-Match": version} if version else {})}
            answer = self._client.call("PATCH", path, body={"schemas": [PATCH_SCHEMA], "Operations": list(operations)}, headers=headers,
                                       accept={400, 404, 409, 412})  # fmt: skip
            if answer.status_code == 404:
                return False
            if answer.status_code == 400:
                raise BadInput.of("secret", "a value", "one that the provider's rules allow")
            if answer.is_success:
                return True
        raise Unavailable(self._port, "the resource changes faster than it can be written")
