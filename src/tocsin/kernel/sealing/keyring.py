"""The estate's keys: their names, who may ask for them, and how new ones are made."""

from __future__ import annotations

import functools
import secrets

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa, x25519

from tocsin.kernel import config, wiring
from tocsin.kernel.errors import BadInput, Refused
from tocsin.kernel.private import Private

from .port import KeyService

# Design: DESIGN.md section 1, "a process is a security context". The check is in-process; on one machine under one OS user it guards
# against mistakes, on a cluster each machine is given only the files its processes may ask for.
_ALL = frozenset(
    {
        "sealing",
        "lookup",
        "deposit",
        "deposit_public",
        "custody",
        "custody_public",
        "connector_rest",
        "connector_rest_public",
        "connector_live",
        "connector_live_public",
        "message_id",
        "verp",
        "dkim",
        "dkim_public",
        "log",
        "web_console",
        "web_public",
        "waiting",
        "factor",
        "pepper",
        "estate_id",
    }
)
KEYS_OF: dict[str, frozenset[str]] = {
    "operator": _ALL - {"log", "custody", "connector_live", "web_console", "web_public", "dkim"},
    "worker": frozenset(
        {"sealing", "lookup", "deposit", "custody_public", "connector_live", "message_id", "verp", "dkim", "dkim_public", "estate_id"}
    ),
    "console": frozenset({"sealing", "lookup", "web_console", "waiting", "dkim_public", "estate_id"}),
    "public": frozenset({"lookup", "web_public", "deposit_public", "connector_live_public", "waiting", "factor", "pepper"}),
    "intake": frozenset({"deposit_public", "verp"}),
    "sequencer": frozenset({"log"}),
    "api": frozenset({"deposit_public", "verp"}),  # of a relay's feed it takes in what intake takes in by mail
    "postoffice": frozenset(),
    "owner": _ALL,
}


@functools.cache
def _service() -> KeyService:
    current = config.current()
    adapter: KeyService = wiring.load(current.keys.service)(current.home)
    return adapter


@functools.cache
def key(name: str) -> Private[bytes]:
    """Return a key of this estate. Raises Refused if this process may not hold it, NotFound if it was never made."""
    process = config.current().process
    kept = "pepper" if config.PEPPER_NAME.fullmatch(name) else name  # a pepper has as many names as it was changed times
    if kept not in KEYS_OF[process]:
        raise Refused(f"the process {process} may not hold the key {name}")
    return _service().get(name)


def estate_id() -> bytes:
    """Return the 16 bytes that tell this estate from every other one; no secret."""
    return key("estate_id").reveal()


def create_pepper(name: str) -> None:
    """Make a pepper of this name if there is none yet; an existing one stays. Raises BadInput for a name that is none of a pepper."""
    if not config.PEPPER_NAME.fullmatch(name):
        raise BadInput.of("name", name, "pepper, or pepper_ and up to 20 small letters or digits")
    _service().put_new(name, Private(secrets.token_bytes(32)))


def create_all() -> None:
    """Make each key that does not exist yet. Safe to repeat; never replaces a key."""
    service = _service()
    for name in ("sealing", "lookup", "message_id", "verp", "web_console", "web_public", "waiting", "factor"):
        service.put_new(name, Private(secrets.token_bytes(32)))
    service.put_new("estate_id", Private(secrets.token_bytes(16)))
    service.put_new("log", Private(secrets.token_bytes(64)))  # 32-byte seed of Ed25519, then 32-byte seed of ML-DSA-44
    for name in ("deposit", "custody", "connector_rest", "connector_live"):  # pairs: whoever holds the public half can only put in
        service.put_new(name, Private(x25519.X25519PrivateKey.generate().private_bytes_raw()))
        made = x25519.X25519PrivateKey.from_private_bytes(service.get(name).reveal())
        service.put_new(f"{name}_public", Private(made.public_key().public_bytes_raw()))
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    service.put_new(
        "dkim", Private(rsa_key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    )
    signing = serialization.load_pem_private_key(service.get("dkim").reveal(), None).public_key()
    service.put_new(
        "dkim_public", Private(signing.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))
    )
