"""Checkpoints: the size and root of a log as a signed note.

    <origin>\\n            unique name of the log, not empty; our key name is the same
    <size>\\n              decimal, no leading zero
    <base64 of root>\\n    32 bytes
    [extension lines]     not empty; we write none and keep what others wrote
    (empty line, signature lines: see note.py)

A published checkpoint carries an Ed25519 (0x01) line and an ML-DSA-44 (0x06) line of the log, then those of witnesses.

Source: C2SP tlog-checkpoint v1.0.0.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from . import note, tree
from .errors import Malformed

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
_ED25519_BYTES = frozenset({note.SIGNATURE_BYTES[note.Kind.ED25519], note.SIGNATURE_BYTES[note.Kind.ED25519_COSIGNATURE]})


@dataclass(frozen=True, slots=True)
class Head:
    """The state of a log: how many leaves, and the root over them."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A head under the name of its log."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def head(self) -> Head:
        """Size and root alone."""
        return Head(self.size, self.root)

    def text(self) -> bytes:
        """Return the note text to sign."""
        lines = (self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extensions)
        return "".join(line + "\n" for line in lines).encode()


def parse(text: bytes) -> Checkpoint:
    """Return the checkpoint of a note text. Raises Malformed for any other bytes."""
    try:
        lines = text.decode().split("\n")
    except UnicodeDecodeError:
        raise Malformed("a checkpoint is UTF-8") from None
    if len(lines) < 4 or lines.pop() != "" or not all(lines):
        raise Malformed("a checkpoint has three or more lines, none empty, each ending in a newline")
    origin, size, root, *extensions = lines
    try:
        raw = base64.b64decode(root, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("a root is in standard base64") from None
    if len(raw) != tree.HASH_BYTES or base64.b64encode(raw).decode() != root:
        raise Malformed(f"a root has {tree.HASH_BYTES} bytes")
    return Checkpoint(origin, decimal(size), raw, tuple(extensions))


def decimal(text: str) -> int:
    """Return a count written as the formats want it: ASCII digits, no sign, no leading zero, below 2^63. Raises Malformed."""
    if not _DECIMAL.fullmatch(text) or (value := int(text)) > tree.SIZE_MAX:
        raise Malformed("a count is decimal without leading zeros, below 2^63")
    return value


def sign(value: Checkpoint, signers: Sequence[note.Signer], *, at_s: int) -> bytes:
    """Return the signed checkpoint. The caller answers for `value` being durable and consistent with all it signed before."""
    return note.sign(value.text(), signers, at_s=at_s)


def parse_signed(data: bytes) -> tuple[Checkpoint, note.Note]:
    """Take a signed checkpoint apart without verifying it. Raises Malformed."""
    parts = note.parse(data)
    return parse(parts.text), parts


def open_signed(data: bytes, vkeys: Sequence[str]) -> tuple[Checkpoint, tuple[note.Verified, ...]]:
    """Return a checkpoint and the signatures by trusted keys that vouch for it. Raises Malformed or Unverified."""
    value, parts = parse_signed(data)
    return value, note.verify(parts, vkeys)


def ed25519_only(data: bytes) -> bytes:
    """Return a signed checkpoint with the lines of Ed25519 keys only (told by their length): what a `.tlog-proof` carries."""
    return note.keep(note.parse(data), signature_bytes=_ED25519_BYTES)
