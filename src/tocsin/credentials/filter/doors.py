"""The doors of the filter, for the command line. numpy is loaded when one is opened: the processes that only look up never need it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tocsin.credentials.types import FilterCheck, FilterReport
from tocsin.kernel import clock

from .fuse import Filter


def build_filter(
    source: Path,
    *,
    out: Path,
    min_count: int = 1,
    kind: str = "auto",
    rejects: Path | None = None,
    processes: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> FilterReport:
    """Build the filter of a source and put it at `out`, whole or not at all. Raises as `filter.build.build` says. Safe to repeat."""
    from .build import build

    return build(source, out=out, min_count=min_count, kind=kind, rejects=rejects, processes=processes, progress=progress)


def check_filter(path: Path) -> FilterCheck:
    """Read a filter from end to end, compare it with its checksums, and measure how often it is wrong. Raises NotFound, BadInput."""
    from .build import false_positive_rate

    began, found = clock.monotonic(), Filter(path)
    found.verify()
    rate = false_positive_rate(found)
    return FilterCheck(found.keys, found.bytes, len(found.parts), round(clock.monotonic() - began, 3), rate)
