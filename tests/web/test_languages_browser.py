"""The account's pages and the queue in a real browser, in every language: nothing overflows at 320 px, and axe finds nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser
from pytest_django.live_server_helper import LiveServer

from tests.credentials.room_parts import Clock, close, opened
from tests.credentials.shop import PEOPLE
from tests.credentials.wallet import fill
from tests.web.test_languages import LANGUAGES
from tests.web.test_public_browser import fits
from tocsin.kernel import clock, config
from tocsin.web.public import views

pytestmark = pytest.mark.browser
FIRST = PEOPLE[0]
PAGES = (
    "/account",
    "/account/email",
    "/account/passkey",
    "/account/totp",
    "/login",
    "/login/second",
    "/login/passkey",
    "/passwordchange/later",
)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_pages_fit_in_every_language(real_shop: Path, public_server: LiveServer, browser: Browser, language: str) -> None:
    (real_shop / "tocsin.toml").write_text(f'[estate]\nkind = "demo"\n[web]\npublic_url = "{public_server.url}"\n')
    config.current.cache_clear()
    wallet = fill(FIRST, at=clock.now())
    dark: Any = "dark" if LANGUAGES.index(language) % 2 else "light"
    context = browser.new_context(locale=language, color_scheme=dark, viewport={"width": 320, "height": 640})
    page = context.new_page()

    def look(path: str) -> None:
        page.goto(f"{public_server.url}{path}")
        found = [f"{v['id']}: {v['nodes'][0]['html'][:120]}" for v in Axe().run(page).response["violations"] if v["id"] != "meta-refresh"]
        assert found == [], path
        assert page.locator("html").get_attribute("lang") == language
        fits(page)

    held = {views.SESSION_COOKIE: wallet.sid, views.SECOND_COOKIE: wallet.ticket(clock.now())}
    context.add_cookies([{"name": name, "value": value, "url": public_server.url} for name, value in held.items()])
    for path in PAGES:
        look(path)
    time = Clock()
    with opened(time) as mine:
        close(time, mine)
        for _ in range(30):
            mine.issue()
        time.pass_(1)
        mine.report()
        mine.refresh()
        look("/passwordchange")
    context.close()
