"""The words of a notice: MJML and layout, languages with their reviewers, previews, test mails, one notice per mailbox."""

from __future__ import annotations

import csv
import dataclasses
import email
import email.policy
import itertools
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import NamedTuple

import dkim
import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st
from mjml import mjml2html

from tests.notices.office import Office, Taken
from tests.notices.world import AT, MAPPING, NOW, TEXTS, sign, team
from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.incidents import actions as incidents
from tocsin.incidents.types import Declaration
from tocsin.inventory import actions as inventory
from tocsin.kernel import clock, config
from tocsin.kernel.errors import BadInput, NotFound, Refused
from tocsin.kernel.private import Private
from tocsin.mail import actions as mail
from tocsin.mail import queries as mail_now
from tocsin.notices import actions, frozen, queries, rehearsal
from tocsin.notices.models import Lane, Mailing, Review, Variant
from tocsin.notices.text import folder, gates, languages, layout, mjml
from tocsin.notices.types import NoticeTexts, VariantTexts
from tocsin.staff import actions as staff
from tocsin.subjects import actions as subjects

WORDS = Path(__file__).parent / "words"
ADDRESSES = {"company": "Example Shop", "brand": "Example", "site": "shop.example", "help_address": "help@shop.example"}


class Person(NamedTuple):
    """A row of the customers' file."""

    email: str
    locale: str = ""
    country: str = "US"
    region: str = "NV"
    phone: str = ""


def register(people: Sequence[Person]) -> int:
    """Register people with their languages, and an incident that exposes them all; return it."""
    home = config.current().home
    team()
    staff.add_operator(name="carmen", roles=["observer"], at=AT, by="owner")
    mapping = MAPPING.replace('locale = "en"', 'locale = "und"').replace(
        'email = "email"\n', 'email = "email"\nphone = "phone"\nlocale = "locale"\n', 1
    )
    (home / "map.toml").write_text(mapping.rstrip() + '\nphone = ["phone"]\n')
    with (home / "people.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["customer_id", "name", "email", "phone", "locale", "street", "city", "region", "postcode", "country"])
        for i, p in enumerate(people):
            table.writerow([f"C{i:05}", f"Jo Sample {i}", p.email, p.phone, p.locale, "1 Main St", "Town", p.region, "89501", p.country])
    report = subjects.import_file(home / "people.csv", mapping=home / "map.toml", at=AT, by="ada")
    assert (report.accepted, report.rejected) == (len(people), 0)
    inventory.load_map([TEXTS / "datamap.yaml"], at=AT, by="ada")
    declared = Declaration(name="Kentucky server", cause="a stranger came in through a server", hosts=("web_ky",))
    with pytest.raises(Refused) as asked:
        incidents.declare(declared, approval=None, at=AT, by="ada")
    assert asked.value.approval is not None
    sign(home, asked.value.approval, "ada", "bob")
    incident = incidents.declare(declared, approval=asked.value.approval, at=AT, by="ada")
    assert incidents.scope(incident, at=AT, by="ada").people == len(people)
    return incident


def reviewed(home: Path, notice: int, *locales: str) -> None:
    """Have carmen sign these translations."""
    for locale in locales:
        with pytest.raises(Refused) as asked:
            actions.review(notice, locale=locale, reviewer="carmen", approval=None, at=AT, by="ada")
        assert asked.value.approval is not None
        sign(home, asked.value.approval, "carmen")
        actions.review(notice, locale=locale, reviewer="carmen", approval=asked.value.approval, at=AT, by="ada")


def started(home: Path, notice: int) -> int:
    with pytest.raises(Refused) as asked:
        actions.start(notice, approval=None, at=AT, by="ada", retry=NOW)
    assert asked.value.approval is not None
    sign(home, asked.value.approval, "ada", "bob")
    return actions.start(notice, approval=asked.value.approval, at=AT, by="ada", retry=NOW)


def run(mailing: int) -> None:
    lanes = list(Lane.objects.filter(mailing=mailing).exclude(provider="letter").values_list("pk", flat=True))
    while sum(actions.send_next(mailing, lane, at=clock.now()) for lane in lanes):
        continue


def read(taken: Taken) -> EmailMessage:
    message = email.message_from_bytes(taken.raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert [d for part in message.walk() for d in part.defects] == []
    return message


def words(taken: Taken) -> str:
    return " ".join(read(taken).get_body(("plain",)).get_content().split())  # type: ignore[union-attr]


# --- MJML and layout ---


def test_every_fault_of_an_mjml_source_is_named_with_its_line() -> None:
    source = """<mjml>
<mj-head><mj-font name="Inter" href="https://fonts.example/inter" />
<mj-style>.x { background: url(https://far.example/x.png) }</mj-style>
<mj-preview>hidden</mj-preview></mj-head>
<mj-body>a stray word
<mj-section><mj-column>
<mj-text colour="red">Dear {{name}} <a href="https://x.example">here</a></mj-txt>
<mj-image src="https://far.example/pixel.gif" />
<mj-tetx>lost</mj-tetx>
</mj-column></mj-section>
<p>lost too</p>
<mj-button href="x">Go</mj-button>
</mj-body>
"""
    with pytest.raises(BadInput) as wrong:
        mjml.to_html(source, locale="en")
    faults = wrong.value.faults
    assert all(f.line for f in faults)
    expected = {
        2: "<mj-font>", 3: "url(", 4: "<mj-preview>", 5: "a stray word", 8: "<mj-image>", 9: "<mj-tetx>", 11: "<p> in <mj-body>",
        12: "<mj-button>", 1: "<mjml> without its end",
    }  # fmt: skip
    for line, got in expected.items():
        assert any(f.line == line and got in f.got for f in faults), (line, got)
    assert {f.got for f in faults if f.line == 7} == {"<mj-text colour>", "<a>", "</mj-txt>", "<mj-text> without its end"}
    assert [f.line for f in faults] == sorted(f.line or 0 for f in faults)
    # The compiler by itself says nothing of these.
    for quiet in (
        "<mj-tetx>x</mj-tetx>",
        "<mj-text colour='red'>x</mj-txt>",
        "<mj-text>x</mj-text><mj-image src='https://far.example/x' />",
    ):
        assert "x" in mjml2html(f"<mjml><mj-body><mj-section><mj-column>{quiet}</mj-column></mj-section></mj-body></mjml>")


def test_mjml_becomes_a_page_that_fetches_nothing_and_says_the_same_as_its_text() -> None:
    page = mjml.to_html((WORDS / "es.mjml").read_text(), locale="es")
    for banned in ("<!--", "http", "url(", "@import", "<link", "<img", "xmlns", "mso-"):
        assert banned not in page
    assert page.startswith('<!doctype html>\n<html lang="es">')
    assert {"{{name}}", "{{case_code}}", "{{elements}}"} <= {f"{{{{{s}}}}}" for s in gates.SLOT.findall(page)}
    text = mjml.to_text(page)
    assert "Qué ha pasado\n\nEl {{fact:discovered_on}}" in text
    assert "1. Escriba {{site}} en la barra de direcciones.\n2. Elija" in text
    assert max(map(len, text.splitlines())) <= mjml.TEXT_WIDTH


def composed() -> list[VariantTexts]:
    """The notice of this folder as it is stored, its company and facts filled in."""
    texts = folder.read_notice(WORDS)

    def fill(v: VariantTexts, part: str) -> str:
        code = languages.language(v.locale)
        values = {
            **ADDRESSES,
            "fact:discovered_on": "January 15, 2026",
            "fact:doors": texts.facts.get(f"doors.{code}", texts.facts["doors"]),
        }
        return gates.SLOT.sub(lambda m: values.get(m[1], m[0]), part)

    english, spanish, french = texts.variants
    page = mjml.to_html(spanish.mjml, locale="es")
    made = [
        dataclasses.replace(english, html=layout.to_html(english.text, headings=english.blocks, locale="en")),
        dataclasses.replace(spanish, html=page, text=mjml.to_text(page)),
        french,
    ]
    return [
        dataclasses.replace(v, subject=fill(v, v.subject), text=fill(v, v.text), html=fill(v, v.html))
        for v in languages.with_heads(made, defaults=texts.languages)
    ]


def test_the_three_ways_to_write_a_notice_pass_the_gates() -> None:
    made = composed()
    assert [v.key for v in made] == ["default", "default.es", "default.fr", "default.any", "default.fr.any"]
    for v in made:
        assert [f for f in gates.check(v, hosts={"shop.example"}) if f.hard] == [], v.key
    english, _, french, headed, headed_fr = made
    assert 'role="presentation"' in english.html
    assert "prefers-color-scheme: dark" in english.html
    assert french.html == headed_fr.html == ""
    line = headed.text.splitlines()[0]
    assert line == "Read this in English · Lea esto en español · Lisez ceci en français: shop.example/notice"
    assert headed.html.index("Lisez ceci") < headed.html.index("<h1>")
    assert '<span lang="es">Lea esto' in headed.html
    assert headed.text.endswith(english.text)


def test_hidden_words_close_the_gate_whatever_hides_them() -> None:
    v = composed()[0]
    for spoiled in (
        v.html.replace("<h1>", '<div style="font-size:0px">Pay here</div><h1>'),
        v.html.replace("<h1>", '<div style="opacity:0">Pay here</div><h1>'),
        v.html.replace("</style>", ".x{display:none}</style>"),
        v.html.replace("</style>", "@import 'https://far.example/x.css';</style>"),
        v.html.replace("<table", "<table><tr><td>x</td></tr></table><table", 1),
        v.html.replace("<td", '<td background="https://far.example/x.png"', 1),
    ):
        assert spoiled != v.html
        assert "html" in {f.gate for f in gates.check(dataclasses.replace(v, html=spoiled), hosts={"shop.example"}) if f.hard}


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=60)


@settings(max_examples=40, deadline=None)
@given(st.lists(TEXT, max_size=12))
def test_the_layout_says_what_the_text_says_whatever_it_is(lines: list[str]) -> None:
    text = "Notice\n\n" + "\n\n".join(line.replace("{", "").replace("}", "") for line in lines)
    page = layout.to_html(text, headings=("What Happened",), locale="en")
    v = VariantTexts(key="k", subject="s", text=text, html=page)
    found = {f.gate for f in gates.check(v, hosts=(), required=(), slots=(), slots_required=()) if f.hard}
    assert not found & {"same_words", "html"}


# --- languages ---


def three() -> list[languages.Words]:
    return [
        languages.Words(1, "default", "en", (), "", False),
        languages.Words(2, "default.es", "es", (), "default", False),
        languages.Words(3, "default.pt-BR", "pt-BR", (), "default", False),
        languages.Words(4, "qc", "fr-CA", ("CA-QC",), "", False),
        languages.Words(5, "qc.en", "en", ("CA-QC",), "qc", False),
        languages.Words(6, "default.any", "en", (), "", True),
        languages.Words(7, "default.es.any", "es", (), "default", True),
        languages.Words(8, "qc.any", "fr-CA", ("CA-QC",), "", True),
    ]


@pytest.mark.parametrize(
    ("jurisdiction", "locale", "variant"),
    [
        ("US-NV", "en", 1), ("US-NV", "EN_us", 1), ("US-NV", "es-US", 2), ("US-NV", "pt", 3), ("US-NV", "pt_BR", 3), ("US-NV", "ko", 6),
        ("US-NV", "", 6), ("US-NV", "und", 6), ("PR", "", 7), ("PR", "en", 1), ("CA-QC", "", 8), ("CA-QC", "fr", 4), ("CA-QC", "en-CA", 5),
        ("CA-QC", "es", 8), ("ES-MD", "", 7),
    ],
)  # fmt: skip
def test_who_reads_which_language(jurisdiction: str, locale: str, variant: int) -> None:
    found = languages.choices(three(), ["US-NV", "PR", "CA-QC", "ES-MD"], defaults={"PR": "es", "ES": "es", "CA-QC": "fr"})
    choice, why = languages.choose(found, jurisdiction=jurisdiction, locale=locale)
    assert choice.variant == variant
    assert choice.text == (4 if jurisdiction == "CA-QC" else 1)
    assert ("default" in why) == (variant in (6, 7, 8))


def test_faults_of_languages_are_all_named(shop: Path) -> None:
    incident = register([Person("a@gmail.example")])
    v = VariantTexts(key="default", subject="s", text="t", html="")
    texts = NoticeTexts(
        variants=(
            v,
            dataclasses.replace(v, key="default.en", translation_of="default"),
            dataclasses.replace(v, key="x y", locale="klingon!", translation_of="default"),
            dataclasses.replace(v, key="m", locale="es", mjml="<mjml>\n<mj-image/>", translation_of="default"),
            dataclasses.replace(v, key="f", locale="fr", layout="pretty", text="{{fact:nobody}}", translation_of="default"),
        ),
        languages={"DE": "de"},
    )
    with pytest.raises(BadInput) as wrong:
        actions.draft(incident=incident, template=texts, at=AT, by="ada")
    assert {f.field for f in wrong.value.faults} == {
        "default.en.locale",
        "x y.locale",
        "key",
        "m.mjml",
        "f.layout",
        "f.text",
        "languages.DE",
    }
    assert {f.line for f in wrong.value.faults if f.field == "m.mjml"} == {1, 2}


def people_of_many_tongues() -> list[Person]:
    locales = itertools.cycle(["en", "es-US", "fr", "", "ko", "ES"])
    there = itertools.cycle([("US", "NV"), ("CA", "QC"), ("US", "CA"), ("CA", "QC"), ("US", "MA")])
    return [Person(f"user{i}@{('gmail', 'yahoo')[i % 2]}.example", next(locales), *next(there)) for i in range(240)]


def test_each_reader_gets_their_language_and_only_under_a_reviewers_signature(shop: Path, office: Office) -> None:
    people = [*people_of_many_tongues(), Person("user0@gmail.example", "es"), Person("twins@gmail.example", "", "CA", "QC"),
              Person("twins@gmail.example", "es", "CA", "QC", phone="+1 502 555 0100")]  # fmt: skip
    incident = register(people)
    notice = actions.draft(incident=incident, template=WORDS, at=AT, by="ada")
    assert [f for f in actions.check(notice) if f.hard] == []

    # Nobody has signed the translations: the start says so, the dry run counts all the same.
    with pytest.raises(Refused, match="translation into es, fr"):
        actions.start(notice, approval=None, at=AT, by="ada")
    counts = queries.start_counts(notice)
    assert (counts.people, counts.recipients, counts.merged, counts.hard_findings) == (243, 241, 2, 0)
    assert [x.locale for x in counts.languages if not x.releasable] == ["es", "fr"]
    with pytest.raises(Refused, match="drafted notice"):
        actions.review(notice, locale="es", reviewer="ada", approval=None, at=AT, by="ada")
    with pytest.raises(Refused, match="own language"):
        actions.review(notice, locale="en", reviewer="carmen", approval=None, at=AT, by="ada")
    with pytest.raises(NotFound):
        actions.review(notice, locale="de", reviewer="carmen", approval=None, at=AT, by="ada")
    with pytest.raises(Refused) as asked:
        actions.review(notice, locale="es", reviewer="carmen", approval=None, at=AT, by="ada")
    assert [x.waiting for x in queries.languages(notice)] == [None, asked.value.approval, None]
    assert asked.value.approval is not None
    sign(shop, asked.value.approval, "bob")  # a signature, but not the reviewer's
    with pytest.raises(Refused, match="signed by bob, not by carmen"):
        actions.review(notice, locale="es", reviewer="carmen", approval=asked.value.approval, at=AT, by="ada")
    spanish = queries.languages(notice)[1]
    forged = {"incident": incident, "locale": "es", "sha256": spanish.sha256, "reviewed_at": AT}
    row = Review.objects.create(reviewer="carmen", approval=asked.value.approval, **forged)  # a row over a signature of somebody else
    assert not queries.languages(notice)[1].releasable
    row.delete()
    sign(shop, asked.value.approval, "carmen")
    actions.review(notice, locale="es", reviewer="carmen", approval=asked.value.approval, at=AT, by="ada")
    with pytest.raises(Refused, match="translation into fr"):
        actions.start(notice, approval=None, at=AT, by="ada")
    reviewed(shop, notice, "fr")
    assert [x.reviewed_by for x in queries.languages(notice)] == [None, "carmen", "carmen"]
    assert len(evidence.activity(types=[EventType.TRANSLATION_REVIEWED])) == 2

    # A row that nobody signed does not count.
    Review.objects.filter(locale="fr").delete()
    Review.objects.create(
        incident=incident, locale="fr", sha256=queries.languages(notice)[2].sha256, reviewer="carmen", approval=999_999, reviewed_at=AT
    )
    with pytest.raises(Refused, match="translation into fr"):
        actions.start(notice, approval=None, at=AT, by="ada")
    reviewed(shop, notice, "fr")

    # A new draft with the same words keeps the reviews; one changed word loses its language's, and no other's.
    again = actions.draft(incident=incident, template=WORDS, at=AT, by="bob")
    assert [x.releasable for x in queries.languages(again)] == [True, True, True]
    texts = folder.read_notice(WORDS)
    changed = tuple(dataclasses.replace(v, text=v.text.replace("police", "Police")) if v.locale == "fr" else v for v in texts.variants)
    other = actions.draft(incident=incident, template=dataclasses.replace(texts, variants=changed), at=AT, by="bob")
    assert [(x.locale, x.releasable) for x in queries.languages(other)] == [("en", True), ("es", True), ("fr", False)]

    mailing = started(shop, notice)
    manifest = Mailing.objects.get(pk=mailing).manifest
    digests = {v.key: bytes(v.template_sha256).hex() for v in Variant.objects.filter(notice=notice)}
    assert manifest["languages"] == {
        "en": {k: digests[k] for k in ("default", "default.any")},
        "es": {"default.es": digests["default.es"]},
        "fr": {k: digests[k] for k in ("default.fr", "default.fr.any")},
    }
    assert {k: v[0] for k, v in manifest["reviews"].items()} == {"es": "carmen", "fr": "carmen"}
    with pytest.raises(Refused, match="a further mailing needs a new draft"):
        actions.start(notice, approval=None, at=AT, by="ada")

    # What freezes in SQL is what `choose` says of each one; the dry run counted it.
    choices = frozen.choices_of(notice, exposure=manifest["exposure"])
    keys = dict(Variant.objects.filter(notice=notice).values_list("pk", "key"))
    there = {("US", "NV"): "US-NV", ("CA", "QC"): "CA-QC", ("US", "CA"): "US-CA", ("US", "MA"): "US-MA"}
    expected = {
        p.email: keys[languages.choose(choices, jurisdiction=there[p.country, p.region], locale=p.locale)[0].variant] for p in people[:240]
    }
    expected["twins@gmail.example"] = "default.es"  # of two accounts, one says which language it reads
    run(mailing)
    assert len(office.taken) == 241 == queries.status(mailing).handed_over
    heads = {
        "default": "Notice of Data",
        "default.es": "Aviso de",
        "default.fr": "Avis de",
        "default.any": "Read this in",
        "default.fr.any": "Read this in",
    }
    for taken in office.taken:
        text = words(taken)
        assert text.startswith(heads[expected[taken.to]]), (taken.to, text[:40])
        if expected[taken.to] == "default.fr.any":
            assert "Bonjour Jo Sample" in text
            assert [p.get_content_type() for p in read(taken).walk()] == ["text/plain"]
    assert counts.by_variant == Counter(expected.values())
    read_in = {"default": "en", "default.any": "en", "default.es": "es", "default.fr": "fr", "default.fr.any": "fr"}
    assert counts.by_language == Counter(read_in[k] for k in expected.values())
    assert counts.by_provider == Counter(f"{e.split('@')[1].split('.')[0]}.com" for e in expected)

    # One notice per mailbox: both numbers, what was reached of either of the accounts, in the notice's language.
    twins = words(next(t for t in office.taken if t.to == "twins@gmail.example"))
    assert "C00242, C00241" in twins or "C00241, C00242" in twins
    assert "tu nombre, tu dirección de correo electrónico" in twins
    assert "tu número de teléfono" in twins
    alone = words(next(t for t in office.taken if t.to == "user1@yahoo.example"))
    assert "teléfono" not in alone
    assert evidence.counts()[EventType.NOTICE_HANDED_OVER] == 243


def test_a_signed_multilingual_mail_verifies_and_a_changed_text_is_not_sent(shop: Path, office: Office) -> None:
    incident = register([Person(f"user{i}@gmail.example", ("en", "es", "fr", "")[i % 4]) for i in range(40)])
    notice = actions.draft(incident=incident, template=WORDS, at=AT, by="ada")
    reviewed(shop, notice, "es", "fr")
    mailing = started(shop, notice)
    Variant.objects.filter(notice=notice, key="default.es").update(subject="Mande dinero")
    with pytest.raises(Refused):
        run(mailing)
    assert office.taken == []
    assert queries.status(mailing).state == "stopped"


# --- previews and test mails ---


def test_previews_show_cohorts_and_people_masked_and_leave_a_trace(shop: Path) -> None:
    incident = register([Person("a@gmail.example", "es-MX"), Person("b@gmail.example", "", "CA", "QC")])
    notice = actions.draft(incident=incident, template=WORDS, at=AT, by="ada")
    assert [p.variant for p in queries.preview(notice)] == ["default", "default.es", "default.fr", "default.any", "default.fr.any"]
    assert queries.preview_cohort(notice, jurisdiction="US-NV", locale="es").variant == "default.es"
    somewhere = queries.preview_cohort(notice, jurisdiction="CA-QC", locale="", elements=["ssn"])
    assert (somewhere.variant, "no language is known" in somewhere.why) == ("default.fr.any", True)
    assert "numéro de sécurité sociale" in somewhere.text.lower()
    assert "{{" not in somewhere.text + somewhere.html

    seen = actions.preview_person(notice, external_id="C00000", reveal=False, at=AT, by="dora")
    assert (seen.variant, "es-MX" in seen.why) == ("default.es", True)
    assert "Hola, J• S•••••" in seen.text
    assert "Jo Sample" not in seen.text + seen.html
    assert "C00000" not in seen.text + seen.html
    assert "••••00" in seen.text
    assert "Jo Sample 0" in actions.preview_person(notice, external_id="C00000", reveal=True, at=AT, by="dora").text
    reads = evidence.activity(types=[EventType.PERSONAL_DATA_READ])
    assert [(e.actor, e.body["masked"]) for e in reads] == [("dora", True), ("dora", False)]
    with pytest.raises(NotFound):
        actions.preview_person(notice, external_id="C99999", reveal=False, at=AT, by="dora")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("Jo Sample", "J• S•••••"),
        ("C00017", "••••17"),
        ("李小龙", "李••"),
        ("7", "7"),
        ("O'Neil", "O'N•••"),
        ("Jo Sample 123", "J• S••••• •23"),
    ],
)
def test_masks_keep_the_shape_alone(value: str, shown: str) -> None:
    assert rehearsal.masked(value) == shown


def test_test_mails_go_the_way_of_single_mails_marked_and_counted_apart(shop: Path, office: Office) -> None:
    incident = register([Person("a@gmail.example")])
    notice = actions.draft(incident=incident, template=WORDS, at=AT, by="ada")
    with pytest.raises(BadInput) as wrong:
        actions.send_test(notice, to=["no address", "team@seed.example", "x@"], variants=["default", "klingon"], at=AT, by="ada")
    assert {f.field for f in wrong.value.faults} == {"to[0]", "to[2]", "variant"}
    assert queries.tests(notice) == []

    sent = actions.send_test(
        notice, to=["team@seed.example", "unknown1@seed.example"], variants=["es", "default.fr"], at=clock.now(), by="ada"
    )
    assert [(t.variant, t.state) for t in sent] == [("default.es", "waiting")] * 2 + [("default.fr", "waiting")] * 2
    transport = mail.transport()
    for t in sent:
        mail.send_single(rehearsal.TestMail.objects.get(pk=t.id).outbound, at=clock.now(), transport=transport)
    assert Counter(t.state for t in queries.tests(notice)) == {"sent": 2, "bounced": 2}
    assert [t.to for t in office.taken] == ["team@seed.example"] * 2
    es, fr = (read(t) for t in office.taken)
    assert es["Subject"] == "[TEST] Cree una contraseña nueva para su cuenta de Example"
    assert not es["List-Unsubscribe"]
    assert words(office.taken[0]).startswith("This is a test of notice")
    assert "to no customer" in es.get_body(("html",)).get_content()  # type: ignore[union-attr]
    assert "tu nombre, tu dirección de correo electrónico" in words(office.taken[0])
    assert fr.get_content_type() == "text/plain"
    (entry,) = evidence.activity(types=[EventType.NOTICE_TESTED])
    assert (entry.body["mails"], entry.body["addresses"], set(entry.body["variants"])) == (4, 2, {"default.es", "default.fr"})
    assert "seed.example" not in str(entry.body)
    assert not Mailing.objects.exists()


def test_the_second_signature_by_notice_approve(shop: Path, office: Office) -> None:
    incident = register([Person("a@gmail.example", "en")])
    notice = actions.draft(incident=incident, template=WORDS, at=AT, by="ada")
    keys = shop / "keys" / "operators"
    key = next(p for p in shop.rglob("ada.key"))
    with pytest.raises(Refused, match="nobody asks"):
        actions.approve(notice, operator="ada", key_file=key, at=AT)
    reviewed(shop, notice, "es", "fr")
    with pytest.raises(Refused) as asked:
        actions.start(notice, approval=None, at=AT, by="ada", retry=NOW)
    assert actions.approve(notice, operator="ada", key_file=key, at=AT) == asked.value.approval
    with pytest.raises(Refused, match="more signature"):
        actions.start(notice, approval=asked.value.approval, at=AT, by="ada", retry=NOW)
    actions.approve(notice, operator="bob", key_file=key.with_name("bob.key"), at=AT)
    mailing = actions.start(notice, approval=asked.value.approval, at=AT, by="ada", retry=NOW)
    run(mailing)
    assert len(office.taken) == 1
    assert keys.name == "operators"


# --- the mandate ---


def suppression() -> bytes:
    """The bytes of the suppression table, in physical order and with everything that PostgreSQL keeps of each row."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(md5(concat(s.ctid, s.xmin, s.xmax, s::text)), '') FROM mail_suppression s")
        return str(cursor.fetchone()[0]).encode()


def test_the_suppressed_are_told_and_the_suppression_table_stays_as_it_is(shop: Path, office: Office) -> None:
    people = [Person(f"user{i}@gmail.example", ("en", "es", "")[i % 3]) for i in range(60)]
    for p in people[::2]:
        mail.suppress(Private(p.email), reason="unsubscribed", at=AT - timedelta(days=30))
    before = suppression()
    notice = actions.draft(incident=register(people), template=WORDS, at=AT, by="ada")
    reviewed(shop, notice, "es", "fr")
    run(started(shop, notice))
    assert {t.to for t in office.taken} == {p.email for p in people}
    assert suppression() == before
    for taken in office.taken:
        message = read(taken)
        assert not message["List-Unsubscribe"]
        assert not message["List-Unsubscribe-Post"]
        assert {p.get_content_type() for p in message.walk()} <= {"multipart/alternative", "text/plain", "text/html"}
        decoded = b"".join(p.get_payload(decode=True) or b"" for p in message.walk() if not p.is_multipart()).decode()
        for banned in ("http:", "https:", "<img", "<a ", "src=", "url(", "cid:", "<form", "<script"):
            assert banned not in decoded
        assert message.get_content_disposition() is None


def test_every_kind_of_mail_verifies_with_dkimpy(shop: Path, office: Office) -> None:
    people = [Person(f"user{i}@gmail.example", ("en", "es", "fr", "")[i % 4]) for i in range(8)]
    notice = actions.draft(incident=register(people), template=WORDS, at=AT, by="ada")
    reviewed(shop, notice, "es", "fr")
    run(started(shop, notice))
    _, record = mail_now.dkim_record()
    assert len(office.taken) == 8
    for taken in office.taken:
        assert dkim.verify(taken.raw, dnsfunc=lambda name, timeout=5: record.encode())
        head, body = taken.raw.split(b"\r\n\r\n", 1)
        at = len(body) // 2
        spoiled = head + b"\r\n\r\n" + body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        assert not dkim.verify(spoiled, dnsfunc=lambda name, timeout=5: record.encode())
