"""The vault's errors: what happened decides the exit code and the answer on the socket.

    VaultError
      BadInput     2  malformed file or argument, all faults at once        Busy         5  another vault process holds the vault
      Refused      3  well-formed, but not now or not by you                Unavailable  6  the database or the key service failed
      NotFound     4  no such vault

No message ever holds a card number or a key. Anything else is a defect and ends with exit code 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class VaultError(Exception):
    """An error with a kind and an exit code."""

    kind = "defect"
    exit_code = 1

    def as_json(self) -> dict[str, Any]:
        """Return the error as the command line and the sockets show it."""
        return {"kind": self.kind, "message": str(self)}


class BadInput(VaultError):
    """Malformed input; `faults` lists (field, wanted) of each fault."""

    kind, exit_code = "bad_input", 2

    def __init__(self, *faults: tuple[str, str]) -> None:
        self.faults: Sequence[tuple[str, str]] = faults
        super().__init__("; ".join(f"{field}: wanted {wanted}" for field, wanted in faults))

    def as_json(self) -> dict[str, Any]:
        """Return the error with every fault."""
        faults = [{"field": field, "wanted": wanted} for field, wanted in self.faults]
        return super().as_json() | {"field": faults[0]["field"], "wanted": faults[0]["wanted"], "faults": faults}


class Refused(VaultError):
    """A rule forbids it now; the message names the rule."""

    kind, exit_code = "refused", 3


class NotFound(VaultError):
    """There is no such vault."""

    kind, exit_code = "not_found", 4


class Busy(VaultError):
    """Another process holds the vault and does not answer."""

    kind, exit_code = "busy", 5


class Unavailable(VaultError):
    """The database, the log or the key service failed."""

    kind, exit_code = "unavailable", 6


KINDS: dict[str, type[VaultError]] = {e.kind: e for e in (Refused, NotFound, Busy, Unavailable)}


def from_json(error: dict[str, Any]) -> VaultError:
    """Return the error that another vault process reported."""
    if error.get("kind") == BadInput.kind:
        return BadInput(*((str(f["field"]), str(f["wanted"])) for f in error.get("faults", [])))
    return KINDS.get(str(error.get("kind")), VaultError)(str(error.get("message")))
