"""The cutover, the log-in and the reset through their doors, against PostgreSQL."""

from __future__ import annotations

import json
import threading
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import DatabaseError, connection, connections, transaction

from tests.credentials.shop import AT, GOOD, PEOPLE, Customer, cut, enrol, hash_of, log_in, open_shop, rows, signed, write
from tocsin.credentials import actions, imports, lease, policy, post, queries
from tocsin.credentials.models import Account, Credential, Cutover, Epoch, NodeLease, ResetToken, Session
from tocsin.credentials.passwords import formats, hashing
from tocsin.credentials.sign_in import digest, login_of
from tocsin.credentials.types import CLASSES, PASSWORD_BYTES_MAX, CommitReport
from tocsin.evidence import policy as evidence_policy
from tocsin.evidence import queries as evidence
from tocsin.evidence.models import Event
from tocsin.evidence.types import EventType
from tocsin.kernel import jobs, schema
from tocsin.kernel.errors import BadInput, Busy, NotFound, Refused, Unavailable
from tocsin.kernel.private import Private
from tocsin.mail import queries as mail
from tocsin.subjects import queries as subjects

FIRST = PEOPLE[0]
TOKEN = "T" * 43


@pytest.fixture
def shop(estate: Path, db: None) -> Path:
    open_shop(enrol(estate))
    return estate


@pytest.fixture
def real_shop(estate: Path, transactional_db: None) -> Path:
    """The same with real commits, for what happens between two connections."""
    open_shop(enrol(estate))
    return estate


def link(customer: Customer = FIRST, *, token: str = TOKEN, at: Any = AT) -> bool:
    return actions.send_reset(login_of(customer.email), request=uuid4(), token=Private(token), at=at)


def beside(work: Callable[[], Any]) -> Any:
    """Run work on a connection of its own and return what it returned or raised."""
    out: list[Any] = []

    def run() -> None:
        try:
            out.append(work())
        except (NotFound, Refused, DatabaseError) as e:
            out.append(e)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    return out[0]


# -- import -----------------------------------------------------------------------------------------------------------------


def test_every_old_format_signs_in_and_its_neighbour_does_not(shop: Path) -> None:
    for customer in PEOPLE:
        sid = log_in(customer)
        assert sid is not None, customer.format
        info = queries.session(sid, at=AT)
        assert info is not None
        assert Account.objects.get(pk=info.account).subject == info.subject
        assert log_in(customer, customer.password + "x") is None
        assert log_in(customer, PEOPLE[-1].password + customer.format) is None
    assert actions.log_in(f"  {FIRST.email.upper()} ", Private(FIRST.password), at=AT) is not None
    assert actions.log_in("nobody@mail.example", Private(FIRST.password), at=AT) is None


def test_a_file_closes_and_its_bad_lines_are_named(shop: Path, tmp_path: Path) -> None:
    good = rows()
    bad = [
        ["C999", "A", "B", "stranger@mail.example", "md5", "0" * 32],
        [*good[1][:3], good[0][3], *good[1][4:]],  # another customer's address
        [*good[2][:4], "rot13", good[2][5]],
        [*good[3][:5], "pbkdf2_sha256$many$salt$x"],
        [*good[4][:3], "no address", *good[4][4:]],
        ["C6", "only three fields"],
        [*good[0][:5], ""],
        [*good[0][:4], "md5", "g" * 32],
    ]
    again = [*good[0][:4], "sha256_salted", hash_of("sha256_salted", "renewed")]
    seen: list[int] = []
    report = actions.import_hashes(write(tmp_path / "more.csv", [again, *bad]), at=AT, by="owner", progress=seen.append)
    assert (report.read, report.accepted, report.updated, report.rejected) == (9, 1, 1, 8)
    assert seen == [9]
    assert [(line, field) for line, field, _ in queries.rejects(report.id)] == [
        (3, "external_id"),
        (4, "login"),
        (5, "format"),
        (6, "hash"),
        (7, "login"),
        (8, "line"),
        (9, "hash"),
        (10, "hash"),
    ]
    assert all("salt$x" not in reason and "@" not in reason for _, _, reason in queries.rejects(report.id))
    assert log_in(FIRST, "renewed") is not None
    assert log_in(FIRST) is None
    begun, body = (e.body for e in evidence.activity(types=[EventType.CREDENTIALS_IMPORTED])[-2:])
    assert begun == {"import": report.id, "population": "customers", "stage": "begun"}
    assert (body["import"], body["stage"]) == (report.id, "ended")
    assert body["read"] == body["accepted"] + body["rejected"] == 9
    with pytest.raises(BadInput) as e:
        actions.import_hashes(_headless(tmp_path), at=AT, by="owner")
    assert len(e.value.faults) == 2
    with pytest.raises(NotFound):
        actions.import_hashes(tmp_path / "absent.csv", at=AT, by="owner")


def test_an_import_that_breaks_off_is_on_record(real_shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "BATCH_ROWS", 2)

    def power_cut(read: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        actions.import_hashes(write(tmp_path / "again.csv", rows()), at=AT, by="mallory", progress=power_cut)
    last = evidence.activity(types=[EventType.CREDENTIALS_IMPORTED])[-1]
    assert (last.actor, last.body["stage"]) == ("mallory", "begun")


def _headless(folder: Path) -> Path:
    file = folder / "headless.csv"
    file.write_text("customer_id,email,kind,secret\n1,a@b.example,md5,x\n")
    return file


def test_an_import_after_the_cutover_brings_nobody_back_and_replaces_no_new_password(shop: Path, tmp_path: Path) -> None:
    cut(shop)
    link()
    actions.redeem(TOKEN, Private(GOOD), at=AT)
    report = actions.import_hashes(write(tmp_path / "again.csv", rows()), at=AT, by="owner")
    assert report.accepted == report.updated == len(PEOPLE)
    assert log_in(FIRST, GOOD) is not None
    assert [log_in(c) for c in PEOPLE] == [None] * len(PEOPLE)


# -- cutover ----------------------------------------------------------------------------------------------------------------


def test_a_cutover_ends_every_class_it_names_and_needs_two_people(shop: Path) -> None:
    canaries = actions.plant_canaries(2, at=AT)
    sids = [log_in(c) for c in PEOPLE]
    link()
    armed = actions.arm(incident=7, at=AT, by="ada")
    assert armed.counts == {"password": 9, "session": 9, "remember_me": 2, "reset_token": 3, "refresh": 2, "api_token": 2}
    assert armed.canaries == len(canaries) == 2
    assert actions.arm(incident=7, at=AT, by="ada") == armed
    with pytest.raises(Refused, match="is armed"):
        actions.arm(incident=8, at=AT, by="ada")
    before = actions.try_canaries(armed.id, at=AT)
    assert (before.tried, before.accepted) == (12, 12)
    armed_counts = queries.status("customers")
    assert (armed_counts.live, armed_counts.dead, armed_counts.state) == (9, 0, "armed")

    with pytest.raises(Refused, match="two signatures") as e:
        actions.commit(armed.id, approval=None, at=AT, by="ada")
    with pytest.raises(Refused, match="lacks 2 more"):
        actions.commit(armed.id, approval=e.value.approval, at=AT, by="ada")
    assert all(log_in(c) for c in PEOPLE)
    report = cut(shop, armed=armed)
    assert isinstance(report, CommitReport)
    assert report.epoch == armed.to_epoch == 2
    assert 0 < report.commit_ms <= report.sealed_ms

    assert [log_in(c) for c in PEOPLE] == [None] * len(PEOPLE)
    assert [queries.session(str(s), at=AT) for s in sids] == [None] * len(PEOPLE)
    assert queries.open_token(TOKEN, at=AT) is None
    with pytest.raises(NotFound):
        actions.redeem(TOKEN, Private(GOOD), at=AT)
    after = actions.try_canaries(armed.id, at=AT)
    assert (after.tried, after.refused, after.survivors) == (12, 12, ())
    status = queries.status(armed.id)
    assert (status.live, status.dead, status.sealed, status.epoch) == (0, 9, True, 2)
    assert (status.canaries_tried, status.canaries_refused) == (12, 12)
    assert queries.all_were_reset() == AT
    assert Epoch.objects.get(population__name="customers", cohort=0, cred_class="passkey").epoch == 1
    counts = evidence.counts(incident=7)
    assert [counts[t] for t in (EventType.CUTOVER_ARMED, EventType.CUTOVER_COMMITTED, EventType.CUTOVER_SEALED)] == [1, 1, 1]
    with pytest.raises(Refused, match="sealed, not armed"):
        actions.commit(armed.id, approval=e.value.approval, at=AT, by="ada")


def test_a_count_that_is_asked_for_again_and_again_is_kept_with_its_age(shop: Path, django_assert_num_queries: Any) -> None:
    def asked(max_age_s: float) -> tuple[int, int]:
        found = queries.status("customers", max_age_s=max_age_s)
        return found.live, found.dead

    assert asked(1000.0) == (7, 0)
    actions.plant_canaries(1, at=AT)
    with django_assert_num_queries(3) as captured:
        assert asked(1000.0) == (7, 0)
    assert not any("credentials_credential" in q["sql"] for q in captured)
    assert queries.status("customers", max_age_s=1000.0).age_s >= 0
    assert asked(0.0) == (8, 0)
    cut(shop)
    assert asked(1000.0) == (0, 8)  # a commit is counted at once
    exact = queries.status("customers")
    assert (exact.live, exact.dead, exact.age_s) == (0, 8, 0.0)


def test_what_two_people_signed_is_what_happens_or_nothing(shop: Path) -> None:
    armed = actions.arm(incident=1, at=AT, by="ada")
    approval = signed(shop, lambda: actions.commit(armed.id, approval=None, at=AT, by="ada"))
    Cutover.objects.filter(pk=armed.id).update(classes=["session"], from_epochs={"0/session": 1})
    with pytest.raises(Refused, match="not what would be done"):
        actions.commit(armed.id, approval=approval, at=AT, by="ada")
    Cutover.objects.filter(pk=armed.id).update(classes=list(armed.classes), from_epochs=dict(armed.from_epoch))
    Epoch.objects.filter(cred_class="session").update(highest=5)
    with pytest.raises(Refused, match="moved since"):
        actions.commit(armed.id, approval=approval, at=AT, by="ada")
    assert Epoch.objects.filter(epoch=2).count() == 0  # nothing of it, not the other three classes either
    assert log_in(FIRST) is not None
    for wrong in ({"classes": ["password"]}, {"classes": ["secrets"]}, {"population": "cats"}, {"cohort": 3}):
        with pytest.raises(BadInput):
            actions.arm(incident=1, at=AT, by="ada", **wrong)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        actions.commit(armed.id + 1, approval=None, at=AT, by="ada")


def test_two_cutovers_are_two_epochs_and_an_abort_goes_back_one(shop: Path) -> None:
    one, two = cut(shop, incident=1), cut(shop, incident=2)
    assert isinstance(one, CommitReport)
    assert isinstance(two, CommitReport)
    assert (one.epoch, two.epoch) == (2, 3)
    for cutover, refused in ((one, "another cutover followed"), (two, None)):
        approval = signed(shop, lambda c=cutover: actions.abort(c.cutover, at=AT, by="ada"))  # type: ignore[misc]
        if refused:
            with pytest.raises(Refused, match=refused):
                actions.abort(cutover.cutover, approval=approval, at=AT, by="ada")
        else:
            assert actions.abort(cutover.cutover, approval=approval, at=AT, by="ada").state == "aborted"
    assert log_in(FIRST) is None  # back to the epoch before the second, not before the first


def test_abort_brings_old_passwords_back_and_spends_the_number(shop: Path) -> None:
    sid = log_in(FIRST)
    report = cut(shop)
    assert isinstance(report, CommitReport)
    assert log_in(FIRST) is None
    link(PEOPLE[1])
    actions.redeem(TOKEN, Private(GOOD), at=AT)
    approval = signed(shop, lambda: actions.abort(report.cutover, at=AT, by="ada"))
    Cutover.objects.update(erasing_at=AT)
    with pytest.raises(Refused, match="no way back"):
        actions.abort(report.cutover, approval=approval, at=AT, by="ada")
    Cutover.objects.update(erasing_at=None)
    actions.abort(report.cutover, approval=approval, at=AT, by="ada")
    assert log_in(FIRST) is not None
    assert queries.session(str(sid), at=AT) is not None
    assert queries.all_were_reset() is None
    assert evidence.counts()[EventType.CUTOVER_ABORTED] == 1
    assert log_in(PEOPLE[1], GOOD) is not None
    again = cut(shop)
    assert isinstance(again, CommitReport)
    assert again.epoch == 3
    assert log_in(PEOPLE[1], GOOD) is None  # made under the aborted number: it falls with the next


def test_an_armed_cutover_is_withdrawn_without_signatures(shop: Path) -> None:
    armed = actions.arm(incident=1, at=AT, by="ada")
    assert actions.abort(armed.id, at=AT, by="ada").state == "aborted"
    with pytest.raises(Refused):
        actions.abort(armed.id, at=AT, by="ada")
    assert log_in(FIRST) is not None


def test_staff_are_another_population(shop: Path) -> None:
    (canary,) = actions.plant_canaries(1, at=AT, population="staff")
    cut(shop)
    assert actions.log_in(canary.login, canary.password, at=AT, population="staff") is not None
    assert actions.log_in(canary.login, canary.password, at=AT) is None


def test_a_narrow_cutover_leaves_the_other_cohort(shop: Path) -> None:
    home = Account.objects.first().population  # type: ignore[union-attr]
    for c in CLASSES:
        Epoch.objects.create(population=home, cohort=4, cred_class=c, epoch=1, highest=1)
    Account.objects.filter(login_hmac=login_of(FIRST.email)).update(cohort=4)
    armed = actions.arm(incident=1, at=AT, by="ada", cohort=4, reason="only the old shop's database was copied")
    assert armed.counts["password"] == 1
    cut(shop, armed=armed)
    assert log_in(FIRST) is None
    assert log_in(PEOPLE[1]) is not None


# -- races ------------------------------------------------------------------------------------------------------------------


@contextmanager
def paused(point: str, monkey: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Hold whoever reaches a function of the hashing module there, as a slow hash would; give (reached, go on)."""
    reached, go_on = threading.Event(), threading.Event()
    real = getattr(hashing, point)

    def slow(*args: Any, **named: Any) -> Any:
        reached.set()
        assert go_on.wait(20)
        return real(*args, **named)

    monkey.setattr(hashing, point, slow)
    yield reached, go_on
    monkey.undo()


def test_a_log_in_that_overlaps_the_commit_yields_a_dead_session(real_shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out: list[str | None] = []

    def late() -> None:
        out.append(log_in(FIRST))
        connections.close_all()

    with paused("matches", monkeypatch) as (reached, go_on):
        thread = threading.Thread(target=late)
        thread.start()
        assert reached.wait(20)
        cut(real_shop)
        go_on.set()
        thread.join(20)
    assert out[0] is not None  # it was let in by what it had read, and that is worth nothing
    assert not Session.objects.filter(sid_sha256=digest(out[0])).exists()  # the password was dead when the session would have been written
    assert queries.session(out[0], at=AT) is None


def test_a_password_change_that_races_the_cutover_is_ended_with_the_rest(real_shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thief asks for a link, the cutover commits while the new password is being hashed."""
    link()
    out: list[Any] = []

    def late() -> None:
        try:
            out.append(actions.redeem(TOKEN, Private(GOOD), at=AT))
        except NotFound as e:
            out.append(e)
        connections.close_all()

    with paused("make", monkeypatch) as (reached, go_on):
        thread = threading.Thread(target=late)
        thread.start()
        assert reached.wait(20)
        cut(real_shop)
        go_on.set()
        thread.join(20)
    assert isinstance(out[0], NotFound)
    assert log_in(FIRST, GOOD) is None
    assert log_in(FIRST) is None


def test_a_password_written_in_a_transaction_older_than_the_commit_is_dead(real_shop: Path) -> None:
    """The statement of redeem has its snapshot before the cutover, and commits after it: the finest race there is."""
    link()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM credentials_redeem(%s, %s, %s)", [digest(TOKEN), hashing.make(Private(GOOD)), AT])
            assert cursor.fetchone() is not None
        assert isinstance(beside(lambda: cut(real_shop)), CommitReport)  # no lock of a reset holds up a cutover
    assert Credential.objects.get(account__login_hmac=login_of(FIRST.email)).epoch == 1
    assert log_in(FIRST, GOOD) is None


def test_racing_log_ins_never_outlive_a_cutover(real_shop: Path) -> None:
    stop, served = threading.Event(), [[], []]  # type: tuple[threading.Event, list[list[str]]]

    def keep_trying(mine: list[str]) -> None:
        while not stop.is_set():
            sid = log_in(PEOPLE[len(served[0]) % 3])
            if sid:
                mine.append(sid)
        connections.close_all()

    threads = [threading.Thread(target=keep_trying, args=(mine,)) for mine in served]
    for t in threads:
        t.start()
    try:
        while not all(served):
            stop.wait(0.01)
        cut(real_shop)
        assert [log_in(c) for c in PEOPLE[:3]] == [None] * 3
    finally:
        stop.set()
        for t in threads:
            t.join(20)
    sids = served[0] + served[1]
    assert len(sids) >= 2
    assert [s for s in sids if queries.session(s, at=AT)] == []


# -- reset ------------------------------------------------------------------------------------------------------------------


def test_a_reset_ends_sessions_is_written_down_and_mails_its_owner(shop: Path) -> None:
    cut(shop, incident=7)
    assert link()
    row = ResetToken.objects.get()
    assert bytes(row.token_sha256) == digest(TOKEN)
    assert (row.expires_at - AT, row.epoch) == (post.upper_bound(), 2)
    assert queries.open_token(TOKEN, at=AT) == queries.open_token(TOKEN, at=AT) != None  # noqa: E711
    actions.redeem(TOKEN, Private(GOOD), at=AT)
    sid = log_in(FIRST, GOOD)
    assert queries.session(str(sid), at=AT) is not None
    account = Account.objects.get(login_hmac=login_of(FIRST.email))
    assert account.subject is not None
    entries = evidence.entries_of_subject(account.subject)
    assert [e.type for e in entries] == [EventType.RESET_REQUESTED, EventType.PASSWORD_RESET]
    assert {e.incident for e in entries} == {7}
    counts = queries.reset_counts(7)
    assert (counts.requested, counts.completed) == (1, 1)
    stored = Credential.objects.get(account=account)
    assert stored.hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert stored.epoch == 2
    assert _jobs("credentials.tasks.send_changed") == [{"subject": account.subject, "version": 1}]
    for _ in range(2):  # a job that runs again mails nothing more
        actions.send_changed(account.subject, version=1, at=AT)
    assert mail.singles_waiting() == 2
    untouched = Account.objects.get(login_hmac=login_of(PEOPLE[1].email)).subject
    assert untouched is not None
    for forged in ((untouched, 0), (untouched, 1), (account.subject, 2)):
        actions.send_changed(forged[0], version=forged[1], at=AT)
    assert mail.singles_waiting() == 2
    (set_anew,) = Event.objects.filter(subject=account.subject, type=EventType.PASSWORD_RESET)
    salt = subjects.salts([account.subject])[account.subject]
    body = {"epoch": 2, "version": 1}
    text = evidence_policy.event_json(
        EventType.PASSWORD_RESET, at=AT, actor="public", incident=7, subject=account.subject, uuid=set_anew.uuid, body=body
    )
    assert bytes(set_anew.event) == text  # the database wrote to the byte what everybody else's entries are made of
    assert bytes(set_anew.commitment) == evidence_policy.commitment(evidence_policy.subject_leaf_salt(salt, set_anew.uuid), text)

    link(token="U" * 43, at=AT + timedelta(hours=2))
    actions.redeem("U" * 43, Private(GOOD[::-1]), at=AT + timedelta(hours=2))
    assert queries.session(str(sid), at=AT) is None
    assert Session.objects.filter(account=account).count() == 0
    for dead in (TOKEN, "U" * 43, "V" * 43, "", "é"):
        assert queries.open_token(dead, at=AT) is None
        with pytest.raises(NotFound, match="used, has expired, or was replaced"):
            actions.redeem(dead, Private(GOOD), at=AT)


def test_a_session_opened_with_the_old_password_does_not_survive_the_new_one(shop: Path) -> None:
    """Read before the reset, written after it: the session's version tells."""
    link()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT account_id, session_epoch, version FROM credentials_live_credential WHERE login_hmac = %s", [login_of(FIRST.email)]
        )
        account, epoch, version = cursor.fetchone()
        actions.redeem(TOKEN, Private(GOOD), at=AT)
        cursor.execute("SELECT credentials_open_session(%s, %s, %s, %s, %s)", [digest("late"), account, epoch, version, AT])
    assert Session.objects.count() == 0
    assert queries.session("late", at=AT) is None


def test_two_uses_of_one_link_at_once_are_one_reset(real_shop: Path) -> None:
    link()
    barrier, out = threading.Barrier(4), []  # type: tuple[threading.Barrier, list[Any]]

    def use(n: int) -> None:
        barrier.wait(20)
        try:
            out.append(actions.redeem(TOKEN, Private(f"{GOOD} {n}"), at=AT))
        except NotFound as e:
            out.append(e)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=use, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    assert sorted(type(o).__name__ for o in out) == ["NotFound", "NotFound", "NotFound", "bool"]
    assert evidence.counts()[EventType.PASSWORD_RESET] == 1
    assert sum(log_in(FIRST, f"{GOOD} {n}") is not None for n in range(4)) == 1


def test_links_expire_replace_each_other_and_are_three_an_hour(shop: Path) -> None:
    assert [link(token=str(n) * 43, at=AT + timedelta(minutes=n)) for n in range(4)] == [True, True, True, False]
    assert [queries.open_token(str(n) * 43, at=AT + timedelta(minutes=4)) is not None for n in range(4)] == [False, False, True, False]
    assert queries.open_token("2" * 43, at=AT + timedelta(minutes=2) + post.upper_bound()) is None
    assert link(token="9" * 43, at=AT + timedelta(minutes=61))
    request = uuid4()
    for sent in (True, False):  # the same job run twice mails once
        later = AT + timedelta(hours=5)
        assert actions.send_reset(login_of(FIRST.email), request=request, token=Private("r" * 43), at=later) is sent
    assert actions.send_reset(login_of("nobody@mail.example"), request=uuid4(), token=Private("n" * 43), at=AT) is False


def test_asking_does_the_same_for_everybody_and_never_stores_the_address(shop: Path, django_assert_num_queries: Any) -> None:
    seen = []
    for email in (FIRST.email, "nobody@mail.example", f" {PEOPLE[1].email.upper()}"):
        with django_assert_num_queries(1) as captured:
            actions.request_reset(email, at=AT)
        seen.append([q["sql"].split('"')[0].split("'")[0] for q in captured])
    assert seen[0] == seen[1] == seen[2]
    waiting = _jobs("credentials.tasks.send_reset")
    assert [set(j) for j in waiting] == [{"lookup", "request", "asked_us"}] * 3
    assert bytes.fromhex(waiting[0]["lookup"]) == login_of(FIRST.email)
    assert "mail.example" not in str(waiting)
    actions.request_reset(FIRST.email, at=AT)
    assert len(_jobs("credentials.tasks.send_reset")) == 3  # one waiting copy per address
    for wrong in ("", "nobody", "a@", "@b.example", "a b@c.example", "x@y\r\nBcc: z@w.example", "a" * 250 + "@b.example"):
        with pytest.raises(BadInput):
            actions.request_reset(wrong, at=AT)


def _jobs(task: str) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT args FROM procrastinate_jobs WHERE task_name = %s ORDER BY id", [task])
        return [dict(row[0]) if isinstance(row[0], dict) else json.loads(row[0]) for row in cursor.fetchall()]


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("short one", "at least 15"),
        ("", "0 characters"),
        ("x" * 4097, "4096 bytes"),
        ("passwordpassword", "thieves try first"),
        ("passwordiloveyou99", "thieves try first"),
        ("abcabcabcabcabcabc", "repeats"),
        ("qwertyuiopasdfgh", "neighbouring"),
        ("shop.example-password-1", "Too little"),
        ("Wilhelmina-Okonkwo!", "Too little"),
        ("person.1.md5@@@@@@@", "Too little"),
        ("nul\x00inside a long one", "no keyboard"),
    ],
)
def test_weak_passwords_are_refused_with_the_reason_and_the_link_stays_good(shop: Path, password: str, reason: str) -> None:
    link()
    with pytest.raises(BadInput, match=reason) as e:
        actions.redeem(TOKEN, Private(password), at=AT)
    if len(password) > 8:
        assert password not in str(e.value)
    assert queries.open_token(TOKEN, at=AT) is not None
    actions.redeem(TOKEN, Private(GOOD), at=AT)
    assert log_in(FIRST, GOOD) is not None


def test_the_old_password_and_its_near_kin_are_refused(shop: Path) -> None:
    link()
    for new, reason in (
        (FIRST.password, "is the old password"),
        (FIRST.password + "!", "too close"),
        (FIRST.password[:-1] + "8", "too close"),
        (FIRST.password.capitalize(), "too close"),
        (FIRST.password + FIRST.password, "too close"),
    ):
        with pytest.raises(BadInput, match=reason):
            actions.redeem(TOKEN, Private(new), at=AT)
    actions.redeem(TOKEN, Private(GOOD), at=AT)
    link(token="2" * 43, at=AT)
    with pytest.raises(BadInput, match="is the old password"):  # Argon2's budget is one try, and that is the password itself
        actions.redeem("2" * 43, Private(GOOD), at=AT)


def test_a_password_is_the_same_however_its_characters_are_composed(shop: Path) -> None:
    link()
    actions.redeem(TOKEN, Private("caf\u00e9 lantern ｏｓｐｒｅｙ Tuesday 🦉"), at=AT)
    assert log_in(FIRST, "cafe\u0301 lantern osprey Tuesday 🦉") is not None
    assert log_in(FIRST, "cafe lantern osprey Tuesday 🦉") is None


def test_a_link_of_before_the_cutover_dies_with_it_and_the_answer_is_the_same(shop: Path) -> None:
    link()
    cut(shop)
    link(PEOPLE[1], token="2" * 43)
    answers = []
    for token in (TOKEN, "4" * 43):
        with pytest.raises(NotFound) as e:
            actions.redeem(token, Private(GOOD), at=AT)
        answers.append(str(e.value))
    assert answers[0] == answers[1]
    actions.redeem("2" * 43, Private(GOOD), at=AT)


# -- the price of an answer, and the limits of it -----------------------------------------------------------------------------


ACCENT = "gravel lantern osprey Tu\u0308sday"  # a letter and a combining mark: NFKC makes one character of the two


def test_every_refusal_costs_one_argon2(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known with an old format, known with ours, imported Argon2id, unknown, revoked; right, wrong, plain, accented: the same work."""
    link(PEOPLE[1])
    actions.redeem(TOKEN, Private(ACCENT), at=AT)
    dummy = hashing._dummy()
    assert "m=19456,t=2,p=1" in dummy
    asked: list[str] = []
    real = formats.verify
    monkeypatch.setattr(formats, "verify", lambda stored, raw: asked.append(stored) or real(stored, raw))

    def price(email: str, password: str = "quite wrong", *, right: bool = False) -> int:
        asked.clear()
        assert (actions.log_in(email, Private(password), at=AT, counted=False) is not None) is right
        return sum(s.startswith("$argon2id$v=19$m=19456,t=2,p=1$") for s in asked)

    everybody = (FIRST.email, PEOPLE[1].email, "nobody@mail.example", PEOPLE[6].email, PEOPLE[4].email)
    typed = ("quite wrong", "quite wr\u00f6ng", "quite wro\u0308ng")
    before = [price(e, p) for e in everybody for p in typed]
    assert [price(PEOPLE[1].email, p, right=True) for p in (ACCENT, unicodedata.normalize("NFKC", ACCENT))] == [1, 1]
    assert [price(c.email, c.password, right=True) for c in (FIRST, PEOPLE[6], PEOPLE[4])] == [1, 1, 1]
    cut(shop)
    after = [price(e, p) for e in everybody for p in typed]
    assert before == after == [1] * 15
    assert asked == [dummy]  # a revoked bcrypt hash is not even read


def test_imported_hashes_are_of_the_bytes_as_typed(shop: Path, tmp_path: Path) -> None:
    """An old shop did not normalise; an Argon2id hash at our own price is told from ours by who set it."""
    made = hashing._argon2.hash(ACCENT)
    lines = rows()
    accented = [[*lines[0][:5], hash_of("md5", ACCENT)], [*lines[6][:5], made]]
    assert actions.import_hashes(write(tmp_path / "accents.csv", accented), at=AT, by="owner").accepted == 2
    assert log_in(FIRST, ACCENT) is not None
    assert log_in(PEOPLE[6], ACCENT) is not None
    assert log_in(PEOPLE[6], ACCENT + "x") is None


def test_hashing_is_bounded_and_the_rest_come_back_later(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = hashing.Slots(running=1, waiting=1, wait_s=0.05)
    monkeypatch.setattr(hashing, "slots", small)
    with small.slot():
        with pytest.raises(Busy, match="too long") as e:
            log_in(FIRST)
        assert e.value.retry_after_s > 0
        queued = threading.Event()

        def wait() -> None:
            queued.set()
            with small.slot():
                pass

        small.wait_s = 5.0
        thread = threading.Thread(target=wait)
        thread.start()
        while sum(small._inside.values()) < 2:
            queued.wait(0.01)
        with pytest.raises(Busy, match="all places"):
            log_in(FIRST)
    thread.join(10)
    assert log_in(FIRST) is not None
    assert sum(small._inside.values()) == 0
    with pytest.raises(BadInput):
        log_in(FIRST, "x" * (PASSWORD_BYTES_MAX + 1))


# -- leases and sealing --------------------------------------------------------------------------------------------------------


def test_without_a_lease_nobody_is_let_in(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    node = lease.NodeLease("a", monotonic=lambda: now[0])
    monkeypatch.setattr(lease, "_node", node)
    link()
    sid = ""
    doors: list[Callable[[], object]] = [
        lambda: log_in(FIRST),
        lambda: queries.session(sid, at=AT),
        lambda: queries.open_token(TOKEN, at=AT),
        lambda: actions.redeem(TOKEN, Private(GOOD), at=AT),
    ]

    def refused() -> int:
        n = 0
        for door in doors:
            try:
                door()
            except Unavailable:
                n += 1
        return n

    assert refused() == len(doors)  # never renewed
    node.renew()
    sid = str(log_in(FIRST))
    assert queries.session(sid, at=AT) is not None
    now[0] += policy.LEASE_S
    assert refused() == len(doors)
    node.renew()
    assert refused() == 0
    granted = NodeLease.objects.get(node="a").until
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM %s - clock_timestamp())", [granted])
        assert policy.LEASE_S - 1 < float(cursor.fetchone()[0]) <= policy.LEASE_S


def test_a_cutover_is_sealed_when_every_node_has_seen_it(real_shop: Path) -> None:
    awake, gone = lease.NodeLease("awake"), lease.NodeLease("gone")
    gone.renew()
    awake.start()
    try:
        while not awake.held:
            pass
        report = cut(real_shop)
    finally:
        awake.stop()
    assert isinstance(report, CommitReport)
    seals = {s.node: s.acked for s in report.nodes}
    assert seals == {"awake": True, "gone": False}
    assert report.sealed_ms <= (policy.LEASE_S + policy.SEAL_DRIFT_S) * 1000 + report.commit_ms + 500
    assert queries.status(report.cutover).nodes == ("awake",)
    assert not NodeLease.objects.filter(node="awake").exists()
    with pytest.raises(Refused):
        actions.seal(report.cutover, at=AT, by="ada")
    Cutover.objects.update(state="committed")  # as if the process had died here
    assert actions.seal(report.cutover, at=AT, by="ada").epoch == report.epoch


# -- who may read what ---------------------------------------------------------------------------------------------------------

SECRET_COLUMNS = (
    ("credentials_credential", "hash"),
    ("credentials_session", "sid_sha256"),
    ("credentials_resettoken", "token_sha256"),
    ("credentials_bearer", "secret_sha256"),
    ("credentials_factor", "secret"),
    ("credentials_heldhashes", "sealed"),
)


@pytest.mark.django_db
def test_no_process_reads_a_hash_but_through_the_live_views() -> None:
    schema.migrate()
    with connection.cursor() as cursor:
        for role in schema.ROLES:
            for table, column in SECRET_COLUMNS:
                cursor.execute(
                    "SELECT has_column_privilege(%s, %s, %s, 'SELECT'), has_table_privilege(%s, %s, 'SELECT')",
                    [f"tocsin_{role}", table, column, f"tocsin_{role}", table],
                )
                assert cursor.fetchone() == (False, False), (role, table)
        for name in (
            "account",
            "credential",
            "session",
            "resettoken",
            "canary",
            "import",
            "reject",
            "nodelease",
            "bearer",
            "factor",
            "steptries",
        ):
            cursor.execute(
                "SELECT has_table_privilege('tocsin_public', %s, p) FROM unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE}'::text[]) p",
                [f"credentials_{name}"],
            )
            assert {row[0] for row in cursor.fetchall()} == {False}, name
        for view in ("credential", "session", "resettoken", "bearer", "factor"):
            cursor.execute(
                "SELECT r, has_table_privilege('tocsin_' || r, %s, 'SELECT') FROM unnest(%s::text[]) r",
                [f"credentials_live_{view}", list(schema.ROLES)],
            )
            assert {r for r, may in cursor.fetchall() if may} == {"public", "operator"}
            cursor.execute("SELECT reloptions FROM pg_class WHERE relname = %s", [f"credentials_live_{view}"])
            assert cursor.fetchone() == (["security_barrier=true"],)
        cursor.execute(
            "SELECT proname, has_function_privilege('tocsin_intake', oid, 'EXECUTE'), prosecdef, proconfig "
            "FROM pg_proc WHERE proname LIKE 'credentials\\_%%'"
        )
        functions = cursor.fetchall()
        assert len(functions) >= 24
        assert {(may, definer, config[0]) for _, may, definer, config in functions} == {
            (False, True, "search_path=pg_catalog, public, pg_temp")
        }


@contextmanager
def as_role(role: str) -> Iterator[None]:
    """Do as a process does that is logged in with this role; the session itself stays the owner's."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET ROLE tocsin_{role}")
        try:
            yield
        finally:
            cursor.execute("RESET ROLE")


def test_each_process_can_do_its_part_and_no_more(real_shop: Path) -> None:
    schema.migrate()
    with as_role("operator"):
        actions.plant_canaries(1, at=AT)
        armed = actions.arm(incident=1, at=AT, by="ada")
        assert actions.try_canaries(armed.id, at=AT).accepted == 6
        open_report = actions.import_hashes(write(real_shop / "again.csv", rows()), at=AT, by="owner")
        assert open_report.accepted == len(PEOPLE)
    with as_role("public"):
        actions.request_reset(FIRST.email, at=AT)
        assert queries.session(str(log_in(FIRST)), at=AT) is not None
        node = lease.NodeLease("public-1")
        node.renew()
    with as_role("operator"):
        report = cut(real_shop, armed=armed)
        assert isinstance(report, CommitReport)
        assert actions.try_canaries(armed.id, at=AT).refused == 6
        assert queries.status("customers").dead == len(PEOPLE) + 1
    (job,) = _jobs("credentials.tasks.send_reset")
    with as_role("worker"):
        assert actions.send_reset(bytes.fromhex(job["lookup"]), request=job["request"], token=Private(TOKEN), at=AT)
    with as_role("public"):
        assert queries.open_token(TOKEN, at=AT) is not None
        with pytest.raises(BadInput, match="old password"):
            actions.redeem(TOKEN, Private(FIRST.password), at=AT)
        actions.redeem(TOKEN, Private(GOOD), at=AT)
        sid = str(log_in(FIRST, GOOD))
        assert queries.session(sid, at=AT) is not None
        actions.log_out(sid)
        assert queries.session(sid, at=AT) is None
        assert queries.all_were_reset() == AT
        for forbidden in (
            "SELECT hash FROM credentials_credential",
            "SELECT * FROM credentials_account",
            "UPDATE credentials_epoch SET epoch = 1",
            "INSERT INTO credentials_session (sid_sha256, account_id, epoch, version, created_at) VALUES ('x', 1, 99, 0, now())",
            "SELECT salt FROM subjects_subject",
            "SELECT id FROM evidence_event",
            "INSERT INTO evidence_event (uuid, type, at, actor, event, commitment) VALUES (gen_random_uuid(), 51, now(), 'ada', '{}', 'x')",
            "SELECT evidence_record_public(61, now(), 1, 1, 'x', '{}')",
            "SELECT args FROM procrastinate_jobs",
            "INSERT INTO procrastinate_jobs (queue_name, task_name) VALUES ('mail', 'mail.tasks.send_single')",
            "SELECT procrastinate_defer_jobs_v1(ARRAY[('general', 'x', 0, NULL, NULL, '{}', NULL)]::procrastinate_job_to_defer_v1[])",
        ):
            with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(forbidden)
    letter = _jobs("credentials.tasks.send_changed")[-1]
    before = mail.singles_waiting()
    with as_role("worker"):
        actions.send_changed(letter["subject"], version=letter["version"], at=AT)
    assert mail.singles_waiting() == before + 1
    jobs.waiting()


def test_the_public_process_can_mint_no_session_that_outlives_a_cutover(real_shop: Path) -> None:
    schema.migrate()
    account = Account.objects.get(login_hmac=login_of(FIRST.email))
    with as_role("public"), connection.cursor() as cursor:
        cursor.execute("SELECT credentials_open_session(%s, %s, 2147483647, 0, %s)", [digest("minted"), account.pk, AT])
        with pytest.raises(DatabaseError, match="argon2id only"), transaction.atomic():
            cursor.execute("SELECT * FROM credentials_redeem(%s, 'md5$x', %s)", [digest(TOKEN), AT])
    assert Session.objects.get().epoch == 1
    assert queries.session("minted", at=AT) is not None
    cut(real_shop)
    assert queries.session("minted", at=AT) is None


def test_the_live_views_use_their_indexes(shop: Path) -> None:
    """security_barrier must not turn a look-up into a scan of 24 million rows.

    With enough rows, and statistics of these very rows: on a table of a few rows any plan is as good, and the planner takes any.
    """
    rows = 20_000
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO credentials_account (population_id, login_hmac, cohort) "
            "SELECT (SELECT id FROM credentials_population WHERE name = 'customers'), sha256(n::text::bytea), 0 FROM generate_series(1, %s) AS n",
            [rows],
        )
        cursor.execute(
            "INSERT INTO credentials_credential (account_id, class, epoch, version, hash, set_at) "
            "SELECT id, 'password', 1, 0, 'x', %s FROM credentials_account WHERE subject IS NULL",
            [AT],
        )
        cursor.execute(
            "INSERT INTO credentials_session (sid_sha256, account_id, epoch, version, created_at) "
            "SELECT sha256(('s' || id)::bytea), id, 1, 0, %s FROM credentials_account",
            [AT],
        )
        cursor.execute(
            "INSERT INTO credentials_resettoken (token_sha256, request, account_id, epoch, context, created_at, expires_at, channel) "
            "SELECT sha256(('t' || id)::bytea), gen_random_uuid(), id, 1, '{}', %s, %s, 'mail' FROM credentials_account",
            [AT, AT + timedelta(minutes=30)],
        )
        cursor.execute(
            "ANALYZE credentials_account, credentials_credential, credentials_session, credentials_resettoken, credentials_epoch"
        )
        for query, index in (
            (
                "SELECT hash FROM credentials_live_credential WHERE population = 'customers' AND class = 'password' "
                f"AND login_hmac = '\\x{'00' * 32}'",
                "credentials_account_login",
            ),
            (f"SELECT account_id FROM credentials_live_session WHERE sid_sha256 = '\\x{'00' * 32}'", "credentials_session_pkey"),
            (f"SELECT account_id FROM credentials_live_resettoken WHERE token_sha256 = '\\x{'00' * 32}'", "credentials_resettoken_pkey"),
        ):
            cursor.execute(f"EXPLAIN {query}")
            plan = "\n".join(row[0] for row in cursor.fetchall())
            assert index in plan, plan


def test_the_gate_opens_for_whoever_has_a_new_password_anywhere(shop: Path) -> None:
    def gate() -> dict[int, bool]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT subject, open FROM credentials_gate WHERE subject IS NOT NULL")
            return dict(cursor.fetchall())

    everybody = sorted(gate())
    assert all(gate().values())
    cut(shop)
    assert not any(gate().values())
    assert actions.lift(everybody[:2], source="shop", at=AT) == 2
    assert actions.lift(everybody[:3], source="shop", at=AT) == 1
    assert link()
    actions.redeem(TOKEN, Private(GOOD), at=AT)
    mine = subjects.by_email(FIRST.email)
    assert {s for s, through in gate().items() if through} == {*everybody[:3], mine}
    cut(shop)
    assert not any(gate().values())
