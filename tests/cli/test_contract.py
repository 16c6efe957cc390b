"""The command line's contract: one JSON document on standard output, exit codes by kind of error, all faults at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def tocsin(*arguments: str, home: Path) -> tuple[int, Any, str]:
    """Run a command in a process of its own without a database; return exit code, JSON and standard error."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("TOCSIN_")} | {"PYTHONPATH": str(ROOT / "src"), "TOCSIN_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "tocsin.cli", *arguments, "--json"], env=env, capture_output=True, text=True, cwd=ROOT
    )
    return done.returncode, json.loads(done.stdout), done.stderr


FACTS: dict[str, Any] = {
    "events": {"discovery": "2026-03-02", "determination": "2026-03-09"},
    "entity": ["any_business"],
    "elements": ["name", "ssn", "postal_address"],
    "encrypted": [],
    "key_taken": False,
    "residents": {"US-TX": 9000},
}


def test_duties_from_facts_need_no_estate(tmp_path: Path) -> None:
    file = tmp_path / "FACTS.json"
    file.write_text(json.dumps(FACTS))
    code, answer, _ = tocsin("duties", "assess", "--facts", str(file), home=tmp_path)
    assert code == 0
    assert {"duties", "not_triggered", "questions", "order", "data_version"} <= answer.keys()
    texas = {d["duty"]: d for d in answer["duties"] if d["law"] == "us-tx"}
    assert texas["attorney_general"]["due_date"] == "2026-04-08"
    assert texas["individuals"]["due_at"] == "2026-05-09T04:59:59Z"
    assert len({d["law"] for d in answer["duties"]} | {n["law"] for n in answer["not_triggered"]}) == 88


def test_all_faults_of_a_file_at_once(tmp_path: Path) -> None:
    file = tmp_path / "FACTS.json"
    file.write_text(json.dumps({**FACTS, "elements": ["name", "nonsense"], "residents": {"XX-??": 1}, "surprise": 1}))
    code, answer, _ = tocsin("duties", "assess", "--facts", str(file), home=tmp_path)
    assert code == 2
    assert answer["error"]["kind"] == "bad_input"
    assert {"message", "field", "got", "wanted"} <= answer["error"].keys()
    assert len(answer["faults"]) >= 2


def test_forecast_has_its_keys_and_knows_the_arithmetic(tmp_path: Path) -> None:
    code, answer, _ = tocsin("surge", "forecast", "scenarios/zappos-2012.toml", home=tmp_path)
    assert code == 0
    assert answer["calls"] == 1_200_000
    assert {"contacts", "backlog_peak", "max_wait_s", "phone", "seconds"} <= answer.keys()
    assert {"p10", "p50", "p90"} <= answer["contacts"].keys()
    assert {"offered", "served", "abandoned", "blocked"} <= answer["phone"].keys()


def test_lint_says_where(tmp_path: Path) -> None:
    code, answer, _ = tocsin("inventory", "lint", "scenarios/zappos-2012/datamap.yaml", home=tmp_path)
    assert (code, answer) == (0, [])
    bad = tmp_path / "map.yaml"
    bad.write_text("system:\n- fides_key: a\n  meta: {tocsin: {kind: moon, surprise: 1}}\n")
    code, answer, _ = tocsin("inventory", "lint", str(bad), home=tmp_path)
    assert code == 2
    assert len([f for f in answer if f["severity"] == "error"]) >= 2
    assert all(f["file"] and f["path"] and f["message"] for f in answer)


def test_a_mail_is_classified(tmp_path: Path) -> None:
    mail = tmp_path / "m.eml"
    mail.write_bytes(b"From: Ada <ada@shop.example>\r\nTo: help@shop.example\r\nSubject: hello\r\n\r\nIs my card safe?\r\n")
    code, answer, _ = tocsin("mail", "classify", str(mail), home=tmp_path)
    assert code == 0
    assert answer == [{"file": str(mail), "kind": "message", "recipients": []}]


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (("duties", "assess"), 2, "bad_input"),
        (("duties", "assess", "--facts", "/nowhere.json"), 2, "bad_input"),
        (("nonsense",), 2, "bad_input"),
        (("demo", "--customers", "many"), 2, "bad_input"),
        (("demo", "--scenario", "nowhere"), 4, "not_found"),
        (("evidence", "verify"), 4, "not_found"),
        (("approval", "list"), 3, "refused"),
        (("mail", "classify", "/nowhere.eml"), 2, "bad_input"),
        (("surge", "forecast", "/nowhere.toml"), 4, "not_found"),
        (("drill", "list", "--home"), 2, "bad_input"),
        (("credentials", "end-sessions"), 2, "bad_input"),
        (("credentials", "end-sessions", "--all"), 3, "refused"),
        (("credentials", "start-reset"), 2, "bad_input"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, tuple) else str(v),
)
def test_an_error_is_one_document_and_its_exit_code(tmp_path: Path, arguments: tuple[str, ...], code: int, kind: str) -> None:
    got, answer, err = tocsin(*arguments, home=tmp_path)
    assert (got, answer["error"]["kind"]) == (code, kind), answer
    assert "Traceback" not in err


def test_configuration_is_refused_with_every_fault(tmp_path: Path) -> None:
    (tmp_path / "tocsin.toml").write_text('[web]\nconsole_port = 0\n[estate]\nkind = "toy"\n[nonsense]\n')
    code, answer, _ = tocsin("up", home=tmp_path)
    assert code == 2
    assert {f["field"] for f in answer["faults"]} == {"web.console_port", "estate.kind", "nonsense"}
