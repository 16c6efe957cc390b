"""Who receives the mail of the most used consumer domains: one lane each, because the limits of a receiver count over all its domains.

Source: the receivers' public MX records and postmaster pages as known in 2026-11. A domain not listed is `other`, unless its mail exchangers
say whose it is (`policy.receiver_of_hosts`).
"""

from __future__ import annotations

_FAMILIES = {
    "gmail.com": "gmail.com googlemail.com",
    "outlook.com": "outlook.com hotmail.com live.com msn.com passport.com hotmail.co.uk hotmail.fr hotmail.de hotmail.it hotmail.es live.co.uk"
    " live.fr live.ca live.com.au outlook.de outlook.fr outlook.es outlook.jp",
    "yahoo.com": "yahoo.com ymail.com rocketmail.com aol.com aim.com netscape.net verizon.net yahoo.co.uk yahoo.ca yahoo.fr yahoo.de yahoo.it"
    " yahoo.es yahoo.com.br yahoo.com.au yahoo.co.in yahoo.in att.net sbcglobal.net bellsouth.net pacbell.net ameritech.net frontier.com",
    "yahoo.co.jp": "yahoo.co.jp",
    "icloud.com": "icloud.com me.com mac.com",
    "comcast.net": "comcast.net xfinity.com",
    "charter.net": "charter.net spectrum.net rr.com roadrunner.com twc.com brighthouse.com",
    "cox.net": "cox.net",
    "centurylink.net": "centurylink.net embarqmail.com q.com",
    "optonline.net": "optonline.net optimum.net",
    "earthlink.net": "earthlink.net mindspring.com",
    "juno.com": "juno.com netzero.net netzero.com",
    "proton.me": "proton.me protonmail.com pm.me",
    "fastmail.com": "fastmail.com fastmail.fm",
    "zoho.com": "zoho.com zohomail.com",
    "gmx.net": "gmx.net gmx.de gmx.at gmx.ch gmx.com web.de mail.com",
    "t-online.de": "t-online.de magenta.de",
    "orange.fr": "orange.fr wanadoo.fr",
    "free.fr": "free.fr",
    "sfr.fr": "sfr.fr neuf.fr",
    "laposte.net": "laposte.net",
    "libero.it": "libero.it virgilio.it iol.it",
    "btinternet.com": "btinternet.com btopenworld.com",
    "sky.com": "sky.com",
    "virginmedia.com": "virginmedia.com ntlworld.com blueyonder.co.uk",
    "rogers.com": "rogers.com",
    "shaw.ca": "shaw.ca",
    "sympatico.ca": "sympatico.ca bell.net",
    "bigpond.com": "bigpond.com bigpond.net.au telstra.com",
    "uol.com.br": "uol.com.br bol.com.br",
    "mail.ru": "mail.ru bk.ru inbox.ru list.ru",
    "yandex.ru": "yandex.ru yandex.com ya.ru",
    "qq.com": "qq.com foxmail.com",
    "163.com": "163.com 126.com yeah.net",
    "naver.com": "naver.com",
    "docomo.ne.jp": "docomo.ne.jp",
}
PROVIDERS: dict[str, str] = {domain: family for family, domains in _FAMILIES.items() for domain in domains.split()}
OTHER = "other"
# Synthetic people of a drill have addresses under reserved names (RFC 2606), which no real address can have: the practice providers are
# lanes of their own, and `gmail.example` takes the lane of gmail.com.
PRACTICE_PROVIDERS = frozenset({"mail.example", "post.example", "webmail.example"})
RESERVED_TLDS = (".example", ".test", ".invalid")
_FIRST_LABELS = {domain.partition(".")[0]: family for domain, family in reversed(PROVIDERS.items())} | {
    family.partition(".")[0]: family for family in reversed(_FAMILIES)  # of two with the same first label the first
}


def receiver_of(name: str) -> str:
    """Return the lane of a domain: the first name of the big provider that receives its mail, else `other`."""
    if name in PROVIDERS:
        return PROVIDERS[name]
    if name in PRACTICE_PROVIDERS:
        return name
    if name.endswith(RESERVED_TLDS):
        return PROVIDERS.get(name.rpartition(".")[0]) or _FIRST_LABELS.get(name.partition(".")[0], OTHER)
    return OTHER
