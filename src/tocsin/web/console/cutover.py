"""The cutover's page: what it would end, who has signed, when each node was sealed, what canaries found, who has a new password.

Arm, commit, abort and widen go through the same actions as on the command line: a commit without two signatures asks for them and does
nothing else, whoever presses the button. The live part is renewed every two seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET, require_POST

from tocsin.credentials import actions
from tocsin.credentials import queries as credentials
from tocsin.credentials.types import BREACH_CLASSES, CommitReport, CutoverInfo, CutoverOverview, CutoverStatus, EpochLine
from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.incidents import queries as incidents
from tocsin.incidents.types import IncidentInfo
from tocsin.kernel import clock
from tocsin.kernel.errors import BadInput, NotFound, Refused
from tocsin.staff import queries as staff
from tocsin.staff.types import ApprovalInfo
from tocsin.web import charts

from .figures import Kept
from .incident import BUCKET_NAMES
from .page import of_newest, page, staff_only, who

COUNTED_S = 10.0  # counting passwords takes seconds at 24 million
RESETS = (EventType.RESET_REQUESTED, EventType.PASSWORD_RESET)
STATE_CSS = {"armed": "warn", "committed": "warn", "sealed": "good", "aborted": "bad", "open": ""}
UNDATED = "passwords of which nobody knows when they were set"
CONTACTS_CHANGED = "people changed their contact points since the first possible entry"
AT_ONCE_MS = 0.1
THINNEST = 0.01  # of a bar's width: what is shorter would not be seen
ROOM_FULL_S = 60.0  # a wait from which on the gauge is yellow

_kept: Kept[dict[str, Any]] = Kept()


@dataclass(frozen=True, slots=True)
class RoomGauge:
    """The waiting room in front of the reset form, now."""

    open: bool
    waiting: int
    admitted_per_s: float
    rate_per_s: float
    capacity_per_s: float
    oldest_wait_s: float

    @property
    def share(self) -> int:
        """Return how much of the capacity is used, in hundredths, at most 100."""
        return min(100, round(100 * self.admitted_per_s / self.capacity_per_s)) if self.capacity_per_s else 0


@dataclass(frozen=True, slots=True)
class ConnectorLine:
    """One connected system: where it stands, how fast it can be written to, and how long revoking one by one would take."""

    name: str
    kind: str
    state: str
    subjects: int
    write_rate_per_s: float | None
    drain_eta_s: float | None
    canaries_tried: int
    canaries_refused: int
    findings: tuple[str, ...]
    took_ms: float | None = None  # its gate's one switch


@staff_only
@require_GET
def latest(request: HttpRequest) -> HttpResponse:
    """Show the cutover of the newest incident, or what to do when there is none."""
    return of_newest(request, lambda found: _show(request, found))


@staff_only
@require_GET
def show(request: HttpRequest, incident: int) -> HttpResponse:
    """Show the cutover of one incident."""
    return _show(request, incidents.incident(incident))


@staff_only
@require_GET
def live(request: HttpRequest, incident: int) -> HttpResponse:
    """Return the live part alone, for the page's polling."""
    return page("cutover_live", _live(incidents.incident(incident)), request)


@staff_only
@require_POST
def arm(request: HttpRequest, incident: int) -> HttpResponse:
    """Count what a cutover of everybody would end; nothing ends yet."""
    return _act(request, incident, lambda: actions.arm(incident=incident, at=clock.now(), by=who(request)), "Armed. Nothing has ended yet.")


@staff_only
@require_POST
def commit(request: HttpRequest, incident: int, cutover: int) -> HttpResponse:
    """Ask for the two signatures, or commit with them. The approval is looked up here and checked by the action."""
    approval = _signed(cutover, "credentials.commit")
    return _act(
        request,
        incident,
        lambda: actions.commit(cutover, approval=approval, at=clock.now(), by=who(request)),
        _committed,
    )


@staff_only
@require_POST
def abort(request: HttpRequest, incident: int, cutover: int) -> HttpResponse:
    """Withdraw what is armed; of what is committed ask for the two signatures, or take it back with them."""
    approval = _signed(cutover, "credentials.abort")
    return _act(
        request,
        incident,
        lambda: actions.abort(cutover, approval=approval, at=clock.now(), by=who(request)),
        "Taken back: what was valid before is valid again.",
    )


@staff_only
@require_POST
def widen(request: HttpRequest, incident: int, cutover: int) -> HttpResponse:
    """Arm for everybody what was narrow."""
    return _act(
        request, incident, lambda: actions.widen(cutover, at=clock.now(), by=who(request)), "Armed for everybody. Two people commit it."
    )


def _committed(report: CommitReport) -> tuple[str, bool]:
    """Say what a commit has done, and whether that is all it should have done."""
    if not report.shortfalls:
        return "Committed: every older credential is dead.", True
    return f"Committed: every older credential is dead on our own site. But: {'; '.join(report.shortfalls)}.", False


def _act(request: HttpRequest, incident: int, act: Callable[[], Any], done: str | Callable[[Any], tuple[str, bool]]) -> HttpResponse:
    """Do one act and lead back to the page with what came of it: the same words each time, or those that are made from its result."""
    try:
        result = act()
        words, good = (done, True) if isinstance(done, str) else done(result)
        (messages.success if good else messages.warning)(request, words)
    except Refused as e:
        if e.approval is not None:
            messages.info(request, f"Approval {e.approval}: {e}. Both people sign it with their key files.")
        else:
            messages.error(request, str(e))
    except BadInput as e:
        messages.error(request, "; ".join(f.wanted for f in e.faults))
    return redirect(f"/incidents/{incident}/cutover")


def _signed(cutover: int, act: str) -> int | None:
    """Return the open approval of this act on this cutover if two people have signed it."""
    return next((a.id for a in _approvals(cutover) if a.act == act and a.granted), None)


def _approvals(cutover: int) -> list[ApprovalInfo]:
    acts = {"credentials.commit", "credentials.abort"}
    return [a for a in staff.approvals() if a.act in acts and a.payload.get("cutover") == cutover]


def _show(request: HttpRequest, incident: IncidentInfo) -> HttpResponse:
    return page("cutover", _live(incident), request)


def _live(incident: IncidentInfo) -> dict[str, Any]:
    """Gather what moves. It is made once for all screens; what people may do next is in it, but no form's token."""
    return {"incident": incident, **_kept.get(("cutover", incident.id), lambda: _figures(incident))}


def _figures(incident: IncidentInfo) -> dict[str, Any]:
    found = credentials.overviews(incident.id)
    newest = found[0] if found else None
    ended = next((o for o in found if o.commit_ms is not None and o.aborted_at is None), None)
    connectors = _connectors()
    return {
        "status": _status(),
        "newest": newest,
        "css": STATE_CSS[newest.info.state] if newest else "",
        "report": _report(newest) if newest else (),
        "notes": _notes(newest) if newest else [],
        "blockers": _blockers(newest.info) if newest and newest.info.state == "armed" else [],
        "approvals": [_approval(a) for a in _approvals(newest.info.id)] if newest else [],
        "can": _can(newest),
        "nodes": _nodes(newest) if newest else [],
        "earlier": [(o, STATE_CSS[o.info.state]) for o in found[1:]],
        "epochs": _epochs(credentials.epoch_lines()),
        "connectors": [_connector(c) for c in connectors],
        "races": _races(connectors, ended),
        "resets": _resets(incident, ended),
        "room": _room(),
        "classes": [c.replace("_", " ") for c in BREACH_CLASSES],
        "at": clock.now(),
    }


def _status() -> CutoverStatus | None:
    """Return where the customers' passwords stand; None when none were imported."""
    try:
        return credentials.status("customers", max_age_s=COUNTED_S)
    except NotFound:
        return None


def _report(found: CutoverOverview) -> list[dict[str, Any]]:
    """Return what it would end, or has ended, by class."""
    most = max(found.info.counts.values(), default=0)
    css = "fill" if found.info.state == "armed" else "fill-good"
    return [
        {
            "name": c.replace("_", " "),
            "count": n,
            "bar": charts.share_bar([("credentials", n, css)], total=max(most, 1), title=f"{c.replace('_', ' ')}: {n:,}"),
        }
        for c, n in sorted(found.info.counts.items(), key=lambda item: -item[1])
    ]


def _notes(found: CutoverOverview) -> list[tuple[str, str]]:
    """Return what two people should know before they sign, as (name, words)."""
    info = found.info
    everybody = "everybody" if info.cohort is None else f"cohort {info.cohort}"
    spared, reason = info.spared, info.reason
    notes = [
        ("Whom", f"{everybody} of {info.population}" + (f", without cohort {', '.join(map(str, spared))}" if spared else "")),
        *([("Why not all", reason)] if reason and (info.cohort is not None or spared) else []),
        ("New epoch", f"{info.to_epoch}, after {_range(info.from_epoch.values())}"),
        (
            "Left alone",
            (f"{info.staff_untouched:,} accounts of staff" if info.staff_untouched else "staff") + ": a population of their own",
        ),
        (
            "Canaries",
            f"{info.canaries:,} accounts of ours, tried before and after" if info.canaries else "none: plant some, or nothing proves it",
        ),
    ]
    notes += [("Note", f"{n:,} {words}") for n, words in ((info.undated, UNDATED), (info.contacts_changed, CONTACTS_CHANGED)) if n]
    notes += [("Finding", f) for f in info.findings]
    if info.override:
        notes.append(("Committed although", f"systems were not contained: {info.override}"))
    return notes


def _range(epochs: Any) -> str:
    found = sorted(set(epochs))
    return f"{found[0]}" if len(found) == 1 else f"{found[0]} to {found[-1]}" if found else "none"


def _blockers(info: CutoverInfo) -> list[str]:
    """Return what stops the commit: reached systems with credentials in hand that are not contained, and connectors that nobody has armed."""
    said = [
        f"{s} has credentials in hand and is not contained: the commit is refused until two people have determined that it is."
        for s in info.uncontained
    ]
    return said + [
        f"{c} is configured and not armed: the commit is refused until it is, or two people say why not." for c in info.not_armed
    ]


def _approval(approval: ApprovalInfo) -> dict[str, Any]:
    back = approval.act == "credentials.abort"
    return {"approval": approval, "what": "take it back" if back else "commit it", "left": max(0, approval.needs - len(approval.signed_by))}


def _can(found: CutoverOverview | None) -> dict[str, bool]:
    """Return which acts the newest cutover leaves open."""
    state = found.info.state if found else "open"
    open_acts = {a.act: a.granted for a in _approvals(found.info.id)} if found else {}
    return {
        "arm": state != "armed" and state != "committed",
        "ask_commit": state == "armed" and "credentials.commit" not in open_acts,
        "commit": state == "armed" and open_acts.get("credentials.commit", False),
        "withdraw": state == "armed",
        "ask_abort": state in {"committed", "sealed"} and "credentials.abort" not in open_acts and bool(found and found.erasing_at is None),
        "abort": state in {"committed", "sealed"} and open_acts.get("credentials.abort", False),
        "widen": bool(found and found.info.cohort is not None and state != "aborted"),
    }


def _nodes(found: CutoverOverview) -> list[dict[str, Any]]:
    """Draw when each node knew, over the time until the seal."""
    end = max([found.sealed_ms or 0.0, *(n.after_ms or 0.0 for n in found.nodes), 1.0])
    lines = []
    for n in sorted(found.nodes, key=lambda n: (n.after_ms is None, n.after_ms or 0.0, n.node)):
        # A node may know before our own COMMIT has returned, from which the milliseconds count.
        after = "–" if n.after_ms is None else _ms(n.after_ms) if n.after_ms >= AT_ONCE_MS else "at once"
        said = "knew" if n.acked else "its lease ran out" if found.sealed_at else "not yet"
        drawn = end if n.after_ms is None else max(n.after_ms, end * THINNEST)
        parts = [(said, round(drawn * 1000), "fill-good" if n.acked else "fill-warn")]
        title = f"{n.node}: {said}" + (f" {after}" if n.after_ms is not None else "")
        lines.append(
            {
                "node": n.node,
                "acked": n.acked,
                "said": said,
                "ms": after,
                "bar": charts.share_bar(parts, total=round(end * 1000), title=title),
            }
        )
    return lines


def _epochs(lines: Sequence[EpochLine]) -> list[dict[str, Any]]:
    """Return a line per cohort and epoch: which classes stand there."""
    found: dict[tuple[int, int, str], list[EpochLine]] = {}
    for line in lines:
        found.setdefault((line.cohort, line.epoch, line.state), []).append(line)
    return [
        {
            "cohort": cohort,
            "epoch": epoch,
            "state": state,
            "css": STATE_CSS.get(state, ""),
            "classes": ", ".join(x.cred_class.replace("_", " ") for x in these),
            "since": max((x.not_before for x in these if x.not_before), default=None),
        }
        for (cohort, epoch, state), these in sorted(found.items(), key=lambda item: (item[0][0], -item[0][1]))
    ]


def _connectors() -> list[ConnectorLine]:
    return [
        ConnectorLine(
            name=c.name,
            kind=c.kind,
            state=c.state,
            subjects=c.subjects,
            write_rate_per_s=c.write_rate_per_s,
            drain_eta_s=c.drain_eta_s,
            canaries_tried=c.canaries.get("tried", 0),
            canaries_refused=c.canaries.get("refused", 0),
            findings=(*c.red, *(f["text"] for f in c.findings)),
            took_ms=c.took_ms,
        )
        for c in credentials.connectors()
    ]


def _connector(line: ConnectorLine) -> dict[str, Any]:
    return {
        "line": line,
        "css": {"gated": "good", "drained": "good", "draining": "warn", "armed": "warn", "aborted": "bad"}.get(line.state, ""),
        "rate": f"{line.write_rate_per_s:,.0f} a second" if line.write_rate_per_s is not None else "no limit",
        "eta": long(line.drain_eta_s) if line.drain_eta_s is not None else "–",
        "survivors": line.canaries_tried - line.canaries_refused,
    }


def _races(connectors: Sequence[ConnectorLine], ended: CutoverOverview | None) -> list[dict[str, Any]]:
    """Draw, true to scale, how long each system's own interface takes beside the gate. Empty before anything was measured."""
    committed_ms = ended.commit_ms if ended is not None else None
    races = []
    for c in connectors:
        gate_ms = c.took_ms if c.took_ms is not None else committed_ms
        if gate_ms is None or c.drain_eta_s is None or c.drain_eta_s * 1000 <= gate_ms:
            continue
        one_by_one, gate = long(c.drain_eta_s), long(gate_ms / 1000)
        drawn = max(1, round(gate_ms * 1000))
        races.append(
            {
                "name": c.name,
                "api": one_by_one,
                "gate": gate,
                "api_bar": charts.share_bar([("one by one", 1, "fill-warn")], total=1, title=f"{c.name}, one by one: {one_by_one}"),
                "gate_bar": charts.share_bar(
                    [("the gate", drawn, "fill-good")], total=round(c.drain_eta_s * 1e6), title=f"the gate: {gate}"
                ),
            }
        )
    return races


def _resets(incident: IncidentInfo, ended: CutoverOverview | None) -> dict[str, Any]:
    """Count and draw who has set a new password since the cutover."""
    counts = credentials.reset_counts(incident.id)
    since = ended.committed_at if ended is not None and ended.committed_at is not None else incident.declared_at
    found = evidence.volumes(list(RESETS), incident=incident.id, since=since)
    shown, width = found.counts[EventType.PASSWORD_RESET], timedelta(seconds=found.bucket_s)
    times = sorted(shown)
    n = round((times[-1] - times[0]) / width) + 1 if times else 0
    starts = [times[0] + i * width for i in range(n)]
    pattern = "%H:%M:%S" if found.bucket_s < 60 else "%H:%M" if found.bucket_s < 21_600 else "%b %d"
    per = BUCKET_NAMES.get(found.bucket_s) or long(found.bucket_s)
    return {
        "counts": counts,
        "bar": charts.share_bar(
            [("done", counts.completed, "fill-good")], total=max(counts.requested, 1), title="Resets completed of those asked for"
        ),
        "per": per,
        "exact": found.exact,
        "chart": charts.columns(
            [shown.get(at, 0) for at in starts],
            [at.strftime(pattern) for at in starts],
            title=f"New passwords per {per}: {counts.completed:,} in all",
        )
        if starts
        else None,
    }


def _room() -> dict[str, Any]:
    """Return the waiting room's gauge."""
    found = credentials.room_status(at=clock.now())
    gauge = RoomGauge(found.open, found.waiting, found.admitted_per_s, found.rate_per_s, found.capacity_per_s, found.oldest_wait_s)
    css = "fill-warn" if gauge.waiting and gauge.oldest_wait_s > ROOM_FULL_S else "fill-good"
    return {
        "gauge": gauge,
        "wait": long(gauge.oldest_wait_s) if gauge.waiting else "nobody waits",
        "bar": charts.share_bar([("used", gauge.share, css)], total=100, title=f"{gauge.share} % of the hashing capacity is used"),
    }


def _ms(value: float) -> str:
    return f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"


def long(seconds: float) -> str:
    """Return a span of time from milliseconds to years, in one unit."""
    if seconds < 1:
        return _ms(seconds * 1000)
    for size, name in ((365.25 * 86_400, "years"), (86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size or (seconds >= size and name in {"minutes", "hours"}):
            value = seconds / size
            return f"{value:,.1f} {name}".replace(".0 ", " ")
    return f"{seconds:,.1f} s".replace(".0 ", " ")
