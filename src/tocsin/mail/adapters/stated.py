"""A quota that a relay has told its customer and that no program can ask for: `[mail] quota_per_day`, 0 for none."""

from __future__ import annotations

from tocsin.kernel import config
from tocsin.mail.types import Quota


class StatedQuota:
    """The port `mail.port.QuotaSource`: what the configuration says. How much of it is used is what we sent ourselves."""

    def quota(self) -> Quota:
        """Return the configured quota."""
        mail = config.current().mail
        rate = mail.rate_per_s if mail.rate_per_s < UNLIMITED_PER_S else None
        return Quota(per_day=mail.quota_per_day or None, used_of_day=None, rate_per_s=rate, p_bounced=None, p_complained=None)


UNLIMITED_PER_S = 100_000.0
