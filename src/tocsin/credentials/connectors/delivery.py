"""The way of a new password to a company's own systems, and back: who set one there is let through our gate as well.

The public process makes the secret in the target's format while it holds the text, seals it for the worker, and spends the link in the same
transaction. The worker alone opens it, gives it to the target and lifts the gate. A crash after the target took it costs one more call
with the same secret. A cutover that is committed during the call has ended that password: it is overwritten at once by one that nobody
knows. Two new passwords of one person reach a target in their order: a lock per account and target is held during the call,
and the older one is found replaced.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from django.db import connection, transaction

from tocsin.credentials.lifts import LIFTS_MAX, lift
from tocsin.credentials.models import Account, Epoch, Outbox, Target
from tocsin.credentials.passwords import makers
from tocsin.credentials.populations import open_population
from tocsin.credentials.port import PLAIN
from tocsin.credentials.sign_in import login_of
from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType, SubjectEvent
from tocsin.kernel import sql
from tocsin.kernel.errors import BadInput, NotFound, TocsinError
from tocsin.kernel.private import Private
from tocsin.kernel.sealing import deposit, open_deposit
from tocsin.subjects import queries as subjects

from . import registry, targets

CONTEXT = "credentials.outbox"
ACTIVE = targets.ACTIVE
ENROL_ROWS = 5_000


def outbox(password: Private[str], armed: Iterable[tuple[int, str]]) -> str:
    """Return a new password as every armed target (its number, its format) takes it, sealed for the worker: JSON for the function `redeem`.

    Call inside a hashing slot: each format costs one hash. Raises BadInput if a format cannot hold the password.
    """
    made: dict[str, Private[str]] = {}
    sealed = []
    for pk, format in armed:
        if format not in made:
            made[format] = password if format == PLAIN else makers.make_in(format, password)
        blob = deposit(made[format].reveal().encode("utf-8", "surrogatepass"), context=CONTEXT, to=registry.LIVE)
        sealed.append({"target": pk, "format": format, "sealed": base64.b64encode(blob).decode()})
    return json.dumps(sealed)


def deliver(outbox: int, *, at: datetime) -> bool:
    """Give one new password to its target, which lets its owner through; tell whether it was given. Done before, or not armed: nothing happens.

    A target that is armed only takes it as well: until its gate falls the shop goes on letting people in, and by the password they have now.
    Raises Unavailable for the queue to come back. What the target will never take is kept as failed, in the log and in `status`.
    """
    row = Outbox.objects.select_related("target__population", "account").filter(pk=outbox).first()
    if row is None or row.target.state not in targets.ACTIVE or row.account.subject is None:
        return False
    subject, target = row.account.subject, row.target
    account = subjects.external_ids([subject]).get(subject)
    with _alone(target.pk, row.account_id):
        row.refresh_from_db()
        if row.state != "waiting" or row.sealed is None:
            return False
        if row.tries == 0 and row.epoch < _epoch_of(row.account):  # a later cutover has ended this password before it left
            return _replaced(row)
        Outbox.objects.filter(pk=row.pk).update(tries=row.tries + 1)
        try:
            if account is None:
                raise NotFound(f"subject {subject} is no longer in the register")
            made = registry.connector(target.name)
            if row.epoch == _epoch_of(row.account):
                secret = Private(open_deposit(row.sealed, context=CONTEXT, to=registry.LIVE).reveal().decode("utf-8", "surrogatepass"))
                made.set_password(account, secret, format=row.format)
            if row.epoch < _epoch_of(row.account):
                # A cutover came during this call, or during one that a crash cut short: behind the gate the target takes it for a new one.
                unknown = Private(secrets.token_urlsafe(24))
                made.set_password(account, targets.in_format(row.format, unknown), format=row.format)
                return _replaced(row)
        except (NotFound, BadInput) as e:
            _ended(row, "failed", problem=type(e).kind, at=at, subject=subject)
            return False
        except TocsinError as e:
            Outbox.objects.filter(pk=row.pk).update(problem=e.kind)
            raise
        _ended(row, "done", problem="", at=at, subject=subject)
    return True


def _replaced(row: Outbox) -> bool:
    """Note that a cutover has ended this password: it counts as given to nobody."""
    Outbox.objects.filter(pk=row.pk).update(state="replaced", sealed=None)
    return False


def _ended(row: Outbox, state: str, *, problem: str, at: datetime, subject: int) -> None:
    target = row.target
    salt = subjects.salts([subject]).get(subject)
    with transaction.atomic():
        # The gate opens by this row. A lift would be of the epoch that stands now, which a cutover may have raised during the call.
        Outbox.objects.filter(pk=row.pk).update(state=state, sealed=None, problem=problem, done_at=at)
        if salt is not None:
            body = {"connector": target.name, "delivered": state == "done", "epoch": row.epoch, "format": row.format}
            evidence.record_subject(
                EventType.PASSWORD_DELIVERED, at=at, actor="worker", incident=None, subject=subject, salt=salt, body=body
            )


def _epoch_of(account: Account) -> int:
    """Return the epoch that a password of this account must have: that of its own cohort, which a cutover of another one leaves alone."""
    found = Epoch.objects.filter(population=account.population_id, cohort=account.cohort, cred_class="password")
    return found.values_list("epoch", flat=True).get()


def watch(name: str, *, at: datetime) -> int:
    """Ask a target who set a new password in its own pages, and let those through the gate; return for how many that is new."""
    row = Target.objects.select_related("population").filter(name=name).first()
    if row is None or row.state not in targets.BEHIND_THE_GATE:
        return 0
    changed = registry.connector(name).changed_elsewhere(row.change_cursor)
    lifted = 0
    for start in range(0, len(changed.accounts), LIFTS_MAX):
        found = list(subjects.by_external_ids(changed.accounts[start : start + LIFTS_MAX]).values())
        lifted += _let_through(row, found, at=at)
    if changed.cursor != row.change_cursor:
        # Last: a crash before it asks again from the old cursor, and finds everybody through already.
        Target.objects.filter(pk=row.pk, epoch=row.epoch).update(change_cursor=changed.cursor)
    return lifted


def _let_through(row: Target, found: Sequence[int], *, at: datetime) -> int:
    population = row.population.name
    shut = [s for (s,) in sql.rows("credentials", "not_through", population=population, subjects=list(found))]
    if not shut:
        return 0
    salts = subjects.salts(shut)
    with transaction.atomic():
        lifted = lift(shut, source=row.name, at=at, population=population)
        events = [SubjectEvent(s, salts[s], at, {"connector": row.name, "epoch": row.epoch}) for s in shut if s in salts]
        evidence.record_many(EventType.PASSWORD_CHANGED_ELSEWHERE, events, actor="worker", incident=None)
    return lifted


def enrol_accounts(population: str, *, at: datetime, by: str) -> int:
    """Make an account for every subject that has none, so that a company without an export of hashes can reset too; return how many.

    Works in batches, each a transaction: a run that breaks off is given again. Who shares an address with somebody enrolled before gets none.
    """
    home, after, made = open_population(population), 0, 0
    while ids := [s for (s,) in sql.rows("credentials", "without_account", population=home.pk, after=after, limit=ENROL_ROWS)]:
        people = subjects.contactables(ids)
        logins = [login_of(p.address.reveal()) for p in people]
        made += sql.execute("credentials", "enrol", population=home.pk, subjects=[p.subject for p in people], logins=logins)
        after = ids[-1]
    accounts = Account.objects.filter(population=home).count()
    evidence.record(EventType.ACCOUNTS_ENROLLED, at=at, actor=by, body={"population": population, "enrolled": made, "accounts": accounts})
    return made


@contextmanager
def _alone(target: int, account: int) -> Iterator[None]:
    """Hold the lock of one account in one target while the block runs. The database frees it if this process dies."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", [0x0B0C0000 + target % 0x10000, account % 0x7FFFFFFF])
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [0x0B0C0000 + target % 0x10000, account % 0x7FFFFFFF])
