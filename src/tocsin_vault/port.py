"""What the vault asks of a key service: to wrap and unwrap its data keys. The key-encryption key itself never leaves the service.

Adapters: `adapters/file.py` (two component files). Others (OpenBao transit, PKCS#11, a cloud's) implement the same Protocol.
"""

from __future__ import annotations

from typing import Protocol


class KeyService(Protocol):
    """Holds one key-encryption key."""

    @property
    def uri(self) -> str:
        """Which key wraps: stored beside every wrapped key, so that a later key can tell its own. Holds no secret."""
        ...

    def wrap(self, key: bytes, *, context: bytes) -> bytes:
        """Return `key` (32 bytes) wrapped and bound to `context`. May be asked again at will: each answer differs and each unwraps.

        Raises Unavailable when the service does not answer.
        """
        ...

    def unwrap(self, wrapped: bytes, *, context: bytes) -> bytes:
        """Return the key of `wrap`. Raises Refused for another context, another key or changed bytes; Unavailable for no answer."""
        ...

    def forget(self) -> None:
        """Drop the key from memory. Every later call raises Refused. Safe to call twice."""
        ...
