"""What Amazon SES grants an account: its send quota, its standing, and how its mail has fared. Credentials and region come from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from tocsin.kernel.errors import Unavailable
from tocsin.mail.types import Quota

PORT = "mail quota"
STANDINGS = {
    "PROBATION": "the account is under review: mend bounces and complaints before SES stops it",
    "SHUTDOWN": "SES has stopped the account's sending: answer its review first",
}


class SesQuota:
    """The port `mail.port.QuotaSource`.

    Source: Amazon SES API v2, GetAccount (quota, standing, sandbox); GetSendStatistics (two weeks in steps of 15 minutes), which v2 lacks.
    """

    def quota(self) -> Quota:
        """Ask SES. Raises Unavailable with its reason."""
        try:
            account = boto3.client("sesv2").get_account()
            points = boto3.client("ses").get_send_statistics()["SendDataPoints"]
        except (BotoCoreError, ClientError) as e:
            raise Unavailable(PORT, f"SES does not tell its quota: {type(e).__name__}") from None
        tried, granted = sum(p["DeliveryAttempts"] for p in points), account.get("SendQuota", {})
        per_day, per_s = float(granted.get("Max24HourSend", 0)), float(granted.get("MaxSendRate", 0))
        return Quota(
            per_day=None if per_day < 0 else int(per_day),  # -1: no limit
            used_of_day=int(granted.get("SentLast24Hours", 0)),
            rate_per_s=per_s if per_s > 0 else None,
            p_bounced=sum(p["Bounces"] for p in points) / tried if tried else None,
            p_complained=sum(p["Complaints"] for p in points) / tried if tried else None,
            trouble=_trouble(account),
        )


def _trouble(account: Mapping[str, Any]) -> str:
    if standing := STANDINGS.get(account.get("EnforcementStatus", "")):
        return standing
    if not account.get("SendingEnabled", True):
        return "sending is switched off for the account"
    if not account.get("ProductionAccessEnabled", True):
        return "the account is in the sandbox, which takes mail to verified addresses only: ask for production access"
    return ""
