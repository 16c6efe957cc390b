"""`tocsin duties`: which laws bind, by when, and why the others do not."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from tocsin.cli import output
from tocsin.cli.session import actor, estate, load
from tocsin.kernel import clock
from tocsin.kernel.errors import BadInput

app_ = typer.Typer(no_args_is_help=True, help="Whom to tell by when, under which law.")


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(app_, name="duties", callback=load)


@app_.command()
def assess(
    incident: Annotated[int | None, typer.Option(help="An incident that was scoped.")] = None,
    facts: Annotated[Path | None, typer.Option(help="A FACTS.json; needs no database.")] = None,
    as_of: Annotated[str, typer.Option("--as-of", help="Evaluate the laws as they stood at this date (with --facts).")] = "",
) -> None:
    """List duties with due dates and sources, and each law that does not apply with the reason."""
    from tocsin.obligations import actions, queries

    if (incident is None) == (facts is None):
        raise BadInput.of("command line", "both or neither of --incident and --facts", "one of them")
    if facts is not None:
        with estate(database=False):
            document = queries.assess_file(_read(facts), as_of=_date(as_of), at=clock.now())
    elif incident is not None:
        with estate():
            actions.assess(incident, at=clock.now(), by=actor())
            document = queries.assessment(incident)
    lines = [(d["due_date"] or "", d["name"], d["law"], d["state"], d["count"], d["source"]) for d in document["duties"]]
    output.emit(document, table=output.rows("Duties by due date", ("due", "to", "law", "state", "people", "source"), lines))


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise BadInput.of("--as-of", text, "a date such as 2026-11-24") from None


def _read(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text())
    except OSError as e:
        raise BadInput.of("--facts", str(file), f"a file that can be read ({e.strerror})") from None
    except ValueError as e:
        raise BadInput.of("--facts", str(file), f"valid JSON ({e})") from None
    if not isinstance(document, dict):
        raise BadInput.of("--facts", str(file), "a JSON object")
    return document
