"""`tocsin connector`: the company's own identity systems and session stores."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tocsin.cli import output
from tocsin.cli.session import actor, estate, load
from tocsin.kernel import clock
from tocsin.kernel.private import Private

if TYPE_CHECKING:
    from tocsin.credentials.types import ConnectorInfo

app_ = typer.Typer(no_args_is_help=True, help="Identity systems and session stores of the company.")
Approval = Annotated[int | None, typer.Option(help="The approval that two people have signed.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(app_, name="connector", callback=load)


@app_.command("list")
def list_() -> None:
    """Show every connector of tocsin.toml as it was last seen."""
    from tocsin.credentials import queries

    with estate():
        found = queries.connectors()
    lines = [
        (c.name, c.kind or c.adapter, c.state, c.subjects, f"{c.canaries['refused']}/{c.canaries['tried']}", c.comparison) for c in found
    ]
    table = output.rows("Connectors", ("name", "kind", "state", "subjects", "canaries refused", "time to revoke"), lines)
    output.emit([_shown(c) for c in found], table=table)


@app_.command()
def secret(name: str) -> None:
    """Seal what a connector signs in with: typed twice, or read from standard input. Nothing on the command line, nothing in the file."""
    from tocsin.credentials import actions

    with estate():
        text = typer.prompt("Secret", hide_input=True, confirmation_prompt=True) if sys.stdin.isatty() else sys.stdin.read().rstrip("\n")
        actions.set_secret(name, Private(text), at=clock.now(), by=actor())
    output.emit({"name": name, "sealed": True})


@app_.command()
def probe(name: str) -> None:
    """Dry run: look at the target, count, and say all that stands in the way. Changes nothing there."""
    from tocsin.credentials import actions

    with estate():
        _emit(actions.probe_connector(name, at=clock.now(), by=actor()))


@app_.command()
def arm(name: str, approval: Approval = None) -> None:
    """Prepare a target so that its gate is one switch. The first call asks for the approval and exits 3."""
    from tocsin.credentials import actions

    with estate():
        _emit(actions.arm_connector(name, approval=approval, at=clock.now(), by=actor()))


@app_.command()
def gate(name: str) -> None:
    """Let the gate of an armed target fall, and present the canaries. `credentials commit` does it for all of a population."""
    from tocsin.credentials import actions

    with estate():
        _emit(actions.gate_connector(name, at=clock.now(), by=actor()))


@app_.command()
def verify(name: str) -> None:
    """Present every canary's every secret at the target's own door. Exits 3 if one survives, or if a new password is refused."""
    from tocsin.credentials import actions

    with estate():
        _emit(actions.verify_connector(name, at=clock.now(), by=actor()))


@app_.command()
def drain(name: str) -> None:
    """Begin to revoke one by one behind the gate; the worker goes on. From then on there is no way back."""
    from tocsin.credentials import actions

    with estate():
        _emit(actions.drain_connector(name, at=clock.now(), by=actor()))


@app_.command()
def abort(name: str, approval: Approval = None) -> None:
    """Lead a target back to before it was armed. Behind a gate the first call asks for an approval and exits 3."""
    from tocsin.credentials import actions

    with estate():
        _emit(actions.abort_connector(name, approval=approval, at=clock.now(), by=actor()))


@app_.command()
def status(name: str) -> None:
    """Ask the target itself where it stands."""
    from tocsin.credentials import queries

    with estate():
        _emit(queries.connector(name))


@app_.command()
def enrol(population: str = "customers") -> None:
    """Make an account for every customer that has none: for a company without an export of its hashes."""
    from tocsin.credentials import actions

    with estate():
        output.emit({"population": population, "enrolled": actions.enrol_accounts(population, at=clock.now(), by=actor())})


def _shown(found: ConnectorInfo) -> dict[str, Any]:
    return {**output.plain(found), "comparison": found.comparison}


def _emit(found: ConnectorInfo) -> None:
    """Show a connector; a gate that does not hold ends the command with exit code 3."""
    output.emit(_shown(found))
    if found.red:
        raise typer.Exit(3)
