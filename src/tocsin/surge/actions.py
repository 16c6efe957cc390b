"""Writes of the surge room."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from datetime import datetime

from django.db import transaction

from tocsin.credentials import queries as credentials
from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel import canonical, config
from tocsin.notices import actions as notices
from tocsin.notices import queries as notices_now
from tocsin.notices.types import MailingState, MailingStatus
from tocsin.support import queries as support
from tocsin.support.types import DeskStatus

from . import policy, queries
from .models import Measure, Steering
from .types import Desk, Forecast, Pace, Params, Spread, Steered

ACTOR = "surge"


def forecast(incident: int, params: Params, *, at: datetime, by: str) -> Forecast:
    """Make a forecast, keep it with its inputs, and record it; return it. The figures are computed before the transaction begins.

    One transaction holds the row and its evidence entry: a crash leaves both or neither, and asking again makes a further row.
    """
    made = queries.forecast(params)
    inputs = canonical.dumps(asdict(params) | {"draft": [asdict(d) for d in params.draft], "seed": str(params.seed)})
    digest = hashlib.sha256(inputs).digest()
    with transaction.atomic():
        row = Measure.objects.create(
            incident=incident, kind="forecast", at=at, by=by, inputs=inputs.decode(), digest=digest, figures=asdict(made)
        )
        evidence.record(
            EventType.FORECAST_MADE,
            at=at,
            actor=by,
            incident=incident,
            body={
                "measure": row.pk,
                "inputs_sha256": digest.hex(),
                "seed": params.seed,
                "draws": params.draws,
                "calls": made.calls,
                "contacts": _whole(made.contacts),
                "letters": _whole(made.letters),
                "max_wait_s": _whole(made.max_wait_s),
                "backlog_peak": round(made.backlog_peak),
            },
        )
    return made


def steer(incident: int, *, at: datetime) -> Steered | None:
    """Keep the newest mailing of an incident to what reset site and desk can bear; return the pace it has now. Come again every few seconds.

    Lowers lanes through `notices.set_pace`, whose entry is the evidence, and gives them back what people allowed when both hold again. A rate
    that somebody sets meanwhile is what people allow from then on. Never slower than the legal deadline needs, or the later end that two
    people signed: where they conflict the deadline wins, and that finding is recorded once. None: nothing is being sent, or `[surge]
    follow_resets` and `follow_desk` are off. One transaction; after a crash the next call does it.
    """
    settings = config.current().surge
    if not (settings.follow_resets or settings.follow_desk) or incident not in notices_now.incidents_sending():
        return None
    mailing = notices_now.latest_status(incident)
    if mailing.state != MailingState.SENDING:
        return None
    capacity, requested = credentials.reset_capacity(), credentials.reset_counts(incident).requested
    desk = support.status()
    with transaction.atomic():
        before = {"requested_before": requested, "received_before": desk.received, "at": at}
        Steering.objects.get_or_create(mailing=mailing.mailing, defaults=before)
        mine = Steering.objects.select_for_update().get(mailing=mailing.mailing)
        allowed = _allowed(mailing, mine)
        _sample(mine, answered=desk.answered, at=at)
        busy = {lane.lane: lane.waiting + lane.deferred for lane in mailing.lanes if lane.waiting + lane.deferred}
        decided = policy.steered(
            Pace(
                waiting_mails=sum(busy.values()),
                allowed_per_s=sum(allowed[lane] for lane in busy),
                resets_per_s=capacity.per_s if settings.follow_resets else 0.0,
                waiting_people=capacity.waiting,
                page_p95_ms=capacity.wait_p95_ms,
                left_s=(mailing.pace_until - at).total_seconds() if mailing.pace_until else None,
                click_rate=policy.click_rate(
                    requested=requested - mine.requested_before, handed_over=mailing.handed_over, least=settings.click_rate
                ),
                desk=_desk(mailing, mine, desk, at=at) if settings.follow_desk else None,
            )
        )
        if decided.by == "deadline" and mine.by != "deadline":
            evidence.record(
                EventType.PACE_ABOVE_DESK if decided.over == "desk" else EventType.PACE_ABOVE_RESETS,
                at=at,
                actor=ACTOR,
                incident=incident,
                body={
                    "mailing": mailing.mailing,
                    "milli_per_s": round(decided.rate_per_s * 1000),
                    "waiting": mailing.waiting,
                    "milli_resets_per_s": round(capacity.per_s * 1000),
                    "waiting_people": capacity.waiting,
                    "desk_open": desk.open,
                    "desk_oldest_s": desk.oldest_s,
                },
            )
        _hold(mailing, mine, allowed, busy, decided, at=at)
    return decided


def _sample(mine: Steering, *, answered: int, at: datetime) -> None:
    """Note how many messages the desk had answered by now, if the last note is old enough."""
    kept = policy.sampled([(s, int(n)) for s, n in mine.desk], at_s=at.timestamp(), answered=answered)
    if len(kept) != len(mine.desk) or not mine.desk or kept[-1][0] != mine.desk[-1][0]:
        mine.desk = [list(s) for s in kept]
        mine.save(update_fields=["desk"])


def _desk(mailing: MailingStatus, mine: Steering, desk: DeskStatus, *, at: datetime) -> Desk:
    """Return how the desk stands, with what mails already out will still bring it."""
    settings, written = config.current().surge, desk.received - mine.received_before
    share = policy.click_rate(requested=written, handed_over=mailing.handed_over, least=settings.write_rate)
    return Desk(
        open=desk.open,
        oldest_s=float(desk.oldest_s),
        answers_per_s=policy.answers_per_s([(s, int(n)) for s, n in mine.desk], at_s=at.timestamp(), answered=desk.answered),
        coming=max(0.0, mailing.handed_over * share - written),
        write_rate=share,
        wait_s=settings.desk_wait_h * 3600,
    )


def _allowed(mailing: MailingStatus, mine: Steering) -> dict[int, float]:
    """Return what people allow each lane: what steering put aside, unless somebody has set the lane since."""
    now = {lane.lane: lane.rate_per_s_max for lane in mailing.lanes}
    return {lane: float(mine.base.get(str(lane), rate)) if mine.held.get(str(lane)) == rate else rate for lane, rate in now.items()}


def _hold(
    mailing: MailingStatus, mine: Steering, allowed: dict[int, float], busy: dict[int, int], decided: Steered, *, at: datetime
) -> None:
    """Set the lanes that have mails to go to their shares of a rate, or back to what people allow; keep what was put aside."""
    now = {lane.lane: lane.rate_per_s_max for lane in mailing.lanes}
    if decided.rate_per_s >= sum(allowed[lane] for lane in busy):
        for lane, rate in allowed.items():
            if now[lane] != rate:
                notices.set_pace(mailing.mailing, lane=lane, rate_per_s=rate, at=at, by=ACTOR)
        base, held = {}, {}
    else:
        total = sum(busy.values())
        wanted = {lane: min(decided.rate_per_s * n / total, allowed[lane]) for lane, n in busy.items()}
        for lane, rate in wanted.items():
            if policy.differs(now[lane], rate):
                notices.set_pace(mailing.mailing, lane=lane, rate_per_s=rate, at=at, by=ACTOR)
                now[lane] = rate
        base = {str(lane): rate for lane, rate in allowed.items()}
        held = {str(lane): rate for lane, rate in now.items() if lane in wanted or mine.held.get(str(lane)) == rate}
    if (base, held, decided.by) != (mine.base, mine.held, mine.by):
        mine.base, mine.held, mine.by, mine.at = base, held, decided.by, at
        mine.save(update_fields=["base", "held", "by", "at"])


def _whole(spread: Spread) -> list[int]:
    """Return a spread as whole numbers: the log's canonical JSON holds no fractions."""
    return [round(spread.p10), round(spread.p50), round(spread.p90)]
