"""Run the processes of an estate as children: start in order, restart what dies, stop in reverse, leave nothing behind.

Every child has a session of its own, so that Ctrl-C reaches us alone, and is tied to us, so that it dies even if we are killed with
SIGKILL. Children are started from the main thread only: the kernel ties them to the thread that forks. The database is ours too
(unless TOCSIN_DATABASE_URL names a server) and ends last.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from tocsin.kernel import clock
from tocsin.kernel.errors import Unavailable
from tocsin.kernel.localpg import guard, tied

STOP_S_MAX = 0.7  # nothing a child does in its last second needs more: what was acknowledged is durable, what was not is repeated
RESTARTS_MAX = 5  # within RESTART_WINDOW_S; a child that keeps dying ends the estate with a message, not with a busy loop
RESTART_WINDOW_S = 60.0
POLL_S = 0.1


@dataclass
class Child:
    """One supervised process: what to run, with which environment, how to end it, and whether we wait for its end."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    death_signal: int = signal.SIGKILL  # what the kernel sends it when we are killed; servers with workers of their own need SIGTERM
    foreground: bool = False
    pass_output: bool = False
    proc: subprocess.Popen[bytes] | None = None
    starts: list[float] = field(default_factory=list)


class Supervisor:
    """Owns the children of one estate."""

    def __init__(self, logs: Path, *, pid_file: str = "processes.json", stop_s_max: float = STOP_S_MAX) -> None:
        self.logs, self.stop_s_max = logs, stop_s_max
        self.children: list[Child] = []
        self.stopping = False
        self._wake = threading.Event()
        self.pid_file = logs.parent / pid_file

    def start(self, child: Child) -> None:
        """Start a child; its output goes to HOME/logs/NAME.log unless it speaks to our terminal."""
        self.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        if child not in self.children:
            self.children.append(child)
        child.starts.append(clock.monotonic())
        output = None if child.pass_output else (self.logs / f"{child.name}.log").open("ab")
        try:
            child.proc = subprocess.Popen(
                child.command,
                env=dict(child.env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                **tied(child.death_signal),
            )
        finally:
            if output:
                output.close()
        guard(child.proc, child.death_signal, signal.SIGKILL)
        self._note()

    def run(self) -> int:
        """Watch over the children until a signal or the end of the foreground child; return the exit code.

        The foreground child is taken off the list when it ends, so that `run` can be called again for the others.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        while not self.stopping:
            for child in list(self.children):
                code = child.proc.poll() if child.proc else None
                if code is None:
                    continue
                if child.foreground:
                    self.children.remove(child)
                    return code if code >= 0 else 128 - code
                self._restart(child, code)
            self._wake.wait(POLL_S)
        return 130

    def _restart(self, child: Child, code: int) -> None:
        now = clock.monotonic()
        child.starts = [t for t in child.starts if now - t < RESTART_WINDOW_S]
        if len(child.starts) > RESTARTS_MAX:
            raise Unavailable(
                child.name, f"ended {len(child.starts)} times within {RESTART_WINDOW_S:.0f} s; see {self.logs / child.name}.log"
            )
        sys.stderr.write(f"{child.name} ended with {code}; starting it again\n")
        self.start(child)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.stopping = True
        self._wake.set()

    def stop(self) -> None:
        """End the children in reverse order: first politely, then with SIGKILL after `stop_s_max`. Safe to call twice."""
        alive = [c for c in reversed(self.children) if c.proc and c.proc.poll() is None]
        for child in alive:
            if child.proc:
                child.proc.send_signal(signal.SIGTERM)
        end = clock.monotonic() + self.stop_s_max
        for child in alive:
            if child.proc is None:
                continue
            try:
                child.proc.wait(max(0.05, end - clock.monotonic()))
            except subprocess.TimeoutExpired:
                child.proc.kill()
                child.proc.wait()
        self.pid_file.unlink(missing_ok=True)

    def _note(self) -> None:
        """Write which process has which number, for `doctor` and for those who want to pull a plug."""
        text = json.dumps({c.name: c.proc.pid for c in self.children if c.proc} | {"supervisor": os.getpid()})
        tmp = self.pid_file.with_suffix(".tmp")
        tmp.write_text(text)
        tmp.rename(self.pid_file)
