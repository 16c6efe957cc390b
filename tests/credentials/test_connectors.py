"""The machinery of connectors through its doors, over a real table of accounts in a database of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import ProgrammingError, connection, transaction
from django.test import Client

from tests.conftest import forget
from tests.credentials.shop import AT, GOOD, PEOPLE, cut, enrol, open_shop, signed
from tests.ports.postgres_table import SECRET, TableTarget
from tests.roles import dsn_of
from tests.web.conftest import public_site  # noqa: F401 - a fixture
from tocsin.credentials import actions, queries, tasks
from tocsin.credentials.connectors import registry, targets
from tocsin.credentials.models import Account, ConnectorSecret, Outbox, PlantedCanary, Target
from tocsin.credentials.sign_in import login_of
from tocsin.evidence import queries as evidence
from tocsin.evidence.models import Event
from tocsin.evidence.types import EventType
from tocsin.kernel import clock, config, jobs, schema
from tocsin.kernel.errors import BadInput, Busy, NotFound, Refused, Unavailable
from tocsin.kernel.private import Private
from tocsin.kernel.sealing import KEYS_OF
from tocsin.staff import actions as staff_actions
from tocsin.staff import keyfiles
from tocsin.staff import queries as staff
from tocsin.subjects import queries as subjects

ROOT = Path(__file__).parents[2]
NEWER = "marble kettle swallow Friday"
TOKEN = "T" * 43
LATER = AT + timedelta(minutes=5)


@pytest.fixture
def target(estate: Path, transactional_db: None) -> Iterator[TableTarget]:
    """Give a shop whose customers are also rows of its own table, and a sealed secret."""
    open_shop(enrol(estate))
    made = TableTarget({p.external_id: p.password for p in PEOPLE})
    configure(estate, table(made))
    actions.set_secret("shop", Private(SECRET), at=AT, by="ada")
    yield made
    made.close()


def table(made: TableTarget, name: str = "shop", **more: Any) -> str:
    options = {"adapter": "tocsin.credentials.adapters.postgres.PostgresTable", **made.options, **more}
    return f"[connectors.{name}]\n" + "\n".join(f"{k} = {json.dumps(v)}" for k, v in options.items()) + "\n"


def configure(home: Path, *tables: str, kind: str = "demo") -> None:
    (home / "tocsin.toml").write_text(f'[estate]\nkind = "{kind}"\n' + "".join(tables))
    forget()


def armed(home: Path, name: str = "shop") -> int:
    approval = signed(home, lambda: actions.arm_connector(name, approval=None, at=AT, by="ada"))
    actions.arm_connector(name, approval=approval, at=AT, by="ada")
    return approval


def work(*names: str, at: Any = LATER) -> list[str]:
    """Do what the worker's ticks and jobs of these kinds would do now; return their names."""
    actions.mind(at=at)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM procrastinate_jobs WHERE task_name LIKE 'credentials.tasks.%' RETURNING task_name, args")
        found = sorted((name.rpartition(".")[2], args if isinstance(args, str) else json.dumps(args)) for name, args in cursor.fetchall())
    for name, arguments in found:
        if name in names:
            getattr(tasks, name)(**json.loads(arguments))
    return [name for name, _ in found]


def redeem(external_id: str, password: str, *, token: str = TOKEN) -> bool:
    person = next(p for p in PEOPLE if p.external_id == external_id)
    assert actions.send_reset(login_of(person.email), request=uuid4(), token=Private(token), at=AT)
    return actions.redeem(token, Private(password), at=AT)


def as_process(name: str) -> Callable[[], None]:
    os.environ["TOCSIN_PROCESS"] = name
    forget()
    return lambda: (os.environ.__setitem__("TOCSIN_PROCESS", "owner"), forget())[1]


def test_the_file_is_refused_with_every_fault_of_its_connectors(tmp_path: Path) -> None:
    text = 'connectors.c = 3\nconnectors.Shop.adapter = "x.Y"\nconnectors.b.adapter = "nodot"\nconnectors.d.population = 7\nconnectors.d.adapter = "a.B"\n'
    with pytest.raises(BadInput) as e:
        config.parse(text, home=tmp_path, database_url="", process="operator")
    assert [f.field for f in e.value.faults] == ["connectors.c", "connectors.Shop", "connectors.b.adapter", "connectors.d.population"]
    good = config.parse('connectors.a.adapter = "x.Y"\nconnectors.a.port = 3\n', home=tmp_path, database_url="", process="operator")
    assert (good.connectors["a"].secret, good.connectors["a"].population, good.connectors["a"].options) == ("a", "customers", {"port": 3})


def test_a_wrong_option_is_named_as_it_stands_in_the_file(target: TableTarget, estate: Path) -> None:
    scim = '[connectors.people]\nadapter = "tocsin.credentials.adapters.scim.Adapter"\nurll = "http://127.0.0.1:9"\n'
    configure(estate, scim, table(target, tabel="x"))
    for name, fields in (("people", {"connectors.people.url", "connectors.people.urll"}), ("shop", {"connectors.shop.tabel"})):
        with pytest.raises(BadInput) as e:
            actions.probe_connector(name, at=AT, by="ada")
        assert {f.field for f in e.value.faults} == fields


def test_a_secret_sleeps_until_two_people_have_signed(target: TableTarget, estate: Path) -> None:
    row = ConnectorSecret.objects.get(name="shop")
    assert SECRET.encode() not in bytes(row.rest)
    assert row.live is None
    back = as_process("worker")
    try:
        assert "connector_rest" not in KEYS_OF["worker"]
        with pytest.raises(Unavailable):
            registry.connector("shop").probe()  # without a password there is no way in
    finally:
        back()
    back = as_process("public")
    try:
        with pytest.raises(Refused, match="may not act"):
            registry.connector("shop")
    finally:
        back()
    with pytest.raises(Refused, match="two signatures") as e:
        actions.arm_connector("shop", approval=None, at=AT, by="ada")
    with pytest.raises(Refused, match="signature"):
        actions.arm_connector("shop", approval=e.value.approval, at=AT, by="ada")
    assert ConnectorSecret.objects.get(name="shop").live is None
    assert target.connector().status().state == "open"
    approval = armed(estate)
    assert not staff.approval(approval).granted or staff.approvals(open_only=True) == []
    assert SECRET.encode() not in bytes(ConnectorSecret.objects.get(name="shop").live or b"")
    back = as_process("worker")
    try:
        assert registry.connector("shop").status().state == "armed"
    finally:
        back()
    with pytest.raises(Refused):
        actions.arm_connector("shop", approval=approval, at=AT, by="ada")  # what was signed is used up
    actions.abort_connector("shop", approval=None, at=AT, by="ada")
    assert ConnectorSecret.objects.get(name="shop").live is None
    assert target.connector().probe().subjects == len(PEOPLE)  # our canaries are gone, too
    assert target.app.execute("SELECT count(*) FROM customers").fetchone() == (len(PEOPLE),)


def test_what_was_signed_is_what_is_armed(target: TableTarget, estate: Path) -> None:
    approval = signed(estate, lambda: actions.arm_connector("shop", approval=None, at=AT, by="ada"))
    configure(estate, table(target, changed_at=""))
    with pytest.raises(Refused):
        actions.arm_connector("shop", approval=approval, at=AT, by="ada")


def test_a_cutover_lets_the_gates_fall_and_the_canaries_prove_it(target: TableTarget, estate: Path) -> None:
    looked = actions.probe_connector("shop", at=AT)
    assert (looked.subjects, looked.state, looked.kind) == (len(PEOPLE), "open", "postgres")
    armed(estate)
    assert all(target.opens(a, s) for a, s in target.people.items())
    report = cut(estate)
    assert [(c.name, c.gated, c.problem) for c in report.connectors] == [("shop", True, "")]
    assert not any(target.opens(a, s) for a, s in target.people.items())
    found = queries.connector("shop")
    assert found.state == "gated"
    assert found.canaries == {"tried": 6, "refused": 6}
    assert found.red == ()
    assert "the gate: " in found.comparison
    again = actions.verify_connector("shop", at=LATER, by="ada")
    assert again.canaries == {"tried": 4, "refused": 4}  # one canary has a new password by now
    assert again.red == ()
    kinds = [e.type for e in evidence.activity(types=[EventType.TARGET_ARMED, EventType.TARGET_GATED, EventType.TARGET_VERIFIED])]
    assert kinds.count(EventType.TARGET_ARMED) == 1
    assert kinds.count(EventType.TARGET_GATED) == 1
    assert kinds.count(EventType.TARGET_VERIFIED) == 2


def test_a_survivor_turns_the_battery_red(target: TableTarget, estate: Path) -> None:
    armed(estate)
    cut(estate)
    canary = PlantedCanary.objects.order_by("-pk").first()
    assert canary is not None
    target.app.execute("SET ROLE table_app")
    stored = target.app.execute("SELECT no FROM customers WHERE no = %s", [canary.account]).fetchone()
    assert stored is not None
    target.app.execute("INSERT INTO customers_tocsin_live (key, elsewhere) VALUES (%s, false)", [canary.account])  # a hole in the gate
    found = actions.verify_connector("shop", at=LATER, by="ada")
    assert len(found.red) == 2  # seen from both connections
    assert "still opens the door" in found.red[0]
    assert found.canaries["tried"] - found.canaries["refused"] == 2
    assert [f["level"] for f in found.findings][:2] == ["blocker", "blocker"]
    with pytest.raises(Refused, match="does not hold"):
        actions.drain_connector("shop", at=LATER, by="ada")


def test_a_new_password_reaches_the_table_and_lifts_the_gate(target: TableTarget, estate: Path) -> None:
    armed(estate)
    cut(estate)
    redeem("C1", GOOD)
    waiting = Outbox.objects.get()
    assert (waiting.state, waiting.format) == ("waiting", "bcrypt")
    assert GOOD.encode() not in bytes(waiting.sealed or b"")
    assert not target.opens("C1", GOOD)
    mine = subjects.by_external_ids(["C1"])["C1"]
    assert gate_open(mine) is False  # the shop still knows the old password only
    assert "deliver_password" in work("deliver_password")
    assert gate_open(mine) is True
    assert target.opens("C1", GOOD)
    assert not target.opens("C1", target.people["C1"])
    assert not target.opens("C2", target.people["C2"])
    done = Outbox.objects.get()
    assert (done.state, done.sealed) == ("done", None)
    assert evidence.counts()[EventType.PASSWORD_DELIVERED] == 1
    assert not actions.deliver(done.pk, at=LATER)  # the job again, after a crash
    redeem("C1", NEWER, token="U" * 43)
    assert "deliver_password" in work("deliver_password")
    assert target.opens("C1", NEWER)


def test_the_page_says_that_the_password_is_on_its_way_once_a_system_is_armed(
    target: TableTarget,
    estate: Path,
    public_site: None,  # noqa: F811
) -> None:
    said = "in a moment: it is on its way"

    def page(n: int) -> str:
        token, client = f"{n:043}", Client()
        assert actions.send_reset(login_of(PEOPLE[n].email), request=uuid4(), token=Private(token), at=clock.now())
        client.get(f"/passwordchange/t/{token}")
        answer = client.post("/passwordchange/new", {"password": f"{GOOD} {n}", "password_again": f"{GOOD} {n}"})
        assert "Your new password is set" in answer.content.decode()
        return answer.content.decode()

    assert said not in page(0)  # nothing armed
    armed(estate)
    assert said in page(1)  # armed: it takes the password as a gated one does
    cut(estate)
    work()
    assert said in page(2)
    Target.objects.update(state="aborted")
    assert said not in page(3)


def test_a_target_that_is_down_loses_no_password(target: TableTarget, estate: Path) -> None:
    armed(estate)
    cut(estate)
    target.stop()
    redeem("C1", GOOD)
    outbox = Outbox.objects.get()
    with pytest.raises(Unavailable):
        actions.deliver(outbox.pk, at=LATER)
    redeem("C1", NEWER, token="U" * 43)
    assert sorted(Outbox.objects.values_list("state", flat=True)) == ["replaced", "waiting"]
    target.start()
    assert not actions.deliver(outbox.pk, at=LATER)
    assert actions.deliver(Outbox.objects.get(state="waiting").pk, at=LATER)
    assert target.opens("C1", NEWER)


def test_a_password_of_before_a_later_cutover_is_not_delivered(target: TableTarget, estate: Path) -> None:
    armed(estate)
    cut(estate)
    redeem("C1", GOOD)
    cut(estate, incident=2)
    actions.deliver(Outbox.objects.get().pk, at=LATER)
    assert Outbox.objects.get().state == "replaced"
    assert not target.opens("C1", GOOD)


def test_a_change_in_the_companys_own_pages_lifts_the_gate(target: TableTarget, estate: Path) -> None:
    armed(estate)
    cut(estate)
    subject = Account.objects.get(login_hmac=login_of(PEOPLE[1].email)).subject
    assert gate_open(subject) is False
    target.change("C2", GOOD)
    work("watch_target")
    assert gate_open(subject) is True
    assert evidence.counts()[EventType.PASSWORD_CHANGED_ELSEWHERE] == 1
    work("watch_target")
    assert evidence.counts()[EventType.PASSWORD_CHANGED_ELSEWHERE] == 1
    assert sum(gate_open(a) is True for a in Account.objects.filter(subject__isnull=False).values_list("subject", flat=True)) == 1
    assert jobs._every_s["credentials.tasks.mind_targets"] == 2.0  # asked every two seconds: through the gate within five


def gate_open(subject: int | None) -> bool | None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT open FROM credentials_gate WHERE subject = %s", [subject])
        row = cursor.fetchone()
    return row[0] if row else None


def test_a_gate_that_cannot_fall_is_named_and_falls_later(target: TableTarget, estate: Path) -> None:
    second = TableTarget({"C1": "another old secret"})
    try:
        configure(estate, table(target), table(second, "mail"))
        actions.set_secret("mail", Private(SECRET), at=AT, by="ada")
        armed(estate)
        armed(estate, "mail")
        target.stop()
        report = cut(estate)
        named = {c.name: c for c in report.connectors}
        assert named["mail"].gated
        assert not named["shop"].gated
        assert "PostgreSQL at" in named["shop"].problem
        assert not second.opens("C1", "another old secret")
        assert all(target.opens(a, s) for a, s in target.people.items())  # nobody says otherwise: it is red, and in the log
        assert queries.connectors()[1].findings[0]["level"] == "blocker"
        assert evidence.counts()[EventType.TARGET_FAILED] == 1
        with pytest.raises(Unavailable):
            work("gate_target")
        assert evidence.counts()[EventType.TARGET_FAILED] == 1  # one entry per reason, not per try
        target.start()
        assert "gate_target" in work("gate_target")
        assert not any(target.opens(a, s) for a, s in target.people.items())
        found = queries.connector("shop")
        assert (found.state, found.red, found.canaries) == ("gated", (), {"tried": 6, "refused": 6})
    finally:
        second.close()


def test_taking_a_cutover_back_lifts_its_gates(target: TableTarget, estate: Path) -> None:
    armed(estate)
    report = cut(estate)
    approval = signed(estate, lambda: actions.abort(report.cutover, approval=None, at=AT, by="ada"))
    actions.abort(report.cutover, approval=approval, at=AT, by="ada")
    assert "lift_target" in work("lift_target")
    assert all(target.opens(a, s) for a, s in target.people.items())
    assert queries.connector("shop").state in {"open", "aborted"}
    assert ConnectorSecret.objects.get(name="shop").live is None


def test_draining_goes_on_in_the_background_and_ends_the_way_back(target: TableTarget, estate: Path) -> None:
    armed(estate)
    cut(estate)
    with pytest.raises(Busy):
        actions.drain_connector("shop", at=AT, by="ada")
    actions.drain_connector("shop", at=LATER, by="ada")
    assert "drain_target" in work("drain_target")
    found = queries.connector("shop")
    assert (found.state, found.drain_eta_s) == ("drained", 0.0)
    assert found.drained >= len(PEOPLE)
    approval = signed(estate, lambda: actions.abort_connector("shop", approval=None, at=LATER, by="ada"))
    with pytest.raises(Refused, match="no way back"):
        actions.abort_connector("shop", approval=approval, at=LATER, by="ada")


def test_what_a_target_will_never_take_is_kept_and_shown(target: TableTarget, estate: Path) -> None:
    armed(estate)
    cut(estate)
    redeem("C1", GOOD)
    target.app.execute("DELETE FROM customers WHERE no = 'C1'")
    assert not actions.deliver(Outbox.objects.get().pk, at=LATER)
    assert (Outbox.objects.get().state, Outbox.objects.get().problem) == ("failed", "not_found")
    assert any("1 new passwords were not taken" in f["text"] for f in queries.connector("shop").findings)
    mine = subjects.by_external_ids(["C1"])["C1"]
    assert gate_open(mine) is False
    assert actions.lift([mine], source="shop", at=LATER) == 1  # somebody set a password in the shop's own page
    assert gate_open(mine) is True


def test_a_canary_that_stays_outside_before_the_gate_stops_the_arming(target: TableTarget, estate: Path) -> None:
    target.app.execute("CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.word := 'x'; RETURN NEW; END $$")
    target.app.execute("CREATE TRIGGER spoil BEFORE INSERT ON customers FOR EACH ROW EXECUTE FUNCTION spoil()")
    approval = signed(estate, lambda: actions.arm_connector("shop", approval=None, at=AT, by="ada"))
    with pytest.raises(Refused, match="3 of 3 canaries"):
        actions.arm_connector("shop", approval=approval, at=AT, by="ada")
    assert ConnectorSecret.objects.get(name="shop").live is None
    assert Target.objects.get().state == "open"


def test_the_estates_kind_and_the_targets_reach_must_fit(target: TableTarget, estate: Path) -> None:
    configure(estate, table(target), kind="live")
    with pytest.raises(Refused, match="a live estate"):
        actions.probe_connector("shop", at=AT)
    configure(estate, table(target, host="203.0.113.9"))
    with pytest.raises(Refused, match=r"a demo estate.*203\.0\.113\.9"):
        actions.probe_connector("shop", at=AT)
    configure(estate, '[connectors.shop]\nadapter = "tocsin.credentials.adapters.scim.Adapter"\nurl = "https://id.example/scim"\n')
    with pytest.raises(Refused, match=r"a demo estate.*id\.example"):
        actions.probe_connector("shop", at=AT)
    configure(estate, table(target))
    with pytest.raises(NotFound, match="there are: shop"):
        actions.probe_connector("mail", at=AT)


def test_the_write_rate_of_the_slowest_target_holds(target: TableTarget, estate: Path) -> None:
    assert queries.write_rate() is None
    armed(estate)
    Target.objects.update(write_rate_per_s=25.0)
    assert queries.write_rate() == 25.0
    assert queries.write_rate("staff") is None
    assert targets.info(Target.objects.get()).write_rate_per_s == 25.0


def test_people_without_a_hash_get_an_account(target: TableTarget, estate: Path) -> None:
    Account.objects.all().delete()
    assert actions.enrol_accounts("customers", at=AT, by="ada") == len(PEOPLE)
    assert actions.enrol_accounts("customers", at=AT, by="ada") == 0
    redeem("C3", GOOD)
    assert actions.log_in(PEOPLE[2].email, Private(GOOD), at=AT)
    assert evidence.counts()[EventType.ACCOUNTS_ENROLLED] == 2


def test_each_role_may_do_its_part_and_no_more(target: TableTarget, estate: Path) -> None:
    schema.migrate()
    armed(estate)
    cut(estate)
    assert actions.send_reset(login_of(PEOPLE[0].email), request=uuid4(), token=Private(TOKEN), at=AT)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL ROLE tocsin_public")
        assert actions.redeem(TOKEN, Private(GOOD), at=AT)
    outbox = Outbox.objects.get().pk

    def may(role: str, statement: str) -> bool:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL ROLE tocsin_{role}")
                cursor.execute(statement)
        except ProgrammingError as e:
            return "permission denied" not in str(e)
        return True

    assert may("public", "SELECT id, formats FROM credentials_target WHERE state IN ('armed', 'gated')")
    for forbidden in ("SELECT probe FROM credentials_target", "SELECT sealed FROM credentials_outbox", "SELECT rest FROM credentials_connectorsecret",
                      "INSERT INTO credentials_outbox DEFAULT VALUES", "SELECT account FROM credentials_plantedcanary"):  # fmt: skip
        assert not may("public", forbidden), forbidden
    assert not may("worker", "SELECT rest FROM credentials_connectorsecret")
    assert not may("console", "SELECT live FROM credentials_connectorsecret")
    assert not may("operator", "SELECT sealed FROM credentials_outbox")
    back = as_process("worker")
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL ROLE tocsin_worker")
            assert actions.deliver(outbox, at=LATER)
            actions.mind(at=LATER)
            actions.watch("shop", at=LATER)
            assert actions.verify_connector("shop", at=LATER, by="worker").red == ()
    finally:
        back()
    assert target.opens("C1", GOOD)


def test_no_secret_stands_in_the_log_or_the_queue(target: TableTarget, estate: Path, capfd: pytest.CaptureFixture[str]) -> None:
    armed(estate)
    cut(estate)
    redeem("C1", GOOD)
    work("deliver_password", "watch_target")
    with connection.cursor() as cursor:
        cursor.execute("SELECT args::text FROM procrastinate_jobs")
        seen = [a for (a,) in cursor.fetchall()]
    seen += [bytes(e).decode() for e in Event.objects.values_list("event", flat=True)]
    seen += [json.dumps(r.probe) + r.problem for r in Target.objects.all()] + list(capfd.readouterr())
    assert not [t for t in seen for word in (SECRET, GOOD) if word in t]


def test_the_command_line_leads_through_it_as_the_operators_process(target: TableTarget, estate: Path) -> None:
    database = dsn_of("operator")
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src"), "TOCSIN_HOME": str(estate), "TOCSIN_DATABASE_URL": database,
           "TOCSIN_PROCESS": "operator", "TOCSIN_OPERATOR": "ada"}  # fmt: skip

    def tocsin(*words: str, given: str = "") -> tuple[int, Any]:
        command = [sys.executable, "-P", "-m", "tocsin.cli", "connector", *words, "--json"]
        done = subprocess.run(command, env=env, input=given, capture_output=True, text=True, cwd=ROOT)
        assert SECRET not in done.stdout + done.stderr
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    keys = {"name", "kind", "state", "subjects", "canaries", "write_rate_per_s", "drain_eta_s", "findings"}
    assert tocsin("secret", "shop", given=SECRET + "\n") == (0, {"name": "shop", "sealed": True})
    code, found = tocsin("probe", "shop")
    assert (code, found["subjects"], keys <= found.keys()) == (0, len(PEOPLE), True)
    assert tocsin("gate", "shop")[0] == 3  # not armed
    assert tocsin("probe", "nobody")[0] == 4
    code, answer = tocsin("arm", "shop")
    assert code == 3
    for name in ("ada", "bob"):
        staff_actions.sign_with_key_file(answer["approval"], operator=name, key_file=keyfiles.folder(estate) / f"{name}.key", at=AT)
    assert tocsin("arm", "shop", "--approval", str(answer["approval"]))[1]["state"] == "armed"
    code, found = tocsin("gate", "shop")
    assert (code, found["state"], found["canaries"]) == (0, "gated", {"tried": 6, "refused": 6})
    assert not any(target.opens(a, s) for a, s in target.people.items())
    assert tocsin("verify", "shop")[1]["red"] == []
    assert tocsin("drain", "shop")[0] == 5  # the gate fell a moment ago
    code, found = tocsin("list")
    assert (code, [c["name"] for c in found], keys <= found[0].keys()) == (0, ["shop"], True)
    target.stop()
    code, found = tocsin("status", "shop")  # what we know, and that the target does not answer
    assert (code, found["state"], found["findings"][-1]["level"]) == (0, "gated", "warning")
    assert tocsin("probe", "shop")[0] == 6
    target.start()
    assert tocsin("abort", "shop")[0] == 3  # asks for its approval
    assert tocsin("enrol")[1]["enrolled"] == 0
