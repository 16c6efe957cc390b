"""Any table of accounts in PostgreSQL, gated by one rename: the application goes on reading `TABLE`, which is then a view.

    before   TABLE                 the application's table
    armed    TABLE_tocsin_gate     the prepared view with its triggers; TABLE_tocsin_live, TABLE_tocsin_state: empty tables of ours
    gated    TABLE                 the view;   TABLE_tocsin_base   the table

The view shows every column as it is, except the hash: who is not in the live set shows a hash that nobody can match. The switch is two
renames and one row in one transaction, whatever the size of the table; a lock that does not come within LOCK_S is given up and tried
again, so that the application never queues behind us for longer. INSTEAD OF triggers carry the application's writes to the table. A write
that sets a new hash puts its account into the live set; a write that carries the old hash or the view's hash back (an object that was
loaded before the gate and is saved whole) leaves the stored hash alone and makes nobody live.

Refused: UPDATE of every row (minutes, and old passwords work until it commits), LEFT JOIN for the live set (SELECT FOR UPDATE would fail).
The live set carries the transaction that wrote it: a reader asks for those that its last snapshot could not see, so none is missed.

GAP: a statement with ON CONFLICT, or with GROUP BY on the primary key alone while it selects other columns, is refused by PostgreSQL on a
view; so is ALTER TABLE until the gate is lifted. GAP: whoever reads the table through a view of his own, or as TABLE_tocsin_base, is not
gated: `probe` names such views. GAP: the application cannot tell that a customer chose the old password again: a new salt makes a new hash.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

import psycopg
from psycopg import errors as pg
from psycopg import sql

from tocsin.credentials.connectors import options as given
from tocsin.credentials.connectors.sqltable import (
    CALL_S,
    CANARY,
    CONNECT_S,
    LOCK_S,
    SAMPLE_ROWS,
    Column,
    TableOptions,
    dead_hash,
    format_findings,
    formats_seen,
    mapping_faults,
    new_canary,
    said_of_hash,
)
from tocsin.credentials.passwords import makers
from tocsin.credentials.port import Changed, Drained, Finding, Gated, Presented, Probe, State, TargetCanary, TargetStatus
from tocsin.kernel.errors import BadInput, Fault, NotFound, Refused, Unavailable
from tocsin.kernel.hosts import is_local
from tocsin.kernel.private import Private

LOCK_TRIES_MAX = 15
DRAIN_ROWS_PER_S = 65_000  # 15.4 s per million rows in batches of 10,000; source: specification, section 3.1
NAME_CHARS_MAX = 48  # PostgreSQL's 63 less the longest ending
NO_EQUALITY = {"json", "xml", "point", "polygon", "box", "circle", "lseg", "line", "path"}


class PostgresTable:
    """A table of accounts in PostgreSQL."""

    kind = "postgres"
    needed: tuple[str, ...] = ("database", "user", "table", "key", "login", "hash")
    defaults = TableOptions(port=5432)

    def __init__(self, name: str, options: Mapping[str, Any], secret: Private[str] | None) -> None:
        merged = {f: getattr(self.defaults, f) for f in self.defaults.__dataclass_fields__ if getattr(self.defaults, f)}
        merged = {k: list(v) if isinstance(v, tuple) else v for k, v in merged.items()} | dict(options)
        found = given.parse(TableOptions, name, merged, needed=self.needed)
        self.name, self._secret = name, secret
        self.o = replace(found, account=found.account or found.key)
        if len(self.o.table) > NAME_CHARS_MAX:
            raise BadInput.of(f"connectors.{name}.table", self.o.table, f"at most {NAME_CHARS_MAX} characters")
        self._where = f"connectors.{name}"

    def reach(self) -> Literal["loopback", "world"]:
        """Return whether the database is on this machine."""
        return "loopback" if is_local(self.o.host) or self.o.host.startswith("/") else "world"

    def probe(self) -> Probe:
        """Look at table, formats and rights; raises BadInput with every fault of the mapping. One pass over the table to count it."""
        with self._open() as db:
            columns = self._columns(db)
            if faults := mapping_faults(self._where, self.o, columns, keys=self._keys(db)):
                raise BadInput(faults)
            state = self._state(db)
            held = self._id("_tocsin_base" if state == "gated" else "")
            subjects = self._one(db, "SELECT count(*) FROM {held} WHERE {login} NOT LIKE %s", [f"{CANARY}%"], held=held)[0]
            sample = self._all(db, "SELECT {hash} FROM {held} WHERE {login} NOT LIKE %s LIMIT %s", [f"{CANARY}%", SAMPLE_ROWS], held=held)
            kinds = self.formats_of([row[0] for row in sample])
            findings = [*format_findings(kinds, where=self._where), *self._rights(db, state)]
        return Probe(
            kind=self.kind,
            subjects=subjects,
            classes=("password",),
            formats=kinds,
            write_rate_per_s=None,
            drain_eta_s=round(subjects / DRAIN_ROWS_PER_S, 1),
            findings=tuple(findings),
        )

    def formats_of(self, hashes: Sequence[str | None]) -> tuple[str, ...]:
        """Return the formats that the application verifies, best first, from a sample of its hashes."""
        return self.o.formats or formats_seen(hashes)

    def arm(self) -> None:
        """Create the view, its triggers and the empty tables beside the application's table, which stays as it is."""
        found = self.probe()
        if blockers := [f for f in found.findings if f.level == "blocker"]:
            raise Refused("; ".join(f"{f.text}: {f.remedy}" for f in blockers))
        with self._open() as db:
            if self._state(db) in {"gated", "draining", "drained"}:
                return
            columns = self._columns(db)
            owner = self._one(db, "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = {name}::regclass", name=self._text(""))[0]
            room = next(c.length for c in columns if c.name == self.o.hash)
            self._take_down(db)
            types = {c.name: sql.SQL(c.type) for c in columns}
            self._do(
                db,
                "CREATE TABLE {live} (key {type} PRIMARY KEY, xid xid8 NOT NULL DEFAULT pg_current_xact_id(),"
                " changed_at timestamptz NOT NULL DEFAULT clock_timestamp(), elsewhere boolean NOT NULL)",
                type=types[self.o.key],
            )
            self._do(db, "CREATE INDEX ON {live} (xid) WHERE elsewhere")
            self._do(
                db,
                "CREATE TABLE {state} (one boolean PRIMARY KEY DEFAULT true CHECK (one), dead text NOT NULL, past text[] NOT NULL DEFAULT '{{}}', epoch int,"
                " gated_at timestamptz, draining boolean NOT NULL DEFAULT false, drained boolean NOT NULL DEFAULT false)",
            )
            sample = self._all(db, "SELECT {hash} FROM {table} WHERE {hash} LIKE '%%$%%' AND {login} NOT LIKE %s LIMIT 1", [f"{CANARY}%"])
            dead = dead_hash(sample[0][0] if sample else None, format=found.formats[0], room=room)
            self._do(db, "INSERT INTO {state} (dead) VALUES (%s)", [dead])
            shown = [
                self._s("CASE WHEN EXISTS (SELECT FROM {live} l WHERE l.key = u.{key}) THEN u.{hash}"
                        " ELSE (SELECT s.dead FROM {state} s)::{type} END::{type} AS {hash}", type=types[c.name])
                if c.name == self.o.hash else self._s("u.{c}", c=sql.Identifier(c.name))
                for c in columns
            ]  # fmt: skip
            self._do(db, "CREATE VIEW {gate} AS SELECT {shown} FROM {table} u", shown=sql.SQL(", ").join(shown))
            self._defaults(db)
            self._triggers(db, columns)
            for what in ("VIEW {gate}", "TABLE {live}", "TABLE {state}", "FUNCTION {write}()"):
                self._do(db, f"ALTER {what} OWNER TO {{owner}}", owner=sql.Identifier(owner))
            self._do(db, "REVOKE ALL ON FUNCTION {write}() FROM PUBLIC")
            self._grants(db)

    def gate(self, epoch: int, *, at: datetime) -> Gated:
        """Put the view in the table's place in one transaction. A gate of a higher epoch empties the live set: whoever is in it ends too."""
        began = time.monotonic()
        for tries in range(LOCK_TRIES_MAX):
            try:
                began = time.monotonic()
                detail = self._switch(epoch, at)
                return Gated(took_ms=round((time.monotonic() - began) * 1000, 3), detail=detail)
            except pg.LockNotAvailable:
                time.sleep(0.05 * (tries + 1))
        raise Unavailable(
            f"connector {self.name}", f"no lock on {self.o.table} in {LOCK_TRIES_MAX} tries of {LOCK_S} s: a long transaction?"
        )

    def _switch(self, epoch: int, at: datetime) -> str:
        with self._open(lock_tries=True) as db:
            state = self._state(db)
            if state == "open":
                raise Refused(f"connector {self.name} is not armed: {self.o.schema}.{self.o.table} has no prepared view")
            if state == "armed":
                self._do(db, "LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
                if self._shape(db, "") != self._shape(db, "_tocsin_gate"):
                    raise Refused(f"the columns of {self.o.table} have changed since arming: arm again")
                self._do(db, "ALTER TABLE {table} RENAME TO {base_name}")
                self._do(db, "ALTER VIEW {gate} RENAME TO {table_name}")
                self._do(db, "TRUNCATE {live}")
                self._do(db, "UPDATE {state} SET epoch = %s, gated_at = %s", [epoch, at])
                return "the view stands in the table's place"
            before, draining, dead = self._one(db, "SELECT epoch, draining OR drained, dead FROM {state}")
            if before >= epoch:
                return f"was gated already under epoch {before}"
            self._do(db, "LOCK TABLE {live} IN ACCESS EXCLUSIVE MODE")
            self._do(db, "TRUNCATE {live}")
            # Another hash, so that links and sessions that rest on the last one end as well.
            self._do(
                db,
                "UPDATE {state} SET epoch = %s, gated_at = %s, drained = false, draining = %s, past = past || dead, dead = %s",
                [epoch, at, draining, dead_hash(dead, format="", room=None)],
            )
            return f"the gate of epoch {before} now ends all that came after it, too"

    def plant(self, n: int) -> Sequence[TargetCanary]:
        """Insert `n` rows of ours with known passwords."""
        with self._open() as db:
            columns = {c.name: c for c in self._columns(db)}
            rows = self._all(db, "SELECT {hash} FROM {name} LIMIT %s", [SAMPLE_ROWS], name=self._id(""))
            format = (self.formats_of([r[0] for r in rows]) or ("argon2id",))[0]
            made = []
            for _ in range(n):
                login, password = new_canary()
                values = {k: v.replace("{login}", login) if isinstance(v, str) else v for k, v in self.o.canary.items()}
                for c in (self.o.key, self.o.account):
                    if not columns[c].fills_itself and c not in values:
                        values[c] = login
                values |= {self.o.login: login, self.o.hash: makers.make_in(format, password).reveal()}
                account = self._one(
                    db,
                    "INSERT INTO {table} ({columns}) VALUES ({values}) RETURNING {account}::text",
                    list(values.values()),
                    columns=sql.SQL(", ").join(map(sql.Identifier, values)),
                    values=sql.SQL(", ").join([sql.Placeholder()] * len(values)),
                )[0]
                made.append(TargetCanary(account=account, login=login, secrets={"password": password}))
        return made

    def present(self, canary: TargetCanary) -> Sequence[Presented]:
        """Read the hash as the application does, by login from the table's name, and verify the canary's password against it."""
        with self._open() as db:
            rows = self._all(db, "SELECT {hash} FROM {table} WHERE {login} = %s", [canary.login])
        return said_of_hash(canary, rows[0][0] if rows else None)

    def uproot(self, canary: TargetCanary) -> None:
        """Delete the row of a canary; only ever one of ours."""
        if canary.login.startswith(CANARY):
            with self._open() as db:
                self._do(db, "DELETE FROM {table} WHERE {login} = %s", [canary.login])

    def drain(self, cursor: str | None, *, limit: int) -> Drained:
        """Overwrite up to `limit` old hashes in the table behind the view, in the order of the key. After the first one there is no abort."""
        with self._open() as db:
            if self._state(db) not in {"gated", "draining", "drained"}:
                raise Refused(f"connector {self.name} is not gated: nothing may be drained")
            kind = sql.SQL(next(c.type for c in self._columns(db) if c.name == self.o.key))
            self._do(db, "UPDATE {state} SET draining = true WHERE NOT draining")
            done, last, looked = self._one(
                db,
                "WITH next AS (SELECT u.{key} AS key FROM {base} u WHERE %(c)s::text IS NULL OR u.{key} > %(c)s::text::{type} ORDER BY u.{key} LIMIT %(n)s),"
                " ended AS (UPDATE {base} u SET {hash} = s.dead FROM next, {state} s WHERE u.{key} = next.key"
                " AND u.{hash} IS DISTINCT FROM s.dead AND NOT EXISTS (SELECT FROM {live} l WHERE l.key = u.{key}) RETURNING 1)"
                " SELECT (SELECT count(*) FROM ended), (SELECT max(key)::text FROM next), (SELECT count(*) FROM next)",
                {"c": cursor, "n": limit},
                type=kind,
            )
            if looked < limit:
                self._do(db, "UPDATE {state} SET drained = true")
                last = None
        return Drained(done=done, cursor=last)

    def abort(self) -> None:
        """Put the table back in its place and remove all of ours. What was changed since the gate stays changed."""
        with self._open() as db:
            state = self._state(db)
            if state in {"draining", "drained"}:
                raise Refused(f"connector {self.name} has begun to overwrite old hashes: there is no way back")
            if state == "gated":
                self._do(db, "ALTER VIEW {table} RENAME TO {gate_name}")
                self._do(db, "ALTER TABLE {base} RENAME TO {table_name}")
            self._take_down(db)

    def status(self) -> TargetStatus:
        """Read from the catalogue what stands under the table's name."""
        with self._open() as db:
            state = self._state(db)
            at = self._one(db, "SELECT gated_at FROM {state}")[0] if state not in {"open", "armed"} else None
        return TargetStatus(state=state, gated_at=at)

    def set_password(self, account: str, secret: Private[str], *, format: str) -> None:
        """Store a new hash and put the account into the live set."""
        if format not in makers.FORMATS:
            raise BadInput.of("format", format, f"one of {', '.join(makers.FORMATS)}")
        with self._open() as db:
            columns = {c.name: c for c in self._columns(db)}
            if faults := self._too_long(secret, columns):
                raise BadInput(faults)
            gated = self._state(db) not in {"open", "armed"}
            stamp = self._s(", {c} = clock_timestamp()", c=sql.Identifier(self.o.changed_at)) if self.o.changed_at else sql.SQL("")
            try:
                found = self._all(
                    db,
                    "UPDATE {held} SET {hash} = %s {stamp} WHERE {account} = %s::text::{type} RETURNING {key}",
                    [secret.reveal(), account],
                    held=self._id("_tocsin_base" if gated else ""),
                    stamp=stamp,
                    type=sql.SQL(columns[self.o.account].type),
                )
            except pg.DataError:
                found = []
            if not found:
                raise NotFound(f"connector {self.name}: no account {account[:64]!r}")
            if gated:
                self._do(
                    db,
                    "INSERT INTO {live} (key, elsewhere) VALUES (%s, false) ON CONFLICT (key) DO UPDATE"
                    " SET xid = excluded.xid, changed_at = excluded.changed_at, elsewhere = false",
                    [found[0][0]],
                )

    def write_rate_limit(self) -> float | None:
        """Return None: a table takes far more than any hashing gives."""
        return None

    def changed_elsewhere(self, since: str | None) -> Changed:
        """Return accounts whose hash the application itself has written since a cursor, which is a transaction id."""
        with self._open() as db:
            if self._state(db) in {"open", "armed"}:
                return Changed((), since or "0")
            horizon = self._one(db, "SELECT pg_snapshot_xmin(pg_current_snapshot())::text")[0]
            rows = self._all(
                db,
                "SELECT u.{account}::text FROM {live} l JOIN {base} u ON u.{key} = l.key"
                " WHERE l.elsewhere AND l.xid >= %s::text::xid8 AND u.{login} NOT LIKE %s ORDER BY 1",
                [since or "0", f"{CANARY}%"],
            )
        return Changed(tuple(r[0] for r in rows), horizon)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.o.host}:{self.o.port}/{self.o.database} {self.o.table}>"

    # Statements: our names are filled in here and nowhere else.

    def _id(self, ending: str) -> sql.Identifier:
        return sql.Identifier(self.o.schema, f"{self.o.table}{ending}")

    def _text(self, ending: str) -> sql.Literal:
        return sql.Literal(self._id(ending).as_string(None))

    def _s(self, text: str, **parts: sql.Composable) -> sql.Composed:
        names = {
            "table": self._id(""),
            "table_name": sql.Identifier(self.o.table),
            "base": self._id("_tocsin_base"),
            "base_name": sql.Identifier(f"{self.o.table}_tocsin_base"),
            "gate": self._id("_tocsin_gate"),
            "gate_name": sql.Identifier(f"{self.o.table}_tocsin_gate"),
            "live": self._id("_tocsin_live"),
            "state": self._id("_tocsin_state"),
            "write": self._id("_tocsin_write"),
            **{c: sql.Identifier(getattr(self.o, c)) for c in ("key", "account", "login", "hash")},
        }
        return sql.SQL(text).format(**{**names, **parts})

    def _do(self, db: psycopg.Connection, text: str, params: Any = None, **parts: sql.Composable) -> None:
        db.execute(self._s(text, **parts), params)

    def _all(self, db: psycopg.Connection, text: str, params: Any = None, **parts: sql.Composable) -> list[tuple[Any, ...]]:
        return db.execute(self._s(text, **parts), params).fetchall()

    def _one(self, db: psycopg.Connection, text: str, params: Any = None, **parts: sql.Composable) -> tuple[Any, ...]:
        return self._all(db, text, params, **parts)[0]

    @contextlib.contextmanager
    def _open(self, *, lock_tries: bool = False) -> Iterator[psycopg.Connection]:
        """Give one transaction with limits on connecting, on waiting for a lock, on each statement, and on the silence of the network."""
        cut: threading.Timer | None = None
        line = -1
        try:
            db = psycopg.connect(
                host=self.o.host,
                port=self.o.port,
                dbname=self.o.database,
                user=self.o.user,
                password=self._secret.reveal() if self._secret is not None else None,
                connect_timeout=CONNECT_S,
                application_name="tocsin-connector",
                options=f"-c lock_timeout={LOCK_S}s -c statement_timeout={CALL_S}s -c idle_in_transaction_session_timeout={2 * CALL_S}s",
                prepare_threshold=None,
            )
            line = os.dup(db.fileno())
            cut = threading.Timer(CALL_S + CONNECT_S, _hang_up, [line])
            cut.daemon = True
            cut.start()
            with db:
                yield db
        except pg.LockNotAvailable:
            if lock_tries:
                raise
            raise Unavailable(f"connector {self.name}", f"no lock on {self.o.table} within {LOCK_S} s") from None
        except psycopg.Error as e:
            said = (e.diag.message_primary or str(e).strip().splitlines()[0]) if str(e) else type(e).__name__
            raise Unavailable(f"connector {self.name}", f"PostgreSQL at {self.o.host}:{self.o.port}: {said}") from None
        finally:
            if cut is not None:
                cut.cancel()
                os.close(line)

    # The catalogue.

    def _columns(self, db: psycopg.Connection) -> list[Column]:
        held = "_tocsin_base" if self._state(db) not in {"open", "armed"} else ""
        rows = self._all(
            db,
            "SELECT a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull OR a.atthasdef OR a.attidentity <> '',"
            " CASE WHEN a.atttypid IN ('varchar'::regtype, 'bpchar'::regtype) AND a.atttypmod > 4 THEN a.atttypmod - 4 END, t.typcategory = 'S'"
            " FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
            " WHERE a.attrelid = to_regclass({name}) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            name=self._text(held),
        )
        return [Column(*row) for row in rows]

    def _keys(self, db: psycopg.Connection) -> list[str]:
        held = "_tocsin_base" if self._state(db) not in {"open", "armed"} else ""
        rows = self._all(
            db,
            "SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)"
            " WHERE i.indrelid = to_regclass({name}) AND i.indisprimary ORDER BY a.attnum",
            name=self._text(held),
        )
        return [r[0] for r in rows]

    def _shape(self, db: psycopg.Connection, ending: str) -> list[tuple[Any, ...]]:
        return self._all(
            db,
            "SELECT attname, atttypid, atttypmod FROM pg_attribute WHERE attrelid = to_regclass({name}) AND attnum > 0 AND NOT attisdropped"
            " ORDER BY attnum",
            name=self._text(ending),
        )

    def _state(self, db: psycopg.Connection) -> State:
        kinds = dict(
            self._all(
                db,
                "SELECT right(relname, -%s), relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                " WHERE nspname = %s AND relname IN ({t}, {b}, {g}, {s})",
                [len(self.o.table), self.o.schema],
                t=sql.Literal(self.o.table),
                b=sql.Literal(f"{self.o.table}_tocsin_base"),
                g=sql.Literal(f"{self.o.table}_tocsin_gate"),
                s=sql.Literal(f"{self.o.table}_tocsin_state"),
            )
        )
        if kinds.get("") == "v" and "_tocsin_base" in kinds:
            draining, drained = self._one(db, "SELECT draining, drained FROM {state}")
            return "drained" if drained else "draining" if draining else "gated"
        return "armed" if kinds.get("_tocsin_gate") == "v" and "_tocsin_state" in kinds else "open"

    def _rights(self, db: psycopg.Connection, state: State) -> list[Finding]:
        """Return what stands in the way of the switch, or beside it."""
        held = self._text("_tocsin_base" if state not in {"open", "armed"} else "")
        kind, owns, creates, readonly, owner = self._one(
            db,
            "SELECT c.relkind::text, pg_has_role(c.relowner, 'MEMBER'), has_schema_privilege(c.relnamespace, 'CREATE'),"
            " pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean, pg_get_userbyid(c.relowner)"
            " FROM pg_class c WHERE c.oid = {held}::regclass",
            held=held,
        )
        found = []
        if kind != "r":
            found.append(Finding("blocker", f"{self.o.table} is no plain table", "gate its parts, or the table behind it"))
        if not owns:
            found.append(
                Finding("blocker", f"{self.o.user} cannot rename {self.o.table}", f'GRANT "{owner}" TO "{self.o.user}", its owner')
            )
        if not creates:
            found.append(
                Finding("blocker", f"{self.o.user} may create nothing in {self.o.schema}", f"GRANT CREATE ON SCHEMA {self.o.schema}")
            )
        if readonly:
            found.append(Finding("blocker", "this server takes no writes: a replica, or set to read only", "name the primary"))
        views = self._all(
            db,
            "SELECT DISTINCT r.ev_class::regclass::text FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid"
            " WHERE d.classid = 'pg_rewrite'::regclass AND d.refobjid = {held}::regclass AND r.ev_class <> {held}::regclass"
            " AND r.ev_class <> coalesce(to_regclass({gate}), 0) AND r.ev_class <> coalesce(to_regclass({table_text}), 0)"
            " AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = d.refobjid AND a.attnum = d.refobjsubid AND a.attname = {column})",
            held=held,
            gate=self._text("_tocsin_gate"),
            table_text=self._text(""),
            column=sql.Literal(self.o.hash),
        )
        found += [
            Finding("blocker", f"the view {v} shows {self.o.hash} past the gate", "drop it, or take that column out") for (v,) in views
        ]
        return found

    def _too_long(self, secret: Private[str], columns: Mapping[str, Column]) -> list[Fault]:
        room, n = columns[self.o.hash].length, len(secret.reveal())
        return [Fault("secret", f"{n} characters", f"at most {room}, the width of {self.o.hash}")] if room is not None and n > room else []

    # Building and removing.

    def _defaults(self, db: psycopg.Connection) -> None:
        """Give the view the table's defaults: a column left out of an INSERT gets them before our trigger sees the row."""
        rows = self._all(
            db,
            "SELECT a.attname, CASE WHEN a.attidentity <> '' THEN format('nextval(%%L::regclass)', pg_get_serial_sequence({name}, a.attname))"
            " ELSE pg_get_expr(d.adbin, d.adrelid) END FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
            " WHERE a.attrelid = {name}::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''"
            " AND (a.atthasdef OR a.attidentity <> '')",
            [],
            name=self._text(""),
        )
        for column, expression in rows:
            self._do(db, "ALTER VIEW {gate} ALTER COLUMN {c} SET DEFAULT {e}", c=sql.Identifier(column), e=sql.SQL(expression))

    def _triggers(self, db: psycopg.Connection, columns: Sequence[Column]) -> None:
        generated = {
            r[0]
            for r in self._all(
                db,
                "SELECT attname FROM pg_attribute WHERE attrelid = {name}::regclass AND attgenerated <> '' AND NOT attisdropped",
                name=self._text(""),
            )
        }
        always = self._all(
            db,
            "SELECT 1 FROM pg_attribute WHERE attrelid = {name}::regclass AND attidentity = 'a' AND NOT attisdropped",
            name=self._text(""),
        )
        plain = [c for c in columns if c.name not in generated]
        idents = [sql.Identifier(c.name) for c in plain]
        comma = sql.SQL(", ")
        sets = [
            sql.SQL("{c} = CASE WHEN NEW.{c}{t} IS DISTINCT FROM OLD.{c}{t} THEN NEW.{c} ELSE u.{c} END").format(
                c=sql.Identifier(c.name), t=sql.SQL("::text" if c.type.split("(")[0] in NO_EQUALITY else "")
            )
            for c in plain
            if c.name != self.o.hash
        ]
        self._do(
            db,
            """
CREATE FUNCTION {write}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, {schema}, pg_temp AS $tocsin$
DECLARE
  stored text;
  is_new boolean;
BEGIN
  IF TG_OP = 'DELETE' THEN
    DELETE FROM {base} u WHERE u.{key} = OLD.{key};
    IF NOT FOUND THEN RETURN NULL; END IF;
    DELETE FROM {live} l WHERE l.key = OLD.{key};
    RETURN OLD;
  END IF;
  IF TG_OP = 'INSERT' THEN
    INSERT INTO {base} AS u ({columns}) {overriding} VALUES ({news}) RETURNING {returned} INTO {into};
    INSERT INTO {live} (key, elsewhere) VALUES (NEW.{key}, true);
    RETURN NEW;
  END IF;
  SELECT u.{hash} INTO stored FROM {base} u WHERE u.{key} = OLD.{key} FOR UPDATE;
  IF NOT FOUND THEN RETURN NULL; END IF;
  -- What an object loaded before the gate writes back is the stored hash; what one loaded behind it writes back is the view's.
  is_new := NEW.{hash} IS DISTINCT FROM OLD.{hash} AND NEW.{hash} IS DISTINCT FROM stored
    AND NOT EXISTS (SELECT FROM {state} s WHERE NEW.{hash} = s.dead OR NEW.{hash} = ANY (s.past));
  UPDATE {base} u SET {hash} = CASE WHEN is_new THEN NEW.{hash} ELSE u.{hash} END, {sets} WHERE u.{key} = OLD.{key};
  IF is_new THEN
    INSERT INTO {live} (key, elsewhere) VALUES (NEW.{key}, true)
    ON CONFLICT (key) DO UPDATE SET xid = excluded.xid, changed_at = excluded.changed_at, elsewhere = true;
  ELSE
    NEW.{hash} := OLD.{hash};
  END IF;
  RETURN NEW;
END $tocsin$
            """,
            schema=sql.Identifier(self.o.schema),
            columns=comma.join(idents),
            overriding=sql.SQL("OVERRIDING SYSTEM VALUE" if always else ""),
            news=comma.join(sql.SQL("NEW.{}").format(i) for i in idents),
            returned=comma.join(sql.SQL("u.{}").format(sql.Identifier(c.name)) for c in columns),
            into=comma.join(sql.SQL("NEW.{}").format(sql.Identifier(c.name)) for c in columns),
            sets=comma.join(sets),
        )
        self._do(db, "CREATE TRIGGER tocsin_write INSTEAD OF INSERT OR UPDATE OR DELETE ON {gate} FOR EACH ROW EXECUTE FUNCTION {write}()")

    def _grants(self, db: psycopg.Connection) -> None:
        """Give the view the rights that roles have on the table, column by column where they have them so."""
        rows = self._all(
            db,
            "SELECT x.privilege_type, NULL, coalesce(quote_ident(r.rolname), 'PUBLIC') FROM pg_class c, aclexplode(c.relacl) x LEFT JOIN pg_roles r"
            " ON r.oid = x.grantee WHERE c.oid = {name}::regclass AND x.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')"
            " UNION ALL SELECT x.privilege_type, a.attname, coalesce(quote_ident(r.rolname), 'PUBLIC') FROM pg_attribute a,"
            " aclexplode(a.attacl) x LEFT JOIN pg_roles r ON r.oid = x.grantee WHERE a.attrelid = {name}::regclass AND NOT a.attisdropped"
            " AND x.privilege_type IN ('SELECT', 'INSERT', 'UPDATE')",
            name=self._text(""),
        )
        for right, column, role in rows:
            of = sql.SQL("({})").format(sql.Identifier(column)) if column else sql.SQL("")
            self._do(db, "GRANT {right} {of} ON {gate} TO {role}", right=sql.SQL(right), of=of, role=sql.SQL(role))

    def _take_down(self, db: psycopg.Connection) -> None:
        self._do(db, "DROP VIEW IF EXISTS {gate}")
        self._do(db, "DROP FUNCTION IF EXISTS {write}()")
        self._do(db, "DROP TABLE IF EXISTS {live}, {state}")


def _hang_up(descriptor: int) -> None:
    """Cut a connection whose other end has fallen silent: the call that waits on it then fails and says so."""
    with contextlib.suppress(OSError):
        line = socket.socket(fileno=os.dup(descriptor))
        line.shutdown(socket.SHUT_RDWR)
        line.close()
