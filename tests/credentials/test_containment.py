"""Before a cutover the intruder must be out of what takes the new passwords, or two people say why they go on."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import DatabaseError, transaction

from tests.conftest import forget
from tests.credentials.shop import AT, PEOPLE, cut, enrol, log_in, open_shop
from tests.credentials.test_actions import as_role
from tests.credentials.under_attack import MAP, approved, contained, incident, sign
from tocsin.credentials import actions, queries
from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.incidents import actions as incidents
from tocsin.incidents import queries as incidents_known
from tocsin.incidents.models import Containment
from tocsin.inventory import actions as inventory
from tocsin.kernel import schema
from tocsin.kernel.errors import BadInput, NotFound, Refused
from tocsin.subjects import queries as subjects

FIRST = PEOPLE[0]


@pytest.fixture
def attacked(estate: Path, db: None) -> tuple[Path, int]:
    open_shop(enrol(estate))
    return estate, incident(estate)


def test_a_reached_log_in_holds_the_commit_back_until_two_people_determine(attacked: tuple[Path, int]) -> None:
    home, at = attacked
    armed = actions.arm(incident=at, at=AT, by="ada")
    assert armed.uncontained == ("web_ky",)
    with pytest.raises(Refused, match="web_ky has credentials in hand") as refused:
        actions.commit(armed.id, approval=None, at=AT, by="ada")
    assert refused.value.approval is None  # nobody is even asked to sign
    assert log_in(FIRST) is not None
    with pytest.raises(Refused, match="two people") as asked:
        incidents.determine_containment(at, system="web_ky", statement="rebuilt", approval=None, at=AT, by="ada")
    assert asked.value.approval is not None
    sign(home, asked.value.approval, "ada")
    with pytest.raises(Refused, match="more signature"):
        incidents.determine_containment(at, system="web_ky", statement="rebuilt", approval=asked.value.approval, at=AT, by="ada")
    sign(home, asked.value.approval, "bob")
    with pytest.raises(Refused, match="not what would be done"):
        incidents.determine_containment(at, system="web_ky", statement="not rebuilt", approval=asked.value.approval, at=AT, by="ada")
    incidents.determine_containment(at, system="web_ky", statement="rebuilt", approval=asked.value.approval, at=AT, by="ada")
    (found,) = incidents_known.containment(at)
    assert (found.statement, found.signed_by, found.handles) == ("rebuilt", ("ada", "bob"), ("login",))
    assert evidence.activity(types=[EventType.SYSTEM_CONTAINED])[-1].body["system"] == "web_ky"
    cut(home, armed=queries.cutover(armed.id))
    assert log_in(FIRST) is None
    assert queries.cutover(armed.id).override == ""


def test_two_people_may_go_on_and_their_reason_is_what_they_sign(attacked: tuple[Path, int]) -> None:
    home, at = attacked
    armed = actions.arm(incident=at, at=AT, by="ada")
    reason = "hashes are being cracked; the log-in is watched packet by packet"
    with pytest.raises(Refused, match="two signatures") as asked:
        actions.commit(armed.id, approval=None, at=AT, by="ada", override=reason)
    approval = asked.value.approval
    assert approval is not None
    sign(home, approval)
    with pytest.raises(Refused, match="not what would be done"):
        actions.commit(armed.id, approval=approval, at=AT, by="ada", override="another reason")
    with pytest.raises(Refused, match="has credentials in hand"):
        actions.commit(armed.id, approval=approval, at=AT, by="ada")
    actions.commit(armed.id, approval=approval, at=AT, by="ada", override=reason)
    assert queries.cutover(armed.id).override == reason
    body = evidence.activity(types=[EventType.CUTOVER_COMMITTED])[-1].body
    assert body["containment_override"] == {"systems": ["web_ky"], "reason": reason}
    assert log_in(FIRST) is None


def test_an_override_signed_before_the_containment_covers_nothing_else(attacked: tuple[Path, int]) -> None:
    home, at = attacked
    armed = actions.arm(incident=at, at=AT, by="ada")
    with pytest.raises(Refused) as asked:
        actions.commit(armed.id, approval=None, at=AT, by="ada", override="no time")
    assert asked.value.approval is not None
    sign(home, asked.value.approval)
    contained(home, at)
    with pytest.raises(Refused, match="not what would be done"):
        actions.commit(armed.id, approval=asked.value.approval, at=AT, by="ada", override="no time")
    assert log_in(FIRST) is not None


def test_what_cannot_be_determined(attacked: tuple[Path, int]) -> None:
    _, at = attacked
    with pytest.raises(BadInput) as e:
        incidents.determine_containment(at, system="vault_api", statement=" ", approval=None, at=AT, by="ada")
    assert [f.field for f in e.value.faults] == ["system", "statement"]
    with pytest.raises(NotFound):
        incidents.determine_containment(99, system="web_ky", statement="x", approval=None, at=AT, by="ada")
    assert incidents_known.containment(99) == []


def test_under_another_map_it_has_to_be_determined_anew(attacked: tuple[Path, int], tmp_path: Path) -> None:
    """A new map is a new claim of who reaches what; the exposure frozen before it keeps its own."""
    home, at = attacked
    contained(home, at)
    changed = tmp_path / "map.yaml"
    changed.write_text(MAP.read_text().replace("admins: [ops]\n", "admins: [ops, ops_lead]\n"))
    inventory.load_map([changed], at=AT, by="ada")
    assert [f.contained for f in incidents_known.containment(at)] == [True]
    incidents.scope(at, at=AT, by="ada")
    assert [f.contained for f in incidents_known.containment(at)] == [False]


def test_a_determination_is_never_changed_and_who_acts_may_read_it(
    estate: Path, transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema.migrate()
    open_shop(enrol(estate))
    at = incident(estate)
    contained(estate, at)
    for change in (lambda: Containment.objects.update(statement="x"), lambda: Containment.objects.all().delete()):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change()
    monkeypatch.setenv("TOCSIN_PROCESS", "console")
    forget()
    with as_role("console"):
        armed = actions.arm(incident=at, at=AT, by="ada")
        assert (armed.uncontained, armed.containment[0].contained) == ((), True)
        approved(estate, lambda a: actions.commit(armed.id, approval=a, at=AT, by="ada"))
    assert subjects.contacts_frozen_until(AT) is not None
