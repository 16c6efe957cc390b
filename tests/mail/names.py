"""A name server on loopback: answers from a dictionary, over UDP and TCP, with the wire format of dnspython."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Mapping

import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset


class NameServer:
    """Answers (name, kind) with records in presentation format; NXDOMAIN where it knows nothing of a name. `silent`: never answers."""

    def __init__(self, records: Mapping[tuple[str, str], list[str]], *, silent: bool = False) -> None:
        self.records = dict(records)
        self.silent = silent
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
            values = self.records.get((name, kind), [])
            if values:
                reply.answer.append(dns.rrset.from_text(question.name, 60, dns.rdataclass.IN, question.rdtype, *values))
            elif not any(known == name for known, _ in self.records):
                reply.set_rcode(dns.rcode.NXDOMAIN)
            with contextlib.suppress(OSError):
                self._socket.sendto(reply.to_wire(max_size=4096), peer)
