"""Read the command line, run one command, return its exit code."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

import typer
from typer.exceptions import TyperException

from tocsin.kernel.errors import BadInput, TocsinError

from . import drills, estate, output, processes, rooms

EPILOG = "Every command takes --json (one JSON document on standard output) and --home DIR (where the estate lives)."

app = typer.Typer(
    name="tocsin",
    no_args_is_help=True,
    add_completion=False,
    epilog=EPILOG,
    help="Breach response: declare, scope, revoke, tell, answer, prove.",
)
estate.register(app)
processes.register(app)
drills.register(app)
rooms.register(app)


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code: 0 done, 1 defect, 2 bad input, 3 refused, 4 not found, 5 busy, 6 unavailable."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tocsin.settings")
    rest: list[str] = []
    try:
        rest = output.take_globals(arguments)
        return int(typer.main.get_command(app).main(args=rest, prog_name="tocsin", standalone_mode=False) or 0)
    except TocsinError as e:
        return output.fail(e)
    except typer.Exit as e:
        return e.exit_code
    except TyperException as e:
        context = getattr(e, "ctx", None)
        if not rest:
            output.people.print(e.format_message(), markup=False)
            return 2
        return output.fail(BadInput.of("command line", e.format_message(), f"see `{context.command_path if context else 'tocsin'} --help`"))
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        return 141
    except Exception:
        logging.getLogger("tocsin.cli").exception("a defect ended the command")
        if output.as_json:
            output.emit({"error": {"kind": "defect", "message": "a defect ended the command; see standard error", "field": None}})
        return 1


def run() -> None:
    """Be the installed `tocsin` script."""
    sys.exit(main(sys.argv[1:]))
