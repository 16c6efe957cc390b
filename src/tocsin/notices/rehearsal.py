"""Before a notice goes out: what somebody would read, a mail to seed addresses, and what a start would do.

A test mail goes the way of every single mail (`mail.queue_single`): same sender, same key, same relay, so that what arrives is what will
arrive. It says in its subject and its first line that it is a test, and no mailing counts it. A person's preview opens their name and number, so
that it is an entry of the evidence even where the page shows them masked.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from django.db import transaction

from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType
from tocsin.incidents import queries as incidents
from tocsin.inventory.types import codes_of
from tocsin.kernel import clock, sql
from tocsin.kernel.errors import BadInput, Fault, NotFound
from tocsin.kernel.private import Private
from tocsin.mail import actions as mail
from tocsin.mail import queries as mail_now
from tocsin.subjects import queries as subjects

from . import compose, frozen, policy, reviews
from .models import Notice, TestMail, Variant
from .text import gates, languages, readability
from .text.elements import listed
from .types import PreviewText, StartCounts, VariantTexts
from .types import TestMail as TestMailInfo

SEEDS_MAX = 20
TEST_MAILS_MAX = 200
SHOWN_MAX = 500
SUBJECT_MARK = "[TEST] "
MADE_UP: Mapping[str, str] = {"name": "Jordan Sample", "case_code": "ABCDE-FGHJK", "references": "C-0001"}
SAMPLE_ELEMENTS = ("name", "email", "postal_address")
_WORD = re.compile(r"\w+")


def masked(value: str) -> str:
    """Return a value of which a looker-on learns no more than its shape: of each word the first letter, of a number the last two digits."""

    def hidden(word: str) -> str:
        return "•" * (len(word) - 2) + word[-2:] if any(c.isdigit() for c in word) else word[0] + "•" * (len(word) - 1)

    return _WORD.sub(lambda m: hidden(m.group(0)), value)


def shown(v: Variant | VariantTexts, values: Mapping[str, str], *, why: str = "") -> PreviewText:
    """Return a variant with these values in its slots."""

    def fill(text: str, *, is_html: bool = False) -> str:
        return gates.SLOT.sub(lambda m: (html.escape(values[m[1]]) if is_html else values[m[1]]) if m[1] in values else m[0], text)

    text = fill(v.text)
    r = readability.measure(text)
    return PreviewText(
        variant=v.key, subject=v.subject, text=text, html=fill(v.html, is_html=True), grade=r.grade, flesch=r.flesch, words=r.words,
        locale=v.locale, why=why,
    )  # fmt: skip


def made_up(v: Variant | VariantTexts, codes: Sequence[str] = SAMPLE_ELEMENTS) -> dict[str, str]:
    """Return values of nobody for the slots of a variant."""
    return {**MADE_UP, "elements": listed(tuple(codes), locale=v.locale)}


def preview_cohort(notice: int, *, jurisdiction: str, locale: str, elements: Sequence[str] = ()) -> PreviewText:
    """Return what a reader of this jurisdiction and language ("": nobody knows it) would get, with made-up values; `why` says why this text.

    `elements`: codes for `{{elements}}`; by default those of the jurisdiction's people in the newest exposure. Raises NotFound.
    """
    row = _notice(notice)
    choice, why = _choice(row, jurisdiction=jurisdiction, locale=locale)
    v = Variant.objects.get(pk=choice.variant)
    return shown(v, made_up(v, tuple(elements) or _elements(row.incident, jurisdiction)), why=why)


def preview_person(notice: int, *, external_id: str, reveal: bool, at: datetime, by: str) -> PreviewText:
    """Return what one customer would read, by the company's own number; name and number masked unless `reveal`. Recorded as a read.

    Of the customer's own account alone: who shares the mailbox is settled when the mailing is frozen. Raises NotFound for a customer who is
    not in the register, or not in the incident's newest exposure.
    """
    row = _notice(notice)
    subject = subjects.by_external_ids([external_id]).get(external_id)
    exposure = incidents.exposure_of(row.incident)
    reached = incidents.elements_of(exposure.id, [subject]) if subject is not None else {}
    if subject is None or subject not in reached:
        raise NotFound(f"no customer {external_id!r} among the people of incident {row.incident}")
    body = {"what": "notice preview", "notice": notice, "masked": not reveal}
    evidence.record(EventType.PERSONAL_DATA_READ, at=at, actor=by, incident=row.incident, body=body)
    person = next(iter(subjects.contactables([subject])), None)
    written = next(iter(subjects.postal([subject])), None)
    found = person or written
    if found is None:
        raise NotFound(f"customer {external_id!r} can be reached neither by mail nor by letter")
    cohort = next(
        c for c in exposure.cohorts if (c.clear, c.sealed) == reached[subject] and (person is None or c.jurisdiction == person.jurisdiction)
    )
    choice, why = _choice(row, jurisdiction=cohort.jurisdiction, locale=found.locale)
    v = Variant.objects.get(pk=choice.variant)
    name = policy.vetted(found.name.reveal(), instead="customer")
    hide = (lambda value: value) if reveal else masked
    values = made_up(v, codes_of(cohort.clear)) | {"name": hide(name), "references": hide(policy.references([found.external_id]))}
    return shown(v, values, why=why + ("" if person else "; by letter: no e-mail address"))


def _notice(notice: int) -> Notice:
    row = Notice.objects.filter(pk=notice).first()
    if row is None:
        raise NotFound(f"no notice {notice}")
    return row


def _choice(row: Notice, *, jurisdiction: str, locale: str) -> tuple[languages.Choice, str]:
    variants = [
        languages.Words(v.pk, v.key, v.locale, tuple(v.jurisdictions), v.translation_of, v.headed)
        for v in Variant.objects.filter(notice=row).order_by("pk")
    ]
    found = languages.choices(variants, [jurisdiction], defaults=row.languages)
    return languages.choose(found, jurisdiction=jurisdiction, locale=locale)


def _elements(incident: int, jurisdiction: str) -> tuple[str, ...]:
    try:
        cohorts = incidents.exposure_of(incident).cohorts
    except NotFound:  # not scoped yet: drafts are looked at before
        return SAMPLE_ELEMENTS
    mask = 0
    for c in cohorts:
        mask |= c.clear if c.jurisdiction == jurisdiction else 0
    return codes_of(mask) or SAMPLE_ELEMENTS


# --- mails to seed addresses ----------------------------------------------------------------------------------------------------------


def send_test(notice: int, *, to: Sequence[str], at: datetime, by: str, variants: Sequence[str] = ()) -> list[TestMailInfo]:
    """Queue each variant (or those named by key or language) to each seed address, as single mails; return one row for each.

    One transaction with its evidence, which names texts and how many addresses, and no address. Raises BadInput with every fault: addresses
    that no server takes, unknown variants, more than TEST_MAILS_MAX mails. Nothing is sent then.
    """
    row = _notice(notice)
    rows = list(Variant.objects.filter(notice=row).order_by("pk"))
    chosen = [v for v in rows if not variants or v.key in variants or languages.normal(v.locale) in map(languages.normal, variants)]
    known = {v.key for v in rows} | {languages.normal(v.locale) for v in rows}
    faults = [
        Fault("variant", repr(x), f"one of {', '.join(sorted(known))}")
        for x in variants
        if x not in known and languages.normal(x) not in known
    ]
    faults += [
        Fault(f"to[{i}]", "***", "an e-mail address that a mail server can take")
        for i, x in enumerate(to)
        if subjects.mailbox_key(x) is None
    ]
    seeds = list(dict.fromkeys(to))
    if not 1 <= len(seeds) <= SEEDS_MAX or len(seeds) * len(chosen) > TEST_MAILS_MAX:
        faults.append(
            Fault("to", f"{len(seeds)} addresses for {len(chosen)} texts", f"1 to {SEEDS_MAX}, and {TEST_MAILS_MAX} mails at most")
        )
    if faults:
        raise BadInput(faults)
    with transaction.atomic():
        made = [_test(row, v, address, seeds=len(seeds), at=at, by=by) for v in chosen for address in seeds]
        body = {
            "notice": notice,
            "variants": {v.key: bytes(v.template_sha256).hex() for v in chosen},
            "addresses": len(seeds),
            "mails": len(made),
        }
        evidence.record(EventType.NOTICE_TESTED, at=at, actor=by, incident=row.incident, body=body)
    return [_info(t) for t in made]


def _test(row: Notice, v: Variant, address: str, *, seeds: int, at: datetime, by: str) -> TestMail:
    seen = shown(v, made_up(v))
    mark = (
        f"This is a test of notice {row.pk}, version {row.version}, text {v.key} ({v.locale}). It goes to {seeds} "
        f"address{'es' if seeds > 1 else ''} of the team and to no customer."
    )
    outbound = mail.queue_single(
        purpose="test",
        to=Private(address),
        subject=SUBJECT_MARK + v.subject,
        text=f"{mark}\n\n{seen.text}",
        html=_marked(seen.html, mark) if v.html else None,
        at=at,
        dedupe_key=f"test:{v.pk}:{address}:{clock.us(at)}",
    )
    return TestMail.objects.create(notice=row, variant=v, outbound=outbound, queued_at=at, queued_by=by)


def _marked(page: str, mark: str) -> str:
    """Return an HTML page with the mark above everything else."""
    at = re.search(r"(?i)<body\b[^>]*>", page)
    place = at.end() if at else 0
    box = '<p style="background-color: #ffe9a8; color: #1d2430; padding: 12px; margin: 0; font: 16px/1.4 sans-serif">'
    return f"{page[:place]}{box}{html.escape(mark)}</p>{page[place:]}"


def _info(t: TestMail) -> TestMailInfo:
    state = mail_now.outbound_state(t.outbound)
    return TestMailInfo(
        id=t.pk, notice=t.notice_id, variant=t.variant.key, state=state.state, code=state.code, reason=state.reason, queued_at=t.queued_at,
        queued_by=t.queued_by,
    )  # fmt: skip


def tests(notice: int) -> list[TestMailInfo]:
    """Return the test mails of a notice with how they ended, newest first; at most SHOWN_MAX. No mailing counts them."""
    return [_info(t) for t in TestMail.objects.filter(notice_id=notice).select_related("variant").order_by("-pk")[:SHOWN_MAX]]


# --- what a start would do ------------------------------------------------------------------------------------------------------------


def start_counts(notice: int) -> StartCounts:
    """Return what a start would do now, by language, provider and channel. Takes as long as freezing does, and keeps nothing of it.

    Raises NotFound for a notice or an exposure that does not exist.
    """
    row = _notice(notice)
    exposure = incidents.exposure_of(row.incident)
    began = clock.monotonic()
    with transaction.atomic():
        people = frozen.place(notice, exposure=exposure.id)
        placed = sql.rows("notices", "freezing_counts")
        transaction.set_rollback(True)
    seconds = clock.monotonic() - began
    variants = {v.pk: v for v in Variant.objects.filter(notice=row)}
    told = [(variants[v], str(provider), int(n)) for v, provider, n, _ in placed if n]

    def by(name: str) -> dict[str, int]:
        found: dict[str, int] = {}
        for v, _, n in told:
            found[getattr(v, name)] = found.get(getattr(v, name), 0) + n
        return dict(sorted(found.items()))

    providers: dict[str, int] = {}
    for _, provider, n in told:
        providers[provider] = providers.get(provider, 0) + n
    letters = providers.pop(policy.LETTER_LANE, 0)
    return StartCounts(
        notice=notice,
        incident=row.incident,
        exposure=exposure.id,
        people=people,
        recipients=sum(n for _, _, n in told),
        merged=sum(int(merged) for _, _, _, merged in placed),
        by_mail=sum(providers.values()),
        letters=letters,
        language_unknown=sum(n for v, _, n in told if v.headed),
        by_language=by("locale"),
        by_variant=by("key"),
        by_provider=dict(sorted(providers.items(), key=lambda p: (-p[1], p[0]))),
        languages=reviews.states(notice),
        hard_findings=sum(f.hard for f in compose.check(compose.stored(notice), required=policy.ALWAYS, forbidden=())),
        seconds=round(seconds, 3),
    )
