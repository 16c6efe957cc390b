"""The gates a text must pass before two people are asked to sign it. Pure.

Hard: no link, picture, script, form or foreign resource; nothing hidden; only our own addresses; slots known and the case code there; the
content blocks there; HTML and plain text say the same words; readable (grade at most 8, ease at least 60; English). Soft: over 600 words.
A notice without HTML is plain text alone. Tables may carry a layout (`role="presentation"`), as those that MJML makes; their cells set the
size of letters to 0 against gaps, so what counts is the size that each word ends up with.
Source: NCSC and FTC advice against links in such mails; specification of notices, section "gates before release".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from html.parser import HTMLParser

from tocsin.notices.policy import ALWAYS, BLOCKS
from tocsin.notices.types import Finding, VariantTexts

from .mjml import STYLE_BAD
from .readability import measure

GRADE_MAX = 8.0
FLESCH_MIN = 60.0
WORDS_SOFT_MAX = 600
BLOCK_WORDS_MIN = 5
SUBJECT_CHARS_MAX = 120
RECIPIENT_SLOTS = frozenset({"name", "case_code", "references", "elements"})
REQUIRED_SLOTS = frozenset({"case_code"})

SLOT = re.compile(r"\{\{\s*([a-z][a-z0-9_]*(?::[a-z0-9_.-]+)?)\s*\}\}")
_BRACES = re.compile(r"\{\{|\}\}")
_URL = re.compile(r"(?i)\b(?:https?|ftp|mailto|tel|javascript|data):|\bwww\.")
_HOST = re.compile(r"(?i)(?<![\w@.-])(?:[a-z0-9-]+\.)+[a-z]{2,24}\b")
_MAILBOX = re.compile(r"(?i)[\w.+-]+@((?:[a-z0-9-]+\.)+[a-z]{2,24})\b")
_TOKEN = re.compile(r"\{\{\s*[a-z_:0-9]+\s*\}\}|[^\W_]+(?:['’.@-][^\W_]+)*")
_NUMBERED = re.compile(r"(?m)^\s*\d{1,2}[.)]\s+")
_TAGS = frozenset({"html", "head", "title", "meta", "body", "h1", "h2", "h3", "p", "ul", "ol", "li", "strong", "em", "b", "i", "br", "div",
                   "span", "hr", "section", "article", "header", "footer", "main", "table", "tbody", "tr", "td", "style"})  # fmt: skip
_ATTRIBUTES = frozenset({"lang", "dir", "style", "id", "class", "role", "charset", "name", "content", "aria-labelledby", "aria-label"})
_LAYOUT_ATTRIBUTES = frozenset({"align", "border", "cellpadding", "cellspacing", "width"})  # of table and td
_FONT_SIZE = re.compile(r"(?i)font-size\s*:\s*([\d.]+)")
_VOID = frozenset({"br", "hr", "meta"})
_CLOSED = frozenset({"p", "li", "h1", "h2", "h3", "div", "br", "ul", "ol", "section", "article", "hr", "td"})


class _Reader(HTMLParser):
    """Collects what a reader sees, the headings, and every tag or attribute that has no place in a notice."""

    def __init__(self, *, links: bool) -> None:
        super().__init__(convert_charrefs=True)
        self._links = links
        self.seen: list[str] = []
        self.headings: list[str] = []
        self.wrong: list[str] = []
        self.targets: list[str] = []
        self._hidden = 0
        self._heading: list[str] | None = None
        self._sizes: list[tuple[str, bool]] = []  # open elements, and whether their letters have a size
        self._style: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _TAGS and not (self._links and tag == "a"):
            self.wrong.append(f"<{tag}>")
        if tag == "table" and ("role", "presentation") not in attrs:
            self.wrong.append("<table> of data")
        size = self._sizes[-1][1] if self._sizes else True
        known = _ATTRIBUTES | (_LAYOUT_ATTRIBUTES if tag in ("table", "td") else frozenset())
        for name, value in attrs:
            if self._links and tag == "a" and name == "href":
                self.targets.append(value or "")
            elif name == "style" and name in known:
                rest = _FONT_SIZE.sub("", value or "")
                sizes = _FONT_SIZE.findall(value or "")
                size = float(sizes[-1].rstrip(".") or 0) >= 1 if sizes else size
                if STYLE_BAD.search(rest):
                    self.wrong.append(f"<{tag} {name}={value or ''!r}>")
            elif name not in known or (tag == "meta" and name not in {"charset", "name", "content"}):
                self.wrong.append(f"<{tag} {name}={value or ''!r}>")
        if tag not in _VOID:
            self._sizes.append((tag, size))
        if tag == "style":
            self._style = []
        self._hidden += tag == "title"
        if tag in {"h1", "h2", "h3"}:
            self._heading = []
        if tag in _CLOSED:
            self.seen.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag == "title"
        if tag in (t for t, _ in self._sizes):
            while self._sizes.pop()[0] != tag:
                continue
        if tag == "style" and self._style is not None:
            self.wrong += [f"<style> with {bad!r}" for bad in dict.fromkeys(STYLE_BAD.findall("".join(self._style)))]
            self._style = None
        if tag in {"h1", "h2", "h3"} and self._heading is not None:
            self.headings.append(" ".join("".join(self._heading).split()))
            self._heading = None
        if tag in _CLOSED:
            self.seen.append("\n")

    def handle_data(self, data: str) -> None:
        if self._style is not None:
            self._style.append(data)
            return
        if self._sizes and not self._sizes[-1][1] and data.strip():
            self.wrong.append(f"letters of size 0: {data.strip()[:20]!r}")
        if not self._hidden:
            self.seen.append(data)
        if self._heading is not None:
            self._heading.append(data)

    def handle_comment(self, data: str) -> None:
        self.wrong.append("<!-- -->")


def check(
    variant: VariantTexts,
    *,
    hosts: Collection[str],
    required: Iterable[str] = ALWAYS,
    forbidden: Iterable[str] = (),
    slots: Collection[str] = RECIPIENT_SLOTS,
    slots_required: Collection[str] = REQUIRED_SLOTS,
) -> list[Finding]:
    """Return what is wrong with a variant, hard faults first. `hosts`: the domains the text may name (and their sub-domains)."""
    reader = _Reader(links=variant.allow_links)
    reader.feed(variant.html)
    reader.close()
    found = [
        *_safe(variant, reader, hosts),
        *_slots(variant, slots, slots_required),
        *(_same_words(variant, "".join(reader.seen)) if variant.html else ()),
        *_blocks(variant, reader, frozenset(required), frozenset(forbidden)),
        *_readable(variant),
    ]
    return sorted(found, key=lambda f: not f.hard)


def _finding(variant: VariantTexts, gate: str, message: str, remedy: str, *, hard: bool = True) -> Finding:
    return Finding(gate=gate, variant=variant.key, hard=hard, message=message, remedy=remedy)


def _safe(v: VariantTexts, reader: _Reader, hosts: Collection[str]) -> Iterable[Finding]:
    if not v.subject.strip() or len(v.subject) > SUBJECT_CHARS_MAX or _BRACES.search(v.subject) or "\n" in v.subject:
        yield _finding(
            v, "subject", f"the subject line is {v.subject[:40]!r}", f"one line of 1 to {SUBJECT_CHARS_MAX} characters, no slots"
        )
    for part, text in (("subject", v.subject), ("text", v.text), ("html", v.html)):
        link = _URL.search(text)
        if link and not v.allow_links:
            yield _finding(v, "link", f"the {part} holds {link.group(0)!r}", "name the address to type; or ask for links in notice.toml")
    for what in dict.fromkeys(reader.wrong):
        yield _finding(
            v, "html", f"the HTML holds {what[:80]}", "headings, paragraphs and lists: no picture, script, form or data table, and nothing hidden"
        )
    named = "\n".join((v.subject, v.text, v.html, *reader.targets))
    for host in sorted({h.lower() for h in (*_HOST.findall(named), *_MAILBOX.findall(named))}):
        if not any(host == own or host.endswith(f".{own}") for own in hosts):
            yield _finding(v, "host", f"names {host}", f"only {', '.join(sorted(hosts))}: a notice names no other address")


def _slots(v: VariantTexts, known: Collection[str], required: Collection[str]) -> Iterable[Finding]:
    for part, text in (("text", v.text), ("html", v.html)) if v.html else (("text", v.text),):
        used = set(SLOT.findall(text))
        for name in sorted(used - set(known)):
            yield _finding(
                v, "slot", f"the {part} has a slot {name!r} that nothing fills", f"one of {', '.join(sorted(known))}, or a known fact"
            )
        for name in sorted(set(required) - used):
            yield _finding(v, "slot", f"the {part} lacks the slot {name!r}", f"write {{{{{name}}}}} where the reader will look for it")
        if _BRACES.search(SLOT.sub("", text)):
            yield _finding(v, "slot", f"the {part} holds braces that are no slot", "write slots as {{name}}")


def _same_words(v: VariantTexts, seen: str) -> Iterable[Finding]:
    text, html = ([t.casefold().replace("’", "'") for t in _TOKEN.findall(s)] for s in (_NUMBERED.sub("", v.text), seen))
    if text != html:
        at = next((i for i, (a, b) in enumerate(zip(text, html, strict=False)) if a != b), min(len(text), len(html)))
        yield _finding(
            v,
            "same_words",
            f"text and HTML differ from word {at + 1} on: {' '.join(text[at : at + 4])!r} and {' '.join(html[at : at + 4])!r}",
            "say the same in both: readers check one against the other",
        )


def sections(text: str, headings: Iterable[str]) -> dict[str, str]:
    """Return what stands under each heading of a plain text: a heading is a line of its own."""
    wanted = {h.casefold(): h for h in headings}
    found: dict[str, list[str]] = {}
    here: list[str] | None = None
    for line in text.splitlines():
        key = line.strip().rstrip(":").casefold()
        if key in wanted:
            here = found.setdefault(wanted[key], [])
        elif here is not None:
            here.append(line)
    return {h: "\n".join(lines).strip() for h, lines in found.items()}


def _blocks(v: VariantTexts, reader: _Reader, required: frozenset[str], forbidden: frozenset[str]) -> Iterable[Finding]:
    under = sections(v.text, v.blocks)
    held: set[str] = set()
    for heading, blocks in v.blocks.items():
        for block in blocks:
            if block not in BLOCKS:
                yield _finding(v, "block", f"{heading!r} is said to hold {block!r}", f"one of {', '.join(BLOCKS)}")
        if len(_TOKEN.findall(under.get(heading, ""))) < BLOCK_WORDS_MIN:
            yield _finding(v, "block", f"the text has nothing under the heading {heading!r}", "a line with the heading, then the text")
        elif v.html and heading.casefold() not in {h.casefold() for h in reader.headings}:
            yield _finding(v, "block", f"the HTML lacks the heading {heading!r}", "the same headings as the text, as h1 to h3")
        else:
            held |= set(blocks)
    for block in sorted(required - held):
        yield _finding(v, "block", f"lacks the content block {block!r}", "write it, and name its heading under [blocks]")
    for block in sorted(held & forbidden):
        yield _finding(v, "block", f"holds the content block {block!r}, which a law of these readers strikes", "make a variant without it")


def _readable(v: VariantTexts) -> Iterable[Finding]:
    if v.headed:  # the same text again, under a line in other languages
        return
    if not v.locale.startswith("en"):
        yield _finding(v, "readability", f"not measured for {v.locale}", "have a native reader read it", hard=False)
        return
    r = measure(SLOT.sub("item", v.text))
    if r.grade > GRADE_MAX or r.flesch < FLESCH_MIN:
        yield _finding(v, "readability", f"grade {r.grade}, ease {r.flesch}", f"grade at most {GRADE_MAX}, ease at least {FLESCH_MIN}: "
                       "shorter sentences, shorter words")  # fmt: skip
    if r.words > WORDS_SOFT_MAX:
        yield _finding(v, "length", f"{r.words} words", f"at most {WORDS_SOFT_MAX}: people read the first lines", hard=False)
