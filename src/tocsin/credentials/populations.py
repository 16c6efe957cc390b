"""Populations: people whose credentials end together."""

from __future__ import annotations

from tocsin.kernel import sql
from tocsin.kernel.errors import BadInput

from .models import Population
from .types import CLASSES, POPULATIONS


def open_population(name: str) -> Population:
    """Return a population, made with all its epochs at 1 if it is new. Raises BadInput for a name we do not know."""
    if name not in POPULATIONS:
        raise BadInput.of("population", name, f"one of {', '.join(POPULATIONS)}")
    sql.execute("credentials", "open_population", population=name, classes=list(CLASSES))
    return Population.objects.get(name=name)
