"""Hash and verify passwords, a bounded number at a time: the rest wait a moment in a short queue or are asked to come back.

Why bounded: unbounded, an Argon2 page at 512 connections falls to 0.74 requests/s and goes on hashing for people who have left; with a
queue of four per core it keeps the capacity of the machine and answers the rest in about 0.1 s. Source: specification, section 5.
Argon2id runs outside Python's lock, so threads of one process use all cores.
"""

from __future__ import annotations

import functools
import gzip
import os
import secrets
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import argon2
from django.contrib.auth import password_validation

from tocsin.credentials import policy
from tocsin.kernel import clock
from tocsin.kernel.errors import Busy
from tocsin.kernel.private import Private

from . import formats, pepper
from .meter import Meter

# Source: OWASP Password Storage Cheat Sheet, Argon2id with 19 MiB; about 50 hashes per core and second.
_argon2 = argon2.PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1, hash_len=32, salt_len=16)
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
WAITING_PER_CORE = 4
WAIT_S_MAX = 2.0
RETRY_AFTER_S = 8.0


class Slots:
    """At most `running` at a time inside `slot()`, at most `waiting` in front of it, each for at most `wait_s`. One per process.

    A queue for each of two classes, so that a flood of log-ins does not take the places of people who are let in to set a password: log-ins
    have the whole pool while no reset waits, and a reset (`first`) is next whenever a slot becomes free.
    """

    def __init__(self, *, running: int, waiting: int, wait_s: float) -> None:
        self.limit, self.wait_s = running + waiting, wait_s
        self._free = running
        self._turn = threading.Condition()
        self._inside = {True: 0, False: 0}
        self._waiting: dict[bool, deque[object]] = {True: deque(), False: deque()}
        self.meter = Meter(running=max(1, running), wait_s_max=wait_s)

    @contextmanager
    def slot(self, *, first: bool = False) -> Iterator[None]:
        """Hold a slot while the block runs. Raises Busy at once if the queue of its class is full, or when the wait was too long."""
        with self._turn:
            if self._inside[first] >= self.limit:
                self._refused(first)
                raise Busy("all places for checking passwords are taken", retry_after_s=RETRY_AFTER_S)
            self._inside[first] += 1
        came_at = clock.monotonic()
        try:
            if not self._acquire(first):
                self._refused(first)
                raise Busy("the wait for checking a password was too long", retry_after_s=RETRY_AFTER_S)
            began_at, cpu = clock.monotonic(), clock.thread_cpu()
            try:
                yield
            finally:
                with self._turn:
                    self._free += 1
                    self._turn.notify_all()
                wait_s = began_at - came_at if first else 0.0
                self.meter.served(wait_s=wait_s, held_s=clock.monotonic() - began_at, cpu_s=clock.thread_cpu() - cpu)
        finally:
            with self._turn:
                self._inside[first] -= 1

    def _refused(self, first: bool) -> None:
        """Tell the meter of a reset that found no slot: the room is led by how resets fare, so that log-ins cannot slow it down."""
        if first:
            self.meter.refused()

    def _acquire(self, first: bool) -> bool:
        """Take a slot when it is our turn; tell whether it came in time."""
        me = object()
        with self._turn:
            mine = self._waiting[first]
            mine.append(me)
            try:
                mine_is_next = self._turn.wait_for(
                    lambda: self._free > 0 and mine[0] is me and (first or not self._waiting[True]), timeout=self.wait_s
                )
                if mine_is_next:
                    self._free -= 1
                return mine_is_next
            finally:
                mine.remove(me)
                self._turn.notify_all()


slots = Slots(running=CORES, waiting=WAITING_PER_CORE * CORES, wait_s=WAIT_S_MAX)


def make(password: Private[str]) -> str:
    """Return the Argon2id hash of a password, normalised and peppered if so configured. About 20 ms of one core: call inside a slot."""
    form, mark = pepper.added(policy.normal(password.reveal()).encode("utf-8", "surrogatepass"))
    return _argon2.hash(form) + mark


def matches(stored: str | None, password: Private[str], *, ours: bool = True) -> bool:
    """Tell whether a password has this hash, at the price of exactly one Argon2id whoever asks: a missing or cheap hash costs a dummy.

    `ours` tells that the hash was made here, of the normalised text; an imported one was made of the bytes as typed. An Argon2id hash is
    tried with that one form: trying both would tell by the clock that the account exists. Other imported formats are tried with both.
    """
    typed, normal = (f.encode("utf-8", "surrogatepass") for f in (password.reveal(), policy.normal(password.reveal())))
    if stored is None or formats.format_of(stored) != "argon2id":
        right = stored is not None and any(formats.verify(stored, form) for form in dict.fromkeys((normal, typed)))
        formats.verify(_dummy(), normal)
        return right
    right = _verify(stored, normal if ours else typed)
    if formats.argon2_work(stored) < formats.argon2_work(_dummy()):
        formats.verify(_dummy(), normal)
    return right


def too_near(stored: str, password: Private[str], *, words: tuple[str, ...]) -> int | None:
    """Return the rank of the variant of a new password that has the old hash (0: it is the old one), None if none has within the budget.

    An imported hash was made of the text as typed somewhere else, so that text itself is tried, too.
    """
    tries = policy.near_tries(formats.cost_ms(stored))
    typed, normal = password.reveal(), policy.normal(password.reveal())
    if typed != normal and _verify(stored, typed.encode("utf-8", "surrogatepass")):
        return 0
    for rank, candidate in zip(range(tries), policy.near(normal, words=words), strict=False):
        if _verify(stored, candidate.encode("utf-8", "surrogatepass")):
            return rank
    return None


def _verify(stored: str, form: bytes) -> bool:
    """Verify with the pepper that the hash names; one that is no longer ours costs the same and matches nobody."""
    bare, mark = pepper.split(stored)
    mixed = pepper.mixed(form, mark)
    return formats.verify(bare, form if mixed is None else mixed) and mixed is not None


def one_hash_s() -> float:
    """Return how long one hash takes on this machine now: the first estimate of the capacity, before a customer's was measured."""
    began = clock.monotonic()
    _argon2.hash(secrets.token_urlsafe(32))
    return clock.monotonic() - began


@functools.cache
def _dummy() -> str:
    """Return the hash of a password that nobody knows, at the present price."""
    return _argon2.hash(secrets.token_urlsafe(32))


@functools.cache
def common() -> frozenset[str]:
    """Return the commonest passwords, as Django ships them: about 19,600, in lower case."""
    with gzip.open(Path(password_validation.__file__).parent / "common-passwords.txt.gz", "rt", encoding="utf-8") as f:
        return frozenset(line.strip() for line in f)
