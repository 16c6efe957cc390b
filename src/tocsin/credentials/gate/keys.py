"""API keys: with which a company's own programs ask at the gate. A key is 32 random bytes; we keep its SHA-256 and a name.

A key opens nothing but the gate's questions. The process that answers learns digests only, and learns of a revocation within half a second.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection
from datetime import datetime

from django.db import IntegrityError, transaction

from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel.errors import BadInput, NotFound, Refused
from tocsin.kernel.private import Private

from ..models import ApiKey
from ..types import ApiKeyInfo

PREFIX = "tocsin_gate_"
NAME_SHAPE = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
KEYS_MAX = 200
KEY_CHARS_MAX = 128


def create_api_key(name: str, *, at: datetime, by: str) -> Private[str]:
    """Make a key for the gate and return it; it is shown this once. Raises BadInput for a name, Refused if it is taken or KEYS_MAX stand."""
    if not NAME_SHAPE.fullmatch(name):
        raise BadInput.of("name", name, "1 to 63 of a-z, 0-9, dot, dash and underscore, beginning with a letter or digit")
    if ApiKey.objects.filter(revoked_at=None).count() >= KEYS_MAX:
        raise Refused(f"there are {KEYS_MAX} keys already: revoke one")
    key = PREFIX + secrets.token_urlsafe(32)
    try:
        with transaction.atomic():
            ApiKey.objects.create(name=name, key_sha256=digest(key), role="gate", created_by=by, created_at=at)
            evidence.record(EventType.API_KEY_CREATED, at=at, actor=by, body={"name": name, "role": "gate"})
    except IntegrityError:
        raise Refused(f"a key named {name} exists or existed: choose another name, so that the log stays plain") from None
    return Private(key)


def revoke_api_key(name: str, *, at: datetime, by: str) -> None:
    """End a key; nodes stop taking it within half a second. Raises NotFound if there is none that stands."""
    with transaction.atomic():
        if not ApiKey.objects.filter(name=name, revoked_at=None).update(revoked_at=at):
            raise NotFound(f"no key {name!r} stands")
        evidence.record(EventType.API_KEY_REVOKED, at=at, actor=by, body={"name": name, "role": "gate"})


def api_keys() -> list[ApiKeyInfo]:
    """Return all keys by name, revoked ones too; no secret."""
    return [
        ApiKeyInfo(name=k.name, role=k.role, created_by=k.created_by, created_at=k.created_at, revoked_at=k.revoked_at)
        for k in ApiKey.objects.order_by("name")
    ]


def digest(key: str) -> bytes:
    """Return the digest under which a key is kept: 256 random bits need no slow hash. Source: ASVS 5.0 6.5.2."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def among(key: str, known: Collection[bytes]) -> bool:
    """Tell whether a key is one of the known digests; takes the same time for each of them."""
    if len(key) > KEY_CHARS_MAX:
        return False
    asked, found = digest(key), False
    for kept in known:
        found |= hmac.compare_digest(asked, kept)
    return found
