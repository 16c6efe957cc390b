"""A certificate authority for tests: certificates for host names, as files and as TLS contexts of servers."""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass
class Made:
    """A certificate with its key, and the file that holds both and the authority's certificate."""

    certificate: x509.Certificate
    key: Key
    file: Path

    @property
    def server(self) -> ssl.SSLContext:
        """The context of a server that shows it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file)
        return context

    def tlsa(self, usage: int, selector: int, matching: int) -> str:
        """Return the TLSA record of this certificate in presentation format."""
        return tlsa(self.certificate, usage, selector, matching)


def tlsa(certificate: x509.Certificate, usage: int, selector: int, matching: int) -> str:
    """Return the TLSA record of a certificate in presentation format, made without our own code."""
    public = certificate.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    what = certificate.public_bytes(DER) if selector == 0 else public
    value = {0: what, 1: hashlib.sha256(what).digest(), 2: hashlib.sha512(what).digest()}[matching]
    return f"{usage} {selector} {matching} {value.hex()}"


class Authority:
    """An authority of its own; `file` is what trusts it."""

    def __init__(self, folder: Path, name: str = "Test CA") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.key = folder, ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.certificate = self._signed(self.name, self.key, [x509.BasicConstraints(ca=True, path_length=None), x509.KeyUsage(
            digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
            key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False)])  # fmt: skip
        self.file = folder / "ca.pem"
        self.file.write_bytes(self.certificate.public_bytes(PEM))

    def make(self, *hosts: str, expired: bool = False, with_rsa: bool = False) -> Made:
        """Return a certificate for host names."""
        key: Key = rsa.generate_private_key(65537, 2048) if with_rsa else ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, hosts[0])])
        certificate = self._signed(subject, key, [x509.BasicConstraints(ca=False, path_length=None),
            x509.SubjectAlternativeName([x509.DNSName(h) for h in hosts]),
            x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH])], expired=expired)  # fmt: skip
        file = self.folder / f"{hosts[0]}-{certificate.serial_number}.pem"
        file.write_bytes(
            key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            + certificate.public_bytes(PEM)
            + self.certificate.public_bytes(PEM)
        )
        return Made(certificate, key, file)

    def _signed(self, subject: x509.Name, key: Key, extensions: list[x509.ExtensionType], *, expired: bool = False) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=20))
            .not_valid_after(now + timedelta(days=-1 if expired else 20))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints | x509.KeyUsage))
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        return builder.sign(self.key, hashes.SHA256())
