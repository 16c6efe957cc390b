"""Jobs of this room; all run in the worker, which alone may open addresses and the live secrets of connectors."""

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
