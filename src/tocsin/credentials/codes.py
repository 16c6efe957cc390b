"""A code by post, for people who lost the mailbox of their account.

Asked for with the address of the account and its postal code; the answer is the same for everybody. The worker compares and puts the
account on a list; whoever prints letters (`tocsin credentials letters`) makes the code at that moment, so that it stands nowhere but on
paper and in the print file. It is a reset token like a mailed link: stored as SHA-256, used once, bound to the epoch, with a longer life.
"""

from __future__ import annotations

import csv
import os
import secrets
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

from django.db import transaction

from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel import clock, config, sql
from tocsin.kernel.errors import BadInput, Fault
from tocsin.kernel.sealing import lookup_digest
from tocsin.subjects import queries as subjects
from tocsin.subjects.types import Postal

from . import letters, policy
from .models import Account, LetterRequest, ResetToken
from .places import Source
from .reset import context_of
from .room import limits
from .sign_in import digest, login_of
from .types import CodeLetterReport

LETTER_ROWS = 500  # printed in one transaction
COLUMNS = ("language", "customer_number", "name", "street", "city", "region", "postcode", "country", "text")
POSTCODE_CHARS_MAX = 20
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a table program must not run what stands in a cell


def request_letter(email: str, postcode: str, *, at: datetime, source: Source | None = None) -> None:
    """Ask for a code by post. Does the same work for every address and says nothing; raises BadInput for what cannot be one.

    Both are digested here with the estate's key: neither reaches the queue. When the `source` asks much it is
    looked at later; it is never refused.
    """
    faults = []
    if not policy.looks_like_address(email):
        faults.append(Fault("email", f"{len(email)} characters", "an e-mail address like name@example.org"))
    normal = policy.normal_postcode(postcode[: POSTCODE_CHARS_MAX + 1])
    if not normal or len(postcode) > POSTCODE_CHARS_MAX:
        faults.append(Fault("postcode", f"{len(postcode)} characters", "a postal code"))
    if faults:
        raise BadInput(faults)
    address, network = limits.digests(source) if source else (None, None)
    sql.rows(
        "credentials",
        "ask_letter",
        lookup=login_of(email),
        postcode=_postcode_digest(normal),
        request=uuid4(),
        at=at,
        address=address,
        network=network,
    )


def ask_letter(lookup: bytes, *, postcode: bytes, request: UUID, at: datetime, population: str = "customers") -> bool:
    """Put the account of this login on the list of letters, if the postal code is the one we know; tell whether it is on it now.

    Not taken: no such account, another or no postal address, LETTERS_PER_WEEK_MAX reached, this request already served.
    """
    with transaction.atomic():
        account = (
            Account.objects.select_for_update(no_key=True, of=("self",))
            .filter(population__name=population, login_hmac=lookup, subject__isnull=False)
            .first()
        )
        if account is None or account.subject is None or LetterRequest.objects.filter(request=request).exists():
            return False
        mine = LetterRequest.objects.filter(account=account).values_list("asked_at", flat=True)
        if not policy.may_send_letter(list(mine), at=at):
            return False
        known = [
            _postcode_digest(policy.normal_postcode(p.address.reveal().get("postcode", ""))) for p in subjects.postal([account.subject])
        ]
        salt = subjects.salts([account.subject]).get(account.subject)
        if postcode not in known or salt is None:
            return False
        LetterRequest.objects.create(request=request, account=account, asked_at=at)
        evidence.record_subject(
            EventType.RESET_LETTER_ASKED, at=at, actor="worker", incident=None, subject=account.subject, salt=salt, body={}
        )
        return True


def print_letters(file: Path, *, at: datetime, by: str) -> CodeLetterReport:
    """Write every waiting letter with a fresh code to a new CSV file (mode 0600) for a print house. Each is printed once.

    A lot is on the disk before it is committed: after a crash between the two the file holds codes that open nothing, and those people
    stay on the list. Reading so many addresses is recorded. Raises BadInput if the file exists.
    """
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as e:
        raise BadInput.of("file", str(file), f"a new file in a folder that can be written to ({e.strerror})") from None
    written, skipped, after = 0, 0, 0
    evidence.record(EventType.PERSONAL_DATA_READ, at=at, actor=by, incident=None, body={"what": "code letters", "stage": "begun"})
    with os.fdopen(descriptor, "w", newline="", encoding="utf-8") as out:
        table = csv.writer(out)
        table.writerow(COLUMNS)
        while True:
            with transaction.atomic():
                lot = sql.rows("credentials", "letters_waiting", after=after, rows=LETTER_ROWS)
                if not lot:
                    break
                after = lot[-1][0]
                people = {p.subject: p for p in subjects.postal([subject for _, _, subject in lot])}
                salts = subjects.salts(list(people))
                for letter, account, subject in lot:
                    person = people.get(subject)
                    if person is None or subject not in salts:
                        skipped += 1
                    else:
                        code, incident, epoch = _code(account, person, at=at)
                        table.writerow([_cell(v) for v in _row(person, code, at=at)])
                        evidence.record_subject(
                            EventType.RESET_LETTER_PRINTED,
                            at=at,
                            actor=by,
                            incident=incident,
                            subject=subject,
                            salt=salts[subject],
                            body={"epoch": epoch, "expires_at": clock.iso(at + letter_life())},
                        )
                        written += 1
                    LetterRequest.objects.filter(pk=letter).update(printed_at=at)
                out.flush()
                os.fsync(out.fileno())
    evidence.record(
        EventType.PERSONAL_DATA_READ,
        at=at,
        actor=by,
        incident=None,
        body={"what": "code letters", "stage": "ended", "letters": written, "skipped": skipped},
    )
    return CodeLetterReport(letters=written, skipped=skipped, file=str(file))


def token_of_code(typed: str) -> str | None:
    """Return the reset token that a typed code is, None if it cannot be one. Asks nobody: whether it is good shows where a link's would."""
    return policy.read_code(typed)


def letter_life() -> timedelta:
    """Return how long a code by post is good after it was printed."""
    return timedelta(days=config.current().credentials.letter_days)


def _postcode_digest(normal: str) -> bytes:
    return lookup_digest(normal, purpose="postcode")


def _code(account: int, person: Postal, *, at: datetime) -> tuple[str, int | None, int]:
    """Return a fresh code of an account, with the incident and epoch it belongs to; an older letter's code ends."""
    code, request = policy.code_of(secrets.randbits(5 * policy.CODE_CHARS)), uuid4()
    words = policy.context_words(person.name.reveal())
    for reached in subjects.contactables([person.subject]):
        words |= policy.context_words(reached.address.reveal().rpartition("@")[0])
    ResetToken.objects.filter(account=account, channel="letter", used_at=None, revoked_at=None).update(revoked_at=at)
    incident, epoch = sql.rows(
        "credentials",
        "insert_token",
        token=digest(code),
        request=request,
        account=account,
        context=context_of(account, words),
        at=at,
        expires_at=at + letter_life(),
    )[0]
    ResetToken.objects.filter(request=request).update(channel="letter")
    return code, incident, epoch


def _row(person: Postal, code: str, *, at: datetime) -> list[str]:
    current, address = config.current(), person.address.reveal()
    language = letters.language_of(person.locale)
    text = letters.code_letter(
        brand=current.company.brand,
        name=person.name.reveal(),
        code=policy.grouped(code),
        site=f"{current.web.public_url.rstrip('/')}/passwordchange/code",
        until=(at + letter_life()).date().isoformat(),
        help_address=current.mail.help_address,
        language=language,
    )
    return [language, person.external_id, person.name.reveal(), *(address.get(k, "") for k in COLUMNS[3:8]), text]


def _cell(value: str) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{value}" if value.startswith(_FORMULA) else value
