"""What a connector does between arming and the cutover, what is left of it after, and what the machinery refuses meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest
from django.db import connection

from tests.conftest import forget
from tests.credentials.shop import AT, GOOD, PEOPLE, cut, signed
from tests.credentials.test_connectors import LATER, NEWER, armed, configure, gate_open, redeem, table, target, work  # noqa: F401 - a fixture
from tests.ports.postgres_table import TableTarget, dsn
from tocsin.credentials import actions
from tocsin.credentials.adapters.postgres import PostgresTable
from tocsin.credentials.connectors import targets
from tocsin.credentials.models import ConnectorSecret, Outbox
from tocsin.credentials.port import Changed, Drained, Gated, Presented, Probe, State, TargetCanary, TargetStatus
from tocsin.credentials.room.models import RoomLimit
from tocsin.credentials.types import CommitReport, NodeSeal, TargetGate
from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel import config, sql
from tocsin.kernel.errors import Refused
from tocsin.kernel.private import Private
from tocsin.subjects import queries as subjects
from tocsin.web.console.cutover import _committed


class SlowPool:
    """A pool of accounts in this process that takes 25 passwords a second."""

    kind, formats = "pool", ("plain",)

    def __init__(self, name: str, options: Mapping[str, Any], secret: Private[str] | None) -> None:
        self.name, self.state = name, "open"

    def reach(self) -> Literal["loopback", "world"]:
        return "loopback"

    def probe(self) -> Probe:
        return Probe(self.kind, 0, ("password",), self.formats, 25.0, None)

    def arm(self) -> None:
        return

    def gate(self, epoch: int, *, at: datetime) -> Gated:
        return Gated(0.1)

    def plant(self, n: int) -> Sequence[TargetCanary]:
        return [TargetCanary(f"c{i}", f"c{i}", {"password": Private("word")}) for i in range(n)]

    def present(self, canary: TargetCanary) -> Sequence[Presented]:
        return [Presented(canary.account, "password", True)]

    def uproot(self, canary: TargetCanary) -> None:
        return

    def drain(self, cursor: str | None, *, limit: int) -> Drained:
        return Drained(0)

    def abort(self) -> None:
        return

    def status(self) -> TargetStatus:
        state: State = "armed"
        return TargetStatus(state)

    def set_password(self, account: str, secret: Private[str], *, format: str) -> None:
        return

    def write_rate_limit(self) -> float | None:
        return 25.0

    def changed_elsewhere(self, since: str | None) -> Changed:
        return Changed((), since or "")


class NoFormats(SlowPool):
    """A pool that checks passwords and takes none."""

    formats = ()


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


class Straddled(PostgresTable):
    """A real table; what a test puts into `meanwhile` happens while a password is on its way there."""

    meanwhile: list[Callable[[], object]] = []

    def set_password(self, account: str, secret: Private[str], *, format: str) -> None:
        while self.meanwhile:
            self.meanwhile.pop()()
        super().set_password(account, secret, format=format)


def test_a_password_that_a_cutover_overtakes_on_its_way_opens_nothing(target: TableTarget, estate: Path) -> None:  # noqa: F811
    configure(estate, table(target).replace("tocsin.credentials.adapters.postgres.PostgresTable", f"{__name__}.Straddled"))
    armed(estate)
    cut(estate)
    redeem("C1", GOOD)
    Straddled.meanwhile.append(lambda: cut(estate, incident=2))
    assert not actions.deliver(Outbox.objects.get().pk, at=LATER)
    assert Outbox.objects.get().state == "replaced"
    assert gate_open(c1()) is False
    assert not target.opens("C1", GOOD)
    # The same where the process died between the target's answer and our note of it.
    redeem("C1", NEWER, token="U" * 43)
    late = Outbox.objects.latest("pk")
    Straddled.meanwhile += [lambda: cut(estate, incident=3)]
    made = Straddled("shop", dict(config.current().connectors["shop"].options), Private(target.secret))
    made.set_password("C1", targets.in_format(late.format, Private(NEWER)), format=late.format)
    Outbox.objects.filter(pk=late.pk).update(tries=1)
    assert target.opens("C1", NEWER)
    assert not actions.deliver(late.pk, at=LATER)
    assert Outbox.objects.get(pk=late.pk).state == "replaced"
    assert not target.opens("C1", NEWER)


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


def test_the_waiting_room_lets_in_no_more_than_the_slowest_armed_system_takes(target: TableTarget, estate: Path) -> None:  # noqa: F811
    configure(estate, f"[connectors.pool]\nadapter = '{__name__}.SlowPool'\n", table(target))
    actions.probe_connector("pool", at=AT, by="ada")
    assert not RoomLimit.objects.exists()  # looked at only: nothing is written there
    armed(estate, "pool")
    armed(estate)
    assert [(x.population, x.per_s) for x in RoomLimit.objects.all()] == [("customers", 25.0)]
    RoomLimit.objects.all().delete()
    actions.mind(at=LATER)
    assert RoomLimit.objects.get().per_s == 25.0
    entries = evidence.counts()[EventType.ROOM_RATE_SET]
    actions.mind(at=LATER)
    assert evidence.counts()[EventType.ROOM_RATE_SET] == entries
    actions.abort_connector("pool", approval=None, at=LATER, by="ada")
    assert not RoomLimit.objects.exists()


def test_nobody_alone_changes_the_secret_of_an_active_connector(target: TableTarget, estate: Path) -> None:  # noqa: F811
    armed(estate)
    before = ConnectorSecret.objects.values().get(name="shop")
    with pytest.raises(Refused, match="in use by shop, which is active"):
        actions.set_secret("shop", Private("another"), at=AT, by="ada")
    assert ConnectorSecret.objects.values().get(name="shop") == before
    actions.abort_connector("shop", approval=None, at=AT, by="ada")
    actions.set_secret("shop", Private("another"), at=AT, by="ada")


def test_a_system_whose_new_passwords_nobody_can_try_is_named(target: TableTarget, estate: Path) -> None:  # noqa: F811
    configure(estate, f"[connectors.pool]\nadapter = '{__name__}.NoFormats'\n", table(target))
    found = actions.probe_connector("pool", at=AT, by="ada").findings
    assert [(f["level"], f["text"][:40]) for f in found] == [("warning", "the connector can write no password here")]
    assert not [f for f in actions.probe_connector("shop", at=AT, by="ada").findings if "can write no password" in f["text"]]


def test_a_configured_system_that_nobody_armed_stops_the_commit(target: TableTarget, estate: Path) -> None:  # noqa: F811
    info = actions.arm(incident=1, at=AT, by="ada")
    assert info.not_armed == ("shop",)
    with pytest.raises(Refused, match="tocsin connector arm shop"):
        actions.commit(info.id, approval=None, at=AT, by="ada")
    report = cut(estate, armed=info, override="the shop's own log-in is switched off")
    assert isinstance(report, CommitReport)
    assert [(c.name, c.gated, c.problem) for c in report.connectors] == [("shop", False, "not armed: nothing has ended there")]
    words, good = _committed(report)
    assert not good
    assert "the gate of shop has not fallen: not armed" in words


def test_a_slow_system_holds_up_no_seal_and_both_times_are_told(target: TableTarget, estate: Path) -> None:  # noqa: F811
    armed(estate)
    info = actions.arm(incident=1, at=AT, by="ada")
    seen: list[str] = []
    holder = psycopg.connect(dsn(target.database, user="table_app", password="app"))
    holder.execute("LOCK TABLE customers IN ACCESS SHARE MODE")

    def release() -> None:
        with psycopg.connect(dsn(str(connection.settings_dict["NAME"])), autocommit=True) as db:
            until = time.monotonic() + 60
            while not db.execute("SELECT 1 FROM credentials_cutover WHERE state <> 'armed'").fetchone() and time.monotonic() < until:
                time.sleep(0.02)
            time.sleep(1.0)
            seen.extend(state for (state,) in db.execute("SELECT state FROM credentials_cutover"))
        holder.rollback()

    beside = threading.Thread(target=release)
    beside.start()
    try:
        report = cut(estate, armed=info)
    finally:
        beside.join()
        holder.close()
    assert isinstance(report, CommitReport)
    assert seen == ["sealed"]
    assert report.sealed_ms < 1000 <= report.gates_ms
    assert [(c.name, c.gated, c.problem) for c in report.connectors] == [("shop", True, "")]
    assert _committed(report) == ("Committed: every older credential is dead.", True)


def test_the_console_says_what_a_commit_has_not_ended() -> None:
    nodes = (NodeSeal("a", True, 1.0), NodeSeal("b", False, None))
    gates = (TargetGate("one", False, 0.0, "left to the worker"), TargetGate("two", True, 3.0, "c1: password still opens the door"))
    words, good = _committed(CommitReport(1, 2, 1.0, 2.0, nodes, gates, 3.0))
    assert not good
    assert "every older credential is dead on our own site" in words
    for part in ("one has not fallen: left to the worker", "canaries of two are red: c1", "b did not answer; its lease has run out"):
        assert part in words


def test_without_a_connector_to_tell_a_reset_opens_the_gate_only_where_the_company_says_so(target: TableTarget, estate: Path) -> None:  # noqa: F811
    def answers() -> tuple[bool, int]:
        waits = config.current().gate_waits
        ((_, _, is_open, *_),) = sql.rows("credentials", "gate_ask", subjects=["C1"], waits=waits)
        with (
            connection.cursor() as cursor,
            cursor.copy(sql.text("credentials", "gate_delivered" if waits else "gate_open").replace("binary", "text")) as copy,
        ):
            return bool(is_open), len(list(copy.rows()))

    assert config.current().gate_waits
    assert answers() == (True, len(PEOPLE))
    cut(estate, override="nobody has armed it")
    redeem("C1", GOOD)
    assert Outbox.objects.count() == 0
    assert answers() == (False, 0)  # the shop's table holds the old password, and nothing says otherwise
    configure(estate)
    assert not config.current().gate_waits
    assert answers() == (True, 1)  # the password is checked here: a reset is all there is
    with (estate / "tocsin.toml").open("a") as f:
        f.write('[gate]\nopens = "delivery"\n')
    forget()
    assert answers() == (False, 0)
    assert actions.lift([c1()], source="shop", at=LATER) == 1
    assert answers() == (True, 1)
