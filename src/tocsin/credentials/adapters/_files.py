"""Keys in the company's own files: replaced as a whole, the old one kept sealed, the application told to read again.

A key stands in a file of its own (`format = "raw"`), or as `NAME=value` in an environment file (`format = "env"`). Beside it lies the
state file `.NAME.tocsin`: one line of JSON with the state, and what stood there before, sealed with a key made from the connector's secret
(HKDF-SHA256, Fernet). Nobody who reads the folder gets an ended key back.

Order of a replacement, so that a crash at any step leaves something the next call completes: seal the old value and note the new state
(fsync), rename the new value into place (fsync of file and folder), run the reload command. `gate` called again runs the reload again.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import secrets as randomness
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tocsin.kernel.errors import BadInput, Unavailable
from tocsin.kernel.private import Private

RELOAD_S_MAX = 20.0
FILE_BYTES_MAX = 1024 * 1024
Format = Literal["raw", "env"]


def replace(path: Path, content: bytes, port: str) -> None:
    """Put content in place of a file, whole or not at all, keeping its owner and mode. Raises Unavailable if the place is not writable."""
    try:
        held = path.stat() if path.exists() else None
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
            if held is not None:
                Path(temporary).chmod(held.st_mode & 0o7777)
                with contextlib.suppress(PermissionError):  # only root gives a file away; then its owner is ours already
                    os.chown(temporary, held.st_uid, held.st_gid)
            Path(temporary).replace(path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as e:
        raise Unavailable(port, f"{path}: {e.strerror}") from e


def read(path: Path, port: str) -> bytes:
    """Return a file's content. Raises Unavailable if it cannot be read or is longer than a key file is."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise Unavailable(port, f"{path}: longer than {FILE_BYTES_MAX} bytes: not a key file")
        return path.read_bytes()
    except OSError as e:
        raise Unavailable(port, f"{path}: {e.strerror}") from e


def run(command: Sequence[str], port: str, what: str, *, given: str = "", cwd: str | None = None) -> str:
    """Run a command of the company's (an argument list, no shell) and return what it prints. Raises Unavailable if it fails or is slow."""
    try:
        done = subprocess.run(list(command), input=given, capture_output=True, text=True, timeout=RELOAD_S_MAX, cwd=cwd, check=False)
    except subprocess.TimeoutExpired:
        raise Unavailable(port, f"{what} did not end in {RELOAD_S_MAX:g} s") from None
    except OSError as e:
        raise Unavailable(port, f"{what} cannot be started: {e.strerror}") from e
    if done.returncode:
        raise Unavailable(port, f"{what} ended with {done.returncode}")
    return done.stdout


class ValueFile:
    """One value in one file."""

    def __init__(self, path: str, format: Format, variable: str, port: str) -> None:
        if format == "env" and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
            raise BadInput.of("variable", variable, "the name of an environment variable")
        self.path, self.format, self.variable, self._port = Path(path), format, variable, port

    def get(self) -> str:
        """Return the value. Raises Unavailable if there is none."""
        text = read(self.path, self._port).decode()
        if self.format == "raw":
            return text.strip()
        match = self._pattern().search(text)
        if match is None:
            raise Unavailable(self._port, f"{self.path}: {self.variable} is not set there")
        return match[2].strip().strip("\"'")

    def put(self, value: str) -> None:
        """Replace the value; the rest of an environment file stays as it is."""
        if self.format == "raw":
            replace(self.path, f"{value}\n".encode(), self._port)
            return
        text = read(self.path, self._port).decode()
        changed = self._pattern().sub(lambda m: f"{m[1]}{value}", text)
        replace(self.path, changed.encode(), self._port)

    def _pattern(self) -> re.Pattern[str]:
        return re.compile(rf"^((?:export\s+)?{self.variable}=)(.*)$", re.MULTILINE)


class Marks:
    """The state beside the company's file, with what must come back on an abort sealed in it."""

    def __init__(self, beside: Path, name: str, secret: Private[str], port: str) -> None:
        self.path, self._port = beside.with_name(f".{name}.tocsin"), port
        derived = HKDF(hashes.SHA256(), 32, salt=None, info=f"tocsin connector {name}".encode()).derive(secret.reveal().encode())
        self._fernet = Fernet(base64.urlsafe_b64encode(derived))

    def get(self) -> dict[str, Any]:
        """Return what is noted, empty before `arm`."""
        if not self.path.exists():
            return {}
        try:
            told = json.loads(read(self.path, self._port))
        except ValueError as e:
            raise Unavailable(self._port, f"{self.path} is not ours: move it away") from e
        return dict(told)

    def put(self, mark: dict[str, Any]) -> None:
        """Write the notes, readable for this user alone."""
        if not self.path.exists():
            try:
                os.close(os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o600))
            except OSError as e:
                raise Unavailable(self._port, f"{self.path}: {e.strerror}") from e
        replace(self.path, json.dumps(mark, sort_keys=True).encode(), self._port)

    def clear(self) -> None:
        """Forget everything."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as e:
            raise Unavailable(self._port, f"{self.path}: {e.strerror}") from e

    def seal(self, value: str) -> str:
        """Return a value that only this connector's secret opens."""
        return self._fernet.encrypt(value.encode()).decode()

    def unseal(self, sealed: str) -> str:
        """Return a sealed value. Raises Unavailable for another secret than it was sealed with."""
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken as e:
            raise Unavailable(self._port, f"{self.path} was sealed with another secret of this connector") from e


def new_key() -> str:
    """Return 64 random bytes as hexadecimal text: what both Django and Rails take as a key."""
    return randomness.token_hex(64)
