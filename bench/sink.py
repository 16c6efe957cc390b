"""An SMTP server that takes everything, as cheaply as Python can, in a process of its own: `python -m bench.sink [RECORD]`.

Prints its port. Offers PIPELINING and the practice keyword. With RECORD it appends one line per accepted message, `Message-ID RCPT NS` (NS:
nanoseconds since 1970), with one write() before the 250: the witness of who got what and when, whatever happens to the sender.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

EHLO = b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 X-TOCSIN-PRACTICE\r\n"
END = b"\r\n.\r\n"


class Sink(asyncio.Protocol):
    """One connection."""

    record_fd = -1
    received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.buffer, self.in_data, self.rcpt = transport, b"", False, b""
        transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        """Answer every command and every content that is complete."""
        buffer, out = self.buffer + data if self.buffer else data, []
        while True:
            if self.in_data:
                end = 1 if buffer.startswith(b".\r\n") else buffer.find(END)
                if end < 0:
                    break
                if buffer.startswith(b".\r\n"):
                    out.append(b"554 no content\r\n")
                    buffer = buffer[3:]
                else:
                    self.take(buffer[:end])
                    out.append(b"250 2.0.0 taken\r\n")
                    buffer = buffer[end + 5 :]
                self.in_data = False
                continue
            line, newline, rest = buffer.partition(b"\r\n")
            if not newline:
                break
            buffer = rest
            verb = line[:4].upper()
            if verb == b"DATA":
                self.in_data = True
                out.append(b"354 go\r\n")
            elif verb == b"EHLO":
                out.append(EHLO)
            elif verb == b"QUIT":
                self.transport.write(b"".join(out) + b"221 bye\r\n")
                self.transport.close()
                return
            else:
                if verb == b"RCPT":
                    self.rcpt = line[8:].strip(b"<>")
                out.append(b"250 2.0.0 ok\r\n")
        self.buffer = buffer
        if out:
            self.transport.write(b"".join(out))

    def take(self, content: bytes) -> None:
        """Count a message and, as a witness, write it down."""
        Sink.received += 1
        if self.record_fd >= 0:
            at = content.find(b"\r\nMessage-ID: ")
            mid = content[at + 14 : content.find(b"\r\n", at + 2)]
            os.write(self.record_fd, b"%b %b %d\n" % (mid, self.rcpt, time.time_ns()))


async def main() -> None:
    """Serve until the process is ended."""
    if len(sys.argv) > 1:
        Sink.record_fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
