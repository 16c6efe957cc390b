"""The schema `tocsin-obligations/1` as a check: what a law file may hold. Every fault at once, as (key path, what is wrong).

The schema in words is `laws/README.md`. Each version of each law is checked, today's and every past one, so that a deep merge never
yields a duty without an addressee or a deadline without a clock.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Any

from .clocks import EVENTS, zone_of
from .codes import CODES

SCHEMA = "tocsin-obligations/1"
Path = tuple[str | int, ...]
Fault = tuple[Path, str]

LAW_KEYS = frozenset({
    "id", "jurisdiction", "members", "kind", "status", "applies", "law", "in_force_from", "trigger", "duties", "notice", "services",
    "processor_duty", "law_enforcement_delay", "deemed_compliant", "penalties", "notes", "past", "pending", "confidence", "checked",
    "sources",
})  # fmt: skip
LAW_NEEDS = (
    "id",
    "jurisdiction",
    "kind",
    "applies",
    "law",
    "in_force_from",
    "trigger",
    "duties",
    "notice",
    "confidence",
    "checked",
    "sources",
)
KINDS = ("general", "sector", "contractual")
STATUSES = ("not_in_force", "enacted_not_yet_in_force")
ADDRESSEES = (
    "individuals", "regulator", "consumer_reporting_agencies", "media", "data_owner", "acquiring_bank", "card_brand", "self",
    "third_parties_able_to_reduce_risk",
)  # fmt: skip
DUTY_KEYS = frozenset({
    "to", "name", "threshold", "condition", "also_if", "exceptions", "deadline", "deadline_cap", "guidance_hours", "content", "on_request",
    "confidence", "notes",
})  # fmt: skip
DEADLINE_TEXT = frozenset({
    "late", "phased", "where", "guidance", "delay_allowed_for", "extension", "extendable", "without_delaying_individuals",
    "small_agents_business_days",
})  # fmt: skip
RELATIONS = ("before", "same_time", "not_later_than")
HARM_RULES = ("none", "notify_unless_no_risk", "notify_if_risk", "narrow")
SAFE_HARBORS = (True, False, "individuals_only", "risk_factor")
LEVELS = ("high", "medium", "low")
READS = ("primary", "official", "secondary", "memory")
SCOPES = ("residents", "residents_of_one_state", "data_subjects")
IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9_-]*")
CODE = re.compile(r"([a-z0-9_]+)(?:@(\d{4}-\d{2}-\d{2}))?")
JURISDICTION = re.compile(r"\*|[A-Z]{2}(-[A-Z0-9]{1,3})?")
VERSION = re.compile(r"\d{4}\.\d{1,2}\.\d{1,2}(\.\d+)?")


def faults_of_file(document: Any) -> Iterator[Fault]:
    """Yield what is wrong with the top of a law file."""
    if not isinstance(document, dict):
        yield (), "wanted a mapping with schema, group, data_version, laws"
        return
    if document.get("schema") != SCHEMA:
        yield ("schema",), f"got {document.get('schema')!r}; wanted {SCHEMA}"
    if not isinstance(document.get("group"), str):
        yield ("group",), "wanted a name"
    if not VERSION.fullmatch(str(document.get("data_version"))):
        yield ("data_version",), f"got {document.get('data_version')!r}; wanted a version such as 2026.11.23 or 2026.11.23.1"
    yield from _unknown(document, frozenset({"schema", "group", "data_version", "laws", "complete_through", "not_covered_yet"}), ())
    if not isinstance(document.get("laws"), list):
        yield ("laws",), "wanted a list of laws"


def faults_of_law(law: Any, version: Callable[[Mapping[str, Any], date], Mapping[str, Any]]) -> Iterator[Fault]:
    """Yield what is wrong with one law and with each of its past versions. `version(law, day)` gives the text of a day."""
    if not isinstance(law, dict):
        yield (), "wanted a mapping"
        return
    before = list(_law(law))
    yield from before
    past = law.get("past", [])
    if not isinstance(past, list):
        yield ("past",), "wanted a list"
        return
    sound = not before
    for i, entry in enumerate(past):
        here: Path = ("past", i)
        if not isinstance(entry, dict) or set(entry) != {"until", "set", "by"} or not isinstance(entry["set"], dict):
            yield here, "wanted exactly until, set (a mapping) and by"
            sound = False
        elif as_date(entry["until"]) is None:
            yield (*here, "until"), f"got {entry['until']!r}; wanted a day"
            sound = False
    if sound:
        for i, entry in enumerate(past):
            until = as_date(entry["until"])
            # A correction of ours keeps an old value on record and ends before the law began: never applied, still checked.
            for path, text in _law(version(law, until) if until else law):
                yield ("past", i, *path), f"in the version until {entry['until']}: {text}"


def _law(law: Mapping[str, Any]) -> Iterator[Fault]:
    yield from _unknown(law, LAW_KEYS, ())
    yield from _needs(law, LAW_NEEDS, ())
    for key in ("id",):
        if key in law and not (isinstance(law[key], str) and IDENTIFIER.fullmatch(law[key])):
            yield (key,), f"got {law[key]!r}; wanted lower-case letters, digits, - or _"
    code = law.get("jurisdiction")
    if not isinstance(code, str) or not JURISDICTION.fullmatch(code):
        yield ("jurisdiction",), f"got {code!r}; wanted ISO 3166 such as US-CA or DE, EU, or *"
    elif zone_of(code) is None:
        yield ("jurisdiction",), f"no legal zone is known for {code}: add it to the table of zones"
    members = law.get("members", [])
    if not isinstance(members, list) or not all(isinstance(m, str) and JURISDICTION.fullmatch(m) for m in members):
        yield ("members",), "wanted a list of ISO 3166 codes (NO in quotes: YAML reads it as a boolean)"
    yield from _choice(law, "kind", KINDS, ())
    if "status" in law:
        yield from _choice(law, "status", STATUSES, ())
    if law.get("in_force_from") is not None and as_date(law["in_force_from"]) is None:
        yield ("in_force_from",), f"got {law['in_force_from']!r}; wanted a day or null"
    if "checked" in law and as_date(law["checked"]) is None:
        yield ("checked",), f"got {law['checked']!r}; wanted a day"
    yield from _mapping(law, "applies", ("person", "entity"), ("person", "entity"))
    yield from _mapping(law, "law", ("name", "cite", "url"), ("name", "cite"))
    yield from _trigger(law.get("trigger"))
    duties = law.get("duties")
    if not isinstance(duties, dict) or not duties:
        yield ("duties",), "wanted at least one duty"
    else:
        for name, duty in duties.items():
            yield from _duty(duty, ("duties", str(name)))
    notice = law.get("notice")
    if not isinstance(notice, dict):
        yield ("notice",), "wanted a mapping"
    else:
        yield from _unknown(notice, frozenset({"must_include", "must_not_include", "format", "methods", "substitute"}), ("notice",))
        for key in ("must_include", "must_not_include", "methods"):
            yield from _names(notice, key, ("notice",))
    if "processor_duty" in law:
        yield from _deadline(law["processor_duty"], ("processor_duty",))
    yield from _names(law, "deemed_compliant", ())
    delay = law.get("law_enforcement_delay", {})
    if not isinstance(delay, dict):
        yield ("law_enforcement_delay",), "wanted a mapping"
    elif "resume_within" in delay:
        yield from _deadline({"from": "law_enforcement_delay_ended", **delay["resume_within"]}, ("law_enforcement_delay", "resume_within"))
    yield from _sources(law)


def _trigger(trigger: Any) -> Iterator[Fault]:
    at: Path = ("trigger",)
    if not isinstance(trigger, dict):
        yield at, "wanted a mapping"
        return
    yield from _unknown(trigger, frozenset({"event", "data_form", "includes", "elements", "encryption", "harm", "presumption"}), at)
    yield from _needs(trigger, ("event", "elements", "encryption", "harm"), at)
    if "data_form" in trigger:
        yield from _choice(trigger, "data_form", ("electronic", "digital", "any"), at)
    elements = trigger.get("elements")
    if not isinstance(elements, dict) or not elements:
        yield (*at, "elements"), "wanted with_name, alone or both"
    else:
        yield from _unknown(elements, frozenset({"with_name", "alone"}), (*at, "elements"))
        for key, codes in elements.items():
            here = (*at, "elements", str(key))
            if not isinstance(codes, list):
                yield here, "wanted a list of codes"
                continue
            for code in codes:
                match = CODE.fullmatch(str(code))
                if not match or match[1] not in CODES or (match[2] and as_date(match[2]) is None):
                    yield here, f"unknown code {code!r}"
    encryption = trigger.get("encryption")
    if not isinstance(encryption, dict) or encryption.get("safe_harbor") not in SAFE_HARBORS:
        yield (*at, "encryption", "safe_harbor"), f"wanted one of {', '.join(map(str, SAFE_HARBORS))}"
    else:
        yield from _unknown(encryption, frozenset({"safe_harbor", "lost_if_key_taken", "standard", "note"}), (*at, "encryption"))
    harm = trigger.get("harm")
    if not isinstance(harm, dict):
        yield (*at, "harm"), "wanted a mapping"
    else:
        yield from _choice(harm, "rule", HARM_RULES, (*at, "harm"))
        known = frozenset({"rule", "standard", "record", "record_years", "tell_regulator", "on_request"})
        yield from _unknown(harm, known, (*at, "harm"))
        if not isinstance(harm.get("record_years", 0), int):
            yield (*at, "harm", "record_years"), "wanted whole years"


def _duty(duty: Any, at: Path) -> Iterator[Fault]:
    if not isinstance(duty, dict):
        yield at, "wanted a mapping"
        return
    yield from _unknown(duty, DUTY_KEYS, at)
    yield from _needs(duty, ("to", "deadline"), at)
    yield from _choice(duty, "to", ADDRESSEES, at)
    for key in ("deadline", "deadline_cap"):
        if key in duty:
            yield from _deadline(duty[key], (*at, key))
    if "threshold" in duty:
        threshold = duty["threshold"]
        if not isinstance(threshold, dict) or set(threshold) != {"count", "op", "scope"}:
            yield (*at, "threshold"), "wanted exactly count, op and scope"
        else:
            if not isinstance(threshold["count"], int) or threshold["count"] < 0:
                yield (*at, "threshold", "count"), f"got {threshold['count']!r}; wanted a count"
            yield from _choice(threshold, "op", ("gt", "ge"), (*at, "threshold"))
            yield from _choice(threshold, "scope", SCOPES, (*at, "threshold"))
    if "condition" in duty and not isinstance(duty["condition"], str):
        yield (*at, "condition"), "wanted a text"
    for key in ("also_if", "exceptions", "content", "on_request"):
        yield from _names(duty, key, at)
    if "confidence" in duty:
        yield from _choice(duty, "confidence", LEVELS, at)
    if not isinstance(duty.get("guidance_hours", 1), int):
        yield (*at, "guidance_hours"), "wanted whole hours"


def _deadline(deadline: Any, at: Path) -> Iterator[Fault]:
    if not isinstance(deadline, dict):
        yield at, "wanted a mapping"
        return
    if "earliest_of" in deadline:
        options = deadline["earliest_of"]
        if set(deadline) != {"earliest_of"} or not isinstance(options, list) or len(options) < 2:
            yield at, "earliest_of wants a list of two or more deadlines and nothing beside it"
            return
        for i, option in enumerate(options):
            yield from _deadline(option, (*at, "earliest_of", i))
        return
    if "relation" in deadline:
        yield from _unknown(deadline, frozenset({"relation", "to_event"}) | DEADLINE_TEXT, at)
        yield from _choice(deadline, "relation", RELATIONS, at)
        yield from _choice(deadline, "to_event", sorted(EVENTS), at)
        return
    yield from _unknown(deadline, frozenset({"within", "unit", "clock", "from", "standard"}) | DEADLINE_TEXT, at)
    if "within" not in deadline and "standard" not in deadline:
        yield at, "wanted within, standard, relation or earliest_of"
    if "within" in deadline:
        if not isinstance(deadline["within"], int) or isinstance(deadline["within"], bool) or deadline["within"] <= 0:
            yield (*at, "within"), f"got {deadline['within']!r}; wanted a positive whole number"
        yield from _choice(deadline, "unit", ("hours", "days", "months"), at)
        yield from _choice(deadline, "clock", ("calendar", "business"), at)
        yield from _needs(deadline, ("from",), at)
        if deadline.get("clock") == "business" and deadline.get("unit") != "days":
            yield (*at, "clock"), "business clocks count days"
    if "from" in deadline:
        yield from _choice(deadline, "from", sorted(EVENTS), at)
    elif deadline.get("standard") != "none_stated":
        yield from _needs(deadline, ("from",), at)


def _sources(law: Mapping[str, Any]) -> Iterator[Fault]:
    """Check confidence and sources; nothing is core: high on hearsay."""
    confidence, sources = law.get("confidence"), law.get("sources")
    if not isinstance(confidence, dict) or set(confidence) != {"core", "elements", "detail"}:
        yield ("confidence",), "wanted exactly core, elements and detail"
        confidence = {}
    for key in confidence:
        yield from _choice(confidence, key, LEVELS, ("confidence",))
    if not isinstance(sources, list) or not sources:
        yield ("sources",), "wanted at least one source"
        return
    reads = []
    for i, source in enumerate(sources):
        if not isinstance(source, dict) or not {"read", "cite"} <= set(source) <= {"read", "cite", "url"}:
            yield ("sources", i), "wanted read and cite, and url if there is one"
            continue
        yield from _choice(source, "read", READS, ("sources", i))
        reads.append(source["read"])
    if confidence.get("core") == "high" and not {"primary", "official"} & set(reads) and reads.count("secondary") < 2:
        yield ("confidence", "core"), "high wants a primary or official source, or two secondary ones"


def as_date(value: Any) -> date | None:
    """Return a day written as YAML date or text, None if it is neither."""
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        return None


def _unknown(mapping: Mapping[Any, Any], known: frozenset[str], at: Path) -> Iterator[Fault]:
    for key in mapping:
        if key not in known:
            yield (*at, str(key)), f"unknown key {key!r}"


def _needs(mapping: Mapping[str, Any], keys: tuple[str, ...], at: Path) -> Iterator[Fault]:
    for key in keys:
        if key not in mapping:
            yield at, f"lacks {key}"


def _choice(mapping: Mapping[str, Any], key: str, allowed: Any, at: Path) -> Iterator[Fault]:
    if mapping.get(key) not in allowed:
        yield (*at, key), f"got {mapping.get(key)!r}; wanted one of {', '.join(map(str, allowed))}"


def _mapping(law: Mapping[str, Any], key: str, known: tuple[str, ...], needs: tuple[str, ...]) -> Iterator[Fault]:
    value = law.get(key)
    if not isinstance(value, dict):
        yield (key,), "wanted a mapping"
        return
    yield from _unknown(value, frozenset(known), (key,))
    yield from _needs(value, needs, (key,))


def _names(mapping: Mapping[str, Any], key: str, at: Path) -> Iterator[Fault]:
    value = mapping.get(key, [])
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        yield (*at, key), "wanted a list of texts"
