"""Layout `standard`: a notice's plain text as a page that reads well on any screen, by day and by night. Pure.

The text is the source and the HTML is made of it, so that both say the same words in the same order without anybody writing them twice. What
the text marks anyway is enough: the first line is the title, a heading is a line of its own that `[blocks]` names, `-` and `1.` make
lists, an empty line ends a paragraph. The way is text -> MJML -> HTML: widths, paddings and dark mode are MJML's, in one place below.
Nothing is fetched, nothing is hidden, no picture, no link; colours are set for light and for dark, with contrast of at least 7 : 1 in both
(WCAG 2.2 s1.4.6).
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from . import mjml

NAMES = ("", "standard")
TITLE_CHARS_MAX = 100

_ITEM = re.compile(r"(?:(-|[*•])|(\d{1,2})[.)])\s+(.*)")
_TYPED = re.compile(r"\{\{\s*(?:site|case_code|help_address)\s*\}\}(?:/[\w/-]*\w)?")
_CODE = re.compile(r"\{\{\s*case_code\s*\}\}")

_HEAD = """<mj-head>
<mj-title>{title}</mj-title>
<mj-attributes>
<mj-all font-family="-apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif" />
<mj-text color="#1d2430" font-size="17px" line-height="1.55" padding="0 28px" />
</mj-attributes>
<mj-style>
:root {{ color-scheme: light dark; supported-color-schemes: light dark }}
h1 {{ font-size: 26px; line-height: 1.25; margin: 24px 0 12px }}
h2 {{ font-size: 19px; line-height: 1.3; margin: 26px 0 6px }}
.words p {{ margin: 0 0 14px }}
.words ul, .words ol {{ margin: 0 0 14px; padding: 0 0 0 24px }}
.words li {{ margin: 0 0 6px }}
.ways p {{ font-size: 14px; line-height: 1.5; margin: 18px 0 0; color: #47505e }}
.words .code p {{ margin: 12px 0 }}
@media (prefers-color-scheme: dark) {{
body, .page {{ background-color: #11161c !important }}
.page .card td {{ background-color: #1a212a !important }}
.card div, .card p, .card li, .card h1, .card h2 {{ color: #e7ecf1 !important }}
.ways div, .ways p {{ color: #b9c4cf !important }}
.page .code {{ background-color: #22303a !important }}
}}
</mj-style>
</mj-head>
"""
_BODY = (
    '<mj-body background-color="#eef0f2" width="640px" css-class="page"><mj-section padding="20px 0">'
    '<mj-column css-class="card" background-color="#ffffff" border-top="6px solid #0b5c6b" padding="10px 0 24px">\n{inside}\n</mj-column>'
    "</mj-section></mj-body>\n"
)
_CODE_BOX = '<div class="code" style="background-color: #e6eff1; border-radius: 8px; padding: 2px 14px; margin: 0 0 14px">'


class Block(NamedTuple):
    """A piece of a plain text: `kind` is title, heading, paragraph, bullets or numbers; `lines` its paragraphs or items."""

    kind: str
    lines: tuple[str, ...]


def blocks(text: str, headings: Iterable[str]) -> list[Block]:
    """Return the pieces of a plain text, in order."""
    wanted = {h.casefold() for h in headings}
    found: list[Block] = []
    for group in re.split(r"\n\s*\n", text.strip()):
        lines = [line.strip() for line in group.splitlines() if line.strip()]
        while lines and lines[0].rstrip(":").casefold() in wanted:
            found.append(Block("heading", (lines.pop(0),)))
        if lines and not any(b.kind == "title" for b in found) and _is_title(lines):
            found.append(Block("title", (lines.pop(0),)))
        found += _paragraphs(lines)
    return found


def _is_title(lines: Sequence[str]) -> bool:
    """Tell whether a group of lines is the title: one short line that is no sentence."""
    return len(lines) == 1 and len(lines[0]) <= TITLE_CHARS_MAX and lines[0][-1] not in ".,;:!?。，" and "{{" not in lines[0]


def _paragraphs(lines: Sequence[str]) -> list[Block]:
    found: list[Block] = []
    for line in lines:
        item = _ITEM.fullmatch(line)
        last = found[-1] if found else None
        if item:
            kind = "bullets" if item[1] else "numbers"
            if last is not None and last.kind == kind:
                found[-1] = Block(kind, (*last.lines, item[3]))
            else:
                found.append(Block(kind, (item[3],)))
        elif last is not None:  # the rest of the paragraph or item above
            found[-1] = Block(last.kind, (*last.lines[:-1], f"{last.lines[-1]} {line}"))
        else:
            found.append(Block("paragraph", (line,)))
    return found


def to_html(text: str, *, headings: Iterable[str], locale: str, head: str = "") -> str:
    """Return the page of a plain text. `head`: a paragraph of HTML that stands above all of it (see `languages.head`)."""
    pieces = blocks(text, headings)
    title = next((b.lines[0] for b in pieces if b.kind == "title"), "")
    words = "".join(html_of(block, code_box=_CODE_BOX) for block in pieces)
    inside = (f'<mj-text css-class="ways">{head}</mj-text>\n' if head else "") + f'<mj-text css-class="words">{words}</mj-text>'
    source = (
        f'<mjml lang="{html.escape(locale)}">\n'
        + _HEAD.format(title=html.escape(title, quote=False))
        + _BODY.format(inside=inside)
        + "</mjml>\n"
    )
    return mjml.to_html(source, locale=locale, field="layout")


def html_of(block: Block, *, code_box: str = '<div class="code">') -> str:
    """Return a piece as HTML; the paragraph with the case code in a box of its own."""
    if block.kind in ("title", "heading"):
        tag = "h1" if block.kind == "title" else "h2"
        return f"<{tag}>{_inline(block.lines[0])}</{tag}>"
    if block.kind == "paragraph":
        words = f"<p>{_inline(block.lines[0])}</p>"
        return f"{code_box}{words}</div>" if _CODE.search(block.lines[0]) else words
    tag = "ul" if block.kind == "bullets" else "ol"
    return f"<{tag}>" + "".join(f"<li>{_inline(line)}</li>" for line in block.lines) + f"</{tag}>"


def _inline(text: str) -> str:
    """Return a line as HTML; what a reader types or reads out is strong."""
    return _TYPED.sub(lambda m: f"<strong>{m.group(0)}</strong>", html.escape(text, quote=False))
