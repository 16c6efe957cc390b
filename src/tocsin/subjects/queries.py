"""Read the register. Functions that open sealed data say so; they need the key `sealing`, which workers, console and operators hold."""

from __future__ import annotations

import json
from collections.abc import Sequence

from django.db import connection

from tocsin.kernel import sql
from tocsin.kernel.private import Private
from tocsin.kernel.sealing import lookup_digest, open_sealed

from .models import Contact, HoldingStore, Reject, Subject
from .policy import mailbox
from .types import Contactable, Postal

ESTIMATE_ABOVE = 1_000_000
SHOWN_MAX = 1_000


def count() -> int:
    """Return how many subjects there are; above a million the planner's estimate, which is free."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples::bigint FROM pg_class WHERE oid = 'subjects_subject'::regclass")
        estimate = int(cursor.fetchone()[0])
    return estimate if estimate > ESTIMATE_ABOVE else Subject.objects.count()


def by_email(address: str) -> int | None:
    """Return the subject at a mailbox (the oldest, if several accounts share it), None if there is none. Needs the look-up key alone."""
    found = mailbox.normalise(address)
    if isinstance(found, str):
        return None
    lookup = lookup_digest(found.key, purpose="email")
    return Contact.objects.filter(lookup=lookup).order_by("subject_id").values_list("subject_id", flat=True).first()


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


def postal(subjects: Sequence[int]) -> list[Postal]:
    """Return where these people get letters, opened; who has no postal address, or was forgotten, is left out. For one lot at a time."""
    return [
        Postal(
            subject=subject,
            external_id=external_id,
            name=_text(name, f"subjects_subject|{subject}|name"),
            address=Private(json.loads(open_sealed(sealed, context=f"subjects_contact|{subject}|{kind}").reveal())),
            locale=locale,
        )
        for subject, external_id, name, kind, sealed, locale in sql.rows("subjects", "postal", subjects=list(subjects))
    ]


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
