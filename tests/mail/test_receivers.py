"""What a receiver allows over everything sent: Postfix's feedback, limits that are never passed, single mails, exchangers, warm-up."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import forget
from tests.mail.names import NameServer
from tocsin.kernel import clock, config
from tocsin.kernel.errors import BadInput, Busy
from tocsin.mail import exchangers, policy, receivers
from tocsin.mail.models import Receiver
from tocsin.mail.shaping import families, table
from tocsin.mail.shaping import policy as shaping
from tocsin.mail.types import Heard, LaneMemory

AT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def test_the_window_moves_as_postfix_moves_its_concurrency() -> None:
    """By 1/N: down at once at the first complaint, then after N more; up when a whole step has come together."""
    memory = shaping.feedback(LaneMemory(), good=0, bad=1, connections=10)
    assert memory.window == 9  # reversed hysteresis: at once
    for n in range(1, 9):
        assert shaping.feedback(memory, good=0, bad=n, connections=10).window in (8, 9)
    assert shaping.feedback(memory, good=0, bad=10, connections=10).window == 8
    assert shaping.feedback(memory, good=8, bad=0, connections=10).window == 9
    back = shaping.feedback(memory, good=9, bad=0, connections=10)
    assert (back.window, back.success) == (None, 0.0)  # all ten again
    deep = shaping.feedback(LaneMemory(), good=0, bad=500, connections=10)
    assert deep.window == 1
    assert shaping.feedback(deep, good=1, bad=0, connections=10).window == 2
    assert shaping.feedback(deep, good=1 + 2 + 3, bad=0, connections=10).window == 4


REPLIES = ["", "421 4.7.0 [TSS04] later", "451 Server busy. Please try again later from [1.2.3.4]", "550 5.1.1 no such user", "451 4.7.1 throttled",
           "451 exceeded the maximum number of messages per connection", "421 Too many connections"]  # fmt: skip


@given(
    st.sampled_from(sorted(table._table()[0])),
    st.lists(st.tuples(st.integers(0, 400), st.lists(st.sampled_from(REPLIES), max_size=4), st.floats(1.0, 4_000.0)), max_size=20),
)
def test_limits_are_never_above_the_row_of_the_table(receiver: str, runs: list[tuple[int, list[str], float]]) -> None:
    shape, memory, at_s = table.shape_of(receiver), LaneMemory(), 1_000.0
    cap = shape.rate_per_s or 100.0
    for sent, texts, pass_s in runs:
        heard = [Heard(at_s + i / 100, int(t[:3]), t[4:9], t[4:], us=t.startswith("4")) for i, t in enumerate(filter(None, texts))]
        memory, _ = shaping.judge(
            memory, heard, sent=sent, receiver=receiver, reactions=table.reactions(), cap_per_s=cap, measured_per_s=50.0,
            connections=shape.connections,
        )  # fmt: skip
        for later in (at_s + 1, at_s + pass_s):
            now = shaping.limits(memory, at_s=later, cap_per_s=cap, connections=shape.connections)
            assert 0 <= now.rate_per_s <= cap
            assert 1 <= now.connections <= shape.connections
            assert now.messages_per_connection is None or now.messages_per_connection <= shape.messages_per_connection
            if receiver == "yahoo.com" and any("TSS04" in t for t in texts) and later < at_s + 7_100:
                assert now.rate_per_s == 0  # nothing for two hours
        at_s += pass_s
        memory = shaping.recover(memory, at_s=at_s, cap_per_s=cap)
        assert LaneMemory.of(memory.as_json()) == memory


@pytest.mark.django_db
def test_what_one_mail_is_told_holds_for_all_that_follow(estate: Path) -> None:
    at = clock.now()
    receivers.admit("yahoo.com", at=at, outbound=1)
    said = [Heard(at.timestamp(), 421, "4.7.0", "[TSS04] Messages from 192.0.2.1 temporarily deferred", us=True)]
    receivers.hear("yahoo.com", LaneMemory(), said, sent=1, cap_per_s=1e5, connections=8, measured_per_s=0.0, at=at)
    assert receivers.now("yahoo.com", at=at).rate_per_s == 0
    with pytest.raises(Busy) as wait:
        receivers.admit("yahoo.com", at=at, outbound=2)
    assert wait.value.retry_after_s == receivers.SINGLE_WAIT_S_MAX
    receivers.admit("gmail.com", at=at, outbound=2)
    assert receivers.now("yahoo.com", at=at + timedelta(hours=2, seconds=1)).rate_per_s > 0


@pytest.mark.django_db
def test_single_mails_go_before_mailings_and_within_the_rate(estate: Path) -> None:
    (estate / "tocsin.toml").write_text("[mail]\ndirect = true\n")
    forget()
    for n in range(8):
        receivers.admit("yahoo.co.jp", at=clock.now(), outbound=n)
    tokens = receivers.take("yahoo.co.jp", 0, rate_per_s=10.0)
    assert tokens < 0  # a mailing waits until it is above
    with pytest.raises(Busy):
        for n in range(30):
            receivers.admit("yahoo.co.jp", at=clock.now(), outbound=n)
    assert Receiver.objects.get(receiver="yahoo.co.jp").tokens >= -12


def test_a_domain_belongs_to_whoever_takes_its_mail(estate: Path) -> None:
    records = {
        ("shop.example", "MX"): ["10 aspmx.l.google.com."],
        ("firm.example", "MX"): ["5 firm-example.mail.protection.outlook.com.", "10 mx.other.net."],
        ("odd.example", "MX"): ["1 mail.odd.example."],
        ("fake.example", "MX"): ["1 notgoogle.com."],
    }
    domains = {name for name, _ in records} | {"gone.example"}
    exchangers._known.clear()
    with NameServer(records) as server:
        assert exchangers.receivers(domains) == {}  # not asked for
        (estate / "tocsin.toml").write_text(f'[mail]\nmx_lookup = true\ndns_server = "{server.address}"\n')
        forget()
        found = exchangers.receivers(domains)
        assert found == {
            "shop.example": "gmail.com", "firm.example": "office365", "odd.example": "other", "fake.example": "other", "gone.example": "other",
        }  # fmt: skip
        asked = len(server.asked)
        assert exchangers.receivers(domains) == found
        assert len(server.asked) == asked  # remembered
    exchangers._known.clear()


def test_the_table_has_every_receiver_that_a_family_or_exchanger_names() -> None:
    assert families.receiver_of("yahoo.example") == "yahoo.com"
    assert families.receiver_of("yahoo.co.jp") == "yahoo.co.jp"
    assert set(table.mx_suffixes().values()) <= set(table._table()[0])
    receivers_of_rules = {r.receiver for r in table.reactions()} - {"*"}
    assert receivers_of_rules <= set(table._table()[0])


def test_a_warm_up_rises_day_by_day_and_ends() -> None:
    curve = ((1, 200), (7, 20_000), (14, 250_000))
    allowed = [policy.warm_up_allows(curve, day) for day in range(1, 16)]
    assert allowed[0] == 200
    assert (allowed[6], allowed[13], allowed[14]) == (20_000, 250_000, None)
    assert all(a < b for a, b in itertools.pairwise(allowed) if a is not None and b is not None)


@pytest.mark.django_db
def test_a_new_source_is_held_to_its_warm_up(estate: Path) -> None:
    (estate / "tocsin.toml").write_text('[warm_up]\n"*" = [[1, 200], [7, 20000]]\n"gmail.com" = [[1, 50]]\n')
    forget()
    assert receivers.now("yahoo.com", at=AT).left_of_day == 200
    receivers.hear("yahoo.com", LaneMemory(), [], sent=150, cap_per_s=1e5, connections=8, measured_per_s=9.0, at=AT)
    assert (receivers.now("yahoo.com", at=AT).per_day, receivers.now("yahoo.com", at=AT).left_of_day) == (200, 50)
    tomorrow = receivers.now("yahoo.com", at=AT + timedelta(days=1))
    assert tomorrow.per_day is not None
    assert (tomorrow.per_day > 200, tomorrow.left_of_day) == (True, tomorrow.per_day)
    assert receivers.now("yahoo.com", at=AT + timedelta(days=7)).per_day is None
    assert receivers.now("gmail.com", at=AT).per_day == 50
    assert Receiver.objects.get().day == date(2026, 11, 24)


def test_a_faulty_curve_is_refused_with_all_faults(tmp_path: Path) -> None:
    text = '[warm_up]\n"a" = []\n"b" = [[1, 0]]\n"c" = [[2, 5], [2, 6]]\n"d" = "x"\n"e" = [[1, 5]]\n'
    with pytest.raises(BadInput) as wrong:
        config.parse(text, home=tmp_path, database_url="", process="worker")
    assert {f.field for f in wrong.value.faults} == {"warm_up.a", "warm_up.b", "warm_up.c", "warm_up.d"}
