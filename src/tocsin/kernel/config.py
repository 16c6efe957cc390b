"""Configuration of an estate: read once at start from `HOME/tocsin.toml` and the environment, typed, refused as a whole.

    [estate]   kind = "demo" | "drill" | "live"
    [company]  name, brand, domain, locale
    [web]      console_port, public_port, public_url, secure_cookies
    [mail]     transport (dotted path of an adapter), relay_host, relay_port, from_address, from_name, help_address,
               bounce_domain, dkim_domain, dkim_selector, connections, messages_per_connection, rate_per_s,
               reset_from_address (default: password@ the domain of from_address)
    [credentials] link_minutes, letter_days
    [intake]   host, port
    [practice] smtp_port, http_port          only in demo and drill estates
    [vault]    socket (default HOME/vault/vault.sock)
    [keys]     service (dotted path of an adapter)

Environment: TOCSIN_HOME, TOCSIN_DATABASE_URL, TOCSIN_PROCESS (which of the processes below this is).
The file is optional: without it every value has its default, so that type checkers and tests can load the settings.
"""

from __future__ import annotations

import functools
import os
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .errors import BadInput, Fault
from .localpg import default_home

PROCESSES = ("operator", "console", "public", "intake", "worker", "sequencer", "postoffice", "owner")
ESTATE_KINDS = ("demo", "drill", "live")


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
    """Ports on loopback; a proxy in front brings TLS. `public_url` is the one host that letters may name."""

    console_port: int = 8000
    public_port: int = 8001
    public_url: str = "http://127.0.0.1:8001"
    secure_cookies: bool = False


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
    reset_from_address: str = ""

    @property
    def reset_from(self) -> str:
        """Return the sender of mail that one person waits for: not the one that a mailing to millions may wear out."""
        return self.reset_from_address or f"password@{self.from_address.rpartition('@')[2]}"


@dataclass(frozen=True, slots=True)
class Credentials:
    """How long a mailed link is good after the relay took it (at most a day: SP 800-63B-4), and a code by letter after it was printed."""

    link_minutes: int = 30
    letter_days: int = 21


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
class Vault:
    """How the main side reaches the vault: a socket, no secret. Empty means HOME/vault/vault.sock."""

    socket: str = ""


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """Which adapter answers for keys."""

    service: str = "tocsin.kernel.sealing.adapters.files.FileKeys"


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
    intake: Intake = field(default_factory=Intake)
    practice: Practice = field(default_factory=Practice)
    vault: Vault = field(default_factory=Vault)
    keys: KeyFiles = field(default_factory=KeyFiles)
    credentials: Credentials = field(default_factory=Credentials)


SECTIONS: dict[str, type] = {
    "estate": Estate,
    "company": Company,
    "web": Web,
    "mail": Mail,
    "intake": Intake,
    "practice": Practice,
    "vault": Vault,
    "keys": KeyFiles,
    "credentials": Credentials,
}
RANGES = {"credentials.link_minutes": range(5, 24 * 60 + 1), "credentials.letter_days": range(3, 61)}


def parse(text: str, *, home: Path, database_url: str, process: str) -> Config:
    """Return the configuration that `text` (TOML) describes. Raises BadInput with every fault in it."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise BadInput.of("tocsin.toml", str(e), "valid TOML") from None
    faults: list[Fault] = []
    sections: dict[str, Any] = {}
    for name, values in raw.items():
        if name not in SECTIONS or not isinstance(values, dict):
            faults.append(Fault(name, repr(values), f"one of the sections {', '.join(SECTIONS)}"))
            continue
        sections[name] = _section(name, SECTIONS[name], values, faults)
    if process not in PROCESSES:
        faults.append(Fault("TOCSIN_PROCESS", repr(process), f"one of {', '.join(PROCESSES)}"))
    kind = raw.get("estate", {}).get("kind", "live") if isinstance(raw.get("estate"), dict) else "live"
    if kind not in ESTATE_KINDS:
        faults.append(Fault("estate.kind", repr(kind), f"one of {', '.join(ESTATE_KINDS)}"))
    web = sections.get("web", Web())
    if web.secure_cookies and not web.public_url.startswith("https://"):
        faults.append(Fault("web.public_url", repr(web.public_url), "an https address: secure cookies are never sent to another"))
    if faults:
        raise BadInput(faults)
    return Config(home=home, database_url=database_url, process=process, **sections)


def _section(name: str, shape: type, values: dict[str, Any], faults: list[Fault]) -> Any:
    known = {f.name: f for f in fields(shape)}
    good: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            faults.append(Fault(f"{name}.{key}", repr(value), f"a known key: {', '.join(known)}"))
            continue
        wanted = type(known[key].default)
        if wanted is float and type(value) is int:
            good[key] = float(value)
        elif type(value) is not wanted:
            faults.append(Fault(f"{name}.{key}", repr(value), f"a value of type {wanted.__name__}"))
        elif isinstance(value, int) and key.endswith("port") and not 0 < value < 65_536:
            faults.append(Fault(f"{name}.{key}", repr(value), "a port from 1 to 65535"))
        elif (allowed := RANGES.get(f"{name}.{key}")) and value not in allowed:
            faults.append(Fault(f"{name}.{key}", repr(value), f"a number from {allowed.start} to {allowed.stop - 1}"))
        else:
            good[key] = value
    return shape(**good)


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
