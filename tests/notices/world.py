"""People in the register, an exposure that holds them, a team that signs, and senders as processes of their own."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from django.db import connection

from tocsin.incidents import actions as incidents
from tocsin.incidents.types import Declaration
from tocsin.inventory import actions as inventory
from tocsin.kernel import config
from tocsin.kernel.errors import Refused
from tocsin.notices import actions
from tocsin.notices.types import Retry
from tocsin.staff import actions as staff
from tocsin.staff import keyfiles
from tocsin.subjects import actions as subjects

AT = datetime(2026, 1, 15, 3, 0, tzinfo=UTC)
TEXTS = Path(__file__).parents[2] / "scenarios" / "zappos-2012"
MAPPING = """format = "tocsin-mapping/1"
external_id = "customer_id"
name = ["name"]
email = "email"
[defaults]
country = "US"
locale = "en"
[address.billing]
street = ["street"]
city = "city"
region = "region"
postcode = "postcode"
country = "country"
[stores.customers]
name = ["name"]
email = ["email"]
"""
NOW = Retry(first_s=0.001, tries_max=3)


def people(emails: Sequence[str | None], *, postal: Sequence[int] = (), register: int = 0) -> int:
    """Register one person per address, and an incident that exposes them all; return it. `postal`: places that have a street too;
    `register`: so many were registered before, and are exposed with them.

    Through the doors of the rooms below: a file is imported, the scenario's data map loaded, an incident declared by two people and scoped.
    """
    home = config.current().home
    team()
    without = MAPPING.replace('email = "email"\n', "").replace('email = ["email"]\n', "")  # an empty cell would be a fault of its row
    for name, mapping in (("with", MAPPING), ("without", without)):
        (home / f"{name}.toml").write_text(mapping)
        rows = [(i, e) for i, e in enumerate(emails) if bool(e) == (name == "with")]
        with (home / f"{name}.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["customer_id", "name", "email", "street", "city", "region", "postcode", "country"])
            for i, address in rows:
                street = ["1 Main St", "Reno", "NV", "89501", "US"] if i in postal else [""] * 5
                table.writerow([f"C{i:05}", f"Jo Sample {i}", address or "", *street])
        if rows:
            report = subjects.import_file(home / f"{name}.csv", mapping=home / f"{name}.toml", at=AT, by="ada")
            assert (report.accepted, report.rejected) == (len(rows), 0)
    inventory.load_map([TEXTS / "datamap.yaml"], at=AT, by="ada")
    declared = Declaration(name="Kentucky server", cause="a stranger came in through a server", hosts=("web_ky",))
    with pytest.raises(Refused) as asked:
        incidents.declare(declared, approval=None, at=AT, by="ada")
    assert asked.value.approval is not None
    sign(home, asked.value.approval, "ada", "bob")
    incident = incidents.declare(declared, approval=asked.value.approval, at=AT, by="ada")
    assert incidents.scope(incident, at=AT, by="ada").people == len(emails) + register
    return incident


def team() -> None:
    """Enrol two people who together may declare, start and resume. Safe to repeat."""
    for name, roles in (("ada", ["commander", "communications"]), ("bob", ["legal"])):
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
import os, resource, sys, django
limit = int(os.environ["TEST_FILE_BYTES_MAX"])  # -1: none
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
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
import os, threading, django
django.setup()
from tocsin.kernel import clock, jobs
jumps_s = float(os.environ.get("TEST_CLOCK_JUMPS_S", "0"))
true_us = clock._wall_us
def jump(by_s):
    clock._wall_us = lambda: true_us() + int(by_s * 1_000_000)
if jumps_s:
    jump(jumps_s)
    threading.Timer(1.0, jump, (-jumps_s,)).start()
jobs.run_worker(queues=["mail", "general"], concurrency=1, name="test", wait=False)
"""


def sender(home: Path, mailing: int, *, file_bytes_max: int = -1) -> subprocess.Popen[str]:
    """Start a sender as a process of its own; it works until no lane has a free block. `file_bytes_max`: no file of its grows longer."""
    return _process(home, SENDER, str(mailing), env={"TEST_FILE_BYTES_MAX": str(file_bytes_max)})


def worker(home: Path, *, clock_jumps_s: float = 0) -> subprocess.Popen[str]:
    """Start a worker of the queue; it works until no job is due. Its wall clock is wrong by so much, and after a second by as much less."""
    return _process(home, WORKER, env={"TEST_CLOCK_JUMPS_S": str(clock_jumps_s)})


def _process(home: Path, script: str, *arguments: str, env: dict[str, str]) -> subprocess.Popen[str]:
    """Start a process on this test's database and home."""
    s = connection.settings_dict
    url = f"postgresql://{quote(s['USER'])}:{quote(s['PASSWORD'])}@{s['HOST']}:{s['PORT']}/{s['NAME']}"
    ours = {
        "TOCSIN_HOME": str(home),
        "TOCSIN_DATABASE_URL": url,
        "TOCSIN_PROCESS": "worker",
        "DJANGO_SETTINGS_MODULE": "tocsin.settings",
        "PYTHONPATH": str(Path(__file__).parents[2] / "src"),
    }
    command = [sys.executable, "-B", "-c", script, *arguments]
    return subprocess.Popen(command, env=os.environ | ours | env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
