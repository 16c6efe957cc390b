"""The notice on the company's own web server, statements beside it, and facts that changed since: with a real server and a real browser."""

from __future__ import annotations

import functools
import html
import http.server
import re
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from tests.notices.office import Office
from tests.notices.test_words import WORDS, Person, read, register, reviewed, run, started
from tests.notices.world import AT, TEXTS, sign
from tests.web.conftest import browser_type_launch_args  # noqa: F401 - the system's Chromium
from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.incidents import actions as incidents
from tocsin.kernel.errors import BadInput, NotFound, Refused
from tocsin.notices import actions, queries


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Give a folder and the address under which a web server serves it."""
    folder = tmp_path / "www" / "notice"
    folder.mkdir(parents=True)
    handler = functools.partial(Quiet, directory=str(folder.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}/notice"
        server.shutdown()


def plain(markup: str) -> str:
    """Return the words of a page's notice, without its questions."""
    article = re.split(r"<h2>[^<]*</h2>\s*<details>|</main>", markup.partition('<main id="notice">')[2])[0]
    return html.unescape(re.sub(r"<[^>]+>", " ", article))


def test_pages_say_what_the_mail_says_and_their_posting_is_proved(shop: Path, office: Office, web: tuple[Path, str]) -> None:
    folder, url = web
    incident = register([Person("a@gmail.example", "en"), Person("b@gmail.example", "es")])
    notice = actions.draft(incident=incident, template=WORDS, at=AT, by="ada")
    with pytest.raises(Refused, match="translation into es, fr"):
        actions.write_pages(notice, folder=folder, approval=None, at=AT, by="ada")
    reviewed(shop, notice, "es", "fr")
    with pytest.raises(Refused) as asked:  # nobody has approved anything of it yet
        actions.write_pages(notice, folder=folder, approval=None, at=AT, by="ada")
    assert asked.value.approval is not None
    with pytest.raises(NotFound):
        actions.verify_site(notice, url=url, at=AT, by="ada")
    assert list(folder.iterdir()) == []
    run(started(shop, notice))
    written = actions.write_pages(notice, folder=folder, approval=None, at=AT, by="ada")
    assert set(written.pages) == {"index.html", "es.html", "fr.html"} == {p.name for p in folder.iterdir()}

    # The same words as what was mailed, but for what differs from reader to reader.
    for taken, name in zip(sorted(office.taken, key=lambda t: t.to), ("index.html", "es.html"), strict=True):
        mailed = read(taken).get_body(("plain",)).get_content()  # type: ignore[union-attr]
        pieces = [re.escape("".join(re.findall(r"\w", part))) for part in re.split(r"\[[^]]*\]", plain((folder / name).read_text()))]
        assert len(pieces) == 5
        assert re.fullmatch("(.+?)".join(pieces), "".join(re.findall(r"\w", re.sub(r"(?m)^\d\. ", "", mailed))))
    page = (folder / "index.html").read_text()
    assert "[your case code]" in page
    assert "[tu código de caso]" in (folder / "es.html").read_text()
    assert "Was my card number seen?" in page
    assert "Mon numéro de carte" in (folder / "fr.html").read_text()
    for banned in ("<script", "src=", "url(", "@import", "http:", "https:", "javascript:"):
        assert banned not in page.replace("http-equiv", "")
    assert "default-src 'none'" in page.replace("&#x27;", "'")
    assert (
        actions.write_pages(notice, folder=folder, approval=None, at=AT, by="ada").pages == written.pages
    )  # a function of the notice alone

    # Looks: good, good, a changed byte, a page gone, good again.
    hours = [AT + timedelta(hours=n) for n in range(6)]
    for at in hours[:2]:
        assert all(x.ok for x in actions.verify_site(notice, url=url, at=at, by="ada"))
    (posted,) = queries.posting(notice)
    assert (posted.since_at, posted.until_at, posted.looks, posted.failed) == (hours[0], hours[1], 2, 0)
    good = (folder / "es.html").read_bytes()
    (folder / "es.html").write_bytes(good.replace(b"nuestra red", b"su red"))
    assert [(x.path, x.ok) for x in actions.verify_site(notice, url=url, at=hours[2], by="ada") if not x.ok] == [("es.html", False)]
    assert queries.posting(notice)[0].since_at is None
    (folder / "es.html").unlink()
    assert [x.found for x in actions.verify_site(notice, url=url, at=hours[3], by="ada") if not x.ok] == ["status 404"]
    (folder / "es.html").write_bytes(good)
    assert all(x.ok for x in actions.verify_site(notice, url=url + "/", at=hours[4], by="ada"))
    (posted,) = queries.posting(notice)
    assert (posted.since_at, posted.until_at, posted.looks, posted.failed) == (hours[4], hours[4], 5, 2)
    nobody = actions.verify_site(notice, url="http://127.0.0.1:9/notice", at=hours[5], by="ada")
    assert all("no answer" in x.found for x in nobody)
    for bad in ("ftp://x/y", "file:///etc", "notice", "http://x/?q"):
        with pytest.raises(BadInput):
            actions.verify_site(notice, url=bad, at=AT, by="ada")
    looks = evidence.activity(types=[EventType.SITE_PAGES_SEEN])
    assert [bool(e.body["wrong"]) for e in looks] == [False, False, True, True, False, True]
    assert evidence.activity(types=[EventType.SITE_PAGES_WRITTEN])[0].body["pages"] == written.pages


def test_a_substitute_notice_and_statements_need_two_people_of_their_own(shop: Path, web: tuple[Path, str]) -> None:
    folder, _ = web
    incident = register([Person("a@gmail.example")])
    notice = actions.draft(incident=incident, template=WORDS, at=AT, by="ada")
    reviewed(shop, notice, "es", "fr")
    with pytest.raises(Refused) as asked:
        actions.write_pages(notice, folder=folder, approval=None, at=AT, by="ada")
    approval = asked.value.approval
    assert approval is not None
    sign(shop, approval, "ada")
    with pytest.raises(Refused, match="more signature"):
        actions.write_pages(notice, folder=folder, approval=approval, at=AT, by="ada")
    sign(shop, approval, "bob")
    other = actions.draft(incident=incident, template=TEXTS, at=AT, by="ada")
    with pytest.raises(Refused, match="something else"):
        actions.write_pages(other, folder=folder, approval=approval, at=AT, by="ada")
    assert len(actions.write_pages(notice, folder=folder, approval=approval, at=AT, by="ada").pages) == 3
    with pytest.raises(Refused, match="used already"):
        actions.write_statements(notice, folder=folder, approval=approval, at=AT, by="ada")
    with pytest.raises(Refused) as asked:
        actions.write_statements(notice, folder=folder, approval=None, at=AT, by="ada")
    assert asked.value.approval is not None
    sign(shop, asked.value.approval, "ada", "bob")
    made = actions.write_statements(notice, folder=folder, approval=asked.value.approval, at=AT, by="ada")
    assert set(made) == {"press.en.txt", "press.en.html", "staff.en.txt", "staff.en.html"}
    press = (folder / "press.en.txt").read_text()
    assert press.startswith("Example Shop tells its customers of a break-in\n\nOn ")
    assert "All doors are shut." in press
    assert "<h1>Example Shop tells its customers" in (folder / "press.en.html").read_text()
    assert "<li>Never ask anybody for a password.</li>" in (folder / "staff.en.html").read_text()
    with pytest.raises(NotFound, match="no statement"):
        actions.write_statements(other, folder=folder, approval=None, at=AT, by="ada")


def test_a_superseded_fact_names_everything_that_is_wrong_now(shop: Path) -> None:
    incident = register([Person("a@gmail.example")])
    first = incidents.record_fact(incident, key="doors", value="The first door is shut.", at=AT, by="ada")
    incidents.record_fact(incident, key="counsel", value="For counsel alone.", at=AT, by="ada", audience="counsel")
    notice = actions.draft(incident=incident, template=WORDS, at=AT, by="ada")
    incidents.record_fact(incident, key="old_passwords", value="No old password works.", at=AT, by="ada")
    site = actions.publish_site_notice(incident=incident, template=TEXTS, at=AT, by="ada")
    drafted = evidence.activity(types=[EventType.NOTICE_DRAFTED])[-1]
    assert drafted.body["facts"] == {"doors": first}
    assert "The first door is shut." in queries.preview(notice)[0].text
    assert "Todas las puertas" in queries.preview(notice)[1].text  # the sentence's own language comes first
    assert queries.outdated(incident) == []
    incidents.record_fact(incident, key="doors", value="Two doors are shut.", at=AT, by="ada")
    third = incidents.record_fact(incident, key="doors", value="Three doors are shut.", at=AT, by="ada")
    (wrong,) = queries.outdated(incident)
    assert (wrong.what, wrong.id, wrong.key, wrong.said) == ("notice", notice, "doors", "The first door is shut.")
    assert (wrong.fact_now, wrong.now) == (third, "Three doors are shut.")
    again = actions.draft(incident=incident, template=WORDS, at=AT, by="ada")
    assert [x.id for x in queries.outdated(incident)] == [notice]
    incidents.record_fact(incident, key="old_passwords", value="Some old passwords work.", at=AT, by="ada")
    assert {(x.what, x.id) for x in queries.outdated(incident)} == {("notice", notice), ("site notice", site)}
    assert again not in {x.id for x in queries.outdated(incident) if x.what == "notice"}


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_in_a_browser(browser: Browser, web: tuple[Path, str], scheme: Any) -> None:
    from tests.notices.test_words import composed
    from tocsin.notices.text import pages
    from tocsin.notices.types import FaqTexts

    folder, url = web
    for path, raw in pages.files([v for v in composed() if not v.headed], [FaqTexts("Was it me?", "No.")], brand="Example").items():
        (folder / path).write_bytes(raw)
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda r: asked.append(r.url))
    page.on("console", lambda m: complaints.append(m.text) if "favicon" not in m.text and "404" not in m.text else None)
    for name in ("index.html", "fr.html") if scheme == "light" else ("index.html",):
        page.goto(f"{url}/{name}")
        for width in (320, 1280):
            page.set_viewport_size({"width": width, "height": 900})
            found = [f"{v['id']}: {v['nodes'][0]['html'][:160]}" for v in Axe().run(page).response["violations"]]
            assert found == [], (name, width)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("getComputedStyle(document.body).margin") == "0px"  # the style that the policy allows
    page.goto(f"{url}/index.html")
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the notice"
    page.get_by_role("link", name="Français").press("Enter")
    page.wait_for_url("**/fr.html")
    assert page.evaluate("document.documentElement.lang") == "fr"
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert {u.partition("/notice")[0] for u in asked if "favicon" not in u} == {url.partition("/notice")[0]}
    assert complaints == []
    context.close()
