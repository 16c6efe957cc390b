"""The whole way of a customer in a real browser: notice, link, password, sign-in; by keyboard, 320 px wide, with and without scripts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.db import connection
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from tests.credentials.postal_shop import scoped
from tests.credentials.shop import GOOD, PEOPLE, cut
from tests.web.conftest import deliver
from tocsin.credentials import tasks as credentials_tasks
from tocsin.credentials.models import AffectedAnswer
from tocsin.drills.office.personality import quiet
from tocsin.drills.postoffice import Office, running
from tocsin.kernel import config
from tocsin.mail import tasks as mail_tasks

pytestmark = pytest.mark.browser
FIRST = PEOPLE[0]
WIDTHS = (320, 1280)


@pytest.fixture(params=[True, False], ids=["scripts", "no-scripts"])
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """Give a page 320 px wide; it fails the test if it asks anything of another host or breaks the content policy."""
    context = browser.new_context(java_script_enabled=request.param, viewport={"width": 320, "height": 640})
    page = context.new_page()
    foreign: list[str] = []
    page.on("request", lambda r: foreign.append(r.url) if "//localhost:" not in r.url and not r.url.startswith("data:") else None)
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if m.type in {"error", "warning"} and "status of" not in m.text else None)
    yield page
    context.close()
    assert foreign == []
    assert complaints == []


def fits(page: Page) -> None:
    """Check that nothing must be scrolled sideways; a browser that runs no scripts cannot be asked."""
    width = page.evaluate("document.documentElement.scrollWidth") if page.context.browser else 0
    assert width <= page.viewport_size["width"], page.url  # type: ignore[index]


def type_and_send(page: Page, *texts: str) -> None:
    """Fill a form as a keyboard does: from the first field on, Tab between them, Enter at the end."""
    page.locator("form input:not([type=hidden])").first.focus()
    for n, text in enumerate(texts):
        if n:
            page.keyboard.press("Tab")
            if page.locator("button.show:focus").count():
                page.keyboard.press("Tab")
        page.keyboard.type(text)
    with page.expect_navigation():
        page.keyboard.press("Enter")


JOBS = {
    "credentials.tasks.send_reset": credentials_tasks.send_reset,
    "credentials.tasks.send_changed": credentials_tasks.send_changed,
    "credentials.tasks.send_affected": credentials_tasks.send_affected,
    "credentials.tasks.link_handed_over": credentials_tasks.link_handed_over,
    "mail.tasks.send_single": mail_tasks.send_single,
    "mail.tasks.send_urgent": mail_tasks.send_urgent,
}


def work() -> None:
    """Do the waiting jobs as a worker does, one after the other, those that they enqueue too."""
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM procrastinate_jobs WHERE id = (SELECT min(id) FROM procrastinate_jobs WHERE status = 'todo') RETURNING task_name, args"
            )
            row = cursor.fetchone()
        if row is None:
            return
        JOBS[row[0]](**(row[1] if isinstance(row[1], dict) else json.loads(row[1])))


def letters(office: Office, address: str) -> list[dict[str, Any]]:
    """Return what lies in a mailbox of the practice post office."""
    with urlopen(f"{office.url}/api/messages?to={quote(address)}") as reply:
        found: list[dict[str, Any]] = json.load(reply)["messages"]
    return found


def test_item_49_from_the_notice_to_the_sign_in(real_shop: Path, public_server: LiveServer, page: Page) -> None:
    with running(real_shop, personalities=quiet()) as office:
        (real_shop / "tocsin.toml").write_text(
            f'[estate]\nkind = "demo"\n[mail]\nrelay_port = {office.smtp_port}\npreflight = false\n[web]\npublic_url = "{public_server.url}"\n'
        )
        config.current.cache_clear()
        walk(real_shop, public_server, page, office)


def walk(real_shop: Path, public_server: LiveServer, page: Page, office: Office) -> None:
    """Go the whole way; the link comes out of the mailbox, where real SMTP brought it."""
    cut(real_shop)
    page.goto(public_server.url)
    expect(page.get_by_role("heading", level=1)).to_have_text("Please set a new password")
    fits(page)
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to the page")
    page.get_by_role("main").get_by_role("link", name="Create a new password").press("Enter")
    type_and_send(page, FIRST.email)
    expect(page.get_by_role("heading", level=1)).to_have_text("Now look into your mailbox")
    fits(page)
    work()
    [reset] = letters(office, FIRST.email)
    links = re.findall(rf"^{re.escape(public_server.url)}/passwordchange/t/\S+$", reset["text"], re.MULTILINE)
    assert len(links) == 1
    page.goto(links[0])
    assert page.url.endswith("/passwordchange/new")
    fits(page)
    type_and_send(page, "too short", "too short")
    expect(page.get_by_role("alert")).to_contain_text("at least 15")
    type_and_send(page, GOOD, GOOD)
    expect(page.get_by_role("heading", level=1)).to_have_text("Your new password is set")
    page.get_by_role("link", name="Sign in with it").press("Enter")
    type_and_send(page, FIRST.email, FIRST.password)
    expect(page.get_by_role("alert")).to_contain_text("do not fit together")
    page.locator("#email").fill("")
    type_and_send(page, FIRST.email, GOOD)
    expect(page.get_by_role("heading", level=1)).to_have_text("You are signed in")
    page.get_by_role("button", name="Sign out").press("Enter")
    page.goto(f"{public_server.url}/account")
    assert page.url.endswith("/login")
    page.goto(links[0])
    expect(page.get_by_role("heading", level=1)).to_have_text("This link no longer works")
    work()
    assert [m["text"].count("password of your") for m in letters(office, FIRST.email)] == [0, 1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_item_49_axe_finds_nothing_and_nothing_overflows(real_shop: Path, public_server: LiveServer, browser: Browser, scheme: Any) -> None:
    cut(real_shop)
    for width, customer in zip(WIDTHS, PEOPLE, strict=False):  # a second request of the same address would wait behind the first
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
        page = context.new_page()

        def look(what: str, page: Page = page) -> None:
            found = [f"{v['id']}: {v['nodes'][0]['html'][:120]}" for v in Axe().run(page).response["violations"]]
            assert found == [], what
            fits(page)

        for path in ("/", "/passwordchange", "/passwordchange/letter", "/passwordchange/code", "/login", "/check", "/passwordchange/new",
                     "/affected", "/affected/answer", "/nowhere"):  # fmt: skip
            page.goto(public_server.url + path)
            look(path)
        page.goto(f"{public_server.url}/check")
        type_and_send(page, "00000-00000")
        look("unknown code")
        page.goto(f"{public_server.url}/passwordchange")
        type_and_send(page, customer.email)
        look("asked")
        token = f"{width}".ljust(43, "t")
        assert deliver(token)
        page.goto(f"{public_server.url}/passwordchange/t/{token}")
        look("choose")
        page.get_by_role("link", name="Suggest four words").click()
        look("four words")
        type_and_send(page, "short", "short")
        look("refused")
        type_and_send(page, f"{GOOD} {width}", f"{GOOD} {width}")
        look("done")
        page.goto(f"{public_server.url}/login")
        type_and_send(page, customer.email, "wrong")
        look("failed")
        type_and_send(page, "", f"{GOOD} {width}")
        look("account")
        context.close()


def test_the_show_button_shows_and_hides(real_shop: Path, public_server: LiveServer, browser: Browser) -> None:
    page = browser.new_context().new_page()
    page.goto(f"{public_server.url}/login")
    page.locator("#password").fill("visible for a moment")
    button = page.get_by_role("button", name="Show the password")
    button.click()
    expect(page.locator("#password")).to_have_attribute("type", "text")
    expect(button).to_have_attribute("aria-pressed", "true")
    button.click()
    expect(page.locator("#password")).to_have_attribute("type", "password")
    page.context.close()


LANGUAGES = [code for code, _ in settings.LANGUAGES]


@pytest.mark.parametrize("language", LANGUAGES)
def test_item_49_axe_finds_nothing_in_any_language(real_shop: Path, public_server: LiveServer, browser: Browser, language: str) -> None:
    cut(real_shop)
    page = browser.new_context(viewport={"width": 320, "height": 640}).new_page()
    page.goto(f"{public_server.url}/?lang={language}")
    page.locator(".languages summary").press("Enter")
    expect(page.locator(".languages a").first).to_be_visible()
    for path in ("", "/passwordchange", "/passwordchange/asked", "/passwordchange/letter", "/affected", "/check"):
        if path:
            page.goto(public_server.url + path)
        assert [f"{v['id']}: {v['nodes'][0]['html'][:120]}" for v in Axe().run(page).response["violations"]] == [], path
        fits(page)
    page.context.close()


@pytest.mark.parametrize("language", LANGUAGES)
def test_item_52_the_first_screen_says_what_happened_what_to_do_and_what_we_never_ask(
    real_shop: Path, public_server: LiveServer, browser: Browser, language: str
) -> None:
    cut(real_shop)
    for width, height in ((390, 844), (1280, 800)):
        page = browser.new_context(viewport={"width": width, "height": height}, java_script_enabled=False).new_page()
        page.goto(f"{public_server.url}/?lang={language}")
        for path in ("/", "/passwordchange"):
            page.goto(public_server.url + path)
            told = page.locator("main dl.first > div")
            assert told.count() == 3
            for n in range(3):
                box = told.nth(n).bounding_box()
                assert box is not None
                assert box["y"] + box["height"] <= height, (path, width, n)
            act = page.locator("main a.button, main form button").first.bounding_box()
            assert act is not None
            assert act["y"] + act["height"] <= height, (path, width)
        page.context.close()


def test_a_customer_asks_whether_they_were_affected(real_shop: Path, public_server: LiveServer, page: Page) -> None:
    with running(real_shop, personalities=quiet()) as office:
        (real_shop / "tocsin.toml").write_text(
            f'[estate]\nkind = "demo"\n[mail]\nrelay_port = {office.smtp_port}\n[web]\npublic_url = "{public_server.url}"\n'
        )
        config.current.cache_clear()
        scoped(real_shop)
        page.goto(f"{public_server.url}/affected")
        type_and_send(page, FIRST.email)
        expect(page.get_by_role("heading", level=1)).to_have_text("Now look into your mailbox")
        work()
        [answer] = letters(office, FIRST.email)
        assert f"<{config.current().mail.reset_from}>" in answer["from"]
        [link] = re.findall(rf"^{re.escape(public_server.url)}/affected/t/\S+$", answer["text"], re.MULTILINE)
        page.goto(link)
        expect(page.get_by_role("heading", level=1)).to_have_text("Yes, some of your data was reached")
        expect(page.get_by_role("main")).to_contain_text("your e-mail address")
        fits(page)
        assert AffectedAnswer.objects.get().handed_over_at is not None
