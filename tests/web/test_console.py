"""The console over HTTP: who may see it, what its pages say, what looking leaves in the log, and what it refuses."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.conftest import forget
from tests.web import console_estate as made
from tocsin import settings as tocsin_settings
from tocsin.drills import generator
from tocsin.evidence import actions as record
from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel import clock
from tocsin.obligations import queries as obligations
from tocsin.support import actions as support
from tocsin.support import queries as desk
from tocsin.web.console import figures, incident, log, page

QUERIES_MAX = 30
LIVE_QUERIES_MAX = 20
ROOMS = ("/", "/cutover", "/desk", "/approvals", "/log", "/receipt")
OF_INCIDENT = ("", "/live", "/flow", "/duties", "/mailing", "/letters", "/cutover", "/cutover/live")


@pytest.fixture
def empty(estate: Path, db: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an estate with a team and nothing else, served as the console's process serves it."""
    made.enrol()
    as_console(monkeypatch)
    return estate


@pytest.fixture
def running(estate: Path, db: None, monkeypatch: pytest.MonkeyPatch) -> int:
    """Give an incident that is declared, scoped and assessed."""
    made.enrol()
    found = made.incident(estate)
    as_console(monkeypatch)
    return found


def as_console(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on hold the keys of the console's process alone; figures are made anew for every page."""
    assert tocsin_settings.SITE == "console"
    monkeypatch.setattr(figures, "KEPT_FACTOR", 0.0)
    monkeypatch.setenv("TOCSIN_PROCESS", "console")
    forget()


def signed_in(name: str = "ada") -> Client:
    client = Client()
    response = client.post("/sign-in", {"username": name, "password": made.PASSWORD})
    assert (response.status_code, response.headers["Location"]) == (302, "/")
    return client


def text(response: Any) -> str:
    """Return a page's words, spaces folded."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode())).strip()


def test_sign_in_and_out(empty: Path) -> None:
    client = Client()
    wrong = client.post("/sign-in", {"username": "ada", "password": "wrong"})
    nobody = client.post("/sign-in", {"username": "mallory", "password": "wrong"})
    assert wrong.status_code == nobody.status_code == 403
    assert "do not belong together" in text(wrong)
    assert text(wrong) == text(nobody)
    assert 'value="ada"' in wrong.content.decode()
    assert made.PASSWORD not in wrong.content.decode()
    right = client.post("/sign-in?next=/desk", {"username": "ada", "password": made.PASSWORD})
    assert right.headers["Location"] == "/desk"
    assert client.get("/desk").status_code == 200
    elsewhere = Client().post("/sign-in?next=https://evil.example/", {"username": "ada", "password": made.PASSWORD})
    assert elsewhere.headers["Location"] == "/"
    assert client.post("/sign-out").headers["Location"] == "/sign-in"
    assert client.get("/desk").status_code == 302
    assert client.get("/sign-out").status_code == 405
    strict = Client(enforce_csrf_checks=True)
    assert strict.post("/sign-in", {"username": "ada", "password": made.PASSWORD}).status_code == 403


def test_five_failures_rest_the_sign_in_for_one_name(empty: Path) -> None:
    client = Client()
    tries = [client.post("/sign-in", {"username": "ada", "password": "wrong"}) for _ in range(5)]
    assert [t.status_code for t in tries] == [403, 403, 403, 403, 429]
    right = client.post("/sign-in", {"username": "ada", "password": made.PASSWORD})
    assert right.status_code == 429
    assert right.headers["Retry-After"] == "900"
    assert "rests for a quarter of an hour" in text(right)
    assert client.get("/").status_code == 302
    assert client.post("/sign-in", {"username": "bob", "password": made.PASSWORD}).status_code == 302


def test_every_page_requires_sign_in(running: int) -> None:
    paths = [*ROOMS, *(f"/incidents/{running}{rest}" for rest in OF_INCIDENT), "/desk/1", "/log/export"]
    for path in paths:
        response = Client().get(path)
        assert (response.status_code, response.headers["Location"]) == (302, f"/sign-in?next={path}"), path
    for path in (
        "/desk/next",
        "/desk/1/answer",
        "/desk/1/release",
        "/desk/1/ticket",
        "/desk/1/start-reset",
        "/desk/1/end-sign-ins",
        "/receipt",
    ):
        assert Client().post(path).headers["Location"].startswith("/sign-in"), path
    assert evidence.activity(types=[EventType.PERSONAL_DATA_READ]) == []


def test_a_poll_of_an_ended_session_leads_to_the_sign_in(running: int) -> None:
    headers = {"hx-request": "true", "hx-current-url": f"https://console.example/incidents/{running}?x=1"}
    response = Client().get(f"/incidents/{running}/live", headers=headers)
    assert response.headers["HX-Redirect"] == f"/sign-in?next=%2Fincidents%2F{running}"
    assert response.content == b""
    odd = Client().get("/", headers={"hx-request": "true", "hx-current-url": "javascript:alert(1)"})
    assert odd.headers["HX-Redirect"].startswith("/sign-in?next=")
    assert signed_in().get(f"/incidents/{running}/live", headers=headers).status_code == 200


def test_pages_are_sealed(running: int) -> None:
    made.mail_in(made.RESET)
    client = signed_in()
    paths = [*ROOMS, *(f"/incidents/{running}{rest}" for rest in OF_INCIDENT), "/nowhere"]
    for response, path in [(client.get(p), p) for p in paths] + [(Client().get("/sign-in"), "/sign-in")]:
        raw = response.content.decode()
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["X-Frame-Options"] == "DENY"
        assert "no-store" in response.headers["Cache-Control"], path
        assert re.findall(r'(?:src|href|action|hx-get)="(?:https?:)?//', raw) == [], path
        assert not re.search(r"<style|<script(?![^>]* src=)| on\w+=| style=", raw), path


def test_the_incident_page_says_what_matters_first(running: int, estate: Path) -> None:
    client = signed_in()
    before = text(client.get("/"))
    assert "Told nobody yet" in before
    assert "To go everybody" in before
    assert f"What was reachable: {made.PEOPLE} people" in before
    made.mailing(estate, running)
    made.mail_in(made.RESET, "Someone used my card, it is fraud! I am losing money.")
    response = client.get(f"/incidents/{running}")
    words = text(response)
    assert f"Told 0 of {made.PEOPLE}" in words
    assert f"To go {made.PEOPLE}" in words
    duties = obligations.duties(running)
    coming = next(d for d in duties if d.due_at is not None and d.state == "due")
    assert coming.name in words
    assert f"all {len(duties)}, with sources" in words
    assert "urgent message waits for an answer" in words
    for milestone in ("Declared", "Scoped", "Mailing started"):
        assert milestone in words
    assert "Messages received per second" in words
    assert "2 open" in words
    clock_time = re.compile(r"As of [0-9:]+ UTC")
    assert clock_time.sub("", text(client.get(f"/incidents/{running}/live"))) in clock_time.sub("", words)
    assert client.get("/incidents/987654").status_code == 404


def test_query_counts_do_not_grow(running: int, estate: Path) -> None:
    made.mailing(estate, running)
    client = signed_in()
    client.get("/")

    def counted(path: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert client.get(path).status_code == 200
        return len(queries)

    first = counted("/")
    assert first <= QUERIES_MAX
    assert counted(f"/incidents/{running}/live") <= LIVE_QUERIES_MAX
    made.told(running, 40)
    made.mail_in(*[f"{made.RESET} {n}" for n in range(12)])
    assert counted("/") <= first
    approvals = counted("/approvals")
    assert approvals <= QUERIES_MAX


def test_duties_and_mailing(running: int, estate: Path) -> None:
    client = signed_in()
    duties = text(client.get(f"/incidents/{running}/duties"))
    for duty in obligations.duties(running):
        assert re.sub(r"\s+", " ", duty.name) in duties.replace("&#x27;", "'").replace("&quot;", '"').replace("&amp;", "&")
        assert duty.law in duties
    assert "No mailing yet" in text(client.get(f"/incidents/{running}/mailing"))
    made.mailing(estate, running)
    mailing = text(client.get(f"/incidents/{running}/mailing"))
    assert f"of {made.PEOPLE} recipients" in mailing
    assert "sending" in mailing
    assert f"To go {made.PEOPLE}" in mailing
    assert "No bundle yet" in text(client.get(f"/incidents/{running}/letters"))
    for path in ("duties", "mailing", "letters", "live", "flow"):
        assert client.get(f"/incidents/987654/{path}").status_code == 404


def test_an_estate_at_peace(empty: Path) -> None:
    client = signed_in()
    assert "Nothing has been declared" in text(client.get("/"))
    assert "Nothing waits for a signature" in text(client.get("/approvals"))
    assert "Nobody has asked anything yet" in text(client.get("/desk"))
    assert client.post("/desk/next").headers["Location"] == "/desk"
    assert "Nothing is waiting." in text(client.get("/desk"))
    assert "Nothing of this kind yet" in text(client.get("/log?type=message_received"))
    assert client.get("/desk/1").status_code == 404
    assert "one mailbox" not in text(client.get("/receipt"))


def test_the_desk_from_case_to_case(running: int) -> None:
    made.mail_in(made.RESET, "Is my order on its way? I moved.")
    client = signed_in("dora")
    assert "Open 2" in text(client.get("/desk"))
    first = client.post("/desk/next").headers["Location"]
    shown = client.get(first)
    assert made.RESET in text(shown)
    assert "Yours until" in text(shown)
    version = re.search(r'name="version" value="(\d+)"', shown.content.decode())
    assert version is not None
    after = client.post(f"{first}/answer", {"version": version.group(1)})
    assert after.headers["Location"] not in {first, "/desk"}
    second = after.headers["Location"]
    assert "Answered." in text(client.get(second))
    empty_answer = client.post(f"{second}/answer", {"text": "  "})
    assert empty_answer.status_code == 400
    secret = client.post(f"{second}/answer", {"text": "Your card 4111 1111 1111 1111 is safe."})
    assert secret.status_code == 400
    assert "1111 is safe.</textarea>" in secret.content.decode()  # what was typed stays
    assert 'role="alert"' in secret.content.decode()
    assert client.post(f"{second}/answer", {"text": "Yes, it is; we changed the address."}).headers["Location"] == "/desk"
    status = desk.status()
    assert (status.received, status.answered, status.open) == (2, 2, 0)
    again = client.post(f"{second}/answer", {"text": "Once more."})
    assert "answered already" in text(client.get(again.headers["Location"]))
    reads = evidence.activity(types=[EventType.PERSONAL_DATA_READ])
    assert {e.actor for e in reads} == {"dora"}


def test_a_case_of_somebody_else_is_refused_with_the_reason(running: int) -> None:
    made.mail_in(made.RESET)
    case = support.next_case(by="carl", at=clock.now())
    assert case is not None
    client = signed_in("dora")
    assert "with carl" in text(client.get(f"/desk/{case.id}"))
    back = client.post(f"/desk/{case.id}/answer", {"text": "Mine."})
    shown = client.get(back.headers["Location"]).content.decode()
    assert re.search(r'class="errors" role="alert">case \d+ is with carl until', shown)
    assert client.post(f"/desk/{case.id}/release").status_code == 409
    secret = client.post(f"/desk/{case.id}/answer", {"text": "Your card 4111 1111 1111 1111"})
    assert secret.status_code == 302
    assert desk.status().answered == 0
    support.release_lease(case.id, by="carl", at=clock.now())
    assert client.post("/desk/next").headers["Location"] == f"/desk/{case.id}"
    assert client.post(f"/desk/{case.id}/release").headers["Location"] == "/desk"


def test_approvals_show_what_is_signed(running: int) -> None:
    words = text(signed_in().get("/approvals"))
    assert "two people signed" in words
    assert "Kentucky server" in words
    assert "ada, bob" in words
    assert "trusted" in words


def test_the_log_filters_and_exports_without_formulas(running: int) -> None:
    for actor in ("=HYPERLINK(0)", "+1", "-1", "@SUM(A1)", "\tx", "plain"):
        record.record(EventType.FACT_RECORDED, at=clock.now(), actor=actor, body={"key": "=cmd", "value": 1})
    client = signed_in()
    words = text(client.get("/log?type=incident_declared"))
    assert "by ada" in words
    assert "HYPERLINK" not in words
    assert client.get("/log?type=nonsense").status_code == 200
    response = client.get("/log/export?type=fact_recorded")
    assert response.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.reader(io.StringIO(response.content.decode())))
    assert rows[0] == ["entry", "at", "type", "actor", "incident", "body"]
    assert [r[3] for r in rows if "=cmd" in r[5]] == ["'=HYPERLINK(0)", "'+1", "'-1", "'@SUM(A1)", "'\tx", "plain"]
    everything = list(csv.reader(io.StringIO(client.get("/log/export").content.decode())))
    assert not [cell for row in everything for cell in row if cell[:1] in tuple("=+-@\t\r")]


@pytest.mark.django_db(transaction=True)
def test_a_receipt_proves_and_is_written_down(running: int, estate: Path) -> None:
    made.told(running, 3)
    made.seal(estate)
    client = signed_in()
    proved = client.post("/receipt", {"customer": generator.customer_id(0)})
    assert proved.status_code == 200
    assert "proved" in text(proved)
    assert "c2sp.org/tlog-proof" in text(proved)
    assert "Notice handed over" in text(proved)
    by_mail = client.post("/receipt", {"customer": generator.email_of(made.SEED, 0).upper()})
    assert "proved" in text(by_mail)
    assert "no entry" in text(client.post("/receipt", {"customer": generator.customer_id(9)}))
    unknown = client.post("/receipt", {"customer": "<b>C404"})
    assert unknown.status_code == 404
    assert "No such customer" in text(unknown)
    assert "<b>C404" not in unknown.content.decode()
    reads = evidence.activity(types=[EventType.PERSONAL_DATA_READ])
    assert [(e.actor, e.body["why"], e.body["subject"] is None) for e in reads] == [
        ("ada", "receipt", False), ("ada", "receipt", False), ("ada", "receipt", False), ("ada", "receipt", True),
    ]  # fmt: skip
    assert client.get("/receipt").status_code == 200
    assert len(evidence.activity(types=[EventType.PERSONAL_DATA_READ])) == 4


def test_errors_are_pages(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = signed_in()
    client.raise_request_exception = False
    lost = client.get("/nowhere")
    assert lost.status_code == 404
    assert "There is nothing here" in text(lost)
    monkeypatch.setattr(log, "PAGE_ROWS", "many")  # a defect
    broken = client.get("/log")
    assert broken.status_code == 500
    assert re.search(r"Reference: [0-9a-f]{8}", text(broken))
    assert client.get("/desk/next").status_code == 405


def test_figures_are_made_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: figures.Kept[int] = figures.Kept()
    calls = iter(range(9))
    monkeypatch.setattr(figures, "KEPT_FACTOR", 1e9)
    assert [kept.get("a", lambda: next(calls)) for _ in range(3)] == [0, 0, 0]
    assert kept.get("b", lambda: next(calls)) == 1
    monkeypatch.setattr(figures, "KEPT_FACTOR", 0.0)
    assert [figures.Kept[int]().get("a", lambda: next(calls)) for _ in range(2)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        kept.get("c", lambda: 1 // 0)
    assert kept.get("c", lambda: next(calls)) == 4


def test_volumes_count_by_bucket(running: int) -> None:
    since = evidence.activity(types=[EventType.INCIDENT_DECLARED])[0].at
    made.told(running, 20)
    made.told(running + 1, 5)  # another incident's
    types = [EventType.NOTICE_HANDED_OVER, EventType.PASSWORD_RESET]
    found = evidence.volumes(types, incident=running, since=since)
    assert found.exact
    assert sum(found.counts[EventType.NOTICE_HANDED_OVER].values()) == 20
    assert found.counts[EventType.PASSWORD_RESET] == {}
    assert found.first_at[EventType.PASSWORD_RESET] is None
    assert found.bucket_s == 1
    later = evidence.volumes(types, incident=running, since=clock.now())
    assert later.counts[EventType.NOTICE_HANDED_OVER] == {}


def test_a_long_log_is_sampled_and_says_so(running: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made.told(running, 20)
    client = signed_in()
    assert "estimated from a sample" not in text(client.get(f"/incidents/{running}/flow"))
    monkeypatch.setattr(evidence, "SAMPLE_ROWS", 1)
    since = evidence.activity(types=[EventType.INCIDENT_DECLARED])[0].at
    assert not evidence.volumes([EventType.NOTICE_HANDED_OVER], incident=running, since=since).exact
    assert "estimated from a sample" in text(client.get(f"/incidents/{running}/flow"))


def test_spans_read_well() -> None:
    minutes = incident.timedelta
    assert [page.span(minutes(minutes=n)) for n in (0, 59, 60, 47 * 60, 48 * 60)] == [
        "0 min",
        "59 min",
        "1 h 0 min",
        "47 h 0 min",
        "2 days",
    ]
