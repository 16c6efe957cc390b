"""Sets letters with Typst: many letters in, one PDF out, and on which pages each stands.

One compilation per bundle: the program, the fonts and the common parts are read once (`bench/letters.py` has the figures). The letters go
in as one JSON text in memory: no personal data is written beside the PDF, and a string of data is never read as markup. The output is
PDF/A-2b: print houses and archives take it, and Typst then refuses what no font can show instead of printing a box.
The same letters, date and fonts give the same bytes.

Fonts: those inside the typst package, and for scripts they lack those of Debian's packages below or of `[letters] fonts`. Nothing else on
the machine is looked at, so that a bundle does not change with somebody's desktop.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

import typst

from tocsin.kernel.errors import Unavailable, ensure

PROGRAM = Path(__file__).with_name("letter.typ")
GLYPHS = Path(__file__).with_name("glyphs.typ")
OWN_FAMILIES = ("Libertinus Serif", "DejaVu Sans Mono")
# Debian's fonts for what Libertinus lacks: (package, folder, families), the first found of each row of scripts is used first.
DEBIAN = (
    ("fonts-noto-cjk", "/usr/share/fonts/opentype/noto", ("Noto Serif CJK SC", "Noto Sans CJK SC")),
    ("fonts-wqy-zenhei", "/usr/share/fonts/truetype/wqy", ("WenQuanYi Zen Hei",)),
    ("fonts-droid-fallback", "/usr/share/fonts/truetype/droid", ("Droid Sans Fallback",)),
    ("fonts-dejavu-core", "/usr/share/fonts/truetype/dejavu", ("DejaVu Sans",)),
)
REMEDY = "install the Debian package fonts-noto-cjk, or name a folder of fonts in [letters] fonts"
STANDARD: Final = "a-2b"
SPANS = "query(<start>).map(x => x.location().page()).zip(query(<stop>).map(x => x.location().page()))"


@dataclass(frozen=True, slots=True)
class Sheet:
    """One letter as it is set. `page` holds {page} and {pages}; `body` as `body.paragraphs` makes it."""

    number: str
    lang: str
    page: str
    date: str
    address: Sequence[str]
    info: Sequence[str]
    subject: str
    body: Sequence[dict[str, Any]]

    def characters(self) -> set[str]:
        """Return every character that must be shown."""
        pieces = [p["text"] + p.get("mark", "") for p in self.body]
        return set("".join((self.number, self.page, self.date, *self.address, *self.info, self.subject, *pieces)))


@dataclass(frozen=True, slots=True)
class Made:
    """A PDF, and the first and the last page (from 1) of each letter in it."""

    pdf: bytes
    spans: tuple[tuple[int, int], ...]


class Setter:
    """Typst with its fonts and program, ready for many bundles."""

    def __init__(self, fonts: str = "") -> None:
        folders = [Path(folder) for _, folder, _ in DEBIAN] + ([Path(fonts)] if fonts else [])
        self._fonts = typst.Fonts(include_system_fonts=False, include_embedded_fonts=True, font_paths=[f for f in folders if f.is_dir()])
        there = set(self._fonts.families())
        known = [*OWN_FAMILIES[:1], *(f for _, _, families in DEBIAN for f in families), *OWN_FAMILIES[1:]]
        own = sorted({f.family for f in self._fonts.fonts() if fonts and f.path and Path(f.path).is_relative_to(fonts)})
        self.families = [f for f in dict.fromkeys([*known[:1], *own, *known[1:]]) if f in there]
        self._compiler = typst.Compiler(PROGRAM, root=PROGRAM.parent, font_paths=self._fonts)
        self._checker = typst.Compiler(GLYPHS, root=GLYPHS.parent, font_paths=self._fonts)
        self._shown: set[str] = set(" \n")
        self._not_shown: set[str] = set()

    def unshown(self, characters: Collection[str]) -> set[str]:
        """Return those characters that no font here has; each is tried once in the life of this object."""
        new = set(characters) - self._shown - self._not_shown
        if new and self._shows("".join(sorted(new))):
            self._shown |= new
        else:
            for c in sorted(new):
                (self._shown if self._shows(c) else self._not_shown).add(c)
        return set(characters) & self._not_shown

    def _shows(self, text: str) -> bool:
        try:
            self._checker.compile(
                format="pdf", sys_inputs={"fonts": json.dumps(self.families), "text": text}, pdf_standards=[STANDARD], pdf_tags=False
            )
        except typst.TypstError as e:
            if "could not be displayed" not in e.message:
                raise
            return False
        return True

    def set(self, sheets: Sequence[Sheet], *, layout: str, sender: Sequence[str], date: datetime, duplex: bool) -> Made:
        """Return the letters as one PDF, each on a page of its own (with `duplex` on a sheet of its own). `layout`: us or din.

        Raises Unavailable for characters that no font here has: ask `unshown` first.
        """
        ensure(bool(sheets), "a bundle holds a letter")
        day = date.astimezone(UTC)
        data = {
            "layout": layout,
            "fonts": self.families,
            "sender": list(sender),
            "date": [day.year, day.month, day.day],
            "duplex": duplex,
            "letters": [
                {
                    "number": s.number,
                    "lang": s.lang,
                    "page": s.page,
                    "date": s.date,
                    "address": list(s.address),
                    "info": list(s.info),
                    "subject": s.subject,
                    "body": list(s.body),
                }
                for s in sheets
            ],
        }
        try:
            pdf, warnings = self._compiler.compile_with_warnings(
                format="pdf",
                sys_inputs={"data": json.dumps(data)},
                timestamp=int(day.timestamp()),
                pdf_standards=[STANDARD],
                pdf_tags=False,
            )
            spans = json.loads(self._compiler.eval(SPANS))
        except typst.TypstError as e:
            raise Unavailable("letter printer", f"{e.message}; {REMEDY}") from None
        ensure(not warnings, f"Typst warns: {[w.message for w in warnings[:3]]}")
        ensure(len(spans) == len(sheets), "each letter has a first and a last page")
        ensure(isinstance(pdf, bytes), "one document comes as one file")
        return Made(cast("bytes", pdf), tuple((first, last) for first, last in spans))
