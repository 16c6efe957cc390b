"""Jobs of this room; they run in the worker, which alone may open addresses and erase hashes."""

from __future__ import annotations

import secrets
from uuid import UUID

from tocsin.kernel import clock
from tocsin.kernel.jobs import job
from tocsin.kernel.private import Private

from . import actions


@job()
def send_reset(*, lookup: str, request: str, asked_us: int = 0) -> None:
    """Mail a reset link to the login of this digest, if there is one. `asked_us` is when it was asked for, for the reader of the queue."""
    actions.send_reset(bytes.fromhex(lookup), request=UUID(request), token=Private(secrets.token_urlsafe(32)), at=clock.now())


@job()
def send_changed(*, subject: int, version: int) -> None:
    """Tell a customer by mail that the password was changed."""
    actions.send_changed(subject, version=version, at=clock.now())


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
