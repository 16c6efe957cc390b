"""Tokens, second steps and passkeys through their doors, against PostgreSQL."""

from __future__ import annotations

import inspect
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import DatabaseError, connection, connections, transaction

from tests.credentials.shop import AT, GOOD, PEOPLE, cut, enrol, open_shop
from tests.credentials.wallet import LINK, Wallet, add_totp, fill, signed_in
from tocsin.credentials import actions, policy, queries
from tocsin.credentials import tasks as credentials_tasks
from tocsin.credentials.models import Account, Bearer, Credential, Factor, Session
from tocsin.credentials.passwords import hashing
from tocsin.credentials.second import codes, passkeys, software_key, tickets
from tocsin.credentials.sign_in import digest, login_of
from tocsin.credentials.types import BEARER_LIFE, BREACH_CLASSES, CLASSES, FRESH, RECOVERY_CODES, SECOND_STEP_LIFE, SecondStep, SignedIn
from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.incidents import actions as incidents
from tocsin.inventory import actions as inventory
from tocsin.inventory.types import ELEMENTS
from tocsin.kernel import schema
from tocsin.kernel.errors import BadInput, Busy, NotFound, Refused
from tocsin.kernel.private import Private
from tocsin.staff import actions as staff
from tocsin.staff import keyfiles

FIRST, OTHER = PEOPLE[0], PEOPLE[1]
SCENARIO = Path(__file__).parents[2] / "scenarios" / "zappos-2012"
STEP = timedelta(seconds=codes.STEP_S)


@pytest.fixture
def shop(estate: Path, db: None) -> Path:
    open_shop(enrol(estate))
    return estate


@pytest.fixture
def real_shop(estate: Path, transactional_db: None) -> Path:
    """The same with real commits, for what happens between two connections."""
    open_shop(enrol(estate))
    return estate


@pytest.fixture
def wallet(shop: Path) -> Wallet:
    return fill(FIRST, at=AT)


def beside(work: Callable[[], Any]) -> threading.Thread:
    """Start work on a connection of its own."""

    def run() -> None:
        try:
            work()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def begun(password: str = FIRST.password, *, at: Any = AT) -> SignedIn | SecondStep | None:
    return actions.begin_sign_in(FIRST.email, Private(password), at=at)


def ticket(*, at: Any = AT) -> str:
    step = begun(at=at)
    assert isinstance(step, SecondStep)
    return step.ticket


def lives(sid: Private[str] | str | None, *, at: Any = AT) -> bool:
    text = sid.reveal() if isinstance(sid, Private) else str(sid)
    return queries.session(text, at=at) is not None


# -- bearer tokens ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cred_class", ["remember_me", "refresh"])
def test_a_rotating_token_works_once_and_a_copy_of_it_ends_the_family(wallet: Wallet, cred_class: str) -> None:
    first = getattr(wallet, cred_class)
    one = actions.renew(first, cred_class, at=AT)
    two = actions.renew(one.secret.reveal(), cred_class, at=AT)
    assert lives(one.sid)
    assert lives(two.sid)
    with pytest.raises(NotFound):  # two tabs that start together: refused, and no more
        actions.renew(first, cred_class, at=AT + timedelta(seconds=9))
    assert lives(two.sid)
    assert evidence.counts().get(EventType.TOKEN_REUSED) is None
    with pytest.raises(NotFound):
        actions.renew(first, cred_class, at=AT + timedelta(seconds=11))
    assert not lives(one.sid)
    assert not lives(two.sid)
    assert lives(wallet.sid)  # the sign-in it was made from is not of the family
    with pytest.raises(NotFound):
        actions.renew(two.secret.reveal(), cred_class, at=AT + timedelta(seconds=12))
    subject = Account.objects.get(pk=wallet.account).subject
    assert subject is not None
    entries = [e for e in evidence.entries_of_subject(subject) if e.type == EventType.TOKEN_REUSED]
    assert [(e.body, e.actor) for e in entries] == [({"class": cred_class, "ended": 3}, "public")]


def test_a_token_is_good_at_its_own_door_and_for_its_own_time(wallet: Wallet) -> None:
    for cred_class in ("remember_me", "refresh"):
        for other in ("remember_me", "refresh", "api_token", "sid", "reset_token"):
            if other != cred_class:
                with pytest.raises(NotFound):
                    actions.renew(getattr(wallet, other), cred_class, at=AT)
        with pytest.raises(NotFound):
            actions.renew(getattr(wallet, cred_class), cred_class, at=AT + BEARER_LIFE[cred_class])
    with pytest.raises(DatabaseError, match="not rotated"), transaction.atomic():
        actions.renew(wallet.api_token, "api_token", at=AT)
    found = queries.caller(wallet.api_token, at=AT)
    assert found is not None
    assert (found.cred_class, found.label) == ("api_token", "script")
    assert queries.caller(wallet.refresh, at=AT) is None
    assert queries.caller(wallet.api_token, at=AT + BEARER_LIFE["api_token"]) is None
    for odd in ("", "x", "Z" * 44, wallet.api_token + "\x00"):
        assert queries.caller(odd, at=AT) is None
    assert Bearer.objects.get(cred_class="api_token").last_used == AT.date()
    assert not any(
        str(getattr(wallet, c)).encode() in bytes(b.secret_sha256) for c in ("refresh", "api_token") for b in Bearer.objects.all()
    )


def test_tokens_are_made_by_a_fresh_sign_in_only(wallet: Wallet) -> None:
    renewed = actions.renew(wallet.remember_me, "remember_me", at=AT)
    for sid, at in ((renewed.sid.reveal(), AT), ("Z" * 43, AT), (wallet.sid, AT + FRESH)):
        with pytest.raises(Refused, match="sign in again"):
            actions.issue_bearer(sid, "api_token", at=at)
        with pytest.raises(Refused, match="sign in again"):
            actions.new_codes(sid, at=at)
        offer = queries.offer_totp(wallet.account, at=at)
        with pytest.raises(Refused, match="sign in again"):
            actions.add_totp(sid, offer.ticket, codes.code_of(offer.secret, at=at), account=wallet.account, at=at)
        with pytest.raises(Refused, match="sign in again"):
            actions.remove_factor(sid, Factor.objects.get(cred_class="totp").pk, at=at)
    for wrong in ("password", "session", "nonsense"):
        with pytest.raises(BadInput):
            actions.issue_bearer(wallet.sid, wrong, at=AT)
    for label in ("x" * 61, "a\nb"):
        with pytest.raises(BadInput):
            actions.issue_bearer(wallet.sid, "refresh", label=label, at=AT)
    for _ in range(49):
        actions.issue_bearer(wallet.sid, "api_token", at=AT)
    with pytest.raises(Refused, match="50"):
        actions.issue_bearer(wallet.sid, "api_token", at=AT)


def test_people_see_and_end_what_is_theirs_and_nobody_elses(wallet: Wallet) -> None:
    sid, account = signed_in(OTHER, AT)
    held = queries.holdings(wallet.account, sid=wallet.sid, at=AT)
    assert [(s.current, s.ref == digest(wallet.sid).hex()) for s in held.sessions] == [(True, True)]
    assert {b.cred_class: b.label for b in held.bearers} == {"remember_me": "browser", "refresh": "app", "api_token": "script"}
    assert {f.cred_class for f in held.factors} == {"totp", "passkey"}
    assert (held.codes_left, held.ended) == (RECOVERY_CODES, False)
    for b in held.bearers:
        assert not actions.revoke_bearer(sid, b.id, at=AT)
    assert not actions.end_session(sid, digest(wallet.sid).hex(), account=account, at=AT)
    with pytest.raises(Refused):
        actions.remove_factor(sid, held.factors[0].id, at=AT)
    assert queries.holdings(wallet.account, sid=wallet.sid, at=AT) == held

    app = actions.renew(wallet.refresh, "refresh", at=AT)
    successor = next(b for b in queries.holdings(wallet.account, sid=wallet.sid, at=AT).bearers if b.cred_class == "refresh")
    assert actions.revoke_bearer(wallet.sid, successor.id, at=AT)
    assert not lives(app.sid)  # with the token goes what it opened
    actions.forget_bearer(wallet.remember_me, at=AT)
    assert not queries.bearer_lives(wallet.remember_me, "remember_me", at=AT)
    for factor in held.factors:
        actions.remove_factor(wallet.sid, factor.id, at=AT)
    assert not Factor.objects.filter(account_id=wallet.account).exists()  # codes that recover nothing go with the last factor
    more = begun()
    assert isinstance(more, SignedIn)
    assert actions.end_session(wallet.sid, digest(more.sid.reveal()).hex(), account=wallet.account, at=AT)
    assert not lives(more.sid)
    assert actions.end_others(wallet.sid, at=AT)
    assert queries.caller(wallet.api_token, at=AT) is None
    assert lives(wallet.sid)
    assert lives(sid)


def test_two_uses_of_one_token_at_once_are_one(real_shop: Path) -> None:
    wallet, won, lost = fill(FIRST, at=AT), [], []
    gate = threading.Barrier(8)

    def use() -> None:
        gate.wait()
        try:
            won.append(actions.renew(wallet.refresh, "refresh", at=AT))
        except NotFound:
            lost.append(1)

    for thread in [beside(use) for _ in range(8)]:
        thread.join(30)
    assert (len(won), len(lost)) == (1, 7)
    assert lives(won[0].sid)
    assert Bearer.objects.filter(cred_class="refresh", spent_at=None).count() == 1


@pytest.mark.parametrize("how", ["cutover", "end of one person's sign-ins"])
def test_what_is_being_opened_while_all_ends_is_dead_at_birth(real_shop: Path, how: str) -> None:
    """A rotation has done its work and not committed; then everything is ended; then the rotation commits."""
    wallet = fill(FIRST, at=AT)
    done, go = threading.Event(), threading.Event()
    made: list[Any] = []

    def rotate() -> None:
        with transaction.atomic():
            made.append(actions.renew(wallet.refresh, "refresh", at=AT))
            made.append(actions.issue_bearer(wallet.sid, "api_token", at=AT))
            done.set()
            go.wait(20)

    rotating = beside(rotate)
    assert done.wait(20)
    subject = Account.objects.get(pk=wallet.account).subject
    assert subject is not None
    if how == "cutover":
        cut(real_shop)  # needs no lock that a rotation holds
        go.set()
    else:
        ending = beside(lambda: actions.end_sign_ins(subject, at=AT, by="ada"))
        ending.join(0.3)
        assert ending.is_alive()  # it waits for what is under way, and then ends that too
        go.set()
        ending.join(20)
    rotating.join(20)
    assert Session.objects.filter(sid_sha256=digest(made[0].sid.reveal())).exists() == (how == "cutover")
    assert not lives(made[0].sid)
    assert not queries.bearer_lives(made[0].secret.reveal(), "refresh", at=AT)
    assert queries.caller(made[1].reveal(), at=AT) is None


# -- the second step ----------------------------------------------------------------------------------------------------------


def test_a_code_counts_once_and_a_step_of_drift_is_allowed(shop: Path) -> None:
    sid, account = signed_in(FIRST, AT)
    seed = add_totp(sid, account, AT)
    for drift, right in ((-2, False), (2, False), (0, True), (0, False), (-1, False), (1, True)):
        code = codes.code_of(seed, at=AT + drift * STEP)
        assert (actions.answer_code(ticket(), code, at=AT) is not None) == right, drift
    late = AT + timedelta(hours=1)
    for wrong in ("", "12345", "1234567", "abcdef", "１２３４５６", codes.code_of(seed, at=late)[::-1] + "0", "x" * 5000):
        assert actions.answer_code(ticket(at=late), wrong, at=late) is None


def test_the_code_that_confirms_a_seed_does_not_count_again(shop: Path) -> None:
    sid, account = signed_in(FIRST, AT)
    offer = queries.offer_totp(account, at=AT)
    assert not Factor.objects.exists()
    with pytest.raises(BadInput):
        actions.add_totp(sid, offer.ticket, "000000x", account=account, at=AT)
    with pytest.raises(NotFound):
        actions.add_totp(sid, offer.ticket, codes.code_of(offer.secret, at=AT), account=account + 1, at=AT)
    code = codes.code_of(offer.secret, at=AT)
    actions.add_totp(sid, offer.ticket, code, account=account, at=AT)
    assert actions.answer_code(ticket(), code, at=AT) is None
    assert actions.answer_code(ticket(), codes.code_of(offer.secret, at=AT + STEP), at=AT + STEP) is not None
    assert offer.secret.reveal() not in Private(bytes(Factor.objects.get().secret)).reveal().decode("latin-1")
    with pytest.raises(BadInput):
        codes.open_seed(Factor.objects.get().secret, account=account + 1)  # a copied row opens nothing of another account


def test_a_recovery_code_works_once_however_it_is_typed(wallet: Wallet) -> None:
    assert len({*wallet.recovery}) == RECOVERY_CODES
    assert all(len(c.replace("-", "")) * 5 == 120 for c in wallet.recovery)  # bits
    typed = wallet.recovery[0].lower().replace("-", "  ")
    assert actions.answer_code(ticket(), typed, at=AT) is not None
    assert actions.answer_code(ticket(), wallet.recovery[0], at=AT) is None
    held = queries.holdings(wallet.account, sid=wallet.sid, at=AT)
    assert held.codes_left == RECOVERY_CODES - 1
    fresh = actions.new_codes(wallet.sid, at=AT)
    assert actions.answer_code(ticket(), wallet.recovery[1], at=AT) is None
    assert actions.answer_code(ticket(), fresh[0].reveal(), at=AT) is not None


@pytest.mark.parametrize("what", ["totp", "recovery_code", "passkey"])
def test_two_uses_of_one_answer_at_once_are_one(real_shop: Path, what: str) -> None:
    wallet, opened = fill(FIRST, at=AT), []
    asked = [ticket() for _ in range(6)]
    code = wallet.code(AT) if what == "totp" else wallet.recovery[0]
    answer, challenge = wallet.assertion(AT)
    gate = threading.Barrier(len(asked))

    def use(one: str) -> None:
        gate.wait()
        if what == "passkey":
            opened.append(actions.answer_passkey(one, answer, challenge, at=AT))
        else:
            opened.append(actions.answer_code(one, code, at=AT))

    for thread in [beside(partial(use, one)) for one in asked]:
        thread.join(30)
    assert sorted(o is not None for o in opened) == [False] * 5 + [True]


def test_guessing_codes_is_bounded_and_only_whoever_knows_the_password_can_use_the_tries_up(wallet: Wallet) -> None:
    for _ in range(10):
        assert actions.answer_code(ticket(), "000000", at=AT) is None
    with pytest.raises(Busy):
        actions.answer_code(ticket(), wallet.code(AT), at=AT)
    later = AT + timedelta(minutes=15, seconds=1)
    for _ in range(4):
        begun("wrong", at=later)  # a stranger without the password costs nobody a try
    assert actions.answer_code(ticket(at=later), wallet.code(later), at=later) is not None


def test_a_ticket_is_for_one_purpose_a_short_time_and_nobody_forges_it(wallet: Wallet) -> None:
    good = ticket()
    late = AT + SECOND_STEP_LIFE + timedelta(seconds=1)
    with pytest.raises(NotFound):
        actions.answer_code(good, wallet.code(late), at=late)
    offer = queries.offer_totp(wallet.account, at=AT)
    for forged in ("", "x", good[:-4] + "AAAA", good[4:], offer.ticket, good * 20, "é" * 40, queries.ask_any_passkey(at=AT).challenge):
        with pytest.raises(NotFound):
            actions.answer_code(forged, wallet.code(AT), at=AT)
    assert str(wallet.account) not in good
    with pytest.raises(NotFound):
        tickets.read("passkey", good, at=AT)


def test_a_ticket_of_before_the_cutover_or_of_an_old_password_opens_nothing(shop: Path) -> None:
    wallet = fill(FIRST, at=AT)
    before = ticket()
    with transaction.atomic():
        cut(shop)
        with pytest.raises(NotFound, match="start again"):
            actions.answer_code(before, wallet.code(AT), at=AT)
        transaction.set_rollback(True)
    actions.redeem(LINK, Private(GOOD), at=AT)
    with pytest.raises(NotFound, match="start again"):
        actions.answer_code(before, wallet.code(AT), at=AT)


def test_a_wrong_password_tells_nothing_of_a_second_step(
    wallet: Wallet, django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    real = hashing.matches
    monkeypatch.setattr(hashing, "matches", lambda *a, **k: (asked.append(1), real(*a, **k))[1])
    for email in (FIRST.email, OTHER.email, "nobody@mail.example"):
        with django_assert_num_queries(2):  # the hash and the count of tries
            assert actions.begin_sign_in(email, Private("wrong"), at=AT) is None
    assert len(asked) == 3
    assert actions.log_in(FIRST.email, Private(FIRST.password), at=AT) is None  # the plain door gives no session past a second step
    assert isinstance(begun(), SecondStep)


# -- passkeys -----------------------------------------------------------------------------------------------------------------


def test_a_passkey_signs_in_alone_or_as_the_second_step_and_no_answer_counts_twice(wallet: Wallet) -> None:
    answer, challenge = wallet.assertion(AT)
    assert lives(actions.sign_in_with_passkey(answer, challenge, at=AT))
    assert actions.sign_in_with_passkey(answer, challenge, at=AT) is None
    second = AT + timedelta(seconds=1)
    asked = queries.ask_passkey(ticket(), at=second)
    assert [c["id"] for c in json.loads(asked.options)["allowCredentials"]]
    answer, challenge = wallet.assertion(second)
    assert lives(actions.answer_passkey(ticket(at=second), answer, challenge, at=second), at=second)
    stale = AT - timedelta(seconds=1)
    answer, challenge = wallet.assertion(stale)
    assert actions.sign_in_with_passkey(answer, challenge, at=AT) is None  # older than the last one that was accepted


def test_an_answer_for_another_site_origin_challenge_or_account_is_refused(wallet: Wallet) -> None:
    rp, origin = passkeys.relying_party()
    asked, later = queries.ask_any_passkey(at=AT), queries.ask_any_passkey(at=AT)
    for wrong_rp, wrong_origin, options in (
        ("evil.example", origin, asked.options),
        (rp, "https://evil.example", asked.options),
        (rp, origin, later.options),
    ):
        answer = software_key.answer(wallet.key, options, rp_id=wrong_rp, origin=wrong_origin)
        assert actions.sign_in_with_passkey(answer, asked.challenge, at=AT) is None
    right = software_key.answer(wallet.key, asked.options, rp_id=rp, origin=origin)
    stolen = json.loads(right) | {"id": "AAAA", "rawId": "AAAA"}
    for odd in ("", "{}", "[]", "null", "x" * 30_000, json.dumps(stolen), right.replace('"signature": "', '"signature": "AAAA')):
        assert actions.sign_in_with_passkey(odd, asked.challenge, at=AT) is None
    unknown = software_key.answer(software_key.new_key(), asked.options, rp_id=rp, origin=origin)
    assert actions.sign_in_with_passkey(unknown, asked.challenge, at=AT) is None
    for answer in (right, unknown):
        with pytest.raises(NotFound):
            actions.sign_in_with_passkey(answer, asked.challenge, at=AT + SECOND_STEP_LIFE + timedelta(seconds=1))
    sid, account = signed_in(OTHER, AT)
    add_totp(sid, account, AT)
    theirs = actions.begin_sign_in(OTHER.email, Private(OTHER.password), at=AT)
    assert isinstance(theirs, SecondStep)
    assert actions.answer_passkey(theirs.ticket, right, asked.challenge, at=AT) is None  # my passkey for somebody else's password
    for bad in ("", "{}", "nonsense", right):
        with pytest.raises(BadInput):
            actions.add_passkey(
                wallet.sid, bad, queries.offer_passkey(wallet.account, at=AT).challenge, label="", account=wallet.account, at=AT
            )


# -- the list, by its numbers -------------------------------------------------------------------------------------------------


def test_item_39_nobody_is_signed_in_by_a_reset(wallet: Wallet) -> None:
    before = set(Session.objects.values_list("sid_sha256", flat=True))
    assert actions.redeem(LINK, Private(GOOD), at=AT) is False  # no system of the company's own, and nothing that signs anybody in
    assert set(Session.objects.values_list("sid_sha256", flat=True)) <= before
    assert not lives(wallet.sid)


def test_item_41_a_reset_does_not_bypass_the_second_step(wallet: Wallet) -> None:
    actions.redeem(LINK, Private(GOOD), at=AT)
    step = begun(GOOD)
    assert isinstance(step, SecondStep)
    assert set(step.classes) == {"totp", "recovery_code", "passkey"}
    assert actions.log_in(FIRST.email, Private(GOOD), at=AT) is None
    assert lives(actions.answer_code(step.ticket, wallet.code(AT), at=AT))


def test_after_a_cutover_of_the_second_step_the_password_is_enough_and_its_owner_is_told(shop: Path) -> None:
    sid, account = signed_in(FIRST, AT)
    add_totp(sid, account, AT)
    actions.new_codes(sid, at=AT)
    cut(shop, armed=actions.arm(classes=[*BREACH_CLASSES, "totp", "recovery_code"], incident=1, at=AT, by="ada"))
    assert begun() is None
    fresh = "N" * 43
    assert actions.send_reset(login_of(FIRST.email), request=uuid4(), token=Private(fresh), at=AT)
    actions.redeem(fresh, Private(GOOD), at=AT)
    entered = begun(GOOD)
    assert isinstance(entered, SignedIn)
    assert queries.holdings(account, sid=entered.sid.reveal(), at=AT).ended
    add_totp(entered.sid.reveal(), account, AT)
    held = queries.holdings(account, sid=entered.sid.reveal(), at=AT)
    assert (held.ended, held.codes_left) == (False, 0)  # the app is new; the old codes stay ended


def test_item_44_staff_start_a_reset_and_never_choose_a_password(shop: Path, wallet: Wallet) -> None:
    subject = Account.objects.get(pk=wallet.account).subject
    assert subject is not None
    stored = Credential.objects.get(account_id=wallet.account).hash
    actions.start_reset(subject, at=AT, by="bob")
    actions.start_reset(subject, at=AT, by="bob")
    with connection.cursor() as cursor:
        cursor.execute("SELECT args FROM procrastinate_jobs WHERE task_name = 'credentials.tasks.send_reset' AND status = 'todo'")
        jobs = [row[0] if isinstance(row[0], dict) else json.loads(row[0]) for row in cursor.fetchall()]
    assert len(jobs) == 1  # as when a customer asks twice
    assert set(jobs[0]) == {"lookup", "request", "asked_us"}
    assert Credential.objects.get(account_id=wallet.account).hash == stored
    assert lives(wallet.sid)  # starting changes nothing of the account
    credentials_tasks.send_reset(**jobs[0])
    started = [e for e in evidence.entries_of_subject(subject) if e.type == EventType.RESET_STARTED]
    assert {e.actor for e in started} == {"bob"}
    with pytest.raises(NotFound):
        actions.start_reset(10**9, at=AT, by="bob")
    # The doors that take a new password of a customer take a link that was mailed to the customer with it; the others ask for the present one.
    takers = {name for name in actions.__all__ if "password" in inspect.signature(getattr(actions, name)).parameters}
    assert takers == {"ask_contact_change", "begin_sign_in", "log_in", "redeem"}
    assert list(inspect.signature(actions.redeem).parameters)[:2] == ["token", "password"]


def test_item_46_a_passkey_is_asked_for_with_an_unpredictable_challenge_and_kept_as_its_public_key(wallet: Wallet) -> None:
    asked = [queries.offer_passkey(wallet.account, at=AT) for _ in range(50)]
    options = [json.loads(a.options) for a in asked]
    challenges = {passkeys.webauthn.base64url_to_bytes(o["challenge"])[8:] for o in options}
    assert len(challenges) == 50
    assert {len(c) * 8 for c in challenges} == {192}
    assert {o["rp"]["id"] for o in options} == {"127.0.0.1"}  # of web.public_url, whatever host a request names
    assert all(o["authenticatorSelection"]["userVerification"] == "required" for o in options)
    assert FIRST.email not in asked[0].options
    stored = bytes(Factor.objects.get(cred_class="passkey").secret)
    assert stored == software_key.public_key(wallet.key)
    assert "PRIVATE" not in stored.decode("latin-1")


def test_item_47_passkeys_survive_the_cutover_that_a_copied_database_calls_for(shop: Path) -> None:
    wallet = fill(FIRST, at=AT)
    assert "passkey" not in BREACH_CLASSES
    assert "passkey" not in policy.propose_classes(ELEMENTS.keys()).classes
    cut(shop)
    assert begun() is None
    answer, challenge = wallet.assertion(AT)
    assert lives(actions.sign_in_with_passkey(answer, challenge, at=AT))
    cut(shop, armed=actions.arm(classes=["passkey", "session"], incident=1, at=AT, by="ada"))  # who wants them ended names the class
    later = AT + timedelta(seconds=1)
    answer, challenge = wallet.assertion(later)
    assert actions.sign_in_with_passkey(answer, challenge, at=later) is None


def test_item_48_seeds_and_codes_of_a_reached_store_are_ended_too(shop: Path) -> None:
    assert policy.propose_classes({"email", "password_hash"}).classes == BREACH_CLASSES
    proposal = policy.propose_classes({"email", "security_tokens"})
    assert set(proposal.classes) == {*BREACH_CLASSES, "totp", "recovery_code"}
    assert "security_tokens" in proposal.reasons[0]
    fill(FIRST, at=AT)
    plain = actions.arm(incident=1, at=AT, by="ada")
    assert plain.proposal is None  # nothing is known of the reach yet
    assert set(plain.classes) == set(BREACH_CLASSES)
    actions.abort(plain.id, at=AT, by="ada")
    incident = scoped(shop, (SCENARIO / "datamap.yaml").read_text())
    assert set(actions.arm(incident=incident, at=AT, by="ada").classes) == set(BREACH_CLASSES)
    actions.abort(actions.arm(incident=incident, at=AT, by="ada").id, at=AT, by="ada")
    with_seeds = (
        (SCENARIO / "datamap.yaml").read_text().replace(PW, f"{SEEDS}\n        {PW}").replace(PW_FIELD, f"{SEEDS_FIELD}\n    {PW_FIELD}")
    )
    armed = actions.arm(incident=scoped(shop, with_seeds), at=AT, by="ada")
    assert armed.proposal == proposal
    assert set(armed.classes) == set(proposal.classes)
    assert (armed.counts["totp"], armed.counts["recovery_code"]) == (1, RECOVERY_CODES)
    cut(shop, armed=armed, override="this host shows pages only")
    assert {f.cred_class for f in queries.holdings(Account.objects.earliest("pk").pk, sid="", at=AT).factors} <= {"passkey"}


PW, PW_FIELD = "account.pw: {element", "- {name: pw,"
SEEDS = "account.seed: {element: security_tokens}"
SEEDS_FIELD = "- {name: seed, data_categories: [user.authorization.credentials]}"


def scoped(home: Path, datamap: str) -> int:
    """Declare an incident whose hosts reach the store of the customers' accounts, and freeze whom it touched."""
    file = home / "datamap.yaml"
    file.write_text(datamap)
    inventory.load_map([file], at=AT, by="ada")
    what = incidents.read_declaration(SCENARIO / "incident.toml", now=AT)
    with pytest.raises(Refused) as asked:
        incidents.declare(what, approval=None, at=AT, by="ada")
    assert asked.value.approval is not None
    for name in ("ada", "bob"):
        staff.sign_with_key_file(asked.value.approval, operator=name, key_file=keyfiles.folder(home) / f"{name}.key", at=AT)
    incident = incidents.declare(what, approval=asked.value.approval, at=AT, by="ada")
    incidents.scope(incident, at=AT, by="ada")
    return incident


def test_canaries_of_every_class_open_their_doors_before_and_none_after(shop: Path) -> None:
    canaries = actions.plant_canaries(2, at=AT, classes=CLASSES)
    assert all(set(c.more) == set(CLASSES) - {"password", "session", "reset_token"} for c in canaries)
    armed = actions.arm(classes=CLASSES, incident=1, at=AT, by="ada")
    for _ in range(2):  # the battery uses nothing up
        before = actions.try_canaries(armed.id, at=AT)
        assert (before.tried, before.accepted) == (2 * len(CLASSES), 2 * len(CLASSES))
    cut(shop, armed=armed)
    after = actions.try_canaries(armed.id, at=AT)
    assert (after.tried, after.refused, after.survivors) == (2 * len(CLASSES), 2 * len(CLASSES), ())
    with connection.cursor() as cursor:  # a class that a gate forgot turns the battery red, by name
        cursor.execute("UPDATE credentials_epoch SET epoch = 1 WHERE class = 'totp'")
    assert {s.rpartition(": ")[2] for s in actions.try_canaries(armed.id, at=AT).survivors} == {"totp"}


def test_a_battery_without_a_canary_of_a_class_is_no_proof(shop: Path) -> None:
    actions.plant_canaries(1, at=AT)
    armed = actions.arm(classes=CLASSES, incident=1, at=AT, by="ada")
    with pytest.raises(Refused, match="passkey, recovery_code, totp"):
        actions.try_canaries(armed.id, at=AT)


# -- who may do what ----------------------------------------------------------------------------------------------------------


@contextmanager
def as_role(role: str) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(f"SET ROLE tocsin_{role}")
        try:
            yield
        finally:
            cursor.execute("RESET ROLE")


def test_the_public_process_does_its_part_and_reads_no_table_of_secrets(real_shop: Path) -> None:
    schema.migrate()
    wallet = fill(FIRST, at=AT)
    with as_role("public"):
        assert lives(actions.answer_code(ticket(), wallet.code(AT), at=AT))
        answer, challenge = wallet.assertion(AT)
        assert lives(actions.sign_in_with_passkey(answer, challenge, at=AT))
        assert lives(actions.renew(wallet.refresh, "refresh", at=AT).sid)
        with pytest.raises(NotFound):
            actions.renew(wallet.refresh, "refresh", at=AT + timedelta(minutes=1))  # ends the family, with its entry in the log
        assert queries.caller(wallet.api_token, at=AT) is not None
        assert queries.holdings(wallet.account, sid=wallet.sid, at=AT).factors
        actions.issue_bearer(wallet.sid, "api_token", at=AT)
        actions.new_codes(wallet.sid, at=AT)
        actions.remove_factor(wallet.sid, queries.holdings(wallet.account, sid=wallet.sid, at=AT).factors[0].id, at=AT)
        actions.forget_bearer(wallet.remember_me, at=AT)
        assert actions.end_others(wallet.sid, at=AT)
        for forbidden in (
            "SELECT secret FROM credentials_factor",
            "SELECT secret_sha256 FROM credentials_bearer",
            "SELECT secret FROM credentials_live_factor",
            "SELECT tries FROM credentials_steptries",
            "INSERT INTO credentials_bearer (secret_sha256) VALUES ('x')",
            "UPDATE credentials_factor SET epoch = 99",
            "SELECT credentials_factor_event(111, 1, 'totp', now())",
            "SELECT credentials_fresh_account('x', now())",
            "SELECT evidence_record_public(110, now(), NULL, NULL, NULL, '{}')",
        ):
            with (
                pytest.raises(DatabaseError, match=r"permission denied|does not exist"),
                transaction.atomic(),
                connection.cursor() as cursor,
            ):
                cursor.execute(forbidden)
    subject = Account.objects.get(pk=wallet.account).subject
    assert subject is not None
    with as_role("operator"):
        actions.plant_canaries(1, at=AT, classes=CLASSES)
        armed = actions.arm(classes=CLASSES, incident=1, at=AT, by="ada")
        assert actions.try_canaries(armed.id, at=AT).accepted == len(CLASSES)
        actions.start_reset(subject, at=AT, by="ada")
        assert actions.end_sign_ins(subject, at=AT, by="ada").sessions >= 1
        cut(real_shop, armed=armed)
        assert actions.try_canaries(armed.id, at=AT).accepted == 0
    for role in ("worker", "console", "intake"):
        with as_role(role), pytest.raises(DatabaseError, match="permission denied"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT * FROM credentials_factor_secret(1, 'totp')")


def test_tokens_and_factors_are_found_by_their_indexes(wallet: Wallet) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        for query, index in (
            (f"SELECT account_id FROM credentials_live_bearer WHERE secret_sha256 = '\\x{'00' * 32}'", "credentials_bearer_secret_sha256"),
            (f"SELECT id FROM credentials_live_bearer WHERE account_id = {wallet.account}", "credentials_bearer_account_id"),
            (f"SELECT id FROM credentials_live_factor WHERE account_id = {wallet.account}", "credentials_factor_account_id"),
            ("SELECT id FROM credentials_live_factor WHERE handle = '\\x00'", "credentials_factor_handle"),
        ):
            cursor.execute(f"EXPLAIN {query}")
            plan = "\n".join(row[0] for row in cursor.fetchall())
            assert index in plan, plan
