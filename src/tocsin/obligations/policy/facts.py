"""The facts file of `duties assess --facts`: JSON in, `Facts` out, every fault at once.

Format. {"as_of": day or instant, "events": {name: day or instant}, "entity": [predicates], "elements": [codes], "encrypted": [codes],
"key_taken": bool, "residents": {"US-CA": n, "US-*": n each}, "conditions": {"<law>.<duty>": bool}, "special": [codes],
"cohorts": [{jurisdiction, count, elements, encrypted, key_taken, state}] instead of residents and elements,
"determinations": [{kind, law}]}. A day holds in every legal zone; hours count from its local midnight. An instant has an offset or Z.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from tocsin.kernel.errors import BadInput, Fault
from tocsin.obligations.types import COHORT_STATES, DETERMINATIONS, Cohort, Determination, Facts, Moment

from .clocks import KNOWING, US
from .lawfile import JURISDICTION

KEYS = frozenset({
    "as_of", "events", "entity", "elements", "encrypted", "key_taken", "residents", "conditions", "special", "cohorts", "determinations",
})  # fmt: skip
EVERY_US = "US-*"
COUNT_MAX = 10_000_000_000  # more people than there are is a typing error
COHORTS_MAX = 1_000_000


def read(document: Any, *, now: datetime | None = None) -> Facts:
    """Return the facts of a parsed facts file. Raises BadInput with every fault. `now` is for `earliest` and the age of the data."""
    return _Reader().read(document, now)


class _Reader:
    """Reads one document; faults gather in `faults`."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def fault(self, field: str, got: object, wanted: str) -> None:
        self.faults.append(Fault(field, repr(got), wanted))

    def read(self, document: Any, now: datetime | None) -> Facts:
        if not isinstance(document, dict):
            raise BadInput.of("facts", document, "a JSON object")
        for key in document:
            if key not in KEYS:
                self.fault(key, document[key], f"one of {', '.join(sorted(KEYS))}")
        raw_events = self._mapping(document, "events")
        events = {name: m for name, value in raw_events.items() if (m := self._moment(value, f"events.{name}")) is not None}
        if not set(raw_events) & KNOWING:
            self.fault("events", raw_events, "discovery, or another event of knowing")
        as_of = self._moment(document["as_of"], "as_of") if document.get("as_of") is not None else None
        conditions = self._mapping(document, "conditions")
        for key, value in conditions.items():
            if not isinstance(value, bool):
                self.fault(f"conditions.{key}", value, "true or false")
        cohorts = self._cohorts(document) if "cohorts" in document else self._residents(document)
        facts = Facts(
            cohorts=cohorts,
            events=events,
            entity=dict.fromkeys(self._names(document, "entity"), True),
            as_of=as_of.astimezone(UTC).date() if isinstance(as_of, datetime) else as_of,
            conditions=conditions,
            special=self._names(document, "special"),
            determinations=self._determinations(document),
            now=now,
        )
        if self.faults:
            raise BadInput(self.faults)
        return facts

    def _mapping(self, document: Mapping[str, Any], key: str) -> dict[str, Any]:
        value = document.get(key, {})
        if isinstance(value, dict):
            return value
        self.fault(key, value, "an object")
        return {}

    def _names(self, document: Mapping[str, Any], key: str, where: str = "") -> frozenset[str]:
        value = document.get(key, [])
        if isinstance(value, list) and all(isinstance(v, str) and v for v in value):
            return frozenset(value)
        self.fault(where + key, value, "a list of names")
        return frozenset()

    def _moment(self, value: Any, field: str) -> Moment | None:
        try:
            if isinstance(value, str) and len(value) == len("2026-03-01"):
                return date.fromisoformat(value)
            at = datetime.fromisoformat(value)
            if at.tzinfo is not None:
                return at
        except (TypeError, ValueError):
            pass
        self.fault(field, value, "a day such as 2026-03-01 or an instant with its offset such as 2026-03-01T12:00:00Z")
        return None

    def _count(self, value: Any, field: str) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= COUNT_MAX:
            return value
        self.fault(field, value, f"a whole number from 0 to {COUNT_MAX}")
        return 0

    def _flag(self, document: Mapping[str, Any], field: str) -> bool:
        value = document.get("key_taken", False)
        if isinstance(value, bool):
            return value
        self.fault(field, value, "true or false")
        return False

    def _jurisdiction(self, value: Any, field: str) -> str:
        if isinstance(value, str) and value != "*" and JURISDICTION.fullmatch(value):
            return value
        self.fault(field, value, "an ISO 3166 code such as US-CA or DE, ZZ if unknown")
        return "ZZ"

    def _residents(self, document: Mapping[str, Any]) -> tuple[Cohort, ...]:
        elements, encrypted = self._names(document, "elements"), self._names(document, "encrypted")
        key_taken = self._flag(document, "key_taken")
        counts: dict[str, int] = {}
        for place, value in self._mapping(document, "residents").items():
            n = self._count(value, f"residents.{place}")
            for code in US if place == EVERY_US else (self._jurisdiction(place, f"residents.{place}"),):
                # A state named beside US-* keeps its own number.
                if place != EVERY_US or code not in document["residents"]:
                    counts[code] = counts.get(code, 0) + n
        return tuple(Cohort(place, n, elements, encrypted, key_taken) for place, n in counts.items())

    def _cohorts(self, document: Mapping[str, Any]) -> tuple[Cohort, ...]:
        for key in ("residents", "elements", "encrypted", "key_taken"):
            if key in document:
                self.fault(key, document[key], "nothing: `cohorts` stands instead of it")
        value = document["cohorts"]
        if not isinstance(value, list) or len(value) > COHORTS_MAX:
            self.fault("cohorts", type(value).__name__, f"a list of at most {COHORTS_MAX}")
            return ()
        return tuple(self._cohort(c, f"cohorts[{i}]") for i, c in enumerate(value))

    def _cohort(self, raw: Any, where: str) -> Cohort:
        if not isinstance(raw, dict):
            self.fault(where, raw, "an object")
            return Cohort("ZZ", 0, frozenset())
        for key in raw:
            if key not in ("jurisdiction", "count", "elements", "encrypted", "key_taken", "state"):
                self.fault(f"{where}.{key}", raw[key], "jurisdiction, count, elements, encrypted, key_taken, state")
        state = raw.get("state", COHORT_STATES[0])
        if state not in COHORT_STATES:
            self.fault(f"{where}.state", state, f"one of {', '.join(COHORT_STATES)}")
        return Cohort(
            jurisdiction=self._jurisdiction(raw.get("jurisdiction"), f"{where}.jurisdiction"),
            count=self._count(raw.get("count"), f"{where}.count"),
            elements=self._names(raw, "elements", f"{where}."),
            encrypted=self._names(raw, "encrypted", f"{where}."),
            key_taken=self._flag(raw, f"{where}.key_taken"),
            state=state if state in COHORT_STATES else COHORT_STATES[0],
        )

    def _determinations(self, document: Mapping[str, Any]) -> tuple[Determination, ...]:
        value = document.get("determinations", [])
        if not isinstance(value, list):
            self.fault("determinations", value, "a list")
            return ()
        found = []
        for i, raw in enumerate(value):
            where = f"determinations[{i}]"
            if not isinstance(raw, dict) or raw.get("kind") not in DETERMINATIONS or not isinstance(raw.get("law", ""), str | None):
                self.fault(where, raw, f"an object with kind ({', '.join(DETERMINATIONS)}) and law")
                continue
            found.append(Determination(kind=raw["kind"], law=raw.get("law") or None))
        return tuple(found)
