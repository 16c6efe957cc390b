"""What connectors over keys in files have in common: a cutover is a new key in the place of the old one.

The old values lie sealed in the mark beside the first file (`_files.Marks`) until `drain`, which forgets them: from then on nothing brings
the old key back, and `abort` raises Refused. Where the cutover stands is read from the files: `gated` only while they hold the gate's own
values, so a key that somebody put back shows as `armed`.
"""

from __future__ import annotations

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from tocsin.credentials.port import Changed, Drained, Finding, Gated, Probe, State, TargetCanary, TargetStatus
from tocsin.kernel import clock
from tocsin.kernel.errors import BadInput, Refused
from tocsin.kernel.private import Private

from ._files import Marks, ValueFile, run

PLANT_MAX = 100


def digest(value: str) -> str:
    """Return what tells two keys apart without showing either."""
    return hashlib.sha256(value.encode()).hexdigest()


class KeyConnector(ABC):
    """The port over one or more values in files, replaced in order; the first is the switch."""

    kind = ""

    def __init__(self, name: str, options: Mapping[str, Any], secret: Private[str] | None, files: Sequence[ValueFile], port: str) -> None:
        if secret is None:
            raise BadInput.of("secret", None, "a secret that seals the old key until the drain; any long random text")
        self.name, self._options, self._port, self._files = name, options, port, files
        self._marks = Marks(files[0].path, name, secret, port)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name}: {self._files[0].path})"

    def reach(self) -> Literal["loopback", "world"]:
        """Return `loopback`: the files are on this machine. Where their readers are the files do not say."""
        return "loopback"

    def probe(self) -> Probe:
        """Read the key files and the application's settings. How many sessions a key signs nobody can count: the options may say it."""
        for file in self._files:
            file.get()
        return Probe(kind=self.kind, subjects=int(self._options.get("subjects", 0)), classes=("session",), formats=(), write_rate_per_s=None,
                     drain_eta_s=None, findings=tuple(self._findings()))  # fmt: skip

    def arm(self) -> None:
        """Seal the old values beside the file. Raises Refused for a blocker."""
        values = [file.get() for file in self._files]
        if self._state() != "open":
            return
        blockers = [f for f in self._findings() if f.level == "blocker"]
        if blockers:
            raise Refused("; ".join(f"{f.text}: {f.remedy}" for f in blockers))
        self._marks.put({**self._marks.get(), "old": [self._marks.seal(value) for value in values]})

    def gate(self, epoch: int, *, at: datetime) -> Gated:
        """Put the new values in place and have the application read them. Called again it completes what a crash left out."""
        if self._state() == "open":
            raise Refused("the gate of this connector is not armed: arm it first")
        mark = self._marks.get()
        if "new" not in mark:
            fresh = self._fresh([file.get() for file in self._files])
            mark = {**mark, "new": [self._marks.seal(value) for value in fresh], "digests": [digest(value) for value in fresh],
                    "gated_at": clock.iso(at), "epoch": epoch}  # fmt: skip
            self._marks.put(mark)
        began = time.monotonic()
        for file, sealed, known in zip(self._files, mark["new"], mark["digests"], strict=True):
            if digest(file.get()) != known:
                file.put(self._marks.unseal(sealed))
        self._reload()
        return Gated((time.monotonic() - began) * 1000, self._told(at))

    def drain(self, cursor: str | None, *, limit: int) -> Drained:
        """Forget the old values: nothing brings them back, and nothing is left to revoke one by one."""
        if self._state() not in {"gated", "drained"}:
            raise Refused("draining stands behind the gate: gate this connector first")
        self._marks.put({**self._marks.get(), "old": None})
        return Drained(0, {}, None)

    def abort(self) -> None:
        """Put the old values back. Raises Refused once they are forgotten."""
        mark = self._marks.get()
        if "old" not in mark:
            for file in self._files:
                file.get()
            return
        if mark["old"] is None:
            raise Refused("the old key was forgotten: it does not come back")
        for file, sealed in zip(self._files, mark["old"], strict=True):
            old = self._marks.unseal(sealed)
            if file.get() != old:
                file.put(old)
        if "new" in mark:
            self._reload()
        if "uprooted" in mark:
            self._marks.put({"uprooted": mark["uprooted"]})
        else:
            self._marks.clear()

    def status(self) -> TargetStatus:
        """Compare the files with what the gate put there."""
        state, mark = self._state(), self._marks.get()
        put_back = state == "armed" and "new" in mark
        return TargetStatus(state, "the files do not hold the gate's key: gate again" if put_back else "",
                            clock.parse_iso(mark["gated_at"]) if state in {"gated", "drained"} else None)  # fmt: skip

    def uproot(self, canary: TargetCanary) -> None:
        """Do nothing to the files: a signed cookie or token has no row anywhere. The name is noted, so that it is presented no more."""
        mark = self._marks.get()
        gone = [*mark.get("uprooted", []), canary.account]
        if canary.account not in mark.get("uprooted", []):
            self._marks.put({**mark, "uprooted": gone[-PLANT_MAX * 10 :]})

    def set_password(self, account: str, secret: Private[str], *, format: str) -> None:
        """Raise BadInput: a key signs sessions, it holds no passwords."""
        raise BadInput.of("format", format, "nothing: this connector ends sessions, it holds no passwords")

    def write_rate_limit(self) -> float | None:
        """Return None: no passwords are set here."""
        return None

    def changed_elsewhere(self, since: str | None) -> Changed:
        """Return nobody: no passwords are changed here."""
        return Changed((), since or "none")

    def _state(self) -> State:
        values, mark = [file.get() for file in self._files], self._marks.get()
        if "old" not in mark:
            return "open"
        if "new" not in mark or [digest(value) for value in values] != mark["digests"]:
            return "armed"
        return "drained" if mark["old"] is None else "gated"

    def _reload(self) -> None:
        if self._options.get("reload"):
            run(self._options["reload"], self._port, "the reload command")

    def _told(self, at: datetime) -> str:
        return "the application reads a new key"

    @abstractmethod
    def _findings(self) -> Sequence[Finding]:
        """Return what stands in the way."""

    @abstractmethod
    def _fresh(self, old: Sequence[str]) -> Sequence[str]:
        """Return new values, one for each file."""
