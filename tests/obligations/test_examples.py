"""The worked examples of the specification, with their expected dates, and one reason for each of the other laws."""

from __future__ import annotations

from typing import Any

import pytest

from tocsin.obligations import laws, policy
from tocsin.obligations.policy import facts as facts_file
from tocsin.obligations.types import Assessment, DutyInfo, NotTriggered


def run(**document: Any) -> Assessment:
    answer = policy.assess(facts_file.read(document), laws.shipped())
    everything = {law.id for law in laws.shipped().laws}
    bound = {d.law for d in answer.duties if d.duty != "tell_regulator"}
    whole = [n.law for n in answer.not_triggered if n.duty is None]
    assert len(whole) == len(set(whole)), "one reason each"
    below = {n.law for n in answer.not_triggered if n.duty is not None}
    assert bound | below | set(whole) == everything
    assert not set(whole) & (bound | below)
    assert all(n.detail for n in answer.not_triggered)
    return answer


def duty(answer: Assessment, name: str) -> DutyInfo:
    (found,) = [d for d in answer.duties if f"{d.law}.{d.duty}" == name]
    return found


def no(answer: Assessment, name: str) -> NotTriggered:
    law, _, which = name.partition(".")
    (found,) = [n for n in answer.not_triggered if (n.law, n.duty) == (law, which or None)]
    return found


def dates(answer: Assessment, law: str) -> dict[str, str | None]:
    return {d.duty: d.due_date.isoformat() if d.due_date else None for d in answer.duties if d.law == law}


TEXAS: dict[str, Any] = {"elements": ["name", "ssn", "postal_address"], "residents": {"US-TX": 9000}}


def test_texas() -> None:
    answer = run(**TEXAS, events={"discovery": "2026-03-02", "determination": "2026-03-09"})
    assert dates(answer, "us-tx") == {"attorney_general": "2026-04-08", "individuals": "2026-05-08"}
    individuals = duty(answer, "us-tx.individuals")
    assert individuals.as_json()["due_at"] == "2026-05-09T04:59:59Z"
    assert individuals.zone == "America/Chicago"
    assert individuals.fallbacks == ()
    assert individuals.basis == "60 days after determination 2026-03-09 = 2026-05-08 (America/Chicago)"
    assert (individuals.count, individuals.matched, individuals.state) == (9000, ("ssn",), "due")
    assert duty(answer, "us-tx.attorney_general").threshold == "9000 >= 250"
    cra = no(answer, "us-tx.cra")
    assert (cra.reason, cra.detail) == ("threshold", "9000 not > 10000")
    assert answer.watch == ("us-circia",)
    assert no(answer, "us-circia").reason == "status"


def test_texas_without_a_determination() -> None:
    answer = run(**TEXAS, events={"discovery": "2026-03-02"})
    assert dates(answer, "us-tx") == {"attorney_general": "2026-04-01", "individuals": "2026-05-01"}
    assert duty(answer, "us-tx.individuals").fallbacks == ("determination not stated: counted from discovery",)


def test_quebec_and_ontario() -> None:
    answer = run(
        elements=["name", "email", "postal_address", "payment_card_last4"],
        residents={"CA-QC": 3000, "CA-ON": 7000},
        events={"discovery": "2026-04-14T13:00:00Z"},
    )
    assert {d.duty for d in answer.duties if d.law == "ca-pipeda"} == {"opc", "individuals", "other_organisations"}
    for d in (x for x in answer.duties if x.law == "ca-pipeda"):
        assert (d.count, d.standard, d.due_date, d.state) == (10_000, "as_soon_as_feasible", None, "due")
    for name in ("cai", "individuals"):
        d = duty(answer, f"ca-qc-law25.{name}")
        assert (d.count, d.standard, d.due_date) == (3000, "promptly", None)
        assert d.as_json()["ours"] == "2026-05-14"
    assert no(answer, "ca-ab-pipa").reason == "residents"
    assert duty(answer, "ca-qc-law25.individuals").notice["notice"]["format"]["language"] == "French"


def test_germany() -> None:
    elements = ["name", "email", "password_hash"]
    answer = run(elements=elements, residents={"DE": 120}, events={"awareness": "2026-10-23T16:30:00Z"})
    authority = duty(answer, "eu-gdpr.supervisory_authority")
    assert (authority.state, authority.as_json()["due_at"]) == ("asked", "2026-10-26T16:30:00Z")
    assert authority.questions == ("risk not unlikely",)
    assert authority.due_at is not None
    individuals = duty(answer, "eu-gdpr.individuals")
    assert (individuals.state, individuals.standard, individuals.questions) == ("asked", "without_undue_delay", ("high risk",))
    assert {(q.law, q.duty) for q in answer.questions} >= {("eu-gdpr", "supervisory_authority"), ("eu-gdpr", "individuals")}
    assert {no(answer, law).reason for law in ("eu-nis2", "eu-dora", "eu-cra", "eu-eprivacy")} == {"entity"}
    assert no(answer, "us-circia").reason == "residents"
    simple = policy.severity(elements, people=120)
    assert (simple.dpc, simple.ei, simple.cb, simple.score, simple.band) == (1, 1, 1.0, 2.0, "medium")
    assert simple.flags == ("more than 100 people",)
    opened = policy.severity(elements, behind=["behaviour"], people=120)
    assert (opened.dpc, opened.score, opened.band) == (2, 3.0, "high")
    assert simple.next_dpc == opened.score


def test_germany_answered() -> None:
    document: dict[str, Any] = {"elements": ["email"], "residents": {"DE": 120}, "events": {"awareness": "2026-10-23T16:30:00Z"}}
    answers = {"eu-gdpr.supervisory_authority": True, "eu-gdpr.individuals": False, "eu-gdpr.controller": False}
    answer = run(**document, conditions=answers)
    assert duty(answer, "eu-gdpr.supervisory_authority").state == "due"
    assert no(answer, "eu-gdpr.individuals").reason == "condition"
    assert not [q for q in answer.questions if q.law == "eu-gdpr"]


CALIFORNIA: dict[str, Any] = {"elements": ["email", "password_hash"], "residents": {"US-CA": 800}}


def test_california_before_and_after_sb_446() -> None:
    before = run(**CALIFORNIA, events={"discovery": "2025-11-10"})
    individuals = duty(before, "us-ca.individuals")
    assert individuals.matched == ("online_credentials",)
    assert (individuals.standard, individuals.due_date, individuals.as_json()["ours"]) == ("most_expedient_time", None, "2025-12-10")
    assert individuals.version == "2026.11.23.1, text until 2025-12-31"
    assert duty(before, "us-ca.attorney_general").due_date is None
    after = run(**CALIFORNIA, events={"discovery": "2026-02-10"})
    assert dates(after, "us-ca") == {"individuals": "2026-03-12", "attorney_general": None}
    attorney = duty(after, "us-ca.attorney_general")
    assert (attorney.state, attorney.waits_for) == ("open", ("individuals_notified",))
    assert attorney.basis.startswith("15 days after individuals_notified")
    assert attorney.earliest is not None
    told = run(**CALIFORNIA, events={"discovery": "2026-02-10", "individuals_notified": "2026-02-27"})
    assert dates(told, "us-ca")["attorney_general"] == "2026-03-14"
    signed = run(**CALIFORNIA, events={"discovery": "2026-02-10"}, determinations=[{"kind": "hash_not_password"}])
    assert dates(signed, "us-ca") == {}
    assert no(signed, "us-ca").reason == "determination"


LOOKED_AT: dict[str, Any] = {
    "elements": ["name", "ssn"],
    "residents": {"US-FL": 4000, "US-NY": 4000, "US-TX": 4000},
    "events": {"discovery": "2026-06-01"},
}


def test_looked_at_not_taken() -> None:
    answer = run(**LOOKED_AT, determinations=[{"kind": "not_acquired"}])
    florida = dates(answer, "us-fl")
    assert (florida["individuals"], florida["legal_affairs"]) == ("2026-07-01", "2026-07-01")
    assert dates(answer, "us-ny")["individuals"] == "2026-07-01"
    for name in ("attorney_general", "department_of_state", "state_police"):
        d = duty(answer, f"us-ny.{name}")
        assert (d.relation, d.relation_event, d.state) == ("same_time", "individuals_notified", "open")
    assert duty(answer, "us-ny.dfs").state == "asked"
    assert no(answer, "us-ny.cra").detail == "4000 not > 5000"
    assert no(answer, "us-tx").reason == "determination"


def test_looked_at_and_not_signed() -> None:
    answer = run(**LOOKED_AT)
    assert dates(answer, "us-tx") == {"attorney_general": "2026-07-01", "individuals": "2026-07-31"}
    assert duty(answer, "us-tx.individuals").marks == ("acquisition assumed",)
    assert duty(answer, "us-fl.individuals").marks == ()


def test_exfiltrated_clears_the_mark_and_outweighs_not_acquired() -> None:
    cohort = {"jurisdiction": "US-TX", "count": 10, "elements": ["name", "ssn"]}
    taken = run(cohorts=[{**cohort, "state": "exfiltrated"}], events={"discovery": "2026-06-01"}, determinations=[{"kind": "not_acquired"}])
    assert duty(taken, "us-tx.individuals").marks == ()
    both = run(
        cohorts=[{**cohort, "state": "exfiltrated"}, cohort], events={"discovery": "2026-06-01"}, determinations=[{"kind": "not_acquired"}]
    )
    assert duty(both, "us-tx.individuals").count == 10
    assert duty(run(cohorts=[cohort], events={"discovery": "2026-06-01"}), "us-tx.individuals").marks == ("acquisition assumed",)


def test_business_days() -> None:
    elements = ["name", "email", "password_hash"]
    answer = run(elements=elements, residents={"BR": 5000}, events={"awareness": "2026-04-16"})
    assert dates(answer, "br-lgpd")["anpd"] == dates(answer, "br-lgpd")["individuals"] == "2026-04-22"
    iowa = run(elements=["name", "ssn"], residents={"US-IA": 900}, events={"discovery": "2026-06-20", "individuals_notified": "2026-06-30"})
    assert dates(iowa, "us-ia")["attorney_general"] == "2026-07-08"


def test_order_filings_first_then_mailings_by_deadline() -> None:
    answer = run(
        elements=["name", "ssn"], residents={"US-NJ": 50, "US-NY": 60, "US-DC": 70, "US-IA": 900}, events={"discovery": "2026-06-01"}
    )
    steps = answer.order
    before = next(s for s in steps if s.jurisdiction == "US-NJ" and "stays locked" in s.gate)
    mail = [s for s in steps if s.gate.startswith("the mailing")]
    mail_jersey = next(s for s in steps if s.jurisdiction == "US-NJ" and "us-nj.individuals" in s.acts)
    assert before.step < mail_jersey.step
    assert any("filed at or before" in s.gate and s.jurisdiction == "US-DC" for s in steps)
    same = next(s for s in steps if s.jurisdiction == "US-NY" and "within 60 minutes" in s.gate)
    assert set(same.acts) == {"us-ny.attorney_general", "us-ny.department_of_state", "us-ny.state_police", "us-ny.dfs"}
    after = next(s for s in steps if s.jurisdiction == "US-IA" and "clock starts" in s.gate)
    assert after.acts == ("us-ia.attorney_general",)
    assert [s.step for s in steps] == list(range(1, len(steps) + 1))
    assert mail[0].step < after.step
    individual = [
        next(d for d in answer.duties if d.law + ".individuals" == s.acts[0] and d.duty == "individuals")
        for s in steps
        if s.acts[0].endswith(".individuals")
    ]
    assert [d.sort_key for d in individual] == sorted(d.sort_key for d in individual)


@pytest.mark.parametrize("year", range(2012, 2027))
def test_any_year_answers_for_every_law(year: int) -> None:
    answer = run(
        elements=["name", "email", "phone", "postal_address", "payment_card_last4", "password_hash"],
        residents={"US-*": 20_000, "DE": 5, "CA-ON": 7},
        events={"discovery": f"{year}-01-15"},
    )
    assert {n.reason for n in answer.not_triggered if n.duty is None} <= {
        "residents", "entity", "status", "in_force", "element", "encrypted", "determination",
    }  # fmt: skip
    bound = {d.law for d in answer.duties}
    assert ("us-ca" in bound) == (year >= 2014)
    assert ("eu-gdpr" in bound) == (year >= 2019)
