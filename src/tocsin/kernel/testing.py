"""pytest plugin: one throwaway PostgreSQL for the run, up before pytest-django reads the settings.

Named in pyproject.toml by `addopts = "-p tocsin.kernel.testing"`; a conftest.py would be
too late. Nothing imports it. TOCSIN_DATABASE_URL is overwritten on purpose: tests must never meet the database of an estate.
To run against another server set TOCSIN_TEST_DATABASE_URL; xdist's workers inherit it from the controller.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path

import pytest

from .localpg import LocalPg

PREFIX = "tocsin-pg-"
STALE_S = 3600  # younger folders may belong to a run that has not taken its lock yet

_pg: LocalPg | None = None


def _sweep(base: Path) -> None:
    """Remove the throwaway homes of runs that were killed: ours, old, and locked by nobody."""
    for old in base.glob(f"{PREFIX}*"):
        try:
            stat = old.lstat()
            if old.is_symlink() or stat.st_uid != os.geteuid() or time.time() - stat.st_mtime < STALE_S:
                continue
            with (old / "lock").open("a+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(old, ignore_errors=True)
        except OSError:
            continue


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Start the server and point the settings at it."""
    global _pg
    if "TOCSIN_TEST_DATABASE_URL" not in os.environ:
        base = Path(tempfile.gettempdir())
        _sweep(base)
        _pg = LocalPg(base / f"{PREFIX}{secrets.token_hex(8)}", throwaway=True)
        os.environ["TOCSIN_TEST_DATABASE_URL"] = _pg.start()
    os.environ["TOCSIN_DATABASE_URL"] = os.environ["TOCSIN_TEST_DATABASE_URL"]


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Stop the server and remove its folder."""
    if _pg:
        _pg.stop()
