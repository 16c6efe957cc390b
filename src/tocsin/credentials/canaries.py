"""Canaries: accounts of ours whose secrets we know. Before a cutover each secret opens its door; after it none may."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from django.db import transaction

from tocsin.kernel import config, sql
from tocsin.kernel.errors import BadInput, Refused, ensure
from tocsin.kernel.private import Private
from tocsin.kernel.sealing import open_sealed, seal

from . import bearers, queries, sign_in
from . import cutover as cutovers
from .digests import digest
from .models import Account, Canary, Cutover
from .passwords import hashing
from .second import codes, factors, passkeys, software_key, steps
from .types import BEARER_CLASSES, BREACH_CLASSES, CLASSES, CanaryReport
from .types import Canary as CanarySecrets

CANARIES_MAX = 1000
OF_EVERY_CANARY = ("password", "session", "reset_token")
CONTEXT = "credentials.canary"
TOKEN_LIFE = timedelta(days=365)  # far beyond a customer's: only the cutover may end it


def plant_canaries(
    n: int, *, at: datetime, population: str = "customers", classes: Sequence[str] = BREACH_CLASSES
) -> tuple[CanarySecrets, ...]:
    """Make `n` accounts with a secret of each of `classes`, and always a password, a session and a reset link; return their secrets.

    A canary with a time-based code or passkey is asked for it at sign-in, like anybody who has one. The secrets are kept sealed, so that
    `try_canaries` can present them in another process. Raises BadInput for a number or class out of range.
    """
    if not 1 <= n <= CANARIES_MAX:
        raise BadInput.of("n", n, f"1 to {CANARIES_MAX}")
    if not set(classes) <= set(CLASSES):
        raise BadInput.of("classes", sorted(classes), f"some of {', '.join(CLASSES)}")
    return tuple(_plant(at=at, population=population, classes=classes) for _ in range(n))


def _plant(*, at: datetime, population: str, classes: Sequence[str]) -> CanarySecrets:
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
            token=digest(token),
            request=uuid4(),
            account=account.pk,
            context=[],
            at=at,
            expires_at=at + TOKEN_LIFE,
        )
    sid = sign_in.log_in(login, password, at=at, population=population, counted=False)
    ensure(sid is not None, "a new canary could not sign in")
    more = _more(str(sid), account.pk, classes=classes, at=at)
    made = CanarySecrets(login=login, password=password, sid=Private(str(sid)), token=Private(token), more=more)
    text = json.dumps(
        {"login": login, "password": password.reveal(), "sid": sid, "token": token, "more": {c: s.reveal() for c, s in more.items()}}
    )
    Canary.objects.create(account=account, sealed=seal(text, context=CONTEXT))
    return made


def _more(sid: str, account: int, *, classes: Sequence[str], at: datetime) -> dict[str, Private[str]]:
    """Give a canary one secret of each further class, in the way that customers get theirs."""
    found = {c: bearers.issue_bearer(sid, c, label="canary", at=at) for c in BEARER_CLASSES if c in classes}
    if "totp" in classes:
        offer = factors.offer_totp(account, at=at)
        # Confirmed with the code of the step before, so that the present one still counts.
        before = codes.code_of(offer.secret, at=at - timedelta(seconds=codes.STEP_S))
        factors.add_totp(sid, offer.ticket, before, account=account, at=at)
        found["totp"] = offer.secret
    if "recovery_code" in classes:
        found["recovery_code"] = factors.new_codes(sid, at=at)[0]
    if "passkey" in classes:
        found["passkey"] = software_key.new_key()
        public = software_key.public_key(found["passkey"])
        factors.keep(sid, "passkey", public, handle=software_key.handle(found["passkey"]), label="canary", at=at)
    return found


def try_canaries(cutover: int, *, at: datetime) -> CanaryReport:
    """Present every secret that a cutover ends, of every canary, at its door; after a commit the result is kept with the cutover for `status`.

    A class that the cutover leaves alone is not tried: it works before and after. What counts once (a code, a rotating token) is shown and not
    used up, so that the battery can be repeated; codes are presented as if the password had been right, for only so is the class itself tried.
    Raises Refused if no canary holds a secret of one of the classes: silence would look like proof. A survivor is named by login and door, never by its secret.
    """
    row = Cutover.objects.select_related("population").get(pk=cutover)
    population, accepted, tried = row.population.name, [], 0
    held: set[str] = set()
    for canary in Canary.objects.filter(account__population=row.population).order_by("pk")[:CANARIES_MAX]:
        known = json.loads(open_sealed(canary.sealed, context=CONTEXT).reveal())
        for cred_class in row.classes:
            if cred_class not in OF_EVERY_CANARY and cred_class not in known["more"]:
                continue
            held.add(cred_class)
            tried += 1
            if _opens(cred_class, known, canary.account_id, at=at, population=population):
                accepted.append(f"{known['login']}: {cred_class}")
    if missing := sorted(set(row.classes) - held):
        raise Refused(f"no canaries are planted for {', '.join(missing)}: plant some before the cutover")
    if row.state in {"committed", "sealed"}:
        Cutover.objects.filter(pk=cutover).update(canaries_tried=tried, canaries_refused=tried - len(accepted))
    return CanaryReport(tried=tried, accepted=len(accepted), refused=tried - len(accepted), survivors=tuple(accepted))


def _opens(cred_class: str, known: dict[str, Any], account: int, *, at: datetime, population: str) -> bool:
    """Present one secret at its door; tell whether it opens."""
    match cred_class:
        case "password":
            return sign_in.begin_sign_in(known["login"], Private(known["password"]), at=at, population=population, counted=False) is not None
        case "session":
            return queries.session(known["sid"], at=at) is not None
        case "reset_token":
            return queries.open_token(known["token"], at=at) is not None
        case "totp":
            return steps.totp_matches(account, codes.code_of(Private(known["more"]["totp"]), at=at), at=at) is not None
        case "recovery_code":
            return steps.recovery_matches(account, known["more"]["recovery_code"]) is not None
        case "passkey":
            asked = passkeys.to_use(at=at)
            rp, origin = passkeys.relying_party()
            answer = software_key.answer(Private(known["more"]["passkey"]), asked.options, rp_id=rp, origin=origin)
            return steps.passkey_matches(answer, asked.challenge, at=at) is not None
        case _:
            return bearers.bearer_lives(known["more"][cred_class], cred_class, at=at)
