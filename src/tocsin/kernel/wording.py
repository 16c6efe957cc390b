"""Texts for customers that a pure module makes and the web translates. Pure: no catalogue is read here.

A text is said once, in English: that is its key in the catalogues (`src/tocsin/web/locale`, made by `python -m tools.messages`). Whoever shows
it, looks the key up in the reader's language and fills the values in; whoever does not, has a plain English string.
"""

from __future__ import annotations


class Said(str):
    """An English text with its values filled in, that remembers the text it was made of."""

    key: str
    values: dict[str, object]


def said(key: str, **values: object) -> Said:
    """Return a text for customers. `key` is English, with `{name}` for each value; the catalogues find it by this call."""
    text = Said(key.format(**values) if values else key)
    text.key, text.values = key, values
    return text
