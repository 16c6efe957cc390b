"""Loading a data map through the door, against PostgreSQL."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.inventory import actions, queries
from tocsin.inventory.models import MapVersion, Store, System
from tocsin.inventory.types import codes_of
from tocsin.kernel.errors import BadInput, NotFound

AT = datetime(2026, 4, 1, 12, tzinfo=UTC)
EXAMPLE = Path(__file__).parent / "example.yaml"

pytestmark = pytest.mark.django_db


def test_load_then_reach(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="inventory load"):
        queries.current_map()
    with CaptureQueriesContext(
        connection,
    ) as counted:
        info = actions.load_map([EXAMPLE], at=AT, by="ann")
    assert len(counted) <= 10
    assert (info.systems, info.stores, info.loaded_by) == (3, 5, "ann")
    assert queries.latest() == info
    assert queries.current_map().digest == info.digest
    assert queries.map_of(info.digest) == queries.current_map()
    assert set(codes_of(Store.objects.get(key="orders").element_mask)) == {"postal_address", "other_personal", "payment_card_last4"}
    assert list(System.objects.order_by("key").values_list("key", flat=True)) == ["desk_pc", "vault_api", "web_ky"]
    (entry,) = evidence.activity(types=[EventType.MAP_LOADED])
    assert (entry.actor, entry.at, entry.body["digest"], entry.body["stores"]) == ("ann", AT, info.digest.hex(), 5)
    report = queries.reach(["web_ky"]).as_json()
    assert [r["store"] for r in report["reached"]] == ["customers", "orders"]
    assert report["not_reached"][0]["proved"]
    with pytest.raises(NotFound, match="no system web_fr, web_uk"):
        queries.reach(["web_fr", "web_uk", "web_ky"])
    with pytest.raises(NotFound, match="digest"):
        queries.map_of(bytes(32))


def test_the_same_map_again_is_no_new_version_but_a_changed_one_is(tmp_path: Path) -> None:
    first = actions.load_map([EXAMPLE], at=AT, by="ann")
    assert actions.load_map([str(EXAMPLE)], at=AT, by="bob").id == first.id
    halves = EXAMPLE.read_text().split("dataset:\n")
    (tmp_path / "a.yml").write_text(halves[0])
    (tmp_path / "b.yaml").write_text("dataset:\n" + halves[1])
    (tmp_path / "notes.txt").write_text("not read")
    assert actions.load_map([tmp_path], at=AT, by="bob").id == first.id
    (tmp_path / "a.yml").write_text(halves[0].replace("zone: office", "zone: ky_web"))
    second = actions.load_map([tmp_path], at=AT, by="bob")
    assert second.id != first.id
    assert second.digest != first.digest
    assert queries.current_map().digest == second.digest
    assert evidence.counts()[EventType.MAP_LOADED] == 2


def test_a_bad_map_changes_nothing_and_names_every_fault(tmp_path: Path) -> None:
    good = actions.load_map([EXAMPLE], at=AT, by="ann")
    bad = tmp_path / "bad.yaml"
    bad.write_text(EXAMPLE.read_text().replace("kind: host", "kind: server").replace("[email, name]", "[mail, name]"))
    with pytest.raises(BadInput) as refused:
        actions.load_map([bad], at=AT, by="ann")
    assert [(f.line, f.field.rsplit(": ", 1)[1]) for f in refused.value.faults] == [
        (9, "system[0].meta.tocsin.kind"),
        (89, "dataset[3].meta.tocsin.free_text"),
    ]
    assert queries.latest() == good
    assert MapVersion.objects.count() == 1
    assert [f.severity for f in queries.lint([bad], on=date(2026, 4, 1))][:3] == ["error", "error", "warning"]


def test_paths_that_cannot_be_read_are_named_together(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "latin.yaml").write_bytes(b"system: [\xe9]\n")
    with pytest.raises(BadInput) as refused:
        queries.read_files([tmp_path / "empty", tmp_path / "latin.yaml", tmp_path / "gone.yaml", EXAMPLE])
    assert [f.got for f in refused.value.faults] == [
        "a folder without YAML files",
        "nothing there",
        "a byte that is not UTF-8 at 9",
    ]
