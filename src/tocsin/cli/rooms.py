"""The rooms' commands: each reads its arguments, makes one call through a door, and says what came of it."""

from __future__ import annotations

import typer

from .commands import (
    approvals,
    connectors,
    credentials,
    duties,
    evidence,
    incidents,
    inventory,
    keys,
    mail,
    notices,
    subjects,
    support,
    surge,
)

GROUPS = (approvals, subjects, inventory, incidents, duties, credentials, connectors, keys, mail, notices, support, surge, evidence)


def register(app: typer.Typer) -> None:
    """Add the commands of every room."""
    for group in GROUPS:
        group.register(app)
