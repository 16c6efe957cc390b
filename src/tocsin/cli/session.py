"""What a room's command needs before it calls a door: settings loaded, a database, and who is acting."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tocsin.kernel import config
from tocsin.kernel.errors import Refused


def load() -> None:
    """Load the rooms, before a command imports one: with the database of TOCSIN_DATABASE_URL, or of the estate that runs in the home."""
    if not os.environ.get("TOCSIN_DATABASE_URL"):
        with suppress(FileNotFoundError):
            os.environ["TOCSIN_DATABASE_URL"] = (config.home_from_environment() / "operator.dsn").read_text().strip()
    os.environ.setdefault("TOCSIN_PROCESS", "operator")
    config.current.cache_clear()
    import django

    django.setup()


@contextmanager
def estate(*, database: bool = True) -> Iterator[config.Config]:
    """Give the configuration to one command; `database=False` for what works without one.

    Raises Refused if a database is needed and neither a server is named nor an estate runs in the home.
    """
    current = config.current()
    if database and not current.database_url:
        raise Refused(f"no estate runs in {current.home}: start one with `tocsin up` or `tocsin demo`, or set TOCSIN_DATABASE_URL")
    yield current


def actor() -> str:
    """Return who gives the command: TOCSIN_OPERATOR, else the name of the OS user."""
    return os.environ.get("TOCSIN_OPERATOR") or getpass.getuser()
