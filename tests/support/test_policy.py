"""Decisions of the desk without a database: stripping, redaction, urgency, threading, classification."""

from __future__ import annotations

import time
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.drills import letters
from tocsin.support import measuring
from tocsin.support.policy import classify, own_words, redact, text, threading, urgency

from .desk import ANSWERS, AT, minutes

BANKING = Path(__file__).parents[3] / "shared" / "data" / "banking77"
PAN = "4111111111111111"
FORMATS = (
    PAN, "4111 1111 1111 1111", "4111-1111-1111-1111", "4111.1111.1111.1111", "4111\u00a01111\u00a01111\u00a01111", "4111\u20111111\u20111111\u20111111",
    "4111–1111–1111–1111", "4111 1111\n1111 1111", "4111 1111\n> 1111 1111", "no.4111111111111111", "４１１１１１１１１１１１１１１１", "4111/1111/1111/1111",
    "4111_1111_1111_1111", "4111\u200b1111\u200b1111\u200b1111", "3782 822463 10005", "378282246310005", "5555-5555-5555-4444", "6011 1111 1111 1117",
    "2223 0031 2200 3222", "3056 930902 5904", "4111 1111 1111 1111 12/27 123", "4111 - 1111 - 1111 - 1111",
)  # fmt: skip


@pytest.mark.parametrize("written", FORMATS)
def test_a_card_number_is_removed_however_it_is_written(written: str) -> None:
    found = redact.redact(f"Hello, my card {written} was used, thanks")
    assert found.cards == 1
    assert redact.CARD in found.text
    assert not any(group in found.text for group in ("4111", "1111", "8224", "5555", "4444", "0031", "5904", "１１"))
    assert found.text.startswith("Hello, my card ")
    assert found.text.endswith("was used, thanks")


@pytest.mark.parametrize("other", [
    "order 4111111111111112", "tracking 1Z 9999 9999 9999 9999", "call +1 702 555 0134 or +1 702 555 0188", "2026-01-16 09:00:00.123456", "0000 0000 0000 0000",
    "parcel 94001111111111111111111", "IBAN DE89 3704 0044 0532 0130 00",
])  # fmt: skip
def test_other_numbers_stay(other: str) -> None:
    assert redact.redact(other).text == other


@pytest.mark.parametrize(("written", "label"), [
    ("My SSN is 123-45-6789.", redact.SSN), ("123 45 6789", redact.SSN), ("social security number: 123456789", redact.SSN), ("cvv 123", redact.CODE),
    ("security code is 1234", redact.CODE), ("my password is hunter2", redact.PASSWORD), ("Password: Sommer-Regen", redact.PASSWORD),
    ('old password was "correct horse"', redact.PASSWORD), ("pw = tiger", redact.PASSWORD),
])  # fmt: skip
def test_other_secrets_are_removed(written: str, label: str) -> None:
    found = redact.redact(written).text
    assert label in found
    assert not any(s in found for s in ("6789", "hunter2", "Sommer", "correct horse", "tiger", "123"))


@pytest.mark.parametrize(
    "said",
    ["my password is not working", "A message says my password was ended.", "the password is expired", "my pin is the same elsewhere"],
)
def test_talk_about_passwords_stays(said: str) -> None:
    assert redact.redact(said).text == said


@given(st.text())
def test_redaction_and_reading_never_fail(words: str) -> None:
    redact.redact(words)
    text.sentences(text.own_words(text.clean(words)))


@pytest.mark.parametrize(
    "hostile",
    ["1 " * 50_000, "> " * 50_000, "On " * 30_000, "password is " * 8_000, "somebody " * 11_000, "4" * 100_000, "From: x\n" * 12_000],
)
def test_hostile_texts_take_no_time(hostile: str) -> None:
    begun = time.process_time()
    words = text.own_words(text.clean(hostile))
    redact.redact(words)
    urgency.of_text(words)
    text.sentences(words)
    assert time.process_time() - begun < 3


@pytest.mark.parametrize("style", range(3))
def test_the_quoted_notice_and_the_signature_go(style: int) -> None:
    notice = "Somebody changed your password.\nThere was fraud.\n"
    for n in range(200):
        asked = letters.question(5, str(n), name="Al Berg")
        own = text.own_words(
            asked.text + letters.quoted(notice, sender="Shop <x@shop.example>", when="Mon, 16 Jan 2026 09:00", style=style)
        )
        assert "Somebody changed" not in own
        assert "12 Any Street" not in own
        assert "Sent from my phone" not in own
        assert any(p.lower() in " ".join(own.lower().split()) for p in asked.kind.phrasings)


def test_an_answer_below_the_quote_is_kept() -> None:
    assert text.own_words("On Monday, Shop wrote:\n> Dear you,\n> bye\n\nWhere is my order?\n") == "Where is my order?"
    assert text.own_words("> only a quote") == "> only a quote"
    assert text.own_words("Am 16.01.2026 um 9:00 schrieb Shop:\nalles") == "Am 16.01.2026 um 9:00 schrieb Shop:\nalles"


@pytest.mark.parametrize(("kind", "said"), [
    ("fraud_now", "Someone has just bought three phones with my Visa."), ("fraud_now", "I see a payment I did not authorise."),
    ("fraud_now", "$400 was withdrawn, money missing from my account"), ("fraud_now", "Somebody charges my card right now!"),
    ("fraud_now", "My account is being used by a stranger"), ("account_taken", "I've been hacked"),
    ("account_taken", "The email on my account was changed."), ("account_taken", "I never requested a password reset"),
    ("threat", "My ex knows where I live now, I fear for my life"), ("threat", "I will find you and hurt you"),
    ("self_harm", "I want to end my life over this"),
    ("minor", "My daughter is 12 and has an account"), ("journalist", "I am a reporter with a newspaper"),
    ("regulator", "This is the Attorney General's office"),
    ("regulator", "Detective Moss, Las Vegas police"), ("lawyer", "My attorney will contact you"), ("lawyer", "See you in court: class action"),
    ("data_request", "Subject access request under GDPR"), ("data_request", "Send me a copy of all my personal data"),
    ("extortion", "Pay 5 bitcoin or we publish the database"),
    ("researcher", "I found a vulnerability in your site"), ("employee", "I worked for you until May, is my payroll data affected?"),
])  # fmt: skip
def test_urgent_words_are_heard(kind: str, said: str) -> None:
    assert urgency.of_text(said) == kind


def test_urgent_kinds_of_the_drill_are_all_heard_and_few_others() -> None:
    wrong = [p for k in letters.KINDS for p in k.phrasings if bool(urgency.of_text(p)) != k.urgent]
    assert wrong == []


def test_joining() -> None:
    old = threading.OfPerson(7, False, AT)
    assert threading.joins(by_address=1, by_reference=2, of_person=old, at=AT) == 1
    assert threading.joins(by_address=None, by_reference=2, of_person=old, at=AT) == 2
    assert threading.joins(by_address=None, by_reference=None, of_person=old, at=minutes(14 * 24 * 60)) == 7
    assert threading.joins(by_address=None, by_reference=None, of_person=old, at=minutes(14 * 24 * 60 + 1)) is None
    assert threading.joins(by_address=None, by_reference=None, of_person=threading.OfPerson(7, True, AT), at=minutes(10**6)) == 7
    assert threading.joins(by_address=None, by_reference=None, of_person=None, at=AT) is None
    assert threading.reply_subject("RE: Aw:  hello\r\nBcc: x") == "Re: hello Bcc: x"
    assert threading.case_in_address("Help+C.12.0123456789abc@shop.example") == (12, "0123456789abc")


@pytest.fixture(scope="module")
def classifier() -> classify.Classifier:
    questions = tomllib.loads(ANSWERS.read_text())["question"]
    pairs = [(q["name"], e) for q in questions for e in q["examples"]] + [(classify.BACKGROUND, e) for e in classify.SMALL_TALK]
    return classify.fit(pairs, never_bulk=[q["name"] for q in questions if q.get("never_bulk")])


def test_the_vetted_questions_are_the_drills_kinds_in_other_words() -> None:
    questions = tomllib.loads(ANSWERS.read_text())["question"]
    assert {q["name"] for q in questions} == set(letters.BY_NAME)
    assert all(q.get("never_bulk", False) == letters.BY_NAME[q["name"]].urgent for q in questions)
    phrasings = {p.lower() for k in letters.KINDS for p in k.phrasings}
    assert not phrasings & {e.lower() for q in questions for e in q["examples"]}


def test_mails_are_judged_by_their_best_sentence(classifier: classify.Classifier) -> None:
    """Figures of 800 letters: best answer right 92 %, among three 99 %; bulk takes 55 % of them, 98 % rightly."""
    hits = top3 = bulk = right = 0
    for n in range(400):
        asked = letters.question(3, str(n), name="Al Berg")
        verdict = classifier.judge([*text.sentences(text.own_words(asked.text)), asked.subject])
        names = [name for name, _ in verdict.ranking[:3]]
        hits, top3 = hits + (names[0] == asked.kind.name), top3 + (asked.kind.name in names)
        if verdict.question and not urgency.of_text(asked.text):
            bulk, right = bulk + 1, right + (verdict.question == asked.kind.name)
    assert hits >= 0.88 * 400
    assert top3 >= 0.96 * 400
    assert bulk >= 0.45 * 400
    assert right >= 0.96 * bulk


@pytest.mark.parametrize(
    "said",
    [
        "The weather in Lisbon is lovely in May.",
        "Do you sell hiking boots for children's feet?",
        "asdf qwer",
        "Invoice 42 attached, see file.",
    ],
)
def test_other_matters_are_left_to_people(classifier: classify.Classifier, said: str) -> None:
    assert classifier.judge(text.sentences(said)).question is None


def test_two_questions_are_left_to_a_person(classifier: classify.Classifier) -> None:
    assert classifier.judge(["How can I reset my password?"]).question == "how_reset"
    assert classifier.judge(["How can I reset my password?", "Where is my order?"]).question is None
    assert classifier.judge([]).question is None


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=200), max_size=5))
def test_judging_never_fails(classifier: classify.Classifier, said: list[str]) -> None:
    assert all(0 <= score <= 1.0001 for _, score in classifier.judge(said).ranking)


@pytest.mark.skipif(not BANKING.is_dir(), reason="the development data is not here")
def test_banking77() -> None:
    """Ten examples of each of 77 questions: measured 76.4 % (baseline of the same kind 72.9), top 3 90.5; all examples 91.5 %."""
    found = measuring.evaluate(BANKING / "train.csv", BANKING / "test.csv", shots=10, seed=1)
    assert found["n"] == 3080
    assert found["accuracy"] >= 0.74
    assert found["top3"] >= 0.89


@pytest.mark.parametrize(
    "text",
    [
        "Please see https://shop.example/passwordchange and http://www.shop.example.",
        "Open http://127.0.0.1:8001/passwordchange (our page); then sign in.",
        "Write to help@shop.example. Thanks, e.g. today.Please wait, i.e. until 5.30 p.m.",
        "Set a new password on /passwordchange; 3/4 of all people have.",
    ],
)
def test_own_words_may_name_our_own_pages(text: str) -> None:
    assert own_words.faults(text, domains=("shop.example",), hosts=("127.0.0.1",)) == []


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("see https://evil.test/x", "evil.test"),
        ("see HTTPS://SHOP.EXAMPLE.evil.test", "shop.example.evil.test"),
        ("see https://shop.example@evil.test/", "evil.test"),
        ("see https://evil.test\\@shop.example/", "evil.test"),
        ("see https://evilshop.example/", "evilshop.example"),
        ("see https:\\\\evil.test", "evil.test"),
        ("see www.evil.test", "www.evil.test"),
        ("see evil.com/login now", "evil.com"),
        ("see evil.com.", "evil.com"),
        ("see bank.berlin/login", "bank.berlin"),
        ("write to thief@evil.com", "evil.com"),
        ("see https://ev\u200bil.test", "evil.test"),
        ("see https://\uff45vil\u3002test", "evil.test"),
        ("see https://sh\u043ep.example", "sh\u043ep.example"),
        ("see ftp://shop.example/x", "ftp://shop.example"),
        ("see <https://evil.test>", "evil.test"),
    ],
)
def test_own_words_may_not_lead_away(text: str, host: str) -> None:
    [fault] = own_words.faults(text, domains=("shop.example",), hosts=("127.0.0.1",))
    assert fault.got == f"a link to {host!r}"


def test_all_faults_of_own_words_come_at_once() -> None:
    found = own_words.faults("4111 1111 1111 1111, my password is hunter2!x, see https://evil.test" + " x" * 20_000, domains=(), hosts=())
    assert len(found) == 4
    assert len(own_words.faults(" \n", domains=(), hosts=())) == 1
