"""Shared fixtures: an estate's home with keys, per test."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tocsin.kernel import config
from tocsin.kernel.sealing import box, keyring

WANTS_A_PROGRAM = re.compile(r"apt(-get)? install")


@pytest.fixture
def estate(tmp_path: Path) -> Iterator[Path]:
    """Give the home of a fresh demo estate with all its keys; this process may hold any of them."""
    before = {name: os.environ.get(name) for name in ("TOCSIN_HOME", "TOCSIN_PROCESS")}
    os.environ["TOCSIN_HOME"], os.environ["TOCSIN_PROCESS"] = str(tmp_path), "owner"
    (tmp_path / "tocsin.toml").write_text('[estate]\nkind = "demo"\n[mail]\npreflight = false\n')
    forget()
    keyring.create_all()
    yield tmp_path
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    forget()


@pytest.fixture(autouse=True)
def queue_left_empty(request: pytest.FixtureRequest) -> Iterator[None]:
    """Empty the queue behind a test with real commits: its tables are not Django's to flush, and the next test must not meet its jobs."""
    marker = request.node.get_closest_marker("django_db")
    commits = "transactional_db" in request.fixturenames or bool(marker and marker.kwargs.get("transaction"))
    if commits:
        request.getfixturevalue("transactional_db")
    yield
    if commits:
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM procrastinate_jobs")


def forget() -> None:
    """Drop what the kernel remembers of the last estate."""
    for cached in (config.current, keyring.key, keyring._service, box._aead):
        cached.cache_clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where everything was installed (TOCSIN_NO_SKIPS=1), a test that skips for want of a program has failed."""
    report = yield
    if report.skipped and os.environ.get("TOCSIN_NO_SKIPS") == "1" and WANTS_A_PROGRAM.search(str(report.longrepr)):
        report.outcome = "failed"
    return report
