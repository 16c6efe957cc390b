"""The next channel for whom a mail did not reach: the next known e-mail address, then a letter, then the substitute notice.

Each step is set-based, moves a lot in one transaction with its entries in the log, and is safe to repeat. A recipient stands in exactly one
count all the time: with a further e-mail address in `deferred` (the mail goes out from the same place of the same block, in the words that
were signed), with a letter in `letters`, else in `bounced`; whom no channel reaches is a part of `bounced`, listed in `notices_substitute`.

Substitute notice: for these people the notice on the company's site stands ("conspicuous posting"). That it does is recorded for each of
them, with the hash of what stood there; while nothing stands there, they are shown as unreachable and not covered.
Source: Cal. Civ. Code s1798.82(j)(3), 45 CFR 164.404(d)(2), GDPR Art. 34(3)(c).
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType, SubjectEvent
from tocsin.kernel import sql
from tocsin.subjects import queries as subjects

from . import policy
from .models import Batch, Mailing, SitePublication
from .sending import ACTOR, again
from .types import MailingState

ROWS = 1000  # people moved in one transaction


def move_on(mailing: int, *, at: datetime) -> dict[str, int]:
    """Bring everybody who bounced to the next channel; return how many went to which. In lots, safe to repeat."""
    return {
        "next_address": next_addresses(mailing, at=at),
        "letters": queue_letters(mailing, at=at),
        "unreachable": substitute(mailing, at=at),
    }


def next_addresses(mailing: int, *, at: datetime) -> int:
    """Let everybody who bounced and has a further e-mail address be written to there; return how many. An ended mailing goes on for them.

    People whose block is being sent at the moment wait for the next call.
    """
    incident, moved = _incident(mailing), 0
    while True:
        with transaction.atomic():
            lot = sql.rows("notices", "next_addresses", mailing=mailing, rows=ROWS, at=at, rank_max=policy.RANK_MAX)
            salts = subjects.salts([subject for _, _, subject, _ in lot])
            events = (
                SubjectEvent(subject, salts[subject], at, {"mailing": mailing, "block": block, "place": place, "rank": rank})
                for block, place, subject, rank in lot
                if subject in salts
            )
            evidence.record_many(EventType.NEXT_ADDRESS_TAKEN, events, actor=ACTOR, incident=incident)
            if lot:
                reopen(mailing, at=at, why="the next known address")
                lanes = Batch.objects.filter(pk__in={block for block, _, _, _ in lot}).values_list("lane_id", flat=True).distinct()
                for lane in sorted(lanes):
                    again(mailing, lane)
        moved += len(lot)
        if len(lot) < ROWS:
            return moved


def queue_letters(mailing: int, *, at: datetime) -> int:
    """Queue a letter for everybody who bounced, has no further e-mail address and has a postal one; return how many."""
    incident, queued = _incident(mailing), 0
    while True:
        with transaction.atomic():
            lot = [s for (s,) in sql.rows("notices", "queue_letters", mailing=mailing, rows=ROWS, at=at, rank_max=policy.RANK_MAX)]
            salts = subjects.salts(lot)
            events = (SubjectEvent(s, salts[s], at, {"mailing": mailing}) for s in lot if s in salts)
            evidence.record_many(EventType.LETTER_QUEUED, events, actor=ACTOR, incident=incident)
        queued += len(lot)
        if len(lot) < ROWS:
            return queued


def substitute(mailing: int, *, at: datetime) -> int:
    """List whom no channel reaches, and record for each that the notice on the site stands for them, if one does; return how many are new."""
    incident, found = _incident(mailing), 0
    sql.execute("notices", "substitutes_end", mailing=mailing, at=at)
    while True:
        n = len(sql.rows("notices", "substitutes_find", mailing=mailing, rows=ROWS, at=at, rank_max=policy.RANK_MAX))
        found += n
        if n < ROWS:
            break
    shown = SitePublication.objects.filter(incident=incident).order_by("-pk").first()
    newest = SitePublication.objects.order_by("-pk").values_list("pk", flat=True).first()
    if shown is None or shown.pk != newest:  # the notice of another incident stands there now
        return found
    while True:
        with transaction.atomic():
            lot = sql.rows("notices", "substitutes_cover", mailing=mailing, rows=ROWS, at=at, sha256=bytes(shown.sha256))
            salts = subjects.salts([account for *_, account in lot])
            body = {"mailing": mailing, "site_notice": shown.pk, "sha256": bytes(shown.sha256).hex()}
            events = (
                SubjectEvent(
                    account,
                    salts[account],
                    at,
                    {**body, "block": block, "place": place, "why": why, **({"with": recipient} if account != recipient else {})},
                )
                for block, place, why, recipient, account in lot
                if account in salts
            )
            evidence.record_many(EventType.SUBSTITUTE_NOTICE, events, actor=ACTOR, incident=incident)
        if len({(block, place) for block, place, *_ in lot}) < ROWS:
            return found


def reopen(mailing: int, *, at: datetime, why: str) -> bool:
    """Let an ended mailing go on for recipients who wait again, under the signatures it has; return whether it was ended. Joins the
    caller's transaction.
    """
    ended = Mailing.objects.filter(pk=mailing, state=MailingState.ENDED.value)
    if not ended.update(state=MailingState.SENDING.value, ended_at=None):
        return False
    evidence.record(
        EventType.MAILING_STARTED, at=at, actor=ACTOR, incident=_incident(mailing), body={"mailing": mailing, "reopened": True, "why": why}
    )
    return True


def _incident(mailing: int) -> int:
    return int(Mailing.objects.values_list("incident", flat=True).get(pk=mailing))
