"""One run of a drill: its steps in order, each timed, shown, and written down so that an interrupted run can go on.

A step is a function that calls public actions and returns its figures. HOME/drill/run.json holds the figures of every finished step, and
is replaced after each; a run that is resumed skips what it finds there. A step that was cut off is done again from its start: what must
be the same the second time (an instant, a choice) it asks of `keep`, and what may exist already (an incident, a cutover, a mailing) it
looks for first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tocsin.kernel import clock

QUIET_LINE_S = 10.0  # how often a long step says where it is when nobody watches a terminal
REFRESH_PER_S = 4

Figures = dict[str, Any]


@dataclass
class Step:
    """One step: when it ran, whether it went well, what it found."""

    name: str
    title: str
    started_at: str
    ended_at: str = ""
    ok: bool = False
    figures: Figures = field(default_factory=dict)


class Run:
    """The course of one drill. `home` is the estate's; `people` the terminal to show progress on."""

    def __init__(self, home: Path, *, about: Figures, resume: bool, people: Console) -> None:
        self.home, self.about, self.people = home, about, people
        self.folder = home / "drill"
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.began = clock.monotonic()
        self.steps: list[Step] = []
        self.kept: Figures = {}
        self.earlier_s = 0.0
        self._done, self._total, self._said = 0, 0, 0.0
        self._live: Live | None = None
        if resume:
            self._load()

    # -- steps ----------------------------------------------------------------------------------------------------------

    # Figures that are shown in the line of a step are its plain numbers and texts; the others are for the report.
    def step(self, name: str, title: str, action: Callable[[], Figures]) -> Figures:
        """Do a step, unless an earlier run finished it; return its figures. What the step raises rises, with the step marked as failed."""
        for finished in self.steps:
            if finished.name == name and finished.ok:
                return finished.figures
        self.steps = [s for s in self.steps if s.name != name]
        step = Step(name, title, clock.iso(clock.now()))
        self.steps.append(step)
        self._done = self._total = 0
        self._say(f"{title} …")
        try:
            step.figures = action()
            step.ok = True
        finally:
            step.ended_at = clock.iso(clock.now())
            self._save()
            self._say(f"{title}: {summary(step) if step.ok else 'failed'}")
        return step.figures

    def figures(self, name: str) -> Figures:
        """Return what a finished step found."""
        return next(s.figures for s in self.steps if s.name == name)

    def keep(self, name: str, make: Callable[[], Any]) -> Any:
        """Return a JSON value that stays the same however often the run is resumed: made once, on disk before it is used."""
        if name not in self.kept:
            self.kept[name] = make()
            self._save()
        return self.kept[name]

    def progress(self, done: int, total: int = 0) -> None:
        """Say how far the present step has come."""
        self._done, self._total = done, total or self._total
        if self._live:
            self._live.update(self._picture())
        elif clock.monotonic() - self._said >= QUIET_LINE_S:
            self._say(f"  {self.steps[-1].title}: {done:,}" + (f" of {self._total:,}" if self._total else ""))

    @property
    def wall_s(self) -> float:
        """Return how long the run has taken, time before an interruption included."""
        return self.earlier_s + clock.monotonic() - self.began

    # -- what people see ------------------------------------------------------------------------------------------------

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the steps as a live table on a terminal, line by line elsewhere."""
        if not self.people.is_terminal:
            yield
            return
        with Live(self._picture(), console=self.people, refresh_per_second=REFRESH_PER_S) as self._live:
            yield
        self._live = None

    def _say(self, line: str) -> None:
        self._said = clock.monotonic()
        if self._live:
            self._live.update(self._picture())
        else:
            self.people.print(f"[{self.wall_s:6.1f} s] {line}", markup=False)

    def _picture(self) -> Group:
        table = Table.grid(padding=(0, 2))
        for column in ({"width": 1}, {"ratio": 2}, {"ratio": 4}, {"justify": "right", "width": 8}):
            table.add_column(**column)
        for step in self.steps:
            if step.ended_at:
                mark = Text("✓", style="green") if step.ok else Text("✗", style="bold red")
                table.add_row(mark, step.title, Text(summary(step), style="dim"), f"{_seconds(step):.1f} s")
            else:
                bar = ProgressBar(total=self._total, completed=self._done, width=36) if self._total else Text("…")
                table.add_row(Text("▸", style="cyan"), Text(step.title, style="bold"), bar, "")
        return Group(Text(f"{self.about['scenario']}: {self.about['customers']:,} customers", style="bold"), table)

    # -- what outlives an interruption ----------------------------------------------------------------------------------

    def _save(self) -> None:
        text = json.dumps(
            {"about": self.about, "wall_s": self.wall_s, "kept": self.kept, "steps": [asdict(s) for s in self.steps]}, default=str
        )
        tmp = self.folder / "run.json.tmp"
        tmp.write_text(text)
        tmp.replace(self.folder / "run.json")

    def _load(self) -> None:
        try:
            saved = json.loads((self.folder / "run.json").read_text())
        except FileNotFoundError:
            return
        self.about = saved["about"]
        self.earlier_s, self.kept = saved["wall_s"], saved["kept"]
        self.steps = [Step(**s) for s in saved["steps"] if s["ok"]]


def summary(step: Step) -> str:
    """Return a step's plain figures in one line."""
    plain = {k: v for k, v in step.figures.items() if isinstance(v, int | float | str) and not isinstance(v, bool)}
    return ", ".join(
        f"{k.replace('_', ' ')} {v:,.1f}" if isinstance(v, float) else f"{k.replace('_', ' ')} {v:,}" if isinstance(v, int) else f"{k} {v}"
        for k, v in list(plain.items())[:6]
    )


def _seconds(step: Step) -> float:
    return (clock.parse_iso(step.ended_at) - clock.parse_iso(step.started_at)).total_seconds()
