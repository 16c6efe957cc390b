"""Write to the log: each of these runs inside the caller's transaction, so that an event exists exactly if its effect does."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any
from uuid import uuid4

from django.db import transaction

from tocsin.kernel import clock, sql
from tocsin.kernel.errors import Refused

from . import policy
from .models import Event
from .types import EventType, SubjectEvent

COLUMNS = ("uuid", "type", "at", "actor", "incident", "subject", "event", "salt", "commitment")


def record(type: EventType, *, at: datetime, actor: str, body: dict[str, Any], incident: int | None = None) -> int:
    """Record an act of a person or process; return the id of its event. Joins the caller's transaction."""
    uuid, salt = uuid4(), secrets.token_bytes(policy.SALT_BYTES)
    event = policy.event_json(type, at=at, actor=actor, incident=incident, subject=None, uuid=uuid, body=body)
    return Event.objects.create(
        uuid=uuid, type=type, at=at, actor=actor, incident=incident, event=event, salt=salt, commitment=policy.commitment(salt, event)
    ).pk


def record_subject(
    type: EventType, *, at: datetime, actor: str, incident: int | None, subject: int, salt: bytes, body: dict[str, Any]
) -> int:
    """Record an event that touches one customer, under that customer's salt; return its id. Joins the caller's transaction."""
    uuid = uuid4()
    event = policy.event_json(type, at=at, actor=actor, incident=incident, subject=subject, uuid=uuid, body=body)
    return Event.objects.create(
        uuid=uuid,
        type=type,
        at=at,
        actor=actor,
        incident=incident,
        subject=subject,
        event=event,
        commitment=policy.commitment(policy.subject_leaf_salt(salt, uuid), event),
    ).pk


def record_many(type: EventType, events: Iterable[SubjectEvent], *, actor: str, incident: int | None) -> int:
    """Record one event per customer by COPY; return how many. Joins the caller's transaction; streams, so any number will do."""

    def rows() -> Iterator[tuple[Any, ...]]:
        for e in events:
            uuid = uuid4()
            event = policy.event_json(type, at=e.at, actor=actor, incident=incident, subject=e.subject, uuid=uuid, body=e.body)
            yield (
                uuid,
                int(type),
                e.at,
                actor,
                incident,
                e.subject,
                event,
                None,
                policy.commitment(policy.subject_leaf_salt(e.salt, uuid), event),
            )

    return sql.copy_in("evidence_event", COLUMNS, rows())


def record_acts(type: EventType, bodies: Iterable[dict[str, Any]], *, at: datetime, actor: str, incident: int | None = None) -> int:
    """Record one act per body by COPY, as `record` does one by one; return how many. Joins the caller's transaction."""

    def rows() -> Iterator[tuple[Any, ...]]:
        for body in bodies:
            uuid, salt = uuid4(), secrets.token_bytes(policy.SALT_BYTES)
            event = policy.event_json(type, at=at, actor=actor, incident=incident, subject=None, uuid=uuid, body=body)
            yield (uuid, int(type), at, actor, incident, None, event, salt, policy.commitment(salt, event))

    return sql.copy_in("evidence_event", COLUMNS, rows())


def open_estate(*, kind: str, at: datetime | None = None) -> None:
    """Make the estate's kind the log's first entry; later calls compare. Raises Refused if the estate is of another kind.

    One of two checks against mailing real people from a drill, or a real warning to nobody; the other is the transport's reach.
    """
    with transaction.atomic():
        first = Event.objects.order_by("pk").first()
        if first is None:
            record(EventType.ESTATE_OPENED, at=at or clock.now(), actor="owner", body={"kind": kind})
            return
    known = _body(first).get("kind")
    if known != kind:
        raise Refused(
            f"this database belongs to an estate of kind {known!r}, the configuration says {kind!r}: choose another TOCSIN_HOME or database"
        )


def _body(event: Event) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(bytes(event.event))["body"]
    return body
