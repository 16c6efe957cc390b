"""A company's own table of accounts in a database of its own, and an application that reads it with a role of its own: bcrypt by mail."""

from __future__ import annotations

import os
import secrets
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import bcrypt
import psycopg

from tocsin.credentials.port import Connector

from .connector_suite import make
from .proxy import Proxy

ADAPTER = "tocsin.credentials.adapters.postgres.PostgresTable"
SECRET = "gate-keeper-2a6c"
TABLE = """CREATE TABLE customers (no text PRIMARY KEY, mail text NOT NULL UNIQUE, word varchar(120) NOT NULL, word_at timestamptz,
           visits int NOT NULL DEFAULT 0, about json, mail_upper text GENERATED ALWAYS AS (upper(mail)) STORED)"""
OPTIONS = {"table": "customers", "key": "no", "login": "mail", "hash": "word", "changed_at": "word_at", "user": "table_keeper"}


def dsn(database: str, *, user: str | None = None, password: str | None = None) -> str:
    parts = urlsplit(os.environ["TOCSIN_TEST_DATABASE_URL"])
    who = f"{user or parts.username}:{password or parts.password or ''}"
    return urlunsplit(parts._replace(netloc=f"{who}@127.0.0.1:{parts.port}", path=f"/{database}"))


def owner(database: str = "postgres") -> psycopg.Connection:
    return psycopg.connect(dsn(database), autocommit=True)


def hashed(word: str) -> str:
    return bcrypt.hashpw(word.encode(), bcrypt.gensalt(4)).decode()


class TableTarget:
    """The table, its application, and the connector's way to it through a door that can be shut."""

    secret, takes_passwords, drains, seconds_matter = SECRET, True, True, False

    def __init__(self, people: dict[str, str]) -> None:
        self.people, self.database = people, f"table_{secrets.token_hex(4)}"
        with owner() as db:
            for role, word in (("table_app", "app"), ("table_keeper", SECRET)):
                if not db.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone():
                    db.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{word}'")
            db.execute("GRANT table_app TO table_keeper")
            db.execute(f"CREATE DATABASE {self.database} OWNER table_app")
        self.app = psycopg.connect(dsn(self.database, user="table_app", password="app"), autocommit=True)
        self.app.execute(TABLE)
        self.app.execute("GRANT CREATE ON SCHEMA public TO table_keeper")
        self.app.cursor().executemany(
            "INSERT INTO customers (no, mail, word, about) VALUES (%s, %s, %s, '{}')",
            [(no, f"{no}@mail.example", hashed(word)) for no, word in people.items()],
        )
        self.proxy = Proxy(int(urlsplit(os.environ["TOCSIN_TEST_DATABASE_URL"]).port or 5432))

    @property
    def options(self) -> dict[str, Any]:
        return {**OPTIONS, "port": self.proxy.port, "database": self.database}

    def connector(self, **options: Any) -> Connector:
        return make(ADAPTER, {**self.options, **options}, SECRET)

    def opens(self, account: str, secret: str) -> bool:
        row = self.app.execute("SELECT word FROM customers WHERE mail = %s", [f"{account}@mail.example"], prepare=True).fetchone()
        return row is not None and bcrypt.checkpw(secret.encode(), row[0].encode())

    def change(self, account: str, secret: str) -> None:
        done = self.app.execute("UPDATE customers SET word = %s, visits = visits + 1 WHERE no = %s", [hashed(secret), account])
        assert done.rowcount == 1

    def stop(self) -> None:
        self.proxy.stop()

    def start(self) -> None:
        self.proxy.start()

    def close(self) -> None:
        self.app.close()
        self.proxy.stop()
        with owner() as db:
            db.execute(f"DROP DATABASE {self.database} WITH (FORCE)")
