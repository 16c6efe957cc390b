"""The ENISA severity of a breach: SE = DPC x EI + CB. Advisory: it sorts the mail queue and never decides GDPR art. 34.

DPC 1 simple, 2 behavioural, 3 financial, 4 sensitive: the highest category present, credentials inheriting that of what they open; then
context up or down by 1, kept in 1 to 4. EI 0.25 negligible, 0.5 limited, 0.75 significant, 1 maximum. CB: confidentiality (0.25 known
recipients, 0.5 unknown), integrity and availability (0.25 recoverable, 0.5 not), malicious intent 0.5.
Source: ENISA, Recommendations for a methodology of the assessment of severity of personal data breaches, 2013.
"""

from __future__ import annotations

from collections.abc import Iterable

from tocsin.kernel.errors import ensure
from tocsin.obligations.types import Severity

SENSITIVE = frozenset({"medical", "medical_id", "health_insurance", "genetic", "biometric", "sensitive_data", "special_care_data"})
FINANCIAL = frozenset({
    "bank_account_number", "payment_card_number", "payment_card_code", "payment_card_expiry", "payment_card_track", "account_pin",
    "account_access_credentials", "financial_access_information", "tax_information", "credit_card_number", "fin_account_number",
    "fin_account_with_code", "financial_data",
})  # fmt: skip
BEHAVIOURAL = frozenset({"geolocation", "alpr", "work_evaluations", "behaviour"})
CATEGORIES = ((4, SENSITIVE), (3, FINANCIAL), (2, BEHAVIOURAL))
MANY_PEOPLE = 100
BANDS = ((2.0, "low"), (3.0, "medium"), (4.0, "high"))


def category(codes: Iterable[str]) -> int:
    """Return the data processing context of some codes, 1 to 4. `behaviour` stands for order history and the like."""
    present = frozenset(codes)
    return next((dpc for dpc, group in CATEGORIES if present & group), 1)


def severity(
    codes: Iterable[str],
    *,
    behind: Iterable[str] = (),
    context: int = 0,
    ei: float = 1.0,
    confidentiality: float = 0.5,
    integrity: float = 0.0,
    availability: float = 0.0,
    malicious: bool = True,
    people: int = 0,
    unintelligible: bool = False,
) -> Severity:
    """Return the score, its band and its reasons. `behind` lists what lies behind exposed credentials.

    The defaults are the worst that is not known to be false: fully identifiable people, unknown recipients, malicious intent.
    """
    ensure(ei in (0.25, 0.5, 0.75, 1.0) and -1 <= context <= 1, "EI or context outside the method")
    ensure({confidentiality, integrity, availability} <= {0.0, 0.25, 0.5}, "circumstances outside the method")
    own, opened = category(codes), category(behind)
    dpc = min(4, max(1, max(own, opened) + context))
    cb = confidentiality + integrity + availability + (0.5 if malicious else 0.0)
    score = dpc * ei + cb
    reasons = [
        f"DPC {max(own, opened)} of the {'accounts opened' if opened > own else 'elements'}, context {context:+d}: {dpc}",
        f"EI {ei}",
    ]
    reasons.append(f"CB {confidentiality} + {integrity} + {availability} + {0.5 if malicious else 0.0} = {cb}")
    flags = ([f"more than {MANY_PEOPLE} people"] if people > MANY_PEOPLE else []) + (["data unintelligible"] if unintelligible else [])
    return Severity(
        score=score,
        band=next((name for limit, name in BANDS if score < limit), "very high"),
        dpc=dpc,
        ei=ei,
        cb=cb,
        next_dpc=min(4, dpc + 1) * ei + cb,
        flags=tuple(flags),
        reasons=tuple(reasons),
    )
