"""The console in a real browser: keyboard only, single keys, live tiles, a session that ends, no scripts, light and dark, wide and 320 px."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.sessions.models import Session
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from tests.web import console_estate as made
from tocsin.drills import generator
from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.web.console import figures

pytestmark = pytest.mark.browser
WIDTHS = (320, 1280)


@pytest.fixture
def running(estate: Path, transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> int:
    """Give an incident with a mailing, sealed entries and two mails at the desk, with real commits for a server in another thread."""
    monkeypatch.setattr(figures, "KEPT_FACTOR", 0.0)
    made.enrol()
    found = made.incident(estate)
    made.mailing(estate, found)
    made.told(found, 5)
    made.mail_in(made.RESET, "Somebody uses my card, it is fraud!")
    made.seal(estate)
    return found


@pytest.fixture
def page(running: int, browser: Browser) -> Iterator[Page]:
    """Give a page; it fails the test if it asks anything of another host or breaks the content policy."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    yield from watched(page)
    context.close()


def watched(page: Page) -> Iterator[Page]:
    foreign: list[str] = []
    page.on("request", lambda r: foreign.append(r.url) if "//localhost:" not in r.url and not r.url.startswith("data:") else None)
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if m.type in {"error", "warning"} and "status of" not in m.text else None)
    yield page
    assert foreign == []
    assert complaints == []


def sign_in(page: Page, server: str, path: str = "/") -> None:
    """Sign in as a keyboard does; the first field has the focus."""
    page.goto(server + path)
    expect(page.locator(":focus")).to_have_attribute("name", "username")
    page.keyboard.type("dora")
    page.keyboard.press("Tab")
    page.keyboard.type(made.PASSWORD)
    with page.expect_navigation():
        page.keyboard.press("Enter")


def test_by_keyboard_from_the_sign_in_to_an_answer(page: Page, live_server: LiveServer) -> None:
    sign_in(page, live_server.url, "/log")
    assert page.url == f"{live_server.url}/log"
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to the page")
    for key, heading in (("i", "Kentucky server"), ("u", "Duties"), ("a", "Approvals"), ("r", "Receipt"), ("d", "Desk")):
        with page.expect_navigation():
            page.keyboard.press(key)
        expect(page.get_by_role("heading", level=1)).to_contain_text(heading)
    with page.expect_navigation():
        page.keyboard.press("n")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Case")
    first = page.url
    page.locator("#text").focus()
    page.keyboard.type("id and a name")  # letters of keys, while somebody types
    assert page.url == first
    page.locator("#text").fill("")
    page.locator("main").click(position={"x": 5, "y": 5})
    with page.expect_navigation():
        page.keyboard.press("1")
    expect(page.get_by_role("status")).to_have_text("Answered.")
    assert page.url != first
    with page.expect_navigation():
        page.keyboard.press("b")
    assert page.url == f"{live_server.url}/desk"


def test_a_held_key_answers_nothing(page: Page, live_server: LiveServer) -> None:
    sign_in(page, live_server.url, "/desk")
    page.keyboard.down("x")
    page.evaluate("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'n', repeat: true}))")
    page.keyboard.up("x")
    assert page.url == f"{live_server.url}/desk"


def test_live_tiles_move_and_an_ended_session_leads_to_the_sign_in(page: Page, live_server: LiveServer, running: int) -> None:
    sign_in(page, live_server.url)
    desk = page.locator("#live .tile", has_text="Desk")
    expect(desk).to_contain_text("2 open")
    page.locator("#main").evaluate("e => e.dataset.same = 'yes'")
    made.mail_in("One more question: is it real?")
    expect(desk).to_contain_text("3 open", timeout=10_000)
    assert page.locator("#main").get_attribute("data-same") == "yes"  # no reload
    Session.objects.all().delete()
    page.wait_for_url("**/sign-in?next=%2F", timeout=10_000)
    expect(page.locator("nav.rooms")).to_have_count(0)
    page.keyboard.type("dora")
    page.keyboard.press("Tab")
    page.keyboard.type(made.PASSWORD)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Kentucky server")


def test_without_scripts(running: int, live_server: LiveServer, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    for page in watched(context.new_page()):
        sign_in(page, live_server.url)
        expect(page.locator("#live")).to_contain_text("To go")
        expect(page.get_by_role("link", name="Load the page again")).to_be_visible()
        page.get_by_role("link", name="Desk d", exact=True).click()
        page.get_by_role("button", name="Next case").click()
        page.locator("#text").fill("We look into it at once.")
        page.get_by_role("button", name="Send", exact=True).click()
        expect(page.get_by_role("status")).to_have_text("Answered.")
        page.get_by_role("link", name="Receipt").click()
        page.locator("#customer").fill(generator.customer_id(0))
        page.get_by_role("button", name="Look up").click()
        expect(page.locator("main")).to_contain_text("proved")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Tocsin")
    context.close()
    assert EventType.PERSONAL_DATA_READ in {e.type for e in evidence.activity(limit=1000)}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_overflows(running: int, live_server: LiveServer, browser: Browser, scheme: Any) -> None:
    at = f"/incidents/{running}"
    context = browser.new_context(color_scheme=scheme, viewport={"width": WIDTHS[0], "height": 800})
    page = context.new_page()
    page.goto(f"{live_server.url}/sign-in")

    def look(what: str) -> None:
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            found = [f"{v['id']}: {v['nodes'][0]['html'][:160]}" for v in Axe().run(page).response["violations"]]
            assert found == [], (what, width)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (what, width)

    look("sign-in")
    page.fill("[name=username]", "dora")
    page.fill("[name=password]", "wrong")
    page.click("main button")
    look("refused")
    sign_in(page, live_server.url)
    for path in ("/", f"{at}/duties", f"{at}/mailing", f"{at}/letters", "/desk", "/approvals", "/log", "/log?type=answer_approved", "/receipt", "/nowhere"):
        page.goto(live_server.url + path)
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        look(path)
    page.goto(f"{live_server.url}/desk")
    page.click("text=Next case")
    look("case")
    page.goto(f"{live_server.url}/receipt")
    page.fill("#customer", generator.customer_id(0))
    page.click("text=Look up")
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    look("proved")
    page.fill("#customer", "nobody")
    page.click("text=Look up")
    look("unknown customer")
    context.close()


def test_empty_states_are_whole_pages(estate: Path, transactional_db: None, live_server: LiveServer, browser: Browser) -> None:
    made.enrol()
    page = browser.new_page(viewport={"width": 320, "height": 640})
    sign_in(page, live_server.url)
    for path in ("/", "/desk", "/approvals", "/log"):
        page.goto(live_server.url + path)
        found = [f"{v['id']}: {v['nodes'][0]['html'][:160]}" for v in Axe().run(page).response["violations"]]
        assert found == [], path
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, path
    page.context.close()
