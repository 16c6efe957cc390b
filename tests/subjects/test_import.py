"""The register through its doors: a generated customers file in, counts that close, nothing readable at rest."""

from __future__ import annotations

import csv
import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db import connection

from tocsin.drills import generator
from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.inventory.types import codes_of
from tocsin.kernel.errors import BadInput
from tocsin.subjects import actions, queries
from tocsin.subjects.models import Contact, Import, Subject

AT = datetime(2026, 1, 15, 3, 0, tzinfo=UTC)
MAPPING = Path(__file__).parents[2] / "scenarios" / "zappos-2012" / "customers.mapping.toml"
SEED = 7

pytestmark = pytest.mark.django_db


def load(path: Path) -> actions.ImportReport:
    return actions.import_file(path, mapping=MAPPING, at=AT, by="ada")


def test_a_generated_file_closes_twice_and_nothing_is_readable(estate: Path, tmp_path: Path) -> None:
    made = generator.write(tmp_path, customers=500, seed=SEED, bad=12)
    report = load(made.customers_file)
    assert (report.read, report.accepted, report.updated, report.rejected) == (512, 500, 0, 12)
    assert queries.count() == 500
    again = load(made.customers_file)
    assert (again.read, again.accepted, again.updated, again.rejected) == (512, 500, 500, 12)
    assert queries.count() == 500
    assert Contact.objects.filter(kind="email").count() == 500
    assert report.rejects_file is not None
    with report.rejects_file.open() as f:
        rejects = list(csv.DictReader(f))
    assert len(rejects) == 12
    assert all(r["line"] and r["field"] and r["reason"] for r in rejects)
    assert "example" not in report.rejects_file.read_text()
    assert evidence.counts()[EventType.SUBJECTS_IMPORTED] == 2
    person = generator.customer(SEED, 3)
    found = queries.by_email(f"  {person.email.upper()} ")
    assert found is not None
    [opened] = queries.contactables([found])
    assert opened.address.reveal() == person.email
    assert opened.name.reveal() == f"{person.first_name} {person.last_name}"
    assert opened.external_id == person.customer_id
    assert queries.postal([found])[0].address.reveal()["city"] in {person.bill_city, person.ship_city}
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(encode(sealed, 'escape'), '') FROM subjects_contact")
        everything = cursor.fetchone()[0]
    assert person.email not in everything
    assert person.last_name not in everything
    assert repr(opened.address) == "Private(***)"


def test_cards_come_back_as_token_and_last4_in_any_order(estate: Path, tmp_path: Path) -> None:
    made = generator.write(tmp_path, customers=50, seed=SEED, bad=0)
    load(made.customers_file)
    tokens = tmp_path / "tokens.csv"
    customer = generator.customer_id(1)
    tokens.write_text(f"customer_id,token,last4\n{customer},tok_abc,1111\nNOBODY,tok_x,1234\n{customer},4111111111111111,1111\n")
    report = actions.attach_cards(tokens, store="orders", at=AT, by="ada")
    assert (report.read, report.accepted, report.rejected) == (3, 1, 2)
    subject = Subject.objects.get(external_id=customer)
    held = queries.profiles()[subject.holding_id]
    assert "payment_card_last4" in codes_of(held["orders"])
    load(made.customers_file)
    subject.refresh_from_db()
    assert queries.profiles()[subject.holding_id] == held
    assert actions.attach_cards(tokens, store="orders", at=AT, by="ada").updated == 1
    assert sum(n for _, _, n in queries.cube()) == 50
    with pytest.raises(BadInput, match="header"):
        actions.attach_cards(made.cards_file, store="orders", at=AT, by="ada")


def test_bad_rows_cost_themselves_alone(estate: Path, tmp_path: Path) -> None:
    header = (
        "customer_id,first_name,last_name,email,phone,bill_street,bill_city,bill_region,bill_postcode,bill_country,"
        "ship_street,ship_city,ship_region,ship_postcode,ship_country,locale,password_format,password_hash,created,last_login\n"
    )

    def row(id: str, email: str, name: str = "Ada", country: str = "US") -> str:
        return f"{id},{name},Byron,{email},,1 Elm,Louisville,KY,40201,{country},,,,,,en,md5,x,,\n"

    path = tmp_path / "c.csv.gz"
    lines = [
        row("A", "a@shop.example"),
        row("B", "not an address"),
        row("", "c@shop.example"),
        row("A", "d@shop.example"),
        row("E", "e@shop.example", country="Atlantis"),
        row("F", "f@shop.example", name='"Ada ""the first"""'),
        row("G", "g@shop.example", name='"Ada'),
        row("H", "h@shop.example", name="4111 1111 1111 1111"),
        "I,too,few\n",
        row("J", "A@SHOP.example"),
        "\n",
    ]
    path.write_bytes(gzip.compress((header + "".join(lines)).encode() + b"K,\xff\xfe,x\n"))
    report = load(path)
    assert (report.read, report.accepted, report.rejected) == (11, 3, 8)
    reasons = {line: (field, reason) for line, field, reason in queries.rejects(Import.objects.get().pk)}
    assert set(reasons) == {3, 4, 5, 6, 8, 9, 10, 13}
    assert reasons[5] == ("customer_id", "the file names this customer before")
    assert "vault" in reasons[9][1]
    assert queries.by_email("f@shop.example") is not None
    assert queries.shared_mailboxes() == (1, 2)


def test_a_file_or_mapping_that_does_not_fit_changes_nothing(estate: Path, tmp_path: Path) -> None:
    bad = tmp_path / "m.toml"
    bad.write_text('format = "x"\nname = 3\nsurprise = 1\n[address.moon]\n')
    with pytest.raises(BadInput) as caught:
        actions.import_file(tmp_path / "none.csv", mapping=bad, at=AT, by="ada")
    assert {f.field for f in caught.value.faults} >= {"format", "name", "surprise", "address.moon", "external_id", "stores"}
    thin = tmp_path / "thin.csv"
    thin.write_text("customer_id,email,email\nA,a@shop.example,x\n")
    with pytest.raises(BadInput) as caught:
        load(thin)
    assert len(caught.value.faults) > 3
    assert Subject.objects.count() == 0
    assert Import.objects.count() == 0


def test_forgetting_takes_salt_name_and_address_and_leaves_the_counts(estate: Path, tmp_path: Path) -> None:
    made = generator.write(tmp_path, customers=20, seed=SEED, bad=0)
    load(made.customers_file)
    ids = list(Subject.objects.values_list("pk", flat=True))
    assert len(queries.salts(ids)) == 20
    assert actions.forget(ids[:5], incident=None, at=AT, by="ada") == 5
    assert actions.forget(ids[:6], incident=None, at=AT, by="ada") == 1
    assert len(queries.salts(ids)) == 14
    assert len(queries.contactables(ids)) == len(queries.postal(ids)) == 14
    assert sum(n for _, _, n in queries.cube()) == 20


HEADER = (
    "customer_id,first_name,last_name,email,phone,bill_street,bill_city,bill_region,bill_postcode,bill_country,"
    "ship_street,ship_city,ship_region,ship_postcode,ship_country,locale,password_format,password_hash,created,last_login\n"
)


def a_row(id: str, email: str, *, name: str = "Ada", region: str = "KY") -> str:
    return f"{id},{name},Byron,{email},,1 Elm,Louisville,{region},40201,US,,,,,,en,md5,x,,\n"


def test_who_is_said_nothing_new_about_is_left_alone_and_who_moved_is_not(estate: Path, tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    file.write_text(HEADER + a_row("A", "a@shop.example") + a_row("B", "b@shop.example"))
    load(file)
    before = {s.external_id: s for s in Subject.objects.all()}
    sealed = dict(Contact.objects.filter(kind="email").values_list("subject__external_id", "sealed"))
    file.write_text(HEADER + a_row("A", "a@shop.example") + a_row("B", "new@shop.example", region="CA") + a_row("C", "c@shop.example"))
    report = load(file)
    assert (report.read, report.accepted, report.updated) == (3, 3, 2)
    after = {s.external_id: s for s in Subject.objects.all()}
    assert bytes(after["A"].name_sealed or b"") == bytes(before["A"].name_sealed or b"")
    assert bytes(after["B"].name_sealed or b"") != bytes(before["B"].name_sealed or b"")
    assert (after["B"].jurisdiction, after["B"].pk) == ("US-CA", before["B"].pk)
    assert bytes(after["B"].salt or b"") == bytes(before["B"].salt or b"")  # the log's leaves still open
    assert (queries.by_email("b@shop.example"), queries.by_email("new@shop.example")) == (None, before["B"].pk)
    again = dict(Contact.objects.filter(kind="email").values_list("subject__external_id", "sealed"))
    assert bytes(again["A"]) == bytes(sealed["A"])
    # Another meaning of the same columns is something new about everybody.
    other = tmp_path / "m.toml"
    other.write_text(MAPPING.read_text().replace('password_hash = ["password_hash"]\n', ""))
    actions.import_file(file, mapping=other, at=AT, by="ada")
    assert not any("password_hash" in codes_of(p["customers"]) for p in (queries.profiles()[s.holding_id] for s in Subject.objects.all()))


def test_the_forgotten_come_back_only_with_a_file_that_names_them(estate: Path, tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    file.write_text(HEADER + a_row("A", "a@shop.example") + a_row("B", "b@shop.example"))
    load(file)
    a = queries.by_external_ids(["A", "nobody"])["A"]
    salt = queries.salts([a])[a]
    actions.forget([a], incident=None, at=AT, by="ada")
    assert queries.by_email("a@shop.example") is None
    load(file)
    assert queries.by_email("a@shop.example") == a
    assert queries.salts([a])[a] != salt  # what was said under the old one stays unreadable
    assert queries.external_ids([a]) == {a: "A"}


def test_rows_that_would_break_letters_memory_or_the_file(estate: Path, tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    long = "x" * 10_000_000
    rows = [
        a_row("A", "a@shop.example", name='"Ada\nBcc: x"'),
        a_row("B", "b@shop.example", name=long),
        a_row("C", "c@shop.example", name=f'"{long}'),
        a_row("D", "d@shop.example", name="x" * 2000),
        a_row("E", "e@shop.example", name="A\x07da"),
        a_row("F", "f@shop.example", name="A\u2028da"),
        a_row("G", "g@shop.example", name="Zo\u00eb\u00a0Anne"),
        a_row("H", "h@shop.example"),
    ]
    file.write_text(HEADER + "".join(rows))
    report = load(file)
    assert (report.read, report.accepted, report.rejected) == (8, 2, 6)
    reasons = {line: (field, reason) for line, field, reason in queries.rejects(Import.objects.get().pk)}
    assert set(reasons) == {2, 4, 5, 6, 7, 8}
    assert reasons[2][1] == reasons[7][1] == reasons[8][1] == "a line break or another control character"
    assert reasons[4][1].startswith("more than 65536 bytes")
    assert set(queries.by_external_ids(["G", "H"])) == {"G", "H"}


def test_a_file_cut_off_changes_nothing(estate: Path, tmp_path: Path) -> None:
    whole = gzip.compress((HEADER + "".join(a_row(f"C{i}", f"c{i}@shop.example") for i in range(200))).encode())
    for name, data in (("cut", whole[:-40]), ("bad", whole[:30] + b"\xff" * 20 + whole[50:]), ("no", b"plain text"), ("empty", b"")):
        file = tmp_path / f"{name}.csv.gz"
        file.write_bytes(data)
        with pytest.raises(BadInput):
            load(file)
    assert Subject.objects.count() == Import.objects.count() == 0
    file.write_bytes(whole)
    assert load(file).accepted == 200


def test_people_without_an_address_are_people(estate: Path, tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    file.write_text(HEADER + a_row("A", "") + a_row("B", "nonsense") + a_row("C", "c@shop.example"))
    assert load(file).accepted == 1
    kinder = tmp_path / "m.toml"
    kinder.write_text(MAPPING.read_text().replace('email = "email"\n', 'email = "email"\nemail_required = false\n', 1))
    report = actions.import_file(file, mapping=kinder, at=AT, by="ada")
    assert (report.accepted, report.updated, report.rejected) == (2, 1, 1)
    a = queries.by_external_ids(["A"])["A"]
    assert queries.contactables([a]) == []
    assert queries.postal([a])[0].address.reveal()["street"] == "1 Elm"
    held = queries.profiles()[Subject.objects.get(pk=a).holding_id]
    assert "email" not in codes_of(held["customers"])


def test_batches_do_not_show(estate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name given twice is found over batches, and progress is told after each."""
    monkeypatch.setattr(actions, "BATCH_ROWS", 7)
    file, told = tmp_path / "c.csv", []
    file.write_text(HEADER + "".join(a_row(f"C{i % 30}", f"c{i}@shop.example") for i in range(40)))
    report = actions.import_file(file, mapping=MAPPING, at=AT, by="ada", progress=told.append)
    assert (report.read, report.accepted, report.rejected) == (40, 30, 10)
    assert told == [7, 14, 21, 28, 35, 40]
    assert queries.count() == 30
    again = actions.import_file(file, mapping=MAPPING, at=AT, by="ada")
    assert (again.accepted, again.updated, again.rejected) == (30, 30, 10)
    assert [line for line, _, _ in queries.rejects(Import.objects.latest("pk").pk)] == list(range(32, 42))
