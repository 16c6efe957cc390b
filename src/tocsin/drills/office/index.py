"""The index over the spool: who got which message, in a SQLite file that can always be made again from the spool.

Rows are gathered in memory and written in batches; every question first writes what waits, so an answer never lags behind a 250.
The file stores up to where in the spool it reaches, in the same transaction as the rows: after `kill -9` it catches up from there.
Returned mail (DSN, automatic replies, complaints) is planned here too, as rows due at an instant: it survives a crash with the index.

Message ids are 1, 2, 3 … in order of acceptance. Expected cost: 15-25 us a message; memory does not grow with the spool.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .personality import RETURNED, Personalities
from .spool import MAGIC, Spool

FORMAT = 1
BATCH_ROWS = 2_000
DUPLICATES_SHOWN_MAX = 10_000
RETURN_TRIES_MAX = 30
_MESSAGE_ID = re.compile(rb"^message-id:[ \t]*(?:\r\n[ \t]+)?(<[^>\r\n]{1,990}>)", re.IGNORECASE | re.MULTILINE)

_SCHEMA = """
CREATE TABLE state(format INTEGER NOT NULL, spool_end INTEGER NOT NULL);
CREATE TABLE message(id INTEGER PRIMARY KEY, offset INTEGER NOT NULL, length INTEGER NOT NULL, at_us INTEGER NOT NULL,
  sender TEXT NOT NULL, recipients TEXT NOT NULL, message_id TEXT NOT NULL);
CREATE TABLE delivery(address TEXT NOT NULL, message INTEGER NOT NULL, PRIMARY KEY(address, message)) WITHOUT ROWID;
CREATE TABLE mailbox(address TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE distinct_id(message_id TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX repeated ON distinct_id(message_id) WHERE n > 1;
CREATE TABLE returned(id INTEGER PRIMARY KEY, message INTEGER NOT NULL, address TEXT NOT NULL, kind TEXT NOT NULL, due_us INTEGER NOT NULL,
  tries INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL DEFAULT 'waiting', UNIQUE(message, address, kind));
CREATE INDEX returned_due ON returned(due_us) WHERE state = 'waiting';
"""
_OLDEST = ("SELECT m.* FROM delivery d JOIN message m ON m.id = d.message WHERE d.address = ? AND d.message > ? AND d.message < ? "
           "ORDER BY d.message LIMIT ?")
_NEWEST = _OLDEST.replace("LIMIT", "DESC LIMIT")


@dataclass(frozen=True, slots=True)
class Entry:
    """One message as the index knows it."""

    id: int
    offset: int
    length: int
    at_us: int
    sender: str
    recipients: tuple[str, ...]
    message_id: str


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One address and how many messages it holds."""

    address: str
    n: int


@dataclass(frozen=True, slots=True)
class Return:
    """A mail the office owes: to the sender of `message`, because of recipient `address`."""

    id: int
    message: int
    address: str
    kind: str
    tries: int


@dataclass(frozen=True, slots=True)
class Counts:
    """What the office holds. `duplicates` are the Message-IDs accepted more than once, sorted, capped; `surplus` is not capped."""

    received: int
    deliveries: int
    distinct_message_ids: int
    without_message_id: int
    mailboxes: int
    duplicates: tuple[str, ...]
    surplus: int
    returns_waiting: int
    returns_sent: int
    returns_given_up: int


def message_id_of(content: bytes) -> str:
    """Return the Message-ID of a message with its angle brackets, or ""."""
    end = content.find(b"\r\n\r\n")
    match = _MESSAGE_ID.search(content, 0, end + 2 if end >= 0 else len(content))
    return match[1].decode("ascii", "replace") if match else ""


class Index:
    """The open index. Owned by the loop of the post office."""

    def __init__(self, file: Path, spool: Spool, personalities: Personalities) -> None:
        """Open the index and bring it up to the end of the spool; a file of another format or ahead of its spool is made anew."""
        self._spool, self._personalities = spool, personalities
        self._waiting: list[tuple[int, int, int, int, str, tuple[str, ...], str]] = []
        self._db = self._open(file)
        self._reach = int(self._db.execute("SELECT spool_end FROM state").fetchone()[0])
        self._next = int(self._db.execute("SELECT coalesce(max(id), 0) + 1 FROM message").fetchone()[0])
        for offset, length, letter in spool.scan(self._reach):
            self.add(offset, length, letter.at_us, letter.sender, letter.recipients, letter.content)
        self.flush()

    def _open(self, file: Path) -> sqlite3.Connection:
        try:
            db = _connect(file)
            try:
                fmt, reach = db.execute("SELECT format, spool_end FROM state").fetchone()
                if fmt == FORMAT and reach <= self._spool.end:
                    return db
            except BaseException:
                db.close()
                raise
            db.close()
        except (sqlite3.DatabaseError, TypeError):
            pass  # new, torn or foreign: it holds nothing that the spool does not
        for path in (file, Path(f"{file}-wal"), Path(f"{file}-shm")):
            path.unlink(missing_ok=True)
        db = _connect(file)
        db.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
        db.execute("INSERT INTO state VALUES (?, ?)", (FORMAT, len(MAGIC)))
        return db

    def add(self, offset: int, length: int, at_us: int, sender: str, recipients: Sequence[str], content: bytes) -> int:
        """Take in a record of the spool; return the message's id. In memory until the next flush."""
        number = self._next
        self._next += 1
        self._waiting.append((number, offset, length, at_us, sender, tuple(recipients), message_id_of(content)))
        if len(self._waiting) >= BATCH_ROWS:
            self.flush()
        return number

    def flush(self) -> None:
        """Write what waits, in one transaction with the reach. A crash before it costs the time to read those records again."""
        if not self._waiting:
            return
        batch, self._waiting = self._waiting, []
        boxes = [(address,) for row in batch for address in row[5]]
        returns = [r for row in batch for r in self._returns(row)]
        last = batch[-1]
        reach = last[1] + last[2]
        with self._db:
            self._db.execute("BEGIN")
            self._db.executemany("INSERT INTO message VALUES (?,?,?,?,?,?,?)",
                                 [(n, o, size, at, s, " ".join(r), m) for n, o, size, at, s, r, m in batch])
            self._db.executemany("INSERT OR IGNORE INTO delivery VALUES (?,?)", [(a, row[0]) for row in batch for a in row[5]])
            self._db.executemany("INSERT INTO mailbox VALUES (?, 1) ON CONFLICT(address) DO UPDATE SET n = n + 1", boxes)
            self._db.executemany("INSERT INTO distinct_id VALUES (?, 1) ON CONFLICT(message_id) DO UPDATE SET n = n + 1",
                                 [(row[6],) for row in batch if row[6]])
            self._db.executemany("INSERT OR IGNORE INTO returned(message, address, kind, due_us) VALUES (?,?,?,?)", returns)
            self._db.execute("UPDATE state SET spool_end = ?", (reach,))
        self._reach = reach

    def _returns(self, row: tuple[int, int, int, int, str, tuple[str, ...], str]) -> list[tuple[int, str, str, int]]:
        found = []
        for address in row[5]:
            provider = self._personalities.provider_of(address)
            fate = self._personalities.fate(address, provider)
            if fate in RETURNED and row[4]:  # never to the null path (RFC 5321 s4.5.5)
                found.append((row[0], address, fate, row[3] + int(provider.return_delay_s * 1e6)))
        return found

    def entry(self, number: int) -> Entry | None:
        """Return one message, or None."""
        self.flush()
        row = self._db.execute("SELECT * FROM message WHERE id = ?", (number,)).fetchone()
        return _entry(row) if row else None

    def delivered(self, address: str, *, after: int = 0, limit: int, newest_first: bool = False, before: int | None = None) -> list[Entry]:
        """Return messages of a mailbox with `after < id < before`, in order of acceptance or the other way round."""
        self.flush()
        return [_entry(row) for row in self._db.execute(_NEWEST if newest_first else _OLDEST, (address, after, before or 1 << 62, limit))]

    def record(self, *, after: int, limit: int) -> list[Entry]:
        """Return messages in order of acceptance: the record of who got what."""
        self.flush()
        return [_entry(row) for row in self._db.execute("SELECT * FROM message WHERE id > ? ORDER BY id LIMIT ?", (after, limit))]

    def newest(self, *, limit: int, before: int | None = None) -> list[Entry]:
        """Return the latest messages, newest first."""
        self.flush()
        return [_entry(row) for row in self._db.execute("SELECT * FROM message WHERE id < ? ORDER BY id DESC LIMIT ?",
                                                        (before or 1 << 62, limit))]

    def mailboxes(self, *, search: str = "", after: str = "", limit: int) -> list[Mailbox]:
        """Return mailboxes by address, those that contain `search`, from the one behind `after` on."""
        self.flush()
        pattern = "%" + search.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        return [Mailbox(*row) for row in self._db.execute(
            "SELECT address, n FROM mailbox WHERE address > ? AND (? = '%%' OR address LIKE ? ESCAPE '\\') ORDER BY address LIMIT ?",
            (after, pattern, pattern, limit))]

    def counts(self) -> Counts:
        """Return the totals and the repeated Message-IDs."""
        self.flush()
        one = self._db.execute
        received, without = one("SELECT count(*), count(*) FILTER (WHERE message_id = '') FROM message").fetchone()
        distinct = one("SELECT count(*) FROM distinct_id").fetchone()[0]
        boxes = one("SELECT count(*) FROM mailbox").fetchone()[0]
        deliveries = one("SELECT count(*) FROM delivery").fetchone()[0]
        repeated = one("SELECT message_id FROM distinct_id WHERE n > 1 ORDER BY message_id LIMIT ?", (DUPLICATES_SHOWN_MAX,)).fetchall()
        states = dict(one("SELECT state, count(*) FROM returned GROUP BY state").fetchall())
        return Counts(received, deliveries, distinct, without, boxes, tuple(row[0] for row in repeated), received - without - distinct,
                      states.get("waiting", 0), states.get("sent", 0), states.get("given_up", 0))

    def due(self, now_us: int, *, limit: int) -> list[Return]:
        """Return the mails owed at this instant, oldest first."""
        self.flush()
        return [Return(*row) for row in self._db.execute(
            "SELECT id, message, address, kind, tries FROM returned WHERE state = 'waiting' AND due_us <= ? ORDER BY due_us, id LIMIT ?",
            (now_us, limit))]

    def returned(self, number: int, *, sent: bool, again_us: int) -> None:
        """Note that a return was handed over, or when to try again; after RETURN_TRIES_MAX tries it is given up and counted."""
        with self._db:
            self._db.execute("BEGIN")
            if sent:
                self._db.execute("UPDATE returned SET state = 'sent', tries = tries + 1 WHERE id = ?", (number,))
            else:
                self._db.execute("UPDATE returned SET tries = tries + 1, due_us = ?, "
                                 "state = iif(tries + 1 >= ?, 'given_up', 'waiting') WHERE id = ?", (again_us, RETURN_TRIES_MAX, number))

    def drop(self, number: int) -> None:
        """Forget a return that must not be sent after all (the message forbids automatic replies)."""
        with self._db:
            self._db.execute("DELETE FROM returned WHERE id = ?", (number,))

    def close(self) -> None:
        """Write what waits and close."""
        self.flush()
        self._db.close()


def _connect(file: Path) -> sqlite3.Connection:
    # Without fsync: the file survives the death of this process, and after power loss it is made again from the spool.
    db = sqlite3.connect(file, isolation_level=None)
    try:
        db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536;")
    except sqlite3.DatabaseError:
        db.close()
        raise
    return db


def _entry(row: tuple[int, int, int, int, str, str, str]) -> Entry:
    return Entry(row[0], row[1], row[2], row[3], row[4], tuple(row[5].split(" ")), row[6])
