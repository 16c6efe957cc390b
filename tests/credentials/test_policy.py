"""The decisions of the credentials room, by example and by property."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.credentials.shop import GOOD, hash_of
from tocsin.credentials import letters, policy
from tocsin.credentials.passwords import formats, hashing
from tocsin.credentials.types import BREACH_CLASSES, CLASSES, FORMATS, PASSWORD_CHARS_MIN
from tocsin.kernel.errors import Fault

AT = datetime(2026, 1, 15, 3, 0, tzinfo=UTC)
COMMON = frozenset({"password", "iloveyou", "dragon", "princess"})


def reasons(password: str, **more: object) -> list[str]:
    return policy.password_reasons(policy.normal(password), common=COMMON, **more)  # type: ignore[arg-type]


@given(st.lists(st.integers(1, 1000), min_size=1), st.integers(0, 5))
def test_an_epoch_is_above_every_number_ever_used(highest: list[int], steps: int) -> None:
    for _ in range(steps):
        highest.append(policy.next_epoch(highest))
    assert policy.next_epoch(highest) > max(highest)
    assert len(set(highest[-steps:])) == steps or not steps


@given(st.sets(st.sampled_from(CLASSES)), st.none() | st.integers(0, 9), st.sampled_from(["", " ", "because"]))
def test_a_password_never_ends_without_what_was_made_with_it(classes: set[str], cohort: int | None, reason: str) -> None:
    faults = {f.field for f in policy.cutover_faults(population="customers", classes=classes, cohort=cohort, reason=reason)}
    wanted = set(BREACH_CLASSES) if "password" in classes else {"session"} if classes & set(policy.OPENING_CLASSES) else set()
    assert ("classes" in faults) == (not classes or not wanted <= classes)
    assert ("reason" in faults) == (cohort is not None and reason != "because")


def test_the_breach_classes_may_be_cut() -> None:
    assert policy.cutover_faults(population="customers", classes=BREACH_CLASSES, cohort=None, reason="") == []
    assert policy.sealed(leases={"a"}, acked={"a", "b"})
    assert not policy.sealed(leases={"a", "c"}, acked={"a", "b"})


def test_three_letters_an_hour() -> None:
    sent = [AT, AT + timedelta(minutes=20), AT + timedelta(minutes=40)]
    assert policy.may_send_reset(sent[:2], at=AT + timedelta(minutes=41))
    assert not policy.may_send_reset(sent, at=AT + timedelta(minutes=59))
    assert policy.may_send_reset(sent, at=AT + timedelta(minutes=60))


@pytest.mark.parametrize(
    "good",
    [GOOD, "correct horse battery staple", "пять старых зелёных ламп", "四つの 古い 緑の ランプ と 海と山", "x1" * 3 + "quarterly sail"],
)
def test_words_that_do_not_belong_together_do_well(good: str) -> None:
    assert reasons(good) == []


@given(st.text(max_size=60))
def test_length_counts_code_points_after_normalisation(password: str) -> None:
    short = any("characters and needs" in r for r in reasons(password))
    assert short == (len(unicodedata.normalize("NFKC", password)) < PASSWORD_CHARS_MIN)


@given(st.text(alphabet="abc1", min_size=1, max_size=8), st.integers(2, 20))
def test_a_repeated_piece_is_found(piece: str, times: int) -> None:
    if len(piece * times) >= PASSWORD_CHARS_MIN:
        assert any("repeats" in r for r in reasons(piece * times))


@pytest.mark.parametrize(
    ("password", "word"),
    [
        ("abcdefghijklmnop", "neighbouring"),
        ("987654321098765", "neighbouring"),
        ("qwertyuiop123456", "neighbouring"),
        ("dragonprincess2024!", "first"),
    ],
)
def test_runs_and_pairs_of_common_passwords(password: str, word: str) -> None:
    assert any(word in r for r in reasons(password))


def test_own_words_do_not_count() -> None:
    owner = policy.context_words("wil.okonkwo_77", "Wilhelmina Okonkwo")
    assert {"okonkwo", "wilhelmina"} <= owner
    assert all(len(w) in policy.CONTEXT_CHARS for w in owner)
    said = reasons("Wilhelmina okonkwo 77", is_context=owner.__contains__)
    assert any("Too little" in r for r in said)
    assert reasons("Wilhelmina " + GOOD, is_context=owner.__contains__) == []
    assert any("Too little" in r for r in reasons("zappos password 2012", words=("zappos",)))


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=80))
def test_near_begins_with_the_password_itself_and_never_repeats(password: str) -> None:
    found = list(policy.near(password))
    assert found[0] == password
    assert len(found) == len(set(found))
    assert all(found)


@given(st.text(alphabet="abcdefgh", min_size=8, max_size=30), st.sampled_from(["1", "!", "12", "123", "2024"]))
def test_near_undoes_what_people_append(old: str, end: str) -> None:
    assert old in islice(policy.near(old + end), 10)
    assert f"{old}7" in policy.near(f"{old}8")
    assert old in policy.near(old.capitalize())
    assert old in policy.near(old + old)


def test_an_expensive_old_hash_gets_the_exact_comparison_only() -> None:
    assert policy.near_tries(formats.cost_ms("$argon2id$v=19$m=19456,t=2,p=1$x$y")) == 1
    assert policy.near_tries(213) == 1
    assert policy.near_tries(formats.cost_ms(f"md5${'0' * 32}")) > 1000
    assert policy.near_tries(formats.cost_ms("pbkdf2_sha256$10000$x$y")) == 10
    assert policy.near_tries(formats.cost_ms("$2b$08$" + "x" * 53)) == 1


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=40))
def test_an_address_is_the_same_however_it_is_typed(local: str) -> None:
    typed = f"{local}@Mail.Example"
    assert policy.normal_login(f" {typed} ") == policy.normal_login(policy.normal_login(typed))


@pytest.mark.parametrize("format", FORMATS)
def test_each_format_verifies_its_own_and_nothing_else(format: str) -> None:
    stored = formats.encode(format, hash_of(format, "pässword"))
    assert isinstance(stored, str)
    assert formats.format_of(stored) == format
    assert formats.verify(stored, "pässword".encode())
    assert not formats.verify(stored, b"password")
    assert formats.cost_ms(stored) > 0
    for broken in ("", "x", hash_of(format, "p") + "!", hash_of(format, "p")[:-25]):
        assert isinstance(formats.encode(format, broken), Fault)


def test_prices_beyond_reason_are_refused_and_unreadable_hashes_match_nobody() -> None:
    assert isinstance(formats.encode("pbkdf2_sha256", f"pbkdf2_sha256$99999999$x${'A' * 43}="), Fault)
    assert isinstance(formats.encode("argon2id", f"$argon2id$v=19$m=9999999,t=1,p=1${'A' * 22}${'A' * 43}"), Fault)
    assert isinstance(formats.encode("rot13", "x"), Fault)
    assert not formats.verify(f"scrypt$1048576$x$99$1${'A' * 86}==", b"x")
    assert not formats.verify("$argon2id$nonsense", b"x")
    assert not formats.verify("rot13$x", b"x")
    bcrypt = hash_of("bcrypt", "b" * 72)
    assert formats.verify(bcrypt, b"b" * 200)  # as the old shop did: bytes after the 72nd never counted
    assert not formats.verify(bcrypt, b"b" * 71 + b"\x00")


def test_the_common_list_is_there() -> None:
    assert len(hashing.common()) > 19_000
    assert "password" in hashing.common()


def test_letters_carry_the_link_alone_on_its_line_and_escape_names() -> None:
    link = f"https://shop.example/passwordchange/t/{'x' * 43}"
    letter = letters.reset_letter(brand="Tom & <Son>", link=link, minutes=30, help_address="help@shop.example")
    assert link in letter.text.splitlines()
    assert "Tom &amp; &lt;Son&gt;" in letter.html
    assert "<Son>" not in letter.html
    changed = letters.changed_letter(brand="B", site="https://shop.example/passwordchange", help_address="h@x.example")
    assert "/t/" not in changed.text + changed.html
