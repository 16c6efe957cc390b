"""Jobs of this room; both run in the worker, which alone may open addresses."""

from __future__ import annotations

import secrets
from uuid import UUID

from tocsin.kernel import clock
from tocsin.kernel.jobs import job
from tocsin.kernel.private import Private

from . import actions
from .places import Lane, Place
from .room import gate


@job()
def send_reset(*, lookup: str, request: str, asked_us: int = 0, place: tuple[int, str, int] | None = None) -> None:
    """Mail a reset link to the login of this digest, if there is one. `asked_us` is when it was asked for.

    `place` (milliseconds, nonce in hex, lane) is its place in the waiting room: until it is let through the job comes back later.
    """
    mine = Place(place[0], bytes.fromhex(place[1]), Lane(place[2])) if place else None
    if mine:
        gate.wait_for_turn(mine)
    actions.send_reset(
        bytes.fromhex(lookup),
        request=UUID(request),
        token=Private(secrets.token_urlsafe(32)),
        at=clock.now(),
        place=mine,
        asked_at=clock.from_us(asked_us) if asked_us else None,
    )


@job()
def send_changed(*, subject: int, version: int) -> None:
    """Tell a customer by mail that the password was changed."""
    actions.send_changed(subject, version=version, at=clock.now())
