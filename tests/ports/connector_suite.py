"""The promises of `credentials.port.Connector`, as one suite that runs on every adapter against the real system.

A test module names its adapter, gives a fixture `target`, and takes all tests in with `from .connector_suite import *`. The target starts
the real system with PEOPLE accounts of customers whose secrets are known, and presents secrets at the system's OWN door: a log-in page's
function, a bind, a session cookie; never by looking into the store. What is lent to every adapter:

    wiring.load("tocsin.credentials.adapters.MODULE.Class")(name, options, secret)      options: the rest of [connectors.NAME]
                                                                                        secret: Private text or None
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import pytest

from tocsin.credentials.passwords import makers
from tocsin.credentials.port import PLAIN, Connector, Presented, TargetCanary
from tocsin.kernel.errors import BadInput, NotFound, Refused, Unavailable
from tocsin.kernel.private import Private

__all__ = [
    "test_a_drain_goes_on_where_it_stopped_and_spares_those_who_changed",
    "test_a_gate_ends_every_older_secret_and_an_abort_brings_them_back",
    "test_a_later_cutover_ends_what_came_after_the_first",
    "test_a_look_changes_nothing",
    "test_a_new_password_opens_one_door_and_no_other",
    "test_a_target_that_is_down_says_so_and_nothing_is_lost",
    "test_arming_changes_no_log_in_and_can_be_repeated",
    "test_canaries_come_and_go",
    "test_changes_in_the_targets_own_pages_are_seen",
    "test_no_secret_stands_in_an_error_or_a_repr",
    "test_unknown_accounts_and_formats_are_named",
]
PEOPLE = 30
AT = datetime(2026, 1, 15, 3, 0, tzinfo=UTC)
NEW = "gravel lantern osprey Tuesday"
NEWER = "marble kettle swallow Friday"


class Target(Protocol):
    """A running system of the real kind, with people in it."""

    people: Mapping[str, str]  # account, as the register calls it -> the secret that opens its door now
    secret: str  # what the connector itself signs in with; must never be seen
    takes_passwords: bool  # False: a session store; the tests about new passwords then expect BadInput
    drains: bool  # False: the gate is all there is, and `drain` says at once that nothing is left
    seconds_matter: bool  # True: the system tells older from newer by whole seconds

    def connector(self) -> Connector:
        """Return a new connector, as another process would make it."""
        ...

    def opens(self, account: str, secret: str) -> bool:
        """Present a secret at the system's own door."""
        ...

    def change(self, account: str, secret: str) -> None:
        """Set a new secret the way the system's own pages do, without Tocsin."""
        ...

    def stop(self) -> None:
        """Take the system down."""
        ...

    def start(self) -> None:
        """Bring the system up again, with all its people."""
        ...


def all_open(target: Target) -> bool:
    return all(target.opens(account, secret) for account, secret in target.people.items())


def none_opens(target: Target) -> bool:
    return not any(target.opens(account, secret) for account, secret in target.people.items())


def said(connector: Connector, canaries: Sequence[TargetCanary]) -> list[Presented]:
    return [answer for canary in canaries for answer in connector.present(canary)]


def gated(target: Target, *, epoch: int = 2) -> Connector:
    connector = target.connector()
    connector.arm()
    if target.seconds_matter:
        time.sleep(1.1)  # what was made in the second of the gate must not count as newer
    connector.gate(epoch, at=AT)
    return connector


def in_format(connector: Connector, password: str) -> tuple[Private[str], str]:
    """Return a password in the format that the target likes best."""
    format = connector.probe().formats[0]
    return (Private(password) if format == PLAIN else makers.make_in(format, Private(password))), format


def test_a_look_changes_nothing(target: Target) -> None:
    connector = target.connector()
    first, second = connector.probe(), connector.probe()
    assert first == second
    assert first.subjects >= PEOPLE
    assert first.classes
    assert bool(first.formats) == target.takes_passwords
    assert [f for f in first.findings if f.level == "blocker"] == []
    assert connector.status().state == "open"
    assert connector.reach() == "loopback"
    assert all_open(target)


def test_arming_changes_no_log_in_and_can_be_repeated(target: Target) -> None:
    target.connector().arm()
    assert all_open(target)
    target.connector().arm()
    assert target.connector().status().state == "armed"
    assert all_open(target)
    target.connector().abort()
    assert target.connector().status().state in {"open", "aborted"}
    assert all_open(target)


def test_a_gate_ends_every_older_secret_and_an_abort_brings_them_back(target: Target) -> None:
    connector = target.connector()
    canaries = connector.plant(3)
    before = said(connector, canaries)
    assert before
    assert all(answer.accepted for answer in before), before
    assert {answer.cred_class for answer in before} == set(connector.probe().classes)
    connector = gated(target)
    assert connector.status().state == "gated"
    assert none_opens(target)
    for each in (connector, target.connector()):  # a second connection, as another node would have
        assert not any(answer.accepted for answer in said(each, canaries))
    again = target.connector().gate(2, at=AT)  # after a crash: nothing is left to do
    assert again.took_ms >= 0
    assert none_opens(target)
    target.connector().abort()
    assert all_open(target)
    assert all(answer.accepted for answer in said(target.connector(), canaries))
    assert target.connector().status().state in {"open", "aborted"}


def test_a_new_password_opens_one_door_and_no_other(target: Target) -> None:
    connector = gated(target)
    first, *others = target.people
    if not target.takes_passwords:
        with pytest.raises(BadInput):
            connector.set_password(first, Private(NEW), format=PLAIN)
        return
    secret, format = in_format(connector, NEW)
    connector.set_password(first, secret, format=format)
    assert target.opens(first, NEW)
    assert not target.opens(first, target.people[first])
    assert not any(target.opens(account, target.people[account]) for account in others)
    connector.set_password(first, secret, format=format)  # the same again, as a job does that was not sure
    assert target.opens(first, NEW)
    secret, _ = in_format(connector, NEWER)
    connector.set_password(first, secret, format=format)
    assert target.opens(first, NEWER)
    assert not target.opens(first, NEW)


def test_a_later_cutover_ends_what_came_after_the_first(target: Target) -> None:
    connector = gated(target)
    if not target.takes_passwords:
        assert connector.gate(3, at=AT).took_ms >= 0
        assert none_opens(target)
        return
    first, second, *_ = target.people
    secret, format = in_format(connector, NEW)
    connector.set_password(first, secret, format=format)
    assert target.opens(first, NEW)
    assert connector.gate(2, at=AT).took_ms >= 0  # the same cutover once more: whoever is through stays through
    assert target.opens(first, NEW)
    if target.seconds_matter:
        time.sleep(1.1)
    for _ in range(2):  # and again, as after a crash
        target.connector().gate(3, at=AT)
        assert target.connector().status().state == "gated"
        assert not target.opens(first, NEW)
        assert not target.opens(second, target.people[second])
    if target.seconds_matter:
        time.sleep(1.1)
    newer, _ = in_format(connector, NEWER)
    target.connector().set_password(second, newer, format=format)
    assert target.opens(second, NEWER)
    assert not target.opens(first, NEW)
    target.connector().drain(None, limit=5)
    target.connector().gate(4, at=AT)
    assert not target.opens(second, NEWER)
    if target.drains:
        with pytest.raises(Refused):
            target.connector().abort()  # what draining ended before the later cutover does not come back either


def test_unknown_accounts_and_formats_are_named(target: Target) -> None:
    connector = gated(target)
    if target.takes_passwords:
        secret, format = in_format(connector, NEW)
        with pytest.raises(NotFound):
            connector.set_password("nobody-of-that-name", secret, format=format)
    with pytest.raises(BadInput):
        connector.set_password(next(iter(target.people)), Private("x"), format="rot13")


def test_changes_in_the_targets_own_pages_are_seen(target: Target) -> None:
    if not target.takes_passwords:
        assert target.connector().changed_elsewhere(None).accounts == ()
        return
    connector = gated(target)
    before = connector.changed_elsewhere(None)
    assert before.accounts == ()
    first, second, *_ = target.people
    target.change(first, NEW)
    seen = target.connector().changed_elsewhere(before.cursor)
    assert seen.accounts == (first,)
    assert target.opens(first, NEW)
    assert not target.opens(second, target.people[second])
    if target.seconds_matter:
        time.sleep(1.1)
    target.change(second, NEW)
    later = target.connector().changed_elsewhere(seen.cursor)
    assert second in later.accounts  # one that was named before may be named again, none may be missing
    assert target.connector().changed_elsewhere(None).accounts == tuple(sorted((first, second)))


def test_a_drain_goes_on_where_it_stopped_and_spares_those_who_changed(target: Target) -> None:
    connector = gated(target)
    first, *others = target.people
    if target.takes_passwords:
        secret, format = in_format(connector, NEW)
        connector.set_password(first, secret, format=format)
    done, cursor, calls = 0, None, 0
    while True:
        part = target.connector().drain(cursor, limit=10)
        assert part.done <= 10
        assert not part.failed
        done, cursor, calls = done + part.done, part.cursor, calls + 1
        if cursor is None:
            break
        assert calls < 1000
    if target.drains:
        assert done >= len(others)
        assert target.connector().status().state in {"draining", "drained"}
        with pytest.raises(Refused):
            target.connector().abort()
    if target.takes_passwords:
        assert target.opens(first, NEW)
    assert not any(target.opens(account, target.people[account]) for account in others)


def test_canaries_come_and_go(target: Target) -> None:
    connector = target.connector()
    people = connector.probe().subjects
    canaries = [*connector.plant(2), *connector.plant(1)]
    assert len({c.account for c in canaries}) == 3
    assert all(answer.accepted for answer in said(target.connector(), canaries))
    for canary in canaries:
        connector.uproot(canary)
        connector.uproot(canary)
    assert not any(answer.accepted for answer in said(connector, canaries))
    assert connector.probe().subjects == people


def test_a_target_that_is_down_says_so_and_nothing_is_lost(target: Target) -> None:
    target.connector().arm()
    target.stop()
    for call in (
        lambda c: c.probe(),
        lambda c: c.arm(),
        lambda c: c.gate(2, at=AT),
        lambda c: c.drain(None, limit=1),
        lambda c: c.status(),
    ):
        began = time.monotonic()
        with pytest.raises(Unavailable):
            call(target.connector())
        assert time.monotonic() - began < 30
    target.start()
    assert all_open(target)
    connector = gated(target)
    assert none_opens(target)
    connector.abort()
    assert all_open(target)


def test_no_secret_stands_in_an_error_or_a_repr(target: Target) -> None:
    connector = target.connector()
    canaries = connector.plant(1)
    shown = [repr(connector), repr(canaries), repr([dataclasses.asdict(a) for a in said(connector, canaries)]), repr(connector.probe())]
    target.stop()
    for call in (
        connector.probe,
        lambda: connector.gate(2, at=AT),
        lambda: connector.set_password("x", Private(NEW), format=PLAIN),
    ):
        with pytest.raises((Unavailable, BadInput)) as e:
            call()
        shown += [str(e.value), repr(e.value)]
    target.start()
    hidden = [s.reveal() for canary in canaries for s in canary.secrets.values()] + ([target.secret] if target.secret else []) + [NEW]
    assert not [text for text in shown for word in hidden if word in text]


def make(adapter: str, options: dict[str, Any], secret: str | None, *, name: str = "shop") -> Connector:
    """Return an adapter as the registry makes it."""
    from tocsin.kernel import wiring

    made: Connector = wiring.load(adapter)(name, options, Private(secret) if secret is not None else None)
    return made
