"""Enrol operators, ask for a second signature, sign."""

from __future__ import annotations

import binascii
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.contrib.auth.hashers import make_password
from django.db import transaction

from tocsin.evidence import actions as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel import config
from tocsin.kernel.errors import BadInput, NotFound, Refused
from tocsin.kernel.private import Private
from tocsin.kernel.sealing import estate_id

from . import keyfiles, policy
from .models import Approval, Operator, Signature
from .types import ROLES


def add_operator(
    *, name: str, roles: Sequence[str], at: datetime, by: str, password: Private[str] | None = None, public_key: bytes | None = None
) -> Path | None:
    """Enrol an operator, or give an existing one these roles and password. Returns the private key's file if the pair was made here.

    With `public_key` the operator keeps the private key elsewhere. The trusted public key is on disk before the row is committed: a
    crash between the two costs a repeat of this call. Raises BadInput.
    """
    keyfiles.check_name(name)
    unknown = [r for r in roles if r not in ROLES]
    if unknown:
        raise BadInput.of("roles", unknown, f"some of {', '.join(ROLES)}")
    home, private = config.current().home, None
    if public_key is None:
        public_key, private = keyfiles.create(home, name, roles=roles)
    else:
        keyfiles.trust(home, name, public_key, roles=roles)
    with transaction.atomic():
        values: dict[str, Any] = {"roles": list(roles), "public_key": public_key}
        if password is not None:
            values["password"] = make_password(password.reveal())
        _, new = Operator.objects.update_or_create(
            name=name, defaults=values, create_defaults=values | {"created_at": at, "password": values.get("password", make_password(None))}
        )
        evidence.record(
            EventType.OPERATOR_ADDED,
            at=at,
            actor=by,
            body={"name": name, "roles": sorted(roles), "public_key": binascii.hexlify(public_key).decode(), "new": new},
        )
    return private


def request(act: str, payload: Mapping[str, Any], *, by: str, at: datetime) -> int:
    """Ask for the signatures an act needs; return the approval's id. The same act with the same payload returns the open one."""
    if act not in policy.RULES:
        raise BadInput.of("act", act, f"one of {', '.join(policy.RULES)}")
    same = policy.sameness(act, payload)
    with transaction.atomic():
        waiting = Approval.objects.filter(sameness=same, closed_at=None).first()
        if waiting:
            return waiting.pk
        request = uuid4()
        digest = policy.digest(act, payload, estate=estate_id(), request=request)
        made = Approval.objects.create(
            act=act, sameness=same, request=request, digest=digest, payload=dict(payload), requested_by=by, requested_at=at
        )
        evidence.record(EventType.APPROVAL_REQUESTED, at=at, actor=by, body={"approval": made.pk, "act": act, "digest": digest.hex()})
        return made.pk


def sign(approval: int, *, operator: str, signature: bytes, at: datetime) -> None:
    """Add an operator's signature. Signing twice changes nothing. Raises NotFound, or Refused for a signature that does not verify."""
    with transaction.atomic():
        try:
            wanted = Approval.objects.select_for_update().get(pk=approval)
            signer = Operator.objects.get(name=operator)
        except (Approval.DoesNotExist, Operator.DoesNotExist):
            raise NotFound(f"no approval {approval}, or no operator {operator!r}") from None
        known = keyfiles.trusted(config.current().home, operator)
        digest = policy.digest(wanted.act, wanted.payload, estate=estate_id(), request=wanted.request)
        if not signer.is_active or known is None or not policy.valid(signature, digest=digest, public_key=known.public_key):
            raise Refused(f"this is not a signature of the active operator {operator} over approval {approval}", approval=approval)
        _, new = Signature.objects.get_or_create(approval=wanted, operator=signer, defaults={"signature": signature, "at": at})
        if new:
            evidence.record(
                EventType.APPROVAL_SIGNED,
                at=at,
                actor=operator,
                body={"approval": approval, "act": wanted.act, "digest": bytes(wanted.digest).hex(), "signature": signature.hex()},
            )


def sign_with_key_file(approval: int, *, operator: str, key_file: Path, at: datetime) -> None:
    """Sign with a key file, as `tocsin approval sign ID --key FILE` does. The digest is recomputed from the payload shown."""
    try:
        wanted = Approval.objects.get(pk=approval)
    except Approval.DoesNotExist:
        raise NotFound(f"no approval {approval}") from None
    digest = policy.digest(wanted.act, wanted.payload, estate=estate_id(), request=wanted.request)
    signature = keyfiles.load_private(key_file).sign(policy.signed_text(digest))
    sign(approval, operator=operator, signature=signature, at=at)


def close(approval: int, *, at: datetime) -> None:
    """Mark an approval as used, in the transaction of the act: the next identical act needs signatures of its own."""
    if not Approval.objects.filter(pk=approval, closed_at=None).update(closed_at=at):
        raise Refused(f"approval {approval} was used already", approval=approval)
