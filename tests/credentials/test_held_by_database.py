"""What a process that was taken over can still do with its database role alone: not revive a password, not sign in with a dead one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import DatabaseError, connection, transaction

from tests.credentials.shop import AT, PEOPLE, cut, enrol, log_in, open_shop, signed
from tocsin.credentials import actions, queries
from tocsin.credentials.digests import digest
from tocsin.credentials.models import Account, Epoch, NodeLease, Session
from tocsin.credentials.sign_in import login_of
from tocsin.kernel import schema

FIRST = PEOPLE[0]
FORGED = """
INSERT INTO credentials_cutover (population_id, cohort, reason, classes, incident, state, from_epochs, to_epoch, counts, armed_by, armed_at, committed_at,
  spared, report, override, canaries_tried, canaries_refused)
SELECT population_id, NULL, '', classes, incident, %s, %s, %s, '{}', 'x', now(), now(), '{}', '{}', '', 0, 0 FROM credentials_cutover ORDER BY id LIMIT 1
RETURNING id
"""


@pytest.fixture
def shop(estate: Path, transactional_db: None) -> Path:
    open_shop(enrol(estate))
    schema.migrate()
    return estate


@contextmanager
def logged_in_as(role: str) -> Iterator[None]:
    """Be a process that connected with this role: it is the session's user too, which a function of the owner's still sees."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET SESSION AUTHORIZATION tocsin_{role}")
        try:
            yield
        finally:
            cursor.execute("RESET SESSION AUTHORIZATION")


def ask(statement: str, *params: object) -> object:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, params)
        return cursor.fetchone()[0] if cursor.description else None


def refused(match: str, statement: str, *params: object) -> None:
    with pytest.raises(DatabaseError, match=match):
        ask(statement, *params)


def epochs() -> set[tuple[int, int]]:
    return set(Epoch.objects.filter(population__name="customers", cred_class="password").values_list("epoch", "highest"))


@pytest.mark.parametrize("role", ["console", "operator"])
def test_no_process_moves_an_epoch_but_by_a_cutover(shop: Path, role: str) -> None:
    report = cut(shop)
    cutover = report.cutover  # type: ignore[attr-defined]
    with logged_in_as(role):
        refused("permission denied", "UPDATE credentials_epoch SET epoch = 1")
        refused("permission denied", "UPDATE credentials_population SET name = 'x'")
        refused(
            "permission denied",
            "INSERT INTO credentials_epoch (population_id, cohort, class, epoch, highest, state) "
            "SELECT id, 9, 'password', 1, 1, 'open' FROM credentials_population",
        )
        refused("permission denied", "INSERT INTO credentials_raised (cutover_id, from_epochs, to_epoch) VALUES (%s, '{}', 2)", cutover)
        # A row made to look like a committed cutover lowers nothing: it has raised nothing.
        low = json.dumps({"0/password": 1})
        forged = ask(FORGED, "committed", low, 2)
        refused("has raised nothing", "SELECT credentials_restore_epochs(%s)", forged)
        refused("is not armed", "SELECT credentials_raise_epochs(%s, now())", forged)
        # Nor does one that claims to stand where the epochs stand not.
        armed = ask(FORGED, "armed", low, 9)
        assert ask("SELECT credentials_raise_epochs(%s, now())", armed) == 0
        ask("UPDATE credentials_cutover SET state = 'aborted' WHERE id = %s", armed)
        refused("permission denied", "UPDATE credentials_cutover SET from_epochs = %s WHERE id = %s", low, cutover)
        refused("permission denied", "UPDATE credentials_cutover SET to_epoch = 7 WHERE id = %s", cutover)
    assert epochs() == {(2, 2)}
    assert log_in(FIRST) is None


def test_an_abort_lowers_once_and_not_after_erasure_has_begun(shop: Path) -> None:
    first = cut(shop).cutover  # type: ignore[attr-defined]
    second = cut(shop).cutover  # type: ignore[attr-defined]
    with logged_in_as("console"):
        assert ask("SELECT credentials_restore_epochs(%s)", first) == 0  # another one followed
        assert epochs() == {(3, 3)}
        back = queries.cutover(second)
    approval = signed(shop, lambda: actions.abort(second, at=AT, by="ada"))
    with logged_in_as("console"):
        actions.abort(second, approval=approval, at=AT, by="ada")
    assert back.to_epoch == 3
    assert epochs() == {(2, 3)}
    with logged_in_as("console"):
        refused("cannot be taken back", "SELECT credentials_restore_epochs(%s)", second)
        ask("UPDATE credentials_cutover SET erasing_at = now() WHERE id = %s", first)
        refused("cannot be taken back", "SELECT credentials_restore_epochs(%s)", first)
        ask(
            "INSERT INTO credentials_erasure (cutover_id, first_account, last_account, erased, held, state, attempt, fence, lease_until) "
            "VALUES (%s, 1, 2, 0, 0, 'open', 0, 0, now())",
            first,
        )
        ask("UPDATE credentials_cutover SET erasing_at = NULL WHERE id = %s", first)
        refused("cannot be taken back", "SELECT credentials_restore_epochs(%s)", first)
    assert epochs() == {(2, 3)}


def test_the_public_process_opens_no_session_without_a_live_password(shop: Path) -> None:
    account = Account.objects.get(login_hmac=login_of(FIRST.email)).pk
    open_session = "SELECT credentials_open_session(%s, %s, 99, %s, %s)"
    with logged_in_as("public"):
        ask(open_session, digest("right"), account, 0, AT)
        ask(open_session, digest("other version"), account, 1, AT)
    assert [bytes(s.sid_sha256) for s in Session.objects.all()] == [digest("right")]
    Session.objects.all().delete()
    cut(shop)
    with logged_in_as("public"):
        for version in range(3):
            ask(open_session, digest(f"dead {version}"), account, version, AT)
    assert Session.objects.count() == 0


def test_a_node_belongs_to_the_role_that_made_its_lease(shop: Path) -> None:
    with logged_in_as("api"):
        ask("SELECT credentials_renew_lease('gate:1')")
        ask("SELECT credentials_gate_ack('gate:1', 0)")
    with logged_in_as("public"):
        for statement in ("credentials_renew_lease('gate:1')", "credentials_ack('gate:1')", "credentials_leave('gate:1')"):
            refused("belongs to another role", f"SELECT {statement}")
        ask("SELECT credentials_renew_lease('public:1')")
        ask("SELECT credentials_ack('public:1')")
    with logged_in_as("api"):
        for statement in ("credentials_gate_ack('public:1', 0)", "credentials_leave('public:1')"):
            refused("belongs to another role", f"SELECT {statement}")
    assert dict(NodeLease.objects.values_list("node", "role")) == {"gate:1": "tocsin_api", "public:1": "tocsin_public"}
    with logged_in_as("api"):
        ask("SELECT credentials_leave('gate:1')")
    assert list(NodeLease.objects.values_list("node", flat=True)) == ["public:1"]
