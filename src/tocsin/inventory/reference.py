"""The reference table of the inventory, read once per process from its versioned file."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import yaml

from tocsin.kernel.errors import ensure

from .policy import Categories
from .types import ELEMENTS

FILE = Path(__file__).parent / "reference" / "categories.yaml"
SCHEMA = "tocsin-categories/1"


@functools.cache
def categories() -> Categories:
    """Return the category table. Its version carries the digest of its bytes, so that a map's digest pins what was read."""
    raw = FILE.read_bytes()
    table = yaml.safe_load(raw)
    ensure(table["schema"] == SCHEMA, f"{FILE.name} is not {SCHEMA}")
    named = {c for c in (*table["codes"].values(), *table["hashed"].values()) if c is not None}
    ensure(named <= ELEMENTS.keys(), f"{FILE.name} names codes that have no bit: {named - ELEMENTS.keys()}")
    return Categories(
        version=f"{table['version']}+{hashlib.sha256(raw).hexdigest()[:16]}",
        known=frozenset(table["known"]),
        codes=table["codes"],
        hashed=table["hashed"],
    )
