"""How secrets with enough randomness of their own are stored."""

from __future__ import annotations

import hashlib


def digest(secret: str) -> bytes:
    """Return the digest under which a session id, link or token is stored: 256 random bits need no slow hash. Source: ASVS 5.0 6.5.2."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
