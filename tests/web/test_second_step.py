"""Signing in by second step, by passkey and by a remembered browser over HTTP; what the account's pages show and end; the token endpoint."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils.html import escape

from tests.credentials.shop import GOOD, PEOPLE, cut
from tests.credentials.wallet import LINK, Wallet, add_totp, fill, signed_in
from tests.web.test_public import body
from tocsin.credentials import actions, queries
from tocsin.credentials.models import Bearer, Factor, Session
from tocsin.credentials.second import codes
from tocsin.credentials.sign_in import digest
from tocsin.kernel import clock
from tocsin.kernel.private import Private
from tocsin.web.public import views

FIRST, OTHER = PEOPLE[0], PEOPLE[1]
RIGHT = {"email": FIRST.email, "password": FIRST.password}


@pytest.fixture
def wallet(shop: Path) -> Wallet:
    return fill(FIRST, at=clock.now())


def enter(client: Client, **more: str) -> Any:
    return client.post("/login", RIGHT | more)


def hidden(page: Any, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page.content.decode())
    assert found is not None, name
    return found.group(1)


def test_an_app_is_set_up_and_asked_for_at_the_next_sign_in(shop: Path, client: Client) -> None:
    enter(client)
    offered = client.get("/account/totp")
    assert Factor.objects.count() == 0
    seed = Private(re.sub(r"\s|<[^>]+>", "", re.findall(r'<code class="key">(.*?)</code>', body(offered), re.S)[0]))
    uri = re.findall(r'href="(otpauth://totp/[^"]+)"', body(offered))
    assert len(uri) == 1
    assert f"secret={seed.reveal()}" in uri[0]
    ticket = hidden(offered, "ticket")
    wrong = client.post("/account/totp", {"ticket": ticket, "code": "nonsense"})
    assert "does not fit" in body(wrong)
    assert hidden(wrong, "ticket") == ticket  # the same key: it is in the app already
    assert "too long" in body(client.post("/account/totp", {"ticket": "forged", "code": "123456"}))
    before = clock.now() - timedelta(seconds=codes.STEP_S)
    shown = client.post("/account/totp", {"ticket": ticket, "code": codes.code_of(seed, at=before)})
    assert len(re.findall(r"<li><code>(?:[A-Z2-7]{4}-){5}[A-Z2-7]{4}</code></li>", body(shown))) == 10
    client.post("/logout")

    other = Client()
    step = other.post("/login", RIGHT | {"then": "passkey"})
    assert (step.status_code, step.headers["Location"]) == (303, "/login/second?remember=0&then=passkey")
    assert views.SESSION_COOKIE not in step.cookies
    cookie = step.cookies[views.SECOND_COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["max-age"]) == (True, "Lax", "/login", 300)
    assert other.get("/account").status_code == 303
    form = other.get(step.headers["Location"])
    assert 'autocomplete="one-time-code"' in body(form)
    assert "did not fit" in body(other.post("/login/second", {"code": "000000", "then": "passkey"}))
    entered = other.post("/login/second", {"code": codes.code_of(seed, at=clock.now()), "then": "passkey"})
    assert (entered.status_code, entered.headers["Location"]) == (303, "/account/passkey")
    assert not entered.cookies[views.SECOND_COOKIE].value
    assert other.get("/account").status_code == 200
    assert client.get("/login/second").headers["Location"] == "/login"


def test_a_wrong_password_looks_the_same_with_and_without_a_second_step(shop: Path) -> None:
    def answer(email: str) -> tuple[Any, ...]:
        response = Client().post("/login", {"email": email, "password": "wrong"})
        return response.status_code, body(response).replace(email, "X"), sorted(response.cookies), dict(response.headers).keys()

    plain = answer(FIRST.email)
    sid, account = signed_in(FIRST, clock.now())
    add_totp(sid, account, clock.now())
    assert answer(FIRST.email) == plain == answer("nobody@mail.example")


def test_item_40_every_sign_in_has_a_new_session_id_and_ends_the_one_it_came_with(shop: Path, client: Client) -> None:
    client.cookies[views.SESSION_COOKIE] = "planted-by-somebody-else-and-known-to-them1"
    seen = []
    for _ in range(3):
        enter(client)
        seen.append(client.cookies[views.SESSION_COOKIE].value)
        assert queries.session(seen[-1], at=clock.now()) is not None
        assert [queries.session(s, at=clock.now()) for s in seen[:-1]] == [None] * (len(seen) - 1)
    assert len({*seen, "planted-by-somebody-else-and-known-to-them1"}) == 4
    assert Session.objects.count() == 1


def test_item_46_a_passkey_is_offered_at_the_end_of_a_reset_and_after_the_next_sign_in(wallet: Wallet, client: Client) -> None:
    client.cookies[views.LINK_COOKIE] = LINK
    done = client.post("/passwordchange/new", {"password": GOOD, "password_again": GOOD})
    assert 'href="/login?then=passkey"' in body(done)
    assert views.SESSION_COOKIE not in {k for k, c in done.cookies.items() if c.value}
    form = client.get("/login?then=passkey")
    assert hidden(form, "then") == "passkey"
    assert 'name="then"' not in body(client.get("/login?then=//evil.example"))
    step = client.post("/login", {"email": FIRST.email, "password": GOOD, "then": "passkey"})
    entered = client.post(step.headers["Location"].partition("?")[0], {"code": wallet.code(clock.now()), "then": "passkey"})
    assert entered.headers["Location"] == "/account/passkey"
    assert 'data-passkey="create"' in body(client.get("/account/passkey"))


def test_a_browser_is_remembered_by_a_button_and_its_token_changes_each_time(shop: Path, client: Client) -> None:
    assert views.REMEMBER_COOKIE not in enter(client).cookies
    enter(client, remember="on")
    cookie = client.cookies[views.REMEMBER_COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["max-age"]) == (True, "Lax", "/", 30 * 86_400)
    first = cookie.value
    del client.cookies[views.SESSION_COOKIE]
    assert client.get("/account").headers["Location"] == "/login"
    assert "Go on as before" in body(client.get("/login"))
    assert Bearer.objects.filter(spent_at=None).count() == 1  # looking spends nothing
    assert client.post("/login/remembered").headers["Location"] == "/account"
    assert client.get("/account").status_code == 200
    assert client.cookies[views.REMEMBER_COOKIE].value != first
    refused = client.post("/account/token", {"class": "api_token", "label": "x"})
    assert refused.status_code == 409  # a session of a token may not make more tokens
    assert "Please sign in again" in body(refused)
    copied = Client()
    copied.cookies[views.REMEMBER_COOKIE] = first
    answer = copied.post("/login/remembered")
    assert answer.headers["Location"] == "/login"
    assert not answer.cookies[views.REMEMBER_COOKIE].value
    enter(client, remember="on")
    kept = client.cookies[views.REMEMBER_COOKIE].value
    left = client.post("/logout")
    assert not left.cookies[views.REMEMBER_COOKIE].value
    assert left.cookies[views.REMEMBER_COOKIE]["path"] == "/"
    copied.cookies[views.REMEMBER_COOKIE] = kept
    assert copied.post("/login/remembered").headers["Location"] == "/login"  # signing out ends the token, not the cookie alone


def test_the_account_shows_what_lets_in_and_ends_it(wallet: Wallet, client: Client) -> None:
    client.cookies[views.SESSION_COOKIE] = wallet.sid
    other = Client()
    other.cookies[views.SESSION_COOKIE] = actions.renew(wallet.refresh, "refresh", at=clock.now()).sid.reveal()
    shown = body(client.get("/account"))
    for words in (
        "Authenticator app",
        "software",
        "10 left",
        "This browser",
        "Another browser or app",
        "A remembered browser",
        "App: app",
        "API token: script",
    ):
        assert words in shown, words
    for secret in (wallet.sid, wallet.api_token, wallet.seed.reveal(), wallet.recovery[0]):
        assert secret not in shown
    made = client.post("/account/token", {"class": "api_token", "label": "<b>nightly</b>"})
    token = re.findall(r'<code class="key">([A-Za-z0-9_-]{43})</code>', body(made))[0]
    assert escape("<b>nightly</b>") in body(made)
    assert Client(headers={"Authorization": f"Bearer {token}"}).get("/me").json()["label"] == "<b>nightly</b>"
    assert client.post("/account/token", {"class": "session", "label": "x"}).status_code == 400
    assert other.get("/account").status_code == 200
    client.post("/account/end", {"what": "session", "ref": digest(other.cookies[views.SESSION_COOKIE].value).hex()})
    assert other.get("/account").status_code == 303
    for odd in (
        {},
        {"what": "token", "ref": "9" * 30},
        {"what": "token", "ref": "x"},
        {"what": "session", "ref": "zz"},
        {"what": "nonsense"},
    ):
        assert client.post("/account/end", odd).headers["Location"] == "/account"
    client.post("/account/end", {"what": "token", "ref": str(Bearer.objects.get(label="<b>nightly</b>").pk)})
    assert Client(headers={"Authorization": f"Bearer {token}"}).get("/me").status_code == 401
    client.post("/account/end", {"what": "others"})
    assert "A remembered browser" not in body(client.get("/account"))
    assert client.post("/account/remove", {"ref": str(Factor.objects.get(cred_class="totp").pk)}).headers["Location"] == "/account"
    assert "Set up an authenticator app" in body(client.get("/account"))


def test_after_a_cutover_of_seeds_the_owner_is_asked_to_set_the_second_step_up_anew(shop: Path, client: Client) -> None:
    fill(FIRST, at=clock.now())
    cut(shop, armed=actions.arm(classes=["totp", "recovery_code", "passkey", "session"], incident=1, at=clock.now(), by="ada"))
    assert enter(client).headers["Location"] == "/account"  # the password alone
    assert "Your second step was ended for safety" in body(client.get("/account"))


def test_the_token_endpoint_speaks_rfc_6749(wallet: Wallet) -> None:
    outside = Client(enforce_csrf_checks=True)

    def ask(**form: str) -> Any:
        return outside.post("/token", form)

    for form, error in (
        ({}, "invalid_request"),
        ({"grant_type": "password", "username": "x", "password": "y"}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token"}, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": "x" * 5000}, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": wallet.api_token}, "invalid_grant"),
    ):
        refused = ask(**form)
        assert (refused.status_code, refused.json()) == (400, {"error": error})
    given = ask(grant_type="refresh_token", refresh_token=wallet.refresh)
    assert given.status_code == 200
    assert given.headers["Cache-Control"] == "no-store"
    answer = given.json()
    assert set(answer) == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 43_200)
    me = Client(headers={"Authorization": f"bearer {answer['access_token']}"}).get("/me")
    assert (me.status_code, me.json()["signed_in_by"]) == (200, "session")
    again = ask(grant_type="refresh_token", refresh_token=wallet.refresh)
    assert again.json() == {"error": "invalid_grant"}
    assert ask(grant_type="refresh_token", refresh_token=answer["refresh_token"]).status_code == 200
    assert outside.get("/token").status_code == 405
    for header in ("", "Bearer", "Bearer ", "Basic abc", f"Token {wallet.api_token}", f"Bearer {wallet.refresh}", "Bearer é"):
        refused = Client(headers={"Authorization": header}).get("/me")
        assert (refused.status_code, refused.json()) == (401, {"error": "invalid_token"}), header
        assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    by_cookie = Client()
    by_cookie.cookies[views.SESSION_COOKIE] = wallet.sid
    assert by_cookie.get("/me").status_code == 401  # no cookie opens the programs' door
