"""`tocsin mail`: check the sending domain; recognise bounces, complaints and automatic mail."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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


@app_.command()
def preflight(
    recipients: Annotated[int, typer.Option(min=0, help="How many are to be written to: tells how many days that takes.")] = 0,
) -> None:
    """Check what receivers look at before they take a mass mailing: SPF, DKIM, DMARC, alignment, PTR, relay, mailboxes. Sends nothing."""
    from tocsin.mail import queries

    with estate(database=False):
        checks = queries.preflight(recipients=recipients)
    lines = [(c.name, "ok" if c.ok else "NO", c.detail, "" if c.ok else c.remedy) for c in checks]
    output.emit({"checks": checks}, table=output.rows("Before a mailing", ("check", "", "found", "to do"), lines))
    if not all(c.ok for c in checks):
        raise typer.Exit(3)


@app_.command()
def bench(
    messages: Annotated[int, typer.Option(min=32, max=100_000, help="Messages of each round.")] = 2000,
    rounds: Annotated[int, typer.Option(min=1, max=100)] = 3,
) -> None:
    """Measure how fast this machine signs and sends: CPU time per message against that of a bare RSA signature. Nothing leaves it."""
    from tocsin.mail import queries

    with estate(database=False):
        found = queries.sender_speed(messages=messages, rounds=rounds)
    output.emit(found, table=output.rows("Sender on this machine", ("figure", "value"), list(found.items())))
