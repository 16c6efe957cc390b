"""Asking the process that serves the vault, over its private command socket.

One connection per command: a JSON line {"op", ...} with the open files attached to its first byte (SCM_RIGHTS), answered by JSON lines:
any number of {"progress": {...}}, then {"result": {...}} or {"error": {...}}. Handing over open files lets `import` read a file that
only the caller may read, while the numbers in it are seen by the vault process alone.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .errors import Busy, from_json

FILES_MAX = 3
LINE_BYTES_MAX = 65_536


def ask(path: Path, request: dict[str, Any], *, files: Sequence[int] = (), progress: Callable[[dict[str, Any]], None] = lambda _: None,
        ) -> dict[str, Any] | None:
    """Return the answer of the serving process, None when nobody serves. Raises what that process raised; Busy when it died meanwhile."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        try:
            s.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        socket.send_fds(s, [json.dumps(request).encode() + b"\n"], list(files))
        with s.makefile("r", encoding="utf-8") as lines:
            for line in lines:
                said = json.loads(line)
                if "progress" in said:
                    progress(said["progress"])
                elif "error" in said:
                    raise from_json(said["error"])
                else:
                    return dict(said["result"])
    raise Busy("the serving vault ended before it answered; ask again")
