"""Any table of accounts in MariaDB, gated by exchanging two columns in one instant ALTER TABLE; the table stays a table.

    before   HASH                    the application's hashes
    armed    HASH, tocsin_other      the second column, invisible, whose default for every row is a hash that nobody can match; two triggers;
                                     TABLE_tocsin_log (who has changed), TABLE_tocsin_state
    gated    the two columns have exchanged their names: HASH reads as the default in every row, tocsin_other holds the old hashes

Both columns change name, visibility and default in one statement with ALGORITHM=INSTANT, which rewrites nothing (0 rows, whatever the size;
MariaDB 10.4 on). The application reads, inserts, updates, locks and deletes as before: nothing is a view. A trigger keeps an object that was
loaded before the gate from writing its old hash back, and notes who has set a new one.

Refused: RENAME TABLE to a prepared view. MariaDB has no INSTEAD OF triggers: a view whose hash is computed takes no INSERT and no new
password, so that nobody could be let in again through the application's own pages. Source: MariaDB documentation, "Instant ADD COLUMN",
"Invisible Columns", "ALTER TABLE"; each promise is tried on the real server by the suite.

GAP: a second gate throws away the hashes of before the first, so there is no abort after it. GAP: DDL of MariaDB is no transaction: `arm`
that breaks off leaves some of its parts, and arming again or `abort` puts that right.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pymysql
from pymysql import err

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
from tocsin.kernel.errors import BadInput, NotFound, Refused, Unavailable
from tocsin.kernel.hosts import is_local
from tocsin.kernel.private import Private

LOCK_TRIES_MAX = 15
LOCK_WAIT, STATEMENT_TIME = 1205, 1969  # MariaDB's numbers for a lock that did not come, and for a statement that took too long
NO_TABLE, BAD_VALUE = 1146, 1366
VERSION_MIN = (10, 4)
DRAIN_ROWS_PER_S = 60_000  # 8.0 s for 500,000 rows in batches of 10,000; measured on two busy cores, the log flushed once a second
OVERLAP_S = 60  # a transaction may commit so long after its trigger noted it, and is still seen


class MariaTable:
    """A table of accounts in MariaDB. `schema` is not used: MariaDB calls that a database."""

    kind = "mariadb"

    def __init__(self, name: str, options: Mapping[str, Any], secret: Private[str] | None) -> None:
        found = given.parse(TableOptions, name, {"port": 3306, **options}, needed=("database", "user", "table", "key", "login", "hash"))
        self.name, self._secret = name, secret
        self.o = replace(found, account=found.account or found.key)
        self._where = f"connectors.{name}"

    def reach(self) -> Literal["loopback", "world"]:
        """Return whether the database is on this machine."""
        return "loopback" if is_local(self.o.host) else "world"

    def probe(self) -> Probe:
        """Look at table, formats and rights; raises BadInput with every fault of the mapping. One pass over the table to count it."""
        with self._open() as db:
            columns = self._columns(db)
            if faults := mapping_faults(self._where, self.o, columns, keys=self._keys(db)):
                raise BadInput(faults)
            other = "tocsin_other" if self._state(db)[0] not in {"open", "armed"} else self.o.hash
            subjects = self._rows(db, "SELECT count(*) FROM {table} WHERE {login} NOT LIKE %s", f"{CANARY}%")[0][0]
            sample = self._rows(db, f"SELECT `{other}` FROM {{table}} WHERE {{login}} NOT LIKE %s LIMIT {SAMPLE_ROWS}", f"{CANARY}%")  # noqa: S608  names are quoted
            kinds = self.o.formats or formats_seen([r[0] for r in sample])
            findings = [*format_findings(kinds, where=self._where), *self._rights(db)]
        return Probe(
            kind=self.kind,
            subjects=subjects,
            classes=("password",),
            formats=kinds,
            write_rate_per_s=None,
            drain_eta_s=round(subjects / DRAIN_ROWS_PER_S, 1),
            findings=tuple(findings),
        )

    def arm(self) -> None:
        """Add the second column at once, and the triggers; no row is rewritten and no log-in changes."""
        found = self.probe()
        if blockers := [f for f in found.findings if f.level == "blocker"]:
            raise Refused("; ".join(f"{f.text}: {f.remedy}" for f in blockers))
        with self._open() as db:
            if self._state(db)[0] not in {"open", "armed"}:
                return
            self._take_down(db)
            like = self._rows(db, "SELECT {hash} FROM {table} WHERE {hash} LIKE %s AND {login} NOT LIKE %s LIMIT 1", "%$%", f"{CANARY}%")
            room = next(c.length for c in self._columns(db) if c.name == self.o.hash)
            dead = dead_hash(like[0][0] if like else None, format=found.formats[0], room=room)
            kind, own = self._definition(db)
            key = next(c.type for c in self._columns(db) if c.name == self.o.key)
            self._do(
                db,
                f"CREATE TABLE {{log}} (id bigint AUTO_INCREMENT PRIMARY KEY, account {key} NOT NULL,"
                " at datetime(6) NOT NULL DEFAULT current_timestamp(6), elsewhere boolean NOT NULL)",
            )
            self._do(
                db,
                "CREATE TABLE {state} (one boolean PRIMARY KEY, own text NOT NULL, deads text NOT NULL, epoch int, gated_at datetime(6),"
                " first_log bigint NOT NULL DEFAULT 0, drain varchar(8) NOT NULL DEFAULT '')",
            )
            self._do(
                db,
                f"ALTER TABLE {{table}} ADD COLUMN tocsin_other {kind} NOT NULL DEFAULT %s INVISIBLE AFTER {{hash}}, ALGORITHM=INSTANT",
                dead,
            )
            self._do(db, _UPDATED.replace("HASH", "{hash}").replace("KEY", "{key}"))
            self._do(db, _INSERTED.replace("HASH", "{hash}").replace("KEY", "{key}"))
            self._do(db, "INSERT INTO {state} (one, own, deads) VALUES (1, %s, %s)", own, dead)  # the last step: now it is armed

    def gate(self, epoch: int, *, at: datetime) -> Gated:
        """Exchange the columns in one statement. A gate of a higher epoch puts a fresh column in the place of the live one."""
        with self._open() as db:
            state, deads, done = self._state(db)
            if state == "open":
                raise Refused(f"connector {self.name} is not armed: {self.o.table} has no second column")
            if done is not None and done >= epoch:
                return Gated(0.0, f"was gated already under epoch {done}")
            kind, _ = self._definition(db)
            own = self._rows(db, "SELECT own FROM {state}")[0][0]
            first = self._rows(db, "SELECT coalesce(max(id), 0) FROM {log}")[0][0]
            dead = deads[-1] if state == "armed" else dead_hash(deads[-1], format="", room=None)
            values = (epoch, at.astimezone(UTC).replace(tzinfo=None), first)
            # Written before the switch: what a crash leaves between the two is an armed target that is gated again, with these same values.
            if state != "armed":
                self._do(db, "UPDATE {state} SET deads = concat(deads, '\n', %s), drain = if(drain = '', 'again', drain)", dead)
            self._do(db, "UPDATE {state} SET epoch = %s, gated_at = %s, first_log = %s", *values)
            null = "NOT NULL" if " NOT NULL" in own or state != "armed" else "NULL"  # a change of that would rewrite the table
            hidden = f"CHANGE {{hash}} tocsin_other {kind} {null} DEFAULT %s INVISIBLE"
            if state == "armed":
                statement = f"ALTER TABLE {{table}} {hidden}, CHANGE tocsin_other {{hash}} {kind} NOT NULL DEFAULT %s, ALGORITHM=INSTANT"
            else:
                added = f"ADD COLUMN {{hash}} {kind} NOT NULL DEFAULT %s AFTER tocsin_other"
                statement = f"ALTER TABLE {{table}} DROP COLUMN tocsin_other, {hidden}, {added}, ALGORITHM=INSTANT"
            for tries in range(LOCK_TRIES_MAX):
                began = time.monotonic()
                try:
                    self._do(db, statement, dead, dead)
                    return Gated(round((time.monotonic() - began) * 1000, 3), "the two columns have exchanged their names")
                except err.OperationalError as e:
                    if e.args[0] not in {LOCK_WAIT, STATEMENT_TIME}:
                        raise
                    time.sleep(0.05 * (tries + 1))
        raise Unavailable(
            f"connector {self.name}", f"no lock on {self.o.table} in {LOCK_TRIES_MAX} tries of {LOCK_S} s: a long transaction?"
        )

    def plant(self, n: int) -> Sequence[TargetCanary]:
        """Insert `n` rows of ours with known passwords."""
        with self._open() as db:
            columns = {c.name: c for c in self._columns(db)}
            sample = self._rows(db, f"SELECT {{hash}} FROM {{table}} LIMIT {SAMPLE_ROWS}")  # noqa: S608  names are quoted
            format = (self.o.formats or formats_seen([r[0] for r in sample]) or ("argon2id",))[0]
            made = []
            for _ in range(n):
                login, password = new_canary()
                values = {k: v.replace("{login}", login) if isinstance(v, str) else v for k, v in self.o.canary.items()}
                for c in (self.o.key, self.o.account):
                    if not columns[c].fills_itself and c not in values:
                        values[c] = login
                values |= {self.o.login: login, self.o.hash: makers.make_in(format, password).reveal()}
                names = ", ".join(_quoted(c) for c in values)
                self._do(db, f"INSERT INTO {{table}} ({names}) VALUES ({', '.join(['%s'] * len(values))})", *values.values())  # noqa: S608  names are quoted
                account = self._rows(db, "SELECT {account} FROM {table} WHERE {login} = %s", login)[0][0]
                made.append(TargetCanary(account=str(account), login=login, secrets={"password": password}))
        return made

    def present(self, canary: TargetCanary) -> Sequence[Presented]:
        """Read the hash as the application does, by login from the table, and verify the canary's password against it."""
        with self._open() as db:
            rows = self._rows(db, "SELECT {hash} FROM {table} WHERE {login} = %s", canary.login)
        return said_of_hash(canary, rows[0][0] if rows else None)

    def uproot(self, canary: TargetCanary) -> None:
        """Delete the row of a canary; only ever one of ours."""
        if canary.login.startswith(CANARY):
            with self._open() as db:
                self._do(db, "DELETE FROM {table} WHERE {login} = %s", canary.login)

    def drain(self, cursor: str | None, *, limit: int) -> Drained:
        """Overwrite up to `limit` old hashes in the second column, in the order of the key. After the first one there is no abort."""
        with self._open() as db:
            state, deads, _ = self._state(db)
            if state not in {"gated", "draining", "drained"}:
                raise Refused(f"connector {self.name} is not gated: nothing may be drained")
            self._do(db, "UPDATE {state} SET drain = 'begun' WHERE drain <> 'done'")
            after = "" if cursor is None else "WHERE {key} > %s"
            found = self._rows(db, f"SELECT {{key}} FROM {{table}} {after} ORDER BY {{key}} LIMIT %s", *([cursor] if cursor else []), limit)  # noqa: S608  names are quoted
            done = 0
            if found:
                done = self._do(
                    db,
                    "UPDATE {table} SET tocsin_other = %s WHERE {key} BETWEEN %s AND %s AND NOT tocsin_other <=> %s",
                    deads[-1],
                    found[0][0],
                    found[-1][0],
                    deads[-1],
                )
            if len(found) < limit:
                self._do(db, "UPDATE {state} SET drain = 'done'")
        return Drained(done=done, cursor=str(found[-1][0]) if len(found) == limit else None)

    def abort(self) -> None:
        """Give the columns their names back and remove ours. Who has set a password since the gate keeps it."""
        with self._open() as db:
            state, deads, _ = self._state(db)
            if state in {"draining", "drained"}:
                raise Refused(f"connector {self.name} has begun to overwrite old hashes: there is no way back")
            if state == "gated":
                if self._rows(db, "SELECT drain FROM {state}")[0][0] == "again":
                    raise Refused(f"connector {self.name} was gated twice: the hashes of before the first gate are gone")
                kind, _ = self._definition(db)
                own = self._rows(db, "SELECT own FROM {state}")[0][0]
                # Under the lock nobody sets a password between the two statements. A crash between them leaves the gate as it is.
                self._do(db, "LOCK TABLES {table} WRITE, {log} READ, {state} READ")
                try:
                    self._do(
                        db,
                        "UPDATE {table} SET tocsin_other = {hash} WHERE {hash} <> %s AND {key} IN (SELECT account FROM {log})",
                        deads[-1],
                    )
                    self._do(
                        db,
                        f"ALTER TABLE {{table}} CHANGE {{hash}} tocsin_other {kind} NOT NULL DEFAULT %s INVISIBLE,"
                        f" CHANGE tocsin_other {{hash}} {own}, ALGORITHM=INSTANT",
                        deads[-1],
                    )
                finally:
                    db.cursor().execute("UNLOCK TABLES")
            self._take_down(db)

    def status(self) -> TargetStatus:
        """Read from the catalogue which of the two columns bears the name."""
        with self._open() as db:
            state, _, _ = self._state(db)
            at = self._rows(db, "SELECT gated_at FROM {state}")[0][0].replace(tzinfo=UTC) if state not in {"open", "armed"} else None
        return TargetStatus(state=state, gated_at=at)

    def set_password(self, account: str, secret: Private[str], *, format: str) -> None:
        """Store a new hash; the row reads as it from that moment on."""
        if format not in makers.FORMATS:
            raise BadInput.of("format", format, f"one of {', '.join(makers.FORMATS)}")
        with self._open() as db:
            room = next(c.length for c in self._columns(db) if c.name == self.o.hash)
            if room is not None and len(secret.reveal()) > room:
                raise BadInput.of("secret", f"{len(secret.reveal())} characters", f"at most {room}, the width of {self.o.hash}")
            found = self._rows(db, "SELECT {key} FROM {table} WHERE {account} = %s AND concat({account}) = %s", account, account)
            if not found:
                raise NotFound(f"connector {self.name}: no account {account[:64]!r}")
            stamp = f", {_quoted(self.o.changed_at)} = current_timestamp(6)" if self.o.changed_at else ""
            self._do(db, "SET @tocsin = 1")
            self._do(db, f"UPDATE {{table}} SET {{hash}} = %s{stamp} WHERE {{key}} = %s", secret.reveal(), found[0][0])  # noqa: S608  names are quoted

    def write_rate_limit(self) -> float | None:
        """Return None: a table takes far more than any hashing gives."""
        return None

    def changed_elsewhere(self, since: str | None) -> Changed:
        """Return accounts whose hash the application itself has written since a cursor, an instant of the server's clock less an overlap."""
        with self._open() as db:
            state, deads, _ = self._state(db)
            if state in {"open", "armed"}:
                return Changed((), since or "")
            now = self._rows(db, "SELECT current_timestamp(6)")[0][0]
            rows = self._rows(
                db,
                "SELECT DISTINCT u.{account} FROM {log} l JOIN {table} u ON u.{key} = l.account, {state} s"
                " WHERE l.elsewhere AND l.id > s.first_log AND l.at >= %s AND u.{hash} <> %s AND u.{login} NOT LIKE %s",
                since or "1970-01-01",
                deads[-1],
                f"{CANARY}%",
            )
        return Changed(tuple(sorted(str(r[0]) for r in rows)), str(now - timedelta(seconds=OVERLAP_S)))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.o.host}:{self.o.port}/{self.o.database} {self.o.table}>"

    # Statements: our names are filled in here and nowhere else.

    def _fill(self, text: str) -> str:
        names = {"table": "", "log": "_tocsin_log", "state": "_tocsin_state", "updated": "_tocsin_updated", "inserted": "_tocsin_inserted"}
        for name, ending in names.items():
            text = text.replace(f"{{{name}}}", _quoted(f"{self.o.table}{ending}"))
        for name in ("key", "account", "login", "hash"):
            text = text.replace(f"{{{name}}}", _quoted(getattr(self.o, name)))
        return text

    def _do(self, db: pymysql.Connection[Any], text: str, *params: Any) -> int:
        with db.cursor() as cursor:
            return int(cursor.execute(self._fill(text), params or None))

    def _rows(self, db: pymysql.Connection[Any], text: str, *params: Any) -> list[tuple[Any, ...]]:
        with db.cursor() as cursor:
            cursor.execute(self._fill(text), params or None)
            return list(cursor.fetchall())

    @contextlib.contextmanager
    def _open(self) -> Iterator[pymysql.Connection[Any]]:
        """Give a connection with limits on connecting, on waiting for a lock, on each statement, and on the silence of the network."""
        try:
            db = pymysql.connect(
                host=self.o.host,
                port=self.o.port,
                database=self.o.database,
                user=self.o.user,
                password=self._secret.reveal() if self._secret is not None else "",
                charset="utf8mb4",
                autocommit=True,
                connect_timeout=CONNECT_S,
                read_timeout=CALL_S,
                write_timeout=CALL_S,
                init_command=f"SET SESSION lock_wait_timeout = {LOCK_S}, innodb_lock_wait_timeout = {LOCK_S}, max_statement_time = {CALL_S}",
            )
            with contextlib.closing(db):
                yield db
        except err.MySQLError as e:
            said = str(e.args[1]) if len(e.args) > 1 else str(e) or type(e).__name__
            raise Unavailable(f"connector {self.name}", f"MariaDB at {self.o.host}:{self.o.port}: {said}") from None

    # The catalogue.

    def _columns(self, db: pymysql.Connection[Any]) -> list[Column]:
        rows = self._rows(
            db,
            "SELECT column_name, column_type, is_nullable = 'YES' OR column_default IS NOT NULL OR extra <> '', character_maximum_length,"
            " data_type IN ('varchar', 'char', 'text', 'tinytext', 'mediumtext') FROM information_schema.columns"
            " WHERE table_schema = %s AND table_name = %s AND column_name <> 'tocsin_other' ORDER BY ordinal_position",
            self.o.database,
            self.o.table,
        )
        return [Column(name, kind, bool(filled), length, bool(text)) for name, kind, filled, length, text in rows]

    def _keys(self, db: pymysql.Connection[Any]) -> list[str]:
        rows = self._rows(
            db,
            "SELECT column_name FROM information_schema.statistics WHERE table_schema = %s AND table_name = %s AND index_name = 'PRIMARY'"
            " ORDER BY seq_in_index",
            self.o.database,
            self.o.table,
        )
        return [r[0] for r in rows]

    def _definition(self, db: pymysql.Connection[Any]) -> tuple[str, str]:
        """Return type and character set of the hash column, and the whole definition it had before us."""
        kind, charset, collation, nullable, default = self._rows(
            db,
            "SELECT column_type, character_set_name, collation_name, is_nullable, column_default FROM information_schema.columns"
            " WHERE table_schema = %s AND table_name = %s AND column_name = %s",
            self.o.database,
            self.o.table,
            self.o.hash,
        )[0]
        text = f"{kind} CHARACTER SET {charset} COLLATE {collation}"
        null = "NULL" if nullable == "YES" else "NOT NULL"
        return text, f"{text} {null}{f' DEFAULT {default}' if default is not None else ''}".replace("%", "%%")

    def _state(self, db: pymysql.Connection[Any]) -> tuple[State, list[str], int | None]:
        """Return where the table stands, the hashes that nobody can match, and the epoch that holds."""
        try:
            rows = self._rows(db, "SELECT deads, epoch, drain FROM {state}")
        except err.ProgrammingError as e:
            if e.args[0] != NO_TABLE:
                raise
            rows = []
        if not rows:
            return "open", [], None
        deads = rows[0][0].split("\n")
        shown = self._rows(
            db,
            "SELECT column_default FROM information_schema.columns WHERE table_schema = %s AND table_name = %s AND column_name = %s",
            self.o.database,
            self.o.table,
            self.o.hash,
        )
        default = str(shown[0][0]).strip("'") if shown else ""
        if default not in deads:
            return "armed", deads, None
        drained: dict[str, State] = {"begun": "draining", "done": "drained"}
        return drained.get(rows[0][2], "gated"), deads, rows[0][1] if default == deads[-1] else None

    def _rights(self, db: pymysql.Connection[Any]) -> list[Finding]:
        found = []
        version, readonly = self._rows(db, "SELECT version(), @@read_only")[0]
        numbers = tuple(int(n) for n in version.split("-")[0].split(".")[:2])
        if "MariaDB" not in version or numbers < VERSION_MIN:
            found.append(Finding("blocker", f"the server is {version}", "MariaDB 10.4 or later exchanges columns at once"))
        if readonly:
            found.append(Finding("blocker", "this server takes no writes: a replica, or set to read only", "name the primary"))
        engine = self._rows(
            db, "SELECT engine FROM information_schema.tables WHERE table_schema = %s AND table_name = %s", self.o.database, self.o.table
        )[0][0]
        if engine != "InnoDB":
            found.append(Finding("blocker", f"{self.o.table} is stored as {engine}", "only InnoDB adds a column at once"))
        held = {right for (right,) in self._rows(
            db, "SELECT privilege_type FROM information_schema.user_privileges UNION SELECT privilege_type FROM information_schema.schema_privileges"
            " WHERE %s LIKE table_schema", self.o.database)}  # fmt: skip
        wanted = ("SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "TRIGGER", "LOCK TABLES")
        if lacking := [right for right in wanted if right not in held]:
            remedy = f"GRANT {', '.join(lacking)} ON {self.o.database}.* TO '{self.o.user}'"
            found.append(Finding("blocker", f"{self.o.user} lacks {', '.join(lacking)}", remedy))
        views = self._rows(
            db,
            "SELECT table_name FROM information_schema.views WHERE table_schema = %s AND view_definition LIKE %s AND view_definition LIKE %s",
            self.o.database,
            f"%`{self.o.table}`%",
            f"%`{self.o.hash}`%",
        )
        found += [Finding("note", f"the view {v} names {self.o.hash}: it will show what the gate shows") for (v,) in views]
        return found

    def _take_down(self, db: pymysql.Connection[Any]) -> None:
        self._do(db, "DROP TRIGGER IF EXISTS {updated}")
        self._do(db, "DROP TRIGGER IF EXISTS {inserted}")
        self._do(db, "ALTER TABLE {table} DROP COLUMN IF EXISTS tocsin_other, ALGORITHM=INSTANT")
        self._do(db, "DROP TABLE IF EXISTS {log}, {state}")


_UPDATED = """
CREATE TRIGGER {updated} BEFORE UPDATE ON {table} FOR EACH ROW
BEGIN
  IF NEW.HASH = OLD.tocsin_other AND NOT OLD.HASH = OLD.tocsin_other THEN
    SET NEW.HASH = OLD.HASH;
  ELSEIF NOT NEW.HASH <=> OLD.HASH THEN
    INSERT INTO {log} (account, elsewhere) VALUES (NEW.KEY, @tocsin IS NULL);
  END IF;
END
"""
_INSERTED = """
CREATE TRIGGER {inserted} AFTER INSERT ON {table} FOR EACH ROW
  INSERT INTO {log} (account, elsewhere) VALUES (NEW.KEY, @tocsin IS NULL)
"""


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
