"""Was I affected? Answered to the mailbox alone, never on a page that anybody can call up.

The public process knows no exposure. The worker looks it up when it makes the mail and puts element codes under the SHA-256 of the mail's
token, so that the page needs the token and nothing else. Looking uses nothing up; the link ends with its life, or with the next question.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction

from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType
from tocsin.incidents import queries as incidents
from tocsin.inventory.types import codes_of
from tocsin.kernel import clock, config, sql
from tocsin.kernel.errors import BadInput, Fault, NotFound
from tocsin.kernel.private import Private
from tocsin.subjects import queries as subjects

from . import letters, policy, post
from .models import Account, AffectedAnswer
from .places import Source
from .room import limits
from .sign_in import digest, login_of
from .types import AffectedIncident, AffectedInfo

ANSWERS_KEPT = timedelta(days=1)
INCIDENTS_SHOWN_MAX = 20


def ask_affected(email: str, *, at: datetime, source: Source | None = None) -> None:
    """Ask whether one was affected. Does the same work for every address and says nothing; raises BadInput for what is no address at all.

    When the `source` asks much the mail goes later; it is never refused.
    """
    if not policy.looks_like_address(email):
        raise BadInput(Fault("email", f"{len(email)} characters", "an e-mail address like name@example.org"))
    address, network = limits.digests(source) if source else (None, None)
    sql.rows("credentials", "ask_affected", lookup=login_of(email), request=uuid4(), at=at, address=address, network=network)


def send_affected(lookup: bytes, *, request: UUID, token: Private[str], at: datetime, population: str = "customers") -> bool:
    """Mail the answer to whoever has this login; tell whether one was sent. One transaction; safe to repeat.

    Not sent: no such account, RESETS_PER_HOUR_MAX reached, this request already served.
    """
    with transaction.atomic():
        account = (
            Account.objects.select_for_update(no_key=True, of=("self",))
            .filter(population__name=population, login_hmac=lookup, subject__isnull=False)
            .first()
        )
        if account is None or account.subject is None or AffectedAnswer.objects.filter(request=request).exists():
            return False
        mine = AffectedAnswer.objects.filter(account=account)
        mine.filter(created_at__lt=at - ANSWERS_KEPT).delete()
        people = subjects.contactables([account.subject])
        if not people or not policy.may_send_reset(list(mine.values_list("created_at", flat=True)), at=at):
            return False
        person, answer, current = people[0], _answer(account.subject), config.current()
        mine.filter(replaced_at=None).update(replaced_at=at)
        words = {"brand": current.company.brand, "help_address": current.mail.help_address, "language": letters.language_of(person.locale)}
        if answer["incidents"]:
            link = f"{current.web.public_url.rstrip('/')}/affected/t/{token.reveal()}"
            letter = letters.affected_letter(link=link, minutes=current.credentials.link_minutes, **words)
        else:
            letter = letters.unaffected_letter(known=answer["known"], **words)
        outbound = post.queue(letter, purpose="affected", to=person.address, at=at, key=f"affected:{request}", then=post.STARTED)
        AffectedAnswer.objects.create(
            token_sha256=digest(token.reveal()),
            request=request,
            account=account,
            answer=answer,
            created_at=at,
            expires_at=at + post.upper_bound(),
            outbound=outbound,
        )
        evidence.record_subject(
            EventType.AFFECTED_ANSWERED,
            at=at,
            actor="worker",
            incident=None,
            subject=person.subject,
            salt=person.salt,
            body={"known": answer["known"], "incidents": len(answer["incidents"])},
        )
        return True


def open_affected(token: str, *, at: datetime) -> AffectedInfo | None:
    """Return the answer that a mailed token leads to, None for any other. Looking never uses it up: mail scanners open links too."""
    found = sql.rows("credentials", "live_affected", token=digest(token), at=at)
    if not found:
        return None
    answer, answered_at = json.loads(found[0][0]), found[0][1]  # Django leaves the JSON of a raw query to its reader
    return AffectedInfo(
        known=answer["known"],
        incidents=tuple(
            AffectedIncident(
                discovered_at=datetime.fromisoformat(i["discovered_at"]), readable=tuple(i["readable"]), scrambled=tuple(i["scrambled"])
            )
            for i in answer["incidents"]
        ),
        answered_at=answered_at,
    )


def _answer(subject: int) -> dict[str, Any]:
    """Return what the newest exposure of each incident says of somebody: kinds of data, never the data."""
    known, found = False, []
    for incident in incidents.incidents()[:INCIDENTS_SHOWN_MAX]:
        try:
            exposure = incidents.exposure_of(incident.id)
        except NotFound:
            continue
        known = True
        for one, cohort in incidents.exposed_subjects(exposure.id, after=subject - 1, limit=1):
            if one == subject:
                mine = next(c for c in exposure.cohorts if c.id == cohort)
                found.append(
                    {
                        "discovered_at": clock.iso(incident.discovered_at),
                        "readable": list(codes_of(mine.clear)),
                        "scrambled": list(codes_of(mine.sealed)),
                    }
                )
    return {"known": known, "incidents": found}
