"""Read the log: what happened, how far it is sealed, and proofs for outsiders."""

from __future__ import annotations

import json
from collections.abc import Sequence

from django.db.models import Count

from .models import Checkpoint, Event
from .types import Entry, EventType, LogStatus

LIMIT_MAX = 10_000


def activity(
    *,
    incident: int | None = None,
    after_id: int = 0,
    limit: int = 200,
    types: Sequence[EventType] | None = None,
    newest_first: bool = False,
) -> list[Entry]:
    """Return acts (events that touch no single customer), oldest first unless asked otherwise; at most `limit`."""
    found = Event.objects.filter(subject__isnull=True, pk__gt=after_id)
    if incident is not None:
        found = found.filter(incident=incident)
    if types is not None:
        found = found.filter(type__in=types)
    return [_entry(e) for e in found.order_by("-pk" if newest_first else "pk")[: min(limit, LIMIT_MAX)]]


def entries_of_subject(subject: int) -> list[Entry]:
    """Return every event that touched one customer, oldest first."""
    return [_entry(e) for e in Event.objects.filter(subject=subject).order_by("pk")[:LIMIT_MAX]]


def counts(*, incident: int | None = None) -> dict[EventType, int]:
    """Return how many events of each type there are."""
    found = Event.objects.all() if incident is None else Event.objects.filter(incident=incident)
    return {EventType(t): n for t, n in found.values_list("type").annotate(n=Count("pk")).order_by("type")}


def log_status() -> LogStatus:
    """Return how many events there are and how many of them stand under the newest signed checkpoint."""
    entries = Event.objects.count()
    head = Checkpoint.objects.order_by("-size").first()
    if head is None:
        return LogStatus(entries=entries, pending=entries, size=0, root_hex="", signed_at=None)
    return LogStatus(
        entries=entries, pending=entries - head.size, size=head.size, root_hex=bytes(head.root).hex(), signed_at=head.signed_at
    )


def _entry(e: Event) -> Entry:
    return Entry(
        id=e.pk,
        uuid=e.uuid,
        type=EventType(e.type),
        at=e.at,
        actor=e.actor,
        incident=e.incident,
        subject=e.subject,
        body=json.loads(bytes(e.event))["body"],
    )
