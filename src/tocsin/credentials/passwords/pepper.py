"""The pepper: a key outside the database that every hash made here depends on, so that a copied database alone can be guessed at by nobody.

With `[passwords] pepper` naming a key of the estate, what Argon2id hashes is the Base64 of HMAC-SHA256(key, UTF-8 of the password), and the
stored hash ends in `$pepper=` and 8 hex digits, the beginning of HMAC-SHA256(key, "tocsin-pepper/1"). A hash without that ending was made
without a pepper and stays good. Another key makes every hash of the former one worthless: that is a reset of all, to be done with a cutover.
Source: OWASP Password Storage Cheat Sheet, Peppering (pre-hashing).
"""

from __future__ import annotations

import base64
import hmac

from tocsin.kernel import config
from tocsin.kernel.errors import NotFound, Unavailable
from tocsin.kernel.sealing import key

ENDING = "$pepper="
MARK_CHARS = 8


def added(form: bytes) -> tuple[bytes, str]:
    """Return what is hashed of a password, and the ending of its stored hash; without a pepper the same bytes and nothing."""
    held = _key()
    return (form, "") if held is None else (_mix(held, form), f"{ENDING}{_mark(held)}")


def split(stored: str) -> tuple[str, str]:
    """Return a stored hash without the ending, and the mark of its pepper ("" if it has none)."""
    bare, _, mark = stored.partition(ENDING)
    return bare, mark


def mixed(form: bytes, mark: str) -> bytes | None:
    """Return what was hashed of a password if its hash bears this mark; None if that pepper is not the present one."""
    if not mark:
        return form
    held = _key()
    return _mix(held, form) if held is not None and hmac.compare_digest(mark, _mark(held)) else None


def _key() -> bytes | None:
    name = config.current().passwords.pepper
    try:
        return key(name).reveal() if name else None
    except NotFound:
        raise Unavailable("keys", f"the pepper {name} is not here: bring its file from where the other keys are") from None


def _mix(held: bytes, form: bytes) -> bytes:
    return base64.b64encode(hmac.digest(held, form, "sha256"))


def _mark(held: bytes) -> str:
    return hmac.digest(held, b"tocsin-pepper/1", "sha256").hex()[:MARK_CHARS]
