"""Read: a cutover from its arming to its seal, and the epochs it moved, as the console shows them."""

from __future__ import annotations

from django.db.models import Q

from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel import sql

from . import cutover as cutovers
from .models import Cutover, CutoverAck, Epoch
from .types import CutoverOverview, EpochLine, NodeSeal

OVERVIEWS_MAX = 20


def overviews(incident: int) -> list[CutoverOverview]:
    """Return the cutovers of an incident, newest first, at most OVERVIEWS_MAX; with them one of no incident that is armed or not yet sealed."""
    found = Cutover.objects.select_related("population").filter(Q(incident=incident) | Q(incident=None, state__in=["armed", "committed"]))
    sealed = {e.body["cutover"]: e.body for e in evidence.activity(types=[EventType.CUTOVER_SEALED], incident=incident, newest_first=True)}
    return [_overview(row, sealed.get(row.pk)) for row in found.order_by("-pk")[:OVERVIEWS_MAX]]


def epoch_lines(population: str = "customers") -> list[EpochLine]:
    """Return the epochs of each cohort and class, cohorts in order, classes as cutovers name them."""
    rows = Epoch.objects.filter(population__name=population).order_by("cohort", "cred_class")
    return [EpochLine(e.cohort, e.cred_class, e.epoch, e.highest, e.state, e.not_before) for e in rows]


def _overview(row: Cutover, sealed: dict[str, object] | None) -> CutoverOverview:
    return CutoverOverview(
        info=cutovers.info(row),
        committed_at=row.committed_at,
        sealed_at=row.sealed_at,
        aborted_at=row.aborted_at,
        erasing_at=row.erasing_at,
        canaries_tried=row.canaries_tried,
        canaries_refused=row.canaries_refused,
        commit_ms=_ms(sealed, "commit_us"),
        sealed_ms=_ms(sealed, "sealed_us"),
        nodes=_seals(sealed) if sealed else _so_far(row) if row.state == "committed" else (),
    )


def _ms(sealed: dict[str, object] | None, name: str) -> float | None:
    value = (sealed or {}).get(name)
    return value / 1000 if isinstance(value, int) else None


def _seals(sealed: dict[str, object]) -> tuple[NodeSeal, ...]:
    """Return how each node was sealed, as the log has it."""
    after = sealed.get("after_us")
    known = after if isinstance(after, dict) else {}
    names = {True: sealed.get("acked"), False: sealed.get("lapsed")}
    return tuple(
        NodeSeal(node=str(n), acked=acked, after_ms=known[n] / 1000 if acked and isinstance(known.get(n), int) else None)
        for acked, nodes in names.items()
        for n in (nodes if isinstance(nodes, list) else [])
    )


def _so_far(row: Cutover) -> tuple[NodeSeal, ...]:
    """Return who has acknowledged a commit that is not sealed yet, and who has still to."""
    acked = dict(CutoverAck.objects.filter(cutover=row).order_by("seen_at").values_list("node", "seen_at"))
    waiting = [n for (n,) in sql.rows("credentials", "nodes_holding") if n not in acked]
    seals = [NodeSeal(node=n, acked=True, after_ms=None) for n in acked]
    return (*seals, *(NodeSeal(node=n, acked=False, after_ms=None) for n in waiting))
