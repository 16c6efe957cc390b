"""What a room's command needs before it calls a door: settings loaded, a database, and who is acting."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tocsin.kernel import config
from tocsin.kernel.errors import Refused


@contextmanager
def estate(*, database: bool = True) -> Iterator[config.Config]:
    """Open the estate for one command and give its configuration; `database=False` for what works without one.

    The database is TOCSIN_DATABASE_URL, or the embedded one while `tocsin up` or `tocsin demo` runs. Raises Refused if neither is there.
    """
    if database and not os.environ.get("TOCSIN_DATABASE_URL"):
        os.environ["TOCSIN_DATABASE_URL"] = _running_database(config.home_from_environment())
    os.environ.setdefault("TOCSIN_PROCESS", "operator")
    config.current.cache_clear()
    import django

    django.setup()
    yield config.current()


def actor() -> str:
    """Return who gives the command: TOCSIN_OPERATOR, else the name of the OS user."""
    return os.environ.get("TOCSIN_OPERATOR") or getpass.getuser()


def _running_database(home: Path) -> str:
    """Return the operator's connection string of the running estate, which its supervisor left beside the configuration."""
    try:
        return (home / "operator.dsn").read_text().strip()
    except FileNotFoundError:
        raise Refused(f"no estate runs in {home}: start one with `tocsin up` or `tocsin demo`, or set TOCSIN_DATABASE_URL") from None
