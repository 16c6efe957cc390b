"""Keys as files: `HOME/keys/NAME.key`, mode 0600 from the first byte. For one machine; a cluster names another adapter."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from tocsin.kernel.errors import NotFound
from tocsin.kernel.private import Private


class FileKeys:
    """A folder of key files."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "keys"

    def get(self, name: str) -> Private[bytes]:
        """Return the content of the key file."""
        try:
            return Private((self.folder / f"{name}.key").read_bytes())
        except FileNotFoundError:
            raise NotFound(f"no key {name!r} in {self.folder}; `tocsin up` and `tocsin demo` make the keys of a new estate") from None

    def put_new(self, name: str, value: Private[bytes]) -> None:
        """Write the key beside its place, then link it: a second writer or a crash leaves either none or a whole key."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        tmp = self.folder / f".{name}.{secrets.token_hex(4)}"
        with os.fdopen(os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as f:
            f.write(value.reveal())
            f.flush()
            os.fsync(f.fileno())
        try:
            os.link(tmp, self.folder / f"{name}.key")
        except FileExistsError:
            return
        finally:
            tmp.unlink()
