"""What one version of the epochs lets in: a byte per account, in the order of their numbers. 24 MB at 24 million accounts.

    0        not known to be open: ask the database
    1..255   open; the byte says which of the epochs in `epochs` the account's sessions must have

A new version starts with an empty board, whatever the number of accounts. Many threads read a board, and writing a byte needs no lock: a byte
that is lost or late is a question more to the database. What replaces the bytes as a whole happens under a lock.
"""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from ..types import GateAnswer

ACCOUNTS_MAX = 1 << 28  # 256 MB; accounts with a higher number are asked for each time
EPOCHS_MAX = 255  # different ones at a time, that is differently cut cohorts; accounts of further ones are asked for each time
REFUSED_KEPT_MAX = 100_000


class Board:
    """The open accounts of one version, and for a moment the subjects that were just refused."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.refused: dict[str, tuple[float, GateAnswer]] = {}
        self._marks = bytearray()
        self._epochs: list[int] = [0]
        self._lock = threading.Lock()

    def epoch(self, account: int) -> int:
        """Return the epoch that the sessions of an open account must have; 0 if the account is not known to be open."""
        marks = self._marks
        return self._epochs[marks[account]] if account < len(marks) else 0

    def open(self, account: int, *, epoch: int) -> None:
        """Note an account as open."""
        mark = self._mark(epoch)
        if not mark or account >= ACCOUNTS_MAX:
            return
        if account >= len(self._marks):
            self._grow(account + 1)
        self._marks[account] = mark

    def refuse(self, answer: GateAnswer, *, until: float) -> None:
        """Keep a refusal until an instant of the node's clock."""
        if len(self.refused) >= REFUSED_KEPT_MAX:
            self.refused.clear()
        self.refused[answer.subject] = (until, answer)

    def adopt(self, accounts: NDArray[np.int64], epochs: NDArray[np.int32]) -> None:
        """Note many accounts as open at once."""
        if not len(accounts):
            return
        fits = accounts < ACCOUNTS_MAX
        accounts, epochs = accounts[fits], epochs[fits]
        self._grow(int(accounts.max(initial=-1)) + 1)
        marks = np.frombuffer(self._marks, dtype=np.uint8)
        for epoch in np.unique(epochs):
            if mark := self._mark(int(epoch)):
                marks[accounts[epochs == epoch]] = mark

    def _mark(self, epoch: int) -> int:
        with self._lock:
            if epoch in self._epochs[1:]:
                return self._epochs.index(epoch, 1)
            if len(self._epochs) > EPOCHS_MAX:
                return 0
            self._epochs.append(epoch)
            return len(self._epochs) - 1

    def _grow(self, size: int) -> None:
        with self._lock:
            if size > len(self._marks):
                self._marks = self._marks + bytearray(max(size, min(2 * len(self._marks), ACCOUNTS_MAX)) - len(self._marks))
