"""Writes of the notices room: draft, have two people sign, send, steer, end; letters and the notice on the site."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models import Max, Sum

from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType
from tocsin.incidents import queries as incidents
from tocsin.kernel import config, jobs, sql
from tocsin.kernel.errors import BadInput, Fault, NotFound, Refused
from tocsin.mail import queries as mail_now
from tocsin.obligations import queries as obligations
from tocsin.staff import actions as staff_actions
from tocsin.staff import queries as staff

from . import compose, editing, frozen, order, policy, reviews, sending
from .decisions import allow_late, override_order, wake
from .failures import record_failure, take_bounces
from .lanes import release as release_lane
from .letters import bundles, returned
from .models import Batch, Lane, Mailing, Notice, SitePublication, Variant
from .reach import move_on, queue_letters
from .rehearsal import preview_person, send_test
from .reviews import review
from .sending import send_next
from .site import verify as verify_site
from .site import write_pages, write_statements
from .text import folder, gates
from .types import Finding, LetterReport, MailingState, NoticeTexts, Retry, ReturnReport, SiteTexts, VariantTexts

__all__ = [
    "allow_late",
    "approve",
    "check",
    "draft",
    "finish",
    "keep",
    "letters",
    "letters_estimate",
    "letters_returned",
    "move_on",
    "override_order",
    "pause",
    "preview_person",
    "publish_site_notice",
    "queue_letters",
    "record_failure",
    "release_lane",
    "resume",
    "review",
    "send_next",
    "send_test",
    "set_pace",
    "start",
    "stop",
    "take_bounces",
    "verify_site",
    "write_pages",
    "write_statements",
]

KEEP_S = 15.0  # how often a live mailing is looked after
KEEP_ENDED_S = 60.0  # and one that ended, for reports of failure
REPORTS_DAYS = 14  # Source: RFC 5321 s4.5.4.1: queues give up after 4-5 days; a margin for slow ones
RATE_PER_S_MAX = 1_000_000.0
KEEP = "notices.tasks.keep"


def draft(*, incident: int, template: Path | NoticeTexts, at: datetime, by: str) -> int:
    """Store a notice for an incident from its folder or texts, all slots filled but the personal ones; return its id.

    `{{company}}`, `{{brand}}`, `{{site}}`, `{{help_address}}` come from the configuration, facts from the incident,
    other facts from the texts. Raises BadInput with all faults. A new text is a new version; nothing drafted ever changes.
    """
    texts = folder.read_notice(template) if isinstance(template, Path) else template
    made = compose.compose(incident, texts)
    pins = made.pins
    with transaction.atomic():
        list(Notice.objects.select_for_update().filter(incident=incident))
        version = (Notice.objects.filter(incident=incident).aggregate(m=Max("version"))["m"] or 0) + 1
        notice = Notice.objects.create(
            incident=incident, version=version, created_at=at, created_by=by, languages=dict(texts.languages), facts=pins,
            source=editing.as_json(texts), faq=[dataclasses.asdict(x) for x in made.faq],
            statements=[dataclasses.asdict(x) for x in made.statements],
        )
        digests = {}
        for v in made.variants:
            row = Variant(
                notice=notice,
                key=v.key,
                locale=v.locale,
                jurisdictions=list(v.jurisdictions),
                subject=v.subject,
                text=v.text,
                html=v.html,
                blocks={h: list(b) for h, b in v.blocks.items()},
                allow_links=v.allow_links,
                translation_of=v.translation_of,
                headed=v.headed,
            )
            row.template_sha256 = frozen.template_of(row).digest
            row.save()
            digests[v.key] = bytes(row.template_sha256).hex()
        body = {"notice": notice.pk, "version": version, "variants": digests, "facts": pins}
        evidence.record(EventType.NOTICE_DRAFTED, at=at, actor=by, incident=incident, body=body)
    return notice.pk


def check(notice: int, *, must_include: Iterable[str] = (), must_not_include: Iterable[str] = ()) -> list[Finding]:
    """Return what the gates find in a notice's texts, hard findings first; codes as in the law files. Raises NotFound, BadInput."""
    required, forbidden = policy.blocks_wanted(must_include, must_not_include)
    return compose.check(compose.stored(notice), required=required, forbidden=forbidden)


def start(
    notice: int,
    *,
    approval: int | None,
    at: datetime,
    by: str,
    retry: Retry | None = None,
    deadline_at: datetime | None = None,
    waves: bool = False,
) -> int:
    """Send a notice to everybody of the incident's exposure: freeze, have two people sign the manifest, then enqueue; return the mailing's
    id.

    People are told in the order of their legal deadlines, then of severity; with `waves`, among equals those first who used the service
    last. `deadline_at` None: the earliest date by which the law wants somebody told, if there is one. People for whom a filing must come
    first wait for it (see `order`).

    Without an approval it freezes the blocks (or finds them frozen), asks for the signatures and raises Refused(approval=…); called again
    with that approval it starts. Started already with the same approval: returns the mailing. A changed exposure, text or signing key
    means a new manifest, so new signatures. Raises Refused for hard findings of `check`, for a language whose translation nobody signed,
    and for a sending domain that receivers would refuse.
    """
    hard = [f for f in check(notice) if f.hard]
    if hard:
        raise Refused("the notice does not pass: " + "; ".join(f"{f.variant}: {f.message}; {f.remedy}" for f in hard[:5]))
    signed_off = reviews.require(notice)
    mail_now.require_preflight()
    incident = Notice.objects.values_list("incident", flat=True).get(pk=notice)
    due = deadline_at or min(obligations.individuals_due(incident).values(), default=None)
    mailing = _frozen(notice, incident=incident, reviewed=signed_off, at=at, retry=retry or Retry(), deadline_at=due, waves=waves)
    if mailing.state != MailingState.READY:
        if approval is not None and mailing.approval == approval:
            return mailing.pk
        raise Refused(f"notice {notice} is mailing {mailing.pk} already ({mailing.state}); a further mailing needs a new draft")
    payload = frozen.manifest_of(mailing)
    if approval is None:
        wanted = staff_actions.request(frozen.ACT, payload, by=by, at=at)
        raise Refused(f"{frozen.ACT} needs the approval of two people", approval=wanted)
    with transaction.atomic():
        mailing = Mailing.objects.select_for_update().get(pk=mailing.pk)
        if mailing.state != MailingState.READY:
            raise Refused(f"mailing {mailing.pk} is {mailing.state} already")
        signed = staff.require(approval, act=frozen.ACT, payload=payload)
        staff_actions.close(approval, at=at)
        mailing.approval, mailing.state, mailing.started_at = approval, MailingState.SENDING.value, at
        mailing.save(update_fields=["approval", "state", "started_at"])
        order.unlock(mailing.pk, at=at, by=by)
        order.close_letters(mailing, at=at)
        body = {"mailing": mailing.pk, "approval": approval, "signed_by": list(signed.signed_by), "manifest": payload}
        evidence.record(EventType.NOTICE_APPROVED, at=at, actor=by, incident=incident, body=body)
        evidence.record(
            EventType.MAILING_STARTED,
            at=at,
            actor=by,
            incident=incident,
            body={"mailing": mailing.pk, "recipients": mailing.recipients, "blocks": payload["blocks"], "doubt_max": sending.DOUBT_MAX},
        )
        _enqueue(mailing.pk)
    return mailing.pk


def approve(notice: int, *, operator: str, key_file: Path, at: datetime) -> int:
    """Sign the start of a notice with an operator's key file, over the manifest as its rows say now; return the approval's id.

    Raises NotFound for a notice that nobody has started, Refused when no signature is asked for, or when what was asked for is not what would be
    sent any more. Signing twice changes nothing.
    """
    mailing = Mailing.objects.filter(notice_id=notice, state=MailingState.READY.value).first()
    if mailing is None:
        raise Refused(f"nobody asks for signatures under notice {notice}: `tocsin notice start {notice}` freezes it and asks")
    manifest = frozen.manifest_of(mailing)
    asked = [a for a in staff.approvals() if a.act == frozen.ACT and a.payload.get("mailing") == mailing.pk]
    wanted = next((a for a in asked if a.payload == manifest), None)
    if wanted is None:
        raise Refused(f"notice {notice} is not what signatures were asked for: `tocsin notice start {notice}` freezes it anew and asks again")
    staff_actions.sign_with_key_file(wanted.id, operator=operator, key_file=key_file, at=at)
    return wanted.id


def pause(mailing: int, *, at: datetime, by: str, why: str = "") -> None:
    """Hold a mailing; senders stop within a second, with at most one more message per connection. Two people resume it."""
    _hold(mailing, MailingState.PAUSED, at=at, by=by, why=why)


def stop(mailing: int, *, at: datetime, by: str, why: str = "") -> None:
    """Stop a mailing because something is wrong with it: as `pause`, and it is shown as stopped. Two people may resume it all the same."""
    _hold(mailing, MailingState.STOPPED, at=at, by=by, why=why)


def resume(mailing: int, *, approval: int | None, at: datetime, by: str) -> None:
    """Go on with a paused or stopped mailing after two people signed; without an approval asks for it and raises Refused(approval=…)."""
    found = _mailing(mailing)
    if found.state not in (MailingState.PAUSED, MailingState.STOPPED) or found.held_at is None:
        raise Refused(f"mailing {mailing} is {found.state}, not paused or stopped")
    payload = {
        "mailing": mailing,
        "manifest_sha256": frozen.manifest_sha256(found.manifest),
        "held_at": found.held_at.isoformat(),
        "state": found.state,
    }
    if approval is None:
        wanted = staff_actions.request("notices.resume", payload, by=by, at=at)
        raise Refused("notices.resume needs the approval of two people", approval=wanted)
    with transaction.atomic():
        staff.require(approval, act="notices.resume", payload=payload)
        staff_actions.close(approval, at=at)
        changed = Mailing.objects.filter(pk=mailing, state=found.state, held_at=found.held_at)
        if not changed.update(state=MailingState.SENDING.value, held_at=None):
            raise Refused(f"mailing {mailing} was changed in between")
        body = {"mailing": mailing, "approval": approval, "resumed": True}
        evidence.record(EventType.MAILING_STARTED, at=at, actor=by, incident=found.incident, body=body)
        _enqueue(mailing)


def set_pace(
    mailing: int, *, rate_per_s: float, at: datetime, by: str, lane: int | None = None, connections: int | None = None
) -> dict[int, float]:
    """Set the rate of one lane, or share a rate out over all lanes by who still waits; return the rate of each lane set.

    Senders follow within half a second. 0 holds a lane. Raises Refused if the mailing would end after its deadline, unless that is faster
    than now or two people allowed a later end (`allow_late`). Raises BadInput, NotFound.
    """
    if not 0 <= rate_per_s <= RATE_PER_S_MAX or (connections is not None and not 1 <= connections <= 1000):
        raise BadInput.of("pace", (rate_per_s, connections), f"0 to {RATE_PER_S_MAX:.0f} messages per second over 1 to 1000 connections")
    found = _mailing(mailing)
    waiting = {row[0]: int(row[5]) + int(row[7]) for row in sql.rows("notices", "counts", mailing=mailing)}
    if lane is not None and lane not in waiting:
        raise NotFound(f"no lane {lane} in mailing {mailing}")
    total = sum(waiting.values())
    rates = (
        {lane: rate_per_s} if lane is not None else {k: rate_per_s * (n / total if total else 1 / len(waiting)) for k, n in waiting.items()}
    )
    with transaction.atomic():
        lanes = list(Lane.objects.select_for_update(no_key=True).filter(pk__in=rates))
        for x in lanes:
            _keeps_deadline(found, x, waiting[x.pk], rates[x.pk], at)
        same = all(x.rate_per_s == rates[x.pk] and connections in (None, x.connections) for x in lanes)
        if same:
            return rates  # steering comes every few seconds; only a change is an act
        for x in lanes:
            x.rate_per_s = rates[x.pk]
            x.connections = connections if connections is not None else x.connections
        Lane.objects.bulk_update(lanes, ["rate_per_s", "connections"])
        body: dict[str, Any] = {"mailing": mailing, "milli_per_s": {str(k): round(v * 1000) for k, v in rates.items()}}
        if connections is not None:
            body["connections"] = connections
        evidence.record(EventType.PACE_SET, at=at, actor=by, incident=found.incident, body=body)
    return rates


def finish(mailing: int, *, at: datetime) -> bool:
    """End a mailing whose blocks are all done, after bringing those who bounced to the next channel; return whether it has ended. Safe to
    repeat.
    """
    if _mailing(mailing).state == MailingState.ENDED:
        return True
    move_on(mailing, at=at)
    with transaction.atomic():
        found = Mailing.objects.select_for_update().get(pk=mailing)
        if found.state != MailingState.SENDING or Batch.objects.filter(mailing=found, state="open").exists():
            return found.state == MailingState.ENDED
        found.state, found.ended_at = MailingState.ENDED.value, at
        found.save(update_fields=["state", "ended_at"])
        sums = Batch.objects.filter(mailing=found).aggregate(
            handed_over=Sum("handed_over"), deferred=Sum("deferred"), bounced=Sum("bounced"), letters=Sum("letters")
        )
        body = {"mailing": mailing, "recipients": found.recipients, **{k: int(v or 0) for k, v in sums.items()}}
        evidence.record(EventType.MAILING_ENDED, at=at, actor=sending.ACTOR, incident=found.incident, body=body)
    return True


def keep(mailing: int, *, at: datetime) -> None:
    """Look after a mailing: lanes that lost their job get one, reports of failure are taken in, who bounced is brought to the next
    channel, the end noticed; come again.

    The one job that a mailing always has until REPORTS_DAYS after its end. Safe to repeat.
    """
    take_bounces(at=at)
    order.unlock(mailing, at=at, by=order.ACTOR)
    move_on(mailing, at=at)
    ended = finish(mailing, at=at)
    found = _mailing(mailing)
    with transaction.atomic():
        if found.state == MailingState.SENDING:
            wake(mailing)
        over = found.ended_at is not None and (at - found.ended_at).days >= REPORTS_DAYS
        if not over and found.state != MailingState.DISCARDED:
            jobs.enqueue(KEEP, after_s=KEEP_ENDED_S if ended else KEEP_S, unless_waiting=f"notices-keep-{mailing}", mailing=mailing)


def letters(
    mailing: int,
    *,
    folder: Path,
    at: datetime,
    by: str,
    again: Sequence[int] = (),
    reissue: Sequence[str] = (),
    progress: Callable[[int], None] | None = None,
) -> LetterReport:
    """Write the letters that wait into bundles for a print house, in a new folder; return the counts, read = written + rejected.

    Each letter is in one bundle, whoever calls how often. `again`: write these bundles once more, the same bytes. `reissue`: put these
    letters (their numbers) into a new bundle although they were in one. Letters that no address is good enough for are named with every
    fault in a file beside the folder, and are tried again with each call. Who is told by letter has an entry in the log; reading so many
    addresses has one too. A kill loses nothing and doubles nothing: the next call goes on. Raises BadInput, NotFound, Refused (a text that
    is not what was signed, no sender in a live estate), Unavailable (no font for a text).
    """
    if again and reissue:
        raise BadInput.of("again, reissue", "both", "one of them")
    found = _mailing(mailing)
    if found.started_at is not None and not again and not reissue:
        queue_letters(mailing, at=at)
    return bundles.export(mailing, folder=folder, at=at, by=by, again=again, reissue=reissue, progress=progress)


def letters_estimate(mailing: int, *, at: datetime, by: str, progress: Callable[[int], None] | None = None) -> LetterReport:
    """Return what `letters` would write now, by country, with pages and an estimate of the price; write nothing.

    One letter of each text and sheet is set to know its pages. Opens every address, and the log says so. Raises as `letters`.
    """
    return bundles.estimate(mailing, at=at, by=by, progress=progress)


def letters_returned(file: Path, *, at: datetime, by: str, rejects: Path | None = None) -> ReturnReport:
    """Take in a list of returned mail (CSV: letter_id, reason, date); return the counts, read = accepted + rejected.

    Who has another postal address gets a new letter with the next export; for the others the notice on the site stands. Lines with faults
    are written to a file with all of them. Safe to repeat; a crash leaves the lines after the last 1,000 for the next call. Raises BadInput
    for another file.
    """
    return returned.take(file, at=at, by=by, rejects=rejects)


def publish_site_notice(*, incident: int, template: Path | SiteTexts, at: datetime, by: str) -> int:
    """Put a notice on the company's site, from a notice's folder or texts; return its id. The newest one stands.

    The same gates as for mails: no link, script, picture or foreign host, and the words of HTML and text are the same. Raises BadInput,
    Refused.
    """
    texts, facts = folder.read_site(template) if isinstance(template, Path) else (template, {})
    faults: list[Fault] = []
    whole = VariantTexts(key="site", subject="site", text=texts.text, html=texts.html)
    values = compose.Values(incident, facts)
    made = compose.filled(whole, values, faults)
    if faults:
        raise BadInput(faults)
    hard = [f for f in gates.check(made, hosts=compose.hosts(), required=(), slots=(), slots_required=()) if f.hard]
    if hard:
        raise Refused("the site notice does not pass: " + "; ".join(f"{f.message}; {f.remedy}" for f in hard[:5]))
    sha256 = policy.text_sha256(made.html, made.text)
    with transaction.atomic():
        row = SitePublication.objects.create(
            incident=incident, html=made.html, text=made.text, sha256=sha256, published_at=at, published_by=by, facts=values.pins
        )
        body = {"site_notice": row.pk, "sha256": sha256.hex(), "facts": values.pins}
        evidence.record(EventType.SITE_NOTICE_PUBLISHED, at=at, actor=by, incident=incident, body=body)
    return row.pk


# --- inside -------------------------------------------------------------------------------------------------------------------------


def _mailing(mailing: int) -> Mailing:
    found = Mailing.objects.filter(pk=mailing).first()
    if found is None:
        raise NotFound(f"no mailing {mailing}")
    return found


def _frozen(
    notice: int, *, incident: int, reviewed: dict[str, list[str | int]], at: datetime, retry: Retry, deadline_at: datetime | None, waves: bool
) -> Mailing:
    """Return the notice's live mailing, frozen now if there is none or if exposure, order, text, reviewers or key changed since. Commits."""
    exposure = incidents.exposure_of(incident).id
    with transaction.atomic():
        Notice.objects.select_for_update().get(pk=notice)
        live = Mailing.objects.select_for_update().filter(notice_id=notice).exclude(state=MailingState.DISCARDED.value).first()
        if live is not None and live.state != MailingState.READY:
            return live
        as_asked = live is not None and (live.exposure, live.waves, live.reviews) == (exposure, waves, reviewed)
        if live is not None and as_asked and live.manifest == frozen.manifest_of(live):
            live.retry_first_s, live.retry_tries_max, live.retry_soft_days = retry.first_s, retry.tries_max, retry.soft_days
            live.deadline_at = deadline_at
            live.save(update_fields=["retry_first_s", "retry_tries_max", "retry_soft_days", "deadline_at"])
            return live
        if live is not None:
            live.state = MailingState.DISCARDED.value
            live.save(update_fields=["state"])
            frozen.discard(live)
        made = Mailing.objects.create(
            notice_id=notice,
            incident=incident,
            exposure=exposure,
            reviews=reviewed,
            connections=config.current().mail.connections,
            retry_first_s=retry.first_s,
            retry_tries_max=retry.tries_max,
            retry_soft_days=retry.soft_days,
            frozen_at=at,
            deadline_at=deadline_at,
            waves=waves,
        )
        frozen.freeze(made, at=at)
        if not made.recipients:
            raise Refused(f"the exposure of incident {incident} holds nobody: there is nothing to send")
        return made


def _enqueue(mailing: int) -> None:
    """One job per lane to begin with: each brings another while connections are free, and its successor when its block is done."""
    lanes = Lane.objects.filter(mailing_id=mailing).exclude(provider=policy.LETTER_LANE).order_by("pk").values_list("pk", flat=True)
    for lane in lanes:
        sending.again(mailing, lane)
    jobs.enqueue(KEEP, unless_waiting=f"notices-keep-{mailing}", mailing=mailing)


def _hold(mailing: int, state: MailingState, *, at: datetime, by: str, why: str) -> None:
    found = _mailing(mailing)
    if not sending.hold(mailing, state, at=at, by=by, why=why) and found.state != state:
        raise Refused(f"mailing {mailing} is {found.state}: there is nothing to hold")


def _keeps_deadline(mailing: Mailing, lane: Lane, waiting: int, rate_per_s: float, at: datetime) -> None:
    """Raise Refused if the lane, slower than now, would end after the mailing's legal deadline."""
    until = mailing.pace_until
    if until is None or rate_per_s >= lane.rate_per_s or not waiting:
        return
    left_s = (until - at).total_seconds()
    if rate_per_s * left_s < waiting:
        least = waiting / left_s if left_s > 0 else lane.rate_per_s
        raise Refused(
            f"lane {lane.provider}: {waiting} wait until {until:%Y-%m-%d %H:%M} UTC; at least {least:.3g} per second is due, unless two people "
            "allow a later end (`tocsin notice allow-late`)"
        )
