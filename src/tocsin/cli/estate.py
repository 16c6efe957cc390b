"""A whole estate on one machine: `up` and `demo` start every process as a child, beside an embedded PostgreSQL."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from tocsin.kernel import config
from tocsin.kernel.errors import BadInput, NotFound, Refused, TocsinError, Unavailable
from tocsin.kernel.localpg import LocalPg, default_home, tied, write_private

from . import output
from .processes import site_command
from .supervisor import Child, Supervisor

DEFAULT_PORTS = {"console": 8000, "public": 8001, "api": 8002, "intake": 2526, "smtp": 2525, "http": 8025}
DATABASE_STOP_S_MAX = 0.8  # then at once, and the next start recovers: two seconds after Ctrl-C nothing is left
ROLES_FILE = Path("keys") / "roles.json"
PYTHON = (sys.executable, "-P", "-m")


def register(app: typer.Typer) -> None:
    """Add the estate commands."""
    app.command()(up)
    app.command()(demo)
    app.command()(connection)
    app.command(hidden=True)(migrate)


def demo(
    customers: Annotated[int, typer.Option(min=100, help="How many customers the shop has.")] = 24_000,
    scenario: Annotated[str, typer.Option(help="Name of a scenario, or a TOML file.")] = "zappos-2012",
    exit: Annotated[bool, typer.Option("--exit", help="End when the incident is over instead of leaving the console open.")] = False,
    port: Annotated[int | None, typer.Option(min=1, max=65_535, help="Port of the console; default 8000, or the next free one.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the synthetic customers.")] = 2012,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted demo instead of starting clean.")] = False,
) -> None:
    """Live through a whole incident on an embedded estate, then look around in the console.

    Starts clean: what an earlier demo left in its home is deleted. With --resume an interrupted one goes on.
    """
    from tocsin.drills import scenario as scenarios

    checked = scenarios.load(scenario)  # all faults before anything is touched
    home = Path(os.environ["TOCSIN_HOME"]) if "TOCSIN_HOME" in os.environ else default_home().parent / "demo"
    with _owned(home):
        if not resume:
            _start_clean(home)
        elif not (home / "tocsin.toml").exists():
            raise BadInput.of("--resume", str(home), "a home in which a demo was begun")
        if not (home / "tocsin.toml").exists():
            scenarios.place_personalities(checked, home)
            free = _Ports()
            _write_config(home, kind="demo", ports=free.choose(port))  # last: its presence says that the home is whole
            free.release()  # taken again at once by the estate itself
        trip = (*PYTHON, "tocsin.cli", "trip", "--scenario", str(checked.path), "--customers", str(customers), "--seed", str(seed))
        flags = [*(["--json"] if output.as_json else []), *(["--resume"] if resume else []), *([] if exit else ["--stay"])]
        raise typer.Exit(_run(home, foreground=(*trip, *flags), stay=not exit))


def up() -> None:
    """Start every process of the estate and watch over them until Ctrl-C."""
    home = config.home_from_environment()
    with _owned(home):
        raise typer.Exit(_run(home, foreground=None, stay=True))


def migrate() -> None:
    """Make keys, schema and process roles of the estate; print each role's connection string. For the supervisor."""
    os.environ["TOCSIN_PROCESS"] = "owner"
    import django

    django.setup()
    from tocsin.evidence import actions as evidence
    from tocsin.kernel import schema, sealing

    current = config.current()
    if schema.exists():
        evidence.open_estate(kind=current.estate.kind)  # before anything is changed: a demo must not migrate a live database
    sealing.create_all()
    schema.migrate()
    evidence.open_estate(kind=current.estate.kind)
    file = current.home / ROLES_FILE
    passwords = schema.set_passwords(current.database_url, kept=_kept_passwords(file))
    write_private(file, json.dumps(passwords))
    output.as_json = True
    output.emit({role: schema.dsn(current.database_url, role, password) for role, password in passwords.items()})


def _kept_passwords(file: Path) -> dict[str, str]:
    """Return the passwords of the process roles from an earlier start: they stay, so that processes on other machines stay connected."""
    try:
        kept: dict[str, str] = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    return kept


def connection(role: Annotated[str, typer.Argument(help="worker, console, public, api, intake, sequencer or operator.")]) -> None:
    """Print a process role's connection string, for TOCSIN_DATABASE_URL on another machine. Treat it as a password."""
    from tocsin.kernel import schema

    current = config.current()
    server = os.environ.get("TOCSIN_DATABASE_URL")
    passwords = _kept_passwords(current.home / ROLES_FILE)
    if role not in passwords:
        raise NotFound(f"no role {role!r} in {current.home / ROLES_FILE}: one of {', '.join(passwords) or 'none; start the estate once'}")
    if not server:
        raise Refused("set TOCSIN_DATABASE_URL to the server: the embedded database listens on this machine alone")
    output.emit({"role": role, "dsn": schema.dsn(server, role, passwords[role])})


@dataclass(frozen=True)
class _Environment:
    """What each process is given: its own database role and nothing of the others'."""

    base: Mapping[str, str]
    dsns: Mapping[str, str]

    def of(self, process: str) -> dict[str, str]:
        env = {k: v for k, v in self.base.items() if k not in {"TOCSIN_DATABASE_URL", "TOCSIN_PROCESS"}} | {"TOCSIN_PROCESS": process}
        return env | ({"TOCSIN_DATABASE_URL": self.dsns[process]} if process in self.dsns else {})


def _run(home: Path, *, foreground: tuple[str, ...] | None, stay: bool) -> int:
    os.environ["TOCSIN_HOME"] = str(home)
    config.current.cache_clear()
    current = config.current()
    supervisor = Supervisor(home / "logs")
    with contextlib.ExitStack() as stack:
        ports = _Ports()
        stack.callback(ports.release)
        ports.hold(current)
        owner = os.environ.get("TOCSIN_DATABASE_URL") or stack.enter_context(LocalPg(home / "pg", stop_s_max=DATABASE_STOP_S_MAX))
        stack.callback(supervisor.stop)
        making = _run_beside("tocsin_vault", "init", "--home", str(home), without={"TOCSIN_DATABASE_URL", "TOCSIN_PROCESS"})
        env = _Environment(os.environ.copy(), _migrated(owner))
        _finish(making, "vault")
        write_private(home / "operator.dsn", env.dsns["operator"])  # for the commands people give while the estate runs
        stack.callback((home / "operator.dsn").unlink, missing_ok=True)
        _start_all(supervisor, current, env)
        if foreground:
            supervisor.start(Child("trip", foreground, env.of("operator"), foreground=True, pass_output=True))
            code = supervisor.run()
            if code or not stay:
                return code
        output.people.print(
            f"console http://127.0.0.1:{current.web.console_port}   public site http://127.0.0.1:{current.web.public_port}"
            f"   gate http://127.0.0.1:{current.web.api_port}"
            + ("" if current.estate.kind == "live" else f"   post office http://127.0.0.1:{current.practice.http_port}")
        )
        output.people.print("Ctrl-C stops everything.")
        code = supervisor.run()
        return 0 if code == 130 else code


def _run_beside(*arguments: str, without: Collection[str] = (), **env: str) -> subprocess.Popen[str]:
    """Start a program of ours that ends by itself, tied to us."""
    environment = {k: v for k, v in os.environ.items() if k not in without} | env
    return subprocess.Popen(
        [*PYTHON, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **tied(signal.SIGKILL)
    )


def _finish(program: subprocess.Popen[str], name: str) -> str:
    """Wait for a program and return what it said. Raises Refused or Unavailable with its reason."""
    out, err = program.communicate()
    if program.returncode:
        try:
            raise Refused(json.loads(out)["error"]["message"])
        except (ValueError, KeyError):
            raise Unavailable(name, (out + err).strip()[-2000:]) from None
    return out


def _migrated(owner_dsn: str) -> dict[str, str]:
    """Run `migrate` as the database's owner in a process of its own; return the process roles' connection strings."""
    dsns: dict[str, str] = json.loads(_finish(_run_beside("tocsin.cli", "migrate", TOCSIN_DATABASE_URL=owner_dsn), "database"))
    return dsns


def _start_all(supervisor: Supervisor, current: config.Config, env: _Environment) -> None:
    """Start the processes in order; each waits by itself for what it needs."""
    tocsin = (*PYTHON, "tocsin.cli")
    vault = {k: v for k, v in env.of("vault").items() if k != "TOCSIN_PROCESS"}
    supervisor.start(Child("sequencer", (*tocsin, "sequencer"), env.of("sequencer")))
    supervisor.start(Child("vault", (*PYTHON, "tocsin_vault", "serve", "--home", str(current.home)), vault, death_signal=signal.SIGTERM))
    if current.estate.kind in {"demo", "drill"}:
        supervisor.start(Child("postoffice", (*tocsin, "postoffice"), env.of("postoffice")))
    supervisor.start(Child("worker", (*tocsin, "worker"), env.of("worker")))
    supervisor.start(Child("intake", (*tocsin, "intake"), env.of("intake")))
    for site, port in (("console", current.web.console_port), ("public", current.web.public_port), ("api", current.web.api_port)):
        supervisor.start(Child(site, site_command(site, port=port), env.of(site), death_signal=signal.SIGTERM))


@contextlib.contextmanager
def _owned(home: Path) -> Iterator[None]:
    """Hold the estate: two supervisors of one home would fight over its children. Raises Refused if another one runs, BadInput for what is no folder."""
    root = os.geteuid() == 0
    if home.exists() and not home.is_dir():
        raise BadInput.of("--home", str(home), "a folder, or a name for a new one")
    if not home.exists():
        home.mkdir(mode=0o711 if root else 0o700, parents=True)
        home.chmod(0o711 if root else 0o700)  # whatever the umask; as root the database's user must pass through
    with (home / "up.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(f"an estate is running in {home}: stop it, or choose another with --home") from None
        yield


def _start_clean(home: Path) -> None:
    """Empty the home of an earlier demo. Refuses to touch a folder that is not one."""
    others = [p for p in home.iterdir() if p.name != "up.lock"]
    if not others:
        return
    try:
        kind = config.parse((home / "tocsin.toml").read_text(), home=home, database_url="", process="operator").estate.kind
    except (OSError, TocsinError):
        kind = "unknown"
    if kind != "demo":
        raise Refused(f"{home} holds an estate of kind {kind!r}, or something else: a demo starts clean only in a demo's home")
    for path in others:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


class _Ports:
    """Ports of this estate, held against every other estate of the machine for as long as this process lives.

    Two servers can listen on one port unseen (granian sets SO_REUSEPORT, and the kernel then shares connections out), so a free port is one
    on which nobody listens and whose lock file we hold. The kernel frees the locks when we die.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.gettempdir()) / f"tocsin-ports-{os.geteuid()}"
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self._locks: list[IO[str]] = []

    def choose(self, console: int | None) -> dict[str, int]:
        """Return the usual ports where they are free, else the next ones. Raises BadInput if the console's was asked for and is taken."""
        ports = {}
        for name, usual in DEFAULT_PORTS.items():
            wanted = console if name == "console" and console else usual
            port = wanted
            while not self._take(port):
                if name == "console" and console:
                    raise BadInput.of("--port", console, "a port that is free")
                port += 1
            ports[name] = port
        return ports

    def hold(self, current: config.Config) -> None:
        """Hold the ports of a configuration. Raises Refused naming each that is taken."""
        wanted = {
            "web.console_port": current.web.console_port,
            "web.public_port": current.web.public_port,
            "web.api_port": current.web.api_port,
            "intake.port": current.intake.port,
        } | (
            {}
            if current.estate.kind == "live"
            else {"practice.smtp_port": current.practice.smtp_port, "practice.http_port": current.practice.http_port}
        )
        taken = [f"{name} = {port}" for name, port in wanted.items() if not self._take(port)]
        if taken:
            raise Refused(f"somebody listens on {', '.join(taken)}: stop them, or change {current.home / 'tocsin.toml'}")

    def _take(self, port: int) -> bool:
        lock = (self.folder / str(port)).open("a")
        if any(held.name == lock.name for held in self._locks):
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                lock.close()
                return False
        self._locks.append(lock)
        return True

    def release(self) -> None:
        """Give all of them back."""
        while self._locks:
            self._locks.pop().close()


def _write_config(home: Path, *, kind: str, ports: Mapping[str, Any]) -> None:
    """Write the estate's configuration; a rename makes it whole or absent."""
    text = f"""[estate]
kind = "{kind}"

[company]
name = "Zappos-like Shoes"
brand = "Zapp"
domain = "shop.example"

[web]
console_port = {ports["console"]}
public_port = {ports["public"]}
api_port = {ports["api"]}
public_url = "http://127.0.0.1:{ports["public"]}"
trusted_proxies = "127.0.0.1/32"

[mail]
relay_port = {ports["smtp"]}
from_name = "Zappos-like Shoes"
preflight = false

[intake]
port = {ports["intake"]}

[practice]
smtp_port = {ports["smtp"]}
http_port = {ports["http"]}
"""
    tmp = home / "tocsin.toml.tmp"
    tmp.write_text(text)
    tmp.rename(home / "tocsin.toml")
