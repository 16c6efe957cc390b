"""Arm, commit, widen and seal with their proof: canaries are tried before, when each secret must open its door, and after, when none may.

Only a process that holds the keys of canaries tries them (the command line); another one's arm and commit say that nobody has tried, and
`tocsin credentials canaries try` makes up for it. What the battery finds is reported and never undoes what was committed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime

from tocsin.kernel import config
from tocsin.kernel.sealing import KEYS_OF

from . import canaries
from . import cutover as cutovers
from .types import CanaryReport, CommitReport, CutoverInfo

KEYS = frozenset({"sealing", "lookup", "factor", "pepper"})


def arm(
    *,
    population: str = "customers",
    classes: Sequence[str] | None = None,
    incident: int | None,
    at: datetime,
    by: str,
    cohort: int | None = None,
    reason: str = "",
    spared: Sequence[int] = (),
) -> CutoverInfo:
    """As `cutover.arm`; `tried` says what the canaries' doors answer now, `findings` what that proves too little of."""
    armed = cutovers.arm(
        population=population, classes=classes, incident=incident, at=at, by=by, cohort=cohort, reason=reason, spared=spared
    )
    return _before(armed, at=at)


def widen(cutover: int, *, at: datetime, by: str) -> CutoverInfo:
    """As `cutover.widen`, with the battery of `arm`."""
    return _before(cutovers.widen(cutover, at=at, by=by), at=at)


def commit(cutover: int, *, approval: int | None, at: datetime, by: str, override: str = "") -> CommitReport:
    """As `cutover.commit`; `canaries` says what the canaries' doors answer after the seal, None if they were not tried."""
    return _after(cutovers.commit(cutover, approval=approval, at=at, by=by, override=override), at=at)


def seal(cutover: int, *, at: datetime, by: str) -> CommitReport:
    """As `cutover.seal`, with the battery of `commit`."""
    return _after(cutovers.seal(cutover, at=at, by=by), at=at)


def _may_try() -> bool:
    return KEYS_OF[config.current().process] >= KEYS


def _before(armed: CutoverInfo, *, at: datetime) -> CutoverInfo:
    if not armed.canaries or not _may_try():
        return armed
    tried, missing = canaries.battery(armed.id, at=at)
    findings = list(armed.findings)
    if missing:
        findings.append(f"no canary holds a secret of {', '.join(missing)}: plant some, or nothing proves that these end")
    if tried.refused:
        findings.append(f"{tried.refused} of {tried.tried} secrets of canaries open nothing before the cutover: plant new canaries")
    return dataclasses.replace(armed, tried=tried, findings=tuple(findings))


def _after(done: CommitReport, *, at: datetime) -> CommitReport:
    if not _may_try():
        return done
    found: CanaryReport = canaries.battery(done.cutover, at=at)[0]
    return dataclasses.replace(done, canaries=found if found.tried else None)
