"""The shipped law files against the checks their README asks for, and the checks against files that break each rule."""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tocsin.kernel.errors import BadInput
from tocsin.obligations import laws
from tocsin.obligations.policy.clocks import US, zone_of
from tocsin.obligations.policy.codes import ASKED, CODES, COUNTED, DERIVED, EVENT_ITSELF, REGIME
from tocsin.obligations.policy.engine import ENTITY_DEFAULT
from tocsin.obligations.policy.lawfile import as_date
from tocsin.obligations.policy.versions import compiled, text_on

FILES = sorted(laws.FOLDER.glob("*.yaml"))


def test_all_88_laws_load() -> None:
    data = laws.shipped()
    assert len(data.laws) == len({law.id for law in data.laws}) == 88
    assert data.data_version == "2026.11.23.1"
    assert len(data.digest) == 64
    assert {law.file for law in data.laws} == {f.name for f in FILES}
    assert {law.raw["jurisdiction"] for law in data.laws if law.file == "us-states.yaml"} == set(US)


def test_every_version_of_every_law_compiles() -> None:
    n = 0
    for law in laws.shipped().laws:
        days = {date(2026, 11, 24), *(d for e in law.raw.get("past", []) if (d := as_date(e["until"])) is not None)}
        for day in days | {d + timedelta(days=1) for d in days}:
            version = compiled(law, day)
            assert version.duties
            assert zone_of(version.jurisdiction)
            n += 1
    assert n > 200


def test_the_readme_lists_the_codes_the_engine_knows() -> None:
    section = (laws.FOLDER / "README.md").read_text().split("## Element codes")[1].split("Map from the Fides")[0]
    prose = {"none", "of", "these", "only", "codes", "the", "event", "itself", "triggers", "urisdiction"}
    assert set(re.findall(r"[a-z][a-z0-9_]+", section)) - prose == set(CODES)
    assert set(DERIVED) & set(ASKED) == {"fin_account_with_code"}  # derived with a code, asked without one
    assert set(CODES) >= {*DERIVED, *ASKED, *COUNTED, *REGIME.values(), EVENT_ITSELF}


def test_entities_true_of_everybody_are_entities_of_the_data() -> None:
    used = {law.raw["applies"]["entity"] for law in laws.shipped().laws}
    assert used >= ENTITY_DEFAULT


def test_no_high_core_on_hearsay() -> None:
    for law in laws.shipped().laws:
        reads = [s["read"] for s in law.raw["sources"]]
        if law.raw["confidence"]["core"] == "high":
            assert {"primary", "official"} & set(reads) or reads.count("secondary") >= 2, law.id


def test_version_history_merges_newest_first() -> None:
    raw = {
        "a": {"keep": 1, "deadline": {"within": 3, "from": "x"}, "gone": 1},
        "past": [
            {"until": "2010-12-31", "set": {"a": {"gone": 5, "keep": 0}}, "by": "old"},
            {"until": "2020-12-31", "set": {"a": {"deadline": {"standard": "s"}, "gone": None}}, "by": "new"},
        ],
    }
    assert text_on(raw, date(2021, 1, 1)) == {"a": raw["a"]}
    assert text_on(raw, date(2020, 12, 31)) == {"a": {"keep": 1, "deadline": {"standard": "s"}}}
    assert text_on(raw, date(2010, 12, 31)) == {"a": {"keep": 0, "deadline": {"standard": "s"}, "gone": 5}}


def test_dated_codes_count_from_their_day() -> None:
    law = next(x for x in laws.shipped().laws if x.id == "us-ca")
    before, after = compiled(law, date(2013, 12, 31)), compiled(law, date(2014, 1, 1))
    assert (before.alone, after.alone != 0) == (0, True)


# Refusals: each case edits one shipped law.

GOOD = yaml.safe_load((laws.FOLDER / "us-federal.yaml").read_text())


def edited(**paths: Any) -> dict[str, Any]:
    """Return the federal file cut to its first law, with values set at dotted paths (None deletes)."""
    document: dict[str, Any] = yaml.safe_load(yaml.safe_dump({**GOOD, "laws": GOOD["laws"][:1]}))
    for path, value in paths.items():
        node: Any = document if path.startswith("top.") else document["laws"][0]
        *parents, last = path.removeprefix("top.").split("/")
        for key in parents:
            node = node[int(key) if key.isdigit() else key]
        last_key: Any = int(last) if last.isdigit() else last
        if value is None:
            del node[last_key]
        else:
            node[last_key] = value
    return document


def load(tmp_path: Path, document: Any) -> list[str]:
    (tmp_path / "x.yaml").write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    try:
        laws.load([tmp_path])
    except BadInput as e:
        return [f"{f.line} {f.field}: {f.got}" for f in e.faults]
    return []


DUTY = "duties/individuals"
BREAKS: list[tuple[dict[str, Any], str]] = [
    ({"top.schema": "x/1"}, "wanted tocsin-obligations/1"),
    ({"top.group": 3}, "wanted a name"),
    ({"top.data_version": "soon"}, "wanted a version"),
    ({"top.extra": 1}, "unknown key 'extra'"),
    ({"top.laws": {}}, "wanted a list of laws"),
    ({"id": "US HIPAA"}, "lower-case"),
    ({"jurisdiction": "usa"}, "wanted ISO 3166"),
    ({"jurisdiction": "TR"}, "no legal zone"),
    ({"members": [False]}, "NO in quotes"),
    ({"kind": "odd"}, "wanted one of general"),
    ({"status": "soon"}, "wanted one of not_in_force"),
    ({"in_force_from": "2009-13-01"}, "wanted a day or null"),
    ({"checked": "yesterday"}, "wanted a day"),
    ({"checked": None}, "lacks checked"),
    ({"applies": "all"}, "wanted a mapping"),
    ({"applies/entity": None}, "lacks entity"),
    ({"law/site": "x"}, "unknown key 'site'"),
    ({"trigger": 1}, "wanted a mapping"),
    ({"trigger/elements": {}}, "wanted with_name, alone or both"),
    ({"trigger/elements/alone": "ssn"}, "wanted a list of codes"),
    ({"trigger/elements/alone": ["soc_sec"]}, "unknown code 'soc_sec'"),
    ({"trigger/elements/alone": ["ssn@2014-02-30"]}, "unknown code"),
    ({"trigger/elements/beside": []}, "unknown key 'beside'"),
    ({"trigger/data_form": "paper"}, "wanted one of electronic"),
    ({"trigger/encryption/safe_harbor": "maybe"}, "wanted one of True"),
    ({"trigger/harm": "none"}, "wanted a mapping"),
    ({"trigger/harm/rule": "some"}, "wanted one of none"),
    ({"trigger/harm/record_years": "six"}, "wanted whole years"),
    ({"duties": {}}, "at least one duty"),
    ({DUTY: 1}, "wanted a mapping"),
    ({f"{DUTY}/to": "everyone"}, "wanted one of individuals"),
    ({f"{DUTY}/due": "now"}, "unknown key 'due'"),
    ({f"{DUTY}/deadline": None}, "lacks deadline"),
    ({f"{DUTY}/deadline": 60}, "wanted a mapping"),
    ({f"{DUTY}/deadline": {"from": "discovery"}}, "wanted within, standard, relation or earliest_of"),
    ({f"{DUTY}/deadline/within": 0}, "positive whole number"),
    ({f"{DUTY}/deadline/within": True}, "positive whole number"),
    ({f"{DUTY}/deadline/unit": "weeks"}, "wanted one of hours"),
    ({f"{DUTY}/deadline/clock": None}, "wanted one of calendar"),
    ({f"{DUTY}/deadline": {"within": 3, "unit": "hours", "clock": "business", "from": "discovery"}}, "business clocks count days"),
    ({f"{DUTY}/deadline/from": "dawn"}, "wanted one of"),
    ({f"{DUTY}/deadline/from": None}, "lacks from"),
    ({f"{DUTY}/deadline": {"standard": "soon"}}, "lacks from"),
    ({f"{DUTY}/deadline": {"relation": "after", "to_event": "discovery"}}, "wanted one of before"),
    ({f"{DUTY}/deadline": {"relation": "before", "to_event": "dawn"}}, "wanted one of"),
    ({f"{DUTY}/deadline": {"earliest_of": []}}, "two or more"),
    ({f"{DUTY}/deadline": {"earliest_of": [{"standard": "soon"}, 3]}}, "wanted a mapping"),
    ({f"{DUTY}/threshold": {"count": 3}}, "exactly count, op and scope"),
    ({f"{DUTY}/threshold": {"count": -3, "op": "eq", "scope": "town"}}, "wanted a count"),
    ({f"{DUTY}/condition": 3}, "wanted a text"),
    ({f"{DUTY}/content": "all"}, "wanted a list of texts"),
    ({f"{DUTY}/confidence": "sure"}, "wanted one of high"),
    ({f"{DUTY}/guidance_hours": "72"}, "wanted whole hours"),
    ({"notice": []}, "wanted a mapping"),
    ({"notice/methods": ["mail", 3]}, "wanted a list of texts"),
    ({"notice/colour": "red"}, "unknown key 'colour'"),
    ({"processor_duty": {"within": 3, "unit": "days", "clock": "calendar"}}, "lacks from"),
    ({"law_enforcement_delay": True}, "wanted a mapping"),
    ({"law_enforcement_delay": {"allowed": True, "resume_within": {"within": -1, "unit": "days", "clock": "calendar"}}}, "positive"),
    ({"deemed_compliant": "glba"}, "wanted a list of texts"),
    ({"confidence/core": "sure"}, "wanted one of high"),
    ({"confidence": {"core": "high"}}, "exactly core, elements and detail"),
    ({"sources": []}, "at least one source"),
    ({"sources": [{"read": "primary"}]}, "wanted read and cite"),
    ({"sources": [{"read": "heard", "cite": "x"}]}, "wanted one of primary"),
    ({"sources": [{"read": "memory", "cite": "x"}, {"read": "secondary", "cite": "y"}]}, "high wants a primary"),
    ({"past": {}}, "wanted a list"),
    ({"past/0/until": "then"}, "wanted a day"),
    ({"past/0/by": None}, "exactly until, set"),
    ({"past/0/set": {"duties": {"media": {"to": None}}}}, "in the version until 2013-03-25"),
]


@pytest.mark.parametrize(("change", "wanted"), BREAKS, ids=[f"{i}" for i in range(len(BREAKS))])
def test_a_broken_law_is_refused_with_its_line(tmp_path: Path, change: dict[str, Any], wanted: str) -> None:
    assert load(tmp_path, edited()) == []
    faults = load(tmp_path, edited(**change))
    assert any(wanted in f for f in faults), faults
    assert all(f.split(" ")[0].isdigit() for f in faults)


def test_faults_come_together_and_name_law_and_path(tmp_path: Path) -> None:
    faults = load(tmp_path, edited(**{"kind": "odd", f"{DUTY}/to": "everyone", "checked": "x"}))
    assert len(faults) == 3
    assert any("laws.0.duties.individuals.to (us-hipaa)" in f for f in faults)


@pytest.mark.parametrize("text", ["- 1", "laws: [", "a: \x00", "x: 2026-02-30", ""])
def test_what_is_no_law_file_is_refused(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, text)


def test_twice_the_same_id_and_nothing_at_all_are_refused(tmp_path: Path) -> None:
    document = edited()
    document["laws"] *= 2
    assert any("us-hipaa" in f for f in load(tmp_path, document))
    document["laws"] = [3]
    assert load(tmp_path, document)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="no law files"):
        laws.load([tmp_path / "empty"])


def test_a_private_overlay_adds_to_the_laws(tmp_path: Path) -> None:
    document = edited(id="our-insurer", jurisdiction="*")
    document["laws"][0]["kind"] = "contractual"
    document["data_version"] = "2026.12.1"
    (tmp_path / "contracts.yaml").write_text(yaml.safe_dump(document))
    data = laws.load([laws.FOLDER, tmp_path])
    assert len(data.laws) == 89
    assert data.data_version == "2026.12.1"
    assert data.digest != laws.shipped().digest
