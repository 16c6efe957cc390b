"""What must be gone before a person sees a text: card numbers, security codes, social security numbers, passwords.

Recall first: a removed order number costs a look-up, since the mail itself stays sealed as it came; a shown card number cannot be unseen.
Source: ISO/IEC 7812-1 (issuer prefixes, Luhn check digit); SSA, numbers never given out (000, 666, 900-999; group 00; serial 0000).
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

CARD, CODE, SSN, PASSWORD = "[card number removed]", "[security code removed]", "[social security number removed]", "[password removed]"
GAP_MAX = 4  # between two digits of a number: blank, dash, dot, slash, a line break and the quote mark behind it
RUN_DIGITS_MAX = 2_000

_ISSUERS: tuple[tuple[range, int, tuple[int, ...]], ...] = (  # leading digits, how many they are, lengths of the number
    (range(4, 5), 1, (16, 19, 13)),
    (range(51, 56), 2, (16,)),
    (range(2221, 2721), 4, (16,)),
    (range(34, 35), 2, (15,)),
    (range(37, 38), 2, (15,)),
    (range(6011, 6012), 4, (16, 19)),
    (range(644, 660), 3, (16, 19)),
    (range(3528, 3590), 4, (16, 19)),
    (range(300, 306), 3, (14, 16, 19)),
    (range(36, 37), 2, (14, 16, 19)),
    (range(38, 40), 2, (14, 16, 19)),
    (range(62, 63), 2, (16, 17, 18, 19)),
    (range(50, 51), 2, (16, 18, 19)),
    (range(56, 59), 2, (16, 18, 19)),
    (range(63, 64), 2, (16, 18, 19)),
    (range(67, 68), 2, (16, 18, 19)),
)
_RUN = re.compile(rf"[0-9](?:[ \-./\n>]{{0,{GAP_MAX}}}[0-9]){{12,}}")
_CODE = re.compile(
    r"\b(?:cvv2?|cvc2?|cv2|cid|security code|card code)\b[^\w\n]{0,4}(?:is|was|number|no)?[^\w\n]{0,4}([0-9]{3,4})(?![0-9])", re.IGNORECASE
)
_SSN = re.compile(r"(?<![0-9])(?!000|666|9)[0-9]{3}(?P<gap> ?[-./ ] ?)(?!00)[0-9]{2}(?P=gap)(?!0000)[0-9]{4}(?![0-9]|[-./ ][0-9])")
_SSN_NAMED = re.compile(
    r"(?:\bssn\b|\bsocial(?: security)?(?: number| no\.?)?)[^0-9\n]{0,20}([0-9]{3}[ \-./]{0,3}[0-9]{2}[ \-./]{0,3}[0-9]{4})(?![0-9])",
    re.IGNORECASE,
)
_PASSWORD = re.compile(
    r"\b(?:password|passwort|passphrase|passcode|pass word|pwd|pw|pin)\b(?:[ \t]+(?:here|there|for [\w ]{1,30}?))?[ \t]*"
    r"(?P<link>:|=|\bis\b[ \t]*:?|\bwas\b[ \t]*:?|\bist\b)[ \t]*(?P<secret>\"[^\"\n]{1,80}\"|'[^'\n]{1,80}'|“[^”\n]{1,80}”|\S{1,80})",
    re.IGNORECASE,
)
# Words that follow "my password is" when no password follows.
_NO_SECRET = frozenset(
    "not no a an the my your still now always never being been already also only too very invalid wrong expired dead ended changed reset gone lost "
    "stolen safe unsafe weak strong old new different unique same compromised exposed leaked hashed encrypted refused rejected required needed "
    "that this it in on at of for to by from with and or but so because if what which who how why where when known unknown correct incorrect "
    "working blocked locked used reused stored kept sent out under affected okay ok fine good bad long short there here terminated involved part "
    "among unsafe. safe? enough secure insecure taken".split()
)


class Redacted(NamedTuple):
    """The text without secrets, and how many of each were removed."""

    text: str
    cards: int
    others: int


def redact(text: str) -> Redacted:
    """Return the text with every secret replaced by a word that says what stood there."""
    flat = _flat(text)
    cards = _cards(flat)
    spans = [(a, b, CARD) for a, b in cards]
    spans += [(*m.span(1), CODE) for m in _CODE.finditer(flat)]
    spans += [(*m.span(1), SSN) for m in _SSN_NAMED.finditer(flat)]
    spans += [(*m.span(), SSN) for m in _SSN.finditer(flat)]
    spans += [(*m.span("secret"), PASSWORD) for m in _PASSWORD.finditer(flat) if _is_secret(m)]
    out, end, others = [], 0, 0
    for a, b, label in sorted(spans):
        if a < end:
            continue
        out += [text[end:a], label]
        others += label != CARD
        end = b
    return Redacted("".join([*out, text[end:]]), len(cards), others)


def _is_secret(found: re.Match[str]) -> bool:
    secret, link = found["secret"], found["link"].strip().lower()
    if secret[0] in "\"'“" or any(c.isdigit() for c in secret) or secret.startswith("["):
        return not secret.startswith("[")
    word = secret.strip(".,;:!?").lower()
    if any(not c.isalnum() for c in word.replace("-", "").replace("'", "").replace("’", "")):
        return bool(word)
    return link not in {"was"} and bool(word) and word not in _NO_SECRET


def _flat(text: str) -> str:
    """Return the text of equal length in which every digit is ASCII, every blank a blank, every dash a dash."""
    if text.isascii():
        return text.replace("\t", " ").replace("_", "-")
    return "".join(map(_flat_char, text))


def _flat_char(c: str) -> str:
    if c < "\x80":
        return {"\t": " ", "_": "-"}.get(c, c)
    plain = unicodedata.normalize("NFKC", c)
    digit = unicodedata.decimal(plain, None) if len(plain) == 1 else None
    if digit is not None:
        return str(digit)
    kind = unicodedata.category(c)
    if kind in {"Zs", "Cf", "Zl", "Zp"} or c == "\u3164":
        return " "
    if kind == "Pd" or c in "−⁃":
        return "-"
    if c in "·•․‧∙。．｡":
        return "."
    return plain if len(plain) == 1 else c


def _cards(flat: str) -> list[tuple[int, int]]:
    """Return the spans of card numbers in a flattened text."""
    spans: list[tuple[int, int]] = []
    for run in _RUN.finditer(flat):
        places = [i for i in range(*run.span()) if "0" <= flat[i] <= "9"][:RUN_DIGITS_MAX]
        digits = [int(flat[i]) for i in places]
        at = 0
        while at <= len(digits) - 13:
            length = 0 if at and places[at] - places[at - 1] == 1 else _card_length(digits, places, at)
            if length:
                spans.append((places[at], places[at + length - 1] + 1))
            at += length or 1
    return spans


def _card_length(digits: list[int], places: list[int], at: int) -> int:
    """Return how many digits the card number that begins here has; 0 if none does. It must not end inside an unbroken group."""
    for prefix, size, lengths in _ISSUERS:
        if int("".join(map(str, digits[at : at + size]))) in prefix:
            for length in lengths:
                end = at + length
                if end > len(digits) or (end < len(digits) and places[end] - places[end - 1] == 1):
                    continue
                if _luhn(digits[at:end]):
                    return length
    return 0


def _luhn(digits: list[int]) -> bool:
    doubled = [d if i % 2 == 0 else (2 * d - 9 if d > 4 else 2 * d) for i, d in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0 and any(d != digits[0] for d in digits)
