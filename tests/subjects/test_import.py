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
