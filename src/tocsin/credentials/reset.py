"""The reset: asked for by a typed address, carried by a one-time link, ended by a new password.

The public process does the same for every address: one digest, one job. Whether anybody has it is found out by the worker, which makes
the link, stores its SHA-256 only, and hands the letter to the mail room in the same transaction. Where a crash leaves it: before that
transaction nothing happened and the job runs again; after it a second run finds its request done.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from django.db import transaction

from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel import clock, config, jobs, sql
from tocsin.kernel.errors import BadInput, Fault, NotFound
from tocsin.kernel.private import Private
from tocsin.kernel.sealing import lookup_digest
from tocsin.kernel.wording import said
from tocsin.subjects import queries as subjects

from . import contacts, lease, letters, policy, post
from .connectors import delivery
from .filter import lookup
from .models import Account, Credential, ResetToken
from .passwords import hashing
from .places import Place, Source, Stand
from .room import gate, limits
from .room.models import RoomPlace
from .sign_in import digest, login_of

CONTEXT_WORDS_MAX = 16
CONTEXT_DIGEST_BYTES = 8
LETTERS_ONLY = 0x80
TOKENS_KEPT = timedelta(days=1)


def request_reset(email: str, *, at: datetime, source: Source | None = None, ticket: str = "") -> Stand:
    """Ask for a reset link. Does the same work for every address and says nothing of it; raises BadInput only for what is no address at all.

    One waiting request per address is enough: asking twice in a row sends one letter. Returns where the asker stands in the waiting room:
    while others wait (`ticket` is the place), or when the `source` asks much, the letter goes later; it is never refused.
    """
    if not policy.looks_like_address(email):
        raise BadInput(Fault("email", f"{len(email)} characters", "an e-mail address like name@example.org"))
    place, stand = gate.place_of_request(ticket)
    address, network = limits.digests(source) if source else (None, None)
    for _ in range(2):  # the second time with a fresh place, if the first admitted others already
        delay = sql.rows(
            "credentials",
            "ask_in_turn",
            lookup=login_of(email),
            request=uuid4(),
            at=at,
            address=address,
            network=network,
            ms=place.ms if place else None,
            nonce=place.nonce if place else None,
            lane=int(place.lane) if place else None,
            bind=stand is not gate.PASSES,  # a place that nobody holds a ticket of cannot be used again
        )[0][0]
        if delay >= 0:
            break
        place, stand = gate.place_of_request("")
    return stand


def send_reset(
    lookup: bytes,
    *,
    request: UUID,
    token: Private[str],
    at: datetime,
    population: str = "customers",
    place: Place | None = None,
    asked_at: datetime | None = None,
) -> bool:
    """Mail a reset link to whoever has this login; tell whether one was sent. An older link of the account ends.

    Not sent: no such account, this request already served, or a new password set since `asked_at`. Past RESETS_PER_HOUR_MAX it is enqueued
    again for when the hour is over. The life of the link starts when the relay has taken the mail (`post.start_life`); a code that was sent
    by post stays good beside it, until one of them is used. The link carries the `place` of its request in the waiting room.
    """
    with transaction.atomic():
        account = (
            Account.objects.select_for_update(no_key=True, of=("self",))
            .filter(population__name=population, login_hmac=lookup, subject__isnull=False)
            .first()
        )
        if account is None or account.subject is None or ResetToken.objects.filter(request=request).exists():
            return False
        ResetToken.objects.filter(account=account, expires_at__lt=at - TOKENS_KEPT).delete()
        mine = ResetToken.objects.filter(account=account, channel="mail")
        if asked_at and Credential.objects.filter(account=account, cred_class="password", version__gte=1, set_at__gt=asked_at).exists():
            return False
        sent_at = list(mine.values_list("created_at", flat=True))
        if not policy.may_send_reset(sent_at, at=at):
            _later(lookup, request=request, after=policy.next_reset_at(sent_at, at=at) - at, asked_at=asked_at or at)
            return False
        people = subjects.contactables([account.subject])
        if not people:
            return False
        person = people[0]
        mine.filter(used_at=None, revoked_at=None).update(revoked_at=at)
        context = context_of(account.pk, policy.context_words(person.address.reveal().rpartition("@")[0], person.name.reveal()))
        incident, epoch = sql.rows(
            "credentials",
            "insert_token",
            token=digest(token.reveal()),
            request=request,
            account=account.pk,
            context=context,
            at=at,
            expires_at=at + post.upper_bound(),
        )[0]
        if place:
            RoomPlace.objects.create(token_sha256=digest(token.reveal()), ms=place.ms, nonce=place.nonce, lane=int(place.lane))
        evidence.record_subject(
            EventType.RESET_REQUESTED,
            at=at,
            actor="worker",
            incident=incident,
            subject=person.subject,
            salt=person.salt,
            body={"epoch": epoch, "expires_at": clock.iso(at + post.upper_bound())},
        )
        current = config.current()
        letter = letters.reset_letter(
            brand=current.company.brand,
            link=f"{current.web.public_url.rstrip('/')}/passwordchange/t/{token.reveal()}",
            minutes=current.credentials.link_minutes,
            help_address=current.mail.help_address,
            language=letters.language_of(person.locale),
        )
        outbound = post.queue(letter, purpose="reset", to=person.address, at=at, key=f"reset:{request}", then=post.STARTED)
        ResetToken.objects.filter(request=request).update(outbound=outbound)
        return True


def redeem(token: str, password: Private[str], *, at: datetime) -> bool:
    """Set a new password with a reset link, once; return whether it is on its way to systems of the company's own, too.

    Every session of the account ends; nobody is signed in by it.

    Raises NotFound for a link that was used, has expired, was replaced or never existed (one answer for all), BadInput with every reason
    against the password (the link stays good), Busy when all hashing slots are taken, Unavailable without a lease. Of two uses at the
    same time exactly one succeeds. Password, evidence, and the job of the letter about it commit together: one function of the database does
    all three, for this process may write nothing else.
    """
    lease.check()
    found = sql.prepared("credentials", "to_redeem", token=digest(token), at=at, active=list(delivery.ACTIVE))
    if not found:
        raise NotFound("this link was used, has expired, or was replaced by a newer one")
    account, context, factor, old, targets, formats = found[0]
    needs = policy.chars_min(second_factor=factor)
    _refuse_weak(password, account=account, context=frozenset(bytes(d) for d in context), chars_min=needs)
    with hashing.slots.slot(first=True):
        _refuse_old(old, password)
        stored = hashing.make(password)
        outbox = delivery.outbox(
            password, zip(targets, formats, strict=True)
        )  # while we have the text: each target in its own format, sealed for the worker
    lease.check()
    if not sql.prepared("credentials", "redeem", token=digest(token), hash=stored, at=at, outbox=outbox):
        raise NotFound("this link was used, has expired, or was replaced by a newer one")
    gate.came_through()
    return bool(targets)


def send_changed(subject: int, *, version: int, at: datetime) -> None:
    """Tell somebody by mail that the password was changed; at most one letter per change, and none if it was not: a job is only a claim.

    Addresses that the account had while somebody may have been inside are told too.
    """
    changed = Credential.objects.filter(account__subject=subject, cred_class="password", version__gte=max(version, 1))
    if not changed.exists():
        return
    current = config.current()
    with transaction.atomic():
        for person in subjects.contactables([subject]):
            letter = letters.changed_letter(
                brand=current.company.brand,
                site=f"{current.web.public_url.rstrip('/')}/passwordchange",
                help_address=current.mail.help_address,
                language=letters.language_of(person.locale),
            )
            post.queue(letter, purpose="password_changed", to=person.address, at=at, key=f"changed:{subject}:{version}")
        contacts.tell_former_addresses(subject, version=version, at=at)


def _later(lookup: bytes, *, request: UUID, after: timedelta, asked_at: datetime) -> None:
    """Enqueue a request again for when the account may have another letter; one waiting copy per login, whoever asks how often."""
    jobs.enqueue(
        "credentials.tasks.send_reset",
        priority=20,
        after_s=max(1.0, after.total_seconds()),
        unless_waiting=f"reset:{lookup.hex()}",
        lookup=lookup.hex(),
        request=str(request),
        asked_us=clock.us(asked_at),
    )


def company_words() -> tuple[str, ...]:
    """Return the company's own words, in lower case, that a password must not rest on."""
    company = config.current().company
    return _words_of(company.brand, company.name, company.domain)


@functools.lru_cache(maxsize=8)
def _words_of(*names: str) -> tuple[str, ...]:
    return tuple(sorted(policy.context_words(*names)))


def context_of(account: int, words: Iterable[str]) -> list[bytes]:
    """Return the words of an account's owner that a new password must not rest on, as a reset token keeps them: shape, then keyed digest.

    The shape (one byte: the length in characters, and 0x80 for letters only) spares the reset page to digest most pieces of a password. It
    tells little more than the sealed name and address do, whose ciphertext is as long as they are.
    """
    key = _context_key(account)
    return [_context_digest(key, w) for w in sorted(words)[:CONTEXT_WORDS_MAX]]


def _context_key(account: int) -> bytes:
    return lookup_digest("", purpose=f"context:{account}")


def _context_digest(key: bytes, word: str) -> bytes:
    """Keyed BLAKE2b: forty pieces of a password are digested at each reset, at an eighth of the price of HMAC. Source: RFC 7693 s2.9."""
    return bytes([_shape(word)]) + hashlib.blake2b(word.encode(), key=key, digest_size=CONTEXT_DIGEST_BYTES).digest()


def _shape(word: str) -> int:
    return len(word) | (LETTERS_ONLY if word.isalpha() else 0)


def _refuse_weak(password: Private[str], *, account: int, context: frozenset[bytes], chars_min: int) -> None:
    """Raise BadInput with all reasons. The owner's words are known by digest only: this process never learns name or address."""
    shapes, key = {d[0] for d in context}, _context_key(account)
    reasons = policy.password_reasons(
        policy.normal(password.reveal()),
        common=hashing.common(),
        words=company_words(),
        chars_min=chars_min,
        is_context=lambda word: _shape(word) in shapes and _context_digest(key, word) in context,
        context_chars={shape & ~LETTERS_ONLY for shape in shapes},
    )
    if lookup.breached(password):
        reasons.append(
            said("It is known from passwords stolen elsewhere, and thieves try those. Please choose one that you use nowhere else.")
        )
    if reasons:
        raise BadInput([Fault("password", "a password that would be guessed", reason) for reason in reasons])


def _refuse_old(old: str | None, password: Private[str]) -> None:
    """Raise BadInput if the new password is the old one or a small change of it."""
    rank = hashing.too_near(old, password, words=company_words()) if old else None  # an erased hash is empty
    if rank is not None:
        reason = (
            said("It is the old password, which thieves may know.")
            if rank == 0
            else said("It is too close to the old password, which thieves may know.")
        )
        raise BadInput(Fault("password", "a password like the old one", reason))
