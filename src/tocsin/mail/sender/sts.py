"""MTA-STS: what a domain asks of those who send it mail. Pure: the texts of its record and policy in, which hosts may be used out.

    record   TXT at _mta-sts.DOMAIN        v=STSv1; id=ID                          a new id announces a new policy
    policy   https://mta-sts.DOMAIN/.well-known/mta-sts.txt                        lines of `key: value`: version, mode, mx (repeated), max_age
Source: RFC 8461.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tocsin.kernel.errors import BadInput, Fault

POLICY_BYTES_MAX = 65_536  # Source: RFC 8461 s3.3 (implementations should limit it; 64 KB)
MAX_AGE_S_MAX = 31_557_600  # Source: RFC 8461 s3.2, about a year
HOSTS_MAX = 100
PATH = "/.well-known/mta-sts.txt"

_RECORD = re.compile(r"v=STSv1[ \t]*;[ \t]*id=([A-Za-z0-9]{1,32})[ \t]*(?:;.*)?", re.DOTALL)
_HOST = re.compile(r"(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
Mode = Literal["enforce", "testing", "none"]


@dataclass(frozen=True, slots=True)
class StsPolicy:
    """A policy: `hosts` are names, or patterns whose first label is `*`; good for `max_age_s` seconds after it was fetched."""

    mode: Mode
    hosts: tuple[str, ...]
    max_age_s: int

    def allows(self, host: str) -> bool:
        """Return whether mail may go to a host. `*` stands for exactly one label. Source: RFC 8461 s4.1."""
        name = host.lower().rstrip(".")
        return any(name == h or (h.startswith("*.") and name.partition(".")[2] == h[2:]) for h in self.hosts)


def record_id(texts: Sequence[str]) -> str | None:
    """Return the id of the record among a name's TXT records; None if there is none, or more than one. Source: RFC 8461 s3.1."""
    ours = [t for t in texts if t.startswith("v=STSv1")]
    found = _RECORD.fullmatch(ours[0]) if len(ours) == 1 else None
    return found[1] if found else None


def parse(text: str) -> StsPolicy:
    """Return the policy that a file holds. Raises BadInput with every fault. Unknown keys are passed over, as the standard asks."""
    values: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            values.setdefault(key.strip(), []).append(value.strip())
    faults: list[Fault] = []
    one = {key: (values.get(key) or [""])[0] for key in ("version", "mode", "max_age")}
    if one["version"] != "STSv1":
        faults.append(Fault("version", repr(one["version"]), "STSv1"))
    if one["mode"] not in {"enforce", "testing", "none"}:
        faults.append(Fault("mode", repr(one["mode"]), "enforce, testing or none"))
    if not re.fullmatch(r"[0-9]{1,10}", one["max_age"]):
        faults.append(Fault("max_age", repr(one["max_age"]), "seconds, up to ten digits"))
    hosts = [h.lower() for h in values.get("mx", [])]
    faults += [Fault("mx", repr(h)[:80], "a host name, or *. and a domain name") for h in hosts if not _HOST.fullmatch(h)]
    if len(hosts) > HOSTS_MAX or (not hosts and one["mode"] != "none"):
        faults.append(Fault("mx", str(len(hosts)), f"1 to {HOSTS_MAX} hosts"))
    if faults:
        raise BadInput(faults)
    mode: Mode = "enforce" if one["mode"] == "enforce" else "testing" if one["mode"] == "testing" else "none"
    return StsPolicy(mode, tuple(hosts), min(int(one["max_age"]), MAX_AGE_S_MAX))
