"""The serving vault: one socket for applications, one for the vault's own commands.

Applications (`vault.sock`): JSON lines, one answer line per request line, in order.

    {"op": "ping"}                                                            {"ok": true}
    {"op": "exists", "token": hex}                                            {"exists": bool}
    {"op": "tokenise", "card_number", "expiry_month", "brand"}                {"token": hex, "last4"}
    {"op": "detokenise", "token": hex, "purpose", "ticket"}                   {"card_number"}      only under a grant; else refused, logged
    any fault                                                                 {"error": {"kind", "message", ...}}

Who asks is told by the kernel (SO_PEERCRED): users not on the allow-list are turned away before they are read. Requests that arrive while
the disk is busy share the next commit (group commit). Commands (`run/cmd.sock`, in a 0700 folder): see client.py.

Stops on SIGTERM and SIGINT, and when the database server dies (exit code 6: the supervisor starts both again).
"""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # loaded now: after dropping privileges the interpreter's files may be out of reach
import contextlib
import json
import os
import signal
import socket
import struct
import sys
import threading
import time
from typing import Any

from .client import FILES_MAX, LINE_BYTES_MAX
from .engine import Ask, Counts, Engine
from .errors import BadInput, Refused, Unavailable, VaultError
from .places import Place

CLIENTS_MAX = 256
REQUEST_BYTES_MAX = 4096
GROUP_MAX = 256  # requests in one commit
QUEUE_MAX = 4096
COMMAND_BACKLOG = 8
COMMANDS_MAX = 8
COMMAND_READ_S_MAX = 5.0
WATCH_S = 0.25
PROGRESS_S = 10.0

_Waiting = tuple[Ask, "asyncio.Future[dict[str, Any]]"]


def peer_uid(s: socket.socket) -> int:
    """Return the OS user at the other end, as the kernel knows it."""
    if sys.platform == "linux":
        _, uid, _ = struct.unpack("3i", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        return int(uid)
    raw = s.getsockopt(0, 1, 76)  # macOS: SOL_LOCAL, LOCAL_PEERCRED, struct xucred
    return int(struct.unpack_from("=II", raw)[1])


def listen(place: Place, *, commands: bool) -> socket.socket:
    """Return a listening socket in place of whatever an earlier vault left there; the caller holds the vault's lock."""
    path = place.command_socket if commands else place.client_socket
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.bind(str(path))
    path.chmod(0o600 if commands or not place.separated else 0o666)  # reaching it is not enough: see the allow-list
    s.listen(COMMAND_BACKLOG if commands else CLIENTS_MAX)
    return s


async def serve(engine: Engine, *, allowed: frozenset[int]) -> int:
    """Serve until told to stop; return the exit code. The engine is open and stays so; the caller closes it."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for sig in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sig, stop.set)
    command_listener = listen(engine.place, commands=True)
    commands = threading.Thread(target=_serve_commands, args=(engine, command_listener), daemon=True)
    commands.start()
    queue: asyncio.Queue[_Waiting] = asyncio.Queue(QUEUE_MAX)
    worker = asyncio.create_task(_work(engine, queue))
    clients: set[asyncio.Task[None]] = set()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(clients) >= CLIENTS_MAX:
            writer.close()
            return
        clients.add(task)
        try:
            await _client(reader, writer, queue, allowed)
        except (ConnectionError, asyncio.CancelledError):
            return  # the other end left, or we are stopping: nothing is owed to a closed connection
        finally:
            clients.discard(task)
            writer.close()

    server = await asyncio.start_unix_server(client, sock=listen(engine.place, commands=False), limit=REQUEST_BYTES_MAX)
    code = 0
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), WATCH_S)
        if not engine.pg.running() or worker.done() or not commands.is_alive():
            sys.stderr.write("vault: the database server or a worker has ended\n")
            code = Unavailable.exit_code
            break
    server.close()
    for task in [worker, *clients]:
        task.cancel()
    with contextlib.suppress(FileNotFoundError):
        engine.place.client_socket.unlink()
        engine.place.command_socket.unlink()
    return code


async def _client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, queue: asyncio.Queue[_Waiting],
                  allowed: frozenset[int]) -> None:
    uid = peer_uid(writer.get_extra_info("socket"))
    if uid not in allowed:
        await _say(writer, {"error": Refused(f"uid {uid} is not on the vault's list of clients").as_json()})
        return
    while True:
        try:
            line = await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            return
        except asyncio.LimitOverrunError:
            await _say(writer, {"error": BadInput(("request", f"a line of at most {REQUEST_BYTES_MAX} bytes")).as_json()})
            return
        await _say(writer, await _one(line, uid, queue))


async def _one(line: bytes, uid: int, queue: asyncio.Queue[_Waiting]) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict) or not isinstance(fields.get("op"), str):
        return {"error": BadInput(("request", "a JSON object with an `op`")).as_json()}
    if fields["op"] == "ping":
        return {"ok": True}
    future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    await queue.put((Ask(fields["op"], uid, fields), future))
    return await future


async def _say(writer: asyncio.StreamWriter, answer: dict[str, Any]) -> None:
    writer.write(json.dumps(answer).encode() + b"\n")
    await writer.drain()


async def _work(engine: Engine, queue: asyncio.Queue[_Waiting]) -> None:
    """Answer what has gathered, one group at a time, in one thread; ends when database or log fail."""
    loop = asyncio.get_running_loop()
    with concurrent.futures.thread.ThreadPoolExecutor(1) as thread:
        while True:
            group = [await queue.get()]
            while len(group) < GROUP_MAX and not queue.empty():
                group.append(queue.get_nowait())
            try:
                answers = await loop.run_in_executor(thread, engine.answer, [ask for ask, _ in group])
            except Unavailable as e:
                for _, future in group:
                    if not future.done():
                        future.set_result({"error": e.as_json()})
                await asyncio.sleep(0)  # let the answers out
                return
            for (_, future), answer in zip(group, answers, strict=True):
                if not future.done():
                    future.set_result(answer)


def _serve_commands(engine: Engine, listener: socket.socket) -> None:
    """Take commands, each in a thread of its own, so that `seal` need not wait for a long import; ends with the process."""
    places_left = threading.BoundedSemaphore(COMMANDS_MAX)
    while True:
        s, _ = listener.accept()
        if peer_uid(s) not in (0, engine.place.uid):
            s.close()
            continue
        places_left.acquire()
        threading.Thread(target=_serve_command, args=(engine, s, places_left), daemon=True).start()


def _serve_command(engine: Engine, s: socket.socket, places_left: threading.BoundedSemaphore) -> None:
    fds: list[int] = []
    try:
        with s, contextlib.suppress(ConnectionError):
            s.settimeout(COMMAND_READ_S_MAX)
            line, fds, _, _ = socket.recv_fds(s, LINE_BYTES_MAX, FILES_MAX)
            s.settimeout(None)
            try:
                answer: dict[str, Any] = {"result": run_command(engine, json.loads(line), fds, s)}
            except VaultError as e:
                answer = {"error": e.as_json()}
            s.sendall(json.dumps(answer).encode() + b"\n")
    finally:
        for fd in fds:
            os.close(fd)
        places_left.release()


def run_command(engine: Engine, request: dict[str, Any], fds: list[int], out: socket.socket | None) -> dict[str, Any]:
    """Carry out one command, for the command socket or in the command's own process (`out` None: progress goes to standard error)."""

    told = time.monotonic()

    def progress(counts: Counts) -> None:
        nonlocal told
        if time.monotonic() < told + PROGRESS_S:
            return
        told = time.monotonic()
        said = {"read": counts.read, "accepted": counts.accepted, "rejected": counts.rejected}
        if out:
            out.sendall(json.dumps({"progress": said}).encode() + b"\n")
        else:
            show_progress(said)

    op, client = request["op"], f"uid:{int(request['uid'])}"
    if op == "import":
        with contextlib.ExitStack() as stack:
            # "replace": a byte that is no UTF-8 makes its row fail its check, not the whole file.
            source = stack.enter_context(open(os.dup(fds[0]), encoding="utf-8", errors="replace", newline=""))  # noqa: PTH123
            targets = [stack.enter_context(open(os.dup(fd), "w", encoding="utf-8", newline="")) for fd in fds[1:]]  # noqa: PTH123
            counts = engine.import_cards(source, targets[0], targets[1] if len(targets) > 1 else None, client=client, progress=progress)
            for target in targets:
                target.flush()
                os.fsync(target.fileno())
        return {"read": counts.read, "accepted": counts.accepted, "rejected": counts.rejected, "new": counts.new}
    if op == "status":
        return engine.status() | {"serving": out is not None}
    if op == "audit":
        return engine.audit(int(request["from_us"]), int(request["to_us"]))
    if op == "seal":
        return engine.seal(client=client)
    if op == "unseal":
        texts = [os.pread(fd, 1024, 0).decode("ascii", "replace") for fd in fds]
        return engine.unseal(texts[0], texts[1], client=client)
    raise BadInput(("op", "import, status, audit, seal or unseal"))


def show_progress(said: dict[str, Any]) -> None:
    """Print one line of progress on standard error."""
    sys.stderr.write(f"vault: {said['read']:,} read, {said['accepted']:,} accepted, {said['rejected']:,} rejected\n")
