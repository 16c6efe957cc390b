"""Jobs of this room; both run in the worker, which alone may open addresses."""

from __future__ import annotations

import secrets
from uuid import UUID

from tocsin.kernel import clock
from tocsin.kernel.jobs import job
from tocsin.kernel.private import Private

from . import actions


@job(queue="urgent")
def send_reset(*, lookup: str, request: str, asked_us: int = 0) -> None:
    """Mail a reset link to the login of this digest, if there is one. `asked_us` is when it was asked for, for the reader of the queue."""
    actions.send_reset(bytes.fromhex(lookup), request=UUID(request), token=Private(secrets.token_urlsafe(32)), at=clock.now())


@job()
def send_changed(*, subject: int, version: int) -> None:
    """Tell a customer by mail that the password was changed."""
    actions.send_changed(subject, version=version, at=clock.now())


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
