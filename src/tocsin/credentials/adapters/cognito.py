"""Amazon Cognito user pools, through the AWS API (boto3).

Gate: ONE `UpdateUserPool` writes the ARN of our function (clients/cognito/pre_authentication.py) into the pool's LambdaConfig for three
triggers: pre-authentication asks Tocsin's gate before a password is looked at; pre-token-generation does before tokens are issued, for
refresh tokens and federated sign-ins too; post-confirmation notes who chose a new password in Cognito's own pages. A trigger that raises,
is slow or may not be called makes Cognito refuse the sign-in. `UpdateUserPool` resets what it is not given, so everything that
DescribeUserPool tells is sent along.

The people who are through are members of the group tocsin-through; those who changed elsewhere are in tocsin-changed as well. Where the
cutover stands is the LambdaConfig and the description of tocsin-through.

Drain: `AdminSetUserPassword` with a random password, or `AdminResetUserPassword` with `drain_by = "reset"` (Cognito then MAILS A CODE to
each person, at its own pace and from its own address, and refuses accounts without a verified address); then `AdminUserGlobalSignOut`.

Limits: access tokens live to their end (5 minutes to a day) where an application checks them by itself. Cognito tells no date of a
password, and ListUsers does not filter by UserLastModifiedDate (only by the attributes that its reference lists), which any change of
any attribute moves: hence the group. Source: Amazon Cognito API reference and developer guide (Lambda triggers, quotas).
"""

from __future__ import annotations

import secrets as randomness
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tocsin.credentials.port import PLAIN, Changed, Drained, Finding, Gated, Presented, Probe, State, TargetCanary, TargetStatus
from tocsin.kernel.errors import BadInput, Busy, NotFound, Refused, Unavailable
from tocsin.kernel.private import Private

from ._hosted import BEHIND, CANARY, PLANT_MAX, POPULATION, THROUGH, bucket_of, limits, spoken
from ._http import BUDGET_S, reach_of, wanted

CHANGED = "tocsin-changed"
TRIGGERS = ("PreAuthentication", "PreTokenGeneration", "PostConfirmation")
PAGE = 60  # Source: ListUsers, Limit
CONNECT_S, READ_S, TRIES = 3, 6, 3
CHANGED_PAGES_MAX = 10_000
BUSY_CODES = {"TooManyRequestsException", "LimitExceededException", "ThrottlingException"}
REFUSALS = {"NotAuthorizedException", "UserLambdaValidationException", "PasswordResetRequiredException", "UserNotFoundException"}


class Adapter:
    """The port over one user pool."""

    kind = "cognito"

    def __init__(self, name: str, options: Mapping[str, Any], secret: Private[str] | None) -> None:
        taken = wanted(options, {"region": str, "user_pool_id": str, "client_id": str, "function_arn": str},
                       {"endpoint_url": str, "access_key_id": str, "rate_per_s": float, "canary_domain": str, "drain_by": str})  # fmt: skip
        if taken.get("drain_by", "random") not in ("random", "reset"):
            raise BadInput.of("drain_by", taken["drain_by"], "`random` or `reset`")
        if ("access_key_id" in taken) != (secret is not None):
            raise BadInput.of(
                "access_key_id", taken.get("access_key_id"), "an access key with its secret, or neither for the machine's role"
            )
        self.name, self._options, self._port = name, taken, f"cognito {name}"
        self._pool, self._client_id, self._arn = taken["user_pool_id"], taken["client_id"], taken["function_arn"]
        keys = {} if secret is None else {"aws_access_key_id": taken["access_key_id"], "aws_secret_access_key": secret.reveal()}
        config = Config(connect_timeout=CONNECT_S, read_timeout=READ_S, retries={"mode": "standard", "total_max_attempts": TRIES})
        self._aws = boto3.client("cognito-idp", region_name=taken["region"], endpoint_url=taken.get("endpoint_url"), config=config, **keys)
        self._bucket = bucket_of(self.kind, taken)
        limit = limits()[self.kind]
        self._accounts_per_s = limit.accounts_per_s(taken.get("rate_per_s"))

    def __repr__(self) -> str:
        return f"Adapter({self.name}: {self._pool})"

    def reach(self) -> Literal["loopback", "world"]:
        """Return `world`, unless endpoint_url leads to this machine."""
        return reach_of(self._options.get("endpoint_url", "https://amazonaws.com"))

    def probe(self) -> Probe:
        """Read the pool: its estimated size, its triggers, the documented quotas."""
        pool = self._describe()
        subjects = int(pool.get("EstimatedNumberOfUsers", 0))
        rate = self._accounts_per_s
        note = (f"one by one, 24 million accounts take {spoken(POPULATION / rate)} at {rate:g} a second (UserUpdate is not adjustable); "
                "the gate is one request")  # fmt: skip
        findings = [*self._findings(pool), Finding("note", note)]
        return Probe(kind=self.kind, subjects=subjects, classes=("password", "refresh"), formats=(PLAIN,), write_rate_per_s=rate,
                     drain_eta_s=subjects / rate, findings=tuple(findings))  # fmt: skip

    def _findings(self, pool: Mapping[str, Any]) -> list[Finding]:
        found = []
        for trigger in TRIGGERS:
            held = (pool.get("LambdaConfig") or {}).get(trigger)
            if held not in (None, self._arn):
                found.append(Finding("blocker", f"the pool has a {trigger} trigger of the company's own",
                                     "call Tocsin's handler from it, and name that function as function_arn"))  # fmt: skip
        found.append(Finding("warning", "access tokens live to their end where an application checks them by itself",
                             "shorten AccessTokenValidity of each app client"))  # fmt: skip
        if self._options.get("drain_by") == "reset":
            found.append(
                Finding("warning", "draining by reset makes Cognito mail a code to every account", 'drain_by = "random" mails nobody')
            )
        return found

    def arm(self) -> None:
        """Make the two groups anew, so that nobody is through from an earlier cutover."""
        pool = self._describe()
        state, *_ = self._stands(pool)
        if state == "armed" or state in BEHIND:
            return
        blockers = [f for f in self._findings(pool) if f.level == "blocker"]
        if blockers:
            raise Refused("; ".join(f"{f.text}: {f.remedy}" for f in blockers))
        self._empty("armed")

    def _empty(self, description: str) -> None:
        for group in (CHANGED, THROUGH):  # tocsin-through last: its description is what says where the cutover stands
            self._call("delete_group", GroupName=group, missing_ok=True)
            self._call("create_group", GroupName=group, Description=description)

    def gate(self, epoch: int, *, at: datetime) -> Gated:
        """Write the triggers into the pool: one request. A gate of a higher epoch makes both groups anew: nobody is through any more."""
        pool = self._describe()
        state, _, before = self._stands(pool)
        if state in BEHIND and before >= epoch:
            return Gated(0.0, f"was gated already under epoch {before}")
        if state not in BEHIND and state != "armed":
            raise Refused("the gate of this connector is not armed: arm it first")
        began = time.monotonic()
        dated = f"{int(self._server_time(pool))} {epoch}"
        if state in BEHIND:
            self._empty(f"{'gated' if state == 'gated' else 'draining'} {dated}")
            return Gated((time.monotonic() - began) * 1000, f"nobody is through for epoch {epoch}")
        # The instant goes first: a crash between the two leaves an armed pool with a date that the next call overwrites.
        self._call("update_group", GroupName=THROUGH, Description=f"armed {dated}")
        began = time.monotonic()
        self._update(pool, {**(pool.get("LambdaConfig") or {}), **dict.fromkeys(TRIGGERS, self._arn)})
        return Gated((time.monotonic() - began) * 1000, f"three triggers of {self._pool} call {self._arn} for epoch {epoch}")

    def plant(self, n: int) -> Sequence[TargetCanary]:
        """Make accounts of ours with a permanent password, and sign each in once for a refresh token."""
        if not 1 <= n <= PLANT_MAX:
            raise BadInput.of("n", n, f"1 to {PLANT_MAX} canaries")
        planted = []
        for _ in range(n):
            login = f"{CANARY}-{randomness.token_hex(8)}@{self._options.get('canary_domain', 'canary.invalid')}"
            password = "Aa1!" + randomness.token_urlsafe(18)
            attributes = [{"Name": "email", "Value": login}, {"Name": "email_verified", "Value": "true"}]
            made = self._call("admin_create_user", Username=login, UserAttributes=attributes, MessageAction="SUPPRESS")
            account = made["User"]["Username"]
            self._call("admin_set_user_password", Username=account, Password=password, Permanent=True)
            told = self._sign_in("USER_PASSWORD_AUTH", {"USERNAME": login, "PASSWORD": password})
            if not isinstance(told, dict):
                self._call("admin_delete_user", Username=account, missing_ok=True)
                raise Unavailable(self._port, f"a new canary is not signed in ({told}): allow ALLOW_USER_PASSWORD_AUTH to the app client, "
                                              "and plant before the gate falls")  # fmt: skip
            planted.append(TargetCanary(account, login, {"password": Private(password), "refresh": Private(str(told["RefreshToken"]))}))
        return planted

    def present(self, canary: TargetCanary) -> Sequence[Presented]:
        """Sign in as the company's application does (InitiateAuth), with each secret in turn."""
        answers = []
        for cred_class, secret in canary.secrets.items():
            if cred_class == "password":
                told = self._sign_in("USER_PASSWORD_AUTH", {"USERNAME": canary.login, "PASSWORD": secret.reveal()})
            else:
                told = self._sign_in("REFRESH_TOKEN_AUTH", {"REFRESH_TOKEN": secret.reveal()})
            accepted = isinstance(told, dict)
            answers.append(Presented(canary.account, cred_class, accepted, "tokens were issued" if accepted else str(told)))
        return answers

    def _sign_in(self, flow: str, parameters: Mapping[str, str]) -> dict[str, Any] | str:
        """Return the tokens, or why there are none. A challenge counts as let in: with NEW_PASSWORD_REQUIRED the old password chooses a new one."""
        try:
            told = self._aws.initiate_auth(ClientId=self._client_id, AuthFlow=flow, AuthParameters=dict(parameters))
        except ClientError as e:
            code = str(e.response["Error"]["Code"])
            if code in REFUSALS:
                return code
            raise self._fault("InitiateAuth", e) from None
        except BotoCoreError as e:
            raise Unavailable(self._port, f"InitiateAuth: {type(e).__name__}") from None
        return dict(told.get("AuthenticationResult") or {"ChallengeName": told.get("ChallengeName")})

    def uproot(self, canary: TargetCanary) -> None:
        """Delete an account of ours; one that is gone already is no fault."""
        self._call("admin_delete_user", Username=canary.account, missing_ok=True)

    def drain(self, cursor: str | None, *, limit: int) -> Drained:
        """Revoke one page of accounts at the documented rate; members of tocsin-through are passed by."""
        state, *_ = self._stands(self._describe())
        if state not in BEHIND:
            raise Refused("draining stands behind the gate: gate this connector first")
        token: dict[str, Any] = {"PaginationToken": cursor} if cursor else {}
        page = self._call("list_users", Limit=min(limit, PAGE), AttributesToGet=["sub"], **token)
        if state != "draining":
            self._note("draining")  # before the first account loses its password: from here on an abort is refused
        done, failed = 0, {}
        for user in page["Users"]:
            account = user["Username"]
            try:
                if THROUGH in self._groups_of(account):
                    continue
                self._pace()
                self._end(account)
                done += 1
            except NotFound:
                continue  # deleted since the page was read: nothing of it is left to revoke
            except Refused as e:
                failed[account] = str(e)
        following = page.get("PaginationToken")
        if following is None:
            self._note("drained")
        return Drained(done, failed, following)

    def _end(self, account: str) -> None:
        if self._options.get("drain_by") == "reset":
            self._call("admin_reset_user_password", Username=account)
        else:
            self._call("admin_set_user_password", Username=account, Password="Aa1!" + randomness.token_urlsafe(36), Permanent=True)
        self._call("admin_user_global_sign_out", Username=account)

    def abort(self) -> None:
        """Take our triggers out again. Raises Refused once draining has begun."""
        pool = self._describe()
        if self._stands(pool)[0] in {"draining", "drained"}:
            raise Refused("draining has begun: passwords and tokens that it ended do not come back")
        config = pool.get("LambdaConfig") or {}
        kept = {k: v for k, v in config.items() if v != self._arn and k != "PreTokenGenerationConfig"}
        if kept != config:
            self._update(pool, kept)
        for group in (THROUGH, CHANGED):
            self._call("delete_group", GroupName=group, missing_ok=True)

    def status(self) -> TargetStatus:
        """Read the pool's triggers and our group's description."""
        state, gated_at, _ = self._stands(self._describe())
        return TargetStatus(state, f"pool {self._pool}", gated_at)

    def set_password(self, account: str, secret: Private[str], *, format: str) -> None:
        """Set a permanent password, end older tokens, and put the account into tocsin-through; not before the gate falls, which ends this one too."""
        if format != PLAIN:
            raise BadInput.of("format", format, f"`{PLAIN}`: Cognito hashes by itself")
        self._pace()
        self._call("admin_set_user_password", Username=account, Password=secret.reveal(), Permanent=True)
        self._call("admin_user_global_sign_out", Username=account)
        if self._stands(self._describe())[0] != "armed":
            self._call("admin_add_user_to_group", Username=account, GroupName=THROUGH)

    def write_rate_limit(self) -> float | None:
        """Return the documented 25 a second, or what the options say."""
        return self._accounts_per_s

    def changed_elsewhere(self, since: str | None) -> Changed:
        """Return the members of tocsin-changed: all of them each time, for a membership has no date."""
        accounts: set[str] = set()
        token: dict[str, Any] = {}
        for _ in range(CHANGED_PAGES_MAX):
            page = self._call("list_users_in_group", GroupName=CHANGED, Limit=PAGE, missing_ok=True, **token)
            accounts.update(user["Username"] for user in (page or {}).get("Users", ()))
            following = (page or {}).get("NextToken")
            if not following:
                return Changed(tuple(sorted(accounts)), since or "all")
            token = {"NextToken": following}
        raise Unavailable(self._port, f"more than {CHANGED_PAGES_MAX * PAGE} changes elsewhere")

    # -- the pool ---------------------------------------------------------------------------------------------------------------

    def _describe(self) -> dict[str, Any]:
        told = self._call("describe_user_pool")
        return {**told["UserPool"], "_date": told["ResponseMetadata"].get("HTTPHeaders", {}).get("date")}

    def _server_time(self, pool: Mapping[str, Any]) -> float:
        return parsedate_to_datetime(pool["_date"]).timestamp() if pool.get("_date") else time.time()

    def _stands(self, pool: Mapping[str, Any]) -> tuple[State, datetime | None, int]:
        """Return state, instant and epoch of the gate. The triggers say `gated`; the description of tocsin-through is a word (`armed`, `gated`,
        `draining`, `drained`) and, from the gate on, its instant and epoch."""
        told = self._call("get_group", GroupName=THROUGH, missing_ok=True)
        config = pool.get("LambdaConfig") or {}
        falls = all(config.get(trigger) == self._arn for trigger in TRIGGERS)
        if told is None:
            return ("gated" if falls else "open"), None, 0
        if not falls:
            return "armed", None, 0
        word, at, epoch = (*(told["Group"].get("Description") or "gated").split(" "), "", "")[:3]
        gated_at = datetime.fromtimestamp(int(at), UTC) if at else None
        return ("draining" if word == "draining" else "drained" if word == "drained" else "gated"), gated_at, int(epoch or 0)

    def _note(self, state: str) -> None:
        told = self._call("get_group", GroupName=THROUGH)
        at = (told["Group"].get("Description") or "").partition(" ")[2]
        self._call("update_group", GroupName=THROUGH, Description=f"{state} {at}".strip())

    def _update(self, pool: Mapping[str, Any], triggers: Mapping[str, Any]) -> None:
        """Send everything that the pool is set to, with other triggers."""
        takes = set(self._aws.meta.service_model.operation_model("UpdateUserPool").input_shape.members)
        kept = {k: v for k, v in pool.items() if k in takes and v is not None and k != "UserPoolId"}
        if "AdminCreateUserConfig" in kept:  # deprecated, told still, and refused beside TemporaryPasswordValidityDays
            kept["AdminCreateUserConfig"] = {k: v for k, v in kept["AdminCreateUserConfig"].items() if k != "UnusedAccountValidityDays"}
        self._call("update_user_pool", **{**kept, "LambdaConfig": dict(triggers)})

    def _groups_of(self, account: str) -> set[str]:
        """Tocsin's groups are asked for by name among an account's first 60: the pool's own precedence does not reorder them."""
        names: set[str] = set()
        token: dict[str, Any] = {}
        for _ in range(10):
            page = self._call("admin_list_groups_for_user", Username=account, Limit=PAGE, **token)
            names.update(group["GroupName"] for group in page["Groups"])
            if not page.get("NextToken"):
                return names
            token = {"NextToken": page["NextToken"]}
        raise Refused("this account is in more than 600 groups: Cognito allows 100")

    def _pace(self) -> None:
        wait = self._bucket.take()
        if wait > BUDGET_S:
            raise Busy(f"{self._port}: the documented rate is used up", retry_after_s=wait)
        if wait > 0:
            time.sleep(wait)

    def _call(self, operation: str, *, missing_ok: bool = False, **arguments: Any) -> Any:
        try:
            return getattr(self._aws, operation)(UserPoolId=self._pool, **arguments)
        except ClientError as e:
            if missing_ok and e.response["Error"]["Code"] in {"ResourceNotFoundException", "UserNotFoundException"}:
                return None
            raise self._fault(operation, e) from None  # the cause holds the request's parameters
        except BotoCoreError as e:
            raise Unavailable(self._port, f"{operation}: {type(e).__name__}") from None

    def _fault(self, operation: str, e: ClientError) -> Exception:
        """Return our error for one of AWS: by its code, never its message, which may quote what was sent."""
        code = str(e.response["Error"]["Code"])
        if code == "UserNotFoundException":
            return NotFound("no such account")
        if code == "InvalidPasswordException":
            return BadInput.of("secret", "a password", "one that the pool's password policy allows")
        if code in BUSY_CODES:
            return Busy(f"{self._port}: {operation}: over the quota", retry_after_s=1.0)
        if operation in {"admin_reset_user_password", "admin_set_user_password"} and code in {
            "NotAuthorizedException",
            "InvalidParameterException",
        }:
            return Refused(
                f"Cognito does not change this account's password ({code}): it is disabled, federated or has no verified address"
            )
        advice = (
            " (the connector's role lacks the right for this operation)"
            if "AccessDenied" in code or code == "NotAuthorizedException"
            else ""
        )
        return Unavailable(self._port, f"{operation}: {code}{advice}")
