"""Reads of the inventory: the current map, what hosts reach in it, and what a map's files have wrong."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

from django.db.models import Count

from tocsin.kernel.errors import BadInput, Fault, NotFound, ensure

from . import policy
from .models import MapVersion
from .reference import categories
from .types import DataMap, Finding, MapInfo, ReachReport

FILES_MAX = 5_000
FILE_BYTES_MAX = 64 * 1024 * 1024
SUFFIXES = (".yaml", ".yml")


def current_map() -> DataMap:
    """Return the current data map. Raises NotFound if none was loaded."""
    version = MapVersion.objects.order_by("-pk").values_list("pk", flat=True).first()
    if version is None:
        raise NotFound("no data map was loaded: tocsin inventory load PATH")
    return _map(version)


def map_of(digest: bytes) -> DataMap:
    """Return the map with this digest, current or not. Raises NotFound."""
    version = MapVersion.objects.filter(digest=digest).order_by("-pk").values_list("pk", flat=True).first()
    if version is None:
        raise NotFound(f"no data map with digest {digest.hex()}")
    return _map(version)


def reach(hosts: Sequence[str], *, stolen: Sequence[str] = (), digest: bytes | None = None) -> ReachReport:
    """Return what an intruder on these hosts, holding these stolen roles and keys, reaches in the current map, or in that of a digest.

    Raises NotFound naming every host that the map does not know, or if there is no such map.
    """
    try:
        return policy.reach(current_map() if digest is None else map_of(digest), hosts, stolen=stolen)
    except KeyError as e:
        raise NotFound(f"the data map has no system {e.args[0]}") from None


def lint(paths: Iterable[Path | str], *, on: date) -> list[Finding]:
    """Return everything there is to say about a data map that is not loaded yet, errors first. `on` is today."""
    return policy.parse(read_files(paths), categories=categories(), on=on)[1]


def latest() -> MapInfo | None:
    """Return the current version, None if no map was loaded."""
    version = (
        MapVersion.objects.annotate(n_systems=Count("systems", distinct=True), n_stores=Count("stores", distinct=True))
        .order_by("-pk")
        .first()
    )
    if version is None:
        return None
    return MapInfo(
        id=version.pk,
        digest=bytes(version.digest),
        systems=version.n_systems,
        stores=version.n_stores,
        loaded_at=version.loaded_at,
        loaded_by=version.loaded_by,
    )


def read_files(paths: Iterable[Path | str]) -> list[tuple[str, str]]:
    """Return (name, text) of the files, and of every YAML file under the folders, in the order of their names.

    Raises BadInput for paths that are missing, too large, not UTF-8, or not YAML files, all at once.
    """
    files: list[Path] = []
    faults: list[Fault] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file())
            files += inside
            if not inside:
                faults.append(Fault(str(path), "a folder without YAML files", "a data map"))
        elif path.is_file():
            files.append(path)
        else:
            faults.append(Fault(str(path), "nothing there", "a file or folder"))
    if len(files) > FILES_MAX:
        faults.append(Fault("paths", f"{len(files)} files", f"at most {FILES_MAX}"))
        files = []
    texts = []
    for file in files:
        if file.stat().st_size > FILE_BYTES_MAX:
            faults.append(Fault(str(file), f"{file.stat().st_size} bytes", f"at most {FILE_BYTES_MAX}"))
            continue
        try:
            texts.append((str(file), file.read_text(encoding="utf-8")))
        except UnicodeDecodeError as e:
            faults.append(Fault(str(file), f"a byte that is not UTF-8 at {e.start}", "UTF-8 text"))
    if faults:
        raise BadInput(faults)
    return texts


@functools.lru_cache(maxsize=4)
def _map(version: int) -> DataMap:
    """Return a version's map. Versions never change, so a process may keep a few."""
    row = MapVersion.objects.get(pk=version)
    ensure(hashlib.sha256(row.document.encode()).digest() == bytes(row.digest), f"data map {version} does not have its digest")
    return policy.from_document(row.document, digest=bytes(row.digest))
