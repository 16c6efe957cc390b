"""Codes by post, "was I affected?", the life of links, the lane of urgent mail, and four words: through the doors, against PostgreSQL."""

from __future__ import annotations

import csv
import json
import math
import re
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import DatabaseError, connection, transaction

from tests.credentials.postal_shop import AT, LATER, POSTCODE, REACHED, open_postal_shop, register
from tests.credentials.shop import GOOD, enrol
from tests.credentials.test_actions import as_role
from tocsin.credentials import actions, letters, policy, post, queries, suggestion
from tocsin.credentials.models import AffectedAnswer, LetterRequest, ResetToken
from tocsin.credentials.sign_in import digest, login_of
from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel import config, jobs, schema
from tocsin.kernel.errors import BadInput, NotFound
from tocsin.kernel.private import Private
from tocsin.kernel.sealing import open_sealed
from tocsin.mail import queries as mail_now
from tocsin.mail.models import Outbound

FIRST = REACHED[0]
TOKEN = "T" * 43


@pytest.fixture
def shop(estate: Path, db: None) -> Path:
    open_postal_shop(estate)
    return estate


def waiting(task: str) -> list[tuple[str, dict[str, Any]]]:
    """Return queue and arguments of the waiting jobs of a task."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT queue_name, args FROM procrastinate_jobs WHERE task_name = %s AND status = 'todo' ORDER BY id", [task])
        return [(queue, args if isinstance(args, dict) else json.loads(args)) for queue, args in cursor.fetchall()]


def mails() -> list[dict[str, Any]]:
    """Return the queued mails, opened."""
    rows = Outbound.objects.order_by("pk").values_list("sealed", flat=True)
    return [json.loads(open_sealed(row, context="mail-outbound").reveal()) for row in rows]


def ask_letter(email: str = FIRST.email, postcode: str = POSTCODE, *, at: Any = AT) -> bool:
    """Ask as the site does, and do the job as the worker does."""
    actions.request_letter(email, postcode, at=at)
    queue, job = waiting("credentials.tasks.ask_letter")[-1]
    assert queue == "general"
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM procrastinate_jobs")
    return actions.ask_letter(bytes.fromhex(job["lookup"]), postcode=bytes.fromhex(job["postcode"]), request=job["request"], at=at)


def printed(file: Path, *, at: Any = AT) -> list[dict[str, str]]:
    """Print the waiting letters and read the file back."""
    actions.print_letters(file, at=at, by="ada")
    with file.open(newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


def code_in(text: str) -> str:
    found = re.search(r"^(?:[0-9A-HJKMNP-TV-Z]{4}-){6}[0-9A-HJKMNP-TV-Z]{4}$", text, re.MULTILINE)
    assert found is not None
    return found.group()


# -- codes by post ----------------------------------------------------------------------------------------------------------


def test_a_code_by_post_sets_a_password_once(shop: Path) -> None:
    assert ask_letter(postcode="sw1a1aa")
    [letter] = printed(shop / "letters.csv")
    assert (shop / "letters.csv").stat().st_mode & 0o777 == 0o600
    assert (letter["language"], letter["name"], letter["street"], letter["postcode"]) == ("en", "Jo Sample0", "1 High Street", POSTCODE)
    assert f"{config.current().web.public_url}/passwordchange/code" in letter["text"]
    code = code_in(letter["text"])
    row = ResetToken.objects.get(channel="letter")
    assert bytes(row.token_sha256) == digest(code.replace("-", ""))
    assert row.expires_at - AT == timedelta(days=config.current().credentials.letter_days)
    typed = queries.token_of_code(f"  {code.lower().replace('-', ' ')} ".replace("1", "l").replace("0", "o"))
    assert typed == code.replace("-", "")
    later = AT + timedelta(days=6)
    assert queries.open_token(typed, at=later) is not None
    with pytest.raises(BadInput):
        actions.redeem(typed, Private("Sample0 Sample0 Jo 1"), at=later)  # the owner's own name is known to a code too
    actions.redeem(typed, Private(GOOD), at=later)
    assert actions.log_in(FIRST.email, Private(GOOD), at=later) is not None
    with pytest.raises(NotFound):
        actions.redeem(typed, Private(GOOD + " more"), at=later)
    assert [e.body for e in evidence.activity(types=[EventType.PERSONAL_DATA_READ])] == [
        {"what": "code letters", "stage": "begun"},
        {"what": "code letters", "stage": "ended", "letters": 1, "skipped": 0},
    ]
    counts = evidence.counts()
    assert (counts[EventType.RESET_LETTER_ASKED], counts[EventType.RESET_LETTER_PRINTED]) == (1, 1)
    assert printed(shop / "again.csv") == []
    with pytest.raises(BadInput):
        actions.print_letters(shop / "again.csv", at=AT, by="ada")


def test_only_who_knows_the_postal_code_gets_a_letter_and_one_a_week(shop: Path) -> None:
    assert not ask_letter("nobody@mail.example")
    assert not ask_letter(postcode="10115")
    assert ask_letter()
    assert not ask_letter(at=AT + timedelta(days=6))
    assert ask_letter(at=AT + timedelta(days=8))
    assert LetterRequest.objects.count() == 2
    for email, postcode, fields in (
        ("nobody", "10115", {"email"}),
        (FIRST.email, " -", {"postcode"}),
        ("", "1" * 21, {"email", "postcode"}),
    ):
        with pytest.raises(BadInput) as e:
            actions.request_letter(email, postcode, at=AT)
        assert {f.field for f in e.value.faults} == fields


def test_neither_address_nor_postal_code_stands_in_the_queue(shop: Path) -> None:
    actions.request_letter(FIRST.email, POSTCODE, at=AT)
    actions.ask_affected(FIRST.email, at=AT)
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(j::text, '') FROM procrastinate_jobs j")
        text = cursor.fetchone()[0].lower()
    assert "reached" not in text
    assert "sw1a" not in text


def test_a_newer_letter_ends_the_older_and_a_mailed_link_leaves_it(shop: Path) -> None:
    assert ask_letter()
    first = code_in(printed(shop / "1.csv")[0]["text"]).replace("-", "")
    assert actions.send_reset(login_of(FIRST.email), request=uuid4(), token=Private(TOKEN), at=AT)
    assert queries.open_token(first, at=AT) is not None  # a stranger who types the address must not end the letter
    assert queries.open_token(TOKEN, at=AT) is not None
    later = AT + timedelta(days=8)
    assert ask_letter(at=later)
    second = code_in(printed(shop / "2.csv", at=later)[0]["text"]).replace("-", "")
    assert queries.open_token(first, at=later) is None
    assert actions.send_reset(login_of(FIRST.email), request=uuid4(), token=Private("U" * 43), at=later)
    actions.redeem("U" * 43, Private(GOOD), at=later)
    assert queries.open_token(second, at=later) is None  # once one of them was used, none is left in the post


def test_a_print_that_breaks_off_leaves_nobody_behind(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask_letter()

    def power_cut(fd: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", power_cut)
    with pytest.raises(KeyboardInterrupt):
        actions.print_letters(shop / "broken.csv", at=AT, by="ada")
    monkeypatch.undo()
    lost = code_in((shop / "broken.csv").read_text())
    assert queries.open_token(lost.replace("-", ""), at=AT) is None
    assert len(printed(shop / "whole.csv")) == 1


def test_every_code_reads_as_itself_and_nothing_else_does() -> None:
    seen = {policy.code_of(n) for n in (0, 1, 32**28 - 1, 123456789**4)}
    assert {len(c) for c in seen} == {policy.CODE_CHARS}
    assert all(policy.read_code(policy.grouped(c)) == c for c in seen)
    assert policy.CODE_CHARS * math.log2(len(policy.CODE_ALPHABET)) >= 128
    for wrong in ("", "0" * 27, "0" * 29, "U" * 28, "\x00" * 28, "ж" * 28):
        assert policy.read_code(wrong) is None


# -- was I affected? --------------------------------------------------------------------------------------------------------


def ask_affected(email: str, *, token: str = TOKEN, at: Any = AT) -> bool:
    actions.ask_affected(email, at=at)
    queue, job = waiting("credentials.tasks.send_affected")[-1]
    assert queue == "urgent"
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM procrastinate_jobs")
    return actions.send_affected(bytes.fromhex(job["lookup"]), request=job["request"], token=Private(token), at=at)


def test_the_answer_goes_to_the_mailbox_and_names_kinds_of_data(shop: Path) -> None:
    assert ask_affected(FIRST.email)
    [mail] = mails()
    assert f"/affected/t/{TOKEN}" in mail["text"]
    assert mail["to"] == FIRST.email
    info = queries.open_affected(TOKEN, at=AT)
    assert info is not None
    assert info.known
    [reached] = info.incidents
    assert {"name", "email", "password_hash"} <= {*reached.readable, *reached.scrambled}
    assert queries.open_affected(TOKEN, at=AT) == info  # looking uses nothing up
    assert queries.open_affected("Z" * 43, at=AT) is None
    assert ask_affected(FIRST.email, token="U" * 43)
    assert queries.open_affected(TOKEN, at=AT) is None  # a newer one replaces it
    assert queries.open_affected("U" * 43, at=AT + post.upper_bound()) is None
    row = AffectedAnswer.objects.get(token_sha256=digest("U" * 43))
    assert "Jo" not in json.dumps(row.answer)


def test_who_was_not_reached_is_told_so_and_strangers_get_no_mail(shop: Path) -> None:
    assert ask_affected(LATER.email)
    assert not ask_affected("nobody@mail.example")
    [mail] = mails()
    assert "none of it was" in mail["text"]
    assert "/affected/t/" not in mail["text"]
    assert [ask_affected(LATER.email, token=c * 43) for c in "abc"] == [True, True, False]  # three an hour
    with pytest.raises(BadInput):
        actions.ask_affected("nobody", at=AT)


def test_before_anything_is_known_the_answer_says_so(estate: Path, db: None) -> None:
    enrol(estate)
    register(estate, (FIRST,))
    assert ask_affected(FIRST.email)
    assert "We cannot say yet" in mails()[0]["text"]


# -- the life of a link, and the lane of its mail ---------------------------------------------------------------------------


def hand_over(at: Any) -> int:
    """Record the newest mail as taken by the relay, as the mail room does."""
    row = Outbound.objects.order_by("-pk")[0]
    Outbound.objects.filter(pk=row.pk).update(state="sent", ended_at=at)
    return int(row.pk)


@pytest.mark.parametrize("what", ["reset", "affected"])
def test_the_life_of_a_link_starts_when_the_relay_took_the_mail(shop: Path, what: str) -> None:
    life = timedelta(minutes=config.current().credentials.link_minutes)
    if what == "reset":
        assert actions.send_reset(login_of(FIRST.email), request=uuid4(), token=Private(TOKEN), at=AT)
    else:
        assert ask_affected(FIRST.email)
    opened = {"reset": queries.open_token, "affected": queries.open_affected}[what]
    [mail] = mails()
    assert (mail["then"], mail["urgent"]) == (post.STARTED, True)
    taken = AT + timedelta(minutes=50)  # a slow relay: counted from the request the link would be dead by now
    assert opened(TOKEN, at=taken) is not None
    outbound = hand_over(taken)
    assert actions.start_life(outbound)
    assert not actions.start_life(outbound)
    assert opened(TOKEN, at=taken + life - timedelta(seconds=1)) is not None
    assert opened(TOKEN, at=taken + life) is None


def test_a_mail_that_is_still_waiting_starts_nothing(shop: Path) -> None:
    assert actions.send_reset(login_of(FIRST.email), request=uuid4(), token=Private(TOKEN), at=AT)
    assert not actions.start_life(Outbound.objects.get().pk)
    assert ResetToken.objects.get().handed_over_at is None
    with pytest.raises(NotFound):
        actions.start_life(10**9)


def test_urgent_mail_has_its_own_queue_and_sender(shop: Path) -> None:
    actions.request_reset(FIRST.email, at=AT)
    assert [queue for queue, _ in waiting("credentials.tasks.send_reset")] == ["urgent"]
    assert actions.send_reset(login_of(FIRST.email), request=uuid4(), token=Private(TOKEN), at=AT)
    assert [queue for queue, _ in waiting("mail.tasks.send_urgent")] == ["urgent"]
    assert waiting("mail.tasks.send_single") == []
    assert "urgent" in jobs.QUEUES
    mail = config.current().mail
    assert mail.reset_from != mail.from_address
    assert mail.reset_from.rpartition("@")[2] == mail.from_address.rpartition("@")[2]  # one DKIM domain signs both
    assert mail_now.singles_waiting() == 1


# -- languages and words ----------------------------------------------------------------------------------------------------


def test_mail_and_letters_speak_the_customers_language(shop: Path) -> None:
    subjects = (
        "Set your new",
        "Pon tu contraseña",
        "Votre nouveau mot de passe",
        "Neues Passwort für",
        "Defina a sua nova",
        "设置您的",
        "Set your new",
    )
    for n, (customer, subject) in enumerate(zip(REACHED, subjects, strict=True)):
        assert actions.send_reset(login_of(customer.email), request=uuid4(), token=Private(f"{n}" * 43), at=AT)
        assert mails()[-1]["subject"].startswith(subject), customer
        assert f"/passwordchange/t/{n}" in mails()[-1]["text"]
        assert ask_letter(customer.email)
    texts = {row["customer_number"]: row for row in printed(shop / "all.csv")}
    assert [texts[c.external_id]["language"] for c in REACHED] == ["en", "es", "fr", "de", "pt", "zh-hans", "en"]
    assert "Guten Tag Jo Sample3" in texts["P3"]["text"]


def test_a_language_we_do_not_speak_is_answered_in_the_companys(estate: Path) -> None:
    assert letters.language_of("ja") == "en"
    (estate / "tocsin.toml").write_text('[company]\nlocale = "fr"\n')
    config.current.cache_clear()
    assert letters.language_of("ja") == "fr"
    assert letters.language_of("zh_TW") == "zh-hans"
    assert letters.language_of("") == "fr"


def test_four_words_are_accepted_by_the_rules_and_hard_to_guess(estate: Path) -> None:
    words = suggestion.word_list()
    assert len(set(words)) == len(words) >= 2048
    assert policy.WORDS_SUGGESTED * math.log2(len(words)) >= 44
    assert all(re.fullmatch("[a-z]{4,7}", w) for w in words)
    import random

    chance = random.Random(7)
    made = {queries.four_words(chance.randrange) for _ in range(500)}
    assert len(made) == 500
    for text in made:
        assert policy.password_reasons(text, common=frozenset()) == []
    assert queries.four_words(lambda n: 0) == ""  # one word four times is refused


def test_each_process_may_do_its_part(estate: Path, transactional_db: None) -> None:
    schema.migrate()
    open_postal_shop(estate)
    with as_role("public"):
        actions.request_letter(FIRST.email, POSTCODE, at=AT)
        actions.ask_affected(FIRST.email, at=AT)
        for sql in ("SELECT 1 FROM credentials_letterrequest", "SELECT 1 FROM credentials_affectedanswer"):
            with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(sql)
    [(_, letter)] = waiting("credentials.tasks.ask_letter")
    [(_, affected)] = waiting("credentials.tasks.send_affected")
    with as_role("worker"):
        assert actions.ask_letter(
            bytes.fromhex(letter["lookup"]), postcode=bytes.fromhex(letter["postcode"]), request=letter["request"], at=AT
        )
        assert actions.send_affected(bytes.fromhex(affected["lookup"]), request=affected["request"], token=Private(TOKEN), at=AT)
        assert actions.start_life(hand_over(AT))
        assert actions.send_reset(login_of(FIRST.email), request=uuid4(), token=Private(TOKEN), at=AT)
        assert actions.start_life(hand_over(AT))
    with as_role("operator"):
        assert len(printed(estate / "letters.csv")) == 1
    with as_role("public"):
        assert queries.open_affected(TOKEN, at=AT) is not None
        assert queries.open_token(TOKEN, at=AT) is not None
