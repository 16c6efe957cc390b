"""Four words that do not belong together, as a password to take over. 4,541 words: four of them give 48.5 bits."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from . import policy
from .passwords import hashing
from .reset import company_words

TRIES_MAX = 20


def four_words(draw: Callable[[int], int]) -> str:
    """Return four words with blanks between, accepted by the rules that hold for every new password. `draw(n)` gives a number below n.

    Empty if TRIES_MAX draws in a row were refused: somebody drew the same each time.
    """
    words = word_list()
    for _ in range(TRIES_MAX):
        made = " ".join(words[draw(len(words))] for _ in range(policy.WORDS_SUGGESTED))
        if not policy.password_reasons(made, common=hashing.common(), words=company_words()):
            return made
    return ""


@functools.cache
def word_list() -> tuple[str, ...]:
    """Return the words, in the order of the alphabet."""
    lines = (Path(__file__).parent / "passwords" / "words.txt").read_text(encoding="ascii").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))
