"""People in the register, an exposure that holds them, a team that signs, and senders as processes of their own."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from django.db import connection

from tocsin.incidents.models import Cohort, ExposedSubject, Exposure, Incident
from tocsin.kernel.errors import Refused
from tocsin.kernel.sealing import lookup_digest, seal
from tocsin.notices import actions
from tocsin.notices.types import Retry
from tocsin.staff import actions as staff
from tocsin.staff import keyfiles
from tocsin.subjects.models import Contact, Subject

AT = datetime(2026, 1, 15, 3, 0, tzinfo=UTC)
TEXTS = Path(__file__).parents[2] / "scenarios" / "zappos-2012"
NOW = Retry(first_s=0.001, tries_max=3)


def people(emails: Sequence[str | None], *, postal: Sequence[int] = ()) -> int:
    """Register one person per address, and an incident that exposes them all; return it. `postal`: places that have a street too."""
    incident = Incident.objects.create(name="x", discovered_at=AT)
    exposure = Exposure.objects.create(incident=incident)
    cohort = Cohort.objects.create(exposure=exposure, jurisdiction="US-CA")
    subjects = Subject.objects.bulk_create(
        [
            Subject(external_id=f"C{i:05}", salt=secrets.token_bytes(16), name_sealed=seal(f"Jo {i}", context="n"))
            for i in range(len(emails))
        ]
    )
    Contact.objects.bulk_create(
        [
            Contact(
                subject=s,
                kind="email",
                sealed=seal(e, context="c"),
                lookup=lookup_digest(e, purpose="email"),
                provider=e.rpartition("@")[2],
            )
            for s, e in zip(subjects, emails, strict=True)
            if e
        ]
    )
    for i in postal:
        Contact.objects.create(subject=subjects[i], kind="billing", sealed=seal('{"street": "1 Main St", "city": "Reno"}', context="c"))
    ExposedSubject.objects.bulk_create([ExposedSubject(exposure=exposure, subject_id=s.pk, cohort=cohort) for s in subjects])
    return incident.pk


def team() -> None:
    """Enrol two people who may start and resume a mailing together."""
    for name, roles in (("ada", ["communications"]), ("bob", ["legal"])):
        staff.add_operator(name=name, roles=roles, at=AT, by="owner")


def sign(home: Path, approval: int, *names: str) -> None:
    """Sign an approval with the key files of these people."""
    for name in names:
        staff.sign_with_key_file(approval, operator=name, key_file=keyfiles.folder(home) / f"{name}.key", at=AT)


def started(home: Path, incident: int, *, retry: Retry = NOW, deadline_at: datetime | None = None) -> int:
    """Draft the scenario's notice, have it signed, start it; return the mailing."""
    notice = actions.draft(incident=incident, template=TEXTS, at=AT, by="ada")
    with pytest.raises(Refused) as asked:
        actions.start(notice, approval=None, at=AT, by="ada", retry=retry, deadline_at=deadline_at)
    assert asked.value.approval is not None
    sign(home, asked.value.approval, "ada", "bob")
    return actions.start(notice, approval=asked.value.approval, at=AT, by="ada", retry=retry, deadline_at=deadline_at)


SENDER = """
import sys, django
django.setup()
from tocsin.kernel import clock
from tocsin.kernel.jobs import LostLease
from tocsin.notices import actions
from tocsin.notices.models import Lane
mailing = int(sys.argv[1])
lanes = list(Lane.objects.filter(mailing=mailing).exclude(provider="letter").order_by("pk").values_list("pk", flat=True))
try:
    while any([actions.send_next(mailing, lane, at=clock.now()) for lane in lanes]):
        continue
except LostLease:
    print("lost the lease", flush=True)
    sys.exit(75)
"""


WORKER = """
import django
django.setup()
from tocsin.kernel import jobs
jobs.run_worker(queues=["mail", "general"], concurrency=1, name="test", wait=False)
"""


def sender(home: Path, mailing: int) -> subprocess.Popen[str]:
    """Start a sender as a process of its own; it works until no lane has a free block."""
    return _process(home, SENDER, str(mailing))


def worker(home: Path) -> subprocess.Popen[str]:
    """Start a worker of the queue; it works until no job is due."""
    return _process(home, WORKER)


def _process(home: Path, script: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a process on this test's database and home."""
    s = connection.settings_dict
    url = f"postgresql://{quote(s['USER'])}:{quote(s['PASSWORD'])}@{s['HOST']}:{s['PORT']}/{s['NAME']}"
    env = os.environ | {
        "TOCSIN_HOME": str(home),
        "TOCSIN_DATABASE_URL": url,
        "TOCSIN_PROCESS": "worker",
        "DJANGO_SETTINGS_MODULE": "tocsin.settings",
        "PYTHONPATH": str(Path(__file__).parents[2] / "src"),
    }
    return subprocess.Popen([sys.executable, "-c", script, *arguments], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
