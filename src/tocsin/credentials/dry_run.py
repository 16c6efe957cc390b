"""What a cutover would end, counted before anything ends: by class and cohort, and what two people should know before they sign.

Counted once, at arming, and kept with the cutover; seconds per cohort at 24 million. What is contained is not kept: it changes until the
commit, and is read anew each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count

from tocsin.incidents import queries as incidents
from tocsin.kernel import clock, sql
from tocsin.kernel.errors import NotFound
from tocsin.subjects import queries as subjects

from .models import Account, Epoch, Population


@dataclass(frozen=True, slots=True)
class Counted:
    """`counts`: class -> what would end. `report`: the rest, as JSON kept with the cutover."""

    counts: dict[str, int]
    report: dict[str, Any]


def count(home: Population, *, classes: Sequence[str], cohorts: Sequence[int], incident: int | None, at: datetime) -> Counted:
    """Count what a cutover of these classes and cohorts would end, who is left alone, and what is not known of the rest."""
    by_cohort = {
        cohort: dict.fromkeys(classes, 0)
        | {c: n for c, n in sql.rows("credentials", "arm_counts", population=home.pk, cohort=cohort, at=at) if c in classes}
        for cohort in cohorts
    }
    others = Account.objects.exclude(population=home).values_list("population__name").annotate(n=Count("pk")).order_by("population__name")
    left = sorted(set(Epoch.objects.filter(population=home).values_list("cohort", flat=True)) - set(cohorts))
    undated = sql.rows("credentials", "undated", population=home.pk, cohort=cohorts[0] if len(cohorts) == 1 else None, spared=left)[0][0]
    since = first_entry(incident)
    return Counted(
        counts={c: sum(found[c] for found in by_cohort.values()) for c in classes},
        report={
            "by_cohort": {str(c): found for c, found in by_cohort.items()},
            "excluded": dict(others),
            "undated": undated,
            "contacts_changed": subjects.changed_count(since) if since is not None and home.name == "customers" else 0,
        },
    )


def first_entry(incident: int | None) -> datetime | None:
    """Return since when an intruder may have been in, long ago if that is open; None without a known incident: then nobody was in."""
    if incident is None:
        return None
    try:
        return incidents.incident(incident).window_from or clock.from_us(0)
    except NotFound:
        return None
