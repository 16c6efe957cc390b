"""Dead hashes are erased after the grace period: range by range, resumed where it was killed, copied first under a legal hold."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from django.db import DatabaseError, connection, transaction

from tests.conftest import forget
from tests.credentials.shop import AT, GOOD, PEOPLE, cut, enrol, log_in, open_shop, rows, write
from tests.credentials.test_actions import as_role, link
from tests.credentials.under_attack import approved, cut_over, opened
from tocsin.credentials import actions, erasure, queries
from tocsin.credentials.models import Account, Credential, Cutover, Erasure, HeldHashes
from tocsin.credentials.types import HashColumns
from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.incidents import actions as incidents
from tocsin.kernel import clock, jobs, schema
from tocsin.kernel.errors import Refused
from tocsin.kernel.private import Private
from tocsin.kernel.sealing import open_deposit

FIRST, SECOND = PEOPLE[:2]
GRACE = timedelta(hours=72)
EARLIER = AT + GRACE - timedelta(seconds=1)


@pytest.fixture
def shop(estate: Path, db: None) -> Path:
    open_shop(enrol(estate))
    return estate


@pytest.fixture
def real_shop(estate: Path, transactional_db: None) -> Path:
    """The same with real commits, for what happens between two processes."""
    open_shop(enrol(estate))
    return estate


def hashes() -> list[str]:
    return sorted(Credential.objects.filter(cred_class="password").values_list("hash", flat=True))


def newest() -> int:
    return Cutover.objects.order_by("-pk").values_list("pk", flat=True)[0]


def work_off(cutover: int) -> int:
    """Do the jobs of an erasure as a worker does; return how many ranges there were."""
    n = 0
    while actions.erase_next(cutover, at=AT + GRACE):
        n += 1
    return n


def test_item_36_legacy_hashes_are_erased_after_the_grace_period(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "RANGE_ROWS", 2)
    assert log_in(FIRST) is not None
    before = hashes()
    cut(shop)
    assert link(FIRST)
    actions.redeem("T" * 43, Private(GOOD), at=AT)
    assert (actions.erase_due(at=EARLIER), queries.erasure(newest()).state) == (0, "waiting")
    assert len([h for h in hashes() if h in before]) == len(PEOPLE) - 1  # within the grace period they are all there
    assert actions.erase_due(at=AT + GRACE) == 1
    assert actions.erase_due(at=AT + GRACE) == 0
    ranges = work_off(newest())
    assert ranges > 2
    assert [h for h in hashes() if h in before] == []
    assert hashes()[:-1] == [""] * (len(PEOPLE) - 1)
    assert log_in(FIRST, GOOD) is not None  # what was set since stays
    info = queries.erasure(newest())
    assert (info.state, info.erased, info.held, info.ranges_done) == ("erased", 6, 0, ranges)
    begun, ended = (evidence.activity(types=[t])[-1] for t in (EventType.ERASURE_BEGUN, EventType.ERASURE_ENDED))
    assert (begun.body["hashes"], begun.body["why"], begun.incident) == (6, "grace period", 1)
    assert ended.body == {"cutover": newest(), "erased": 6, "held": 0, "ranges": ranges}
    assert link(SECOND, token="S" * 43)
    actions.redeem("S" * 43, Private(SECOND.password + " and more"), at=AT)  # the comparison with the old one has gone with it


def test_the_grace_period_is_a_setting_and_a_cutover_without_an_incident_is_erased_too(estate: Path, db: None) -> None:
    (estate / "tocsin.toml").write_text('[estate]\nkind = "demo"\n[credentials]\ngrace_h = 2\n')
    forget()
    open_shop(enrol(estate))
    cut(estate, incident=None)
    assert actions.erase_due(at=AT + timedelta(hours=1.9)) == 0
    assert queries.erasure(newest()).due_at == AT + timedelta(hours=2)
    assert actions.erase_due(at=AT + timedelta(hours=2)) == 1
    work_off(newest())
    assert set(hashes()) == {""}


def test_an_abort_is_possible_until_then_and_never_after(shop: Path) -> None:
    cut(shop)
    approved(shop, lambda a: actions.abort(newest(), approval=a, at=AT, by="ada"))
    assert actions.erase_due(at=AT + GRACE) == 0
    with pytest.raises(Refused, match="is aborted"):
        actions.erase(newest(), approval=None, at=AT, by="ada")
    assert log_in(FIRST) is not None
    cut(shop)
    assert actions.erase_due(at=AT + GRACE) == 1
    with pytest.raises(Refused, match="there is no way back"):
        approved(shop, lambda a: actions.abort(newest(), approval=a, at=AT, by="ada"))


def test_two_people_erase_at_once_when_hashes_are_being_cracked(shop: Path) -> None:
    cut(shop)
    with pytest.raises(Refused, match="two signatures") as asked:
        actions.erase(newest(), approval=None, at=AT, by="ada")
    with pytest.raises(Refused, match="more signature"):
        actions.erase(newest(), approval=asked.value.approval, at=AT, by="ada")
    assert queries.erasure(newest()).state == "waiting"
    info = approved(shop, lambda a: actions.erase(newest(), approval=a, at=AT, by="ada"))
    assert (info.state, info.ranges_done) == ("erasing", 0)
    work_off(newest())
    assert set(hashes()) == {""}
    assert evidence.activity(types=[EventType.ERASURE_BEGUN])[-1].body["why"] == "two people"
    with pytest.raises(Refused, match="are being erased since"):
        actions.erase(newest(), approval=None, at=AT, by="ada")


def test_only_what_this_cutover_ended_is_erased(shop: Path) -> None:
    """A later cutover that can still be taken back keeps its dead, in whatever cohort."""
    first = Account.objects.get(subject__isnull=False, login_hmac=Account.objects.order_by("pk")[0].login_hmac)
    actions.assign_cohort(1, subjects=[first.subject], reason="listed", at=AT, by="ada")
    narrow = actions.arm(incident=1, cohort=1, reason="listed", at=AT, by="ada")
    cut_over(shop, narrow.id)
    wide = actions.widen(narrow.id, at=AT, by="ada")
    cut_over(shop, wide.id)
    approved(shop, lambda a: actions.erase(narrow.id, approval=a, at=AT, by="ada"))
    work_off(narrow.id)
    assert hashes().count("") == 1
    approved(shop, lambda a: actions.abort(wide.id, approval=a, at=AT, by="ada"))
    assert [log_in(c) is not None for c in PEOPLE] == [False] + [True] * (len(PEOPLE) - 1)


def test_a_later_import_brings_no_erased_hash_back(shop: Path, tmp_path: Path) -> None:
    cut(shop)
    approved(shop, lambda a: actions.erase(newest(), approval=a, at=AT, by="ada"))
    work_off(newest())
    Credential.objects.filter(account__subject__isnull=False).order_by("account_id")[0].delete()  # as if never imported
    assert actions.import_hashes(write(tmp_path / "again.csv", rows()), mapping=HashColumns(), at=AT, by="owner").accepted == len(PEOPLE)
    assert hashes() == [""] * len(PEOPLE)
    assert log_in(FIRST) is None
    assert log_in(FIRST, "") is None


# -- legal hold -------------------------------------------------------------------------------------------------------------


def test_a_legal_hold_has_the_hashes_sealed_for_the_owner_alone(estate: Path, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "RANGE_ROWS", 3)
    at = opened(estate)
    before = hashes()
    cut_over(estate, actions.arm(incident=at, at=AT, by="ada").id)
    incidents.hold(at, reason="the prosecutor asked for it", at=AT, by="ada")
    actions.erase_due(at=AT + GRACE)
    with pytest.raises(DatabaseError, match="these hashes were not copied"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT credentials_erase(%s, 0, 1000000)", [newest()])
    work_off(newest())
    assert set(hashes()) == {""}
    info = queries.erasure(newest())
    assert (info.state, info.erased, info.held) == ("erased", 7, 7)
    kept = queries.held_hashes(newest())
    assert sorted(h for _, _, h in kept) == before
    assert {c for _, c, _ in kept} == {"password"}
    blob = HeldHashes.objects.first()
    assert blob is not None
    assert before[0].encode() not in bytes(blob.sealed)
    monkeypatch.setenv("TOCSIN_PROCESS", "worker")
    forget()
    with pytest.raises(Refused, match="may not hold the key custody"):
        open_deposit(blob.sealed, context="x", to="custody")


def test_each_process_erases_as_far_as_it_may(real_shop: Path) -> None:
    schema.migrate()
    cut(real_shop)
    for role in ("public", "operator", "console"):
        with as_role(role), pytest.raises(DatabaseError, match="permission denied"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT credentials_erase(%s, 0, 1000000)", [newest()])
    with as_role("worker"):
        with pytest.raises(DatabaseError, match="is being erased"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT credentials_erase(%s, 0, 1000000)", [newest()])  # before anybody began it
        assert actions.erase_due(at=AT + GRACE) == 1
        with pytest.raises(DatabaseError, match="no legal hold"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT * FROM credentials_dead_hashes(%s, 0, 1000000)", [newest()])
        work_off(newest())
    assert set(hashes()) == {""}


def test_the_worker_copies_for_a_hold_and_cannot_read_it_again(estate: Path, transactional_db: None) -> None:
    schema.migrate()
    at = opened(estate)
    cut_over(estate, actions.arm(incident=at, at=AT, by="ada").id)
    incidents.hold(at, reason="asked for", at=AT, by="ada")
    with as_role("worker"):
        actions.erase_due(at=AT + GRACE)
        work_off(newest())
        with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
            queries.held_hashes(newest())
    assert len(queries.held_hashes(newest())) == len(PEOPLE)


# -- killed -----------------------------------------------------------------------------------------------------------------

CHILD = """
import sys, django
django.setup()
from tocsin.credentials import actions
from tocsin.kernel import clock
while actions.erase_next(int(sys.argv[1]), at=clock.now()):
    print("one more", flush=True)
"""


def child(home: Path, cutover: int) -> subprocess.Popen[str]:
    s = connection.settings_dict
    env = os.environ | {
        "TOCSIN_HOME": str(home),
        "TOCSIN_DATABASE_URL": f"postgresql://{quote(s['USER'])}:{quote(s['PASSWORD'])}@{s['HOST']}:{s['PORT']}/{s['NAME']}",
        "TOCSIN_PROCESS": "worker",
        "DJANGO_SETTINGS_MODULE": "tocsin.settings",
        "PYTHONPATH": str(Path(__file__).parents[2] / "src"),
    }
    return subprocess.Popen([sys.executable, "-c", CHILD, str(cutover)], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def free_leases() -> None:
    Erasure.objects.filter(state="open").update(lease_until=clock.from_us(0))


@pytest.mark.parametrize("inside", [False, True], ids=["between two ranges", "within a range"])
def test_killed_in_the_middle_it_goes_on_where_it_was(real_shop: Path, monkeypatch: pytest.MonkeyPatch, inside: bool) -> None:
    monkeypatch.setattr(erasure, "RANGE_ROWS", 1)
    before = hashes()
    cut(real_shop)
    cutover = newest()
    actions.erase_due(at=AT + GRACE)
    wall = Credential.objects.filter(hash__in=before).order_by("account_id")[3]
    stopped = threading.Event()
    with transaction.atomic():
        # The fourth account's row is held: the child works up to it and stands within that range, its fence written and nothing erased.
        Credential.objects.select_for_update().get(account_id=wall.account_id, cred_class="password")
        process = child(real_shop, cutover)
        assert process.stdout is not None
        done = 0
        for _ in range(3):
            assert process.stdout.readline() == "one more\n", process.stderr.read() if process.stderr and process.poll() is not None else ""
            done += 1
        if inside:
            until_waiting(stopped)
        process.send_signal(signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
    process.communicate()
    info = queries.erasure(cutover)
    assert (info.state, info.erased, done) == ("erasing", 3, 3)
    assert [h for h in hashes() if h] == sorted(set(before) - erased_of(before))
    assert len([h for h in hashes() if h]) == len(before) - 3
    assert evidence.activity(types=[EventType.ERASURE_ENDED]) == []
    free_leases()
    jobs.sweep()
    work_off(cutover)
    info = queries.erasure(cutover)
    assert (info.state, info.erased, info.ranges) == ("erased", len(before), info.ranges_done)
    assert set(hashes()) == {""}
    assert len(evidence.activity(types=[EventType.ERASURE_ENDED])) == 1


def erased_of(before: list[str]) -> set[str]:
    return set(before) - set(hashes())


def until_waiting(stop: threading.Event) -> None:
    """Wait until somebody waits for the lock that this connection holds."""
    for _ in range(400):
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))")
            if cursor.fetchone()[0]:
                return
        stop.wait(0.05)
    raise AssertionError("nobody waits")


def test_of_two_workers_one_writes(real_shop: Path) -> None:
    """A worker that was frozen past its lease wakes up and finds its range in other hands."""
    cut(real_shop)
    actions.erase_due(at=AT + GRACE)
    mine = jobs.claim(Erasure.objects.filter(cutover_id=newest()))
    assert mine is not None
    assert actions.erase_next(newest(), at=AT)  # all are claimed: somebody must come again
    free_leases()
    assert actions.erase_next(newest(), at=AT)
    with pytest.raises(jobs.LostLease), transaction.atomic():
        jobs.fenced(mine, state="done", erased=99)
    assert queries.erasure(newest()).erased == len(PEOPLE)
