"""Passkeys: what the browser is asked, and whether its answer is right. No database.

The relying party is the host of `web.public_url`, never one that a request names. Source: WebAuthn Level 2, sections 7.1 and 7.2, as
py_webauthn implements them; challenge of 192 random bits behind the time of issue (ASVS 5.0 V6.7.2 wants 64).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

import webauthn
from webauthn.helpers import encode_cbor, exceptions, options_to_json
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from tocsin.credentials.types import SECOND_STEP_LIFE, Ceremony
from tocsin.kernel import config
from tocsin.kernel.errors import BadInput
from tocsin.kernel.sealing import lookup_digest

from . import tickets

ANSWER_CHARS_MAX = 20_000
RANDOM_BYTES = 24
# A public key on P-256 (its base point) that no account has: an answer of an unknown passkey is checked against it, and thrown away.
NOBODY = encode_cbor({
    1: 2, 3: -7, -1: 1,
    -2: bytes.fromhex("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"),
    -3: bytes.fromhex("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"),
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class NewKey:
    """A passkey that a browser has just made: its id, public key (COSE) and counter."""

    handle: bytes
    public_key: bytes
    sign_count: int


def relying_party() -> tuple[str, str]:
    """Return the relying party's id (a host) and the origin that browsers must name."""
    parts = urlsplit(config.current().web.public_url)
    return parts.hostname or "", f"{parts.scheme}://{parts.netloc}"


def to_make(*, account: int, have: Sequence[bytes], at: datetime) -> Ceremony:
    """Return what a browser needs to make a passkey for this account. The account goes by a digest, no name or address is stored in it."""
    challenge = _challenge(at)
    options = webauthn.generate_registration_options(
        rp_id=relying_party()[0],
        rp_name=config.current().company.brand,
        user_id=lookup_digest(str(account), purpose="passkey-user"),
        user_name=f"{config.current().company.brand} account",
        challenge=challenge,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=h) for h in have],
    )
    sealed = tickets.make("passkey-new", at=at, life=SECOND_STEP_LIFE, challenge=challenge.hex(), account=account)
    return Ceremony(options=options_to_json(options), challenge=sealed)


def made(answer: str, *, challenge: str, account: int, at: datetime) -> NewKey:
    """Return the passkey that a browser made. Raises NotFound for a challenge that is not ours or too old, BadInput for a wrong answer."""
    ticket = tickets.read("passkey-new", challenge, at=at)
    rp, origin = relying_party()
    try:
        if ticket["account"] != account or len(answer) > ANSWER_CHARS_MAX:
            raise ValueError
        right = webauthn.verify_registration_response(
            credential=answer,
            expected_challenge=bytes.fromhex(ticket["challenge"]),
            expected_rp_id=rp,
            expected_origin=origin,
            require_user_verification=True,
        )
    except (exceptions.WebAuthnException, ValueError, KeyError):
        raise BadInput.of("passkey", f"{len(answer)} characters", "the answer of a browser to the question it was just asked") from None
    return NewKey(handle=right.credential_id, public_key=right.credential_public_key, sign_count=right.sign_count)


def to_use(*, allow: Sequence[bytes] = (), at: datetime) -> Ceremony:
    """Return what a browser needs to use a passkey: one of `allow`, or without them whichever it keeps for this site."""
    challenge = _challenge(at)
    options = webauthn.generate_authentication_options(
        rp_id=relying_party()[0],
        challenge=challenge,
        allow_credentials=[PublicKeyCredentialDescriptor(id=h) for h in allow],
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return Ceremony(
        options=options_to_json(options), challenge=tickets.make("passkey", at=at, life=SECOND_STEP_LIFE, challenge=challenge.hex())
    )


def handle_of(answer: str) -> bytes | None:
    """Return which passkey an answer claims to come from, None if it claims nothing readable."""
    try:
        if len(answer) > ANSWER_CHARS_MAX:
            return None
        return webauthn.base64url_to_bytes(str(json.loads(answer)["rawId"]))
    except (ValueError, KeyError, TypeError):
        return None


def counter_of(answer: str, *, challenge: str, public_key: bytes, sign_count: int, at: datetime) -> tuple[int, int] | None:
    """Return the step (microsecond of the challenge) and counter of a right answer, None for a wrong one.

    Raises NotFound for a challenge that is not ours or too old. The step must then be later than the last one that was accepted.
    """
    asked = bytes.fromhex(tickets.read("passkey", challenge, at=at)["challenge"])
    rp, origin = relying_party()
    try:
        right = webauthn.verify_authentication_response(
            credential=answer,
            expected_challenge=asked,
            expected_rp_id=rp,
            expected_origin=origin,
            credential_public_key=public_key,
            credential_current_sign_count=sign_count,
            require_user_verification=True,
        )
    except (exceptions.WebAuthnException, ValueError, KeyError):
        return None
    return int.from_bytes(asked[:8], "big"), right.new_sign_count


def _challenge(at: datetime) -> bytes:
    return int(at.timestamp() * 1_000_000).to_bytes(8, "big") + secrets.token_bytes(RANDOM_BYTES)
