"""`tocsin operator` and `tocsin approval`: the people of the command line, and their signatures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tocsin.cli import output
from tocsin.cli.session import actor, estate, load
from tocsin.kernel import clock
from tocsin.kernel.private import Private
from tocsin.staff.types import ROLES

operator = typer.Typer(no_args_is_help=True, help="The people who may act.")
approval = typer.Typer(no_args_is_help=True, help="Acts that need two people.")


def register(app: typer.Typer) -> None:
    """Add both groups."""
    app.add_typer(operator, name="operator", callback=load)
    app.add_typer(approval, name="approval", callback=load)


@operator.command("add")
def add(
    name: str,
    role: Annotated[list[str], typer.Option(help=f"A role; may be given several times: {', '.join(ROLES)}.")],
    public_key: Annotated[str, typer.Option(help="Hex of an Ed25519 key kept elsewhere; without it a key pair is made.")] = "",
    password: Annotated[bool, typer.Option("--password", help="Ask for a password for the console.")] = False,
) -> None:
    """Enrol an operator."""
    from tocsin.kernel.errors import BadInput
    from tocsin.staff import actions

    try:
        key = bytes.fromhex(public_key) if public_key else None
    except ValueError:
        raise BadInput.of("--public-key", public_key, "64 hex digits") from None
    secret = Private(typer.prompt("Password", hide_input=True, confirmation_prompt=True)) if password else None
    with estate():
        file = actions.add_operator(name=name, roles=role, at=clock.now(), by=actor(), password=secret, public_key=key)
    output.emit({"name": name, "roles": role, "key_file": str(file) if file else None})


@approval.command("list")
def list_(all: Annotated[bool, typer.Option("--all", help="Used ones too.")] = False) -> None:
    """Show what waits for signatures."""
    from tocsin.staff import queries

    with estate():
        found = queries.approvals(open_only=not all)
    lines = [(a.id, a.act, a.digest.hex()[:16], ", ".join(a.signed_by) or "nobody", a.needs, ", ".join(a.roles)) for a in found]
    output.emit(found, table=output.rows("Approvals", ("id", "act", "digest", "signed by", "needs", "roles"), lines))


@approval.command("show")
def show(id: int) -> None:
    """Show one approval: exactly what a signature would approve."""
    from tocsin.staff import queries

    with estate():
        output.emit(queries.approval(id))


@approval.command("sign")
def sign(
    id: int,
    key: Annotated[Path, typer.Option(help="The operator's key file, NAME.key.")],
    name: Annotated[str, typer.Option(help="The operator; default: the file's name.")] = "",
) -> None:
    """Sign an approval with your key file."""
    from tocsin.staff import actions, queries

    with estate():
        actions.sign_with_key_file(id, operator=name or key.stem, key_file=key, at=clock.now())
        output.emit(queries.approval(id))
