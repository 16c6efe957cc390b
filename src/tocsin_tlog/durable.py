"""File writes that survive a power cut.

Replacing a file: write `NAME.new` in full, fsync it, rename it over NAME, fsync the folder. A reader sees the old bytes or the new ones,
never a mixture; after the call returns a power cut keeps the new ones. A `NAME.new` left by a crash is overwritten by the next write.

Source: POSIX rename(2), fsync(2); the folder's fsync is what makes the rename itself durable on ext4 and xfs.
"""

from __future__ import annotations

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make the names in a folder (creations, renames) durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def replace(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Give `path` the content `data`, atomically and durably. One writer per path at a time."""
    new = path.with_name(path.name + ".new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)
    new.rename(path)
    sync_folder(path.parent)
