"""What staff may do to the sign-ins of a customer: end them, and start a reset. Never choose a password (ASVS 5.0 V6.4.6)."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

from django.db import transaction

from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel import jobs, sql
from tocsin.kernel.errors import NotFound
from tocsin.subjects import queries as subjects

from . import cutover
from .models import Account
from .types import CutoverInfo, Ended

SIGN_IN_CLASSES = ("session", "remember_me", "refresh", "api_token")


def end_sign_ins(subject: int, *, at: datetime, by: str, population: str = "customers") -> Ended:
    """End all sessions and bearer tokens of one person; the password stays. Raises NotFound for somebody without an account.

    Whatever is being opened for the account at this moment is waited for and ends with the rest. Safe to repeat.
    """
    with transaction.atomic():
        account = _account(subject, population=population, lock=True)
        ended = Ended(
            sessions=sql.execute("credentials", "end_sign_ins_sessions", account=account.pk),
            tokens=sql.execute("credentials", "end_sign_ins_tokens", account=account.pk, at=at),
        )
        _record(EventType.SIGN_INS_ENDED, subject, at=at, by=by, body={"sessions": ended.sessions, "tokens": ended.tokens})
    return ended


def arm_end_of_sign_ins(*, incident: int | None, at: datetime, by: str, population: str = "customers") -> CutoverInfo:
    """Prepare to end all sessions and bearer tokens of everybody; `commit` with two signatures does it. Passwords stay. Raises as `arm`."""
    return cutover.arm(population=population, classes=SIGN_IN_CLASSES, incident=incident, at=at, by=by)


def start_reset(subject: int, *, at: datetime, by: str, population: str = "customers") -> None:
    """Have a reset link mailed to somebody, as if the person had asked for it. Whoever starts it sees no link and chooses no password.

    Raises NotFound for somebody without an account. The same limits hold as for a customer's own request.
    """
    with transaction.atomic():
        account = _account(subject, population=population)
        lookup = bytes(account.login_hmac).hex()
        # The same job under the same queueing lock as one that the customer asks for: one waiting copy per address.
        jobs.enqueue(
            "credentials.tasks.send_reset",
            priority=20,
            unless_waiting=f"reset:{lookup}",
            lookup=lookup,
            request=str(uuid4()),
            asked_us=int(at.timestamp() * 1_000_000),
        )
        _record(EventType.RESET_STARTED, subject, at=at, by=by, body={})


def _account(subject: int, *, population: str, lock: bool = False) -> Account:
    found = Account.objects.filter(population__name=population, subject=subject)
    account = (found.select_for_update(of=("self",)) if lock else found).first()
    if account is None:
        raise NotFound(f"no account of {population} belongs to this person")
    return account


def _record(type: EventType, subject: int, *, at: datetime, by: str, body: dict[str, int]) -> None:
    salt = subjects.salts([subject]).get(subject)
    if salt is None:  # the person's data was erased: an act that names nobody
        evidence.record(type, at=at, actor=by, body=dict(body))
    else:
        evidence.record_subject(type, at=at, actor=by, incident=None, subject=subject, salt=salt, body=dict(body))
