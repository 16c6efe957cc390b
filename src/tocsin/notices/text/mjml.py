"""A company's MJML as HTML for a notice: checked first, line by line, then made by `mjml-python`, then reduced to what a notice may hold. Pure.

The compiler (mrml) is lenient where we must not be: a tag that it does not know it passes on as it stands, an attribute it drops, and an end tag
that does not fit it takes for the one that does, all without a word. So the source is read here before: every element, attribute and end tag that
would be lost, or that a notice may not hold (picture, link, file, font, script, hidden text) is named with its line, all at once.
What the compiler gives is written anew with our own head: no comments (conditional ones hold markup that no gate reads), no font to
fetch, no namespace of Word. `{{slots}}` come through as they are.
Source: https://documentation.mjml.io (elements and attributes); the compiler's silence is shown by a test.
"""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Iterable, Mapping
from html.parser import HTMLParser

from tocsin.kernel.errors import BadInput, Fault

MJML_CHARS_MAX = 200_000
TEXT_WIDTH = 72

_BOX = frozenset({"padding", "padding-top", "padding-right", "padding-bottom", "padding-left"})
_BORDER = frozenset({"border", "border-top", "border-right", "border-bottom", "border-left", "border-radius"})
_EVERYWHERE = frozenset({"css-class", "mj-class"})
_SECTION = _BOX | _BORDER | {"background-color", "direction", "full-width", "text-align"}
_TEXT = _BOX | {
    "align", "color", "container-background-color", "font-family", "font-size", "font-style", "font-weight", "height", "letter-spacing",
    "line-height", "text-decoration", "text-transform",
}  # fmt: skip
ATTRIBUTES: Mapping[str, frozenset[str]] = {
    "mjml": frozenset({"lang", "dir", "owa"}),
    "mj-head": frozenset(),
    "mj-title": frozenset(),
    "mj-style": frozenset(),
    "mj-breakpoint": frozenset({"width"}),
    "mj-attributes": frozenset(),
    "mj-class": frozenset({"name"}) | _SECTION | _TEXT,
    "mj-all": _SECTION | _TEXT,
    "mj-body": frozenset({"background-color", "width", "css-class"}),
    "mj-wrapper": _SECTION,
    "mj-section": _SECTION,
    "mj-group": frozenset({"background-color", "direction", "vertical-align", "width"}),
    "mj-column": _BOX | _BORDER | {"background-color", "inner-background-color", "vertical-align", "width"},
    "mj-text": _TEXT,
    "mj-divider": _BOX | {"align", "border-color", "border-style", "border-width", "container-background-color", "width"},
    "mj-spacer": _BOX | {"container-background-color", "height"},
}
_COMPONENTS = frozenset({"mj-body", "mj-wrapper", "mj-section", "mj-group", "mj-column", "mj-text", "mj-divider", "mj-spacer"})
_INLINE = frozenset({"strong", "em", "b", "i", "br", "span"})
_FLOW = _INLINE | {"h1", "h2", "h3", "p", "ul", "ol", "div"}
CHILDREN: Mapping[str, frozenset[str]] = {
    "": frozenset({"mjml"}),
    "mjml": frozenset({"mj-head", "mj-body"}),
    "mj-head": frozenset({"mj-title", "mj-style", "mj-attributes", "mj-breakpoint"}),
    "mj-title": frozenset(),
    "mj-style": frozenset(),
    "mj-breakpoint": frozenset(),
    "mj-attributes": _COMPONENTS | {"mj-all", "mj-class"},
    "mj-body": frozenset({"mj-section", "mj-wrapper"}),
    "mj-wrapper": frozenset({"mj-section"}),
    "mj-section": frozenset({"mj-column", "mj-group"}),
    "mj-group": frozenset({"mj-column"}),
    "mj-column": frozenset({"mj-text", "mj-divider", "mj-spacer"}),
    "mj-text": _FLOW,
    "div": _FLOW,
    **{tag: frozenset({"li"}) for tag in ("ul", "ol")},
    "li": _INLINE | {"p", "ul", "ol"},
    **dict.fromkeys(("h1", "h2", "h3", "p", "strong", "em", "b", "i", "span"), _INLINE),
}
_HOLDS_TEXT = frozenset({"mj-title", "mj-style", "mj-text", "div", "li", "h1", "h2", "h3", "p", "strong", "em", "b", "i", "span"})
_OF_HTML = frozenset({"lang", "dir", "style", "class", "id"})
_VOID = frozenset({"br"})
_STRANGERS: Mapping[str, str] = {
    **dict.fromkeys(("mj-image", "mj-carousel", "mj-hero", "img"), "a notice holds no picture: say it in words"),
    **dict.fromkeys(("mj-button", "mj-navbar", "mj-social", "a"), "a notice holds no link: name the address to type"),
    **dict.fromkeys(("mj-include", "mj-font", "link"), "a notice fetches nothing from elsewhere"),
    **dict.fromkeys(("mj-preview", "mj-raw", "mj-accordion", "script", "style"), "a notice hides nothing: what is in it is read"),
    **dict.fromkeys(("mj-table", "table"), "a notice holds no table of data: a list reads well on every screen"),
}
STYLE_BAD = re.compile(
    r"(?i)url\s*\(|@import|@font-face|expression|behaviou?r|position|display\s*:\s*none|visibility|font-size\s*:\s*0|opacity|content\s*:"
    r"|text-indent|clip|transparent|max-height\s*:\s*0|[\\<]"
)
_DROPPED_RULES = re.compile(r"(?:#outlook|img|p|table|body)[^{}]*\{[^{}]*\}\s*")
_OWN_STYLE = "body{margin:0;padding:0;-webkit-text-size-adjust:100%;-ms-text-size-adjust:100%}table,td{border-collapse:collapse}"


class _Source(HTMLParser):
    """Reads MJML and keeps every fault with its line."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[Fault] = []
        self.open: list[tuple[str, int]] = []
        self.seen: set[str] = set()

    def wrong(self, got: str, wanted: str, *, line: int | None = None) -> None:
        self.faults.append(Fault("mjml", got[:80], wanted, line if line is not None else self.getpos()[0]))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._opens(tag, attrs)
        if tag not in _VOID:
            self.open.append((tag, self.getpos()[0]))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._opens(tag, attrs)
        if not tag.startswith("mj") and tag not in _VOID:
            self.wrong(f"<{tag}/>", f"an end tag </{tag}>: only elements of MJML and <br/> close themselves")

    def _opens(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        parent = self.open[-1][0] if self.open else ""
        self.seen.add(tag)
        if tag in _STRANGERS:
            self.wrong(f"<{tag}>", _STRANGERS[tag])
        elif tag not in ATTRIBUTES and tag not in CHILDREN and tag not in _VOID:
            self.wrong(f"<{tag}>", "an element of MJML, or h1 to h3, p, ul, ol, li, strong, em, br in mj-text")
        elif parent in CHILDREN and tag not in CHILDREN[parent]:
            inside = ", ".join(sorted(CHILDREN[parent])) or "text alone"
            self.wrong(f"<{tag}> in {f'<{parent}>' if parent else 'the file'}", f"there: {inside}")
        else:
            self._attributes(tag, attrs)

    def _attributes(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = ATTRIBUTES[tag] | (_EVERYWHERE if tag.startswith("mj-") else frozenset()) if tag in ATTRIBUTES else _OF_HTML
        if any(t == "mj-attributes" for t, _ in self.open):
            known |= ATTRIBUTES["mj-all"]
        for name, value in attrs:
            if name not in known:
                self.wrong(f"<{tag} {name}>", f"an attribute of <{tag}>: {', '.join(sorted(known)) or 'it has none'}")
            elif STYLE_BAD.search(f"{name}:{value or ''}" if tag in ATTRIBUTES else value or ""):
                self.wrong(f'{name}="{value}"', "nothing hidden, nothing fetched")

    def handle_endtag(self, tag: str) -> None:
        if tag not in [t for t, _ in self.open]:
            self.wrong(f"</{tag}>", "the end of an element that is open" + (f": </{self.open[-1][0]}>" if self.open else ""))
            return
        while self.open[-1][0] != tag:
            left, line = self.open.pop()
            self.wrong(f"<{left}> without its end", f"</{left}> before </{tag}> in line {self.getpos()[0]}", line=line)
        self.open.pop()

    def handle_data(self, data: str) -> None:
        here = self.open[-1][0] if self.open else ""
        if here == "mj-style" and (bad := STYLE_BAD.search(data)):
            line = self.getpos()[0] + data[: bad.start()].count("\n")
            self.wrong(bad.group(0), "style that hides nothing and fetches nothing", line=line)
        if data.strip() and here not in _HOLDS_TEXT and here not in _STRANGERS:
            line = self.getpos()[0] + data[: len(data) - len(data.lstrip())].count("\n")
            self.wrong(data.strip()[:40], "text stands in <mj-text>; here it would be lost", line=line)


def faults(source: str) -> list[Fault]:
    """Return everything that is wrong with an MJML source, in the order of its lines."""
    if len(source) > MJML_CHARS_MAX:
        return [Fault("mjml", f"{len(source)} characters", f"at most {MJML_CHARS_MAX}")]
    reader = _Source()
    reader.feed(source)
    reader.close()
    for tag, line in reader.open:
        reader.wrong(f"<{tag}> without its end", f"</{tag}>", line=line)
    for tag in ("mjml", "mj-body", "mj-text"):
        if tag not in reader.seen:
            reader.wrong(f"no <{tag}>", f"a notice's MJML holds <{tag}>", line=1)
    return sorted(reader.faults, key=lambda f: f.line or 0)


class _Made(HTMLParser):
    """Writes the compiler's HTML anew, without what has no place in a notice."""

    _ATTRIBUTES = frozenset({"align", "border", "cellpadding", "cellspacing", "class", "dir", "id", "lang", "role", "style", "width"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.body: list[str] = []
        self.styles: list[str] = []
        self.title: list[str] = []
        self._into: list[str] | None = None
        self._in_body = False
        self._body_tag = "<body>"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        kept = "".join(f' {n}="{html.escape(v or "")}"' for n, v in attrs if n in self._ATTRIBUTES)
        if tag == "style" and "media" not in dict(attrs):
            self.styles.append("")
            self._into = self.styles
        elif tag == "title":
            self._into = self.title
        elif tag == "body":
            self._in_body, self._body_tag = True, f"<body{kept}>"
        elif self._in_body:
            self.body.append(f"<{tag}{kept}>")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("style", "title"):
            self._into = None
        elif tag == "body":
            self._in_body = False
        elif self._in_body and tag not in _VOID:
            self.body.append(f"</{tag}>")

    def _text(self, data: str) -> None:
        if self._into is self.styles and self._into is not None:
            self.styles[-1] += data
        elif self._into is not None:
            self._into.append(data)
        elif self._in_body:
            self.body.append(data)

    def handle_data(self, data: str) -> None:
        self._text(data)

    def handle_entityref(self, name: str) -> None:
        self._text(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self._text(f"&#{name};")


def to_html(source: str, *, locale: str, field: str = "mjml") -> str:
    """Return the HTML page of an MJML source. Raises BadInput with every fault, each with its line; `field` names the source in them."""
    from mjml import mjml2html  # here: senders and the public site read notices too, and never compile one

    found = faults(source)
    if found:
        raise BadInput([Fault(field, f.got, f.wanted, f.line) for f in found])
    try:
        compiled = mjml2html(source, disable_comments=True, fonts={})
    except ValueError as e:  # what our reader lets through and the compiler does not
        raise BadInput.of(field, str(e), "MJML that the compiler takes") from None
    made = _Made()
    made.feed(compiled)
    made.close()
    first, *rest = made.styles or [""]
    style = "".join([_OWN_STYLE, _DROPPED_RULES.sub("", first), *rest])
    style = re.sub(r"\s+", " ", style).replace("} ", "}").replace("{ ", "{").replace("; ", ";").strip()
    style = style.replace("}}", "} }")  # two together would be a slot's
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta name="supported-color-schemes" content="light dark">'
    )
    body = re.sub(r">\s+<", ">\n<", "".join(made.body).strip())
    return (
        f'<!doctype html>\n<html lang="{html.escape(locale)}">\n<head>{head}<title>{"".join(made.title)}</title>\n<style>{style}</style></head>\n'
        f"{made._body_tag}\n{body}\n</body>\n</html>\n"
    )


class _Words(HTMLParser):
    """Collects the blocks of an HTML page as plain text has them."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[tuple[str, str]] = []
        self._kind = "p"
        self._text: list[str] = []
        self._lists: list[int | None] = []
        self._hidden = 0

    def _end(self) -> None:
        words = " ".join("".join(self._text).split())
        if words:
            self.blocks.append((self._kind, words))
        self._text, self._kind = [], "p"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in ("title", "style")
        if tag == "br":
            self._text.append("\n")
        elif tag not in _INLINE:
            self._end()
        if tag in ("ul", "ol"):
            self._lists.append(0 if tag == "ol" else None)
        elif tag == "li":
            self._kind = "- "
            if self._lists and self._lists[-1] is not None:
                self._lists[-1] += 1
                self._kind = f"{self._lists[-1]}. "
        elif tag in ("h1", "h2", "h3"):
            self._kind = tag

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("title", "style")
        if tag not in _INLINE:
            self._end()
        if tag in ("ul", "ol") and self._lists:
            self._lists.pop()

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self._text.append(data)


def to_text(page: str) -> str:
    """Return the plain text of an HTML page: headings on lines of their own, lists with marks, paragraphs folded at TEXT_WIDTH."""
    reader = _Words()
    reader.feed(page)
    reader.close()
    reader._end()
    out: list[str] = []
    before = ""
    for kind, words in reader.blocks:
        listed = kind[-1:] == " "
        if out and not (listed and before[-1:] == " "):
            out.append("")
        fold = textwrap.TextWrapper(
            width=TEXT_WIDTH, initial_indent=kind if listed else "", subsequent_indent="  " if listed else "", break_long_words=False,
            break_on_hyphens=False,
        )  # fmt: skip
        out += [words] if kind in ("h1", "h2", "h3") else fold.wrap(words)
        before = kind
    return "\n".join(out) + "\n"


def fault_lines(found: Iterable[Fault]) -> list[str]:
    """Return faults as a person reads them beside the source."""
    return [f"line {f.line}: {f.got}: {f.wanted}" if f.line else f"{f.got}: {f.wanted}" for f in found]
