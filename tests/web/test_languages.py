"""Six languages: complete catalogues, and pages that answer in the language asked for, without a script and without a session."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client
from django.utils import translation

from tests.credentials.shop import PEOPLE, cut
from tests.web.conftest import deliver
from tests.web.test_items import PAGES
from tocsin.inventory.types import ELEMENTS
from tocsin.notices.text.elements import WORDS, words_of
from tocsin.web.public.language import COOKIE, tag
from tools import messages

FIRST = PEOPLE[0]
LANGUAGES = [code for code, _ in django_settings.LANGUAGES]
OTHERS = [code for code in LANGUAGES if code != "en"]
TITLES = {"en": "Sign in", "es": "Iniciar sesión", "fr": "Se connecter", "de": "Anmelden", "pt": "Entrar", "zh-hans": "登录"}


# -- catalogues -------------------------------------------------------------------------------------------------------------


def holes(text: str) -> list[str]:
    """Return the places of a text that a value fills."""
    return sorted(re.findall(r"\{\w+\}|%\(\w+\)s", text))


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_a_catalogue_is_complete_and_compiled(language: str) -> None:
    po, catalog = messages.po_of(language), messages.catalogue(language)
    assert po.read_bytes() == messages.written(catalog), "run python -m tools.messages"
    assert po.with_suffix(".mo").read_bytes() == messages.compiled(catalog), "run python -m tools.messages"
    told = {m.id: m.string for m in catalog if m.id}
    assert len(told) > 200
    assert [i for i, s in told.items() if not s] == []
    assert {i: s for i, s in told.items() if holes(i) != holes(s)} == {}
    same = {i for i, s in told.items() if i == s}
    assert same <= {"Pages", "j F Y, H:i", "j F Y", "Passkey", "App: %(name)s"}, "not translated"
    wrong_end = {i: s for i, s in told.items() if i.rstrip()[-1:] == ":" and s.rstrip()[-1:] not in {":", "\uff1a"}}
    assert wrong_end == {}


def test_every_language_of_the_site_has_a_catalogue() -> None:
    assert {translation.to_locale(code) for code in OTHERS} == set(messages.LANGUAGES)


def test_every_kind_of_data_has_a_word() -> None:
    assert set(WORDS) == set(ELEMENTS)
    assert words_of(["name", "no_such_code", "other_personal"]) == ["your name", "other data about you"]


# -- pages ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_answers_in_the_language_asked_for(shop: Path, language: str) -> None:
    cut(shop)
    client = Client(headers={"accept-language": f"{language};q=0.9, en;q=0.1"})
    client.post("/passwordchange", {"email": FIRST.email})
    assert deliver("T" * 43)
    client.get("/passwordchange/t/" + "T" * 43)
    english = Client(headers={"accept-language": "en"})
    english.cookies["tocsin_link"] = "T" * 43
    for path in PAGES:
        response = client.get(path, follow=True)
        text = response.content.decode()
        assert f'<html lang="{language}">' in text, path
        assert response.headers["Content-Language"] == tag(language)
        assert {"Accept-Language", "Cookie"} <= {v.strip() for v in response.headers["Vary"].split(",")}
        title, heading = (re.search(rf"<{t}[^>]*>(.*?)</{t}>", text, re.S) for t in ("title", "h1"))
        assert title is not None
        assert heading is not None
        other = re.search(r"<h1[^>]*>(.*?)</h1>", english.get(path, follow=True).content.decode(), re.S)
        assert other is not None
        assert (heading.group(1) == other.group(1)) == (language == "en"), path


def lang(client: Client, path: str = "/login", **headers: str) -> str:
    """Return the language in which a page answers, by its own word for signing in."""
    text = client.get(path, headers=headers).content.decode()
    [found] = [code for code, title in TITLES.items() if f"<h1>{title}</h1>" in text]
    return found


def test_a_link_chooses_the_language_and_a_cookie_keeps_it(shop: Path) -> None:
    client = Client()
    assert lang(client) == "en"
    assert lang(client, "/login?lang=fr", **{"accept-language": "de"}) == "fr"
    cookie = client.cookies[COOKIE]
    assert (cookie.value, cookie["httponly"], cookie["samesite"]) == ("fr", True, "Lax")
    assert lang(client, **{"accept-language": "de"}) == "fr"
    assert lang(client, "/login?lang=zh-hans") == "zh-hans"
    for odd in ("xx", "", "../de", "<b>", "de" * 5000, "%00"):
        assert lang(client, f"/login?lang={odd}") == "zh-hans"
    client.cookies[COOKIE] = "x" * 3000
    assert lang(client) == "en"


@pytest.mark.parametrize(
    ("asked", "answered"),
    [("de-AT, en;q=0.5", "de"), ("pt-BR", "pt"), ("zh-CN", "zh-hans"), ("zh-TW", "zh-hans"), ("es-419;q=0.8", "es"), ("ja, fr;q=0.2", "fr"),
     ("ja", "en"), ("*", "en"), ("", "en"), (";;;q=", "en"), ("a" * 9000, "en"), ("\x00de", "en")],
)  # fmt: skip
def test_the_browser_is_answered_in_a_language_it_reads(shop: Path, asked: str, answered: str) -> None:
    assert lang(Client(), **{"accept-language": asked}) == answered


def test_refusals_and_errors_speak_the_language_too(shop: Path) -> None:
    client = Client(headers={"accept-language": "de"})
    client.post("/passwordchange", {"email": FIRST.email})
    assert deliver("T" * 43)
    client.get("/passwordchange/t/" + "T" * 43)
    for password, said in (
        ("kurz", "Anzahl der Zeichen: 4; nötig sind mindestens 15."),
        ("passwordpassword", "die Diebe zuerst versuchen"),
        (FIRST.password, "Es ist das alte Passwort"),
        ("abcabcabcabcabcabc", "Es wiederholt ein kurzes Stück"),
        ("é" * 3000, "Es ist länger als 4096 Bytes."),
    ):
        text = client.post("/passwordchange/new", {"password": password, "password_again": password}).content.decode()
        assert said in text, password[:20]
    assert "verschieden" in client.post("/passwordchange/new", {"password": "a", "password_again": "b"}).content.decode()
    assert "Hier ist nichts" in client.get("/nowhere").content.decode()
    refused = client.delete("/login")
    assert (refused.status_code, refused.headers["Allow"]) == (405, "GET, HEAD, POST")
    assert "Das geht hier nicht" in refused.content.decode()
    strict: Any = Client(enforce_csrf_checks=True, headers={"accept-language": "de"}).post("/login", {})
    assert "laden Sie die Seite neu" in strict.content.decode()
