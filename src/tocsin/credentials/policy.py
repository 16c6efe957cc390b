"""The decisions of this room: what an epoch allows, what a cutover changes, what makes a password acceptable. Pure.

Sources: NIST SP 800-63B-4 s3.1.1.2 (length, blocklist, no composition rules, normalisation), OWASP ASVS 5.0 V6.2, OWASP Forgot Password.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from tocsin.kernel.errors import Fault
from tocsin.kernel.wording import said

from .types import (
    BREACH_CLASSES,
    CLASSES,
    LOGIN_CHARS_MAX,
    PASSWORD_BYTES_MAX,
    PASSWORD_CHARS_MIN,
    PASSWORD_CHARS_MIN_MFA,
    POPULATIONS,
    ClassProposal,
)

OPENING_CLASSES = ("remember_me", "refresh", "totp", "recovery_code", "passkey")  # what opens a session, besides a password
SEED_ELEMENTS = ("security_tokens",)  # how a data map names a store of seeds and recovery codes
CORE_CHARS_MIN = 8  # what must be left of a password without the words that everybody would guess
RESETS_PER_HOUR_MAX = 3
LETTERS_PER_WEEK_MAX = 1
CODE_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O, U
CODE_CHARS = 28  # 140 bits: as hard to guess as a link, so that its plain SHA-256 may be stored
CODE_READ_AS = str.maketrans("ILO", "110")
WORDS_SUGGESTED = 4
LEASE_S = 2.0  # as the database function credentials_renew_lease grants it
LEASE_RENEW_S = 0.5
LEASE_DRIFT_S = 0.1  # a node counts its lease this much shorter than the database does
SEAL_DRIFT_S = 0.25  # and a cutover waits this much longer
ROUND_BUDGET_MS = 20.0  # for comparing a new password with variants of the old one
CONTEXT_CHARS = range(4, 25)  # lengths of the words kept as digests
CONTEXT_SCAN_CHARS_MAX = 64
REPEAT_CHARS_MAX = 8
SERVICE_WORDS = ("password", "passwort", "kennwort", "login", "account", "welcome", "letmein")
TRAILING = "0123456789!?.,-_*#$@ "
RUNS = (
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890123456789",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
    "azertyuiopqsdfghjklmwxcvbn",
)
LEET = str.maketrans({"@": "a", "4": "a", "3": "e", "1": "i", "!": "i", "0": "o", "$": "s", "5": "s", "7": "t"})
INTO_LEET = str.maketrans({"a": "@", "e": "3", "i": "1", "o": "0", "s": "$"})


def normal_login(typed: str) -> str:
    """Return an address as it is digested: the same at import and when typed, whatever case or width it was written in."""
    return unicodedata.normalize("NFKC", typed).strip().casefold()


def looks_like_address(typed: str) -> bool:
    """Tell whether this can be a mail address at all; says nothing about whether anybody has it."""
    local, at, domain = typed.strip().rpartition("@")
    return bool(local and at and domain) and len(typed.strip()) <= LOGIN_CHARS_MAX and not re.search(r"[\s\x00-\x1f\x7f<>]", typed.strip())


def normal(password: str) -> str:
    """Return a password as it is hashed: NFKC, when it is set and when it is checked. Source: NIST SP 800-63B-4 s3.1.1.2."""
    return unicodedata.normalize("NFKC", password)


# -- cutovers ---------------------------------------------------------------------------------------------------------------


def cutover_faults(*, population: str, classes: Collection[str], cohort: int | None, reason: str) -> list[Fault]:
    """Return what is wrong with a cutover that somebody wants to arm."""
    faults = []
    if population not in POPULATIONS:
        faults.append(Fault("population", repr(population), f"one of {', '.join(POPULATIONS)}"))
    if not classes or not set(classes) <= set(CLASSES):
        faults.append(Fault("classes", repr(sorted(classes)), f"some of {', '.join(CLASSES)}"))
    elif "password" in classes and not set(BREACH_CLASSES) <= set(classes):
        # Else what whoever has the old password made with it (a session, a token) or had mailed (a link) outlives the password.
        faults.append(Fault("classes", repr(sorted(classes)), f"all of {', '.join(BREACH_CLASSES)} where password is one"))
    elif set(OPENING_CLASSES) & set(classes) and "session" not in classes:
        faults.append(Fault("classes", repr(sorted(classes)), "session beside a class that opens sessions, or those opened stay"))
    if cohort is not None and not reason.strip():
        faults.append(Fault("reason", repr(reason), "why not everybody: a narrow cutover missed 100 million accounts elsewhere before"))
    return faults


def propose_classes(elements: Collection[str]) -> ClassProposal:
    """Return which classes a cutover should end when these elements were readable by whoever got in.

    Passwords and all that can be made with one always: that is the default. Seeds and recovery codes if their store was reached in clear.
    Passkeys never on account of a copied store: it holds public keys only; who wants them ended names the class.
    """
    found = sorted(set(elements) & set(SEED_ELEMENTS))
    if not found:
        return ClassProposal(classes=BREACH_CLASSES, reasons=())
    return ClassProposal(
        classes=(*BREACH_CLASSES, "totp", "recovery_code"),
        reasons=(f"totp and recovery_code: {', '.join(found)} lay readable in a reached store",),
    )


def next_epoch(highest: Iterable[int]) -> int:
    """Return the epoch of a new cutover: above every number ever used, aborted ones included."""
    return max(highest) + 1


def movable(epochs: Mapping[int, Mapping[str, int]], *, to: int, moving: Collection[int]) -> set[int]:
    """Return from which cohorts accounts may be moved into the cohort `to`; `epochs` maps cohort -> class -> epoch.

    A move changes nothing about what lives and what is dead, or it is not allowed. Into lower epochs, dead credentials would come back to
    life; into higher ones, live ones would end without the two signatures that ending them takes. And equal epochs are not enough while
    one of the two cohorts is `moving`: armed, or committed and still to be taken back, by a cutover that the account would join or leave.
    """
    if to in moving:
        return set()
    return {cohort for cohort, classes in epochs.items() if cohort != to and cohort not in moving and classes == epochs.get(to)}


def may_send_reset(sent_at: Collection[datetime], *, at: datetime) -> bool:
    """Tell whether another reset mail may go to an account, given when the last ones did."""
    return sum(at - s < timedelta(hours=1) for s in sent_at) < RESETS_PER_HOUR_MAX


def next_reset_at(sent_at: Collection[datetime], *, at: datetime) -> datetime:
    """Return when another reset mail may go to an account that has had RESETS_PER_HOUR_MAX within the hour."""
    within = sorted(s for s in sent_at if at - s < timedelta(hours=1))
    return within[-RESETS_PER_HOUR_MAX] + timedelta(hours=1) if len(within) >= RESETS_PER_HOUR_MAX else at


def may_send_letter(asked_at: Collection[datetime], *, at: datetime) -> bool:
    """Tell whether another letter with a code may go to an account, given when the last ones were asked for."""
    return sum(at - s < timedelta(weeks=1) for s in asked_at) < LETTERS_PER_WEEK_MAX


def normal_postcode(typed: str) -> str:
    """Return a postal code as it is compared: letters and digits alone, in capitals, whatever width and spacing it was typed in."""
    return "".join(c for c in unicodedata.normalize("NFKC", typed).upper() if c.isalnum())


def code_of(number: int) -> str:
    """Return the code of a letter for a random number below 32 ** CODE_CHARS, as it is digested: without its groups."""
    return "".join(CODE_ALPHABET[(number >> (5 * n)) & 31] for n in reversed(range(CODE_CHARS)))


def grouped(code: str) -> str:
    """Return a code as it is printed: in groups of four."""
    return "-".join(code[n : n + 4] for n in range(0, len(code), 4))


def read_code(typed: str) -> str | None:
    """Return the code that somebody typed out of a letter, None if it cannot be one. Case, blanks, hyphens and I, L, O do not matter."""
    text = "".join(c for c in unicodedata.normalize("NFKC", typed).upper() if c.isalnum()).translate(CODE_READ_AS)
    return text if len(text) == CODE_CHARS and set(text) <= set(CODE_ALPHABET) else None


# -- passwords --------------------------------------------------------------------------------------------------------------


def password_reasons(
    password: str,
    *,
    common: Collection[str],
    words: Iterable[str] = (),
    is_context: Callable[[str], bool] = lambda word: False,
    context_chars: Collection[int] = CONTEXT_CHARS,
    chars_min: int = PASSWORD_CHARS_MIN,
) -> list[str]:
    """Return why a new password is refused, in words for its owner; empty if it is acceptable. `password` is normalised.

    `words` are the company's own names in lower case; `is_context` tells whether a lower-case word belongs to the owner
    (name, address), and is asked for words of the lengths `context_chars` only.
    """
    reasons: list[str] = []
    if len(password) < chars_min:
        reasons.append(
            said(
                "It has {has} characters and needs at least {needs}. Four words that do not belong together do well.",
                has=len(password),
                needs=chars_min,
            )
        )
    if len(password.encode("utf-8", "surrogatepass")) > PASSWORD_BYTES_MAX:
        reasons.append(said("It is longer than {most} bytes.", most=PASSWORD_BYTES_MAX))
        return reasons
    if any(unicodedata.category(c) in {"Cc", "Cs"} or c == "\ufffd" for c in password):
        reasons.append(said("It holds a character that no keyboard types. Please type it, or paste it again."))
    folded = password.casefold()
    if _is_common(folded, common):
        reasons.append(said("It is one of the passwords that thieves try first, or two of them in a row."))
    if _repeats(folded):
        reasons.append(said("It repeats a short piece. Please use words that differ."))
    if _is_run(folded):
        reasons.append(said("It is a run of neighbouring keys, letters or numbers."))
    if len(password) >= chars_min and len(_core(folded, words, is_context, context_chars)) < CORE_CHARS_MIN:
        reasons.append(
            said("Too little of it is left without our name, your name, your address or the word password. Please add words of your own.")
        )
    return reasons


def chars_min(*, second_factor: bool) -> int:
    """Return how many characters a password needs, alone or beside a second factor. Source: NIST SP 800-63B-4 s3.1.1.2."""
    return PASSWORD_CHARS_MIN_MFA if second_factor else PASSWORD_CHARS_MIN


def _is_common(folded: str, common: Collection[str]) -> bool:
    stem = folded.rstrip(TRAILING)
    plain = stem.translate(LEET)
    whole = {folded, stem, plain}
    return any(w in common or any(w[:i] in common and w[i:] in common for i in range(4, min(len(w) - 3, 64))) for w in whole)


def _repeats(folded: str) -> bool:
    """Tell whether the whole is a piece of up to REPEAT_CHARS_MAX characters over and over, the last one perhaps cut."""
    return any(
        folded == (folded[:n] * (len(folded) // n + 1))[: len(folded)] for n in range(1, min(REPEAT_CHARS_MAX, len(folded) // 2) + 1)
    )


def _is_run(folded: str) -> bool:
    """Tell whether the letters and digits are made of few pieces of keyboard or alphabet runs, forwards or backwards."""
    text = "".join(c for c in folded if c.isalnum())
    if len(text) < CORE_CHARS_MIN:
        return False
    runs = [r for run in RUNS for r in (run, run[::-1])]
    pieces, at = 0, 0
    while at < len(text):
        size = 1
        while at + size < len(text) and any(text[at : at + size + 1] in r for r in runs):
            size += 1
        pieces, at = pieces + 1, at + size
    return len(text) / pieces >= 4  # on average four neighbours in a row


def _core(folded: str, words: Iterable[str], is_context: Callable[[str], bool], context_chars: Collection[int]) -> str:
    """Return what is left without the words everybody would guess, and without digits and separators around that remainder."""
    left = folded
    for word in sorted({*words, *SERVICE_WORDS}, key=len, reverse=True):
        if len(word) >= CONTEXT_CHARS.start:
            left = left.replace(word, "")
    head, tail = left[:CONTEXT_SCAN_CHARS_MAX], left[CONTEXT_SCAN_CHARS_MAX:]
    found = [False] * len(head)
    for size in sorted(context_chars, reverse=True):
        for start in range(len(head) - size + 1):
            if not all(found[start : start + size]) and is_context(head[start : start + size]):
                found[start : start + size] = [True] * size
    left = "".join(c for c, hit in zip(head, found, strict=True) if not hit) + tail
    return left.strip(TRAILING) if left != folded else folded  # digits alone are as good as letters: no rule asks for kinds of characters


def context_words(*values: str) -> set[str]:
    """Return the lower-case words of names and of an address's local part that a password must not rest on."""
    pieces: set[str] = set()
    for value in values:
        folded = normal(value).casefold()
        pieces |= {folded, *re.split(r"[^\w]+|_|\d+", folded)}
    return {p for p in pieces if len(p) in CONTEXT_CHARS}


def near(password: str, *, words: Iterable[str] = ()) -> Iterator[str]:
    """Yield what the old password may have been if the new one is a small change of it, most likely first, the same one at the very first.

    Source: rules in the order of their yield as in Das et al., The Tangled Web of Password Reuse (NDSS 2014), and Pal et al. (S&P 2019).
    """
    seen = set()
    for candidate in _near(password, words):
        if candidate and candidate not in seen:
            seen.add(candidate)
            yield candidate


def _near(password: str, words: Iterable[str]) -> Iterator[str]:
    yield password
    stem = password.rstrip("0123456789!")
    for cut in range(1, min(4, len(password) - 1) + 1):  # the new one had something added
        yield password[:-cut]
    yield stem
    if number := re.search(r"(\d+)(?=\D*$)", password):  # a number counted on
        digits = number.group()
        for step in (-1, 1, -2, 2):
            value = int(digits[-9:]) + step
            if value >= 0:
                yield password[: number.end() - len(digits[-9:])] + str(value).zfill(len(digits[-9:])) + password[number.end() :]
    yield password[:1].swapcase() + password[1:]
    yield password.casefold()
    yield stem[:1].swapcase() + stem[1:]
    for end in ("1", "!", "123", "12", "2", "01", "!1"):  # or taken away
        yield password + end
    yield password.translate(LEET)
    yield password.translate(INTO_LEET)
    if password != stem:
        yield password[len(stem) :] + stem
    if head := re.match(r"\d+", password):
        yield password[head.end() :] + head.group()
    half = len(password) // 2
    if password[:half] == password[half:]:
        yield password[:half]
    for word in words:
        if found := re.search(re.escape(word), password, re.IGNORECASE):
            yield (password[: found.start()] + password[found.end() :]).strip(" -_.")
    yield password.replace(" ", "")
    yield password.replace("-", "")
    for size in range(len(password) - 5, 5, -1):
        yield password[:size]


def near_tries(cost_ms: float) -> int:
    """Return how many variants of a new password are compared with an old hash of this price: always the password itself."""
    return max(1, int(ROUND_BUDGET_MS / cost_ms))


def epochs_key(cohort: int, cred_class: str) -> str:
    """Return the key of one epoch in what two people sign."""
    return f"{cohort}/{cred_class}"


def sealed(*, leases: Collection[str], acked: Collection[str]) -> bool:
    """Tell whether every node that held a lease at the commit has acknowledged it."""
    return set(leases) <= set(acked)


def mapping_faults(columns: Mapping[str, str], header: Collection[str], *, file: str) -> list[Fault]:
    """Return which columns of a mapping the header of a file lacks."""
    return [
        Fault(f"{file}: {what}", f"no column {name!r}", f"one of {', '.join(header)}", 1)
        for what, name in columns.items()
        if name not in header
    ]
