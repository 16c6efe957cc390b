"""Reads of the notices room: how a mailing stands, what a notice says, what is on the site, and "did you send this?"."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Sum

from tocsin.kernel import clock, sql
from tocsin.kernel.errors import NotFound, Unavailable
from tocsin.mail import queries as mail

from . import casecode, policy
from .models import Batch, Lane, Mailing, Notice, Receipt, SitePublication
from .sending import code_key, quota_now
from .text import gates, readability
from .types import LaneStatus, MailingState, MailingStatus, NoticeInfo, PreviewText, Sent, SiteNotice

RATE_WINDOW_S = 60.0
SHOWN_MAX = 200
YEARS_S = 10 * 365 * 86_400.0  # what ends later ends never


def status(mailing: int, *, at: datetime | None = None) -> MailingStatus:
    """Return how a mailing stands at `at` (now if None). Raises NotFound."""
    now = at or clock.now()
    found = Mailing.objects.filter(pk=mailing).first()
    if found is None:
        raise NotFound(f"no mailing {mailing}")
    rate = _rate(found, now)
    lanes, doubt = [], 0
    held = {x.pk: x for x in Lane.objects.filter(mailing=found, held_until__gt=now)}
    for lane, provider, rate_max, connections, n, waiting, handed, deferred, bounced, letters, doubted, sending in sql.rows(
        "notices", "counts", mailing=mailing
    ):
        doubt += doubted
        lanes.append(
            LaneStatus(
                lane=lane,
                provider=provider,
                rate_per_s_max=rate_max,
                connections=connections,
                recipients=n,
                waiting=waiting,
                handed_over=handed,
                deferred=deferred,
                bounced=bounced,
                letters=letters,
                blocks_sending=sending,
                eta_at=_eta(waiting, held[lane].rate_now if lane in held else rate_max, now)
                if found.state == MailingState.SENDING
                else None,
                held_rate_per_s=held[lane].rate_now if lane in held else None,
                held_until=held[lane].held_until if lane in held else None,
                broken=lane in held and bool(held[lane].memory.get("broken")),
            )
        )
    counts = {
        "waiting": sum(x.waiting for x in lanes),
        "handed_over": sum(x.handed_over for x in lanes),
        "deferred": sum(x.deferred for x in lanes),
        "bounced": sum(x.bounced for x in lanes),
        "letters": sum(x.letters for x in lanes),
    }
    return MailingStatus(
        mailing=mailing,
        notice=found.notice_id,
        incident=found.incident,
        state=MailingState(found.state),
        recipients=found.recipients,
        **counts,
        lost=policy.lost(recipients=found.recipients, **counts),
        in_doubt=doubt,
        merged=found.merged,
        rate_per_s=rate,
        started_at=found.started_at,
        ended_at=found.ended_at,
        eta_at=_end(counts["waiting"], rate, now) if found.state == MailingState.SENDING else found.ended_at,
        deadline_at=found.deadline_at,
        lanes=tuple(lanes),
    )


def latest_status(incident: int) -> MailingStatus:
    """Return how the newest mailing of an incident stands. Raises NotFound if there is none."""
    found = Mailing.objects.filter(incident=incident).exclude(state=MailingState.DISCARDED.value).order_by("-pk").first()
    if found is None:
        raise NotFound(f"no mailing for incident {incident}")
    return status(found.pk)


def incidents_sending() -> list[int]:
    """Return the incidents of which a mailing is being sent now."""
    return list(Mailing.objects.filter(state=MailingState.SENDING.value).values_list("incident", flat=True).distinct().order_by("incident"))


def notices(incident: int) -> list[NoticeInfo]:
    """Return the notices drafted for an incident, newest first; at most SHOWN_MAX."""
    found = Notice.objects.filter(incident=incident).prefetch_related("variants").order_by("-version")[:SHOWN_MAX]
    return [
        NoticeInfo(
            id=x.pk,
            incident=x.incident,
            version=x.version,
            created_at=x.created_at,
            created_by=x.created_by,
            variants={v.key: bytes(v.template_sha256).hex() for v in x.variants.all()},
        )
        for x in found
    ]


def preview(notice: int) -> list[PreviewText]:
    """Return each variant as a made-up customer would read it. Raises NotFound."""
    found = Notice.objects.filter(pk=notice).first()
    if found is None:
        raise NotFound(f"no notice {notice}")
    shown = {"name": "Jordan Sample", "case_code": "ABCDE-FGHJK", "references": "C-0001"}
    texts = []
    for v in found.variants.order_by("pk"):
        text, html = (gates.SLOT.sub(lambda m: shown.get(m.group(1), m.group(0)), part) for part in (v.text, v.html))
        r = readability.measure(text)
        texts.append(PreviewText(variant=v.key, subject=v.subject, text=text, html=html, grade=r.grade, flesch=r.flesch, words=r.words))
    return texts


def site_notice() -> SiteNotice | None:
    """Return the notice that stands on the site now, None if there is none."""
    found = SitePublication.objects.order_by("-pk").first()
    if found is None:
        return None
    return SiteNotice(
        incident=found.incident, html=found.html, text=found.text, sha256=bytes(found.sha256).hex(), published_at=found.published_at
    )


def was_sent(case_code: str) -> Sent | None:
    """Return when we sent the notice that carries this code, None for a code that we did not make. Reads no personal data, and there is
    none.

    A code that verifies stands in a message of ours: nobody else can make one. So it is answered from the block's attempt on, before the
    block's outcome is written down: some read faster than a block ends.
    """
    place = casecode.decode(code_key(), case_code)
    if place is None:
        return None
    found = (
        Batch.objects.filter(pk=place[0], n__gt=place[1])
        .values("attempt", "sent_at", "mailing__started_at", "variant__subject", "lane__provider")
        .first()
    )
    if found is None or found["mailing__started_at"] is None:
        return None
    by_letter = found["lane__provider"] == policy.LETTER_LANE
    if not found["attempt"] and not by_letter:
        return None
    return Sent(sent_at=found["sent_at"] or found["mailing__started_at"], subject=found["variant__subject"], by_letter=by_letter)


def _rate(mailing: Mailing, now: datetime) -> float:
    """Return messages handed over per second: of the last minute while sending, of the whole mailing otherwise."""
    if mailing.started_at is None:
        return 0.0
    since = mailing.started_at
    until = mailing.ended_at or mailing.held_at or now
    if mailing.state == MailingState.SENDING:
        since = max(since, now - timedelta(seconds=RATE_WINDOW_S))
    n = (
        Receipt.objects.filter(mailing=mailing, at__gt=since, at__lte=until + timedelta(seconds=1)).aggregate(n=Sum("handed_over"))["n"]
        or 0
    )
    return round(n / max((until - since).total_seconds(), 0.001), 3)


def _end(waiting: int, rate_per_s: float, now: datetime) -> datetime | None:
    """Return when the whole mailing is out at this rate and under the relay's quota for 24 hours; None if nobody knows."""
    try:
        per_day, left = quota_now()
    except Unavailable:
        return None
    if per_day is None or waiting <= left:
        return _eta(waiting, rate_per_s, now)
    rate = rate_per_s or mail.quota().rate_per_s or 0.0  # while the quota is used up nothing leaves, and that says nothing of the rate
    seconds = mail.finish_s(waiting=waiting, rate_per_s=rate, per_day=per_day, left_of_day=left)
    return now + timedelta(seconds=seconds) if seconds < YEARS_S else None


def _eta(waiting: int, rate_per_s: float, now: datetime) -> datetime | None:
    """Return when so many are sent at this rate; None if nobody knows."""
    if not waiting:
        return now
    seconds = waiting / rate_per_s if rate_per_s > 0 else float("inf")
    return now + timedelta(seconds=seconds) if seconds < YEARS_S else None
