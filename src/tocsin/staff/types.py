"""Values of the staff room that cross its wall."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

ROLES = ("commander", "legal", "communications", "identity", "mail_operator", "support_lead", "evidence_custodian", "observer", "drafted")


@dataclass(frozen=True, slots=True)
class OperatorInfo:
    """A member of the response team."""

    name: str
    roles: tuple[str, ...]
    active: bool
    can_sign: bool


@dataclass(frozen=True, slots=True)
class ApprovalInfo:
    """An act that waits for, or has, its signatures. `digest` covers `act` and `payload`; `granted` means two valid signatures stand."""

    id: int
    act: str
    digest: bytes
    payload: dict[str, Any]
    signed_by: tuple[str, ...]
    needs: int
    roles: tuple[str, ...]
    granted: bool
    requested_by: str
    requested_at: datetime
