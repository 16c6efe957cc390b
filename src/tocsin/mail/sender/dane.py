"""DANE for SMTP: whether the certificates a server showed are those that its domain signed into the DNS. Pure: records and bytes in.

Of the four usages, 3 (the server's own certificate or key) and 2 (an authority that vouches for it) count; 0 and 1 cannot be checked by a
mail server and are passed over. With usage 3 neither names nor dates of the certificate matter: the record says it all.
Source: RFC 6698, RFC 7671 (s5.1, s5.2), RFC 7672 (s3.1.1 to s3.1.3, s3.2.2).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

AUTHORITY, OWN = 2, 3
RECORDS_MAX = 32
CHAIN_MAX = 10
_DIGEST = {1: hashlib.sha256, 2: hashlib.sha512}
_OCTETS = {1: 32, 2: 64}


class Tlsa(NamedTuple):
    """One TLSA record. `selector`: 0 the certificate, 1 its public key. `matching`: 0 all of it, 1 SHA-256, 2 SHA-512."""

    usage: int
    selector: int
    matching: int
    octets: bytes


class Mismatch(Exception):
    """The server did not show what its domain promised."""


def usable(records: Sequence[Tlsa]) -> tuple[Tlsa, ...]:
    """Return those records that say something which can be checked. None of several usable: TLS is required all the same."""
    return tuple(
        r
        for r in records[:RECORDS_MAX]
        if r.usage in (AUTHORITY, OWN)
        and r.selector in (0, 1)
        and r.matching in (0, 1, 2)
        and len(r.octets) == _OCTETS.get(r.matching, len(r.octets))
    )


def require(records: Sequence[Tlsa], chain: Sequence[bytes], *, names: Sequence[str], at: datetime) -> None:
    """Raise Mismatch unless a record vouches for the chain (DER, the server's own certificate first).

    `names`: of the host, and of the domain whose mail it takes; an authority's certificate must name one of them, and be good `at`.
    """
    try:
        shown = [x509.load_der_x509_certificate(der) for der in chain[:CHAIN_MAX]]
        if not shown:
            raise Mismatch("the server showed no certificate")
        if any(_matches(r, shown[0]) for r in records if r.usage == OWN):
            return
        anchors = [c for c in shown if any(_matches(r, c) for r in records if r.usage == AUTHORITY)]
        anchors += [c for r in records if r.usage == AUTHORITY and r.selector == 0 and r.matching == 0 for c in _whole(r)]
        for name in dict.fromkeys(n for n in names if n):
            if any(_vouches(anchor, shown, name, at) for anchor in anchors):
                return
    except (ValueError, UnsupportedAlgorithm) as e:
        raise Mismatch(f"a certificate of the server cannot be read: {e}") from None
    raise Mismatch("the certificate is not the one that the domain published (DANE)")


def _matches(record: Tlsa, certificate: x509.Certificate) -> bool:
    if record.selector == 0:
        what = certificate.public_bytes(Encoding.DER)
    else:
        what = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hmac.compare_digest(_DIGEST[record.matching](what).digest() if record.matching else what, record.octets)


def _whole(record: Tlsa) -> list[x509.Certificate]:
    """Return the authority that a record holds whole: a server need not show it (RFC 7671 s5.2.2)."""
    try:
        return [x509.load_der_x509_certificate(record.octets)]
    except ValueError:
        return []


def _vouches(anchor: x509.Certificate, shown: Sequence[x509.Certificate], name: str, at: datetime) -> bool:
    """Return whether the anchor leads to the server's certificate, which names `name`."""
    verifier = PolicyBuilder().store(Store([anchor])).time(at).build_server_verifier(x509.DNSName(name))
    try:
        verifier.verify(shown[0], list(shown[1:]))
    except VerificationError:
        return False
    return True
