"""Freezes a mailing into blocks, and checks, before each block, that what goes out is what two people signed."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from tocsin.incidents import queries as incidents
from tocsin.kernel import config, sql
from tocsin.kernel.errors import Refused, ensure
from tocsin.mail import actions as mail
from tocsin.mail import queries as mail_now
from tocsin.mail.types import Template
from tocsin.staff import queries as staff

from . import order, policy
from .models import Batch, Lane, Mailing, Merged, Notice, Variant
from .text import languages

ACT = "notices.start"
WORK_MEM = "256MB"  # for the one sort by mailbox: 24 million rows of about 80 bytes
PLANS_MAX = 8  # verified mailings kept in a sender's memory: 24,000 blocks take about 6 MB


@dataclass(frozen=True, slots=True)
class Plan:
    """What two people signed, verified by this process. Texts come from here and not from the database again."""

    manifest: Mapping[str, Any]
    lines: Mapping[int, policy.BlockLine]
    templates: Mapping[str, Template]


def statements_of(notice: Notice) -> dict[str, str]:
    """Return the digests of what is said beside a notice, under the same signatures: statements by name, questions by language."""
    said: dict[str, list[tuple[str, str, str, str]]] = {}
    for x in notice.statements:
        said.setdefault(f"{x['kind']}.{x['locale']}", []).append(("", x["title"], x["text"], x["html"]))
    for n, x in enumerate(notice.faq):
        said.setdefault(f"faq.{x['locale']}", []).append((f"{n:06}", x["question"], x["answer"], ""))
    return {name: languages.texts_sha256(texts) for name, texts in said.items()}


def template_of(v: Variant) -> Template:
    """Return a variant compiled as it will be sent; without HTML it is plain text alone."""
    return mail.compile_template(subject=v.subject, text=v.text, html=v.html or None)


def dkim_name() -> str:
    """Return the name of the signing key as receivers look it up."""
    settings = config.current().mail
    return f"{settings.dkim_selector}._domainkey.{settings.dkim_domain}"


def freeze(mailing: Mailing, *, at: datetime) -> None:
    """Write lanes, blocks and merged accounts of a new mailing. Joins the caller's transaction; about a minute for 24 million people."""
    limits = config.current().mail
    people = place(mailing.notice_id, exposure=mailing.exposure, ranked=order.of_cohorts(mailing), waves=mailing.waves)
    sql.execute(
        "notices",
        "freeze_lanes",
        mailing=mailing.pk,
        connections=limits.connections,
        messages_per_connection=limits.messages_per_connection,
        rate_per_s=limits.rate_per_s,
        at=at,
        lanes_max=policy.LANES_MAX,
        letter_lane=policy.LETTER_LANE,
        other_lane=policy.OTHER_LANE,
    )
    if limits.direct:
        _shape(mailing)
    sql.execute("notices", "freeze_blocks", mailing=mailing.pk, block_rows=policy.BLOCK_ROWS, other_lane=policy.OTHER_LANE)
    mailing.merged = sql.execute("notices", "freeze_merged", mailing=mailing.pk)
    mailing.manifest = manifest_of(mailing)
    mailing.recipients = mailing.manifest["recipients"]
    ensure(people == mailing.recipients + mailing.merged, "each exposed person is a recipient or is told with one")
    mailing.save(update_fields=["merged", "manifest", "recipients", "gates"])


Ranked = tuple[list[int], list[int], list[int]]  # cohorts, their ranks and locks, in one order (`order.of_cohorts`)


def place(notice: int, *, exposure: int, ranked: Ranked = ([], [], []), waves: bool = False) -> int:
    """Put each of an exposure's people into notices_freezing, with text, provider and mailbox; return how many. Joins the caller's
    transaction, and the table ends with it.
    """
    choices = choices_of(notice, exposure=exposure)
    with connection.cursor() as cursor:
        # The lanes were never analysed, so the planner would loop over all of them for each person.
        cursor.execute("SELECT set_config('work_mem', %s, true), set_config('enable_nestloop', 'off', true)", [WORK_MEM])
    return sql.execute(
        "notices",
        "freeze_people",
        exposure=exposure,
        jurisdictions=[c.jurisdiction for c in choices],
        locales=[c.locale for c in choices],
        variants=[c.variant for c in choices],
        texts=[c.text for c in choices],
        cohorts=ranked[0],
        ranks=ranked[1],
        locks=ranked[2],
        waves=waves,
        several=len({c.variant for c in choices}) > len({c.text for c in choices}),
        letter_lane=policy.LETTER_LANE,
    )


def choices_of(notice: int, *, exposure: int) -> list[languages.Choice]:
    """Return which variant of a notice each reader of an exposure gets, by jurisdiction and language."""
    variants = [
        languages.Words(v.pk, v.key, v.locale, tuple(v.jurisdictions), v.translation_of, v.headed)
        for v in Variant.objects.filter(notice_id=notice).order_by("pk")
    ]
    defaults = Notice.objects.values_list("languages", flat=True).get(pk=notice)
    return languages.choices(variants, {c.jurisdiction for c in incidents.exposure(exposure).cohorts}, defaults=defaults)


def _shape(mailing: Mailing) -> None:
    """Lower each lane's limits to what senders allow themselves towards its receiver: without a relay in between they are ours to keep."""
    lanes = list(Lane.objects.filter(mailing=mailing))
    for lane in lanes:
        shape = mail_now.shape_of(lane.provider)
        lane.connections = min(lane.connections, shape.connections)
        lane.messages_per_connection = min(lane.messages_per_connection, shape.messages_per_connection)
        lane.rate_per_s = min(lane.rate_per_s, shape.rate_per_s or lane.rate_per_s)
    Lane.objects.bulk_update(lanes, ["connections", "messages_per_connection", "rate_per_s"])


def discard(mailing: Mailing) -> None:
    """Remove the blocks of a mailing that was frozen and never started. Joins the caller's transaction."""
    Batch.objects.filter(mailing=mailing).delete()
    Merged.objects.filter(mailing=mailing).delete()
    Lane.objects.filter(mailing=mailing).delete()


def manifest_of(mailing: Mailing) -> dict[str, Any]:
    """Return the manifest of a mailing as its rows say now: the texts compiled anew, the blocks' hashes listed anew."""
    return _manifest(mailing, list(Variant.objects.filter(notice_id=mailing.notice_id)), _lines(mailing))[0]


def _lines(mailing: Mailing) -> list[policy.BlockLine]:
    rows = Batch.objects.filter(mailing=mailing).order_by("pk").values_list("pk", "variant__key", "lane__provider", "n", "sha256")
    return [policy.BlockLine(pk, key, provider, n, bytes(sha256)) for pk, key, provider, n, sha256 in rows.iterator(chunk_size=10_000)]


def _manifest(mailing: Mailing, variants: list[Variant], lines: list[policy.BlockLine]) -> tuple[dict[str, Any], dict[str, Template]]:
    templates = {v.key: template_of(v) for v in variants}
    digests = {key: t.digest.hex() for key, t in templates.items()}
    by_language: dict[str, list[str]] = {}
    for v in variants:
        by_language.setdefault(v.locale, []).append(v.key)
    made = policy.manifest(
        mailing=mailing.pk,
        notice=mailing.notice_id,
        incident=mailing.incident,
        exposure=mailing.exposure,
        variants=digests,
        languages=by_language,
        reviews=mailing.reviews,
        statements=statements_of(mailing.notice),
        lines=lines,
        merged=mailing.merged,
        dkim=dkim_name(),
    )
    return made, templates


_plans: OrderedDict[tuple[int, int], Plan] = OrderedDict()


def plan_of(mailing: Mailing) -> Plan:
    """Return the signed plan of a mailing; its signatures are verified once per process, against the keys in the estate's home.

    Raises Refused if texts, blocks, counts or the signing key are not what two people signed. What is verified stays in memory: a later
    change of a row changes nothing that this process sends, or fails the block's own check.
    """
    kept = (mailing.pk, mailing.approval or 0)
    if kept not in _plans:
        lines = _lines(mailing)
        manifest, templates = _manifest(mailing, list(Variant.objects.filter(notice_id=mailing.notice_id)), lines)
        staff.signed(mailing.approval, act=ACT, payload=manifest)
        while len(_plans) >= PLANS_MAX:
            _plans.popitem(last=False)
        _plans[kept] = Plan(manifest, {b.id: b for b in lines}, templates)
    return _plans[kept]


def forget_plans() -> None:
    """Verify every mailing anew: for processes that outlive an estate."""
    _plans.clear()


def check_block(plan: Plan, batch: Batch, *, variant: str, provider: str) -> None:
    """Raise Refused unless the block holds exactly the recipients, of the variant and lane, that were signed."""
    line = plan.lines.get(batch.pk)
    subjects = policy.block_sha256(batch.subjects)
    if line is None or (line.variant, line.provider, line.n, line.sha256) != (variant, provider, len(batch.subjects), subjects):
        raise Refused(f"block {batch.pk} is not what two people signed: its recipients, its text or its lane were changed since")


def manifest_sha256(manifest: Mapping[str, Any]) -> str:
    """Return a short name for a manifest in evidence and approvals: the SHA-256 that its blocks and texts hang on."""
    text = "\n".join(f"{k}={manifest[k]!r}" for k in sorted(manifest))
    return hashlib.sha256(text.encode()).hexdigest()
