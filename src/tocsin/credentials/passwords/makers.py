"""New hashes in the formats of other people's systems, so that an unmodified log-in can verify them. Only formats that are still sound.

    pbkdf2_sha256   pbkdf2_sha256$600000$SALT$BASE64        Django's default hasher
    django_argon2   argon2$argon2id$v=19$...                Django's Argon2 hasher
    argon2id        $argon2id$v=19$...                      PHC string
    bcrypt          $2b$10$...                              as most languages write it
    bcrypt_2y       $2y$10$...                              as PHP writes it
    ldap_argon2     {ARGON2}$argon2id$...                   OpenLDAP with the argon2 module
    ldap_crypt      {CRYPT}$2b$10$...                       OpenLDAP on a C library whose crypt(3) knows bcrypt (libxcrypt)
    ldap_ssha512    {SSHA512}BASE64(digest || salt)         OpenLDAP with the pw-sha2 module; fast, so the last choice

The text is hashed as it was typed, not normalised: the other system will hash what its own form receives. Sources: RFC 2307 s5.3 (the
braces), Django 5.2 contrib.auth.hashers, OWASP Password Storage Cheat Sheet (600,000 rounds; bcrypt from
cost 10: a dearer one would cost the reset page most of its capacity).
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets

import argon2
import bcrypt

from tocsin.kernel.errors import BadInput
from tocsin.kernel.private import Private

FORMATS = ("django_argon2", "argon2id", "ldap_argon2", "bcrypt", "bcrypt_2y", "ldap_crypt", "pbkdf2_sha256", "ldap_ssha512")
PBKDF2_ROUNDS = 600_000
BCRYPT_COST = 10
BCRYPT_BYTES = 72
SALT_BYTES = 16
_argon2 = argon2.PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1, hash_len=32, salt_len=16)


def make_in(format: str, password: Private[str]) -> Private[str]:
    """Return the hash of a password in another system's format. Slow on purpose: 20 to 120 ms of one core; call inside a hashing slot.

    Raises BadInput for a format that nobody here makes, and for a NUL where the format cannot hold one.
    """
    typed = password.reveal().encode("utf-8", "surrogatepass")
    match format:
        case "pbkdf2_sha256":
            salt = secrets.token_urlsafe(SALT_BYTES)
            made = base64.b64encode(hashlib.pbkdf2_hmac("sha256", typed, salt.encode(), PBKDF2_ROUNDS)).decode()
            text = f"pbkdf2_sha256${PBKDF2_ROUNDS}${salt}${made}"
        case "argon2id":
            text = _argon2.hash(typed)
        case "django_argon2":
            text = f"argon2{_argon2.hash(typed)}"
        case "ldap_argon2":
            text = f"{{ARGON2}}{_argon2.hash(typed)}"
        case "bcrypt":
            text = _bcrypt(typed)
        case "bcrypt_2y":
            text = f"$2y${_bcrypt(typed).removeprefix('$2b$')}"
        case "ldap_crypt":
            text = f"{{CRYPT}}{_bcrypt(typed)}"
        case "ldap_ssha512":
            salted = os.urandom(SALT_BYTES)
            text = f"{{SSHA512}}{base64.b64encode(hashlib.sha512(typed + salted).digest() + salted).decode()}"
        case _:
            raise BadInput.of("format", format, f"one of {', '.join(FORMATS)}")
    return Private(text)


def _bcrypt(typed: bytes) -> str:
    if b"\x00" in typed:
        raise BadInput.of("password", "a NUL character", "a password without it: bcrypt ends there")
    return bcrypt.hashpw(typed[:BCRYPT_BYTES], bcrypt.gensalt(BCRYPT_COST)).decode()
