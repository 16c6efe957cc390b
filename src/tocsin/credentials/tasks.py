"""Jobs of this room; all run in the worker, which alone may open addresses and live secrets of connectors, and erase hashes."""

from __future__ import annotations

import secrets
from uuid import UUID

from tocsin.kernel import clock
from tocsin.kernel.jobs import job
from tocsin.kernel.private import Private

from . import actions
from .places import Lane, Place
from .room import gate


@job(queue="urgent")
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


@job(every_s=2.0)
def mind_targets() -> None:
    """Enqueue what the company's own systems need now."""
    actions.mind(at=clock.now())


@job()
def gate_target(*, target: str) -> None:
    """Let a gate fall that is behind the cutover."""
    actions.gate_late(target, at=clock.now())


@job()
def lift_target(*, target: str) -> None:
    """Lift a gate whose cutover was taken back."""
    actions.lift_late(target, at=clock.now())


@job()
def watch_target(*, target: str) -> None:
    """Let people through who set a new password in a target's own pages."""
    actions.watch(target, at=clock.now())


@job()
def drain_target(*, target: str) -> None:
    """Revoke the next accounts of a target one by one."""
    actions.drain_some(target, at=clock.now())


@job()
def deliver_password(*, outbox: int) -> None:
    """Give a new password to a target."""
    actions.deliver(outbox, at=clock.now())


@job()
def send_contact_link(*, request: str) -> None:
    """Mail the link that confirms another address of an account."""
    actions.send_contact_link(UUID(request), token=Private(secrets.token_urlsafe(32)), at=clock.now())


@job()
def change_contact(*, request: str) -> None:
    """Give an account the address that its owner has confirmed, and tell the old one and the new one."""
    actions.change_contact(UUID(request), at=clock.now())


@job(every_s=60.0)
def erase_due() -> None:
    """Begin the erasure of dead hashes whose grace period is over."""
    actions.erase_due(at=clock.now())


@job()
def erase_next(*, cutover: int) -> None:
    """Erase the dead hashes of the next range of accounts."""
    actions.erase_next(cutover, at=clock.now())


@job(queue="urgent")
def send_affected(*, lookup: str, request: str) -> None:
    """Mail the answer to "was I affected?" to the login of this digest, if there is one."""
    actions.send_affected(bytes.fromhex(lookup), request=UUID(request), token=Private(secrets.token_urlsafe(32)), at=clock.now())


@job(queue="urgent")
def link_handed_over(*, outbound: int) -> None:
    """Start the life of the link that this mail carries."""
    actions.start_life(outbound)


@job()
def ask_letter(*, lookup: str, postcode: str, request: str) -> None:
    """Put the login of this digest on the list of letters, if the postal code is its own."""
    actions.ask_letter(bytes.fromhex(lookup), postcode=bytes.fromhex(postcode), request=UUID(request), at=clock.now())
