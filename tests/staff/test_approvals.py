"""Dual control through the door: what two people signed is what may be done, and nothing else."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import DatabaseError, transaction

from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel.errors import BadInput, NotFound, Refused
from tocsin.kernel.sealing import estate_id, keyring
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


def wanted(approval: int) -> bytes:
    row = Approval.objects.get(pk=approval)
    return policy.digest(row.act, row.payload, estate=estate_id(), request=row.request)


def test_writing_to_the_database_approves_nothing(team: Path) -> None:
    approval = actions.request("credentials.commit", PAYLOAD, by="ada", at=AT)
    thief = Ed25519PrivateKey.generate()
    text = policy.signed_text(wanted(approval))
    for name in ("ada", "bob"):  # keys exchanged, signatures of the thief
        row = Operator.objects.get(name=name)
        row.public_key = thief.public_key().public_bytes_raw()
        row.save()
        Signature.objects.create(approval_id=approval, operator=row, signature=thief.sign(text), at=AT)
    refused(approval, "2 more signature")
    Signature.objects.all().delete()
    sign(team, approval, "ada")
    good = Signature.objects.get().signature
    for name in ("./ada", "../operators/ada"):  # one signature counted under another name
        double = Operator.objects.create(name=name, roles=["identity"], created_at=AT)
        Signature.objects.create(approval_id=approval, operator=double, signature=good, at=AT)
    refused(approval, "1 more signature")
    for n in (1, 2):  # names that lead to files which the database server can write
        planted = team / f"planted{n}"
        key = Ed25519PrivateKey.generate()
        planted.with_suffix(".pub").write_text(base64.b64encode(key.public_key().public_bytes_raw()).decode() + "\nidentity\n")
        outsider = Operator.objects.create(name=str(planted), roles=["identity"], created_at=AT)
        Signature.objects.create(approval_id=approval, operator=outsider, signature=key.sign(text), at=AT)
    refused(approval, "1 more signature")


def test_a_role_in_the_database_is_no_role(team: Path) -> None:
    approval = actions.request("credentials.commit", PAYLOAD, by="ada", at=AT)
    Operator.objects.filter(name="cyd").update(roles=["identity"])
    for name in ("bob", "cyd"):
        sign(team, approval, name)
    refused(approval, "the role identity")
    sign(team, approval, "ada")
    queries.require(approval, act="credentials.commit", payload=PAYLOAD)


def test_a_signature_serves_one_request_in_one_estate(team: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    first = actions.request("credentials.commit", PAYLOAD, by="ada", at=AT)
    for name in ("ada", "bob"):
        sign(team, first, name)
    queries.require(first, act="credentials.commit", payload=PAYLOAD)
    actions.close(first, at=AT)
    for change in ({"closed_at": None}, {"payload": {**PAYLOAD, "epoch": 9}}):
        with pytest.raises(DatabaseError, match="used once"), transaction.atomic():
            Approval.objects.filter(pk=first).update(**change)
    second = actions.request("credentials.commit", PAYLOAD, by="ada", at=AT)
    for old in Signature.objects.filter(approval=first):
        Signature.objects.create(approval_id=second, operator=old.operator, signature=old.signature, at=AT)
    refused(second, "2 more signature")
    text = policy.signed_text(wanted(second))
    Signature.objects.filter(approval=second).delete()
    for name in ("ada", "bob"):
        sign(team, second, name)
    queries.require(second, act="credentials.commit", payload=PAYLOAD)
    (team / "keys" / "estate_id.key").write_bytes(b"another estate..")
    keyring.key.cache_clear()
    assert policy.signed_text(wanted(second)) != text
    with pytest.raises(Refused):
        queries.require(second, act="credentials.commit", payload=PAYLOAD)


def refused(approval: int, why: str) -> None:
    with pytest.raises(Refused, match=why):
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
