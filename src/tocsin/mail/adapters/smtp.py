"""Any SMTP relay or submission server (the company's Postfix, SES, KumoMTA), and the practice post office of demo and drill estates."""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator

from tocsin.kernel.errors import Unavailable
from tocsin.kernel.hosts import is_local
from tocsin.kernel.private import Private
from tocsin.mail.port import Journal
from tocsin.mail.sender.connection import PRACTICE_KEYWORD, Endpoint, Timeouts, Tls
from tocsin.mail.sender.engine import PORT, Engine
from tocsin.mail.sender.replies import ProtocolError, Reply, ReplyParser
from tocsin.mail.types import Envelope, Outcome, Pace, Reach

PROBE_S_MAX = 10.0
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
        e, wait = self._endpoint, min(PROBE_S_MAX, self._timeouts.connect)
        context = ssl.create_default_context(cafile=e.ca_file)
        if e.tls == "opportunistic":
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        secured = e.tls == "implicit"
        try:
            with (
                smtplib.SMTP_SSL(e.host, e.port, local_hostname=e.helo, timeout=wait, context=context)
                if secured
                else smtplib.SMTP(e.host, e.port, local_hostname=e.helo, timeout=wait)
            ) as server:
                server.ehlo_or_helo_if_needed()
                if e.tls == "starttls" or (e.tls == "opportunistic" and server.has_extn("starttls")):
                    server.starttls(context=context)
                    server.ehlo()
                    secured = True
                if e.credentials is not None:
                    if not secured:
                        raise Unavailable(PORT, "credentials are only sent over TLS")
                    server.login(*e.credentials.reveal())
                server.noop()
        except (OSError, smtplib.SMTPException) as error:
            why = f"{error.smtp_code}" if isinstance(error, smtplib.SMTPResponseException) else f"{type(error).__name__}: {error}"
            raise Unavailable(PORT, f"{e.host}:{e.port} does not take mail from us: {why}") from None
        return f"{'TLS' if secured else 'no TLS, this machine only'}, {'logged in' if e.credentials else 'no log-in'}"

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
        engine = Engine(self._endpoint, self._timeouts, envelopes, pace=pace, journal=journal, renew=renew, stopped=stopped,
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
