"""The page of the letters with bundles, a re-issue, returned mail and people whom only the site reaches: counts, axe, no overflow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser
from pytest_django.live_server_helper import LiveServer

from tests.web import console_estate as made
from tests.web.test_console_browser import sign_in
from tocsin.kernel import clock
from tocsin.notices import actions, queries
from tocsin.notices.letters import number
from tocsin.notices.models import Batch, Letter

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def lettered(estate: Path, transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> int:
    """Give an incident whose first block failed whole: bundles were made, one letter was re-issued, some came back."""
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    made.enrol()
    incident = made.incident(estate)
    mailing = made.mailing(estate, incident)
    with made.as_process("owner"):
        block = Batch.objects.filter(mailing=mailing).order_by("-n").first()
        assert block is not None
        bits = ((1 << block.n) - 1).to_bytes((block.n + 7) // 8, "little")
        Batch.objects.filter(pk=block.pk).update(tried=bits, handed_over=block.n)
        for place in range(block.n):
            actions.record_failure(block.pk, place, at=clock.now(), status="5.1.1", reason="no such user")
        actions.move_on(mailing, at=clock.now())
        actions.letters(mailing, folder=estate / "print", at=clock.now(), by="ada")
        printed = list(Letter.objects.filter(mailing=mailing, state="bundled").order_by("pk"))
        actions.letters(mailing, folder=estate / "more", at=clock.now(), by="bob", reissue=[number.shown(printed[0].pk)])
        day = clock.now().date()
        rows = [
            f"{number.shown(x.pk)},{reason},{day}" for x, reason in zip(printed[1:4], ("moved", "unknown", "no_such_address"), strict=False)
        ]
        (estate / "back.csv").write_text("\n".join(["letter_id,reason,date", *rows]) + "\n")
        assert actions.letters_returned(estate / "back.csv", at=clock.now(), by="ada").rejected == 0
    return incident


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_overflows(lettered: int, live_server: LiveServer, browser: Browser, scheme: Any) -> None:
    status = queries.latest_status(lettered)
    for width in (1280, 320):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page = context.new_page()
        sign_in(page, live_server.url, f"/incidents/{lettered}/letters")
        page.goto(f"{live_server.url}/incidents/{lettered}/letters")
        words = page.inner_text("main")
        assert "re-issue" in words
        assert "no such address" in words
        assert f"{status.unreachable} not reached" in words
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        report = Axe().run(page)
        assert report.violations_count == 0, report.generate_report()
        if folder := os.environ.get("TOCSIN_SHOTS"):
            page.screenshot(path=f"{folder}/letters-{scheme}-{width}.png", full_page=True)
        context.close()
