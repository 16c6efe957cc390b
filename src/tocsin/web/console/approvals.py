"""What waits for two people, and how to sign it."""

from __future__ import annotations

import json

from django.http import HttpRequest, HttpResponse

from tocsin.staff import queries

from .page import page, staff_only

DRAFTED = ("drafted",)


@staff_only
def show(request: HttpRequest) -> HttpResponse:
    """Show open approvals, exactly as they would be signed, and those already used."""
    approvals = [
        {
            "id": a.id,
            "act": a.act,
            "granted": a.granted,
            "signed_by": a.signed_by,
            "roles": a.roles,
            "requested_by": a.requested_by,
            "requested_at": a.requested_at,
            "hex": a.digest.hex(),
            "text": json.dumps(a.payload, indent=2, sort_keys=True, ensure_ascii=False),
        }
        for a in queries.approvals(open_only=False)
    ]
    operators = queries.operators()
    context = {
        "approvals": sorted(approvals, key=lambda a: bool(a["granted"])),
        "team": [o for o in operators if o.roles != DRAFTED],
        "drafted": [o.name for o in operators if o.roles == DRAFTED],
    }
    return page("approvals", context, request)
