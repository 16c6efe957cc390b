"""Jobs of the notices room."""

from __future__ import annotations

from django.db import InterfaceError, OperationalError

from tocsin.kernel import clock
from tocsin.kernel.errors import Unavailable
from tocsin.kernel.jobs import job

from . import actions


@job(queue="mail")
def send_next(*, mailing: int, lane: int) -> None:
    """Send one block of a lane. A database that went away is an outside system: the job comes back, and the journal knows what was sent."""
    try:
        actions.send_next(mailing, lane, at=clock.now())
    except (OperationalError, InterfaceError) as e:
        raise Unavailable("database", str(e)) from e


@job()
def keep(*, mailing: int) -> None:
    """Look after a mailing until two weeks after its end."""
    actions.keep(mailing, at=clock.now())


@job()
def finish(*, mailing: int) -> None:
    """End a mailing whose blocks are all done."""
    actions.finish(mailing, at=clock.now())
