"""The accounts of an unmodified Django project on PostgreSQL: `auth_user`, gated as in `postgres.py`.

Sessions and reset links of Django rest on the stored hash (`get_session_auth_hash`, `PasswordResetTokenGenerator`), so both end with the
switch. The view's hash is one that Django takes for usable: the project's own "forgot password" page goes on mailing links, and who sets
a password there is live from that moment. Source: Django 5.2, contrib.auth.
"""

from __future__ import annotations

from collections.abc import Sequence

from tocsin.credentials.connectors.sqltable import TableOptions, formats_seen

from .postgres import PostgresTable


class DjangoUsers(PostgresTable):
    """`auth_user`. `account` names the column that the register calls external id: `id` unless told otherwise."""

    kind = "django"
    needed = ("database", "user")
    defaults = TableOptions(
        port=5432,
        table="auth_user",
        login="username",
        hash="password",
        canary={
            "first_name": "",
            "last_name": "",
            "email": "{login}@canary.invalid",
            "is_active": True,
            "is_staff": False,
            "is_superuser": False,
            "date_joined": "now",
        },
    )

    def formats_of(self, hashes: Sequence[str | None]) -> tuple[str, ...]:
        """Return what the project's hashers have made so far, Argon2 first; every Django verifies PBKDF2."""
        seen = [f for f in formats_seen(hashes) if f in {"django_argon2", "pbkdf2_sha256"}]
        return self.o.formats or tuple(sorted({*seen, "pbkdf2_sha256"}))
