"""Operators' keys in the estate's home: HOME/keys/operators/NAME.pub (trusted) and, where the command line signs, NAME.key (0600).

NAME.key: standard base64 of the 32 raw Ed25519 bytes and a newline. NAME.pub: the same of the public key, a newline, the operator's roles
joined by commas, and a newline. The public files are the anchor of dual control: they stand outside the database, so that somebody who can
write to it can neither enrol a key of his own nor give a key another role. Taking a file away takes the operator's signatures away.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tocsin.kernel.errors import BadInput, NotFound

from .types import ROLES

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def folder(home: Path) -> Path:
    """Return where the keys of an estate's operators lie."""
    return home / "keys" / "operators"


def check_name(name: str) -> None:
    """Raise BadInput unless the name is safe as a file name."""
    if not NAME.fullmatch(name):
        raise BadInput.of("name", name, "1 to 63 of a-z 0-9 . _ -, starting with a letter or digit")


@dataclass(frozen=True, slots=True)
class Trusted:
    """An operator as the home knows them: the key whose signatures count, and the roles it may sign for."""

    public_key: bytes
    roles: tuple[str, ...]


def create(home: Path, name: str, *, roles: Sequence[str]) -> tuple[bytes, Path]:
    """Make a key pair; return the public key and the private key's file. An existing pair is kept and returned."""
    check_name(name)
    private = folder(home) / f"{name}.key"
    if not private.exists():
        key = Ed25519PrivateKey.generate()
        _write(private, base64.b64encode(key.private_bytes_raw()).decode(), 0o600)
    public = load_private(private).public_key().public_bytes_raw()
    trust(home, name, public, roles=roles)
    return public, private


def trust(home: Path, name: str, public: bytes, *, roles: Sequence[str]) -> None:
    """Write the trusted public key and its roles. Raises BadInput if another key is trusted for that name, or another name for that key."""
    check_name(name)
    file = folder(home) / f"{name}.pub"
    known = trusted(home, name)
    if known is not None and known.public_key != public:
        raise BadInput.of("public_key", name, f"the key that {file} already trusts; remove that file by hand to replace it")
    for other in folder(home).glob("*.pub"):
        if other != file and (theirs := trusted(home, other.stem)) is not None and theirs.public_key == public:
            raise BadInput.of("public_key", name, f"a key of their own: this one is {other.stem}'s")
    _write(file, base64.b64encode(public).decode() + "\n" + ",".join(sorted(roles)), 0o644)


def trusted(home: Path, name: str) -> Trusted | None:
    """Return the key and roles trusted for an operator; None if there are none, or the name could lead out of the folder."""
    if not NAME.fullmatch(name):
        return None
    try:
        key, roles, *_ = [*(folder(home) / f"{name}.pub").read_text().split("\n"), ""]
        return Trusted(base64.b64decode(key, validate=True), tuple(r for r in roles.split(",") if r in ROLES))
    except (FileNotFoundError, ValueError):
        return None


def load_private(file: Path) -> Ed25519PrivateKey:
    """Return the private key of a key file. Raises NotFound or BadInput."""
    try:
        if file.suffix == ".pub":
            raise ValueError("this is the public half")
        return Ed25519PrivateKey.from_private_bytes(base64.b64decode(file.read_text().strip(), validate=True))
    except FileNotFoundError:
        raise NotFound(f"no key file {file}") from None
    except ValueError as e:
        raise BadInput.of("key", str(file), f"a private key as `tocsin operator add` wrote it, NAME.key: base64 of 32 bytes ({e})") from None


def _write(file: Path, text: str, mode: int) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    tmp = file.with_name(f".{file.name}.{os.getpid()}")
    with os.fdopen(os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as f:
        f.write(text + "\n")
        f.flush()
        os.fsync(f.fileno())
    tmp.rename(file)
