"""Stateless tokens (JWT), ended by retiring their `kid` from the published key set.

`jwks_file` is the JSON Web Key Set that the company's web server publishes; `signing_file` is what its issuer signs with, one line of JSON:
{"kid": ..., "alg": "ES256", "private_key": PEM}. `gate` publishes a set that holds one new key and nothing else, then gives the issuer that
key and runs the reload command. In between new tokens are refused, never old ones accepted.

What this gate cannot do: relying parties cache the set. A token of a retired key lives on at each of them until its cache runs out
(`cache_s`; PyJWT keeps a set 300 s, others an hour). `probe` says so, and `gate` says until when. A relying party behind Tocsin's gate
(`/gate/v1`, which also answers for tokens by their `ep`) does not wait for it.

Canaries are tokens signed with the issuer's key. The door is an address of the company's that takes them as a bearer (`door_url`), or, without it, the
published set fetched fresh from `jwks_url` and the signature verified here. Source: RFC 7517, RFC 7518 s3.1 (ES256, RS256), RFC 7519.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets as randomness
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from tocsin.credentials.port import Finding, Presented, TargetCanary
from tocsin.kernel import clock
from tocsin.kernel.errors import BadInput, Unavailable
from tocsin.kernel.private import Private

from ._files import ValueFile
from ._http import wanted
from ._keys import PLANT_MAX, KeyConnector

TIMEOUT_S = 5.0
CANARY_S = 14 * 86_400
CACHE_S = 3600  # taken when the options do not say how long relying parties keep the set
P256_BYTES = 32


class Adapter(KeyConnector):
    """The port over one published key set."""

    kind = "jwt-kid"

    def __init__(self, name: str, options: Mapping[str, Any], secret: Private[str] | None) -> None:
        taken = wanted(options, {"jwks_file": str, "signing_file": str},
                       {"jwks_url": str, "door_url": str, "issuer": str, "audience": str, "cache_s": int, "reload": list, "subjects": int})  # fmt: skip
        if "jwks_url" not in taken and "door_url" not in taken:
            raise BadInput.of("jwks_url", None, "where the set is published, or a door_url that takes tokens")
        port = f"jwt {name}"
        super().__init__(
            name, taken, secret, [ValueFile(taken["jwks_file"], "raw", "", port), ValueFile(taken["signing_file"], "raw", "", port)], port
        )
        self._cache_s = int(taken.get("cache_s", CACHE_S))

    def _findings(self) -> Sequence[Finding]:
        found = []
        kids = [str(key.get("kid")) for key in self._set(self._files[0].get())]
        if self._signer()["kid"] not in kids:
            found.append(
                Finding("blocker", f"the issuer's kid {self._signer()['kid']!r} is not in the published set", "put both files in order")
            )
        found.append(Finding("warning", f"old tokens live on at relying parties for up to {self._cache_s} s, until their cache of the set runs out",
                             "restart them after the gate, or put them behind /gate/v1"))  # fmt: skip
        if len(kids) > 1:
            found.append(Finding("note", f"all {len(kids)} keys of the set are retired, also those that sign nothing of customers"))
        return found

    def _told(self, at: datetime) -> str:
        return f"the retired keys are out of the set; a relying party may take their tokens until {clock.iso(at + timedelta(seconds=self._cache_s))}"

    def _fresh(self, old: Sequence[str]) -> Sequence[str]:
        key, kid = ec.generate_private_key(ec.SECP256R1()), f"t{randomness.token_hex(8)}"
        numbers = key.public_key().public_numbers()
        public = {"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": kid,
                  "x": _b64(numbers.x.to_bytes(P256_BYTES, "big")), "y": _b64(numbers.y.to_bytes(P256_BYTES, "big"))}  # fmt: skip
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
        return [json.dumps({"keys": [public]}), json.dumps({"kid": kid, "alg": "ES256", "private_key": pem})]

    def plant(self, n: int) -> Sequence[TargetCanary]:
        """Sign tokens of ours with the issuer's key."""
        if not 1 <= n <= PLANT_MAX:
            raise BadInput.of("n", n, f"1 to {PLANT_MAX} canaries")
        planted = []
        for _ in range(n):
            account = f"tocsin-canary-{randomness.token_hex(8)}"
            planted.append(TargetCanary(account, account, {"session": Private(self._token(account))}))
        return planted

    def _token(self, subject: str) -> str:
        signer, now = self._signer(), int(clock.now().timestamp())
        claims = {"sub": subject, "iat": now, "exp": now + CANARY_S}
        claims |= {short: self._options[long] for short, long in (("iss", "issuer"), ("aud", "audience")) if long in self._options}
        head = {"alg": signer["alg"], "kid": signer["kid"], "typ": "JWT"}
        signed = f"{_b64(json.dumps(head).encode())}.{_b64(json.dumps(claims).encode())}"
        try:
            key = serialization.load_pem_private_key(signer["private_key"].encode(), None)
        except ValueError:
            raise Unavailable(self._port, "the issuer's private key is not PEM") from None
        if isinstance(key, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
            signature = r.to_bytes(P256_BYTES, "big") + s.to_bytes(P256_BYTES, "big")
        elif isinstance(key, rsa.RSAPrivateKey):
            signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        else:
            raise Unavailable(self._port, "the issuer's key is neither P-256 nor RSA")
        return f"{signed}.{_b64(signature)}"

    def present(self, canary: TargetCanary) -> Sequence[Presented]:
        """Show the token to the company's door, or verify it against the published set."""
        if canary.account in self._marks.get().get("uprooted", []):
            return [Presented(canary.account, "session", False, "uprooted")]
        token = canary.secrets["session"]
        if "door_url" in self._options:
            status = self._get(self._options["door_url"], {"Authorization": f"Bearer {token.reveal()}"}).status_code
            if status not in (200, 204, 401, 403):
                raise Unavailable(self._port, f"the door answers {status}: neither in nor out")
            return [Presented(canary.account, "session", status in (200, 204), f"the door answers {status}")]
        answer = self._get(self._options["jwks_url"], {})
        if answer.status_code != 200:
            raise Unavailable(self._port, f"the published set answers {answer.status_code}")
        accepted = self._holds(token, self._set(answer.text))
        return [Presented(canary.account, "session", accepted, "the signature holds" if accepted else "no published key signed this")]

    def _get(self, url: str, headers: Mapping[str, str]) -> httpx.Response:
        try:
            return httpx.get(url, headers=dict(headers), timeout=TIMEOUT_S, follow_redirects=False, trust_env=False)
        except httpx.HTTPError as e:
            raise Unavailable(self._port, f"no answer: {type(e).__name__}") from None

    def _holds(self, token: Private[str], keys: Sequence[Mapping[str, Any]]) -> bool:
        try:
            head, _, signature = token.reveal().split(".")
            kid = json.loads(_unb64(head)).get("kid")
            key = next((k for k in keys if k.get("kid") == kid), None)
            if key is None:
                return False
            signed, raw = token.reveal().rpartition(".")[0].encode(), _unb64(signature)
            if key["kty"] == "EC":
                point = ec.EllipticCurvePublicNumbers(
                    int.from_bytes(_unb64(key["x"]), "big"), int.from_bytes(_unb64(key["y"]), "big"), ec.SECP256R1()
                )
                der = encode_dss_signature(int.from_bytes(raw[:P256_BYTES], "big"), int.from_bytes(raw[P256_BYTES:], "big"))
                point.public_key().verify(der, signed, ec.ECDSA(hashes.SHA256()))
            else:
                numbers = rsa.RSAPublicNumbers(int.from_bytes(_unb64(key["e"]), "big"), int.from_bytes(_unb64(key["n"]), "big"))
                numbers.public_key().verify(raw, signed, padding.PKCS1v15(), hashes.SHA256())
        except (ValueError, KeyError, binascii.Error, InvalidSignature):
            return False
        return True

    def _set(self, text: str) -> list[dict[str, Any]]:
        try:
            return list(json.loads(text)["keys"])
        except (ValueError, KeyError, TypeError):
            raise Unavailable(self._port, "the key set is not a JSON Web Key Set") from None

    def _signer(self) -> dict[str, str]:
        try:
            told = json.loads(self._files[1].get())
            return {"kid": str(told["kid"]), "alg": str(told["alg"]), "private_key": str(told["private_key"])}
        except (ValueError, KeyError, TypeError):
            raise Unavailable(self._port, "the signing file is not {kid, alg, private_key}") from None


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
