"""Texts in the making: what was written of a notice, and what the gates say of a change before it is stored.

A stored notice never changes; an edit becomes the next version. What is kept for that is the source, with its slots and facts unfilled.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from tocsin.kernel.errors import BadInput, NotFound

from . import compose, policy, rehearsal
from .models import Notice
from .text import languages
from .types import FaqTexts, NoticeTexts, StatementTexts, Tried, VariantTexts


def as_json(texts: NoticeTexts) -> dict[str, Any]:
    """Return texts as they are stored with a notice."""
    return {
        "variants": [{**dataclasses.asdict(v), "blocks": {h: list(b) for h, b in v.blocks.items()}} for v in texts.variants],
        "facts": dict(texts.facts),
        "languages": dict(texts.languages),
        "faq": [dataclasses.asdict(x) for x in texts.faq],
        "statements": [dataclasses.asdict(x) for x in texts.statements],
    }


def of_json(stored: Mapping[str, Any]) -> NoticeTexts:
    """Return the texts of `as_json`."""
    return NoticeTexts(
        variants=tuple(
            VariantTexts(**{**v, "jurisdictions": tuple(v["jurisdictions"]), "blocks": {h: tuple(b) for h, b in v["blocks"].items()}})
            for v in stored["variants"]
        ),
        facts=stored["facts"],
        languages=stored["languages"],
        faq=tuple(FaqTexts(**x) for x in stored["faq"]),
        statements=tuple(StatementTexts(**x) for x in stored["statements"]),
    )


def source(notice: int) -> tuple[int, NoticeTexts]:
    """Return the incident of a notice and its texts as they were written. Raises NotFound."""
    row = Notice.objects.filter(pk=notice).first()
    if row is None or not row.source:
        raise NotFound(f"no notice {notice}" if row is None else f"notice {notice} was drafted before sources were kept: draft it again")
    return row.incident, of_json(row.source)


def tried(incident: int, texts: NoticeTexts, *, key: str, wanted: Mapping[str, Iterable[str]] | None = None) -> Tried:
    """Return what storing and sending these texts would meet, and how the variant `key` reads. Writes nothing.

    `wanted`: a law's name -> the codes of its `must_include`; codes that are no notice's are left out.
    """
    asked: dict[str, list[str]] = {block: ["every notice"] for block in policy.ALWAYS}
    for law, codes in (wanted or {}).items():
        for block in {policy.BLOCK_OF[c] for c in codes if c in policy.BLOCK_OF}:
            asked.setdefault(block, []).append(law)
    here = next((v for v in texts.variants if v.key == key), None)
    held = {b for blocks in (here.blocks.values() if here else ()) for b in blocks}
    blocks = tuple((b, b in held, ", ".join(asked.get(b, ()))) for b in policy.BLOCKS)
    try:
        made = compose.compose(incident, texts).variants
    except BadInput as e:
        return Tried(faults=e.faults, findings=(), preview=None, blocks=blocks)
    findings = [f for f in compose.check(made, required=policy.ALWAYS, forbidden=()) if f.variant in (key, key + languages.HEADED)]
    shown = next((rehearsal.shown(v, rehearsal.made_up(v)) for v in made if v.key == key), None)
    return Tried(faults=(), findings=tuple(findings), preview=shown, blocks=blocks)
