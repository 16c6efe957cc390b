"""What a person at the desk may see and decide, from their roles in the team."""

from __future__ import annotations

from tocsin.kernel.errors import NotFound, Refused
from tocsin.staff import queries as staff

from .models import Case
from .policy.roles import is_novice


def roles(name: str) -> tuple[str, ...]:
    """Return the roles of an active operator; none for anybody else, so that who left the team is treated as a novice."""
    try:
        found = staff.operator(name)
    except NotFound:
        return ()
    return found.roles if found.active else ()


def novice(name: str) -> bool:
    """Tell whether this person gets no urgent case."""
    return is_novice(roles(name))


def check_urgent(case: Case, *, by: str) -> None:
    """Raise Refused if the case is urgent and `by` is a novice."""
    if case.urgency and novice(by):
        raise Refused(f"case {case.pk} is urgent: only experienced staff work on it; give it back and take the next one")
