"""A notice as static pages for any web server or CDN: the words of the mail, in every language, so that people can check it. Pure.

One page per text and language, `index.html` in the notice's own; whatever differs from reader to reader is named instead. A page is a function of
the notice alone, so that whoever fetches it later can compare it byte for byte. It holds no script and asks nothing of anybody: its policy
(a meta element, because the pages must carry it to any server) allows the one style whose hash it names. Links lead to the other languages, relative, and
nowhere else. Printed, it is black on white without the links.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Mapping, Sequence

from django.conf import settings
from django.utils import translation
from django.utils.translation import gettext as _

from tocsin.notices.types import FaqTexts, VariantTexts

from . import gates, languages, layout

STYLE = """:root { color-scheme: light dark; --bg: #f6f5f1; --ink: #1d2430; --soft: #4a5462; --line: #dcd9d0; --accent: #0b5c6b; --box: #e6eff1 }
@media (prefers-color-scheme: dark) { :root { --bg: #11161c; --ink: #e7ecf1; --soft: #b9c4cf; --line: #2d3742; --accent: #7fd0dc; --box: #1f2b35 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--bg); color: var(--ink); font: 1.0625rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif }
header, main, footer { max-width: 42rem; margin: 0 auto; padding: 0 1.25rem }
header { padding-top: 1rem; padding-bottom: .75rem; border-top: .4rem solid var(--accent) }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem .5rem; margin: 0; padding: 0 }
nav a { display: inline-block; padding: .35rem .5rem; color: var(--accent) }
nav a[aria-current] { color: var(--ink); font-weight: 700; text-decoration: none }
a:focus-visible, summary:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
.skip { position: absolute; left: -99rem }
.skip:focus { left: .5rem; top: .5rem; background: var(--bg); padding: .5rem 1rem }
h1 { font-size: 1.9rem; line-height: 1.2; margin: .5rem 0 1rem }
h2 { font-size: 1.25rem; line-height: 1.3; margin: 2rem 0 .4rem }
p, ul, ol { margin: 0 0 1rem; overflow-wrap: anywhere }
.code { background: var(--box); border-radius: .5rem; padding: .75rem 1rem .01rem; margin: 0 0 1rem }
.yours { color: var(--soft); font-style: italic }
details { border-top: 1px solid var(--line); padding: .6rem 0 }
summary { cursor: pointer; font-weight: 600; padding: .3rem 0 }
footer { color: var(--soft); font-size: .9rem; border-top: 1px solid var(--line); margin-top: 2.5rem; padding-top: 1rem; padding-bottom: 3rem }
@media print {
  :root { --bg: #fff; --ink: #000; --soft: #333; --line: #999; --accent: #000; --box: #fff }
  nav, .skip { display: none }
  header { border: 0 }
  body { font-size: 11pt }
}
"""
NAMES: Mapping[str, str] = {"en": "English", "es": "Español", "fr": "Français", "de": "Deutsch", "pt": "Português", "zh": "中文"}


def policy() -> str:
    """Return the content security policy of every page."""
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def files(variants: Sequence[VariantTexts], faq: Sequence[FaqTexts], *, brand: str) -> dict[str, bytes]:
    """Return path -> bytes of the pages. `variants`: those of a notice, without the headed ones."""
    own = next(v for v in variants if not v.jurisdictions and not v.translation_of)
    paths = {v.key: "index.html" if v is own else f"{v.key.removeprefix(own.key + '.')}.html" for v in variants}
    return {paths[v.key]: _page(v, variants, faq, paths=paths, brand=brand).encode() for v in variants}


def _page(v: VariantTexts, variants: Sequence[VariantTexts], faq: Sequence[FaqTexts], *, paths: Mapping[str, str], brand: str) -> str:
    pieces = layout.blocks(v.text, v.blocks)
    title = next((b.lines[0] for b in pieces if b.kind == "title"), v.subject)
    with translation.override(_catalogue(v.locale)):
        yours = {
            "name": _("your name"),
            "case_code": _("your case code"),
            "references": _("your customer number"),
            "elements": _("the kinds of data that your notice names"),
        }
        article = "\n".join(_shown(layout.html_of(b), yours) for b in pieces)
        asked = [x for x in faq if languages.language(x.locale) == languages.language(v.locale)]
        questions = "".join(f"<details><summary>{_esc(x.question)}</summary>{_paragraphs(x.answer)}</details>\n" for x in asked)
        words = {"skip": _("Skip to the notice"), "languages": _("Languages"), "questions": _("Questions and answers"),
                 "same": _("This page says what our letters say. Where a letter speaks to one person, the page says so instead.")}  # fmt: skip
    return (
        f'<!doctype html>\n<html lang="{_esc(v.locale)}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_esc(policy())}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{_esc(title)} · {_esc(brand)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<a class="skip" href="#notice">{_esc(words["skip"])}</a>\n'
        f'<header><nav aria-label="{_esc(words["languages"])}"><ul>{_links(v, variants, paths)}</ul></nav></header>\n'
        f'<main id="notice">\n{article}\n'
        + (f"<h2>{_esc(words['questions'])}</h2>\n{questions}" if questions else "")
        + f"</main>\n<footer><p>{_esc(words['same'])}</p></footer>\n</body>\n</html>\n"
    )


def _links(here: VariantTexts, variants: Sequence[VariantTexts], paths: Mapping[str, str]) -> str:
    """Return the links to the same text in other languages, and to the texts of other readers by where these live."""
    out = []
    for v in variants:
        same = (v.translation_of or v.key) == (here.translation_of or here.key)
        name = NAMES.get(languages.language(v.locale), v.locale)
        shown = name if same or not v.jurisdictions else f"{name} ({', '.join(v.jurisdictions)})"
        if same or not v.translation_of:
            current = ' aria-current="page"' if v is here else ""
            out.append(f'<li><a href="{_esc(paths[v.key])}" lang="{_esc(v.locale)}"{current}>{_esc(shown)}</a></li>')
    return "".join(out)


def _shown(block: str, yours: Mapping[str, str]) -> str:
    """Return a block with what differs from reader to reader named instead."""
    return gates.SLOT.sub(lambda m: f'<span class="yours">[{_esc(yours[m[1]])}]</span>' if m[1] in yours else m[0], block)


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{_esc(' '.join(part.split()))}</p>" for part in re.split(r"\n\s*\n", text.strip()))


def _catalogue(locale: str) -> str:
    code = languages.language(locale)
    return next((known for known, name in settings.LANGUAGES if languages.language(known) == code), "en")


def _esc(text: str) -> str:
    return html.escape(text)
