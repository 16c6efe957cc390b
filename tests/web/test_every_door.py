"""Every address of the customers' site against every class of credential: what opens which door, and that nothing dead opens any.

An address that is not declared here fails the test: whoever adds one must say which classes it opens for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.urls import get_resolver

from tests.credentials.shop import GOOD, PEOPLE, cut, signed
from tests.credentials.wallet import LINK, Wallet, fill
from tocsin.credentials import actions
from tocsin.credentials.second import software_key
from tocsin.credentials.types import CLASSES
from tocsin.kernel import clock
from tocsin.kernel.private import Private
from tocsin.web.public import affected, contact, views

FIRST = PEOPLE[0]
NONE: frozenset[str] = frozenset()
SESSION = frozenset({"session"})
SECOND = frozenset({"totp", "recovery_code", "passkey"})
# Per address: the classes that change the answer to a GET, and those that change the answer to a POST.
OPENS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "": (NONE, NONE),
    "passwordchange": (NONE, NONE),
    "passwordchange/asked": (NONE, NONE),
    "passwordchange/later": (NONE, NONE),
    "passwordchange/waiting": (NONE, NONE),
    "passwordchange/letter": (NONE, NONE),
    "passwordchange/code": (NONE, NONE),  # takes any code of the right shape into a cookie; passwordchange/new tells
    "passwordchange/t/<str:token>": (NONE, NONE),
    "passwordchange/new": (frozenset({"reset_token"}), frozenset({"reset_token"})),
    "login": (NONE, frozenset({"password"})),
    "logout": (NONE, NONE),
    "login/second": (NONE, SECOND),
    "login/passkey": (NONE, frozenset({"passkey"})),
    "login/remembered": (NONE, frozenset({"remember_me"})),
    "account": (SESSION, NONE),
    "account/end": (NONE, SESSION),
    "account/token": (NONE, SESSION),
    "account/totp": (SESSION, SESSION),
    "account/codes": (NONE, SESSION),
    "account/passkey": (SESSION, SESSION),
    "account/remove": (NONE, SESSION),
    "account/email": (SESSION, SESSION),  # and the password beside it: alone it opens nothing here
    "account/email/t/<str:token>": (NONE, NONE),
    "account/email/confirm": (
        NONE,
        NONE,
    ),  # the link to a new address is no credential: it carries out what a session and a password asked for
    "token": (NONE, frozenset({"refresh"})),
    "me": (frozenset({"session", "api_token"}), NONE),
    "check": (NONE, NONE),
    "affected": (NONE, NONE),
    "affected/t/<str:token>": (NONE, NONE),
    "affected/answer": (NONE, NONE),  # as the link to an answer: it shows kinds of data and signs nobody in
}
DOORS = {(c, m, p) for p, by_method in OPENS.items() for m, classes in zip(("GET", "POST"), by_method, strict=True) for c in classes}


@dataclass
class Presented:
    """One credential, laid where any view could look for it: cookies, header, form and address."""

    cookies: dict[str, str] = field(default_factory=dict)
    bearer: str = ""
    form: dict[str, str] = field(default_factory=dict)
    token: str = "Z" * 43


FORM = {
    "email": FIRST.email,
    "password": GOOD,
    "password_again": GOOD,
    "code": "000 000",
    "class": "api_token",
    "label": "x",
    "what": "others",
    "ref": "0",
    "grant_type": "refresh_token",
    "refresh_token": "Z" * 43,
}


def present(cred_class: str, wallet: Wallet, *, real: bool) -> Presented:
    """Return a credential of the wallet, or one of the same shape that nobody has."""
    at, nobody = clock.now(), "Z" * 43

    def of(secret: str) -> str:
        return secret if real else nobody

    match cred_class:
        case "password":
            return Presented(form={"password": FIRST.password if real else FIRST.password + "x"})
        case "session":
            return Presented(cookies={views.SESSION_COOKIE: of(wallet.sid)}, bearer=of(wallet.sid), form={"refresh_token": of(wallet.sid)})
        case "reset_token":
            links = dict.fromkeys((views.LINK_COOKIE, contact.COOKIE, affected.COOKIE), of(LINK))
            return Presented(cookies=links, bearer=of(LINK), token=of(LINK), form={"refresh_token": of(LINK)})
        case "remember_me" | "refresh" | "api_token":
            secret = of(getattr(wallet, cred_class))
            places = (
                views.SESSION_COOKIE,
                views.REMEMBER_COOKIE,
                views.LINK_COOKIE,
                views.SECOND_COOKIE,
                contact.COOKIE,
                affected.COOKIE,
            )
            return Presented(cookies=dict.fromkeys(places, secret), bearer=secret, token=secret, form={"refresh_token": secret})
        case "totp" | "recovery_code":
            right = wallet.code(at) if cred_class == "totp" else wallet.recovery[0]
            wrong = f"{(int(wallet.code(at)) + 500_000) % 1_000_000:06}" if cred_class == "totp" else "-".join(["AAAA"] * 6)
            code = right if real else wrong
            return Presented(cookies={views.SECOND_COOKIE: wallet.ticket(at)}, form={"code": code, "password": code})
        case _:
            answer, challenge = (wallet if real else stranger(wallet)).assertion(at)
            return Presented(cookies={views.SECOND_COOKIE: wallet.ticket(at)}, form={"credential": answer, "challenge": challenge})


def stranger(wallet: Wallet) -> Wallet:
    """Return the same wallet with a passkey that the site has never seen."""
    return Wallet(**{**{n: getattr(wallet, n) for n in Wallet.__dataclass_fields__}, "key": software_key.new_key()})


@contextmanager
def undone() -> Iterator[None]:
    """Take back whatever the block did, so that what counts once can be presented at every door."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def answer(method: str, pattern: str, shown: Presented) -> dict[str, Any]:
    """Return what tells one answer from another: status, where it leads, which page, which cookies, and new live sessions."""
    client = Client(headers={"Authorization": f"Bearer {shown.bearer}"} if shown.bearer else None)
    for name, value in shown.cookies.items():
        client.cookies[name] = value
    path = "/" + pattern.replace("<str:token>", shown.token)
    with undone():
        before = live_sessions()
        response = client.get(path) if method == "GET" else client.post(path, FORM | shown.form)
        opened = live_sessions() - before
    return {
        "status": response.status_code,
        "leads to": response.headers.get("Location", "").partition("?")[0],
        "pages": sorted({t.name for t in response.templates if t.name}),
        "cookies": sorted(name for name, c in response.cookies.items() if c.value),
        "opened": max(0, opened),
    }


def live_sessions() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM credentials_live_session")
        return int(cursor.fetchone()[0])


EVERYWHERE = {(c, m, p) for c in CLASSES for m in ("GET", "POST") for p in OPENS}


def doors_opened(wallet: Wallet, among: set[tuple[str, str, str]] = DOORS) -> set[tuple[str, str, str]]:
    """Return at which addresses a credential of the wallet is answered otherwise than one that nobody has."""
    opened = set()
    for cred_class, method, pattern in among:
        real = answer(method, pattern, present(cred_class, wallet, real=True))
        if real != answer(method, pattern, present(cred_class, wallet, real=False)):
            opened.add((cred_class, method, pattern))
    return opened


def test_every_address_is_declared() -> None:
    found = [str(p.pattern) for p in get_resolver("tocsin.web.public.urls").url_patterns]
    assert sorted(found) == sorted(OPENS), "say in OPENS for which classes of credential a new address opens"
    assert {c for c, _, _ in DOORS} == set(CLASSES)


def test_each_class_opens_its_doors_and_after_the_cutover_none_does(shop: Path) -> None:
    wallet = fill(FIRST, at=clock.now())
    assert doors_opened(wallet, EVERYWHERE) == DOORS
    cut(shop, armed=actions.arm(classes=CLASSES, incident=1, at=clock.now(), by="ada"))
    assert doors_opened(wallet, EVERYWHERE) == set()


@pytest.mark.parametrize("alone", sorted(SECOND))
def test_a_class_that_ends_alone_leaves_the_others(shop: Path, alone: str) -> None:
    """Sessions end beside it, or those that it opened would stay."""
    wallet = fill(FIRST, at=clock.now())
    cut(shop, armed=actions.arm(classes=[alone, "session"], incident=1, at=clock.now(), by="ada"))
    assert doors_opened(wallet) == {d for d in DOORS if d[0] not in {alone, "session"}}


def test_item_37_a_new_password_ends_every_session_and_token(shop: Path) -> None:
    wallet = fill(FIRST, at=clock.now())
    with undone():
        actions.redeem(LINK, Private(GOOD), at=clock.now())
        assert doors_opened(wallet) == {d for d in DOORS if d[0] in SECOND}
    assert doors_opened(wallet) == DOORS


def test_item_38_an_administrator_ends_all_sessions_of_one_or_of_all(shop: Path) -> None:
    mine, other = fill(FIRST, at=clock.now()), PEOPLE[1]
    theirs = actions.log_in(other.email, Private(other.password), at=clock.now())
    ended = {"session", "remember_me", "refresh", "api_token"}
    subject = subject_of(mine)
    with undone():
        report = actions.end_sign_ins(subject, at=clock.now(), by="ada")
        assert (report.sessions, report.tokens) == (1, 3)
        assert doors_opened(mine) == {d for d in DOORS if d[0] not in ended}
        assert reads_account(str(theirs))
    armed = actions.arm_end_of_sign_ins(incident=None, at=clock.now(), by="ada")
    approval = signed(shop, lambda: actions.commit(armed.id, approval=None, at=clock.now(), by="ada"))
    assert doors_opened(mine) == DOORS  # one signature or two make no difference before the commit
    actions.commit(armed.id, approval=approval, at=clock.now(), by="ada")
    assert doors_opened(mine) == {d for d in DOORS if d[0] not in ended}
    assert not reads_account(str(theirs))


def test_item_45_every_way_in_obeys_the_same_epochs(shop: Path) -> None:
    """Each way to a session stands in OPENS; each asks a live view, and none opens for what a cutover of its class ended."""
    wallet = fill(FIRST, at=clock.now())
    ways = {d for d in DOORS if answer(d[1], d[2], present(d[0], wallet, real=True))["opened"] or d[0] == "password"}
    assert {c for c, _, _ in ways} == {"password", "remember_me", "refresh", "totp", "recovery_code", "passkey"}
    for cred_class, method, pattern in sorted(ways):
        with undone(), connection.cursor() as cursor:
            cursor.execute("UPDATE credentials_epoch SET epoch = 2, highest = 2 WHERE class = %s", [cred_class])
            shown = answer(method, pattern, present(cred_class, wallet, real=True))
            assert shown == answer(method, pattern, present(cred_class, wallet, real=False)), (cred_class, pattern)
            assert shown["opened"] == 0


def subject_of(wallet: Wallet) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT subject FROM credentials_account WHERE id = %s", [wallet.account])
        return int(cursor.fetchone()[0])


def reads_account(sid: str) -> bool:
    client = Client()
    client.cookies[views.SESSION_COOKIE] = sid
    return bool(client.get("/account").status_code == 200)
