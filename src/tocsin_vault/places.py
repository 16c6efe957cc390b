"""Where a vault lives, as whom, and how a process becomes that user and dies with its parent.

    HOME/vault/             as root owned by `tocsin-vault`, 0711; otherwise ours, 0700
      where.json            {"folder", "socket"}: where the vault is and its clients' socket, readable by all
      lock                  held with flock by the one process that runs the vault
      data/                 its PostgreSQL cluster, 0700                        postgres.log 0600
      keys/                 0700: kek.1, kek.2 (see adapters/file.py), log.key (two skey lines, see tocsin_tlog.note), all 0400
      log/                  its access log (see tocsin_tlog)                    log.vkey: the log's public keys, one a line
      sealed                present after a panic seal until custodians unseal
      vault.sock            for applications                                    run/: 0700, the sockets of PostgreSQL and of commands

As root: if the vault's user cannot pass through HOME, the folder is /var/lib/tocsin-vault/<digest of HOME>-<random> instead, and
HOME/vault/ holds `where.json` alone. We never change the mode of a folder that we did not make.
A socket's path is limited to 107 bytes: in a deeper home the sockets lie in /run/tocsin-vault/<digest> (as root), else in
$XDG_RUNTIME_DIR or /tmp, in a folder of ours alone.

GAP: the folder of a deleted HOME stays in /var/lib/tocsin-vault until somebody removes it.
GAP: macOS has no prctl: a vault whose parent is killed -9 stays there.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import importlib
import json
import os
import pwd
import resource
import secrets
import shutil
import signal
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tocsin_tlog import durable

from .errors import BadInput, NotFound, Refused, Unavailable

RUN_AS = "tocsin-vault"
ROOT_HOME = Path("/var/lib/tocsin-vault")
ROOT_RUN = Path("/run/tocsin-vault")
SOCKET_PATH_BYTES_MAX = 107
_LONGEST_SOCKET = "run/.s.PGSQL.5432"
# Python loads these at first use: too late once we are the vault's user, when the interpreter itself may lie in a folder of root's.
_NEEDED_LATER = ("encodings.ascii", "encodings.idna", "encodings.latin_1", "encodings.utf_8", "concurrent.futures.thread",
                 "cryptography.hazmat.backends.openssl.backend")
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4


@dataclass(frozen=True, slots=True)
class Place:
    """One vault: its folders and the user it runs as. `starter_uid` is who gave the command."""

    home: Path
    folder: Path
    sockets: Path
    user: str
    uid: int
    gid: int
    separated: bool
    starter_uid: int

    @property
    def client_socket(self) -> Path:
        """Where applications ask."""
        return self.sockets / "vault.sock"

    @property
    def private_sockets(self) -> Path:
        """Folder of the sockets that only the vault's user reaches."""
        return self.sockets / "run"

    @property
    def command_socket(self) -> Path:
        """Where the vault's own commands ask the serving process."""
        return self.private_sockets / "cmd.sock"


def default_home() -> Path:
    """Return the estate's home: TOCSIN_HOME, else the same default as the main side."""
    if env := os.environ.get("TOCSIN_HOME"):
        return Path(env)
    return Path("/var/lib/tocsin") if os.geteuid() == 0 else Path.home() / ".local/share/tocsin"


def find(home: Path, *, create: bool = False) -> Place:
    """Return the vault of an estate, its folders ready; call before dropping privileges.

    `create` makes it when there is none; otherwise raises NotFound. Raises Refused when it belongs to another user than the one we would
    run as. Safe beside another process that does the same.
    """
    home, root = home.resolve(), os.geteuid() == 0
    if root:
        os.umask(0o022)  # the vault's user passes through what we make here; secrets are written with their own modes
    user = _system_user() if root else pwd.getpwuid(os.geteuid())
    marker = home / "vault" / "where.json"
    if not marker.exists():
        if not create:
            raise NotFound(f"no vault in {home}: run `init` first")
        _make(home, marker, user, root=root)
    try:
        folder = Path(json.loads(marker.read_text())["folder"])
        owner = folder.stat().st_uid
    except (ValueError, KeyError, TypeError, OSError) as e:
        raise Unavailable(f"{marker} does not lead to a vault: {type(e).__name__}") from None
    if owner != user.pw_uid:
        raise Refused(f"{folder} belongs to uid {owner}, but this vault would run as {user.pw_name}")
    sockets = _sockets_folder(folder)
    place = Place(home, folder, sockets, user.pw_name, user.pw_uid, user.pw_gid, root, os.geteuid())
    if sockets != folder:
        _private_folder(sockets, user, mode=0o711 if root else 0o700)
    return place


def _make(home: Path, marker: Path, user: pwd.struct_passwd, *, root: bool) -> None:
    """Make the vault's folder. `where.json` comes last, so a crash before it leaves nothing that counts as a vault."""
    if not home.exists():
        home.mkdir(parents=True, mode=0o711 if root else 0o700)
    shell = home / "vault"
    shell.mkdir(exist_ok=True, mode=0o711 if root else 0o700)
    fd = os.open(shell, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        if marker.exists():
            return
        if any(shell.iterdir()):
            raise Refused(f"{shell} is not empty and holds no vault: move it away")
        folder = shell
        if root and not can_reach(user, shell):
            ROOT_HOME.mkdir(exist_ok=True, mode=0o711)
            folder = ROOT_HOME / f"{_digest(home)}-{secrets.token_hex(4)}"
            folder.mkdir(mode=0o711)
        if root:
            os.chown(folder, user.pw_uid, user.pw_gid, follow_symlinks=False)
        text = json.dumps({"folder": str(folder), "socket": str(_sockets_folder(folder) / "vault.sock")}) + "\n"
        durable.replace(marker, text.encode())
    finally:
        os.close(fd)


def _sockets_folder(folder: Path) -> Path:
    if len(os.fsencode(folder / _LONGEST_SOCKET)) <= SOCKET_PATH_BYTES_MAX and not set(str(folder)) & set(",\"'"):
        return folder
    if os.geteuid() == 0:
        return ROOT_RUN / _digest(folder)
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    fits = base.startswith("/") and len(os.fsencode(base)) < 60 and Path(base).is_dir()
    return (Path(base) if fits else Path("/tmp")) / f"tocsin-vault-{os.geteuid()}-{_digest(folder)}"  # noqa: S108 - checked to be ours


def _private_folder(folder: Path, user: pwd.struct_passwd, *, mode: int) -> None:
    """Make a folder of the vault's user, or check that it is one: somebody else may have been first in a shared place."""
    if os.geteuid() == 0:
        ROOT_RUN.mkdir(exist_ok=True, mode=0o711)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=mode)
        if os.geteuid() == 0:
            os.chown(folder, user.pw_uid, user.pw_gid, follow_symlinks=False)
    there = folder.lstat()
    if not stat.S_ISDIR(there.st_mode) or there.st_uid != user.pw_uid or there.st_mode & 0o022:
        raise Refused(f"{folder} exists and is not a folder of {user.pw_name} alone: remove it")


def _system_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(RUN_AS)
    except KeyError:
        pass
    if not shutil.which("useradd"):
        raise Unavailable(f"no useradd here: make a system user {RUN_AS}, or run the vault without root")
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", RUN_AS]
    done = subprocess.run(command, check=False, capture_output=True)
    try:
        return pwd.getpwnam(RUN_AS)  # also when another process made it meanwhile
    except KeyError:
        raise Unavailable(f"useradd {RUN_AS} ended with {done.returncode}") from None


def can_reach(user: pwd.struct_passwd, path: Path) -> bool:
    """Say whether a user may pass through (or run) `path`; asked as root only."""
    as_user: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    return subprocess.run(["test", "-x", str(path)], cwd="/", check=False, **as_user).returncode == 0


def become(place: Place) -> None:
    """Turn this process into the vault's user for good, and keep its memory from others. Nothing can be imported afterwards.

    As root: user, group and groups change and cannot change back. Always: no core files, no attaching by processes of the same user.
    """
    for name in _NEEDED_LATER:
        importlib.import_module(name)
    if place.separated and os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(place.gid, place.gid, place.gid)
        os.setresuid(place.uid, place.uid, place.uid)
    os.chdir("/")  # the caller's folder may be one that this user cannot enter
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0)


def die_with_parent(parent: int, sig: int = signal.SIGTERM) -> None:
    """Have the kernel send `sig` when the parent ends, kill -9 included. Call after `become`: changing the user clears it.

    `parent` is its process id, read before anything else: if it is gone already we end here.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, sig)
        if os.getppid() != parent:
            raise SystemExit(0)


def tied(sig: int) -> dict[str, Any]:
    """Return Popen arguments that give a child its own session and send it `sig` when we die. Start children from the main thread."""
    if sys.platform != "linux":
        return {"start_new_session": True}
    libc, parent = ctypes.CDLL(None), os.getpid()  # loaded before the fork

    def arm() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, sig)
        if os.getppid() != parent:
            os._exit(1)

    return {"start_new_session": True, "preexec_fn": arm}


def write_secret(path: Path, data: bytes) -> None:
    """Write a file that nobody else could read at any moment, 0400, durably. Raises FileExistsError: secrets are never replaced."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o400)
    with os.fdopen(fd, "wb") as f:
        f.write(data)
        f.flush()
        os.fsync(fd)
    durable.sync_folder(path.parent)


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def checked_home(text: str) -> Path:
    """Return --home as a path. Raises BadInput for an empty one."""
    if not text.strip():
        raise BadInput(("home", "the folder of an estate"))
    return Path(text)
