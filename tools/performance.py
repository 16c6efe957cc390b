"""Make docs/reference/performance.md from bench/results/*.json: `python -m tools.performance`. A test compares the page with the results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "bench" / "results", ROOT / "docs" / "reference" / "performance.md"
HEAD = """# Performance

Generated from `bench/results/` by `python -m tools.performance`; do not edit. Each bench alternates ours with a peer or a physical limit in
one run, because machines differ and are noisy: **read the ratios**, and see the load beside each. Run one with `./run bench NAME`.
"""
ABOUT = ("bench", "at", "machine", "load", "python")
READ = {
    "reset_lane": "Seconds from a request for a reset link to the relay's 250 beside a throttled mailing: our lane, and the ordinary queue.",
    "cutover": "Ending every credential by raising an epoch, and until eight nodes have acknowledged it, against what a system without epochs must do to the "
    "passwords of the same table. The last three peers did a sample and are scaled to all rows.",
    "filter": "Breached passwords at 18 bits each, read from disk, beside a file of sorted numbers and a set in memory; the whole set is extrapolated.",
    "race": "Log-ins racing cutovers: late successes and usable sessions must be 0. The sessions that were dead when first used show how close it was.",
    "sender": "CPU (user + system) of the sending process for one personal, signed message, against OpenSSL's raw RSA-2048 signature and what else sends "
    "mail; `unsigned to smtp source` and the ratios are medians of the rounds.",
    "mail_kill": "Senders killed at random instants, frozen, cut off, bereft of database, machine or power; counted by the receiver's own record. "
    "`lost` and `unnamed` (repeats that the log had not named before they came) must be 0, `duplicates` <= `in doubt` <= `bound`.",
    "classify": "Recognition of bounces on the labelled development set (shares of right answers), and mails per second of CPU.",
    "letters": "Letters of two pages as PDF: one compilation for a bundle, one for each letter, and ReportLab setting the same paragraphs without window "
    "and page totals. CPU and memory of the process that sets.",
    "gate": "The gate's answers beside an application that answers two bytes, on the same server and core; then cutovers under questions.",
    "overload": "Twenty times the capacity against the public process on one core: `goodput` is passwords set per second / the same without a crowd; "
    "`goodput in cpu` the same in the server's CPU time per password; `page ms` the waiting page as wrk saw it.",
    "reset": "CPU of the server for one new password, against the bare Argon2id hash (`share of bound` = hash / whole) and Django's own reset flow.",
    "exposure": "Reach in a large data map with every cut, and the duty engine, beside networkx and bare mask tests.",
}


def page() -> str:
    """Return the page that the present results give."""
    return "\n".join([HEAD, *(section(json.loads(file.read_text())) for file in sorted(RESULTS.glob("*.json")))])


def section(result: dict[str, Any]) -> str:
    """Return one bench: what it measures, where and when, its single figures and its table."""
    name = str(result["bench"])
    load = ", ".join(f"{x:.1f}" for x in result.get("load", []))
    lines = [f"## {name}", "", READ.get(name, ""), "", f"{result['machine']}; {result['at'][:10]}; load {load}; `./run bench {name}`", ""]
    figures = {k: v for k, v in result.items() if (k not in ABOUT and k != "rows") or (not isinstance(v, dict) and k == "rows")}
    flat = [(k, v) for k, v in _flat(figures)]
    lines += ["| figure | value |", "|---|---|", *(f"| {k} | {_shown(v)} |" for k, v in flat), ""]
    rows = result.get("rows")
    if isinstance(rows, dict):
        columns = list(next(iter(rows.values())))
        lines += ["| | " + " | ".join(c.replace("_", " ") for c in columns) + " |", "|---|" + "---|" * len(columns)]
        lines += [f"| {n} | " + " | ".join(_shown(row.get(c, "")) for c in columns) + " |" for n, row in rows.items()]
        lines.append("")
    return "\n".join(lines)


def _flat(figures: dict[str, Any]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in figures.items():
        if isinstance(value, dict):
            found += [(f"{key}: {k}".replace("_", " "), v) for k, v in value.items()]
        else:
            found.append((key.replace("_", " "), value))
    return found


def _shown(value: Any) -> str:
    return (
        f"{value:,.3g}"
        if isinstance(value, float) and abs(value) < 100
        else f"{value:,.0f}"
        if isinstance(value, int | float)
        else str(value)
    )


if __name__ == "__main__":
    PAGE.write_text(page())
