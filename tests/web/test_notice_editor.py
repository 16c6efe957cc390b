"""The notice editor: over HTTP with and without JavaScript, by keyboard, in light and dark, wide and narrow; and the frame that shows the mail."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.test import Client
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from tests.web import console_estate as made
from tests.web.test_console import as_console, signed_in, text
from tests.web.test_console_browser import sign_in, watched
from tocsin.incidents import actions as facts
from tocsin.kernel import clock
from tocsin.notices import actions as notices
from tocsin.notices import queries
from tocsin.staff import actions as staff
from tocsin.staff import keyfiles

WORDS = Path(__file__).parents[1] / "notices" / "words"
WIDTHS = (320, 1280)


def drafted(home: Path) -> int:
    """Give an incident with the three-language notice; return the notice."""
    made.enrol()
    incident = made.incident(home)
    return notices.draft(incident=incident, template=WORDS, at=clock.now(), by="bob")


@pytest.fixture
def notice(estate: Path, db: None, monkeypatch: pytest.MonkeyPatch) -> int:
    found = drafted(estate)
    as_console(monkeypatch)
    return found


def form(client: Client, notice: int, key: str = "default") -> dict[str, str]:
    """Return what the editor's form holds, as a browser would post it."""
    page = client.get(f"/notices/{notice}?text={key}").content.decode()
    draft = page.partition('id="draft"')[2].partition("</form>")[0]
    fields = dict(re.findall(r'<input[^>]* name="(\w+)" value="([^"]*)"', draft))
    fields |= dict(re.findall(r'<textarea[^>]* name="(\w+)"[^>]*>(.*?)</textarea>', draft, re.DOTALL))
    fields["look"] = re.findall(r'<option value="(\w+)" selected', draft)[0]
    return {k: html.unescape(v).replace("\n", "\r\n") for k, v in fields.items()}


def test_a_draft_stands_beside_its_checks(notice: int) -> None:
    client = signed_in()
    listed = text(client.get("/notices", follow=True))
    assert "es, nobody has signed" in listed
    shown = text(client.get(f"/notices/{notice}"))
    assert "Checks passes" in shown
    assert "Nobody asks for it yet" in shown
    assert "Grade" in shown
    assert "there what happened" in shown
    for key in ("default", "default.es", "default.fr"):
        posted = form(client, notice, key)
        same = client.post(f"/notices/{notice}/check", posted)
        assert "Checks passes" in text(same), key

    english = form(client, notice)
    spoiled = english | {"body": english["body"].replace("Dear {{name}}", "Dear {{name}}, see https://evil.example/x")}
    live = client.post(f"/notices/{notice}/check", spoiled, headers={"HX-Request": "true"})
    assert "would not be sent" in text(live)
    assert "names evil.example" in text(live)
    assert "<html" not in live.content.decode()
    assert "https://evil.example/x" in client.post(f"/notices/{notice}/check", spoiled).content.decode()  # what was typed stays
    lacks = english | {"blocks": "What Happened = what_happened, when"}
    assert "missing which data" in text(client.post(f"/notices/{notice}/check", lacks))

    mjml = form(client, notice, "default.es")
    wrong = mjml | {"mjml": mjml["mjml"].replace("<mj-column>", "<mj-column>\r\n<mj-image src='x' /><mj-buton>x</mj-buton>", 1)}
    refused = client.post(f"/notices/{notice}/save", wrong)
    assert refused.status_code == 400
    said = text(refused)
    assert "Line 9" in said
    assert "mj-image" in said
    assert "mj-buton" in said
    assert len(queries.notices(queries.source(notice)[0])) == 1


def test_an_edit_is_the_next_version_and_facts_stay_slots(notice: int) -> None:
    client = signed_in()
    incident, before = queries.source(notice)
    posted = form(client, notice, "default.fr")
    posted["body"] = posted["body"].replace("la police", "les autorités")
    after = client.post(f"/notices/{notice}/save", posted)
    assert after.status_code == 302
    facts.record_fact(incident, key="doors", value="A door is shut.", at=clock.now(), by="ada")
    facts.record_fact(incident, key="doors.fr", value="Une porte est fermée.", at=clock.now(), by="ada")
    client.post(f"/notices/{notice}/save", posted)
    facts.record_fact(incident, key="doors.fr", value="Deux portes sont fermées.", at=clock.now(), by="ada")
    assert "says “Une porte est fermée.” (doors.fr); what holds now is “Deux portes sont fermées.”" in text(
        client.get(f"/incidents/{incident}/notices")
    )
    newest = queries.notices(incident)[1]
    assert (newest.version, newest.created_by, f"/notices/{newest.id}?text=default.fr") == (2, "ada", after.headers["Location"])
    now = {v.key: v for v in queries.source(newest.id)[1].variants}
    assert "les autorités" in now["default.fr"].text
    assert "{{fact:doors}}" in now["default.fr"].text
    for v in before.variants:
        assert v.key == "default.fr" or now[v.key] == v
    assert queries.source(notice)[1] == before


def test_a_reviewer_signs_and_the_page_says_so(notice: int, estate: Path) -> None:
    client = signed_in()
    asked = client.post(f"/notices/{notice}/review", {"locale": "es", "reviewer": "dora", "text": "default.es"}, follow=True)
    waiting = next(x.waiting for x in queries.languages(notice) if x.locale == "es")
    assert f"tocsin approval sign {waiting} --key dora.key" in text(asked)
    assert "lacks" in text(client.post(f"/notices/{notice}/review", {"locale": "es", "text": "default.es"}, follow=True))
    assert waiting is not None
    with made.as_process("owner"):
        staff.sign_with_key_file(waiting, operator="dora", key_file=keyfiles.folder(estate) / "dora.key", at=clock.now())
    after = text(client.post(f"/notices/{notice}/review", {"locale": "es", "text": "default.es"}, follow=True))
    assert "read and signed by dora" in after
    assert "drafted" in text(
        client.post(f"/notices/{notice}/review", {"locale": "fr", "reviewer": "bob", "text": "default.fr"}, follow=True)
    )


def test_the_frame_can_fetch_and_run_nothing(notice: int) -> None:
    client = signed_in()
    for key in ("default", "default.es"):
        answer = client.get(f"/notices/{notice}/mail?text={key}")
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "sandbox" in policy
        assert "script-src" not in policy
        assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
        assert "{{" not in answer.content.decode()
    assert client.get(f"/notices/{notice}/mail?text=default.fr").headers["Content-Type"] == "text/plain; charset=utf-8"
    editor = client.get(f"/notices/{notice}")
    assert "frame-src 'self'" in editor.headers["Content-Security-Policy"]
    assert "unsafe" not in editor.headers["Content-Security-Policy"]
    assert re.search(r'<iframe name="mail"[^>]* sandbox src=', editor.content.decode())
    assert "frame-src" not in client.get("/approvals").headers["Content-Security-Policy"]
    assert Client().get(f"/notices/{notice}/mail").status_code == 302
    assert client.get("/notices/98765").status_code == 404


# --- in a real browser ---


@pytest.fixture
def stored(estate: Path, transactional_db: None) -> int:
    return drafted(estate)


@pytest.fixture
def page(stored: int, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield from watched(context.new_page())
    context.close()


@pytest.mark.browser
def test_checks_follow_what_is_typed_and_keys_lead(page: Page, live_server: LiveServer, stored: int) -> None:
    sign_in(page, live_server.url, f"/notices/{stored}")
    expect(page.locator("#checks")).to_contain_text("passes")
    frame = page.frame_locator("iframe.mail")
    expect(frame.locator("h1")).to_have_text("Notice of Data Breach")
    page.locator("#body").press("Control+Home")
    page.keyboard.type("Click https://far.example now. ")
    expect(page.locator("#checks")).to_contain_text("would not be sent", timeout=10_000)
    expect(page.locator("#checks")).to_contain_text("names far.example")
    for _ in range(len("Click https://far.example now. ")):
        page.keyboard.press("Backspace")
    expect(page.locator("#checks")).to_contain_text("passes", timeout=10_000)
    page.locator("#subject").fill("A better subject")
    page.locator("#body").press("Control+Home")
    page.keyboard.type("New: ")
    page.locator("h1").click()
    page.keyboard.press("v")  # the mail as it is typed, not as it is stored
    expect(frame.locator("h1")).to_have_text("New: Notice of Data Breach")
    with page.expect_navigation():
        page.keyboard.press("s")
    expect(page.get_by_role("status")).to_contain_text("Stored as a new version")
    expect(page.locator("#subject")).to_have_value("A better subject")
    page.get_by_role("link", name="default.es").press("Enter")
    expect(page.locator("#mjml")).to_be_visible()
    expect(frame.locator("h1")).to_have_text("Aviso de violación de datos")


@pytest.mark.browser
def test_the_editor_without_scripts(stored: int, live_server: LiveServer, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    for page in watched(context.new_page()):
        sign_in(page, live_server.url, f"/notices/{stored}")
        page.locator("#body").fill("Nothing of what is needed.")
        page.get_by_role("button", name="Check").click()
        expect(page.locator("#checks")).to_contain_text("would not be sent")
        expect(page.locator("#body")).to_have_value("Nothing of what is needed.")
        shown = page.frame_locator("iframe.mail").locator("p").first
        expect(shown).to_have_text("Dear Jordan Sample,")  # what is stored; a click while that loads would race with it
        page.get_by_role("button", name="Show the mail").click()
        expect(shown).to_have_text("Nothing of what is needed.")
        page.get_by_role("button", name="Store as a new version").click()
        expect(page.get_by_role("status")).to_contain_text("Stored")
    context.close()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_the_editor_and_nothing_overflows(stored: int, live_server: LiveServer, browser: Browser, scheme: Any) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    sign_in(page, live_server.url)
    spanish = f"/notices/{stored}?text=default.es"  # every part of the page but the English measure of reading
    for path in ("/notices", f"/notices/{stored}", spanish) if scheme == "light" else (spanish,):
        page.goto(live_server.url + path)
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            found = [f"{v['id']}: {v['nodes'][0]['html'][:160]}" for v in Axe().run(page).response["violations"]]
            assert found == [], (path, width)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)
    context.close()
