"""The data map: Fides dataset and system YAML with `meta.tocsin` tags, read, checked and made canonical.

Format. A file holds `system: [...]` and `dataset: [...]` as Fides (fideslang 3.1.4) writes them. Ours, under `meta: {tocsin: {...}}`:
  system   kind host|service|desk; zone; runs_as [role]; has_credential [role or key]; admins [role]; can_connect [system or dataset];
           handles_credentials [login, reset_site, mail_relay, operator_identity, tocsin]; evidence {tag: exhibit or [exhibits]}
  dataset  zone; people customer|employee|supplier; subject_key field; residence [fields, best first]; language field;
           grants {role: [reads, writes]}; regime [phi, phr, glba, reg_sp, cpni]; vault bool; free_text [codes]; as_of date; evidence;
           fields {collection.field: {element: code or [codes], hash: scheme, cipher: name, key: key id}}
Tags stand only there: fideslang drops `meta` of collections and fields, so a tag there would be lost and is refused.

Why refuse so much: whatever this file gets wrong becomes a letter to the wrong people. All faults are reported at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from tocsin.inventory.types import ELEMENTS, HANDLES, KINDS, PEOPLE, REGIMES, DataMap, FieldMap, Finding, StoreMap, SystemMap

from .yamlsource import DEPTH_MAX, Misread, Path, Source

SYSTEM_TAGS = frozenset({"kind", "zone", "runs_as", "has_credential", "admins", "can_connect", "handles_credentials", "evidence"})
DATASET_TAGS = frozenset({
    "zone", "people", "subject_key", "residence", "language", "grants", "regime", "vault", "free_text", "as_of", "evidence", "fields",
})  # fmt: skip
FIELD_TAGS = frozenset({"element", "hash", "cipher", "key"})
GRANTS = frozenset({"reads", "writes"})
CARD_NUMBER = "payment_card_number"
AS_OF_DAYS_MAX = 90  # a map older than this is reported: specification of the data map
FIELDS_MAX = 100_000  # of one dataset; also ends the walk of a map whose YAML aliases contain themselves
DOCUMENT_FORMAT = "tocsin-datamap/1"


@dataclass(frozen=True, slots=True)
class Categories:
    """The reference table: the element code of a Fides category (None: not about a person), by longest listed prefix."""

    version: str
    known: frozenset[str]
    codes: Mapping[str, str | None]
    hashed: Mapping[str, str]

    def code(self, category: str, *, is_hashed: bool) -> str | None:
        """Return the element code of a known category."""
        if is_hashed and category in self.hashed:
            return self.hashed[category]
        parts = category.split(".")
        for n in range(len(parts), 0, -1):
            prefix = ".".join(parts[:n])
            if prefix in self.codes:
                return self.codes[prefix]
        raise KeyError(category)


def parse(files: Iterable[tuple[str, str]], *, categories: Categories, on: date) -> tuple[DataMap, list[Finding]]:
    """Read (file name, text) pairs into one map and everything there is to say about it, errors before warnings.

    The map is whole only if no finding is an error. `on` is today, for the age of `as_of`.
    """
    reader = _Reader(categories, on)
    for file, text in files:
        reader.read(Source(file, text))
    reader.across()
    findings = sorted(reader.findings(), key=lambda f: (f.severity, f.file, f.line or 0, f.path))
    systems = tuple(sorted((s for _, s in reader.systems.values()), key=lambda s: s.key))
    stores = tuple(sorted((s for _, s in reader.stores.values()), key=lambda s: s.key))
    return DataMap(systems, stores), findings


@dataclass(frozen=True, slots=True)
class _At:
    """A place in a file, for messages."""

    source: Source
    path: Path

    def __truediv__(self, key: str | int) -> _At:
        return _At(self.source, (*self.path, key))


@dataclass(slots=True)
class _Reader:
    """Collects assets and findings file by file; `across` then checks what needs the whole map."""

    categories: Categories
    on: date
    systems: dict[str, tuple[_At, SystemMap]] = field(default_factory=dict)
    stores: dict[str, tuple[_At, StoreMap]] = field(default_factory=dict)
    references: list[tuple[_At, str]] = field(default_factory=list)
    said: list[tuple[str, _At, str]] = field(default_factory=list)
    walked: int = 0  # fields of the present dataset

    def error(self, at: _At, message: str) -> None:
        self.said.append(("error", at, message))

    def warn(self, at: _At, message: str) -> None:
        self.said.append(("warning", at, message))

    def findings(self) -> list[Finding]:
        """Return all that was said, with lines."""
        return [
            Finding(
                severity,
                at.source.file,
                at.source.line(at.path) if at.source.broken is None else at.source.broken[0],
                _dotted(at.path),
                text,
            )
            for severity, at, text in self.said
        ]

    # One file.

    def read(self, source: Source) -> None:
        top = _At(source, ())
        if source.broken is not None:
            self.error(top, source.broken[1])
            return
        for line, key in source.repeated:
            self.error(top, f"line {line}: the key {key!r} is written twice; only the last would count")
        if not isinstance(source.value, dict):
            self.error(top, "wanted a mapping with `system` and `dataset` lists")
            return
        if not {"system", "dataset"} & source.value.keys():
            self.error(top, "holds neither `system` nor `dataset`")
        for i, raw in enumerate(self._list(source.value.get("system", []), top / "system")):
            self._system(raw, top / "system" / i)
        for i, raw in enumerate(self._list(source.value.get("dataset", []), top / "dataset")):
            self._dataset(raw, top / "dataset" / i)

    def _system(self, raw: Any, at: _At) -> None:
        key, tags, tags_at = self._asset(raw, at, SYSTEM_TAGS, self.systems)
        if not key:
            return
        for i, target in enumerate(self._list(raw.get("dataset_references", []), at / "dataset_references")):
            self.references.append((at / "dataset_references" / i, self._name(target, at / "dataset_references" / i)))
        kind = self._one_of(tags.get("kind"), KINDS, tags_at / "kind", default="host")
        admins = tags.get("admins")
        system = SystemMap(
            key=key,
            kind=kind,
            zone=self._zone(tags, tags_at),
            runs_as=self._names(tags, "runs_as", tags_at),
            has_credential=self._names(tags, "has_credential", tags_at),
            admins=None if admins is None else self._names(tags, "admins", tags_at),
            can_connect=self._names(tags, "can_connect", tags_at),
            evidence=self._evidence(tags, tags_at, SYSTEM_TAGS),
            handles_credentials=self._handles(tags, tags_at),
        )
        for tag in ("can_connect", "admins"):
            if tag in tags and tag not in system.evidence:
                self.warn(tags_at / tag, f"no evidence for `{tag}`: nothing that rests on it can be proved")
        if admins is None:
            self.warn(tags_at, "no `admins`: everybody who connects is taken to control it")
        self.systems[key] = (at, system)

    def _dataset(self, raw: Any, at: _At) -> None:
        key, tags, tags_at = self._asset(raw, at, DATASET_TAGS, self.stores)
        if not key:
            return
        fields, where = self._fields(raw, at, tags, tags_at)
        subject_key = self._field_name(tags.get("subject_key"), tags_at / "subject_key", where) if "subject_key" in tags else ""
        if not subject_key:
            self.error(tags_at, "a store needs `subject_key`, the field that says whose row it is")
        vault = tags.get("vault", False)
        if isinstance(vault, Misread):
            vault = vault.truth
        if not isinstance(vault, bool):
            self.error(tags_at / "vault", f"got {vault!r}; wanted true or false")
            vault = False
        free_text = tuple(c for c in self._names(tags, "free_text", tags_at) if self._known_code(c, tags_at / "free_text"))
        store = StoreMap(
            key=key,
            people=self._one_of(tags.get("people"), PEOPLE, tags_at / "people", default="customer"),
            zone=self._zone(tags, tags_at),
            vault=vault,
            subject_key=subject_key,
            residence=tuple(
                self._field_name(r, tags_at / "residence" / i, where)
                for i, r in enumerate(self._list(tags.get("residence", []), tags_at / "residence"))
            ),
            language=self._field_name(tags["language"], tags_at / "language", where) if "language" in tags else None,
            grants=self._grants(tags, tags_at),
            regime=tuple(self._one_of(r, REGIMES, tags_at / "regime", default="") for r in self._names(tags, "regime", tags_at)),
            free_text=free_text,
            as_of=self._as_of(tags, tags_at),
            evidence=self._evidence(tags, tags_at, DATASET_TAGS),
            fields=fields,
        )
        if "grants" not in tags:
            self.warn(tags_at, "no `grants`: everybody who connects is taken to read it")
        elif "grants" not in store.evidence:
            self.warn(tags_at / "grants", "no evidence for `grants`: nothing that rests on it can be proved")
        if not vault:
            for f in fields:
                if CARD_NUMBER in f.codes:
                    self.error(
                        where[f.key],
                        f"{f.key} holds card numbers outside a store with `vault: true`; last four digits are element payment_card_last4",
                    )
        self.stores[key] = (at, store)

    def _asset(self, raw: Any, at: _At, allowed: frozenset[str], taken: Mapping[str, Any]) -> tuple[str, dict[str, Any], _At]:
        """Return key, tags and the tags' place of a system or dataset; the key is empty if it cannot be read on."""
        tags_at = at / "meta" / "tocsin"
        if not isinstance(raw, dict):
            self.error(at, f"got {raw!r}; wanted a mapping")
            return "", {}, tags_at
        key = self._name(raw.get("fides_key"), at / "fides_key")
        if key and key in taken:
            self.error(at / "fides_key", f"{key!r} is there already")
            key = ""
        meta = raw.get("meta") or {}
        tags = meta.get("tocsin") if isinstance(meta, dict) else None
        if not isinstance(tags, dict):
            self.error(at / "meta", f"{key or 'this entry'} has no `meta: {{tocsin: {{...}}}}` tags")
            tags = {}
        for tag in tags:
            if tag not in allowed:
                self.error(tags_at / str(tag), f"unknown tag {tag!r}; known: {', '.join(sorted(allowed))}")
        return key, tags, tags_at

    def _fields(self, raw: dict[str, Any], at: _At, tags: dict[str, Any], tags_at: _At) -> tuple[tuple[FieldMap, ...], dict[str, _At]]:
        """Return the fields of a dataset and where each stands."""
        own = tags.get("fields") or {}
        if not isinstance(own, dict):
            self.error(tags_at / "fields", f"got {own!r}; wanted a mapping of collection.field to tags")
            own = {}
        self.walked = 0
        fields: list[FieldMap] = []
        where: dict[str, _At] = {}
        for i, collection in enumerate(self._list(raw.get("collections", []), at / "collections")):
            here = at / "collections" / i
            name = self._part(collection, here)
            if name:
                for key, item, place in self._walk(name, collection.get("fields", []), here / "fields", depth=0):
                    if key in where:
                        self.error(place, f"the field {key} is there already")
                    where[key] = place
                    fields.append(self._field(key, item, place, own.get(key), tags_at / "fields" / key, bool(tags.get("free_text"))))
        for key in own:
            if key not in where:
                self.error(tags_at / "fields" / str(key), f"tags for {key!r}, but no collection has that field")
        if self.walked > FIELDS_MAX:
            self.error(at / "collections", f"more than {FIELDS_MAX} fields")
        if not fields:
            self.error(at / "collections", "a store needs at least one field")
        return tuple(fields), where

    def _walk(self, prefix: str, items: Any, at: _At, *, depth: int) -> Iterator[tuple[str, dict[str, Any], _At]]:
        """Yield the leaf fields under a collection or field, keyed with dots."""
        if depth > DEPTH_MAX:
            self.error(at, f"nested deeper than {DEPTH_MAX}")
            return
        for i, item in enumerate(self._list(items, at)):
            self.walked += 1
            if self.walked > FIELDS_MAX:
                return
            name = self._part(item, at / i)
            if not name:
                continue
            if item.get("fields"):
                yield from self._walk(f"{prefix}.{name}", item["fields"], at / i / "fields", depth=depth + 1)
            else:
                yield f"{prefix}.{name}", item, at / i

    def _part(self, item: Any, at: _At) -> str:
        """Return the name of a collection or field; refuse tags on it."""
        if not isinstance(item, dict):
            self.error(at, f"got {item!r}; wanted a mapping with a name")
            return ""
        meta = item.get("meta")
        if (isinstance(meta, dict) and "tocsin" in meta) or (item.get("fides_meta") or {}).get("tocsin"):
            self.error(at / "meta", "tags on a collection or field are dropped by Fides; write them in the dataset's meta.tocsin.fields")
        return self._name(item.get("name"), at / "name")

    def _field(self, key: str, item: dict[str, Any], at: _At, raw_tags: Any, tags_at: _At, has_free_text: bool) -> FieldMap:
        tags: dict[str, Any] = raw_tags if isinstance(raw_tags, dict) else {}
        if raw_tags is not None and not isinstance(raw_tags, dict):
            self.error(tags_at, f"got {raw_tags!r}; wanted a mapping of tags")
        for tag in tags:
            if tag not in FIELD_TAGS:
                self.error(tags_at / str(tag), f"unknown tag {tag!r}; known: {', '.join(sorted(FIELD_TAGS))}")
        hash_, cipher, key_id = (self._name(tags[t], tags_at / t) if t in tags else None for t in ("hash", "cipher", "key"))
        if cipher and not key_id:
            self.error(tags_at / "cipher", "a `cipher` needs its `key`: who holds it decides whether the field counts as sealed")
        if key_id and not cipher:
            self.error(tags_at / "key", "a `key` without `cipher` protects nothing")
        codes = self._element(tags, tags_at) if "element" in tags else self._categories(key, item, at, hash_, has_free_text)
        return FieldMap(key=key, codes=codes, cipher=cipher or None, key_id=key_id or None, hash=hash_ or None)

    def _element(self, tags: dict[str, Any], tags_at: _At) -> tuple[str, ...]:
        value = tags["element"]
        codes = value if isinstance(value, list) else [value]
        named = (self._name(c, tags_at / "element") for c in codes)
        return tuple(dict.fromkeys(c for c in named if c and self._known_code(c, tags_at / "element")))

    def _categories(self, key: str, item: dict[str, Any], at: _At, hash_: str | None, has_free_text: bool) -> tuple[str, ...]:
        """Return the codes of a field without an `element` tag, from its Fides categories."""
        names = self._list(item.get("data_categories") or [], at / "data_categories")
        if not names:
            self.warn(at, f"{key} has neither a category nor an element: counted as other_personal")
            return ("other_personal",)
        codes: dict[str, None] = {}
        for raw in names:
            category = self._name(raw, at / "data_categories")
            if category not in self.categories.known:
                if category:
                    self.error(at / "data_categories", f"unknown Fides category {category!r}")
                continue
            if category in self.categories.hashed and hash_ is None:
                self.error(at, f"{key} is a password: state its `hash` scheme, or `element: password` if it lies in clear")
            if category.startswith("user.content") and not has_free_text:
                self.warn(at, f"{key} is free text and `free_text` does not say which elements may occur in it")
            code = self.categories.code(category, is_hashed=hash_ is not None)
            if code is not None:
                codes[code] = None
        return tuple(codes)

    # Tags.

    def _list(self, value: Any, at: _At) -> list[Any]:
        if isinstance(value, list):
            return value
        self.error(at, f"got {value!r}; wanted a list")
        return []

    def _name(self, value: Any, at: _At) -> str:
        if isinstance(value, Misread | bool):
            self.error(at, f"the name {str(value)!r} is read as a boolean by YAML: put it in quotes")
        elif not isinstance(value, str) or not value.strip():
            self.error(at, f"got {value!r}; wanted a name")
        else:
            return value
        return ""

    def _names(self, tags: dict[str, Any], tag: str, tags_at: _At) -> tuple[str, ...]:
        values = self._list(tags.get(tag, []), tags_at / tag)
        named = (self._name(v, tags_at / tag / i) for i, v in enumerate(values))
        return tuple(dict.fromkeys(n for n in named if n))

    def _zone(self, tags: dict[str, Any], tags_at: _At) -> str | None:
        if "zone" not in tags:
            self.warn(tags_at, "no `zone`: taken to connect with everything")
            return None
        return self._name(tags["zone"], tags_at / "zone") or None

    def _one_of(self, value: Any, allowed: Sequence[str], at: _At, *, default: str) -> str:
        if isinstance(value, str) and value in allowed:
            return str(value)
        self.error(at, f"got {value!r}; wanted one of {', '.join(allowed)}")
        return default

    def _handles(self, tags: dict[str, Any], tags_at: _At) -> tuple[str, ...]:
        """Return what of the credentials a system has in hand, in the order of HANDLES; one name may stand without brackets."""
        raw = tags.get("handles_credentials")
        if isinstance(raw, str):
            tags = {"handles_credentials": [raw]}
        named = self._names(tags, "handles_credentials", tags_at)
        for n in named:
            if n not in HANDLES:
                self.error(tags_at / "handles_credentials", f"got {n!r}; wanted some of {', '.join(HANDLES)}")
        return tuple(h for h in HANDLES if h in named)

    def _known_code(self, code: str, at: _At) -> bool:
        if code in ELEMENTS:
            return True
        self.error(at, f"unknown element code {code!r}")
        return False

    def _field_name(self, value: Any, at: _At, where: Mapping[str, _At]) -> str:
        name = self._name(value, at)
        if name and name not in where:
            self.error(at, f"no field {name!r} in this dataset")
        return name

    def _grants(self, tags: dict[str, Any], tags_at: _At) -> dict[str, tuple[str, ...]] | None:
        raw = tags.get("grants")
        if raw is None:
            return None
        if not isinstance(raw, dict):
            self.error(tags_at / "grants", f"got {raw!r}; wanted a mapping of role to [reads, writes]")
            return None
        grants = {}
        for role, rights in raw.items():
            here = tags_at / "grants" / str(role)
            name = self._name(role, here)
            named = tuple(self._name(r, here) for r in self._list(rights, here))
            for right in named:
                if right and right not in GRANTS:
                    self.error(here, f"unknown right {right!r}; wanted reads, writes")
            if name:
                grants[name] = named
        return grants

    def _evidence(self, tags: dict[str, Any], tags_at: _At, allowed: frozenset[str]) -> dict[str, tuple[str, ...]]:
        raw = tags.get("evidence") or {}
        if not isinstance(raw, dict):
            self.error(tags_at / "evidence", f"got {raw!r}; wanted a mapping of tag to exhibit")
            return {}
        evidence = {}
        for tag, exhibits in raw.items():
            here = tags_at / "evidence" / str(tag)
            if tag not in allowed or tag == "evidence":
                self.error(here, f"evidence for {tag!r}, which is not a tag")
                continue
            named = tuple(n for e in (exhibits if isinstance(exhibits, list) else [exhibits]) if (n := self._name(e, here)))
            if named:
                evidence[str(tag)] = named
        return evidence

    def _as_of(self, tags: dict[str, Any], tags_at: _At) -> date | None:
        raw = tags.get("as_of")
        if raw is None:
            return None
        if isinstance(raw, datetime) or not isinstance(raw, date):
            self.error(tags_at / "as_of", f"got {raw!r}; wanted a day such as 2026-03-01")
            return None
        age = (self.on - raw).days
        if age > AS_OF_DAYS_MAX:
            self.warn(tags_at / "as_of", f"this dataset was last checked {age} days ago; {AS_OF_DAYS_MAX} is the limit")
        return raw

    # The whole map.

    def across(self) -> None:
        """Check references between assets, roles, keys, and that somebody's residence is known."""
        assets = self.systems.keys() | self.stores.keys()
        for key in sorted(self.systems.keys() & self.stores.keys()):
            self.error(self.stores[key][0] / "fides_key", f"{key!r} is both a system and a dataset")
        for at, name in self.references:
            if name and name not in self.stores:
                self.error(at, f"unknown dataset {name!r}")
        listed = {r for _, s in self.systems.values() for r in s.admins or ()} | {
            r for _, s in self.stores.values() for r in s.grants or ()
        }
        keys = {f.key_id for _, s in self.stores.values() for f in s.fields if f.key_id}
        held: set[str] = set()
        for at, system in self.systems.values():
            tags_at = at / "meta" / "tocsin"
            for i, target in enumerate(system.can_connect):
                if target not in assets:
                    self.error(tags_at / "can_connect" / i, f"unknown system or dataset {target!r}")
            for tag, roles in (("runs_as", system.runs_as), ("has_credential", system.has_credential)):
                held.update(roles)
                for i, role in enumerate(roles):
                    if role not in listed and role not in keys:
                        self.error(tags_at / tag / i, f"unknown role or key {role!r}: no `admins`, `grants` or `key` names it")
        if self.systems and not any(s.handles_credentials for _, s in self.systems.values()):
            at, _ = self.systems[min(self.systems)]
            self.warn(at, "no system says `handles_credentials`: a cutover cannot tell whether its log-in, mail or reset site was reached")
        residents = {s.people for _, s in self.stores.values() if s.residence}
        for at, store in self.stores.values():
            tags_at = at / "meta" / "tocsin"
            if store.people not in residents:
                self.error(tags_at, f"no store of people {store.people!r} has `residence`: nobody could say whose law protects them")
            for f in store.fields:
                if f.key_id and f.key_id not in held:
                    self.error(tags_at / "fields" / f.key / "key", f"unknown key {f.key_id!r}: no system has it as a credential")


def _dotted(path: Path) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "file"


def to_document(map_: DataMap, *, categories_version: str) -> str:
    """Return the canonical JSON of a map: keys sorted, no spaces, ASCII. Its SHA-256 is the map's digest."""
    systems = [
        {
            "key": s.key, "kind": s.kind, "zone": s.zone, "runs_as": s.runs_as, "has_credential": s.has_credential, "admins": s.admins,
            "can_connect": s.can_connect, "evidence": dict(s.evidence),
            # Left out where it is empty, so that a map which says nothing of it keeps its digest.
            **({"handles_credentials": s.handles_credentials} if s.handles_credentials else {}),
        }
        for s in map_.systems
    ]  # fmt: skip
    stores = [
        {
            "key": s.key, "people": s.people, "zone": s.zone, "vault": s.vault, "subject_key": s.subject_key, "residence": s.residence,
            "language": s.language, "grants": None if s.grants is None else dict(s.grants), "regime": s.regime, "free_text": s.free_text,
            "as_of": s.as_of.isoformat() if s.as_of else None, "evidence": dict(s.evidence),
            "fields": [{"key": f.key, "codes": f.codes, "cipher": f.cipher, "key_id": f.key_id, "hash": f.hash} for f in s.fields],
        }
        for s in map_.stores
    ]  # fmt: skip
    document = {"format": DOCUMENT_FORMAT, "categories": categories_version, "systems": systems, "stores": stores}
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def from_document(text: str, *, digest: bytes) -> DataMap:
    """Return the map of a canonical document."""
    document = json.loads(text)
    systems = tuple(
        SystemMap(
            key=s["key"], kind=s["kind"], zone=s["zone"], runs_as=tuple(s["runs_as"]), has_credential=tuple(s["has_credential"]),
            admins=None if s["admins"] is None else tuple(s["admins"]), can_connect=tuple(s["can_connect"]),
            evidence={k: tuple(v) for k, v in s["evidence"].items()},
            handles_credentials=tuple(s.get("handles_credentials", ())),
        )
        for s in document["systems"]
    )  # fmt: skip
    stores = tuple(
        StoreMap(
            key=s["key"], people=s["people"], zone=s["zone"], vault=s["vault"], subject_key=s["subject_key"],
            residence=tuple(s["residence"]),
            language=s["language"], grants=None if s["grants"] is None else {k: tuple(v) for k, v in s["grants"].items()},
            regime=tuple(s["regime"]), free_text=tuple(s["free_text"]), as_of=date.fromisoformat(s["as_of"]) if s["as_of"] else None,
            evidence={k: tuple(v) for k, v in s["evidence"].items()},
            fields=tuple(FieldMap(f["key"], tuple(f["codes"]), f["cipher"], f["key_id"], f["hash"]) for f in s["fields"]),
        )
        for s in document["stores"]
    )  # fmt: skip
    return DataMap(systems, stores, digest)
