"""The mailing's page: who is told and who not, at what pace, when it ends against the law's day, what receivers say, what wants a person.

Pause and stop act at once, whoever presses them; going on, and letting a stopped lane go on, asks for two signatures like everywhere else.
The live part is renewed every two seconds; the list of those in doubt opens addresses, so it is a page of its own and made when asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.safestring import SafeString
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from tocsin.incidents import queries as incidents
from tocsin.incidents.types import IncidentInfo
from tocsin.kernel import clock
from tocsin.kernel.errors import BadInput, NotFound, Refused
from tocsin.notices import actions
from tocsin.notices import queries as notices
from tocsin.notices.types import LaneStatus, MailingState, MailingStatus, ReplyClass
from tocsin.staff import queries as staff
from tocsin.staff.types import ApprovalInfo
from tocsin.web import charts

from .figures import Kept
from .page import of_newest, page, span, staff_only, who

SHOWN_REPLIES = 12
UNLIMITED_PER_S = 100_000.0  # a cap so high is none
WHY_CHARS_MAX = 500
ACTS = {
    "notices.resume": "go on",
    "notices.release_lane": "let the lane go on",
    "notices.allow_late": "end after the deadline",
    "notices.override_order": "tell people before a filing",
}
CSS = {MailingState.ENDED: "good", MailingState.SENDING: "warn", MailingState.READY: ""}
HELD = (MailingState.PAUSED, MailingState.STOPPED)
SCALE = 4.0  # a deadline further off than so many times the whole sending is drawn at the edge, as far away

_kept: Kept[dict[str, Any]] = Kept()


@staff_only
@require_GET
def latest(request: HttpRequest) -> HttpResponse:
    """Show the mailing of the newest incident, or what to do when there is none."""
    return of_newest(request, lambda found: page("mailing", _live(found), request))


@staff_only
@require_GET
def show(request: HttpRequest, incident: int) -> HttpResponse:
    """Show the newest mailing of one incident."""
    return page("mailing", _live(incidents.incident(incident)), request)


@staff_only
@require_GET
def live(request: HttpRequest, incident: int) -> HttpResponse:
    """Return the live part alone, for the page's polling."""
    return page("mailing_live", _live(incidents.incident(incident)), request)


@staff_only
@require_GET
def doubt(request: HttpRequest, incident: int, mailing: int) -> HttpResponse:
    """List those who may have received the notice twice, addresses masked."""
    found = _of(incident, mailing)
    return page("mailing_doubt", {"incident": incidents.incident(incident), "mailing": found, "people": notices.in_doubt(mailing)}, request)


@staff_only
@require_POST
def pause(request: HttpRequest, incident: int, mailing: int) -> HttpResponse:
    """Hold a mailing at once."""
    _of(incident, mailing)
    return _act(
        request, incident, lambda: actions.pause(mailing, at=clock.now(), by=who(request), why=_why(request)), "Paused: nothing goes out."
    )


@staff_only
@require_http_methods(["GET", "POST"])
def stop(request: HttpRequest, incident: int, mailing: int) -> HttpResponse:
    """Ask whether it is meant, and stop a mailing."""
    found = _of(incident, mailing)
    if request.method == "GET":
        return page("mailing_stop", {"incident": incidents.incident(incident), "mailing": found}, request)
    return _act(
        request, incident, lambda: actions.stop(mailing, at=clock.now(), by=who(request), why=_why(request)), "Stopped: nothing goes out."
    )


@staff_only
@require_POST
def resume(request: HttpRequest, incident: int, mailing: int) -> HttpResponse:
    """Ask for the two signatures, or go on with them. The approval is looked up here and checked by the action."""
    _of(incident, mailing)
    approval = next((a.id for a in _approvals(mailing) if a.act == "notices.resume" and a.granted), None)
    return _act(request, incident, lambda: actions.resume(mailing, approval=approval, at=clock.now(), by=who(request)), "Going on.")


@staff_only
@require_POST
def release(request: HttpRequest, incident: int, mailing: int, lane: int) -> HttpResponse:
    """Ask for the two signatures, or let a lane go on with them that stopped because too many addresses failed."""
    if lane not in {x.lane for x in _of(incident, mailing).lanes}:
        raise NotFound(f"no lane {lane} in mailing {mailing}")
    mine = (a for a in _approvals(mailing) if a.act == "notices.release_lane" and a.payload.get("lane") == lane)
    approval = next((a.id for a in mine if a.granted), None)
    return _act(
        request, incident, lambda: actions.release_lane(lane, approval=approval, at=clock.now(), by=who(request)), "The lane goes on."
    )


def _of(incident: int, mailing: int) -> MailingStatus:
    """Return a mailing of this incident. Raises NotFound."""
    found = notices.status(mailing)
    if found.incident != incident:
        raise NotFound(f"no mailing {mailing} of incident {incident}")
    return found


def _why(request: HttpRequest) -> str:
    return request.POST.get("why", "").strip()[:WHY_CHARS_MAX]


def _act(request: HttpRequest, incident: int, act: Callable[[], Any], done: str) -> HttpResponse:
    """Do one act and lead back to the page with what came of it."""
    try:
        act()
        messages.success(request, done)
    except Refused as e:
        if e.approval is not None:
            messages.info(request, f"Approval {e.approval}: {e}. Both people sign it with their key files.")
        else:
            messages.error(request, str(e))
    except BadInput as e:
        messages.error(request, "; ".join(f.wanted for f in e.faults))
    _kept.forget(("mailing", incident))
    return redirect(f"/incidents/{incident}/mailing")


def _approvals(mailing: int) -> list[ApprovalInfo]:
    return [a for a in staff.approvals() if a.act in ACTS and a.payload.get("mailing") == mailing]


def _live(incident: IncidentInfo) -> dict[str, Any]:
    """Gather what moves. It is made once for all screens; it holds no form's token."""
    return {"incident": incident, **_kept.get(("mailing", incident.id), lambda: _figures(incident))}


def _figures(incident: IncidentInfo) -> dict[str, Any]:
    now = clock.now()
    try:
        found = notices.latest_status(incident.id)
    except NotFound:
        return {"mailing": None, "at": now}
    approvals = _approvals(found.mailing)
    lanes = sorted(found.lanes, key=lambda x: -x.recipients)
    scale = _scale(found, now)
    return {
        "mailing": found,
        "css": CSS.get(found.state, "bad"),
        "told_bar": mail_bar(found),
        "to_go": found.waiting + found.deferred,
        "left": _left(found, now),
        "ends": _ends(found, now),
        "scale": _axis(found, scale, now),
        "whole": _finish(found.started_at, found.eta_at, found, scale, now, title="The whole mailing"),
        "lanes": [_lane(x, found, scale, now) for x in lanes],
        "replies": [_reply(r) for r in notices.reply_classes(found.mailing)[:SHOWN_REPLIES]],
        "approvals": [
            {"approval": a, "what": ACTS[a.act], "left": max(0, a.needs - len(a.signed_by))}
            for a in approvals
            if a.act != "notices.resume" or found.state in HELD
        ],
        "can": _can(found, approvals),
        "asked_lanes": {a.payload["lane"] for a in approvals if a.act == "notices.release_lane" and not a.granted},
        "at": now,
    }


def _can(found: MailingStatus, approvals: list[ApprovalInfo]) -> dict[str, bool]:
    """Return which acts the mailing leaves open."""
    held = found.state in HELD
    asked = [a for a in approvals if a.act == "notices.resume"]
    return {
        "pause": found.state == MailingState.SENDING,
        "stop": found.state in (MailingState.SENDING, MailingState.PAUSED),
        "ask_resume": held and not asked,
        "resume": held and any(a.granted for a in asked),
    }


def _left(found: MailingStatus, now: datetime) -> dict[str, str]:
    """Say how long the law leaves, and in which colour."""
    until = found.pace_until
    if until is None:
        return {"words": "no dated duty", "css": ""}
    if found.ended_at is not None:
        on_time = found.ended_at <= until
        return {
            "words": f"ended {span(abs(until - found.ended_at))} {'before' if on_time else 'after'} it",
            "css": "good" if on_time else "bad",
        }
    if until <= now:
        return {"words": f"passed {span(now - until)} ago", "css": "bad"}
    return {"words": f"{span(until - now)} left", "css": "bad" if found.late else "good" if found.eta_at else ""}


def _ends(found: MailingStatus, now: datetime) -> str:
    """Say when it ends, in words."""
    if found.state == MailingState.SENDING and not found.waiting:
        return "everybody was tried; deferred ones are tried again"
    if found.state != MailingState.SENDING:
        return str(found.state)
    if found.eta_at is None:
        return "nobody knows yet: nothing has left in the last minute, or a lane stands still"
    return f"in {span(found.eta_at - now)}" if found.eta_at - now >= timedelta(minutes=1) else "within a minute"


def _lane(x: LaneStatus, found: MailingStatus, scale: tuple[datetime, datetime], now: datetime) -> dict[str, Any]:
    waiting = bool(x.waiting) and found.state == MailingState.SENDING
    done_at = None if x.waiting else now if found.ended_at is None else found.ended_at
    return {
        "lane": x,
        "bar": mail_bar(x),
        "cap": "" if x.rate_per_s_max >= UNLIMITED_PER_S else f"{x.rate_per_s_max:,.4g}",
        "ends_at": x.eta_at if waiting else None,
        "ends": "–" if x.waiting else "done",
        "finish": _finish(found.started_at, x.eta_at if waiting else done_at, found, scale, now, title=x.provider),
    }


def _reply(r: ReplyClass) -> dict[str, Any]:
    css = {"told": "good", "deferred": "warn", "bounced": "bad", "letter": ""}[r.state]
    return {"reply": r, "css": css, "state": "told later" if r.state == "told" else "gets a letter" if r.state == "letter" else r.state}


def mail_bar(counts: MailingStatus | LaneStatus) -> SafeString:
    """Draw where the recipients of a mailing, or a lane, stand."""
    parts = [
        ("handed over", counts.handed_over, "fill-good"),
        ("by letter", counts.letters, "fill"),
        ("deferred", counts.deferred, "fill-warn"),
        ("bounced", counts.bounced, "fill-bad"),
    ]
    return charts.share_bar(parts, total=counts.recipients, title="Handed over, by letter, deferred, bounced")


def _scale(found: MailingStatus, now: datetime) -> tuple[datetime, datetime]:
    """Return from when to when the line of time goes: over the sending, and to the deadline unless that is far off."""
    begin = found.started_at or now
    ends = [x for x in (found.eta_at, found.ended_at, *(lane.eta_at for lane in found.lanes), now if found.ended_at is None else None) if x]
    end = max([*ends, begin + timedelta(minutes=1)])
    if found.pace_until and found.pace_until - begin <= (end - begin) * SCALE:
        end = max(end, found.pace_until)
    return begin, end + (end - begin) * 0.04


def _axis(found: MailingStatus, scale: tuple[datetime, datetime], now: datetime) -> dict[str, Any]:
    begin, end = scale
    far = found.pace_until is not None and found.pace_until > end
    pattern = "%H:%M" if end - begin < timedelta(hours=20) else "%b %d, %H:%M"
    return {"begin": begin.strftime(pattern), "end": end.strftime(pattern), "far": far, "deadline": found.pace_until}


def _finish(
    begin: datetime | None, end: datetime | None, found: MailingStatus, scale: tuple[datetime, datetime], now: datetime, *, title: str
) -> SafeString:
    """Draw a line from the start over now to the end, against the deadline."""
    whole = (scale[1] - scale[0]).total_seconds()

    def place(at: datetime | None) -> float | None:
        return None if at is None else min(1.0, max(0.0, (at - scale[0]).total_seconds() / whole))

    stands = min(now, found.ended_at or now)
    until = found.pace_until if found.pace_until and found.pace_until <= scale[1] else None
    said = "nobody knows when it ends" if end is None else f"ends {end:%b %d, %H:%M} UTC"
    sent = place(min(stands, end) if end else stands)
    return charts.finish_line(place(begin), sent, place(end), deadline=place(until), title=f"{title}: {said}")
