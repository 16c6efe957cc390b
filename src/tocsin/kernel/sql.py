"""SQL kept in files, and rows moved in bulk: one statement per file, `sql/NAME.sql` in the room that owns it.

A file opens with a comment of what it does, rows expected, index needed, lock taken. Parameters are psycopg's `%(name)s`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
from django.db import connection
from django.db.backends.utils import CursorWrapper


@functools.cache
def text(room: str, name: str) -> str:
    """Return the statement `src/tocsin/ROOM/sql/NAME.sql`."""
    return (Path(__file__).parent.parent / room / "sql" / f"{name}.sql").read_text()


def execute(room: str, name: str, **params: Any) -> int:
    """Run a statement file in the current transaction; return the number of rows it touched."""
    with connection.cursor() as cursor:
        cursor.execute(text(room, name), params)
        return int(cursor.rowcount)


def rows(room: str, name: str, **params: Any) -> list[tuple[Any, ...]]:
    """Run a statement file and return all its rows. For result sets with a known bound only."""
    with connection.cursor() as cursor:
        cursor.execute(text(room, name), params)
        return list(cursor.fetchall())


def prepared(room: str, name: str, **params: Any) -> list[tuple[Any, ...]]:
    """Run a statement file as `rows` does, planned once per connection: for the few that a page asks at every call.

    Parameters go to the server apart from the text, so a statement must say of what type each is where that is not plain from its use.
    """
    connection.ensure_connection()
    with CursorWrapper(_Prepared(connection.connection), connection) as cursor:
        cursor.execute(text(room, name), params)
        return list(cursor.fetchall())


class _Prepared(psycopg.Cursor[tuple[Any, ...]]):
    """A cursor whose statements are planned at their first use."""

    def execute(self, query: Any, params: Any = None, **_: Any) -> Any:
        """Run a statement, prepared."""
        return super().execute(query, params, prepare=True)


def stream(room: str, name: str, *, batch_rows: int = 10_000, **params: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a statement file through a server-side cursor. Needs an open transaction while it is read."""
    connection.ensure_connection()
    with connection.connection.cursor(name=f"tocsin_{name}") as cursor:
        cursor.itersize = batch_rows
        cursor.execute(text(room, name), params)
        yield from cursor


def copy_in(table: str, columns: Sequence[str], values: Iterable[Sequence[Any]]) -> int:
    """COPY rows into a table in the current transaction; return how many. Values are Python objects, None is NULL."""
    n = 0
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
        for row in values:
            copy.write_row(row)
            n += 1
    return n
