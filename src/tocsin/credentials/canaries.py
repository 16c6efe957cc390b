"""Canaries: accounts of ours whose secrets we know. Before a cutover each secret opens its door; after it none may."""

from __future__ import annotations

import json
import secrets
from datetime import datetime, timedelta
from uuid import uuid4

from django.db import transaction

from tocsin.kernel import config, sql
from tocsin.kernel.errors import BadInput, Refused, ensure
from tocsin.kernel.private import Private
from tocsin.kernel.sealing import open_sealed, seal

from . import cutover as cutovers
from . import queries, sign_in
from .models import Account, Canary, Cutover
from .passwords import hashing
from .types import Canary as CanarySecrets
from .types import CanaryReport

CANARIES_MAX = 1000
CONTEXT = "credentials.canary"
TOKEN_LIFE = timedelta(days=365)  # far beyond a customer's: only the cutover may end it


def plant_canaries(n: int, *, at: datetime, population: str = "customers") -> tuple[CanarySecrets, ...]:
    """Make `n` accounts with a known password, an open session and a reset link each; return their secrets.

    The secrets are kept sealed, so that `try_canaries` can present them in another process. Raises BadInput for a number out of range.
    """
    if not 1 <= n <= CANARIES_MAX:
        raise BadInput.of("n", n, f"1 to {CANARIES_MAX}")
    return tuple(_plant(at=at, population=population) for _ in range(n))


def _plant(*, at: datetime, population: str) -> CanarySecrets:
    login = f"canary-{secrets.token_hex(6)}@canary.{config.current().company.domain}"
    password, token = Private(secrets.token_urlsafe(18)), secrets.token_urlsafe(32)
    with hashing.slots.slot():
        stored = hashing.make(password)
    with transaction.atomic():
        home = cutovers.open_population(population)
        account = Account.objects.create(population=home, subject=None, login_hmac=sign_in.login_of(login))
        sql.execute("credentials", "insert_credential", account=account.pk, hash=stored, at=at)
        sql.rows(
            "credentials",
            "insert_token",
            token=sign_in.digest(token),
            request=uuid4(),
            account=account.pk,
            context=[],
            at=at,
            expires_at=at + TOKEN_LIFE,
        )
    sid = sign_in.log_in(login, password, at=at, population=population, counted=False)
    ensure(sid is not None, "a new canary could not sign in")
    made = CanarySecrets(login=login, password=password, sid=Private(str(sid)), token=Private(token))
    text = json.dumps({"login": login, "password": password.reveal(), "sid": sid, "token": token})
    Canary.objects.create(account=account, sealed=seal(text, context=CONTEXT))
    return made


def try_canaries(cutover: int, *, at: datetime) -> CanaryReport:
    """Present every secret of every canary at its door; after a commit the result is kept with the cutover for `status`.

    Raises Refused if there are none: silence would look like proof. A survivor is named by login and door, never by its secret.
    """
    row = Cutover.objects.select_related("population").get(pk=cutover)
    population, accepted, tried = row.population.name, [], 0
    for canary in Canary.objects.filter(account__population=row.population).order_by("pk")[:CANARIES_MAX]:
        known = json.loads(open_sealed(canary.sealed, context=CONTEXT).reveal())
        doors = {
            "password": sign_in.log_in(known["login"], Private(known["password"]), at=at, population=population, counted=False),
            "session": queries.session(known["sid"], at=at),
            "reset_token": queries.open_token(known["token"], at=at),
        }
        tried += len(doors)
        accepted += [f"{known['login']}: {door}" for door, answer in doors.items() if answer is not None]
    if not tried:
        raise Refused("no canaries are planted: plant some before the cutover")
    if row.state in {"committed", "sealed"}:
        Cutover.objects.filter(pk=cutover).update(canaries_tried=tried, canaries_refused=tried - len(accepted))
    return CanaryReport(tried=tried, accepted=len(accepted), refused=tried - len(accepted), survivors=tuple(accepted))
