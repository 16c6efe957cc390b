"""The password field: managers and paste work, and what was typed can be shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.test import Client
from playwright.sync_api import Browser, expect
from pytest_django.live_server_helper import LiveServer

from tests.credentials.shop import GOOD, PEOPLE
from tests.web.conftest import deliver
from tocsin.credentials import actions
from tocsin.kernel import clock
from tocsin.kernel.private import Private

FIRST = PEOPLE[0]
TOKEN = "F" * 43


def fields(page: str) -> dict[str, dict[str, str]]:
    """Return the attributes of every input of a page by its name."""
    found = (dict(re.findall(r'([\w-]+)(?:="([^"]*)")?', tag)) for tag in re.findall(r"<input ([^>]*)>", page))
    return {f["name"]: f for f in found if "name" in f}


def test_item_30_password_managers_know_the_fields_and_nothing_forbids_paste(shop: Path, client: Client) -> None:
    """ASVS 6.2.6 and 6.2.7: typed text masked, paste and password managers permitted; NIST: paste SHALL be permitted in practice."""
    actions.request_reset(FIRST.email, at=clock.now())
    assert deliver(TOKEN)
    client.get(f"/passwordchange/t/{TOKEN}")
    choose, login = client.get("/passwordchange/new").content.decode(), client.get("/login").content.decode()
    for name in ("password", "password_again"):
        field = fields(choose)[name]
        assert (field["type"], field["autocomplete"], field["spellcheck"]) == ("password", "new-password", "false")
        assert not {"maxlength", "minlength", "pattern", "readonly", "onpaste"} & field.keys()
    assert fields(login)["email"]["autocomplete"] == "username"
    assert fields(login)["password"]["autocomplete"] == "current-password"
    scripts = "".join(p.read_text() for p in (Path(actions.__file__).parents[1] / "web" / "static" / "public").glob("*.js"))
    assert "click" in scripts
    assert not re.search(r"onpaste|['\"]paste['\"]|beforeinput", choose + login + scripts)


@pytest.mark.browser
def test_item_30_a_pasted_password_is_taken_shown_and_set(real_shop: Path, live_server: LiveServer, browser: Browser) -> None:
    actions.request_reset(FIRST.email, at=clock.now())
    assert deliver(TOKEN)
    context = browser.new_context()
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=live_server.url)
    page = context.new_page()
    page.goto(f"{live_server.url}/passwordchange/t/{TOKEN}")
    page.evaluate("text => navigator.clipboard.writeText(text)", GOOD)
    for name in ("#password", "#password_again"):
        page.locator(name).focus()
        page.keyboard.press("Control+V")
        expect(page.locator(name)).to_have_value(GOOD)
        expect(page.locator(name)).to_have_attribute("type", "password")
    button = page.get_by_role("button", name="Show the password")
    button.click()
    for name in ("#password", "#password_again"):
        expect(page.locator(name)).to_have_attribute("type", "text")
    button.click()
    expect(page.locator("#password")).to_have_attribute("type", "password")
    with page.expect_navigation():
        page.locator("#password").press("Enter")
    context.close()
    assert actions.log_in(FIRST.email, Private(GOOD), at=clock.now()) is not None
