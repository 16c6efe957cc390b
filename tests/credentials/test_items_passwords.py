"""What the standards ask of passwords and their storage, item by item, through the doors. Sources stand at each test.

N: NIST SP 800-63B-4. A: OWASP ASVS 5.0. P: OWASP Password Storage Cheat Sheet.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import time
import unicodedata
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import argon2
import pytest
from django.contrib.auth import password_validation
from django.db import DatabaseError, connection, transaction
from django.utils import translation

from tests.conftest import forget
from tests.credentials.shop import AT, GOOD, PEOPLE, Customer, cut, enrol, hash_of, log_in, open_shop
from tocsin.credentials import actions, policy, queries
from tocsin.credentials.models import Account, Credential, Epoch, Factor, ResetToken
from tocsin.credentials.passwords import formats, hashing
from tocsin.credentials.sign_in import digest, login_of
from tocsin.credentials.types import PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN
from tocsin.kernel import sealing
from tocsin.kernel.errors import BadInput, NotFound, Unavailable
from tocsin.kernel.private import Private

FIRST = PEOPLE[0]
TOKENS = iter(f"{n:043d}" for n in range(10**6))


@pytest.fixture
def shop(estate: Path, db: None) -> Path:
    open_shop(enrol(estate))
    return estate


def link(customer: Customer = FIRST, *, at: Any = AT) -> str:
    token = next(TOKENS)
    ResetToken.objects.update(created_at=AT - timedelta(hours=2))  # else the fourth in an hour would not be sent
    assert actions.send_reset(login_of(customer.email), request=uuid4(), token=Private(token), at=at)
    return token


def refusals(password: str, customer: Customer = FIRST, *, token: str | None = None) -> list[str]:
    """Return why a password is refused; the link is left as it was."""
    token = token or link(customer)
    with pytest.raises(BadInput) as e:
        actions.redeem(token, Private(password), at=AT)
    assert queries.open_token(token, at=AT) is not None
    return [f.wanted for f in e.value.faults]


def accepted(password: str, customer: Customer = FIRST, *, token: str | None = None) -> None:
    """Set a password and sign in with it."""
    actions.redeem(token or link(customer), Private(password), at=AT)
    assert actions.begin_sign_in(customer.email, Private(password), at=AT) is not None  # a second step may follow


# -- rules ----------------------------------------------------------------------------------------------------------------------


def test_item_21_fifteen_characters_alone_and_eight_beside_a_second_factor(shop: Path) -> None:
    """N s3.1.1.2: at least 15 characters where the password is the only factor, 8 where it is not. Code points, after normalisation."""
    fifteen = "kelp orbit tuna"
    token = link()
    assert len(fifteen) == PASSWORD_CHARS_MIN == 15
    assert any("needs at least 15" in r for r in refusals(fifteen[:-1], token=token))
    assert any("needs at least 15" in r for r in refusals("\U0001f9c0" * 7 + " kelp", token=token))  # 12 code points in 33 bytes
    info = queries.open_token(token, at=AT)
    assert info is not None
    assert info.chars_min == 15
    accepted(fifteen, token=token)

    account = Account.objects.get(login_hmac=login_of(FIRST.email))
    Factor.objects.create(account=account, cred_class="totp", epoch=1, secret=b"sealed seed", created_at=AT)
    token = link()
    info = queries.open_token(token, at=AT)
    assert info is not None
    assert info.chars_min == 8
    assert any("needs at least 8" in r for r in refusals("kelp.6j", token=token))
    Epoch.objects.filter(cred_class="totp").update(epoch=2, highest=2)  # its seed was in the stolen store: it counts no more
    assert any("needs at least 15" in r for r in refusals("kelp.6jv", token=token))
    Epoch.objects.filter(cred_class="totp").update(epoch=1)
    accepted("kelp.6jv", token=token)


def test_item_22_sixty_four_characters_and_many_more_are_welcome(shop: Path) -> None:
    """N: at least 64 permitted. A6.2.9. Every character counts: none is cut off, on set or on verify."""
    long = " ".join(hashlib.sha256(bytes(n)).hexdigest()[:7] for n in range(500))[:PASSWORD_BYTES_MAX]
    for password in (long[:64], long[:128], long):
        accepted(password)
        assert log_in(FIRST, password[:-1]) is None
        assert log_in(FIRST, password[:-1] + "~") is None


@pytest.mark.parametrize(
    "password", ["gravelosprylumen", "GRAVELOSPRYLUMEN", "4819 2067 5534 9127", "~~<>{}|^%%^|}{><", "gravel osprey moss"]
)
def test_item_23_no_rule_asks_for_kinds_of_characters(shop: Path, password: str) -> None:
    """N: SHALL NOT impose composition rules. A6.2.5."""
    accepted(password)
    assert re.search(r"upper|capital|digit|special|symbol", policy.password_reasons.__doc__ or "") is None


def test_item_24_any_character_is_taken_and_means_the_same_on_set_and_verify(shop: Path) -> None:
    """N: spaces and Unicode accepted, one normalisation before hashing."""
    composed = "caf\u00e9 \u00fcber d\u00fcnen \U0001f9c0\U0001f680"
    ways = {composed, unicodedata.normalize("NFD", composed), unicodedata.normalize("NFKD", composed)}
    assert len(ways) == 2
    for someone, setting in zip(PEOPLE, ways, strict=False):
        actions.redeem(link(someone), Private(setting), at=AT)
        assert all(log_in(someone, typed) is not None for typed in ways)
        assert log_in(someone, composed.replace("\u00e9", "e")) is None
    accepted("\u6f22\u5b57 \u304b\u306a \u041f\u0440\u0438\u0432\u0435\u0442 \u0434\u0440\u0443\u0433")
    spaces = "  gravel  osprey  moss  "
    accepted(spaces)  # spaces at the ends and in pairs are characters like any other
    assert log_in(FIRST, spaces.strip()) is None
    accepted("\uff47\uff52\uff41\uff56\uff45\uff4c osprey \ufb01nch moss")  # full width and a ligature
    assert log_in(FIRST, "gravel osprey finch moss") is not None


def test_item_25_the_commonest_passwords_are_refused(shop: Path) -> None:
    """A6.2.4: at least the top 3,000 that meet the other rules. All 19,000 of the list are refused, long or short, capitals or not."""
    with gzip.open(Path(password_validation.__file__).parent / "common-passwords.txt.gz", "rt") as f:
        common = [line.strip() for line in f]
    assert len(common) > 19_000
    missed = [p for p in common if not any("thieves try first" in r for r in policy.password_reasons(p, common=hashing.common()))]
    assert missed == []
    token = link()
    for password in [p for p in common if len(p) >= PASSWORD_CHARS_MIN][:5]:
        assert any("thieves" in r for r in refusals(password.title(), token=token))
    assert any("thieves try first" in r for r in refusals("liverpoolchelsea", token=token))  # two of them in a row
    accepted(GOOD, token=token)


def test_item_26_breached_passwords_are_refused(shop: Path) -> None:
    """A6.2.12: a set of breached passwords. The built-in filter knows some, the one of the operator as many as it was given."""
    stolen = "lantern biscuit walrus 41"
    token = link()
    assert any("stolen elsewhere" in r for r in refusals("correct horse battery staple", token=token))
    [said] = [r for r in refusals("correct horse battery staple", token=token) if "stolen elsewhere" in r]
    for language in ("es", "fr", "de", "pt", "zh-hans"):  # and says so in the language of the page
        with translation.override(language):
            assert translation.gettext(getattr(said, "key", "")) not in ("", said)
    (shop / "hashes.txt").write_text(f"{hashlib.sha1(stolen.encode()).hexdigest().upper()}:7\n")
    actions.build_filter(shop / "hashes.txt", out=shop / "breached")
    (shop / "tocsin.toml").write_text('[estate]\nkind = "demo"\n[passwords]\nfilter = "breached"\n')
    forget()
    assert any("stolen elsewhere" in r for r in refusals(stolen, token=token))
    assert any("stolen elsewhere" in r for r in refusals(stolen.upper().lower().capitalize(), token=token))
    (shop / "breached").unlink()
    with pytest.raises(Unavailable):  # configured and not there: nobody is let by, and the link stays good
        actions.redeem(token, Private(stolen + "x"), at=AT)
    (shop / "tocsin.toml").write_text('[estate]\nkind = "demo"\n')
    forget()
    accepted(stolen, token=token)


@pytest.mark.parametrize(
    "password",
    [
        "Example Example 2026!",  # the brand
        "shop.example shop.example",  # the domain
        "ExamplePassword12",  # brand and service
        "account login welcome",  # the service
        "person person person 1",  # the address's local part
        "Wilhelmina_Okonkwo_88",  # the name
        "okonkwo-wilhelmina-example",  # name and brand
    ],
)
def test_item_27_a_password_must_not_rest_on_words_that_everybody_would_try(shop: Path, password: str) -> None:
    """N: context-specific words such as the name of the service and the username. A6.2.11."""
    token = link()
    assert any("without our name" in r for r in refusals(password, token=token))
    accepted(f"{password} gravel osprey", token=token)  # enough of one's own beside them


def test_item_28_a_refusal_states_every_reason_and_helps(shop: Path) -> None:
    """N: SHALL provide the reason for rejection, and require another one."""
    token = link()
    reasons = refusals("password", token=token)
    assert len(reasons) >= 3
    assert any(re.search(r"has 8 characters and needs at least 15", r) for r in reasons)
    assert any("Four words" in r for r in reasons)
    for bad in (
        "password",
        "correct horse battery staple",
        "aaaaaaaaaaaaaaaaaaaa",
        "qwertyuiop1234567890",
        FIRST.password,
        "wilhelmina okonkwo",
    ):
        for reason in refusals(bad, token=token):
            assert re.match(r"[A-Z].*[.!]$", reason), reason  # whole sentences, for the owner
            assert bad == "password" or bad not in reason  # which never repeat what was typed
    accepted(GOOD, token=token)


@pytest.mark.parametrize("customer", PEOPLE, ids=lambda c: c.format)
def test_item_29_the_revoked_password_is_refused_whatever_its_format(estate: Path, db: None, customer: Customer) -> None:
    """The thief may know it. It is compared with the old hash before and after the cutover, dead or alive."""
    old = "gravel osprey moss 7"
    someone = Customer(customer.external_id, customer.email, old, customer.format)
    open_shop(enrol(estate), (someone,))
    assert any("the old password" in r for r in refusals(old, someone))
    cut(estate)
    token = link(someone)
    assert refusals(old, someone, token=token) == ["It is the old password, which thieves may know."]
    accepted("quite unlike lumen fjord", someone, token=token)
    assert refusals("quite unlike lumen fjord", someone) == ["It is the old password, which thieves may know."]


@pytest.mark.parametrize("old", ["gravel osprey ﬁsh moss", "gravel osprey cafe\u0301 moss"])
def test_item_29_the_revoked_password_is_refused_as_it_was_typed_elsewhere(old: str) -> None:
    """An imported hash is of the bytes that were typed; ours is of the normal form."""
    assert policy.normal(old) != old
    assert hashing.too_near("md5$" + hash_of("md5", old), Private(old), words=()) == 0
    assert hashing.too_near(hashing.make(Private(old)), Private(old), words=()) == 0
    assert hashing.too_near("md5$" + hash_of("md5", old), Private("quite unlike lumen fjord"), words=()) is None


PRICED = {
    "md5": "md5$" + hash_of("md5", "another secret 1"),
    "pbkdf2_sha256 10k": "pbkdf2_sha256$10000$salt$" + "A" * 43 + "=",
    "bcrypt-8": "$2b$08$" + "a" * 21 + "u" + "a" * 31,
    "bcrypt-10": "$2b$10$" + "a" * 21 + "u" + "a" * 31,
}


def cpu_ms(work: Any) -> float:
    """Return CPU milliseconds of the quickest of three runs: other programs on the machine cost no CPU of ours."""
    found = []
    for _ in range(3):
        began = time.thread_time()
        work()
        found.append((time.thread_time() - began) * 1000)
    return min(found)


@pytest.mark.parametrize("stored", PRICED.values(), ids=PRICED.keys())
def test_item_29_its_kin_are_sought_within_a_budget_of_cpu(stored: str) -> None:
    """floor(20 ms / price of one) variants, always the password itself: a cheap old hash is searched deep, a dear one barely."""
    one = cpu_ms(lambda: formats.verify(stored, b"x"))
    spent = cpu_ms(lambda: hashing.too_near(stored, Private("gravel lantern osprey Tuesday 2024!"), words=("example",)))
    assert spent <= policy.ROUND_BUDGET_MS * 2 + one  # the table of prices is of another machine: this one may be half as fast
    tries = policy.near_tries(formats.cost_ms(stored))
    assert tries == max(1, int(policy.ROUND_BUDGET_MS / formats.cost_ms(stored)))
    if formats.cost_ms(stored) > policy.ROUND_BUDGET_MS:
        assert tries == 1
        assert spent < one * 2 + 5


def test_item_31_there_are_no_hints_and_no_security_questions(shop: Path) -> None:
    """A6.4.2, N: SHALL NOT prompt for knowledge-based answers or store a hint."""
    wrong = re.compile(r"hint|question|answer|maiden|mother|first_pet|birth|secret_word", re.I)
    with connection.cursor() as cursor:
        cursor.execute("SELECT table_name, column_name FROM information_schema.columns WHERE table_name LIKE 'credentials\\_%'")
        columns = cursor.fetchall()
    assert len(columns) > 50
    ours = {("credentials_affectedanswer", "answer"), ("credentials_live_affectedanswer", "answer")}  # what we answer to "was I affected?"
    assert [c for c in columns if wrong.search(c[1]) and c not in ours] == []
    pages = list((Path(policy.__file__).parents[1] / "web" / "templates" / "public").glob("*.html"))
    fields = [name for page in pages for name in re.findall(r'<(?:input|select|textarea)[^>]*\bname="([^"]+)"', page.read_text())]
    assert {"email", "password"} <= set(fields)
    assert [f for f in fields if wrong.search(f)] == []


def test_item_32_a_password_lasts_until_there_is_evidence_against_it(shop: Path) -> None:
    """N: SHALL NOT require periodic changes, SHALL force one if there is evidence of compromise. A6.2.10."""
    accepted(GOOD)
    for years in (1, 10, 40):
        later = AT + timedelta(days=365 * years)
        sid = actions.log_in(FIRST.email, Private(GOOD), at=later)
        assert sid is not None
        assert queries.session(str(sid), at=later) is not None
    cut(shop)  # the evidence
    assert actions.log_in(FIRST.email, Private(GOOD), at=AT) is None
    accepted("quite unlike lumen fjord")


# -- storage --------------------------------------------------------------------------------------------------------------------


def test_item_33_a_new_password_is_stored_as_argon2id_at_least_as_strong_as_recommended(shop: Path) -> None:
    """P: Argon2id with m=19456, t=2, p=1 or stronger; salted at random. Verified here by the library, not by us."""
    accepted(GOOD)
    accepted("quite unlike lumen fjord", PEOPLE[1])
    stored = [Credential.objects.get(account__login_hmac=login_of(p.email), cred_class="password").hash for p in PEOPLE[:2]]
    for text, password in zip(stored, (GOOD, "quite unlike lumen fjord"), strict=True):
        found = argon2.extract_parameters(text)
        assert found.type is argon2.Type.ID
        assert found.memory_cost * found.time_cost >= 19_456 * 2
        assert found.memory_cost >= 7_168
        assert (found.parallelism, found.version) == (1, 19)
        assert found.salt_len >= 16
        assert found.hash_len >= 32
        assert argon2.PasswordHasher().verify(text, password)
    assert stored[0].split("$")[4] != stored[1].split("$")[4]
    token = link()
    with pytest.raises(DatabaseError, match="argon2id only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT * FROM credentials_redeem(%s, %s, %s)", [digest(token), "md5$" + "0" * 32, AT])


def pepper(home: Path, name: str) -> None:
    (home / "tocsin.toml").write_text(f'[estate]\nkind = "demo"\n[passwords]\npepper = "{name}"\n')
    forget()


def test_item_35_a_pepper_lives_outside_the_database_and_changing_it_is_a_reset_of_all(shop: Path) -> None:
    """P: a pepper, kept apart from the hashes. Another one ends every password made with the former: one cutover says so to everybody."""
    second, third = PEOPLE[1], PEOPLE[2]
    accepted("made without lumen pepper", second)
    sealing.create_pepper("pepper")
    pepper(shop, "pepper")
    assert log_in(third) is not None  # an imported hash knows no pepper
    assert log_in(second, "made without lumen pepper") is not None  # nor does one made before
    accepted(GOOD)
    stored = Credential.objects.get(account__login_hmac=login_of(FIRST.email), cred_class="password").hash
    key = sealing.key("pepper").reveal()
    assert re.search(r"\$pepper=[0-9a-f]{8}$", stored)
    bare = stored.rpartition("$pepper=")[0]
    with pytest.raises(argon2.exceptions.VerifyMismatchError):  # the database alone is nothing to guess at
        argon2.PasswordHasher().verify(bare, GOOD)
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(c::text, ' ') FROM credentials_credential c")
        assert key.hex() not in cursor.fetchone()[0]
    assert "the old password" in refusals(GOOD)[0]

    sealing.create_pepper("pepper_2027")
    pepper(shop, "pepper_2027")
    assert log_in(FIRST, GOOD) is None  # every hash of the former pepper is worthless
    cut(shop)
    accepted("quite unlike lumen fjord")
    pepper(shop, "pepper")
    assert log_in(FIRST, "quite unlike lumen fjord") is None
    pepper(shop, "pepper_gone")
    with pytest.raises(Unavailable, match="pepper_gone"):
        actions.redeem(link(), Private(GOOD), at=AT)
    with pytest.raises(BadInput):
        sealing.create_pepper("log")
    pepper(shop, "pepper_2027")
    with pytest.raises(NotFound):
        sealing.key("pepper_gone")


def test_item_35_a_wrong_password_costs_the_same_with_a_lost_pepper(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sealing.create_pepper("pepper")
    pepper(shop, "pepper")
    accepted(GOOD)
    counted: list[int] = []
    real = formats.verify

    def counting(stored: str, password: bytes) -> bool:
        counted.append(formats.argon2_work(stored))
        return real(stored, password)

    monkeypatch.setattr(formats, "verify", counting)
    for name in ("pepper", ""):
        pepper(shop, name)
        counted.clear()
        assert log_in(FIRST, "wrong lumen fjord spoon") is None
        assert counted == [19_456 * 2]
