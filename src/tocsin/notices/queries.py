"""Reads of the notices room: how a mailing stands, what a notice says, what is on the site, and "did you send this?"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Sum

from tocsin.kernel import clock, sql
from tocsin.kernel.errors import NotFound, Unavailable
from tocsin.mail import queries as mail
from tocsin.mail.types import ReceiverNow
from tocsin.subjects import queries as subjects

from . import alerts, casecode, forecast, order, policy, rehearsal
from .editing import source, tried
from .models import Batch, BitCount, Bundle, Lane, Letter, Mailing, Notice, Receipt, RecipientException, SitePublication
from .rehearsal import preview_cohort, start_counts, tests
from .reviews import states as languages
from .sending import code_key, quota_now
from .site import outdated, posting
from .text.elements import words_of
from .types import BundleInfo, Doubted, LaneStatus, MailingState, MailingStatus, NoticeInfo, PreviewText, ReplyClass, Sent, SiteNotice

__all__ = [
    "in_doubt",
    "incidents_sending",
    "languages",
    "latest_status",
    "letter_bundles",
    "letters_by_reason",
    "letters_waiting",
    "notices",
    "outdated",
    "posting",
    "preview",
    "preview_cohort",
    "released",
    "reply_classes",
    "site_notice",
    "source",
    "start_counts",
    "status",
    "tests",
    "tried",
    "was_sent",
    "words_of",
]

RATE_WINDOW_S = 60.0
SHOWN_MAX = 200
SECOND = timedelta(seconds=1)


def status(mailing: int, *, at: datetime | None = None) -> MailingStatus:
    """Return how a mailing stands at `at` (now if None). Raises NotFound."""
    found = Mailing.objects.filter(pk=mailing).first()
    if found is None:
        raise NotFound(f"no mailing {mailing}")
    return _status(found, at or clock.now())


def _status(found: Mailing, now: datetime) -> MailingStatus:
    rate = _rate(found, now)
    lanes, doubt, end = _lanes(found, rate, now)
    counts: dict[str, Any] = {
        what: sum(getattr(x, what) for x in lanes) for what in ("waiting", "handed_over", "deferred", "bounced", "letters")
    }
    made = MailingStatus(
        mailing=found.pk,
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
        eta_at=end,
        deadline_at=found.deadline_at,
        lanes=tuple(lanes),
        late_until=found.late_until,
        locked=order.locked_people(found),
        late=_late(found, end) and bool(counts["waiting"]),
        **_beside(found.pk),
    )
    return replace(made, alerts=alerts.of(made))


def _lanes(found: Mailing, rate: float, now: datetime) -> tuple[list[LaneStatus], int, datetime | None]:
    """Return the lanes of a mailing, how many recipients are in doubt, and when it ends."""
    held = {x.pk: x for x in Lane.objects.filter(mailing=found, held_until__gt=now)}
    rows = sql.rows("notices", "counts", mailing=found.pk)
    own = dict(sql.rows("notices", "rates", mailing=found.pk, since=now - timedelta(seconds=RATE_WINDOW_S), until=now + SECOND))
    sending = found.state == MailingState.SENDING
    receivers = mail.receivers_now([row[1] for row in rows], at=now) if sending else {}
    ends, end = _ends(rows, held, own, receivers, rate, now) if sending else ([None] * len(rows), found.ended_at)
    lanes, doubt = [], 0
    for row, eta_at in zip(rows, ends, strict=True):
        lane, provider, rate_max, connections, n, waiting, handed, deferred, bounced, letters, doubted, blocks, opened, locked, per = row
        doubt += doubted
        by = held.get(lane)
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
                blocks_sending=blocks,
                eta_at=eta_at,
                held_rate_per_s=by.rate_now if by else None,
                held_until=by.held_until if by else None,
                broken=bool(by and by.memory.get("broken")),
                rate_per_s=round(own.get(lane, 0) / RATE_WINDOW_S, 3) if sending else 0.0,
                connections_open=opened,
                messages_per_connection=per,
                locked=locked,
                late=_late(found, eta_at) and bool(waiting),
                held_what=by.held_what if by else "",
                held_why=by.held_why if by else "",
                warm_up_per_day=receivers[provider].per_day if provider in receivers else None,
                warm_up_left=receivers[provider].left_of_day if provider in receivers else None,
            )
        )
    return lanes, doubt, end


BESIDE = ("letters_printed", "letters_rejected", "letters_returned", "unreachable", "substitute", "complaints", "auto_replies")


def _beside(mailing: int) -> dict[str, Any]:
    """Return the counts that are parts of others, or of things that change nobody's place."""
    (row,) = sql.rows("notices", "letter_counts", mailing=mailing)
    return dict(zip(BESIDE, map(int, row), strict=True))


def letter_bundles(mailing: int) -> list[BundleInfo]:
    """Return the bundles of letters of a mailing, newest first; at most SHOWN_MAX. Bundles that were dissolved are left out."""
    found = Bundle.objects.filter(mailing_id=mailing, dissolved_at=None).order_by("-pk")[:SHOWN_MAX]
    return [
        BundleInfo(
            id=b.pk,
            mailing=mailing,
            layout=b.layout,
            letters=b.letters,
            pages=b.pages,
            sheets=b.sheets,
            countries=b.countries,
            sha256=bytes(b.sha256 or b"").hex(),
            made_at=b.made_at,
            made_by=b.made_by,
            written_at=b.written_at,
            reissue=b.reissue,
        )
        for b in found
    ]


def letters_by_reason(mailing: int) -> dict[str, int]:
    """Return how many letters came back for which reason, the most frequent first; every attempt counts."""
    found = Letter.objects.filter(mailing_id=mailing, state="returned").values_list("return_reason").annotate(n=Count("pk"))
    return dict(sorted(found, key=lambda f: (-f[1], f[0])))


def letters_waiting(mailing: int) -> int:
    """Return how many letters wait for the next export."""
    return Letter.objects.filter(mailing_id=mailing, state="queued").count()


def latest_status(incident: int) -> MailingStatus:
    """Return how the newest mailing of an incident stands. Raises NotFound if there is none."""
    found = Mailing.objects.filter(incident=incident).exclude(state=MailingState.DISCARDED.value).order_by("-pk").first()
    if found is None:
        raise NotFound(f"no mailing for incident {incident}")
    return _status(found, clock.now())


def released(notice: int) -> tuple[int, MailingState] | None:
    """Return the mailing by which a notice went out or goes out, and its state; None before two people have signed its start."""
    unsent = (MailingState.READY.value, MailingState.DISCARDED.value)
    found = Mailing.objects.filter(notice_id=notice).exclude(state__in=unsent).order_by("-pk").values_list("pk", "state").first()
    return (found[0], MailingState(found[1])) if found else None


def reply_classes(mailing: int) -> list[ReplyClass]:
    """Return what receivers said to those who were not told at once, the most frequent first; at most SHOWN_MAX kinds."""
    return [
        ReplyClass(provider, state, code, enhanced, mail.classify_reply(code, enhanced, text)[0], n, text, at)
        for provider, state, code, enhanced, n, text, at in sql.rows("notices", "replies", mailing=mailing, rows=SHOWN_MAX)
    ]


def in_doubt(mailing: int, *, limit: int = SHOWN_MAX) -> list[Doubted]:
    """Return recipients who may have received the notice twice, or not yet, oldest block first, with masked addresses.

    Opens contact points, so the process needs the key of the register; who is no longer there has no address. All of them are named in the
    evidence.
    """
    doubted = Batch.objects.filter(mailing=mailing).annotate(n_doubted=BitCount("doubted")).filter(n_doubted__gt=0)
    blocks = list(doubted.select_related("lane").order_by("pk")[:limit])
    states = {
        (batch, place): state.replace("told", "handed over")
        for batch, place, state in RecipientException.objects.filter(batch__in=blocks).values_list("batch", "place", "state")
    }
    found = []
    for block in blocks:
        tried = policy.places(bytes(block.tried))
        for place in sorted(policy.places(bytes(block.doubted))):
            found.append((block, place, states.get((block.pk, place), "handed over") if place in tried else "waiting"))
    found = found[:limit]
    people = {c.subject: c for c in subjects.contactables([b.subjects[place] for b, place, _ in found])}
    return [
        Doubted(b.pk, place, b.lane.provider, policy.masked_address(people[s].address.reveal()) if s in people else "", state)
        for b, place, state in found
        for s in [b.subjects[place]]
    ]


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
    return [rehearsal.shown(v, rehearsal.made_up(v)) for v in found.variants.order_by("pk")]


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


def _ends(
    rows: Sequence[tuple[Any, ...]],
    held: Mapping[int, Lane],
    own: Mapping[int, int],
    receivers: Mapping[str, ReceiverNow],
    rate: float,
    now: datetime,
) -> tuple[list[datetime | None], datetime | None]:
    """Return when each lane has nobody waiting any more, and when the whole mailing has not; None if nobody knows."""
    loads = []
    for lane, provider, rate_max, _, _, waiting, *_ in rows:
        by = held.get(lane)
        paused = by is not None and by.rate_now == 0
        loads.append(
            forecast.Load(
                waiting=waiting if provider != policy.LETTER_LANE else 0,
                rate_per_s=own.get(lane, 0) / RATE_WINDOW_S,
                rate_max=rate_max if by is None or paused else by.rate_now,
                pause_s=max(0.0, (by.held_until - now).total_seconds()) if by is not None and paused and by.held_until else 0.0,
                stands=rate_max == 0 or bool(by and by.memory.get("broken")),
                per_day=receivers[provider].per_day,
                left_of_day=receivers[provider].left_of_day or 0,
            )
        )
    try:
        per_day, left = quota_now()
        # While a quota is used up nothing leaves, and that says nothing of the rate.
        speed = rate or (mail.quota().rate_per_s or 0.0 if per_day is not None else 0.0)
    except Unavailable:
        return [None] * len(rows), None

    def finish(waiting: int, rate_per_s: float, per_day: int | None, left_of_day: int) -> float:
        return mail.finish_s(waiting=waiting, rate_per_s=rate_per_s, per_day=per_day, left_of_day=left_of_day)

    lanes, whole = forecast.ends(
        loads, rate_per_s=speed, per_day=per_day, left_of_day=left, finish=finish, unlimited_per_s=policy.UNLIMITED_PER_S
    )
    return [_in(now, s) for s in lanes], _in(now, whole)


def _in(now: datetime, seconds: float | None) -> datetime | None:
    return None if seconds is None else now + timedelta(seconds=seconds)


def _late(found: Mailing, eta_at: datetime | None) -> bool:
    until = found.pace_until
    return found.state == MailingState.SENDING and eta_at is not None and until is not None and eta_at > until
