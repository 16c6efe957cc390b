"""What the relay grants, from the configured source."""

from __future__ import annotations

from tocsin.kernel import config, wiring

from .port import QuotaSource
from .types import Quota


def current() -> Quota:
    """Return what the relay grants now. Raises Unavailable if it cannot be asked."""
    source: QuotaSource = wiring.load(config.current().mail.quota_source)()
    return source.quota()
