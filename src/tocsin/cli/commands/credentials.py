"""`tocsin credentials`: end every older credential in one commit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tocsin.cli import output
from tocsin.cli.session import actor, estate, load
from tocsin.kernel import clock
from tocsin.kernel.errors import BadInput, NotFound

app_ = typer.Typer(no_args_is_help=True, help="Passwords, sessions, reset links: end every older one.")


filter_ = typer.Typer(no_args_is_help=True, help="The filter of breached passwords.")
app_.add_typer(filter_, name="filter")


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
def end_sessions(
    subject: Annotated[str, typer.Option(help="A customer: external id or e-mail address.")] = "",
    all: Annotated[bool, typer.Option("--all", help="Everybody: needs two signatures; the first call asks for them and exits 3.")] = False,
    approval: Annotated[int | None, typer.Option(help="With --all: the approval that two people have signed.")] = None,
    incident: Annotated[int | None, typer.Option(help="With --all: the incident that makes it necessary.")] = None,
    population: str = "customers",
) -> None:
    """End all sessions, remember-me, refresh and API tokens of one person or of everybody. Passwords stay."""
    from tocsin.credentials import actions

    if bool(subject) == all:
        raise BadInput.of("command line", "both or neither of --subject and --all", "one of them")
    with estate():
        if subject:
            output.emit(actions.end_sign_ins(_person(subject), at=clock.now(), by=actor(), population=population))
            return
        armed = actions.arm_end_of_sign_ins(incident=incident, at=clock.now(), by=actor(), population=population)
        output.emit(actions.commit(armed.id, approval=approval, at=clock.now(), by=actor()))


@app_.command()
def start_reset(
    subject: Annotated[str, typer.Option(help="A customer: external id or e-mail address.")], population: str = "customers"
) -> None:
    """Have a reset link mailed to a customer who cannot ask for it. You see no link and choose no password."""
    from tocsin.credentials import actions

    with estate():
        actions.start_reset(_person(subject), at=clock.now(), by=actor(), population=population)
    output.emit({"asked": True})


def _person(reference: str) -> int:
    """Return the subject of an external id or e-mail address. Raises NotFound."""
    from tocsin.subjects import queries

    person = queries.by_email(reference) if "@" in reference else queries.by_external_ids([reference]).get(reference)
    if person is None:
        raise NotFound("no customer has this id or address")
    return person


@app_.command()
def status(population: str = "customers") -> None:
    """Show how many passwords live and how many are dead, and whether the last cutover is sealed."""
    from tocsin.credentials import queries

    with estate():
        found = queries.status(population)
    canaries = {"tried": found.canaries_tried, "refused": found.canaries_refused}
    output.emit({"population": found.population, "state": found.state, "epoch": found.epoch, "live": found.live, "dead": found.dead,
                 "sealed": found.sealed, "nodes": found.nodes, "canaries": canaries})  # fmt: skip


@filter_.command("build")
def build_filter(
    source: Path,
    out: Annotated[Path, typer.Option(help="Where the filter goes; name it as `filter` under [passwords].")],
    min_count: Annotated[int, typer.Option(help="Leave out what was seen less often in breaches.")] = 1,
    kind: Annotated[
        str, typer.Option(help="auto, ranges (a folder of range files), hashes (SHA1:COUNT lines), passwords (a list).")
    ] = "auto",
    rejects: Annotated[Path | None, typer.Option(help="Where bad lines are listed; beside the filter if not given.")] = None,
) -> None:
    """Build the filter from range files, a file of hashes, or a list of passwords. Needs no database."""
    from tocsin.credentials import actions

    with estate(database=False), output.meter("lines") as progress:
        report = actions.build_filter(source, out=out, min_count=min_count, kind=kind, rejects=rejects, progress=progress)
    output.emit(report)


@filter_.command("check")
def check_filter(file: Path) -> None:
    """Compare a filter with its checksums and measure how often it is wrong. Needs no database."""
    from tocsin.credentials import queries

    with estate(database=False):
        output.emit(queries.check_filter(file))


@app_.command()
def pepper(name: str) -> None:
    """Make a key for the pepper of password hashes; name it under [passwords] then. A change of it needs a cutover."""
    from tocsin.kernel import sealing

    with estate(database=False):
        sealing.create_pepper(name)
    output.emit({"pepper": name})
