"""`credentials end-sessions` and `credentials start-reset`, called as the command line calls them, on a shop with customers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.credentials.shop import PEOPLE, enrol, open_shop, signed
from tests.credentials.wallet import signed_in
from tocsin.cli import output
from tocsin.cli.commands import credentials as commands
from tocsin.credentials import actions, queries
from tocsin.kernel import clock
from tocsin.kernel.errors import BadInput, NotFound

ONE, OTHER = PEOPLE[0], PEOPLE[1]


@pytest.fixture
def shop(estate: Path, db: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(output, "as_json", True)
    monkeypatch.setenv("TOCSIN_OPERATOR", "ada")
    open_shop(enrol(estate))
    return estate


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def ended(sid: str) -> bool:
    return queries.session(sid, at=clock.now()) is None


@pytest.mark.parametrize("reference", [ONE.external_id, ONE.email])
def test_one_persons_sign_ins_end_by_id_or_address(shop: Path, capsys: pytest.CaptureFixture[str], reference: str) -> None:
    mine, theirs = (signed_in(c, clock.now())[0] for c in (ONE, OTHER))
    actions.issue_bearer(mine, "api_token", at=clock.now())
    commands.end_sessions(subject=reference)
    assert said(capsys) == {"sessions": 1, "tokens": 1}
    assert (ended(mine), ended(theirs)) == (True, False)
    commands.end_sessions(subject=reference)
    assert said(capsys) == {"sessions": 0, "tokens": 0}
    with pytest.raises(NotFound):
        commands.end_sessions(subject="C999")
    for both in ({}, {"subject": "C1", "all": True}):
        with pytest.raises(BadInput):
            commands.end_sessions(**both)


def test_everybodys_sign_ins_end_by_two_signatures_and_passwords_stay(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sids = [signed_in(c, clock.now())[0] for c in (ONE, OTHER)]
    approval = signed(shop, lambda: commands.end_sessions(all=True, approval=None, incident=None))
    assert not any(map(ended, sids))
    commands.end_sessions(all=True, approval=approval, incident=None)
    assert said(capsys)["epoch"] == 2
    assert all(map(ended, sids))
    assert signed_in(ONE, clock.now())


def test_a_reset_is_started_and_nothing_is_shown(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands.start_reset(subject=ONE.email)
    assert said(capsys) == {"asked": True}
    with pytest.raises(NotFound):
        commands.start_reset(subject="nobody@mail.example")
