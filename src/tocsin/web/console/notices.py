"""The notice editor: a draft beside its checks, its languages as tabs, the mail as it will look, and who has signed what.

An edit is checked while it is typed and stored as the next version; nothing here starts a mailing. All of it works without JavaScript: the
buttons post the same form, and the mail is posted into its frame. The frame is sandboxed and has a policy of its own, under which a notice could
fetch nothing even if a gate had failed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from csp.decorators import csp, csp_update
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_GET, require_POST

from tocsin.incidents import queries as incidents
from tocsin.kernel import clock
from tocsin.kernel.errors import BadInput, Fault, NotFound, Refused
from tocsin.notices import actions, queries
from tocsin.notices.types import NoticeTexts, VariantTexts
from tocsin.obligations import queries as obligations
from tocsin.staff import queries as staff

from .page import of_newest, page, staff_only, who

FIELD_CHARS_MAX = 200_000
LOOKS = (("text", "plain text alone"), ("standard", "our layout, made of the text"), ("mjml", "MJML"), ("html", "HTML of its own"))
FRAME = {"frame-src": ["'self'"]}
MAIL_POLICY = {
    "default-src": ["'none'"],
    "style-src": ["'unsafe-inline'"],
    "frame-ancestors": ["'self'"],
    "form-action": ["'none'"],
    "base-uri": ["'none'"],
    "sandbox": [""],
}


@staff_only
@require_GET
def latest(request: HttpRequest) -> HttpResponse:
    """Show the notices of the newest incident, or what to do when there is none."""
    return of_newest(request, lambda found: redirect(f"/incidents/{found.id}/notices"))


@staff_only
@require_GET
def list_(request: HttpRequest, incident: int) -> HttpResponse:
    """Show every version of an incident's notice."""
    rows = [{"notice": n, "languages": queries.languages(n.id)} for n in queries.notices(incident)[:20]]
    context = {"incident": incidents.incident(incident), "rows": rows, "outdated": queries.outdated(incident)}
    return page("notices", context, request)


@csp_update(FRAME)  # type: ignore[arg-type]
@staff_only
@require_GET
def edit(request: HttpRequest, notice: int) -> HttpResponse:
    """Show one text of a notice beside its checks."""
    incident, texts = queries.source(notice)
    return _editor(request, notice, incident, texts, _chosen(texts, request.GET.get("text", "")))


@csp_update(FRAME)  # type: ignore[arg-type]
@staff_only
@require_POST
def check(request: HttpRequest, notice: int) -> HttpResponse:
    """Check what stands in the form: the checks alone for a live page, the whole page otherwise. Stores nothing."""
    incident, texts, key = _typed(request, notice)
    if request.headers.get("HX-Request"):
        return page("notice_checks", _checks(incident, texts, key), request)
    return _editor(request, notice, incident, texts, key)


@csp_update(FRAME)  # type: ignore[arg-type]
@staff_only
@require_POST
def save(request: HttpRequest, notice: int) -> HttpResponse:
    """Store what stands in the form as the notice's next version."""
    incident, texts, key = _typed(request, notice)
    try:
        made = actions.draft(incident=incident, template=texts, at=clock.now(), by=who(request))
    except BadInput:
        return _editor(request, notice, incident, texts, key, status=400)
    messages.info(request, "Stored as a new version. Translations that changed need their reviewer's signature again.")
    return redirect(f"/notices/{made}?text={key}")


@csp(MAIL_POLICY)  # type: ignore[arg-type]
@xframe_options_sameorigin
@staff_only
def mail(request: HttpRequest, notice: int) -> HttpResponse:
    """Return the mail as a made-up customer would see it: as stored, or as it stands in the posted form. For the sandboxed frame."""
    if request.method == "POST":
        incident, texts, key = _typed(request, notice)
    else:
        incident, texts = queries.source(notice)
        key = _chosen(texts, request.GET.get("text", ""))
    tried = queries.tried(incident, texts, key=key)
    if tried.preview is not None and tried.preview.html:
        return HttpResponse(tried.preview.html)
    text = tried.preview.text if tried.preview else "It cannot be shown yet: see the faults beside the text."
    return HttpResponse(text, content_type="text/plain; charset=utf-8")


@staff_only
@require_POST
def review(request: HttpRequest, notice: int) -> HttpResponse:
    """Ask a reviewer for the signature under a translation, or record it once they have signed."""
    locale, reviewer = request.POST.get("locale", ""), request.POST.get("reviewer", "")
    back = redirect(f"/notices/{notice}?text={request.POST.get('text', '')}")
    state = next((x for x in queries.languages(notice) if x.locale == locale), None)
    waiting = state.waiting if state else None
    try:
        if waiting is not None:
            reviewer = str(staff.approval(waiting).payload["reviewer"])
        actions.review(notice, locale=locale, reviewer=reviewer, approval=waiting, at=clock.now(), by=who(request))
        messages.info(request, f"{locale}: read and signed by {reviewer}.")
    except Refused as e:
        asked = f" Sign with: tocsin approval sign {e.approval} --key {reviewer}.key" if e.approval else ""
        (messages.info if e.approval and waiting is None else messages.error)(request, f"{e.rule}.{asked}")
    except NotFound as e:
        messages.error(request, str(e))
    return back


def _chosen(texts: NoticeTexts, key: str) -> str:
    """Return the key of the text to show: the one asked for, else the notice's own."""
    keys = [v.key for v in texts.variants]
    return key if key in keys else keys[0]


def _typed(request: HttpRequest, notice: int) -> tuple[int, NoticeTexts, str]:
    """Return the notice's texts with one of them as it stands in the form."""
    incident, texts = queries.source(notice)
    key = _chosen(texts, request.POST.get("key", ""))
    return (
        incident,
        dataclasses.replace(texts, variants=tuple(_edited(v, request.POST) if v.key == key else v for v in texts.variants)),
        key,
    )


def _edited(v: VariantTexts, form: Mapping[str, str]) -> VariantTexts:
    """Return a variant as the form says it; line ends are the text's again, not the browser's."""

    def field(name: str, before: str) -> str:
        return form.get(name, before).replace("\r\n", "\n")[:FIELD_CHARS_MAX]

    look = form.get("look", _look(v))
    blocks = {}
    for line in field("blocks", "\n".join(_block_lines(v))).splitlines():
        heading, _, codes = line.partition("=")
        if heading.strip():
            blocks[heading.strip()] = tuple(c.strip() for c in codes.split(",") if c.strip())
    return dataclasses.replace(
        v,
        subject=field("subject", v.subject).strip(),
        text="" if look == "mjml" else field("body", v.text),
        mjml=field("mjml", v.mjml) if look == "mjml" else "",
        html=field("html", v.html) if look == "html" else "",
        layout="standard" if look == "standard" else "",
        blocks=blocks,
    )


def _look(v: VariantTexts) -> str:
    return "mjml" if v.mjml else "html" if v.html else v.layout or "text"


def _block_lines(v: VariantTexts) -> list[str]:
    return [f"{heading} = {', '.join(codes)}" for heading, codes in v.blocks.items()]


def _checks(incident: int, texts: NoticeTexts, key: str) -> dict[str, Any]:
    laws = {d.law: d.content for d in obligations.duties(incident) if d.duty == "individuals" and d.state in ("due", "open", "asked")}
    tried = queries.tried(incident, texts, key=key, wanted=laws)
    hard = [f for f in tried.findings if f.hard]
    return {
        "tried": tried,
        "faults": [_line(f) for f in tried.faults],
        "verdict": "cannot be stored yet" if tried.faults else "would not be sent" if hard else "passes",
        "css": "bad" if tried.faults or hard else "good",
    }


def _line(f: Fault) -> str:
    return f"{f'Line {f.line}, ' if f.line else ''}{f.field}: got {f.got}; wanted {f.wanted}"


def _editor(request: HttpRequest, notice: int, incident: int, texts: NoticeTexts, key: str, *, status: int = 200) -> HttpResponse:
    v = next(x for x in texts.variants if x.key == key)
    states = {x.locale: x for x in queries.languages(notice)}
    look = _look(v)
    context = {
        "incident": incidents.incident(incident),
        "notice": notice,
        "tabs": [{"key": x.key, "locale": x.locale, "here": x.key == key, "state": states.get(x.locale)} for x in texts.variants],
        "variant": v,
        "look": look,
        "looks": LOOKS,
        "blocks": "\n".join(_block_lines(v)),
        "rows": max(14, min(40, len((v.mjml or v.text).splitlines()) + 2)),
        "state": states.get(v.locale),
        "reviewers": [o.name for o in staff.operators() if o.active and o.can_sign],
        "releases": _releases(notice),
        "released": queries.released(notice),
        **_checks(incident, texts, key),
    }
    return page("notice", context, request, status=status)


def _releases(notice: int) -> Sequence[Mapping[str, Any]]:
    """Return the open requests for the two signatures under this notice."""
    return [
        {"id": a.id, "signed_by": a.signed_by, "granted": a.granted, "recipients": a.payload["recipients"], "letters": a.payload["letters"]}
        for a in staff.approvals()
        if a.act == "notices.start" and a.payload.get("notice") == notice
    ]
