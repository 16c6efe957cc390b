"""`postgres_django` against a real PostgreSQL and an unmodified Django project that runs as a program of its own."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from tocsin.credentials.passwords import makers
from tocsin.credentials.port import Connector
from tocsin.kernel.errors import BadInput, Refused, Unavailable
from tocsin.kernel.private import Private

from .connector_suite import *  # noqa: F403  the suite's tests run on this module's target
from .connector_suite import AT, NEW, NEWER, PEOPLE, all_open, gated, make, none_opens
from .proxy import Proxy

ADAPTER = "tocsin.credentials.adapters.postgres_django.DjangoUsers"
SHOP = Path(__file__).with_name("django_shop.py")
SECRET = "gate-keeper-9d3f"


def dsn(database: str, *, user: str | None = None, password: str | None = None, port: int | None = None) -> str:
    parts = urlsplit(os.environ["TOCSIN_TEST_DATABASE_URL"])
    who = f"{user or parts.username}:{password or parts.password or ''}"
    return urlunsplit(parts._replace(netloc=f"{who}@127.0.0.1:{port or parts.port}", path=f"/{database}"))


def owner(database: str = "postgres") -> psycopg.Connection:
    return psycopg.connect(dsn(database), autocommit=True)


class Shop:
    """The program of the shop, spoken to in lines."""

    def __init__(self, database: str) -> None:
        env = {"PATH": os.environ["PATH"], "SHOP_DSN": dsn(database, user="shop_app", password="shop_app")}
        self.program = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(SHOP)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True
        )

    def __getattr__(self, name: str) -> Any:
        def ask(*arguments: Any) -> Any:
            assert self.program.stdin is not None
            assert self.program.stdout is not None
            self.program.stdin.write(json.dumps([name, *arguments]) + "\n")
            self.program.stdin.flush()
            return json.loads(self.program.stdout.readline())

        return ask

    def close(self) -> None:
        self.program.kill()
        self.program.wait()
        for line in (self.program.stdin, self.program.stdout):
            assert line is not None
            line.close()


@pytest.fixture(scope="module")
def template() -> Iterator[tuple[str, dict[str, str]]]:
    """Give a database with the shop's tables, owned by the shop's role, and its people."""
    name = f"shop_{secrets.token_hex(4)}"
    with owner() as db:
        for role, word in (("shop_app", "shop_app"), ("gate_keeper", SECRET), ("shop_report", "shop_report")):
            if not db.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone():
                db.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{word}'")
        db.execute("GRANT shop_app TO gate_keeper")
        db.execute(f"CREATE DATABASE {name} OWNER shop_app")
    shop = Shop(name)
    shop.migrate()
    people = shop.people(PEOPLE)
    shop.close()
    with owner(name) as db:
        db.execute("GRANT SELECT (id, username) ON auth_user TO shop_report")
        db.execute("GRANT ALL ON SCHEMA public TO gate_keeper, shop_app")
    yield name, people
    with owner() as db:
        db.execute(f"DROP DATABASE {name} WITH (FORCE)")


class DjangoTarget:
    """The project, and the connector's way to its database through a door that can be shut."""

    secret, takes_passwords, drains, seconds_matter = SECRET, True, True, False

    def __init__(self, template: str, people: dict[str, str]) -> None:
        self.database = f"{template}_{secrets.token_hex(3)}"
        with owner() as db:
            db.execute(f"CREATE DATABASE {self.database} TEMPLATE {template} OWNER shop_app")
        self.people, self.shop = dict(people), Shop(self.database)
        self.proxy = Proxy(int(urlsplit(os.environ["TOCSIN_TEST_DATABASE_URL"]).port or 5432))

    def connector(self, **options: Any) -> Connector:
        return make(ADAPTER, {"port": self.proxy.port, "database": self.database, "user": "gate_keeper", **options}, SECRET)

    def opens(self, account: str, secret: str) -> bool:
        return self.shop.log_in(account, secret) is not None

    def change(self, account: str, secret: str) -> None:
        assert self.shop.change(account, secret)

    def stop(self) -> None:
        self.proxy.stop()

    def start(self) -> None:
        self.proxy.start()

    def sql(self, text: str, *params: Any) -> list[tuple[Any, ...]]:
        with owner(self.database) as db:
            done = db.execute(text, params)
            return done.fetchall() if done.description else []

    def set_database(self, setting: str) -> None:
        with owner() as db:
            db.execute(f"ALTER DATABASE {self.database} {setting}")

    def close(self) -> None:
        self.shop.close()
        self.proxy.stop()
        with owner() as db:
            db.execute(f"DROP DATABASE {self.database} WITH (FORCE)")


@pytest.fixture
def target(template: tuple[str, dict[str, str]]) -> Iterator[DjangoTarget]:
    made = DjangoTarget(*template)
    yield made
    made.close()


def test_sessions_and_reset_links_end_with_the_password(target: DjangoTarget) -> None:
    account, password = next(iter(target.people.items()))
    session, link = target.shop.log_in(account, password), target.shop.ask_reset(account)
    assert target.shop.signed_in(session)
    connector = gated(target)
    assert not target.shop.signed_in(session)
    assert not target.shop.use_link(link, NEW)
    fresh = target.shop.ask_reset(account)  # the shop's own page goes on helping people
    assert target.shop.use_link(fresh, NEW)
    after = target.shop.log_in(account, NEW)
    assert target.shop.signed_in(after)
    connector.abort()
    assert target.shop.signed_in(after)
    assert all_open(target) is False  # the one who changed keeps the new password
    assert target.opens(account, NEW)


def test_the_shop_goes_on_writing_through_the_gate(target: DjangoTarget) -> None:
    first, second, third, *_ = target.people
    target.shop.hold(second)
    connector = gated(target)
    admin = target.shop.create_superuser("boss", NEW)
    assert target.opens(admin, NEW)
    assert target.shop.lock(first) == "Locked"
    assert not target.opens(first, target.people[first])
    target.shop.save_held(second)  # loaded before the gate, saved behind it: the old hash must not come to life
    assert target.sql("SELECT last_name FROM auth_user WHERE id = %s", int(second)) == [("Stale",)]
    assert not target.opens(second, target.people[second])
    assert target.shop.delete(third) >= 1
    assert target.sql("SELECT count(*) FROM auth_user_tocsin_base WHERE id = %s", int(third)) == [(0,)]
    assert target.connector().changed_elsewhere(None).accounts == (admin,)
    del target.people[third]
    connector.abort()
    assert all_open(target)
    assert target.opens(admin, NEW)
    assert target.sql("SELECT count(*) FROM pg_class WHERE relname LIKE '%%tocsin%%'") == [(0,)]


def test_a_second_gate_ends_what_came_after_the_first(target: DjangoTarget) -> None:
    connector = gated(target)
    first, second, *_ = target.people
    connector.set_password(first, makers.make_in("pbkdf2_sha256", Private(NEW)), format="pbkdf2_sha256")
    link = target.shop.ask_reset(second)
    connector.gate(3, at=AT)
    assert not target.opens(first, NEW)
    assert not target.shop.use_link(link, NEW)
    assert none_opens(target)
    connector.set_password(first, makers.make_in("django_argon2", Private(NEWER)), format="django_argon2")
    assert target.opens(first, NEWER)


def test_rights_of_other_roles_are_kept(target: DjangoTarget) -> None:
    gated(target)
    with psycopg.connect(dsn(target.database, user="shop_report", password="shop_report")) as db:
        assert len(db.execute("SELECT id, username FROM auth_user").fetchall()) == PEOPLE
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute("SELECT password FROM auth_user")


def test_the_gate_waits_for_no_long_transaction_and_says_so(target: DjangoTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    connector = target.connector()
    connector.arm()
    monkeypatch.setattr("tocsin.credentials.adapters.postgres.LOCK_TRIES_MAX", 1)
    with psycopg.connect(dsn(target.database)) as db:
        db.execute("SELECT count(*) FROM auth_user")
        began = time.monotonic()
        with pytest.raises(Unavailable, match="no lock on auth_user"):
            connector.gate(2, at=AT)
        assert time.monotonic() - began < 5
        assert target.connector().status().state == "armed"
        assert all_open(target)
    assert connector.gate(2, at=AT).took_ms < 1000
    assert none_opens(target)


def test_what_stands_in_the_way_is_a_blocker(target: DjangoTarget) -> None:
    target.sql("CREATE VIEW peek AS SELECT id, password FROM auth_user")
    target.sql("REVOKE shop_app FROM gate_keeper")
    target.sql("GRANT SELECT ON auth_user TO gate_keeper")
    try:
        found = target.connector().probe().findings
        assert {f.text for f in found if f.level == "blocker"} == {
            "gate_keeper cannot rename auth_user",
            "the view peek shows password past the gate",
        }
        assert all(f.remedy for f in found)
        with pytest.raises(Refused, match="peek"):
            target.connector().arm()
    finally:
        target.sql("GRANT shop_app TO gate_keeper")
    assert all_open(target)


def test_a_database_that_takes_no_writes_is_named(target: DjangoTarget) -> None:
    target.set_database("SET default_transaction_read_only = on")
    found = target.connector().probe().findings
    assert [f.level for f in found] == ["blocker"]
    assert "read only" in found[0].text
    target.set_database("RESET default_transaction_read_only")
    target.connector().arm()
    target.set_database("SET default_transaction_read_only = on")
    with pytest.raises(Unavailable, match="read-only"):
        target.connector().gate(2, at=AT)
    target.set_database("RESET default_transaction_read_only")
    target.connector().gate(2, at=AT)
    assert none_opens(target)


def test_a_database_that_falls_silent_is_given_up(target: DjangoTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    target.connector().arm()
    monkeypatch.setattr("tocsin.credentials.adapters.postgres.CALL_S", 1)
    monkeypatch.setattr("tocsin.credentials.adapters.postgres.CONNECT_S", 2)
    target.proxy.stall()
    began = time.monotonic()
    with pytest.raises(Unavailable):
        target.connector().gate(2, at=AT)
    assert time.monotonic() - began < 10
    target.proxy.stop()
    target.proxy.start()
    assert target.connector().status().state == "armed"
    assert all_open(target)


def test_options_are_checked_all_at_once() -> None:
    with pytest.raises(BadInput) as e:
        make(ADAPTER, {"port": 0, "tabel": "x", "user": 7}, None)
    assert {f.field for f in e.value.faults} == {f"connectors.shop.{f}" for f in ("port", "tabel", "user", "database")}


def test_the_switch_does_not_grow_with_the_table(target: DjangoTarget) -> None:
    """200,000 rows: the switch is at least ten times as quick as one UPDATE of every row, on the same table."""
    target.sql("INSERT INTO auth_user (username, password, is_superuser, first_name, last_name, email, is_staff, is_active, date_joined)"
               " SELECT 'bulk' || n, 'pbkdf2_sha256$1000$salt$' || repeat('A', 43) || '=', false, '', '', '', false, true, now()"
               " FROM generate_series(1, 200000) n")  # fmt: skip
    connector = target.connector()
    connector.arm()
    took_ms = connector.gate(2, at=AT).took_ms
    assert none_opens(target)
    began = time.monotonic()
    target.sql("UPDATE auth_user_tocsin_base SET password = '!'")
    update_ms = (time.monotonic() - began) * 1000
    sys.stderr.write(f"\nswitch {took_ms:.1f} ms, UPDATE of 200,030 rows {update_ms:.0f} ms\n")
    assert took_ms < 1000
    assert took_ms * 10 < update_ms
