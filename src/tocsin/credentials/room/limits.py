"""What slows strangers down: wrong passwords for one login, letters asked for from one address or network, and links that do not work.

Nobody is refused for good.

All of it stands in the database, under keyed digests, so it holds on every node and after a restart. Known and unknown logins are treated
alike. The letters of a whole /24 share a wide allowance (2,000 at once, then ten a second): a campus or a mobile carrier behind one
address gets all its letters, the last of them at most a quarter of an hour late.

Links and codes that do not work have the same allowance, counted apart from letters. A link is looked at first and counted only if it is
dead, so somebody with a good one is never slowed, whoever shares the address: what keeps links from being guessed is their length.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from tocsin.credentials.places import Slowed, Source
from tocsin.kernel import config
from tocsin.kernel.sealing import lookup_digest

HOPS_MAX = 32  # of a X-Forwarded-For header that are looked at, from its end
NETWORK_BITS = {4: 24, 6: 48}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a try for a login comes from, under which it is counted: the login's digest and a keyed digest of login and place."""

    key: bytes
    trusted: bool


def origin(login: bytes, source: Source | None, *, trusted: bool) -> Origin | None:
    """Return from where a password is tried: a browser that the account remembers or has a session in (`trusted`), else its network.

    None if neither is known.
    """
    if trusted:
        return Origin(login + lookup_digest(f"{login.hex()} trusted", purpose="try-origin"), trusted=True)
    network = digests(source, purpose="try")[1] if source else None
    return Origin(login + lookup_digest(f"{login.hex()} {network.hex()}", purpose="try-origin"), trusted=False) if network else None


def reserve_try(login: bytes, *, at: datetime, origin: Origin | None = None) -> None:
    """Count one more password for a login before it is looked at. Raises Slowed while it must wait; that try is not counted.

    Counted for its origin, and with a wider limit for all together; a trusted origin, and one from which the right password came before,
    is not held back by what others tried.
    """
    with connection.cursor() as cursor:
        if origin is None:
            cursor.execute("SELECT credentials_reserve_try(%s, %s)", [login, at])
        else:
            cursor.execute("SELECT credentials_reserve_try_from(%s, %s, %s, %s)", [login, origin.key, origin.trusted, at])
        wait_s = float(cursor.fetchone()[0])
    if wait_s > 0:
        raise Slowed("too many passwords were tried for this login", retry_after_s=wait_s)


def forget_tries(login: bytes, *, at: datetime, origin: Origin | None = None) -> None:
    """Forget the wrong passwords of a login, altogether and from here: the right one came. Those from elsewhere stay counted there."""
    with connection.cursor() as cursor:
        if origin is None:
            cursor.execute("SELECT credentials_forget_tries(%s)", [login])
        else:
            cursor.execute("SELECT credentials_forget_tries_from(%s, %s, %s)", [login, origin.key, at])


def dead_link(source: Source, *, at: datetime) -> float:
    """Count a link or code that did not work, and return how many seconds its source should wait; 0 within the allowance.

    A source whose address is not known is not counted.
    """
    address, network = digests(source, purpose="dead")
    if address is None:
        return 0.0
    with connection.cursor() as cursor:
        cursor.execute("SELECT credentials_dead_link(%s, %s, %s)", [address, network, at])
        return float(cursor.fetchone()[0])


def networks(text: str) -> tuple[Network, ...]:
    """Return the networks named in a setting, separated by commas or spaces. Raises ValueError."""
    return tuple(ipaddress.ip_network(piece, strict=False) for piece in text.replace(",", " ").split())


def client_address(source: Source, *, trusted: Sequence[Network]) -> Address | None:
    """Return where a request comes from: the last address, read from the right, that is not a trusted proxy's. None if there is none.

    A client can write what it likes at the left of X-Forwarded-For; what a trusted proxy appended stands at the right. A peer that is not
    trusted is the client itself, whatever it claims. An entry that is no address ends the reading at the proxy that passed it on.
    """
    here = _address(source.peer)
    for hop in reversed(source.forwarded.split(",")[-HOPS_MAX:]):
        if here is None or not any(here in network for network in trusted):
            return here
        further = _address(hop.strip())
        if further is None:
            return here
        here = further
    return here


def digests(source: Source, *, purpose: str = "room") -> tuple[bytes | None, bytes | None]:
    """Return the keyed digests of the client's address and of its network for a purpose; None where the address is not known."""
    address = client_address(source, trusted=networks(config.current().web.trusted_proxies))
    if address is None:
        return None, None
    network = ipaddress.ip_network((address, NETWORK_BITS[address.version]), strict=False)
    return lookup_digest(str(address), purpose=f"{purpose}-address"), lookup_digest(str(network), purpose=f"{purpose}-network")


def _address(text: str) -> Address | None:
    if text.startswith("[") or text.count(":") == 1:  # with a port, as some proxies write it
        text = text.rpartition(":")[0].strip("[]") if not text.endswith("]") else text.strip("[]")
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, ipaddress.IPv6Address) else found
