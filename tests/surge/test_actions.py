"""A forecast through the door: row, evidence entry, the figures read back, and what a role may not do."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db import DatabaseError, connection, transaction

from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel.errors import BadInput, NotFound
from tocsin.surge import actions, params, queries
from tocsin.surge.types import Draft, Params

AT = datetime(2012, 1, 16, 1, 0, tzinfo=UTC)
SMALL = Params(customers=240_000, mails_per_hour=20_000, draws=20, days=7, step_minutes=30, draft=(Draft(0, 16),), phones_open=True)


@pytest.mark.django_db
def test_a_forecast_is_kept_with_its_inputs_and_recorded(estate: Path) -> None:
    assert queries.latest(1) is None
    made = actions.forecast(1, SMALL, at=AT, by="ada")
    assert queries.latest(1) == made
    assert queries.latest(2) is None
    assert made.calls == 12_000
    assert made.seconds > 0
    entries = [e for e in evidence.activity(incident=1) if e.type == EventType.FORECAST_MADE]
    assert len(entries) == 1
    assert entries[0].actor == "ada"
    assert entries[0].body["calls"] == 12_000
    assert entries[0].body["contacts"] == [round(made.contacts.p10), round(made.contacts.p50), round(made.contacts.p90)]
    other = actions.forecast(1, dataclasses.replace(SMALL, seed=2), at=AT, by="ada")
    assert queries.latest(1) == other != made


@pytest.mark.django_db
def test_a_kept_forecast_is_one_of_ours(estate: Path) -> None:
    actions.forecast(1, SMALL, at=AT, by="ada")
    with connection.cursor() as cursor, pytest.raises(DatabaseError), transaction.atomic():
        cursor.execute(
            "INSERT INTO surge_measure (incident, kind, at, by, inputs, digest, figures) "
            "SELECT incident, 'guess', at, by, inputs, digest, figures FROM surge_measure"
        )


def test_parameters_come_from_a_scenario_or_a_file_of_their_own(tmp_path: Path) -> None:
    own, scenario, bad = tmp_path / "own.toml", tmp_path / "scenario.toml", tmp_path / "bad.toml"
    own.write_text("customers = 7\n")
    scenario.write_text('[scenario]\nname = "x"\n[surge]\ncustomers = 8\n')
    bad.write_text("customers = 0\ncall_rate = 2\n")
    assert params.load(own).customers == 7
    assert params.load(scenario).customers == 8
    with pytest.raises(BadInput) as e:
        params.load(bad)
    assert len(e.value.faults) == 2
    with pytest.raises(NotFound):
        params.load(tmp_path / "none.toml")
    bad.write_text("surge = 3")
    with pytest.raises(BadInput):
        params.load(bad)
