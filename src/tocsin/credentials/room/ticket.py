"""Signed places and passes. Nothing of them is stored; whoever holds the key of the estate can check them, on every node and after a restart.

Formats (both are URL-safe base64 without padding of a body and the first 16 bytes of its HMAC-SHA256; integers are big-endian):
    ticket  0x01 | ms u48 | nonce[8] | lane u8 | binding[8]     ms: when it was issued, Unix time. nonce: random; its first two bytes order
                                                               the places of one second. binding: first 8 bytes of SHA-256 of the reset
                                                               link's token, or eight zero bytes for a ticket without a link
    pass    0x02 | ms u48 | binding[8]                         good for PASS_LIFE_S after ms, with that link alone
The HMAC's key is the estate's key `waiting`, and its message is "tocsin-room/1" || 0x00 || body. 128 bits of it cannot be guessed at a
server that answers. Verifying costs a few microseconds, so a flood of forged tickets is cheaper to refuse than a page is to make.
Refused: encrypting the place (it is no secret: the page shows it), JWT (three times as long, and a choice of algorithms to get wrong).
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import hmac

from tocsin.credentials.places import TICKET_NONCE_BYTES, Lane, Place
from tocsin.kernel.sealing import key

TICKET, PASS = 1, 2
NONCE_BYTES, BINDING_BYTES, MAC_BYTES = TICKET_NONCE_BYTES, 8, 16
TICKET_BYTES = 1 + 6 + NONCE_BYTES + 1 + BINDING_BYTES
PASS_BYTES = 1 + 6 + BINDING_BYTES
TICKET_CHARS = -(-(TICKET_BYTES + MAC_BYTES) * 4 // 3)
PASS_CHARS = -(-(PASS_BYTES + MAC_BYTES) * 4 // 3)
PASS_LIFE_S = 900
TICKET_LIFE_S = 30 * 86_400  # older ones are taken for none; no surge lasts that long
UNBOUND = bytes(BINDING_BYTES)
CONTEXT = b"tocsin-room/1\x00"


def sha256(token: str) -> bytes:
    """Return the digest under which a reset link is stored."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def binding_of(token: str) -> bytes:
    """Return what binds a ticket or pass to a reset link; the link cannot be found from it."""
    return sha256(token)[:BINDING_BYTES] if token else UNBOUND


def sign(place: Place, *, binding: bytes = UNBOUND) -> str:
    """Return the ticket of a place."""
    return _seal(bytes([TICKET]) + place.ms.to_bytes(6, "big") + place.nonce + bytes([place.lane]) + binding)


def read(text: str, *, binding: bytes = UNBOUND, now_ms: int) -> Place | None:
    """Return the place on a ticket if we signed it for this link (or for none), else None; also None if it is older than TICKET_LIFE_S."""
    body = _open(text, chars=TICKET_CHARS, version=TICKET)
    if body is None or body[-BINDING_BYTES:] != binding or body[15] not in set(Lane):
        return None
    ms = int.from_bytes(body[1:7], "big")
    return Place(ms, body[7:15], Lane(body[15])) if now_ms - ms <= TICKET_LIFE_S * 1000 else None


def grant(*, binding: bytes, now_ms: int) -> str:
    """Return a pass for the holder of a link."""
    return _seal(bytes([PASS]) + now_ms.to_bytes(6, "big") + binding)


def granted(text: str, *, binding: bytes, now_ms: int) -> bool:
    """Tell whether this is a pass of ours for this link, at most PASS_LIFE_S old."""
    body = _open(text, chars=PASS_CHARS, version=PASS)
    return body is not None and body[7:] == binding and 0 <= now_ms - int.from_bytes(body[1:7], "big") <= PASS_LIFE_S * 1000


def _seal(body: bytes) -> str:
    return base64.urlsafe_b64encode(body + _mac(body)).rstrip(b"=").decode()


def _open(text: str, *, chars: int, version: int) -> bytes | None:
    if len(text) != chars or not text.isascii():
        return None
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    body, mac = raw[:-MAC_BYTES], raw[-MAC_BYTES:]
    return body if body[0] == version and hmac.compare_digest(mac, _mac(body)) and _seal(body) == text else None


def _mac(body: bytes) -> bytes:
    keyed = _keyed(key("waiting").reveal()).copy()
    keyed.update(body)
    return keyed.digest()[:MAC_BYTES]


@functools.lru_cache(maxsize=4)
def _keyed(secret: bytes) -> hmac.HMAC:
    return hmac.new(secret, CONTEXT, "sha256")
