"""How an event becomes a leaf: pure, so that an auditor can read one page and recompute it.

    event       = RFC 8785 JSON of {"actor", "at", "body", "incident", "subject", "type", "uuid"}; `at` is ISO 8601 UTC with microseconds
    leaf salt   = 16 random bytes for an act; for a subject's event the first 16 bytes of HMAC-SHA256(subject salt, uuid bytes)
    commitment  = SHA-256(leaf salt || event)
    leaf        = 0x01 | type u16 | time us u64 | incident u32 | commitment[32], big-endian, 47 bytes; incident 0 means none

Source: specification of the log; RFC 8785; commitments can be checked with `sha256sum`.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from tocsin.kernel import canonical

from .types import EventType

LEAF_VERSION = 1
LEAF_BYTES = 47
SALT_BYTES = 16
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def event_json(
    type: EventType, *, at: datetime, actor: str, incident: int | None, subject: int | None, uuid: UUID, body: dict[str, Any]
) -> bytes:
    """Return the canonical event. Raises rfc8785.CanonicalizationError if the body is not JSON."""
    return canonical.dumps(
        {
            "actor": actor,
            "at": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "body": body,
            "incident": incident,
            "subject": subject,
            "type": type.name.lower(),
            "uuid": str(uuid),
        }
    )


def subject_leaf_salt(subject_salt: bytes, uuid: UUID) -> bytes:
    """Return the salt of one leaf of a subject; it reveals nothing about the subject's other leaves."""
    return hmac.digest(subject_salt, uuid.bytes, "sha256")[:SALT_BYTES]


def commitment(leaf_salt: bytes, event: bytes) -> bytes:
    """Return the 32 bytes that stand for an event in the log."""
    return hashlib.sha256(leaf_salt + event).digest()


def leaf(type: int, *, at: datetime, incident: int | None, commitment: bytes) -> bytes:
    """Return the 47-byte leaf."""
    delta = at.astimezone(UTC) - _EPOCH
    at_us = (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
    return struct.pack(">BHQI", LEAF_VERSION, type, at_us, incident or 0) + commitment
