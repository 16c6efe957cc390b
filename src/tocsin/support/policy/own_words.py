"""What an answer in somebody's own words must not hold before it leaves: secrets, and links that lead away from the company.

A customer who was just warned of a breach believes a link in our answer; a colleague pastes what an intruder wrote. Mail programs make
links of much that is none on paper: any scheme, `www.`, a bare host name, a mail address. All of these are looked at.
Source: WHATWG URL, host parsing (a backslash ends the host as a slash does; what stands before the last `@` is no host).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from tocsin.kernel.errors import Fault

from .redact import redact

CHARS_MAX = 20_000
LINKS_SHOWN_MAX = 10
_END = r"\s<>\"“”„«»|^`{}\[\]"
_LINK = re.compile(
    rf"(?P<scheme>[a-z][a-z0-9+.-]{{1,20}}:)[\\/]{{2,}}(?P<rest>[^{_END}]*)|(?<![\w.@/-])(?P<www>www\d?\.[^{_END}]+)", re.IGNORECASE
)
_AUTHORITY_END = re.compile(r"[/?#\\]")
# A bare name is a link when a path follows or it ends like a site; "page.Please" of a hurried writer is neither.
_SITES = "com|net|org|info|biz|io|co|app|dev|xyz|top|shop|online|site|live|link|click|store|me|ly|gl|ru|cn|de|uk|eu|us|ca|test|example"
_NAME = re.compile(rf"(?<![\w.-])((?:[\w-]{{1,63}}\.)+(?:(?:{_SITES})(?![\w-]|\.\w)|[^\W\d_]{{2,24}}(?=[/?]\w)))", re.IGNORECASE)


def faults(text: str, *, domains: Sequence[str], hosts: Sequence[str]) -> list[Fault]:
    """Return everything for which a text must not leave; empty when it may. `domains`: ours with all below them; `hosts`: exactly these."""
    found = []
    if not 0 < len(text.strip()) <= CHARS_MAX:
        found.append(Fault("text", f"{len(text.strip())} characters", f"1 to {CHARS_MAX}"))
    secrets = redact(text)
    if secrets.cards:
        found.append(Fault("text", f"{secrets.cards} card number(s)", "a text without card numbers"))
    if secrets.others:
        found.append(Fault("text", f"{secrets.others} password(s), codes or social security number(s)", "a text without secrets"))
    own, exact = [d.lower() for d in domains if d], {h.lower() for h in hosts if h}
    foreign = [h for h in dict.fromkeys(_hosts(text)) if h not in exact and not any(h == d or h.endswith("." + d) for d in own)]
    found += [Fault("text", f"a link to {host!r}", f"links to {', '.join(own)} only") for host in foreign[:LINKS_SHOWN_MAX]]
    if len(foreign) > LINKS_SHOWN_MAX:
        found.append(Fault("text", f"links to {len(foreign) - LINKS_SHOWN_MAX} more hosts", f"links to {', '.join(own)} only"))
    return found


def _hosts(text: str) -> Iterator[str]:
    """Yield the host of everything that a mail program may make a link of; for a scheme other than http(s) the whole beginning."""
    flat = unicodedata.normalize("NFKC", text)
    flat = "".join(c for c in flat if unicodedata.category(c) != "Cf").replace("。", ".")  # what nobody sees must not hide a host
    for link in _LINK.finditer(flat):
        scheme = (link["scheme"] or "http:").lower()
        host = _host(link["rest"] if link["scheme"] else link["www"])
        yield host if scheme in {"http:", "https:"} else f"{scheme}//{host}"
    for name in _NAME.finditer(_LINK.sub(" ", flat)):
        yield _host(name[1])


def _host(rest: str) -> str:
    authority = _AUTHORITY_END.split(rest, maxsplit=1)[0].rpartition("@")[2]
    return authority.partition(":")[0].rstrip(".,;:!?)'’").lower()
