"""The console's mailing page: what it says while a real mailing meets receivers' worst manners, and that its buttons are the usual actions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from tests.notices.conftest import office, shop  # noqa: F401 - fixtures
from tests.notices.office import Office
from tests.notices.test_mailing import lanes
from tests.notices.world import people, sign, started
from tests.web import console_estate as made
from tests.web.test_console import as_console, signed_in, text
from tests.web.test_console_browser import sign_in, watched
from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel import clock, schema
from tocsin.notices import actions, queries
from tocsin.notices.types import MailingState, Retry
from tocsin.staff import queries as approvals
from tocsin.web import charts
from tocsin.web.console import figures

LATER = Retry(first_s=600, tries_max=5)
QUERIES_MAX = 20


def trouble(home: Path, post: Office) -> tuple[int, int]:
    """A mailing in the middle: gmail is broken by bad addresses, yahoo told us to stop, others have full and doubtful mailboxes."""
    made.enrol()
    post.delay_s, post.full_times = 0.002, 9
    gmail = [f"unknown{i}@gmail.example" for i in range(40)] + [f"user{i}@gmail.example" for i in range(1160)]
    yahoo = ["tss0@yahoo.example", *(f"user{i}@yahoo.example" for i in range(399))]
    rest = ["dropkept1@mail.example", *(f"full{i}@mail.example" for i in range(3)), *(f"user{i}@mail.example" for i in range(40))]
    incident = people([*gmail, *yahoo, *rest])
    mailing = started(home, incident, retry=LATER, deadline_at=clock.now() + timedelta(hours=1))
    for lane in lanes(mailing):
        actions.send_next(mailing, lane, at=clock.now())
    return incident, mailing


@pytest.fixture
def sending(shop: Path, office: Office, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:  # noqa: F811
    found = trouble(shop, office)
    as_console(monkeypatch)
    return found


def press(client: Client, path: str, **fields: str) -> str:
    response = client.post(path, fields)
    assert response.status_code == 302
    return text(client.get(response.headers["Location"]))


@pytest.mark.django_db(transaction=True)
def test_what_it_says_and_what_its_buttons_do(sending: tuple[int, int], shop: Path) -> None:  # noqa: F811
    incident, mailing = sending
    client, at = signed_in("ada"), f"/incidents/{incident}/mailing"
    s = queries.status(mailing)
    assert f"It goes out as it stands here by mailing {mailing} (sending)" in text(client.get(f"/notices/{s.notice}"))
    words = text(client.get("/mailing"))
    assert f"Told by mail {s.handed_over:,} of {s.recipients:,} recipients" in words
    assert "gmail.com: too many addresses fail" in words.replace("Gmail.com", "gmail.com")
    assert re.search(r"Yahoo\.com told us to stop until \d\d:\d\d UTC: 421 .*TSS04", words)
    assert "Yahoo.com ends after the deadline at this pace" in words
    assert "421 4.7.0" in words
    assert "userunknown 40 bounced" in words.replace("People: ", "").replace("Now: ", "")
    assert re.search(r"1 may have got it twice , each named in the log", words)

    listed = text(client.get(f"{at}/{mailing}/doubt"))
    assert "d…@mail.example" in listed
    assert "dropkept" not in listed

    (gmail,) = (x.lane for x in s.lanes if x.provider == "gmail.com")
    words = press(client, f"{at}/{mailing}/release/{gmail}")
    asked = next(a for a in approvals.approvals() if a.act == "notices.release_lane")
    assert f"tocsin approval sign {asked.id} --key NAME.key" in words
    with made.as_process("owner"):
        sign(shop, asked.id, "ada", "bob")
    assert "Let the lane go on now" in text(client.get(at))
    assert "The lane goes on." in press(client, f"{at}/{mailing}/release/{gmail}")
    assert not next(x for x in queries.status(mailing).lanes if x.lane == gmail).broken

    assert "Paused: nothing goes out." in press(client, f"{at}/{mailing}/pause")
    assert queries.status(mailing).state == MailingState.PAUSED
    question = text(client.get(f"{at}/{mailing}/stop"))
    assert "Stop this mailing?" in question
    assert queries.status(mailing).state == MailingState.PAUSED
    words = press(client, f"{at}/{mailing}/stop", why="a wrong word")
    assert "Stopped: nothing goes out." in words
    assert evidence.activity(types=[EventType.MAILING_STOPPED])[-1].body == {"mailing": mailing, "state": "stopped", "why": "a wrong word"}
    words = press(client, f"{at}/{mailing}/resume")
    assert "Two people must sign to go on 2 to go" in words
    press(client, f"{at}/{mailing}/resume")  # pressed without signatures
    assert queries.status(mailing).state == MailingState.STOPPED
    with made.as_process("owner"):
        sign(shop, next(a.id for a in approvals.approvals() if a.act == "notices.resume"), "ada", "bob")
    assert "Going on." in press(client, f"{at}/{mailing}/resume")
    assert queries.status(mailing).state == MailingState.SENDING

    for path in (at, f"{at}/live"):
        with CaptureQueriesContext(connection) as asked_of_database:
            response = client.get(path)
        assert len(asked_of_database) <= QUERIES_MAX
        assert not re.search(r"<style|<script(?![^>]* src=)| on\w+=| style=", response.content.decode())
        assert "no-store" in response.headers["Cache-Control"]
    for path in (f"{at}/987654/doubt", f"{at}/987654/stop", f"/incidents/{incident + 1}/mailing/{mailing}/doubt"):
        assert client.get(path).status_code == 404
    assert client.post(f"{at}/{mailing}/release/987654").status_code == 404
    assert client.get(f"{at}/{mailing}/pause").status_code == 405
    for rest in ("pause", "stop", "resume", f"release/{gmail}"):
        assert Client().post(f"{at}/{mailing}/{rest}").headers["Location"].startswith("/sign-in")
        assert Client(enforce_csrf_checks=True).post(f"{at}/{mailing}/{rest}").status_code in {302, 403}
    assert queries.status(mailing).state == MailingState.SENDING


@pytest.mark.django_db(transaction=True)
def test_the_consoles_own_role_may_do_all_of_it(sending: tuple[int, int], shop: Path) -> None:  # noqa: F811
    incident, mailing = sending
    schema.migrate()
    client, at = signed_in("ada"), f"/incidents/{incident}/mailing"
    with connection.cursor() as cursor:
        cursor.execute("SET ROLE tocsin_console")
    try:
        assert "Paused" in press(client, f"{at}/{mailing}/pause")
        assert "Stopped" in press(client, f"{at}/{mailing}/stop")
        assert "d…@mail.example" in text(client.get(f"{at}/{mailing}/doubt"))
        press(client, f"{at}/{mailing}/resume")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET ROLE")


def test_a_line_of_time_shows_what_comes_after_the_deadline() -> None:
    drawn = charts.finish_line(0.0, 0.25, 0.75, deadline=0.5, title="x")
    assert re.findall(r'x="([\d.]+)" width="([\d.]+)" height="12" class="([\w-]+)"', drawn) == [
        ("0.000", "25.000", "fill-good"), ("25.000", "25.000", "fill-hope"), ("50.000", "25.000", "fill-bad"), ("50.000", "0.6", "stroke"),
    ]  # fmt: skip
    assert "fill-bad" not in charts.finish_line(0.0, 0.25, 0.4, deadline=0.5, title="x")
    assert "fill" not in charts.finish_line(None, None, None, deadline=None, title="x")


# -- in the browser ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def shown(shop: Path, office: Office, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:  # noqa: F811
    monkeypatch.setattr(figures, "KEPT_FACTOR", 0.0)
    return trouble(shop, office)


@pytest.fixture
def page(shown: tuple[int, int], browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield from watched(context.new_page())
    context.close()


@pytest.mark.browser
def test_by_keyboard_and_live_and_without_scripts(page: Page, shown: tuple[int, int], live_server: LiveServer, browser: Browser) -> None:
    _, mailing = shown
    sign_in(page, live_server.url)
    page.keyboard.press("m")
    expect(page.get_by_role("heading", level=1)).to_contain_text("sending")
    expect(page.locator("nav.rooms [aria-current=page]")).to_contain_text("Mailing")
    page.locator("#main").evaluate("e => e.dataset.same = 'yes'")
    page.locator("#stop").focus()
    before = queries.status(mailing).handed_over
    other = next(x.lane for x in queries.status(mailing).lanes if x.provider == "mail.example")
    with made.as_process("owner"):
        actions.send_next(mailing, other, at=clock.now())  # the one in doubt, again
    assert queries.status(mailing).handed_over == before + 1
    expect(page.locator("#mailing .tile", has_text="Told by mail")).to_contain_text(f"{before + 1:,}", timeout=10_000)
    actions.pause(mailing, at=clock.now(), by="bob")
    expect(page.get_by_role("heading", level=1)).to_contain_text("paused", timeout=10_000)
    assert page.locator("#main").get_attribute("data-same") == "yes"  # no reload
    expect(page.locator("#stop")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Stop this mailing?")
    expect(page.locator(":focus")).to_have_attribute("name", "why")
    page.get_by_role("link", name="Back; stop nothing").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("paused")

    context = browser.new_context(java_script_enabled=False, viewport={"width": 360, "height": 800})
    for plain in watched(context.new_page()):
        sign_in(plain, live_server.url, "/mailing")
        plain.locator("#stop").click()
        plain.locator("#why").fill("a wrong word")
        plain.get_by_role("button", name="Stop it now").click()
        expect(plain.get_by_role("heading", level=1)).to_contain_text("stopped")
        plain.locator("#ask-resume").click()
        expect(plain.locator("main")).to_contain_text("Two people must sign to go on")
    context.close()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_wide_and_narrow(shown: tuple[int, int], live_server: LiveServer, browser: Browser, scheme: str) -> None:
    incident, mailing = shown
    context = browser.new_context(color_scheme="dark" if scheme == "dark" else "light", viewport={"width": 1280, "height": 900})
    page = context.new_page()
    sign_in(page, live_server.url)
    at = f"{live_server.url}/incidents/{incident}/mailing"
    for path in (at, f"{at}/{mailing}/stop", f"{at}/{mailing}/doubt"):
        for width in (320, 360, 1280):
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(path)
            assert [f"{v['id']}: {v['nodes'][0]['html'][:160]}" for v in Axe().run(page).response["violations"]] == [], (path, width)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)
    context.close()
