"""Who works on what. Pure. Source: specification of the desk, section 5: urgent cases never go to a novice."""

from __future__ import annotations

from collections.abc import Iterable

NOVICE_ROLES = frozenset({"drafted"})


def is_novice(roles: Iterable[str]) -> bool:
    """Tell whether these roles are only those of a drafted colleague. Nobody's roles are a novice's too: unknown people see the least."""
    return NOVICE_ROLES.issuperset(roles)
