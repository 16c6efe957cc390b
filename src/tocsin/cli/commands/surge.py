"""`tocsin surge`: how many will write, call and reset, and how long they would wait."""

from __future__ import annotations

from pathlib import Path

import typer

from tocsin.cli import output
from tocsin.cli.session import estate, load

app_ = typer.Typer(no_args_is_help=True, help="Forecast and steering of the surge.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(app_, name="surge", callback=load)


@app_.command()
def forecast(file: Path) -> None:
    """Forecast contacts and waits from a TOML file; a scenario serves as well."""
    from tocsin.surge import params, queries

    with estate(database=False):
        output.emit(queries.forecast(params.load(file)))
