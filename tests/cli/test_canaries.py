"""Canaries on the command line: planted, tried before and after, told apart from canaries that nobody tried; held hashes opened by the owner."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.credentials.shop import AT, PEOPLE, cut, enrol, open_shop
from tests.credentials.under_attack import contained, incident, sign
from tocsin.cli.main import main
from tocsin.credentials import actions
from tocsin.credentials.models import Canary
from tocsin.credentials.types import CLASSES
from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.incidents import actions as incidents
from tocsin.kernel import clock, config

Say = Any


@pytest.fixture
def say(estate: Path, db: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Say:
    monkeypatch.setenv("TOCSIN_OPERATOR", "ada")

    def run(*argv: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = main(["--json", "credentials", *argv])
        return code, json.loads(capsys.readouterr().out)

    return run


def test_planted_on_the_command_line_they_prove_a_cutover(estate: Path, say: Say) -> None:
    open_shop(enrol(estate))
    at = incident(estate)
    contained(estate, at)
    code, armed = say("arm", "--incident", str(at), "--classes", ",".join(CLASSES))
    assert (code, armed["tried"]) == (0, None)
    assert "no canaries are planted" in armed["findings"][0]
    code, refused = say("canaries", "try", str(armed["id"]))
    assert (code, "no canaries are planted" in refused["error"]["message"]) == (3, True)
    assert say("canaries", "try", "99")[0] == 4

    code, planted = say("canaries", "plant", "--n", "2", "--classes", "password,totp")
    assert (code, planted["planted"], planted["classes"]) == (0, 2, ["password", "totp"])
    _, armed = say("arm", "--incident", str(at), "--classes", ",".join(CLASSES))
    assert (armed["tried"]["tried"], armed["tried"]["accepted"]) == (8, 8)
    assert "passkey" in armed["findings"][0]
    assert say("canaries", "plant", "--n", "2")[1]["classes"] == list(CLASSES)
    _, armed = say("arm", "--incident", str(at), "--classes", ",".join(CLASSES))
    n = 8 + 2 * len(CLASSES)
    assert (armed["tried"]["accepted"], armed["findings"]) == (n, [])
    assert say("canaries", "try", str(armed["id"]))[1]["accepted"] == n

    assert say("status")[1]["canaries"] == {"tried": None, "refused": None}
    _, asked = say("commit", str(armed["id"]))
    _, done = say("commit", str(armed["id"]), "--approval", str(sign(estate, asked["approval"])))
    assert (done["canaries"]["tried"], done["canaries"]["refused"]) == (n, n)
    assert say("status")[1]["canaries"] == {"tried": n, "refused": n}
    _, tried = say("canaries", "try", str(armed["id"]))
    assert (tried["refused"], tried["survivors"]) == (n, [])
    _, again = say("arm", "--incident", str(at))
    assert "open nothing before the cutover: plant new canaries" in again["findings"][0]
    assert Canary.objects.count() == 4


def test_without_classes_the_exposure_proposes_them(estate: Path, say: Say) -> None:
    open_shop(enrol(estate))
    at = incident(estate)
    _, armed = say("arm", "--incident", str(at))
    assert armed["proposal"] is not None
    assert armed["classes"] == sorted(armed["proposal"]["classes"])
    assert not set(armed["classes"]) <= {"password", "session", "remember_me", "reset_token"}


def test_what_a_legal_hold_kept_is_opened_by_the_owner_alone(
    estate: Path, say: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    open_shop(enrol(estate))
    at = incident(estate)
    contained(estate, at)
    incidents.hold(at, reason="the prosecutor asked", at=AT, by="ada")
    cutover = cut(estate, incident=at).cutover  # type: ignore[attr-defined]
    _, asked = say("erase", str(cutover))
    assert say("erase", str(cutover), "--approval", str(sign(estate, asked["approval"])))[0] == 0
    while actions.erase_next(cutover, at=clock.now()):
        pass
    out = tmp_path / "held.csv"
    for process, code in (("operator", 3), ("owner", 0)):
        monkeypatch.setenv("TOCSIN_PROCESS", process)
        config.current.cache_clear()
        assert say("held", str(cutover), "--out", str(out))[0] == code
    lines = out.read_text().splitlines()
    assert (lines[0], len(lines)) == ("account,class,hash", 1 + len(PEOPLE))
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert say("held", str(cutover), "--out", str(out))[0] == 2
    (entry,) = evidence.activity(types=[EventType.HELD_HASHES_OPENED])
    assert (entry.actor, entry.body) == ("ada", {"cutover": cutover, "hashes": len(PEOPLE)})
    assert say("held", "99", "--out", str(tmp_path / "none"))[0] == 4
