"""What Amazon SES grants an account: its send quota and how its mail has fared. Credentials and region come from the environment, as AWS has it."""

from __future__ import annotations

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from tocsin.kernel.errors import Unavailable
from tocsin.mail.types import Quota

PORT = "mail quota"


class SesQuota:
    """The port `mail.port.QuotaSource`. Source: Amazon SES API, GetSendQuota and GetSendStatistics (two weeks in steps of 15 minutes)."""

    def quota(self) -> Quota:
        """Ask SES. Raises Unavailable with its reason."""
        try:
            client = boto3.client("ses")
            granted = client.get_send_quota()
            points = client.get_send_statistics()["SendDataPoints"]
        except (BotoCoreError, ClientError) as e:
            raise Unavailable(PORT, f"SES does not tell its quota: {type(e).__name__}") from None
        tried = sum(p["DeliveryAttempts"] for p in points)
        return Quota(
            per_day=None if granted["Max24HourSend"] < 0 else int(granted["Max24HourSend"]),
            used_of_day=int(granted["SentLast24Hours"]),
            rate_per_s=float(granted["MaxSendRate"]) if granted["MaxSendRate"] > 0 else None,
            p_bounced=sum(p["Bounces"] for p in points) / tried if tried else None,
            p_complained=sum(p["Complaints"] for p in points) / tried if tried else None,
        )
