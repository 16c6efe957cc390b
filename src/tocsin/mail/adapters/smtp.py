"""Any SMTP relay or submission server (the company's Postfix, SES, KumoMTA), and the practice post office of demo and drill estates."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tocsin.kernel import config
from tocsin.kernel.errors import Refused, Unavailable
from tocsin.kernel.hosts import is_local
from tocsin.kernel.private import Private
from tocsin.mail.port import Journal
from tocsin.mail.sender import probe
from tocsin.mail.sender.connection import PRACTICE_KEYWORD, Endpoint, Timeouts, Tls
from tocsin.mail.sender.engine import PORT, Engine, Lone
from tocsin.mail.sender.probe import PROBE_S_MAX
from tocsin.mail.sender.replies import ProtocolError, Reply, ReplyParser
from tocsin.mail.types import Envelope, Outcome, Pace, Reach

IMPLICIT_TLS_PORT = 465  # Source: RFC 8314 s7.3


class SmtpRelay:
    """The port `mail.port.Transport` over SMTP.

    Unless `tls` says otherwise: implicit TLS on port 465; on loopback STARTTLS if offered; anywhere else STARTTLS with a verified
    certificate,
    or no mail at all, since notices and reset links are personal data.
    """

    def __init__(self, host: str, port: int, *, helo: str, tls: Tls | None = None, ca_file: str | None = None,
                 credentials: Private[tuple[str, str]] | None = None, timeouts: Timeouts | None = None, pipelining: bool = True) -> None:
        if tls is None:
            tls = "implicit" if port == IMPLICIT_TLS_PORT else "opportunistic" if is_local(host) else "starttls"
        self._endpoint = Endpoint(host=host, port=port, helo=helo, tls=tls, ca_file=ca_file, credentials=credentials, pipelining=pipelining)
        self._timeouts = timeouts or Timeouts()
        self._reach: Reach | None = None

    @classmethod
    def configured(cls) -> SmtpRelay:
        """Return the transport to the relay of `[mail]`. Raises Refused or Unavailable if its password cannot be used."""
        mail = config.current().mail
        options: dict[str, Any] = {} if mail.relay_tls == "auto" else {"tls": mail.relay_tls}
        if mail.relay_ca_file:
            options["ca_file"] = mail.relay_ca_file
        if mail.relay_user:
            options["credentials"] = Private((mail.relay_user, _password(Path(mail.relay_password_file))))
        return cls(mail.relay_host, mail.relay_port, helo=mail.bounce_domain, **options)

    def reach(self) -> Reach:
        """Ask the server, once per object: the practice post office announces X-TOCSIN-PRACTICE. The engine checks it again per
        connection."""
        if self._reach is None:
            try:
                self._reach = "loopback" if PRACTICE_KEYWORD in self._keywords() else "world"
            except (OSError, ProtocolError) as e:
                raise Unavailable(PORT, f"{self._endpoint.host}:{self._endpoint.port} does not answer: {e}") from e
        return self._reach

    def check(self) -> str:
        """Connect as a mailing would, up to and with the log-in, and send nothing; return what was found, in a few words.

        Raises Unavailable with the server's reason.
        """
        return probe.greet(self._endpoint, self._timeouts)

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

    def deliver(self, envelopes: Iterable[Envelope], *, pace: Pace, journal: Journal, renew: Callable[[], None],
                stopped: Callable[[], bool]) -> Iterator[Outcome]:
        """Send over `pace.connections` connections, pipelined where the server offers it."""
        engine = Engine(Lone(self._endpoint), self._timeouts, envelopes, pace=pace, journal=journal, renew=renew, stopped=stopped,
                        practice=None if self._reach is None else self._reach == "loopback")
        return engine.run()


def _reply(sock: socket.socket, parser: ReplyParser) -> Reply:
    while True:
        data = sock.recv(4096)
        if not data:
            raise ProtocolError("the server closed the connection")
        replies = parser.feed(data)
        if replies:
            return replies[0]


def _password(file: Path) -> str:
    try:
        if file.stat().st_mode & 0o077:
            raise Refused(f"{file} can be read by others: chmod 600 it")
        return file.read_text().rstrip("\r\n")
    except OSError as e:
        raise Unavailable(PORT, f"the relay's password cannot be read from {file}: {e.strerror}") from None
