"""From a released text to the paragraphs of a letter. Pure.

A text is plain and broken into lines of about 72 characters; on paper its paragraphs flow. What stays as it is: blank lines between
paragraphs, list items, headings (the text names them: a paragraph of one line that is one of the variant's headings, or the first one).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

_SLOT = re.compile(r"\{\{([a-z_]+)\}\}")
_ITEM = re.compile(r"([-*•]|\d{1,2}[.)、])\s*(?=\S)")
_CLOSE = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\u3000-\u303f]")  # scripts that put no blank between words


def filled(text: str, values: Mapping[str, str]) -> str:
    """Return a text with its slots filled; what stands in a value is no slot."""
    return _SLOT.sub(lambda m: values.get(m[1], m[0]), text)


def paragraphs(text: str, *, headings: Collection[str]) -> list[dict[str, Any]]:
    """Return the paragraphs of a text: {"kind": heading | text | item, "text", "mark"}, the mark being an item's
    dash or number. Nothing of the text is lost but the breaks of lines.
    """
    made: list[dict[str, Any]] = []
    for block in re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n").strip("\n")):
        lines = [line.strip() for line in block.split("\n") if line.strip()]
        if not lines:
            continue
        first = not made and len(lines) == 1 and lines[0][-1:] not in ".,;:!?。，"
        if len(lines) == 1 and (lines[0] in headings or first):
            made.append({"kind": "heading", "text": lines[0]})
            continue
        made += _pieces(lines)
    return made


def _pieces(lines: list[str]) -> list[dict[str, Any]]:
    """Return a block's lines joined to paragraphs and items; an item ends where the next begins."""
    pieces: list[dict[str, Any]] = []
    for line in lines:
        if mark := _ITEM.match(line):
            pieces.append({"kind": "item", "mark": "–" if mark[1] in "-*•" else mark[1], "text": line[mark.end() :]})
        elif pieces:
            before = pieces[-1]["text"]
            close = _CLOSE.match(before[-1]) and _CLOSE.match(line[0])
            pieces[-1]["text"] = f"{before}{'' if close else ' '}{line}"
        else:
            pieces.append({"kind": "text", "text": line})
    return pieces
