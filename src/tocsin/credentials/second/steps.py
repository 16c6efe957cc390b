"""The second step: a code, a recovery code or a passkey after the right password; or a passkey alone.

Nothing here opens a session before the factor was right. The session carries epoch and version as they were read with the password (or with the
passkey); if a cutover or a new password came between, it is dead at birth and the step counts as failed.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime

from django.db import connection

from tocsin.credentials import lease
from tocsin.credentials.digests import digest
from tocsin.credentials.types import SECOND_STEP_LIFE, SESSION_LIFE, Ceremony, SecondStep
from tocsin.kernel import sql
from tocsin.kernel.errors import Busy, NotFound
from tocsin.kernel.private import Private

from . import codes, passkeys, tickets

TRY_AGAIN_S = 900.0  # as the database function credentials_try_step counts


def ticket_for(account: int, *, epoch: int, version: int, classes: Sequence[str], at: datetime) -> SecondStep:
    """Return what takes the place of a session after a right password: sealed, with the epoch and version read with it."""
    made = tickets.make("second", at=at, life=SECOND_STEP_LIFE, account=account, epoch=epoch, version=version, classes=list(classes))
    return SecondStep(ticket=made, classes=tuple(classes))


def second_step(ticket: str, *, at: datetime) -> SecondStep:
    """Return what a ticket still waits for. Raises NotFound for a forged or old one."""
    return SecondStep(ticket=ticket, classes=tuple(tickets.read("second", ticket, at=at)["classes"]))


def classes_of(account: int) -> tuple[str, ...]:
    """Return the classes of an account's live factors, () if a password is enough. Codes alone ask for nothing: they stand in for a factor."""
    found = {r[1] for r in sql.rows("credentials", "held_factors", account=account)}
    return tuple(sorted(found)) if found & {"totp", "passkey"} else ()


def ask_passkey(ticket: str, *, at: datetime) -> Ceremony:
    """Return what a browser needs to answer the second step with a passkey of this account. Raises NotFound for an old ticket."""
    account = tickets.read("second", ticket, at=at)["account"]
    allow = [bytes(r[5]) for r in sql.rows("credentials", "held_factors", account=account) if r[1] == "passkey"]
    return passkeys.to_use(allow=allow, at=at)


def answer_code(ticket: str, code: str, *, at: datetime) -> Private[str] | None:
    """Return the id of a new session for a right code of the app or recovery code; None for a wrong one.

    Raises NotFound for an old ticket, Busy after ten tries within a quarter of an hour, Unavailable without a lease. A code counts once.
    """
    lease.check()
    content = tickets.read("second", ticket, at=at)
    account = int(content["account"])
    _count_try(account, at=at)
    found = totp_matches(account, code, at=at) or recovery_matches(account, code)
    if found is None or not _use(account, found[0], found[1], 0, at=at):
        return None
    return _open(account, epoch=content["epoch"], version=content["version"], at=at)


def answer_passkey(ticket: str, answer: str, challenge: str, *, at: datetime) -> Private[str] | None:
    """Return the id of a new session if one of the account's passkeys answered the challenge. Raises as `answer_code`."""
    lease.check()
    content = tickets.read("second", ticket, at=at)
    _count_try(int(content["account"]), at=at)
    right = _passkey(answer, challenge, at=at)
    if right is None or right[0] != content["account"]:
        return None
    return _open(right[0], epoch=content["epoch"], version=content["version"], at=at)


def sign_in_with_passkey(answer: str, challenge: str, *, at: datetime, population: str = "customers") -> Private[str] | None:
    """Return the id of a new session if a passkey of the population answered the challenge: its possession and its owner's PIN or finger.

    Raises NotFound for an old challenge, Unavailable without a lease. None for everything else: no such passkey, an ended one, a wrong answer.
    """
    lease.check()
    right = _passkey(answer, challenge, at=at, population=population)
    return None if right is None else _open(right[0], epoch=right[1], version=right[2], at=at)


def totp_matches(account: int, code: str, *, at: datetime) -> tuple[int, int] | None:
    """Return factor and step of a right code of the app that has not been used, without using it."""
    for id, secret, last_step in sql.rows("credentials", "factor_secret", account=account, cls="totp"):
        step = codes.step_of(codes.open_seed(secret, account=account), code, at=at)
        if step is not None and step > last_step:
            return id, step
    return None


def recovery_matches(account: int, code: str) -> tuple[int, int] | None:
    """Return factor and step of a right recovery code that has not been used, without using it."""
    wanted = codes.recovery_digest(code)
    for id, secret, _ in sql.rows("credentials", "factor_secret", account=account, cls="recovery_code"):
        if secrets.compare_digest(bytes(secret), wanted):
            return id, 1
    return None


def passkey_matches(answer: str, challenge: str, *, at: datetime) -> tuple[int, int] | None:
    """Return account and step of a right answer of a live passkey, without using it. Raises NotFound for an old challenge."""
    found = _found(answer, challenge, at=at)
    return None if found is None else (found[1], found[2])


def _found(answer: str, challenge: str, *, at: datetime) -> tuple[int, int, int, int, str, int, int] | None:
    """Return factor, account, step, counter, population, session epoch and version."""
    handle = passkeys.handle_of(answer)
    rows = sql.rows("credentials", "passkey", handle=handle) if handle is not None else []
    if not rows:
        passkeys.counter_of(answer, challenge=challenge, public_key=passkeys.NOBODY, sign_count=0, at=at)  # an unknown one costs the same
        return None
    id, account, population, public_key, sign_count, last_step, epoch, version = rows[0]
    counted = passkeys.counter_of(answer, challenge=challenge, public_key=bytes(public_key), sign_count=sign_count, at=at)
    if counted is None or counted[0] <= last_step:
        return None
    return id, account, counted[0], counted[1], population, epoch, version


def _passkey(answer: str, challenge: str, *, at: datetime, population: str | None = None) -> tuple[int, int, int] | None:
    """Use a passkey; return account, session epoch and version."""
    found = _found(answer, challenge, at=at)
    if found is None or (population is not None and found[4] != population):
        return None
    id, account, step, counter, _, epoch, version = found
    return (account, epoch, version) if _use(account, id, step, counter, at=at) else None


def _use(account: int, id: int, step: int, sign_count: int, *, at: datetime) -> bool:
    return bool(sql.rows("credentials", "use_factor", account=account, id=id, step=step, sign_count=sign_count, at=at)[0][0])


def _count_try(account: int, *, at: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT credentials_try_step(%s, %s)", [account, at])
        if not cursor.fetchone()[0]:
            raise Busy("too many tries of the second step", retry_after_s=TRY_AGAIN_S)


def _open(account: int, *, epoch: int, version: int, at: datetime) -> Private[str]:
    """Open a session with epoch and version as read; raise NotFound if a cutover or a new password came between."""
    lease.check()
    sid = secrets.token_urlsafe(32)
    with connection.cursor() as cursor:
        cursor.execute("SELECT credentials_open_session(%s, %s, %s, %s, %s)", [digest(sid), account, epoch, version, at])
    if not sql.rows("credentials", "live_session", sid=digest(sid), oldest=at - SESSION_LIFE):
        raise NotFound("the password was ended or changed while you were signing in: please start again")
    return Private(sid)
