"""Letters read back from their PDF by a program that is not ours, bundles counted to the last letter, and what happens when one comes back."""

from __future__ import annotations

import contextlib
import csv
import io
import subprocess
from pathlib import Path
from typing import Any

import pypdf
import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from tests.notices.office import Office
from tests.notices.test_mailing import DSN, closes, lanes, report, role, run
from tests.notices.world import AT, TEXTS, people, started
from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel import clock, config, schema
from tocsin.kernel.errors import BadInput, NotFound, Refused
from tocsin.mail import actions as mail
from tocsin.notices import actions, queries
from tocsin.notices.letters import address, body, bundles, number
from tocsin.notices.letters.setting import Setter, Sheet
from tocsin.notices.models import Batch, Bundle, BundledLetter, Letter, RecipientException, Substitute
from tocsin.notices.types import Retry
from tocsin.subjects import actions as subjects

MM = 72 / 25.4


# --- addresses, numbers, paragraphs: no database -------------------------------------------------------------------------------------


WRITTEN = (
    (("1 Main St\nApt 4", "Reno", "nevada", "89501", "US"), ["1 Main St", "Apt 4", "RENO, NV 89501"]),
    (("Marienplatz 1", "München", "Bayern", "80331", "de"), ["Marienplatz 1", "80331 MÜNCHEN", "GERMANY"]),
    (("1 rue de Rivoli", "Paris", "", "75001", "FR"), ["1 rue de Rivoli", "75001 PARIS", "FRANCE"]),
    (("10 Downing St", "London", "", "sw1a 1aa", "GB"), ["10 Downing St", "LONDON", "SW1A 1AA", "UNITED KINGDOM"]),
    (("Av. Paulista 1", "São Paulo", "SP", "01310-100", "BR"), ["Av. Paulista 1", "SÃO PAULO-SP", "01310-100", "BRAZIL"]),
)


@pytest.mark.parametrize(("cells", "lines"), WRITTEN)
def test_an_address_is_written_as_its_country_writes_it(cells: tuple[str, ...], lines: list[str]) -> None:
    given = dict(zip(("street", "city", "region", "postcode", "country"), cells, strict=True))
    found = address.addressed("Jo Sample", given, home="US")
    assert isinstance(found, address.Addressed)
    assert list(found.lines) == ["Jo Sample", *lines]
    assert found.layout == ("us" if found.country == "US" else "din")


def test_an_address_in_chinese_keeps_its_own_order() -> None:
    given = {"street": "建国门外大街1号", "city": "朝阳区", "region": "北京市", "postcode": "100020", "country": "CN"}
    found = address.addressed("王小明", given, home="US")
    assert isinstance(found, address.Addressed)
    assert found.lines == ("100020", "北京市朝阳区", "建国门外大街1号", "王小明", "CHINA")


def test_every_fault_of_an_address_is_named_and_none_is_quoted() -> None:
    found = address.addressed(" ", {"street": "", "city": "", "region": "XX-secret", "postcode": "1-secret", "country": "US"}, home="US")
    assert isinstance(found, list)
    assert {field for field, _ in found} == {"name", "street", "city", "region", "postcode"}
    assert "secret" not in str(found)
    for country in ("", "EU", "ZZ", "../zz", "Atlantis"):
        assert [f for f, _ in address.addressed("Jo", {"country": country}, home="US")] == ["country"]
    wide = address.addressed("Jo", {"street": "x" * 61, "city": "Köln", "postcode": "50667", "country": "DE"}, home="DE")
    high = address.addressed("Jo", {"street": "a\nb\nc\nd\ne", "city": "Köln", "postcode": "50667", "country": "DE"}, home="DE")
    assert isinstance(wide, list)
    assert isinstance(high, list)
    assert "61 characters" in wide[0][1]
    assert "7 lines" in high[0][1]


@given(letter=st.integers(1, 10**17), place=st.integers(0, 17), digit=st.integers(1, 9))
def test_a_mistyped_number_names_no_letter(letter: int, place: int, digit: int) -> None:
    shown = number.shown(letter)
    assert number.read(shown) == number.read(shown.lower().replace("-", " ")) == letter
    digits = str(letter)
    i = place % len(digits)
    wrong = digits[:i] + str((int(digits[i]) + digit) % 10) + digits[i + 1 :]
    assert number.read(f"L{wrong}-{shown[-1]}") is None
    assert number.read("C00001") is number.read("") is None


@given(lines=st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=20), max_size=12))
def test_paragraphs_lose_nothing_but_the_breaks_of_lines(lines: list[str]) -> None:
    text = "\n".join(lines)
    shown = "".join(("-" if p.get("mark") == "–" else p.get("mark", "")) + p["text"] for p in body.paragraphs(text, headings=()))
    squeezed = "".join(text.split()).replace("*", "").replace("•", "").replace("-", "").replace("–", "")
    assert "".join(shown.split()).replace("*", "").replace("•", "").replace("-", "").replace("–", "") == squeezed


# --- what is set is what was written --------------------------------------------------------------------------------------------------

HOSTILE = "Jo \"#eval(1)\" [b] $x^2$ *s* _e_ `c` @r <l> \\u{41} // c /*d*/ ~ -- --- 'q' #{panic()}"
SIX = {
    "en": "Dear {name}, we found a stranger in our systems.",
    "es": "Estimado {name}: encontramos a un extraño. ¿Qué hacer? ¡Cambie su contraseña!",
    "fr": "Cher {name}, une personne étrangère a accédé à nos systèmes. Où ? Là-bas, c’est sûr.",
    "de": "Guten Tag {name}, größere Übergriffe äußern sich früh.",
    "pt": "Prezado {name}, não há informação sobre a sua senha à disposição.",
    "zh": "尊敬的{name}：我们发现有陌生人进入了我们的系统。",
}


def sheet(n: int, *, name: str, text: str, lang: str = "en", pages: str = "Page {page} of {pages}") -> Sheet:
    lines = (name, "1 Main St", "RENO, NV 89501")
    return Sheet(
        number.shown(n),
        lang,
        pages,
        "November 24, 2026",
        lines,
        ("Case code: ABCDE-FGHJK",),
        "A subject",
        body.paragraphs(text, headings=()),
    )


def squeezed(text: str) -> str:
    return "".join(text.split())


@pytest.fixture(scope="module")
def setter() -> Setter:
    return Setter()


@pytest.mark.parametrize("layout", ["us", "din"])
def test_markup_in_data_is_set_as_it_is_and_stays_in_the_window(setter: Setter, layout: str) -> None:
    long = f"Dear {HOSTILE},\n\n" + "\n\n".join(f"Paragraph {i} #with *markup*." for i in range(60))
    made = setter.set(
        [sheet(1, name=HOSTILE[:50], text=long), sheet(2, name="Jo", text="Short.")],
        layout=layout,
        sender=["#Shop [x]"],
        date=AT,
        duplex=True,
    )
    assert made.spans == ((1, 2), (3, 3))
    pdf = pypdf.PdfReader(io.BytesIO(made.pdf))
    texts = [squeezed(p.extract_text()) for p in pdf.pages]
    assert squeezed(f"Dear {HOSTILE},") in texts[0]
    assert squeezed(HOSTILE[:50]) in texts[0]
    assert "#Shop[x]" in texts[0]
    assert all(f"Paragraph{i}#with*markup*." in texts[0] + texts[1] for i in range(60))
    assert ("Page1of2" in texts[0], "Page2of2" in texts[1], "Page1of1" in texts[2]) == (True, True, True)
    width, height = (float(v) for v in pdf.pages[0].mediabox[2:])
    assert (round(width), round(height)) == ((612, 792) if layout == "us" else (595, 842))

    # Where the lines of the address stand, from the top left, in millimetres.
    seen: list[tuple[float, float]] = []

    def visit(text: str, cm: list[float], tm: list[float], font: Any, size: Any) -> None:
        x, y = tm[4] * cm[0] + cm[4], tm[5] * cm[3] + cm[5]
        if text.strip() and any(squeezed(text) in squeezed(line) for line in ("1 Main St", "RENO, NV 89501")):
            seen.append((x / MM, (height - y) / MM))

    pdf.pages[2].extract_text(visitor_text=visit)
    assert seen
    left, top, right, bottom = (22.2, 50.8, 130.0, 80.4) if layout == "us" else (20.0, 62.7, 105.0, 90.0)
    assert all(left <= x <= right and top <= y <= bottom for x, y in seen), seen


def test_six_languages_are_set_with_every_character(setter: Setter) -> None:
    if setter.unshown({"尊"}):
        pytest.skip("no font for Chinese; apt install fonts-noto-cjk (or fonts-wqy-zenhei)")
    sheets = [sheet(i, name="王 Žižková", text=t.format(name="Jo"), lang=lang) for i, (lang, t) in enumerate(SIX.items(), 1)]
    made = setter.set(sheets, layout="din", sender=["Shop"], date=AT, duplex=False)
    pdf = pypdf.PdfReader(io.BytesIO(made.pdf))
    assert len(pdf.pages) == 6
    for page, text in zip(pdf.pages, SIX.values(), strict=True):
        assert squeezed(text.format(name="Jo")) in squeezed(page.extract_text())
        assert squeezed("王 Žižková") in squeezed(page.extract_text())
    again = Setter().set(sheets, layout="din", sender=["Shop"], date=AT, duplex=False)
    assert again.pdf == made.pdf
    assert setter.unshown({"a", "王", "\ue000"}) == {"\ue000"}


# --- bundles --------------------------------------------------------------------------------------------------------------------------

CUSTOMERS = [
    "customer_id",
    "name",
    "email",
    "email_2",
    "street",
    "city",
    "region",
    "postcode",
    "country",
    "s_street",
    "s_city",
    "s_region",
    "s_postcode",
]
MORE = """format = "tocsin-mapping/1"
external_id = "customer_id"
name = ["name"]
email = "email"
email_2 = "email_2"
email_required = false
[defaults]
country = "US"
locale = "en"
[address.billing]
street = ["street"]
city = "city"
region = "region"
postcode = "postcode"
country = "country"
[address.shipping]
street = ["s_street"]
city = "s_city"
region = "s_region"
postcode = "s_postcode"
[stores.customers]
name = ["name"]
email = ["email"]
"""
RENO = ("1 Main St", "Reno", "NV", "89501", "US")
BERLIN = ("Unter den Linden 1", "Berlin", "", "10117", "DE")
BAD = ("1 Main St", "", "XX", "1", "US")
NOWHERE = ("", "", "", "", "")


def customers(home: Path, rows: list[tuple[str, ...]]) -> None:
    """Read customers (id, name, email, second email, billing (5), shipping (4)) into the register."""
    (home / "more.toml").write_text(MORE)
    with (home / "more.csv").open("w", newline="") as file:
        csv.writer(file).writerows([CUSTOMERS, *[(*r, *[""] * (len(CUSTOMERS) - len(r))) for r in rows]])
    report = subjects.import_file(home / "more.csv", mapping=home / "more.toml", at=AT, by="ada")
    assert report.rejected == 0


def text_of(folder: Path, bundle: int) -> list[str]:
    return [squeezed(p.extract_text()) for p in pypdf.PdfReader(folder / f"bundle-{bundle:06}.pdf").pages]


def lettered(home: Path, office: Office, rows: list[tuple[str, ...]]) -> int:
    """Start a mailing to these customers, beside one who gets mail, and send it; return it."""
    customers(home, rows)
    mailing = started(home, people(["user1@gmail.example"], register=len(rows)))
    run(mailing)
    actions.keep(mailing, at=clock.now())
    return mailing


pg = pytest.mark.django_db(transaction=True)


@pg
def test_bundles_for_a_print_house(shop: Path, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    with (shop / "tocsin.toml").open("a") as file:
        file.write(
            '[letters]\nbundle = 3\nprice = 1.0\nprice_abroad = 2.5\nprice_sheet = 0.1\nsender = "Example Shop\\n1 Shop St\\nReno NV 89501"\n'
        )
    config.current.cache_clear()
    rows: list[tuple[str, ...]] = [(f"P{i:03}", f"Pat #Sample {i}", "", "", *RENO) for i in range(4)]
    rows += [
        ("P010", "Käthe Groß", "", "", *BERLIN),
        ("P011", "Lee Bad", "", "", *BAD),
        ("P012", "Mo Mended", "", "", *BAD, "2 Oak St", "Reno", "NV", "89501"),
    ]
    mailing = lettered(shop, office, rows)
    s = closes(mailing)
    assert (s.recipients, s.handed_over, s.letters, s.bounced) == (8, 1, 7, 0)

    guess = actions.letters_estimate(mailing, at=AT, by="ada")
    assert (guess.read, guess.written, guess.rejected, guess.countries, guess.dry_run) == (7, 6, 1, {"DE": 1, "US": 5}, True)
    assert Bundle.objects.count() == 0

    made = actions.letters(mailing, folder=shop / "print", at=AT, by="ada")
    assert (made.read, made.written, made.rejected, made.countries) == (7, 6, 1, {"DE": 1, "US": 5})
    assert (made.pages, made.sheets, made.price) == (guess.pages, guess.sheets, guess.price)
    assert made.price == pytest.approx(5 * 1.0 + 2.5 + (made.sheets - 6) * 0.1)
    s = closes(mailing)
    assert (s.letters, s.letters_printed, s.bounced, s.letters_rejected) == (6, 6, 1, 1)
    assert evidence.counts()[EventType.LETTER_PRINTED] == 6
    assert evidence.counts()[EventType.LETTERS_BUNDLED] == 3  # three and two to the US, one abroad
    assert evidence.counts()[EventType.LETTER_REJECTED] == 1
    actions.keep(mailing, at=clock.now())
    assert (queries.status(mailing).unreachable, queries.status(mailing).substitute) == (1, 0)

    # The print house checks the sums, and finds each letter on the pages that the list says.
    assert subprocess.run(["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=shop / "print", capture_output=True).returncode == 0
    assert sorted(p.name for p in (shop / "print").iterdir()) == sorted(
        ["SHA256SUMS", *(f"bundle-{b:06}.{ext}" for b in made.bundles for ext in ("csv", "pdf"))]
    )
    assert {oct(p.stat().st_mode & 0o777) for p in (shop / "print").iterdir()} == {"0o600"}
    found = {}
    for bundle in made.bundles:
        pages = text_of(shop / "print", bundle)
        listed = list(csv.DictReader((shop / "print" / f"bundle-{bundle:06}.csv").open()))
        assert "Sample" not in (shop / "print" / f"bundle-{bundle:06}.csv").read_text()
        for row in listed:
            first, last = int(row["first_page"]), int(row["last_page"])
            assert first % 2 == 1  # a sheet of its own
            assert row["letter_id"] in pages[first - 1]
            assert f"Page1of{row['pages']}" in pages[first - 1]
            found[row["letter_id"]] = (row["country"], "".join(pages[first - 1 : last]))
    assert len(found) == 6
    whole = "".join(t for _, t in found.values())
    for i in range(4):
        assert f"Pat#Sample{i}1MainStRENO,NV89501" in whole
    (abroad,) = [t for country, t in found.values() if country == "DE"]
    assert "KätheGroßUnterdenLinden110117BERLINGERMANY" in abroad
    assert "ExampleShop1ShopStRenoNV89501" in abroad
    assert "DearKätheGroß," in abroad
    assert "2OakSt" in whole
    code = abroad.split("Casecode:")[1][:11]
    assert queries.was_sent(code) is not None
    rejects = list(csv.DictReader((shop / "print.rejects.csv").open()))
    assert {(r["customer_number"], r["field"]) for r in rejects} == {("P011", f) for f in ("city", "region", "postcode")}

    # Asked again: nothing is printed twice. The same bundle again is the same bytes. A re-issue is a bundle of its own, and recorded.
    none = actions.letters(mailing, folder=shop / "none", at=AT, by="ada")
    assert (none.read, none.written, none.rejected, none.folder) == (1, 0, 1, None)
    assert not (shop / "none").exists()
    again = actions.letters(mailing, folder=shop / "again", at=clock.now(), by="bob", again=made.bundles)
    assert again.written == 6
    for file in (shop / "print").glob("bundle-*"):
        assert file.read_bytes() == (shop / "again" / file.name).read_bytes()
    assert evidence.counts()[EventType.LETTER_PRINTED] == 6
    one = next(iter(found))
    more = actions.letters(mailing, folder=shop / "more", at=clock.now(), by="bob", reissue=[one])
    assert (more.read, more.written) == (1, 1)
    assert [b.reissue for b in queries.letter_bundles(mailing)] == [True, False, False, False]
    assert evidence.counts()[EventType.LETTER_PRINTED] == 7
    with pytest.raises(BadInput) as wrong:
        actions.letters(mailing, folder=shop / "x", at=AT, by="bob", reissue=["L1-0", "nonsense"])
    assert len(wrong.value.faults) == 2
    with pytest.raises(BadInput, match="a new folder"):
        actions.letters(mailing, folder=shop / "print", at=AT, by="ada")
    with pytest.raises(NotFound):
        actions.letters(mailing, folder=shop / "x", at=AT, by="ada", again=[10**6])
    assert BundledLetter.objects.filter(reissue=False).count() == 6
    assert not list(shop.glob(".*.partial"))

    # An address that was mended goes out with the next export; a changed one cannot be made again.
    customers(shop, [("P011", "Lee Bad", "", "", *RENO), ("P010", "Käthe Groß", "", "", "Am Markt 2", "Berlin", "", "10117", "DE")])
    mended = actions.letters(mailing, folder=shop / "mended", at=clock.now(), by="ada")
    assert (mended.read, mended.written, mended.rejected) == (1, 1, 0)
    s = closes(mailing)
    assert (s.letters, s.bounced, s.letters_rejected) == (7, 0, 0)
    actions.keep(mailing, at=clock.now())
    assert queries.status(mailing).unreachable == 0
    with pytest.raises(Refused, match="another address"):
        actions.letters(mailing, folder=shop / "x", at=AT, by="ada", again=made.bundles)
    assert not (shop / "x").exists()
    with connection.cursor() as cursor:  # nothing personal in the log
        cursor.execute("SELECT count(*) FROM evidence_event WHERE convert_from(event, 'UTF8') ~ 'Main St|Sample|Linden'")
        assert cursor.fetchone()[0] == 0


@pg
def test_a_kill_between_any_two_steps_doubles_and_loses_nothing(shop: Path, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    mailing = lettered(shop, office, [(f"P{i:03}", f"Pat {i}", "", "", *RENO) for i in range(3)])

    class Killed(BaseException):
        pass

    def kill(*_: Any, **__: Any) -> Any:
        raise Killed

    for n, step in enumerate(("set", "_record", "_file", "finish")):
        with monkeypatch.context() as m:
            m.setattr(bundles.Press if step == "set" else bundles.Run, step, kill)
            with pytest.raises(Killed):
                actions.letters(mailing, folder=shop / f"k{n}", at=AT, by="ada")
        assert not (shop / f"k{n}").exists()
        assert not list(shop.glob(".*.partial"))
        assert closes(mailing).letters == 3
    made = actions.letters(mailing, folder=shop / "print", at=clock.now(), by="ada")
    assert (made.read, made.written) == (3, 3)
    assert evidence.counts()[EventType.LETTER_PRINTED] == 3
    assert Bundle.objects.get().made_at == AT  # the first attempt's bundle: its bytes, its date
    assert Letter.objects.exclude(exported_at=None).count() == 3
    assert actions.letters(mailing, folder=shop / "none", at=clock.now(), by="ada").read == 0


@pg
def test_a_bundle_that_cannot_be_made_again_lets_its_letters_go(shop: Path, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    mailing = lettered(shop, office, [("P000", "Pat", "", "", *RENO), ("P001", "Kim", "", "", *RENO)])
    with monkeypatch.context() as m:
        m.setattr(bundles.Run, "finish", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            actions.letters(mailing, folder=shop / "cut", at=AT, by="ada")
    customers(shop, [("P000", "Pat", "", "", "9 Elm St", "Reno", "NV", "89501", "US")])
    made = actions.letters(mailing, folder=shop / "print", at=clock.now(), by="ada")
    assert (made.read, made.written) == (2, 2)
    assert "9ElmSt" in "".join(text_of(shop / "print", made.bundles[0]))
    assert [e.body["dissolved"] for e in evidence.activity(types=[EventType.LETTERS_BUNDLED]) if "dissolved" in e.body] == [True]


@pg
def test_letters_that_come_back(shop: Path, office: Office) -> None:
    second = ("2 Oak St", "Reno", "NV", "89501")
    rows: list[tuple[str, ...]] = [("P000", "Pat", "", "", *RENO, *second), ("P001", "Kim", "", "", *RENO), ("P002", "Lou", "", "", *RENO)]
    mailing = lettered(shop, office, rows)
    actions.publish_site_notice(incident=queries.status(mailing).incident, template=TEXTS, at=AT, by="ada")
    actions.letters(mailing, folder=shop / "one", at=AT, by="ada")
    ids = {x.subject: number.shown(x.pk) for x in Letter.objects.all()}
    pat, kim, _ = (ids[s] for s in sorted(ids))
    file = shop / "returned.csv"
    file.write_text(
        f"Letter_ID,date,reason\n{pat},2026-02-01,moved\n{kim},2026-02-02,unknown\n{kim},2026-02-02,unknown\n"
        f"L99999-9,2027-13-01,gone\n=cmd,,\n{number.shown(10**6)},2026-02-01,moved\n{ids[max(ids)]},2025-12-31,moved\n"
    )
    report = actions.letters_returned(file, at=clock.now(), by="ada")
    assert (report.read, report.accepted, report.again, report.substitute, report.known, report.rejected) == (7, 3, 1, 1, 1, 4)
    assert report.rejects_file is not None
    bad = list(csv.DictReader(Path(report.rejects_file).read_text().splitlines()))
    assert [(r["line"], r["field"]) for r in bad] == [
        ("5", "date"), ("5", "letter_id"), ("5", "reason"), ("6", "date"), ("6", "letter_id"), ("6", "reason"), ("7", "letter_id"), ("8", "date")
    ]  # fmt: skip
    assert next(r for r in bad if r["line"] == "6" and r["field"] == "letter_id")["got"] == "'=cmd"
    s = closes(mailing)
    assert (s.letters, s.bounced, s.letters_returned, s.unreachable, s.substitute) == (2, 1, 1, 1, 1)
    assert evidence.counts()[EventType.LETTER_RETURNED] == 2
    assert evidence.counts()[EventType.SUBSTITUTE_NOTICE] == 1
    row = Substitute.objects.get()
    shown = queries.site_notice()
    assert shown is not None
    assert (row.why, bytes(row.site_sha256 or b"").hex()) == ("returned", shown.sha256)
    again = actions.letters_returned(file, at=clock.now(), by="ada")
    assert (again.known, again.again, again.rejected) == (3, 0, 4)

    made = actions.letters(mailing, folder=shop / "two", at=clock.now(), by="ada")
    assert (made.read, made.written) == (1, 1)
    assert "2OakStRENO" in text_of(shop / "two", made.bundles[0])[0]
    last = Letter.objects.get(attempt=2)
    file.write_text(f"letter_id,reason,date\n{number.shown(last.pk)},unclaimed,{clock.now().date()}\n")
    assert actions.letters_returned(file, at=clock.now(), by="ada").substitute == 1
    s = closes(mailing)
    assert (s.letters, s.bounced, s.unreachable, s.substitute) == (1, 2, 2, 2)
    assert queries.letters_by_reason(mailing) == {"moved": 1, "unclaimed": 1, "unknown": 1}
    with pytest.raises(BadInput) as wrong:
        file.write_text("letter,reason\n")
        actions.letters_returned(file, at=clock.now(), by="ada")
    assert len(wrong.value.faults) == 2


@pg
def test_letters_with_the_rights_of_the_command_line(shop: Path, office: Office) -> None:
    mailing = lettered(shop, office, [("P000", "Pat", "", "", *RENO), ("P001", "Kim", "", "", *BAD)])
    actions.publish_site_notice(incident=queries.status(mailing).incident, template=TEXTS, at=AT, by="ada")
    with connection.cursor() as cursor:
        cursor.execute((schema.SRC / "kernel" / "roles.sql").read_text())
        for file in sorted(schema.SRC.glob("*/sql/grants.sql")):
            cursor.execute(file.read_text())
    with role("tocsin_operator"):
        assert actions.letters(mailing, folder=shop / "print", at=AT, by="ada").written == 1
        back = number.shown(Letter.objects.get(state="bundled").pk)
        (shop / "back.csv").write_text(f"letter_id,reason,date\n{back},moved,2026-02-01\n")
        assert actions.letters_returned(shop / "back.csv", at=clock.now(), by="ada").accepted == 1
    with role("tocsin_worker"):
        actions.keep(mailing, at=clock.now())
    with role("tocsin_console"):
        assert queries.status(mailing).substitute == 2
        assert len(queries.letter_bundles(mailing)) == 1
        assert queries.letters_by_reason(mailing) == {"moved": 1}


# --- the next known address -----------------------------------------------------------------------------------------------------------


@pg
def test_a_further_address_then_a_letter_then_the_site(shop: Path, office: Office) -> None:
    rows: list[tuple[str, ...]] = [
        ("P000", "Pat", "unknown1@gmail.example", "pat@yahoo.example"),  # told at the second address
        ("P001", "Kim", "unknown2@gmail.example", "unknown3@yahoo.example", *RENO),  # both dead: a letter
        ("P002", "Lou", "unknown4@gmail.example", "unknown5@yahoo.example"),  # and nothing else: the site
        ("P003", "Max", "", "max@yahoo.example"),  # a second address alone is the first
    ]
    customers(shop, rows)
    mailing = started(shop, people(["user1@gmail.example"], register=len(rows)))
    incident = queries.status(mailing).incident
    for _ in range(4):
        run(mailing)
        actions.keep(mailing, at=clock.now())
        closes(mailing)
    s = closes(mailing)
    assert (s.recipients, s.handed_over, s.letters, s.bounced, s.unreachable, s.substitute) == (5, 3, 1, 1, 1, 0)
    assert s.state == "ended"
    assert sorted(office.addresses) == ["max@yahoo.example", "pat@yahoo.example", "user1@gmail.example"]
    assert len({t.message_id for t in office.taken}) == 3
    assert evidence.counts()[EventType.NEXT_ADDRESS_TAKEN] == 3
    assert evidence.counts()[EventType.LETTER_QUEUED] == 1
    actions.publish_site_notice(incident=incident, template=TEXTS, at=AT, by="ada")
    actions.keep(mailing, at=clock.now())
    assert closes(mailing).substitute == 1
    assert evidence.counts()[EventType.SUBSTITUTE_NOTICE] == 1

    # A late report about the first address says nothing of the second; one about the second opens the ended mailing for nobody else.
    told = RecipientException.objects.get(state="told")
    report(mail.verp(told.batch_id, told.place))
    assert actions.take_bounces(at=clock.now()) == 0
    sender = next(t.sender for t in office.taken if t.to == "pat@yahoo.example")
    report(sender)
    assert actions.take_bounces(at=clock.now()) == 1
    actions.keep(mailing, at=clock.now())
    s = closes(mailing)
    assert (s.handed_over, s.bounced, s.unreachable) == (2, 2, 2)


ARF = """From: loop@post.example
To: x
Subject: complaint
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary=b

--b
Content-Type: text/plain

unwanted
--b
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: x/1
Version: 1
Original-Mail-From: <{}>

--b
Content-Type: text/rfc822-headers

Subject: hello

--b--
"""


@pg
def test_a_full_mailbox_is_tried_for_days_and_machines_answers_change_nothing(shop: Path, office: Office) -> None:
    mailing = started(
        shop, people([f"user{i}@gmail.example" for i in range(3)], postal=range(3)), retry=Retry(first_s=0.001, tries_max=3, soft_days=3.0)
    )
    run(mailing)
    actions.keep(mailing, at=clock.now())
    assert closes(mailing).state == "ended"
    block = Batch.objects.get(mailing=mailing)
    waits = []
    for n in range(1, 6):
        raw = DSN.format(to="x", action="failed", status="5.2.2").replace(
            "no such user", f"mailbox full, report {n}"
        )  # each is a mail of its own
        mail.take_in(raw.replace("\n", "\r\n").encode(), envelope_from="", envelope_to=(mail.verp(block.pk, 0),), at=clock.now())
        now = clock.now()
        assert actions.take_bounces(at=now) == 1
        s = closes(mailing)
        if n < 5:
            row = RecipientException.objects.get(place=0)
            assert (s.deferred, s.bounced, s.state, row.state) == (1, 0, "sending", "deferred")
            assert row.next_at is not None
            waits.append((row.next_at - now).total_seconds() / 3600)
            Batch.objects.update(lease_until=AT)
            assert actions.send_next(mailing, lanes(mailing)[0], at=row.next_at) == 1
        else:
            assert (s.deferred, s.bounced) == (0, 1)
    assert waits == pytest.approx([6, 12, 24, 24])
    assert evidence.counts()[EventType.NOTICE_PUT_OFF] == 4
    assert evidence.counts()[EventType.NOTICE_FAILED] == 1
    actions.keep(mailing, at=clock.now())
    s = closes(mailing)
    assert (s.letters, s.state) == (1, "ended")

    # A complaint, to the bounce address or elsewhere with our address in what it quotes; an absence; a forged one.
    arf = ARF.replace("\n", "\r\n")
    away = "From: a@post.example\r\nTo: x\r\nSubject: Out of office: hello\r\nAuto-Submitted: auto-replied\r\n\r\nBack on Monday.\r\n"
    good = mail.verp(block.pk, 1)
    forged = good.replace(f"b+{block.pk}.1.", f"b+{block.pk}.2.")
    abuse = f"abuse@{config.current().company.domain}"
    for to, quoted in ((abuse, good), (abuse, forged), (good, good)):
        mail.take_in(
            arf.format(quoted).replace("complaint", f"complaint {to} {quoted}").encode(),
            envelope_from="",
            envelope_to=(to,),
            at=clock.now(),
        )
    mail.take_in(away.encode(), envelope_from="", envelope_to=(mail.verp(block.pk, 2),), at=clock.now())
    before = closes(mailing)
    assert actions.take_bounces(at=clock.now()) == 0
    after = closes(mailing)
    assert (after.handed_over, after.bounced, after.letters) == (before.handed_over, before.bounced, before.letters)
    assert (after.complaints, after.auto_replies) == (2, 1)
    assert evidence.counts()[EventType.COMPLAINT_RECEIVED] == 2


@pg
def test_a_further_address_is_checked_like_the_first(shop: Path) -> None:
    (shop / "more.toml").write_text(MORE)
    with contextlib.closing((shop / "more.csv").open("w", newline="")) as file:
        rows = [("A1", "A", "a@x.example", "a at x"), ("A2", "B", "b@x.example", "B@x.example"), ("A3", "C", "", "")]
        csv.writer(file).writerows([CUSTOMERS, *[(*r, *[""] * (len(CUSTOMERS) - len(r))) for r in rows]])
    report = subjects.import_file(shop / "more.csv", mapping=shop / "more.toml", at=AT, by="ada")
    assert (report.read, report.accepted, report.rejected) == (3, 2, 1)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM subjects_contact WHERE kind = 'email'")
        assert cursor.fetchone()[0] == 1  # the same mailbox twice is one address
    (shop / "gap.toml").write_text(MORE.replace('email = "email"\nemail_2 = "email_2"', 'email = "email"\nemail_3 = "email_2"'))
    with pytest.raises(BadInput, match="without a gap"):
        subjects.import_file(shop / "more.csv", mapping=shop / "gap.toml", at=AT, by="ada")
