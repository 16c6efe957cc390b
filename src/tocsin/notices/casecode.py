"""The short code in each notice: 10 characters that mean (block, place) to whoever holds the key, and nothing to anybody else. Pure.

    plain   = block id (24 bits) | place in the block (10 bits) | 16 zero bits            50 bits
    sealed  = 8 rounds of a Feistel network over halves of 25 bits; round function: keyed BLAKE2b-32(key, round u8 || half u32), first 25 bits
    shown   = 10 digits of base 32 (0-9 A-Z without I L O U), most significant first, as XXXXX-XXXXX

Why so: "did you send this?" must be answered without a row per recipient and without personal data, by a process that could not make the
list of recipients. The 16 zero bits are the check: an invented code passes with probability 1 : 65,536, and then still needs a block that
exists. Refused: a truncated HMAC kept in a table (24 million rows that serve nothing else).
Source: Luby and Rackoff 1988 (a Feistel network of a pseudo-random function is a pseudo-random permutation); RFC 7693 s2.9 (keyed BLAKE2b is
one, at an eighth of HMAC's price: eight are made for each message); alphabet: Crockford's base 32.
"""

from __future__ import annotations

import hashlib

from tocsin.kernel.errors import ensure

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
DIGITS = 10
BLOCKS_MAX = 1 << 24  # ids of blocks: 16 billion recipients in the life of an estate
PLACES_MAX = 1 << 10
_ROUNDS = 8
_HALF = (1 << 25) - 1
_CHECK_BITS = 16
_READ_AS = {**{c: i for i, c in enumerate(ALPHABET)}, "I": 1, "L": 1, "O": 0}


def encode(key: bytes, *, block: int, place: int) -> str:
    """Return the code of a place in a block."""
    ensure(0 <= block < BLOCKS_MAX and 0 <= place < PLACES_MAX, f"no case code for block {block}, place {place}")
    left, right = divmod(((block << 10) | place) << _CHECK_BITS, 1 << 25)
    for n in range(_ROUNDS):
        left, right = right, left ^ _f(key, n, right)
    value = (left << 25) | right
    digits = "".join(ALPHABET[(value >> shift) & 31] for shift in range(5 * (DIGITS - 1), -1, -5))
    return f"{digits[:5]}-{digits[5:]}"


def decode(key: bytes, code: str) -> tuple[int, int] | None:
    """Return (block, place), None for anything that we did not make. Reads small letters, blanks, and I, L, O as people type them."""
    text = code.upper().replace("-", "").replace(" ", "").strip()
    if len(text) != DIGITS or any(c not in _READ_AS for c in text):
        return None
    value = 0
    for c in text:
        value = (value << 5) | _READ_AS[c]
    left, right = value >> 25, value & _HALF
    for n in range(_ROUNDS - 1, -1, -1):
        left, right = right ^ _f(key, n, left), left
    plain = (left << 25) | right
    if plain & ((1 << _CHECK_BITS) - 1):
        return None
    return plain >> (_CHECK_BITS + 10), (plain >> _CHECK_BITS) & (PLACES_MAX - 1)


def _f(key: bytes, n: int, half: int) -> int:
    return int.from_bytes(hashlib.blake2b(bytes((n,)) + half.to_bytes(4, "big"), key=key, digest_size=4).digest(), "big") >> 7
