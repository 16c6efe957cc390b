"""The rules of docs/explanation/design.md that imports alone cannot show."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "tocsin"
ROOMS = ("evidence", "staff", "inventory", "mail", "subjects", "incidents", "obligations", "credentials", "notices", "support", "surge")
# The three edges that catch everything, each of which logs and ends that unit of work; the third is the job runner's sweeper.
CATCH_ALL = {"cli/main.py", "web/errors.py", "kernel/jobs.py"}


def python_files() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SRC.rglob("*.py")):
        if "migrations" not in path.parts:
            yield str(path.relative_to(SRC)), ast.parse(path.read_text())


def test_every_module_and_public_name_says_what_it_gives() -> None:
    bare = []
    for name, tree in python_files():
        if not ast.get_docstring(tree):
            bare.append(name)
        bare += [
            f"{name}:{node.lineno} {node.name}"
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)
            and not node.name.startswith("_")
            and node.name != "Meta"
            and node in _public_nodes(tree)
            and not ast.get_docstring(node)
        ]
    assert bare == []


def _public_nodes(tree: ast.Module) -> list[ast.stmt]:
    """Return the definitions a reader meets: those of the module, and the methods of its public classes."""
    nodes = list(tree.body)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            nodes += node.body
    return nodes


def test_only_three_places_catch_everything() -> None:
    found = set()
    for name, tree in python_files():
        for node in ast.walk(tree):
            if isinstance(node, ast.ExceptHandler) and (
                node.type is None or "Exception" in {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)}
            ):
                found.add(name)
    assert found <= CATCH_ALL


def test_no_drawer_for_everything() -> None:
    assert [p for p in SRC.rglob("*.py") if p.stem in {"utils", "common", "helpers", "misc", "manager", "service"}] == []


def test_doors_do_not_leak_rows() -> None:
    """A query or action returns values, never model instances or querysets."""
    leaks = []
    for room in ROOMS:
        models = SRC / room / "models.py"
        if not models.exists():
            continue
        names = {n.name for n in ast.parse(models.read_text()).body if isinstance(n, ast.ClassDef)} | {"QuerySet"}
        for door in ("actions.py", "queries.py"):
            path = SRC / room / door
            for node in ast.parse(path.read_text()).body if path.exists() else []:
                if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and node.returns is not None:
                    words = set(re.findall(r"\w+", ast.unparse(node.returns)))
                    leaks += [f"{room}/{door}:{node.name} -> {w}" for w in words & names]
    assert leaks == []


WRITES = re.compile(r"\b(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM|TRUNCATE(?:\s+TABLE)?|COPY|MERGE\s+INTO)\s+(?:ONLY\s+)?([a-z_]+)", re.I)
# SQL's own words behind UPDATE (FOR UPDATE SKIP LOCKED, ON CONFLICT DO UPDATE SET, GRANT UPDATE ON), and staging tables of one session.
NOT_TABLES = {"set", "skip", "of", "nowait", "on", "or"}


@pytest.mark.parametrize("room", ROOMS)
def test_sql_writes_only_its_own_rooms_tables(room: str) -> None:
    foreign = []
    files = [p for p in (SRC / room).rglob("*") if p.suffix in {".sql", ".py"} and "migrations" not in p.parts and p.name != "grants.sql"]
    for path in files:
        text = path.read_text()
        if path.suffix == ".py":
            text = "\n".join(
                n.value
                for n in ast.walk(ast.parse(text))
                if isinstance(n, ast.Constant) and isinstance(n.value, str) and "SELECT" in n.value.upper()
            )
        text = re.sub(r"--[^\n]*", "", text)
        foreign += [
            f"{path.name}: {t}"
            for t in WRITES.findall(text)
            if t.lower() not in NOT_TABLES
            and not t.startswith((f"{room}_", "pg_temp"))
            and any(t.startswith(f"{r}_") for r in (*ROOMS, "procrastinate"))
        ]
    assert foreign == []


@pytest.mark.parametrize("room", ROOMS)
def test_every_sql_file_opens_with_its_purpose(room: str) -> None:
    assert [p.name for p in (SRC / room / "sql").glob("*.sql") if not p.read_text().lstrip().startswith("--")] == []


@pytest.mark.django_db
def test_every_table_names_who_may_touch_it() -> None:
    from django.apps import apps

    missing = []
    for model in apps.get_models():
        room = model._meta.app_label
        if room in ROOMS and not re.search(rf"\b{model._meta.db_table}\b", (SRC / room / "sql" / "grants.sql").read_text()):
            missing.append(model._meta.db_table)
        if room in ROOMS:
            assert model._meta.db_table.startswith(f"{room}_")
    assert missing == []


@pytest.mark.django_db
def test_no_process_role_owns_the_house() -> None:
    """No role is superuser or reads files, and none may change what was recorded."""
    from django.db import connection

    from tocsin.kernel import schema

    schema.migrate()
    with connection.cursor() as cursor:
        for role in schema.ROLES:
            cursor.execute("SELECT rolsuper OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = %s", [f"tocsin_{role}"])
            assert cursor.fetchone() == (False,)
            for power in ("pg_execute_server_program", "pg_read_server_files", "pg_write_server_files"):
                cursor.execute("SELECT pg_has_role(%s, %s, 'MEMBER')", [f"tocsin_{role}", power])
                assert cursor.fetchone() == (False,)
            for table in ("evidence_event", "evidence_batch", "evidence_checkpoint"):
                cursor.execute(
                    "SELECT has_table_privilege(%s, %s, 'UPDATE') OR has_table_privilege(%s, %s, 'DELETE')", [f"tocsin_{role}", table] * 2
                )
                assert cursor.fetchone() == (False,)


def test_every_adapter_stands_in_a_port_suite() -> None:
    suites = "\n".join(p.read_text() for p in (ROOT / "tests" / "ports").glob("*.py"))
    adapters = [p for p in SRC.rglob("adapters/*.py") if not p.name.startswith("_")]  # _parts.py: what adapters share
    assert adapters
    missing = [str(p.relative_to(SRC)) for p in adapters if p.stem not in suites]
    assert missing == []


def test_the_lock_is_hashed_and_names_no_host() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    assert not re.search(r"^(--index-url|--extra-index-url|--find-links)", lock, re.M)
    pins = re.findall(r"^([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==\S+[^\n]*\\\n(?:[^\n]*--hash=sha256:)", lock, re.M)
    assert len(pins) == len(re.findall(r"^[A-Za-z0-9_.-]+(?:\[[^\]]*\])?==", lock, re.M)) > 50


def test_uv_lock_is_not_committed() -> None:
    assert (
        not (ROOT / "uv.lock").exists()
        or subprocess.run(["git", "ls-files", "uv.lock"], cwd=ROOT, capture_output=True, text=True).stdout == ""
    )
    assert "uv.lock" in (ROOT / ".gitignore").read_text()


def test_modules_have_names_of_their_own() -> None:
    """`python -m tocsin` does not exist; settings and sites live where the floors know them."""
    assert not (SRC / "__main__.py").exists()
    assert {p.name for p in SRC.iterdir() if p.is_dir() and p.name != "__pycache__"} == {*ROOMS, "kernel", "drills", "web", "cli"}


def test_tests_never_meet_the_database_of_an_estate() -> None:
    """A shell that points at a live estate must not become the test database: the plugin overwrites the variable."""
    import os

    assert os.environ["TOCSIN_DATABASE_URL"] == os.environ["TOCSIN_TEST_DATABASE_URL"]
