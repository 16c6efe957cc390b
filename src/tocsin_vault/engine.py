"""Every act of the vault: one transaction, its row of the access log in it, its leaf durable before the answer goes out.

The steps of an act, and what a crash after each costs:

    1  effect and vault_access rows are written       nothing happened
    2  the transaction commits                        the effect stands; the next start adds the leaves to the log from the rows
    3  the leaves are appended, fsynced and signed    nothing; the caller asks again and gets its answer (a release leaves a second leaf)
    4  the answer (a token, a number) goes out

One process runs a vault (flock on `lock`); inside it one mutex orders the acts. Several requests may share one act: group commit.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import psycopg

from tocsin_tlog import checkpoint, durable, leaf, proof
from tocsin_tlog.errors import TlogError
from tocsin_tlog.tiles import TileReader
from tocsin_tlog.verify import verify_log

from . import accesslog, cards
from .accesslog import Access, Op
from .adapters.file import FileKeys
from .errors import BadInput, Refused, Unavailable, VaultError
from .keyring import CARDS_PER_KEY_MAX, Keyring, context
from .pg import VaultPg
from .places import Place
from .port import KeyService

BATCH_ROWS = 5_000  # cards per import transaction: 0.1 s of work, one leaf, one checkpoint
SEALED = "sealed"  # the marker file of a panic seal
TEXT_CHARS_MAX = 200  # purposes and tickets
MINUTE_US, DAY_US = 60_000_000, 86_400_000_000
_TOKEN = re.compile(r"[0-9a-f]{32}")
_SQL = {p.stem: p.read_text() for p in (Path(__file__).parent / "sql").glob("*.sql")}  # read before privileges are dropped


def now_us() -> int:
    """Return the present instant in microseconds since 1970."""
    return time.time_ns() // 1000


def iso(at_us: int) -> str:
    """Return an instant as JSON shows it."""
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).replace(microsecond=at_us % 1_000_000).isoformat().replace("+00:00", "Z")


def mark_sealed(place: Place) -> None:
    """Have whatever process runs the vault drop its keys before its next act, and every later one start without them."""
    durable.replace(place.folder / SEALED, b"sealed\n", mode=0o600)


@dataclass(frozen=True, slots=True)
class Ask:
    """One request of an application: what, by which OS user, with which fields."""

    op: str
    uid: int
    fields: dict[str, Any] = field(repr=False)


@dataclass(slots=True)
class Counts:
    """What an import did; read = accepted + rejected."""

    read: int = 0
    accepted: int = 0
    rejected: int = 0
    new: int = 0


@dataclass(slots=True)
class _Row:
    customer_id: str
    card: cards.Card
    fingerprint: bytes


class _Act:
    """One open transaction that collects the leaves it will owe."""

    def __init__(self, db: psycopg.Connection, first_leaf: int, at_us: int) -> None:
        self.db, self.at_us = db, at_us
        self._first = first_leaf
        self._rows: list[tuple[Any, ...]] = []
        self._left: dict[tuple[int, str], list[int]] = {}
        self.entries: list[bytes] = []
        self.cards: dict[bytes, tuple[bytes, int]] = {}

    def record(self, access: Access) -> None:
        """Note one act; `write` stores it in this transaction."""
        stored = accesslog.record(access)
        self._rows.append((self._first + len(self._rows), access.at_us, access.op.name.lower(), access.client, access.purpose,
                           access.ticket, access.token, access.cards, stored.event, stored.salt, stored.entry))
        self.entries.append(stored.entry)

    def write(self) -> None:
        """Store the noted acts, the last thing before the commit."""
        if self._rows:
            with self.db.cursor().copy("COPY vault_access (leaf, at_us, op, client, purpose, ticket, token, cards, event, salt, entry)"
                                       " FROM STDIN") as copy:
                for row in self._rows:
                    copy.write_row(row)

    def look_up(self, asks: Sequence[Ask]) -> None:
        """Fetch the cards of all requests at once: a token made in this very act is known to nobody yet, so none can be missed."""
        tokens = [t for t in (_token_or_none(ask.fields) for ask in asks if ask.op in ("exists", "detokenise")) if t]
        if tokens:
            rows = self.db.execute("SELECT token, sealed, key FROM vault_card WHERE token = ANY(%s)", (tokens,)).fetchall()
            self.cards = {token: (sealed, key) for token, sealed, key in rows}

    def take_one(self, uid: int, purpose: str) -> None:
        """Use up one release of a client's grant for a purpose. Raises Refused when there is no grant or its rate is used up.

        The database is asked once per act; further requests of the same act are counted here.
        """
        if (uid, purpose) not in self._left:
            grant = self.db.execute("SELECT per_minute, per_day FROM vault_grant WHERE client_uid = %s AND purpose = %s AND until_us > %s"
                                    " ORDER BY id DESC LIMIT 1", (uid, purpose, self.at_us)).fetchone()
            if grant is None:
                raise Refused("no grant by two approvers for this client and purpose")
            used = self.db.execute("SELECT count(*) FILTER (WHERE at_us > %s), count(*) FROM vault_access"
                                   " WHERE op = 'released' AND client = %s AND purpose = %s AND at_us > %s",
                                   (self.at_us - MINUTE_US, _client(uid), purpose, self.at_us - DAY_US)).fetchone() or (0, 0)
            self._left[uid, purpose] = [limit - n for limit, n in zip(grant, used, strict=True)]
        left = self._left[uid, purpose]
        if min(left) <= 0:
            raise Refused("the grant's rate is used up")
        self._left[uid, purpose] = [n - 1 for n in left]


class Engine:
    """A vault in the hands of this process. `open` before any act, `close` in the end; acts may come from several threads."""

    def __init__(self, place: Place, binaries: Path, *, clock: Callable[[], int] = now_us) -> None:
        self.place, self._clock = place, clock
        self.pg = VaultPg(place, binaries)
        self._mutex = threading.RLock()
        self._stack = contextlib.ExitStack()
        self._ring: Keyring | None = None
        self._last_us = 0
        self._closing = False

    # -- opening and closing -----------------------------------------------------------------------------------------------

    def try_lock(self) -> bool:
        """Take the vault's lock; False when another process has it. The kernel frees it when we end, however we end."""
        lock = (self.place.folder / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return False
        self._stack.enter_context(lock)
        return True

    def create(self, origin: str) -> None:
        """Make keys where there are none. Safe to repeat; a crash half-way is finished by the next call."""
        keys = self.place.folder / "keys"
        keys.mkdir(exist_ok=True, mode=0o700)
        FileKeys.create(keys)
        accesslog.create_keys(keys / "log.key", self.place.folder / "log.vkey", origin)

    def open(self) -> None:
        """Start the database, bring log and tables to the same state, load the keys unless the vault is sealed.

        The caller holds the lock. Raises Unavailable; a log that lost leaves is never written on.
        """
        try:
            self._stack.callback(self.pg.stop)
            self.pg.start()
            self._db = self._stack.enter_context(contextlib.closing(self.pg.connect()))
            self._db.execute(_SQL["schema"])
            self._db.commit()
            self._keys = accesslog.signers(self.place.folder / "keys" / "log.key")
            self._log = self._stack.enter_context(accesslog.open_log(self.place.folder / "log", self._keys))
            self._db.execute(_SQL["incoming"])
            self._db.commit()
            self._last_us = self._one("SELECT coalesce(max(at_us), 0) FROM vault_access")
            if self._log.size > self._rows():
                raise Unavailable("the access log has leaves that the database lacks: was the database restored from a backup?")
            self._catch_up()
            if self._rows() == 0:
                self._save_checkpoint(self._log.publish(at_s=self._clock() // 1_000_000))  # the empty log, as the first bracket of audits
                with self._act() as act:
                    act.record(Access(Op.OPENED, act.at_us, self._me()))
            self._load_keys()
        except (FileNotFoundError, TlogError, psycopg.Error) as e:
            self.close()
            raise Unavailable(f"the vault cannot be opened: {type(e).__name__}: {str(e).splitlines()[0]}") from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Finish the act in hand, then let go of database, log and lock. Safe to call twice."""
        self._closing = True
        with self._mutex:
            self._stack.close()

    # -- requests of applications --------------------------------------------------------------------------------------------

    def answer(self, asks: Sequence[Ask]) -> list[dict[str, Any]]:
        """Answer several requests in one transaction and one signature; answers come back only when every leaf is durable.

        A refusal is an answer `{"error": ...}`. Raises Unavailable when database or log fail: then none of them happened or was told.
        """
        out: list[dict[str, Any]] = []
        try:
            with self._act() as act:
                act.look_up(asks)
                for ask in asks:
                    try:
                        out.append(self._answer_one(act, ask))
                    except VaultError as e:
                        out.append({"error": e.as_json()})
        except (psycopg.Error, TlogError, OSError) as e:
            raise Unavailable(f"{type(e).__name__} in database or log") from None
        return out

    def _answer_one(self, act: _Act, ask: Ask) -> dict[str, Any]:
        if ask.op == "exists":
            self._unsealed()
            return {"exists": _token(ask.fields) in act.cards}
        if ask.op == "tokenise":
            return self._tokenise(act, ask)
        if ask.op == "detokenise":
            return self._release(act, ask)
        raise BadInput(("op", "exists, tokenise or detokenise"))

    def _tokenise(self, act: _Act, ask: Ask) -> dict[str, Any]:
        ring = self._unsealed()
        texts = [ask.fields.get(name, "") for name in cards.COLUMNS[1:]]
        if not all(isinstance(t, str) for t in texts):
            raise BadInput(*((name, "text") for name in cards.COLUMNS[1:]))
        card = cards.parse(*texts)
        if isinstance(card, cards.Fault):
            raise BadInput((card.field, card.reason))
        key_id, token = self._card_key(act, 1), secrets.token_bytes(16)
        row = act.db.execute(
            "INSERT INTO vault_card (token, fingerprint, key, sealed, expires) VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT (fingerprint) DO UPDATE SET expires = EXCLUDED.expires RETURNING token",
            (token, ring.fingerprint(card.pan), key_id, ring.seal(card, token=token, key_id=key_id), card.expires)).fetchone()
        if row is None:
            raise Unavailable("the database gave no token")
        act.record(Access(Op.TOKENISED, act.at_us, _client(ask.uid), cards=1, token=row[0]))
        return {"token": row[0].hex(), "last4": card.last4}

    def _release(self, act: _Act, ask: Ask) -> dict[str, Any]:
        """Give a number back under a grant, or refuse; either leaves a leaf before the answer."""
        token, purpose, ticket = _token(ask.fields), _text(ask.fields, "purpose"), _text(ask.fields, "ticket")
        seen: dict[str, Any] = {"token": token, "purpose": purpose, "ticket": ticket}
        try:
            number = self._granted_number(act, ask.uid, token, purpose)
        except Refused as e:
            act.record(Access(Op.REFUSED, act.at_us, _client(ask.uid), reason=str(e), **seen))
            raise
        act.record(Access(Op.RELEASED, act.at_us, _client(ask.uid), cards=1, **seen))
        return {"card_number": number}

    def _granted_number(self, act: _Act, uid: int, token: bytes, purpose: str) -> str:
        ring = self._unsealed()
        act.take_one(uid, purpose)
        if token not in act.cards:
            raise Refused("no such token")
        sealed, key_id = act.cards[token]
        return ring.open(sealed, token=token, key_id=key_id)

    # -- import ----------------------------------------------------------------------------------------------------------------

    def import_cards(self, source: TextIO, tokens: TextIO, rejects: TextIO | None, *, client: str,
                     progress: Callable[[Counts], None]) -> Counts:
        """Take in a CSV of customer_id, card_number, expiry_month, brand; write customer_id, token, last4 for each accepted row.

        Rejected rows go to `rejects` as line, field, reason, without any value. Batches commit one by one: after a crash the same file
        is given again and yields the same tokens. Raises BadInput when the file has not these columns or brings security codes.
        """
        self._unsealed()
        counts, columns = Counts(), _columns(source.readline())
        tokens_csv = csv.writer(tokens, lineterminator="\n")
        tokens_csv.writerow(("customer_id", "token", "last4"))
        rejects_csv = csv.writer(rejects, lineterminator="\n") if rejects else None
        if rejects_csv:
            rejects_csv.writerow(("line", "field", "reason"))
        batch: list[_Row] = []
        for line, text in enumerate(source, start=2):
            if text.isspace():
                continue
            counts.read += 1
            checked = self._check_row(columns, _fields(text))
            if isinstance(checked, cards.Fault):
                counts.rejected += 1
                if rejects_csv:
                    rejects_csv.writerow((line, checked.field, checked.reason))
                continue
            batch.append(checked)
            if len(batch) == BATCH_ROWS:
                self._import_batch(batch, tokens_csv, counts, client)
                batch = []
                progress(counts)
        if batch:
            self._import_batch(batch, tokens_csv, counts, client)
        progress(counts)
        if counts.read != counts.accepted + counts.rejected:
            raise AssertionError("an import's counts do not close")
        return counts

    def _check_row(self, columns: dict[str, int], row: list[str] | None) -> _Row | cards.Fault:
        if row is None:
            return cards.Fault("row", "readable CSV")
        if len(row) <= max(columns.values()):
            return cards.Fault("row", f"{len(columns)} columns")
        values = [row[columns[name]] for name in cards.COLUMNS]
        if fault := cards.check_customer(values[0]):
            return fault
        card = cards.parse(*values[1:])
        if isinstance(card, cards.Fault):
            return card
        return _Row(values[0], card, self._unsealed().fingerprint(card.pan))

    def _import_batch(self, batch: list[_Row], tokens_csv: Any, counts: Counts, client: str) -> None:
        if self._closing:
            raise Unavailable("the vault is stopping; give the same file again")
        try:
            with self._act() as act:
                ring, first = self._unsealed(), {row.fingerprint: row.card for row in batch}
                key_id, fresh = self._card_key(act, len(first)), os.urandom(16 * len(first))
                act.db.execute("TRUNCATE incoming")
                with act.db.cursor().copy("COPY incoming (n, token, fingerprint, key, sealed, expires) FROM STDIN (FORMAT binary)") as copy:
                    copy.set_types(("int4", "bytea", "bytea", "int4", "bytea", "int4"))
                    for n, (fingerprint, card) in enumerate(first.items()):
                        token = fresh[16 * n : 16 * n + 16]
                        copy.write_row((n, token, fingerprint, key_id, ring.seal(card, token=token, key_id=key_id), card.expires))
                act.db.execute(_SQL["take_in"])
                found = act.db.execute(_SQL["tokens_of_batch"]).fetchall()
                if len(found) != len(first):
                    raise AssertionError("a batch's cards and tokens differ in number")
                new = sum(is_new for _, is_new in found)
                act.record(Access(Op.IMPORTED, act.at_us, client, cards=len(batch)))
        except (psycopg.Error, TlogError, OSError) as e:
            raise Unavailable(f"{type(e).__name__} in database or log; give the same file again") from None
        token_of = dict(zip(first, (token for token, _ in found), strict=True))
        tokens_csv.writerows((row.customer_id, token_of[row.fingerprint].hex(), row.card.last4) for row in batch)
        counts.accepted += len(batch)
        counts.new += new

    # -- state -----------------------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Return counts and state; no secret in it."""
        with self._mutex:
            place = self.place
            released = self._one("SELECT count(*) FROM vault_access WHERE op = 'released'")
            found = {"cards": self._one("SELECT count(*) FROM vault_card"), "released": released, "sealed": self._ring is None,
                     "refused": self._one("SELECT count(*) FROM vault_access WHERE op = 'refused'"),
                     "grants": self._one("SELECT count(*) FROM vault_grant WHERE until_us > %s", self._clock()),
                     "separated_user": place.separated, "user": place.user, "folder": str(place.folder), "socket": str(place.client_socket),
                     "log_size": self._log.size, "log_vkeys": list(self._log.vkeys)}
            if not place.separated:
                found["warning"] = "not root: the vault runs as the same user as everything else and is separated from it by files only"
            return found

    def seal(self, *, client: str) -> dict[str, Any]:
        """Drop every key from memory and stay sealed over restarts until `unseal`. Safe to repeat."""
        mark_sealed(self.place)
        with self._mutex, self._act() as act:
            # The marker came before the leaf: a crash in between leaves a sealed vault without its leaf, never an open one with it.
            last = act.db.execute("SELECT op FROM vault_access WHERE op IN ('sealed', 'unsealed') ORDER BY leaf DESC LIMIT 1").fetchone()
            if last != ("sealed",):
                act.record(Access(Op.SEALED, act.at_us, client))
        return {"sealed": True}

    def unseal(self, first: str, second: str, *, client: str) -> dict[str, Any]:
        """Open a sealed vault with both components, as custodians bring them. Raises Refused when they are not the vault's."""
        with self._mutex:
            ring = self._ring_of(FileKeys(first, second))
            with self._act() as act:
                act.record(Access(Op.UNSEALED, act.at_us, client))
            (self.place.folder / SEALED).unlink(missing_ok=True)
            durable.sync_folder(self.place.folder)
            self._ring = ring
            return {"sealed": False}

    def audit(self, from_us: int, to_us: int) -> dict[str, Any]:
        """Count, from the log's files alone, what was released in [from, to), between two signed checkpoints that bracket it.

        `released` counts leaves whose time lies in the window; `released_in_bracket` all between the two checkpoints. `consistent`: the
        whole log was hashed anew, its signatures hold, it extends both checkpoints, and the second extends the first by proof.
        """
        if from_us >= to_us:
            raise BadInput(("to", "an instant after `from`"))
        with self._mutex:
            self._save_checkpoint(self._log.publish(at_s=self._clock() // 1_000_000))  # so that one lies after every leaf
            first = self._checkpoint("at_us <= %s ORDER BY at_us DESC", from_us) or self._checkpoint("true ORDER BY at_us")
            last = self._checkpoint("at_us >= %s ORDER BY at_us", to_us) or self._checkpoint("true ORDER BY at_us DESC")
        pair = sorted((c for c in (first, last) if c), key=lambda c: c[0])  # both before or both after the log's life: still in order
        keys = list(self._log.vkeys)
        result = verify_log(self.place.folder / "log", keys, earlier=[signed for _, signed in pair])
        faults, (old, new) = list(result.faults), [checkpoint.open_signed(signed, keys)[0] for _, signed in pair]
        inside = bracket = 0
        with TileReader(self.place.folder / "log") as reader:
            try:
                hashes = proof.consistency(old.size, new.size, reader.node)
                proof.verify_consistency(old=old.size, old_root=old.root, new=new.size, new_root=new.root, hashes=hashes)
                for batch in reader.batches(old.size, new.size):
                    found = [e for e in map(leaf.unpack, batch) if e.type == Op.RELEASED]
                    bracket += len(found)
                    inside += sum(from_us <= e.at_us < to_us for e in found)
            except TlogError as e:
                faults.append(str(e))
        heads = [{"at": iso(at_us), "size": c.size, "root": c.root.hex(), "signed": signed.decode()}
                 for (at_us, signed), c in zip(pair, (old, new), strict=True)]
        return {"released": inside, "released_in_bracket": bracket, "checkpoints": heads, "consistent": result.consistent and not faults,
                "signatures": [s.kind for s in result.signatures], "faults": faults}

    # -- inside ------------------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _act(self) -> Iterator[_Act]:
        """Hold the mutex over one transaction and the leaves that it owes."""
        with self._mutex:
            if self._ring and (self.place.folder / SEALED).exists():  # written by a `seal` that could not ask us
                self._ring.forget()
                self._ring = None
            self._catch_up()
            self._last_us = max(self._last_us, self._clock())
            act = _Act(self._db, self._log.size, self._last_us)
            with self._db.transaction():
                yield act
                act.write()
            if act.entries:
                self._log.append(act.entries)
                self._save_checkpoint(self._log.publish(at_s=self._last_us // 1_000_000))

    def _catch_up(self) -> None:
        """Add leaves to the log that the database has and the log lacks: after a crash, or after a full disk, between commit and append."""
        if self._rows() == self._log.size:
            return
        missing = self._db.execute("SELECT entry FROM vault_access WHERE leaf >= %s ORDER BY leaf", (self._log.size,)).fetchall()
        self._db.commit()
        self._log.append([entry for (entry,) in missing])
        self._save_checkpoint(self._log.publish(at_s=self._clock() // 1_000_000))

    def _rows(self) -> int:
        return self._one("SELECT coalesce(max(leaf) + 1, 0) FROM vault_access")

    def _one(self, query: str, *values: Any) -> int:
        row = self._db.execute(query, values).fetchone()
        self._db.commit()
        return int(row[0]) if row else 0

    def _save_checkpoint(self, signed: bytes) -> None:
        short = checkpoint.ed25519_only(signed)
        size = checkpoint.parse_signed(short)[0].size
        self._db.execute("INSERT INTO vault_checkpoint (at_us, size, signed) VALUES (%s, %s, %s) ON CONFLICT (at_us) DO NOTHING",
                         (self._clock(), size, short))
        self._db.commit()

    def _checkpoint(self, where: str, *values: int) -> tuple[int, bytes] | None:
        row = self._db.execute(f"SELECT at_us, signed FROM vault_checkpoint WHERE {where} LIMIT 1", values).fetchone()  # noqa: S608
        self._db.commit()
        return (row[0], row[1]) if row else None

    def _load_keys(self) -> None:
        if (self.place.folder / SEALED).exists():
            return
        service = FileKeys.of_folder(self.place.folder / "keys")
        if service is None:
            return  # a custodian holds a component: sealed until it is brought
        if self._one("SELECT count(*) FROM vault_key WHERE purpose = 'fingerprint'") == 0:
            with self._db.transaction():
                self._new_key("fingerprint", service, self._clock())
        self._ring = self._ring_of(service)

    def _ring_of(self, service: KeyService) -> Keyring:
        ring = Keyring(service)
        rows = self._db.execute("SELECT purpose, id, wrapped FROM vault_key ORDER BY id").fetchall()
        self._db.commit()
        if not rows:
            raise Refused("these components cannot be checked: the vault has no key yet")
        for purpose, key_id, wrapped in rows:
            ring.add(purpose, key_id, wrapped)
        return ring

    def _new_key(self, purpose: str, service: KeyService, at_us: int) -> tuple[int, bytes]:
        self._db.execute("UPDATE vault_key SET retired_us = %s WHERE purpose = %s AND retired_us IS NULL", (at_us, purpose))
        row = self._db.execute("INSERT INTO vault_key (purpose, kek_uri, created_us) VALUES (%s, %s, %s) RETURNING id",
                               (purpose, service.uri, at_us)).fetchone()
        key_id = int(row[0]) if row else 0
        wrapped = service.wrap(secrets.token_bytes(32), context=context(purpose, key_id))
        self._db.execute("UPDATE vault_key SET wrapped = %s WHERE id = %s", (wrapped, key_id))
        return key_id, wrapped

    def _card_key(self, act: _Act, n: int) -> int:
        """Return the id of a data key with room for `n` more cards, and count them."""
        ring = self._unsealed()
        row = act.db.execute("SELECT id, cards FROM vault_key WHERE purpose = 'card' AND retired_us IS NULL FOR UPDATE").fetchone()
        if row is None or row[1] + n > CARDS_PER_KEY_MAX:
            key_id, wrapped = self._new_key("card", ring.service, act.at_us)
            ring.add("card", key_id, wrapped)
        else:
            key_id = int(row[0])
        act.db.execute("UPDATE vault_key SET cards = cards + %s WHERE id = %s", (n, key_id))
        return key_id

    def _unsealed(self) -> Keyring:
        if self._ring is None:
            raise Refused("the vault is sealed: custodians unseal it with both components")
        return self._ring

    def _me(self) -> str:
        return _client(self.place.uid)


def _client(uid: int) -> str:
    return f"uid:{uid}"


def _token(fields: dict[str, Any]) -> bytes:
    token = _token_or_none(fields)
    if token is None:
        raise BadInput(("token", "32 hex digits"))
    return token


def _token_or_none(fields: dict[str, Any]) -> bytes | None:
    text = fields.get("token")
    return bytes.fromhex(text) if isinstance(text, str) and _TOKEN.fullmatch(text) else None


def _text(fields: dict[str, Any], name: str) -> str:
    text = fields.get(name)
    if not isinstance(text, str) or not 1 <= len(text) <= TEXT_CHARS_MAX or not text.isprintable():
        raise BadInput((name, f"1 to {TEXT_CHARS_MAX} printable characters"))
    if cards.holds_number(text):
        raise BadInput((name, "text that holds no card number"))
    return text


def _columns(first_line: str) -> dict[str, int]:
    header = [name.strip().lower() for name in _fields(first_line.removeprefix("\ufeff")) or []]
    faults = [(name, "a column of this name in the first line") for name in cards.COLUMNS if header.count(name) != 1]
    forbidden = cards.FORBIDDEN_COLUMNS & {name.replace(" ", "_").replace("-", "_") for name in header}
    faults += [(name, "no security codes in the file: remove the column, they are never stored") for name in sorted(forbidden)]
    if faults:
        raise BadInput(*faults)
    return {name: header.index(name) for name in cards.COLUMNS}


def _fields(line: str) -> list[str] | None:
    """Return the fields of one line, None when it is no CSV. A record is a line: a stray quote must not swallow the rows behind it."""
    if '"' not in line:
        return line.rstrip("\r\n").split(",")
    try:
        return next(csv.reader([line], strict=True))
    except (csv.Error, StopIteration):
        return None
