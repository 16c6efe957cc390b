"""The leaf: 47 bytes that stand for one event without naming anybody.

    offset  bytes  field
         0      1  version, 0x01
         1      2  type, big-endian; the number of the event's kind in the owner's registry
         3      8  time, big-endian microseconds since 1970-01-01T00:00:00Z
        11      4  incident, big-endian; 0 when the event belongs to none
        15     32  commitment = SHA-256(salt || event), salt 16 bytes, event its canonical JSON (RFC 8785) in UTF-8

Type and time are in clear on purpose: "so many notices handed over between T1 and T2" is provable from the log alone. Everything else
is behind the commitment, which `cat salt event.json | sha256sum` checks. Whoever deletes the salt makes the leaf unopenable for ever,
and the log itself is never edited.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from .errors import Malformed

VERSION = 1
ENTRY_BYTES = 47
SALT_BYTES = 16
_LAYOUT = struct.Struct(">BHQI32s")


@dataclass(frozen=True, slots=True)
class Leaf:
    """One entry taken apart. `at_us`: microseconds since 1970; `incident` 0 means none."""

    type: int
    at_us: int
    incident: int
    commitment: bytes


def pack(*, type: int, at_us: int, incident: int, commitment: bytes) -> bytes:
    """Return the 47 bytes of an entry. Raises Malformed when a field is out of its range."""
    if len(commitment) != 32:
        raise Malformed(f"a commitment has 32 bytes, not {len(commitment)}")
    try:
        return _LAYOUT.pack(VERSION, type, at_us, incident, commitment)
    except struct.error as e:
        raise Malformed(f"type {type}, time {at_us} or incident {incident} is out of range: {e}") from None


def unpack(entry: bytes) -> Leaf:
    """Return the fields of an entry. Raises Malformed for another length or version."""
    if len(entry) != ENTRY_BYTES or entry[0] != VERSION:
        raise Malformed(f"an entry has {ENTRY_BYTES} bytes and starts with 0x01")
    _, kind, at_us, incident, commitment = _LAYOUT.unpack(entry)
    return Leaf(kind, at_us, incident, commitment)


def commit(*, salt: bytes, event: bytes) -> bytes:
    """Return the 32-byte commitment to an event's canonical JSON under its salt."""
    if len(salt) != SALT_BYTES:
        raise Malformed(f"a salt has {SALT_BYTES} bytes, not {len(salt)}")
    return hashlib.sha256(salt + event).digest()
