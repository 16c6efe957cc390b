"""A key service made of two files that two custodians may keep apart.

    component file   64 lower-case hex digits and a newline, mode 0400; 32 random bytes
    key              component 1 XOR component 2: either file alone tells nothing about it
    wrapped key      nonce (12 bytes, random) || AES-256-GCM of the data key || tag (16), the context as associated data
    uri              file:<first 16 hex digits of SHA-256("tocsin-vault kek" || key)>

Source: PCI DSS 4.0.1 3.6.1.2 (keys as two or more components), 3.7.6 (split knowledge).
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tocsin_vault import places
from tocsin_vault.errors import Refused

NAMES = ("kek.1", "kek.2")
_COMPONENT = re.compile(r"[0-9a-f]{64}\n?")


class FileKeys:
    """The key service over two components."""

    def __init__(self, first: str, second: str) -> None:
        """Take the two components' texts. Raises Refused when one is none, or both are the same."""
        if not _COMPONENT.fullmatch(first) or not _COMPONENT.fullmatch(second) or first.strip() == second.strip():
            raise Refused("a key needs two different components of 64 hex digits each")
        key = bytes(a ^ b for a, b in zip(bytes.fromhex(first.strip()), bytes.fromhex(second.strip()), strict=True))
        self._uri = "file:" + hashlib.sha256(b"tocsin-vault kek" + key).hexdigest()[:16]
        self._aead: AESGCM | None = AESGCM(key)

    @classmethod
    def create(cls, folder: Path) -> None:
        """Make both component files where both are missing. Raises Refused when one alone is there: the other may be in escrow."""
        there = [(folder / name).exists() for name in NAMES]
        if any(there):
            if not all(there):
                raise Refused(f"one of {NAMES[0]} and {NAMES[1]} is missing in {folder}: bring it back, a new key would open nothing")
            return
        for name in NAMES:
            places.write_secret(folder / name, secrets.token_hex(32).encode() + b"\n")

    @classmethod
    def of_folder(cls, folder: Path) -> FileKeys | None:
        """Return the service when both component files are there, None when custodians hold one of them elsewhere."""
        try:
            return cls((folder / NAMES[0]).read_text(), (folder / NAMES[1]).read_text())
        except FileNotFoundError:
            return None

    @property
    def uri(self) -> str:
        """See port.KeyService."""
        return self._uri

    def wrap(self, key: bytes, *, context: bytes) -> bytes:
        """See port.KeyService."""
        nonce = os.urandom(12)
        return nonce + self._key().encrypt(nonce, key, context)

    def unwrap(self, wrapped: bytes, *, context: bytes) -> bytes:
        """See port.KeyService."""
        try:
            return self._key().decrypt(wrapped[:12], wrapped[12:], context)
        except (InvalidTag, ValueError):
            raise Refused("these components do not open the vault's keys") from None

    def forget(self) -> None:
        """See port.KeyService."""
        self._aead = None

    def _key(self) -> AESGCM:
        if self._aead is None:
            raise Refused("the key has been dropped")
        return self._aead
