"""The two ways to "lock" an OpenLDAP that lock nobody, as connectors of their own over a real slapd: the canaries turn both red."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import ldap3
import pytest

from tests.credentials.shop import AT, PEOPLE, cut, enrol, open_shop
from tests.credentials.test_connectors import armed, configure
from tests.ports.slapd_server import CONFIG_WORD, GATE, PEOPLE_BASE, WORD, SlapdServer
from tocsin.credentials import actions, queries
from tocsin.credentials.port import Gated
from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel import wiring
from tocsin.kernel.private import Private

OpenLdap: Any = wiring.load("tocsin.credentials.adapters.openldap.OpenLdap")
RELAX = ("1.3.6.1.4.1.4203.666.5.12", True, None)
server: SlapdServer


class _PerEntry(OpenLdap):
    """A gate that writes one attribute into every entry, and takes the server's "success" for what it says."""

    attribute, value = "", ""

    def gate(self, epoch: int, *, at: datetime) -> Gated:
        with server.connect() as db:
            db.search(PEOPLE_BASE, "(objectClass=inetOrgPerson)", ldap3.SUBTREE)
            for entry in list(db.entries):
                db.modify(entry.entry_dn, {self.attribute: [(ldap3.MODIFY_REPLACE, [self.value])]}, controls=[RELAX])
        return Gated(1.0)


class MustChange(_PerEntry):
    """pwdReset=TRUE: "must change at the next log-in"."""

    attribute, value = "pwdReset", "TRUE"


class LockedOut(_PerEntry):
    """pwdAccountLockedTime, while the policy has no pwdLockout."""

    attribute, value = "pwdAccountLockedTime", "20260101000000Z"


@pytest.fixture
def directory(estate: Path, transactional_db: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlapdServer]:
    global server
    server = SlapdServer(tmp_path_factory.mktemp("slapd"))
    server.add_people({p.external_id: p.password for p in PEOPLE})
    open_shop(enrol(estate))
    yield server
    server.close()


@pytest.mark.parametrize("trap", ["MustChange", "LockedOut"])
def test_the_canaries_turn_a_gate_red_that_locks_nobody(trap: str, directory: SlapdServer, estate: Path) -> None:
    where = f'port = {directory.port}\nbase = "{PEOPLE_BASE}"\nbind_dn = "{GATE}"\n'
    configure(estate, f'[connectors.trap]\nadapter = "{__name__}.{trap}"\nsecret = "ldap"\n{where}',
              f'[connectors.true]\nadapter = "tocsin.credentials.adapters.openldap.OpenLdap"\nsecret = "ldap"\n{where}')  # fmt: skip
    actions.set_secret("trap", Private(f"{WORD}\n{CONFIG_WORD}"), at=AT, by="ada")
    armed(estate, "trap")
    report: Any = cut(estate, override="the true one is armed below")
    assert "still opens the door" in next(c for c in report.connectors if c.name == "trap").problem
    found = queries.connectors()[0]
    assert found.canaries == {"tried": 6, "refused": 0}
    assert len(found.red) >= 6
    assert found.findings[0]["level"] == "blocker"
    verified = evidence.activity(types=[EventType.TARGET_VERIFIED])[-1]
    assert (verified.body["refused"], verified.body["red"] >= 6) == (0, True)
    armed(estate, "true")  # on the same directory, spoilt as it is by now
    held = actions.gate_connector("true", at=AT, by="ada")
    assert (held.canaries, held.red) == ({"tried": 6, "refused": 6}, ())
    assert not any(directory.opens(p.external_id, p.password) for p in PEOPLE)
