"""DKIM signatures (RFC 6376) over canonical templates, keyed Message-IDs, and the finished message.

The message on the wire is: DKIM-Signature, the template's fixed fields, Date, To, Message-ID, empty line, body, final dot. What is signed
starts with the fields that are the same for a whole block, so their canonical form is made once; per message only To, Message-ID
and the body hash are new. From, To and Subject are over-signed (named once more than they occur, RFC 6376 s8.15): a second one added on the
way breaks the signature.

Order of h=: from from subject subject date mime-version content-type reply-to to to message-id. A verifier takes the fields in that order.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime, timedelta
from email.utils import format_datetime

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tocsin.kernel.errors import BadInput, ensure
from tocsin.kernel.private import Private

from .template import splice
from .types import Recipient, Template

RSA_BITS_MIN = 2048  # Source: RFC 8301 s3.2 (SHOULD)
EXPIRY = timedelta(days=14)  # longer than any queue keeps a message (5 days, RFC 5321 s4.5.4.1) with a margin for slow receivers
MESSAGE_ID_BYTES = 16

_PAD, _HASH = padding.PKCS1v15(), hashes.SHA256()


@functools.lru_cache(maxsize=4)
def load_rsa(pem: Private[bytes]) -> rsa.RSAPrivateKey:
    """Return the private RSA key of a PEM file. Raises BadInput unless it is RSA of at least 2048 bits.

    Remembered: reading and validating a key takes as long as 200 signatures.
    """
    try:
        key = load_pem_private_key(pem.reveal(), None)
    except (ValueError, TypeError):
        raise BadInput.of("dkim key", "unreadable", "a PEM file with an RSA private key without a password") from None
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < RSA_BITS_MIN:
        raise BadInput.of("dkim key", type(key).__name__, f"RSA of at least {RSA_BITS_MIN} bits")
    return key


def public_record(spki: bytes) -> str:
    """Return the DNS TXT record of a signing key, given its RSA public key in DER; to be published at SELECTOR._domainkey.DOMAIN.

    Source: RFC 6376 s3.6.1.
    """
    return f"v=DKIM1; k=rsa; p={b64encode(spki).decode()}"


def message_id(secret: bytes, key: str, domain: str) -> str:
    """Return the Message-ID, with its angle brackets, that belongs to a recipient's key: the same at every repeat, and not to be
    guessed."""
    mac = hmac.digest(secret, b"message-id/1\x00" + key.encode(), "sha256")
    return f"<{mac[:MESSAGE_ID_BYTES].hex()}@{domain}>"


class Signer:
    """Builds and signs the messages of one template and date. RSA-2048 takes nine tenths of the time."""

    def __init__(self, template: Template, *, date: datetime, key: rsa.RSAPrivateKey, domain: str, selector: str,
                 message_id_key: Private[bytes], second: tuple[ed25519.Ed25519PrivateKey, str] | None = None) -> None:
        """Prepare what all messages share. `second`: an Ed25519 key and its selector for a second signature (RFC 8463)."""
        self._template, self._key, self._domain, self._second = template, key, domain, second
        self._secret = message_id_key.reveal()
        fields = {name.lower(): value for name, value, _ in template.head}
        date_text = format_datetime(date)
        fields["date"] = date_text
        self._head = b"".join(wire for _, _, wire in template.head) + f"Date: {date_text}\r\nTo: ".encode()
        # A name listed once more than it occurs stands for an empty string (RFC 6376 s5.4.2), so only one copy is hashed.
        order = ["from", "from", "subject", "subject", "date", "mime-version", "content-type"]
        if "reply-to" in fields:
            order.append("reply-to")
        once = dict.fromkeys(order)
        self._signed = b"".join(f"{name}:{fields[name]}\r\n".encode() for name in once) + b"to:"
        names = ":".join([*order, "to", "to", "message-id"])
        t = int(date.timestamp())
        x = t + int(EXPIRY.total_seconds())

        def field(algorithm: str, chosen: str) -> bytes:
            return f"v=1; a={algorithm}; c=relaxed/relaxed; d={domain}; s={chosen}; t={t}; x={x};\r\n h={names};\r\n bh=".encode()

        self._rsa_field = field("rsa-sha256", selector)
        self._rsa_signed = b"\r\ndkim-signature:" + self._rsa_field.replace(b"\r\n", b"")  # the folds' blanks stay
        if second:
            self._ed_field = field("ed25519-sha256", second[1])
            self._ed_signed = b"\r\ndkim-signature:" + self._ed_field.replace(b"\r\n", b"")
        ensure(b"  " not in self._signed and b"  " not in self._rsa_signed, "a signed field holds two blanks in a row")
        ensure(not re.search(rb"[ \t]\r\n", self._signed), "a signed field ends in a blank")

    def contents(self, recipients: Sequence[tuple[Recipient, bytes]]) -> list[bytes]:
        """Return the whole contents of messages for the wire, final dots included. Each recipient comes with the vetted address for To.

        In three passes, because a signature drives the interpreter out of the processor's caches: one after the other costs 10 % more.
        """
        prepared = []
        for recipient, address in recipients:
            body = splice(self._template, recipient.slots)
            body_hash = b64encode(hashlib.sha256(body).digest())
            mid = message_id(self._secret, recipient.key, self._domain).encode()
            prepared.append((address, mid, body, body_hash, b"".join((self._signed, address, b"\r\nmessage-id:", mid))))
        sign = self._key.sign
        inputs = [b"".join((signed, self._rsa_signed, body_hash, b"; b=")) for _, _, _, body_hash, signed in prepared]
        signatures = [sign(data, _PAD, _HASH) for data in inputs]
        contents = []
        for (address, mid, body, body_hash, signed), signature in zip(prepared, signatures, strict=True):
            out = [b"DKIM-Signature: ", self._rsa_field, body_hash, b";\r\n b=", _wrapped(b64encode(signature)), b"\r\n"]
            if self._second:
                digest = hashlib.sha256(b"".join((signed, self._ed_signed, body_hash, b"; b="))).digest()
                ed = b64encode(self._second[0].sign(digest))
                out += [b"DKIM-Signature: ", self._ed_field, body_hash, b";\r\n b=", _wrapped(ed), b"\r\n"]
            out += [self._head, address, b"\r\nMessage-ID: ", mid, b"\r\n\r\n", body, b".\r\n"]
            contents.append(b"".join(out))
        return contents


def _wrapped(value: bytes) -> bytes:
    return b"\r\n ".join([value[i:i + 72] for i in range(0, len(value), 72)])
