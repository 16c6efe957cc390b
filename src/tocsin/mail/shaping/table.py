"""The table of receivers, read once."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources

from .policy import Reaction, Shape, read


@functools.cache
def _table() -> tuple[dict[str, Shape], list[Reaction], dict[str, str]]:
    return read(tomllib.loads(resources.files(__package__).joinpath("receivers.toml").read_text()))


def shape_of(receiver: str) -> Shape:
    """Return what a sender allows itself towards a receiver, by the name of its lane."""
    shapes = _table()[0]
    return shapes.get(receiver, shapes["*"])


def reactions() -> Sequence[Reaction]:
    """Return every reaction, in the order of the table."""
    return _table()[1]


def mx_suffixes() -> Mapping[str, str]:
    """Return receivers by the ends of the names of their mail exchangers."""
    return _table()[2]
