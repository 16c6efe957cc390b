"""Jobs of the mail room."""

from __future__ import annotations

from tocsin.kernel import clock
from tocsin.kernel.jobs import job

from . import actions


@job(queue="mail")
def send_single(*, outbound: int) -> None:
    """Send one queued mail; tried again while it is deferred or the relay is away."""
    actions.send_single(outbound, at=clock.now(), transport=actions.transport())
