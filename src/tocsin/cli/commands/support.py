"""`tocsin support`: how the desk stands, how well its classifier does, and a ticket for somebody who needs help."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated

import typer

from tocsin.cli import output
from tocsin.cli.session import actor, estate, load
from tocsin.kernel import clock

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
def ticket(case: int) -> None:
    """Make an address that leads the person of a case past the ordinary queue to a new password. It opens no account; shown this once."""
    from tocsin.credentials import actions
    from tocsin.credentials.types import TICKET_NONCE_BYTES
    from tocsin.support import queries

    with estate():
        queries.person_of(case, by=actor(), at=clock.now())
        link = actions.assisted_ticket(secrets.token_bytes(TICKET_NONCE_BYTES), at=clock.now(), by=actor())
    output.emit({"case": case, "link": link})


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
