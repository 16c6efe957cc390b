"""The notice on the company's own web server: pages written to a folder, and proof of when they stood there; press statement, memo to staff.

Only what two people signed is written: the pages of a notice whose mailing was approved, or under an approval of their own
(`notices.publish`) where nobody can be mailed and the site is the substitute notice. Proof of posting is a row of looks: each fetches every
page and compares it byte for byte with what was written, each is an entry of the evidence, and between two looks nothing is claimed.
"""

from __future__ import annotations

import hashlib
import http.client
import ssl
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from django.db import transaction

from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType
from tocsin.incidents import queries as incidents
from tocsin.kernel import config
from tocsin.kernel.errors import BadInput, NotFound, Refused
from tocsin.staff import actions as staff_actions
from tocsin.staff import queries as staff

from . import compose, frozen, policy, reviews
from .models import Mailing, Notice, PagesSeen, PagesWritten, SitePublication
from .text import pages
from .types import FaqTexts, MailingState, Outdated, PageSeen, Posting, SitePages

ACT = "notices.publish"
FETCH_S = 15.0
PAGE_BYTES_MAX = 2_000_000
REDIRECTS_MAX = 3
UNSIGNED = (MailingState.READY.value, MailingState.DISCARDED.value)


def write_pages(notice: int, *, folder: Path, approval: int | None, at: datetime, by: str) -> SitePages:
    """Write the pages of a notice into a folder (made if need be; files of other names are left alone) and record their hashes.

    Raises Refused for hard findings, for an unsigned translation, and, where no mailing of this notice was approved, with the approval that two people
    must sign. A crash between files and record costs a repeat: the same notice gives the same bytes.
    """
    row = _notice(notice)
    hard = [f for f in compose.check(compose.stored(notice), required=policy.ALWAYS, forbidden=()) if f.hard]
    if hard:
        raise Refused("the notice does not pass: " + "; ".join(f"{f.variant}: {f.message}" for f in hard[:5]))
    signed_off = reviews.require(notice)
    signed = _approved(row, signed_off, approval=approval, at=at, by=by)
    made = _files(row)
    digests = {path: hashlib.sha256(raw).hexdigest() for path, raw in sorted(made.items())}
    _put(folder, made)
    with transaction.atomic():
        if signed is not None:
            staff_actions.close(signed, at=at)
        written = PagesWritten.objects.create(notice=row, folder=str(folder), pages=digests, written_at=at, written_by=by)
        body = {"notice": notice, "pages": digests, "approval": signed}
        evidence.record(EventType.SITE_PAGES_WRITTEN, at=at, actor=by, incident=row.incident, body=body)
    return SitePages(id=written.pk, notice=notice, folder=str(folder), pages=digests, written_at=at)


def _put(folder: Path, made: Mapping[str, bytes]) -> None:
    """Write files so that a server never reads half of one."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, raw in made.items():
            aside = folder / f".{path}.new"
            aside.write_bytes(raw)
            aside.replace(folder / path)
    except OSError as e:
        raise BadInput.of("out", str(folder), f"a folder that can be written to ({e.strerror})") from None


def _files(row: Notice) -> dict[str, bytes]:
    variants = [v for v in compose.stored(row.pk) if not v.headed]
    return pages.files(variants, [FaqTexts(**x) for x in row.faq], brand=config.current().company.brand)


def _approved(row: Notice, signed_off: Mapping[str, Any], *, approval: int | None, at: datetime, by: str) -> int | None:
    """Return the approval to close, None where the mailing's own covers it. Raises Refused(approval=…) if neither stands."""
    mailing = Mailing.objects.filter(notice=row).exclude(state__in=UNSIGNED).first()
    if mailing is not None and mailing.approval is not None:
        staff.signed(mailing.approval, act=frozen.ACT, payload=mailing.manifest)
        return None
    payload = {
        "notice": row.pk,
        "incident": row.incident,
        "variants": {v.key: bytes(v.template_sha256).hex() for v in row.variants.order_by("key")},
        "statements": frozen.statements_of(row),
        "reviews": dict(signed_off),
    }
    if approval is None:
        wanted = staff_actions.request(ACT, payload, by=by, at=at)
        raise Refused(f"{ACT} needs the approval of two people", approval=wanted)
    staff.require(approval, act=ACT, payload=payload)
    return approval


def write_statements(notice: int, *, folder: Path, approval: int | None, at: datetime, by: str) -> dict[str, str]:
    """Write press statement and memo to staff as text and HTML into a folder; return file -> SHA-256. Signatures as for `write_pages`."""
    row = _notice(notice)
    if not row.statements:
        raise NotFound(f"notice {notice} has no statement: write [[statement]] into its notice.toml and draft it again")
    signed = _approved(row, reviews.require(notice), approval=approval, at=at, by=by)
    made: dict[str, bytes] = {}
    for x in row.statements:
        name = f"{x['kind']}.{x['locale']}"
        made[f"{name}.txt"] = f"{x['title']}\n\n{x['text'].strip()}\n".encode()
        made[f"{name}.html"] = x["html"].encode()
    digests = {path: hashlib.sha256(raw).hexdigest() for path, raw in sorted(made.items())}
    _put(folder, made)
    with transaction.atomic():
        if signed is not None:
            staff_actions.close(signed, at=at)
        body = {"notice": notice, "files": digests, "facts": row.facts, "approval": signed}
        evidence.record(EventType.STATEMENT_RELEASED, at=at, actor=by, incident=row.incident, body=body)
    return digests


def verify(notice: int, *, url: str, at: datetime, by: str) -> list[PageSeen]:
    """Fetch every page of a notice from where it should stand, compare, and record the look; return what was found of each.

    `url`: the folder's address, http or https. A page that cannot be fetched is a finding, not an error: that it was not there is what the look
    shows. Raises NotFound before pages were written, BadInput for what is no such address.
    """
    written = PagesWritten.objects.filter(notice_id=notice).order_by("-pk").first()
    if written is None:
        raise NotFound(f"no pages of notice {notice} were written: `tocsin notice site {notice} --out DIR`")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise BadInput.of("verify", url, "the address of the folder on the web server, http:// or https://")
    base = url if url.endswith("/") else url + "/"
    found = [_look(base, path, sha256) for path, sha256 in written.pages.items()]
    wrong = {x.path: x.found for x in found if not x.ok}
    with transaction.atomic():
        PagesSeen.objects.create(written=written, url=base, wrong=wrong, seen_at=at, seen_by=by)
        body = {"notice": notice, "url": base, "pages": written.pages, "wrong": wrong}
        evidence.record(EventType.SITE_PAGES_SEEN, at=at, actor=by, incident=written.notice.incident, body=body)
    return found


def _look(base: str, path: str, sha256: str) -> PageSeen:
    try:
        status, raw = _fetch(urljoin(base, path))
    except (OSError, http.client.HTTPException) as e:
        return PageSeen(path, sha256, ok=False, found=f"no answer: {e}"[:200])
    if status != http.HTTPStatus.OK:
        return PageSeen(path, sha256, ok=False, found=f"status {status}")
    digest = hashlib.sha256(raw).hexdigest()
    return PageSeen(path, sha256, ok=digest == sha256, found="" if digest == sha256 else f"{len(raw)} other bytes, SHA-256 {digest}")


def _fetch(url: str) -> tuple[int, bytes]:
    """Return status and body; follows few redirects, and only on the same host."""
    host = urlsplit(url).hostname
    for _ in range(REDIRECTS_MAX + 1):
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        more: dict[str, Any] = {"context": ssl.create_default_context()} if parts.scheme == "https" else {}
        connection = kind(parts.hostname or "", parts.port, timeout=FETCH_S, **more)
        try:
            connection.request("GET", parts.path or "/", headers={"Cache-Control": "no-cache", "Accept-Encoding": "identity"})
            reply = connection.getresponse()
            raw, where = reply.read(PAGE_BYTES_MAX), reply.headers.get("Location", "")
        finally:
            connection.close()
        onward = urljoin(url, where)
        if not 300 <= reply.status < 400 or urlsplit(onward).hostname != host or urlsplit(onward).scheme not in ("http", "https"):
            return reply.status, raw
        url = onward
    return reply.status, raw


def posting(notice: int) -> list[Posting]:
    """Return the proof of posting of a notice's newest pages at each address that was looked at. `since_at` begins anew after a failed look."""
    written = PagesWritten.objects.filter(notice_id=notice).order_by("-pk").first()
    if written is None:
        return []
    by_url: dict[str, list[PagesSeen]] = {}
    for seen in PagesSeen.objects.filter(written=written).order_by("seen_at", "pk"):
        by_url.setdefault(seen.url, []).append(seen)
    found = []
    for url, looks in sorted(by_url.items()):
        last_wrong = max((i for i, x in enumerate(looks) if x.wrong), default=-1)
        good = [x.seen_at for x in looks[last_wrong + 1 :]]
        found.append(
            Posting(
                notice=notice,
                url=url,
                pages=written.pages,
                since_at=good[0] if good else None,
                until_at=good[-1] if good else None,
                looks=len(looks),
                failed=sum(bool(x.wrong) for x in looks),
            )
        )
    return found


def outdated(incident: int) -> list[Outdated]:
    """Return every notice and site notice of an incident that says what a later fact no longer says, newest first.

    A notice pins the ids of the facts that fill it; a fact superseded since makes it wrong, whoever has read it already.
    """
    ledger = {f.id: f for f in incidents.facts(incident, superseded=True)}

    def newest(fact: int) -> int:
        while (later := ledger[fact].superseded_by) is not None:
            fact = later
        return fact

    found = []
    rows: list[tuple[str, int, Mapping[str, int]]] = [
        *(("notice", pk, facts) for pk, facts in Notice.objects.filter(incident=incident).order_by("-pk").values_list("pk", "facts")),
        *(
            ("site notice", pk, facts)
            for pk, facts in SitePublication.objects.filter(incident=incident).order_by("-pk").values_list("pk", "facts")
        ),
    ]
    for what, pk, facts in rows:
        for key, fact in sorted(facts.items()):
            now = newest(fact) if fact in ledger else fact
            if now != fact:
                open_now = ledger[now].audience == "all"
                found.append(
                    Outdated(
                        what=what,
                        id=pk,
                        key=key,
                        fact=fact,
                        said=ledger[fact].value,
                        fact_now=now,
                        now=ledger[now].value if open_now else "",
                    )
                )
    return found


def _notice(notice: int) -> Notice:
    row = Notice.objects.filter(pk=notice).first()
    if row is None:
        raise NotFound(f"no notice {notice}")
    return row
