"""`openldap` against a real slapd; `ldapwhoami` is the witness."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ldap3
import pytest

from tocsin.credentials.passwords import makers
from tocsin.credentials.port import PLAIN, Connector
from tocsin.kernel.errors import BadInput, Refused, Unavailable
from tocsin.kernel.private import Private

from .connector_suite import *  # noqa: F403  the suite's tests run on this module's target
from .connector_suite import AT, NEW, NEWER, PEOPLE, all_open, gated, make, none_opens, said
from .proxy import Proxy
from .slapd_server import CONFIG_WORD, GATE, PEOPLE_BASE, SUFFIX, WORD, SlapdServer

ADAPTER = "tocsin.credentials.adapters.openldap.OpenLdap"


class LdapTarget:
    """A directory, and the connector's way to it through a door that can be shut."""

    secret, takes_passwords, drains, seconds_matter = WORD, True, True, False

    def __init__(self, server: SlapdServer) -> None:
        self.server, self.proxy = server, Proxy(server.port)
        self.people = {f"person{n:02}": f"old secret {n}" for n in range(PEOPLE)}
        server.add_people(self.people)

    def connector(self, **options: Any) -> Connector:
        where = {"port": self.proxy.port, "base": PEOPLE_BASE, "bind_dn": GATE}
        return make(ADAPTER, {**where, **options}, f"{WORD}\n{CONFIG_WORD}")

    def opens(self, account: str, secret: str) -> bool:
        return self.server.opens(account, secret)

    def change(self, account: str, secret: str) -> None:
        self.server.change(account, secret)

    def stop(self) -> None:
        self.proxy.stop()

    def start(self) -> None:
        self.proxy.start()

    def rules(self) -> list[str]:
        with self.server.config() as config:
            config.search("cn=config", "(olcSuffix=*)", ldap3.LEVEL, attributes=["olcAccess"])
            return list(config.entries[0]["olcAccess"].values)

    def close(self) -> None:
        self.proxy.stop()
        self.server.close()


@pytest.fixture
def target(tmp_path: Path) -> Iterator[LdapTarget]:
    made = LdapTarget(SlapdServer(tmp_path))
    yield made
    made.close()


def test_the_rules_of_before_come_back(target: LdapTarget) -> None:
    before = target.rules()
    connector = gated(target)
    behind = target.rules()
    assert len(behind) == len(before) + 2
    assert "pwdChangedTime>=" in behind[0]
    assert behind[0].endswith(before[0].partition(" by ")[2])  # who may do what with a new password is as it was
    first, second, *_ = target.people
    connector.set_password(first, Private(NEW), format=PLAIN)
    assert target.opens(first, NEW)
    with target.server.connect() as db:
        db.search(f"uid={first},{PEOPLE_BASE}", "(objectClass=*)", ldap3.BASE, attributes=["userPassword"])
        assert NEW not in db.entries[0]["userPassword"].value  # the directory hashed it
    connector.gate(3, at=AT)
    assert not target.opens(first, NEW)
    connector.set_password(second, makers.make_in("ldap_crypt", Private(NEWER)), format="ldap_crypt")
    assert target.opens(second, NEWER)
    connector.abort()
    assert target.rules() == before
    assert target.opens(first, NEW)


def test_service_accounts_outside_the_base_go_on(target: LdapTarget) -> None:
    gated(target)
    with target.server._connected(GATE, WORD) as line:
        assert line.extend.standard.who_am_i() == f"dn:{GATE}"


def test_an_entry_without_a_date_is_refused_and_counted(target: LdapTarget) -> None:
    target.change("person01", NEWER)  # by a client of ours, while ppolicy is loaded: this one has a date
    target.people["person01"] = NEWER
    warned = [f for f in target.connector().probe().findings if f.level == "warning"]
    assert [f.text.split(":")[0] for f in warned] == [f"{PEOPLE - 1} of {PEOPLE} entries have no pwdChangedTime"]
    assert all_open(target)
    gated(target)
    assert none_opens(target)
    for one in ("person00", "person01"):
        target.change(one, NEW)
        assert target.opens(one, NEW)


def test_no_overlay_and_no_config_are_blockers(tmp_path: Path) -> None:
    server = SlapdServer(tmp_path, ppolicy=False)
    try:
        options = {"port": server.port, "base": PEOPLE_BASE, "bind_dn": GATE}
        half = make(ADAPTER, options, f"{WORD}\n{CONFIG_WORD}")
        assert ["ppolicy" in f.text for f in half.probe().findings if f.level == "blocker"] == [True]
        with pytest.raises(Refused, match="ppolicy"):
            half.arm()
        blind = make(ADAPTER, options, f"{WORD}\nwrong")
        assert ["cn=config cannot be read" in f.text for f in blind.probe().findings] == [True]
        with pytest.raises(BadInput, match="base"):
            make(ADAPTER, {**options, "base": f"ou=nobody,{SUFFIX}"}, WORD).probe()
        with pytest.raises(Unavailable, match="invalidCredentials"):
            make(ADAPTER, options, "wrong").probe()
    finally:
        server.close()


def test_a_directory_that_takes_no_writes_is_named(target: LdapTarget) -> None:
    connector = target.connector()
    connector.arm()
    with target.server.config() as config:
        config.modify("olcDatabase={1}mdb,cn=config", {"olcReadOnly": [(ldap3.MODIFY_REPLACE, ["TRUE"])]})
    with pytest.raises(Unavailable, match="unwillingToPerform"):
        connector.gate(2, at=AT)
    assert none_opens(target)  # the rules of cn=config could still be written: closed, and the canaries tell
    with target.server.config() as config:
        config.modify("olcDatabase={1}mdb,cn=config", {"olcReadOnly": [(ldap3.MODIFY_REPLACE, ["FALSE"])]})
    connector.gate(2, at=AT)
    assert none_opens(target)
    connector.abort()
    assert all_open(target)


def test_a_directory_that_falls_silent_is_given_up(target: LdapTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    target.connector().arm()
    monkeypatch.setattr("tocsin.credentials.adapters.openldap.CALL_S", 1)
    target.proxy.stall()
    began = time.monotonic()
    with pytest.raises(Unavailable):
        target.connector().gate(2, at=AT)
    assert time.monotonic() - began < 10
    target.proxy.stop()
    target.proxy.start()
    assert target.connector().status().state == "armed"
    assert all_open(target)


def test_pwdreset_is_no_gate_and_a_canary_says_so(target: LdapTarget) -> None:
    """The first trap: the entry must change its password, and the old one still binds."""
    connector = target.connector()
    canaries = connector.plant(2)
    with target.server.connect() as db:
        for canary in canaries:
            db.modify(f"uid={canary.login},{PEOPLE_BASE}", {"pwdReset": [(ldap3.MODIFY_REPLACE, ["TRUE"])]})
    answers = said(connector, canaries)
    assert [a.accepted for a in answers] == [True, True]
    assert "the bind succeeded" in answers[0].detail
    gated(target)
    assert not any(a.accepted for a in said(connector, canaries))


def test_a_lock_without_lockout_is_no_gate_and_a_canary_says_so(target: LdapTarget) -> None:
    """The second trap: the write succeeds, and without pwdLockout in the policy it means nothing."""
    connector = target.connector()
    canaries = connector.plant(2)
    relax = ("1.3.6.1.4.1.4203.666.5.12", True, None)
    with target.server.connect() as db:
        for canary in canaries:
            changes = {"pwdAccountLockedTime": [(ldap3.MODIFY_REPLACE, ["20260101000000Z"])]}
            db.modify(f"uid={canary.login},{PEOPLE_BASE}", changes, controls=[relax])
    assert [a.accepted for a in said(connector, canaries)] == [True, True]
    gated(target)
    assert not any(a.accepted for a in said(connector, canaries))


def test_the_switch_takes_milliseconds(target: LdapTarget) -> None:
    connector = target.connector()
    connector.arm()
    took_ms = connector.gate(2, at=AT).took_ms
    sys.stderr.write(f"\nswitch {took_ms:.1f} ms\n")
    assert took_ms < 1000
    assert none_opens(target)
