"""The vault's commands. Each takes `--home DIR` (else TOCSIN_HOME) and `--json` (one JSON document on standard output).

    init [--origin NAME]                            {"created", "folder", "user", "separated_user", "log_vkeys"}
    import FILE --tokens OUT [--rejects OUT]        {"read", "accepted", "rejected", "new", "seconds", "tokens_file", "rejects_file"}
    serve [--allow-uid N ...] [--detached]          until SIGTERM; prints "vault: serving ..." on standard error when ready
    status                                          {"cards", "released", "sealed", "separated_user", "refused", "grants", "user", ...}
    audit --from T1 --to T2                         {"released", "checkpoints": [2], "consistent", ...}     exit 1 when not consistent
    seal                                            {"sealed": true}       panic seal: keys leave memory, restarts stay sealed
    unseal --component FILE --component FILE        {"sealed": false}

Exit codes: 0 done, 1 defect or a log that does not hold, 2 bad input, 3 refused, 4 no vault, 5 busy, 6 database or log failed;
with --json an error is {"error": {"kind", "message", ...}}.

As root every command becomes the user `tocsin-vault` before it touches the vault; files named on the command line are opened before, with
the caller's rights. `import` works on in a child of its own: the caller's process never reads a number, it only puts the finished token
file in its place (OUT.part until then, mode 0600). A command finds the serving process by its socket and hands the work over; when nobody
serves it takes the vault's lock and does the work itself.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from . import client, pg, places, server
from .engine import Engine, mark_sealed
from .errors import BadInput, Busy, Unavailable, VaultError, from_json
from .places import Place

LOCK_WAIT_S_MAX = 60.0


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit with its code."""
    started_by = os.getppid()
    args = _parser().parse_args(argv)
    try:
        code = _COMMANDS[args.command](args, started_by)
    except VaultError as e:
        if args.json:
            sys.stdout.write(json.dumps({"error": e.as_json()}) + "\n")
        else:
            sys.stderr.write(f"vault: {e}\n")
        code = e.exit_code
    sys.stdout.flush()
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tocsin vault", description="Card numbers in, tokens out.")
    commands = parser.add_subparsers(dest="command", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--home", default=None, help="the estate's folder (default: TOCSIN_HOME)")
    common.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, parents=[common], help=text, description=text)

    add("init", "make the vault: keys, database, log").add_argument("--origin", default=None, help="name of the access log, without spaces")
    take = add("import", "take in a CSV of customer_id, card_number, expiry_month, brand")
    take.add_argument("file")
    take.add_argument("--tokens", required=True, help="CSV to write: customer_id, token, last4")
    take.add_argument("--rejects", default=None, help="CSV to write: line, field, reason")
    run = add("serve", "serve applications over a unix socket")
    run.add_argument("--allow-uid", type=int, action="append", default=[], help="OS user that may ask; may be repeated")
    run.add_argument("--detached", action="store_true", help="go on when the parent process ends")
    add("status", "counts and state")
    audit = add("audit", "what was released between two instants, from the log alone")
    audit.add_argument("--from", dest="from_", required=True, metavar="T1", help="ISO 8601 with zone")
    audit.add_argument("--to", required=True, metavar="T2", help="ISO 8601 with zone, exclusive")
    add("seal", "panic seal: drop the keys until custodians come")
    add("unseal", "open a sealed vault").add_argument("--component", action="append", default=[], metavar="FILE", help="give both")
    return parser


def _home(args: argparse.Namespace) -> Path:
    return places.checked_home(args.home) if args.home is not None else places.default_home()


def _say(args: argparse.Namespace, result: dict[str, Any]) -> None:
    if args.json:
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        for key, value in result.items():
            sys.stdout.write(f"{key}: {value if isinstance(value, str | int | float) else json.dumps(value)}\n")


@contextlib.contextmanager
def _engine(place: Place, binaries: Path) -> Iterator[Engine]:
    engine = Engine(place, binaries)
    try:
        yield engine
    finally:
        engine.close()


def _wait_for_lock(engine: Engine) -> None:
    end = time.monotonic() + LOCK_WAIT_S_MAX
    while not engine.try_lock():
        if time.monotonic() > end:
            raise Busy(f"another process has held the vault in {engine.place.folder} for {LOCK_WAIT_S_MAX:.0f} s")
        time.sleep(0.05)


def _ask_or_do(place: Place, binaries: Path, request: dict[str, Any], files: Sequence[int] = ()) -> dict[str, Any]:
    """Have the serving process do it, or do it here: whichever is possible first. We are the vault's user already."""
    end = time.monotonic() + LOCK_WAIT_S_MAX
    with _engine(place, binaries) as engine:
        while not engine.try_lock():
            answer = client.ask(place.command_socket, request, files=files, progress=server.show_progress)
            if answer is not None:
                return answer
            if time.monotonic() > end:  # somebody starts, stops or imports on his own
                raise Busy(f"another process holds the vault in {place.folder}; try again when it has ended")
            time.sleep(0.05)
        engine.open()
        return server.run_command(engine, request, list(files), None)


def _simple(args: argparse.Namespace, request: dict[str, Any], files: Sequence[int] = ()) -> dict[str, Any]:
    place = places.find(_home(args))
    binaries = pg.binaries(place)
    places.become(place)
    return _ask_or_do(place, binaries, request | {"uid": place.starter_uid}, files)


def _init(args: argparse.Namespace, started_by: int) -> int:
    origin = args.origin or f"tocsin-vault/{secrets.token_hex(4)}"
    if not origin.isprintable() or "+" in origin or " " in origin or not 1 <= len(origin) <= 200:
        raise BadInput(("origin", "1 to 200 printable characters without spaces and +"))
    place = places.find(_home(args), create=True)
    binaries = pg.binaries(place)
    places.become(place)
    created = not (place.folder / "log" / "checkpoint").exists()
    if created:
        with _engine(place, binaries) as engine:
            _wait_for_lock(engine)
            engine.create(origin)
            engine.open()
    vkeys = (place.folder / "log.vkey").read_text().splitlines()
    _say(args, {"created": created, "folder": str(place.folder), "socket": str(place.client_socket), "user": place.user,
                "separated_user": place.separated, "log_vkeys": vkeys})
    return 0


def _serve(args: argparse.Namespace, started_by: int) -> int:
    place = places.find(_home(args))
    binaries = pg.binaries(place)
    places.become(place)
    if not args.detached and started_by != 1:
        places.die_with_parent(started_by)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until the loop takes over: a stop while starting stops the database too
    with _engine(place, binaries) as engine:
        _wait_for_lock(engine)
        engine.open()
        status = engine.status()
        sys.stderr.write(f"vault: serving {status['cards']:,} cards as {place.user} at {place.client_socket}"
                         f"{' (SEALED)' if status['sealed'] else ''}\n")
        if warning := status.get("warning"):
            sys.stderr.write(f"vault: {warning}\n")
        sys.stderr.flush()
        allowed = frozenset({place.starter_uid, place.uid, *args.allow_uid})
        code = asyncio.run(server.serve(engine, allowed=allowed))
    os._exit(code)  # the command thread may sit in accept; everything is closed and durable


def _status(args: argparse.Namespace, started_by: int) -> int:
    _say(args, _simple(args, {"op": "status"}))
    return 0


def _audit(args: argparse.Namespace, started_by: int) -> int:
    result = _simple(args, {"op": "audit", "from_us": _instant("from", args.from_), "to_us": _instant("to", args.to)})
    _say(args, result)
    return 0 if result["consistent"] else 1


def _seal(args: argparse.Namespace, started_by: int) -> int:
    place = places.find(_home(args))
    binaries = pg.binaries(place)
    places.become(place)
    mark_sealed(place)  # first: it stops a process that is too busy to be asked
    _say(args, _ask_or_do(place, binaries, {"op": "seal", "uid": place.starter_uid}))
    return 0


def _unseal(args: argparse.Namespace, started_by: int) -> int:
    if len(args.component) != 2:
        raise BadInput(("component", "two files"))
    files = [_open(name, "component", os.O_RDONLY) for name in args.component]
    _say(args, _simple(args, {"op": "unseal"}, files))
    return 0


def _import(args: argparse.Namespace, started_by: int) -> int:
    """Open the files as the caller, do the work in a child that is the vault's user, put the results in place as the caller."""
    started, place = time.monotonic(), places.find(_home(args))
    binaries = pg.binaries(place)
    outputs = [Path(name).absolute() for name in (args.tokens, args.rejects) if name is not None]
    if len(set(outputs)) != len(outputs) or Path(args.file).absolute() in outputs:
        raise BadInput(("tokens", "three different files"))
    source = _open(args.file, "file", os.O_RDONLY)
    parts = [path.with_name(path.name + ".part") for path in outputs]
    try:
        files = [source, *(_open(str(part), "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW) for part in parts)]
        result = _in_child(place, binaries, files)
        for part, path in zip(parts, outputs, strict=True):
            part.rename(path)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
    _say(args, result | {"seconds": round(time.monotonic() - started, 3), "tokens_file": str(outputs[0]),
                         "rejects_file": str(outputs[1]) if args.rejects is not None else None})
    return 0


def _in_child(place: Place, binaries: Path, files: Sequence[int]) -> dict[str, Any]:
    """Import in a forked child of the vault's user; it dies with us. Raises what it raised."""
    read_end, write_end = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        answer: dict[str, Any] = {"error": {"kind": "defect", "message": "the import failed; standard error says where"}}
        try:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
            places.become(place)
            places.die_with_parent(parent)
            answer = {"result": _ask_or_do(place, binaries, {"op": "import", "uid": place.starter_uid}, files)}
        except VaultError as e:
            answer = {"error": e.as_json()}
        finally:  # a forked child must not return into the caller's code
            if isinstance(sys.exception(), Exception):
                traceback.print_exc()  # names lines of code, no values
            with os.fdopen(write_end, "w") as out:
                out.write(json.dumps(answer))
            os._exit(0)
    os.close(write_end)
    for sig in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sig, lambda *_: os.kill(child, signal.SIGTERM))
    with os.fdopen(read_end) as answers:
        text = answers.read()
    os.waitpid(child, 0)
    if not text:
        raise Unavailable("the importing process was ended; give the same file again")
    said = json.loads(text)
    if "error" in said:
        raise from_json(said["error"])
    return dict(said["result"])


def _open(name: str, field: str, flags: int) -> int:
    try:
        return os.open(name, flags | os.O_CLOEXEC, 0o600)
    except OSError as e:
        raise BadInput((field, f"a file that can be opened ({e.strerror}): {name}")) from None


def _instant(field: str, text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise BadInput((field, "an instant as ISO 8601 with its zone, such as 2012-01-15T00:00:00Z"))
    whole = at - datetime.fromisoformat("1970-01-01T00:00:00Z")
    return (whole.days * 86_400 + whole.seconds) * 1_000_000 + whole.microseconds


_COMMANDS = {"init": _init, "import": _import, "serve": _serve, "status": _status, "audit": _audit, "seal": _seal, "unseal": _unseal}
