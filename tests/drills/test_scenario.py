"""Scenario files: the one we ship, and faulty ones refused with every fault and its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tocsin.drills import scenario
from tocsin.drills.office import personality
from tocsin.kernel.errors import BadInput, NotFound
from tocsin.surge import params


def test_the_shipped_scenario_states_the_published_facts() -> None:
    zappos = scenario.load("zappos-2012")
    assert zappos == scenario.load(zappos.path) == scenario.load(str(zappos.path))
    assert zappos.story.story_date.isoformat() == "2012-01-15"
    assert zappos.facts["customers"] == zappos.surge.customers == 24_000_000
    assert zappos.surge.customers * zappos.surge.call_rate == 1_200_000
    assert zappos.surge.professionals + sum(d.people for d in zappos.surge.draft) == zappos.facts["staff"]
    assert not zappos.surge.phones_open
    assert zappos.datamap.exists()
    assert all(f"fides_key: {host}" in zappos.datamap.read_text() for host in zappos.story.hosts)
    assert params.load(zappos.path) == zappos.surge
    assert ("zappos-2012", zappos.title) in scenario.names()


def test_samples_grow_with_the_estate_up_to_their_limit() -> None:
    drill = scenario.Drill(reset_share=0.02, reset_max=400, write_share=0.03, write_max=1_200)
    assert [drill.resets(n) for n in (10, 2_400, 24_000, 24_000_000)] == [1, 48, 400, 400]
    assert [drill.writers(n) for n in (10, 2_400, 24_000, 24_000_000)] == [1, 72, 720, 1_200]


def test_personalities_reach_the_post_office_as_they_were(tmp_path: Path) -> None:
    zappos = scenario.load("zappos-2012")
    file = scenario.place_personalities(zappos, tmp_path)
    assert file == tmp_path / "postoffice" / "personalities.toml"
    assert personality.load(file) == zappos.personalities


BAD = """
[scenario]
name = "bad"
title = 3
datamap = "nowhere.yaml"

[incident]
name = "x"
cause = "y"
hosts = []
story_date = "2012-01-15"

[surge]
call_rate = 2
sugre = 1

[drill]
threads = 0

[[personalities.provider]]
name = "a"

[[personalities.provider]]
name = "b"
unknown = 7

[extra]
"""


def test_every_fault_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(BAD)
    with pytest.raises(BadInput) as e:
        scenario.load(file)
    assert {(f.field, f.line) for f in e.value.faults} == {
        ("scenario.title", 4),
        ("scenario.summary", 2),
        ("scenario.datamap", 5),
        ("incident.hosts", 10),
        ("incident.story_date", 11),
        ("surge.call_rate", 14),
        ("surge.sugre", 15),
        ("drill.threads", 18),
        ("personalities.provider[1].unknown", 25),
        ("extra", 27),
    }


@pytest.mark.parametrize("text", ["[scenario\n", "a = 1\na = 2\n", "\xff"])
def test_what_is_no_toml_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "no.toml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(BadInput):
        scenario.load(file)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(NotFound, match="zappos-2012"):
        scenario.load("atlantis")
