"""The node that answers at the gate. Read `__init__.py` of this folder first: it says why an answer can be believed."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction
from numpy.typing import NDArray

from tocsin.kernel import clock, config, sql
from tocsin.kernel.errors import BadInput, Fault, Unavailable, ensure

from ..lease import NodeLease
from ..types import GateAnswer
from . import keys
from .board import Board

SUBJECT_BYTES_MAX = 256
SUBJECTS_MAX = 1000
ACCOUNTS_KEPT_MAX = 1_000_000  # about 150 MB: which account a subject has; who came first goes first
REFUSED_KEPT_S = 0.5  # whoever has a new password is through after this
TRIES_MAX = 5  # a cutover may fall between question and answer, but not five times in a row
ACKS_MAX = 8
LOAD_AGAIN_S = 1.0
COPIED = np.dtype([("fields", ">i2"), ("n1", ">i4"), ("account", ">i8"), ("n2", ">i4"), ("epoch", ">i4")])  # a row of binary COPY
COPY_HEAD_BYTES, COPY_TAIL = 19, b"\xff\xff"
LOAD_BYTES = 2_200_000  # about 100,000 rows at a time
AWAY = "this gate has lost touch with the database and lets nobody in until it is back"

log = logging.getLogger("tocsin.credentials")


class GateLease(NodeLease):
    """A node's lease that acknowledges a cutover only when the board in use is of its version. Keys are read anew with each renewal."""

    def __init__(
        self,
        node: str,
        *,
        version: Callable[[], int],
        advance: Callable[[int], None],
        take_keys: Callable[[frozenset[bytes]], None],
        monotonic: Callable[[], float] = clock.monotonic,
    ) -> None:
        super().__init__(node, monotonic=monotonic)
        self._version, self._advance, self._take_keys = version, advance, take_keys

    @property
    def left_s(self) -> float:
        """Return for how many seconds the lease still stands; not above 0 when it has run out."""
        return self._until - self._monotonic()

    def renew(self) -> None:
        """Renew, replace the board if the version has risen, then acknowledge. Raises DatabaseError; the lease then runs on as it was."""
        sent = self._monotonic()
        sql.rows("credentials", "gate_renew", node=self.node)
        self._take_keys(frozenset(bytes(digest) for (digest,) in sql.rows("credentials", "gate_keys")))
        for _ in range(ACKS_MAX):
            known = self._version()
            version = int(sql.rows("credentials", "gate_ack", node=self.node, seen=known)[0][0])
            if version == known:
                self._until = self.until(sent)
                return
            self._advance(version)


class Gate:
    """Answers whether subjects may come in. One per process; its methods may be called from many threads."""

    def __init__(self, node: str, *, monotonic: Callable[[], float] = clock.monotonic) -> None:
        self._monotonic = monotonic
        self._board = Board(-1)
        self._advancing, self._keeping = threading.Lock(), threading.Lock()
        self._accounts: dict[str, int] = {}
        self._keys: frozenset[bytes] = frozenset()
        self._load = threading.Event()
        self._stop = threading.Event()
        self.loaded = threading.Event()
        self.lease = GateLease(
            node, version=lambda: self._board.version, advance=self._advance, take_keys=self._take_keys, monotonic=monotonic
        )

    def start(self) -> None:
        """Renew the lease and load the board in threads of our own until `stop`."""
        self.lease.start()
        self._loader = threading.Thread(target=self._run, name="gate board", daemon=True)
        self._loader.start()

    def stop(self) -> None:
        """Give the lease up and end the threads."""
        self._stop.set()
        self._load.set()
        self.lease.stop()
        self._loader.join(timeout=LOAD_AGAIN_S)

    def knows_key(self, key: str) -> bool:
        """Tell whether this key may ask. Raises Unavailable without a lease: a revoked key must not outlive it."""
        self._lease_s()
        return keys.among(key, self._keys)

    def ask(self, subjects: Sequence[str]) -> tuple[list[GateAnswer], float]:
        """Return an answer per subject, in order, and the seconds for which the lease still stands: no answer is good for longer.

        Raises BadInput for subjects that cannot be any, Unavailable without a lease or when the database does not say: nobody is let in.
        """
        _check(subjects)
        for _ in range(TRIES_MAX):
            board = self._board
            self._lease_s()  # before any question to the database: without a lease its answer would not count
            answers = self._remembered(board, subjects)
            if unknown := [s for s in dict.fromkeys(subjects) if s not in answers]:
                version = self._look_up(board, unknown, answers)
                if version != board.version:
                    self._advance(version)
                    continue
            left_s = self._lease_s()
            if self._board is board:
                return [answers[s] for s in subjects], left_s
        raise Unavailable("gate", "the epochs moved while the answer was made; ask again")

    def load(self) -> None:
        """Read all open accounts of the present version into the board. Raises DatabaseError.

        Idempotent. One transaction reads the version and the accounts in one snapshot. If the board is of another version, or is replaced
        meanwhile, what was read is dropped: the change that replaced the board has asked for another load.
        """
        board, n = self._board, 0
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                cursor.execute(sql.text("credentials", "gate_version"))
                if int(cursor.fetchone()[0]) != board.version:
                    return
                with cursor.copy(sql.text("credentials", "gate_delivered" if config.current().gate_waits else "gate_open")) as copy:
                    for accounts, epochs in _copied(copy):
                        if self._board is not board:
                            raise _ReplacedError
                        board.adopt(accounts, epochs)
                        n += len(accounts)
        except _ReplacedError:
            return
        self.loaded.set()
        log.info("the gate's board of version %d holds %d open accounts", board.version, n)

    def _remembered(self, board: Board, subjects: Sequence[str]) -> dict[str, GateAnswer]:
        now, found = self._monotonic(), {}
        for subject in subjects:
            account = self._accounts.get(subject)
            if account is not None and (epoch := board.epoch(account)):
                found[subject] = GateAnswer(subject, "open", epoch)
            elif (kept := board.refused.get(subject)) is not None and now < kept[0]:
                found[subject] = kept[1]
        return found

    def _look_up(self, board: Board, subjects: list[str], answers: dict[str, GateAnswer]) -> int:
        """Ask the database; put the answers in if they are of the board's version. Return their version."""
        until, rows = self._monotonic() + REFUSED_KEPT_S, _rows(subjects)
        version = int(rows[0][4])
        if version != board.version:
            return version
        for subject, account, is_open, epoch, _ in rows:
            if account is None:
                continue
            self._keep(subject, account)
            answers[subject] = GateAnswer(subject, "open" if is_open else "reset_required", epoch)
            if is_open:
                board.open(account, epoch=epoch)
        for subject in subjects:
            answer = answers.setdefault(subject, GateAnswer(subject, "unknown", 0))
            if answer.reason != "open":
                board.refuse(answer, until=until)
        return version

    def _keep(self, subject: str, account: int) -> None:
        with self._keeping:
            if len(self._accounts) >= ACCOUNTS_KEPT_MAX and subject not in self._accounts:
                del self._accounts[next(iter(self._accounts))]
            self._accounts[subject] = account

    def _advance(self, version: int) -> None:
        """Close everybody: an empty board of a newer version. An older version changes nothing."""
        with self._advancing:
            if version > self._board.version:
                self._board = Board(version)
                self.loaded.clear()
                self._load.set()

    def _take_keys(self, digests: frozenset[bytes]) -> None:
        self._keys = digests

    def _lease_s(self) -> float:
        left_s = self.lease.left_s
        if left_s <= 0:
            raise Unavailable("gate", AWAY)
        return left_s

    def _run(self) -> None:
        while not self._stop.is_set():
            self._load.wait()
            self._load.clear()
            if self._stop.is_set():
                break
            try:
                self.load()
            except DatabaseError as e:  # without its board the gate asks for each account: slower, as right
                log.warning("the gate's board was not loaded: %s", type(e).__name__)
                connection.close()
                self._stop.wait(LOAD_AGAIN_S)
                self._load.set()
        connection.close()


def join_as_gate() -> Gate:
    """Make this process a node that answers at the gate; call once at its start. Until the first renewal nobody is let in."""
    gate = Gate(f"gate:{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}")
    gate.start()
    return gate


def _check(subjects: Sequence[str]) -> None:
    if not 1 <= len(subjects) <= SUBJECTS_MAX:
        raise BadInput(Fault("subjects", f"{len(subjects)} subjects", f"1 to {SUBJECTS_MAX}"))
    faults = [
        Fault(
            "subject" if len(subjects) == 1 else f"subjects[{n}]",
            f"{len(s)} characters",
            f"1 to {SUBJECT_BYTES_MAX} bytes of UTF-8, no NUL",
        )
        for n, s in enumerate(subjects)
        if not _possible(s)
    ]
    if faults:
        raise BadInput(faults)


def _possible(subject: str) -> bool:
    if not subject or len(subject) > SUBJECT_BYTES_MAX or "\0" in subject:
        return False
    try:
        return len(subject.encode()) <= SUBJECT_BYTES_MAX
    except UnicodeEncodeError:  # half of a surrogate pair, as JSON can spell it
        return False


def _rows(subjects: list[str]) -> list[tuple[str, int | None, bool, int, int]]:
    """Ask once more on a new connection if the one of this thread has died since it was used last. Raises Unavailable."""
    for last in (False, True):
        try:
            return sql.rows("credentials", "gate_ask", subjects=subjects, waits=config.current().gate_waits)
        except (OperationalError, InterfaceError):
            connection.close()
            if last:
                raise Unavailable("gate", AWAY) from None
    return []


def _copied(chunks: Iterable[memoryview]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int32]]]:
    """Yield accounts and epochs of a binary COPY, batch by batch. No value is NULL, so that all rows have the same length."""
    raw, head = bytearray(), COPY_HEAD_BYTES
    for chunk in chunks:
        raw += chunk
        if len(raw) >= LOAD_BYTES:
            yield _rows_of(raw[head:])
            raw, head = raw[head + (len(raw) - head) // COPIED.itemsize * COPIED.itemsize :], 0
    ensure(bytes(raw[-2:]) == COPY_TAIL and (len(raw) - head - 2) % COPIED.itemsize == 0, "a binary COPY ended in the middle of a row")
    yield _rows_of(raw[head:-2])


def _rows_of(raw: bytearray) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    rows = np.frombuffer(raw, dtype=COPIED, count=len(raw) // COPIED.itemsize)
    return rows["account"].astype(np.int64), rows["epoch"].astype(np.int32)


class _ReplacedError(Exception):
    """The board was replaced while it was loaded."""
