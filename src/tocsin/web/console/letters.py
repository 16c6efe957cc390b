"""The page of an incident's letters: where those stand whom no mail reached, the bundles for the print house, what came back."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from tocsin.incidents import queries as incidents
from tocsin.kernel.errors import NotFound
from tocsin.notices import queries as notices

from .page import page, staff_only

COUNTRIES_SHOWN = 6


@staff_only
@require_GET
def show(request: HttpRequest, incident: int) -> HttpResponse:
    """Show letters, bundles and returned mail. The addresses are nowhere on it."""
    found = incidents.incident(incident)
    try:
        mailing = notices.latest_status(incident)
    except NotFound:
        return page("letters", {"incident": found, "mailing": None}, request)
    bundles = [{"bundle": b, "countries": _countries(dict(b.countries))} for b in notices.letter_bundles(mailing.mailing)]
    context = {
        "incident": found,
        "mailing": mailing,
        "queued": notices.letters_waiting(mailing.mailing),
        "uncovered": mailing.unreachable - mailing.substitute,
        "bundles": bundles,
        "reasons": [(name.replace("_", " "), n) for name, n in notices.letters_by_reason(mailing.mailing).items()],
    }
    return page("letters", context, request)


def _countries(counts: dict[str, int]) -> str:
    """Return the countries of a bundle, the largest first, the rest as a number."""
    ordered = sorted(counts.items(), key=lambda c: (-c[1], c[0]))
    words = [f"{country} {n:,}" for country, n in ordered[:COUNTRIES_SHOWN]]
    rest = len(ordered) - COUNTRIES_SHOWN
    return ", ".join([*words, f"{rest} more"] if rest > 0 else words)
