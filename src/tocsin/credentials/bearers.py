"""Bearer tokens: remember_me, refresh, api_token. Whoever holds one is let in; each has 256 random bits and is stored as its SHA-256.

A token is made out of a live session that a sign-in opened, never out of another token's session, so nobody prolongs a copied one sideways.
remember_me and refresh are spent by using them and followed by a new one; a spent one presented again means that two parties hold it: the whole
family ends, with its sessions, and the log says so (RFC 9700 s4.14.2). All of an account's tokens end when its password changes, and those of
a class when a cutover of it commits: the token carries version and epoch, read in the statement that made it.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from uuid import uuid4

from django.db import connection

from tocsin.kernel import sql
from tocsin.kernel.errors import BadInput, NotFound, Refused
from tocsin.kernel.private import Private

from . import lease
from .digests import digest
from .types import BEARER_CLASSES, BEARER_LIFE, FRESH, LABEL_CHARS_MAX, SESSION_LIFE, TOKEN_SHAPE, Caller, Renewed


def issue_bearer(sid: str, cred_class: str, *, label: str = "", at: datetime) -> Private[str]:
    """Return a new token for the holder of a session, to be shown once.

    Raises BadInput for a class or label out of range; Refused if the session is gone, came from a token, or is older than FRESH, or if 50 of
    the class are there already; Unavailable without a lease.
    """
    lease.check()
    if cred_class not in BEARER_CLASSES:
        raise BadInput.of("class", cred_class, f"one of {', '.join(BEARER_CLASSES)}")
    if len(label) > LABEL_CHARS_MAX or not label.isprintable():
        raise BadInput.of("label", f"{len(label)} characters", f"a name of at most {LABEL_CHARS_MAX} printable characters")
    made = secrets.token_urlsafe(32)
    done = sql.rows(
        "credentials",
        "issue_bearer",
        sid=digest(sid),
        secret=digest(made),
        cls=cred_class,
        family=uuid4(),
        label=label,
        at=at,
        expires_at=at + BEARER_LIFE[cred_class],
        oldest=at - FRESH,
    )[0][0]
    if not done:
        raise Refused("a token is made shortly after signing in, and there may be 50 of a kind: please sign in again, or end some")
    return Private(made)


def renew(secret: str, cred_class: str, *, at: datetime) -> Renewed:
    """Change a remember_me or refresh token for a new session and its successor.

    Raises NotFound for any that is not live, whatever the reason; Unavailable without a lease. Of two uses at once exactly one succeeds. One
    that was spent more than ten seconds ago ends its family.
    """
    lease.check()
    made = Renewed(sid=Private(secrets.token_urlsafe(32)), secret=Private(secrets.token_urlsafe(32)))
    done = (
        TOKEN_SHAPE.fullmatch(secret)
        and sql.rows(
            "credentials",
            "rotate_bearer",
            secret=digest(secret),
            cls=cred_class,
            new=digest(made.secret.reveal()),
            sid=digest(made.sid.reveal()),
            at=at,
            expires_at=at + BEARER_LIFE[cred_class],
        )[0][0]
    )
    if not done:
        raise NotFound("this token was used, has expired, or was ended")
    return made


def caller(secret: str, *, at: datetime) -> Caller | None:
    """Return who calls the API with this access token (a session id) or API token, None if neither is live. Raises Unavailable without a lease.

    Of an API token the day of its last use is kept: at most one write a day, the only one that a GET makes.
    """
    lease.check()
    if not TOKEN_SHAPE.fullmatch(secret):
        return None
    if found := sql.rows("credentials", "live_session", sid=digest(secret), oldest=at - SESSION_LIFE):
        return Caller(subject=found[0][1], cred_class="session", label="")
    if found := sql.rows("credentials", "live_bearer", secret=digest(secret), cls="api_token", at=at):
        with connection.cursor() as cursor:
            cursor.execute("SELECT credentials_touch_bearer(%s, %s)", [digest(secret), at])
        return Caller(subject=found[0][1], cred_class="api_token", label=found[0][2])
    return None


def bearer_lives(secret: str, cred_class: str, *, at: datetime) -> bool:
    """Tell whether a token would work now, without using it up. Raises Unavailable without a lease."""
    lease.check()
    return bool(sql.rows("credentials", "live_bearer", secret=digest(secret), cls=cred_class, at=at))


def forget_bearer(secret: str, *, at: datetime) -> None:
    """End a token one holds, and its family; ending one that does not exist changes nothing."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT credentials_end_bearer(%s, %s)", [digest(secret), at])


def revoke_bearer(sid: str, id: int, *, at: datetime) -> bool:
    """End one of the tokens of this session's owner, with the sessions it opened; tell whether there was one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT credentials_revoke_bearer(%s, %s, %s)", [digest(sid), id, at])
        return bool(cursor.fetchone()[0])


def end_others(sid: str, *, at: datetime) -> bool:
    """End every other session and every token of this session's owner; tell whether the session was good."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT credentials_end_others(%s, %s)", [digest(sid), at])
        return bool(cursor.fetchone()[0])
