"""Signed notes: a text and, under it, lines that sign it.

    <text, every line ending in a newline>
    (empty line)
    — <key name> <base64 of key id (4 bytes) || signature>        one line per signature; the dash is U+2014

The text may hold empty lines; the last empty line separates. UTF-8, no control character below U+0020 but the newline.
A key name is not empty and has neither a space (any Unicode one) nor `+`.

    key id = SHA-256(name || 0x0A || type byte || public key)[:4]
    vkey   = name + "+" + 8 hex digits of the key id + "+" + base64(type byte || public key)
    skey   = "PRIVATE+KEY+" + name + "+" + hex key id + "+" + base64(type byte || 32-byte seed)

    type  what is signed                                                   public key   signature in the line
    0x01  Ed25519 over the text                                                 32 B    64 B
    0x04  Ed25519 over "cosignature/v1\\ntime <seconds>\\n" || text                32 B    8 B time || 64 B
    0x06  ML-DSA-44 over the structure below                                  1312 B    8 B time || 2420 B

    0x06: "subtree/v1\\n\\0" || u8 len, name || u64 time || u8 len, origin || u64 start = 0 || u64 size || root (32 B); big-endian;
          origin, size and root are the first three lines of the text, which must be a checkpoint

A line whose (name, key id) is not trusted is ignored; a trusted one that does not verify spoils the whole note; none verified: refused.

Source: C2SP signed-note v1.0.0, tlog-cosignature v1.1; the skey text is that of Go's x/mod/sumdb/note.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from .errors import Malformed, Unverified

NOTE_BYTES_MAX = 1_000_000
SIGNATURES_MAX = 100  # the specification asks for at least 16
SEED_BYTES = 32
_SPLIT = b"\n\n"
_DASH = "— "
_HEX8 = re.compile(r"[0-9a-f]{8}")


class Kind(IntEnum):
    """The type byte of a key."""

    ED25519 = 0x01
    ED25519_COSIGNATURE = 0x04
    ML_DSA_44 = 0x06


KEY_BYTES = {Kind.ED25519: 32, Kind.ED25519_COSIGNATURE: 32, Kind.ML_DSA_44: 1312}
SIGNATURE_BYTES = {Kind.ED25519: 64, Kind.ED25519_COSIGNATURE: 72, Kind.ML_DSA_44: 2428}


@dataclass(frozen=True, slots=True)
class Line:
    """One signature line, unverified. `signature` is what follows the key id."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A note taken apart; `text` ends in a newline. Nothing is verified yet."""

    text: bytes
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Verified:
    """A signature that holds. `at_s`: seconds since 1970 that a time-stamped kind carries, else None."""

    name: str
    kind: Kind
    key_id: bytes
    at_s: int | None


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key that may be trusted; made from its vkey text."""

    name: str
    kind: Kind
    key: bytes

    @classmethod
    def of(cls, vkey: str) -> Verifier:
        """Return the key of a vkey text. Raises Malformed for another text, an unknown type or a wrong key id."""
        name, kind, key = _key_text(vkey)
        if len(key) != KEY_BYTES[kind]:
            raise Malformed(f"a public key of type 0x{kind:02x} has {KEY_BYTES[kind]} bytes, not {len(key)}")
        found = cls(name, kind, key)
        if not _id_matches(vkey, found):
            raise Malformed("the key id of a vkey does not belong to its key")
        return found

    @property
    def key_id(self) -> bytes:
        """The four bytes that, with the name, tell keys apart."""
        return key_id(self.name, self.kind, self.key)

    @property
    def vkey(self) -> str:
        """The key as one line of text for others to trust."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(bytes([self.kind]) + self.key).decode()}"

    def verify(self, text: bytes, signature: bytes) -> int | None:
        """Check one signature; return its time in seconds, None for the kind without. Raises Unverified."""
        if len(signature) != SIGNATURE_BYTES[self.kind]:
            raise Unverified(f"a signature of {self.name} has a wrong length")
        at_s: int | None = None
        if self.kind is not Kind.ED25519:
            at_s = int.from_bytes(signature[:8], "big")
            signature = signature[8:]
        try:
            message = _message(self.kind, self.name, text, at_s)
            if self.kind is Kind.ML_DSA_44:
                MLDSA44PublicKey.from_public_bytes(self.key).verify(signature, message)
            else:
                Ed25519PublicKey.from_public_bytes(self.key).verify(signature, message)
        except (InvalidSignature, Malformed, ValueError):
            raise Unverified(f"a signature of {self.name} (type 0x{self.kind:02x}) does not hold") from None
        return at_s


class Signer:
    """A private key that signs notes under a name. Its `repr` shows no secret."""

    def __init__(self, name: str, kind: Kind, seed: bytes) -> None:
        """Take a 32-byte seed. Raises Malformed for a bad name or another length."""
        check_name(name)
        if len(seed) != SEED_BYTES:
            raise Malformed(f"a seed has {SEED_BYTES} bytes, not {len(seed)}")
        self._seed = seed
        self._key = MLDSA44PrivateKey.from_seed_bytes(seed) if kind is Kind.ML_DSA_44 else Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = Verifier(name, kind, self._key.public_key().public_bytes_raw())

    @classmethod
    def of(cls, skey: str) -> Signer:
        """Return the signer of an skey text. Raises Malformed."""
        prefix = "PRIVATE+KEY+"
        if not skey.startswith(prefix):
            raise Malformed("a private key's text starts with PRIVATE+KEY+")
        name, kind, seed = _key_text(skey[len(prefix) :])
        found = cls(name, kind, seed)
        if not _id_matches(skey[len(prefix) :], found.verifier):
            raise Malformed("the key id of a private key does not belong to it")
        return found

    @property
    def skey(self) -> str:
        """The private key as one line of text: keep it in a file of mode 0600."""
        v = self.verifier
        return f"PRIVATE+KEY+{v.name}+{v.key_id.hex()}+{base64.b64encode(bytes([v.kind]) + self._seed).decode()}"

    @property
    def vkey(self) -> str:
        """The public half as one line of text."""
        return self.verifier.vkey

    def line(self, text: bytes, *, at_s: int) -> bytes:
        """Return the signature line over `text`. `at_s`: seconds since 1970, used by the time-stamped kinds only."""
        v = self.verifier
        signature = self._key.sign(_message(v.kind, v.name, text, at_s))
        stamp = b"" if v.kind is Kind.ED25519 else struct.pack(">Q", at_s)
        return _line(v.name, v.key_id + stamp + signature)

    def __repr__(self) -> str:
        return f"Signer({self.verifier.name!r}, {self.verifier.kind!r})"


def key_id(name: str, kind: Kind, key: bytes) -> bytes:
    """Return the four-byte id of a public key under a name."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + key).digest()[:4]


def check_name(name: str) -> None:
    """Raise Malformed unless `name` can stand in a signature line."""
    if not name or "+" in name or any(c.isspace() or c < " " for c in name) or len(name.encode("utf-8", "surrogatepass")) > 255:
        raise Malformed("a key name is 1 to 255 bytes without spaces, control characters and +")


def sign(text: bytes, signers: Sequence[Signer], *, at_s: int) -> bytes:
    """Return the note of `text` (which ends in a newline) with one line per signer, in that order."""
    _check_text(text)
    return text + b"\n" + b"".join(s.line(text, at_s=at_s) for s in signers)


def parse(data: bytes) -> Note:
    """Take a note apart. Raises Malformed for anything that is not one, whatever the bytes."""
    if len(data) > NOTE_BYTES_MAX:
        raise Malformed(f"a note has at most {NOTE_BYTES_MAX} bytes")
    try:
        data.decode()
    except UnicodeDecodeError:
        raise Malformed("a note is UTF-8") from None
    at = data.rfind(_SPLIT)
    if at < 0:
        raise Malformed("a note has an empty line above its signatures")
    text, rest = data[: at + 1], data[at + 2 :].decode()
    _check_text(text)
    if not rest.endswith("\n"):
        raise Malformed("a note ends in a newline and holds a signature")
    lines = tuple(_parse_line(line) for line in rest[:-1].split("\n"))
    if len(lines) > SIGNATURES_MAX:
        raise Malformed(f"a note has at most {SIGNATURES_MAX} signatures")
    return Note(text, lines)


def verify(note: Note, vkeys: Sequence[str]) -> tuple[Verified, ...]:
    """Return every signature by a trusted key, in the note's order.

    Raises Unverified when a trusted key's signature does not hold, or when there is none; Malformed for a bad vkey.
    """
    trusted = {(v.name, v.key_id): v for v in map(Verifier.of, vkeys)}
    found = []
    for line in note.lines:
        if v := trusted.get((line.name, line.key_id)):
            found.append(Verified(v.name, v.kind, v.key_id, v.verify(note.text, line.signature)))
    if not found:
        raise Unverified("no trusted key has signed this note")
    return tuple(found)


def keep(note: Note, *, signature_bytes: frozenset[int]) -> bytes:
    """Return the note with only those lines whose signature has one of these lengths. Raises Malformed when none is left."""
    lines = [_line(line.name, line.key_id + line.signature) for line in note.lines if len(line.signature) in signature_bytes]
    if not lines:
        raise Malformed("the note has no signature of the wanted kind")
    return note.text + b"\n" + b"".join(lines)


def _message(kind: Kind, name: str, text: bytes, at_s: int | None) -> bytes:
    if kind is Kind.ED25519:
        return text
    if at_s is None or not 0 <= at_s < 2**63:
        raise Malformed("a time-stamped signature has a time from 0 to 2^63 - 1")
    if kind is Kind.ED25519_COSIGNATURE:
        return b"cosignature/v1\ntime %d\n" % at_s + text
    from . import checkpoint  # a checkpoint is a note: it is the higher module of the two

    head = checkpoint.parse(text)
    parts = (name.encode(), head.origin.encode())
    if any(not 1 <= len(p) <= 255 for p in parts):
        raise Malformed("names in an ML-DSA-44 cosignature have 1 to 255 bytes")
    cosigner, origin = (bytes([len(p)]) + p for p in parts)
    return b"subtree/v1\n\0" + cosigner + struct.pack(">Q", at_s) + origin + struct.pack(">QQ", 0, head.size) + head.root


def _line(name: str, blob: bytes) -> bytes:
    return f"{_DASH}{name} {base64.b64encode(blob).decode()}\n".encode()


def _parse_line(line: str) -> Line:
    name, space, blob = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space:
        raise Malformed("a signature line is a dash, a key name and base64")
    check_name(name)
    raw = _base64(blob)
    if len(raw) < 5:
        raise Malformed("a signature is longer than its key id")
    return Line(name, raw[:4], raw[4:])


def _check_text(text: bytes) -> None:
    if not text.endswith(b"\n") or any(byte < 0x20 and byte != 0x0A for byte in text):
        raise Malformed("a note's text ends in a newline and has no other control character")


def _key_text(text: str) -> tuple[str, Kind, bytes]:
    name, id_hex, blob = [*text.strip().split("+", 2), "", ""][:3]
    check_name(name)
    if not _HEX8.fullmatch(id_hex):
        raise Malformed("a key's text is name+id+base64, the id being 8 hex digits")
    raw = _base64(blob)
    if not raw or raw[0] not in set(Kind):
        raise Malformed("a key of this type is not known here")
    return name, Kind(raw[0]), raw[1:]


def _id_matches(text: str, verifier: Verifier) -> bool:
    return text.strip().split("+", 2)[1] == verifier.key_id.hex()


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("keys and signatures are in standard base64") from None
