"""Operators' keys in the estate's home: HOME/keys/operators/NAME.pub (trusted) and, where the command line signs, NAME.key (0600).

Format: standard base64 of the 32 raw Ed25519 bytes and a newline. The public files are the anchor of dual control: they stand outside
the database, so that somebody who can write to it cannot enrol a key of his own.
"""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tocsin.kernel.errors import BadInput, NotFound

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def folder(home: Path) -> Path:
    """Return where the keys of an estate's operators lie."""
    return home / "keys" / "operators"


def check_name(name: str) -> None:
    """Raise BadInput unless the name is safe as a file name."""
    if not NAME.fullmatch(name):
        raise BadInput.of("name", name, "1 to 63 of a-z 0-9 . _ -, starting with a letter or digit")


def create(home: Path, name: str) -> tuple[bytes, Path]:
    """Make a key pair; return the public key and the private key's file. An existing pair is kept and returned."""
    check_name(name)
    private = folder(home) / f"{name}.key"
    if not private.exists():
        key = Ed25519PrivateKey.generate()
        _write(private, key.private_bytes_raw(), 0o600)
    public = load_private(private).public_key().public_bytes_raw()
    trust(home, name, public)
    return public, private


def trust(home: Path, name: str, public: bytes) -> None:
    """Write the trusted public key. Raises BadInput if another key is trusted for that name already."""
    check_name(name)
    file = folder(home) / f"{name}.pub"
    if file.exists():
        if trusted(home, name) != public:
            raise BadInput.of("public_key", name, f"the key that {file} already trusts; remove that file by hand to replace it")
        return
    _write(file, public, 0o644)


def trusted(home: Path, name: str) -> bytes | None:
    """Return the public key trusted for an operator, None if there is none."""
    try:
        return base64.b64decode((folder(home) / f"{name}.pub").read_text(), validate=False)
    except FileNotFoundError:
        return None


def load_private(file: Path) -> Ed25519PrivateKey:
    """Return the private key of a key file. Raises NotFound or BadInput."""
    try:
        return Ed25519PrivateKey.from_private_bytes(base64.b64decode(file.read_text()))
    except FileNotFoundError:
        raise NotFound(f"no key file {file}") from None
    except ValueError as e:
        raise BadInput.of("key", str(file), f"base64 of 32 bytes ({e})") from None


def _write(file: Path, raw: bytes, mode: int) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    tmp = file.with_name(f".{file.name}.{os.getpid()}")
    with os.fdopen(os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as f:
        f.write(base64.b64encode(raw).decode() + "\n")
        f.flush()
        os.fsync(f.fileno())
    tmp.rename(file)
