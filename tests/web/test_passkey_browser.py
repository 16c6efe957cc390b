"""A passkey in a real browser with a virtual authenticator, and the authenticator app without scripts; every page looked at by axe."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from tests.credentials.shop import PEOPLE, cut
from tests.web.test_public_browser import fits
from tocsin.credentials import actions
from tocsin.credentials.models import Factor
from tocsin.credentials.second import codes
from tocsin.kernel import clock, config
from tocsin.kernel.private import Private

pytestmark = pytest.mark.browser
FIRST = PEOPLE[0]


@pytest.fixture
def site(real_shop: Path, live_server: LiveServer) -> str:
    """Tell the configuration under which address the browser sees the site: passkeys are bound to it."""
    (real_shop / "tocsin.toml").write_text(f'[estate]\nkind = "demo"\n[web]\npublic_url = "{live_server.url}"\n')
    config.current.cache_clear()
    return str(live_server.url)


def look(page: Page) -> None:
    """Check a page: axe finds nothing, nothing overflows."""
    found = [f"{v['id']}: {v['nodes'][0]['html'][:120]}" for v in Axe().run(page).response["violations"]]
    assert found == [], page.url
    fits(page)


def sign_in(page: Page, site: str) -> None:
    page.goto(f"{site}/login")
    page.fill("#email", FIRST.email)
    page.fill("#password", FIRST.password)
    page.get_by_role("button", name="Sign in").click()


def sign_out(page: Page) -> None:
    with page.expect_navigation():
        page.get_by_role("button", name="Sign out").press("Enter")


@pytest.mark.parametrize(("scheme", "width"), [("light", 320), ("dark", 1280)])
def test_a_passkey_is_made_after_sign_in_and_opens_the_account(site: str, browser: Browser, scheme: Any, width: int) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if m.type in {"error", "warning"} and "status of" not in m.text else None)
    cdp = context.new_cdp_session(page)
    cdp.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    device = cdp.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]

    sign_in(page, site)
    expect(page.get_by_role("heading", level=1)).to_have_text("You are signed in")
    look(page)
    page.get_by_role("link", name="Add a passkey").click()
    look(page)
    page.fill("#label", "Laptop")
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Your recovery codes")
    look(page)
    recovery = page.locator(".codes code").first.inner_text()
    [made] = cdp.send("WebAuthn.getCredentials", {"authenticatorId": device})["credentials"]
    assert made["rpId"] == "localhost"
    assert made["isResidentCredential"]
    page.get_by_role("link", name="I have kept them").click()
    expect(page.get_by_text("Laptop")).to_be_visible()
    look(page)
    page.get_by_role("link", name="Add a passkey").click()  # the same device again: the browser itself refuses
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("No passkey was made")
    page.goto(f"{site}/account")
    sign_out(page)

    page.goto(f"{site}/login/passkey")
    look(page)
    page.get_by_role("button", name="Use my passkey").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("You are signed in")
    sign_out(page)

    sign_in(page, site)
    expect(page.get_by_role("heading", level=1)).to_have_text("One more step")
    look(page)
    page.get_by_role("button", name="Use my passkey").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("You are signed in")
    sign_out(page)
    sign_in(page, site)
    page.fill("#code", recovery)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("You are signed in")
    expect(page.get_by_text("9 left")).to_be_visible()
    sign_out(page)

    cdp.send("WebAuthn.setUserVerified", {"authenticatorId": device, "isUserVerified": False})
    page.goto(f"{site}/login/passkey")
    page.get_by_role("button", name="Use my passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("was not used")  # the wrong finger
    cdp.send("WebAuthn.setUserVerified", {"authenticatorId": device, "isUserVerified": True})
    Factor.objects.filter(cred_class="passkey").delete()
    page.get_by_role("button", name="Use my passkey").click()
    expect(page.get_by_role("alert").first).to_contain_text("We do not know this passkey")
    look(page)
    context.close()
    assert complaints == []


def test_an_authenticator_app_needs_no_scripts_and_a_remembered_browser_one_button(site: str, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 320, "height": 640})
    page = context.new_page()
    sign_in(page, site)
    page.get_by_role("link", name="Set up an authenticator app").press("Enter")
    seed = Private(re.sub(r"\s", "", page.locator("code.key").inner_text()))
    fits(page)
    page.fill("#code", codes.code_of(seed, at=clock.now() - timedelta(seconds=codes.STEP_S)))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Your recovery codes")
    fits(page)
    page.get_by_role("link", name="I have kept them").press("Enter")
    fits(page)
    sign_out(page)
    page.goto(f"{site}/login")
    page.get_by_label("Keep me signed in").check()
    page.fill("#email", FIRST.email)
    page.fill("#password", FIRST.password)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("One more step")
    fits(page)
    page.fill("#code", codes.code_of(seed, at=clock.now()))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("You are signed in")
    context.clear_cookies(name="tocsin_sign_in")
    page.goto(f"{site}/account")
    page.get_by_role("button", name="Go on as before").press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("You are signed in")
    context.close()


def test_with_scripts_a_remembered_browser_goes_on_by_itself(site: str, browser: Browser) -> None:
    page = browser.new_context().new_page()
    page.goto(f"{site}/login")
    page.get_by_label("Keep me signed in").check()
    page.fill("#email", FIRST.email)
    page.fill("#password", FIRST.password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("You are signed in")
    page.context.clear_cookies(name="tocsin_sign_in")
    page.goto(f"{site}/account")
    expect(page.get_by_role("heading", level=1)).to_have_text("You are signed in")
    page.context.close()


def test_the_pages_that_only_an_accident_shows_fit_too(site: str, browser: Browser, real_shop: Path) -> None:
    context = browser.new_context(viewport={"width": 320, "height": 640})
    page = context.new_page()
    sign_in(page, site)
    for button, heading in (("Make an API token", "Your new token: nightly"), ("Connect an app", "Your new token: nightly")):
        page.fill("#label", "nightly")
        page.get_by_role("button", name=button).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(heading)
        look(page)
        page.get_by_role("link", name="I have kept it").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("You are signed in")
    page.get_by_role("link", name="Set up an authenticator app").click()
    look(page)
    seed = Private(re.sub(r"\s", "", page.locator("code.key").inner_text()))
    page.fill("#code", "000000")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("does not fit")
    look(page)
    page.fill("#code", codes.code_of(seed, at=clock.now()))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Your recovery codes")
    cut(real_shop, armed=actions.arm(classes=["totp", "session"], incident=1, at=clock.now(), by="ada"))
    sign_in(page, site)
    expect(page.get_by_role("status").first).to_contain_text("Your second step was ended for safety")
    look(page)
    context.close()
