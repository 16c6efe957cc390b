"""Keep the message catalogues of customers' pages and letters: `python -m tools.messages` after a text or a translation has changed.

Reads every text that customers may see (templates: `translate` and `blocktranslate`; Python: `_`, `gettext_noop`, `said`), brings
`src/tocsin/web/locale/LANGUAGE/LC_MESSAGES/django.po` up to date without losing a translation, and compiles the `.mo` beside it. Prints what
is not translated yet. Translations are written by hand, in the .po files.
"""

from __future__ import annotations

import io
import os
import sys
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_python
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "tocsin"
LANGUAGES = ("es", "fr", "de", "pt", "zh_Hans")
KEYWORDS = {"_": None, "gettext": None, "gettext_noop": None, "gettext_lazy": None, "said": None}
HEAD = "# Texts for customers. Made by `python -m tools.messages`; translations are written here."
DATE = datetime(2026, 1, 1, tzinfo=UTC)  # a catalogue is a function of its texts, not of the clock


def po_of(language: str) -> Path:
    """Return where the translations of a language are written."""
    return SRC / "web" / "locale" / language / "LC_MESSAGES" / "django.po"


def texts() -> dict[str, list[str]]:
    """Return every text for customers with the files it stands in."""
    found: dict[str, list[str]] = defaultdict(list)
    for file in sorted(SRC.rglob("*.py")):
        if "migrations" in file.parts:
            continue
        with file.open("rb") as source:
            for _, _, message, _ in extract_python(source, KEYWORDS, [], {}):
                first = message[0] if isinstance(message, tuple) else message  # what follows are values; None is no literal
                if first:
                    found[first].append(str(file.relative_to(ROOT)))
    for name, message in _template_texts():
        found[message].append(name)
    return {message: sorted(set(places)) for message, places in sorted(found.items(), key=lambda f: (f[1][0], f[0]))}


def _template_texts() -> list[tuple[str, str]]:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tocsin.settings")
    import django
    from django.template import engines
    from django.templatetags.i18n import BlockTranslateNode, TranslateNode

    django.setup()
    found = []
    for file in sorted((SRC / "web" / "templates").rglob("*.html")):
        template = engines["django"].get_template(str(file.relative_to(SRC / "web" / "templates"))).template  # type: ignore[attr-defined]
        place = str(file.relative_to(ROOT))
        found += [(place, str(n.filter_expression.var.literal)) for n in template.nodelist.get_nodes_by_type(TranslateNode)]
        for node in template.nodelist.get_nodes_by_type(BlockTranslateNode):
            found.append((place, node.render_token_list(node.singular)[0]))
    return found


def catalogue(language: str) -> Catalog:
    """Return the catalogue of a language: every text that there is now, with the translation that was written for it, if any."""
    po, old = po_of(language), Catalog()
    if po.exists():
        with po.open("rb") as file:
            old = read_po(file, locale=language)
    new = Catalog(
        locale=language, project="Tocsin", version="1", creation_date=DATE, revision_date=DATE, last_translator="Tocsin",
        language_team=language, msgid_bugs_address="-", fuzzy=False, header_comment=HEAD,
    )  # fmt: skip
    for message, places in texts().items():
        known = old.get(message)
        new.add(message, known.string if known else "", locations=[(place, None) for place in places])  # type: ignore[misc]
    return new


def compiled(catalog: Catalog) -> bytes:
    """Return a catalogue as the site reads it."""
    out = io.BytesIO()
    write_mo(out, catalog)
    return out.getvalue()


def written(catalog: Catalog) -> bytes:
    """Return a catalogue as its translator reads it."""
    out = io.BytesIO()
    write_po(out, catalog, width=140, include_lineno=False)
    return out.getvalue()


def main() -> None:
    """Write all catalogues; end with 1 while something is not translated."""
    open_texts = 0
    for language in LANGUAGES:
        catalog, po = catalogue(language), po_of(language)
        po.parent.mkdir(parents=True, exist_ok=True)
        po.write_bytes(written(catalog))
        po.with_suffix(".mo").write_bytes(compiled(catalog))
        for message in catalog:
            if message.id and not message.string:
                open_texts += 1
                sys.stdout.write(f"{language}: {message.id}\n")
    sys.exit(1 if open_texts else 0)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "src"))
    main()
