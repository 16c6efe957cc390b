"""Dual control through the door: what two people signed is what may be done, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel.errors import BadInput, NotFound, Refused
from tocsin.staff import actions, keyfiles, policy, queries
from tocsin.staff.models import Approval, Operator, Signature

AT = datetime(2026, 1, 15, 3, 0, tzinfo=UTC)
PAYLOAD = {"cutover": 1, "epoch": 2}


@pytest.fixture
def team(estate: Path, db: None) -> Path:
    for name, roles in (("ada", ["commander", "identity"]), ("bob", ["legal"]), ("cyd", ["observer"])):
        actions.add_operator(name=name, roles=roles, at=AT, by="owner")
    return estate


def sign(home: Path, approval: int, name: str) -> None:
    actions.sign_with_key_file(approval, operator=name, key_file=keyfiles.folder(home) / f"{name}.key", at=AT)


def test_two_people_one_of_the_role(team: Path) -> None:
    approval = actions.request("credentials.commit", PAYLOAD, by="ada", at=AT)
    assert actions.request("credentials.commit", PAYLOAD, by="bob", at=AT) == approval
    for name, lacks in (("bob", "1 more signature"), ("cyd", "the role identity")):
        sign(team, approval, name)
        with pytest.raises(Refused, match=lacks):
            queries.require(approval, act="credentials.commit", payload=PAYLOAD)
    sign(team, approval, "ada")
    sign(team, approval, "ada")
    assert queries.require(approval, act="credentials.commit", payload=PAYLOAD).signed_by == ("ada", "bob", "cyd")
    with pytest.raises(Refused, match="not what would be done"):
        queries.require(approval, act="credentials.commit", payload={**PAYLOAD, "epoch": 3})
    actions.close(approval, at=AT)
    with pytest.raises(Refused, match="used already"):
        queries.require(approval, act="credentials.commit", payload=PAYLOAD)
    assert queries.signed(approval, act="credentials.commit", payload=PAYLOAD).signed_by == ("ada", "bob", "cyd")
    with pytest.raises(Refused, match="not what would be done"):
        queries.signed(approval, act="credentials.commit", payload={**PAYLOAD, "epoch": 3})
    assert evidence.counts()[EventType.APPROVAL_SIGNED] == 3


def test_writing_to_the_database_approves_nothing(team: Path) -> None:
    approval = actions.request("credentials.commit", PAYLOAD, by="ada", at=AT)
    thief = Ed25519PrivateKey.generate()
    text = policy.signed_text(policy.digest("credentials.commit", PAYLOAD))
    for name in ("ada", "bob"):
        row = Operator.objects.get(name=name)
        row.public_key = thief.public_key().public_bytes_raw()
        row.save()
        Signature.objects.create(approval_id=approval, operator=row, signature=thief.sign(text), at=AT)
    with pytest.raises(Refused, match="2 more signature"):
        queries.require(approval, act="credentials.commit", payload=PAYLOAD)
    Signature.objects.all().delete()
    sign(team, approval, "ada")
    sign(team, approval, "bob")
    Approval.objects.filter(pk=approval).update(payload={"cutover": 99, "epoch": 2})
    with pytest.raises(Refused, match="lacks"):  # the signatures no longer fit what the row now says
        queries.require(approval, act="credentials.commit", payload=PAYLOAD)


def test_a_signature_that_does_not_verify_is_refused(team: Path) -> None:
    approval = actions.request("incidents.declare", {"name": "x"}, by="ada", at=AT)
    with pytest.raises(Refused, match="not a signature"):
        actions.sign(approval, operator="ada", signature=b"\x00" * 64, at=AT)
    with pytest.raises(NotFound):
        actions.sign(approval + 1, operator="ada", signature=b"", at=AT)
    Operator.objects.filter(name="bob").update(is_active=False)
    with pytest.raises(Refused, match="active operator"):
        sign(team, approval, "bob")


def test_names_roles_and_keys_are_checked(team: Path) -> None:
    with pytest.raises(BadInput, match="name"):
        actions.add_operator(name="../eve", roles=[], at=AT, by="owner")
    with pytest.raises(BadInput, match="roles"):
        actions.add_operator(name="eve", roles=["king"], at=AT, by="owner")
    with pytest.raises(BadInput, match="already trusts"):
        actions.add_operator(name="ada", roles=[], at=AT, by="owner", public_key=b"\x01" * 32)
    assert (keyfiles.folder(team) / "ada.key").stat().st_mode & 0o777 == 0o600
