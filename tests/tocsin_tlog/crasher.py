"""A writer that is killed at its k-th system call; run as `python -m tests.tocsin_tlog.crasher FOLDER K`, K = 0 to run to the end.

Appends the test entries in uneven batches and publishes each. On standard output: `acked SIZE` after every publication. In FOLDER.synced:
the length every file had at its last fsync, for the power-cut test. The process kills itself with SIGKILL, so nothing is tidied up.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.tocsin_tlog.parts import AT_S, entries, open_log

BATCHES = (3, 300, 1, 256, 40)


def main(folder: Path, k: int) -> None:
    calls = 0
    synced = (folder.parent / (folder.name + ".synced")).open("a", buffering=1)

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == k:
                os.kill(os.getpid(), signal.SIGKILL)
            if real is real_fsync:
                name = Path(f"/proc/self/fd/{args[0]}").readlink()
                size = os.fstat(args[0]).st_size
                real(*args)
                synced.write(f"{size} {name}\n")
                return None
            if real is real_pwrite and calls % 3 == 0 and len(args[1]) > 1:
                return real(args[0], args[1][: len(args[1]) // 2], args[2])  # a short write is legal
            return real(*args, **kwargs)

        return call

    real_fsync, real_pwrite = os.fsync, os.pwrite
    for name in ("fsync", "pwrite", "write", "ftruncate", "rename"):
        setattr(os, name, counted(getattr(os, name)))
    with open_log(folder) as log:
        for n in BATCHES:
            log.append(entries(log.size, log.size + n))
            log.publish(at_s=AT_S)
            sys.stdout.write(f"acked {log.size}\n")
            sys.stdout.flush()
    sys.stdout.write(f"calls {calls}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
