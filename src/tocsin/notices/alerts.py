"""What of a mailing wants a person now, worst first, each with what to do. Pure: it reads the status."""

from __future__ import annotations

from collections.abc import Iterator

from .types import Alert, LaneStatus, MailingState, MailingStatus

DOUBT_SHARE = 0.001  # of the recipients: more than kills and lost connections explain


def of(s: MailingStatus) -> tuple[Alert, ...]:
    """Return the alerts of a mailing."""
    found = [*_whole(s), *(alert for lane in s.lanes for alert in _lane(lane))]
    return tuple(sorted(found, key=lambda a: a.level != "bad"))


def _whole(s: MailingStatus) -> Iterator[Alert]:
    if s.lost:
        yield Alert("bad", "lost", f"{s.lost:,} recipients are in no state at all", "stop the mailing and count again before you go on")
    if s.state in (MailingState.PAUSED, MailingState.STOPPED) and s.waiting:
        yield Alert(
            "bad",
            str(s.state),
            f"the mailing is {s.state} with {s.waiting:,} people not told",
            f"find out why, then two people sign to go on: tocsin notice resume {s.mailing}",
        )
    if s.late:
        until = s.pace_until
        yield Alert(
            "bad",
            "deadline",
            f"at this pace the mailing ends after {until:%Y-%m-%d %H:%M} UTC" if until else "",
            "raise the pace, ask the relay for more, or have two people allow a later end: "
            f"tocsin notice allow-late {s.mailing} --until … --why …",
        )
    for x in s.locked:
        yield Alert(
            "warn",
            "order",
            f"{x.recipients:,} people in {', '.join(x.jurisdictions) or 'some places'} wait: {x.name or x.gate} comes first",
            f"file it and close the duty {x.gate}, or two people go past it: tocsin notice override-order {s.mailing} {x.gate} --why …",
        )
    if s.in_doubt > max(10, s.recipients * DOUBT_SHARE):
        yield Alert(
            "warn", "in doubt", f"{s.in_doubt:,} people may have got the notice twice", "see why senders or connections end so often"
        )


def _lane(x: LaneStatus) -> Iterator[Alert]:
    if not x.waiting and not x.deferred:
        return
    until = f" until {x.held_until:%H:%M} UTC" if x.held_until else ""
    why = f": {x.held_why}" if x.held_why else ""
    if x.broken:
        yield Alert(
            "bad",
            "breaker",
            f"{x.provider}: too many addresses fail{why}",
            f"look at the replies: is the list old, or are we blocked? Then two people sign: tocsin notice release-lane {x.lane}",
            x.lane,
        )
    elif x.held_rate_per_s == 0:
        yield Alert(
            "bad",
            "pause",
            f"{x.provider} told us to stop{until}{why}",
            "it goes on by itself then. Send nothing to it by another way meanwhile; look at the receiver's postmaster page and write to it",
            x.lane,
        )
    elif x.held_rate_per_s is not None:
        yield Alert("warn", x.held_what or "slow", f"{x.provider} slows us to {x.held_rate_per_s:.3g} a second{until}{why}", "", x.lane)
    elif x.rate_per_s_max == 0:
        yield Alert("warn", "held", f"{x.provider} is held: its pace is 0", "set its pace", x.lane)
    if x.late and not x.broken:
        yield Alert("bad", "deadline", f"{x.provider} ends after the deadline at this pace", "raise its pace or ask the receiver", x.lane)
