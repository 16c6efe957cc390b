"""Pure decisions: case codes, what is signed, slots, bits, receipts, pace, gates and readability."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tocsin.kernel.errors import BadInput, InvariantError
from tocsin.notices import casecode, policy
from tocsin.notices.text import folder, gates, readability
from tocsin.notices.types import Retry, VariantTexts

KEY = b"k" * 32
AT = datetime(2026, 1, 15, 3, 0, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
places = st.integers(0, policy.BLOCK_ROWS - 1)


# --- case codes ---


@given(st.integers(0, casecode.BLOCKS_MAX - 1), st.integers(0, casecode.PLACES_MAX - 1))
def test_a_code_means_its_place_and_only_under_its_key(block: int, place: int) -> None:
    code = casecode.encode(KEY, block=block, place=place)
    assert len(code) == 11
    assert casecode.decode(KEY, code) == (block, place)
    assert casecode.decode(KEY, f" {code.lower().replace('-', ' ')} ") == (block, place)
    assert casecode.decode(KEY, code.replace("0", "o").replace("1", "l")) == (block, place)
    assert casecode.decode(b"x" * 32, code) != (block, place)


def test_neighbours_have_nothing_in_common_and_inventions_fail() -> None:
    codes = [casecode.encode(KEY, block=7, place=n) for n in range(1000)]
    assert len(set(codes)) == 1000
    alike = sum(sum(a == b for a, b in zip(x, y, strict=True)) - 1 for x, y in pairwise(codes)) / 999
    assert alike < 1.0  # of ten digits; chance is 10/32
    invented = [f"{sha256(bytes((i % 256, i // 256))).hexdigest()[:10].upper()}" for i in range(20_000)]
    assert sum(casecode.decode(KEY, c) is not None for c in invented) <= 4  # 1 : 65,536 each
    for bad in ("", "ABCDE", "ABCDE-FGHJU", "ABCDE-FGHJK-M", "ÄBCDE-FGHJK"):
        assert casecode.decode(KEY, bad) is None
    with pytest.raises(InvariantError):
        casecode.encode(KEY, block=casecode.BLOCKS_MAX, place=0)


# --- what is signed ---


def lines() -> list[policy.BlockLine]:
    blocks = [("default", "gmail", [1, 2, 3]), ("default", "letter", [4]), ("ma", "gmail", [5, 6])]
    return [policy.BlockLine(i, v, p, len(s), policy.block_sha256(s)) for i, (v, p, s) in enumerate(blocks, 10)]


def made(lines: list[policy.BlockLine], **changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "mailing": 1,
        "notice": 2,
        "incident": 3,
        "exposure": 4,
        "variants": {"b": "22", "a": "11"},
        "languages": {"en": ["a"], "es": ["b"]},
        "reviews": {"es": ["carmen", 7]},
        "statements": {"press.en": "44"},
        "merged": 1,
        "dkim": "s",
    }
    return policy.manifest(lines=lines, **(base | changes))


def test_every_part_of_the_manifest_counts() -> None:
    good = made(lines())
    assert (good["recipients"], good["by_mail"], good["letters"], good["lanes"]) == (6, 5, 1, {"gmail": 5, "letter": 1})
    for i, line in enumerate(lines()):
        for change in ({"id": line.id * 100}, {"variant": "x"}, {"provider": "x"}, {"n": 9}, {"sha256": b"\x00" * 32}):
            other = lines()
            other[i] = line._replace(**change)
            assert made(sorted(other)) != good
    assert made(lines()[:-1]) != good
    other_text, other_reviewer = {"variants": {"a": "11", "b": "33"}}, {"reviews": {"es": ["dora", 8]}}
    for change in (other_text, other_reviewer, {"languages": {"en": ["a"], "fr": ["b"]}}, {"statements": {}}, {"exposure": 5}, {"dkim": "t"}, {"merged": 0}):
        assert made(lines(), **change) != good
    with pytest.raises(InvariantError):
        policy.blocks_sha256(reversed(lines()))


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=50))
def test_a_block_hash_is_over_its_ids_in_order(subjects: list[int]) -> None:
    assert policy.block_sha256(subjects) == sha256(b"".join(struct.pack(">q", s) for s in subjects)).digest()
    if subjects != subjects[::-1]:
        assert policy.block_sha256(subjects) != policy.block_sha256(subjects[::-1])


# --- slots and replies ---


@given(st.text(max_size=300))
def test_no_value_of_a_customer_brings_lines_links_or_markup(value: str) -> None:
    got = policy.vetted(value, instead="customer")
    assert got
    assert len(got) <= policy.SLOT_CHARS_MAX
    assert not got.startswith(".")
    assert not set(got) & set("\r\n\t\x00\x85\u2028\u202e<>")
    assert policy.vetted(got, instead="customer") == got


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("Ada  Lovelace", "Ada Lovelace"),
        ("José Ñandú", "José Ñandú"),
        ("Ann\r\nBcc: x", "Ann Bcc: x"),
        ("..Ann", "Ann"),
        ("Go to https://evil.example now", "customer"),
        ("www.evil.example", "customer"),
        ("evil.com/reset", "customer"),
        ("<b>Ann</b>", "customer"),
        ("javascript:alert(1)", "customer"),
        ("x" * 201, "customer"),
        ("", "customer"),
        ("\u202e", "customer"),
    ],
)
def test_names_as_customers_write_them(value: str, wanted: str) -> None:
    assert policy.vetted(value, instead="customer") == wanted


def test_replies_lose_every_address() -> None:
    reply = "550 5.1.1 <ada.l@one.example>: user ada.l unknown; see bob@two.example"
    assert policy.masked(reply, "ada.l@one.example") == "550 5.1.1 <[address]>: user [address] unknown; see [address]"
    assert policy.masked("a\r\nb", "x@y.example") == "a  b"
    assert policy.masked("adam lives; ada.lo; ada.l", "ada.l@one.example") == "adam lives; ada.lo; [address]"
    assert policy.masked("İ ada.l", "ada.l@one.example") == "[reply with an address]"
    assert policy.masked("ADA.L is full", "ada.l@one.example") == "[address] is full"
    assert len(policy.masked("x" * 999, "")) == policy.REPLY_CHARS_MAX


def test_many_accounts_at_one_mailbox_fit_their_slot() -> None:
    assert policy.references(["C1"]) == "C1"
    assert policy.references(["C1", "<x>"]) == "C1, -"
    long = policy.references([f"{i:0200}" for i in range(400)])
    assert long.endswith(" and 385 more")
    assert len(long) < 4000


# --- bits, counts, receipts ---


@given(st.sets(places), st.sets(places))
def test_bits_hold_exactly_their_places(first: set[int], more: set[int]) -> None:
    bits = policy.with_places(b"", first, n=policy.BLOCK_ROWS)
    assert policy.places(bits) == first
    both = policy.with_places(bits, more, n=policy.BLOCK_ROWS)
    assert policy.places(both) == first | more
    assert int.from_bytes(both, "little").bit_count() == len(first | more)


def test_a_place_outside_the_block_is_a_defect() -> None:
    with pytest.raises(InvariantError):
        policy.with_places(b"", [8], n=8)


texts = st.text(alphabet=st.characters(blacklist_categories=("Cs",)), max_size=80)


@given(
    st.lists(st.builds(policy.Line, places, st.integers(0, 2**50), st.just("handed_over"), st.integers(0, 599), st.just("2.0.0"), texts))
)
def test_a_receipt_gives_back_what_it_holds(outcomes: list[policy.Line]) -> None:
    packed, digest = policy.receipt(outcomes)
    assert list(policy.read_receipt(packed)) == [x._replace(text=" ".join(x.text.split())) for x in outcomes]
    assert policy.receipt(outcomes) == (packed, digest)


def test_receipts_are_small() -> None:
    outcomes = [
        policy.Line(n, 1_700_000_000_000_000 + n * 700, "handed_over", 250, "2.0.0", f"Ok: queued as {n * 7919:X}") for n in range(1000)
    ]
    assert len(policy.receipt(outcomes)[0]) < 20_000


# --- pace and retries ---


@given(st.integers(1, 64), st.integers(1, 64), st.lists(st.integers(0, 1), max_size=80))
def test_blocks_never_hold_more_connections_than_lane_and_mailing_have(lane_cap: int, mailing_cap: int, claims: list[int]) -> None:
    held = [0, 0]
    for lane in claims:
        got = policy.connections_for_block(lane_cap=lane_cap, lane_held=held[lane], mailing_cap=mailing_cap, mailing_held=sum(held))
        assert 0 <= got <= policy.CONNECTIONS_PER_BLOCK_MAX
        held[lane] += got
        assert max(held) <= lane_cap
        assert sum(held) <= mailing_cap
    if claims:
        assert sum(held) > 0


def test_retries_double_are_bounded_and_end() -> None:
    retry, at, tries = Retry(), AT, 0
    while (due := policy.next_try(tries=tries + 1, at=at, retry=retry, spread=50)) is not None:
        tries += 1
        wait = (due - at).total_seconds()
        assert 300 <= wait <= policy.DEFERRED_S_MAX * 1.1
        at = due
    assert tries == retry.tries_max - 1
    assert timedelta(hours=24) < at - AT < timedelta(hours=72)
    assert policy.next_try(tries=1, at=AT, retry=Retry(first_s=0.5, tries_max=2), spread=0) == AT + timedelta(seconds=0.5)


def test_a_refusal_that_speaks_of_us_gives_nobody_up() -> None:
    assert policy.kind_of("bounced", "5.7.1") == "deferred"
    assert policy.kind_of("bounced", "5.1.1") == "bounced"
    assert policy.kind_of("handed_over", "5.7.1") == "handed_over"


# --- gates ---


def letter(**changes: Any) -> VariantTexts:
    """The scenario's notice, filled."""
    texts = folder.read_notice(ROOT / "scenarios" / "zappos-2012")
    values = {"company": "Example Shop", "brand": "Example", "site": "shop.example", "help_address": "help@shop.example"}
    values |= {f"fact:{k}": v for k, v in {**texts.facts, "discovered_on": "January 15, 2026"}.items()}
    v = texts.variants[0]
    filled = {part: gates.SLOT.sub(lambda m: values.get(m[1], m[0]), getattr(v, part)) for part in ("subject", "text", "html")}
    return dataclasses.replace(v, **(filled | changes))


def found(v: VariantTexts, **options: Any) -> set[str]:
    return {f.gate for f in gates.check(v, hosts={"shop.example"}, **options) if f.hard}


def both(old: str, new: str) -> dict[str, str]:
    v = letter()
    assert old in v.text
    assert old in v.html
    return {"text": v.text.replace(old, new), "html": v.html.replace(old, new)}


def test_the_letter_of_the_scenario_passes() -> None:
    assert gates.check(letter(), hosts={"shop.example"}) == []
    r = readability.measure(letter().text)
    assert r.grade < 6
    assert r.flesch > 70
    assert r.words < gates.WORDS_SOFT_MAX


def spoiled() -> Iterator[tuple[str, dict[str, Any]]]:
    html = letter().html
    yield "link", both("shop.example/check", "https://shop.example/check")
    yield "link", {"subject": "See www.shop.example"}
    yield "host", both("help@shop.example", "help@shop-support.example")
    yield "host", both("Type", "Type evil.com or") if "Type" in letter().text else both("type", "type evil.com or")
    for tag in ('<img src="x">', "<script>x</script>", '<a href="x">', '<form action="x">', '<iframe src="x"></iframe>', "<!-- x -->"):
        yield "html", {"html": html.replace("</body>", f"{tag}</body>")}
    for style in ("background: url(x)", "display: none", "font-size: 0", "position: fixed", "back\\67round: x"):
        yield "html", {"html": html.replace("<p>Dear", f'<p style="{style}">Dear')}
    yield "html", {"html": html.replace("<p>Dear", '<p onclick="x">Dear')}
    yield "slot", both("{{name}}", "{{surname}}")
    yield "slot", both("{{case_code}}", "here")
    yield "slot", both("{{name}}", "{{name")
    yield "same_words", {"html": html.replace("was not reached", "was reached")}
    yield "same_words", {"text": letter().text.replace("Dear", "Hello")}
    yield "block", {"blocks": {}}
    yield "block", both("What We Are Doing", "Our Work")
    yield "block", {"blocks": {**letter().blocks, "What You Can Do": ("advise",)}}
    yield "subject", {"subject": " "}
    yield "subject", {"subject": "Hello {{name}}"}
    hard = "Notwithstanding aforementioned circumstances, organisational countermeasures necessitate comprehensive reconsideration. "
    yield "readability", both("We are sorry.", hard * 12)


@pytest.mark.parametrize(("gate", "change"), list(spoiled()))
def test_each_fault_alone_closes_its_gate(gate: str, change: dict[str, Any]) -> None:
    assert found(letter()) == set()
    assert gate in found(letter(**change))


def test_links_only_when_asked_for_and_only_to_us() -> None:
    with_link = both("shop.example/check", "https://shop.example/check")
    assert found(letter(**with_link, allow_links=True)) == set()
    html = with_link["html"].replace("<p>Dear", '<p><a href="https://evil.com/">Dear</a>')
    assert "host" in found(letter(text=with_link["text"], html=html, allow_links=True))


def test_laws_decide_which_blocks_a_text_needs() -> None:
    required, forbidden = policy.blocks_wanted(["contact_phone", "number_affected"])
    assert required == {*policy.ALWAYS, "number"}
    assert "block" in found(letter(), required=required, forbidden=forbidden)
    required, forbidden = policy.blocks_wanted([], ["nature_of_breach", "number_of_residents_affected"])
    assert (required, forbidden) == ({*policy.ALWAYS} - {"what_happened"}, {"what_happened", "number"})
    assert "block" in found(letter(), required=required, forbidden=forbidden)
    with pytest.raises(BadInput, match="what_happened"):
        policy.blocks_wanted(["cause"], ["nature_of_breach"])
    with pytest.raises(BadInput, match="nonsense"):
        policy.blocks_wanted(["nonsense"])


def test_every_code_of_the_laws_has_a_block() -> None:
    codes: set[str] = set()
    struck: set[str] = set()

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            codes.update(node.get("must_include") or [])
            struck.update(node.get("must_not_include") or [])
            for child in node.values():
                walk(child)
        elif isinstance(node, list):
            for child in node:
                walk(child)

    for file in (ROOT / "src" / "tocsin" / "obligations" / "laws").glob("*.yaml"):
        walk(yaml.safe_load(file.read_text()))
    assert codes == policy.BLOCK_OF.keys()
    assert struck == policy.STRUCK_BY.keys()


SYLLABLES = """the:1 table:2 people:2 passwords:2 account:2 information:4 created:3 changed:1 changes:2 used:1 addresses:3 number:2 email:2
million:2 material:4 area:3 idea:3 being:2 doing:2 safety:2 services:3 please:1 because:2 database:3 employee:3 security:4 secure:2 choose:1
same:1 houses:2 someone:2 everyone:3 closed:1 quiet:2 science:2 video:3 credit:2 criminal:3 various:3 client:2 likely:2 use:1 sure:1 here:1
question:2 believe:2 tried:1 loved:1 needed:2 business:2 unique:2 scrambled:2 digits:2 notice:2 sorry:2 called:1 2012:1 customer's:3"""


def test_syllables_by_rule() -> None:
    wrong = [w for w in SYLLABLES.split() if readability.syllables(w.rpartition(":")[0]) != int(w.rpartition(":")[2])]
    assert wrong == []


def test_hard_words_in_lists_are_not_hidden_from_the_measure() -> None:
    plain = "We lost your name. We lost your street."
    listed = "We lost:\n\n- your name\n- your street\n- your phone\n- your mail\n- your card\n- your size"
    assert readability.measure(listed).sentences == 1
    assert readability.measure(listed).grade > readability.measure(plain).grade
    assert readability.measure("What Happened\n\nA cat sat.").words == 3
    assert readability.measure("") == readability.Readability(0.0, 100.0, 0, 0)
