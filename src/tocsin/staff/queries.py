"""Who is on the team, what waits for signatures, and the check that every irreversible act makes for itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tocsin.kernel import config
from tocsin.kernel.errors import NotFound, Refused
from tocsin.kernel.sealing import estate_id

from . import keyfiles, policy
from .models import Approval, Operator
from .types import ApprovalInfo, OperatorInfo

SHOWN_MAX = 500


def require(approval: int | None, *, act: str, payload: Mapping[str, Any]) -> ApprovalInfo:
    """Return the approval if two people have signed exactly this act; raise Refused, naming what lacks, otherwise.

    The process that acts calls this with the payload of what it is about to do. Nothing in the database is trusted for it but the
    signatures themselves: the digest is recomputed, the keys come from the estate's home.
    """
    wanted = _signed(approval, act=act, payload=payload)
    if wanted.closed_at is not None:
        raise Refused(f"approval {approval} was used already", approval=approval)
    return _info(wanted)


def signed(approval: int | None, *, act: str, payload: Mapping[str, Any]) -> ApprovalInfo:
    """Return the approval if two people have signed exactly this act, used already or not; raise Refused as `require` does.

    For processes that carry on what an approval has started (a sender, block after block) and check for themselves what they send.
    """
    return _info(_signed(approval, act=act, payload=payload))


def approval(id: int) -> ApprovalInfo:
    """Return one approval. Raises NotFound."""
    try:
        return _info(Approval.objects.get(pk=id))
    except Approval.DoesNotExist:
        raise NotFound(f"no approval {id}") from None


def approvals(*, open_only: bool = True) -> list[ApprovalInfo]:
    """Return approvals, newest first; at most SHOWN_MAX."""
    found = Approval.objects.filter(closed_at=None) if open_only else Approval.objects.all()
    return [_info(a) for a in found.order_by("-pk")[:SHOWN_MAX]]


def operators() -> list[OperatorInfo]:
    """Return the team, by name."""
    home = config.current().home
    return [
        OperatorInfo(name=o.name, roles=tuple(o.roles), active=o.is_active, can_sign=keyfiles.trusted(home, o.name) is not None)
        for o in Operator.objects.order_by("name")[:SHOWN_MAX]
    ]


def operator(name: str) -> OperatorInfo:
    """Return one member of the team. Raises NotFound."""
    found = Operator.objects.filter(name=name).first()
    if found is None:
        raise NotFound(f"no operator {name!r}")
    trusted = keyfiles.trusted(config.current().home, found.name) is not None
    return OperatorInfo(name=found.name, roles=tuple(found.roles), active=found.is_active, can_sign=trusted)


def _signed(approval: int | None, *, act: str, payload: Mapping[str, Any]) -> Approval:
    wanted = Approval.objects.filter(pk=approval).first() if approval is not None else None
    if wanted is None and approval is not None:
        raise NotFound(f"no approval {approval}")
    if wanted is None:
        raise Refused(f"{act} needs the approval of two people")
    if bytes(wanted.digest) != policy.digest(act, payload, estate=estate_id(), request=wanted.request) or wanted.act != act:
        raise Refused(f"approval {approval} is for something else ({wanted.act}): what was signed is not what would be done")
    lacks = policy.missing(act, _signers(wanted))
    if lacks:
        raise Refused(f"{act} (approval {approval}) lacks {' and '.join(lacks)}", approval=approval)
    return wanted


def _signers(wanted: Approval) -> dict[str, tuple[str, ...]]:
    """Return the operators whose signatures verify now, with the roles that the home gives them; one name per key.

    A forged row, key, name or role simply does not count: of the database only the signatures are believed.
    """
    home, digest = config.current().home, policy.digest(wanted.act, wanted.payload, estate=estate_id(), request=wanted.request)
    found: dict[bytes, tuple[str, tuple[str, ...]]] = {}
    for s in wanted.signatures.select_related("operator").order_by("pk"):
        known = keyfiles.trusted(home, s.operator.name)
        if s.operator.is_active and known is not None and policy.valid(bytes(s.signature), digest=digest, public_key=known.public_key):
            found.setdefault(known.public_key, (s.operator.name, known.roles))
    return dict(found.values())


def _info(a: Approval) -> ApprovalInfo:
    signers = _signers(a)
    return ApprovalInfo(
        id=a.pk,
        act=a.act,
        digest=bytes(a.digest),
        payload=a.payload,
        signed_by=tuple(sorted(signers)),
        needs=policy.needs(a.act),
        roles=policy.RULES[a.act],
        granted=not policy.missing(a.act, signers),
        requested_by=a.requested_by,
        requested_at=a.requested_at,
    )
