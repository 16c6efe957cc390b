"""A real SMTP server on loopback that records what it takes, and answers as the recipient's name says.

Local parts: `unknown…` 550 at RCPT; `full…` 452 at RCPT for the first `full_times` tries; `policy…` 550 5.7.1 after the content;
`slow…` 451 4.7.1, `tss…` 421 4.7.0 [TSS04] at RCPT;
`drop…` closes after the final dot of the first try without an answer, having kept the message (`dropkept…`) or not (`droplost…`).
"""

from __future__ import annotations

import re
import socketserver
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Taken:
    """One message that was kept."""

    to: str
    sender: str
    message_id: str
    raw: bytes
    connection: int
    at: float
    wall: float


class Office:
    """The server and its record. `on_message(n)` is called with the number of messages kept so far, before the answer goes out."""

    def __init__(self, *, practice: bool = True) -> None:
        self.practice = practice
        self.taken: list[Taken] = []
        self.full_times = 1
        self.delay_s = 0.0
        self.on_message: Callable[[int], None] = lambda n: None
        self.connections = 0
        self.open_now = 0
        self.open_max = 0
        self.tries: Counter[str] = Counter()
        self.lock = threading.Lock()
        office = self

        class Handler(socketserver.StreamRequestHandler):
            disable_nagle_algorithm = True  # small answers, each awaited

            def handle(self) -> None:
                office.serve(self)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True
            request_queue_size = 128

            def handle_error(self, request: object, client_address: object) -> None:
                """A client that was killed is no error of ours."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self.server.shutdown()
        self.server.server_close()

    @property
    def addresses(self) -> list[str]:
        """The recipients of all messages kept, in order."""
        with self.lock:
            return [t.to for t in self.taken]

    def serve(self, peer: socketserver.StreamRequestHandler) -> None:
        """Speak SMTP over one connection."""
        with self.lock:
            self.connections += 1
            number = self.connections
            self.open_now += 1
            self.open_max = max(self.open_max, self.open_now)
        try:
            self._dialogue(peer, number)
        finally:
            with self.lock:
                self.open_now -= 1

    def _dialogue(self, peer: socketserver.StreamRequestHandler, number: int) -> None:
        def say(text: str) -> None:
            peer.wfile.write(f"{text}\r\n".encode())

        say("220 office.example ready")
        sender = to = ""
        while line := peer.rfile.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                say("250-office.example")
                if self.practice:
                    say("250-X-TOCSIN-PRACTICE")
                say("250 PIPELINING")
            elif verb == b"MAIL":
                sender, to = line.decode().split("<")[1].split(">")[0], ""
                say("250 2.1.0 ok")
            elif verb == b"RCPT":
                to = line.decode().split("<")[1].split(">")[0]
                refusal = self._refusal(to)
                say(refusal or "250 2.1.5 ok")
                to = "" if refusal else to
            elif verb == b"DATA":
                if not to:
                    say("554 5.5.1 no valid recipient")
                    continue
                say("354 go ahead")
                lines = []
                while (row := peer.rfile.readline()) and row != b".\r\n":
                    lines.append(row[1:] if row.startswith(b".") else row)
                if not row:
                    return
                if not self._keep(to, sender, b"".join(lines), number, say):
                    return
            elif verb == b"QUIT":
                say("221 2.0.0 bye")
                return
            else:
                say("250 2.0.0 ok")

    def _refusal(self, to: str) -> str:
        with self.lock:
            self.tries[to] += 1
            if to.startswith("unknown"):
                return f"550 5.1.1 <{to}>: no such user {to.partition('@')[0]}"
            if to.startswith("slow"):
                return "451 4.7.1 try again later, too many messages"
            if to.startswith("tss"):
                return "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred"
            if to.startswith("full") and self.tries[to] <= self.full_times:
                return "452 4.2.2 mailbox full"
        return ""

    def _keep(self, to: str, sender: str, raw: bytes, number: int, say: Callable[[str], None]) -> bool:
        if to.startswith("policy"):
            say("550 5.7.1 blocked for reputation")
            return True
        dropped = to.startswith("drop") and self.tries[to] == 1
        if dropped and to.startswith("droplost"):
            return False
        if self.delay_s:
            time.sleep(self.delay_s)
        found = re.search(rb"(?im)^message-id:\s*(\S+)", raw)
        assert found
        with self.lock:
            self.taken.append(Taken(to, sender, found.group(1).decode(), raw, number, time.monotonic(), time.time()))
            n = len(self.taken)
        self.on_message(n)
        if dropped:
            return False
        say(f"250 2.0.0 kept as {n}")
        return True
