"""Another address for an account: who may ask, when nobody may, who is told, and who changed theirs while a stranger was in."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from django.db import DatabaseError, transaction
from django.test import Client

from tests.conftest import forget
from tests.credentials.shop import AT, GOOD, PEOPLE, Customer, cut, enrol, hash_of, log_in, open_shop, write
from tests.credentials.test_actions import as_role, link
from tests.credentials.under_attack import FIRST_ENTRY, contained, cut_over, incident, opened
from tests.web.conftest import public_site  # noqa: F401 - a fixture
from tocsin.credentials import actions, queries
from tocsin.credentials.models import ContactRequest
from tocsin.credentials.room import policy
from tocsin.credentials.sign_in import login_of
from tocsin.credentials.types import Slowed
from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel import clock, schema
from tocsin.kernel.errors import BadInput, NotFound, Refused
from tocsin.kernel.private import Private
from tocsin.kernel.sealing import open_sealed
from tocsin.mail.models import Outbound
from tocsin.subjects import actions as register
from tocsin.subjects import queries as subjects
from tocsin.subjects.models import ContactChange, Subject

FIRST, SECOND = PEOPLE[:2]
NEW = "new.mailbox@post.example"
TOKEN = "C" * 43


@pytest.fixture
def shop(estate: Path, db: None) -> Path:
    open_shop(enrol(estate))
    return estate


def subject(customer: Customer = FIRST) -> int:
    return subjects.by_external_ids([customer.external_id])[customer.external_id]


def letters(purpose: str) -> list[tuple[str, str]]:
    """Return (address, text) of the mails that wait to be sent, in the order in which they were queued."""
    found = [
        json.loads(open_sealed(o.sealed, context="mail-outbound").reveal()) for o in Outbound.objects.filter(purpose=purpose).order_by("pk")
    ]
    return [(f["to"], f["text"]) for f in found]


def wish(token: str = TOKEN, *, at: datetime = AT) -> bool:
    """Do the waiting job as the worker does, with a token that the test knows."""
    newest = ContactRequest.objects.order_by("-asked_at", "-pk").values_list("pk", flat=True).first()
    assert isinstance(newest, UUID)
    return actions.send_contact_link(newest, token=Private(token), at=at)


def carry_out(*, at: datetime = AT) -> bool:
    return actions.change_contact(ContactRequest.objects.get(token_sha256__isnull=False, done_at=None).pk, at=at)


def signed_in(customer: Customer = FIRST) -> str:
    sid = log_in(customer)
    assert sid is not None
    return sid


def ask(sid: str, *, password: str = FIRST.password, email: str = NEW, at: datetime = AT) -> None:
    actions.ask_contact_change(sid, Private(password), email, at=at)


def address() -> str:
    return subjects.contactables([subject()])[0].address.reveal()


def test_item_43_changing_the_address_needs_the_password_again_and_is_frozen_after_a_cutover(shop: Path) -> None:
    sid = signed_in()
    with pytest.raises(BadInput) as wrong:
        ask(sid, password=FIRST.password + "x")
    assert [f.field for f in wrong.value.faults] == ["password"]
    with pytest.raises(NotFound):
        ask("nobody's session")
    with pytest.raises(BadInput, match="email"):
        ask(sid, email="no address")
    assert ContactRequest.objects.count() == 0
    ask(sid)
    assert NEW.encode() not in bytes(ContactRequest.objects.get().deposit)
    assert wish()
    assert address() == FIRST.email  # nothing changes before the link is followed
    with pytest.raises(NotFound):
        actions.confirm_contact_change("D" * 43, at=AT)
    actions.confirm_contact_change(TOKEN, at=AT)
    with pytest.raises(NotFound):
        actions.confirm_contact_change(TOKEN, at=AT)
    assert carry_out()
    assert address() == NEW
    assert (actions.log_in(NEW, Private(FIRST.password), at=AT) is not None, log_in(FIRST)) == (True, None)

    # The same door, within the hours after a cutover.
    cut(shop, incident=None)
    until = queries.contacts_frozen_until(AT)
    assert until == AT + timedelta(hours=72)
    assert link(Customer("", NEW, "", ""))
    actions.redeem("T" * 43, Private(GOOD), at=AT)
    fresh = actions.log_in(NEW, Private(GOOD), at=AT)
    assert fresh is not None
    with pytest.raises(Refused, match="cannot be changed until"):
        ask(fresh, password=GOOD, email="thief@post.example")
    for kind, value in (("email", "thief@post.example"), ("phone", "+1 555 0100")):
        with pytest.raises(Refused, match="frozen"):
            register.change_contact(subject(), kind=kind, value=Private(value), at=AT, by="customer", reauthenticated=True)
        with pytest.raises(Refused, match="shown its password"):
            register.change_contact(subject(), kind=kind, value=Private(value), at=until, by="customer", reauthenticated=False)
    later = until + timedelta(minutes=1)
    again = actions.log_in(NEW, Private(GOOD), at=later)
    assert again is not None
    ask(again, password=GOOD, email="third@post.example", at=later)
    assert ContactRequest.objects.filter(done_at=None).count() == 1


def test_passwords_guessed_with_a_borrowed_session_count_as_at_the_sign_in(shop: Path) -> None:
    sid = signed_in()
    for _ in range(policy.TRIES_FREE):
        with pytest.raises(BadInput):
            ask(sid, password=FIRST.password + "x")
    with pytest.raises(Slowed):
        ask(sid)  # the right one must wait as well, or its answer would tell
    with pytest.raises(Slowed):
        actions.log_in(FIRST.email, Private(FIRST.password), at=AT)
    assert actions.log_in(SECOND.email, Private(SECOND.password), at=AT)
    later = AT + timedelta(seconds=2)
    ask(sid, at=later)
    for _ in range(policy.TRIES_FREE):  # the right one wiped the slate
        with pytest.raises(BadInput):
            ask(sid, password=FIRST.password + "x", at=later)


def test_the_page_for_another_address_says_that_there_were_too_many_tries(shop: Path, public_site: None) -> None:  # noqa: F811
    client = Client()
    sid = actions.log_in(FIRST.email, Private(FIRST.password), at=clock.now())
    client.cookies["tocsin_sign_in"] = str(sid)
    answers = [
        client.post("/account/email", {"email": NEW, "password": "wrong wrong wrong"}).status_code for _ in range(policy.TRIES_FREE + 1)
    ]
    assert answers == [422] * policy.TRIES_FREE + [429]


def test_a_change_under_way_is_stopped_by_the_cutover(shop: Path) -> None:
    sid = signed_in()
    ask(sid)
    assert wish()
    actions.confirm_contact_change(TOKEN, at=AT)
    cut(shop, incident=None)
    assert not carry_out()
    assert address() == FIRST.email
    assert letters("contact_changed") == []


def test_a_password_set_since_voids_the_wish_even_without_a_freeze(shop: Path) -> None:
    (shop / "tocsin.toml").write_text('[estate]\nkind = "demo"\n[credentials]\ncontact_freeze_h = 0\n')
    forget()
    ask(signed_in())
    assert wish()
    cut(shop, incident=None)
    assert queries.contacts_frozen_until(AT) is None
    assert link()
    actions.redeem("T" * 43, Private(GOOD), at=AT)
    actions.confirm_contact_change(TOKEN, at=AT)
    assert not carry_out()
    assert address() == FIRST.email


def test_an_address_that_signs_somebody_else_in_gets_no_link_and_nobody_learns_it(shop: Path) -> None:
    ask(signed_in(), email=SECOND.email)
    assert not wish()
    assert letters("contact_confirm") == []
    for _ in range(5):
        ask(signed_in())
    assert ContactRequest.objects.count() == 3  # three an hour and account


def test_item_42_both_addresses_are_told_and_no_password_stands_in_a_letter(shop: Path) -> None:
    ask(signed_in())
    assert wish()
    ((to, text),) = letters("contact_confirm")
    assert (to, f"/account/email/t/{TOKEN}\n" in text) == (NEW, True)
    actions.confirm_contact_change(TOKEN, at=AT)
    assert carry_out()
    told = letters("contact_changed")
    assert [to for to, _ in told] == [FIRST.email, NEW]
    assert all(FIRST.password not in text and "token" not in text for _, text in told)
    assert not actions.change_contact(ContactRequest.objects.get().pk, at=AT)  # a second run of the job
    assert len(letters("contact_changed")) == 2
    entry = [e for e in evidence.entries_of_subject(subject()) if e.type == EventType.CONTACT_CHANGED]
    assert [e.body for e in entry] == [{"kind": "email"}]


def test_the_letters_speak_the_language_of_the_accounts_owner(shop: Path) -> None:
    Subject.objects.filter(pk=subject()).update(locale="de-AT")
    ask(signed_in())
    assert wish()
    actions.confirm_contact_change(TOKEN, at=AT)
    assert carry_out()
    ((_, link_letter),) = letters("contact_confirm")
    assert "Wenn Sie das waren, öffnen Sie diesen Link" in link_letter
    old, new = (text for _, text in letters("contact_changed"))
    assert "Dies ist die letzte an diese hier." in old
    assert "Sie melden sich mit ihr an" in new


def moved(home: Path, customer: Customer, email: str, *, at: datetime) -> None:
    """Import the customers anew with another address of one of them."""
    rows = [
        [c.external_id, "Wilhelmina", "Okonkwo", email if c is customer else c.email, c.format, hash_of(c.format, c.password)]
        for c in PEOPLE
    ]
    file = write(home / "moved.csv", rows)
    register.import_file(file, mapping=home / "mapping.toml", at=at, by="owner")
    actions.import_hashes(file, at=at, by="owner")


def test_item_42_a_reset_is_told_to_the_address_from_before_the_intruder_too(estate: Path, db: None) -> None:
    at = opened(estate)
    moved(estate, SECOND, "second.elsewhere@post.example", at=FIRST_ENTRY - timedelta(days=1))
    moved(estate, FIRST, NEW, at=AT - timedelta(hours=1))  # within the window: perhaps a stranger's
    armed = actions.arm(incident=at, at=AT, by="ada")
    assert armed.contacts_changed == len(subjects.changed_since(FIRST_ENTRY)) == 2  # and that of SECOND back again
    cut_over(estate, armed.id)
    assert actions.send_reset(login_of(NEW), request=UUID(int=1), token=Private("T" * 43), at=AT)
    actions.redeem("T" * 43, Private(GOOD), at=AT)
    actions.send_changed(subject(), version=1, at=AT)
    actions.send_changed(subject(), version=1, at=AT)
    told = letters("password_changed")
    assert [to for to, _ in told] == [NEW, FIRST.email]
    assert all(GOOD not in text for _, text in told)
    assert "a stranger may have been in our systems" in told[1][1]


def test_an_old_address_from_before_the_window_is_left_in_peace(estate: Path, db: None) -> None:
    open_shop(enrol(estate))
    moved(estate, FIRST, NEW, at=FIRST_ENTRY - timedelta(days=400))
    at = incident(estate)
    contained(estate, at)
    cut_over(estate, actions.arm(incident=at, at=AT, by="ada").id)
    assert actions.send_reset(login_of(NEW), request=UUID(int=1), token=Private("T" * 43), at=AT)
    actions.redeem("T" * 43, Private(GOOD), at=AT)
    actions.send_changed(subject(), version=1, at=AT)
    assert [to for to, _ in letters("password_changed")] == [NEW]


def test_an_import_that_changes_an_address_counts_and_one_that_does_not_does_not(shop: Path) -> None:
    assert ContactChange.objects.count() == 0
    moved(shop, FIRST, NEW, at=AT)
    (old,) = subjects.former_contacts(subject(), since=AT)
    assert (old.address.reveal(), old.changed_at, subjects.changed_count(AT)) == (FIRST.email, AT, 1)
    assert subjects.changed_since(AT + timedelta(seconds=1)) == []
    moved(shop, FIRST, NEW.upper(), at=AT)  # the same mailbox, written otherwise
    assert ContactChange.objects.count() == 1
    moved(shop, FIRST, FIRST.email, at=AT)
    assert [f.address.reveal().lower() for f in subjects.former_contacts(subject(), since=AT)] == [NEW]


def test_forgetting_takes_former_addresses_too(shop: Path) -> None:
    moved(shop, FIRST, NEW, at=AT)
    register.forget([subject()], incident=None, at=AT, by="ada")
    assert ContactChange.objects.count() == 0
    with pytest.raises(NotFound):
        register.change_contact(subject(), kind="email", value=Private(NEW), at=AT, by="ada", reauthenticated=True)


def test_each_process_does_its_part_of_a_change_and_no_more(estate: Path, transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    schema.migrate()
    open_shop(enrol(estate))
    with as_role("public"):
        sid = signed_in()
        ask(sid)
        with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
            ContactRequest.objects.count()
        with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
            ContactChange.objects.count()
    with as_role("worker"):
        assert wish()
    with as_role("public"):
        actions.confirm_contact_change(TOKEN, at=AT)
    with as_role("worker"):
        assert carry_out()
    assert address() == NEW
    monkeypatch.setenv("TOCSIN_PROCESS", "console")
    forget()
    with as_role("console"):
        cut(estate, incident=None)
    monkeypatch.setenv("TOCSIN_PROCESS", "owner")
    forget()
    with as_role("public"):
        assert queries.contacts_frozen_until(AT) is not None


# -- the pages --------------------------------------------------------------------------------------------------------------


def test_the_pages_ask_for_the_password_and_say_when_addresses_are_frozen(shop: Path, public_site: None, client: Client) -> None:  # noqa: F811
    assert client.get("/account/email").headers["Location"] == "/login"
    client.post("/login", {"email": FIRST.email, "password": FIRST.password})
    page = client.get("/account/email").content.decode()
    assert 'autocomplete="current-password"' in page
    wrong = client.post("/account/email", {"email": NEW, "password": "no"})
    assert (wrong.status_code, "not the password of your account" in wrong.content.decode()) == (422, True)
    assert client.post("/account/email", {"email": NEW, "password": "x" * 5000}).status_code == 413
    taken = client.post("/account/email", {"email": SECOND.email, "password": FIRST.password})
    asked = client.post("/account/email", {"email": NEW, "password": FIRST.password})
    assert (asked.status_code, asked.content) == (200, taken.content)
    assert wish(at=clock.now())
    followed = client.get(f"/account/email/t/{TOKEN}")
    assert (followed.status_code, followed.headers["Location"], followed.headers["Referrer-Policy"]) == (
        303,
        "/account/email/confirm",
        "no-referrer",
    )
    assert client.get("/account/email/confirm").status_code == 200
    assert ContactRequest.objects.filter(confirmed_at__isnull=False).count() == 0
    assert client.post("/account/email/confirm").status_code == 200
    assert carry_out(at=clock.now())
    assert address() == NEW
    assert client.post("/account/email/confirm").status_code == 410
    register.freeze_contacts(until=clock.now() + timedelta(hours=1), reason="cutover 1", at=AT, by="ada")
    assert "Addresses are frozen" in client.get("/account/email").content.decode()
    assert client.post("/account/email", {"email": "x@post.example", "password": FIRST.password}).status_code == 409
