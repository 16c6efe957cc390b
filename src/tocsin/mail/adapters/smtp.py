"""Any SMTP relay or submission server (the company's Postfix, SES, KumoMTA), and the practice post office of demo and drill estates."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator

from tocsin.kernel.errors import Unavailable
from tocsin.kernel.private import Private
from tocsin.mail.port import Journal
from tocsin.mail.sender.connection import PRACTICE_KEYWORD, Endpoint, Timeouts, Tls
from tocsin.mail.sender.engine import PORT, Engine
from tocsin.mail.sender.replies import ProtocolError, Reply, ReplyParser
from tocsin.mail.types import Envelope, Outcome, Pace, Reach

PROBE_S_MAX = 10.0
IMPLICIT_TLS_PORT = 465  # Source: RFC 8314 s7.3


def _local(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


class SmtpRelay:
    """The port `mail.port.Transport` over SMTP.

    Unless `tls` says otherwise: implicit TLS on port 465; on loopback STARTTLS if offered; anywhere else STARTTLS with a verified
    certificate,
    or no mail at all, since notices and reset links are personal data.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        helo: str,
        tls: Tls | None = None,
        ca_file: str | None = None,
        credentials: Private[tuple[str, str]] | None = None,
        timeouts: Timeouts | None = None,
        pipelining: bool = True,
    ) -> None:
        if tls is None:
            tls = "implicit" if port == IMPLICIT_TLS_PORT else "opportunistic" if _local(host) else "starttls"
        self._endpoint = Endpoint(host=host, port=port, helo=helo, tls=tls, ca_file=ca_file, credentials=credentials, pipelining=pipelining)
        self._timeouts = timeouts or Timeouts()
        self._reach: Reach | None = None

    def reach(self) -> Reach:
        """Ask the server, once per object: the practice post office announces X-TOCSIN-PRACTICE. The engine checks it again per
        connection."""
        if self._reach is None:
            try:
                self._reach = "loopback" if PRACTICE_KEYWORD in self._keywords() else "world"
            except (OSError, ProtocolError) as e:
                raise Unavailable(PORT, f"{self._endpoint.host}:{self._endpoint.port} does not answer: {e}") from e
        return self._reach

    def _keywords(self) -> set[str]:
        address = (self._endpoint.host, self._endpoint.port)
        with contextlib.closing(socket.create_connection(address, min(PROBE_S_MAX, self._timeouts.connect))) as plain:
            plain.settimeout(min(PROBE_S_MAX, self._timeouts.greeting))
            sock = plain
            if self._endpoint.tls == "implicit":
                sock = ssl.create_default_context(cafile=self._endpoint.ca_file).wrap_socket(plain, server_hostname=self._endpoint.host)
            parser = ReplyParser()
            greeting = _reply(sock, parser)
            if greeting.code != 220:
                raise ProtocolError(f"greeted with {greeting.code} {greeting.text}")
            sock.sendall(f"EHLO {self._endpoint.helo}\r\n".encode())
            reply = _reply(sock, parser)
            sock.sendall(b"QUIT\r\n")
            return {line.strip().partition(" ")[0].upper() for line in reply.lines[1:]} if reply.code == 250 else set()

    def deliver(
        self, envelopes: Iterable[Envelope], *, pace: Pace, journal: Journal, renew: Callable[[], None], stopped: Callable[[], bool]
    ) -> Iterator[Outcome]:
        """Send over `pace.connections` connections, pipelined where the server offers it."""
        engine = Engine(
            self._endpoint,
            self._timeouts,
            envelopes,
            pace=pace,
            journal=journal,
            renew=renew,
            stopped=stopped,
            practice=None if self._reach is None else self._reach == "loopback",
        )
        return engine.run()


def _reply(sock: socket.socket, parser: ReplyParser) -> Reply:
    while True:
        data = sock.recv(4096)
        if not data:
            raise ProtocolError("the server closed the connection")
        replies = parser.feed(data)
        if replies:
            return replies[0]
