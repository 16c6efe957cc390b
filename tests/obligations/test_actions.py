"""Assess, answer, determine and close through the doors, against PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.inventory import actions as inventory
from tocsin.inventory.types import StoreReached, mask_of
from tocsin.kernel.errors import BadInput, NotFound, Refused
from tocsin.obligations import actions, queries
from tocsin.obligations.models import Answer, Assessment, Determination, Obligation
from tocsin.obligations.types import DutyInfo
from tocsin.staff import actions as staff
from tocsin.staff import keyfiles

AT = datetime(2026, 6, 1, 9, 0, tzinfo=UTC)
DISCOVERED = datetime(2026, 6, 1, 7, 0, tzinfo=UTC)
INCIDENT = 7


@dataclass(frozen=True)
class CohortValue:
    jurisdiction: str
    clear: int
    sealed: int
    state: str
    count: int


@dataclass(frozen=True)
class ExposureValue:
    id: int
    cohorts: tuple[CohortValue, ...]
    reached: tuple[StoreReached, ...] = ()


IDENTITY = mask_of(["name", "ssn"])
EXPOSURE = ExposureValue(
    1,
    (
        CohortValue("US-TX", IDENTITY, 0, "reachable", 9000),
        CohortValue("US-CA", mask_of(["email", "password_hash"]), 0, "reachable", 800),
        CohortValue("DE", IDENTITY, 0, "reachable", 120),
    ),
    (StoreReached("customers", ("web_ky", "shop", "customers"), IDENTITY, 0),),
)


@pytest.fixture
def team(estate: Path, db: None) -> Path:
    for name, roles in (("ada", ["commander"]), ("bob", ["legal"]), ("cyd", ["observer"])):
        staff.add_operator(name=name, roles=roles, at=AT, by="owner")
    return estate


def sign(home: Path, approval: int, *names: str) -> None:
    for name in names:
        staff.sign_with_key_file(approval, operator=name, key_file=keyfiles.folder(home) / f"{name}.key", at=AT)


def assess(exposure: ExposureValue = EXPOSURE, *, at: datetime = AT) -> dict[str, DutyInfo]:
    found = actions.assess_exposure(INCIDENT, exposure, discovered_at=DISCOVERED, at=at, by="ada")
    assert found == sorted(found, key=lambda d: d.sort_key)
    return {f"{d.law}.{d.duty}": d for d in found}


def last() -> dict[str, Any]:
    return evidence.activity(incident=INCIDENT, types=[EventType.DUTIES_ASSESSED])[-1].body


@pytest.mark.django_db
def test_assess_writes_duties_and_evidence_once() -> None:
    assert queries.duties(INCIDENT) == []
    with pytest.raises(NotFound):
        queries.assessment(INCIDENT)
    duties = assess()
    individuals = duties["us-tx.individuals"]
    assert individuals.due_date is not None
    assert (individuals.due_date.isoformat(), individuals.count) == ("2026-07-31", 9000)
    assert Obligation.objects.get(law="us-tx", duty="individuals").due_at == individuals.due_at
    body = last()
    assert (body["cause"], body["removed"], body["changed"]) == (["first"], [], [])
    assert set(body["added"]) == set(duties)
    assert body["data_version"] == "2026.11.23.1"
    whole = queries.assessment(INCIDENT)
    assert {d["law"] for d in whole["duties"]} == {d.law for d in duties.values()}
    assert whole["severity"]["flags"] == ["more than 100 people"]
    assert whole["incident"] == INCIDENT
    # The same again, later: nothing new.
    assert assess(at=AT + timedelta(days=3)) == duties
    assert Assessment.objects.count() == 1
    assert evidence.counts()[EventType.DUTIES_ASSESSED] == 1


@pytest.mark.django_db
def test_a_new_exposure_adds_removes_and_changes() -> None:
    assess()
    fewer = replace(EXPOSURE, id=2, cohorts=(replace(EXPOSURE.cohorts[0], count=200), CohortValue("US-FL", IDENTITY, 0, "reachable", 900)))
    duties = assess(fewer)
    assert "us-tx.attorney_general" not in duties
    body = last()
    assert body["cause"] == ["exposure", "facts"]
    assert "us-tx.attorney_general" in body["removed"]
    assert "us-fl.individuals" in body["added"]
    assert "us-tx.individuals" in body["changed"]
    assert Obligation.objects.get(law="us-tx", duty="attorney_general").withdrawn_at == AT
    back = assess(replace(EXPOSURE, id=3))
    assert "us-tx.attorney_general" in back
    assert Obligation.objects.get(law="us-tx", duty="attorney_general").withdrawn_at is None
    assert Assessment.objects.count() == 3


@pytest.mark.django_db
def test_what_nobody_answered_is_asked_and_answers_take_effect() -> None:
    duties = assess()
    assert duties["eu-gdpr.supervisory_authority"].state == "asked"
    assert duties["us-sec-8k-105.sec"].state == "asked"
    questions = {q["key"] for q in queries.assessment(INCIDENT)["questions"]}
    assert {"entity.sec_registrant_domestic", "eu-gdpr.supervisory_authority"} <= questions
    actions.answer("entity.sec_registrant_domestic", False, incident=None, at=AT, by="bob")
    actions.answer("eu-gdpr.supervisory_authority", True, incident=INCIDENT, at=AT, by="bob")
    actions.answer("event.determination", "2026-06-09", incident=INCIDENT, at=AT, by="bob")
    actions.answer("event.determination", "2026-06-08", incident=INCIDENT, at=AT, by="bob")
    actions.answer("event.determination", "2026-06-08", incident=INCIDENT, at=AT, by="bob")
    assert evidence.counts()[EventType.FACT_RECORDED] == Answer.objects.count() == 4
    duties = assess()
    assert last()["cause"] == ["facts"]
    assert duties["eu-gdpr.supervisory_authority"].state == "due"
    assert "us-sec-8k-105.sec" not in duties
    assert duties["us-tx.individuals"].as_json()["due_date"] == "2026-08-07"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("key", "value", "incident"),
    [
        ("event.determination", "soon", INCIDENT),
        ("event.determination", "2026-06-08T10:00:00", INCIDENT),
        ("event.party", "2026-06-08", INCIDENT),
        ("entity.enterprise", "yes", None),
        ("entity.enterprise", True, INCIDENT),
        ("eu-gdpr.individuals", True, None),
        ("xx-law.individuals", True, INCIDENT),
        ("a.b.c", True, INCIDENT),
    ],
)
def test_answers_of_the_wrong_kind_are_refused(key: str, value: Any, incident: int | None) -> None:
    actions.answer("event.determination", "2026-06-08T10:00:00+02:00", incident=INCIDENT, at=AT, by="bob")
    with pytest.raises(BadInput):
        actions.answer(key, value, incident=incident, at=AT, by="bob")
    assert Answer.objects.count() == 1


def test_a_determination_needs_two_people_one_of_legal(team: Path) -> None:
    assert "us-tx.individuals" in assess()
    what: dict[str, Any] = {"kind": "not_acquired", "law": None, "text": "Flow records of the whole window show no read of the store."}
    with pytest.raises(Refused) as asked:
        actions.determine(INCIDENT, **what, approval=None, at=AT, by="ada")
    approval = asked.value.approval
    assert approval is not None
    sign(team, approval, "ada", "cyd")
    with pytest.raises(Refused, match="legal"):
        actions.determine(INCIDENT, **what, approval=approval, at=AT, by="ada")
    sign(team, approval, "bob")
    with pytest.raises(Refused, match="something else"):
        actions.determine(INCIDENT, **{**what, "law": "us-tx"}, approval=approval, at=AT, by="ada")
    assert Determination.objects.count() == 0
    actions.determine(INCIDENT, **what, approval=approval, at=AT, by="ada")
    duties = assess()
    assert "us-tx.individuals" not in duties
    assert "us-ca.individuals" not in duties
    (kept,) = Determination.objects.all()
    assert kept.retention_until.year == 2031
    with pytest.raises(Refused, match="used already"):
        actions.determine(INCIDENT, **what, approval=approval, at=AT, by="ada")


@pytest.mark.django_db
def test_bad_determinations_are_named_together() -> None:
    with pytest.raises(BadInput) as bad:
        actions.determine(INCIDENT, kind="guess", law="xx", text=" ", approval=None, at=AT, by="ada")
    assert [f.field for f in bad.value.faults] == ["kind", "law", "text"]
    with pytest.raises(BadInput, match="differs from law to law"):
        actions.determine(INCIDENT, kind="no_harm", law=None, text="none", approval=None, at=AT, by="ada")


def test_only_legal_closes_a_duty_and_it_stays_closed(team: Path) -> None:
    assess()
    what: dict[str, Any] = {"law": "us-tx", "duty": "attorney_general", "state": "done", "text": "Filed on the portal, receipt 4711."}
    with pytest.raises(Refused) as asked:
        actions.close(INCIDENT, **what, approval=None, at=AT, by="ada")
    approval = asked.value.approval
    assert approval is not None
    sign(team, approval, "ada")
    with pytest.raises(Refused, match="lacks"):
        actions.close(INCIDENT, **what, approval=approval, at=AT, by="ada")
    sign(team, approval, "bob")
    actions.close(INCIDENT, **what, approval=approval, at=AT, by="ada")
    assert {f"{d.law}.{d.duty}": d.state for d in queries.duties(INCIDENT)}["us-tx.attorney_general"] == "done"
    with pytest.raises(Refused, match="already"):
        actions.close(INCIDENT, **what, approval=approval, at=AT, by="ada")
    more = replace(EXPOSURE, id=9, cohorts=(replace(EXPOSURE.cohorts[0], count=9500),))
    assert assess(more)["us-tx.attorney_general"].state == "done"
    assert Obligation.objects.get(law="us-tx", duty="attorney_general").proof is not None
    assert evidence.activity(incident=INCIDENT, types=[EventType.DUTY_CLOSED])[0].body["approval"] == approval
    with pytest.raises(NotFound):
        actions.close(INCIDENT, law="us-zz", duty="x", state="done", text="t", approval=None, at=AT, by="ada")
    with pytest.raises(BadInput):
        actions.close(INCIDENT, law="us-tx", duty="individuals", state="open", text="t", approval=None, at=AT, by="ada")


@pytest.mark.django_db
def test_a_regime_store_brings_its_code(tmp_path: Path) -> None:
    example = Path(__file__).parents[1] / "inventory" / "example.yaml"
    text = example.read_text().replace("      language: account.lang\n", "      language: account.lang\n      regime: [phi]\n")
    (tmp_path / "map.yaml").write_text(text)
    assert "us-hipaa.individuals" not in assess()
    inventory.load_map([tmp_path], at=AT, by="ada")
    actions.answer("entity.hipaa_covered_entity_or_business_associate", True, incident=None, at=AT, by="bob")
    assert assess()["us-hipaa.individuals"].matched == ("protected_health_information",)
    gone = replace(EXPOSURE, id=4, reached=(replace(EXPOSURE.reached[0], store="closed_down"),))
    assert "us-hipaa.individuals" not in assess(gone)
