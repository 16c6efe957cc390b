"""A language goes out only after somebody who reads it has signed that it says what the notice says.

One named operator, not the one who drafted it, signs the digest of exactly the texts in that language (`text.languages.texts_sha256`). Any
change of a word is another digest, so the signature is gone with it; a new draft with the same words keeps it. The two who release the notice
sign as well, over a manifest that names each reviewer.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel.errors import NotFound, Refused
from tocsin.staff import actions as staff_actions
from tocsin.staff import queries as staff

from .models import Notice, Review, Variant
from .text import languages
from .types import LanguageInfo

ACT = "notices.review"


def states(notice: int) -> tuple[LanguageInfo, ...]:
    """Return the languages of a notice, its own first, with their reviewers as their signatures verify now. Raises NotFound."""
    row = Notice.objects.filter(pk=notice).first()
    if row is None:
        raise NotFound(f"no notice {notice}")
    variants = list(Variant.objects.filter(notice=row, headed=False).order_by("pk"))
    own = next(v.locale for v in variants if not v.jurisdictions and not v.translation_of)
    by_locale: dict[str, list[tuple[str, str, str, str]]] = {}
    for v in variants:
        by_locale.setdefault(v.locale, []).append((v.key, v.subject, v.text, v.html))
    for n, x in enumerate(row.faq):
        by_locale.setdefault(x["locale"], []).append((f"faq.{n}", x["question"], x["answer"], ""))
    for x in row.statements:
        by_locale.setdefault(x["locale"], []).append((f"{x['kind']}", x["title"], x["text"], x["html"]))
    return tuple(_state(row.incident, locale, by_locale[locale], own=own) for locale in sorted(by_locale, key=lambda x: (x != own, x)))


def _state(incident: int, locale: str, texts: Sequence[tuple[str, str, str, str]], *, own: str) -> LanguageInfo:
    sha256 = languages.texts_sha256(texts)
    keys = tuple(sorted(key for key, *_ in texts))
    bare = LanguageInfo(locale=locale, variants=keys, sha256=sha256, needs_review=languages.normal(locale) != languages.normal(own))
    if not bare.needs_review:
        return bare
    reviewer, approval = _reviewed(incident, bare)
    return LanguageInfo(
        locale=locale, variants=keys, sha256=sha256, needs_review=True, reviewed_by=reviewer, approval=approval,
        waiting=None if reviewer else _waiting(incident, bare),
    )  # fmt: skip


def _reviewed(incident: int, language: LanguageInfo) -> tuple[str | None, int | None]:
    """Return the first reviewer of exactly these texts whose signature verifies, and the approval it stands under."""
    for row in Review.objects.filter(incident=incident, locale=language.locale, sha256=language.sha256).order_by("pk"):
        try:
            signed = staff.signed(row.approval, act=ACT, payload=_payload(incident, language, row.reviewer))
        except (Refused, NotFound):
            continue  # a key that was withdrawn, a row that nobody signed: it does not count
        if row.reviewer in signed.signed_by:
            return row.reviewer, row.approval
    return None, None


def _waiting(incident: int, language: LanguageInfo) -> int | None:
    for a in staff.approvals():
        if a.act == ACT and a.payload == _payload(incident, language, str(a.payload.get("reviewer"))):
            return a.id
    return None


def _payload(incident: int, language: LanguageInfo, reviewer: str) -> dict[str, Any]:
    """Return what a reviewer signs: whose texts these are, in which language, exactly which, and who read them."""
    return {
        "incident": incident,
        "locale": language.locale,
        "variants": list(language.variants),
        "texts_sha256": language.sha256,
        "reviewer": reviewer,
    }


def review(notice: int, *, locale: str, reviewer: str, approval: int | None, at: datetime, by: str) -> LanguageInfo:
    """Record that an operator has read a language of a notice and signed it; without an approval ask for it and raise Refused(approval=…).

    Raises NotFound for a notice, language or operator that does not exist; Refused for the notice's own language, for the person who drafted
    it, and while the reviewer's signature over exactly these texts is missing. Recorded already: returns it.
    """
    row = Notice.objects.filter(pk=notice).first()
    found = next((x for x in states(notice) if languages.normal(x.locale) == languages.normal(locale)), None)
    if row is None or found is None:
        raise NotFound(f"notice {notice} has no texts in {locale}")
    if not found.needs_review:
        raise Refused(f"{found.locale} is the notice's own language: those who release it read it themselves")
    if found.reviewed_by is not None:
        return found
    if not staff.operator(reviewer).can_sign:
        raise Refused(f"{reviewer} has no key here to sign with: enrol one with `tocsin operator add {reviewer}`")
    if reviewer == row.created_by:
        raise Refused(f"{reviewer} drafted notice {notice}: a second person must read the {found.locale} texts")
    payload = _payload(row.incident, found, reviewer)
    if approval is None:
        wanted = staff_actions.request(ACT, payload, by=by, at=at)
        raise Refused(f"{reviewer} must read the {found.locale} texts of notice {notice} and sign them", approval=wanted)
    with transaction.atomic():
        signed = staff.require(approval, act=ACT, payload=payload)
        if reviewer not in signed.signed_by:
            raise Refused(f"approval {approval} is signed by {', '.join(signed.signed_by)}, not by {reviewer}", approval=approval)
        staff_actions.close(approval, at=at)
        Review.objects.create(
            incident=row.incident, locale=found.locale, sha256=found.sha256, reviewer=reviewer, approval=approval, reviewed_at=at
        )
        body = {"notice": notice, "approval": approval, **payload}
        evidence.record(EventType.TRANSLATION_REVIEWED, at=at, actor=by, incident=row.incident, body=body)
    return next(x for x in states(notice) if x.locale == found.locale)


def require(notice: int) -> dict[str, list[str | int]]:
    """Return reviewer and approval of each language that needs one. Raises Refused, naming every language that lacks it."""
    found = states(notice)
    lacks = [x.locale for x in found if not x.releasable]
    if lacks:
        raise Refused(
            f"nobody has signed the translation into {', '.join(lacks)}: `tocsin notice review {notice} --language {lacks[0]} --reviewer NAME`; "
            "or draft the notice without it"
        )
    return {x.locale: [x.reviewed_by or "", x.approval or 0] for x in found if x.needs_review}
