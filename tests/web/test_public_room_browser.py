"""The queue in a real browser with scripts off: form, waiting page, one's turn, form. The page asks again by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.db import connection
from playwright.sync_api import Browser, expect
from pytest_django.live_server_helper import LiveServer

from tests.credentials.room_parts import Clock, close, opened, ticks
from tests.credentials.shop import GOOD, PEOPLE
from tests.web.conftest import deliver
from tocsin.credentials.room import policy

pytestmark = pytest.mark.browser
FIRST = PEOPLE[0]
TOKEN = "T" * 43


def test_a_queue_without_scripts(real_shop: Path, live_server: LiveServer, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "REFRESH_S", 2.0)  # the page says 15 to 25 s; the test would wait as long
    context = browser.new_context(java_script_enabled=False, viewport={"width": 320, "height": 640})
    page = context.new_page()
    time = Clock()
    try:
        with opened(time) as mine:
            close(time, mine)
            for _ in range(30):
                mine.issue()
            time.pass_(1)
            mine.report()
            mine.refresh()
            page.goto(f"{live_server.url}/passwordchange")
            expect(page.get_by_role("heading", level=1)).to_have_text("You have a place in the queue")
            expect(page.get_by_role("status")).to_contain_text("People ahead of you")
            assert "?q=" not in page.url
            ticks(time, mine, 8)
            for _ in range(300):  # more people come behind
                mine.issue()
            ticks(time, mine)
            page.get_by_label("E-mail address").wait_for(timeout=20_000)  # nobody touched it: the page looked again by itself
            page.get_by_label("E-mail address").fill(FIRST.email)
            page.keyboard.press("Enter")
            expect(page.get_by_role("heading", level=1)).to_have_text("Now look into your mailbox")
            assert deliver(TOKEN)
            with connection.cursor() as cursor:
                cursor.execute("SELECT args->'place' IS NOT NULL FROM procrastinate_jobs WHERE task_name = 'credentials.tasks.send_reset'")
                assert cursor.fetchone() == (True,)
            page.goto(f"{live_server.url}/passwordchange/t/{TOKEN}")
            if page.get_by_text("People ahead of you").count():  # delivered here without its place: it takes one, and waits once
                ticks(time, mine, 40)
                page.get_by_role("link", name="Look again now").click()
            page.get_by_label("New password").fill(GOOD)
            page.get_by_label("The same once more").fill(GOOD)
            page.keyboard.press("Enter")
            expect(page.get_by_role("heading", level=1)).to_have_text("Your new password is set")
    finally:
        context.close()


def test_the_waiting_page_is_accessible(real_shop: Path, live_server: LiveServer, browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 320, "height": 640})
    page = context.new_page()
    time = Clock()
    try:
        with opened(time) as mine:
            close(time, mine)
            for path in ("/passwordchange", "/passwordchange/later"):
                page.goto(live_server.url + path)
                found = Axe().run(page)
                refresh = [v for v in found.response["violations"] if v["id"] == "meta-refresh"]
                assert len(found.response["violations"]) == len(refresh), found.generate_report()
                assert page.evaluate("document.documentElement.scrollWidth") <= 320
    finally:
        context.close()
