"""The gate's node and board: what may come from memory, and what the lease allows."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from django.db import connections

from tests.credentials.shop import AT, PEOPLE, cut, enrol, open_shop, signed
from tocsin.credentials import actions
from tocsin.credentials.gate import keys, node
from tocsin.credentials.gate.board import ACCOUNTS_MAX, EPOCHS_MAX, Board
from tocsin.credentials.gate.node import Gate
from tocsin.credentials.models import Account, CutoverAck, NodeLease
from tocsin.credentials.types import CommitReport, GateAnswer
from tocsin.kernel import config, sql
from tocsin.kernel.errors import BadInput, NotFound, Refused, Unavailable
from tocsin.subjects import queries as subjects

IDS = [p.external_id for p in PEOPLE]


class Time:
    """A clock that moves only when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def shop(estate: Path, transactional_db: None) -> Path:
    open_shop(enrol(estate))
    return estate


def counted(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return a list that grows with each question to the database."""
    asked: list[list[str]] = []
    rows = sql.rows

    def counting(room: str, name: str, **params: object) -> list[tuple[object, ...]]:
        if name == "gate_ask":
            asked.append(list(params["subjects"]))  # type: ignore[call-overload]
        return rows(room, name, **params)

    monkeypatch.setattr(sql, "rows", counting)
    return asked


def reasons(gate: Gate, *ids: str) -> list[str]:
    return [a.reason for a in gate.ask(ids or IDS)[0]]


def test_open_is_remembered_and_closed_is_asked_anew(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    time, asked = Time(), counted(monkeypatch)
    gate = Gate("n1", monotonic=time)
    gate.lease.renew()
    assert reasons(gate) == ["open"] * 7
    assert reasons(gate) == ["open"] * 7
    assert len(asked) == 1
    cut(shop)
    gate.lease.renew()
    assert reasons(gate) == ["reset_required"] * 7
    assert reasons(gate) == ["reset_required"] * 7
    assert len(asked) == 2  # refused from memory for half a second
    actions.lift([subjects.by_external_ids(["C1"])["C1"]], source="shop", at=AT)
    assert reasons(gate, "C1") == ["reset_required"]
    time.now += 0.51
    assert reasons(gate, "C1", "C2") == ["open", "reset_required"]
    before = len(asked)
    time.now += 0.51
    assert reasons(gate, "C1") == ["open"]
    assert len(asked) == before


def test_an_expired_lease_refuses_everybody_and_asks_nobody(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    time, asked = Time(), counted(monkeypatch)
    gate = Gate("n1", monotonic=time)
    with pytest.raises(Unavailable):  # before the first renewal
        gate.ask(IDS)
    gate.lease.renew()
    _, left_s = gate.ask(IDS)
    assert left_s == pytest.approx(1.9)
    time.now += 1.89
    assert gate.ask(IDS)[1] == pytest.approx(0.01)
    time.now += 0.02
    before = len(asked)
    with pytest.raises(Unavailable, match="lost touch"):
        gate.ask(IDS)
    with pytest.raises(Unavailable, match="lost touch"):
        gate.knows_key("x")
    assert len(asked) == before
    gate.lease.renew()
    assert reasons(gate) == ["open"] * 7


def test_a_lease_that_ends_while_the_database_answers_lets_nobody_in(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time()
    gate = Gate("n1", monotonic=time)
    gate.lease.renew()
    rows = sql.rows

    def slow(room: str, name: str, **params: object) -> list[tuple[object, ...]]:
        found = rows(room, name, **params)
        time.now += 5 if name == "gate_ask" else 0
        return found

    monkeypatch.setattr(sql, "rows", slow)
    with pytest.raises(Unavailable):
        gate.ask(["C1"])


def test_an_answer_made_before_the_board_was_replaced_is_not_given(shop: Path) -> None:
    """The reader stands between its memory and its answer while the cutover is committed, acknowledged and sealed."""
    gate = Gate("n1", monotonic=Time())
    gate.lease.renew()
    assert reasons(gate, "C1") == ["open"]
    remembered = gate._remembered

    def pause(board: Board, asked: object) -> dict[str, GateAnswer]:
        found = remembered(board, ["C1"])
        if board.version < 1:
            cut_beside(shop, gate)
            assert found["C1"].reason == "open"
        return found

    gate._remembered = pause  # type: ignore[method-assign,assignment]
    assert reasons(gate, "C1") == ["reset_required"]


def cut_beside(shop: Path, *gates: Gate) -> CommitReport:
    """Commit a cutover while the gates renew in a thread of their own, as they do when they are notified."""
    stop = threading.Event()

    def renew() -> None:
        while not stop.is_set():
            for gate in gates:
                gate.lease.renew()
            stop.wait(0.01)
        connections.close_all()

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        report = cut(shop)
    finally:
        stop.set()
        thread.join(10)
    assert isinstance(report, CommitReport)
    return report


def test_a_version_is_acknowledged_only_when_its_board_is_in_use(shop: Path) -> None:
    gate, other = Gate("n1"), Gate("n2")
    gate.lease.renew()
    other.lease.renew()
    seen: list[tuple[bool, int]] = []
    advance = gate.lease._advance

    def watched(version: int) -> None:
        seen.append((CutoverAck.objects.filter(node="n1").exists(), gate._board.version))
        advance(version)

    gate.lease._advance = watched
    report = cut_beside(shop, gate, other)
    assert [(n.node, n.acked) for n in report.nodes] == [("n1", True), ("n2", True)]
    assert seen == [(False, 0)]
    assert (gate._board.version, NodeLease.objects.get(node="n1").version) == (1, 1)
    assert sql.rows("credentials", "gate_ack", node="n1", seen=0) == [(1,)]  # an old board acknowledges nothing
    assert reasons(gate) == reasons(other) == ["reset_required"] * 7


def test_a_question_that_finds_newer_epochs_closes_the_board_at_once(shop: Path) -> None:
    gate = Gate("n1", monotonic=Time())
    gate.lease.renew()
    assert reasons(gate, "C1") == ["open"]
    cut(shop)  # nobody renews: by the clock of the gate its lease stands
    assert reasons(gate, "C1") == ["open"]  # which is why the seal has waited for the lease to run out
    assert reasons(gate, "C2") == ["reset_required"]
    assert reasons(gate, "C1") == ["reset_required"]


def test_the_board_is_loaded_and_a_cutover_empties_it(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = counted(monkeypatch)
    gate = Gate("n1", monotonic=Time())
    gate.lease.renew()
    gate.load()
    assert gate.loaded.is_set()
    accounts = list(Account.objects.order_by("pk").values_list("pk", flat=True))
    assert [gate._board.epoch(a) for a in accounts] == [1] * 7
    assert asked == []
    info = actions.arm(incident=1, at=AT, by="ada")
    cut(shop, armed=info)
    gate.lease.renew()
    assert not gate.loaded.is_set()
    assert [gate._board.epoch(a) for a in accounts] == [0] * 7
    actions.lift([subjects.by_external_ids(["C1"])["C1"]], source="shop", at=AT)
    gate.load()
    assert [gate._board.epoch(a) for a in accounts] == [2, 0, 0, 0, 0, 0, 0]
    approval = signed(shop, lambda: actions.abort(info.id, at=AT, by="ada"))
    actions.abort(info.id, approval=approval, at=AT, by="ada")
    gate.load()  # of a version that the node has not heard of: dropped
    assert [gate._board.epoch(a) for a in accounts] == [2, 0, 0, 0, 0, 0, 0]
    gate.lease.renew()
    gate.load()
    assert [gate._board.epoch(a) for a in accounts] == [1] * 7
    assert reasons(gate) == ["open"] * 7


def test_a_board_comes_in_batches(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = list(Account.objects.order_by("pk").values_list("pk", flat=True))
    for size in (1, 20, 41, 44, 63, 64, 100, 173, 10_000):  # rows of 22 bytes behind a head of 19, before a tail of 2
        monkeypatch.setattr(node, "LOAD_BYTES", size)
        gate = Gate("n1", monotonic=Time())
        gate.lease.renew()
        gate.load()
        assert [gate._board.epoch(a) for a in accounts] == [1] * 7, size
    gate = Gate("n1", monotonic=Time())
    gate.lease.renew()
    monkeypatch.setattr(node, "LOAD_BYTES", 44)
    board, adopt = gate._board, gate._board.adopt

    def replaced(found: np.ndarray, epochs: np.ndarray) -> None:
        adopt(found, epochs)
        gate._advance(7)

    monkeypatch.setattr(board, "adopt", replaced)
    gate.load()
    assert not gate.loaded.is_set()
    assert sum(bool(board.epoch(a)) for a in accounts) < 7
    assert [gate._board.epoch(a) for a in accounts] == [0] * 7


def test_threads_start_and_stop(shop: Path) -> None:
    gate = Gate("n9")
    gate.start()
    try:
        assert gate.loaded.wait(10)
        assert reasons(gate) == ["open"] * 7
        report = cut(shop)
        assert isinstance(report, CommitReport)
        assert [(n.node, n.acked) for n in report.nodes] == [("n9", True)]
        assert reasons(gate) == ["reset_required"] * 7
    finally:
        gate.stop()
    assert not NodeLease.objects.filter(node="n9").exists()


def test_a_board_takes_any_number() -> None:
    board = Board(1)
    assert [board.epoch(n) for n in (0, 7, 10**12)] == [0, 0, 0]
    board.open(7, epoch=3)
    board.open(ACCOUNTS_MAX, epoch=3)
    assert [board.epoch(n) for n in (6, 7, 8, ACCOUNTS_MAX)] == [0, 3, 0, 0]
    board.adopt(np.array([1, 100_000, ACCOUNTS_MAX + 5], dtype=np.int64), np.array([3, 9, 9], dtype=np.int32))
    assert [board.epoch(n) for n in (1, 7, 99_999, 100_000)] == [3, 3, 0, 9]
    board.adopt(np.array([], dtype=np.int64), np.array([], dtype=np.int32))
    for epoch in range(10, 10 + EPOCHS_MAX):
        board.open(50, epoch=epoch)
    assert board.epoch(50) == 10 + EPOCHS_MAX - 3  # the last one that had a place: others are asked for each time
    assert board.epoch(100_000) == 9


def test_subjects_are_checked(shop: Path) -> None:
    gate = Gate("n1")
    gate.lease.renew()
    for wrong in ([], ["x"] * 1001, [""], ["a\0"], ["x" * 257], ["é" * 129], ["\ud800"]):
        with pytest.raises(BadInput):
            gate.ask(wrong)
    with pytest.raises(BadInput) as e:
        gate.ask(["", "good", "\0"])
    assert [f.field for f in e.value.faults] == ["subjects[0]", "subjects[2]"]


def test_keys_have_names_once(shop: Path) -> None:
    key = actions.create_api_key("front", at=AT, by="ada").reveal()
    assert keys.among(key, [b"\0" * 32, keys.digest(key)])
    assert not keys.among(key, [])
    assert not keys.among(key + " ", [keys.digest(key)])
    with pytest.raises(Refused, match="front"):
        actions.create_api_key("front", at=AT, by="ada")
    actions.revoke_api_key("front", at=AT, by="ada")
    with pytest.raises(NotFound):
        actions.revoke_api_key("front", at=AT, by="ada")
    with pytest.raises(Refused):
        actions.create_api_key("front", at=AT, by="ada")
    for wrong in ("", "A", "a b", "x" * 64, "-x"):
        with pytest.raises(BadInput):
            actions.create_api_key(wrong, at=AT, by="ada")


def test_the_configuration_of_the_gate_is_checked(tmp_path: Path) -> None:
    def parse(text: str) -> config.Config:
        return config.parse(text, home=tmp_path, database_url="", process="api")

    with pytest.raises(BadInput) as e:
        parse('[gate]\nunknown = "maybe"\nsubject_header = "a:b"\nrate_per_s = 0\n')
    assert [f.field for f in e.value.faults] == ["gate.unknown", "gate.subject_header", "gate.rate_per_s"]
    good = parse('[gate]\nunknown = "allow"\n')
    assert (good.gate.unknown, good.gate.subject_header, good.web.api_port) == ("allow", "X-Tocsin-Subject", 8002)
