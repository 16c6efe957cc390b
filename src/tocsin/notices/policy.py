"""Decisions of the notices room: what is signed, how blocks are counted, who is tried again when. Pure.

Formats:
    block hash   SHA-256 over the ids of the block's subjects in order, each as 8 bytes big-endian (PostgreSQL's int8send)
    manifest     the JSON that two people sign (`manifest`); its `blocks_sha256` is SHA-256 over one line per block, in the order of
                 their ids: "ID VARIANT-KEY PROVIDER N HASH\\n", hash in hexadecimal
    tried        one bit per place of a block, place n in byte n // 8, least significant bit first; set once the place has an outcome
    receipt      zlib of one line per outcome: "N\\tAT_US\\tKIND\\tCODE\\tENHANCED\\tTEXT\\n" in UTF-8, TEXT without tab, CR, LF and
                 addresses; its SHA-256 is over the lines before compression
"""

from __future__ import annotations

import hashlib
import math
import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from tocsin.kernel.errors import BadInput, ensure

from .types import Retry

BLOCK_ROWS = 1000
BLOCK_PLACES = 1024  # room for places in a number that also says the rank of the address
RANK_MAX = 9
LANES_MAX = 32  # the largest providers have lanes of their own, the rest share one
OTHER_LANE = "other"
LETTER_LANE = "letter"  # people without an e-mail address: nothing is sent, letters are queued at once
CONNECTIONS_PER_BLOCK_MAX = 8
VARIANTS_MAX = 64
SLOT_CHARS_MAX = 200
REFERENCES_MAX = 15  # at 200 characters each they fit a slot of 4,000
REPLY_CHARS_MAX = 300
AHEAD_S = 2.0  # a sender announces so much of its rate before it sends it
AHEAD_PER_CONNECTION = 8
DEFERRED_S_MAX = 6 * 3600.0
UNLIMITED_PER_S = 100_000.0  # at this rate and above no bucket is kept: no receiver and no core is so fast

# Content blocks of a notice, and which of them each code of a law's `must_include` asks for. Source: obligations/laws, all 52 codes.
BLOCKS = ("what_happened", "when", "data", "number", "who", "measures", "consequences", "advice", "services", "contacts")
ALWAYS = ("what_happened", "when", "data", "measures", "advice", "contacts")
_CODES: Mapping[str, tuple[str, ...]] = {
    "what_happened": ("incident_general_terms", "nature_of_breach", "circumstances", "how_it_happened", "cause", "extent"),
    "when": ("date_of_breach", "date_of_discovery", "date_of_awareness", "time_frame_of_exposure"),
    "data": ("data_types",),
    "number": ("number_affected",),
    "who": (
        "sender_name_contact",
        "parent_company_name",
        "identity_of_intruder_if_known",
        "identity_of_third_parties_that_acquired_data",
        "statement_entity_knows_of_acquisition",
    ),
    "measures": (
        "steps_taken_by_entity",
        "measures_taken_or_proposed",
        "security_measures",
        "regulator_informed",
        "delayed_by_law_enforcement",
        "reasons_for_delay",
    ),
    "consequences": ("likely_consequences", "secondary_damage"),
    "advice": (
        "steps_individuals_can_take",
        "advice_remain_vigilant",
        "advice_report_identity_theft",
        "advice_review_statements",
        "statement_sources_help_avoid_identity_theft",
        "freeze_rights",
        "freeze_is_free",
        "fraud_alert_and_freeze_statement",
        "right_to_police_report",
        "right_to_complain",
        "fcra_rights",
        "legal_rights_and_remedies",
    ),
    "services": ("services_offered", "services_offer_if_source", "remediation_services"),
    "contacts": (
        "contact",
        "contact_phone",
        "contact_toll_free_or_email_web_postal",
        "toll_free_number",
        "two_contact_channels",
        "website",
        "dpo_or_contact",
        "attorney_general_contact",
        "agency_contacts_for_breach_help",
        "ftc_contact",
        "cra_contacts",
        "cra_contacts_if_ssn_or_dl",
    ),
}
BLOCK_OF: Mapping[str, str] = {code: block for block, codes in _CODES.items() for code in codes}
STRUCK_BY: Mapping[str, str] = {"nature_of_breach": "what_happened", "number_of_residents_affected": "number"}


def blocks_wanted(must_include: Iterable[str], must_not_include: Iterable[str] = ()) -> tuple[frozenset[str], frozenset[str]]:
    """Return (blocks a text must hold, blocks it must not) for the codes of its laws.

    Raises BadInput for codes it does not know, and where one law asks for what another strikes: such people need a variant of their own.
    """
    codes, struck = set(must_include), set(must_not_include)
    unknown = sorted((codes - BLOCK_OF.keys()) | (struck - STRUCK_BY.keys()))
    if unknown:
        raise BadInput.of("must_include", unknown, "codes of the law files")
    required, forbidden = {BLOCK_OF[c] for c in codes}, {STRUCK_BY[c] for c in struck}
    if required & forbidden:
        raise BadInput.of("must_include", sorted(required & forbidden), "blocks that no law of the same readers strikes")
    return frozenset(required | (set(ALWAYS) - forbidden)), frozenset(forbidden)


# --- what two people sign -----------------------------------------------------------------------------------------------------------


class BlockLine(NamedTuple):
    """A frozen block, as the manifest names it."""

    id: int
    variant: str
    provider: str
    n: int
    sha256: bytes


def block_sha256(subjects: Sequence[int]) -> bytes:
    """Return the hash of a block's recipients."""
    return hashlib.sha256(struct.pack(f">{len(subjects)}q", *subjects)).digest()


def blocks_sha256(lines: Iterable[BlockLine]) -> str:
    """Return the hash over all blocks of a mailing, in the order of their ids."""
    digest, before = hashlib.sha256(), -1
    for b in lines:
        ensure(b.id > before, "blocks come in the order of their ids")
        before = b.id
        digest.update(f"{b.id} {b.variant} {b.provider} {b.n} {b.sha256.hex()}\n".encode())
    return digest.hexdigest()


def manifest(
    *,
    mailing: int,
    notice: int,
    incident: int,
    exposure: int,
    variants: Mapping[str, str],
    languages: Mapping[str, Sequence[str]],
    reviews: Mapping[str, Sequence[str | int]],
    statements: Mapping[str, str],
    lines: Sequence[BlockLine],
    merged: int,
    dkim: str,
) -> dict[str, Any]:
    """Return exactly what a start means: texts, recipients, counts, exposure, and the name of the signing key. JSON without floats.

    `variants`: key -> hash of its template; `languages`: locale -> the keys of its variants; `reviews`: locale -> (reviewer, approval);
    `statements`: press statement, memo to staff and questions by name and language -> hash.
    """
    by_lane: dict[str, int] = {}
    for b in lines:
        by_lane[b.provider] = by_lane.get(b.provider, 0) + b.n
    letters = by_lane.get(LETTER_LANE, 0)
    return {
        "mailing": mailing,
        "notice": notice,
        "incident": incident,
        "exposure": exposure,
        "variants": dict(sorted(variants.items())),
        "languages": {locale: {key: variants[key] for key in sorted(keys)} for locale, keys in sorted(languages.items())},
        "statements": dict(sorted(statements.items())),
        "reviews": {locale: list(by) for locale, by in sorted(reviews.items())},
        "blocks": len(lines),
        "blocks_sha256": blocks_sha256(lines),
        "recipients": sum(by_lane.values()),
        "by_mail": sum(by_lane.values()) - letters,
        "letters": letters,
        "merged": merged,
        "lanes": dict(sorted(by_lane.items())),
        "dkim": dkim,
    }


# --- slots and replies --------------------------------------------------------------------------------------------------------------

_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_LINKISH = re.compile(r"(?i)\b(?:https?|ftp|mailto|javascript|data):|www\.|[<>]|\b[a-z0-9-]+\.(?:[a-z]{2,24})\b(?=/)")
_ADDRESS = re.compile(r"[^\s<>()\[\],;:\"']+@[^\s<>()\[\],;:\"']+")


def vetted(value: str, *, instead: str) -> str:
    """Return a slot's value as it may stand in a notice, `instead` where it is nothing that a name or a number could be.

    No control or direction characters, no leading dot, nothing that reads as a link or markup: a customer chose this value, and a notice
    must not carry a stranger's link to that customer under our signature.
    """
    clean = " ".join(_UNFIT.sub(" ", value).split()).lstrip(".")
    return clean if clean and len(clean) <= SLOT_CHARS_MAX and not _LINKISH.search(clean) else instead


def references(external_ids: Sequence[str]) -> str:
    """Return the customer numbers that a notice speaks of, in one line; beyond REFERENCES_MAX, how many more there are."""
    shown = ", ".join(vetted(e, instead="-") for e in external_ids[:REFERENCES_MAX])
    more = len(external_ids) - REFERENCES_MAX
    return f"{shown} and {more} more" if more > 0 else shown


def masked(text: str, address: str) -> str:
    """Return a receiver's reply without the recipient's address and without any other: it goes into tables and into the evidence."""
    text = _UNFIT.sub(" ", text)
    if "@" in text:
        text = _ADDRESS.sub("[address]", text)
    local = address.partition("@")[0].lower()
    return _without(text, local)[:REPLY_CHARS_MAX] if len(local) > 1 and local in text.lower() else text[:REPLY_CHARS_MAX]


def masked_address(address: str) -> str:
    """Return an address as staff may see it in a list: first letter, domain."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}…@{domain}"


def _without(text: str, word: str) -> str:
    """Return the text with a word of it masked. No pattern is compiled for it: that would cost more than signing the message."""
    out, at, small = [], 0, text.lower()
    if len(small) != len(text):
        return "[reply with an address]"  # letters whose small form has another length: places would not fit
    while (found := small.find(word, at)) >= 0:
        end = found + len(word)
        inside = small[found - 1 : found].isalnum() or small[end : end + 1].isalnum()
        out += [text[at:found], text[found:end] if inside else "[address]"]
        at = end
    return "".join([*out, text[at:]])


# --- the bits and counts of a block ---------------------------------------------------------------------------------------------------


def places(bits: bytes) -> set[int]:
    """Return the places whose bit is set."""
    return {8 * i + k for i, byte in enumerate(bits) if byte for k in range(8) if byte >> k & 1}


def with_places(bits: bytes, more: Iterable[int], *, n: int) -> bytes:
    """Return the bits of a block of `n` places with more of them set."""
    out = bytearray(bits.ljust((n + 7) // 8, b"\x00"))
    for place in more:
        ensure(0 <= place < n, f"place {place} is not in a block of {n}")
        out[place // 8] |= 1 << place % 8
    return bytes(out)


def lost(*, recipients: int, waiting: int, handed_over: int, deferred: int, bounced: int, letters: int) -> int:
    """Return how many recipients are in no state at all; 0 always, or a defect has eaten somebody."""
    return recipients - waiting - handed_over - deferred - bounced - letters


def text_sha256(html: str, text: str) -> bytes:
    """Return the hash of a published notice: both forms, each after its length in bytes as 8 bytes big-endian."""
    digest = hashlib.sha256()
    for part in (html.encode(), text.encode()):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


# --- pace ---------------------------------------------------------------------------------------------------------------------------


def connections_for_block(*, lane_cap: int, lane_held: int, mailing_cap: int, mailing_held: int) -> int:
    """Return how many connections a new block may open, 0 for none now. Never more than half a cap (rounded up), so that two can work."""
    free = min(lane_cap - lane_held, mailing_cap - mailing_held)
    fair = min((lane_cap + 1) // 2, (mailing_cap + 1) // 2, CONNECTIONS_PER_BLOCK_MAX)
    return max(0, min(free, fair))


def kind_of(kind: str, enhanced: str) -> str:
    """Return what an outcome means for the person: a refusal for security or policy (5.7.x) speaks of us, not of the address: try again.

    Source: RFC 3463 s3.8. Wrongly giving a person up costs a letter or a person not told; trying again costs hours.
    """
    return "deferred" if kind == "bounced" and enhanced.startswith("5.7.") else kind


_ASKED = re.compile(
    r"(?i)\b(?:in|after|wait|for)\W{0,3}(\d{1,5})\s*(s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?)\b|\b(\d{1,5})\s*(seconds?|minutes?|hours?)\b"
)
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def asked_s(code: int, text: str) -> float:
    """Return how long a deferral asks us to wait ("try again in 300 seconds"), 0 if it names no time; at most DEFERRED_S_MAX."""
    found = _ASKED.search(text) if 400 <= code < 500 else None
    if found is None:
        return 0.0
    number, unit = (found.group(1), found.group(2)) if found.group(1) else (found.group(3), found.group(4))
    return min(float(number) * _UNITS[unit[0].lower()], DEFERRED_S_MAX)


def next_try(*, tries: int, at: datetime, retry: Retry, spread: int, asked_s: float = 0.0) -> datetime | None:
    """Return when a recipient that was sent to `tries` times is tried again; None: give up. `spread` (0-99) moves it up to 10 % later.

    Never before the receiver asked for (`asked_s`). Where a drill shortens the first wait, it shortens that in the same measure.
    """
    if tries >= retry.tries_max:
        return None
    wait_s = min(retry.first_s * 2.0 ** (tries - 1), max(DEFERRED_S_MAX, retry.first_s))
    wait_s = max(wait_s, asked_s * min(1.0, retry.first_s / Retry().first_s))
    return at + timedelta(seconds=wait_s * (1 + spread / 1000))


def ahead(*, per_s: float, connections: int) -> int:
    """Return how many recipients a sender announces at once: what a lost machine may put in doubt beyond what it had shipped."""
    return max(AHEAD_PER_CONNECTION * connections, math.ceil(min(per_s, BLOCK_ROWS) * AHEAD_S))


SOFT_SHARES = (1 / 12, 1 / 6, 1 / 3, 1 / 3)  # of the days: 6 h, 12 h, a day, a day with the default of three


def soft_try(*, reports: int, at: datetime, retry: Retry) -> datetime | None:
    """Return when a mailbox that fails for now is tried again after so many reports of it; None: treat it as failed."""
    if retry.soft_days <= 0 or reports > len(SOFT_SHARES):
        return None
    return at + timedelta(days=retry.soft_days * SOFT_SHARES[reports - 1])


def wire_number(place: int, rank: int) -> int:
    """Return the number under which a place of a block is sent to the person's address of this rank (0: the first).

    It stands in the bounce address and in the journal: a late report about one address says nothing about the next.
    """
    ensure(0 <= place < BLOCK_PLACES and 0 <= rank <= RANK_MAX, f"no place {place}, rank {rank}")
    return rank * BLOCK_PLACES + place


def place_of(number: int) -> tuple[int, int]:
    """Return (place, rank) of a number made by `wire_number`."""
    rank, place = divmod(number, BLOCK_PLACES)
    return place, rank


# --- receipts -----------------------------------------------------------------------------------------------------------------------


class Line(NamedTuple):
    """One outcome in a receipt."""

    n: int
    at_us: int
    kind: str
    code: int
    enhanced: str
    text: str


def receipt(lines: Iterable[Line]) -> tuple[bytes, bytes]:
    """Return (compressed lines, SHA-256 of the lines)."""
    plain = "".join(f"{x.n}\t{x.at_us}\t{x.kind}\t{x.code}\t{x.enhanced}\t{' '.join(x.text.split())}\n" for x in lines).encode()
    return zlib.compress(plain, 6), hashlib.sha256(plain).digest()


def read_receipt(packed: bytes) -> Iterator[Line]:
    """Yield the outcomes of a receipt."""
    for line in zlib.decompress(packed).decode().splitlines():
        n, at_us, kind, code, enhanced, text = line.split("\t")
        yield Line(int(n), int(at_us), kind, int(code), enhanced, text)
