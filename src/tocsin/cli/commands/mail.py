"""`tocsin mail`: recognise bounces, complaints and automatic mail."""

from __future__ import annotations

from pathlib import Path

import typer

from tocsin.cli import output
from tocsin.cli.session import estate, load

app_ = typer.Typer(no_args_is_help=True, help="Mail in and out.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(app_, name="mail", callback=load)


@app_.command()
def classify(files: list[Path]) -> None:
    """Say of each mail file whether it is a bounce, a complaint, automatic, or of a person; and whom a bounce is about."""
    from tocsin.mail import queries

    with estate(database=False):
        found = [queries.classify_file(file) for file in files]
    lines = [(f["file"], f["kind"], len(f["recipients"]), ", ".join(sorted({r["reason"] for r in f["recipients"]}))) for f in found]
    output.emit(found, table=output.rows("Mails", ("file", "kind", "recipients", "reasons"), lines))
