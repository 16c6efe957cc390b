"""What a letter is called outside: `L`, its number, a dash, and a digit that catches a mistyped one. Pure.

It stands in the window, in the print house's list and in the list of returned mail; it says nothing about anybody.
Source of the check digit: ISO/IEC 7812-1 annex B (Luhn): every single wrong digit, and nearly every swap of two neighbours.
"""

from __future__ import annotations

import re

_NUMBER = re.compile(r"L?([0-9]{1,18})-?([0-9])", re.IGNORECASE)


def shown(letter: int) -> str:
    """Return the number of a letter as it is printed."""
    return f"L{letter}-{_check(str(letter))}"


def read(text: str) -> int | None:
    """Return which letter a text names, None for what is no number of a letter or has the wrong check digit."""
    found = _NUMBER.fullmatch("".join(text.split()))
    return int(found[1]) if found and _check(found[1]) == found[2] else None


def _check(digits: str) -> str:
    doubled = [int(d) * (2 - i % 2) for i, d in enumerate(reversed(digits))]
    return str(-sum(d - 9 if d > 9 else d for d in doubled) % 10)
