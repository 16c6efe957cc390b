"""The filter that comes with Tocsin, for an estate that has built none: `python -m tocsin.credentials.filter.builtin` makes it anew.

It holds the list of common passwords that Django ships (Django is under the BSD licence; the list was made public by Royce Williams), and
the phrases of `phrases.txt`, which were written for this project and are under its licence. It is small and no replacement for a filter of
breached passwords: most of its words are shorter than a password may be here.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from django.contrib.auth import password_validation

from tocsin.credentials import policy

from . import construct
from .lookup import BUILT_IN

PHRASES = Path(__file__).parent / "phrases.txt"
BETWEEN = (" ", "", "-", "_")


def passwords() -> Iterator[str]:
    """Yield every password of the built-in filter."""
    with gzip.open(Path(password_validation.__file__).parent / "common-passwords.txt.gz", "rt", encoding="utf-8") as f:
        yield from (line.strip() for line in f)
    for line in PHRASES.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            yield from (line.replace(" ", between) for between in BETWEEN)


def make(path: Path) -> int:
    """Write the built-in filter to a new file, the same bytes every time; return how many passwords it holds."""
    digests = (hashlib.sha1(policy.normal(p).encode(), usedforsecurity=False).digest() for p in passwords())
    return construct.write_part(path, np.array([int.from_bytes(d[1:9], "big") for d in digests], dtype=np.uint64))


if __name__ == "__main__":
    BUILT_IN.unlink(missing_ok=True)
    make(BUILT_IN)
