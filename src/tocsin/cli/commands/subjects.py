"""`tocsin subjects`: fill the register of data subjects, and empty it again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tocsin.cli import output
from tocsin.cli.session import actor, estate, load
from tocsin.kernel import clock

app_ = typer.Typer(no_args_is_help=True, help="The register of customers.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(app_, name="subjects", callback=load)


@app_.command("import")
def import_(
    file: Path,
    mapping: Annotated[Path, typer.Option(help="TOML: which column holds what.")],
    rejects: Annotated[Path | None, typer.Option(help="Where rejected rows are listed; default: beside the file.")] = None,
) -> None:
    """Import customers from CSV (also .gz): read = accepted + rejected; the same file twice changes nothing."""
    from tocsin.subjects import actions

    with estate(), output.meter("customers") as progress:
        report = actions.import_file(file, mapping=mapping, rejects=rejects, at=clock.now(), by=actor(), progress=progress)
    output.emit(report)


@app_.command()
def forget(incident: Annotated[int, typer.Option(help="The incident that no longer needs them.")]) -> None:
    """Delete salts, names and contact points of a closed incident's people, unless another incident or a hold still needs them."""
    from tocsin.incidents import actions

    with estate():
        output.emit({"forgotten": actions.forget(incident, at=clock.now(), by=actor())})
