"""Time-based codes and recovery codes: how they are made, shown and compared. No database.

Sources: RFC 6238 (30 s, SHA-1, six digits: what every authenticator app reads), its section 5.2 for one step of drift either way.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from datetime import datetime

import pyotp

from tocsin.credentials.types import RECOVERY_CODES
from tocsin.kernel.private import Private
from tocsin.kernel.sealing import open_sealed, seal

from .tickets import KEY

STEP_S = 30
DRIFT_STEPS = 1
SEED_BYTES = 20  # RFC 4226 s4 R6 recommends 160 bits
CODE_BYTES = 15


def new_seed() -> Private[str]:
    """Return a new seed in base32, as apps take it."""
    return Private(base64.b32encode(secrets.token_bytes(SEED_BYTES)).decode())


def uri(seed: Private[str], *, brand: str) -> Private[str]:
    """Return the otpauth address that an authenticator app opens. It holds the seed."""
    return Private(pyotp.TOTP(seed.reveal()).provisioning_uri(name="account", issuer_name=brand))


def code_of(seed: Private[str], *, at: datetime) -> str:
    """Return the code that an app would show."""
    return pyotp.TOTP(seed.reveal()).at(int(at.timestamp()))


def step_of(seed: Private[str], code: str, *, at: datetime) -> int | None:
    """Return the time step whose code this is, at most DRIFT_STEPS away from now, else None. Each comparison takes the same time."""
    digits = re.sub(r"\s", "", code)
    if not re.fullmatch(r"[0-9]{6}", digits):
        return None
    totp, now, found = pyotp.TOTP(seed.reveal()), int(at.timestamp()) // STEP_S, None
    for step in range(now - DRIFT_STEPS, now + DRIFT_STEPS + 1):
        if secrets.compare_digest(totp.generate_otp(step), digits):
            found = step
    return found


def seal_seed(seed: Private[str], *, account: int) -> bytes:
    """Return a seed as it is stored: sealed for this account alone, so that a copied row opens nothing of another one."""
    return seal(seed.reveal(), context=f"credentials.totp:{account}", name=KEY)


def open_seed(sealed: bytes | memoryview, *, account: int) -> Private[str]:
    """Return a stored seed. Raises BadInput if it was sealed for another account."""
    return Private(open_sealed(sealed, context=f"credentials.totp:{account}", name=KEY).reveal().decode())


def new_recovery_codes() -> tuple[Private[str], ...]:
    """Return new recovery codes as they are shown: six groups of four characters of base32."""
    return tuple(Private(_grouped(base64.b32encode(secrets.token_bytes(CODE_BYTES)).decode())) for _ in range(RECOVERY_CODES))


def recovery_digest(code: str) -> bytes:
    """Return the digest under which a recovery code is stored, however its groups and letters were typed."""
    plain = re.sub(r"[\s-]", "", code).upper().replace("0", "O").replace("1", "I").replace("8", "B")  # base32 has no 0, 1, 8
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).digest()


def _grouped(text: str) -> str:
    return "-".join(text[n : n + 4] for n in range(0, len(text), 4))
