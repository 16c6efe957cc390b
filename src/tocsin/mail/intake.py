"""The process that takes mail in: LMTP and SMTP on one port, committed to the database before it says 250.

Design: connections are many and slow, commits are few and dear, so contents wait up to BATCH_WAIT_S for company and go in with one
commit; each
answers only then. What comes is whatever strangers send: it is sealed with a public key at once, nothing is opened here, and no content
is ever a reason to refuse. If a batch fails, its mails are tried one by one, so that one bad mail stops no other; if the database is
away, the
sender hears 451 and keeps the mail. LMTP (RFC 2033) answers once per recipient. One thread talks to the database, one loop to the network.

The process holds the keys deposit_public and verp, and the role tocsin_intake.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session, syntax
from django.db import DatabaseError, InterfaceError, close_old_connections, connections

from tocsin.kernel import clock, config

from . import actions
from .types import Delivery

SIZE_BYTES_MAX = 25 * 1024 * 1024
LINE_BYTES_MAX = 1024 * 1024  # real mail has lines that RFC 5321 s4.5.3.1.6 forbids
RECIPIENTS_MAX = 100  # Source: RFC 5321 s4.5.3.1.8
CONNECTIONS_MAX = 200
QUEUE_MAX = 400
BATCH_WAIT_S = 0.005
BATCH_MAX = 100
BATCH_BYTES_MAX = 64 * 1024 * 1024
IDLE_S_MAX = 300.0
STOP_POLL_S = 0.2

TAKEN = "250 2.0.0 taken"
AWAY = "451 4.3.0 the database is away, please try again"
log = logging.getLogger("tocsin.intake")
Waiting = tuple[Delivery, "asyncio.Future[str]"]


class Door(SMTP):
    """One connection: SMTP that also understands LHLO."""

    line_length_limit = LINE_BYTES_MAX
    open_now = 0

    @syntax("LHLO hostname")
    async def smtp_LHLO(self, arg: str) -> None:  # noqa: N802, the base class dispatches on the verb
        """Begin LMTP: as EHLO, but DATA answers once per recipient."""
        await self.smtp_EHLO(arg)
        setattr(self.session, "lmtp", True)  # noqa: B010, the session is a bag that aiosmtpd hands to the handler

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or, with too many of them, none more for now."""
        Door.open_now += 1
        if Door.open_now > CONNECTIONS_MAX and isinstance(transport, asyncio.Transport):
            transport.write(b"421 4.3.2 too many connections, please try again\r\n")
            transport.close()
            self.turned_away = True
            return
        self.turned_away = False
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the connection."""
        Door.open_now -= 1
        if not self.turned_away:
            super().connection_lost(error)


class Desk:
    """Answers the commands that need a decision; aiosmtpd calls it."""

    def __init__(self, queue: asyncio.Queue[Waiting]) -> None:
        self._queue = queue
        current = config.current()
        mail = current.mail
        ours = (mail.help_address, mail.from_address, mail.bounce_domain, mail.dkim_domain, current.company.domain)
        self._domains = {a.rpartition("@")[2].lower() for a in ours}

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:  # noqa: N802
        """Take mail for our own domains only: this is no relay."""
        if address.rpartition("@")[2].lower() not in self._domains:
            return "550 5.7.1 not a domain of ours"
        if len(envelope.rcpt_tos) >= RECIPIENTS_MAX:
            return "452 4.5.3 too many recipients"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Answer when the mail is committed."""
        content = envelope.original_content or b""
        delivery = Delivery(content, envelope.mail_from or "", tuple(envelope.rcpt_tos), clock.now())
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        await self._queue.put((delivery, answer))
        reply = await answer
        return "\r\n".join([reply] * len(envelope.rcpt_tos)) if getattr(session, "lmtp", False) else reply


def _commit(deliveries: list[Delivery]) -> list[str]:
    """Put a batch in and return the replies. Runs in the one thread that holds the database connection."""
    close_old_connections()
    try:
        actions.take_in_many(deliveries)
        return [TAKEN] * len(deliveries)
    except (DatabaseError, InterfaceError) as e:
        if len(deliveries) == 1:
            log.error("a mail of %d bytes was not taken: %s", len(deliveries[0].raw), type(e).__name__)
            close_old_connections()
            return [AWAY]
    return [_commit([d])[0] for d in deliveries]


async def _committer(queue: asyncio.Queue[Waiting]) -> None:
    """Collect what waits, commit it, answer."""
    with ThreadPoolExecutor(1, "intake-commit") as thread:
        try:
            while True:
                await _batch(queue, thread)
        finally:
            thread.submit(connections.close_all)


async def _batch(queue: asyncio.Queue[Waiting], thread: ThreadPoolExecutor) -> None:
    loop = asyncio.get_running_loop()
    batch = [await queue.get()]
    size, until = len(batch[0][0].raw), loop.time() + BATCH_WAIT_S
    while len(batch) < BATCH_MAX and size < BATCH_BYTES_MAX:
        with contextlib.suppress(asyncio.QueueEmpty):
            batch.append(queue.get_nowait())
            size += len(batch[-1][0].raw)
            continue
        if loop.time() >= until or len(batch) >= Door.open_now:  # everybody who is here waits already
            break
        await asyncio.sleep(BATCH_WAIT_S / 5)
    replies = await loop.run_in_executor(thread, _commit, [d for d, _ in batch])
    for (_, answer), reply in zip(batch, replies, strict=True):
        if not answer.done():
            answer.set_result(reply)


async def serve(host: str, port: int, stop: threading.Event, ready: threading.Event | None = None) -> int:
    """Serve until `stop` is set; return the port. With port 0 the system chooses one; `ready` is set once it listens, see `listening`."""
    for name in ("mail.log", "mail.error", "mail.debug"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # aiosmtpd logs contents
    queue: asyncio.Queue[Waiting] = asyncio.Queue(QUEUE_MAX)
    desk = Desk(queue)
    loop = asyncio.get_running_loop()
    options: dict[str, Any] = {"data_size_limit": SIZE_BYTES_MAX, "enable_SMTPUTF8": True, "hostname": config.current().company.domain,
                               "ident": "Tocsin", "timeout": IDLE_S_MAX, "loop": loop}
    server = await loop.create_server(lambda: Door(desk, **options), host, port)
    listening[:] = [server.sockets[0].getsockname()[1]]
    committer = asyncio.create_task(_committer(queue))
    if ready:
        ready.set()
    try:
        while not stop.is_set() and not committer.done():
            await asyncio.sleep(STOP_POLL_S)
        if committer.done():
            committer.result()  # a defect: let it rise, the process must not stand there taking nothing
    finally:
        server.close()
        committer.cancel()
    return listening[0]


listening: list[int] = []  # the port, once it listens


def run(host: str, port: int, stop: threading.Event, ready: threading.Event | None = None) -> None:
    """Take mail in until `stop` is set. What was answered 250 is committed; what was not, its sender keeps."""
    asyncio.run(serve(host, port, stop, ready))
