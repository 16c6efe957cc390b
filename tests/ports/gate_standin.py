"""A gate on loopback that speaks `GET /gate/v1/{subject}` as Tocsin's does: 204 for who is through, 403 for all others; or misbehaves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import unquote

Mood = Literal["well", "stall", "500", "redirect", "garbage", "200 to all"]


class GateStandIn:
    """`through(subject)` says who is; `mood` what goes wrong. `asked` holds (subject, Authorization) of every question."""

    def __init__(self, through: Callable[[str], bool]) -> None:
        self.through, self.mood = through, "well"
        self.asked: list[tuple[str, str | None]] = []
        self.let_go, self.down = threading.Event(), False
        standin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if standin.down:  # a connection that was kept open does not outlive the gate
                    self.close_connection = True
                    return
                subject = unquote(self.path.removeprefix("/gate/v1/"))
                standin.asked.append((subject, self.headers.get("Authorization")))
                status = 204 if self.path.startswith("/gate/v1/") and standin.through(subject) else 403
                if standin.mood == "stall":
                    standin.let_go.wait(20)
                    return
                if standin.mood == "garbage":
                    self.wfile.write(b"\x00\x01 not HTTP at all\r\n\r\n")
                    self.close_connection = True
                    return
                if standin.mood == "redirect":
                    self.send_response(302)
                    self.send_header("Location", "/gate/v1/somebody-through")
                else:
                    self.send_response({"500": 500, "200 to all": 200}.get(standin.mood, status))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Keep the test's output clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self.down = True
        self.let_go.set()
        self._server.shutdown()
        self._server.server_close()
