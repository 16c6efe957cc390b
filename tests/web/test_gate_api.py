"""The gate over HTTP, in its real process and under its own database role."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection, connections

from tests.credentials.shop import AT, GOOD, PEOPLE, cut, enrol, open_shop
from tests.roles import dsn_of
from tests.web.conftest import deliver
from tests.web.gate_process import Process, free_port, running
from tocsin.credentials import actions, queries
from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel import clock
from tocsin.kernel.private import Private
from tocsin.subjects import queries as subjects

FIRST, SECOND = PEOPLE[0], PEOPLE[1]
TOKEN = "T" * 43


@pytest.fixture
def shop(estate: Path, transactional_db: None) -> Path:
    open_shop(enrol(estate))
    return estate


@pytest.fixture
def gate(shop: Path) -> Iterator[Process]:
    with running(shop) as process:
        yield process


def lift(external_id: str) -> None:
    actions.lift([subjects.by_external_ids([external_id])[external_id]], source="shop", at=AT)


def test_open_then_closed_by_the_cutover_then_open_for_whoever_has_a_new_password(shop: Path, gate: Process) -> None:
    status, headers, answer = gate.of(FIRST.external_id)
    assert (status, answer["allow"], answer["reason"], answer["epoch"]) == (200, True, "open", 1)
    assert 0 < answer["lease_ms"] <= 1900
    assert answer["reset_url"] == "http://127.0.0.1:8001/passwordchange"
    assert (headers["x-tocsin-reason"], headers["cache-control"]) == ("open", "no-store")
    report = cut(shop)
    assert [n.node.partition(":")[0] for n in report.nodes if n.acked] == ["gate"]  # type: ignore[attr-defined]
    for person in PEOPLE:  # the first question after the seal, from memory or not
        status, headers, answer = gate.of(person.external_id)
        assert (status, answer["allow"], answer["reason"], answer["epoch"]) == (403, False, "reset_required", 2)
        assert headers["x-tocsin-reset-url"].endswith("/passwordchange")

    actions.request_reset(FIRST.email, at=clock.now())
    assert deliver(TOKEN)
    actions.redeem(TOKEN, Private(GOOD), at=clock.now())
    assert gate.until(FIRST.external_id, 200, limit_s=1.0) < 1.0
    lift(SECOND.external_id)  # as a connector does that saw a new password in the shop's own pages
    assert gate.until(SECOND.external_id, 200, limit_s=1.0) < 1.0
    assert gate.of(FIRST.external_id)[2]["epoch"] == 2
    assert gate.of(PEOPLE[2].external_id)[0] == 403


def test_without_its_database_the_gate_lets_nobody_in(shop: Path) -> None:
    """The gate reaches PostgreSQL through a door of ours that we shut: to the gate the database is gone, as after a network cut."""
    parts = connection.get_connection_params()
    door = Door((str(parts["host"]), int(parts["port"])))
    dsn = dsn_of("api").replace(f":{parts['port']}/", f":{door.port}/")
    with running(shop, dsn=dsn) as gate:
        assert gate.of(FIRST.external_id)[0] == 200
        door.shut()
        begun = time.monotonic()
        seen = set()
        while time.monotonic() - begun < 4.0:
            status, headers, answer = gate.of(FIRST.external_id)
            seen.add(status)
            if status == 503:
                break
            assert status == 200  # from memory, while the lease stands
            time.sleep(0.02)
        assert time.monotonic() - begun < 2.1
        assert (seen, answer, headers["retry-after"]) == ({200, 503}, {"error": "unavailable", "allow": False}, "1")
        cut(shop)  # sealed without this node: its lease had run out
        assert gate.ask("/gate/v1/batch", method="POST", body=b'{"subjects": ["C1"]}')[0] == 503
        door.open()
        assert gate.until(FIRST.external_id, 403, limit_s=5.0) < 5.0
        assert "Traceback" not in gate.log.read_text()
    door.shut()


class Door:
    """A TCP relay on loopback that can be shut: open connections break and new ones are refused."""

    def __init__(self, to: tuple[str, int]) -> None:
        self.to, self.port = to, free_port()
        self._pairs: list[socket.socket] = []
        self.open()

    def open(self) -> None:
        self._server = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def shut(self) -> None:
        for s in (self._server, *self._pairs):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
            finally:
                s.close()
        self._pairs.clear()

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                near, _ = server.accept()
            except OSError:
                return
            far = socket.create_connection(self.to)
            self._pairs += [near, far]
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(a, b), daemon=True).start()

    def _pump(self, a: socket.socket, b: socket.socket) -> None:
        try:
            while data := a.recv(65536):
                b.sendall(data)
        except OSError:
            return


def test_a_stopped_node_is_waited_for_and_then_refuses(shop: Path, gate: Process) -> None:
    """A node that stands still acknowledges nothing; the cutover is sealed when its lease has run out, and it wakes up closed."""
    assert gate.of(FIRST.external_id)[0] == 200
    workers = [gate.proc.pid, *_children(gate.proc.pid)]
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        report = cut(shop)
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
    assert [n.acked for n in report.nodes] == [False]  # type: ignore[attr-defined]
    assert report.sealed_ms > 1000  # type: ignore[attr-defined]
    assert gate.of(FIRST.external_id)[0] in {403, 503}
    assert gate.until(FIRST.external_id, 403, limit_s=5.0) < 5.0


def _children(pid: int) -> list[int]:
    return [int(p) for task in Path(f"/proc/{pid}/task").iterdir() for p in (task / "children").read_text().split()]


def test_a_cutover_under_load_on_two_nodes_lets_nobody_in_after_the_seal(shop: Path) -> None:
    """Questions run on two nodes while the cutover falls: none that begins after `commit` returned is allowed, on neither."""
    dsn = dsn_of("api")
    with running(shop, dsn=dsn) as one, running(shop, dsn=dsn, key=None) as two:
        results: list[tuple[float, int]] = []
        stop = threading.Event()

        def hammer(node: Process, offset: int) -> None:
            mine = Process(node.port, node.key, node.proc, node.log)
            found, n = [], offset
            while not stop.is_set():
                n += 1
                begun = time.monotonic()
                found.append((begun, mine.of(PEOPLE[n % len(PEOPLE)].external_id)[0]))
            results.extend(found)

        threads = [threading.Thread(target=hammer, args=(node, i)) for i, node in enumerate((one, one, one, two, two, two))]
        begun = time.monotonic()
        for t in threads:
            t.start()
        while time.monotonic() - begun < 1.0:
            time.sleep(0.01)
        report = cut(shop)
        sealed = time.monotonic()
        while time.monotonic() - sealed < 1.0:
            time.sleep(0.01)
        stop.set()
        for t in threads:
            t.join(10)
        rate = len(results) / (max(at for at, _ in results) - min(at for at, _ in results))
        late = [r for r in results if r[0] > sealed]
        assert rate > 1000, rate
        assert len(late) > 300
        assert {status for _, status in late} == {403}
        assert {status for at, status in results if at < sealed} == {200, 403}
        assert [n.acked for n in report.nodes] == [True, True]  # type: ignore[attr-defined]


def test_unknown_subjects_are_refused_or_allowed_as_configured(shop: Path, gate: Process) -> None:
    status, _, answer = gate.of("nobody at all")
    assert (status, answer["allow"], answer["reason"], answer["epoch"]) == (403, False, "unknown", 0)
    with (shop / "tocsin.toml").open("a") as f:
        f.write('[gate]\nunknown = "allow"\nsubject_header = "X-Customer"\nrate_per_s = 50\n')
    with running(shop) as other:
        status, _, answer = other.of("nobody at all")
        assert (status, answer["allow"], answer["reason"]) == (200, True, "unknown")
        assert other.ask("/gate/v1/", X_Customer="C1")[2]["subject"] == "C1"
        cut(shop)
        assert other.of(FIRST.external_id)[0] == 403
        found = [other.of("C1") for _ in range(130)]
        assert found[-1][0] == 429
        assert found[-1][1]["retry-after"] == "1"


def test_keys(shop: Path, gate: Process) -> None:
    for wrong in ("", "x", gate.key[:-1], gate.key + "x", "tocsin_gate_" + "A" * 43, "x" * 5000):
        status, headers, answer = gate.of(FIRST.external_id, key=wrong)
        assert (status, answer) == (401, {"error": "key_unknown"})
        assert headers["www-authenticate"].startswith("Bearer")
    assert gate.ask("/gate/v1/C1", key="", Authorization=f"Basic {gate.key}")[0] == 401
    key = actions.create_api_key("shop-front", at=AT, by="ada").reveal()
    begun = time.monotonic()
    while gate.of("C1", key=key)[0] != 200:
        assert time.monotonic() - begun < 1.5
        time.sleep(0.02)
    actions.revoke_api_key("shop-front", at=AT, by="ada")
    begun = time.monotonic()
    while gate.of("C1", key=key)[0] != 401:
        assert time.monotonic() - begun < 1.5
        time.sleep(0.02)
    assert gate.of("C1")[0] == 200
    info = next(k for k in queries.api_keys() if k.name == "shop-front")
    assert (info.role, info.created_by, info.revoked_at) == ("gate", "ada", AT)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM credentials_apikey WHERE position(%s in encode(key_sha256, 'escape')) > 0", [key])
        assert cursor.fetchone() == (0,)
    acts = evidence.activity(types=[EventType.API_KEY_CREATED, EventType.API_KEY_REVOKED])
    assert [(a.actor, a.body) for a in acts[-2:]] == [("ada", {"name": "shop-front", "role": "gate"})] * 2
    assert key not in gate.log.read_text()


def test_the_subject_in_a_header(gate: Process) -> None:
    assert gate.ask("/gate/v1/", X_Tocsin_Subject="C1")[2]["subject"] == "C1"
    assert gate.ask("/gate/v1/", X_Tocsin_Subject="nobody")[0] == 403
    assert gate.ask("/gate/v1/")[0] == 400
    for method in ("GET", "POST", "DELETE"):
        for path in ("/gate/authz", "/gate/authz/", "/gate/authz/account/orders?x=1"):
            assert gate.ask(path, method=method, X_Tocsin_Subject="C1")[0] == 200, (method, path)
    assert gate.ask("/gate/authz/C1")[0] == 400  # the path is not the subject here
    assert gate.ask("/gate/authzx", X_Tocsin_Subject="C1")[0] == 404
    status, headers, body = gate.ask("/gate/v1/C1", method="HEAD")
    assert (status, body, headers["x-tocsin-reason"]) == (200, None, "open")
    status, headers, _ = gate.ask("/gate/v1/C1", method="POST", body=b"")
    assert (status, headers["allow"]) == (405, "GET, HEAD")
    assert gate.ask("/")[0] == gate.ask("/gate/v2/C1")[0] == gate.ask("/gate/v1")[0] == 404


def test_subjects_that_cannot_be_any_are_answered_so(gate: Process) -> None:
    nul, half, long = ("%00", "C1%00"), ("%FF", "%C3", "%ED%A0%80"), ("x" * 257, "%C3%A9" * 129, "a" * 10_000)
    for path in (*nul, *half, *long):
        status, _, answer = gate.ask(f"/gate/v1/{path}")
        assert status == 400, path
        assert "allow" not in answer
    assert gate.ask("/gate/v1/", X_Tocsin_Subject="x" * 257)[0] == 400
    assert gate.of("C1")[0] == 200


def test_odd_subjects_that_can_be(gate: Process) -> None:
    for subject in ("a/b", "../C1", "batch", "C1?x=1", "C1#", "é", "ш" * 128, "'; DROP TABLE x; --", "%s", "{}", "C1 ", "c1", "\u202eC1"):
        status, _, answer = gate.of(subject)
        assert (status, answer["subject"], answer["reason"]) == (403, subject, "unknown"), subject


def test_batches(shop: Path, gate: Process) -> None:
    def many(document: object) -> tuple[int, dict[str, str], dict[str, object]]:
        raw = document if isinstance(document, bytes) else json.dumps(document).encode()
        return gate.ask("/gate/v1/batch", method="POST", body=raw)

    status, _, answer = many({"subjects": ["C1", "nobody", "C2", "C1"]})
    assert status == 200
    assert [(a["subject"], a["allow"], a["reason"]) for a in answer["answers"]] == [  # type: ignore[attr-defined]
        ("C1", True, "open"), ("nobody", False, "unknown"), ("C2", True, "open"), ("C1", True, "open"),
    ]  # fmt: skip
    cut(shop)
    answers = many({"subjects": [p.external_id for p in PEOPLE]})[2]["answers"]
    assert {(a["allow"], a["reason"]) for a in answers} == {(False, "reset_required")}  # type: ignore[attr-defined]
    assert len(many({"subjects": [f"N{n}" for n in range(1000)]})[2]["answers"]) == 1000  # type: ignore[arg-type]
    for wrong in ({"subjects": [f"N{n}" for n in range(1001)]}, {"subjects": []}, {"subjects": ["C1", ""]}, {"subjects": ["a\0b"]},
                  {"subjects": ["x" * 10_000]}, {"subjects": "C1"}, {"subjects": [1]}, {}, [], b"", b"{", b"\xff", b"[" * 100_000,
                  b'{"subjects": ["\\ud800"]}'):  # fmt: skip
        status, _, refused = many(wrong)
        assert status == 400, wrong
        assert "answers" not in refused
    assert many({"subjects": ["a\0b", "ok", "x" * 300]})[2]["faults"][1]["field"] == "subjects[2]"  # type: ignore[index]
    assert gate.ask("/gate/v1/batch", method="POST", body=b" " * 1_000_001)[0] == 413
    assert gate.of("C1")[0] == 403


def test_the_role_of_the_process_reads_no_table(shop: Path) -> None:
    dsn_of("api")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, p FROM pg_class c, unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE}'::text[]) p "
            "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v') AND has_table_privilege('tocsin_api', c.oid, p)"
        )
        # It puts in what a relay tells, and sees only whether it has it already (two columns, no table).
        assert sorted(cursor.fetchall()) == [("credentials_gate_open", "SELECT"), ("mail_inbound", "INSERT")]
        cursor.execute(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef "
            "AND has_function_privilege('tocsin_api', oid, 'EXECUTE') ORDER BY 1"
        )
        assert [n for (n,) in cursor.fetchall()] == [
            "credentials_gate_ack", "credentials_gate_ask", "credentials_gate_keys", "credentials_leave", "credentials_renew_lease",
        ]  # fmt: skip
        cursor.execute(
            "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
            "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v') AND has_column_privilege('tocsin_api', c.oid, a.attnum, 'SELECT') "
            "ORDER BY 1, 2"
        )
        assert cursor.fetchall() == [
            ("credentials_gate_open", "account_id"), ("credentials_gate_open", "delivered"), ("credentials_gate_open", "session_epoch"),
            ("credentials_population", "id"), ("credentials_population", "version"), ("mail_inbound", "digest"), ("mail_inbound", "id"),
        ]  # fmt: skip
    connections.close_all()


def test_a_client_that_hangs_up_harms_nobody(gate: Process) -> None:
    for _ in range(20):
        raw = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=5)
        raw.putrequest("POST", "/gate/v1/batch")
        raw.putheader("Authorization", f"Bearer {gate.key}")
        raw.putheader("Content-Length", "500000")
        raw.endheaders()
        raw.send(b'{"subjects": [')
        raw.close()
    assert gate.of("C1")[0] == 200
