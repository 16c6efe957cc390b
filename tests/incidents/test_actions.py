"""Declare, scope, re-scope, record, forget: through the doors, against PostgreSQL, on a generated register."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import DatabaseError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from tocsin.drills import generator
from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.incidents import actions, queries
from tocsin.incidents.models import Cohort, ExposedSubject, Exposure, Fact, Incident
from tocsin.incidents.types import Declaration
from tocsin.inventory import actions as inventory
from tocsin.inventory.types import codes_of
from tocsin.kernel import schema
from tocsin.kernel.errors import BadInput, Busy, NotFound, Refused
from tocsin.staff import actions as staff
from tocsin.staff import keyfiles
from tocsin.subjects import actions as register
from tocsin.subjects import queries as subjects

AT = datetime(2026, 1, 15, 3, 0, tzinfo=UTC)
LATER = AT + timedelta(minutes=20)
SCENARIO = Path(__file__).parents[2] / "scenarios" / "zappos-2012"
SEED = 2012
PEOPLE = 300
QUERIES_MAX = 30

pytestmark = pytest.mark.django_db


def fill(folder: Path, *, customers: int) -> None:
    made = generator.write(folder, customers=customers, seed=SEED, bad=3)
    register.import_file(made.customers_file, mapping=SCENARIO / "customers.mapping.toml", at=AT, by="ada")
    every_second = [generator.customer_id(n) for n in range(0, customers, 2)]
    tokens = folder / "tokens.csv"
    tokens.write_text("customer_id,token,last4\n" + "".join(f"{c},tok_{c},{i % 10000:04}\n" for i, c in enumerate(every_second)))
    register.attach_cards(tokens, store="orders", at=AT, by="ada")
    inventory.load_map([SCENARIO / "datamap.yaml"], at=AT, by="ada")


def sign(home: Path, approval: int, *names: str) -> None:
    for name in names:
        staff.sign_with_key_file(approval, operator=name, key_file=keyfiles.folder(home) / f"{name}.key", at=AT)


def declared(home: Path, declaration: Declaration | None = None) -> int:
    what = declaration or actions.read_declaration(SCENARIO / "incident.toml", now=AT)
    with pytest.raises(Refused) as caught:
        actions.declare(what, approval=None, at=AT, by="ada")
    assert caught.value.approval is not None
    sign(home, caught.value.approval, "ada", "bob")
    return actions.declare(what, approval=caught.value.approval, at=LATER, by="ada")


@pytest.fixture
def team(estate: Path) -> Path:
    for name, roles in (("ada", ["commander"]), ("bob", ["legal"])):
        staff.add_operator(name=name, roles=roles, at=AT, by="owner")
    return estate


@pytest.fixture
def shop(team: Path, tmp_path: Path) -> Path:
    fill(tmp_path, customers=PEOPLE)
    return team


def test_two_people_declare_exactly_this(team: Path) -> None:
    what = actions.read_declaration(SCENARIO / "incident.toml", now=AT)
    with pytest.raises(Refused) as caught:
        actions.declare(what, approval=None, at=AT, by="ada")
    approval = caught.value.approval
    assert approval is not None
    with pytest.raises(Refused) as again:
        actions.declare(what, approval=None, at=LATER, by="ada")
    assert again.value.approval == approval
    sign(team, approval, "ada")
    with pytest.raises(Refused, match="1 more signature"):
        actions.declare(what, approval=approval, at=LATER, by="ada")
    sign(team, approval, "bob")
    other = Declaration(name=what.name, cause=what.cause, hosts=("vault_api",))
    with pytest.raises(Refused, match="not what would be done"):
        actions.declare(other, approval=approval, at=LATER, by="ada")
    assert Incident.objects.count() == 0
    assert evidence.counts().get(EventType.INCIDENT_DECLARED) is None

    incident = actions.declare(what, approval=approval, at=LATER, by="ada")
    found = queries.incident(incident)
    assert (found.state, found.hosts, found.entity) == ("declared", ("web_ky",), {"card_accepting_merchant": True})
    assert (found.discovered_at, found.declared_at, found.window_from) == (AT, LATER, AT - timedelta(hours=72))
    assert queries.latest() == found == queries.incidents()[0]
    (entry,) = queries.timeline(incident)
    assert (entry.type, entry.body["approval"], entry.body["signed_by"]) == (EventType.INCIDENT_DECLARED, approval, ["ada", "bob"])
    with pytest.raises(Refused, match="used already"):
        actions.declare(what, approval=approval, at=LATER, by="ada")
    assert Incident.objects.count() == 1


def test_what_cannot_be_declared(shop: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        actions.declare(Declaration(name="x", cause="y", hosts=("web_ky", "moon", "mars")), approval=None, at=AT, by="ada")
    assert [f.got for f in caught.value.faults] == ["'moon'", "'mars'"]
    with pytest.raises(BadInput, match="discovered_at"):
        actions.declare(Declaration(name="x", cause="y", hosts=("web_ky",), discovered_at=LATER), approval=None, at=AT, by="ada")
    file = tmp_path / "d.toml"
    for text, match in (("[incident", "valid TOML"), ("[incident]\nname = 1\n", "cause")):
        file.write_text(text)
        with pytest.raises(BadInput, match=match):
            actions.read_declaration(file, now=AT)
    with pytest.raises(BadInput, match="can be read"):
        actions.read_declaration(tmp_path / "none.toml", now=AT)
    assert evidence.counts().get(EventType.APPROVAL_REQUESTED) is None
    with pytest.raises(NotFound):
        queries.latest()


def test_scope_freezes_everybody_once(shop: Path) -> None:
    incident = declared(shop)
    with pytest.raises(NotFound, match="not scoped"):
        queries.exposure_of(incident)
    with CaptureQueriesContext(connection) as counted:
        exposure = actions.scope(incident, at=LATER, by="ada")
    assert len(counted) <= QUERIES_MAX
    assert exposure == queries.exposure_of(incident) == queries.exposure(exposure.id)
    assert exposure.version == 1
    assert exposure.people == PEOPLE == sum(c.count for c in exposure.cohorts) == queries.exposed_count(exposure.id)
    assert ExposedSubject.objects.filter(exposure_id=exposure.id).count() == PEOPLE
    assert queries.incident(incident).state == "scoped"

    everything = {"name", "email", "phone", "postal_address", "password_hash", "payment_card_last4", "other_personal"}
    assert {c for k in exposure.cohorts for c in codes_of(k.clear)} == everything
    assert all(k.sealed == 0 and "other_personal" in codes_of(k.clear) for k in exposure.cohorts)
    assert sum(k.count for k in exposure.cohorts if "payment_card_last4" in codes_of(k.clear)) == PEOPLE // 2
    assert {r.store: r.path[0] for r in exposure.reached} == {"customers": "web_ky", "orders": "web_ky"}
    assert {s.store: s.proved for s in exposure.not_reached}["cards"] is True
    assert exposure.people_of_store["customers"] == PEOPLE
    assert codes_of(exposure.assumed["customers"]) == ("other_personal",)
    document = exposure.as_json()
    assert sum(c["count"] for c in document["cohorts"]) == document["people"] == PEOPLE

    (entry,) = evidence.activity(incident=incident, types=[EventType.EXPOSURE_FROZEN])
    assert (entry.body["people"], entry.body["cohorts"]) == (PEOPLE, len(exposure.cohorts))
    assert entry.body["map_digest"] == exposure.map_digest.hex()
    assert entry.body["reached"]["customers"] == PEOPLE

    # Page by page: everybody once, each in a cohort of their own jurisdiction.
    seen: dict[int, int] = {}
    after = 0
    while page := queries.exposed_subjects(exposure.id, after=after, limit=70):
        assert all(subject > after for subject, _ in page)
        seen |= dict(page)
        after = page[-1][0]
    assert len(seen) == PEOPLE
    home = {c.id: c.jurisdiction for c in exposure.cohorts}
    assert {s: home[k] for s, k in seen.items()} == {c.subject: c.jurisdiction for c in subjects.contactables(list(seen))}
    assert queries.is_exposed(exposure.id, after)
    assert not queries.is_exposed(exposure.id, after + 1)


def test_a_second_version_says_who_is_new(shop: Path, tmp_path: Path) -> None:
    incident = declared(shop)
    first = actions.scope(incident, at=LATER, by="ada")
    more = tmp_path / "more"
    more.mkdir()
    made = generator.write(more, customers=PEOPLE + 40, seed=SEED, bad=0)
    register.import_file(made.customers_file, mapping=SCENARIO / "customers.mapping.toml", at=LATER, by="ada")
    actions.record_fact(incident, key="store.orders.state", value="exfiltrated", exhibit="dump-1", at=LATER, by="ada")
    second = actions.scope(incident, at=LATER, by="ada")
    assert (second.version, second.people) == (2, PEOPLE + 40)
    assert queries.exposure_of(incident, version=1) == first
    assert queries.exposure_of(incident) == second
    assert {r.store: r.state for r in second.reached} == {"customers": "reachable", "orders": "exfiltrated"}
    diff = queries.exposure_diff(first.id, second.id)
    assert (diff.people_added, diff.people_removed) == (40, 0)
    assert diff.people_changed == first.people_of_store["orders"] > 0
    assert sum(d.people_added for d in diff.by_jurisdiction) == 40
    assert (diff.stores_added, diff.stores_removed) == ((), ())
    back = queries.exposure_diff(second.id, first.id)
    assert (back.people_added, back.people_removed, back.people_changed) == (0, 40, diff.people_changed)
    assert queries.exposure_diff(second.id, second.id).by_jurisdiction == ()
    new = queries.exposed_subjects(second.id, not_in=first.id)
    assert len(new) == 40
    assert not {s for s, _ in new} & {s for s, _ in queries.exposed_subjects(first.id)}
    with pytest.raises(NotFound):
        queries.exposure_of(incident, version=3)


def test_a_host_that_reaches_nobody_and_a_map_that_lacks_a_store(shop: Path, tmp_path: Path) -> None:
    nobody = declared(shop, Declaration(name="desk", cause="a desk", hosts=("hr_pc",)))
    exposure = actions.scope(nobody, at=LATER, by="ada")
    assert (exposure.people, exposure.cohorts) == (0, ())
    assert [r.store for r in exposure.reached] == ["staff"]
    assert exposure.people_of_store == {"staff": 0}
    small = tmp_path / "small.yaml"
    small.write_text((SCENARIO / "datamap.yaml").read_text().replace("orders", "purchases"))
    inventory.load_map([small], at=LATER, by="ada")
    with pytest.raises(BadInput, match="orders"):
        actions.scope(nobody, at=LATER, by="ada")
    assert queries.exposure_of(nobody) == exposure
    with pytest.raises(NotFound):
        actions.scope(nobody + 1, at=LATER, by="ada")


@pytest.mark.django_db(transaction=True)
def test_no_scope_while_the_register_is_written(shop: Path) -> None:
    incident = declared(shop)
    other = connections.create_connection("default")
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("UPDATE subjects_subject SET locale = 'fr' WHERE external_id = %s", [generator.customer_id(0)])
        with pytest.raises(Busy, match="being written"):
            actions.scope(incident, at=LATER, by="ada")
        assert Exposure.objects.count() == Cohort.objects.count() == 0
        with other.cursor() as cursor:
            cursor.execute("ROLLBACK")
    finally:
        other.close()
    assert actions.scope(incident, at=LATER, by="ada").people == PEOPLE


def test_facts_form_chains_that_nobody_changes(team: Path) -> None:
    incident = declared(team)
    one = actions.record_fact(incident, key="contact", value="help@shop.example", at=AT, by="ada")
    assert actions.record_fact(incident, key="contact", value="help@shop.example", at=LATER, by="bob") == one
    two = actions.record_fact(incident, key="contact", value="care@shop.example", at=LATER, by="bob")
    secret = actions.record_fact(incident, key="theory", value="an insider", at=LATER, by="bob", audience="counsel")
    assert [(f.id, f.value, f.supersedes) for f in queries.facts(incident)] == [
        (two, "care@shop.example", one),
        (secret, "an insider", None),
    ]
    assert [(f.id, f.superseded_by) for f in queries.facts(incident, superseded=True)] == [(one, two), (two, None), (secret, None)]
    bodies = [e.body for e in evidence.activity(incident=incident, types=[EventType.FACT_RECORDED])]
    assert len(bodies) == 3
    assert bodies[0]["value"] == "help@shop.example"
    assert "insider" not in str(bodies)
    with pytest.raises(BadInput) as caught:
        actions.record_fact(incident, key="store.x.state", value="gone", audience="press", at=AT, by="ada")
    assert {f.field for f in caught.value.faults} == {"value", "audience"}
    with pytest.raises(NotFound):
        actions.record_fact(incident + 1, key="contact", value="x", at=AT, by="ada")
    for change in ("UPDATE incidents_fact SET value = 'x'", "DELETE FROM incidents_fact"):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(change)
    assert Fact.objects.count() == 3


def test_states_go_forward_and_people_are_forgotten_once_nobody_needs_them(shop: Path) -> None:
    incident, other = declared(shop), declared(shop, Declaration(name="two", cause="again", hosts=("web_ky",)))
    for i in (incident, other):
        actions.scope(i, at=LATER, by="ada")
    with pytest.raises(Refused, match="only a closed one"):
        actions.forget(incident, at=LATER, by="ada")
    with pytest.raises(BadInput):
        actions.advance(incident, state="over", at=LATER, by="ada")
    actions.advance(incident, state="contained", at=LATER, by="ada", reason="server off")
    with pytest.raises(Refused, match="is contained"):
        actions.advance(incident, state="scoped", at=LATER, by="ada")
    actions.advance(incident, state="closed", at=LATER, by="ada")
    with pytest.raises(Refused, match="closed"):
        actions.scope(incident, at=LATER, by="ada")
    assert actions.forget(incident, at=LATER, by="ada") == 0  # the other incident still needs them all
    actions.advance(other, state="closed", at=LATER, by="ada")
    actions.hold(other, reason="court order 7", at=LATER, by="bob")
    assert queries.incident(other).hold == "court order 7"
    with pytest.raises(Refused, match="court order 7"):
        actions.forget(other, at=LATER, by="ada")
    assert actions.forget(incident, at=LATER, by="ada") == 0  # a held incident needs its people too
    actions.hold(other, reason=None, at=LATER, by="bob")
    assert actions.forget(incident, at=LATER, by="ada") == PEOPLE
    assert actions.forget(incident, at=LATER, by="ada") == 0
    ids = [s for s, _ in queries.exposed_subjects(queries.exposure_of(incident).id)]
    assert len(ids) == PEOPLE
    assert subjects.contactables(ids) == []
    assert subjects.salts(ids) == {}
    assert [e.body["hold"] for e in queries.timeline(other) if "hold" in e.body] == ["court order 7", None]


def test_twenty_four_thousand_in_seconds(team: Path, tmp_path: Path) -> None:
    made = generator.write(tmp_path, customers=24_000, seed=SEED, bad=12)
    wrote = time.monotonic()
    report = register.import_file(made.customers_file, mapping=SCENARIO / "customers.mapping.toml", at=AT, by="ada")
    imported = time.monotonic()
    inventory.load_map([SCENARIO / "datamap.yaml"], at=AT, by="ada")
    incident = declared(team)
    scoping = time.monotonic()
    exposure = actions.scope(incident, at=LATER, by="ada")
    scoped = time.monotonic()
    assert (report.read, report.accepted, report.rejected) == (24_012, 24_000, 12)
    assert exposure.people == 24_000 == sum(c.count for c in exposure.cohorts)
    assert (imported - wrote < 30, scoped - scoping < 10) == (True, True), (
        f"import {imported - wrote:.1f} s, scope {scoped - scoping:.1f} s"
    )


def test_the_command_line_role_can_do_all_of_it_and_change_nothing(team: Path, tmp_path: Path) -> None:
    with connection.cursor() as cursor:
        for file in (
            "kernel/roles.sql",
            *(f"{room}/sql/grants.sql" for room in ("evidence", "staff", "inventory", "subjects", "incidents")),
        ):
            cursor.execute((schema.SRC / file).read_text())
        cursor.execute("SET LOCAL ROLE tocsin_operator")
        fill(tmp_path, customers=30)
        incident = declared(team)
        exposure = actions.scope(incident, at=LATER, by="ada")
        actions.record_fact(incident, key="contact", value="help@shop.example", at=LATER, by="ada")
        actions.advance(incident, state="closed", at=LATER, by="ada")
        assert actions.forget(incident, at=LATER, by="ada") == 30
        for change in (
            "UPDATE incidents_cohort SET count = 1",
            "DELETE FROM incidents_exposedsubject",
            "UPDATE incidents_exposure SET people = 1",
        ):
            with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
                cursor.execute(change)
        cursor.execute("SET LOCAL ROLE tocsin_worker")
        assert len(queries.exposed_subjects(exposure.id)) == queries.exposure_of(incident).people == 30
        for role in ("tocsin_public", "tocsin_intake", "tocsin_sequencer"):
            cursor.execute(f"SET LOCAL ROLE {role}")
            with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
                queries.latest()
        cursor.execute("RESET ROLE")
