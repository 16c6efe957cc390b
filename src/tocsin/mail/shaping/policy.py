"""What a lane may do next, from what receivers said. Pure: replies and the lane's memory in, limits and the new memory out.

A lane's memory (`Memory`) is small and stored as JSON: hits of each reaction within its window, the present limits and until when, the
adapted rate, and what the breaker has counted.

    adapted rate   halved when a receiver defers us for our own sake (4yz with 4.7.x, or a reaction's `slower`), at most once per
                   DECREASE_S; raised by one part in RAISE_PARTS of the rate at which that began for each clean window of INCREASE_S; gone
                   once it is back there. Source: Jacobson, Congestion Avoidance and Control (1988).
    window         connections at once. Of N in use, a message the receiver has no complaint of counts 1/N up, a deferral for our own sake
                   1/N down. Up only when a whole one has come together; down at once at the first, and then after N more: reversed
                   hysteresis. Source: Postfix, SCHEDULER_README, its concurrency feedback.
    breaker        BREAKER_SHARE of the last BREAKER_WINDOW recipients failed hard: the lane pauses until a person lets it go on.
                   Source: relays suspend accounts at 5 to 10 %; M3AAWG names 3 % as the sign of a bad list.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

DECREASE_S = 10.0
INCREASE_S = 10.0
RAISE_PARTS = 20
FLOOR_PER_S = 1 / 60
BREAKER_SHARE = 0.03
BREAKER_WINDOW = 1000
BREAKER_MIN = 200  # fewer say nothing: 3 % of 200 are six people
HITS_KEPT_MAX = 20
BAD_COUNTED_MAX = 1_000  # deferrals of one lot: the window is down at 1 long before
_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a sender allows itself towards one receiver. `rate_per_s` 0: no limit of its own."""

    connections: int
    messages_per_connection: int
    rate_per_s: float


@dataclass(frozen=True, slots=True)
class Reaction:
    """A reply that asks for something: `hits` of it within `within_s` mean a pause, or these limits, for `for_s`."""

    receiver: str
    match: re.Pattern[str]
    hits: int
    within_s: float
    for_s: float
    pause: bool = False
    rate_per_s: float | None = None
    connections: int | None = None
    messages_per_connection: int | None = None
    slower: float | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """A reply to one recipient. `hard`: the address does not work; `us`: it speaks of us and not of the address."""

    at_s: float
    code: int
    enhanced: str
    text: str
    hard: bool = False
    us: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """What a lane remembers. Times are seconds since 1970. `rate_per_s`, `window` None: nothing adapted, the cap holds.

    `rate_top`: the rate at which the adapting began. `asked`, `failed_hard`, `broken` are the breaker's and of one mailing; all else is
    the receiver's, and so of everything that is sent to it.
    """

    hits: Mapping[str, Sequence[float]] = field(default_factory=dict)
    paused_until: float = 0.0
    slow_until: float = 0.0
    slow_rate_per_s: float | None = None
    slow_connections: int | None = None
    slow_messages: int | None = None
    rate_per_s: float | None = None
    rate_at: float = 0.0
    rate_top: float | None = None
    window: int | None = None
    success: float = 0.0
    failure: float = 0.0
    asked: int = 0
    failed_hard: int = 0
    broken: bool = False

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Memory:
        """Return the memory that `as_json` wrote."""
        return cls(**stored)

    def as_json(self) -> dict[str, Any]:
        """Return what differs from a fresh memory, as JSON."""
        fresh = Memory()
        made = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {k: (dict(v) if k == "hits" else v) for k, v in made.items() if v != getattr(fresh, k)}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What changed and why, for the evidence: `what` is pause, slow, adapt or breaker; `page` tells that a person must look."""

    what: str
    why: str
    for_s: float
    page: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What a lane may use now."""

    rate_per_s: float
    connections: int
    messages_per_connection: int | None = None  # None: as many as the shape allows


def judge(
    memory: Memory,
    said: Iterable[Said],
    *,
    sent: int,
    receiver: str,
    reactions: Sequence[Reaction],
    cap_per_s: float,
    measured_per_s: float,
    connections: int = 1,
) -> tuple[Memory, list[Verdict]]:
    """Return the lane's new memory and what changed, after `sent` messages of which `said` are the replies that were no plain acceptance."""
    verdicts: list[Verdict] = []
    complaints = sorted(said, key=lambda r: r.at_s)
    for reply in complaints:
        for n, reaction in enumerate(reactions):
            if reaction.receiver in ("*", receiver) and reaction.match.search(f"{reply.code} {reply.text}"):
                memory, verdict = _hit(memory, f"{reaction.receiver}/{n}", reaction, reply, cap_per_s, measured_per_s)
                verdicts += [verdict] if verdict else []
    throttled = [r for r in complaints if r.us and not r.hard]
    if throttled:
        last = throttled[-1]
        memory, verdict = _decrease(memory, last.at_s, cap_per_s, measured_per_s, 0.5, f"{last.code} {last.enhanced}")
        verdicts += [verdict] if verdict else []
    memory = feedback(memory, good=max(0, sent - len(throttled)), bad=len(throttled), connections=connections)
    return _break(memory, sent=sent, hard=sum(r.hard for r in complaints), verdicts=verdicts), verdicts


def recover(memory: Memory, *, at_s: float, cap_per_s: float) -> Memory:
    """Return the memory after a clean window: the adapted rate a step higher, or gone."""
    if memory.rate_per_s is None or at_s - memory.rate_at < INCREASE_S:
        return memory
    top = min(cap_per_s, memory.rate_top or cap_per_s)
    higher = memory.rate_per_s + max(top / RAISE_PARTS, FLOOR_PER_S)
    return replace(memory, rate_at=at_s, **({"rate_per_s": None, "rate_top": None} if higher >= top else {"rate_per_s": higher}))


def feedback(memory: Memory, *, good: int, bad: int, connections: int) -> Memory:
    """Return the memory with its window moved by `good` messages and then `bad` deferrals, between 1 and `connections`."""
    window, success, failure = min(memory.window or connections, connections), memory.success, memory.failure
    while good > 0 and window < connections:
        # Whole steps instead of single messages: of a window of N, N messages make one.
        needed = max(1, math.ceil((1.0 - success) * window - 1e-9))
        if good < needed:
            success += good / window
            break
        good -= needed
        window, success, failure = window + 1, 0.0, 0.0
    for _ in range(min(bad, BAD_COUNTED_MAX)):
        step = 1.0 / window
        failure -= step
        if failure - step / 2 < 0 and window > 1:
            window, success, failure = window - 1, 0.0, failure + 1.0
        failure = max(0.0, failure)
    full = window >= connections
    return replace(memory, window=None if full else window, success=0.0 if full else success, failure=failure)


def limits(memory: Memory, *, at_s: float, cap_per_s: float, connections: int) -> Limits:
    """Return what the lane may use now; a rate of 0 is a pause."""
    if memory.broken or at_s < memory.paused_until:
        return Limits(0.0, 1)
    rate = cap_per_s if memory.rate_per_s is None else min(cap_per_s, memory.rate_per_s)
    messages = None
    if at_s < memory.slow_until:
        rate = min(rate, memory.slow_rate_per_s if memory.slow_rate_per_s is not None else rate)
        connections = min(connections, memory.slow_connections or connections)
        messages = memory.slow_messages
    return Limits(rate, min(connections, memory.window or connections), messages)


def released(memory: Memory) -> Memory:
    """Return the memory after a person let a broken lane go on: the count starts anew."""
    return replace(memory, broken=False, asked=0, failed_hard=0, paused_until=0.0)


def _hit(
    memory: Memory, name: str, reaction: Reaction, reply: Said, cap_per_s: float, measured_per_s: float
) -> tuple[Memory, Verdict | None]:
    recent = [t for t in memory.hits.get(name, ()) if reply.at_s - t < reaction.within_s]
    window = [*recent[-HITS_KEPT_MAX:], reply.at_s]
    if len(window) < reaction.hits:
        return replace(memory, hits={**memory.hits, name: window}), None
    memory = replace(memory, hits={k: v for k, v in memory.hits.items() if k != name})
    why = f"{reply.code} {reply.text}"[:200]
    until = reply.at_s + reaction.for_s
    if reaction.pause:
        if until <= memory.paused_until:
            return memory, None
        return replace(memory, paused_until=until), Verdict("pause", why, reaction.for_s, page=True)
    if reaction.slower is not None:
        return _decrease(memory, reply.at_s, cap_per_s, measured_per_s, reaction.slower, why)
    slowed = replace(
        memory,
        slow_until=max(until, memory.slow_until),
        slow_rate_per_s=_lower(memory.slow_rate_per_s, reaction.rate_per_s) if reply.at_s < memory.slow_until else reaction.rate_per_s,
        slow_connections=_lower(memory.slow_connections, reaction.connections) if reply.at_s < memory.slow_until else reaction.connections,
        slow_messages=_lower(memory.slow_messages, reaction.messages_per_connection)
        if reply.at_s < memory.slow_until
        else reaction.messages_per_connection,
    )
    return (slowed, None) if slowed == memory else (slowed, Verdict("slow", why, reaction.for_s))


def _lower(a: _Number | None, b: _Number | None) -> _Number | None:
    return a if b is None else b if a is None else min(a, b)


def _decrease(memory: Memory, at_s: float, cap_per_s: float, measured_per_s: float, part: float, why: str) -> tuple[Memory, Verdict | None]:
    if at_s - memory.rate_at < DECREASE_S and memory.rate_per_s is not None:
        return memory, None
    now = memory.rate_per_s if memory.rate_per_s is not None else cap_per_s
    lower = max(FLOOR_PER_S, min(now, measured_per_s or now) * part)
    top = memory.rate_top or min(now, measured_per_s or now)
    return replace(memory, rate_per_s=lower, rate_at=at_s, rate_top=top), Verdict("adapt", why, DECREASE_S)


def _break(memory: Memory, *, sent: int, hard: int, verdicts: list[Verdict]) -> Memory:
    asked, failed = memory.asked + sent, memory.failed_hard + hard
    if asked > BREAKER_WINDOW:  # forget the oldest in proportion: a window that needs two numbers and no list
        failed, asked = round(failed * BREAKER_WINDOW / asked), BREAKER_WINDOW
    broken = memory.broken or (asked >= BREAKER_MIN and failed >= BREAKER_SHARE * asked)
    if broken and not memory.broken:
        verdicts.append(Verdict("breaker", f"{failed} of the last {asked} addresses failed for good", 0.0, page=True))
    return replace(memory, asked=asked, failed_hard=failed, broken=broken)


def shared(memory: Memory, breaker: Memory) -> Memory:
    """Return what is known of a receiver, with the breaker of one mailing's lane."""
    return replace(memory, asked=breaker.asked, failed_hard=breaker.failed_hard, broken=breaker.broken)


def of_receiver(memory: Memory) -> Memory:
    """Return the part of a lane's memory that is true of its receiver whoever writes to it."""
    return replace(memory, asked=0, failed_hard=0, broken=False)


def receiver_of_hosts(hosts: Iterable[str], suffixes: Mapping[str, str]) -> str | None:
    """Return who takes the mail of a domain, by the mail exchangers it names, best first; None if no receiver of the table does."""
    for host in hosts:
        labels = host.lower().rstrip(".").split(".")
        for start in range(len(labels)):
            if found := suffixes.get(".".join(labels[start:])):
                return found
    return None


def read(table: Mapping[str, Any]) -> tuple[dict[str, Shape], list[Reaction], dict[str, str]]:
    """Return shapes by receiver, the reactions, and receivers by the ends of their mail exchangers' names, of a table as `receivers.toml`."""
    base = table["*"]
    owned = {name: own for name, own in table.items() if name != "reaction"}
    shapes = {name: Shape(**{**base, **{k: v for k, v in own.items() if k != "mx"}}) for name, own in owned.items()}
    suffixes = {suffix: name for name, own in owned.items() for suffix in own.get("mx", ())}
    reactions = [
        Reaction(**{**r, "match": re.compile(r["match"]), "within_s": float(r.get("within_s", 3600)), "for_s": float(r["for_s"])})
        for r in table["reaction"]
    ]
    return shapes, reactions, suffixes
