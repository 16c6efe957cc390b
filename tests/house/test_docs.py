"""The documentation says what is so: generated pages are fresh, links lead somewhere, commands exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import performance

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "clients").rglob("*.md"))]


def test_the_performance_page_is_what_the_results_give() -> None:
    assert performance.PAGE.read_text() == performance.page()


@pytest.mark.parametrize("document", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text())
    assert [t for t in targets if "://" not in t and not (document.parent / t).exists()] == []


def test_commands_in_the_docs_exist() -> None:
    """Every `./run …` and `tocsin …` in the docs names a command whose help can be shown."""
    spoken = {m for page in PAGES for m in re.findall(r"`(?:\./run|tocsin) ([a-z]+(?:-[a-z]+)*(?: [a-z]+(?:-[a-z]+)*)?)", page.read_text())}
    groups = {
        "operator",
        "approval",
        "api-key",
        "subjects",
        "inventory",
        "incident",
        "duties",
        "credentials",
        "connector",
        "mail",
        "notice",
        "support",
        "surge",
        "evidence",
        "drill",
    }
    wrong = []
    for words in sorted(spoken):
        first, _, second = words.partition(" ")
        if first in {"test", "check", "bench", "lock", "vault"}:
            continue
        command = [first, second] if first in groups and second else [first]
        done = subprocess.run([sys.executable, "-P", "-m", "tocsin.cli", *command, "--help"], capture_output=True, text=True, cwd=ROOT,
                              env={"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"})  # fmt: skip
        if done.returncode:
            wrong.append(words)
    assert wrong == []
