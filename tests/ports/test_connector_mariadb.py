"""`mariadb` against a real MariaDB, whose accounts an application reads and writes as PHP programs do: bcrypt by login."""

from __future__ import annotations

import contextlib
import secrets
import sys
import time
from collections.abc import Iterator
from typing import Any

import bcrypt
import pytest

from tocsin.credentials.passwords import makers
from tocsin.credentials.port import Connector
from tocsin.kernel.errors import BadInput, Refused, Unavailable
from tocsin.kernel.private import Private

from .connector_suite import *  # noqa: F403  the suite's tests run on this module's target
from .connector_suite import AT, NEW, NEWER, PEOPLE, all_open, gated, make, none_opens
from .mariadb_server import MariaServer
from .proxy import Proxy

ADAPTER = "tocsin.credentials.adapters.mariadb.MariaTable"
SECRET = "gate-keeper-7c1e"
TABLE = """CREATE TABLE users (id int AUTO_INCREMENT PRIMARY KEY, number varchar(30) NOT NULL UNIQUE, email varchar(100) NOT NULL UNIQUE,
           pw varchar(100) NOT NULL, seen int NOT NULL DEFAULT 0, since datetime NOT NULL, pw_at datetime(6))"""
OPTIONS = {"table": "users", "account": "number", "login": "email", "hash": "pw", "changed_at": "pw_at",
           "canary": {"number": "{login}", "since": "2026-01-01 00:00:00"}}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaServer]:
    made = MariaServer(tmp_path_factory.mktemp("mariadb"))
    made.sql("CREATE USER app@'127.0.0.1' IDENTIFIED BY 'app'")
    made.sql(f"CREATE USER gate_keeper@'127.0.0.1' IDENTIFIED BY '{SECRET}'")
    yield made
    made.close()


class MariaTarget:
    """A shop's table, its application, and the connector's way to it through a door that can be shut."""

    secret, takes_passwords, drains, seconds_matter = SECRET, True, True, False

    def __init__(self, server: MariaServer) -> None:
        self.server, self.database, self.proxy = server, f"shop_{secrets.token_hex(4)}", Proxy(server.port)
        server.sql(f"CREATE DATABASE {self.database}")
        server.sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {self.database}.* TO app@'127.0.0.1'")
        server.sql(f"GRANT ALL ON {self.database}.* TO gate_keeper@'127.0.0.1'")
        server.sql(TABLE, database=self.database)
        self.people = {f"K{n:03}": f"old secret {n}" for n in range(PEOPLE)}
        self.app = server.connect(self.database, user="app", password="app")
        with self.app.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO users (number, email, pw, since) VALUES (%s, %s, %s, now())",
                [(k, f"{k}@mail.example", bcrypt.hashpw(p.encode(), bcrypt.gensalt(4)).decode()) for k, p in self.people.items()],
            )

    def connector(self, **options: Any) -> Connector:
        where = {"port": self.proxy.port, "database": self.database, "user": "gate_keeper"}
        return make(ADAPTER, {**where, **OPTIONS, **options}, SECRET)

    def ask(self, text: str, *params: Any) -> list[tuple[Any, ...]]:
        with self.app.cursor() as cursor:
            cursor.execute(text, params or None)
            return list(cursor.fetchall())

    def opens(self, account: str, secret: str) -> bool:
        rows = self.ask("SELECT * FROM users WHERE email = %s", f"{account}@mail.example")
        if not rows:
            return False
        assert len(rows[0]) == 7  # what the application reads as a whole row has not grown
        return bcrypt.checkpw(secret.encode(), rows[0][3].encode())

    def change(self, account: str, secret: str) -> None:
        self.ask("UPDATE users SET pw = %s WHERE number = %s", bcrypt.hashpw(secret.encode(), bcrypt.gensalt(4)).decode(), account)

    def stop(self) -> None:
        self.proxy.stop()

    def start(self) -> None:
        self.proxy.start()

    def close(self) -> None:
        self.app.close()
        self.proxy.stop()
        self.server.sql(f"DROP DATABASE {self.database}")


@pytest.fixture
def target(server: MariaServer) -> Iterator[MariaTarget]:
    made = MariaTarget(server)
    yield made
    made.close()


def test_the_application_goes_on_writing_behind_the_gate(target: MariaTarget) -> None:
    before = target.server.sql("SHOW CREATE TABLE users", database=target.database)
    first, second, third, *_ = target.people
    old = target.ask("SELECT pw FROM users WHERE number = %s", second)[0][0]
    connector = gated(target)
    target.ask(
        "INSERT INTO users VALUES (NULL, 'K900', 'K900@mail.example', %s, 0, now(), NULL)",
        bcrypt.hashpw(NEW.encode(), bcrypt.gensalt(4)).decode(),
    )  # fmt: skip  no column is named
    assert target.opens("K900", NEW)
    target.ask("UPDATE users SET pw = %s, seen = seen + 1 WHERE number = %s", old, second)  # an object loaded before the gate, saved whole
    assert target.ask("SELECT seen FROM users WHERE number = %s", second) == [(1,)]
    assert not target.opens(second, target.people[second])
    target.ask("DELETE FROM users WHERE number = %s", third)
    del target.people[third]
    connector.set_password(first, makers.make_in("bcrypt", Private(NEW)), format="bcrypt")
    assert target.ask("SELECT pw_at IS NOT NULL FROM users WHERE number = %s", first) == [(1,)]
    assert target.connector().changed_elsewhere(None).accounts == ("K900",)
    connector.abort()
    assert target.opens(first, NEW)
    assert target.opens("K900", NEW)
    del target.people[first]
    assert all_open(target)
    after = target.server.sql("SHOW CREATE TABLE users", database=target.database)
    assert after[0][1].split(" AUTO_INCREMENT")[0] == before[0][1].split(" AUTO_INCREMENT")[0]
    assert target.server.sql("SHOW TRIGGERS", database=target.database) == []


def test_a_second_gate_ends_what_came_after_the_first(target: MariaTarget) -> None:
    connector = gated(target)
    first, second, *_ = target.people
    connector.set_password(first, makers.make_in("bcrypt", Private(NEW)), format="bcrypt")
    target.change(second, NEW)
    connector.gate(3, at=AT)
    assert not target.opens(first, NEW)
    assert not target.opens(second, NEW)
    assert none_opens(target)
    assert connector.changed_elsewhere(None).accounts == ()
    target.change(second, NEWER)
    assert target.opens(second, NEWER)
    assert connector.changed_elsewhere(None).accounts == (second,)
    with pytest.raises(Refused, match="gated twice"):
        connector.abort()


def test_a_mapping_is_checked_all_at_once(target: MariaTarget) -> None:
    target.server.sql("ALTER TABLE users ADD COLUMN shop_id int NOT NULL", database=target.database)
    with pytest.raises(BadInput) as e:
        target.connector(login="mail", hash="password", changed_at="seen_at", key="number", formats=["md5"]).probe()
    assert {f.field for f in e.value.faults} == {
        f"connectors.shop.{f}" for f in ("login", "hash", "changed_at", "key", "formats", "canary")
    }
    assert "shop_id" in str(e.value)
    with pytest.raises(BadInput, match=r"shop\.table"):
        target.connector(table="people").probe()


def test_missing_rights_and_read_only_are_blockers(target: MariaTarget) -> None:
    target.server.sql(f"REVOKE TRIGGER, ALTER ON {target.database}.* FROM gate_keeper@'127.0.0.1'")
    found = target.connector().probe().findings
    assert [(f.level, f.text) for f in found] == [("blocker", "gate_keeper lacks ALTER, TRIGGER")]
    target.server.sql(f"GRANT ALL ON {target.database}.* TO gate_keeper@'127.0.0.1'")
    target.connector().arm()
    target.server.sql("SET GLOBAL read_only = 1")
    try:
        assert any("takes no writes" in f.text for f in target.connector().probe().findings)
        with pytest.raises(Unavailable, match="read-only"):
            target.connector().gate(2, at=AT)
    finally:
        target.server.sql("SET GLOBAL read_only = 0")
    assert target.connector().status().state == "armed"
    assert all_open(target)


def test_the_gate_waits_for_no_long_transaction_and_says_so(target: MariaTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    connector = target.connector()
    connector.arm()
    monkeypatch.setattr("tocsin.credentials.adapters.mariadb.LOCK_TRIES_MAX", 1)
    with contextlib.closing(target.server.connect(target.database)) as db, db.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT count(*) FROM users")
        with pytest.raises(Unavailable, match="no lock on users"):
            connector.gate(2, at=AT)
        assert target.connector().status().state == "armed"
    connector.gate(2, at=AT)
    assert none_opens(target)


def test_a_server_that_falls_silent_is_given_up(target: MariaTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    target.connector().arm()
    monkeypatch.setattr("tocsin.credentials.adapters.mariadb.CALL_S", 1)
    target.proxy.stall()
    began = time.monotonic()
    with pytest.raises(Unavailable):
        target.connector().gate(2, at=AT)
    assert time.monotonic() - began < 10
    target.proxy.stop()
    target.proxy.start()
    assert target.connector().status().state == "armed"
    assert all_open(target)


def test_the_switch_does_not_grow_with_the_table(target: MariaTarget) -> None:
    """200,000 rows: the switch is at least ten times as quick as one UPDATE of every row, on the same table."""
    target.server.sql("INSERT INTO users (number, email, pw, since) SELECT concat('B', seq), concat('B', seq), %s, now() FROM seq_1_to_200000",
                      "$2y$04$" + "A" * 53, database=target.database)  # fmt: skip
    connector = target.connector()
    connector.arm()
    took_ms = connector.gate(2, at=AT).took_ms
    assert none_opens(target)
    began = time.monotonic()
    target.server.sql("UPDATE users SET tocsin_other = '!'", database=target.database)
    update_ms = (time.monotonic() - began) * 1000
    sys.stderr.write(f"\nswitch {took_ms:.1f} ms, UPDATE of 200,030 rows {update_ms:.0f} ms\n")
    assert took_ms < 1000
    assert took_ms * 10 < update_ms


def test_a_hash_column_too_narrow_is_named(target: MariaTarget) -> None:
    target.server.sql("DELETE FROM users", database=target.database)
    target.server.sql("ALTER TABLE users MODIFY pw varchar(32) NOT NULL DEFAULT ''", database=target.database)
    with pytest.raises(BadInput, match="room for at least 60"):
        target.connector().probe()
