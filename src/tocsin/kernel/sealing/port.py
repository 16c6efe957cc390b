"""What an adapter for keys must do."""

from __future__ import annotations

from typing import Protocol

from tocsin.kernel.private import Private


class KeyService(Protocol):
    """Keeps named keys outside the database."""

    def get(self, name: str) -> Private[bytes]:
        """Return the key. Raises NotFound if there is none, Unavailable if the service does not answer. Safe to repeat."""
        ...

    def put_new(self, name: str, value: Private[bytes]) -> None:
        """Store a new key durably, readable by us alone; keeps an existing one unchanged. Safe to repeat after a crash."""
        ...
