"""The practice post office: every receiver of mail in a demo or drill, one process, and the witness of who got what.

Design: one asyncio loop owns an SMTP server (`office/smtp.py`), an append-only spool (`office/spool.py`), its index (`office/index.py`), an
HTTP server with an interface for programs and an inbox for eyes (`office/http.py`), and the mails it sends back to the estate's intake
(`office/returns.py`). How recipients behave is drawn from a seed (`office/personality.py`). Both servers listen on loopback only, and
EHLO announces X-TOCSIN-PRACTICE, so that no live estate mistakes it for the world nor a drill the world for it.

Files, in `HOME/postoffice/`: `spool`, `index.sqlite` (can be deleted), and, if present, `personalities.toml` (`personality.load`).
Crash promise: after `kill -9` every message that heard 250 is there; mail owed back is still owed, at most one is sent twice.
Measured on one core of a 2-core machine with its senders on the other: 11,500-14,800 messages/s of 4 KB, about 75 us of CPU each.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tocsin.kernel import config
from tocsin.kernel.errors import Unavailable, ensure

from .office import returns
from .office.http import HEAD_BYTES_MAX, Desk
from .office.index import Index
from .office.personality import Personalities, load
from .office.smtp import Door, Session
from .office.spool import Spool

HOST = "127.0.0.1"
STOP_LOOK_S = 0.05
SWEEP_S = 5.0
FLUSH_S = 1.0
START_S_MAX = 60.0
BACKLOG = 1_024

Ready = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Office:
    """A running post office as a test or a drill sees it."""

    smtp_port: int
    http_port: int
    home: Path

    @property
    def url(self) -> str:
        """Return the address of its HTTP side."""
        return f"http://{HOST}:{self.http_port}"


def run(smtp_port: int, http_port: int, home: Path, stop: threading.Event, *, personalities: Personalities | None = None,
        intake: tuple[str, int] | None = None, ready: Ready | None = None) -> None:
    """Serve until `stop` is set. A port of 0 takes a free one; `ready(smtp_port, http_port)` is called once both listen.

    `personalities` default to HOME/postoffice/personalities.toml, else to small ordinary shares; `intake` (host, port), where bounces and
    automatic replies go, to the estate's configuration. Raises BadInput for a faulty file, Refused when another office has the spool,
    Unavailable when a port is taken.
    """
    folder = home / "postoffice"
    if personalities is None:
        file = folder / "personalities.toml"
        personalities = load(file) if file.exists() else Personalities()
    if intake is None:
        intake = (config.current().intake.host, config.current().intake.port)
    asyncio.run(_serve(smtp_port, http_port, folder, stop, personalities, intake, ready))


async def _serve(smtp_port: int, http_port: int, folder: Path, stop: threading.Event, personalities: Personalities, intake: tuple[str, int],
                 ready: Ready | None) -> None:
    loop = asyncio.get_running_loop()
    spool = Spool(folder / "spool")
    try:
        index = Index(folder / "index.sqlite", spool, personalities)

        def accept(at_us: int, sender: str, recipients: Sequence[str], content: bytes) -> int:
            offset, length = spool.append(at_us, sender, recipients, content)
            number = index.add(offset, length, at_us, sender, recipients, content)
            for recipient in recipients:
                desk.arrived(recipient)
            return number

        door = Door(personalities, accept)
        desk = Desk(index, spool, door.count, personalities)
        try:
            smtp = await loop.create_server(lambda: Session(door), HOST, smtp_port, backlog=BACKLOG)
            http = await asyncio.start_server(desk.serve, HOST, http_port, limit=HEAD_BYTES_MAX, backlog=BACKLOG)
        except OSError as e:
            raise Unavailable("practice post office", str(e)) from None
        host, port = intake
        sender = asyncio.create_task(returns.run(index, spool, host=host, port=port, seed=personalities.seed, stopped=stop.is_set))
        if ready:
            ready(smtp.sockets[0].getsockname()[1], http.sockets[0].getsockname()[1])
        await _until(stop, door, index, sender)
        smtp.close()
        http.close()
        for session in list(door.sessions):
            session.close(b"421 4.3.2 The office closes\r\n")
        sender.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sender
        index.close()
    finally:
        spool.close()


async def _until(stop: threading.Event, door: Door, index: Index, sender: asyncio.Task[None]) -> None:
    """Wait for the stop; meanwhile close silent sessions, write the index out, and let a defect of the returns rise."""
    loop = asyncio.get_running_loop()
    swept = flushed = loop.time()
    while not stop.is_set():
        await asyncio.sleep(STOP_LOOK_S)
        now = loop.time()
        if now - flushed >= FLUSH_S:
            index.flush()
            flushed = now
        if now - swept >= SWEEP_S:
            door.sweep(now)
            swept = now
        if sender.done() and not stop.is_set():
            sender.result()


@contextlib.contextmanager
def running(home: Path, *, personalities: Personalities | None = None, intake: tuple[str, int] | None = None) -> Iterator[Office]:
    """Run a post office in a thread on free ports for the length of a `with` block. For tests and drills in one process."""
    stop, up = threading.Event(), threading.Event()
    ports: list[int] = []

    def ready(smtp_port: int, http_port: int) -> None:
        ports.extend((smtp_port, http_port))
        up.set()

    with ThreadPoolExecutor(1, thread_name_prefix="postoffice") as pool:
        served = pool.submit(run, 0, 0, home, stop, personalities=personalities, intake=intake, ready=ready)
        served.add_done_callback(lambda _: up.set())  # also when it fails before it listens
        try:
            ensure(up.wait(START_S_MAX), "the post office did not start in time")
            if served.done():
                served.result()
            yield Office(ports[0], ports[1], home)
        finally:
            stop.set()
        served.result()
