"""A door between a connector and a real system that can be shut, or fall silent in the middle of a call."""

from __future__ import annotations

import contextlib
import socket
import threading


class Proxy:
    """Forwards TCP from a free port on loopback to `upstream`. `stop` refuses and cuts, `stall` takes everything and answers nothing."""

    def __init__(self, upstream: int) -> None:
        self.upstream, self.stalled = upstream, False
        self._lines: list[socket.socket] = []
        self.port = 0
        self.start()

    def start(self) -> None:
        """Listen, on the same port as before."""
        self.stalled = False
        self._door = socket.create_server(("127.0.0.1", self.port))
        self.port = self._door.getsockname()[1]
        threading.Thread(target=self._take, args=(self._door,), daemon=True).start()

    def stop(self) -> None:
        """Shut the door and cut all lines."""
        with contextlib.suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        for line in self._lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()
        self._lines.clear()

    def stall(self) -> None:
        """Go on taking bytes from the connector, and pass nothing on in either direction."""
        self.stalled = True

    def _take(self, door: socket.socket) -> None:
        while True:
            try:
                near, _ = door.accept()
                far = socket.create_connection(("127.0.0.1", self.upstream))
            except OSError:
                return
            self._lines += [near, far]
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(a, b), daemon=True).start()

    def _pass(self, a: socket.socket, b: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while some := a.recv(65_536):
                if not self.stalled:
                    b.sendall(some)
        with contextlib.suppress(OSError):
            b.shutdown(socket.SHUT_WR)
