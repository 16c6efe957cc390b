"""Seal, open, look up. Formats: the package's docstring."""

from __future__ import annotations

import functools
import hmac
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tocsin.kernel.errors import BadInput
from tocsin.kernel.private import Private

from .keyring import key

SEALED, DEPOSIT = b"\x01", b"\x02"
NONCE_BYTES, POINT_BYTES = 12, 32


@functools.cache
def _aead(name: str) -> AESGCM:
    return AESGCM(key(name).reveal())


def seal(plain: str | bytes, *, context: str, name: str = "sealing") -> bytes:
    """Return the sealed blob of a value; only `open_sealed` with the same context and key name opens it. About 2 us."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return SEALED + nonce + _aead(name).encrypt(nonce, plain.encode() if isinstance(plain, str) else plain, context.encode())


def open_sealed(blob: bytes | memoryview, *, context: str, name: str = "sealing") -> Private[bytes]:
    """Return what was sealed. Raises BadInput if the blob was changed, or belongs to another context or key."""
    blob = bytes(blob)
    if blob[:1] != SEALED:
        raise BadInput.of("sealed blob", blob[:1], "version 1")
    try:
        return Private(_aead(name).decrypt(blob[1 : 1 + NONCE_BYTES], blob[1 + NONCE_BYTES :], context.encode()))
    except InvalidTag:
        raise BadInput.of("sealed blob", f"{len(blob)} bytes", f"one sealed by this estate for {context}") from None


def deposit(plain: bytes, *, context: str, to: str = "deposit") -> bytes:
    """Return a blob that we, holding the public key alone, cannot open again. About 0.1 ms.

    `to` names the key pair: `deposit` is opened by the worker, `custody` by the owner of the estate alone.
    """
    recipient = key(f"{to}_public").reveal()
    own = x25519.X25519PrivateKey.generate()
    public = own.public_key().public_bytes_raw()
    shared = own.exchange(x25519.X25519PublicKey.from_public_bytes(recipient))
    nonce = secrets.token_bytes(NONCE_BYTES)
    return DEPOSIT + public + nonce + AESGCM(_derive(shared, public + recipient)).encrypt(nonce, plain, context.encode())


def open_deposit(blob: bytes | memoryview, *, context: str, to: str = "deposit") -> Private[bytes]:
    """Return what `deposit` sealed. Raises BadInput if it was changed or made for another context, key pair or estate."""
    blob = bytes(blob)
    own = x25519.X25519PrivateKey.from_private_bytes(key(to).reveal())
    public, nonce = blob[1 : 1 + POINT_BYTES], blob[1 + POINT_BYTES : 1 + POINT_BYTES + NONCE_BYTES]
    if blob[:1] != DEPOSIT or len(nonce) != NONCE_BYTES:
        raise BadInput.of("deposit", blob[:1], "version 2")
    shared = own.exchange(x25519.X25519PublicKey.from_public_bytes(public))
    try:
        aead = AESGCM(_derive(shared, public + own.public_key().public_bytes_raw()))
        return Private(aead.decrypt(nonce, blob[1 + POINT_BYTES + NONCE_BYTES :], context.encode()))
    except InvalidTag:
        raise BadInput.of("deposit", f"{len(blob)} bytes", f"one made for this estate and {context}") from None


def _derive(shared: bytes, salt: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=b"tocsin-deposit/1").derive(shared)


def lookup_digest(value: str, *, purpose: str) -> bytes:
    """Return the 32-byte keyed digest by which a value is found again without storing it."""
    return hmac.digest(key("lookup").reveal(), purpose.encode() + b"\x00" + value.encode(), "sha256")
