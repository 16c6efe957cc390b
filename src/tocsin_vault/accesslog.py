"""The vault's own log: one leaf per release, refusal, tokenised card, import batch and change of state. Layout of a leaf: tocsin_tlog.leaf.

    type         1 opened  2 imported (one batch)  3 tokenised  4 released (one number)  5 refused  6 sealed  7 unsealed
    incident     0
    time         never before the leaf before it, even when the clock goes back
    event        {"at": microseconds, "cards": n, "client": text, "op": text, "purpose": text or null, "reason": text or null,
                  "ticket": text or null, "token": 32 hex digits or null}   keys sorted, no spaces: equal to RFC 8785 for such values
    commitment   SHA-256(salt || event), salt 16 random bytes; both stand in vault_access, never in the log

So from the log alone, with no secret: how many numbers were released between two checkpoints. Own keys, own origin: the main side can
neither write nor hold back a leaf. Keys: `keys/log.key`, an Ed25519 and an ML-DSA-44 line.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from tocsin_tlog import leaf, note
from tocsin_tlog.appender import Appender

from . import places


class Op(IntEnum):
    """What happened; the number is the leaf's type."""

    OPENED = 1
    IMPORTED = 2
    TOKENISED = 3
    RELEASED = 4
    REFUSED = 5
    SEALED = 6
    UNSEALED = 7


@dataclass(frozen=True, slots=True)
class Access:
    """One act to record."""

    op: Op
    at_us: int
    client: str
    cards: int = 0
    token: bytes | None = None
    purpose: str | None = None
    ticket: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """One act as it is stored: canonical event, salt, and the 47 bytes of its leaf."""

    event: str
    salt: bytes
    entry: bytes


def record(access: Access) -> Recorded:
    """Return the stored form of an act under a fresh salt."""
    event = json.dumps(
        {"op": access.op.name.lower(), "at": access.at_us, "client": access.client, "cards": access.cards, "purpose": access.purpose,
         "token": access.token.hex() if access.token else None, "ticket": access.ticket, "reason": access.reason},
        sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    salt = secrets.token_bytes(leaf.SALT_BYTES)
    commitment = leaf.commit(salt=salt, event=event.encode())
    return Recorded(event, salt, leaf.pack(type=access.op, at_us=access.at_us, incident=0, commitment=commitment))


def create_keys(file: Path, public: Path, origin: str) -> None:
    """Make the log's keys once; does nothing when they are there. The public half is written last."""
    if not file.exists():
        kinds = (note.Kind.ED25519, note.Kind.ML_DSA_44)
        pair = [note.Signer(origin, kind, secrets.token_bytes(note.SEED_BYTES)) for kind in kinds]
        places.write_secret(file, "".join(s.skey + "\n" for s in pair).encode())
    if not public.exists():
        public.write_text("".join(s.vkey + "\n" for s in signers(file)))
        public.chmod(0o644)


def signers(file: Path) -> list[note.Signer]:
    """Return the log's keys from their file."""
    return [note.Signer.of(line) for line in file.read_text().splitlines()]


def open_log(folder: Path, keys: list[note.Signer]) -> Appender:
    """Open the log as its one writer."""
    return Appender(folder, origin=keys[0].verifier.name, signers=keys)
