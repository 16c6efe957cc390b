"""What the desk seals and how its keyed names are made. Needs the keys sealing and lookup, which worker, operator and console hold."""

from __future__ import annotations

from tocsin.kernel import config
from tocsin.kernel.private import Private
from tocsin.kernel.sealing import lookup_digest, open_sealed, seal
from tocsin.subjects import queries as subjects

from .policy import threading

TEXT, SUBJECT = "support_message_text", "support_message_subject"


def person_digest(address: str) -> bytes:
    """Return the keyed digest under which a sender is known; the same for every spelling of one mailbox."""
    return lookup_digest(subjects.mailbox_key(address) or address.strip().lower(), purpose="case")


def seal_address(person: bytes, address: str) -> bytes:
    """Seal a sender's address for one person's case."""
    return seal(address, context=f"support_case|{person.hex()}")


def open_address(person: bytes, blob: bytes) -> Private[str]:
    """Return a sender's address."""
    return Private(open_sealed(blob, context=f"support_case|{person.hex()}").reveal().decode())


def text(value: str, context: str) -> bytes:
    """Seal a redacted text."""
    return seal(value, context=context)


def opened(blob: bytes | memoryview, context: str) -> str:
    """Return a sealed text (redacted when it was sealed)."""
    return open_sealed(bytes(blob), context=context).reveal().decode()


def mac(case: int) -> str:
    """Return the keyed digits that stand in a case's reply address."""
    return lookup_digest(str(case), purpose="case-reply").hex()[: threading.MAC_CHARS]


def reply_address(case: int) -> str:
    """Return the address that answers of a case go to."""
    return threading.reply_address(config.current().mail.help_address, case=case, mac=mac(case))


def case_of_addresses(addresses: tuple[str, ...]) -> int | None:
    """Return the case whose reply address is among these; a wrong MAC is as good as none."""
    for address in addresses:
        found = threading.case_in_address(address)
        if found is not None and threading.same_mac(found[1], mac(found[0])):
            return found[0]
    return None
