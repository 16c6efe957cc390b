"""The waiting page over HTTP: what it says, what it weighs, and that the front answers as the site would."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connection
from django.test import Client

from tests.credentials.room_parts import Clock, close, opened, ticks
from tests.credentials.shop import GOOD, PEOPLE, cut
from tests.web.conftest import deliver
from tocsin.credentials import actions
from tocsin.credentials.passwords import hashing
from tocsin.credentials.room import ticket
from tocsin.kernel import clock
from tocsin.kernel.private import Private
from tocsin.web.public import room
from tocsin.web.public.front import FORM, Front

FIRST = PEOPLE[0]
TOKEN = "T" * 43
PAGE_BYTES_MAX = 4096


class Answer:
    """What a WSGI application said."""

    def __init__(self, app: Any, path: str, *, query: str = "", cookie: str = "", method: str = "GET", language: str = "en") -> None:
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "SCRIPT_NAME": "",
            "QUERY_STRING": query,
            "SERVER_NAME": "testserver",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "198.51.100.7",
            "HTTP_HOST": "testserver",
            "HTTP_ACCEPT_LANGUAGE": language,
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": io.StringIO(),
            "wsgi.url_scheme": "http",
            "wsgi.version": (1, 0),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        if cookie:
            environ["HTTP_COOKIE"] = cookie
        for signal in (request_started, request_finished):  # as Django's own client does: a request must not end the test's connection
            signal.disconnect(close_old_connections)
        self.body = b"".join(app(environ, self._start)).decode()
        for signal in (request_started, request_finished):
            signal.connect(close_old_connections)

    def _start(self, status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
        self.status = int(status.split()[0])
        self.headers = {k.lower(): v for k, v in headers}
        assert len(self.headers) == len(headers) or [k for k, _ in headers].count("Set-Cookie") > 1

    @property
    def ticket(self) -> str:
        """Return the ticket in the page's own address."""
        found = re.search(r"\?q=([A-Za-z0-9_-]+)", self.body)
        return found.group(1) if found else ""


@pytest.fixture
def front(public_site: None) -> Front:
    return Front(WSGIHandler())


@pytest.fixture
def crowd(shop: Path) -> Iterator[Any]:
    """A closed room with sixty people in it."""
    time = Clock()
    with opened(time) as mine:
        close(time, mine)
        for _ in range(60):
            mine.issue()
        time.pass_(1)
        mine.report()
        mine.refresh()
        yield time, mine


def test_nobody_sees_the_room_while_there_is_no_queue(shop: Path, front: Front) -> None:
    time = Clock()
    with opened(time) as mine:
        mine.tick()
        found = Answer(front, "/passwordchange")
        assert found.status == 200
        assert "Mail me a link" in found.body
        assert room.TICKET_COOKIE not in found.headers.get("set-cookie", "")


def test_the_waiting_page_says_what_a_frightened_person_needs(crowd: Any, shop: Path, front: Front) -> None:
    found = Answer(front, "/passwordchange")
    assert found.status == 503
    assert 15 <= int(found.headers["retry-after"]) <= 25
    assert len(found.body.encode()) < PAGE_BYTES_MAX
    assert re.search(r'<meta http-equiv="refresh" content="(\d+);url=/passwordchange\?q=', found.body)
    assert "People ahead of you: <strong>60</strong>" in found.body
    assert 'aria-live="polite"' in found.body
    assert "Nothing is lost" in found.body
    assert "Mail me when it is my turn" in found.body
    assert "@" not in re.sub(r"help@[\w.]+", "", found.body)  # no gap left
    assert "<script" not in found.body
    assert "already disabled" not in found.body  # not before it is true
    cut(shop)
    assert "already disabled" in Answer(Front(WSGIHandler()), "/passwordchange").body


def test_the_front_answers_as_the_site_does(crowd: Any, shop: Path, front: Front) -> None:
    """Headers and bytes are the site's; only figures and the ticket differ."""
    site = WSGIHandler()
    ours, theirs = Answer(front, "/passwordchange"), Answer(site, "/passwordchange")
    assert theirs.status == ours.status == 503

    def even(answer: Answer) -> tuple[dict[str, str], str]:
        skip = {"set-cookie", "retry-after", "content-length"}
        return {k: v for k, v in answer.headers.items() if k not in skip}, re.sub(
            r'q=[A-Za-z0-9_-]+|content="\d+;|\d+ seconds', "", answer.body
        )

    assert even(ours) == even(theirs)
    assert ours.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in ours.headers["content-security-policy"]
    assert "httponly" in ours.headers["set-cookie"].lower()
    assert "samesite=lax" in ours.headers["set-cookie"].lower()


def test_a_place_is_kept_by_the_cookie_or_by_the_address(crowd: Any, shop: Path, front: Front) -> None:
    time, mine = crowd
    first = Answer(front, "/passwordchange")
    by_cookie = Answer(front, "/passwordchange", cookie=f"{room.TICKET_COOKIE}={first.ticket}")
    by_address = Answer(front, "/passwordchange", query=f"q={first.ticket}")
    assert first.ticket == by_cookie.ticket == by_address.ticket
    assert "set-cookie" not in by_cookie.headers
    forged = Answer(front, "/passwordchange", query=f"q={first.ticket[:-2]}AA")
    assert forged.status == 503
    assert forged.ticket != first.ticket
    ticks(time, mine, 10)
    admitted = Answer(front, "/passwordchange", query=f"q={first.ticket}")
    assert admitted.status == 200
    assert f'name="q" value="{first.ticket}"' in admitted.body  # without cookies the form carries it


def test_whoever_asks_while_waiting_is_written_to_later(crowd: Any, shop: Path) -> None:
    client = Client()
    form = client.get("/passwordchange/later")
    assert form.status_code == 200
    known = client.post("/passwordchange", {"email": FIRST.email})
    unknown = Client().post("/passwordchange", {"email": "nobody@mail.example"})
    assert known.status_code == unknown.status_code == 200
    assert known.content == unknown.content
    assert "We will write to you" in known.content.decode()
    assert known.cookies[room.TICKET_COOKIE]["httponly"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'credentials.tasks.send_reset' AND args ? 'place'")
        assert cursor.fetchone() == (2,)


def test_the_form_waits_its_turn_and_a_full_pool_costs_no_place(shop: Path, front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client()
    client.post("/passwordchange", {"email": FIRST.email})
    assert deliver(TOKEN)
    client.get(f"/passwordchange/t/{TOKEN}")
    time = Clock()
    with opened(time) as mine:
        close(time, mine)
        for _ in range(30):
            mine.issue()
        waiting = client.get(FORM)
        assert waiting.status_code == 503
        assert "People ahead of you" in waiting.content.decode()
        text = waiting.cookies[room.TICKET_COOKIE].value
        assert ticket.read(text, binding=ticket.binding_of(TOKEN), now_ms=time.ms) is not None
        cookie = f"tocsin_link={TOKEN}; {room.TICKET_COOKIE}={text}"
        assert Answer(front, FORM, cookie=cookie).status == 503
        early = client.post(FORM, {"password": GOOD, "password_again": GOOD})
        assert early.status_code == 503  # nobody jumps the queue with a form kept from elsewhere
        ticks(time, mine, 8)
        assert Answer(front, FORM, cookie=cookie).status == 200
        assert client.get(FORM).status_code == 200
        assert client.cookies[room.PASS_COOKIE].value
        for _ in range(500):
            mine.issue()
        ticks(time, mine)
        assert client.get(FORM).status_code == 200  # with a pass, whatever happens behind them
        with monkeypatch.context() as patch:
            patch.setattr(hashing, "slots", hashing.Slots(running=0, waiting=0, wait_s=0))
            full = client.post(FORM, {"password": GOOD, "password_again": GOOD})
        assert full.status_code == 503
        assert "It is your turn" in full.content.decode()
        assert client.cookies[room.PASS_COOKIE].value
        done = client.post(FORM, {"password": GOOD, "password_again": GOOD})
        assert done.status_code == 200
        assert "Your new password is set" in done.content.decode()
        assert client.get(FORM).status_code == 410


def test_the_gaps_are_shown_to_nobody(crowd: Any, shop: Path) -> None:
    assert Client().get("/passwordchange/waiting").status_code == 404
    assert Client(headers={"tocsin.waiting_form": "/passwordchange"}).get("/passwordchange/waiting").status_code == 404


def test_item_17_a_slowed_log_in_tells_the_way_out_and_tells_nothing_about_the_login(shop: Path) -> None:
    client = Client()
    answers = {}
    for email in (FIRST.email, "nobody@mail.example"):
        for _ in range(5):
            assert client.post("/login", {"email": email, "password": "wrong"}).status_code == 200
        answers[email] = client.post("/login", {"email": email, "password": "wrong"})
    known, unknown = answers.values()
    assert known.status_code == unknown.status_code == 429
    assert known.content == unknown.content
    assert int(known.headers["Retry-After"]) >= 1
    assert "/passwordchange" in known.content.decode()


def test_item_18_the_answer_is_the_same_page_however_often_somebody_asks(shop: Path) -> None:
    client = Client()
    pages = {
        client.post("/passwordchange", {"email": FIRST.email}, headers={"x-forwarded-for": f"203.0.113.{n}"}).content for n in range(40)
    }
    assert len(pages) == 1


def test_item_19_long_passwords_are_refused_on_both_forms_before_hashing(shop: Path) -> None:
    client = Client()
    client.post("/passwordchange", {"email": FIRST.email})
    assert deliver(TOKEN)
    client.get(f"/passwordchange/t/{TOKEN}")
    before = len(hashing.slots.meter._waits)
    for length in (4097, 70_000, 10_000_000):
        long = "x" * length
        assert client.post("/login", {"email": FIRST.email, "password": long}).status_code == 413
        assert client.post(FORM, {"password": long, "password_again": long}).status_code == 413
    assert len(hashing.slots.meter._waits) == before
    exact = "gravel lantern osprey Tuesday " * 136 + "sixteen more...."
    assert len(exact) == 4096
    assert client.post(FORM, {"password": exact, "password_again": exact}).status_code == 200
    assert actions.log_in(FIRST.email, Private(exact), at=clock.now())


def test_the_front_speaks_the_language_that_was_chosen(crowd: Any, shop: Path, front: Front) -> None:
    german = "Leute vor Ihnen: <strong>60</strong>"
    assert german not in Answer(front, "/passwordchange").body
    chosen = Answer(front, "/passwordchange", query="lang=de")
    assert german in chosen.body
    assert f'href="/passwordchange?lang=fr&amp;q={chosen.ticket}"' in chosen.body  # without cookies a place survives the choice
    assert "tocsin_lang=de; HttpOnly" in chosen.headers["set-cookie"]  # the last of two
    kept = Answer(front, "/passwordchange", cookie="tocsin_lang=de")
    assert german in kept.body
    assert "tocsin_lang" not in kept.headers["set-cookie"]
    assert german in Answer(front, "/passwordchange", language="de").body
    for query in ("lang=xx", "lang=%00", "&".join("abcdefghijklm"), "q=&" * 20 + "lang=de"):
        assert "People ahead of you: <strong>" in Answer(front, "/passwordchange", query=query).body, query


def test_the_front_answers_a_link_and_a_chosen_language_as_the_site_does(shop: Path, front: Front) -> None:
    """The kept answer differs from the site's own in nothing: not for the next token, not in another language, and for no other address."""
    when = re.compile(r"expires=[^;]+; ")
    for token, language, cookie in (("x" * 43, "en", ""), ("y" * 43, "de", ""), ("z" * 43, "de", "tocsin_lang=fr"), ("short", "en", "")):
        path = f"/passwordchange/t/{token}"
        asked, direct = (Answer(app, path, language=language, cookie=cookie) for app in (front, front.site))
        assert asked.status == direct.status == 303
        assert asked.body == direct.body
        assert {k: when.sub("", v) for k, v in asked.headers.items()} == {k: when.sub("", v) for k, v in direct.headers.items()}
        assert (f"tocsin_link={token}" in asked.headers["set-cookie"]) is (token != "short")
    assert "tocsin_lang=fr" in Answer(front, f"/passwordchange/t/{'x' * 43}", query="lang=fr").headers["set-cookie"]


def test_somebody_who_waits_reads_the_language_they_chose(crowd: Any, shop: Path, front: Front) -> None:
    assert Answer(front, "/passwordchange", language="en").headers["content-language"] == "en"
    assert Answer(front, "/passwordchange", language="en", cookie="tocsin_lang=fr").headers["content-language"] == "fr"
    chosen = Answer(front, "/passwordchange", language="en", query="lang=de")
    assert chosen.status == 503
    assert chosen.headers["content-language"] == "de"


def test_headers_drawn_at_random_make_no_new_page(crowd: Any, shop: Path, front: Front) -> None:
    """The page with gaps is kept by the language it is in, not by how somebody asks for it."""
    made: list[str] = []
    site = front.site

    def counted(environ: dict[str, Any], start: Any) -> Any:
        made.append(environ["HTTP_COOKIE"])
        return site(environ, start)

    front.site = counted
    for n in range(100):
        assert Answer(front, "/passwordchange", language=f"de;q=0.{n % 9 + 1},x-{n}").status == 503
    assert len(made) == 1
    assert Answer(front, "/passwordchange", language="fr-CA,fr;q=0.9,en;q=0.1").headers["content-language"] == "fr"
    assert Answer(front, "/passwordchange", language="").status == 503
    assert len(made) <= 3
