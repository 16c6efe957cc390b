"""The order of the law and of waves: who is told first, who waits for a filing, and what two people may go past."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.notices.office import Office
from tests.notices.test_mailing import closes, run
from tests.notices.world import AT, MAPPING, NOW, TEXTS, people, sign, started
from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.incidents import queries as incidents
from tocsin.kernel import clock, config
from tocsin.kernel.errors import BadInput, NotFound, Refused
from tocsin.notices import actions, queries
from tocsin.notices.models import Batch, Mailing
from tocsin.obligations import actions as obligations
from tocsin.obligations import queries as laws
from tocsin.obligations.models import Obligation
from tocsin.subjects import actions as subjects
from tocsin.subjects.models import Subject

pytestmark = pytest.mark.django_db(transaction=True)


def assessed(emails: list[str], states: list[str]) -> int:
    """An incident with people in these states of the US, its duties assessed."""
    home = config.current().home
    incident = people(emails)
    lines = [
        f"C{i:05},Jo Sample,{e},1 Main St,Town,{s},10001,US,2026-01-{1 + i % 9:02}T10:00:00Z"
        for i, (e, s) in enumerate(zip(emails, states, strict=True))
    ]
    (home / "again.csv").write_text("customer_id,name,email,street,city,region,postcode,country,seen\n" + "\n".join(lines) + "\n")
    (home / "again.toml").write_text(MAPPING.replace('email = "email"\n', 'email = "email"\nlast_activity = "seen"\n', 1))
    report = subjects.import_file(home / "again.csv", mapping=home / "again.toml", at=AT, by="ada")
    assert (report.accepted, report.updated, report.rejected) == (len(emails), len(emails), 0)
    from tocsin.incidents import actions as scoping

    scoping.scope(incident, at=AT, by="ada")
    obligations.answer("entity.any_business", True, incident=None, at=AT, by="bob")
    obligations.assess(incident, at=AT, by="bob")
    return incident


def gate(incident: int, jurisdiction: str) -> str:
    """Make a filing that comes before the mailing to one state, whatever the shipped laws say of this shop's elements."""
    found = next((g for g in laws.gates(incident) if jurisdiction in g.jurisdictions), None)
    if found is None:
        row = Obligation.objects.filter(incident=incident, jurisdiction=jurisdiction).exclude(info__to="individuals").first()
        assert row is not None, list(Obligation.objects.filter(incident=incident).values_list("law", "duty", "state", "info__to"))
        row.info |= {"relation": "before", "relation_event": "individuals_notified"}
        row.state = "due"
        row.save()
        found = next(g for g in laws.gates(incident) if jurisdiction in g.jurisdictions)
    return found.key


STATES = ["US-NJ" if i % 3 == 0 else "US-CA" for i in range(30)]
EMAILS = [f"user{i}@gmail.example" for i in range(30)]
NEW_JERSEY = {f"user{i}@gmail.example" for i in range(0, 30, 3)}


def test_people_wait_for_a_filing_that_comes_first(shop: Path, office: Office) -> None:
    incident = assessed(EMAILS, [s[3:] for s in STATES])
    key = gate(incident, "US-NJ")
    mailing = started(shop, incident)
    s = queries.status(mailing)
    assert [(x.gate, x.recipients) for x in s.locked] == [(key, 10)]
    assert [(a.what, a.level) for a in s.alerts if a.what == "order"] == [("order", "warn")]
    run(mailing)
    assert set(office.addresses) == set(EMAILS) - NEW_JERSEY
    actions.keep(mailing, at=clock.now())
    assert run(mailing) == 0
    assert not actions.finish(mailing, at=clock.now())
    assert closes(mailing).waiting == 10

    law, _, duty = key.partition(".")
    with pytest.raises(Refused) as asked:
        obligations.close(incident, law=law, duty=duty, state="done", text="filed, receipt 7", approval=None, at=AT, by="ada")
    assert asked.value.approval is not None
    sign(shop, asked.value.approval, "ada", "bob")
    obligations.close(incident, law=law, duty=duty, state="done", text="filed, receipt 7", approval=asked.value.approval, at=AT, by="ada")
    (known,) = (g for g in laws.gates(incident) if g.key == key)
    assert (known.closed, known.sent_at) == (True, AT)
    actions.keep(mailing, at=clock.now())
    run(mailing)
    assert set(office.addresses) == set(EMAILS)
    assert closes(mailing).locked == ()
    opened = evidence.activity(incident=incident, types=[EventType.GATE_OPENED])
    assert [(e.body["gate"], e.body["overridden"]) for e in opened] == [(key, False)]


def test_two_people_may_go_past_it_with_a_reason(shop: Path, office: Office) -> None:
    incident = assessed(EMAILS, [s[3:] for s in STATES])
    key = gate(incident, "US-NJ")
    mailing = started(shop, incident)
    with pytest.raises(NotFound, match=key):
        actions.override_order(mailing, gate="us-xx.nothing", why="x", approval=None, at=AT, by="ada")
    with pytest.raises(BadInput):
        actions.override_order(mailing, gate=key, why="", approval=None, at=AT, by="ada")
    with pytest.raises(Refused) as asked:
        actions.override_order(mailing, gate=key, why="the portal is down", approval=None, at=AT, by="ada")
    approval = asked.value.approval
    assert approval is not None
    sign(shop, approval, "ada")
    with pytest.raises(Refused, match="legal"):
        actions.override_order(mailing, gate=key, why="the portal is down", approval=approval, at=AT, by="ada")
    run(mailing)
    assert NEW_JERSEY.isdisjoint(office.addresses)
    sign(shop, approval, "bob")
    actions.override_order(mailing, gate=key, why="the portal is down", approval=approval, at=AT, by="ada")
    run(mailing)
    assert set(office.addresses) == set(EMAILS)
    (entry,) = evidence.activity(incident=incident, types=[EventType.ORDER_OVERRIDDEN])
    assert (entry.body["why"], entry.body["signed_by"], entry.body["recipients"]) == ("the portal is down", ["ada", "bob"], 10)
    with pytest.raises(Refused, match="is open"):
        actions.override_order(mailing, gate=key, why="the portal is down", approval=None, at=AT, by="ada")


def test_a_filing_made_before_the_start_holds_nobody(shop: Path, office: Office) -> None:
    incident = assessed(EMAILS, [s[3:] for s in STATES])
    key = gate(incident, "US-NJ")
    law, _, duty = key.partition(".")
    notice = actions.draft(incident=incident, template=TEXTS, at=AT, by="ada")
    with pytest.raises(Refused) as start:
        actions.start(notice, approval=None, at=AT, by="ada", retry=NOW)  # frozen with the gate shut
    assert start.value.approval is not None
    sign(shop, start.value.approval, "ada", "bob")
    with pytest.raises(Refused) as asked:
        obligations.close(incident, law=law, duty=duty, state="done", text="filed", approval=None, at=AT, by="ada")
    assert asked.value.approval is not None
    sign(shop, asked.value.approval, "ada", "bob")
    obligations.close(incident, law=law, duty=duty, state="done", text="filed", approval=asked.value.approval, at=AT, by="ada")
    mailing = actions.start(notice, approval=start.value.approval, at=AT, by="ada", retry=NOW)
    run(mailing)
    assert set(office.addresses) == set(EMAILS)


def test_the_earliest_deadline_of_the_law_is_the_mailings(shop: Path, office: Office) -> None:
    incident = assessed(EMAILS, [s[3:] for s in STATES])
    due = laws.individuals_due(incident)
    assert due["US-CA"] == min(d.due_at for d in laws.duties(incident) if d.jurisdiction == "US-CA" and d.to == "individuals" and d.due_at)
    mailing = started(shop, incident)
    assert queries.status(mailing).deadline_at == min(due.values())


def test_waves_go_by_deadline_severity_and_last_activity(shop: Path, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.notices.policy.BLOCK_ROWS", 5)
    incident = assessed(EMAILS, ["CA"] * 30)
    ranks = laws.cohort_ranks(incident)
    assert {r.cohort for r in ranks} == {c.id for c in incidents.exposure_of(incident).cohorts}
    notice = actions.draft(incident=incident, template=TEXTS, at=AT, by="ada")

    def asked(waves: bool) -> Mailing:
        with pytest.raises(Refused) as wanted:
            actions.start(notice, approval=None, at=AT, by="ada", retry=NOW, waves=waves)
        assert wanted.value.approval is not None
        return Mailing.objects.get(notice=notice, state="ready")

    days = dict(Subject.objects.values_list("pk", "last_active_date"))
    assert all(days.values())
    plain = asked(False)
    assert [x for b in Batch.objects.filter(mailing=plain).order_by("pk") for x in b.subjects] == sorted(days)
    wave = asked(True)
    assert wave.pk != plain.pk  # another order is another mailing to sign
    blocks = [[days[s] for s in b.subjects] for b in Batch.objects.filter(mailing=wave).order_by("pk")]
    assert all(min(a) >= max(b) for a, b in itertools.pairwise(blocks))
    assert sum(map(len, blocks)) == 30


def test_a_day_that_is_none_is_a_fault_of_its_row(shop: Path) -> None:
    people(["user1@gmail.example"])
    home = config.current().home
    (home / "bad.csv").write_text(
        "customer_id,name,email,seen\nC9,Jo,a@gmail.example,yesterday\nC8,Jo,b@gmail.example,\nC7,Jo,c@gmail.example,2026-02-30\n"
    )
    mapping = MAPPING.partition("[address.billing]")[0] + '[stores.customers]\nname = ["name"]\n'
    (home / "bad.toml").write_text(mapping.replace('email = "email"\n', 'email = "email"\nlast_activity = "seen"\n', 1))
    report = subjects.import_file(home / "bad.csv", mapping=home / "bad.toml", at=AT, by="ada", rejects=home / "rejects.csv")
    assert (report.read, report.accepted, report.rejected) == (3, 1, 2)
    assert (home / "rejects.csv").read_text().count("not a day") == 2
    assert Subject.objects.get(external_id="C8").last_active_date is None
    subject = Subject.objects.get(external_id="C8").pk
    Subject.objects.filter(pk=subject).update(last_active_date=AT.date())
    subjects.forget([subject], incident=None, at=AT, by="ada")
    assert Subject.objects.get(pk=subject).last_active_date is None
