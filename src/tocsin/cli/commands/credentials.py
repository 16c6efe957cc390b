"""`tocsin credentials`: end every older credential in one commit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tocsin.cli import output
from tocsin.cli.session import actor, estate, load
from tocsin.kernel import clock

app_ = typer.Typer(no_args_is_help=True, help="Passwords, sessions, reset links: end every older one.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(app_, name="credentials", callback=load)


@app_.command("import")
def import_(file: Path) -> None:
    """Import the password hashes of a customers file, after `subjects import`."""
    from tocsin.credentials import actions

    with estate(), output.meter("hashes") as progress:
        report = actions.import_hashes(file, at=clock.now(), by=actor(), progress=progress)
    output.emit(report)


@app_.command()
def arm(
    incident: Annotated[int, typer.Option(help="The incident that makes it necessary.")],
    population: str = "customers",
) -> None:
    """Dry run: count what a cutover would end. Nothing ends yet."""
    from tocsin.credentials import actions

    with estate():
        output.emit(actions.arm(population=population, incident=incident, at=clock.now(), by=actor()))


@app_.command()
def commit(cutover: int, approval: Annotated[int | None, typer.Option(help="The approval that two people have signed.")] = None) -> None:
    """End every older credential of an armed cutover in one commit. The first call asks for the approval and exits 3."""
    from tocsin.credentials import actions

    with estate():
        output.emit(actions.commit(cutover, approval=approval, at=clock.now(), by=actor()))


@app_.command()
def abort(cutover: int, approval: Annotated[int | None, typer.Option(help="Needed to take back what was committed.")] = None) -> None:
    """Withdraw an armed cutover, or take a committed one back before old hashes are erased."""
    from tocsin.credentials import actions

    with estate():
        output.emit(actions.abort(cutover, approval=approval, at=clock.now(), by=actor()))


@app_.command()
def status(population: str = "customers") -> None:
    """Show how many passwords live and how many are dead, and whether the last cutover is sealed."""
    from tocsin.credentials import queries

    with estate():
        found = queries.status(population)
    canaries = {"tried": found.canaries_tried, "refused": found.canaries_refused}
    output.emit({"population": found.population, "state": found.state, "epoch": found.epoch, "live": found.live, "dead": found.dead,
                 "sealed": found.sealed, "nodes": found.nodes, "canaries": canaries})  # fmt: skip


@app_.command()
def letters(out: Annotated[Path, typer.Option(help="A new CSV file for the print house; it holds codes that set passwords.")]) -> None:
    """Print the letters with codes for people who lost their mailbox: each once."""
    from tocsin.credentials import actions

    with estate():
        output.emit(actions.print_letters(out, at=clock.now(), by=actor()))
