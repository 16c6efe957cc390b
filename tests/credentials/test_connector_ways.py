"""What a connector does between arming and the cutover, what is left of it after, and what the machinery refuses meanwhile."""

from __future__ import annotations

from pathlib import Path

from tests.credentials.shop import AT, GOOD, cut, signed
from tests.credentials.test_connectors import LATER, NEWER, armed, gate_open, redeem, target, work  # noqa: F401 - target is a fixture
from tests.ports.postgres_table import TableTarget
from tocsin.credentials import actions
from tocsin.credentials.models import Outbox
from tocsin.subjects import queries as subjects


def c1() -> int:
    return subjects.by_external_ids(["C1"])["C1"]


def test_a_password_set_between_arming_and_the_cutover_arrives_and_shuts_nobody_out(target: TableTarget, estate: Path) -> None:  # noqa: F811
    armed(estate)
    redeem("C1", GOOD)
    assert gate_open(c1()) is True  # nothing has ended: the shop's old password is as good as ever
    assert target.opens("C1", target.people["C1"])
    assert "deliver_password" in work("deliver_password")
    assert Outbox.objects.get().state == "done"
    assert gate_open(c1()) is True
    assert target.opens("C1", GOOD)
    assert not target.opens("C1", target.people["C1"])
    redeem("C1", NEWER, token="U" * 43)
    target.stop()
    cut(estate)
    target.start()
    work("gate_target")
    assert gate_open(c1()) is False
    assert not actions.deliver(Outbox.objects.latest("pk").pk, at=LATER)  # the cutover has ended it on its way
    assert not target.opens("C1", GOOD)
    assert not target.opens("C1", NEWER)
    redeem("C1", "pebble saddle thunder Monday", token="V" * 43)
    assert gate_open(c1()) is False
    work("deliver_password")
    assert gate_open(c1()) is True
    assert target.opens("C1", "pebble saddle thunder Monday")


def test_an_aborted_connector_leaves_nobody_shut_out(target: TableTarget, estate: Path) -> None:  # noqa: F811
    armed(estate)
    cut(estate)
    redeem("C1", GOOD)
    target.app.execute("DELETE FROM customers WHERE no = 'C1'")
    assert not actions.deliver(Outbox.objects.get().pk, at=LATER)
    assert (Outbox.objects.get().state, gate_open(c1())) == ("failed", False)
    approval = signed(estate, lambda: actions.abort_connector("shop", approval=None, at=LATER, by="ada"))
    actions.abort_connector("shop", approval=approval, at=LATER, by="ada")
    assert Outbox.objects.get().state == "replaced"
    assert gate_open(c1()) is True
