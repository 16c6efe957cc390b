"""The incident's page: where it stands, what must happen by when, what was reached; its duties; its mailing. Live parts poll every 2 s."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from tocsin.credentials import queries as credentials
from tocsin.evidence import queries as evidence
from tocsin.incidents import queries as incidents
from tocsin.incidents.types import ExposureInfo, IncidentInfo
from tocsin.inventory.types import codes_of
from tocsin.kernel import clock
from tocsin.kernel.errors import NotFound
from tocsin.notices import queries as notices
from tocsin.obligations import queries as obligations
from tocsin.obligations.types import DutyInfo
from tocsin.support import queries as support
from tocsin.web import charts

from .page import page, staff_only

SHOWN_COHORTS = 12
SHOWN_DUTIES = 6
PASSWORDS_COUNTED_S = 10.0  # the page asks every 2 s, and a count takes seconds at 24 million
SHOWN_ACTS = 40


@staff_only
@require_GET
def latest(request: HttpRequest) -> HttpResponse:
    """Show the newest incident, or what to do when there is none."""
    try:
        found = incidents.latest()
    except NotFound:
        return page("no_incident", {}, request)
    return _show(request, found)


@staff_only
@require_GET
def show(request: HttpRequest, incident: int) -> HttpResponse:
    """Show one incident."""
    return _show(request, incidents.incident(incident))


@staff_only
@require_GET
def live(request: HttpRequest, incident: int) -> HttpResponse:
    """Return the live figures alone, for the page's polling."""
    return page("incident_live", _live(incidents.incident(incident)), request)


@staff_only
@require_GET
def duties(request: HttpRequest, incident: int) -> HttpResponse:
    """Show every duty, by due date, with its source."""
    now = clock.now()
    found = [_duty(d, now) for d in obligations.duties(incident)]
    return page("duties", {"incident": incidents.incident(incident), "duties": found}, request)


@staff_only
@require_GET
def mailing(request: HttpRequest, incident: int) -> HttpResponse:
    """Show the mailing by provider, and where each recipient stands."""
    found = _mailing(incident)
    lanes = [{"lane": lane, "bar": _mail_bar(lane)} for lane in found.lanes] if found else []
    return page("mailing", {"incident": incidents.incident(incident), "mailing": found, "lanes": lanes}, request)


def _show(request: HttpRequest, incident: IncidentInfo) -> HttpResponse:
    now = clock.now()
    context: dict[str, Any] = _live(incident) | {
        "timeline": evidence.activity(incident=incident.id, limit=SHOWN_ACTS, newest_first=True),
        "duties": [_duty(d, now) for d in obligations.duties(incident.id)],
        "shown_duties": SHOWN_DUTIES,
        "for": _span(now - incident.discovered_at),
    }
    try:
        exposure = incidents.exposure_of(incident.id)
    except NotFound:
        return page("incident", context, request)
    return page("incident", context | _exposure(incident, exposure), request)


def _exposure(incident: IncidentInfo, exposure: ExposureInfo) -> dict[str, Any]:
    reached = [
        charts.MapNode(s.store, charts.shortened(", ".join(codes_of(s.clear | s.sealed))) or "nothing personal", "reached")
        for s in exposure.reached
    ]
    cut = [
        charts.MapNode(
            s.store, charts.shortened("cut by " + ", ".join(g.control for g in s.cut)) if s.proved else "not reached, not proved", "cut"
        )
        for s in exposure.not_reached
    ]
    cohorts = sorted(exposure.cohorts, key=lambda c: -c.count)
    return {
        "exposure": exposure,
        "map": charts.reach_map(", ".join(incident.hosts), reached, cut, title="What the broken-into host reaches, and what it does not"),
        "cohorts": [
            {
                "cohort": c,
                "elements": ", ".join(codes_of(c.clear)),
                "bar": charts.share_bar([("people", c.count, "fill")], total=cohorts[0].count, title=f"{c.count:,} people"),
            }
            for c in cohorts[:SHOWN_COHORTS]
        ],
        "more_cohorts": max(0, len(cohorts) - SHOWN_COHORTS),
    }


def _live(incident: IncidentInfo) -> dict[str, Any]:
    """Gather the figures that move."""
    mailing, log, desk = _mailing(incident.id), evidence.log_status(), support.status()
    resets, cutover = credentials.reset_counts(incident.id), credentials.status("customers", max_age_s=PASSWORDS_COUNTED_S)
    return {
        "incident": incident,
        "mailing": mailing,
        "mail_bar": _mail_bar(mailing) if mailing else None,
        "resets": resets,
        "cutover": cutover,
        "reset_bar": charts.share_bar(
            [("done", resets.completed, "fill-good")], total=max(resets.requested, 1), title="Resets completed of those asked for"
        ),
        "desk": desk,
        "desk_bar": charts.share_bar(
            [("answered", desk.answered, "fill-good"), ("open", desk.open, "fill-warn")],
            total=max(desk.answered + desk.open, 1),
            title="Messages answered and open",
        ),
        "log": log,
    }


def _mailing(incident: int) -> Any:
    try:
        return notices.latest_status(incident)
    except NotFound:
        return None


def _mail_bar(counts: Any) -> Any:
    parts = [
        ("handed over", counts.handed_over, "fill-good"),
        ("deferred", counts.deferred, "fill-warn"),
        ("bounced or letter", counts.bounced + counts.letters, "fill-bad"),
    ]
    return charts.share_bar(parts, total=counts.recipients, title="Handed over, deferred, bounced")


def _duty(duty: DutyInfo, now: datetime) -> dict[str, Any]:
    """Say a duty's urgency in words and colour."""
    if duty.due_at is None:
        return {"duty": duty, "left": duty.standard or duty.relation or "no date", "css": ""}
    left = duty.due_at - now
    if duty.state == "asked":
        return {"duty": duty, "left": f"if yes: {_span(left)}", "css": ""}
    css = "bad" if left < timedelta(days=3) else "warn" if left < timedelta(days=14) else "good"
    return {"duty": duty, "left": f"overdue by {_span(-left)}" if left < timedelta() else f"{_span(left)} left", "css": css}


def _span(span: timedelta) -> str:
    """Return a span of time in the two largest units that matter."""
    minutes = int(span.total_seconds() // 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} days"
