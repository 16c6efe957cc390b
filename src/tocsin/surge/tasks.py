"""Jobs of the surge room."""

from __future__ import annotations

from tocsin.kernel import clock
from tocsin.kernel.jobs import job
from tocsin.notices import queries as notices

from . import actions


@job(every_s=5.0)
def steer() -> None:
    """Keep each mailing that is being sent to what reset site and desk can bear."""
    for incident in notices.incidents_sending():
        actions.steer(incident, at=clock.now())
