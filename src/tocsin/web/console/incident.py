"""The incident's page: where it stands, what must happen by when, what was reached; its duties. Live parts poll every 2 s."""

from __future__ import annotations

import functools
import operator
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from tocsin.credentials import queries as credentials
from tocsin.credentials.types import CutoverStatus
from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType, LogStatus, Volumes
from tocsin.incidents import queries as incidents
from tocsin.incidents.types import ExposureInfo, IncidentInfo
from tocsin.inventory.types import codes_of
from tocsin.kernel import clock
from tocsin.kernel.errors import NotFound
from tocsin.notices import queries as notices
from tocsin.notices.types import MailingState, MailingStatus
from tocsin.obligations import queries as obligations
from tocsin.obligations.types import DutyInfo
from tocsin.support import queries as support
from tocsin.support.types import DeskStatus
from tocsin.web import charts

from .figures import Kept
from .mailing import mail_bar
from .page import of_newest, page, span, staff_only

SHOWN_COHORTS = 12
SHOWN_DUTIES = 6
PASSWORDS_COUNTED_S = 10.0  # the page asks every 2 s, and a count takes seconds at 24 million
SHOWN_ACTS = 25
SHOWN_MILESTONES = 200
CLOSED = {"done", "waived"}
NEAR = timedelta(days=3)
SOON = timedelta(days=14)
DESK_LATE = timedelta(hours=24)
LOG_LATE = timedelta(minutes=1)
MILESTONES = {
    EventType.INCIDENT_DECLARED: "Declared",
    EventType.EXPOSURE_FROZEN: "Scoped",
    EventType.CUTOVER_COMMITTED: "Cutover",
    EventType.SITE_NOTICE_PUBLISHED: "Site notice",
    EventType.MAILING_STARTED: "Mailing started",
    EventType.MAILING_ENDED: "Mailing ended",
}
FIRSTS = {EventType.PASSWORD_RESET: "First reset", EventType.REPLY_QUEUED: "First answer"}
ENDS = {"Cutover", "Mailing ended"}
FLOWS = {  # what is counted over time; those with a name are drawn
    EventType.NOTICE_HANDED_OVER: "Notices handed over",
    EventType.MESSAGE_RECEIVED: "Messages received",
    EventType.PASSWORD_RESET: "",
    EventType.REPLY_QUEUED: "",
}
BUCKET_NAMES = {1: "second", 60: "minute", 300: "5 minutes", 900: "15 minutes", 3_600: "hour", 10_800: "3 hours", 21_600: "6 hours",
                86_400: "day", 604_800: "week", 31_536_000: "year"}  # fmt: skip

_kept: Kept[dict[str, Any]] = Kept()


@staff_only
@require_GET
def latest(request: HttpRequest) -> HttpResponse:
    """Show the newest incident, or what to do when there is none."""
    return of_newest(request, lambda found: _show(request, found))


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
    found = [_duty(d, now) | {"basis": d.basis.replace("_", " ")} for d in obligations.duties(incident)]
    return page("duties", {"incident": incidents.incident(incident), "duties": found}, request)


@staff_only
@require_GET
def flow(request: HttpRequest, incident: int) -> HttpResponse:
    """Return the milestones and the columns of notices and messages alone; the page asks for them once a minute."""
    return page("incident_flow", _flow(incidents.incident(incident)), request)


def _show(request: HttpRequest, incident: IncidentInfo) -> HttpResponse:
    now = clock.now()
    context: dict[str, Any] = (
        _live(incident)
        | _flow(incident)
        | {
            "timeline": evidence.activity(incident=incident.id, limit=SHOWN_ACTS, newest_first=True),
            "duties": [_duty(d, now) for d in obligations.duties(incident.id)],
            "for": span(now - incident.discovered_at),
        }
    )
    context["next_duties"] = [d for d in context["duties"] if d["duty"].state not in CLOSED][:SHOWN_DUTIES]
    try:
        exposure = incidents.exposure_of(incident.id)
    except NotFound:
        return page("incident", context, request)
    return page("incident", context | _exposure(incident, exposure), request)


def _flow(incident: IncidentInfo) -> dict[str, Any]:
    """Draw the milestones, and what went out and came in over time. Drawn once for all screens."""
    return _kept.get(("flow", incident.id), lambda: _drawn(incident))


def _drawn(incident: IncidentInfo) -> dict[str, Any]:
    acts = evidence.activity(incident=incident.id, types=list(MILESTONES), limit=SHOWN_MILESTONES)
    found = evidence.volumes(list(FLOWS), incident=incident.id, since=incident.declared_at)
    stops = {MILESTONES[e.type]: e.at for e in reversed(acts)}  # the first of each counts
    about = "" if found.exact else " (about)"
    stops |= {FIRSTS[t] + about: at for t, at in found.first_at.items() if t in FIRSTS and at is not None}
    ordered = sorted(stops.items(), key=lambda stop: stop[1])
    begin = ordered[0][1] if ordered else incident.declared_at
    shown = [(name, _clock(at, begin), (at - begin).total_seconds(), "dot-good" if name in ENDS else "dot") for name, at in ordered]
    return {
        "incident": incident,
        "stops": [(name, at) for name, at in ordered],
        "milestones": charts.milestones(shown, title="Milestones: " + ", ".join(f"{name} {when}" for name, when, _, _ in shown)),
        "flows": [_columns(found, type, name) for type, name in FLOWS.items() if name],
        "flow_exact": found.exact,
    }


def _columns(found: Volumes, type: EventType, name: str) -> dict[str, Any]:
    """Draw one kind of event over the time that all kinds of the page share."""
    shown, width = found.counts[type], timedelta(seconds=found.bucket_s)
    times = [at for t, name in FLOWS.items() if name for at in found.counts[t]]
    n = round((max(times) - min(times)) / width) + 1 if times else 0
    starts = [min(times) + i * width for i in range(n)]
    pattern = "%H:%M:%S" if found.bucket_s < 60 else "%H:%M" if found.bucket_s < 21_600 else "%b %d"
    total, per = sum(shown.values()), BUCKET_NAMES.get(found.bucket_s) or f"{found.bucket_s} s"
    return {
        "name": name,
        "total": total,
        "most": max(shown.values(), default=0),
        "per": per,
        "chart": charts.columns(
            [shown.get(at, 0) for at in starts],
            [at.strftime(pattern) for at in starts],
            title=f"{name} per {per}: {total:,} in all, at most {max(shown.values(), default=0):,}",
        ),
    }


def _clock(at: datetime, begin: datetime) -> str:
    """Return an instant as the line of time shows it: with its day unless it is the first one's, with seconds within the first hour."""
    if at.date() != begin.date():
        return at.strftime("%b %d %H:%M")
    return at.strftime("%H:%M:%S")


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
    common = functools.reduce(operator.and_, (c.clear for c in cohorts[:SHOWN_COHORTS]), -1) if cohorts else 0
    more = any(c.clear != common for c in cohorts[:SHOWN_COHORTS])
    return {
        "exposure": exposure,
        "map": charts.reach_map(", ".join(incident.hosts), reached, cut, title="What the broken-into host reaches, and what it does not"),
        "cohorts": [
            {
                "cohort": c,
                "more": _words(c.clear & ~common),
                "bar": charts.share_bar([("people", c.count, "fill")], total=cohorts[0].count, title=f"{c.count:,} people"),
            }
            for c in cohorts[:SHOWN_COHORTS]
        ],
        "common": _words(common),
        "more": more,
        "more_cohorts": max(0, len(cohorts) - SHOWN_COHORTS),
    }


def _words(elements: int) -> str:
    return ", ".join(codes_of(elements)).replace("_", " ")


def _live(incident: IncidentInfo) -> dict[str, Any]:
    """Gather the figures that move, and what burns. They are made once for all screens."""
    return {"incident": incident, **_kept.get(("live", incident.id), lambda: _figures(incident))}


def _figures(incident: IncidentInfo) -> dict[str, Any]:
    now = clock.now()
    mailing, log, desk, cutover = _mailing(incident.id), evidence.log_status(), support.status(), _cutover()
    resets = credentials.reset_counts(incident.id)
    dated = [d for d in obligations.duties(incident.id) if d.due_at is not None and d.state not in CLOSED]
    coming = next((_duty(d, now) for d in dated if d.state != "asked"), None)
    asked = [d.due_at for d in dated if d.state == "asked" and d.due_at is not None and d.due_at - now < SOON]
    return {
        "mailing": mailing,
        "told": mailing.handed_over + mailing.letters if mailing else 0,
        "to_go": mailing.waiting + mailing.deferred if mailing else 0,
        "mail_bar": mail_bar(mailing) if mailing else None,
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
        "coming": coming,
        "alarms": _alarms(incident, mailing, cutover, desk, log, coming, asked, now),
        "at": now,
    }


def _alarms(
    incident: IncidentInfo,
    mailing: MailingStatus | None,
    cutover: CutoverStatus | None,
    desk: DeskStatus,
    log: LogStatus,
    coming: dict[str, Any] | None,
    asked: list[datetime],
    now: datetime,
) -> list[tuple[str, str, str]]:
    """Return what wants somebody now, worst first: (colour, words, address)."""
    here = f"/incidents/{incident.id}"
    found = []
    if coming and coming["css"] == "bad":
        found.append(("bad", f"{coming['duty'].name}: {coming['left']}", f"{here}/duties"))
    if mailing and mailing.lost:
        found.append(("bad", f"{mailing.lost:,} recipients are lost: count again before you go on", f"{here}/mailing"))
    if mailing and (broken := [x.provider for x in mailing.lanes if x.broken]):
        found.append(("bad", f"too many addresses at {', '.join(broken)} fail: two people must let it go on", f"{here}/mailing"))
    if mailing and (stopped := [x.provider for x in mailing.lanes if x.held_rate_per_s == 0 and not x.broken and x.waiting]):
        found.append(("bad", f"{', '.join(stopped)} told us to stop: see when it goes on and why", f"{here}/mailing"))
    if mailing and mailing.late:
        found.append(("bad", "at this pace the mailing ends after the law's day", f"{here}/mailing"))
    if mailing and mailing.locked:
        found.append(
            ("warn", f"{sum(x.recipients for x in mailing.locked):,} people wait for a filing that comes first", f"{here}/mailing")
        )
    if mailing and mailing.state in {MailingState.PAUSED, MailingState.STOPPED} and mailing.waiting:
        found.append(("bad", f"the mailing is {mailing.state} with {mailing.waiting:,} people not told", f"{here}/mailing"))
    survivors = (cutover.canaries_tried or 0) - (cutover.canaries_refused or 0) if cutover and cutover.sealed else 0
    if survivors:
        found.append(("bad", f"{survivors} canaries still get in with an old secret", "/log"))
    if desk.urgent:
        found.append(("bad", f"{desk.urgent:,} urgent {'message waits' if desk.urgent == 1 else 'messages wait'} for an answer", "/desk"))
    if asked:
        words = "question decides on a duty" if len(asked) == 1 else "questions decide on duties"
        left = min(asked) - now
        late = f"was due {span(-left)} ago" if left < timedelta() else f"would be due in {span(left)}"
        found.append(("bad" if left < NEAR else "warn", f"{len(asked)} open {words}: the first {late}", f"{here}/duties"))
    if desk.oldest_s > DESK_LATE.total_seconds():
        found.append(("warn", f"the oldest message has waited {span(timedelta(seconds=desk.oldest_s))}", "/desk"))
    if mailing and mailing.bounced:
        found.append(("warn", f"{mailing.bounced:,} bounced and have no letter yet", f"{here}/mailing"))
    if log.pending and (log.signed_at is None or now - log.signed_at > LOG_LATE):
        found.append(("warn", f"{log.pending:,} entries are not sealed, the last checkpoint is old: does the sequencer run?", "/log"))
    return found


def _cutover() -> CutoverStatus | None:
    """Return where the customers' passwords stand; None when none were imported."""
    try:
        return credentials.status("customers", max_age_s=PASSWORDS_COUNTED_S)
    except NotFound:
        return None


def _mailing(incident: int) -> MailingStatus | None:
    try:
        return notices.latest_status(incident)
    except NotFound:
        return None


def _duty(duty: DutyInfo, now: datetime) -> dict[str, Any]:
    """Say a duty's urgency in words and colour."""
    if duty.due_at is None:
        return {"duty": duty, "left": (duty.standard or duty.relation or "no date").replace("_", " "), "css": ""}
    left = duty.due_at - now
    if duty.state == "asked":
        return {"duty": duty, "left": f"if yes: {span(left)}", "css": ""}
    css = "bad" if left < NEAR else "warn" if left < SOON else "good"
    return {"duty": duty, "left": f"overdue by {span(-left)}" if left < timedelta() else f"{span(left)} left", "css": css}
