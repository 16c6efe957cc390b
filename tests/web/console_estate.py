"""An estate in the middle of an incident, put together through the rooms' doors: customers, data map, team, duties, a desk with mail."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from tests.conftest import forget
from tests.support import desk as mails
from tocsin.drills import generator
from tocsin.evidence import actions as evidence
from tocsin.evidence import sequencer
from tocsin.evidence.types import EventType, SubjectEvent
from tocsin.incidents import actions as incidents
from tocsin.incidents.types import Declaration
from tocsin.inventory import actions as inventory
from tocsin.kernel import clock
from tocsin.kernel.errors import Refused
from tocsin.kernel.private import Private
from tocsin.notices import actions as notices
from tocsin.obligations import actions as obligations
from tocsin.staff import actions as staff
from tocsin.staff import keyfiles
from tocsin.subjects import actions as register
from tocsin.subjects import queries as subjects
from tocsin.support import actions as support

SCENARIO = Path(__file__).parents[2] / "scenarios" / "zappos-2012"
PEOPLE = 60
SEED = 2012
PASSWORD = "orchard violet ninety Friday"
RESET = "How can I reset my password?"


@contextmanager
def as_process(name: str) -> Iterator[None]:
    """Hold the keys of this process for a while."""
    before = os.environ["TOCSIN_PROCESS"]
    os.environ["TOCSIN_PROCESS"] = name
    forget()
    yield
    os.environ["TOCSIN_PROCESS"] = before
    forget()


def enrol() -> None:
    """Enrol the team; every one of them may sign in."""
    for name, roles in (("ada", ["commander", "communications"]), ("bob", ["legal"]), ("dora", ["support_lead"])):
        staff.add_operator(name=name, roles=roles, at=clock.now(), by="owner", password=Private(PASSWORD))


def approved(home: Path, act: Callable[[int | None], int]) -> int:
    """Do an act that needs two people: ask, sign twice, do it."""
    with pytest.raises(Refused) as asked:
        act(None)
    assert asked.value.approval is not None
    for name in ("ada", "bob"):
        staff.sign_with_key_file(asked.value.approval, operator=name, key_file=keyfiles.folder(home) / f"{name}.key", at=clock.now())
    return act(asked.value.approval)


@as_process("owner")
def incident(home: Path, *, customers: int = PEOPLE) -> int:
    """Import customers, load the map, declare, scope, assess; return the incident."""
    made = generator.write(home, customers=customers, seed=SEED, bad=2)
    register.import_file(made.customers_file, mapping=SCENARIO / "customers.mapping.toml", at=clock.now(), by="ada")
    inventory.load_map([SCENARIO / "datamap.yaml"], at=clock.now(), by="ada")
    what = Declaration(
        name="Kentucky server", cause="A stranger came in through a server.", hosts=("web_ky",),
        discovered_at=clock.now().replace(microsecond=0) - timedelta(hours=2),
    )  # fmt: skip
    made_id = approved(home, lambda approval: incidents.declare(what, approval=approval, at=clock.now(), by="ada"))
    incidents.scope(made_id, at=clock.now(), by="ada")
    obligations.answer("entity.card_accepting_merchant", True, incident=None, at=clock.now(), by="bob")
    obligations.assess(made_id, at=clock.now(), by="bob")
    return made_id


@as_process("owner")
def mailing(home: Path, of: int) -> int:
    """Draft the scenario's notice and start it; nobody sends yet. Return the mailing."""
    notice = notices.draft(incident=of, template=SCENARIO, at=clock.now(), by="ada")
    return approved(home, lambda approval: notices.start(notice, approval=approval, at=clock.now(), by="ada"))


@as_process("owner")
def told(of: int, n: int) -> list[int]:
    """Write down that n customers were handed the notice, as a sender does; return them."""
    numbers = [generator.customer_id(i) for i in range(n)]
    found = subjects.by_external_ids(numbers)
    salts = subjects.salts(list(found.values()))
    evidence.record_many(
        EventType.NOTICE_HANDED_OVER,
        (SubjectEvent(s, salts[s], clock.now(), {"digest": "ab" * 32}) for s in salts),
        actor="worker",
        incident=of,
    )
    return list(salts)


@as_process("owner")
def mail_in(*texts: str) -> None:
    """Let one person per text write to the desk, which knows the vetted answers."""
    support.load_answers(mails.ANSWERS, at=clock.now(), by="dora")
    support.approve_answers(by="bob", at=clock.now())
    for n, text in enumerate(texts):
        mails.write(f"person{n}@people.example", text, at=clock.now() - timedelta(minutes=10 - n))
    support.take_in(at=clock.now())


@as_process("owner")
def seal(home: Path) -> None:
    """Sequence and sign what was recorded."""
    with sequencer.open_log(home) as log:
        sequencer.sequence_once(log)
