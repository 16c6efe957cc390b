"""Reads a notice from its folder: `notice.toml` beside the texts it names. Every fault at once.

[[variant]]        key, subject, text (file), locale, jurisdictions, allow_links, and how it looks: html (file), mjml (file; then text may be
                   left out), layout = "standard" (made of the text); none of the three: plain text alone
[variant.blocks]   "heading" = ["block", …]
[[variant.translation]]          the variant above in another language: locale, subject, text, html or mjml or layout (default: as above),
[variant.translation.blocks]     and its own headings
[languages]        "DE" = "de", "CA-QC" = "fr"     the language where a reader's own is not known; elsewhere that of the default variant
[[faq]]            question, answer, locale        for the pages of the notice on the site (`tocsin notice site`)
[[statement]]      kind ("press" or "staff"), title, text (file), locale        of the same facts, under the same signatures
[site]             text (file), html (file)        optional: the notice for the company's own site
[facts]            key = "value"                   fills {{fact:key}}
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tocsin.kernel.errors import BadInput, Fault
from tocsin.notices.policy import VARIANTS_MAX
from tocsin.notices.types import FaqTexts, NoticeTexts, SiteTexts, StatementTexts, VariantTexts

FILE_BYTES_MAX = 200_000
NAME = "notice.toml"


class _Folder:
    """A folder with the faults found in it so far."""

    def __init__(self, place: Path) -> None:
        self.place = place.parent if place.name == NAME else place
        self.faults: list[Fault] = []
        self.toml = self._toml()

    def _toml(self) -> Mapping[str, Any]:
        try:
            return tomllib.loads(self.content(NAME, NAME))
        except tomllib.TOMLDecodeError as e:
            self.faults.append(Fault(NAME, str(e), "valid TOML"))
            return {}

    def content(self, field: str, name: str) -> str:
        """Return the text of a file beside notice.toml, "" with a fault if it cannot be read."""
        file = self.place / name
        if Path(name).name != name:
            self.faults.append(Fault(field, repr(name), "the name of a file in the same folder"))
            return ""
        try:
            if file.stat().st_size > FILE_BYTES_MAX:
                self.faults.append(Fault(field, f"{name}: {file.stat().st_size} bytes", f"at most {FILE_BYTES_MAX}"))
                return ""
            return file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as e:
            self.faults.append(Fault(field, f"{file}: {e}", "a readable UTF-8 text file"))
            return ""

    def value(self, table: Mapping[str, Any], field: str, kind: type, default: Any = None) -> Any:
        """Return a value of the wanted type, a fault and the type's empty value otherwise."""
        found = table.get(field.rpartition(".")[2], default)
        if not isinstance(found, kind):
            self.faults.append(Fault(field, repr(found), f"a {kind.__name__}"))
            return kind()
        return found

    def strings(self, field: str, values: Any) -> tuple[str, ...]:
        """Return a tuple of strings, a fault and () otherwise."""
        if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
            self.faults.append(Fault(field, repr(values), "a list of strings"))
            return ()
        return tuple(values)

    def facts(self) -> dict[str, str]:
        """Return the facts of the file."""
        table = self.value(self.toml, "facts", dict, {})
        self.faults += [Fault(f"facts.{k}", repr(v), "a string") for k, v in table.items() if not isinstance(v, str)]
        return {k: v for k, v in table.items() if isinstance(v, str)}


def read_notice(place: Path) -> NoticeTexts:
    """Return the texts of a notice's folder (or of its notice.toml). Raises BadInput with every fault."""
    f = _Folder(place)
    tables = f.value(f.toml, "variant", list, [])
    if not f.faults and not 1 <= len(tables) <= VARIANTS_MAX:
        f.faults.append(Fault("variant", f"{len(tables)} of them", f"1 to {VARIANTS_MAX} tables [[variant]]"))
    variants: list[VariantTexts] = []
    for i, table in enumerate(tables):
        at = f"variant[{i}]"
        if not isinstance(table, dict):
            f.faults.append(Fault(at, repr(table), "a table [[variant]]"))
            continue
        variants += _variant(f, at, table)
    if not f.faults and len(variants) > VARIANTS_MAX:
        f.faults.append(Fault("variant", f"{len(variants)} texts with their translations", f"at most {VARIANTS_MAX}"))
    languages = f.value(f.toml, "languages", dict, {})
    f.faults += [Fault(f"languages.{k}", repr(v), "a language, as in \"DE\" = \"de\"") for k, v in languages.items() if not isinstance(v, str)]
    facts = f.facts()
    faq, statements = _faq(f), _statements(f)
    if f.faults:
        raise BadInput(f.faults)
    return NoticeTexts(variants=tuple(variants), facts=facts, languages=dict(languages), faq=faq, statements=statements)


_TEXT = frozenset({"subject", "text", "html", "mjml", "layout", "locale", "blocks"})
_VARIANT = _TEXT | {"key", "jurisdictions", "allow_links", "translation"}


def _variant(f: _Folder, at: str, table: Mapping[str, Any]) -> list[VariantTexts]:
    """Return a variant of the file and its translations."""
    f.faults += [Fault(f"{at}.{k}", repr(table[k]), "no such key") for k in sorted(table.keys() - _VARIANT)]
    v = VariantTexts(
        key=f.value(table, f"{at}.key", str, "default"),
        locale=f.value(table, f"{at}.locale", str, "en"),
        jurisdictions=f.strings(f"{at}.jurisdictions", table.get("jurisdictions", [])),
        allow_links=f.value(table, f"{at}.allow_links", bool, False),
        **_texts(f, at, table, layout=""),
    )
    made = [v]
    for i, other in enumerate(f.value(table, f"{at}.translation", list, [])):
        there = f"{at}.translation[{i}]"
        if not isinstance(other, dict):
            f.faults.append(Fault(there, repr(other), "a table [[variant.translation]]"))
            continue
        f.faults += [Fault(f"{there}.{k}", repr(other[k]), "no such key") for k in sorted(other.keys() - _TEXT)]
        locale = f.value(other, f"{there}.locale", str)
        made.append(
            VariantTexts(
                key=f"{v.key}.{locale}",
                locale=locale,
                jurisdictions=v.jurisdictions,
                allow_links=v.allow_links,
                translation_of=v.key,
                **_texts(f, there, other, layout=v.layout if not {"html", "mjml"} & other.keys() else ""),
            )
        )
    return made


def _texts(f: _Folder, at: str, table: Mapping[str, Any], *, layout: str) -> dict[str, Any]:
    """Return the words of a variant or translation, read from the files that its table names."""
    looks = [k for k in ("html", "mjml", "layout") if k in table]
    if len(looks) > 1:
        f.faults.append(Fault(at, " and ".join(looks), "one of html, mjml, layout, or none for plain text alone"))
    blocks = f.value(table, f"{at}.blocks", dict, {})
    files = {k: f.value(table, f"{at}.{k}", str, "" if k != "text" or "mjml" in table else None) for k in ("text", "html", "mjml")}
    return {
        "subject": f.value(table, f"{at}.subject", str),
        "layout": f.value(table, f"{at}.layout", str, layout),
        "blocks": {str(h): f.strings(f"{at}.blocks.{h}", b) for h, b in blocks.items()},
        **{k: f.content(f"{at}.{k}", name) if name else "" for k, name in files.items()},
    }


def _tables(f: _Folder, name: str, keys: frozenset[str]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the tables [[name]] that are tables, with where they stand."""
    found: list[tuple[str, Mapping[str, Any]]] = []
    for i, table in enumerate(f.value(f.toml, name, list, [])):
        if isinstance(table, dict):
            f.faults += [Fault(f"{name}[{i}].{k}", repr(table[k]), "no such key") for k in sorted(table.keys() - keys)]
            found.append((f"{name}[{i}]", table))
        else:
            f.faults.append(Fault(f"{name}[{i}]", repr(table), f"a table [[{name}]]"))
    return found


def _faq(f: _Folder) -> tuple[FaqTexts, ...]:
    return tuple(
        FaqTexts(
            question=f.value(t, f"{at}.question", str), answer=f.value(t, f"{at}.answer", str), locale=f.value(t, f"{at}.locale", str, "en")
        )
        for at, t in _tables(f, "faq", frozenset({"question", "answer", "locale"}))
    )


def _statements(f: _Folder) -> tuple[StatementTexts, ...]:
    return tuple(
        StatementTexts(
            kind=f.value(t, f"{at}.kind", str),
            title=f.value(t, f"{at}.title", str),
            text=f.content(f"{at}.text", f.value(t, f"{at}.text", str)),
            locale=f.value(t, f"{at}.locale", str, "en"),
        )
        for at, t in _tables(f, "statement", frozenset({"kind", "title", "text", "locale"}))
    )


def read_site(place: Path) -> tuple[SiteTexts, dict[str, str]]:
    """Return the site notice of a notice's folder and the facts for it. Raises BadInput with every fault."""
    f = _Folder(place)
    table = f.value(f.toml, "site", dict)
    text, html = f.value(table, "site.text", str), f.value(table, "site.html", str)
    texts = SiteTexts(html=f.content("site.html", html) if html else "", text=f.content("site.text", text) if text else "")
    facts = f.facts()
    if f.faults:
        raise BadInput(f.faults)
    return texts, facts
