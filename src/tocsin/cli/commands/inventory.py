"""`tocsin inventory`: the data map, and what can be reached in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from tocsin.cli import output, session
from tocsin.cli.session import actor, estate
from tocsin.kernel import clock

app_ = typer.Typer(no_args_is_help=True, help="The map of systems, stores and who can reach what.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(app_, name="inventory", callback=session.load)


@app_.command()
def load(paths: list[Path]) -> None:
    """Load a data map (Fides YAML files or folders); refused as a whole if it has errors."""
    from tocsin.inventory import actions

    with estate():
        output.emit(actions.load_map(paths, at=clock.now(), by=actor()))


@app_.command()
def lint(paths: list[Path]) -> None:
    """Say everything that is wrong or doubtful in a data map; loads nothing and needs no database."""
    from tocsin.inventory import queries

    with estate(database=False):
        found = queries.lint(paths, on=clock.now().date())
    lines = [(f.severity, f.file, f.line or "", f.path, f.message) for f in found]
    output.emit(found, table=output.rows(f"{len(found)} finding(s)", ("", "file", "line", "where", "what"), lines))
    if any(f.severity == "error" for f in found):
        raise typer.Exit(2)


@app_.command()
def reach(host: Annotated[list[str], typer.Argument(help="The systems an intruder holds.")]) -> None:
    """Say which stores are reached from these hosts, by which path, and which controls kept the rest."""
    from tocsin.inventory import queries

    with estate():
        found = queries.reach(host)
    lines = [(Text("reached", style="red"), s.store, " → ".join(s.path)) for s in found.reached]
    lines += [
        (Text("cut, proved", style="green") if s.proved else Text("not reached"), s.store, ", ".join(g.control for g in s.cut)) for s in found.not_reached
    ]
    output.emit(found, table=output.rows("Reach", ("", "store", "path, or the controls that cut it"), lines))
