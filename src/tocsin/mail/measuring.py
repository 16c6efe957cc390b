"""How fast this machine signs and sends: a sender against raw RSA signatures, on an installed system, with nothing but what is installed.

A server on loopback, in a thread of its own, takes everything; keys and texts are made up and gone afterwards; nothing leaves the machine.
What counts is the CPU time of the sending thread: neither the server's nor another program's shows in it. `./run bench sender` of a checkout
compares with other senders.
"""

from __future__ import annotations

import socketserver
import statistics
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tocsin.kernel import clock, wiring
from tocsin.kernel.errors import BadInput
from tocsin.kernel.private import Private

from . import dkim, template
from .sender import journal
from .types import Envelope, Pace, Recipient

RELAY = "tocsin.mail.adapters.smtp.SmtpRelay"
MESSAGES_MAX = 100_000
LOT = 32
CONNECTIONS = 8
SIGNATURES = 500
TEXT = "Dear {{name}},\n\n" + "This line stands for the words of a notice of four kilobytes, to measure with.\n" * 24 + "\n{{case_code}}\n"


class _Taker(socketserver.StreamRequestHandler):
    """Takes every message."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        self.wfile.write(b"220 measure\r\n")
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                self.wfile.write(b"250-measure\r\n250 PIPELINING\r\n")
            elif verb == b"DATA":
                self.wfile.write(b"354 go\r\n")
                while (row := self.rfile.readline()) and row != b".\r\n":
                    continue
                self.wfile.write(b"250 2.0.0 taken\r\n")
            elif verb == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                self.wfile.write(b"250 2.0.0 ok\r\n")


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64


def sender_speed(*, messages: int, rounds: int) -> dict[str, Any]:
    """Return CPU microseconds per message, signed and unsigned, and per raw RSA-2048 signature: medians of `rounds` rounds in turn.

    Raises BadInput for fewer than a lot or more than MESSAGES_MAX messages.
    """
    if not LOT <= messages <= MESSAGES_MAX or not 1 <= rounds <= 100:
        raise BadInput.of("messages, rounds", (messages, rounds), f"{LOT} to {MESSAGES_MAX} messages, 1 to 100 rounds")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    results: dict[str, list[float]] = {"rsa_sign_cpu_us": [], "signed_cpu_us": [], "unsigned_cpu_us": []}
    wall: list[float] = []
    with tempfile.TemporaryDirectory() as folder, _Server(("127.0.0.1", 0), _Taker) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        port = server.server_address[1]
        for _ in range(rounds):
            began = clock.thread_cpu()
            for n in range(SIGNATURES):
                key.sign(n.to_bytes(300, "big"), padding.PKCS1v15(), hashes.SHA256())
            results["rsa_sign_cpu_us"].append((clock.thread_cpu() - began) / SIGNATURES * 1e6)
            began, wall_began = clock.thread_cpu(), clock.monotonic()
            _send(_signed(key, messages), Path(folder), port, messages)
            results["signed_cpu_us"].append((clock.thread_cpu() - began) / messages * 1e6)
            wall.append(messages / (clock.monotonic() - wall_began))
            ready = next(_signed(key, LOT))
            began = clock.thread_cpu()
            _send((ready._replace(n=n) for n in range(messages)), Path(folder), port, messages)
            results["unsigned_cpu_us"].append((clock.thread_cpu() - began) / messages * 1e6)
        server.shutdown()
    medians = {name: round(statistics.median(values), 1) for name, values in results.items()}
    share = statistics.median(r / s for r, s in zip(results["rsa_sign_cpu_us"], results["signed_cpu_us"], strict=True))
    return {
        "messages": messages,
        "rounds": rounds,
        **medians,
        "signed_per_core_s": round(1e6 / medians["signed_cpu_us"]),
        "signed_per_s": round(statistics.median(wall)),
        "share_of_rsa_limit": round(share, 3),
    }


def _signed(key: rsa.RSAPrivateKey, messages: int) -> Iterator[Envelope]:
    """Yield notices built and signed as `actions.send_block` does."""
    made = template.compile_notice(
        from_name="Measure", from_address="a@measure.example", reply_to=None, subject="Measure", text=TEXT, html_text=f"<p>{TEXT}</p>"
    )
    signer = dkim.Signer(made, date=clock.now(), key=key, domain="measure.example", selector="m", message_id_key=Private(bytes(32)))
    for start in range(0, messages, LOT):
        lot = [
            (Recipient(n, f"p{n}@measure.example", {"name": f"Person {n}", "case_code": f"{n:010}"}, str(n)), b"p%d@measure.example" % n)
            for n in range(start, min(start + LOT, messages))
        ]
        for (recipient, address), content in zip(lot, signer.contents(lot), strict=True):
            yield Envelope(recipient.n, "b@measure.example", address.decode(), content)


def _send(envelopes: Iterator[Envelope], home: Path, port: int, messages: int) -> None:
    relay = wiring.load(RELAY)("127.0.0.1", port, helo="measure.example")
    with journal.RunJournal(home, block=1, attempt=1) as notes:
        pace = Pace(CONNECTIONS, messages, 1e9)
        for _ in relay.deliver(envelopes, pace=pace, journal=notes, renew=lambda: None, stopped=lambda: False):
            pass
    journal.forget(home, 1)
