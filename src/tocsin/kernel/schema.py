"""Bring a database to the present schema: migrate as its owner, then make the process roles and apply the rooms' grants."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from django.core.management import call_command
from django.db import connection, transaction
from psycopg import sql as pg

ROLES = ("operator", "console", "public", "intake", "worker", "sequencer", "api")
SRC = Path(__file__).parent.parent


def exists() -> bool:
    """Tell whether the database holds an estate already."""
    return "evidence_event" in connection.introspection.table_names()


def migrate() -> None:
    """Apply every migration and every grant. Only the owner's connection can. Safe to repeat after a crash."""
    call_command("migrate", verbosity=0, interactive=False)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute((SRC / "kernel" / "roles.sql").read_text())
        for file in sorted(SRC.glob("*/sql/grants.sql")):
            cursor.execute(file.read_text())


def set_passwords(owner_dsn: str, *, kept: Mapping[str, str]) -> dict[str, str]:
    """Give each process role its kept password, or a fresh one, and return the passwords. Call as owner, before the processes start."""
    passwords = {role: kept.get(role) or secrets.token_urlsafe(24) for role in ROLES}
    with transaction.atomic(), connection.cursor() as cursor:
        for role, password in passwords.items():
            cursor.execute(pg.SQL("ALTER ROLE {} PASSWORD {}").format(pg.Identifier(f"tocsin_{role}"), pg.Literal(password)).as_string())
    return passwords


def dsn(owner_dsn: str, role: str, password: str) -> str:
    """Return the connection string of a process role on the owner's server."""
    parts = urlsplit(owner_dsn)
    return urlunsplit(parts._replace(netloc=f"tocsin_{role}:{quote(password)}@{parts.hostname}:{parts.port or 5432}"))
