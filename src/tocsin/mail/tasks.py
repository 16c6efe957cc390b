"""Jobs of the mail room."""

from __future__ import annotations

from tocsin.kernel import clock
from tocsin.kernel.jobs import job

from . import actions


@job(queue="mail")
def send_single(*, outbound: int) -> None:
    """Send one queued mail; tried again while it is deferred or the relay is away."""
    actions.send_single(outbound, at=clock.now(), transport=actions.transport())


@job(queue="urgent")
def send_urgent(*, outbound: int) -> None:
    """Send one queued mail that somebody waits for, beside all other mail; tried again as `send_single` is."""
    actions.send_single(outbound, at=clock.now(), transport=actions.transport())
