"""A front before moto's Cognito that does what moto leaves out: it calls the pool's triggers, with the very function that we deliver.

Everything else goes through to moto, a server of its own in its own process. Stopping the front is how the tests take Cognito down.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
from botocore.exceptions import ClientError

from clients.cognito import pre_authentication

Reply = tuple[int, bytes]


class AwsFront:
    """Listens on a port of its own and passes on to moto at `moto_url`."""

    def __init__(self, moto_url: str, region: str) -> None:
        self.moto_url, self.region = moto_url, region
        self.aws = boto3.client(
            "cognito-idp", endpoint_url=moto_url, region_name=region, aws_access_key_id="test", aws_secret_access_key="test"
        )
        self.down, self.port = False, 0
        self.fault: Callable[[str], Reply | str | None] = lambda operation: None
        self.pools: dict[str, str] = {}  # app client -> pool
        self.let_go = threading.Event()
        self.operations: list[str] = []
        self.start()

    def start(self) -> None:
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                operation = (self.headers.get("X-Amz-Target") or "").rpartition(".")[2]
                front.operations.append(operation)
                reply = front.fault(operation)
                if front.down or reply == "DROP":
                    self.close_connection = True
                    return
                if reply == "STALL":
                    front.let_go.wait(20)
                    self.close_connection = True
                    return
                status, body = reply if isinstance(reply, tuple) else front.pass_on(operation, raw, dict(self.headers))
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Keep the test's output clean."""

        ThreadingHTTPServer.allow_reuse_address = True
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.down, self.port = False, self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        self.down = True
        self._server.shutdown()
        self._server.server_close()

    def close(self) -> None:
        self.let_go.set()
        self.stop()

    def pass_on(self, operation: str, raw: bytes, headers: dict[str, str]) -> Reply:
        told = json.loads(raw or b"{}")
        pool = self.pools.get(told.get("ClientId", ""))
        triggers = self.aws.describe_user_pool(UserPoolId=pool)["UserPool"].get("LambdaConfig", {}) if pool else {}
        try:
            if operation == "InitiateAuth" and told["AuthFlow"] == "USER_PASSWORD_AUTH" and triggers.get("PreAuthentication"):
                self.trigger(pool, told["AuthParameters"]["USERNAME"], "PreAuthentication_Authentication", {})
            status, body = self.moto(raw, headers)
            if status == 500 and told.get("AuthFlow") == "REFRESH_TOKEN_AUTH":
                # moto fails over a refresh token whose user was deleted; AWS refuses it.
                return 400, json.dumps({"__type": "NotAuthorizedException", "message": "Refresh Token has been revoked"}).encode()
            answer = json.loads(body or b"{}") if status == 200 else {}
            if operation == "InitiateAuth" and triggers.get("PreTokenGeneration") and "AuthenticationResult" in answer:
                user = self.aws.get_user(AccessToken=answer["AuthenticationResult"]["AccessToken"])["Username"]
                groups = [g["GroupName"] for g in self.aws.admin_list_groups_for_user(UserPoolId=pool, Username=user)["Groups"]]
                source = "Authentication" if told["AuthFlow"] == "USER_PASSWORD_AUTH" else "RefreshTokens"
                self.trigger(pool, user, f"TokenGeneration_{source}", {"groupConfiguration": {"groupsToOverride": groups}})
            if operation == "ConfirmForgotPassword" and status == 200 and triggers.get("PostConfirmation"):
                self.trigger(pool, told["Username"], "PostConfirmation_ConfirmForgotPassword", {})
        except (pre_authentication.Refused, ClientError) as e:
            return 400, json.dumps({"__type": "UserLambdaValidationException", "message": f"failed with error {e}."}).encode()
        return status, body

    def trigger(self, pool: str | None, user: str, source: str, request: dict[str, Any]) -> None:
        event = {"version": "1", "triggerSource": source, "region": self.region, "userPoolId": pool, "userName": user,
                 "callerContext": {"clientId": "c"}, "request": {"userAttributes": {}, **request}, "response": {}}  # fmt: skip
        pre_authentication.handler(event, None)

    def moto(self, raw: bytes, headers: dict[str, str]) -> Reply:
        kept = {k: v for k, v in headers.items() if k.lower() in {"x-amz-target", "content-type", "authorization", "x-amz-date"}}
        try:
            with urllib.request.urlopen(urllib.request.Request(self.moto_url, raw, kept), timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as e:
            return e.code, e.read()


def wait_for(url: str, seconds: float = 20) -> None:
    """Wait until something answers HTTP there."""
    end = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
