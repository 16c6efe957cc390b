"""`tocsin notice`: draft, check, preview, start, hold, and follow a mailing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tocsin.cli import output
from tocsin.cli.session import actor, estate, load
from tocsin.kernel import clock

app_ = typer.Typer(no_args_is_help=True, help="Approved texts and their mailings.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(app_, name="notice", callback=load)


@app_.command()
def draft(folder: Path, incident: Annotated[int, typer.Option(help="The incident it is about.")]) -> None:
    """Store a notice from a folder (notice.toml, notice.txt, notice.html)."""
    from tocsin.notices import actions

    with estate():
        output.emit({"notice": actions.draft(incident=incident, template=folder, at=clock.now(), by=actor())})


@app_.command()
def check(notice: int) -> None:
    """Run the gates over a notice's texts; hard findings keep it from being sent."""
    from tocsin.notices import actions

    with estate():
        found = actions.check(notice)
    lines = [("hard" if f.hard else "soft", f.variant, f.gate, f.message, f.remedy) for f in found]
    output.emit(found, table=output.rows(f"{len(found)} finding(s)", ("", "variant", "gate", "what", "remedy"), lines))
    if any(f.hard for f in found):
        raise typer.Exit(3)


@app_.command()
def preview(notice: int) -> None:
    """Show each variant as a made-up customer would read it."""
    from tocsin.notices import queries

    with estate():
        found = queries.preview(notice)
    output.emit(found, table="\n\n".join(f"Subject: {p.subject}\n\n{p.text}\n\n({p.words} words, grade {p.grade:.1f})" for p in found))


@app_.command()
def start(notice: int, approval: Annotated[int | None, typer.Option(help="The approval that two people have signed.")] = None) -> None:
    """Freeze the recipients and send. The first call asks for the approval of exactly that and exits 3."""
    from tocsin.notices import actions

    with estate():
        output.emit({"mailing": actions.start(notice, approval=approval, at=clock.now(), by=actor())})


@app_.command()
def pause(mailing: int, why: str = "") -> None:
    """Hold a mailing; senders stop within a second."""
    from tocsin.notices import actions

    with estate():
        actions.pause(mailing, at=clock.now(), by=actor(), why=why)
    _status(mailing)


@app_.command()
def stop(mailing: int, why: str = "") -> None:
    """Stop a mailing because something is wrong with it; senders stop within a second."""
    from tocsin.notices import actions

    with estate():
        actions.stop(mailing, at=clock.now(), by=actor(), why=why)
    _status(mailing)


@app_.command()
def resume(mailing: int, approval: Annotated[int | None, typer.Option(help="The approval that two people have signed.")] = None) -> None:
    """Go on with a held mailing."""
    from tocsin.notices import actions

    with estate():
        actions.resume(mailing, approval=approval, at=clock.now(), by=actor())
    _status(mailing)


@app_.command("release-lane")
def release_lane(lane: int, approval: Annotated[int | None, typer.Option(help="The approval that two people have signed.")] = None) -> None:
    """Let a lane go on that stopped because too many of its addresses failed."""
    from tocsin.notices import actions

    with estate():
        actions.release_lane(lane, approval=approval, at=clock.now(), by=actor())
    output.emit({"lane": lane, "released": True})


@app_.command()
def letters(mailing: int, out: Annotated[Path, typer.Option(help="A new CSV file for the print house.")]) -> None:
    """Export the letters of those whom no mail reached."""
    from tocsin.notices import actions

    with estate():
        output.emit(actions.letters(mailing, file=out, at=clock.now(), by=actor()))


@app_.command()
def status(mailing: int) -> None:
    """Show a mailing: every recipient in exactly one place."""
    _status(mailing)


def _status(mailing: int) -> None:
    from tocsin.notices import queries

    with estate():
        found = queries.status(mailing)
    lines = [(k, v) for k, v in output.plain(found).items() if k != "lanes"]
    output.emit(found, table=output.rows(f"Mailing {mailing}", ("", ""), lines))
