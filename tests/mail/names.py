"""A name server on loopback: answers from a dictionary, over UDP, with the wire format of dnspython; it can say that answers are signed."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Mapping, Sequence

import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset


class NameServer:
    """Answers (name, kind) with records in presentation format; NXDOMAIN where it knows nothing of a name.

    `silent`: never answers. `signed`: sets AD, as a validating resolver does, asked to or not. `broken`: SERVFAIL for these.
    """

    def __init__(
        self, records: Mapping[tuple[str, str], list[str]], *, silent: bool = False, signed: bool = False, broken: Sequence[tuple[str, str]] = ()
    ) -> None:
        self.records = dict(records)
        self.silent, self.signed, self.broken = silent, signed, set(broken)
        self.asked: list[tuple[str, str]] = []

    def __enter__(self) -> NameServer:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as poke:
            self._socket.shutdown(socket.SHUT_RDWR)
            poke.close()
        self._socket.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                wire, peer = self._socket.recvfrom(4096)
            except OSError:
                return
            if not wire:
                return
            if self.silent:
                continue
            query = dns.message.from_wire(wire)
            [question] = query.question
            name, kind = question.name.to_text().rstrip("."), dns.rdatatype.to_text(question.rdtype)
            self.asked.append((name, kind))
            reply = dns.message.make_response(query)
            reply.flags |= dns.flags.AA | dns.flags.RA
            if self.signed:
                reply.flags |= dns.flags.AD
            values = self.records.get((name, kind), [])
            if (name, kind) in self.broken:
                reply.set_rcode(dns.rcode.SERVFAIL)
            elif values:
                reply.answer.append(dns.rrset.from_text(question.name, 60, dns.rdataclass.IN, question.rdtype, *values))
            elif not any(known == name for known, _ in self.records):
                reply.set_rcode(dns.rcode.NXDOMAIN)
            with contextlib.suppress(OSError):
                self._socket.sendto(reply.to_wire(max_size=4096), peer)
