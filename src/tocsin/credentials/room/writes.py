"""What operators, connectors and the desk set of the waiting room."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from tocsin.credentials.places import Lane, Place
from tocsin.credentials.types import POPULATIONS
from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel import clock, config
from tocsin.kernel.errors import BadInput, Fault

from . import ticket
from .models import RoomLimit

RATE_PER_S_MAX = 1e6


def set_write_rate(population: str, per_s: float | None, *, at: datetime, by: str) -> None:
    """Tell how many new passwords a second the systems of a population can take; None takes the limit away. Safe to repeat.

    Admission follows within two seconds. Raises BadInput. The limit and its entry in the log commit together.
    """
    faults = [] if population in POPULATIONS else [Fault("population", repr(population), f"one of {', '.join(POPULATIONS)}")]
    if per_s is not None and not 0 < per_s <= RATE_PER_S_MAX:
        faults.append(Fault("per_s", repr(per_s), f"a rate above 0 and at most {RATE_PER_S_MAX:.0f}"))
    if faults:
        raise BadInput(faults)
    with transaction.atomic():
        if per_s is None:
            changed = bool(RoomLimit.objects.filter(population=population).delete()[0])
        else:
            old = RoomLimit.objects.filter(population=population).first()
            changed = old is None or old.per_s != per_s
            RoomLimit.objects.update_or_create(population=population, defaults={"per_s": per_s, "set_at": at})
        if changed:
            body = {"population": population, "per_hour": None if per_s is None else round(per_s * 3600)}
            evidence.record(EventType.ROOM_RATE_SET, at=at, actor=by, body=body)


def assisted_ticket(nonce: bytes, *, at: datetime, by: str) -> str:
    """Return an address for somebody whom the desk helps: it leads to the page for a new password by the assisted lane.

    `nonce` is 8 random bytes. The ticket is a place in a queue and opens no account. Raises BadInput for another length.
    """
    if len(nonce) != ticket.NONCE_BYTES:
        raise BadInput.of("nonce", f"{len(nonce)} bytes", f"{ticket.NONCE_BYTES} random bytes")
    made = ticket.sign(Place(clock.us(at) // 1000, nonce, Lane.ASSISTED))
    evidence.record(EventType.ROOM_TICKET_ISSUED, at=at, actor=by, body={"lane": "assisted"})
    return f"{config.current().web.public_url.rstrip('/')}/passwordchange?q={made}"
