"""`tocsin api-key`: with which a company's own programs ask at the gate."""

from __future__ import annotations

import typer

from tocsin.cli import output
from tocsin.cli.session import actor, estate, load
from tocsin.kernel import clock

app_ = typer.Typer(no_args_is_help=True, help="Keys with which your own log-in asks at the gate.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(app_, name="api-key", callback=load)


@app_.command()
def create(name: str) -> None:
    """Make a key and show it, this once: only its SHA-256 is kept."""
    from tocsin.credentials import actions

    with estate():
        key = actions.create_api_key(name, at=clock.now(), by=actor())
    output.emit({"name": name, "role": "gate", "key": key.reveal()})


@app_.command("list")
def list_() -> None:
    """Show all keys, without their secrets."""
    from tocsin.credentials import queries

    with estate():
        found = queries.api_keys()
    lines = [(k.name, k.role, clock.iso(k.created_at), k.created_by, clock.iso(k.revoked_at) if k.revoked_at else "stands") for k in found]
    output.emit(found, table=output.rows("API keys", ("name", "role", "made at", "by", "revoked at"), lines))


@app_.command()
def revoke(name: str) -> None:
    """End a key; gates stop taking it within half a second."""
    from tocsin.credentials import actions

    with estate():
        actions.revoke_api_key(name, at=clock.now(), by=actor())
    output.emit({"name": name, "revoked": True})
