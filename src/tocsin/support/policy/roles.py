"""Who works on what. Pure. Source: specification of the desk, section 5: urgent cases never go to a novice."""

from __future__ import annotations

from collections.abc import Iterable

NOVICE_ROLES = frozenset({"drafted"})
APPROVER_ROLES = frozenset({"commander", "legal", "communications", "support_lead"})
APPROVALS_MIN = 2  # different people behind every vetted answer


def is_novice(roles: Iterable[str]) -> bool:
    """Tell whether these roles are only those of a drafted colleague. Nobody's roles are a novice's too: unknown people see the least."""
    return NOVICE_ROLES.issuperset(roles)


def may_approve(roles: Iterable[str]) -> bool:
    """Tell whether these roles let somebody stand for an answer that thousands may get."""
    return not APPROVER_ROLES.isdisjoint(roles)
