"""Which language a reader gets, and the line that says in six languages where the others are. Pure.

A reader's own language, if the register knows it and the notice has it; else the one that the notice gives for the jurisdiction; else the notice's
own. Whoever gets a text that was not chosen by their own language finds one line at its head, in the languages that the notice has.
"""

from __future__ import annotations

import dataclasses
import hashlib
import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tocsin.notices.types import VariantTexts

from . import layout

HEADED = ".any"  # a headed variant's key is the key of its text and this
SITE_PATH = "/notice"
LOCALE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")

# Each in its own language, in this order. The address behind them is the same for all.
READ_IN: Mapping[str, str] = {
    "en": "Read this in English",
    "es": "Lea esto en español",
    "fr": "Lisez ceci en français",
    "de": "Lesen Sie dies auf Deutsch",
    "pt": "Leia isto em português",
    "zh": "用中文阅读",
}


class Words(NamedTuple):
    """A stored variant, as far as choosing needs it."""

    id: int
    key: str
    locale: str
    jurisdictions: tuple[str, ...]
    translation_of: str
    headed: bool


class Choice(NamedTuple):
    """Who reads which variant: readers in a jurisdiction whose language is `locale` ("": any other, or not known).

    `text` is the id of the variant that the chosen one translates, or its own: accounts at one mailbox share a notice within it.
    """

    jurisdiction: str
    locale: str
    variant: int
    text: int


def normal(locale: str) -> str:
    """Return a locale as it is compared: `pt_BR` and `PT-br` are `pt-br`."""
    return locale.strip().replace("_", "-").lower()


def language(locale: str) -> str:
    """Return the language of a locale: `pt` of `pt-BR`."""
    return normal(locale).partition("-")[0]


def choices(variants: Sequence[Words], jurisdictions: Iterable[str], *, defaults: Mapping[str, str]) -> list[Choice]:
    """Return what each reader of these jurisdictions gets; complete: every jurisdiction has a row for locale "".

    `sql/freeze_people.sql` looks up the whole locale first, then its language, then "".
    """
    own = {j: v for v in variants if not v.translation_of and not v.headed for j in v.jurisdictions}
    everybody = next(v for v in variants if not v.jurisdictions and not v.translation_of and not v.headed)
    headed = {v.key: v.id for v in variants if v.headed}
    found: list[Choice] = []
    for j in sorted(set(jurisdictions)):
        text = own.get(j, everybody)
        family = [text, *(v for v in variants if v.translation_of == text.key and not v.headed)]
        by_locale: dict[str, Words] = {}
        for v in family:
            by_locale.setdefault(normal(v.locale), v)
        for v in family:
            by_locale.setdefault(language(v.locale), v)
        found += [Choice(j, locale, v.id, text.id) for locale, v in by_locale.items()]
        wanted = normal(defaults.get(j) or defaults.get(j.partition("-")[0]) or everybody.locale)
        other = by_locale.get(wanted) or by_locale.get(language(wanted)) or text
        found.append(Choice(j, "", headed.get(other.key + HEADED, other.id), text.id))
    return found


def choose(found: Sequence[Choice], *, jurisdiction: str, locale: str) -> tuple[Choice, str]:
    """Return one reader's choice and why, as the statement that freezes a mailing makes it for all. Raises KeyError for no such
    jurisdiction.
    """
    rows = {c.locale: c for c in found if c.jurisdiction == jurisdiction}
    for wanted, why in ((normal(locale), f"the reader's language is {locale}"), (language(locale), f"the reader's language is {locale}")):
        if wanted and wanted in rows:
            return rows[wanted], why
    said = f"the notice has no {locale}" if normal(locale) else "no language is known"
    return rows[""], f"{said}: the default in {jurisdiction}, under the line of languages"


def head(locales: Iterable[str], *, site: str) -> str:
    """Return the line "read this in …", in the languages that a notice has. `site`: the address, or its slot."""
    has = {language(x) for x in locales}
    return f"{' · '.join(words for code, words in READ_IN.items() if code in has)}: {site}{SITE_PATH}"


def head_html(locales: Iterable[str], *, site: str) -> str:
    """Return the same line as a paragraph of HTML, each part marked with its language for screen readers."""
    has = {language(x) for x in locales}
    parts = [f'<span lang="{"zh-Hans" if code == "zh" else code}">{html.escape(w)}</span>' for code, w in READ_IN.items() if code in has]
    return f"<p>{' · '.join(parts)}: <strong>{site}{SITE_PATH}</strong></p>"


def headed(v: VariantTexts, *, locales: Sequence[str], site: str = "{{site}}") -> VariantTexts:
    """Return a variant under the line of languages, its HTML too."""
    page = v.html
    if v.layout:
        page = layout.to_html(v.text, headings=v.blocks, locale=v.locale, head=head_html(locales, site=site))
    elif page:
        at = re.search(r"(?i)<h1\b", page) or re.search(r"(?i)(?<=>)(?=\s*<(?:p|div|h2|ul)\b)", page)
        place = at.start() if at else 0
        page = page[:place] + head_html(locales, site=site) + page[place:]
    text = f"{head(locales, site=site)}\n\n{v.text}"
    return dataclasses.replace(v, key=v.key + HEADED, text=text, html=page, headed=True)


def with_heads(variants: Sequence[VariantTexts], *, defaults: Mapping[str, str]) -> list[VariantTexts]:
    """Return the variants, and a headed one for each that a reader may get whose language nobody knows. One language alone needs none."""
    locales = list(dict.fromkeys(v.locale for v in variants))
    if len({language(x) for x in locales}) < 2:
        return list(variants)
    everybody = next((v.locale for v in variants if not v.jurisdictions and not v.translation_of), "")
    fallback = {normal(x) for x in (*defaults.values(), everybody)}
    fallback |= {language(x) for x in fallback}
    wanted = [v for v in variants if not v.translation_of or normal(v.locale) in fallback or language(v.locale) in fallback]
    return [*variants, *(headed(v, locales=locales) for v in wanted)]


def texts_sha256(texts: Iterable[tuple[str, str, str, str]]) -> str:
    """Return what a reviewer signs of a language: SHA-256 over (key, subject, text, html) of its variants in the order of their keys.

    Each part comes after its length in bytes as 8 bytes big-endian. Hexadecimal.
    """
    digest = hashlib.sha256()
    for parts in sorted(texts):
        for part in parts:
            raw = part.encode()
            digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()
