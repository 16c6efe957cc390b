"""The classifier of the questions as they stand in the database: fitted once per process and change of examples."""

from __future__ import annotations

import functools

from .models import Question
from .policy import classify

_Examples = tuple[tuple[str, str], ...]


def current() -> tuple[classify.Classifier, dict[str, int]]:
    """Return the classifier and the ids of its questions by name. A second the first time after a change, one query afterwards."""
    rows = list(Question.objects.order_by("name").values_list("pk", "name", "never_bulk", "examples"))
    examples = tuple((name, text) for _, name, _, texts in rows for text in texts)
    return _fitted(examples, frozenset(name for _, name, never, _ in rows if never)), {name: pk for pk, name, _, _ in rows}


@functools.lru_cache(maxsize=2)
def _fitted(examples: _Examples, never_bulk: frozenset[str]) -> classify.Classifier:
    talk: _Examples = tuple((classify.BACKGROUND, text) for text in classify.SMALL_TALK) if examples else ()
    return classify.fit([*examples, *talk], never_bulk=never_bulk)
