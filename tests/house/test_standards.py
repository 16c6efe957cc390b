"""The 53 rules for ending and resetting credentials each have a test of their own that bears the rule's number."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parent.parent
RULES = range(1, 54)
NAMED = re.compile(r"test_item_(\d\d)_")


def _asserts(node: ast.AST) -> bool:
    called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
    return isinstance(node, ast.Assert | ast.With) or called.rpartition(".")[2].startswith(("assert", "walk"))


def test_every_rule_has_a_test_that_bears_its_number() -> None:
    """Sources of the rules: OWASP ASVS 5.0, NIST SP 800-63B-4, OWASP's Forgot Password, Authentication and Password Storage Cheat Sheets."""
    found: Counter[int] = Counter()
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and (match := NAMED.match(node.name)):
                assert any(_asserts(n) for n in ast.walk(node)), f"{path.name}: {node.name} asserts nothing"
                found[int(match[1])] += 1
    assert sorted(found) == list(RULES), f"without a test: {sorted(set(RULES) - set(found))}"
