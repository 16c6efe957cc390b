"""A passkey in software, for accounts of ours: a canary must be able to answer a challenge without a person.

Source: WebAuthn Level 2, section 6.1 (authenticator data) and 6.3.3 (assertion); COSE key of ES256 as in RFC 9053 s7.1.1.
"""

from __future__ import annotations

import hashlib
import json

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from webauthn.helpers import bytes_to_base64url, encode_cbor

from tocsin.kernel.private import Private

PRESENT_AND_VERIFIED = 0x05


def new_key() -> Private[str]:
    """Return a new private key on P-256, as PEM."""
    made = ec.generate_private_key(ec.SECP256R1())
    pem = made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Private(pem.decode())


def public_key(private: Private[str]) -> bytes:
    """Return the public key as WebAuthn stores it: a COSE key."""
    point = _load(private).public_key().public_numbers()
    return encode_cbor({1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32, "big"), -3: point.y.to_bytes(32, "big")})


def handle(private: Private[str]) -> bytes:
    """Return the passkey's own id."""
    return hashlib.sha256(public_key(private)).digest()


def answer(private: Private[str], options: str, *, rp_id: str, origin: str) -> str:
    """Return what a browser would answer to the options of `passkeys.to_use`."""
    client = json.dumps({"type": "webauthn.get", "challenge": json.loads(options)["challenge"], "origin": origin}).encode()
    data = hashlib.sha256(rp_id.encode()).digest() + bytes([PRESENT_AND_VERIFIED]) + (0).to_bytes(4, "big")
    signature = _load(private).sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
    own = bytes_to_base64url(handle(private))
    return json.dumps(
        {
            "id": own,
            "rawId": own,
            "type": "public-key",
            "response": {
                "clientDataJSON": bytes_to_base64url(client),
                "authenticatorData": bytes_to_base64url(data),
                "signature": bytes_to_base64url(signature),
            },
        }
    )


def _load(private: Private[str]) -> ec.EllipticCurvePrivateKey:
    loaded = serialization.load_pem_private_key(private.reveal().encode(), password=None)
    if not isinstance(loaded, ec.EllipticCurvePrivateKey):
        raise TypeError("a canary's passkey is on P-256")
    return loaded
