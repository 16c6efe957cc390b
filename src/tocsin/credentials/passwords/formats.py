"""The password formats of the real world: read, checked for shape, verified; only Argon2id is made.

As stored (the first column is what a customers file calls the format, the second how its text may stand in that file):
    md5            32 hex digits                              md5$HEX               MD5(password)
    sha1_salted    SALT$40 hex digits                         sha1_salted$SALT$HEX  SHA-1(salt || password)
    sha256_salted  SALT$64 hex digits                         sha256_salted$SALT$HEX
    pbkdf2_sha256  pbkdf2_sha256$ITERATIONS$SALT$BASE64       as it is              Django's format
    bcrypt         $2a$, $2b$ or $2y$, cost, 53 characters    as it is              bytes after the 72nd never counted
    scrypt         scrypt$N$SALT$R$P$BASE64                   as it is              Django's format
    argon2id       $argon2id$v=19$m=..,t=..,p=..$SALT$HASH    as it is              PHC string
Comparison is in constant time. A stored hash that cannot be read is no match, never an error towards the person who signs in.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re

import bcrypt
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type, verify_secret

from tocsin.kernel.errors import Fault

SHAPES = {
    "md5": re.compile(r"[0-9a-f]{32}"),
    "sha1_salted": re.compile(r"[^$]{1,64}\$[0-9a-f]{40}"),
    "sha256_salted": re.compile(r"[^$]{1,64}\$[0-9a-f]{64}"),
    "pbkdf2_sha256": re.compile(r"pbkdf2_sha256\$[1-9][0-9]{0,7}\$[^$]{1,64}\$[A-Za-z0-9+/]{43}="),
    "bcrypt": re.compile(r"\$2[aby]\$(0[4-9]|1[0-9])\$[./A-Za-z0-9]{53}"),
    "scrypt": re.compile(r"scrypt\$[1-9][0-9]{0,7}\$[^$]{1,64}\$[1-9][0-9]{0,2}\$[1-9][0-9]{0,2}\$[A-Za-z0-9+/]{86}=="),
    "argon2id": re.compile(
        r"\$argon2id\$v=19\$m=[1-9][0-9]{1,7},t=[1-9][0-9]{0,2},p=[1-9][0-9]?\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{22,172}"
    ),
}
BARE = frozenset({"md5", "sha1_salted", "sha256_salted"})  # stored with the format's name in front
ITERATIONS_MAX = 5_000_000
SCRYPT_MEMORY_MAX = 256 * 1024 * 1024
ARGON2_KIB_MAX = 1_048_576
BCRYPT_BYTES = 72
# CPU milliseconds of one verification on one core. Source: specification, section 4.2, measured on x86-64.
MS_PER_HASH = 0.0005
MS_PER_PBKDF2_ROUND = 0.000_19
MS_PER_BCRYPT_ROUND = 0.052
MS_SCRYPT = 148.0
MS_ARGON2 = 20.0


def encode(format: str, text: str) -> str | Fault:
    """Return the stored form of a hash as a customers file gives it, or what is wrong with it (without quoting it: it is a secret)."""
    shape = SHAPES.get(format)
    if shape is None:
        return Fault("format", repr(format[:20]), f"one of {', '.join(SHAPES)}")
    if format in {"md5", "sha1_salted", "sha256_salted"}:
        head, dollar, digest = text.rpartition("$")
        text = f"{head}{dollar}{digest.lower()}"
    if not shape.fullmatch(text):
        return Fault("hash", f"{len(text)} characters", f"a hash of the format {format}")
    if format == "pbkdf2_sha256" and int(text.split("$")[1]) > ITERATIONS_MAX:
        return Fault("hash", "more iterations than that", f"at most {ITERATIONS_MAX}")
    if format == "argon2id" and int(text.split("m=")[1].split(",")[0]) > ARGON2_KIB_MAX:
        return Fault("hash", "more memory than that", f"at most {ARGON2_KIB_MAX} KiB")
    return f"{format}${text}" if format in BARE else text


def format_of(stored: str) -> str:
    """Return the name of a stored hash's format."""
    if stored.startswith("$2"):
        return "bcrypt"
    return stored.removeprefix("$").split("$", 1)[0]


def cost_ms(stored: str) -> float:
    """Return about how many CPU milliseconds one verification of this hash takes."""
    match format_of(stored):
        case "pbkdf2_sha256":
            return int(stored.split("$")[1]) * MS_PER_PBKDF2_ROUND
        case "bcrypt":
            return float(MS_PER_BCRYPT_ROUND * 2 ** int(stored.split("$")[2]))
        case "scrypt":
            return MS_SCRYPT
        case "argon2id":
            return MS_ARGON2
        case _:
            return MS_PER_HASH


def argon2_work(stored: str) -> int:
    """Return the work in an Argon2id hash: kibibytes times passes. What one verification costs is proportional to it."""
    memory, passes, _ = stored.split("$")[3].split(",")
    return int(memory.removeprefix("m=")) * int(passes.removeprefix("t="))


def verify(stored: str, password: bytes) -> bool:
    """Tell whether a password has this hash. Slow on purpose for most formats: call it inside a hashing slot and no transaction."""
    match format_of(stored):
        case "md5":
            return _same(hashlib.md5(password, usedforsecurity=False).hexdigest(), stored.split("$")[1])
        case "sha1_salted":
            _, salt, digest = stored.split("$")
            return _same(hashlib.sha1(salt.encode() + password, usedforsecurity=False).hexdigest(), digest)
        case "sha256_salted":
            _, salt, digest = stored.split("$")
            return _same(hashlib.sha256(salt.encode() + password).hexdigest(), digest)
        case "pbkdf2_sha256":
            _, rounds, salt, digest = stored.split("$")
            return _same(base64.b64encode(hashlib.pbkdf2_hmac("sha256", password, salt.encode(), int(rounds))).decode(), digest)
        case "bcrypt":
            return b"\x00" not in password and bcrypt.checkpw(password[:BCRYPT_BYTES], stored.encode())
        case "scrypt":
            return _scrypt(stored, password)
        case "argon2id":
            try:
                return verify_secret(stored.encode(), password, Type.ID)
            except (VerificationError, InvalidHashError):
                return False
        case _:
            return False


def _scrypt(stored: str, password: bytes) -> bool:
    _, n, salt, r, p, digest = stored.split("$")
    try:
        made = hashlib.scrypt(password, salt=salt.encode(), n=int(n), r=int(r), p=int(p), maxmem=SCRYPT_MEMORY_MAX, dklen=64)
        return hmac.compare_digest(made, base64.b64decode(digest))
    except (ValueError, MemoryError, binascii.Error):  # parameters beyond what we grant: no match
        return False


def _same(ours: str, theirs: str) -> bool:
    return hmac.compare_digest(ours.encode(), theirs.encode())
