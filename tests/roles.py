"""Connection strings of the processes' database roles, for tests that start real processes.

Roles belong to the server, and the workers of one run share it: each gives a role the same password, or it would lock another's processes out.
"""

from __future__ import annotations

import functools
import hashlib
import time
from urllib.parse import quote

from django.db import DatabaseError, connection

from tocsin.kernel import schema

TRIES = 20
WAIT_S = 0.1


def dsn_of(role: str) -> str:
    """Apply the grants to the test database and return the connection string of a process's role in it."""
    parts = connection.get_connection_params()
    place = f"{parts['host']}:{parts['port']}/{parts['dbname']}"
    owner = f"postgresql://{parts['user']}:{quote(str(parts.get('password', '')))}@{place}"
    _granted(place)
    kept = {name: hashlib.sha256(f"{parts['host']}:{parts['port']} {name}".encode()).hexdigest() for name in schema.ROLES}
    for left in range(TRIES, -1, -1):
        try:
            passwords = schema.set_passwords(owner, kept=kept)
            break
        except DatabaseError:  # two workers at one role in the same moment: "tuple concurrently updated"
            if not left:
                raise
            time.sleep(WAIT_S)
    return schema.dsn(owner, role, passwords[role]).rstrip("/")


@functools.cache
def _granted(_place: str) -> None:
    schema.migrate()
