"""The vault's working keys and what they do: seal a number, open it, fingerprint it.

    sealed       nonce (12 bytes, random) || AES-256-GCM(data key, plain, associated data) || tag (16): 48 bytes always
    plain        the number in ASCII, filled with zero bytes to 19, then one byte, the brand's code (cards.BRAND_CODES)
    associated   token (16 bytes) || id of the data key (4 bytes, big-endian): a sealed number moved to another row does not open
    fingerprint  HMAC-SHA256(fingerprint key, the number in ASCII): keyed, so nobody outside can test guesses
    wrapped key  bound to the context "tocsin-vault/<purpose>/<id>"

One data key seals at most CARDS_PER_KEY_MAX cards, far below where random nonces of one key could meet; the fingerprint key is another.

Source: PCI DSS 4.0.1 3.5.1.1 (keyed hashes of the whole number), 3.6.1; NIST SP 800-38D s8.3.
"""

from __future__ import annotations

import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .cards import BRAND_CODES, PAN_DIGITS_MAX, Card
from .errors import Refused, Unavailable
from .port import KeyService

CARDS_PER_KEY_MAX = 2**20
SEALED_BYTES = 12 + PAN_DIGITS_MAX + 1 + 16


def context(purpose: str, key_id: int) -> bytes:
    """Return what a wrapped key is bound to."""
    return f"tocsin-vault/{purpose}/{key_id}".encode()


class Keyring:
    """Keys in the clear, in this process only. `forget` drops them all; then every use raises Refused."""

    def __init__(self, service: KeyService) -> None:
        self.service = service
        self._data: dict[int, AESGCM] = {}
        self._fingerprint: bytes | None = None

    def add(self, purpose: str, key_id: int, wrapped: bytes) -> None:
        """Unwrap one key of the key table. Raises Refused when the key service's key is another."""
        key = self.service.unwrap(wrapped, context=context(purpose, key_id))
        if purpose == "fingerprint":
            self._fingerprint = key
        else:
            self._data[key_id] = AESGCM(key)

    def fingerprint(self, pan: str) -> bytes:
        """Return the keyed fingerprint of a number."""
        if self._fingerprint is None:
            raise Refused("the vault is sealed")
        return hmac.digest(self._fingerprint, pan.encode(), "sha256")

    def seal(self, card: Card, *, token: bytes, key_id: int) -> bytes:
        """Return the sealed number."""
        nonce = os.urandom(12)
        plain = card.pan.encode().ljust(PAN_DIGITS_MAX, b"\0") + bytes([BRAND_CODES[card.brand]])
        return nonce + self._key(key_id).encrypt(nonce, plain, token + key_id.to_bytes(4, "big"))

    def open(self, sealed: bytes, *, token: bytes, key_id: int) -> str:
        """Return the number. Raises Unavailable when the row was changed or moved."""
        try:
            plain = self._key(key_id).decrypt(sealed[:12], sealed[12:], token + key_id.to_bytes(4, "big"))
        except InvalidTag:
            raise Unavailable("a sealed card does not open: its row was changed") from None
        return plain[:PAN_DIGITS_MAX].rstrip(b"\0").decode()

    def forget(self) -> None:
        """Drop every key from memory, the key service's included."""
        self._data.clear()
        self._fingerprint = None
        self.service.forget()

    def _key(self, key_id: int) -> AESGCM:
        if key_id not in self._data:
            raise Refused("the vault is sealed")
        return self._data[key_id]
