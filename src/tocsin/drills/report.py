"""The one-page report of a drill: the contract's JSON keys, and the same as a table. Counts must close, or the drill has failed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.table import Table

from tocsin.kernel.errors import ensure

from .run import Run


def build(run: Run, *, vault: dict[str, Any]) -> dict[str, Any]:
    """Return the report of a finished run. Raises InvariantError if a count does not close."""
    f = run.figures
    customers, mailing, desk, resets = f("customers"), f("mailing"), f("desk"), f("resets")
    cutover, exposure, sealed, forecast = f("cutover"), f("scope"), f("evidence"), f("forecast")
    mailing = mailing | sealed["mailing"]  # as it stands at the end: failures reported late are in it
    report: dict[str, Any] = {
        **run.about,
        "wall_s": round(run.wall_s, 1),
        "subjects": {k: customers[k] for k in ("read", "accepted", "rejected")},
        "exposure": {k: exposure[k] for k in ("stores_reached", "stores_not_reached", "proved_unreached", "cohorts", "people")},
        "duties": {k: f("duties")[k] for k in ("triggered", "earliest_due_at")},
        "cutover": {k: cutover[k] for k in ("commit_ms", "sealed_ms", "canaries_refused")} | {
            "old_password_logins_before": f("before")["accepted"],
            "old_password_logins_after": f("after")["accepted"],
        },
        "mailing": {k: mailing[k] for k in ("recipients", "handed_over", "lost", "duplicates", "in_doubt", "deferred", "bounced", "letters",
                                            "rate_per_s")},
        "resets": {k: resets[k] for k in ("requested", "completed", "refused", "no_mail", "p99_ms")},
        "support": {k: desk[k] for k in ("received", "urgent", "answered", "bulk_answered", "wrong_answers", "open", "oldest_open_s")},
        "surge": {
            "forecast_calls": forecast["calls"],
            "forecast_contacts": round(forecast["letters"] * run.about["customers"] / forecast["customers"]),
            "actual_contacts": desk["received"],  # how many of the customers write is set by the scenario
            "forecast_max_wait_s": forecast["max_wait_s"],
            "max_wait_s": desk["max_wait_s"],
            "if_phones_were_open": forecast["if_phones_were_open"],
            "forecast_staff_hours": forecast["staff_hours"],
        },
        "evidence": {k: sealed[k] for k in ("entries", "checkpoint_size", "verified", "proved_customer", "proof_bytes")},
        "vault": {"cards": vault["cards"], "released": vault["released"]},
        "steps": [{k: v for k, v in asdict(s).items() if k in {"name", "started_at", "ended_at", "ok"}} for s in run.steps],
    }  # fmt: skip
    check(report)
    return report


def check(report: dict[str, Any]) -> None:
    """Raise InvariantError unless every count closes."""
    s, m, d = report["subjects"], report["mailing"], report["support"]
    ensure(s["read"] == s["accepted"] + s["rejected"], f"subjects do not close: {s}")
    ensure(
        m["recipients"] == m["handed_over"] + m["deferred"] + m["bounced"] + m["letters"] and m["lost"] == 0, f"mailing does not close: {m}"
    )
    ensure(m["duplicates"] <= m["in_doubt"], f"repeats that were not named: {m}")
    ensure(d["received"] == d["answered"] + d["open"], f"support does not close: {d}")
    ensure(report["cutover"]["old_password_logins_after"] == 0, "an old password still worked")
    ensure(report["vault"]["released"] == 0, "the vault released a card number")
    ensure(report["evidence"]["verified"] is True, "the log does not verify")


def page(report: dict[str, Any]) -> Table:
    """Return the report for people."""
    table = Table(
        title=f"{report['scenario']}: {report['customers']:,} customers, {report['wall_s']:.0f} s", title_justify="left", show_header=False
    )
    table.add_column(style="bold")
    table.add_column()
    for name, figures in report.items():
        if isinstance(figures, dict):
            table.add_row(name, ", ".join(f"{k.replace('_', ' ')} [bold]{_shown(v)}[/]" for k, v in figures.items()))
    return table


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, dict):
        return "/".join(f"{k} {_shown(v)}" for k, v in value.items())
    if isinstance(value, list):
        return "/".join(map(str, value)) or "none"
    return f"{value:,}"
