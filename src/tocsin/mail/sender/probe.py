"""Connects to a server as a mailing would, up to and with the log-in, and sends nothing."""

from __future__ import annotations

import smtplib
import ssl

from tocsin.kernel import clock
from tocsin.kernel.errors import Unavailable

from . import dane
from .connection import Endpoint, Timeouts
from .engine import PORT, chain_shown

PROBE_S_MAX = 10.0


def greet(endpoint: Endpoint, timeouts: Timeouts) -> str:
    """Return what was found, in a few words. Raises Unavailable with the server's reason."""
    e, wait = endpoint, min(PROBE_S_MAX, timeouts.connect)
    context = ssl.create_default_context(cafile=e.ca_file)
    if e.tls in {"opportunistic", "dane"}:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    secured = e.tls == "implicit"
    place = e.addresses[0] if e.addresses else e.host
    try:
        with (
            smtplib.SMTP_SSL(place, e.port, local_hostname=e.helo, timeout=wait, context=context)
            if secured
            else smtplib.SMTP(place, e.port, local_hostname=e.helo, timeout=wait)
        ) as server:
            setattr(server, "_host", e.host)  # noqa: B010  # the name that the certificate must have, not the address dialled
            server.ehlo_or_helo_if_needed()
            if e.tls in {"starttls", "dane"} or (e.tls == "opportunistic" and server.has_extn("starttls")):
                server.starttls(context=context)
                if e.tlsa and isinstance(server.sock, ssl.SSLSocket):
                    dane.require(e.tlsa, chain_shown(server.sock), names=(e.host, e.domain), at=clock.now())
                server.ehlo()
                secured = True
            if e.credentials is not None:
                if not secured:
                    raise Unavailable(PORT, "credentials are only sent over TLS")
                server.login(*e.credentials.reveal())
            server.noop()
    except (OSError, smtplib.SMTPException, dane.Mismatch) as error:
        why = f"{error.smtp_code}" if isinstance(error, smtplib.SMTPResponseException) else f"{type(error).__name__}: {error}"
        raise Unavailable(PORT, f"{e.host}:{e.port} does not take mail from us: {why}") from None
    return f"{e.host}:{e.port}: {'TLS' if secured else 'no TLS'}, {'logged in' if e.credentials else 'no log-in'}"
