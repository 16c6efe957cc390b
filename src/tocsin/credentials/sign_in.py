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
from .room import limits
from .second import steps
from .types import PASSWORD_BYTES_MAX, SecondStep, SignedIn

__all__ = ["begin_sign_in", "digest", "log_in", "log_out", "login_of"]


def log_in(email: str, password: Private[str], *, at: datetime, population: str = "customers", counted: bool = True) -> str | None:
    """Return the id of a new session, or None; as `begin_sign_in`, for an account that needs no second step. For one that does: None."""
    begun = begin_sign_in(email, password, at=at, population=population, counted=counted)
    return begun.sid.reveal() if isinstance(begun, SignedIn) else None


def begin_sign_in(
    email: str, password: Private[str], *, at: datetime, population: str = "customers", counted: bool = True
) -> SignedIn | SecondStep | None:
    """Return a new session, or what a second step needs; None for a wrong password, an ended one and an unknown address, at the same price.

    Raises BadInput for a password over the limit, Slowed after too many wrong ones in a row (`counted`; canaries are not), Busy when all
    hashing slots are taken, Unavailable without a lease. No transaction is open while the hash is computed. If a cutover commits between
    reading the hash and writing the session, the session is dead at birth: it carries the epoch that was read. Whether there is a second
    step is asked only after a right password: a wrong one tells nothing of it.
    """
    lease.check()
    if len(password.reveal().encode("utf-8", "surrogatepass")) > PASSWORD_BYTES_MAX:
        raise BadInput.of("password", "a very long text", f"at most {PASSWORD_BYTES_MAX} bytes")
    login = login_of(email)
    found = sql.rows("credentials", "credential_of_login", population=population, login=login)
    account, session_epoch, version, stored = found[0] if found else (None, 0, 0, None)
    with hashing.slots.slot():
        if counted:
            limits.reserve_try(login, at=at)  # in the slot: whom the queue turned away has not tried
        right = hashing.matches(stored, password, ours=version > 0)  # an import brings version 0, a reset raises it
    if not right:
        return None
    lease.check()  # the hash may have waited longer than the lease
    if counted:
        limits.forget_tries(login)
    if classes := steps.classes_of(account):
        return steps.ticket_for(account, epoch=session_epoch, version=version, classes=classes, at=at)
    sid = secrets.token_urlsafe(32)
    with connection.cursor() as cursor:
        cursor.execute("SELECT credentials_open_session(%s, %s, %s, %s, %s)", [digest(sid), account, session_epoch, version, at])
    return SignedIn(sid=Private(sid))


def log_out(sid: str) -> None:
    """End a session; ending one that does not exist changes nothing."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT credentials_end_session(%s)", [digest(sid)])


def login_of(email: str) -> bytes:
    """Return the keyed digest under which an address signs in."""
    return lookup_digest(policy.normal_login(email), purpose="login")
