"""SMTP replies out of a byte stream (RFC 5321 s4.2): multi-line, split anywhere, LF tolerated, everything limited."""

from __future__ import annotations

import re
from typing import NamedTuple

LINE_BYTES_MAX = 4096  # RFC 5321 s4.5.3.1.5 asks for 512; real servers exceed it
LINES_MAX = 200
SEEN_MAX = 16
TEXT_CHARS_MAX = 600  # what is kept of a reply's text

_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?=\s|$)")


class Reply(NamedTuple):
    """One reply: `code` 200-599, `lines` without code and mark, and what follows from them, made once for the thousands of times it is said.

    `text`: the lines joined by a blank, shortened to TEXT_CHARS_MAX characters, without control characters. `enhanced`: the enhanced status
    code at the head of the text ("5.1.1"), or "". Source: RFC 2034 s4, RFC 3463.
    """

    code: int
    lines: tuple[str, ...]
    text: str
    enhanced: str


def _reply(code: int, lines: tuple[str, ...]) -> Reply:
    joined = " ".join(lines)[:TEXT_CHARS_MAX]
    text = joined if joined.isprintable() else "".join(c if c.isprintable() else " " for c in joined)
    found = _ENHANCED.match(lines[0].lstrip())
    return Reply(code, lines, text, found.group(0) if found and found.group(1) == str(code // 100) else "")


class ProtocolError(Exception):
    """The peer does not speak SMTP, or beyond our limits: the connection is of no more use."""


class ReplyParser:
    """Collects bytes and gives whole replies. What no reply can be is a ProtocolError; the parser is dead then.

    Replies that stand before it count all the same: one of them may be the 250 to a content. They are returned, and the error is left in
    `fault`, to be raised once they were looked at.
    """

    def __init__(self) -> None:
        self.fault: ProtocolError | None = None
        self._rest = b""
        self._seen: dict[bytes, Reply] = {}  # a server says "250 ok" thousands of times
        self._lines: list[str] = []

    def feed(self, data: bytes) -> list[Reply]:
        """Return the replies completed by `data`, in order. Raises ProtocolError if none stands before what is no reply."""
        replies: list[Reply] = []
        try:
            self._collect(data, replies)
        except ProtocolError as e:
            if not replies:
                raise
            self.fault = e
        return replies

    def _collect(self, data: bytes, replies: list[Reply]) -> None:
        if self._rest:
            data = self._rest + data
        lines = data.split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            known = self._seen.get(line)
            if known is not None and not self._lines:
                replies.append(known)
                continue
            code, mark = line[:3], line[3:4]
            if mark == b"\r":
                mark = b""
            if not code.isdigit() or mark not in (b" ", b"-", b"") or not b"200" <= code <= b"599" or len(line) > LINE_BYTES_MAX:
                raise ProtocolError(f"no reply line: {line[:40]!r}")
            self._lines.append(line[4:].rstrip(b"\r").decode("utf-8", "replace"))
            if mark == b"-":
                if len(self._lines) >= LINES_MAX:
                    raise ProtocolError(f"a reply of more than {LINES_MAX} lines")
                continue
            reply = _reply(int(code), tuple(self._lines))
            if len(self._lines) == 1 and len(self._seen) < SEEN_MAX:
                self._seen[line] = reply
            replies.append(reply)
            self._lines = []
        if len(self._rest) > LINE_BYTES_MAX:
            raise ProtocolError(f"a reply line of more than {LINE_BYTES_MAX} bytes")
