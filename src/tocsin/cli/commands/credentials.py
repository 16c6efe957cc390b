"""`tocsin credentials`: end every older credential in one commit."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from tocsin.cli import output
from tocsin.cli.session import actor, estate, load
from tocsin.kernel import clock
from tocsin.kernel.errors import BadInput, Fault, NotFound

app_ = typer.Typer(no_args_is_help=True, help="Passwords, sessions, reset links: end every older one.")


filter_ = typer.Typer(no_args_is_help=True, help="The filter of breached passwords.")
app_.add_typer(filter_, name="filter")
canaries_ = typer.Typer(no_args_is_help=True, help="Accounts of ours that prove a cutover: tried before and after.")
app_.add_typer(canaries_, name="canaries")


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
    cohort: Annotated[int | None, typer.Option(help="Only these; the default is everybody. Needs a reason.")] = None,
    reason: Annotated[str, typer.Option(help="Why not everybody.")] = "",
    classes: Annotated[
        str | None,
        typer.Option(
            help="Classes to end, with commas; the default is what the exposure proposes."
        ),
    ] = None,
) -> None:
    """Dry run: count what a cutover would end, by class and cohort, and say what else to know. Nothing ends yet."""
    from tocsin.credentials import actions
    from tocsin.incidents import queries as incidents

    wanted = tuple(c.strip() for c in classes.split(",")) if classes is not None else None
    with estate():
        incidents.incident(incident)  # a mistyped number would find nothing to contain
        armed = actions.arm(
            population=population, classes=wanted, incident=incident, cohort=cohort, reason=reason, at=clock.now(), by=actor()
        )
    output.emit(armed)


@canaries_.command("plant")
def plant_canaries(
    n: Annotated[int, typer.Option(help="How many accounts.")] = 5,
    classes: Annotated[str | None, typer.Option(help="Classes they hold a secret of, with commas; the default is every class.")] = None,
    population: str = "customers",
) -> None:
    """Make accounts of ours with a secret of each class, before arming. Their secrets are kept sealed and shown to nobody."""
    from tocsin.credentials import actions
    from tocsin.credentials.types import CLASSES

    wanted = tuple(c.strip() for c in classes.split(",")) if classes is not None else CLASSES
    with estate():
        made = actions.plant_canaries(n, at=clock.now(), population=population, classes=wanted)
    output.emit({"planted": len(made), "population": population, "classes": wanted})


@canaries_.command("try")
def try_canaries(cutover: int) -> None:
    """Present each secret that a cutover ends at its door: before the commit all must open, after it none."""
    from tocsin.credentials import actions

    with estate():
        output.emit(actions.try_canaries(cutover, at=clock.now()))


@app_.command()
def held(cutover: int, out: Annotated[Path, typer.Option(help="A new file; it will hold password hashes.")]) -> None:
    """Open the copies of erased hashes that a legal hold kept. Only as the owner: TOCSIN_PROCESS=owner."""
    from tocsin.credentials import actions

    with estate():
        n = actions.open_held(cutover, out, at=clock.now(), by=actor())
    output.emit({"cutover": cutover, "hashes": n, "out": str(out)})


@app_.command()
def commit(
    cutover: int,
    approval: Annotated[int | None, typer.Option(help="The approval that two people have signed.")] = None,
    override: Annotated[
        str,
        typer.Option(help="Why to go on although a reached system is not contained or a connector not armed; both signatures cover it."),
    ] = "",
) -> None:
    """End every older credential of an armed cutover in one commit. The first call asks for the approval and exits 3."""
    from tocsin.credentials import actions

    with estate():
        output.emit(actions.commit(cutover, approval=approval, override=override, at=clock.now(), by=actor()))


@app_.command()
def widen(cutover: int) -> None:
    """Arm for everybody what was narrow: the same classes, without whom it has covered already. Then commit it."""
    from tocsin.credentials import actions

    with estate():
        output.emit(actions.widen(cutover, at=clock.now(), by=actor()))


@app_.command()
def cohort(
    number: int,
    reason: Annotated[str, typer.Option(help="Why these people are a cohort of their own.")],
    customers: Annotated[Path | None, typer.Option(help="A file with one customer id a line.")] = None,
    exposure: Annotated[int | None, typer.Option(help="The people of this frozen exposure.")] = None,
    set_before: Annotated[
        str | None, typer.Option(help="Whose password was set before this instant (ISO 8601), or nobody knows when.")
    ] = None,
    population: str = "customers",
) -> None:
    """Move accounts into a cohort, for a cutover narrower than everybody."""
    from tocsin.credentials import actions
    from tocsin.subjects import queries as subjects

    before = _instant("--set-before", set_before) if set_before is not None else None
    with estate(), output.meter("accounts") as progress:
        chosen = None
        if customers is not None:
            ids = _lines(customers)
            known = subjects.by_external_ids(ids)
            if unknown := [i for i in ids if i not in known]:
                raise BadInput([Fault(str(customers), i, "a customer of the register") for i in unknown[:100]])
            chosen = list(known.values())
        report = actions.assign_cohort(
            number, subjects=chosen, exposure=exposure, set_before=before, reason=reason, population=population, at=clock.now(), by=actor(),
            progress=progress,
        )  # fmt: skip
    output.emit(report)


@app_.command()
def contain(
    incident: int,
    system: str,
    statement: Annotated[str, typer.Option(help="How it was got out of the intruder's hands.")],
    exhibit: Annotated[str, typer.Option(help="The exhibit that shows it.")] = "",
    approval: Annotated[int | None, typer.Option(help="The approval that two people have signed.")] = None,
) -> None:
    """Determine that a reached system which has credentials in hand is contained. The first call asks for the approval and exits 3."""
    from tocsin.incidents import actions

    with estate():
        made = actions.determine_containment(
            incident, system=system, statement=statement, exhibit=exhibit, approval=approval, at=clock.now(), by=actor()
        )
    output.emit({"determination": made, "incident": incident, "system": system})


@app_.command()
def erase(cutover: int, approval: Annotated[int | None, typer.Option(help="The approval that two people have signed.")] = None) -> None:
    """Erase the old hashes of a committed cutover now, not after the grace period. There is no way back. The first call exits 3."""
    from tocsin.credentials import actions

    with estate():
        output.emit(actions.erase(cutover, approval=approval, at=clock.now(), by=actor()))


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
        there, erasure = queries.cohorts(population), queries.erasure(found.cutover) if found.cutover is not None else None
    canaries = {"tried": found.canaries_tried, "refused": found.canaries_refused}
    output.emit({"population": found.population, "state": found.state, "epoch": found.epoch, "live": found.live, "dead": found.dead,
                 "sealed": found.sealed, "nodes": found.nodes, "canaries": canaries,
                 "cutover": found.cutover, "cohorts": there, "erasure": erasure})  # fmt: skip


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
    """Make a key for the pepper of password hashes; name it as `pepper` in the section `passwords` then. A change of it needs a cutover."""
    from tocsin.kernel import sealing

    with estate(database=False):
        sealing.create_pepper(name)
    output.emit({"pepper": name})


def _instant(option: str, text: str) -> datetime:
    try:
        return clock.parse_iso(text)
    except ValueError as e:
        raise BadInput.of(option, text, f"an instant with its offset, such as 2012-07-01T00:00:00Z ({e})") from None


def _lines(file: Path) -> list[str]:
    """Return the customer ids of a file, each once, in its order."""
    try:
        return list(dict.fromkeys(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()))
    except OSError as e:
        raise BadInput.of("--customers", str(file), f"a file that can be read ({e.strerror})") from None
    except UnicodeDecodeError:
        raise BadInput.of("--customers", str(file), "UTF-8 text, one customer id a line") from None


@app_.command()
def letters(out: Annotated[Path, typer.Option(help="A new CSV file for the print house; it holds codes that set passwords.")]) -> None:
    """Print the letters with codes for people who lost their mailbox: each once."""
    from tocsin.credentials import actions

    with estate():
        output.emit(actions.print_letters(out, at=clock.now(), by=actor()))
