"""An HTTPS server on loopback, and a proxy that leads every name to it: real TLS, names that are not ours, nothing beyond this machine."""

from __future__ import annotations

import contextlib
import http.server
import socket
import ssl
import threading
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Page:
    """What a path gives."""

    body: bytes
    content_type: str = "text/plain"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class Https:
    """Serves `pages` by (host, path); keeps the (host, path) of every question."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.pages: dict[tuple[str, str], Page] = {}
        self.asked: list[tuple[str, str]] = []
        house = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                key = (str(self.headers["Host"]).partition(":")[0], self.path)
                house.asked.append(key)
                page = house.pages.get(key) or house.pages.get((key[0], self.path.partition("?")[0])) or Page(b"nothing here", status=404)
                self.send_response(page.status)
                for name, value in {"Content-Type": page.content_type, "Content-Length": str(len(page.body)), **page.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(page.body)

            def log_message(self, *arguments: Any) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """A client that does not like our certificate is no error of ours."""

            def finish_request(self, request: Any, client_address: Any) -> None:
                super().finish_request(context.wrap_socket(request, server_side=True), client_address)

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Connect:
    """An HTTP proxy whose CONNECT leads to one port of this machine, whatever name was asked for."""

    def __init__(self, port: int) -> None:
        self.port_to = port
        self.asked: list[str] = []
        self._door = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._door.getsockname()[1]}"
        threading.Thread(target=self._take, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()

    def _take(self) -> None:
        while True:
            try:
                near, _ = self._door.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head and (some := near.recv(4096)):
            head += some
        self.asked.append(head.split(b" ")[1].decode())
        far = socket.create_connection(("127.0.0.1", self.port_to))
        near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        threading.Thread(target=_pass, args=(far, near), daemon=True).start()
        _pass(near, far)


def _pass(a: socket.socket, b: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while some := a.recv(65_536):
            b.sendall(some)
    with contextlib.suppress(OSError):
        b.shutdown(socket.SHUT_WR)
