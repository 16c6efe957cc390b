"""Sign in and out. A session is known by the SHA-256 of its id and carries the epoch under which the password was read."""

from __future__ import annotations

import secrets
from datetime import datetime

from django.db import connection

from tocsin.kernel import sql
from tocsin.kernel.errors import BadInput
from tocsin.kernel.private import Private
from tocsin.kernel.sealing import lookup_digest

from . import lease, policy
from .digests import digest
from .passwords import hashing
from .places import Source
from .room import limits
from .second import steps
from .types import PASSWORD_BYTES_MAX, TOKEN_SHAPE, SecondStep, SignedIn

__all__ = ["begin_sign_in", "digest", "log_in", "log_out", "login_of"]


def log_in(
    email: str, password: Private[str], *, at: datetime, population: str = "customers", counted: bool = True, source: Source | None = None
) -> str | None:
    """Return the id of a new session, or None; as `begin_sign_in`, for an account that needs no second step. For one that does: None."""
    begun = begin_sign_in(email, password, at=at, population=population, counted=counted, source=source)
    return begun.sid.reveal() if isinstance(begun, SignedIn) else None


def begin_sign_in(
    email: str,
    password: Private[str],
    *,
    at: datetime,
    population: str = "customers",
    counted: bool = True,
    source: Source | None = None,
    remembered: str = "",
) -> SignedIn | SecondStep | None:
    """Return a new session, or what a second step needs; None for a wrong password, an ended one and an unknown address, at the same price.

    Raises BadInput for a password over the limit, Slowed after too many wrong ones in a row (`counted`; canaries are not), Busy when all
    hashing slots are taken, Unavailable without a lease. No transaction is open while the hash is computed. If a cutover commits between
    reading the hash and writing the session, the session is dead at birth: it carries the epoch that was read. Whether there is a second
    step is asked only after a right password: a wrong one tells nothing of it. Tries are counted by login and network of the `source`, so a
    stranger elsewhere does not slow the owner; a browser with a live remember-me token of the account is counted by itself.
    """
    lease.check()
    if len(password.reveal().encode("utf-8", "surrogatepass")) > PASSWORD_BYTES_MAX:
        raise BadInput.of("password", "a very long text", f"at most {PASSWORD_BYTES_MAX} bytes")
    login = login_of(email)
    found = sql.rows("credentials", "credential_of_login", population=population, login=login)
    account, session_epoch, version, stored = found[0] if found else (None, 0, 0, None)
    origin = limits.origin(login, source, trusted=_remembers(account, remembered, at=at)) if counted else None
    with hashing.slots.slot():
        if counted:
            limits.reserve_try(login, at=at, origin=origin)  # in the slot: whom the queue turned away has not tried
        right = hashing.matches(stored, password, ours=version > 0)  # an import brings version 0, a reset raises it
    if not right:
        return None
    lease.check()  # the hash may have waited longer than the lease
    if counted:
        limits.forget_tries(login, at=at, origin=origin)
    if classes := steps.classes_of(account):
        return steps.ticket_for(account, epoch=session_epoch, version=version, classes=classes, at=at)
    sid = secrets.token_urlsafe(32)
    with connection.cursor() as cursor:
        cursor.execute("SELECT credentials_open_session(%s, %s, %s, %s, %s)", [digest(sid), account, session_epoch, version, at])
    return SignedIn(sid=Private(sid))


def _remembers(account: int | None, token: str, *, at: datetime) -> bool:
    """Tell whether a remember-me token is this account's and live. Asks only if there can be one."""
    if not TOKEN_SHAPE.fullmatch(token):
        return False
    return any(row[0] == account for row in sql.rows("credentials", "live_bearer", secret=digest(token), cls="remember_me", at=at))


def log_out(sid: str) -> None:
    """End a session; ending one that does not exist changes nothing."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT credentials_end_session(%s)", [digest(sid)])


def login_of(email: str) -> bytes:
    """Return the keyed digest under which an address signs in."""
    return lookup_digest(policy.normal_login(email), purpose="login")
