"""Values of the inventory that cross its wall: element codes and their bits, the data map, reach and cuts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from types import MappingProxyType
from typing import Any

# The published numbering. A bit is never reused and never moved: masks lie in tables and in frozen exposures.
# Raw codes only; codes that a law derives (`online_credentials`), asks for or takes from a regime have no bit.
ELEMENTS: Mapping[str, int] = MappingProxyType({
    "name": 0,
    "email": 1,
    "username": 2,
    "postal_address": 3,
    "phone": 4,
    "dob": 5,
    "mothers_maiden_name": 6,
    "ssn": 7,
    "tax_id": 8,
    "irs_ip_pin": 9,
    "drivers_license_or_state_id": 10,
    "passport": 11,
    "military_id": 12,
    "tribal_id": 13,
    "student_id": 14,
    "voter_id": 15,
    "other_gov_id": 16,
    "employer_id_with_code": 17,
    "bank_account_number": 18,
    "payment_card_number": 19,
    "payment_card_code": 20,
    "payment_card_expiry": 21,
    "payment_card_track": 22,
    "account_pin": 23,
    "payment_card_last4": 24,
    "account_access_credentials": 25,
    "unique_electronic_id_with_code": 26,
    "financial_access_information": 27,
    "password": 28,
    "password_hash": 29,
    "security_answer": 30,
    "email_account_credentials": 31,
    "security_tokens": 32,
    "private_key": 33,
    "electronic_signature": 34,
    "medical": 35,
    "medical_id": 36,
    "health_insurance": 37,
    "genetic": 38,
    "biometric": 39,
    "geolocation": 40,
    "alpr": 41,
    "tax_information": 42,
    "work_evaluations": 43,
    "birth_or_marriage_certificate": 44,
    "other_personal": 45,
})  # fmt: skip
MASK_BITS_MAX = 63  # a mask is a PostgreSQL bigint

REGIMES = ("phi", "phr", "glba", "reg_sp", "cpni")
PEOPLE = ("customer", "employee", "supplier")
KINDS = ("host", "service", "desk")
# What a system can have in hand of the credentials themselves: whoever controls it sees, or makes, the new ones too.
HANDLES = ("login", "reset_site", "mail_relay", "operator_identity", "tocsin")
EVERYBODY = "*"  # stands in a path where a list was not stated and so lets everybody in
NOBODY = "-"  # stands for the lacking role where a list names none


def mask_of(codes: Iterable[str]) -> int:
    """Return the bits of raw element codes, OR-ed. Raises KeyError for a code that has none."""
    mask = 0
    for code in codes:
        mask |= 1 << ELEMENTS[code]
    return mask


def codes_of(mask: int) -> tuple[str, ...]:
    """Return the codes of a mask in the order of their bits. Raises ValueError for a bit that no code has."""
    if mask < 0 or mask >> len(ELEMENTS):
        raise ValueError(f"mask {mask} has bits that no element code has")
    return tuple(code for code, bit in ELEMENTS.items() if mask >> bit & 1)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing `lint` says about a data map: where (file, line, key path), what, and whether it forbids loading."""

    severity: str  # error | warning
    file: str
    line: int | None
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line is not None else self.file
        return f"{where}: {self.severity}: {self.path}: {self.message}"


@dataclass(frozen=True, slots=True)
class FieldMap:
    """One field of a store: what it holds, and how it is protected. `key` is `collection.field`."""

    key: str
    codes: tuple[str, ...]
    cipher: str | None = None
    key_id: str | None = None
    hash: str | None = None


@dataclass(frozen=True, slots=True)
class SystemMap:
    """One host, service or desk. `zone` and `admins` are None where the map does not say, which opens them to everybody."""

    key: str
    kind: str
    zone: str | None
    runs_as: tuple[str, ...]
    has_credential: tuple[str, ...]
    admins: tuple[str, ...] | None
    can_connect: tuple[str, ...]
    evidence: Mapping[str, tuple[str, ...]]
    handles_credentials: tuple[str, ...] = ()  # of HANDLES


@dataclass(frozen=True, slots=True)
class StoreMap:
    """One store of personal data. `grants` maps a role to what it may do; None where the map does not say: everybody."""

    key: str
    people: str
    zone: str | None
    vault: bool
    subject_key: str
    residence: tuple[str, ...]
    language: str | None
    grants: Mapping[str, tuple[str, ...]] | None
    regime: tuple[str, ...]
    free_text: tuple[str, ...]
    as_of: date | None
    evidence: Mapping[str, tuple[str, ...]]
    fields: tuple[FieldMap, ...]

    @property
    def element_mask(self) -> int:
        """Return the bits of everything the store may hold, sealed or not, free text included."""
        return self.masks(frozenset({f.key_id for f in self.fields if f.key_id}))[0]

    def masks(self, keys_held: frozenset[str]) -> tuple[int, int]:
        """Return (clear, sealed) for an intruder who holds these keys. A code that lies clear anywhere is clear."""
        clear, sealed = mask_of(self.free_text), 0
        for field in self.fields:
            if field.cipher is not None and field.key_id not in keys_held:
                sealed |= mask_of(field.codes)
            else:
                clear |= mask_of(field.codes)
        return clear, sealed & ~clear


@dataclass(frozen=True, slots=True)
class DataMap:
    """A whole data map as loaded; `digest` is the SHA-256 of its canonical JSON, empty until that is made."""

    systems: tuple[SystemMap, ...]
    stores: tuple[StoreMap, ...]
    digest: bytes = b""

    def store(self, key: str) -> StoreMap:
        """Return one store. Raises KeyError."""
        for store in self.stores:
            if store.key == key:
                return store
        raise KeyError(key)


@dataclass(frozen=True, slots=True)
class MapInfo:
    """A loaded version of the data map."""

    id: int
    digest: bytes
    systems: int
    stores: int
    loaded_at: datetime
    loaded_by: str


@dataclass(frozen=True, slots=True)
class StoreReached:
    """A store the intruder can read: by which path (system, role, system, role, ..., store), and which elements in clear or sealed."""

    store: str
    path: tuple[str, ...]
    clear: int
    sealed: int
    state: str = "reachable"  # reachable | accessed | exfiltrated; more than reachable needs an exhibit


@dataclass(frozen=True, slots=True)
class CutGate:
    """One access list of a cut: `grants:STORE`, `admins:SYSTEM` or `zone:FROM>TO`, and the exhibits that show it as it was."""

    dimension: str  # credential | network
    control: str
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Missing:
    """A way that is open but for one thing: the path up to the asset that held, and a role that would have passed it."""

    path: tuple[str, ...]
    role: str


@dataclass(frozen=True, slots=True)
class StoreCut:
    """Why a store was not reached. Only `proved` may become a sentence "was not exposed".

    `cut` lists the fewest controls (at most CUT_GATES_SHOWN_MAX of `n_controls`); it is empty when neither the network nor the
    credentials alone keep the store apart, and then `missing` says what the intruder lacked.
    """

    store: str
    cut: tuple[CutGate, ...]
    proved: bool
    missing: tuple[Missing, ...] = ()
    n_controls: int = 0


@dataclass(frozen=True, slots=True)
class ReachReport:
    """What an intruder on some hosts controls and reaches, and why the rest held."""

    hosts: tuple[str, ...]
    reached: tuple[StoreReached, ...]
    not_reached: tuple[StoreCut, ...]
    keys_held: tuple[str, ...]
    controlled: tuple[str, ...]
    roles_held: tuple[str, ...]
    map_digest: bytes

    def as_json(self) -> dict[str, Any]:
        """Return the document of `inventory reach --json`."""
        return {
            "hosts": list(self.hosts),
            "reached": [
                {
                    "store": r.store,
                    "state": r.state,
                    "path": list(r.path),
                    "elements": list(codes_of(r.clear)),
                    "encrypted": list(codes_of(r.sealed)),
                }
                for r in self.reached
            ],
            "not_reached": [
                {
                    "store": c.store,
                    "proved": c.proved,
                    "n_controls": c.n_controls,
                    "cut": [{"dimension": g.dimension, "control": g.control, "evidence": list(g.evidence)} for g in c.cut],
                    "missing": [{"path": list(m.path), "role": m.role} for m in c.missing],
                }
                for c in self.not_reached
            ],
            "keys_held": list(self.keys_held),
            "controlled": list(self.controlled),
            "roles_held": list(self.roles_held),
            "map_digest": self.map_digest.hex(),
        }
