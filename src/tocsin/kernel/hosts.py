"""Whether a host is this machine."""

from __future__ import annotations

import contextlib
import ipaddress


def is_local(host: str) -> bool:
    """Return whether `host` is a loopback address or `localhost`. No name is looked up: any other name counts as another machine.

    Source: RFC 1122 s3.2.1.3 (127.0.0.0/8), RFC 4291 s2.5.3 (::1), RFC 6761 s6.3 (localhost).
    """
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
