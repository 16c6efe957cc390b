"""The log: who did what when, how far it is sealed, and the receipt of one customer's notification."""

from __future__ import annotations

import csv
import io
import json

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET, require_http_methods

from tocsin.evidence import actions, queries
from tocsin.evidence.types import OF_CUSTOMERS, EventType
from tocsin.kernel import clock
from tocsin.kernel.errors import NotFound
from tocsin.subjects import queries as subjects

from .page import page, staff_only, who

PAGE_ROWS = 100
EXPORT_ROWS = 10_000


def _wanted(request: HttpRequest) -> list[EventType] | None:
    name = request.GET.get("type", "").upper()
    return [EventType[name]] if name in EventType.__members__ else None


@staff_only
@require_GET
def show(request: HttpRequest) -> HttpResponse:
    """Show the newest acts, filtered by type."""
    types = _wanted(request)
    context = {
        "status": queries.log_status(),
        "counts": [(t, n) for t, n in queries.counts().items()],
        "entries": queries.activity(limit=PAGE_ROWS, types=types, newest_first=True),
        "types": [t for t in EventType if t not in OF_CUSTOMERS],
        "wanted": types[0] if types else None,
    }
    return page("log", context, request)


@staff_only
@require_GET
def export(request: HttpRequest) -> HttpResponse:
    """Return the acts as CSV, oldest first."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("entry", "at", "type", "actor", "incident", "body"))
    for e in queries.activity(limit=EXPORT_ROWS, types=_wanted(request)):
        row = (e.id, clock.iso(e.at), e.type.name.lower(), e.actor, e.incident, json.dumps(e.body, sort_keys=True))
        writer.writerow([_cell(value) for value in row])
    return HttpResponse(
        out.getvalue(), content_type="text/csv; charset=utf-8", headers={"Content-Disposition": 'attachment; filename="log.csv"'}
    )


def _cell(value: object) -> object:
    """Return a cell that no spreadsheet takes for a formula: names come from people. Source: OWASP, CSV injection."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else value


@staff_only
@require_http_methods(["GET", "POST"])
def receipt(request: HttpRequest) -> HttpResponse:
    """Show what was sent to one customer, when, and the proof of it. The look-up itself is an entry of the log."""
    reference = request.POST.get("customer", "").strip()
    if not reference:
        return page("receipt", {"reference": ""}, request)
    found = subjects.by_email(reference) if "@" in reference else subjects.by_external_ids([reference]).get(reference)
    actions.record(EventType.PERSONAL_DATA_READ, at=clock.now(), actor=who(request), body={"subject": found, "why": "receipt"})
    if found is None:
        return page("receipt", {"reference": reference, "missing": "No such customer is in the register."}, request, status=404)
    context = {"reference": reference, "subject": found, "entries": queries.entries_of_subject(found)}
    try:
        entry = queries.newest_entry_of_subject(found, EventType.NOTICE_HANDED_OVER)
        proof = queries.prove(entry.id, subject_salt=subjects.salts([found]).get(found))
        context |= {"entry": entry, "proof": proof, "event": proof.event_json.decode(), "salt": proof.salt.hex(), "leaf": proof.leaf.hex()}
    except NotFound as e:
        context["missing"] = str(e)
    return page("receipt", context, request)
