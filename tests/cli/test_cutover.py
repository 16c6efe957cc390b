"""The cutover on the command line: every command of it in one incident, with the exit codes and keys of the contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.credentials.shop import PEOPLE, enrol, log_in, open_shop
from tests.credentials.under_attack import incident, sign
from tocsin.cli.main import main
from tocsin.credentials import actions
from tocsin.kernel import clock

Say = Any


@pytest.fixture
def say(estate: Path, db: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Say:
    """Give a command to the estate; return its exit code and its JSON."""
    monkeypatch.setenv("TOCSIN_OPERATOR", "ada")

    def give(*arguments: str) -> tuple[int, Any]:
        capsys.readouterr()
        code = main(["credentials", *arguments, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return give


def twice(say: Say, home: Path, *arguments: str) -> Any:
    """Give a command that needs two people: exit 3 with the approval, two signatures, the same command again."""
    code, asked = say(*arguments)
    assert code == 3, asked
    code, done = say(*arguments, "--approval", str(sign(home, asked["approval"])))
    assert code == 0, done
    return done


def test_a_narrow_cutover_is_contained_committed_widened_and_erased(estate: Path, say: Say, tmp_path: Path) -> None:
    open_shop(enrol(estate))
    at = str(incident(estate))
    listed = tmp_path / "listed.txt"
    listed.write_text(f"{PEOPLE[0].external_id}\n{PEOPLE[1].external_id}\n\n{PEOPLE[0].external_id}\n")
    code, moved = say("cohort", "1", "--customers", str(listed), "--reason", "in the intruder's list")
    assert (code, moved["selected"], moved["moved"]) == (0, 2, 2)
    code, faulty = say("cohort", "1", "--set-before", "last summer", "--reason", "x")
    assert (code, faulty["error"]["field"]) == (2, "--set-before")
    listed.write_text("C1\nnobody\n")
    code, faulty = say("cohort", "1", "--customers", str(listed), "--reason", "x")
    assert (code, [f["got"] for f in faulty["faults"]]) == (2, ["nobody"])

    code, faulty = say("arm", "--incident", at, "--cohort", "1")
    assert (code, faulty["error"]["field"]) == (2, "reason")
    code, armed = say("arm", "--incident", at, "--cohort", "1", "--reason", "only the listed")
    assert (code, armed["counts"]["password"], armed["undated"], armed["containment"][0]["system"]) == (0, 2, 2, "web_ky")
    code, refused = say("commit", str(armed["id"]))
    assert (code, "approval" in refused) == (3, False)
    assert "credentials contain" in refused["error"]["message"]
    done = twice(say, estate, "contain", at, "web_ky", "--statement", "rebuilt from a clean image")
    assert done["system"] == "web_ky"
    report = twice(say, estate, "commit", str(armed["id"]))
    assert {"epoch", "commit_ms", "sealed_ms", "nodes"} <= report.keys()
    assert [log_in(p) is not None for p in PEOPLE[:3]] == [False, False, True]

    code, wide = say("widen", str(armed["id"]))
    assert (code, wide["cohort"], wide["spared"], wide["counts"]["password"]) == (0, None, [1], 5)
    twice(say, estate, "commit", str(wide["id"]))
    assert log_in(PEOPLE[2]) is None
    code, standing = say("status")
    assert {"live", "dead", "sealed", "canaries"} <= standing.keys()
    assert (standing["dead"], standing["cohorts"], standing["erasure"]["state"]) == (7, {"0": 5, "1": 2}, "waiting")

    erasing = twice(say, estate, "erase", str(wide["id"]))
    assert erasing["state"] == "erasing"
    while actions.erase_next(wide["id"], at=clock.now()):
        pass
    _, standing = say("status")
    assert (standing["erasure"]["state"], standing["erasure"]["erased"]) == ("erased", 5)
    code, refused = say("abort", str(wide["id"]))
    assert code == 3
    code, refused = say("abort", str(wide["id"]), "--approval", str(sign(estate, refused["approval"])))
    assert (code, "no way back" in refused["error"]["message"]) == (3, True)


def test_an_override_is_part_of_what_is_signed(estate: Path, say: Say) -> None:
    open_shop(enrol(estate))
    _, armed = say("arm", "--incident", str(incident(estate)), "--classes", "session")
    assert armed["classes"] == ["session"]
    twice(say, estate, "commit", str(armed["id"]), "--override", "hashes are being cracked")
    assert say("widen", str(armed["id"]))[0] == 3
    assert say("widen", "99")[0] == 4
    assert say("erase", "99")[0] == 4
