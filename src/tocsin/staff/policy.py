"""Dual control: which acts need two people, whose role must be among them, and what exactly they sign. Pure.

digest    = SHA-256("tocsin-approval/1\\n" || RFC 8785 JSON of {"act", "payload"})
signature = Ed25519 over "tocsin-approval/1\\n" || digest
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tocsin.kernel import canonical

DOMAIN = b"tocsin-approval/1\n"
NEEDS = 2  # different people, for every act
# One named person states what they have read; nothing happens by it, and the act that builds on it still needs two.
STATEMENTS = frozenset({"notices.review"})
# Each role named must be held by one of the signers.
RULES: dict[str, tuple[str, ...]] = {
    "incidents.declare": ("commander",),
    "incidents.contain": ("commander",),
    "credentials.commit": ("identity",),
    "credentials.abort": ("identity",),
    "connectors.arm": ("identity",),
    "connectors.abort": ("identity",),
    "credentials.erase": ("identity",),
    "notices.start": ("communications", "legal"),
    "notices.publish": ("communications", "legal"),
    "notices.resume": ("communications",),
    "notices.release_lane": ("communications",),
    "notices.allow_late": ("legal",),
    "notices.override_order": ("legal",),
    "notices.review": (),
    "obligations.close": ("legal",),
    "support.release": ("support_lead",),
}


def digest(act: str, payload: Mapping[str, Any], *, estate: bytes, request: UUID) -> bytes:
    """Return the 32 bytes that stand for exactly this act, asked for once, in one estate. Raises KeyError for an act that has no rule."""
    RULES[act]
    document: dict[str, Any] = {"act": act, "estate": estate.hex(), "payload": dict(payload), "request": str(request)}
    return hashlib.sha256(DOMAIN + canonical.dumps(document)).digest()


def sameness(act: str, payload: Mapping[str, Any]) -> bytes:
    """Return the 32 bytes by which a second request for the same act is recognised while the first still waits. Nobody signs them."""
    return hashlib.sha256(canonical.dumps({"act": act, "payload": dict(payload)})).digest()


def signed_text(digest: bytes) -> bytes:
    """Return the bytes an operator signs."""
    return DOMAIN + digest


def valid(signature: bytes, *, digest: bytes, public_key: bytes) -> bool:
    """Tell whether this is the key's signature over the digest."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, signed_text(digest))
    except (InvalidSignature, ValueError):
        return False
    return True


def needs(act: str) -> int:
    """Return how many different people must sign: two for an act, one for a statement."""
    return 1 if act in STATEMENTS else NEEDS


def missing(act: str, signers: Mapping[str, Iterable[str]]) -> list[str]:
    """Return what still lacks, in words, given the valid signers and their roles; empty when the act may proceed."""
    lacks = []
    if len(signers) < needs(act):
        lacks.append(f"{needs(act) - len(signers)} more signature(s)")
    held = {role for roles in signers.values() for role in roles}
    lacks += [f"a signature of the role {role}" for role in RULES[act] if role not in held]
    return lacks
