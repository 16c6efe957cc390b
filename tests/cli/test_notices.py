"""A notice on the command line, from the draft in three languages to the pages on the site: names, keys and exit codes of the contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.notices.conftest import office, shop  # noqa: F401
from tests.notices.test_words import WORDS, Person, register
from tocsin.cli.main import main

Say = Any


@pytest.fixture
def say(shop: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Say:  # noqa: F811
    monkeypatch.setenv("TOCSIN_OPERATOR", "ada")

    def run(*argv: str) -> tuple[int, Any]:
        capsys.readouterr()
        code = main(["--json", *argv])
        return code, json.loads(capsys.readouterr().out)

    return run


def test_from_the_draft_to_the_site(shop: Path, say: Say, tmp_path: Path) -> None:  # noqa: F811
    incident = register([Person("a@gmail.example", "en"), Person("b@yahoo.example", "es"), Person("c@yahoo.example")])
    key = {name: str(next(shop.rglob(f"{name}.key"))) for name in ("ada", "bob", "carmen")}
    code, drafted = say("notice", "draft", str(WORDS), "--incident", str(incident))
    assert code == 0
    notice = str(drafted["notice"])
    assert say("notice", "check", notice)[0] == 0
    assert [x["locale"] for x in say("notice", "languages", notice)[1]] == ["en", "es", "fr"]
    code, refused = say("notice", "start", notice)
    assert (code, "translation into es, fr" in refused["error"]["message"]) == (3, True)
    for language in ("es", "fr"):
        code, asked = say("notice", "review", notice, "--language", language, "--reviewer", "carmen")
        assert code == 3
        assert say("approval", "sign", str(asked["approval"]), "--key", key["carmen"])[1]["needs"] == 1
        code, done = say("notice", "review", notice, "--language", language, "--reviewer", "carmen", "--approval", str(asked["approval"]))
        assert (code, done["reviewed_by"]) == (0, "carmen")

    assert say("notice", "preview", notice, "--person", "C00001")[1][0]["variant"] == "default.es"
    code, cohort = say("notice", "preview", notice, "--jurisdiction", "CA-QC")
    assert (code, cohort[0]["variant"], "{{" in cohort[0]["text"]) == (0, "default.fr.any", False)
    code, wrong = say("notice", "preview", notice, "--person", "C00001", "--language", "es")
    assert (code, wrong["faults"][0]["field"]) == (2, "--person")
    assert say("notice", "preview", notice, "--person", "nobody")[0] == 4
    code, wrong = say("notice", "test-send", notice, "--to", "nowhere", "--to", "x@", "--variant", "nl")
    assert (code, len(wrong["faults"])) == (2, 3)
    assert [t["state"] for t in say("notice", "test-send", notice, "--to", "team@seed.example", "--variant", "es")[1]] == ["waiting"]
    assert len(say("notice", "tests", notice)[1]) == 1

    code, counts = say("notice", "start", notice, "--dry-run")
    assert code == 0
    assert counts["by_language"] == {"en": 2, "es": 1}
    assert (counts["by_provider"], counts["letters"], counts["language_unknown"]) == ({"yahoo.com": 2, "gmail.com": 1}, 0, 1)
    assert say("notice", "approve", notice, "--key", key["ada"])[0] == 3  # nobody asks yet
    code, asked = say("notice", "start", notice)
    assert (code, asked["approval"] > 0) == (3, True)
    assert say("notice", "site", notice, "--out", str(tmp_path / "early"))[0] == 3
    for name in ("ada", "bob"):
        code, approval = say("notice", "approve", notice, "--key", key[name])
        assert (code, approval["id"]) == (0, asked["approval"])
    assert approval["granted"]
    code, started = say("notice", "start", notice, "--approval", str(asked["approval"]))
    assert (code, set(started)) == (0, {"mailing", "recipients", "locked"})

    code, written = say("notice", "site", notice, "--out", str(tmp_path / "www"))
    assert (code, set(written["pages"])) == (0, {"index.html", "es.html", "fr.html"})
    code, seen = say("notice", "site", notice, "--verify", "http://127.0.0.1:9/notice")
    assert (code, [x["ok"] for x in seen]) == (6, [False] * 3)
    assert say("notice", "site", notice)[1][0]["failed"] == 1
    assert set(say("notice", "statements", notice, "--out", str(tmp_path / "press"))[1]) >= {"press.en.txt", "staff.en.html"}
    assert say("notice", "outdated", str(incident)) == (0, [])
