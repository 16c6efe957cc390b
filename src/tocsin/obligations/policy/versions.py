"""A law's text on a given day, and that text compiled for matching.

The top of a law is today's text. For day D every `past` entry with `until` >= D is applied, newest first, as a deep merge: null deletes
a key, a `deadline` is replaced whole. A code `x@DAY` counts from that day on. Source: laws/README.md, Version history.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from tocsin.obligations.types import Law

from .codes import ASKED, BIT, COUNTED, EVENT_ITSELF, mask
from .lawfile import CODE, as_date

ACQUISITION = frozenset({"acquisition", "access_and_acquisition", "acquisition_or_use"})
ENOUGH_FOR_THEFT = "any_listed_element_if_enough_for_identity_theft"


def text_on(raw: Mapping[str, Any], day: date) -> dict[str, Any]:
    """Return a law's text as it stood on a day, without `past`."""
    text: dict[str, Any] = {k: v for k, v in raw.items() if k != "past"}
    entries = [(until, entry) for entry in raw.get("past", []) if (until := as_date(entry["until"])) is not None and until >= day]
    for _, entry in sorted(entries, key=lambda e: e[0], reverse=True):
        text = _merge(text, entry["set"])
    return text


def _merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        if value is None:
            merged.pop(key, None)
        elif key not in ("deadline", "deadline_cap") and isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


@dataclass(frozen=True, slots=True)
class DutyRule:
    """One duty of a version."""

    id: str
    to: str
    name: str
    deadline: Mapping[str, Any]
    cap: Mapping[str, Any] | None
    guidance_hours: int | None
    threshold: tuple[int, str, str] | None  # count, op, scope
    also_if: tuple[str, ...]
    condition: str | None
    content: tuple[str, ...]
    confidence: str


@dataclass(frozen=True, slots=True)
class Version:
    """One law on one day, ready to match: masks of codes.py, duties, and what the explanations quote."""

    law: str
    jurisdiction: str
    members: frozenset[str]
    status: str | None
    in_force_from: date | None
    entity: str
    event: str
    acquisition: bool
    alone: int
    with_name: int
    asked: tuple[tuple[str, bool], ...]  # (code, needs the name)
    counted: tuple[str, ...]
    event_itself: bool
    safe_harbor: bool | str
    lost_if_key_taken: bool
    harm_rule: str
    harm_standard: str | None
    tell_regulator: str | None
    duties: tuple[DutyRule, ...]
    delay: Mapping[str, Any]
    deemed_compliant: bool
    notice: Mapping[str, Any]
    version: str
    source: str
    source_url: str | None
    counsel: bool


@functools.lru_cache(maxsize=8_192)
def compiled(law: Law, day: date) -> Version:
    """Return a law compiled for a day. Cached: an estate looks at few days."""
    text = text_on(law.raw, day)
    trigger, encryption = text["trigger"], text["trigger"]["encryption"]
    alone, with_name = (_codes_on(trigger["elements"].get(key, []), day) for key in ("alone", "with_name"))
    asked = tuple((code, code in with_name) for code in dict.fromkeys((*alone, *with_name)) if code in ASKED)
    untils = sorted(u for e in law.raw.get("past", []) if (u := as_date(e["until"])) is not None and u >= day)
    return Version(
        law=law.id,
        jurisdiction=text["jurisdiction"],
        members=frozenset(text.get("members", ())),
        status=text.get("status"),
        in_force_from=as_date(text.get("in_force_from")),
        entity=text["applies"]["entity"],
        event=trigger["event"],
        acquisition=trigger["event"] in ACQUISITION,
        alone=mask(alone),
        with_name=mask(with_name),
        asked=asked,
        counted=tuple(c for c in alone if c in COUNTED),
        event_itself=EVENT_ITSELF in alone,
        safe_harbor=encryption["safe_harbor"],
        lost_if_key_taken=bool(encryption.get("lost_if_key_taken")),
        harm_rule=trigger["harm"]["rule"],
        harm_standard=trigger["harm"].get("standard"),
        tell_regulator=trigger["harm"].get("tell_regulator"),
        duties=tuple(_duty(name, duty, text["confidence"]["core"]) for name, duty in text["duties"].items()),
        delay=text.get("law_enforcement_delay", {}),
        deemed_compliant=bool(text.get("deemed_compliant")),
        notice={k: text[k] for k in ("notice", "services", "processor_duty", "law_enforcement_delay") if k in text},
        version=f"{law.data_version}, text until {untils[0].isoformat()}" if untils else law.data_version,
        source=f"{text['law']['name']}, {text['law']['cite']}",
        source_url=text["law"].get("url"),
        counsel=not any(s["read"] in ("primary", "official") for s in text["sources"]),
    )


def _codes_on(codes: list[str], day: date) -> tuple[str, ...]:
    """Return the codes that count on a day, without their dates."""
    found = []
    for code in codes:
        match = CODE.fullmatch(code)
        since = as_date(match[2]) if match and match[2] else None
        if match and (since is None or day >= since):
            found.append(match[1])
    return tuple(found)


def _duty(name: str, duty: Mapping[str, Any], core: str) -> DutyRule:
    threshold = duty.get("threshold")
    return DutyRule(
        id=name,
        to=duty["to"],
        name=duty.get("name") or duty["to"].replace("_", " "),
        deadline=duty["deadline"],
        cap=duty.get("deadline_cap"),
        guidance_hours=duty.get("guidance_hours"),
        threshold=(threshold["count"], threshold["op"], threshold["scope"]) if threshold else None,
        also_if=tuple(duty.get("also_if", ())),
        condition=duty.get("condition"),
        content=tuple(duty.get("content", ())),
        confidence=duty.get("confidence", core),
    )


def listed(version: Version) -> int:
    """Return the codes a law lists with the name, those that only a person can judge left out."""
    return version.with_name & ~mask(c for c in ASKED if c != "fin_account_with_code")


def hits(version: Version, derived: int) -> int:
    """Return the codes by which a cohort with these (derived) codes matches."""
    found = version.alone & derived
    if derived & BIT["name"]:
        found |= version.with_name & derived
    return found
