"""Real SMTP servers on loopback that misbehave on request: one thread per connection, scripted by a function."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

DROP, STALL, HALF = b"DROP", b"STALL", b"HALF"  # close without a word; never answer; answer nothing and shut our writing side down
PIPELINING = ("PIPELINING", "8BITMIME", "X-TOCSIN-PRACTICE")
GOOD = {
    "GREETING": b"220 scripted\r\n",
    "MAIL": b"250 2.1.0 ok\r\n",
    "RCPT": b"250 2.1.5 ok\r\n",
    "DATA": b"354 go\r\n",
    "FINAL": b"250 2.0.0 taken\r\n",
    "RSET": b"250 2.0.0 flushed\r\n",
    "LONE_DOT": b"554 5.5.1 no valid recipients\r\n",
    "QUIT": b"221 2.0.0 bye\r\n",
}
Script = Callable[[str, int, str], bytes | None]


@dataclass
class Server:
    """`script(slot, k, argument)` gives the reply of a slot for the k-th MAIL (from 1; 0 before), None for the good one.

    `taken`: (recipient, content) of every content whose final dot came and that had a recipient, whatever was answered then.
    """

    script: Script = lambda slot, k, argument: None
    keywords: tuple[str, ...] = PIPELINING
    tls: ssl.SSLContext | None = None
    implicit: bool = False
    bytewise: bool = False  # send replies one byte at a time
    slow_reader: bool = False  # small receive buffer, read in small pieces
    host: str = "127.0.0.1"
    port: int = 0  # 0: a free one
    flush_input: bool = False  # throw away what came behind a command before its answer: lies about PIPELINING
    taken: list[tuple[str, bytes]] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    connections: int = 0
    open_now: int = 0
    open_max: int = 0
    resumed: int = 0
    per_connection: list[int] = field(default_factory=list)

    def __enter__(self) -> Server:
        self._lock, self._stop = threading.Lock(), threading.Event()
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, self.port), family=family)
        if self.slow_reader:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.port = self._listener.getsockname()[1]
        self._mails = 0
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with self._lock:
            self.connections += 1
            self.open_now += 1
            self.open_max = max(self.open_max, self.open_now)
            self.per_connection.append(0)
            mine = len(self.per_connection) - 1
        try:
            Talk(self, sock, mine).run()
        except (OSError, EOFError):
            pass
        finally:
            with self._lock:
                self.open_now -= 1
            with contextlib.suppress(OSError):
                sock.close()


class Talk:
    """One connection."""

    def __init__(self, server: Server, sock: socket.socket, mine: int) -> None:
        self.server, self.sock, self.mine = server, sock, mine
        self.buffer, self.k = b"", 0
        self.from_given, self.rcpt = False, ""

    def read_until(self, end: bytes) -> bytes:
        whole, at = bytearray(self.buffer), 0
        while (found := whole.find(end, at)) < 0:
            at = max(0, len(whole) - len(end))
            data = self.sock.recv(512 if self.server.slow_reader else 262_144)
            if not data:
                raise EOFError
            whole += data
        self.buffer = bytes(whole[found + len(end) :])
        return bytes(whole[:found])

    def answer(self, slot: str, argument: str = "") -> bytes:
        reply = self.server.script(slot, self.k, argument)
        if reply is None:
            reply = GOOD.get(slot, b"250 ok\r\n")
        if self.server.flush_input:
            self.buffer = b""
        if reply == DROP:
            raise EOFError
        if reply == STALL:
            self.server._stop.wait(20)
            raise EOFError
        if reply == HALF:
            self.sock.shutdown(socket.SHUT_WR)
            while self.sock.recv(65_536):
                pass
            raise EOFError
        if self.server.bytewise:
            for i in range(len(reply)):
                self.sock.sendall(reply[i : i + 1])
        else:
            self.sock.sendall(reply)
        return reply

    def secure(self) -> None:
        assert self.server.tls is not None
        self.sock = self.server.tls.wrap_socket(self.sock, server_side=True)
        self.server.resumed += bool(self.sock.session_reused)  # type: ignore[attr-defined]

    def run(self) -> None:
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.server.implicit:
            self.secure()
        self.answer("GREETING")
        while True:
            line = self.read_until(b"\r\n").decode("utf-8", "surrogateescape")
            verb = line[:4].upper()
            self.server.commands.append(line)
            if verb == "EHLO":
                words = [*self.server.keywords, *(["STARTTLS"] if self.server.tls and not isinstance(self.sock, ssl.SSLSocket) else [])]
                reply = self.server.script("EHLO", 0, line)
                lines = ["scripted", *words]
                default = "".join(f"250{'-' if i < len(lines) - 1 else ' '}{w}\r\n" for i, w in enumerate(lines)).encode()
                self.sock.sendall(reply if reply is not None else default)
            elif verb == "STAR":
                self.sock.sendall(b"220 go\r\n")
                self.secure()
            elif verb == "MAIL":
                with self.server._lock:
                    self.server._mails += 1
                    self.k = self.server._mails
                self.rcpt = ""
                self.from_given = self.answer("MAIL", line)[:1] == b"2"
            elif verb == "RCPT":
                if not self.from_given:
                    self.sock.sendall(b"503 5.5.1 MAIL first\r\n")
                elif self.answer("RCPT", line)[:1] == b"2":
                    self.rcpt = line[8:].partition(">")[0].lstrip("<")
            elif verb == "DATA":
                if not self.rcpt and self.server.script("DATA", self.k, "") is None:
                    self.sock.sendall(b"503 5.5.1 RCPT first\r\n")
                elif self.answer("DATA")[:3] == b"354":
                    self.content()
            elif verb == "RSET":
                self.from_given, self.rcpt = False, ""
                self.answer("RSET")
            elif verb == "QUIT":
                self.answer("QUIT")
                return
            else:
                self.answer(verb, line)

    def content(self) -> None:
        if self.server.script("MID_DATA", self.k, "") == DROP:
            self.sock.recv(256)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            raise EOFError
        self.buffer = b"\r\n" + self.buffer
        body = self.read_until(b"\r\n.\r\n")[2:]
        if self.rcpt:
            with self.server._lock:
                self.server.taken.append((self.rcpt, body + b"\r\n"))
                self.server.per_connection[self.mine] += 1
        self.from_given = False
        self.answer("FINAL" if self.rcpt else "LONE_DOT", body[:4].decode("latin-1"))
