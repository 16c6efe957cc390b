"""Amazon Cognito: the promises of a connector against moto's server, with the pool's triggers called as AWS would (tests/ports/aws_front.py)."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from clients.cognito import pre_authentication
from tocsin.credentials.port import PLAIN, Connector
from tocsin.kernel.errors import BadInput, Busy, Refused, Unavailable
from tocsin.kernel.private import Private

from . import connector_suite
from .aws_front import AwsFront, wait_for
from .connector_suite import *  # noqa: F403  the promises themselves
from .connector_suite import AT, NEW, PEOPLE, make, said
from .gate_standin import GateStandIn

REGION, SECRET, ARN = "eu-west-1", "aws-secret-access-key-of-tocsin", "arn:aws:lambda:eu-west-1:123456789012:function:tocsin-gate"


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code = f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}/moto-api/")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


class Pool:
    """The target of the suite: a pool with thirty confirmed people."""

    secret = SECRET
    takes_passwords = True
    drains = True
    seconds_matter = False

    def __init__(self, moto_url: str) -> None:
        self.front = AwsFront(moto_url, REGION)
        self.aws = self.front.aws
        made = self.aws.create_user_pool(
            PoolName="shop", AutoVerifiedAttributes=["email"], MfaConfiguration="OFF", UserPoolTags={"team": "shop"},
            Policies={"PasswordPolicy": {"MinimumLength": 8, "RequireUppercase": False, "RequireLowercase": False, "RequireNumbers": False,
                                         "RequireSymbols": False}})  # fmt: skip
        self.pool = made["UserPool"]["Id"]
        client = self.aws.create_user_pool_client(UserPoolId=self.pool, ClientName="shop", ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH"])
        self.client_id = client["UserPoolClient"]["ClientId"]
        self.front.pools[self.client_id] = self.pool
        self.people = {}
        for k in range(PEOPLE):
            login, password = f"person{k}", f"old password {k} of a customer"
            attributes = [{"Name": "email", "Value": f"{login}@example.org"}, {"Name": "email_verified", "Value": "true"}]
            self.aws.admin_create_user(UserPoolId=self.pool, Username=login, MessageAction="SUPPRESS", UserAttributes=attributes)
            self.aws.admin_set_user_password(UserPoolId=self.pool, Username=login, Password=password, Permanent=True)
            self.people[login] = password
        self.stopped = False

    def connector(self, **more: Any) -> Connector:
        options = {"region": REGION, "user_pool_id": self.pool, "client_id": self.client_id, "function_arn": ARN, "access_key_id": "test",
                   "endpoint_url": self.front.url, "rate_per_s": 5000.0, **more}  # fmt: skip
        return make("tocsin.credentials.adapters.cognito.Adapter", options, SECRET)

    def door(self) -> Any:
        return boto3.client(
            "cognito-idp", endpoint_url=self.front.url, region_name=REGION, aws_access_key_id="x", aws_secret_access_key="x"
        )

    def opens(self, account: str, secret: str) -> bool:
        try:
            parameters = {"USERNAME": account, "PASSWORD": secret}
            told = self._door.initiate_auth(ClientId=self.client_id, AuthFlow="USER_PASSWORD_AUTH", AuthParameters=parameters)
        except ClientError:
            return False
        return "AuthenticationResult" in told

    @property
    def _door(self) -> Any:
        if not hasattr(self, "_kept_door"):
            self._kept_door = self.door()
        return self._kept_door

    def change(self, account: str, secret: str) -> None:
        self._door.forgot_password(ClientId=self.client_id, Username=account)
        self._door.confirm_forgot_password(ClientId=self.client_id, Username=account, ConfirmationCode="123456", Password=secret)

    def through(self, subject: str) -> bool:
        """Tocsin's gate knows its own lifts; here they are read where the connector and the trigger wrote them."""
        try:
            groups = self.aws.admin_list_groups_for_user(UserPoolId=self.pool, Username=subject)["Groups"]
        except ClientError:
            return False
        return any(g["GroupName"] == "tocsin-through" for g in groups)

    def stop(self) -> None:
        self.front.stop()
        self.stopped = True

    def start(self) -> None:
        self.front.start()
        self.stopped = False


@pytest.fixture
def gate() -> Iterator[GateStandIn]:
    standin = GateStandIn(lambda subject: False)
    yield standin
    standin.close()


@pytest.fixture
def target(moto_url: str, gate: GateStandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    target = Pool(moto_url)
    gate.through = target.through
    for key, value in {"GATE_URL": gate.url, "AWS_ENDPOINT_URL": moto_url, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}.items():
        monkeypatch.setenv(key, value)
    yield target
    if target.stopped:
        target.start()
    target.front.close()


def test_the_gate_changes_the_triggers_and_nothing_else(target: Pool) -> None:
    def settings() -> dict[str, Any]:
        pool = target.aws.describe_user_pool(UserPoolId=target.pool)["UserPool"]
        pool["AdminCreateUserConfig"].pop("UnusedAccountValidityDays", None)  # deprecated: Cognito tells it and refuses it
        return {k: v for k, v in pool.items() if k not in {"LambdaConfig", "LastModifiedDate"}}

    before = settings()
    connector = target.connector()
    connector.arm()
    connector.gate(2, at=AT)
    assert settings() == before
    config = target.aws.describe_user_pool(UserPoolId=target.pool)["UserPool"]["LambdaConfig"]
    assert {config[k] for k in ("PreAuthentication", "PreTokenGeneration", "PostConfirmation")} == {ARN}
    connector.abort()
    assert settings() == before
    assert ARN not in str(target.aws.describe_user_pool(UserPoolId=target.pool)["UserPool"].get("LambdaConfig"))


def test_a_trigger_of_the_companys_own_blocks_arming(target: Pool) -> None:
    theirs = ARN.replace("tocsin-gate", "theirs")
    target.aws.update_user_pool(UserPoolId=target.pool, LambdaConfig={"PreAuthentication": theirs})
    assert any(f.level == "blocker" for f in target.connector().probe().findings)
    with pytest.raises(Refused, match="function_arn"):
        target.connector().arm()


def test_the_hook_fails_closed(target: Pool, gate: GateStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Success and each refusal share one set-up: the gate says yes to all, and then something goes wrong."""
    first, password = next(iter(target.people.items()))
    connector = target.connector()
    connector.arm()
    connector.gate(2, at=AT)
    gate.through = lambda subject: subject == first
    assert target.opens(first, password)
    monkeypatch.setattr(pre_authentication, "TIMEOUT_S", 0.2)
    for mood in ("stall", "500", "redirect", "garbage"):
        gate.mood = mood
        assert not target.opens(first, password), mood
    gate.mood = "well"
    assert target.opens(first, password)
    monkeypatch.setenv("GATE_URL", "http://127.0.0.1:9")
    assert not target.opens(first, password)
    monkeypatch.setenv("GATE_URL", "")
    assert not target.opens(first, password)


def event(source: str, **more: Any) -> dict[str, Any]:
    return {"triggerSource": source, "userName": "ann/of the../hills", "request": {}, **more}


def test_the_hook_names_the_subject_and_carries_its_key(gate: GateStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE_URL", gate.url + "/")
    monkeypatch.setenv("GATE_KEY", "gate-key")
    gate.through = lambda subject: subject in {"ann/of the../hills", "s-1"}
    asked = event("PreAuthentication_Authentication")
    assert pre_authentication.handler(asked, None) is asked
    assert gate.asked[-1] == ("ann/of the../hills", "Bearer gate-key")
    monkeypatch.setenv("GATE_SUBJECT", "custom:subject")
    pre_authentication.handler(event("PreAuthentication_Authentication", request={"userAttributes": {"custom:subject": "s-1"}}), None)
    for request in ({}, {"userAttributes": {"custom:subject": "s-2"}}, {"userAttributes": None}):
        with pytest.raises(pre_authentication.Refused):
            pre_authentication.handler(event("PreAuthentication_Authentication", request=request), None)
    groups = {"groupConfiguration": {"groupsToOverride": ["tocsin-through"]}}
    pre_authentication.handler(event("TokenGeneration_RefreshTokens", request=groups), None)
    with pytest.raises(pre_authentication.Refused):  # a group says nothing in a trigger where the caller could have put it
        pre_authentication.handler(event("PreAuthentication_Authentication", request=groups), None)
    with pytest.raises(pre_authentication.Refused):
        pre_authentication.handler({}, None)


def test_a_reset_drain_leaves_accounts_without_a_verified_address_named(target: Pool) -> None:
    target.aws.admin_update_user_attributes(
        UserPoolId=target.pool, Username="person3", UserAttributes=[{"Name": "email_verified", "Value": "false"}]
    )
    connector = target.connector(drain_by="reset")
    connector.arm()
    connector.gate(2, at=AT)
    part = connector.drain(None, limit=60)
    assert set(part.failed) == {"person3"}
    assert part.done == PEOPLE - 1
    assert target.aws.admin_get_user(UserPoolId=target.pool, Username="person1")["UserStatus"] == "RESET_REQUIRED"


def test_a_quota_a_missing_right_and_a_stall_each_say_so(target: Pool) -> None:
    connector = target.connector()
    canaries = connector.plant(1)
    connector.arm()
    for code, wanted in (
        ("TooManyRequestsException", Busy),
        ("AccessDeniedException", Unavailable),
        ("InternalErrorException", Unavailable),
    ):
        status = 500 if code.startswith("Internal") else 400
        target.front.fault = lambda operation, code=code, status=status: (status, json.dumps({"__type": code, "message": NEW}).encode())
        with pytest.raises(wanted, match=r"quota|lacks the right|InternalError") as e:
            connector.gate(2, at=AT)
        assert NEW not in str(e.value)
    target.front.fault = lambda operation: None
    assert target.connector().status().state == "armed"
    assert all(answer.accepted for answer in said(connector, canaries))
    assert connector_suite.all_open(target)


def test_the_documented_quota_is_kept(target: Pool) -> None:
    connector = target.connector(rate_per_s=20.0)
    connector.arm()
    connector.gate(2, at=AT)
    began = time.monotonic()
    assert connector.drain(None, limit=30).done == 30
    assert time.monotonic() - began >= (30 - 10) / 20 * 0.9  # ten at once, then twenty a second
    options = {"region": REGION, "user_pool_id": target.pool, "client_id": "c", "function_arn": ARN, "endpoint_url": target.front.url,
               "access_key_id": "test"}  # fmt: skip
    probe = make("tocsin.credentials.adapters.cognito.Adapter", options, SECRET).probe()
    assert probe.write_rate_per_s == 25.0
    assert any("11.1 days" in f.text for f in probe.findings)


def test_options_and_passwords_are_checked(target: Pool) -> None:
    with pytest.raises(BadInput) as e:
        make("tocsin.credentials.adapters.cognito.Adapter", {"region": 1}, SECRET)
    assert {f.field for f in e.value.faults} >= {"region", "user_pool_id", "function_arn"}
    connector = target.connector()
    connector.arm()
    connector.gate(2, at=AT)
    with pytest.raises(BadInput):
        connector.set_password("person0", Private("short"), format=PLAIN)
