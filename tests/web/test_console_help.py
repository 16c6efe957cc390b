"""What the desk can do for somebody who cannot sign in, under the role of the console's process: end sign-ins, start a reset, a ticket."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection
from django.test import Client

from tests.credentials.shop import PEOPLE, open_shop
from tests.credentials.wallet import signed_in as customer_signed_in
from tests.support import desk as mails
from tests.web import console_estate as made
from tests.web.test_console import as_console, signed_in, text
from tocsin.cli import output
from tocsin.cli.commands import support as commands
from tocsin.credentials import queries as credentials
from tocsin.credentials.places import Lane
from tocsin.credentials.room import ticket
from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel import clock, schema
from tocsin.kernel.errors import NotFound, Refused
from tocsin.subjects import queries as subjects
from tocsin.support import actions as support
from tocsin.support import queries as desk

ONE, OTHER = PEOPLE[0], PEOPLE[1]
pytestmark = pytest.mark.django_db(transaction=True)


def start(home: Path, sender: str) -> tuple[int, list[str]]:
    """Open a shop, sign two customers in, let `sender` write to the desk; return the case and the two sessions."""
    made.enrol()
    with made.as_process("owner"):
        open_shop(home)
        sids = [customer_signed_in(c, clock.now())[0] for c in (ONE, OTHER)]
        mails.write(sender, "Somebody is in my account and I cannot sign in.", at=clock.now())
        support.take_in(at=clock.now())
        case = support.next_case(by="dora", at=clock.now())
        assert case is not None
    return case.id, sids


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a function that makes this process the console's, database role and all, with dora signed in."""

    def become(name: str = "dora") -> Client:
        as_console(monkeypatch)
        schema.migrate()
        client = signed_in(name)
        with connection.cursor() as cursor:
            cursor.execute("SET ROLE tocsin_console")
        return client

    yield become
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")


def alive(sid: str) -> bool:
    """Tell whether a session is good; the console itself may not ask."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        role = cursor.fetchone()[0]
        cursor.execute("RESET ROLE")
        found = credentials.session(sid, at=clock.now())
        cursor.execute(f'SET ROLE "{role}"')
    return found is not None


def acts(type: EventType) -> list[tuple[str, int | None]]:
    """Return who did acts of this type to whom."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT actor, subject FROM evidence_event WHERE type = %s ORDER BY id", [int(type)])
        return [(str(actor), subject) for actor, subject in cursor.fetchall()]


def test_all_sign_ins_of_one_person_end_after_a_second_press(estate: Path, console: Any) -> None:
    case, (mine, theirs) = start(estate, ONE.email)
    client = console()
    assert f'href="/desk/{case}/end-sign-ins"' in client.get(f"/desk/{case}").content.decode()
    asked = client.get(f"/desk/{case}/end-sign-ins")
    assert "End all sign-ins of this person?" in text(asked)
    assert "Somebody is in my account" not in text(asked)  # what they wrote is opened on their page alone
    assert alive(mine)  # asking ends nothing
    answer = client.post(f"/desk/{case}/end-sign-ins")
    assert answer.headers["Location"] == f"/desk/{case}"
    assert "Ended: 1 sessions and 0 tokens. The password stays." in text(client.get(f"/desk/{case}"))
    assert not alive(mine)
    assert alive(theirs)
    assert acts(EventType.SIGN_INS_ENDED) == [("dora", subjects.by_email(ONE.email))]


def test_a_reset_is_started_and_no_link_is_shown(estate: Path, console: Any) -> None:
    case, _ = start(estate, ONE.email)
    client = console()
    client.post(f"/desk/{case}/start-reset")
    shown = client.get(f"/desk/{case}")
    assert "A reset link goes to the address in the register." in text(shown)
    assert "/passwordchange" not in shown.content.decode()
    assert 'type="password"' not in shown.content.decode()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'credentials.tasks.send_reset'")
        assert cursor.fetchone() == (1,)
    assert acts(EventType.RESET_STARTED) == [("dora", subjects.by_email(ONE.email))]


def test_a_ticket_is_shown_once_and_leads_to_the_assisted_lane(estate: Path, console: Any) -> None:
    case, _ = start(estate, ONE.email)
    client = console()
    shown = client.post(f"/desk/{case}/ticket").content.decode()
    found = re.search(r'class="mono">(\S+)</p>', shown)
    assert found
    address = urlsplit(found.group(1))
    assert address.path == "/passwordchange"
    place = ticket.read(parse_qs(address.query)["q"][0], now_ms=clock.us(clock.now()) // 1000)
    assert place is not None
    assert place.lane == Lane.ASSISTED
    assert found.group(1) not in client.get(f"/desk/{case}").content.decode()
    assert [a for a, _ in acts(EventType.ROOM_TICKET_ISSUED)] == ["dora"]


def test_nobodys_address_and_somebody_elses_case_are_refused(estate: Path, console: Any) -> None:
    case, (mine, _) = start(estate, "stranger@elsewhere.example")
    client = console()
    for path in ("start-reset", "end-sign-ins"):
        assert client.post(f"/desk/{case}/{path}").headers["Location"] == f"/desk/{case}"
        assert "nobody in the register has the address" in text(client.get(f"/desk/{case}"))
    assert client.post("/desk/999/ticket").status_code == 404
    assert alive(mine)
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")
    other = console("ada")
    for path in ("start-reset", "end-sign-ins", "ticket"):
        assert other.post(f"/desk/{case}/{path}").status_code == 409
    assert [acts(t) for t in (EventType.SIGN_INS_ENDED, EventType.RESET_STARTED, EventType.ROOM_TICKET_ISSUED)] == [[], [], []]
    support.release_lease(case, by="dora", at=clock.now())
    assert other.post(f"/desk/{case}/ticket").status_code == 200


def test_the_command_line_gives_a_ticket_for_a_case(
    estate: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    case, _ = start(estate, ONE.email)
    monkeypatch.setattr(output, "as_json", True)
    monkeypatch.setenv("TOCSIN_OPERATOR", "dora")
    commands.ticket(case)
    said = json.loads(capsys.readouterr().out)
    assert said["case"] == case
    assert "/passwordchange?q=" in said["link"]
    with pytest.raises(NotFound):
        commands.ticket(999)
    monkeypatch.setenv("TOCSIN_OPERATOR", "ada")
    with pytest.raises(Refused, match="is with dora"):
        commands.ticket(case)
    assert evidence.counts()[EventType.ROOM_TICKET_ISSUED] == 1
    assert desk.person_of(case, by="ada", at=clock.now() + timedelta(hours=1)) == subjects.by_email(ONE.email)  # the lease is over
