"""Scenarios: one TOML file each in `scenarios/`, read into types, refused as a whole with every fault and its line.

    [scenario]       name, title, summary, datamap (path beside the file)
    [incident]       name, cause, hosts (keys of the data map), story_date, window_hours
    [facts]          what was published; shown, not computed with
    [surge]          parameters of the forecast (`surge.types.Params`); the file serves as PARAMS of `tocsin surge forecast`
    [drill]          how much is rehearsed: `Drill`
    [personalities]  how practice providers behave (`office/personality.py`); absent: ordinary small shares; `enabled = false`: none
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import date
from pathlib import Path
from typing import Any

from tocsin.kernel.errors import BadInput, Fault, NotFound
from tocsin.surge.types import Params, parse_params

from .office import personality
from .office.personality import Personalities

FOLDER = Path(__file__).parents[3] / "scenarios"
FILE_BYTES_MAX = 1 << 20
SECTIONS = ("scenario", "incident", "facts", "surge", "drill", "personalities")
_HEADER = re.compile(r"^\s*(\[\[?)\s*([A-Za-z0-9_.-]+)\s*\]\]?")
_KEY = re.compile(r"^\s*([A-Za-z0-9_-]+)\s*=")


@dataclass(frozen=True, slots=True)
class Story:
    """The incident as the scenario tells it; the drill declares it at the present instant."""

    name: str
    cause: str
    hosts: tuple[str, ...]
    story_date: date
    window_hours: int


@dataclass(frozen=True, slots=True)
class Drill:
    """How much is rehearsed. Shares are of the customers; each has a limit, so that a larger estate does not take for ever."""

    bad_rows: int = 12
    logins: int = 100
    reset_share: float = 0.02
    reset_max: int = 400
    write_share: float = 0.03
    write_max: int = 1_200
    write_twice: float = 0.12
    write_auto: float = 0.03
    mail_wait_s: float = 60.0
    threads: int = 8

    def resets(self, customers: int) -> int:
        """Return how many customers reset in an estate of that size; at least one."""
        return max(1, min(self.reset_max, round(customers * self.reset_share)))

    def writers(self, customers: int) -> int:
        """Return how many customers write in an estate of that size; at least one."""
        return max(1, min(self.write_max, round(customers * self.write_share)))


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario, whole and valid. `customers` of `surge` is the published number, not the drill's."""

    path: Path
    name: str
    title: str
    summary: str
    datamap: Path
    story: Story
    facts: Mapping[str, Any]
    surge: Params
    drill: Drill
    personalities: Personalities


def load(name_or_file: str | Path) -> Scenario:
    """Return a scenario by its name in `scenarios/`, or from a file. Raises NotFound, or BadInput with every fault and its line."""
    file = _find(name_or_file)
    octets = file.read_bytes()
    if len(octets) > FILE_BYTES_MAX:
        raise BadInput.of(file.name, f"{len(octets)} bytes", f"at most {FILE_BYTES_MAX} bytes")
    try:
        text = octets.decode()
        raw = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        found = re.search(r"at line (\d+)", str(e))
        raise BadInput.of(file.name, str(e), "a TOML file in UTF-8", int(found[1]) if found else None) from None
    faults: list[Fault] = []
    scenario = _scenario(file, raw, faults)
    if faults:
        lines = _lines(text)
        raise BadInput([replace(f, line=_line_of(f.field, lines)) for f in faults])
    return scenario


def names() -> list[tuple[str, str]]:
    """Return name and title of every scenario in the folder, sorted; one that cannot be read is named with its first fault."""
    found = []
    for file in sorted(FOLDER.glob("*.toml")):
        try:
            found.append((file.stem, load(file).title))
        except BadInput as e:
            found.append((file.stem, f"unreadable: {e.faults[0]}"))
    return found


def place_personalities(scenario: Scenario, home: Path) -> Path:
    """Write the scenario's personalities where the post office of an estate looks for them; before that process starts."""
    folder = home / "postoffice"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = folder / "personalities.toml"
    part = file.with_suffix(".part")
    part.write_text(personality.dump(scenario.personalities), encoding="utf-8")
    part.replace(file)
    return file


def _find(name_or_file: str | Path) -> Path:
    given = Path(name_or_file)
    for file in (given, FOLDER / f"{name_or_file}.toml") if given.suffix == ".toml" else (FOLDER / f"{name_or_file}.toml", given):
        if file.is_file():
            return file.resolve()
    known = ", ".join(sorted(f.stem for f in FOLDER.glob("*.toml"))) or "none"
    raise NotFound(f"no scenario {str(name_or_file)!r}: give a TOML file, or one of {known}")


def _scenario(file: Path, raw: dict[str, Any], faults: list[Fault]) -> Scenario:
    faults.extend(Fault(key, "a section", f"one of {', '.join(SECTIONS)}") for key in raw if key not in SECTIONS)
    tables: dict[str, dict[str, Any]] = {}
    for section in SECTIONS:
        value = raw.get(section, {})
        if not isinstance(value, dict):
            faults.append(Fault(section, repr(value)[:80], "a table"))
            value = {}
        tables[section] = value
    head = _texts(tables["scenario"], "scenario", ("name", "title", "summary", "datamap"), faults)
    datamap = file.parent / head["datamap"]
    if head["datamap"] and not datamap.exists():
        faults.append(Fault("scenario.datamap", repr(head["datamap"]), "a file or folder beside the scenario"))
    return Scenario(
        path=file, name=head["name"], title=head["title"], summary=head["summary"].strip(), datamap=datamap,
        story=_story(tables["incident"], faults), facts=tables["facts"], surge=parse_params(tables["surge"], faults=faults),
        drill=_drill(tables["drill"], faults),
        personalities=personality.from_values(tables["personalities"], faults=faults, where="personalities"))


def _texts(table: dict[str, Any], where: str, keys: tuple[str, ...], faults: list[Fault]) -> dict[str, str]:
    """Return required texts of a section; other keys are faults."""
    faults.extend(Fault(f"{where}.{key}", repr(table[key])[:80], f"one of {', '.join(keys)}") for key in table if key not in keys)
    good = {}
    for key in keys:
        value = table.get(key)
        if not isinstance(value, str) or not value.strip():
            faults.append(Fault(f"{where}.{key}", "nothing" if value is None else repr(value)[:80], "a text"))
            value = ""
        good[key] = value
    return good


def _story(table: dict[str, Any], faults: list[Fault]) -> Story:
    values = _texts({k: v for k, v in table.items() if k in {"name", "cause"}}, "incident", ("name", "cause"), faults)
    known = {"name", "cause", "hosts", "story_date", "window_hours"}
    faults.extend(Fault(f"incident.{key}", repr(table[key])[:80], f"one of {', '.join(sorted(known))}")
                  for key in table if key not in known)
    hosts, when, window = table.get("hosts"), table.get("story_date"), table.get("window_hours", 72)
    if not isinstance(hosts, list) or not hosts or not all(isinstance(h, str) and h for h in hosts):
        faults.append(Fault("incident.hosts", repr(hosts)[:80], "a list of keys of the data map"))
        hosts = []
    if type(when) is not date:
        faults.append(Fault("incident.story_date", repr(when)[:80], "a date such as 2012-01-15"))
        when = date.min
    if type(window) is not int or not 0 <= window <= 87_600:
        faults.append(Fault("incident.window_hours", repr(window)[:80], "whole hours from 0 to 87600"))
        window = 0
    return Story(values["name"], values["cause"], tuple(hosts), when, window)


def _drill(table: dict[str, Any], faults: list[Fault]) -> Drill:
    known = {f.name: f.default for f in fields(Drill)}
    good: dict[str, Any] = {}
    for key, value in table.items():
        at, default = f"drill.{key}", known.get(key)
        if default is None:
            faults.append(Fault(at, repr(value)[:80], f"one of {', '.join(sorted(known))}"))
        elif key in {"reset_share", "write_share", "write_twice", "write_auto"}:
            fits = type(value) in (int, float) and 0 <= value <= 1
            _keep(good, key, value, fits, at, "a share from 0 to 1", faults)
        elif key == "mail_wait_s":
            _keep(good, key, value, type(value) in (int, float) and 0 < value <= 3_600, at, "seconds above 0, up to 3600", faults)
        else:
            low, high = (1, 200) if key == "threads" else (0, 10_000_000)
            _keep(good, key, value, type(value) is int and low <= value <= high, at, f"a whole number from {low} to {high}", faults)
    return Drill(**good)


def _keep(good: dict[str, Any], key: str, value: Any, fits: bool, where: str, wanted: str, faults: list[Fault]) -> None:
    if fits:
        good[key] = value
    else:
        faults.append(Fault(where, repr(value)[:80], wanted))


def _lines(text: str) -> dict[str, int]:
    """Return the line of every section and key, by dotted name; tables of an array are counted: `a.b[1].key`."""
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    prefix = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            prefix = header[2]
            if header[1] == "[[":
                counts[prefix] = counts.get(prefix, -1) + 1
                prefix = f"{prefix}[{counts[prefix]}]"
            lines.setdefault(prefix, number)
        elif key := _KEY.match(line):
            lines.setdefault(f"{prefix}.{key[1]}" if prefix else key[1], number)
    return lines


def _line_of(field: str, lines: Mapping[str, int]) -> int | None:
    """Return the line of a field, or of the nearest thing above it that has one."""
    while field not in lines:
        if field.endswith("]"):
            field = field[:field.rindex("[")]
        elif "." in field:
            field = field.rpartition(".")[0]
        else:
            return None
    return lines[field]
