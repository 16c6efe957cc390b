"""What every table of accounts in somebody's SQL database has in common: its mapping, its formats, its canaries.

The mapping names columns; it is held against the catalogue, and every fault in it is said at once. A hash that nobody can match is made for
each gate in the likeness of a stored one, so that length, shape and the time of a comparison stay what the application is used to.
"""

from __future__ import annotations

import re
import secrets
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tocsin.credentials.passwords import formats, makers
from tocsin.credentials.port import Finding, Presented, TargetCanary
from tocsin.kernel.errors import Fault
from tocsin.kernel.private import Private

CANARY = "tocsin-canary-"
LOGIN_CHARS = len(CANARY) + 12
SAMPLE_ROWS = 1000
DIGEST = re.compile(r"([A-Za-z0-9./+]{16,})(=*)$")
BCRYPT_SALT_CHARS = 22
CONNECT_S, CALL_S, LOCK_S = 5, 20, 2
PREFIXES = (
    ("argon2$argon2id$", "django_argon2"),
    ("$argon2id$", "argon2id"),
    ("pbkdf2_sha256$", "pbkdf2_sha256"),
    ("$2y$", "bcrypt_2y"),
    ("$2b$", "bcrypt"),
    ("$2a$", "bcrypt"),
)


@dataclass(frozen=True, slots=True)
class TableOptions:
    """How to reach a database and which columns of which table hold what.

    `key` is the primary key, `account` the column that the register of subjects calls external id (empty: the key), `changed_at` an optional
    column that a change of password writes the time into. `formats` says which formats the application verifies, if its rows do not show
    it. `canary` gives values for columns that an account of ours must fill; `{login}` in a text becomes the canary's login.
    """

    host: str = "127.0.0.1"
    port: int = 0
    database: str = ""
    user: str = ""
    schema: str = "public"
    table: str = ""
    key: str = "id"
    account: str = ""
    login: str = ""
    hash: str = ""
    changed_at: str = ""
    formats: tuple[str, ...] = ()
    canary: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Column:
    """A column as the catalogue describes it; `fills_itself` if a row may leave it out."""

    name: str
    type: str
    fills_itself: bool
    length: int | None = None
    is_text: bool = False


def mapping_faults(where: str, options: TableOptions, columns: Sequence[Column], *, keys: Sequence[str]) -> list[Fault]:
    """Return every fault of a mapping against the columns that the table really has; `keys` are the columns of its primary key."""
    if not columns:
        return [Fault(f"{where}.table", repr(options.table), "a table that this user can see")]
    known = {c.name: c for c in columns}
    shown = ", ".join(known)
    named = {"key": options.key, "account": options.account, "login": options.login, "hash": options.hash, "changed_at": options.changed_at}
    faults = [
        Fault(f"{where}.{what}", repr(c), f"a column of {options.table}: {shown}") for what, c in named.items() if c and c not in known
    ]
    faults += [Fault(f"{where}.canary.{c}", repr(c), f"a column of {options.table}: {shown}") for c in options.canary if c not in known]
    named_by_us = {options.login, *(c for c, v in options.canary.items() if isinstance(v, str) and "{login}" in v)}
    faults += [
        Fault(f"{where}.canary", f"{c.name} of {c.length} characters", f"room for {LOGIN_CHARS}, the login of an account of ours")
        for c in columns
        if c.name in named_by_us and c.length is not None and c.length < LOGIN_CHARS
    ]
    if options.key in known and list(keys) != [options.key]:
        faults.append(Fault(f"{where}.key", repr(options.key), f"the primary key, one column; it is ({', '.join(keys)})"))
    if (held := known.get(options.hash)) is not None:
        if not held.is_text:
            faults.append(Fault(f"{where}.hash", held.type, "a column of text"))
        elif held.length is not None and held.length < 60:
            faults.append(Fault(f"{where}.hash", f"{held.length} characters", "room for at least 60: no sound format is shorter"))
    faults += [
        Fault(f"{where}.formats", repr(f), f"one of {', '.join(makers.FORMATS)}") for f in options.formats if f not in makers.FORMATS
    ]
    filled = {options.key, options.account, options.login, options.hash, options.changed_at, *options.canary}
    lacking = [c.name for c in columns if not c.fills_itself and c.name not in filled]
    if lacking:
        faults.append(Fault(f"{where}.canary", "nothing for " + ", ".join(lacking), "a value for each, so that canaries can be planted"))
    return faults


def formats_seen(hashes: Iterable[str | None]) -> tuple[str, ...]:
    """Return the formats among stored hashes that we can make, the commonest first."""
    found = Counter(next((name for prefix, name in PREFIXES if (h or "").startswith(prefix)), "") for h in hashes)
    return tuple(name for name, _ in found.most_common() if name)


def format_findings(found: Sequence[str], *, where: str) -> list[Finding]:
    """Return the blocker of a table that shows no format we can make."""
    if found:
        return []
    remedy = f"name formats that the application also verifies: {where}.formats = [...] of {', '.join(makers.FORMATS)}"
    return [Finding("blocker", "no hash in the table has a sound format that a new password could be stored in", remedy)]


def dead_hash(like: str | None, *, format: str, room: int | None) -> str:
    """Return a hash that no password has: a stored one with another digest drawn at random, of the same length and price.

    Without one that reads as a hash, one in `format` of a secret that is forgotten at once; never longer than the column's `room`.
    """
    found = DIGEST.search(like or "")
    if like is None or found is None:
        return makers.make_in(format, Private(secrets.token_urlsafe(32))).reveal()[: room or None]
    digest = found[1]
    fixed = BCRYPT_SALT_CHARS if like.startswith("$2") else 0
    letters = string.hexdigits[:16] if re.fullmatch(r"[0-9a-f]+", digest) else string.ascii_letters + string.digits
    drawn = "".join(secrets.choice(letters) for _ in digest[fixed:-1])
    return f"{like[: found.start(1)]}{digest[:fixed]}{drawn}{digest[-1]}{found[2]}"


def new_canary() -> tuple[str, Private[str]]:
    """Return the login and the password of a canary to be planted."""
    return f"{CANARY}{secrets.token_hex(6)}", Private(secrets.token_urlsafe(24))


def said_of_hash(canary: TargetCanary, stored: str | None) -> list[Presented]:
    """Return what an application answers that reads this hash for the canary's login and verifies its password against it."""
    password = canary.secrets["password"].reveal().encode()
    if stored is None:
        return [Presented(canary.account, "password", accepted=False, detail="no row for this login")]
    right = formats.verify(stored.removeprefix("argon2") if stored.startswith("argon2$") else stored, password)
    return [Presented(canary.account, "password", accepted=right, detail=f"a hash of the format {formats.format_of(stored)[:20]}")]
