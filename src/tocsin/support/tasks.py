"""Jobs of the desk."""

from __future__ import annotations

from tocsin.kernel import clock
from tocsin.kernel.jobs import job

from . import actions


@job(every_s=2)
def take_in() -> None:
    """Come and ask the mail room what has arrived."""
    actions.take_in(at=clock.now())
