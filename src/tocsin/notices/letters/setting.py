"""Sets letters with Typst: many letters in, one PDF out, and on which pages each stands.

One compilation per bundle: the program, the fonts and the common parts are read once (`bench/letters.py` has the figures). Each runs in a
process of its own, because Typst keeps what it has laid out, some 1.2 MB for a letter of two pages, for as long as its process lives. The letters
go in as one JSON text through a pipe: no personal data is written beside the PDF, and a string of data is never read as markup. The output is
PDF/A-2b: print houses and archives take it, and Typst then refuses what no font can show instead of printing a box.
The same letters, date and fonts give the same bytes.

Fonts: those inside the typst package, and for scripts they lack those of Debian's packages below or of `[letters] fonts`. Nothing else on
the machine is looked at, so that a bundle does not change with somebody's desktop.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
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
CANNOT = 3  # exit code of the child: the letters cannot be set as they are
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
        self._folder, self._fonts = fonts, _fonts(fonts)
        there = set(self._fonts.families())
        known = [*OWN_FAMILIES[:1], *(f for _, _, families in DEBIAN for f in families), *OWN_FAMILIES[1:]]
        own = sorted({f.family for f in self._fonts.fonts() if fonts and f.path and Path(f.path).is_relative_to(fonts)})
        self.families = [f for f in dict.fromkeys([*known[:1], *own, *known[1:]]) if f in there]
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
            "letters": [asdict(s) for s in sheets],
        }
        order = json.dumps({"folder": self._folder, "timestamp": int(day.timestamp()), "data": json.dumps(data)})
        # -P: nothing of the folder that the operator stands in is imported.
        child = subprocess.run([sys.executable, "-P", "-m", __name__], input=order.encode(), capture_output=True, check=False)
        if child.returncode == CANNOT:
            raise Unavailable("letter printer", f"{child.stderr.decode()}; {REMEDY}")
        ensure(child.returncode == 0, f"setting ended with {child.returncode}: {child.stderr.decode()[-500:]}")
        size = int.from_bytes(child.stdout[:4], "big")
        spans = json.loads(child.stdout[4 : 4 + size])
        ensure(len(spans) == len(sheets), "each letter has a first and a last page")
        return Made(child.stdout[4 + size :], tuple((first, last) for first, last in spans))


def _fonts(folder: str) -> typst.Fonts:
    folders = [Path(f) for _, f, _ in DEBIAN] + ([Path(folder)] if folder else [])
    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=True, font_paths=[f for f in folders if f.is_dir()])


def main() -> int:
    """Set the letters that stand on standard input; the PDF goes to standard output, after the pages of each letter. For `Setter.set`."""
    order = json.load(sys.stdin)
    compiler = typst.Compiler(PROGRAM, root=PROGRAM.parent, font_paths=_fonts(order["folder"]))
    try:
        pdf, warnings = compiler.compile_with_warnings(
            format="pdf", sys_inputs={"data": order["data"]}, timestamp=order["timestamp"], pdf_standards=[STANDARD], pdf_tags=False
        )
        spans = json.dumps(json.loads(compiler.eval(SPANS))).encode()
    except typst.TypstError as e:
        sys.stderr.write(e.message)
        return CANNOT
    ensure(isinstance(pdf, bytes) and not warnings, f"Typst warns: {[w.message for w in warnings[:3]]}")
    sys.stdout.buffer.write(len(spans).to_bytes(4, "big") + spans + cast("bytes", pdf))
    return 0


if __name__ == "__main__":
    sys.exit(main())
