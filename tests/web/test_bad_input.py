"""What strangers and old browsers send: each gets the stated answer, and nothing is changed by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from django.db import connection
from django.test import Client

from tests.credentials.shop import GOOD, PEOPLE
from tests.web.conftest import deliver
from tocsin.mail.models import Outbound

FIRST = PEOPLE[0]
TOKEN = "T" * 43
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def linked(shop: Path, client: Client) -> Client:
    """Give a browser that followed its link."""
    client.post("/passwordchange", {"email": FIRST.email})
    assert deliver(TOKEN)
    client.get(f"/passwordchange/t/{TOKEN}")
    return client


def choose(client: Client, password: bytes) -> Any:
    """Post a password as these very bytes."""
    typed = quote_from_bytes(password)
    return client.post("/passwordchange/new", f"password={typed}&password_again={typed}", content_type=FORM)


@pytest.mark.parametrize(
    ("password", "status", "said"),
    [
        (b"", 422, "0 characters"),
        (b"x" * 10_000_000, 413, "longer than anything"),
        (b"\xff\xfe gravel lantern osprey", 422, "no keyboard types"),
        (b"gravel\x00lantern osprey Tuesday", 422, "no keyboard types"),
        (b"gravel lantern\r\nosprey Tuesday", 422, "no keyboard types"),
        (
            "\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44".encode(),
            422,
            "thieves try first",
        ),
        ("\ud800".encode("utf-8", "surrogatepass") + b" gravel lantern osprey", 422, "no keyboard types"),
        (b"%" * 5000, 413, "4096 bytes"),
    ],
    ids=["nothing", "10 MB", "no UTF-8", "NUL", "line break", "wide letters", "surrogate", "over the cap"],
)
def test_a_password_that_will_not_do_is_refused_with_its_reason(linked: Client, password: bytes, status: int, said: str) -> None:
    response = choose(linked, password)
    assert response.status_code == status
    assert said in response.content.decode()
    assert choose(linked, GOOD.encode()).status_code == 200  # and the link is still good


@pytest.mark.parametrize(
    ("password", "alike"),
    [
        ("🦊🐢🍋🚲 gravel lantern osprey", "🦊🐢🍋 gravel lantern osprey"),
        ("gravel l\u0430ntern osprey Tuesday", "gravel lantern osprey Tuesday"),  # a Cyrillic a is another letter
        ("Straße am Fluß, Übergang 7", "Strasse am Fluss, Übergang 7"),
        ("四个互不相关的词容易记住又难以猜中", "四个互不相关的词容易记住又难以猜"),
        ("مرحبا بالعالم الكبير الواسع", "مرحبا بالعالم الكبير"),
        ('"><script>alert(1)</script>', "><script>alert(1)</script>"),
    ],
)
def test_every_script_and_emoji_is_welcome_and_is_itself_alone(linked: Client, password: str, alike: str) -> None:
    assert choose(linked, password.encode()).status_code == 200
    assert linked.post("/login", {"email": FIRST.email, "password": alike}).status_code == 200
    assert linked.post("/login", {"email": FIRST.email, "password": password}).status_code == 303


INJECTIONS = (
    "person.1.md5@mail.example\r\nBcc: thief@evil.example",
    "person.1.md5@mail.example\nthief@evil.example",
    "person.1.md5@mail.example%0d%0aBcc:thief@evil.example\x00",
    "<person.1.md5@mail.example>",
    "Jo <person.1.md5@mail.example>",
    "person.1.md5@mail.example, thief@evil.example",
    "a" * 250 + "@mail.example",
    "@",
    "person.1.md5@",
    "",
)


@pytest.mark.parametrize("path", ["/passwordchange", "/affected", "/passwordchange/letter"])
def test_an_address_that_would_inject_is_refused_and_nothing_is_queued(shop: Path, client: Client, path: str) -> None:
    for address in INJECTIONS:
        response = client.post(path, {"email": address, "postcode": "10115"})
        assert response.status_code == 422, address
        assert "\r\nBcc" not in str(response.headers)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM procrastinate_jobs")
        assert cursor.fetchone() == (0,)


def test_a_list_of_addresses_reaches_nobody(shop: Path, client: Client) -> None:
    """What passes for an address is only ever digested: mail goes to the address in the register, and to no other."""
    assert client.post("/passwordchange", {"email": "person.1.md5@mail.example,thief@evil.example"}).status_code == 200
    assert not deliver(TOKEN)
    look_alike = FIRST.email.replace("e", "\u0435", 1)
    assert client.post("/passwordchange", {"email": look_alike}).status_code == 200
    assert not deliver(TOKEN)
    assert Outbound.objects.count() == 0
    assert client.post("/passwordchange", {"email": f"  {FIRST.email.upper()} "}).status_code == 200
    assert deliver(TOKEN)


def test_the_log_in_takes_anything_and_lets_nobody_in(shop: Path, client: Client) -> None:
    for email, password in ((b"\xff\xfe", b"x"), (b"a\x00b@c.example", b"\x00"), (FIRST.email.encode(), b"\xff"), (b"x" * 60_000, b"x")):
        response = client.post("/login", f"email={quote_from_bytes(email)}&password={quote_from_bytes(password)}", content_type=FORM)
        assert response.status_code == 200
    assert client.post("/login", {"email": FIRST.email, "password": "x" * 10_000_000}).status_code == 413
    assert client.post("/login", b"\x00\xff" * 100, content_type="application/octet-stream").status_code == 200
    assert client.post("/login", b"--x\r\nbroken", content_type="multipart/form-data; boundary=x").status_code in {200, 400}


def test_a_code_that_cannot_be_one_is_told_and_any_other_is_as_good_as_none(shop: Path, client: Client) -> None:
    for wrong in ("", "0" * 27, "0" * 29, "U" * 28, "x" * 5000, "\x00" * 28, "ж" * 28):
        assert client.post("/passwordchange/code", {"code": wrong}).status_code == 422
    followed = client.post("/passwordchange/code", {"code": "0000-" * 7}, follow=True)
    assert followed.redirect_chain == [("/passwordchange/new", 303)]
    assert followed.status_code == 410


def test_a_forged_host_is_refused_or_ignored(shop: Path, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["testserver"]
    for headers in (
        {"host": "evil.example"},
        {"x-forwarded-host": "evil.example"},
        {"x-forwarded-proto": "https", "x-forwarded-port": "1"},
    ):
        response = Client().get("/", headers=headers)
        assert "evil.example" not in response.content.decode() + str(response.headers)
    assert Client().post(
        "/passwordchange", {"email": FIRST.email}, headers={"host": "testserver", "origin": "http://evil.example"}
    ).status_code in {200, 403}
    for path in ("//evil.example/", "/passwordchange/t/https:%2F%2Fevil.example", "/\\evil.example"):
        assert "evil.example" not in Client().get(path).headers.get("Location", "")
