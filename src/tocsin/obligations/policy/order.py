"""In which order acts must come: what is filed before, with or after the first message, per jurisdiction.

`before`: the mailing to that jurisdiction stays locked until the filing's sent time is recorded. `not_later_than`: filed at or before
the first message. `same_time`: released by the same approval, within SAME_TIME_MINUTES of the first message. A clock that counts from
individuals_notified starts at the first message; the individual deadline binds the last. Source: specification, section 5, Ordering.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

from tocsin.kernel.errors import Refused
from tocsin.obligations.types import DutyInfo, OrderStep

SAME_TIME_MINUTES = 60
NOTIFIED = "individuals_notified"
# Which duties bring an act about, where the name does not say it.
PRODUCERS = {
    "initial_notification": ("initial", "anpd", "national_authority", "bacs"),
    "intermediate_report": ("intermediate",),
    "notification_sent": ("notification",),
    "pdpc_notified": ("pdpc",),
    "brand_notified": ("visa",),
    "statement_prepared": ("oaic",),
}
Key = tuple[str, str]


def plan(duties: Sequence[DutyInfo], deadlines: Mapping[Key, Mapping[str, Any]]) -> tuple[OrderStep, ...]:
    """Return the steps, filings first, mailings by their deadline. Raises Refused naming the duties if they run in a circle."""
    _refuse_circles(duties, deadlines)
    phases: dict[tuple[int, str], list[DutyInfo]] = defaultdict(list)
    for duty in duties:
        for event, relation in _relations(deadlines.get((duty.law, duty.duty), {})):
            if event == NOTIFIED:
                phases[{"before": 1, "not_later_than": 2, "same_time": 3, "after": 5}[relation], duty.jurisdiction].append(duty)
        if duty.to == "individuals":
            phases[4, duty.jurisdiction].append(duty)
    gates = {
        1: "the mailing to {} stays locked until the filing's sent time is recorded, or two people override it with a reason",
        2: "filed at or before the first message to {}",
        3: f"released by the approval of the mailing to {{}}, within {SAME_TIME_MINUTES} minutes of its first message",
        4: "the mailing to {}: its deadline binds the last message",
        5: "the clock starts at the first message to {}",
    }
    # Filings by phase; mailings in the order of their deadlines, since that is how the queue is sorted.
    ordered = sorted(phases.items(), key=lambda p: (p[0][0], min(d.sort_key for d in p[1]), p[0][1]))
    return tuple(
        OrderStep(step=i, jurisdiction=place, acts=tuple(f"{d.law}.{d.duty}" for d in found), gate=gates[phase].format(place))
        for i, ((phase, place), found) in enumerate(ordered, start=1)
    )


def _relations(deadline: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Return (event, relation) pairs of a deadline; a clock that counts from an event comes `after` it."""
    if "earliest_of" in deadline:
        return set().union(*(_relations(d) for d in deadline["earliest_of"]))
    if "relation" in deadline:
        return {(deadline["to_event"], deadline["relation"])}
    return {(deadline["from"], "after")} if "from" in deadline else set()


def _refuse_circles(duties: Sequence[DutyInfo], deadlines: Mapping[Key, Mapping[str, Any]]) -> None:
    by_law: dict[str, list[DutyInfo]] = defaultdict(list)
    for duty in duties:
        by_law[duty.law].append(duty)
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for law, own in by_law.items():
        for duty in own:
            name = f"{law}.{duty.duty}"
            for event, relation in _relations(deadlines.get((law, duty.duty), {})):
                makers = [
                    f"{law}.{d.duty}" for d in own if (d.to == "individuals" if event == NOTIFIED else d.duty in PRODUCERS.get(event, ()))
                ]
                for maker in makers:
                    if relation == "after":
                        sorter.add(name, maker)
                    elif relation == "before" or maker == name:
                        sorter.add(maker, name)
    try:
        sorter.prepare()
    except CycleError as e:
        raise Refused(f"these duties each want to come before the other: {', '.join(dict.fromkeys(e.args[1]))}") from None
