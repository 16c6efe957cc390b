"""A shop whose log-in was broken into: data map, incident, exposure, and two people who sign."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from tests.credentials.shop import AT, enrol, open_shop
from tocsin.credentials import actions
from tocsin.incidents import actions as incidents
from tocsin.incidents.types import Declaration
from tocsin.inventory import actions as inventory
from tocsin.kernel.errors import Refused
from tocsin.staff import actions as staff
from tocsin.staff import keyfiles

MAP = Path(__file__).parents[2] / "scenarios" / "zappos-2012" / "datamap.yaml"
FIRST_ENTRY = AT - timedelta(hours=72)
T = TypeVar("T")


def sign(home: Path, approval: int, *names: str) -> int:
    """Sign an approval with these people's keys; return it."""
    for name in names or ("ada", "bob"):
        staff.sign_with_key_file(approval, operator=name, key_file=keyfiles.folder(home) / f"{name}.key", at=AT)
    return approval


def approved(home: Path, act: Callable[[int | None], T]) -> T:
    """Ask for an act that needs two people, sign it twice, do it."""
    with pytest.raises(Refused) as asked:
        act(None)
    assert asked.value.approval is not None, asked.value
    return act(sign(home, asked.value.approval))


def incident(home: Path) -> int:
    """Declare that the shop's web servers, where people sign in, were broken into, and freeze whose data that exposes; return it."""
    inventory.load_map([MAP], at=AT, by="ada")
    what = Declaration(name="Kentucky", cause="a stranger came in", hosts=("web_ky",), discovered_at=AT, window_hours=72)
    made = approved(home, lambda a: incidents.declare(what, approval=a, at=AT, by="ada"))
    incidents.scope(made, at=AT, by="ada")
    return made


def contained(home: Path, incident: int) -> None:
    """Have two people determine that the web servers are rebuilt."""
    approved(home, lambda a: incidents.determine_containment(incident, system="web_ky", statement="rebuilt", approval=a, at=AT, by="ada"))


def opened(home: Path) -> int:
    """Open the shop, enrol the team, declare, contain; return the incident."""
    open_shop(enrol(home))
    made = incident(home)
    contained(home, made)
    return made


def cut_over(home: Path, armed: int) -> None:
    """Have two people commit an armed cutover."""
    approved(home, lambda a: actions.commit(armed, approval=a, at=AT, by="ada"))
