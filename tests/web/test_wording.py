"""No page of the customers' site holds bare English: not its template, not its script, and not the page that comes out."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from django.template.base import Lexer, TokenType
from django.test import Client

from tests.credentials.shop import GOOD, PEOPLE
from tests.credentials.wallet import Wallet, fill
from tests.web.test_languages import LANGUAGES, OTHERS
from tocsin.credentials import contact_letters, letters
from tocsin.kernel import clock, config
from tocsin.web.public import views

WEB = Path(views.__file__).parents[1]
TEMPLATES = sorted((WEB / "templates" / "public").glob("*.html"))
SCRIPTS = sorted((WEB / "static" / "public").glob("*.js"))
SPOKEN = {"aria-label", "title", "placeholder", "alt", "aria-description", "data-show", "data-hide", "data-label", "label"}
EVERYWHERE = {"UTC"}  # said alike in every language
LETTER = re.compile(r"[^\W\d_]")
FILTERED = re.compile(r"""\|\s*(default|default_if_none|date|time|yesno|pluralize|add):(["'])(?P<text>.*?)\2""")
FIRST = PEOPLE[0]


class Words(HTMLParser):
    """Collects what a reader sees or hears of a page: texts, and attributes that are read out."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._mute: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {k: v or "" for k, v in attrs}
        if tag in {"script", "style"} or said.get("translate") == "no":
            self._mute.append(tag)
        shown = {
            k: v for k, v in said.items() if k in SPOKEN or (k == "value" and tag == "input" and said.get("type") in {"submit", "text"})
        }
        self.found += [v.strip() for v in shown.values()]

    def handle_endtag(self, tag: str) -> None:
        if self._mute and self._mute[-1] == tag:
            self._mute.pop()

    def handle_data(self, data: str) -> None:
        if not self._mute:
            self.found.append(" ".join(data.split()))


def words(html: str) -> list[str]:
    """Return the texts of a page that hold letters."""
    reader = Words()
    reader.feed(html)
    reader.close()
    return [w for w in reader.found if LETTER.search(" ".join(p for p in re.split(r"\W+", w) if p not in EVERYWHERE))]


def bare(template: str) -> list[str]:
    """Return what a template says without asking the catalogues."""
    found, html, told = [], "", False
    for token in Lexer(template).tokenize():
        name = token.contents.split(" ", 1)[0]
        if token.token_type == TokenType.BLOCK and name in {"blocktranslate", "endblocktranslate"}:
            told = name == "blocktranslate"
        elif token.token_type == TokenType.TEXT and not told:
            html += token.contents
        if token.token_type in {TokenType.VAR, TokenType.BLOCK}:
            found += [m["text"] for m in FILTERED.finditer(token.contents) if LETTER.search(m["text"])]
    return found + words(html)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda t: t.name)
def test_a_template_says_nothing_that_no_catalogue_knows(template: Path) -> None:
    assert bare(template.read_text()) == []


def test_the_reader_of_templates_finds_what_is_bare() -> None:
    assert (
        bare(
            '<p>{% translate "Told" %} 1 · 2 {{ x }} UTC <code translate="no">GET</code></p>{% blocktranslate %}Told{% endblocktranslate %}'
        )
        == []
    )
    for template, said in (
        ("<p>{% if x %}Bare{% endif %}</p>", "Bare"),
        ('<p aria-label="Bare {{ x }}">1</p>', "Bare"),
        ('<input type="submit" value="Bare">', "Bare"),
        ("{{ x|default:'Bare' }}", "Bare"),
        ('{{ x|date:"j F" }}', "j F"),
        ("{% blocktranslate %}Told{% endblocktranslate %} Bare", "Bare"),
    ):
        assert bare(template) == [said], template


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.name)
def test_a_script_shows_only_what_the_page_gave_it(script: Path) -> None:
    shown = re.findall(
        r"""(?:(?:textContent|innerText|innerHTML|title|placeholder|value)\s*=|"aria-label",|alert\(|confirm\()\s*["'`].*""",
        script.read_text(),
    )
    assert shown == []


# -- pages that come out ----------------------------------------------------------------------------------------------------

SIGNED_IN = ("/account", "/account/email", "/account/email/confirm", "/account/passkey", "/account/totp")
OUTSIDE = ("/login", "/login/second", "/login/passkey", "/passwordchange/later", "/account/email/confirm")
POSTED: tuple[tuple[str, dict[str, str]], ...] = (
    ("/account/codes", {}),
    ("/account/token", {"class": "api_token", "label": "n1"}),
    ("/account/token", {"class": "refresh", "label": "n2"}),
    ("/account/token", {"class": "9"}),
    ("/account/totp", {"ticket": "0", "code": "0"}),
    ("/account/passkey", {"credential": "0", "challenge": "0"}),
    ("/account/email", {"email": "0", "password": "0"}),
    ("/account/email", {"email": "0@mail.example", "password": "0"}),
    ("/account/email", {"email": "0@mail.example", "password": FIRST.password}),
    ("/login/second", {"code": "0"}),
    ("/login/passkey", {"credential": "0", "challenge": "0"}),
    ("/login", {"email": FIRST.email, "password": "0"}),
    ("/passwordchange", {"email": "0"}),
)
NAMES = {"software", "script", "app", "n1", "n2", FIRST.email, "0@mail.example"}  # what customers typed themselves
SAME = {"UTC", "GET /me", "POST /token", "Authorization: Bearer", "English", "Español", "Français", "Deutsch", "Português", "简体中文"}
ALIKE = {"de": {"App: app"}, "fr": {"Pages"}}  # the same words there


def pages(client: Client, wallet: Wallet) -> dict[str, list[str]]:
    """Return the words of every page behind and around the sign-in, by its name and how it was asked for."""
    client.cookies[views.SESSION_COOKIE] = wallet.sid
    client.cookies[views.SECOND_COOKIE] = wallet.ticket(clock.now())
    client.cookies[views.REMEMBER_COOKIE] = "0"
    asked: list[tuple[str, Any]] = [(f"GET {p}", client.get(p)) for p in (*SIGNED_IN, *OUTSIDE)]
    asked += [(f"POST {n} {p}", client.post(p, f)) for n, (p, f) in enumerate(POSTED)]
    return {name: words(response.content.decode()) for name, response in asked}


@pytest.mark.parametrize("language", OTHERS)
def test_no_page_around_the_account_is_partly_english(shop: Path, language: str) -> None:
    wallet = fill(FIRST, at=clock.now())
    english = {w for found in pages(Client(headers={"accept-language": "en"}), wallet).values() for w in found}
    spoken = pages(Client(headers={"accept-language": language}), wallet)
    assert len(spoken) > 20
    known = NAMES | SAME | ALIKE.get(language, set()) | {config.current().company.brand, config.current().mail.help_address}
    left = {
        name: kept for name, found in spoken.items() if (kept := [w for w in found if w in english - known and re.search(r"[a-z]{2}", w)])
    }
    assert left == {}


# -- letters ----------------------------------------------------------------------------------------------------------------

WORDS: dict[str, Any] = {"brand": "Zxq", "help_address": "help@zxq.example"}
LINK = {"link": "https://zxq.example/t/1", "minutes": 30}
SITE = {"site": "https://zxq.example/p"}
LETTERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "reset": (letters.reset_letter, LINK),
    "changed": (letters.changed_letter, SITE),
    "affected": (letters.affected_letter, LINK),
    "unaffected": (letters.unaffected_letter, {"known": True}),
    "unknown": (letters.unaffected_letter, {"known": False}),
    "confirm": (contact_letters.confirm_letter, LINK),
    "moved, old": (contact_letters.changed_letter, SITE | {"old": True}),
    "moved, new": (contact_letters.changed_letter, SITE | {"old": False}),
    "former": (contact_letters.former_letter, SITE),
}


@pytest.mark.parametrize("name", LETTERS)
def test_every_letter_is_written_in_every_language(name: str) -> None:
    make, more = LETTERS[name]
    made = {language: make(**WORDS, **more, language=language) for language in LANGUAGES}
    assert len({m.subject for m in made.values()}) == len(LANGUAGES)
    english = set(made["en"].text.split("\n\n"))
    for language, letter in made.items():
        tag = {"zh-hans": "zh-Hans"}.get(language, language)
        assert f'<html lang="{tag}">' in letter.html
        assert "{" not in letter.text + letter.subject
        assert "help@zxq.example" in letter.text
        alone = str(more.get("link") or more.get("site") or "")
        assert not alone or f"\n{alone}\n" in letter.text  # a link stands alone on its line
        if language != "en":
            assert english & set(letter.text.split("\n\n")) <= {f"{alone}", f"{alone}\n"}, language
    assert GOOD not in "".join(m.text for m in made.values())
