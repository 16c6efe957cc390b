"""What a command says: one JSON document on standard output with `--json`, tables and progress for people otherwise.

`--json` and `--home DIR` are understood by every command, in any place on the line, so they are taken out before Typer reads it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from tocsin.kernel import clock
from tocsin.kernel.errors import BadInput, Refused, TocsinError

QUIET_LINE_S = 10.0  # how often long work says where it is when nobody watches a terminal

as_json = False
people = Console(stderr=True, highlight=False)
answer = Console(highlight=False)


def take_globals(arguments: Sequence[str]) -> list[str]:
    """Return the arguments without `--json` and `--home DIR`, having obeyed them. Raises BadInput for `--home` without a folder."""
    global as_json
    as_json = "--json" in arguments  # known first, so that a fault of the line itself is said as JSON too
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--":
            return [*rest, argument, *waiting]
        if argument == "--json":
            continue
        if argument == "--home" or argument.startswith("--home="):
            folder = argument.partition("=")[2] if "=" in argument else next(waiting, "")
            if not folder or folder.startswith("-"):
                raise BadInput.of("--home", folder, "a folder")
            os.environ["TOCSIN_HOME"] = str(Path(folder).resolve())
        else:
            rest.append(argument)
    return rest


def plain(value: Any) -> Any:
    """Return a value as JSON shows it: dataclasses as objects, instants in ISO 8601 UTC, bytes in hex."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Mapping):
        return {str(plain(k)): plain(v) for k, v in value.items()}
    if isinstance(value, datetime):
        return clock.iso(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    return value


def emit(result: Any, *, table: Table | Group | str | None = None) -> None:
    """Give a command's result: JSON for programs, `table` (else the JSON, indented) for people."""
    if as_json:
        sys.stdout.write(json.dumps(plain(result), ensure_ascii=False) + "\n")
        sys.stdout.flush()
    elif table is not None:
        answer.print(table)
    else:
        answer.print_json(json.dumps(plain(result), ensure_ascii=False))


def fail(error: TocsinError) -> int:
    """Say what went wrong, all faults at once, and return the exit code."""
    faults = list(error.faults) if isinstance(error, BadInput) else []
    approval = error.approval if isinstance(error, Refused) else None
    if as_json:
        first = faults[0] if faults else None
        document: dict[str, Any] = {
            "error": {
                "kind": error.kind,
                "message": str(error),
                "field": first.field if first else None,
                "got": first.got if first else None,
                "wanted": first.wanted if first else None,
            }
        }
        if faults:
            document["faults"] = [{"line": f.line, "field": f.field, "got": f.got, "wanted": f.wanted} for f in faults]
        if approval is not None:
            document["approval"] = approval
        sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
    else:
        people.print(f"[bold red]{error.kind.replace('_', ' ')}[/]", end=" ")
        people.print(str(error) if not faults else f"{len(faults)} fault(s)", markup=False)
        for f in faults:
            people.print(f"  {f}", markup=False)
        if approval is not None:
            people.print(f"approval {approval}: two people sign with `tocsin approval sign {approval} --key FILE`; then the same command with")
            people.print(f"`--approval {approval}` does it")
    return error.exit_code


def rows(title: str, columns: Sequence[str], lines: Sequence[Sequence[Any]]) -> Table:
    """Return a table for people."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for line in lines:
        table.add_row(*(cell if isinstance(cell, Text) else escape(str(cell)) for cell in line))
    return table


class Meter:
    """Progress of long work: a bar with rate and time left on a terminal, a line every 10 s elsewhere."""

    def __init__(self, title: str, total: int | None, bar: Progress | None) -> None:
        self.title, self.total, self.bar = title, total, bar
        self.task = bar.add_task(title, total=total) if bar else None
        self.began = self.said = clock.monotonic()

    def __call__(self, done: int) -> None:
        """Say how much is done in all."""
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=done)
        elif clock.monotonic() - self.said >= QUIET_LINE_S:
            self.said = clock.monotonic()
            of = f" of {self.total}" if self.total else ""
            people.print(f"{self.title}: {done}{of}, {done / (self.said - self.began):.0f}/s")


@contextmanager
def meter(title: str, total: int | None = None) -> Iterator[Meter]:
    """Show the progress of long work while the block runs."""
    if not people.is_terminal:
        yield Meter(title, total, None)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=people) as bar:
        yield Meter(title, total, bar)
