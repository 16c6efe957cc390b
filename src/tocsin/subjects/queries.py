"""Read the register. Functions that open sealed data say so; they need the key `sealing`, which workers, console and operators hold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from django.db import connection
from django.db.models import Count, Max

from tocsin.kernel import sql
from tocsin.kernel.private import Private
from tocsin.kernel.sealing import lookup_digest, open_sealed

from .intake import email_context
from .models import Contact, ContactChange, ContactFreeze, HoldingStore, Reject, Subject
from .policy import mailbox
from .policy.residence import country_of
from .types import Contactable, FormerContact, Postal

ESTIMATE_ABOVE = 1_000_000
SHOWN_MAX = 1_000
FORMER_MAX = 10


def count() -> int:
    """Return how many subjects there are; above a million the planner's estimate, which is free."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples::bigint FROM pg_class WHERE oid = 'subjects_subject'::regclass")
        estimate = int(cursor.fetchone()[0])
    return estimate if estimate > ESTIMATE_ABOVE else Subject.objects.count()


def by_email(address: str) -> int | None:
    """Return the subject at a mailbox, None if there is none. Needs the look-up key alone.

    Of several accounts that share it the oldest; one whose first address it is goes before one who named it as a further address.
    """
    found = mailbox.normalise(address)
    if isinstance(found, str):
        return None
    lookup = lookup_digest(found.key, purpose="email")
    return Contact.objects.filter(lookup=lookup).order_by("rank", "subject_id").values_list("subject_id", flat=True).first()


def mailbox_key(address: str) -> str | None:
    """Return the form in which equal mailboxes are equal, None for what is no address."""
    found = mailbox.normalise(address)
    return None if isinstance(found, str) else found.key


def by_external_ids(external_ids: Sequence[str]) -> dict[str, int]:
    """Return the subjects of the company's own customer numbers; unknown ones are left out."""
    return dict(Subject.objects.filter(external_id__in=list(external_ids)).values_list("external_id", "pk"))


def external_ids(subjects: Sequence[int]) -> dict[int, str]:
    """Return the company's own numbers of subjects."""
    return dict(Subject.objects.filter(pk__in=list(subjects)).values_list("pk", "external_id"))


def salts(subjects: Sequence[int]) -> dict[int, bytes]:
    """Return the salts under which events of these subjects are recorded; forgotten people have none and are left out."""
    found = Subject.objects.filter(pk__in=list(subjects), salt__isnull=False).values_list("pk", "salt")
    return {pk: bytes(salt) for pk, salt in found if salt is not None}


def contactables(subjects: Sequence[int]) -> list[Contactable]:
    """Return how to write to these people, opened; who has no address, or was forgotten, is left out. For one block at a time."""
    return [
        Contactable(
            subject=subject,
            salt=bytes(salt),
            external_id=external_id,
            address=_text(sealed, f"subjects_contact|{subject}|email"),
            name=_text(name, f"subjects_subject|{subject}|name"),
            locale=locale,
            provider=provider,
            jurisdiction=jurisdiction,
        )
        for subject, salt, external_id, sealed, name, locale, provider, jurisdiction in sql.rows(
            "subjects", "contactables", subjects=list(subjects)
        )
    ]


def further_addresses(ranks: Mapping[int, int]) -> dict[int, Private[str]]:
    """Return, opened, the further e-mail address of each person that has the rank asked for (1: the second); others are left out."""
    if not ranks:
        return {}
    found = sql.rows("subjects", "further_addresses", subjects=list(ranks), ranks=list(ranks.values()))
    return {subject: _text(sealed, email_context(subject, rank)) for subject, rank, sealed in found}


def postal(subjects: Sequence[int], *, every: bool = False) -> list[Postal]:
    """Return where these people get letters, opened; who has no postal address, or was forgotten, is left out. For one lot at a time.

    Of each the best address; with `every` all of them, those of a person together, the best first. The country is its code of two letters
    where it is one that we know by name.
    """
    return [
        Postal(
            subject=subject,
            external_id=external_id,
            name=_text(name, f"subjects_subject|{subject}|name"),
            address=_address(sealed, f"subjects_contact|{subject}|{kind}"),
            locale=locale,
            kind=kind,
        )
        for subject, external_id, name, kind, sealed, locale in sql.rows(
            "subjects", "postals" if every else "postal", subjects=list(subjects)
        )
    ]


def _address(sealed: bytes, context: str) -> Private[dict[str, str]]:
    fields: dict[str, str] = json.loads(open_sealed(sealed, context=context).reveal())
    return Private({**fields, "country": country_of(fields.get("country", "")) or fields.get("country", "")})


def changed_since(since: datetime, *, after: int = 0, limit: int = 10_000) -> list[int]:
    """Return people whose contact points were changed at or after an instant, by number; page by giving the last one as `after`."""
    found = ContactChange.objects.filter(changed_at__gte=since, subject_id__gt=after).order_by("subject_id")
    return list(found.values_list("subject_id", flat=True).distinct()[:limit])


def changed_count(since: datetime) -> int:
    """Return of how many people contact points were changed at or after an instant. Index on changed_at."""
    return ContactChange.objects.filter(changed_at__gte=since).aggregate(n=Count("subject_id", distinct=True))["n"] or 0


def former_contacts(subject: int, *, since: datetime) -> list[FormerContact]:
    """Return the e-mail addresses, opened, that somebody had before each change at or after an instant; the newest change first.

    Without the address of now, and each once. At most FORMER_MAX.
    """
    context = f"subjects_contact|{subject}|email"
    now = Contact.objects.filter(subject_id=subject, kind="email").values_list("lookup", flat=True)
    seen, former = {bytes(n) for n in now if n is not None}, []
    changes = ContactChange.objects.filter(subject_id=subject, kind="email", changed_at__gte=since, sealed__isnull=False).order_by("-pk")
    for change in changes[:FORMER_MAX]:
        lookup = bytes(change.lookup or b"")
        if lookup not in seen and change.sealed is not None:
            seen.add(lookup)
            former.append(FormerContact(subject=subject, address=_text(bytes(change.sealed), context), changed_at=change.changed_at))
    return former


def contacts_frozen_until(at: datetime) -> datetime | None:
    """Return until when contact points may not be changed one by one, None if nothing forbids it."""
    until: datetime | None = ContactFreeze.objects.filter(at__lte=at, until__gt=at).aggregate(until=Max("until"))["until"]
    return until


def profiles() -> dict[int, dict[str, int]]:
    """Return every holding profile: store -> element mask. Thousands at most."""
    found: dict[int, dict[str, int]] = {}
    for holding, store, mask in HoldingStore.objects.values_list("holding_id", "store", "mask"):
        found.setdefault(holding, {})[store] = mask
    return found


def cube() -> list[tuple[str, int, int]]:
    """Return (jurisdiction, holding profile, people): all of the register in some thousand rows."""
    return [(str(j), int(h), int(n)) for j, h, n in sql.rows("subjects", "cube")]


def shared_mailboxes() -> tuple[int, int]:
    """Return how many mailboxes belong to several accounts, and how many accounts those are."""
    mailboxes, accounts = sql.rows("subjects", "shared_mailboxes")[0]
    return int(mailboxes), int(accounts)


def rejects(import_id: int, *, after_line: int = 0) -> list[tuple[int, str, str]]:
    """Return line, field and reason of rows that an import did not take; at most SHOWN_MAX."""
    found = Reject.objects.filter(source_id=import_id, line__gt=after_line).order_by("line")
    return list(found.values_list("line", "field", "reason")[:SHOWN_MAX])


def _text(sealed: bytes, context: str) -> Private[str]:
    return Private(open_sealed(sealed, context=context).reveal().decode())
