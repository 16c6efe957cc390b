"""The console's cutover page: what it says at each stage, and that its buttons go through the same actions as everybody."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from tests.web import console_estate as made
from tests.web.test_console import as_console, signed_in, text
from tests.web.test_console_browser import sign_in, watched
from tocsin.credentials import actions
from tocsin.credentials import queries as credentials
from tocsin.credentials.models import Cutover
from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.incidents import actions as incidents
from tocsin.incidents import queries as incidents_now
from tocsin.kernel import clock, schema
from tocsin.kernel.errors import Refused
from tocsin.kernel.private import Private
from tocsin.staff import actions as staff
from tocsin.staff import keyfiles
from tocsin.staff import queries as approvals
from tocsin.web import charts
from tocsin.web.console import cutover as view
from tocsin.web.console import figures

QUERIES_MAX = 40


def customers(home: Path) -> int:
    """An incident whose customers have passwords here, with two canaries, a team and somebody of the role identity."""
    made.enrol()
    staff.add_operator(name="ivy", roles=["identity"], at=clock.now(), by="owner", password=Private(made.PASSWORD))
    found = made.incident(home)
    with made.as_process("owner"):
        actions.import_hashes(next(home.rglob("customers.csv")), at=clock.now(), by="ada")
        actions.plant_canaries(2, at=clock.now())
        contain(home, found)
    return found


def contain(home: Path, incident: int) -> None:
    """Two people sign that the reached systems with credentials in hand are out of the intruder's hands."""
    for found in incidents_now.containment(incident):
        wanted = {"system": found.system, "statement": "rebuilt from a clean image", "at": clock.now(), "by": "ada"}
        with pytest.raises(Refused) as asked:
            incidents.determine_containment(incident, approval=None, **wanted)
        assert asked.value.approval is not None
        for name in ("ada", "bob"):
            staff.sign_with_key_file(asked.value.approval, operator=name, key_file=keyfiles.folder(home) / f"{name}.key", at=clock.now())
        incidents.determine_containment(incident, approval=asked.value.approval, **wanted)


@pytest.fixture
def running(estate: Path, db: None, monkeypatch: pytest.MonkeyPatch) -> int:
    found = customers(estate)
    as_console(monkeypatch)
    return found


def sign(home: Path, approval: int, *names: str) -> None:
    for name in names:
        with made.as_process("owner"):
            staff.sign_with_key_file(approval, operator=name, key_file=keyfiles.folder(home) / f"{name}.key", at=clock.now())


def press(client: Client, path: str) -> str:
    """Press a button and return the page it leads to, as words."""
    response = client.post(path)
    assert response.status_code == 302
    return text(client.get(response.headers["Location"]))


def test_from_nothing_to_sealed_and_back(running: int, estate: Path) -> None:
    client, at = signed_in("ada"), f"/incidents/{running}/cutover"
    words = text(client.get("/cutover"))
    assert "nothing armed" in words
    assert "Arm for everybody" in words
    assert "password, session, remember me, reset token" in words
    assert "Nobody has set a new password yet" in words

    words = press(client, f"{at}/arm")
    armed = Cutover.objects.get()
    assert (armed.state, armed.armed_by, armed.incident) == ("armed", "ada", running)
    assert "Armed. Nothing has ended yet." in words
    assert f"Password {made.PEOPLE + 2}" in words.replace("Live then: ", "")
    assert "everybody of customers" in words
    assert "2 accounts of ours, tried before and after" in words
    assert "End them all now" not in words

    words = press(client, f"{at}/{armed.pk}/commit")
    (asked,) = [a for a in approvals.approvals() if a.act == "credentials.commit"]
    assert f"tocsin approval sign {asked.id} --key NAME.key" in words
    assert "Must include identity" in words
    assert Cutover.objects.get().state == "armed"
    assert "Ask for the two signatures" not in words
    for names, left in ((("bob",), "1 to go"), (("ada",), "0 to go")):  # two people, but nobody of the role identity
        sign(estate, asked.id, *names)
        words = text(client.get(at))
        assert left in words
        assert "End them all now" not in words
    press(client, f"{at}/{armed.pk}/commit")  # pressed all the same
    assert Cutover.objects.get().state == "armed"
    sign(estate, asked.id, "ivy")
    assert "End them all now" in text(client.get(at))

    words = press(client, f"{at}/{armed.pk}/commit")
    assert Cutover.objects.get().state == "sealed"
    assert "every older credential is dead" in words
    assert f"{made.PEOPLE + 2} dead" in words
    assert "No node held a lease at the commit" in words
    assert re.search(r"\d+\.\d ms sealed after \d+ ms on 0 nodes", words)
    assert [e.actor for e in evidence.activity(types=[EventType.CUTOVER_COMMITTED])] == ["ada"]
    with made.as_process("owner"):
        actions.try_canaries(armed.pk, at=clock.now())
    assert "12 of 12 refused no old secret gets in" in text(client.get(at))

    words = press(client, f"{at}/{armed.pk}/abort")
    (back,) = [a for a in approvals.approvals() if a.act == "credentials.abort"]
    assert "Two people must sign to take it back" in words
    sign(estate, back.id, "bob", "ivy")
    assert "Taken back" in press(client, f"{at}/{armed.pk}/abort")
    assert Cutover.objects.get().state == "aborted"
    words = press(client, f"{at}/arm")
    assert "Earlier ones of this incident" in words
    assert "New epoch 3, after 1" in words
    assert "Taken back" in press(client, f"{at}/{Cutover.objects.get(state='armed').pk}/abort")


def test_refusals_are_said_and_change_nothing(running: int) -> None:
    client, at = signed_in("bob"), f"/incidents/{running}/cutover"
    press(client, f"{at}/arm")
    armed = Cutover.objects.get()
    other = actions.arm(incident=running, at=clock.now(), by="ada")
    assert other.id == armed.pk
    Cutover.objects.update(incident=running + 1)
    assert "is armed: commit or abort it first" in press(client, f"{at}/arm")
    assert client.post(f"{at}/987654/commit").status_code == 404
    assert client.post("/incidents/987654/cutover/arm").status_code in {302, 404}
    assert client.get("/incidents/987654/cutover").status_code == 404
    assert client.get(f"{at}/arm").status_code == 405
    assert Client(enforce_csrf_checks=True).post(f"{at}/arm").status_code in {302, 403}
    for path in (at, f"{at}/live", "/cutover"):
        assert Client().get(path).headers["Location"] == f"/sign-in?next={path}"
    for rest in ("arm", f"{armed.pk}/commit", f"{armed.pk}/abort", f"{armed.pk}/widen"):
        assert Client().post(f"{at}/{rest}").headers["Location"].startswith("/sign-in")
    assert Cutover.objects.count() == 1


def test_the_page_is_sealed_and_its_queries_do_not_grow(running: int, estate: Path) -> None:
    client, at = signed_in("ada"), f"/incidents/{running}/cutover"
    press(client, f"{at}/arm")
    for path in (at, f"{at}/live"):
        with CaptureQueriesContext(connection) as queries:
            response = client.get(path)
        assert len(queries) <= QUERIES_MAX
        raw = response.content.decode()
        assert "unsafe" not in response.headers["Content-Security-Policy"]
        assert "no-store" in response.headers["Cache-Control"]
        assert not re.search(r"<style|<script(?![^>]* src=)| on\w+=| style=", raw)
        assert raw.count("csrfmiddlewaretoken") >= 2


@pytest.mark.django_db(transaction=True)
def test_the_consoles_own_role_may_do_all_of_it(estate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the database role of the console's process: the buttons work, the sealed secrets of canaries stay out of reach."""
    running = customers(estate)
    as_console(monkeypatch)
    schema.migrate()
    client, at = signed_in("ada"), f"/incidents/{running}/cutover"
    with connection.cursor() as cursor:
        cursor.execute("SELECT has_column_privilege('tocsin_console', 'credentials_canary', 'sealed', 'SELECT')")
        assert cursor.fetchone() == (False,)
        cursor.execute("SET ROLE tocsin_console")
    try:
        words = press(client, f"{at}/arm")
        assert "Armed" in words
        press(client, f"{at}/{Cutover.objects.get().pk}/commit")
        approval = approvals.approvals()[0].id
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET ROLE")
    sign(estate, approval, "bob", "ivy")
    with connection.cursor() as cursor:
        cursor.execute("SET ROLE tocsin_console")
    try:
        assert "every older credential is dead" in press(client, f"{at}/{Cutover.objects.get().pk}/commit")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET ROLE")


def test_the_nodes_of_the_log_are_drawn(running: int, estate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at = f"/incidents/{running}/cutover"
    info = actions.arm(incident=running, at=clock.now(), by="ada")
    client = signed_in("ada")
    press(client, f"{at}/{info.id}/commit")
    sign(estate, approvals.approvals()[0].id, "bob", "ivy")
    with connection.cursor() as cursor:
        for node in ("public:one", "gate:two"):
            cursor.execute("SELECT credentials_renew_lease(%s)", [node])
    press(client, f"{at}/{info.id}/commit")
    words = text(client.get(at))
    assert words.count("its lease ran out") == 4  # said, and drawn
    (found,) = credentials.overviews(running)
    assert [(n.node, n.acked) for n in found.nodes] == [("gate:two", False), ("public:one", False)]
    assert found.sealed_ms is not None
    assert found.sealed_ms > 1000


def test_connectors_and_room_are_drawn_where_there_are_any(running: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page draws of systems and of the room, given values such as those doors return."""
    line = view.ConnectorLine("shop", "cognito", "gated", 24_000_000, 25.0, 960_000.0, 4, 4, ())
    drawn = view._connector(line)
    assert (drawn["eta"], drawn["rate"], drawn["css"], drawn["survivors"]) == ("11.1 days", "25 a second", "good", 0)
    info = actions.arm(incident=running, at=clock.now(), by="ada")
    (ended,) = credentials.overviews(running)
    assert ended.info == info
    assert view._races([line], ended) == []  # nothing measured yet
    measured = view.CutoverOverview(info, None, None, None, None, 0, 0, 8.2, 30.0, ())
    (race,) = view._races([line], measured)
    assert (race["api"], race["gate"]) == ("11.1 days", "8.2 ms")
    assert "11.1 days" in race["api_bar"]
    own = view.ConnectorLine("directory", "openldap", "gated", 31_000, None, 16.0, 4, 4, (), took_ms=15.5)
    assert [(r["api"], r["gate"]) for r in view._races([own], None)] == [("16 s", "15.5 ms")]
    full = view.RoomGauge(open=True, waiting=0, admitted_per_s=30.0, rate_per_s=30.0, capacity_per_s=40.0, oldest_wait_s=0.0)
    assert full.share == 75
    assert view.RoomGauge(True, 0, 0.0, 0.0, 0.0, 0.0).share == 0
    assert charts.share_bar([("used", full.share, "fill-good")], total=100, title="x").startswith("<svg")


def test_spans_of_all_lengths() -> None:
    seconds = (0.0082, 0.25, 1, 59.5, 119, 120, 3600, 7200, 200_000, 960_000, 3e8)
    assert [view.long(s) for s in seconds] == [
        "8.2 ms", "250 ms", "1 s", "59.5 s", "2 minutes", "2 minutes", "1 hours", "2 hours", "2.3 days", "11.1 days", "9.5 years",
    ]  # fmt: skip


# -- in the browser ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def shown(estate: Path, transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(figures, "KEPT_FACTOR", 0.0)
    return customers(estate)


@pytest.fixture
def page(shown: int, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield from watched(context.new_page())
    context.close()


def axe(page: Page) -> list[str]:
    return [f"{v['id']}: {v['nodes'][0]['html'][:160]}" for v in Axe().run(page).response["violations"]]


@pytest.mark.browser
def test_by_keyboard_and_live(page: Page, shown: int, estate: Path, live_server: LiveServer) -> None:
    """Arm, ask, sign elsewhere, commit: by single keys; the page learns of signatures and of the seal without being loaded again."""
    sign_in(page, live_server.url)
    page.keyboard.press("c")
    expect(page.get_by_role("heading", level=1)).to_contain_text("nothing armed")
    with page.expect_navigation():
        page.keyboard.press("t")
    expect(page.get_by_role("status")).to_contain_text("Armed")
    with page.expect_navigation():
        page.keyboard.press("s")
    page.locator("#main").evaluate("e => e.dataset.same = 'yes'")
    page.locator("#withdraw").focus()
    (asked,) = approvals.approvals()
    sign(estate, asked.id, "bob", "ivy")
    expect(page.locator("#commit-now")).to_be_visible(timeout=10_000)
    assert page.locator("#main").get_attribute("data-same") == "yes"
    expect(page.locator("#withdraw")).to_be_focused()  # renewing the live part takes nobody's place away
    with page.expect_navigation():
        page.keyboard.press("e")
    expect(page.locator("#cutover")).to_contain_text("sealed after")
    expect(page.locator("nav.rooms [aria-current=page]")).to_contain_text("Cutover")


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_wide_and_narrow(shown: int, estate: Path, live_server: LiveServer, browser: Browser, scheme: str) -> None:
    context = browser.new_context(color_scheme="dark" if scheme == "dark" else "light", viewport={"width": 1280, "height": 900})
    page = context.new_page()
    sign_in(page, live_server.url)

    def look(what: str) -> None:
        for width in (320, 1280):
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(f"{live_server.url}/cutover")
            assert axe(page) == [], (what, width)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (what, width)

    look("nothing armed")
    with connection.cursor() as cursor:
        for node in ("public:shop-2.internal:4711:a1b2c3", "gate:shop-1.internal:815:d4e5f6"):
            cursor.execute("SELECT credentials_renew_lease(%s)", [node])
    info = actions.arm(incident=shown, at=clock.now(), by="ada")
    look("armed")
    page.locator("#ask-commit").click()
    look("asked")
    sign(estate, approvals.approvals()[0].id, "bob", "ivy")
    look("signed")
    page.locator("#commit-now").click()
    with made.as_process("owner"):
        actions.try_canaries(info.id, at=clock.now())
    made_new_passwords(shown)
    look("sealed")
    context.close()


def made_new_passwords(incident: int) -> None:
    """Write down that some customers asked for a link and set a new password, as the rooms do."""
    from tests.web.test_console_browser import generator
    from tocsin.evidence import actions as record
    from tocsin.evidence.types import SubjectEvent
    from tocsin.subjects import queries as subjects

    with made.as_process("owner"):
        found = subjects.by_external_ids([generator.customer_id(n) for n in range(24)])
        salts = subjects.salts(list(found.values()))
        for kind, n in ((EventType.RESET_REQUESTED, 24), (EventType.PASSWORD_RESET, 17)):
            events = (SubjectEvent(s, salts[s], clock.now(), {"epoch": 2}) for s in list(salts)[:n])
            record.record_many(kind, events, actor="public", incident=incident)


@pytest.mark.browser
def test_without_an_incident_it_is_a_whole_page(estate: Path, transactional_db: None, live_server: LiveServer, browser: Browser) -> None:
    made.enrol()
    page = browser.new_page(viewport={"width": 320, "height": 640})
    sign_in(page, live_server.url)
    page.goto(f"{live_server.url}/cutover")
    expect(page.get_by_role("heading", level=1)).to_contain_text("No incident")
    assert axe(page) == []
    page.context.close()
