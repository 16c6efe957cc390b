"""How each practice provider treats its recipients, drawn from a seed and the address alone, so that every run repeats.

A recipient has at most one fate. It is found by hashing `seed|address` to a number in [0, 1) and laying the provider's shares end to end:

    unknown     RCPT is refused with 550: no such mailbox                         every time
    full        RCPT is refused with 552: mailbox full                            every time
    greylist    RCPT gets 450 until `greylist_s` have passed since the first try  then accepted for good
    throttle    RCPT gets 421 and the connection closes                           first try only
    dsn         accepted and recorded; a DSN (RFC 3464) follows after `return_delay_s`
    vacation    accepted and recorded; an automatic reply (RFC 3834) follows
    complaint   accepted and recorded; a feedback report (RFC 5965) follows
    lost_reply  accepted and recorded; the connection drops instead of the 250    first try only
    slow        accepted and recorded; the 250 comes `slow_s` late                every time
    cut         the connection drops in the middle of DATA; nothing is recorded   first try only
    refused     the content is refused with 550 after its final dot               every time
    delayed     accepted and recorded; a report of delay (RFC 3464) follows       a warning, no failure

Beside the shares a provider may close a connection with 421 after `messages_per_connection_max` messages to it, and may take no more than
`rate_per_s_max` messages a second: whoever sends more hears its throttle, and once it said so it says so for `penalty_s` to everything (as
Yahoo's TSS04). These two follow from what is sent and when; everything else from the seed.
A provider speaks in its `style` (`office/styles.py`). Shares are chosen for practice, not measured.
Source: mail.md sections 2 and 5; RFC 3463, 3464, 3834, 5321, 5965.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from pathlib import Path
from typing import Any

from tocsin.kernel.errors import BadInput, Fault

from .styles import STYLES

FATES = ("unknown", "full", "greylist", "throttle", "dsn", "vacation", "complaint", "lost_reply", "slow", "cut", "refused", "delayed")
RETURNED = ("dsn", "vacation", "complaint", "delayed")  # fates after which the office writes back
PROVIDERS_MAX = 200
DELAY_S_MAX = 3600.0
_SPAN = float(1 << 64)


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider: its domains and the share of its recipients for each fate (fractions; the rest is delivered quietly)."""

    name: str
    domains: tuple[str, ...] = ()
    style: str = "plain"
    unknown: float = 0.0
    full: float = 0.0
    greylist: float = 0.0
    throttle: float = 0.0
    dsn: float = 0.0
    vacation: float = 0.0
    complaint: float = 0.0
    lost_reply: float = 0.0
    slow: float = 0.0
    cut: float = 0.0
    refused: float = 0.0
    delayed: float = 0.0
    greylist_s: float = 2.0
    return_delay_s: float = 1.0
    slow_s: float = 0.25
    messages_per_connection_max: int = 0  # 0: no limit
    rate_per_s_max: int = 0  # 0: no limit
    penalty_s: float = 0.0

    def steps(self) -> tuple[tuple[float, str], ...]:
        """Return the fates of a share above zero with their cumulative upper bounds."""
        total, steps = 0.0, []
        for fate in FATES:
            share: float = getattr(self, fate)
            if share > 0:
                total += share
                steps.append((total, fate))
        return tuple(steps)


ORDINARY = Provider("ordinary", unknown=0.004, full=0.001, greylist=0.01, dsn=0.002, vacation=0.003, slow=0.0005)
QUIET = Provider("quiet")


@dataclass(slots=True)
class Personalities:
    """All providers of a post office and the seed. `default` serves every domain that no provider names."""

    seed: int = 1
    default: Provider = ORDINARY
    providers: tuple[Provider, ...] = ()
    data_when_no_recipient: bool = False  # answer 354 although every RCPT was refused, as RFC 2920 s3.1 allows
    _by_domain: dict[str, Provider] = field(init=False, repr=False)
    _steps: dict[str, tuple[tuple[float, str], ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._by_domain = {domain.lower(): provider for provider in self.providers for domain in provider.domains}
        self._steps = {provider.name: provider.steps() for provider in (self.default, *self.providers)}

    def provider_of(self, address: str) -> Provider:
        """Return the provider of an address in lower case."""
        return self._by_domain.get(address.rpartition("@")[2], self.default)

    def fate(self, address: str, provider: Provider) -> str:
        """Return the fate of a recipient, or "" for quiet delivery. Same seed and address, same fate."""
        steps = self._steps[provider.name]
        if not steps:
            return ""
        draw = number(self.seed, address) / _SPAN
        for bound, fate in steps:
            if draw < bound:
                return fate
        return ""


def quiet(seed: int = 1) -> Personalities:
    """Return personalities that accept and deliver everything."""
    return Personalities(seed=seed, default=QUIET)


def number(seed: int, text: str) -> int:
    """Return 64 even bits that follow from the seed and the text."""
    return int.from_bytes(blake2b(f"{seed}|{text}".encode(), digest_size=8).digest(), "big")


def reply(provider: Provider, situation: str, *, seed: int, address: str, seconds: float = 0) -> bytes:
    """Return what a provider says in a situation (of `styles.SITUATIONS`) as SMTP lines; its texts are chosen among by the address."""
    texts = STYLES[provider.style][situation]
    chosen = number(seed, f"text|{address}")
    lines = texts[chosen % len(texts)]
    values = {"ticket": f"{chosen >> 16:012x}"[:12], "seconds": max(1, round(seconds)), "address": address, "domain": address.rpartition("@")[2]}
    return b"".join(line.format_map(values).encode() + b"\r\n" for line in lines)


def load(file: Path) -> Personalities:
    """Read personalities from a TOML file: `seed`, `[default]`, `[[provider]]`. Raises BadInput with every fault in it."""
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise BadInput.of(file.name, str(e), "a TOML file in UTF-8") from None
    faults: list[Fault] = []
    personalities = from_values(raw, faults=faults)
    if faults:
        raise BadInput(faults)
    return personalities


def from_values(raw: dict[str, Any], *, faults: list[Fault], where: str = "") -> Personalities:
    """Return the personalities in a parsed table; what is wrong with it is added to `faults`."""
    dot = f"{where}." if where else ""
    faults.extend(Fault(f"{dot}{key}", repr(raw[key])[:80], "one of seed, enabled, data_when_no_recipient, default, provider")
                  for key in raw if key not in {"seed", "enabled", "data_when_no_recipient", "default", "provider"})
    seed, enabled, late = raw.get("seed", 1), raw.get("enabled", True), raw.get("data_when_no_recipient", False)
    if type(seed) is not int:
        faults.append(Fault(f"{dot}seed", repr(seed), "a whole number"))
    for key, value in (("enabled", enabled), ("data_when_no_recipient", late)):
        if type(value) is not bool:
            faults.append(Fault(f"{dot}{key}", repr(value), "true or false"))
    default_raw, rows = raw.get("default"), raw.get("provider", [])
    if not isinstance(rows, list) or len(rows) > PROVIDERS_MAX:
        faults.append(Fault(f"{dot}provider", type(rows).__name__, f"a list of at most {PROVIDERS_MAX} tables [[{dot}provider]]"))
        rows = []
    default = ORDINARY if default_raw is None else _provider(default_raw, f"{dot}default", faults, name="default")
    providers = tuple(_provider(row, f"{dot}provider[{i}]", faults, name=None) for i, row in enumerate(rows))
    seen: set[str] = set()
    for provider in providers:
        for key in (provider.name, *provider.domains):
            if key in seen:
                faults.append(Fault(f"{dot}provider", repr(key), "a name or domain that no other provider has"))
            seen.add(key)
    if not enabled:
        default, providers = QUIET, ()
    return Personalities(seed=seed if type(seed) is int else 1, default=default, providers=providers, data_when_no_recipient=late is True)


def _provider(row: Any, where: str, faults: list[Fault], *, name: str | None) -> Provider:
    """Return one provider; a wrong value becomes a fault and its default."""
    if not isinstance(row, dict):
        faults.append(Fault(where, repr(row)[:80], "a table"))
        return QUIET
    values: dict[str, Any] = {} if name is None else {"name": name}
    known = {f.name for f in fields(Provider)}
    for key, value in row.items():
        at = f"{where}.{key}"
        if key not in known or (key in {"name", "domains"} and name is not None):
            faults.append(Fault(at, repr(value)[:80], f"one of {', '.join(sorted(known))}"))
        elif key == "name":
            _take(values, key, value, isinstance(value, str) and 0 < len(value) <= 60, at, "a short name", faults)
        elif key == "domains":
            good = isinstance(value, list) and all(isinstance(d, str) and d and d == d.lower() and "@" not in d for d in value)
            _take(values, key, tuple(value) if good else value, good, at, "a list of domains in lower case", faults)
        elif key == "style":
            _take(values, key, value, isinstance(value, str) and value in STYLES, at, f"one of {', '.join(STYLES)}", faults)
        elif key in {"messages_per_connection_max", "rate_per_s_max"}:
            _take(values, key, value, type(value) is int and value >= 0, at, "a whole number, 0 for no limit", faults)
        elif key.endswith("_s"):
            good = type(value) in (int, float) and 0 <= value <= DELAY_S_MAX
            _take(values, key, value, good, at, f"seconds from 0 to {DELAY_S_MAX:.0f}", faults)
        else:
            _take(values, key, value, type(value) in (int, float) and 0 <= value <= 1, at, "a share from 0 to 1", faults)
    if "name" not in values:
        faults.append(Fault(f"{where}.name", "nothing", "a name"))
        values["name"] = where
    provider = Provider(**values)
    total = sum(getattr(provider, fate) for fate in FATES)
    if total > 1 + 1e-9:
        faults.append(Fault(where, f"shares that add up to {total:.4f}", "at most 1"))
    return provider


def _take(values: dict[str, Any], key: str, value: Any, good: bool, where: str, wanted: str, faults: list[Fault]) -> None:
    """Keep a good value; note a bad one."""
    if good:
        values[key] = value
    else:
        faults.append(Fault(where, repr(value)[:80], wanted))


def dump(personalities: Personalities) -> str:
    """Return personalities as the TOML text that `load` reads."""
    def table(provider: Provider, *, named: bool) -> str:
        values = {f.name: getattr(provider, f.name) for f in fields(Provider)}
        if not named:
            del values["name"], values["domains"]
        return "".join(f"{key} = {json.dumps(list(value) if isinstance(value, tuple) else value)}\n" for key, value in values.items())

    head = f"seed = {personalities.seed}\ndata_when_no_recipient = {json.dumps(personalities.data_when_no_recipient)}\n"
    return head + "\n[default]\n" + table(personalities.default, named=False) + "".join(
        f"\n[[provider]]\n{table(provider, named=True)}" for provider in personalities.providers)
