"""Sealing: authenticated encryption of personal data at rest, keyed look-up digests, and sealing by a process that cannot open.

Keys live outside the database, behind the port `KeyService` (`port.py`); adapters in `adapters/`. Which process may ask for which
key stands in `KEYS_OF`: one reached server must not hold the keys to everything.

Formats (a second implementation needs no more than this):
    sealed blob    0x01 | nonce[12] | AES-256-GCM ciphertext and tag; associated data = UTF-8 of the context
    deposit        0x02 | ephemeral X25519 public key[32] | nonce[12] | AES-256-GCM ciphertext and tag; the AES key is
                   HKDF-SHA256(shared secret, salt = ephemeral public || recipient public, info = "tocsin-deposit/1"), 32 bytes
    look-up digest HMAC-SHA256(key `lookup`, purpose || 0x00 || UTF-8 of the value), 32 bytes
"""

from .box import deposit, lookup_digest, open_deposit, open_sealed, seal
from .keyring import KEYS_OF, create_all, create_pepper, estate_id, key

__all__ = ["KEYS_OF", "create_all", "create_pepper", "deposit", "estate_id", "key", "lookup_digest", "open_deposit", "open_sealed", "seal"]
