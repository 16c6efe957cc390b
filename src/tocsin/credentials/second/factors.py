"""What an account holds besides its password, and how its owner adds and removes it.

Adding and removing needs a session that a sign-in opened less than FRESH ago (ASVS 5.0 V7.5.1); Refused says so. Which account it is, the
database finds out from the session in the statement that writes.
"""

from __future__ import annotations

from datetime import datetime

from django.db import connection

from tocsin.credentials import lease
from tocsin.credentials.digests import digest
from tocsin.credentials.types import (
    FRESH,
    LABEL_CHARS_MAX,
    SECOND_STEP_LIFE,
    SESSION_LIFE,
    Ceremony,
    HeldBearer,
    HeldFactor,
    HeldSession,
    Holdings,
    TotpOffer,
)
from tocsin.kernel import config, sql
from tocsin.kernel.errors import BadInput, NotFound, Refused
from tocsin.kernel.private import Private

from . import codes, passkeys, tickets

SIGN_IN_AGAIN = "this can be changed for a quarter of an hour after signing in: please sign in again"


def holdings(account: int, *, sid: str, at: datetime) -> Holdings:
    """Return what lets somebody into an account besides the password; `sid` is who looks. Raises Unavailable without a lease."""
    lease.check()
    factors = sql.rows("credentials", "held_factors", account=account)
    sessions = sql.rows("credentials", "held_sessions", account=account, oldest=at - SESSION_LIFE)
    with connection.cursor() as cursor:
        cursor.execute("SELECT credentials_factor_ended(%s)", [account])
        ended = cursor.fetchone()[0]
    return Holdings(
        sessions=tuple(HeldSession(ref=ref, created_at=made, current=ref == digest(sid).hex()) for ref, made in sessions),
        bearers=tuple(HeldBearer(*r) for r in sql.rows("credentials", "held_bearers", account=account, at=at)),
        factors=tuple(HeldFactor(*r[:5]) for r in factors if r[1] != "recovery_code"),
        codes_left=sum(r[1] == "recovery_code" for r in factors),
        ended=ended,
    )


def end_session(sid: str, ref: str, *, account: int, at: datetime) -> bool:
    """End one of the sessions of this session's owner, by its reference; tell whether there was one."""
    mine = holdings(account, sid=sid, at=at).sessions
    if not any(s.current for s in mine) or ref not in {s.ref for s in mine}:
        return False
    with connection.cursor() as cursor:
        cursor.execute("SELECT credentials_end_session(%s)", [bytes.fromhex(ref)])
    return True


def offer_totp(account: int, *, at: datetime) -> TotpOffer:
    """Return a new seed to be shown; it counts only once a code of it was confirmed. Writes nothing."""
    seed = codes.new_seed()
    ticket = tickets.make("totp-new", at=at, life=3 * SECOND_STEP_LIFE, account=account, seed=seed.reveal())
    return TotpOffer(secret=seed, uri=codes.uri(seed, brand=config.current().company.brand), ticket=ticket)


def offered_totp(ticket: str, *, account: int, at: datetime) -> TotpOffer:
    """Return what was offered, to be shown once more after a wrong code. Raises NotFound for a ticket that is not of this account or too old."""
    content = tickets.read("totp-new", ticket, at=at)
    if content["account"] != account:
        raise NotFound("this was started in another account: please start again")
    seed = Private(str(content["seed"]))
    return TotpOffer(secret=seed, uri=codes.uri(seed, brand=config.current().company.brand), ticket=ticket)


def add_totp(sid: str, ticket: str, code: str, *, account: int, at: datetime) -> None:
    """Put an offered seed to use, confirmed with a code of it, in the place of an earlier one.

    Raises BadInput for a wrong code, NotFound for a wrong ticket, Refused without a fresh session. The confirming code does not count again.
    """
    lease.check()
    seed = offered_totp(ticket, account=account, at=at).secret
    step = codes.step_of(seed, code, at=at)
    if step is None:
        raise BadInput.of("code", f"{len(code)} characters", "the six digits that your app shows now")
    keep(sid, "totp", codes.seal_seed(seed, account=account), step=step, at=at)


def new_codes(sid: str, *, at: datetime) -> tuple[Private[str], ...]:
    """Return new recovery codes, to be shown once; earlier ones end. Raises Refused without a fresh session."""
    lease.check()
    made = codes.new_recovery_codes()
    with connection.cursor() as cursor:
        digests = [codes.recovery_digest(c.reveal()) for c in made]
        cursor.execute("SELECT credentials_put_codes(%s, %s, %s, %s)", [digest(sid), digests, at, at - FRESH])
        if not cursor.fetchone()[0]:
            raise Refused(SIGN_IN_AGAIN)
    return made


def offer_passkey(account: int, *, at: datetime) -> Ceremony:
    """Return what a browser needs to make a passkey for this account. Writes nothing."""
    have = [bytes(r[5]) for r in sql.rows("credentials", "held_factors", account=account) if r[1] == "passkey"]
    return passkeys.to_make(account=account, have=have, at=at)


def add_passkey(sid: str, answer: str, challenge: str, *, label: str, account: int, at: datetime) -> None:
    """Add the passkey that a browser made. Raises BadInput for a wrong answer or label, NotFound for an old challenge, Refused as above."""
    lease.check()
    if len(label) > LABEL_CHARS_MAX or not label.isprintable():
        raise BadInput.of("label", f"{len(label)} characters", f"a name of at most {LABEL_CHARS_MAX} printable characters")
    new = passkeys.made(answer, challenge=challenge, account=account, at=at)
    keep(sid, "passkey", new.public_key, handle=new.handle, label=label, sign_count=new.sign_count, at=at)


def remove_factor(sid: str, id: int, *, at: datetime) -> None:
    """Remove a factor of this session's owner; with the last one its recovery codes go too. Raises Refused without a fresh session."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT credentials_remove_factor(%s, %s, %s, %s)", [digest(sid), id, at, at - FRESH])
        if not cursor.fetchone()[0]:
            raise Refused(SIGN_IN_AGAIN)


def keep(
    sid: str, cls: str, secret: bytes, *, at: datetime, handle: bytes | None = None, label: str = "", sign_count: int = 0, step: int = 0
) -> None:
    """Store a factor that was checked, with the epoch read in the statement that stores it. Raises Refused without a fresh session."""
    done = sql.rows(
        "credentials",
        "add_factor",
        sid=digest(sid),
        cls=cls,
        secret=secret,
        handle=handle,
        label=label,
        sign_count=sign_count,
        step=step,
        at=at,
        oldest=at - FRESH,
    )[0][0]
    if done is None:
        raise Refused(SIGN_IN_AGAIN)
