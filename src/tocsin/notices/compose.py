"""From the texts that somebody wrote to those that are stored and checked: layout, languages, facts.

At edit time, in this order: the HTML is made (from MJML, or from the text in a layout of ours), the headed variants are added, the slots that
are the same for everybody are filled. Facts come from the incident's ledger first, then from the notice's own `[facts]`; in a translation
`{{fact:KEY}}` is the fact `KEY.LANGUAGE` where there is one, because a fact may be a sentence.
"""

from __future__ import annotations

import dataclasses
import html
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from django.conf import settings
from django.utils import formats, translation

from tocsin.incidents import queries as incidents
from tocsin.kernel import config
from tocsin.kernel.errors import BadInput, Fault, NotFound

from .models import Variant
from .text import gates, languages, layout, mjml
from .types import FaqTexts, Finding, NoticeTexts, StatementTexts, VariantTexts

STATEMENTS = ("press", "staff")


class Values:
    """What fills the slots that are the same for everybody; remembers which facts of the ledger it gave out (`pins`: key -> id)."""

    def __init__(self, incident: int, facts: Mapping[str, str]) -> None:
        c = config.current()
        self.discovered_at = incidents.incident(incident).discovered_at
        self._ledger = {f.key: f for f in incidents.facts(incident) if f.audience == "all"}
        self._own = facts
        self._company = {"company": c.company.name, "brand": c.company.brand, "site": c.company.domain, "help_address": c.mail.help_address}
        self.pins: dict[str, int] = {}

    def get(self, name: str, locale: str) -> str | None:
        """Return the value of a slot in a language; None for one that differs from person to person, or that nobody knows."""
        if not name.startswith("fact:"):
            return self._company.get(name)
        key = name.removeprefix("fact:")
        for wanted in (f"{key}.{languages.language(locale)}", key):
            if wanted in self._ledger:
                self.pins[wanted] = self._ledger[wanted].id
                return self._ledger[wanted].value
            if wanted in self._own:
                return self._own[wanted]
        return self._day(locale) if key == "discovered_on" else None

    def _day(self, locale: str) -> str:
        """Return the day of discovery as the language writes days."""
        day = self.discovered_at
        code = languages.language(locale)
        known = {c.partition("-")[0]: c for c, _ in settings.LANGUAGES}
        if code == "en" or code not in known:
            return f"{day:%B} {day.day}, {day.year}" if code == "en" else f"{day:%Y-%m-%d}"
        with translation.override(known[code]):
            return formats.date_format(day, "DATE_FORMAT")


class Composed(NamedTuple):
    """Texts as they are stored, and the facts of the ledger that fill them (key -> id)."""

    variants: list[VariantTexts]
    faq: list[FaqTexts]
    statements: list[StatementTexts]
    pins: dict[str, int]


def compose(incident: int, texts: NoticeTexts) -> Composed:
    """Return the texts of a notice as they are stored. Raises BadInput with every fault, MJML's by line."""
    values = Values(incident, texts.facts)
    faults = variant_faults(texts)
    made = [_laid_out(v, faults) for v in texts.variants]
    if not faults:
        made = languages.with_heads(made, defaults=texts.languages)
    variants = [filled(v, values, faults) for v in made]
    faq = [_faq(x, n, values, faults) for n, x in enumerate(texts.faq)]
    statements = [_statement(x, values, faults) for x in texts.statements]
    faults += _twice("statement", [x.name for x in statements], "one statement of a kind in a language")
    if faults:
        raise BadInput(faults)
    return Composed(variants, faq, statements, values.pins)


def _faq(x: FaqTexts, n: int, values: Values, faults: list[Fault]) -> FaqTexts:
    made = filled(VariantTexts(key=f"faq[{n}]", subject=x.question, text=x.answer, html="", locale=x.locale), values, faults)
    faults += _beside(made)
    return dataclasses.replace(x, question=made.subject, answer=made.text)


def _statement(x: StatementTexts, values: Values, faults: list[Fault]) -> StatementTexts:
    """Return a statement with its facts filled in and its HTML made."""
    if x.kind not in STATEMENTS:
        faults.append(Fault("statement.kind", repr(x.kind), f"one of {', '.join(STATEMENTS)}"))
    made = filled(VariantTexts(key=f"statement.{x.name}", subject=x.title, text=x.text, html="", locale=x.locale), values, faults)
    if not made.text.strip():
        return x
    page = layout.to_html(f"{made.subject}\n\n{made.text}", headings=(), locale=x.locale)
    faults += _beside(made)
    return dataclasses.replace(x, title=made.subject, text=made.text, html=page)


def _beside(v: VariantTexts) -> list[Fault]:
    """Return as faults what the gates find in words beside the notice: links, other people's addresses, slots of one reader."""
    found = gates.check(v, hosts=hosts(), required=(), slots=(), slots_required=())
    return [Fault(v.key, f.message, f.remedy) for f in found if f.hard and f.gate != "readability"]


def stored(notice: int) -> list[VariantTexts]:
    """Return the variants of a notice as the gates read them. Raises NotFound."""
    found = [
        VariantTexts(
            key=v.key,
            subject=v.subject,
            text=v.text,
            html=v.html,
            locale=v.locale,
            jurisdictions=tuple(v.jurisdictions),
            blocks={h: tuple(b) for h, b in v.blocks.items()},
            allow_links=v.allow_links,
            translation_of=v.translation_of,
            headed=v.headed,
        )
        for v in Variant.objects.filter(notice_id=notice).order_by("pk")
    ]
    if not found:
        raise NotFound(f"no notice {notice}")
    return found


def check(variants: Sequence[VariantTexts], *, required: Iterable[str], forbidden: Iterable[str]) -> list[Finding]:
    """Return what the gates find, hard findings first. A translation holds whatever its original holds: blocks, and slots of the reader."""
    by_key = {v.key: v for v in variants}
    required, forbidden = set(required), set(forbidden)
    found: list[Finding] = []
    for v in variants:
        original = by_key.get(v.translation_of, v)
        blocks = {b for of in original.blocks.values() for b in of} if original is not v else set()
        slots = set(gates.SLOT.findall(original.text)) & gates.RECIPIENT_SLOTS
        found += gates.check(v, hosts=hosts(), required=required | blocks, forbidden=forbidden, slots_required=slots | gates.REQUIRED_SLOTS)
    return sorted(found, key=lambda f: not f.hard)


def hosts() -> frozenset[str]:
    """Return the domains that a notice may name: the company's, and that of its help address."""
    c = config.current()
    return frozenset({c.company.domain.lower(), c.mail.help_address.rpartition("@")[2].lower()})


def variant_faults(texts: NoticeTexts) -> list[Fault]:
    """Return what is wrong with the variants as a set: readers without a text or with two, keys, languages."""
    originals = [v for v in texts.variants if not v.translation_of]
    general = [v for v in originals if not v.jurisdictions]
    faults = []
    if len(general) != 1:
        faults.append(Fault("variant", f"{len(general)} without jurisdictions", "exactly one, for everybody else"))
    named = [j for v in originals for j in v.jurisdictions]
    faults += _twice("jurisdictions", named, "each jurisdiction in one variant")
    keys = [v.key for v in texts.variants]
    faults += _twice("key", keys, "a key of its own, and each language once")
    faults += [Fault("key", repr(k), "a key without blanks") for k in keys if len(k.split()) != 1]
    faults += [
        Fault(f"{v.key}.locale", repr(v.locale), "a language as in en, es, pt-BR or zh-Hans")
        for v in texts.variants
        if not languages.LOCALE.fullmatch(v.locale)
    ]
    by_key = {v.key: v for v in originals}
    faults += [
        Fault(f"{v.key}.locale", repr(v.locale), "another language than that of the text it translates")
        for v in texts.variants
        if v.translation_of in by_key and languages.normal(by_key[v.translation_of].locale) == languages.normal(v.locale)
    ]
    offered = {x for v in texts.variants for x in (languages.normal(v.locale), languages.language(v.locale))}
    faults += [
        Fault(f"languages.{j}", repr(locale), f"a language of the notice: {', '.join(sorted({v.locale for v in texts.variants}))}")
        for j, locale in texts.languages.items()
        if languages.normal(locale) not in offered and languages.language(locale) not in offered
    ]
    return faults


def _twice(field: str, values: Collection[str], wanted: str) -> list[Fault]:
    return [Fault(field, repr(v), wanted) for v, n in sorted(Counter(values).items()) if n > 1]


def _laid_out(v: VariantTexts, faults: list[Fault]) -> VariantTexts:
    """Return a variant with its HTML made, and its text where MJML is the source of both."""
    try:
        if v.layout not in layout.NAMES:
            raise BadInput.of(f"{v.key}.layout", v.layout, f"one of {', '.join(n for n in layout.NAMES if n)}, or none")
        if v.mjml:
            page = mjml.to_html(v.mjml, locale=v.locale, field=f"{v.key}.mjml")
            return dataclasses.replace(v, html=page, text=v.text or mjml.to_text(page))
        if v.layout:
            return dataclasses.replace(v, html=layout.to_html(v.text, headings=v.blocks, locale=v.locale))
    except BadInput as e:
        faults += e.faults
    return v


def filled(v: VariantTexts, values: Values, faults: list[Fault]) -> VariantTexts:
    """Return a variant with the slots filled that are the same for everybody; adds a fault for each fact that nobody knows."""

    def fill(part: str, text: str) -> str:
        known = {name: values.get(name, v.locale) for name in dict.fromkeys(gates.SLOT.findall(text))}
        faults.extend(
            Fault(f"{v.key}.{part}", f"{{{{{name}}}}}", "a fact of the incident or of [facts]")
            for name, value in known.items()
            if value is None and name.startswith("fact:")
        )
        shown = {n: x if part != "html" or x is None else html.escape(x, quote=False) for n, x in known.items()}
        return gates.SLOT.sub(lambda m: shown[m.group(1)] or m.group(0), text)

    return dataclasses.replace(v, subject=fill("subject", v.subject), text=fill("text", v.text), html=fill("html", v.html))
