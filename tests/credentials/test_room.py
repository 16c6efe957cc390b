"""The waiting room through its doors: closing, order, admission, links that carry a place, limits that slow down."""

from __future__ import annotations

import itertools
import json
import threading
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from django.db import connection, connections

from tests.credentials.room_parts import BACK_MS, Clock, close, keeper, opened, ticks
from tests.credentials.shop import AT, GOOD, PEOPLE, cut, enrol, open_shop
from tocsin.credentials import actions, queries, sign_in, tasks
from tocsin.credentials.passwords import hashing
from tocsin.credentials.places import Lane, Place
from tocsin.credentials.room import gate, limits, policy, ticket
from tocsin.credentials.room.node import Keeper
from tocsin.credentials.types import Slowed, Source
from tocsin.kernel import clock
from tocsin.kernel.errors import BadInput, Busy, NotFound
from tocsin.kernel.private import Private

FIRST = PEOPLE[0]
TOKEN = "T" * 43
HERE = Source("198.51.100.7", "")


@pytest.fixture
def shop(estate: Path, db: None) -> Path:
    open_shop(enrol(estate))
    return estate


def ask(email: str = FIRST.email, *, text: str = "", source: Source | None = None) -> object:
    return actions.request_reset(email, at=clock.now(), ticket=text, source=source)


def jobs() -> list[dict[str, object]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT args, extract(epoch FROM scheduled_at - now()) FROM procrastinate_jobs "
            "WHERE task_name = 'credentials.tasks.send_reset' AND status = 'todo' ORDER BY id"
        )
        return [{**json.loads(args), "in_s": float(later or 0)} for args, later in cursor.fetchall()]


def letter(token: str = TOKEN, *, place: Place | None = None) -> bool:
    """Do the newest waiting job as the worker does: taken off the queue's lock, then run."""
    args = jobs()[-1]
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE procrastinate_jobs SET status = 'doing', queueing_lock = NULL WHERE args->>'request' = %s", [args["request"]]
        )
    return actions.send_reset(
        bytes.fromhex(str(args["lookup"])), request=UUID(str(args["request"])), token=Private(token), at=clock.now(), place=place
    )


# -- the queue ---------------------------------------------------------------------------------------------------------------------------


def test_without_a_crowd_nobody_sees_the_room(shop: Path) -> None:
    assert actions.knock("").admitted  # a process that has opened none
    time = Clock()
    with opened(time) as mine:
        mine.tick()
        for _ in range(40):
            time.pass_(1.0)
            assert actions.knock("") == gate.PASSES
            assert ask().admitted
            mine.tick()
        status = queries.room_status(at=clock.now())
        assert (status.open, status.waiting, status.oldest_wait_s) == (True, 0, 0.0)
        assert status.capacity_per_s == 10
        assert 8.5 <= status.rate_per_s <= 9.8


def test_a_crowd_closes_the_room_and_is_let_through_in_its_order(shop: Path) -> None:
    time = Clock()
    with opened(time) as mine:
        close(time, mine)
        crowd: list[tuple[int, str]] = []
        for second in range(12):
            for _ in range(20):
                stand = actions.knock("")
                assert not stand.admitted
                crowd.append((second, stand.ticket))
            ticks(time, mine)
        status = queries.room_status(at=clock.now())
        assert not status.open
        assert 240 - 12 * 9.6 <= status.waiting <= 240
        assert [lane.lane for lane in status.lanes] == ["regular", "recent", "assisted"]
        assert BACK_MS / 1000 - 20 <= status.oldest_wait_s <= BACK_MS / 1000 + 5
        let_in: dict[str, int] = {}
        for tick in range(60):
            for _, text in crowd:
                if text not in let_in and actions.knock(text).admitted:
                    let_in[text] = tick
            if len(let_in) == len(crowd):
                break
            ticks(time, mine)
        assert len(let_in) == 240
        by_second = [[let_in[t] for s, t in crowd if s == second] for second in range(12)]
        for earlier, later in itertools.pairwise(by_second):
            assert max(earlier) <= min(later)  # no inversion of more than the second they share
        ticks(time, mine, 3)
        assert queries.room_status(at=clock.now()).open
        assert actions.knock("").admitted


def test_figures_on_the_page_are_those_of_the_queue(shop: Path) -> None:
    time = Clock()
    with opened(time) as mine:
        close(time, mine)
        first = actions.knock("")
        for _ in range(99):
            actions.knock("")
        time.pass_(1.0)
        last = actions.knock("")
        mine.tick()
        time.pass_(0.5)
        mine.refresh()
        stand = actions.knock(last.ticket)
        assert 80 <= stand.ahead <= 101
        assert stand.wait_s == pytest.approx((stand.ahead + 1) / mine.picture.rate_per_s)
        assert 15 <= stand.refresh_s <= 25
        assert actions.knock(first.ticket).ticket == first.ticket  # asking again is no second place
        assert sum(b.sums[-1] for b in mine.picture.buckets.values()) == 101


def test_lanes_share_and_the_desk_can_send_somebody_to_its_own(shop: Path) -> None:
    time = Clock()
    with opened(time) as mine:
        close(time, mine)
        for _ in range(300):
            actions.knock("")
        url = actions.assisted_ticket(b"12345678", at=clock.from_us((time.ms) * 1000), by="ada")
        text = url.rpartition("?q=")[2]
        assert ticket.read(text, now_ms=time.ms).lane is Lane.ASSISTED  # type: ignore[union-attr]
        mine.issue(Lane.ASSISTED)
        assert not actions.knock(text).admitted
        ticks(time, mine, 4)
        assert actions.knock(text).admitted
        assert queries.room_status(at=clock.now()).waiting > 200
    with pytest.raises(BadInput):
        actions.assisted_ticket(b"short", at=AT, by="ada")


def test_admission_keeps_to_what_a_connector_can_write(shop: Path) -> None:
    time = Clock()
    actions.set_write_rate("customers", 2.0, at=AT, by="ada")
    with opened(time) as mine:
        close(time, mine)
        for _ in range(200):
            actions.knock("")
        time.pass_(2)
        before = queries.room_status(at=clock.now()).waiting
        ticks(time, mine, 10)
        status = queries.room_status(at=clock.now())
        assert status.write_rate_per_s == 2.0
        assert status.rate_per_s == pytest.approx(2.0, rel=0.1)
        assert 10 <= (before or 200) - status.waiting <= 25
        assert queries.reset_capacity().per_s == pytest.approx(2.0, rel=0.2)
        assert queries.reset_capacity().waiting == status.waiting
        actions.set_write_rate("customers", None, at=AT, by="ada")
        ticks(time, mine, 2)
        assert queries.room_status(at=clock.now()).rate_per_s > 8
    for population, rate in (("nobody", 1.0), ("customers", 0.0), ("customers", -1.0)):
        with pytest.raises(BadInput):
            actions.set_write_rate(population, rate, at=AT, by="ada")


def test_waits_in_front_of_the_pool_lower_the_rate_at_once_and_it_grows_again(shop: Path) -> None:
    time = Clock()
    with opened(time) as mine:
        close(time, mine)
        ticks(time, mine, 2)
        actions.knock("")
        full = queries.room_status(at=clock.now()).rate_per_s
        for _ in range(20):
            mine.meter.refused()
        ticks(time, mine)
        cut_to = queries.room_status(at=clock.now()).rate_per_s
        assert cut_to == pytest.approx(full * 0.7, rel=0.02)
        ticks(time, mine, 20)
        assert queries.room_status(at=clock.now()).rate_per_s == pytest.approx(
            10 * policy.CAPACITY_SHARE * policy.FACTOR_MAX / queries.room_status(at=clock.now()).show_up, rel=0.01
        )


def test_a_room_closed_on_one_node_is_closed_on_all_and_led_by_one(shop: Path) -> None:
    time = Clock()
    one, two = keeper(time, node="one"), keeper(time, node="two", per_s=30)
    one.tick()
    two.report()
    time.pass_(1)
    two.tick()
    assert queries.room_status(at=clock.now()).nodes == 2
    assert queries.room_status(at=clock.now()).capacity_per_s == 40
    one.refresh()
    while one.let_in():
        pass
    assert two.open
    one.report()
    two.refresh()
    assert not two.open
    places = [k.issue() for k in (one, two) for _ in range(30)]
    for k in (one, two):
        k.report()
    time.pass_(1)
    assert one.lead()
    assert not two.lead()  # once a second, whoever asks first
    two.refresh()
    one.refresh()
    assert one.picture == two.picture
    assert {one.passes(p) for p in places} == {two.passes(p) for p in places}


def test_counts_survive_a_database_that_is_away(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import OperationalError

    time = Clock()
    with opened(time) as mine:
        close(time, mine)
        places = [mine.issue() for _ in range(50)]

        def away(*_: object) -> None:
            raise OperationalError("gone")

        monkeypatch.setattr(connections["default"], "cursor", away)
        for _ in range(3):
            with pytest.raises(OperationalError):
                mine.tick()
            time.ms += 1000
        stand = actions.knock("")
        assert not stand.admitted  # pages go on
        monkeypatch.undo()
        ticks(time, mine, 2)
        mine.report()  # and reporting twice counts nobody twice
        assert sum(b.sums[-1] for b in mine.picture.buckets.values()) == 51
        assert not any(mine.passes(p) for p in places[40:] if mine.picture.ahead(p) > 30)


def test_places_survive_the_node_that_gave_them(shop: Path) -> None:
    time = Clock()
    with opened(time) as mine:
        close(time, mine)
        texts = [actions.knock("").ticket for _ in range(40)]
        ticks(time, mine)
    with opened(time) as successor:  # a new process: nothing but the key and the database
        successor.tick()
        stands = [actions.knock(t) for t in texts]
        assert [s.ticket for s in stands] == texts
        assert not all(s.admitted for s in stands)
        ticks(time, successor, 8)
        assert all(actions.knock(t).admitted for t in texts)


# -- links that carry a place ----------------------------------------------------------------------------------------------------------------


def test_a_request_made_while_others_wait_is_answered_when_its_turn_comes(shop: Path) -> None:
    time = Clock()
    with opened(time) as mine:
        close(time, mine)
        for _ in range(60):
            actions.knock("")
        time.pass_(1.0)
        stand = ask()
        assert not stand.admitted  # type: ignore[attr-defined]
        args = jobs()[-1]
        place = Place(args["place"][0], bytes.fromhex(args["place"][1]), Lane(args["place"][2]))  # type: ignore[index]
        assert ticket.sign(place) == stand.ticket  # type: ignore[attr-defined]
        ticks(time, mine, 2)
        with pytest.raises(Busy) as e:
            tasks.send_reset(lookup=args["lookup"], request=args["request"], asked_us=args["asked_us"], place=args["place"])  # type: ignore[arg-type]
        assert 5 <= e.value.retry_after_s <= 600
        ticks(time, mine, 10)
        gate.wait_for_turn(place)
        assert letter(place=place)
        for _ in range(200):  # a new crowd behind them
            actions.knock("")
        mine.tick()
        for _ in range(2):  # in one browser and in another: never a second queue
            found = actions.enter_form(TOKEN, text="", grant="", at=clock.now())
            assert found is not None
            assert found.admitted
        actions.redeem(TOKEN, Private(GOOD), at=clock.now())
        assert actions.enter_form(TOKEN, text="", grant=found.grant, at=clock.now()) is None


def test_a_link_without_a_place_waits_once_whatever_browser_opens_it(shop: Path) -> None:
    ask()
    assert letter()
    time = Clock()
    with opened(time) as mine:
        close(time, mine)
        for _ in range(30):
            actions.knock("")
        time.pass_(1.0)
        first = actions.enter_form(TOKEN, text="", grant="", at=clock.now())
        assert first is not None
        assert not first.admitted
        assert actions.enter_form("U" * 43, text="", grant="", at=clock.now()) is None
        time.pass_(1.0)
        for _ in range(200):
            actions.knock("")
        ticks(time, mine, 8)
        assert not actions.knock("", token=TOKEN).admitted
        passed = actions.enter_form(TOKEN, text=first.ticket, grant="", at=clock.now())
        assert passed is not None
        assert passed.admitted
        elsewhere = actions.enter_form(TOKEN, text="", grant="", at=clock.now())
        assert elsewhere is not None
        assert elsewhere.admitted
        assert actions.may_send(TOKEN, text="", grant=passed.grant, at=clock.now()) == gate.Stand(admitted=True, grant=passed.grant)
        forged = actions.may_send(TOKEN, text="", grant="A" * 42, at=clock.now())
        assert forged is not None
        assert forged.admitted  # by the link's own place, not by what was forged
        other = actions.may_send("U" * 43, text="", grant=passed.grant, at=clock.now())
        assert other is None


def test_who_came_through_is_counted(shop: Path) -> None:
    ask()
    assert letter()
    time = Clock()
    with opened(time) as mine:
        mine.tick()
        for _ in range(9):
            assert mine.let_in()
            time.pass_(1)
        assert actions.enter_form(TOKEN, text="", grant="", at=clock.now()).admitted  # type: ignore[union-attr]
        actions.redeem(TOKEN, Private(GOOD), at=clock.now())
        ticks(time, mine)
        for _ in range(5):
            time.pass_(2)
            mine.tick()
        with connection.cursor() as cursor:
            cursor.execute("SELECT used_total, pending + issued_total FROM credentials_room")
            used, issued = cursor.fetchone()
        assert (used, issued) == (pytest.approx(1, abs=0.05), pytest.approx(10, abs=0.1))


# -- what slows strangers down ---------------------------------------------------------------------------------------------------------------


def test_item_17_failed_log_ins_of_an_account_are_capped_and_strangers_lock_nobody_out(shop: Path) -> None:
    at, tried, waited = AT, 0, timedelta()
    wrong = Private("wrong")
    while tried < 200:
        try:
            assert actions.log_in(FIRST.email, wrong, at=at) is None
            tried += 1
        except Slowed as e:
            if e.retry_after_s > 900:
                break
            waited += timedelta(seconds=e.retry_after_s)
            at += timedelta(seconds=e.retry_after_s)
    assert tried == 100  # NIST SP 800-63B-4: no more than 100 in a row, and those take most of a day
    assert waited > timedelta(hours=20)
    assert actions.log_in(PEOPLE[1].email, Private(PEOPLE[1].password), at=at)  # nobody else is touched
    with pytest.raises(Slowed) as right:
        actions.log_in(FIRST.email, Private(FIRST.password), at=at)
    for _ in range(50):  # and strangers who go on trying do not make it longer
        with pytest.raises(Slowed) as e:
            actions.log_in(FIRST.email, wrong, at=at)
    assert e.value.retry_after_s == right.value.retry_after_s
    day_later = at + timedelta(seconds=right.value.retry_after_s)
    assert actions.log_in(FIRST.email, Private(FIRST.password), at=day_later)  # waiting helps
    for _ in range(7):
        try:
            actions.log_in(FIRST.email, wrong, at=day_later)
        except Slowed:
            break
    with pytest.raises(Slowed):
        actions.log_in(FIRST.email, Private(FIRST.password), at=day_later)
    ask()
    assert letter()
    now = clock.now()
    actions.redeem(TOKEN, Private(GOOD), at=now)
    assert actions.log_in(FIRST.email, Private(GOOD), at=day_later)  # and so does a new password, at once
    assert actions.log_in("nobody@mail.example", wrong, at=at) is None
    for _ in range(4):
        actions.log_in("nobody@mail.example", wrong, at=at)
    with pytest.raises(Slowed):  # an unknown login is slowed like a known one
        actions.log_in("nobody@mail.example", wrong, at=at)


def test_item_17_the_database_counts_as_the_policy_says(shop: Path) -> None:
    key = b"k" * 32
    for failures in (0, 1, 4, 5, 6, 9, 14, 15, 30, 99, 100, 101):
        for since in (0.0, 0.5, 1.5, 31.0, 899.0, 901.0, 5000.0, 86_399.0, 86_400.0, 90_000.0):
            with connection.cursor() as cursor:
                cursor.execute(
                    "INSERT INTO credentials_try VALUES (%s, %s, %s) ON CONFLICT (key) DO UPDATE SET failures = excluded.failures, "
                    "last_at = excluded.last_at",
                    [key, failures, AT - timedelta(seconds=since)],
                )
                cursor.execute("SELECT credentials_reserve_try(%s, %s)", [key, AT])
                found = float(cursor.fetchone()[0])
            wanted = 0.0 if since >= policy.TRIES_FORGOTTEN_S else policy.try_wait_s(failures, since_s=since)
            assert found == pytest.approx(wanted, abs=1e-3), (failures, since)


def test_item_18_reset_mails_are_slowed_per_account_and_per_address_and_refused_to_none(shop: Path) -> None:
    for n in range(3):
        ask()
        assert letter(token=f"{n}" * 43)
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM procrastinate_jobs WHERE status = 'todo'")
    assert ask() == gate.PASSES  # the answer is the same
    assert letter() is False
    later = jobs()[-1]
    assert 3500 < later["in_s"] <= 3601  # type: ignore[operator]
    assert len(jobs()) == 1  # the letter is late, not lost
    ask()
    assert len(jobs()) == 1  # and asking again does not make two of it
    now = clock.now()
    delays = []
    for n in range(60):
        actions.request_reset(f"somebody{n}@mail.example", at=now, source=HERE)
        delays.append(jobs()[-1]["in_s"])
    assert [round(float(str(d))) // 10 for d in delays[:20]] == [0] * 20
    assert all(0 <= float(str(d)) <= 901 for d in delays)
    assert float(str(delays[-1])) > float(str(delays[25])) > 0
    assert len(jobs()) == 61  # nobody was refused
    actions.request_reset("neighbour@mail.example", at=now, source=Source("198.51.100.8", ""))
    assert jobs()[-1]["in_s"] == 0.0  # another address of the network is not slowed by the first
    actions.request_reset("late@mail.example", at=now + timedelta(hours=1), source=HERE)
    assert jobs()[-1]["in_s"] == 0.0


def test_item_18_a_late_letter_is_dropped_if_a_password_was_set_meanwhile(shop: Path) -> None:
    ask()
    args = jobs()[-1]
    assert letter()
    actions.redeem(TOKEN, Private(GOOD), at=clock.now())
    sent = actions.send_reset(
        bytes.fromhex(str(args["lookup"])),
        request=UUID(int=7),
        token=Private("V" * 43),
        at=clock.now(),
        asked_at=clock.from_us(int(str(args["asked_us"]))),
    )
    assert sent is False


def test_fifty_thousand_people_behind_one_network_are_served_in_order_and_none_is_refused(shop: Path) -> None:
    """One /24, one queue: every one gets a place, every place is let through in the order of its second, every letter is enqueued."""
    time = Clock()
    with opened(time, per_s=5000.0) as mine:
        mine.tick()
        while mine.let_in():
            pass
        ticks(time, mine)
        texts = []
        for _ in range(25):
            for _ in range(2000):
                stand = actions.knock("")
                texts.append(stand.ticket)
            time.pass_(0.4)
            mine.report()
        assert len(set(texts)) == 50_000
        served: dict[int, list[int]] = {}
        left = [ticket.read(t, now_ms=time.ms) for t in texts]
        tick = 0
        while left and tick < 60:
            ticks(time, mine)
            tick += 1
            going = [p for p in left if p and mine.passes(p)]
            left = [p for p in left if p and not mine.passes(p)]
            for p in going:
                served.setdefault(p.second, []).append(tick)
        assert left == []
        assert sum(map(len, served.values())) == 50_000
        seconds = sorted(served)
        for earlier, later in itertools.pairwise(seconds):
            assert max(served[earlier]) <= min(served[later])
    now = clock.now()
    slowest = 0.0
    for n in range(50_000 // 10):
        address, network = limits.digests(Source(f"203.0.113.{n % 254 + 1}", ""))
        with connection.cursor() as cursor:  # ten of each, through the function that the request calls
            cursor.execute(
                "SELECT max(greatest(credentials_pace(%s, %s, 20, 30, 900), credentials_pace(%s, %s, 2000, 0.1, 900))) "
                "FROM generate_series(1, 10)",
                [address, now, network, now],
            )
            slowest = max(slowest, float(cursor.fetchone()[0]))
    assert 0 < slowest <= 901


def test_item_19_a_password_over_the_cap_is_refused_before_it_is_hashed_and_none_is_cut_short(shop: Path) -> None:
    ask()
    assert letter()
    before = hashing.slots.meter.read().hashes_per_s, len(hashing.slots.meter._waits)
    long = "correct horse battery staple " * 141 + "1234567"
    assert len(long) == 4096
    with pytest.raises(BadInput):
        actions.log_in(FIRST.email, Private(long + "x"), at=AT)
    with pytest.raises(BadInput, match="4096 bytes"):
        actions.redeem(TOKEN, Private("é" * 2049), at=clock.now())
    assert len(hashing.slots.meter._waits) == before[1]  # no slot was asked for
    actions.redeem(TOKEN, Private(long), at=clock.now())
    assert actions.log_in(FIRST.email, Private(long[:-1]), at=AT) is None  # every byte counts
    assert actions.log_in(FIRST.email, Private(long[:-1] + "8"), at=AT) is None
    assert actions.log_in(FIRST.email, Private(long), at=AT)


@pytest.mark.django_db(transaction=True)
def test_item_20_limits_hold_across_nodes_and_survive_a_restart(estate: Path) -> None:
    open_shop(enrol(estate))
    login = sign_in.login_of(FIRST.email)
    allowed: list[int] = []
    start = threading.Barrier(8)

    def node() -> None:  # a connection of its own, as another node has
        start.wait()
        for _ in range(10):
            try:
                limits.reserve_try(login, at=AT)
                allowed.append(1)
            except Slowed:
                pass
        connections.close_all()

    threads = [threading.Thread(target=node) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(allowed) == policy.TRIES_FREE
    connections.close_all()  # everything a process remembers is gone
    with pytest.raises(Slowed):
        actions.log_in(FIRST.email, Private(FIRST.password), at=AT)
    for _ in range(30):
        actions.request_reset("somebody@mail.example", at=AT, source=HERE)
    connections.close_all()
    actions.request_reset("somebody.else@mail.example", at=AT, source=HERE)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT scheduled_at FROM procrastinate_jobs WHERE args->>'lookup' = %s", [sign_in.login_of("somebody.else@mail.example").hex()]
        )
        assert cursor.fetchone()[0] > AT
        cursor.execute("SELECT string_agg(t::text, ' ') FROM credentials_pacer t")
        assert HERE.peer not in cursor.fetchone()[0]


def test_the_public_role_writes_the_room_through_functions_only(shop: Path) -> None:
    from tocsin.kernel import schema

    schema.migrate()
    tables = ("room", "roomlane", "roomsecond", "roomnode", "roomlimit", "roomplace", "try", "pacer")
    with connection.cursor() as cursor:
        for table in tables:
            for right in ("INSERT", "UPDATE", "DELETE"):
                cursor.execute("SELECT has_table_privilege('tocsin_public', %s, %s)", [f"credentials_{table}", right])
                assert cursor.fetchone() == (False,), (table, right)
        for table in ("try", "pacer", "roomlimit"):
            cursor.execute("SELECT has_table_privilege('tocsin_public', %s, 'SELECT')", [f"credentials_{table}"])
            assert cursor.fetchone() == (False,)
        cursor.execute("SET ROLE tocsin_public")
        try:
            time = Clock.__new__(Clock)
            time.ms, time.s = clock.us(clock.now()) // 1000, 0.0
            mine: Keeper = keeper(time)
            mine.tick()
            mine.issue()
            mine.report()
            limits.reserve_try(b"x" * 32, at=AT)
            ask(source=HERE)
        finally:
            cursor.execute("RESET ROLE")


def test_a_watermark_never_goes_back_and_never_into_the_future(shop: Path) -> None:
    time = Clock()
    with opened(time) as mine:
        close(time, mine)
        actions.knock("")
        mine.report()
        with connection.cursor() as cursor:
            for mark in (4e9, 1.0):
                cursor.execute(
                    "SELECT credentials_room_move(false, 1, 1, 0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, false, ARRAY[0], ARRAY[%s]::float8[], ARRAY[0]::float8[])",
                    [mark],
                )
                cursor.execute("SELECT mark, extract(epoch FROM clock_timestamp()) FROM credentials_roomlane WHERE lane = 0")
                found, now = cursor.fetchone()
                assert time.ms / 1000 - 5 <= found <= float(now)


def test_after_the_cutover_a_stranger_with_the_old_password_is_slowed_like_anybody(shop: Path) -> None:
    cut(shop)
    for _ in range(policy.TRIES_FREE):
        assert actions.log_in(FIRST.email, Private(FIRST.password), at=AT) is None
    with pytest.raises(Slowed):
        actions.log_in(FIRST.email, Private(FIRST.password), at=AT)
    with pytest.raises(NotFound):
        actions.redeem(TOKEN, Private(GOOD), at=AT)


def test_item_18_a_slowed_stranger_cannot_hold_the_owners_letter_back(shop: Path) -> None:
    now = clock.now()
    for n in range(60):
        actions.request_reset(f"somebody{n}@mail.example", at=now, source=HERE)
    actions.request_reset(FIRST.email, at=now, source=HERE)
    assert jobs()[-1]["in_s"] > 800  # type: ignore[operator]
    actions.request_reset(FIRST.email, at=now, source=Source("203.0.113.9", ""))
    assert len(jobs()) == 61
    assert jobs()[-1]["in_s"] <= 0  # type: ignore[operator]
    actions.request_reset(FIRST.email, at=now, source=HERE)  # and a stranger who asks again delays nothing
    assert jobs()[-1]["in_s"] <= 0  # type: ignore[operator]


def test_a_request_that_waits_has_the_earlier_place_of_two(shop: Path) -> None:
    time = Clock()
    with opened(time) as mine:
        close(time, mine)
        early = actions.knock("").ticket
        time.pass_(1.0)
        ask()
        late = jobs()[-1]["place"]
        ask(text=early)
        place = ticket.read(early, now_ms=time.ms)
        assert place is not None
        assert len(jobs()) == 1
        assert jobs()[-1]["place"] == [place.ms, place.nonce.hex(), 0] != late
        ask()
        assert jobs()[-1]["place"] == [place.ms, place.nonce.hex(), 0]


def test_item_18_questions_and_letters_by_post_have_the_same_pace(shop: Path) -> None:
    now = clock.now()
    for n in range(60):
        actions.ask_affected(f"somebody{n}@mail.example", at=now, source=HERE)
        actions.request_letter(f"somebody{n}@mail.example", "10115", at=now, source=HERE)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT task_name, count(*), max(extract(epoch FROM scheduled_at - %s)) FROM procrastinate_jobs GROUP BY 1 ORDER BY 1", [now]
        )
        found = {name.rpartition(".")[2]: (n, float(most or 0)) for name, n, most in cursor.fetchall()}
    assert {name: n for name, (n, _) in found.items()} == {"ask_letter": 60, "send_affected": 60}  # nobody was refused
    assert all(600 < most <= 901 for _, most in found.values())


def test_one_ticket_does_not_admit_one_account_after_another(shop: Path) -> None:
    time = Clock()
    with opened(time) as mine:
        close(time, mine)
        old = actions.knock("").ticket
        time.pass_(1.0)
        for _ in range(200):
            actions.knock("")
        ticks(time, mine, 4)
        assert actions.knock(old).admitted
        stands = [ask(customer.email, text=old) for customer in PEOPLE[:3]]
        assert [s.admitted for s in stands] == [True, True, False]  # type: ignore[attr-defined]  # one address may be mistyped
        assert stands[2].ticket not in ("", old)  # type: ignore[attr-defined]
        assert len(jobs()) == 3  # and the third is late, not lost
        assert ask(PEOPLE[0].email, text=old).admitted  # type: ignore[attr-defined]


def test_a_ticket_is_good_for_a_quarter_of_an_hour_after_it_was_let_through(shop: Path) -> None:
    time = Clock()
    with opened(time) as mine:
        close(time, mine)
        old = actions.knock("").ticket
        time.pass_(1.0)
        desk = ticket.sign(Place(time.ms - 2000, b"12345678", Lane.ASSISTED))
        waiting = []

        def go(seconds: int) -> None:
            for _ in range(seconds):
                for _ in range(40):
                    waiting.append(actions.knock("").ticket)
                ticks(time, mine)

        go(60)
        assert actions.knock(old).admitted
        last = waiting[-1]
        time.pass_(840.0)
        mine.tick()
        go(1)
        assert actions.knock(old).admitted
        time.pass_(120.0)
        mine.tick()
        go(1)
        time.pass_(31.0)
        mine.tick()
        assert not mine.open
        again = actions.knock(old)
        assert not again.admitted
        assert again.ticket != old
        assert not ask(PEOPLE[1].email, text=old).admitted  # type: ignore[attr-defined]
        assert actions.knock(last).ticket == last  # who has only just been let through, or waits, keeps the place
        assert actions.knock(desk).admitted


def test_item_17_the_owner_elsewhere_signs_in_while_a_stranger_tries(shop: Path) -> None:
    wrong, right, at = Private("wrong"), Private(FIRST.password), AT
    home, cafe = Source("203.0.113.9", ""), Source("192.0.2.77", "")
    assert actions.log_in(FIRST.email, right, at=at, source=home)

    def strangers(network: int) -> None:
        nonlocal at
        while True:
            try:
                assert actions.log_in(FIRST.email, wrong, at=at, source=Source(f"10.0.{network}.7", "")) is None
            except Slowed as e:
                if e.retry_after_s > 900:
                    return
                at += timedelta(seconds=e.retry_after_s)

    strangers(1)
    assert tried() == policy.TRIES_MAX_HERE
    assert actions.log_in(FIRST.email, right, at=at, source=cafe)  # one network locks nobody out
    with pytest.raises(Slowed):
        actions.log_in(FIRST.email, right, at=at, source=Source("10.0.1.8", ""))
    at += timedelta(days=2)
    for network in range(2, 8):
        strangers(network)
    assert tried() == policy.TRIES_MAX
    with pytest.raises(Slowed):
        actions.log_in(FIRST.email, right, at=at, source=Source("192.0.99.1", ""))
    assert actions.log_in(FIRST.email, right, at=at, source=home)  # from where the owner came before
    for network in range(12, 18):
        strangers(network)
    new = Source("192.0.98.1", "")
    with pytest.raises(Slowed):
        actions.log_in(FIRST.email, right, at=at, source=new)
    token = remembered(FIRST.email, home, at=at)
    with pytest.raises(Slowed):
        actions.begin_sign_in(PEOPLE[0].email, right, at=at, source=new, remembered="R" * 43)
    assert actions.begin_sign_in(FIRST.email, right, at=at, source=new, remembered=token)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM credentials_try WHERE length(key) = 64")
        assert cursor.fetchone()[0] > 6
    ask()
    assert letter()
    actions.redeem(TOKEN, Private(GOOD), at=clock.now())
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM credentials_try")
        assert cursor.fetchone() == (0,)


def tried() -> int:
    """Return how many tries of the first customer are counted altogether."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT failures FROM credentials_try WHERE key = %s", [sign_in.login_of(FIRST.email)])
        return int(cursor.fetchone()[0])


def remembered(email: str, source: Source, *, at: datetime) -> str:
    """Return a remember-me token, without what a right password forgets."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE kept ON COMMIT DROP AS SELECT * FROM credentials_try")
    sid = actions.log_in(email, Private(FIRST.password), at=at, source=source)
    assert sid
    token = actions.issue_bearer(sid, "remember_me", label="this browser", at=at).reveal()
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO credentials_try SELECT * FROM kept ON CONFLICT (key) DO UPDATE SET failures = excluded.failures")
    return token


def test_item_17_the_database_counts_a_place_as_the_policy_says(shop: Path) -> None:
    login, place = b"l" * 32, b"l" * 32 + b"p" * 32
    for failures in (0, 4, 5, 9, 14, 15, 24, 25, 30):
        for since in (0.0, 1.5, 31.0, 901.0, 86_399.0, 86_400.0):
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM credentials_try")
                cursor.execute("INSERT INTO credentials_try VALUES (%s, %s, %s)", [place, failures, AT - timedelta(seconds=since)])
                cursor.execute("SELECT credentials_reserve_try_from(%s, %s, false, %s)", [login, place, AT])
                found = float(cursor.fetchone()[0])
            wanted = 0.0 if since >= policy.TRIES_FORGOTTEN_S else policy.try_wait_s(failures, since_s=since, most=policy.TRIES_MAX_HERE)
            assert found == pytest.approx(wanted, abs=1e-3), (failures, since)


def test_a_flood_of_log_ins_does_not_take_the_places_of_resets() -> None:
    pool = hashing.Slots(running=2, waiting=8, wait_s=2.0)
    stop, turned_away, waits = threading.Event(), [0], []

    def flood() -> None:
        while not stop.is_set():
            try:
                with pool.slot():
                    stop.wait(0.02)
            except Busy:
                turned_away[0] += 1
                stop.wait(0.001)

    threads = [threading.Thread(target=flood) for _ in range(40)]
    for thread in threads:
        thread.start()
    try:
        while not turned_away[0]:
            stop.wait(0.001)
        for _ in range(30):
            began = clock.monotonic()
            with pool.slot(first=True):
                waits.append(clock.monotonic() - began)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert sorted(waits)[27] < 0.2  # the next slot that becomes free, not one behind eight others
    assert turned_away[0] > 10
    assert pool.meter.read().refused == 0  # the room does not slow down for them
