"""`tocsin incident`: declare, scope, show, timeline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tocsin.cli import output
from tocsin.cli.session import actor, estate, load
from tocsin.kernel import clock

app_ = typer.Typer(no_args_is_help=True, help="The incident: declare it, scope it, follow it.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(app_, name="incident", callback=load)


@app_.command()
def declare(file: Path, approval: Annotated[int | None, typer.Option(help="The approval that two people have signed.")] = None) -> None:
    """Declare an incident from a TOML file. The first call asks for the approval and exits 3; sign it, then give the command with it."""
    from tocsin.incidents import actions

    with estate():
        declaration = actions.read_declaration(file, now=clock.now())
        output.emit({"id": actions.declare(declaration, approval=approval, at=clock.now(), by=actor())})


@app_.command()
def scope(id: int) -> None:
    """Compute and freeze whose what was reachable."""
    from tocsin.incidents import actions
    from tocsin.inventory.types import codes_of

    with estate():
        found = actions.scope(id, at=clock.now(), by=actor())
    cohorts = [
        {"jurisdiction": c.jurisdiction, "elements": codes_of(c.clear), "encrypted": codes_of(c.sealed), "state": c.state, "count": c.count}
        for c in found.cohorts
    ]
    lines = [(c["jurisdiction"], ", ".join(map(str, c["elements"])), c["state"], c["count"]) for c in cohorts]  # type: ignore[call-overload]
    document = {"exposure_id": found.id, "version": found.version, "people": found.people, "cohorts": cohorts}
    output.emit(document, table=output.rows(f"{found.people:,} people", ("home", "elements in clear", "state", "people"), lines))


@app_.command()
def show(id: int) -> None:
    """Show an incident."""
    from tocsin.incidents import queries

    with estate():
        output.emit(queries.incident(id))


@app_.command()
def timeline(id: int) -> None:
    """Show who did what when, oldest first."""
    from tocsin.incidents import queries

    with estate():
        found = queries.timeline(id)
    lines = [(clock.iso(e.at), e.type.label, e.actor, e.id) for e in found]
    output.emit(found, table=output.rows("Timeline", ("at", "what", "who", "entry"), lines))
