"""A node of the waiting room: counts the tickets it issues, lets people in directly while nobody waits, and once a second reports and leads.

Design: request threads touch memory only. A thread reports this node's tickets per second as absolute counts (so that repeating a report
changes nothing), tries to lead (an advisory lock in the database: one node a second moves the watermarks), and reads the picture anew. It
listens, so that a room closed elsewhere is closed here within milliseconds. While the database is away the last picture stands: pages say
how long the queue was, tickets go on being issued and are counted when it is back. A node that is killed takes with it the counts of about
a second: its people keep their places, only the number of people ahead is too small by so many.

Closing: while the room is open each node lets in its part of the rate, with a reserve of DIRECT_BURST_S of it. When the reserve is gone the
node closes the room from this second on: places before it stay good, and everybody who comes from now on takes a ticket.
GAP: places of two nodes are ordered by their clocks; NTP keeps those within a second.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
from collections.abc import Callable, Mapping
from typing import Any

import psycopg
from django.db import DatabaseError, close_old_connections, connection, transaction

from tocsin.credentials.passwords import hashing
from tocsin.credentials.passwords.meter import Meter
from tocsin.credentials.places import WEIGHTS, Lane, Place
from tocsin.kernel import clock, sql

from . import policy
from .state import Picture, load

TICK_S = 1.0
LISTEN_S = 0.2
DIRECT_BURST_S = 10.0
DIRECT_BURST_MIN = 5.0
REOPENED_BURST_S = 1.0
BUCKETS_KEPT_S = 120  # own counts of older seconds were reported long ago, and no place is issued in them any more
ADMITTED_LIFE_S = 900.0  # a ticket for a link is good so long after it was let through
PAST_EVERY_S = 30.0
READ_SHARE = 20  # reading a long queue takes at most a twentieth of the time

log = logging.getLogger("tocsin.credentials")


class Keeper:
    """The room of one process. `now_ms` is Unix time in milliseconds."""

    def __init__(
        self,
        node: str,
        *,
        meter: Meter,
        now_ms: Callable[[], int] = lambda: clock.us(clock.now()) // 1000,
        monotonic: Callable[[], float] = clock.monotonic,
    ) -> None:
        self.node, self.meter, self.now_ms, self._monotonic = node, meter, now_ms, monotonic
        self.picture = Picture()
        self._lock = threading.Lock()
        self._counts: dict[tuple[int, int], int] = {}
        self._dirty: set[tuple[int, int]] = set()
        self._direct = self._used = 0
        self._closed_at: int | None = None
        self._allowance: float | None = None
        self._filled_at = monotonic()
        self._read_again_at = float("-inf")
        self._past: list[tuple[float, Mapping[int, float]]] = []
        self._past_marks: Mapping[int, float] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    # -- request threads ------------------------------------------------------------------------------------------------------

    @property
    def open(self) -> bool:
        """Tell whether nobody waits, as far as this node knows."""
        return self.picture.open and self._closed_at is None

    def passes(self, place: Place) -> bool:
        """Tell whether a place is let through."""
        return self.picture.passes(place) if self._closed_at is None or not self.picture.open else place.position < self._closed_at

    def stale(self, place: Place) -> bool:
        """Tell whether a place was let through so long ago that its ticket is none any more: nobody hoards admitted tickets.

        Tickets from the desk are not: they travel by telephone. A node that has just started calls none stale for as long.
        """
        return place.lane is not Lane.ASSISTED and self._past_marks.get(place.lane, 0.0) > place.position

    def issue(self, lane: Lane = Lane.REGULAR, *, nonce: bytes | None = None) -> Place:
        """Return a new place at the end of a lane, counted."""
        place = Place(self.now_ms(), nonce or secrets.token_bytes(8), lane)
        with self._lock:
            key = (int(lane), place.second)
            self._counts[key] = self._counts.get(key, 0) + 1
            self._dirty.add(key)
        return place

    def let_in(self) -> Place | None:
        """Return a place for somebody who may pass without waiting, None if the room is closed, perhaps by this very question.

        The place lies a second back, before any watermark at which the room may be closed from now on.
        """
        with self._lock:
            if not self.open:
                return None
            now, rate = self._monotonic(), self._own_rate()
            depth = max(DIRECT_BURST_MIN, rate * DIRECT_BURST_S)
            left = depth if self._allowance is None else min(depth, self._allowance + (now - self._filled_at) * rate)
            self._filled_at = now
            if left < 1.0:
                self._allowance, self._closed_at = left, self.now_ms() // 1000
                return None
            self._allowance = left - 1.0
            self._direct += 1
        return Place(self.now_ms() - 1000, secrets.token_bytes(8), Lane.REGULAR)

    def came_late(self) -> None:
        """Note somebody whose place was passed long ago and never counted: the next ticks let in one fewer."""
        with self._lock:
            self._direct += 1

    def came_through(self) -> None:
        """Note a password that was set: somebody let in has come."""
        with self._lock:
            self._used += 1

    def _own_rate(self) -> float:
        if self.picture.rate_per_s > 0:
            return self.picture.rate_per_s / self.picture.nodes
        return policy.CAPACITY_SHARE * self.meter.read().capacity_per_s

    # -- the thread -----------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Report, lead if nobody else does, and read the room. Raises DatabaseError; nothing is lost then and the next tick does it."""
        self.report()
        self.lead()
        self.refresh()

    def report(self) -> None:
        """Send what changed since the last report; what could not be sent stays for the next."""
        reading = self.meter.read()
        with self._lock:
            sent, direct, used, closed_at = set(self._dirty), self._direct, self._used, self._closed_at
            self._dirty.clear()
            rows = [(lane, second, self._counts[lane, second]) for lane, second in sorted(sent)]
            self._direct = self._used = 0
        try:
            sql.rows(
                "credentials",
                "room_report",
                node=self.node,
                lanes=[r[0] for r in rows],
                seconds=[r[1] for r in rows],
                counts=[r[2] for r in rows],
                capacity=reading.capacity_per_s,
                hashes=reading.hashes_per_s,
                wait_p95_ms=reading.wait_p95_ms,
                strained=policy.strained(wait_p95_ms=reading.wait_p95_ms, hash_ms=reading.hash_ms, refused=reading.refused),
                direct=direct,
                used=used,
                close=closed_at,
            )
        except (DatabaseError, psycopg.Error):
            with self._lock:
                self._dirty |= sent
                self._direct += direct
                self._used += used
            raise
        oldest = self.now_ms() // 1000 - BUCKETS_KEPT_S
        with self._lock:
            for key in [k for k in self._counts if k[1] < oldest and k not in self._dirty]:
                del self._counts[key]

    def refresh(self) -> None:
        """Read the room; a long queue less often, so that reading takes at most a twentieth of the time."""
        closed_at, began = self._closed_at, self._monotonic()
        if began < self._read_again_at and closed_at is None:
            return
        picture = load()
        with self._lock:
            if picture.open and not self.picture.open:
                self._allowance = max(DIRECT_BURST_MIN, picture.rate_per_s / picture.nodes * REOPENED_BURST_S)
                self._filled_at = self._monotonic()
            self.picture = picture
            self._remember(picture, began)
            if closed_at is not None and not picture.open:
                self._closed_at = None
        self._read_again_at = began + READ_SHARE * (self._monotonic() - began) if not picture.open else began

    def _remember(self, picture: Picture, at: float) -> None:
        """Keep the watermarks of the last ADMITTED_LIFE_S, and those that are so old by now."""
        if self._past and at - self._past[-1][0] < PAST_EVERY_S:
            return
        present = self.now_ms() / 1000 - 2.0  # while the room is open everybody who came before is let through
        self._past.append((at, dict.fromkeys(map(int, Lane), present) if picture.open else dict(picture.marks)))
        while self._past and at - self._past[0][0] >= ADMITTED_LIFE_S:
            self._past_marks = self._past.pop(0)[1]

    def lead(self) -> bool:
        """Move the watermarks if it is time and no other node does; tell whether this one did. One transaction under one lock."""
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT credentials_room_lead()")
            found = cursor.fetchone()[0]
            if found is None:
                return False
            decide(found if isinstance(found, dict) else json.loads(found))
            return True

    def start(self) -> None:
        """Tick in a thread of our own until `stop`."""
        self._thread = threading.Thread(target=self._run, name="waiting-room", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5 * TICK_S)

    def _run(self) -> None:
        self.meter.calibrate(hashing.one_hash_s())
        while not self._stop.is_set():
            try:
                self._tick_and_listen()
            except (DatabaseError, psycopg.Error) as e:  # the database away: the last picture stands, what was counted is kept
                log.warning("the waiting room of node %s has not reported: %s", self.node, type(e).__name__)
                connection.close()
                self._stop.wait(TICK_S)
        close_old_connections()
        connection.close()

    def _tick_and_listen(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("LISTEN tocsin_room")
        next_at = float("-inf")
        while not self._stop.is_set():
            if self._monotonic() >= next_at or (self._closed_at is not None and self.picture.open):
                next_at = self._monotonic() + TICK_S
                self.tick()
            # All of them first: while the generator runs it holds the connection, and a query inside the loop would wait for ever.
            heard = {notice.payload for notice in connection.connection.notifies(timeout=LISTEN_S, stop_after=1)}
            if "closed" in heard:
                self._read_again_at = float("-inf")
            if heard:
                self.refresh()


def decide(room: dict[str, Any]) -> None:
    """Do one tick of the leader: measure, set the rate, move the watermarks, open the room if it is empty. In the leader's transaction.

    `room` is what the database function room_lead returns.
    """
    v = {k: float(x) for k, x in room.items() if isinstance(x, int | float)}
    live: dict[str, float] = room["live"]
    limit = None if room["limit"] is None else v["limit"]
    elapsed_s, direct, used = v["elapsed_s"], int(v["direct"]), int(v["used"])
    due = policy.matured(v["pending"], elapsed_s=elapsed_s)
    issued_total = policy.decay(v["issued_total"], elapsed_s=elapsed_s) + due
    used_total = policy.decay(v["used_total"], elapsed_s=elapsed_s) + used
    factor, cut = policy.factor(v["factor"], strained=bool(live["strained"]), elapsed_s=elapsed_s, since_cut_s=v["since_cut_s"])
    rate = policy.rate_per_s(
        capacity_per_s=float(live["capacity"]), factor=factor, show_up=policy.show_up(issued_total, used_total), write_rate_per_s=limit
    )
    credit = policy.credit(v["credit"], rate_per_s=rate, elapsed_s=elapsed_s, direct=0.0 if room["open"] else direct)
    is_open, moved, passed = bool(room["open"]), {}, 0.0
    if not is_open:
        marks = {lane: mark for lane, mark, _ in sql.rows("credentials", "room_lanes")}
        buckets: dict[int, list[policy.Bucket]] = {lane: [] for lane in marks}
        for lane, second, n in sql.rows("credentials", "room_seconds"):
            buckets.setdefault(lane, []).append((second, n))
        queues = {lane: policy.Queue(mark, buckets[lane], WEIGHTS[Lane(lane)]) for lane, mark in marks.items()}
        upto = int(v["now"]) - 1  # every node has reported the seconds before, at the latest a second after their end
        moved = policy.admit(queues, budget=credit, upto=upto)
        passed = sum(n for _, n in moved.values())
        left = {lane: policy.Queue(moved[lane][0], q.buckets, q.weight) for lane, q in queues.items()}
        credit -= passed
        waiting = sum(policy.waiting(q, upto=upto) for q in left.values())
        is_open = policy.may_open(waiting=waiting, coming=sum(policy.waiting(q) for q in left.values()) - waiting, credit=credit)
    before = v["admitted_per_s"]
    sql.rows(
        "credentials",
        "room_move",
        open=is_open,
        rate=rate,
        factor=factor,
        credit=credit,
        capacity=float(live["capacity"]),
        hashes=float(live["hashes"]),
        wait_p95_ms=float(live["p95"]),
        admitted_per_s=before + 0.2 * ((passed + direct) / max(elapsed_s, 0.1) - before),
        nodes=int(live["nodes"]),
        pending=v["pending"] - due + direct + passed,
        issued_total=issued_total,
        used_total=used_total,
        direct=direct,
        used=used,
        cut=cut,
        lanes=list(moved),
        marks=[mark for mark, _ in moved.values()],
        admitted=[n for _, n in moved.values()],
    )
