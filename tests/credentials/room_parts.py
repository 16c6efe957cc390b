"""A waiting room whose seconds pass when a test says so: the node's clock and the database's idea of the last tick are moved, not awaited."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from tocsin.credentials.passwords.meter import Meter
from tocsin.credentials.room import gate
from tocsin.credentials.room.node import Keeper
from tocsin.kernel import clock

BACK_MS = 60_000


class Clock:
    """The node's clock: a minute behind the real one, so that the seconds in which places are issued are over for the database."""

    def __init__(self) -> None:
        self.ms = clock.us(clock.now()) // 1000 - BACK_MS
        self.s = 1000.0

    def pass_(self, seconds: float) -> None:
        """Let time pass for the node and for the database's last tick."""
        self.ms += int(seconds * 1000)
        self.s += seconds
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE credentials_room SET ticked_at = ticked_at - make_interval(secs => %s), cut_at = cut_at - make_interval(secs => %s)",
                [seconds, seconds],
            )


def keeper(time: Clock, *, per_s: float = 10.0, node: str = "one") -> Keeper:
    """Return a room of a pool that can do so many hashes a second."""
    meter = Meter(running=1, wait_s_max=2.0, monotonic=lambda: time.s, cpu_s=lambda: 0.0)
    meter.calibrate(1 / per_s)
    return Keeper(node, meter=meter, now_ms=lambda: time.ms, monotonic=lambda: time.s)


@contextmanager
def opened(time: Clock, *, per_s: float = 10.0) -> Iterator[Keeper]:
    """Open a room in this process for a while."""
    mine = gate.use(keeper(time, per_s=per_s))
    try:
        yield mine
    finally:
        gate.close_room()


def ticks(time: Clock, mine: Keeper, n: int = 1) -> None:
    """Let n seconds pass, with a tick in each."""
    for _ in range(n):
        time.pass_(1.0)
        mine.tick()


def close(time: Clock, mine: Keeper) -> None:
    """Use up what the node may let in directly, and tell the database."""
    mine.tick()
    while mine.let_in():
        pass
    ticks(time, mine)
    assert not mine.open
