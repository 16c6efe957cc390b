"""`postgres`: the generic mapping of a table, on a real PostgreSQL with an application that keeps prepared statements."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tocsin.credentials.passwords import makers
from tocsin.kernel.errors import BadInput
from tocsin.kernel.private import Private

from .connector_suite import *  # noqa: F403  the suite's tests run on this module's target
from .connector_suite import NEW, PEOPLE, gated
from .postgres_table import TableTarget


@pytest.fixture
def target() -> Iterator[TableTarget]:
    made = TableTarget({f"K{n:03}": f"old secret {n}" for n in range(PEOPLE)})
    yield made
    made.close()


def test_a_mapping_is_checked_all_at_once(target: TableTarget) -> None:
    target.app.execute("ALTER TABLE customers ADD COLUMN shop int")
    with pytest.raises(BadInput) as e:
        target.connector(login="email", hash="visits", changed_at="seen_at", key="mail", formats=["md5"], canary={"nickname": "x"}).probe()
    assert {f.field.removeprefix("connectors.shop.") for f in e.value.faults} >= {
        "login",
        "hash",
        "changed_at",
        "key",
        "formats",
        "canary.nickname",
    }
    with pytest.raises(BadInput, match=r"shop\.table"):
        target.connector(table="people").probe()


def test_every_kind_of_write_goes_through_the_gate(target: TableTarget) -> None:
    connector = gated(target)
    first, second, third, *_ = target.people
    made = target.app.execute(
        "INSERT INTO customers (no, mail, word) VALUES ('K900', 'K900@mail.example', 'x') RETURNING no, visits, mail_upper"
    ).fetchone()
    assert made == ("K900", 0, "K900@MAIL.EXAMPLE")  # the table's default and its computed column
    target.change("K900", NEW)
    assert target.opens("K900", NEW)
    with target.app.transaction():
        assert target.app.execute("SELECT no FROM customers WHERE no = %s FOR UPDATE", [first]).fetchone() == (first,)
        changed = target.app.execute("UPDATE customers SET about = '{\"a\": 1}' WHERE no = %s RETURNING about", [first]).fetchone()
    assert changed == ({"a": 1},)
    assert not target.opens(first, target.people[first])
    assert target.app.execute("DELETE FROM customers WHERE no = %s", [third]).rowcount == 1
    assert target.app.execute("DELETE FROM customers WHERE no = 'nobody'").rowcount == 0
    connector.set_password(second, makers.make_in("bcrypt", Private(NEW)), format="bcrypt")
    stamped = target.app.execute("SELECT word_at IS NOT NULL, word LIKE '$2b$10$%%' FROM customers WHERE no = %s", [second]).fetchone()
    assert stamped == (True, True)
    assert connector.changed_elsewhere(None).accounts == ("K900",)
