"""Writes of the inventory: loading a data map."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from django.db import transaction

from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel import sql
from tocsin.kernel.errors import BadInput, Fault

from . import policy, queries
from .models import MapVersion
from .reference import categories
from .types import MapInfo


def load_map(paths: Iterable[Path | str], *, at: datetime, by: str) -> MapInfo:
    """Read the data map in these files and folders and make it the current one; return its version.

    Raises BadInput with every error, file and line; warnings do not forbid and are counted in the evidence. Loading the map that is
    current already changes nothing and returns it. One transaction: after a crash the old map is current.
    """
    map_, findings = policy.parse(queries.read_files(paths), categories=categories(), on=at.date())
    errors = [f for f in findings if f.severity == "error"]
    if errors:
        raise BadInput([Fault(field=f"{f.file}: {f.path}", got=f.message, wanted="a data map without errors", line=f.line) for f in errors])
    document = policy.to_document(map_, categories_version=categories().version)
    digest = hashlib.sha256(document.encode()).digest()
    with transaction.atomic():
        # Two loads at once: the later waits for the earlier, then compares with it.
        sql.execute("inventory", "lock_versions")
        current = queries.latest()
        if current is not None and current.digest == digest:
            return current
        version = MapVersion.objects.create(digest=digest, document=document, loaded_at=at, loaded_by=by)
        sql.copy_in("inventory_system", ("map_id", "key", "kind", "zone"), ((version.pk, s.key, s.kind, s.zone) for s in map_.systems))
        sql.copy_in(
            "inventory_store",
            ("map_id", "key", "people", "zone", "vault", "element_mask"),
            ((version.pk, s.key, s.people, s.zone, s.vault, s.element_mask) for s in map_.stores),
        )
        evidence.record(
            EventType.MAP_LOADED,
            at=at,
            actor=by,
            body={
                "map": version.pk,
                "digest": digest.hex(),
                "systems": len(map_.systems),
                "stores": len(map_.stores),
                "warnings": len(findings),
            },
        )
    return MapInfo(id=version.pk, digest=digest, systems=len(map_.systems), stores=len(map_.stores), loaded_at=at, loaded_by=by)
