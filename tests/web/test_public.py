"""The customers' site over HTTP: one answer for all, nothing cached, no write on a GET, links that looking does not use up."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import OperationalError, connection
from django.http import Http404
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from tests.credentials.shop import GOOD, PEOPLE, cut
from tests.web.conftest import deliver
from tocsin.credentials import lease
from tocsin.credentials.passwords import hashing
from tocsin.kernel.errors import BadInput, Busy, Fault, NotFound, Refused, TocsinError, Unavailable
from tocsin.web import errors
from tocsin.web.public import views

FIRST = PEOPLE[0]
TOKEN = "T" * 43
SCENARIO = Path(__file__).parents[2] / "scenarios" / "zappos-2012"
PAGES = ("/", "/passwordchange", "/passwordchange/new", "/login", "/account", "/check")


def body(response: Any) -> str:
    """Return a page without what differs by design: the form's token."""
    return re.sub(r'name="csrfmiddlewaretoken" value="[^"]+"', "", response.content.decode())


def ask(client: Client, email: str = FIRST.email) -> Any:
    return client.post("/passwordchange", {"email": email})


def with_link(client: Client, token: str = TOKEN) -> Any:
    ask(client)
    assert deliver(token)
    return client.get(f"/passwordchange/t/{token}")


def test_every_page_is_sealed_and_a_get_writes_nothing(shop: Path, client: Client) -> None:
    with_link(client)
    for path in (*PAGES, f"/passwordchange/t/{TOKEN}", "/passwordchange/t/nonsense"):
        with CaptureQueriesContext(connection) as queries:
            response = client.get(path)
        assert [q["sql"] for q in queries if not q["sql"].startswith(("SELECT", "-- "))] == [], path
        assert all(" INTO " not in q["sql"] and "UPDATE " not in q["sql"] for q in queries)
        headers = response.headers
        assert headers["Cache-Control"] == "no-store", path
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["Referrer-Policy"] == ("no-referrer" if "/t/" in path else "same-origin")
        assert "http://" not in body(response)
        assert "https://" not in body(response)
        assert "<style" not in body(response)
        assert not re.search(r"<script(?![^>]* src=)| on\w+=| style=", body(response))
        assert "sessionid" not in response.cookies


def test_known_and_unknown_addresses_get_the_same_answer(shop: Path, client: Client) -> None:
    known, unknown = ask(client), ask(client, "nobody@mail.example")
    assert (known.status_code, body(known)) == (unknown.status_code, body(unknown)) == (200, body(known))
    assert {k: v for k, v in known.headers.items() if k != "Set-Cookie"} == {k: v for k, v in unknown.headers.items() if k != "Set-Cookie"}
    for wrong in ("", "nobody", "a b@c.example", "x@y\r\nBcc: z@w.example"):
        response = ask(client, wrong)
        assert response.status_code == 422
        assert "does not look like" in body(response)


def test_a_link_is_swapped_into_a_cookie_and_looking_uses_nothing_up(shop: Path, client: Client) -> None:
    response = with_link(client)
    assert (response.status_code, response.headers["Location"]) == (303, "/passwordchange/new")
    cookie = response.cookies[views.LINK_COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/passwordchange")
    for _ in range(3):
        assert Client().get(f"/passwordchange/t/{TOKEN}").status_code == 303  # a scanner of the mail server
        assert client.get("/passwordchange/new").status_code == 200
    done = client.post("/passwordchange/new", {"password": GOOD, "password_again": GOOD})
    assert done.status_code == 200
    assert "Your new password is set" in body(done)
    assert views.SESSION_COOKIE not in {k for k, c in done.cookies.items() if c.value}  # nobody is signed in by it
    client.cookies[views.LINK_COOKIE] = TOKEN
    for dead in (client.get("/passwordchange/new"), client.post("/passwordchange/new", {"password": GOOD, "password_again": GOOD})):
        assert dead.status_code == 410
    strange = Client()
    strange.cookies[views.LINK_COOKIE] = "Z" * 43
    assert body(strange.get("/passwordchange/new")) == body(dead) == body(Client().get("/passwordchange/new"))


def test_refusals_name_their_reason_and_keep_the_link(shop: Path, client: Client) -> None:
    with_link(client)
    for password, again, status, said in (
        ("too short", "too short", 422, "at least 15"),
        (GOOD, GOOD + "x", 422, "The two entries differ"),
        ("", "", 422, "0 characters"),
        ("passwordpassword", "passwordpassword", 422, "thieves try first"),
        (FIRST.password, FIRST.password, 422, "It is the old password"),
        ("é" * 3000, "é" * 3000, 413, "4096 bytes"),
        ("x" * 70_000, "x", 413, "longer than anything"),
    ):
        response = client.post("/passwordchange/new", {"password": password, "password_again": again})
        assert response.status_code == status, said
        assert said in body(response)
        assert password == "" or f'value="{password}' not in body(response)
    assert client.post("/passwordchange/new", {"password": GOOD, "password_again": GOOD}).status_code == 200


def test_sign_in_and_out(shop: Path, client: Client) -> None:
    assert client.get("/account").headers["Location"] == "/login"
    wrong = client.post("/login", {"email": FIRST.email, "password": "wrong"})
    nobody = client.post("/login", {"email": FIRST.email.replace("person", "nobody"), "password": "wrong"})
    assert wrong.status_code == nobody.status_code == 200
    assert body(wrong) == body(nobody).replace("nobody", "person")
    response = client.post("/login", {"email": FIRST.email, "password": FIRST.password})
    assert (response.status_code, response.headers["Location"]) == (303, "/account")
    sid = response.cookies[views.SESSION_COOKIE].value
    assert client.get("/account").status_code == 200
    assert client.post("/logout").status_code == 303
    client.cookies[views.SESSION_COOKIE] = sid
    assert client.get("/account").status_code == 303
    assert client.post("/login", {"email": FIRST.email, "password": "x" * 5000}).status_code == 413
    assert client.get("/logout").status_code == 405


def test_after_the_cutover_right_and_wrong_old_passwords_look_alike(shop: Path, client: Client) -> None:
    before = client.post("/login", {"email": FIRST.email, "password": FIRST.password})
    assert before.status_code == 303
    cut(shop)
    assert client.get("/account").status_code == 303  # its session went with the password
    right = client.post("/login", {"email": FIRST.email, "password": FIRST.password})
    wrong = client.post("/login", {"email": FIRST.email, "password": "wrong"})
    assert right.status_code == wrong.status_code == 200
    assert body(right) == body(wrong)
    assert "ended for everybody" in body(right)
    assert "Please set a new password" in body(client.get("/"))


def test_a_full_house_answers_at_once_with_a_waiting_page(shop: Path, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with_link(client)
    full = hashing.Slots(running=0, waiting=0, wait_s=0)
    monkeypatch.setattr(hashing, "slots", full)
    for path, form in (
        ("/login", {"email": FIRST.email, "password": FIRST.password}),
        ("/passwordchange/new", {"password": GOOD, "password_again": GOOD}),
    ):
        response = client.post(path, form)
        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) > 0
        assert "Nothing is lost" in body(response)
    monkeypatch.undo()
    assert client.post("/passwordchange/new", {"password": GOOD, "password_again": GOOD}).status_code == 200


def test_without_a_lease_the_site_lets_nobody_in(shop: Path, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with_link(client)
    monkeypatch.setattr(lease, "_node", lease.NodeLease("n"))
    statuses = [
        client.post("/login", {"email": FIRST.email, "password": FIRST.password}).status_code,
        client.get("/account").status_code,
        client.get("/passwordchange/new").status_code,
        client.post("/passwordchange/new", {"password": GOOD, "password_again": GOOD}).status_code,
    ]
    assert statuses == [503] * 4
    assert client.get("/").status_code == 200


def test_forms_need_their_token_and_links_ignore_the_host_header(shop: Path) -> None:
    strict = Client(enforce_csrf_checks=True)
    refused = strict.post("/passwordchange", {"email": FIRST.email})
    assert refused.status_code == 403
    assert "reload the page" in body(refused)
    form = strict.get("/passwordchange")
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form.content.decode())
    assert token is not None
    assert strict.post("/passwordchange", {"email": FIRST.email, "csrfmiddlewaretoken": token.group(1)}).status_code == 200
    forged = Client().get("/passwordchange", headers={"host": "evil.example", "x-forwarded-host": "evil.example"})
    assert "evil.example" not in body(forged)  # no address is made of what a header says; the letter's is the configuration's
    assert strict.get("/nowhere").status_code == 404


def test_a_code_is_checked(shop: Path, client: Client) -> None:
    unknown = client.post("/check", {"code": "00000-00000"})
    assert unknown.status_code == 200
    assert "We do not know that code" in body(unknown)
    assert "&lt;b&gt;" in body(client.post("/check", {"code": "<b>"}))


def raising(error: BaseException) -> Any:
    request = RequestFactory().get("/")
    return errors.ErrorsMiddleware(views.home).process_exception(request, error)  # type: ignore[arg-type]


def test_each_error_has_its_status(public_site: None, caplog: pytest.LogCaptureFixture) -> None:
    for error, status in (
        (BadInput([Fault("file", "'x'", "a date", 3), Fault("name", "''", "a name")]), 400),
        (Refused("not before it is armed"), 409),
        (NotFound("no such thing"), 404),
        (Busy("full", retry_after_s=2.2), 429),
        (Unavailable("mail", "down"), 503),
        (OperationalError("connection to server at 10.0.0.7 failed"), 503),
        (TocsinError("odd"), 500),
    ):
        response = raising(error)
        assert response.status_code == status
        assert response.headers["Cache-Control"] == "no-store"
    assert raising(Busy("full", retry_after_s=2.2)).headers["Retry-After"] == "3"
    assert "line 3" in raising(BadInput([Fault("file", "'x'", "a date", 3)])).content.decode()
    assert "10.0.0.7" not in raising(OperationalError("connection to server at 10.0.0.7 failed")).content.decode()
    assert raising(Http404()) is None
    assert raising(PermissionDenied()) is None
    caplog.clear()
    response = raising(ValueError("secret of ada@mail.example"))
    reference = re.search(r"<code>([0-9a-f]{8})</code>", response.content.decode())
    assert response.status_code == 500
    assert reference is not None
    assert reference.group(1) in caplog.text
    assert "ValueError" in caplog.text
    assert "ada@mail.example" not in caplog.text + response.content.decode()


def test_a_defect_in_a_view_is_a_page_with_a_number(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views.credentials, "request_reset", lambda *a, **k: 1 / 0)
    response = Client(raise_request_exception=False).post("/passwordchange", {"email": FIRST.email})
    assert response.status_code == 500
    assert "Reference:" in response.content.decode()


def test_the_site_has_what_the_notice_tells_people_to_choose(shop: Path) -> None:
    """In a breach a worried customer compares words: what the notice names must stand on the page under that very name."""
    texts = [f.read_text() for f in (SCENARIO / "notice.txt", SCENARIO / "site_notice.txt")]
    named = {" ".join(name.split()) for text in texts for name in re.findall(r'(?:Choose|choose)\s+"([^"]+)"', text)}
    assert named == {"Create a new password", "Did you send this?"}
    home = Client().get("/").content.decode()
    links = {html.unescape(re.sub(r"<[^>]+>", "", a)).strip() for a in re.findall(r"<a\b[^>]*>(.*?)</a>", home, re.S)}
    assert named <= links


def test_the_page_that_is_kept_is_the_one_that_would_be_rendered_and_bears_each_visitors_own_token(shop: Path, client: Client) -> None:
    with_link(client)
    shown = [client.get("/passwordchange/new", HTTP_ACCEPT_LANGUAGE=language) for language in ("en", "de", "en")]
    tokens = [re.findall(r'name="csrfmiddlewaretoken" value="(\w{64})"', page.content.decode()) for page in shown]
    assert [len(found) for found in tokens] == [1, 1, 1]
    assert len({found[0] for found in tokens}) == 3  # masked anew for each answer, or compression would tell it (BREACH)
    assert body(shown[0]) == body(shown[2]) != body(shown[1])
    request = RequestFactory().get("/passwordchange/new")
    rendered = views._page(request, "choose", reasons=[], chars_min=15, words="", path="/passwordchange/new")
    assert body(shown[0]) == body(rendered)
    refused = client.post("/passwordchange/new", {"password": "short", "password_again": "short"})
    assert refused.status_code == 422
    assert 'class="faults"' in refused.content.decode()
    assert 'class="faults"' not in client.get("/passwordchange/new").content.decode()
