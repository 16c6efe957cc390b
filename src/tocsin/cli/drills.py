"""`tocsin drill`, and the trip itself as a process of a running estate."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from tocsin.kernel.errors import NotFound
from tocsin.kernel.localpg import default_home

from . import output
from .session import estate, load

group = typer.Typer(no_args_is_help=True, help="Rehearse an incident in peacetime.")


def register(app: typer.Typer) -> None:
    """Add `drill` and the hidden `trip`."""
    app.add_typer(group, name="drill", callback=load)
    app.command(hidden=True)(trip)


def trip(
    scenario: Annotated[Path, typer.Option()],
    customers: Annotated[int, typer.Option()],
    seed: Annotated[int, typer.Option()] = 2012,
    resume: Annotated[bool, typer.Option("--resume")] = False,
    stay: Annotated[bool, typer.Option("--stay")] = False,
) -> None:
    """Live through a scenario on the estate that runs around this process; for the supervisor."""
    load()
    with estate() as current:
        from tocsin.drills import report as reports
        from tocsin.drills import scenario as scenarios
        from tocsin.drills.drill import Drill
        from tocsin.drills.run import Run
        from tocsin.drills.trip import trip as live_through

        told = scenarios.load(scenario)
        about = {"scenario": told.name, "customers": customers, "seed": seed}
        run = Run(current.home, about=about, resume=resume, people=output.people)
        drill = Drill(told, customers=int(run.about["customers"]), seed=int(run.about["seed"]), run=run)
        drill.wait_until_ready()
        with run.shown():
            live_through(drill)
        result = reports.build(run, vault=drill.vault("status"))
        (run.folder / "report.json").write_text(json.dumps(output.plain(result)))
        output.emit(result, table=reports.page(result))
        if stay and (shown := drill.console_password()):
            output.people.print(f"sign in to the console as [bold]{shown[0]}[/] with the password [bold]{shown[1]}[/] (shown once)")


@group.command("list")
def list_() -> None:
    """List the scenarios."""
    with estate(database=False):
        from tocsin.drills import scenario as scenarios

        found = scenarios.names()
    output.emit([{"name": n, "title": t} for n, t in found], table=output.rows("Scenarios", ("name", "title"), found))


@group.command("report")
def report(
    run: Annotated[str, typer.Argument(help="A folder of `drills` in the home; default: the demo, or what lies in --home.")] = "",
) -> None:
    """Show the report of a finished drill again."""
    base = default_home().parent
    home = base / f"drills/{run}" if run else base if "TOCSIN_HOME" in os.environ else base / "demo"
    try:
        document = json.loads((home / "drill" / "report.json").read_text())
    except FileNotFoundError:
        raise NotFound(f"no report in {home}: the drill has not ended yet") from None
    with estate(database=False):
        from tocsin.drills import report as reports

        output.emit(document, table=reports.page(document))
