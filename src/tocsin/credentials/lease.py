"""A node's lease: a process that lets people in may do so only while the database has heard from it within two seconds.

Design: a thread renews every half second, and at once when a cutover is notified. Each renewal is two statements: first the lease is made
to stand, then the epochs are read and acknowledged. Whoever commits a cutover therefore either sees the lease and waits for the node, or
the node's reading began after the commit. The local deadline counts from before the renewal was sent, less a drift bound, so it ends
before the database's. A renewal that fails changes nothing; when the lease has run out, `check` refuses: fail closed.

A process that never joined (command line, worker, drill) reads the live views of the primary at each use and needs no lease.
GAP: reading from a replica would need synchronous_commit = remote_apply; the processes connect to the primary only.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable

import psycopg
from django.db import DatabaseError, close_old_connections, connection

from tocsin.kernel import clock
from tocsin.kernel.errors import Unavailable

from . import policy

log = logging.getLogger("tocsin.credentials")


class NodeLease:
    """The lease of one node. `monotonic` is a clock in seconds that never goes back."""

    def __init__(self, node: str, *, monotonic: Callable[[], float] = clock.monotonic) -> None:
        self.node, self._monotonic = node, monotonic
        self._until = float("-inf")
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def held(self) -> bool:
        """Tell whether the lease still stands by our own clock."""
        return self._monotonic() < self._until

    @staticmethod
    def until(sent: float) -> float:
        """Return when a lease ends by our own clock whose renewal was sent at `sent`: before the database's ends."""
        return sent + policy.LEASE_S - policy.LEASE_DRIFT_S

    def renew(self) -> None:
        """Renew once and acknowledge what was committed. Raises DatabaseError; the lease then runs on as it was."""
        sent = self._monotonic()
        with connection.cursor() as cursor:
            cursor.execute("SELECT credentials_renew_lease(%s)", [self.node])
            cursor.execute("SELECT credentials_ack(%s)", [self.node])
        self._until = self.until(sent)

    def start(self) -> None:
        """Renew in a thread of our own until `stop`."""
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Give the lease up and end the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=2 * policy.LEASE_RENEW_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._renew_on_notify()
            except (DatabaseError, psycopg.Error) as e:  # the database away: the lease runs out by itself and nobody is let in
                log.warning("the lease of node %s was not renewed: %s", self.node, type(e).__name__)
                connection.close()
                self._stop.wait(policy.LEASE_RENEW_S)
        close_old_connections()
        connection.close()

    def _renew_on_notify(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("LISTEN tocsin_cutover")
        while not self._stop.is_set():
            self.renew()
            for _ in connection.connection.notifies(timeout=policy.LEASE_RENEW_S, stop_after=1):
                pass
        with connection.cursor() as cursor:
            cursor.execute("SELECT credentials_leave(%s)", [self.node])


_node: NodeLease | None = None


def join_as_node() -> NodeLease:
    """Make this process a node and keep its lease renewed; call once at its start. Until the first renewal nobody is let in."""
    global _node
    _node = NodeLease(f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}")
    _node.start()
    return _node


def check(node: NodeLease | None = None) -> None:
    """Raise Unavailable if this process is a node whose lease has run out: it may not have heard of a cutover."""
    node = node or _node
    if node is not None and not node.held:
        raise Unavailable("credentials", "this server has lost touch with the database and lets nobody in until it is back")
