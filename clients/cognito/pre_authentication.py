"""AWS Lambda function of Tocsin's gate for an Amazon Cognito user pool: standard library and the boto3 that AWS's runtime holds.

Serves three triggers of the pool; Tocsin's connector writes its ARN into the pool's LambdaConfig when the gate falls:

    PreAuthentication     before a password is looked at: asks the gate
    PreTokenGeneration    before tokens are issued, also for a refresh token and a federated sign-in: lets members of the group
                          tocsin-through pass, asks the gate about all others
    PostConfirmation      after a person chose a new password in Cognito's own pages (PostConfirmation_ConfirmForgotPassword): puts the
                          person into the groups tocsin-changed, which Tocsin reads, and tocsin-through

Environment: GATE_URL (e.g. https://gate.example.org), GATE_KEY (optional bearer token), GATE_SUBJECT (which attribute names the subject to
the gate: `username` by default, or `sub`, or a custom attribute).

Role of the function: AWSLambdaBasicExecutionRole, and cognito-idp:AdminAddUserToGroup on the pool.

Fails closed: whatever is not a 200 or 204 of the gate within TIMEOUT_S raises, and Cognito then refuses the sign-in. Cognito gives a trigger
five seconds and calls it up to three times; TIMEOUT_S leaves room for a cold start. Source: Amazon Cognito developer guide, Lambda triggers.
"""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

TIMEOUT_S = 2.0
THROUGH, CHANGED = "tocsin-through", "tocsin-changed"
MESSAGE = "Incorrect username or password."  # what Cognito says to a wrong password: a caller learns nothing of the gate


class Refused(Exception):
    """The sign-in is refused. Cognito shows the message to the caller."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The gate never redirects; one who does is not the gate."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Return the event unchanged to let the sign-in go on; raises Refused otherwise."""
    source = str(event.get("triggerSource", ""))
    if source == "PostConfirmation_ConfirmForgotPassword":
        _note_change(event)
        return event
    if source.startswith("PostConfirmation_"):
        return event
    request = event.get("request") or {}
    groups = (request.get("groupConfiguration") or {}).get("groupsToOverride") or []
    if source.startswith("TokenGeneration_") and THROUGH in groups:
        return event
    if not _through(_subject(event, request)):
        raise Refused(MESSAGE)
    return event


def _note_change(event: dict[str, Any]) -> None:
    """Put a person into both groups. What fails here raises: Cognito says so to the person, who can ask for another code."""
    import boto3  # only here: the other triggers must not wait for it to load

    pool = boto3.client("cognito-idp", region_name=event["region"])
    for group in (CHANGED, THROUGH):
        pool.admin_add_user_to_group(UserPoolId=event["userPoolId"], Username=event["userName"], GroupName=group)


def _subject(event: dict[str, Any], request: dict[str, Any]) -> str:
    wanted = os.environ.get("GATE_SUBJECT", "username")
    if wanted == "username":
        return str(event.get("userName") or "")
    return str((request.get("userAttributes") or {}).get(wanted) or "")


def _through(subject: str) -> bool:
    base = os.environ.get("GATE_URL", "")
    if not base or not subject:
        return False
    request = urllib.request.Request(base.rstrip("/") + "/gate/v1/" + urllib.parse.quote(subject, safe=""))
    if os.environ.get("GATE_KEY"):
        request.add_header("Authorization", "Bearer " + os.environ["GATE_KEY"])
    opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            return answer.status in (200, 204)
    except (OSError, ValueError, http.client.HTTPException):  # URLError, HTTPError and time-outs are OSErrors
        return False
