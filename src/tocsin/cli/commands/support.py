"""`tocsin support`: how the desk stands, and how well its classifier does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tocsin.cli import output
from tocsin.cli.session import estate, load

app_ = typer.Typer(no_args_is_help=True, help="The desk.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(app_, name="support", callback=load)


@app_.command()
def status() -> None:
    """Show how many messages are open, urgent and answered."""
    from tocsin.support import queries

    with estate():
        output.emit(queries.status())


@app_.command()
def evaluate(
    train: Annotated[Path, typer.Option(help="CSV with the columns text,label.")],
    test: Annotated[Path, typer.Option(help="CSV with the columns text,label.")],
    shots: Annotated[int, typer.Option(min=0, help="Examples per label; 0 means all.")] = 0,
    seed: int = 1,
) -> None:
    """Train the classifier on one file and measure it on another."""
    from tocsin.support import queries

    with estate(database=False):
        output.emit(queries.evaluate(train, test, shots=shots or None, seed=seed))
