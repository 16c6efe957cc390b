"""Configuration of an estate: read once at start from `HOME/tocsin.toml` and the environment, typed, refused as a whole.

    [estate]   kind = "demo" | "drill" | "live"
    [company]  name, brand, domain, locale
    [web]      console_port, public_port, api_port, public_url, secure_cookies,
               trusted_proxies (networks whose X-Forwarded-For is believed, as in "10.0.0.0/8, 127.0.0.1/32")
    [mail]     transport (dotted path of an adapter), relay_host, relay_port, from_address, from_name, help_address,
               bounce_domain, dkim_domain, dkim_selector, connections, messages_per_connection, rate_per_s,
               relay_tls (auto, none, opportunistic, starttls, implicit), relay_ca_file, relay_user, relay_password_file (a file that
               only its owner reads), sending_addresses (comma-separated; what the mail leaves from in the end), dns_server (empty: the
               system's), preflight (false: a mailing starts although receivers would refuse it; for estates whose domain is made up),
               direct (true: no relay between us and the receivers, so their limits on connections are ours), alarm_address (who is on call),
               quota_per_day (what the relay takes in any 24 hours; 0: no limit), quota_source (dotted path of an adapter that asks it),
               mx_lookup (true: an import asks who takes the mail of domains that no table names),
               reset_from_address (default: password@ the domain of from_address),
               experimental (true: a transport that is marked as experimental may be used), dns_trusted (true: dns_server validates DNSSEC
               and nobody sits between, so that DANE can be gone by)
    [feeds.NAME]  adapter (dotted path): what a relay tells of our mail, taken at /feeds/v1/NAME of the api process; the rest is the adapter's
    [letters]  sender (the lines of an address that letters come back to), country (ISO code; where they are posted), layout (auto, us,
               din), bundle (letters in one PDF), duplex, fonts (a folder of further fonts), price, price_abroad, price_sheet, currency
    [intake]   host, port
    [practice] smtp_port, http_port          only in demo and drill estates
    [gate]     unknown = "refuse" | "allow", subject_header, rate_per_s, opens = "delivery" | "reset" (what opens the gate after a cutover;
               default: "delivery" if a connector of the customers is configured, else "reset")
    [vault]    socket (default HOME/vault/vault.sock)
    [keys]     service (dotted path of an adapter)
    [passwords] filter (a filter of breached passwords; empty: the built-in one), range_url (a range API to ask too; empty: none),
               range_fail = "open" | "closed" (what its silence means), pepper (name of a key; empty: none)
    [connectors.NAME]  adapter (dotted path), population, secret (name of a sealed secret, else NAME), and the adapter's own options
    [credentials] grace_h, contact_freeze_h, link_minutes, letter_days
    [surge]    follow_resets, click_rate (0 to 1), follow_desk, write_rate (0 to 1), desk_wait_h (how long nobody should wait for an answer)
    [warm_up]  RECEIVER = [[day, messages a day], …] (days since our source first sent to it; "*" for all others; none: no limit)

Environment: TOCSIN_HOME, TOCSIN_DATABASE_URL, TOCSIN_PROCESS (which of the processes below this is).
The file is optional: without it every value has its default, so that type checkers and tests can load the settings.
"""

from __future__ import annotations

import functools
import ipaddress
import itertools
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .errors import BadInput, Fault
from .localpg import default_home

RANGE_FAILS = ("open", "closed")
PEPPER_NAME = re.compile(r"pepper(_[a-z0-9]{1,20})?")
PROCESSES = ("operator", "console", "public", "intake", "worker", "sequencer", "api", "postoffice", "owner")
GATE_UNKNOWN = ("refuse", "allow")
GATE_OPENS = ("", "delivery", "reset")
ESTATE_KINDS = ("demo", "drill", "live")
CHOICES = {"mail.relay_tls": ("auto", "none", "opportunistic", "starttls", "implicit"), "letters.layout": ("auto", "us", "din")}
CONNECTOR_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
HOURS_MAX = 8_784
WARM_UP_STEPS_MAX = 100


@dataclass(frozen=True, slots=True)
class Estate:
    """What kind of estate this is; must equal the log's first entry."""

    kind: str = "live"


@dataclass(frozen=True, slots=True)
class Company:
    """Whose customers these are, as notices name it."""

    name: str = "Example Shop"
    brand: str = "Example"
    domain: str = "shop.example"
    locale: str = "en"


@dataclass(frozen=True, slots=True)
class Web:
    """Ports on loopback; a proxy in front brings TLS. `public_url` is the one host that letters may name.

    `trusted_proxies`: networks, separated by commas, whose X-Forwarded-For header is believed. Empty: nobody's, so that behind a proxy all
    customers share one address and one generous limit.
    """

    console_port: int = 8000
    public_port: int = 8001
    api_port: int = 8002
    public_url: str = "http://127.0.0.1:8001"
    secure_cookies: bool = False
    trusted_proxies: str = ""


@dataclass(frozen=True, slots=True)
class Mail:
    """Where mail leaves, under which names, and the outer limits of one mailing towards the relay."""

    transport: str = "tocsin.mail.adapters.smtp.SmtpRelay"
    relay_host: str = "127.0.0.1"
    relay_port: int = 2525
    from_address: str = "security@notice.shop.example"
    from_name: str = "Example Shop"
    help_address: str = "help@shop.example"
    bounce_domain: str = "bounce.shop.example"
    dkim_domain: str = "notice.shop.example"
    dkim_selector: str = "tocsin1"
    connections: int = 8
    messages_per_connection: int = 1000
    rate_per_s: float = 100000.0
    relay_tls: str = "auto"
    relay_ca_file: str = ""
    relay_user: str = ""
    relay_password_file: str = ""
    sending_addresses: str = ""
    dns_server: str = ""
    preflight: bool = True
    direct: bool = False
    quota_per_day: int = 0
    quota_source: str = "tocsin.mail.adapters.stated.StatedQuota"
    mx_lookup: bool = False
    alarm_address: str = ""
    reset_from_address: str = ""
    experimental: bool = False
    dns_trusted: bool = False

    @property
    def reset_from(self) -> str:
        """Return the sender of mail that one person waits for: not the one that a mailing to millions may wear out."""
        return self.reset_from_address or f"password@{self.from_address.rpartition('@')[2]}"


@dataclass(frozen=True, slots=True)
class Letters:
    """How letters are set and what they cost: sender (lines), country they are posted in, sheets and window, letters in a bundle.

    `price`: of a letter of one sheet within the country; `price_abroad` (0: the same) and `price_sheet` (each further sheet) beside it.
    Source of the price: the setting that the duties reckon substitute notice with, 0.80 USD.
    """

    sender: str = ""
    country: str = "US"
    layout: str = "auto"
    bundle: int = 1000
    duplex: bool = True
    fonts: str = ""
    price: float = 0.80
    price_abroad: float = 0.0
    price_sheet: float = 0.0
    currency: str = "USD"


@dataclass(frozen=True, slots=True)
class Intake:
    """Where mail comes in (LMTP or SMTP): bounces and letters of customers."""

    host: str = "127.0.0.1"
    port: int = 2526


@dataclass(frozen=True, slots=True)
class Practice:
    """The practice post office of demo and drill estates."""

    smtp_port: int = 2525
    http_port: int = 8025


@dataclass(frozen=True, slots=True)
class Gate:
    """What the gate says of subjects that nobody imported, in which header a proxy names the subject, and how much one key may ask."""

    unknown: str = "refuse"
    subject_header: str = "X-Tocsin-Subject"
    rate_per_s: float = 20_000.0
    opens: str = ""


@dataclass(frozen=True, slots=True)
class Vault:
    """How the main side reaches the vault: a socket, no secret. Empty means HOME/vault/vault.sock."""

    socket: str = ""


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """Which adapter answers for keys."""

    service: str = "tocsin.kernel.sealing.adapters.files.FileKeys"


@dataclass(frozen=True, slots=True)
class Passwords:
    """What a new password is compared with, and the key that every hash made here is peppered with."""

    filter: str = ""
    range_url: str = ""
    range_fail: str = "open"
    pepper: str = ""


@dataclass(frozen=True, slots=True)
class ConnectorTable:
    """One connector: its adapter, whose credentials it ends, the name of its sealed secret, and what only the adapter understands."""

    adapter: str
    population: str
    secret: str
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FeedTable:
    """A feed of a relay's events: its adapter, and what only the adapter understands."""

    adapter: str
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Credentials:
    """How many hours after a cutover old hashes are erased, and for how long nobody may change where mail of an account goes.

    How long a mailed link is good after the relay took it (at most a day: SP 800-63B-4), and a code by letter after it was printed.
    """

    grace_h: float = 72.0
    contact_freeze_h: float = 72.0
    link_minutes: int = 30
    letter_days: int = 21


@dataclass(frozen=True, slots=True)
class Surge:
    """Whether a mailing is kept to what reset site and desk can bear, and the shares of people mailed taken to come and to write.

    Source of `click_rate`: the forecast's defaults, .45 who open x .55 who reset x .23 of them within the first hour; of `write_rate`: its
    660,000 letters of 24 million people. Higher ones are measured.
    """

    follow_resets: bool = True
    click_rate: float = 0.05
    follow_desk: bool = True
    write_rate: float = 0.03
    desk_wait_h: float = 24.0


@dataclass(frozen=True, slots=True)
class Config:
    """All of it, immutable."""

    home: Path
    database_url: str
    process: str
    estate: Estate = field(default_factory=Estate)
    company: Company = field(default_factory=Company)
    web: Web = field(default_factory=Web)
    mail: Mail = field(default_factory=Mail)
    letters: Letters = field(default_factory=Letters)
    intake: Intake = field(default_factory=Intake)
    practice: Practice = field(default_factory=Practice)
    gate: Gate = field(default_factory=Gate)
    vault: Vault = field(default_factory=Vault)
    keys: KeyFiles = field(default_factory=KeyFiles)
    passwords: Passwords = field(default_factory=Passwords)
    connectors: Mapping[str, ConnectorTable] = field(default_factory=dict)
    feeds: Mapping[str, FeedTable] = field(default_factory=dict)
    credentials: Credentials = field(default_factory=Credentials)
    surge: Surge = field(default_factory=Surge)
    warm_up: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)

    @property
    def gate_waits(self) -> bool:
        """Tell whether the gate waits until a system of the company's own is known to have the new password; a reset alone opens nothing then.

        With a connector the company has such a system, and nothing else says that it knows the new password. Without one nothing would ever
        say so, and waiting by default would shut out everybody whose password Tocsin itself checks.
        """
        if self.gate.opens:
            return self.gate.opens == "delivery"
        return any(c.population == "customers" for c in self.connectors.values())


SECTIONS: dict[str, type] = {
    "estate": Estate,
    "company": Company,
    "web": Web,
    "mail": Mail,
    "letters": Letters,
    "intake": Intake,
    "practice": Practice,
    "gate": Gate,
    "vault": Vault,
    "keys": KeyFiles,
    "passwords": Passwords,
    "credentials": Credentials,
    "surge": Surge,
}
RANGES = {"letters.bundle": range(1, 10_001), "credentials.link_minutes": range(5, 24 * 60 + 1), "credentials.letter_days": range(3, 61)}


def parse(text: str, *, home: Path, database_url: str, process: str) -> Config:
    """Return the configuration that `text` (TOML) describes. Raises BadInput with every fault in it."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise BadInput.of("tocsin.toml", str(e), "valid TOML") from None
    faults: list[Fault] = []
    sections: dict[str, Any] = {}
    for name, values in raw.items():
        if name in TABLES:
            sections[name] = TABLES[name](values, faults)
            continue
        if name not in SECTIONS or not isinstance(values, dict):
            faults.append(Fault(name, repr(values), f"one of the sections {', '.join([*SECTIONS, *TABLES])}"))
            continue
        sections[name] = _section(name, SECTIONS[name], values, faults)
    if process not in PROCESSES:
        faults.append(Fault("TOCSIN_PROCESS", repr(process), f"one of {', '.join(PROCESSES)}"))
    kind = raw.get("estate", {}).get("kind", "live") if isinstance(raw.get("estate"), dict) else "live"
    if kind not in ESTATE_KINDS:
        faults.append(Fault("estate.kind", repr(kind), f"one of {', '.join(ESTATE_KINDS)}"))
    passwords: Passwords = sections.get("passwords", Passwords())
    if passwords.range_fail not in RANGE_FAILS:
        faults.append(Fault("passwords.range_fail", repr(passwords.range_fail), f"one of {', '.join(RANGE_FAILS)}"))
    if passwords.range_url and not passwords.range_url.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        faults.append(Fault("passwords.range_url", repr(passwords.range_url), "an https address, or one of this machine"))
    if passwords.pepper and not PEPPER_NAME.fullmatch(passwords.pepper):
        faults.append(Fault("passwords.pepper", repr(passwords.pepper), "pepper, or pepper_ and up to 20 small letters or digits"))
    if "gate" in sections:
        faults += _gate_faults(sections["gate"])
    surge = sections.get("surge", Surge())
    for name in ("click_rate", "write_rate"):
        if not 0 < (share := getattr(surge, name)) <= 1:
            faults.append(Fault(f"surge.{name}", repr(share), "a share above 0 and at most 1"))
    letters = sections.get("letters", Letters())
    if not re.fullmatch(r"[A-Z]{2}", letters.country):
        faults.append(Fault("letters.country", repr(letters.country), "an ISO 3166-1 code of two letters"))
    faults += [
        Fault(f"letters.{key}", repr(value), "0 or more")
        for key, value in (("price", letters.price), ("price_abroad", letters.price_abroad), ("price_sheet", letters.price_sheet))
        if not 0 <= value < float("inf")
    ]
    web = sections.get("web", Web())
    if web.secure_cookies and not web.public_url.startswith("https://"):
        faults.append(Fault("web.public_url", repr(web.public_url), "an https address: secure cookies are never sent to another"))
    if faults:
        raise BadInput(faults)
    return Config(home=home, database_url=database_url, process=process, **sections)


def _warm_up(table: Any, faults: list[Fault]) -> dict[str, tuple[tuple[int, int], ...]]:
    """Return the warm-up curves by receiver: rising days, each with the messages that may go on it."""
    good: dict[str, tuple[tuple[int, int], ...]] = {}
    if not isinstance(table, dict):
        faults.append(Fault("warm_up", repr(table), "a table [warm_up] of receivers"))
        return good
    for receiver, steps in table.items():
        rows = steps if isinstance(steps, list) and 0 < len(steps) <= WARM_UP_STEPS_MAX else []
        fits = all(isinstance(s, list) and len(s) == 2 and all(type(v) is int and v > 0 for v in s) for s in rows)
        if not rows or not fits or any(b[0] <= a[0] for a, b in itertools.pairwise(rows)):
            faults.append(Fault(f"warm_up.{receiver}", repr(steps)[:80], "a list of [day, messages a day], days rising from 1 on"))
        else:
            good[receiver] = tuple((day, n) for day, n in rows)
    return good


def _connectors(tables: Any, faults: list[Fault]) -> dict[str, ConnectorTable]:
    """Return the connectors by name. What an adapter makes of its options it says itself, when it is first asked for."""
    good: dict[str, ConnectorTable] = {}
    if not isinstance(tables, dict):
        faults.append(Fault("connectors", repr(tables), "tables [connectors.NAME]"))
        return good
    for name, values in tables.items():
        where = f"connectors.{name}"
        if not isinstance(values, dict) or not CONNECTOR_NAME.fullmatch(name):
            faults.append(Fault(where, repr(name), "a table with a name of lower-case letters, digits and hyphens, at most 40"))
            continue
        own = {
            "adapter": values.get("adapter", ""),
            "population": values.get("population", "customers"),
            "secret": values.get("secret", name),
        }
        wrong = [Fault(f"{where}.{key}", repr(value), "a text") for key, value in own.items() if not isinstance(value, str)]
        if not wrong and "." not in own["adapter"]:
            wrong.append(Fault(f"{where}.adapter", repr(own["adapter"]), "the dotted path of an adapter"))
        faults += wrong
        if not wrong:
            good[name] = ConnectorTable(**own, options={k: v for k, v in values.items() if k not in own})
    return good


def _feeds(tables: Any, faults: list[Fault]) -> dict[str, FeedTable]:
    """Return the feeds by name. What an adapter makes of its options it says itself, when the api process starts."""
    good: dict[str, FeedTable] = {}
    if not isinstance(tables, dict):
        faults.append(Fault("feeds", repr(tables), "tables [feeds.NAME]"))
        return good
    for name, values in tables.items():
        if not isinstance(values, dict) or not CONNECTOR_NAME.fullmatch(name):
            faults.append(Fault(f"feeds.{name}", repr(name), "a table with a name of lower-case letters, digits and hyphens, at most 40"))
        elif not isinstance(adapter := values.get("adapter"), str) or "." not in adapter:
            faults.append(Fault(f"feeds.{name}.adapter", repr(adapter), "the dotted path of an adapter"))
        else:
            good[name] = FeedTable(adapter, {k: v for k, v in values.items() if k != "adapter"})
    return good


TABLES: dict[str, Callable[[Any, list[Fault]], Any]] = {"connectors": _connectors, "feeds": _feeds, "warm_up": _warm_up}


def _section(name: str, shape: type, values: dict[str, Any], faults: list[Fault]) -> Any:
    known = {f.name: f for f in fields(shape)}
    good: dict[str, Any] = {}
    for key, said in values.items():
        if key not in known:
            faults.append(Fault(f"{name}.{key}", repr(said), f"a known key: {', '.join(known)}"))
            continue
        wanted = type(known[key].default)
        value = float(said) if wanted is float and type(said) is int else said
        if type(value) is not wanted:
            faults.append(Fault(f"{name}.{key}", repr(value), f"a value of type {wanted.__name__}"))
        elif isinstance(value, float) and key.endswith("_h") and not 0 <= value <= HOURS_MAX:
            faults.append(Fault(f"{name}.{key}", repr(value), f"hours from 0 to {HOURS_MAX}"))
        elif isinstance(value, int) and key.endswith("port") and not 0 < value < 65_536:
            faults.append(Fault(f"{name}.{key}", repr(value), "a port from 1 to 65535"))
        elif value not in CHOICES.get(f"{name}.{key}", (value,)):
            faults.append(Fault(f"{name}.{key}", repr(value), f"one of {', '.join(CHOICES[f'{name}.{key}'])}"))
        elif key == "trusted_proxies" and (wrong := _not_networks(str(value))):
            faults += [Fault(f"{name}.{key}", repr(piece), "an address or network like 10.0.0.0/8") for piece in wrong]
        elif (allowed := RANGES.get(f"{name}.{key}")) and value not in allowed:
            faults.append(Fault(f"{name}.{key}", repr(value), f"a number from {allowed.start} to {allowed.stop - 1}"))
        else:
            good[key] = value
    return shape(**good)


def _gate_faults(gate: Gate) -> list[Fault]:
    faults = []
    if gate.unknown not in GATE_UNKNOWN:
        faults.append(Fault("gate.unknown", repr(gate.unknown), f"one of {', '.join(GATE_UNKNOWN)}"))
    if gate.opens not in GATE_OPENS:
        faults.append(Fault("gate.opens", repr(gate.opens), f"one of {', '.join(GATE_OPENS[1:])}"))
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,63}", gate.subject_header):
        faults.append(Fault("gate.subject_header", repr(gate.subject_header), "a header name of letters, digits and dashes"))
    if gate.rate_per_s <= 0:
        faults.append(Fault("gate.rate_per_s", repr(gate.rate_per_s), "more than 0"))
    return faults


def _not_networks(text: str) -> list[str]:
    """Return which pieces of a list of networks are none."""
    wrong = []
    for piece in text.replace(",", " ").split():
        try:
            ipaddress.ip_network(piece, strict=False)
        except ValueError:
            wrong.append(piece)
    return wrong


def home_from_environment() -> Path:
    """Return the estate's folder: TOCSIN_HOME, else the default home."""
    return default_home().parent


@functools.cache
def current() -> Config:
    """Return the configuration of this process; the same object at every call. Raises BadInput with all faults."""
    home = home_from_environment()
    file = home / "tocsin.toml"
    try:
        text = file.read_text()
    except (FileNotFoundError, PermissionError):
        text = ""
    return parse(
        text, home=home, database_url=os.environ.get("TOCSIN_DATABASE_URL", ""), process=os.environ.get("TOCSIN_PROCESS", "operator")
    )
