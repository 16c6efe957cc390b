"""A notice compiled once into bytes that need no further work: no verifier's canonicalisation changes them, no server's dot rule either.

Design: DKIM's relaxed canonicalisation would cost more than the whole splice if it had to be done per message, so the bytes are made such
that it is the identity: every body is quoted-printable (RFC 2045 s6.7) with
  - lines of at most 76 octets, CRLF, none ending in a blank, none holding two blanks in a row (the second is =20), no tab (=09);
  - no line that begins with a dot (=2E), so dot-stuffing (RFC 5321 s4.5.2) has nothing to do; none with "From " (=46rom);
  - no empty line at the end of the whole body.
A slot stands on lines of its own between soft breaks ("=" CRLF), so that a value can never reach beyond its place, whatever it holds: all
that
is not a printable ASCII character is hexadecimal, and control characters have become blanks before. The boundary holds "=_", which
quoted-printable text never does.

Refused: 8-bit bodies (a relay without 8BITMIME re-encodes them and breaks the signature); slots in header fields (Subject is fixed, so
that a prefix of the signed header is fixed too).
"""

from __future__ import annotations

import hashlib
import html
import re
from base64 import b64encode
from collections.abc import Mapping

from tocsin.kernel.errors import BadInput, Fault

from .types import Template

LINE_BYTES_MAX = 76
HEADER_LINE_BYTES = 76
SLOT_CHARS_MAX = 4000
TEXT_CHARS_MAX = 200_000
SLOTS_MAX = 64
SLOT = re.compile(r"\{\{\s*([a-z][a-z0-9_]{0,39})\s*\}\}")
SOFT = b"=\r\n"

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_PLAIN = re.compile(r"(?![.]|From )[!-<>-~]+(?: [!-<>-~]+)*")  # needs no encoding anywhere on a line
_PLAIN_CHARS = LINE_BYTES_MAX - 4
_LITERAL = frozenset(range(33, 127)) - {61}
_HEX = tuple(b"=%02X" % i for i in range(256))
_FIELD_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,60}")
_OURS = frozenset({"from", "to", "cc", "bcc", "sender", "subject", "date", "message-id", "mime-version", "content-type", "reply-to",
                   "content-transfer-encoding", "dkim-signature", "return-path", "received", "list-unsubscribe"})


def one_line(value: str) -> str:
    """Return the value with each run of control characters (CR, LF, tab, U+2028 …) as one blank and surrogates replaced."""
    return _CONTROL.sub(" ", value).encode("utf-8", "replace").decode()


def quoted(value: bytes) -> bytes:
    """Return one line of bytes (no CR or LF in it) as quoted-printable lines without the last line's end."""
    out: list[bytes] = []
    line: list[bytes] = []
    width = 0
    last = len(value) - 1
    after_blank = False
    for i, byte in enumerate(value):
        if byte == 32:
            token = b"=20" if after_blank or i == last else b" "
            after_blank = True
        else:
            at_start = not line
            token = _HEX[byte] if byte not in _LITERAL or (at_start and (byte == 46 or value[i:i + 5] == b"From ")) else bytes((byte,))
            after_blank = False
        if width + len(token) > LINE_BYTES_MAX - 1:
            out.append(b"".join(line) + SOFT)
            line, width = [], 0
            if token == b".":
                token = b"=2E"
            elif byte == 70 and value[i:i + 5] == b"From ":
                token = b"=46"
        line.append(token)
        width += len(token)
    out.append(b"".join(line))
    return b"".join(out)


def slot_value(value: str, *, is_html: bool) -> bytes:
    """Return a slot's value as it stands on the wire: whole quoted-printable lines, each ended by a soft break. Empty for an empty
    value."""
    if is_html:
        value = html.escape(value)
    if len(value) <= _PLAIN_CHARS and _PLAIN.fullmatch(value):
        return value.encode() + SOFT
    value = one_line(value)
    if len(value) > SLOT_CHARS_MAX * 6:  # six: the longest an escape gets
        raise BadInput.of("slot", f"{len(value)} characters", f"at most {SLOT_CHARS_MAX}")
    return quoted(value.encode()) + SOFT if value else b""


def fold(name: str, value: str) -> tuple[str, str, bytes]:
    """Return a header field as (name, unfolded value in wire form, wire bytes). Text that is not ASCII becomes encoded words (RFC 2047)."""
    return _wire(name, " ".join(_words(" ".join(one_line(value).split()))))


def fold_address(name: str, display: str, address: str) -> tuple[str, str, bytes]:
    """Return a header field with one address and its display name, quoted or encoded as the name needs."""
    display = " ".join(one_line(display).split())
    if not display:
        return _wire(name, address)
    if not display.isascii():
        shown = " ".join(_words(display))
    elif re.fullmatch(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+", display):
        shown = display
    else:
        shown = '"' + display.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return _wire(name, f"{shown} <{address}>")


def _words(value: str) -> list[str]:
    if value.isascii() and all(len(word) <= HEADER_LINE_BYTES * 4 for word in value.split(" ")):
        return value.split(" ")
    words, piece = [], ""
    for char in value:  # an encoded word holds whole characters and at most 75 octets
        if len((piece + char).encode()) > 42:
            words.append(piece)
            piece = ""
        piece += char
    return [f"=?utf-8?b?{b64encode(w.encode()).decode()}?=" for w in [*words, piece] if w]


def _wire(name: str, value: str) -> tuple[str, str, bytes]:
    lines, line = [], f"{name}:"
    for word in value.split(" "):
        if len(line) + 1 + len(word) > HEADER_LINE_BYTES and line != f"{name}:":
            lines.append(line)
            line = ""
        line += f" {word}"
    return name, value, "\r\n".join([*lines, line]).encode() + b"\r\n"


def _part(source: str, *, is_html: bool) -> tuple[list[bytes], list[tuple[str, bool]]]:
    """Return the literals and slots of one body part, without a line end after its last line."""
    source = source.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
    literals: list[bytes] = []
    slots: list[tuple[str, bool]] = []
    pieces = SLOT.split(source)
    for i in range(0, len(pieces), 2):
        lines = [quoted(_CONTROL.sub(" ", line.replace("\t", "    ")).encode()) for line in pieces[i].split("\n")]
        followed = i + 1 < len(pieces)
        if followed:
            slots.append((pieces[i + 1], is_html))
        literals.append(b"\r\n".join(lines) + (SOFT if followed and lines[-1] else b""))
    return literals, slots


def compile_notice(*, from_name: str, from_address: str, reply_to: str | None, subject: str, text: str, html_text: str | None,
                   headers: Mapping[str, str] | None = None) -> Template:
    """Return the compiled template of a notice. Slots are `{{name}}` in `text` and `html_text`. Raises BadInput with all faults.

    `headers`: further fields, fixed for all recipients; those that the room sets itself are refused, and `List-Unsubscribe` too: a notice
    under a legal duty is no subscription.
    """
    faults = _faults(subject=subject, text=text, html_text=html_text, headers=headers or {})
    if faults:
        raise BadInput(faults)
    literals, slots = _part(text, is_html=False)
    if html_text is None:
        content_type = "text/plain; charset=utf-8"
        extra = [fold("Content-Transfer-Encoding", "quoted-printable")]
        literals[-1] += b"\r\n"
    else:
        mark = hashlib.sha256(f"{text}\x00{html_text}".encode()).hexdigest()[:24]
        boundary = f"=_tocsin_{mark}"
        content_type = f'multipart/alternative; boundary="{boundary}"'
        extra = []
        html_literals, html_slots = _part(html_text, is_html=True)
        literals[0] = _part_head(boundary, "text/plain") + literals[0]
        literals[-1] += b"\r\n" + _part_head(boundary, "text/html") + html_literals[0]
        literals += html_literals[1:]
        literals[-1] += f"\r\n--{boundary}--\r\n".encode()
        slots += html_slots
    head = [fold_address("From", from_name, from_address)]
    if reply_to:
        head.append(fold_address("Reply-To", "", reply_to))
    head += [fold("Subject", subject), ("MIME-Version", "1.0", b"MIME-Version: 1.0\r\n"), fold("Content-Type", content_type), *extra]
    head += [fold(name, value) for name, value in (headers or {}).items()]
    digest = hashlib.sha256()
    for piece in [*(wire for _, _, wire in head), *literals, repr(slots).encode()]:
        digest.update(len(piece).to_bytes(8, "big") + piece)
    return Template(head=tuple(head), literals=tuple(literals), slots=tuple(slots), digest=digest.digest())


def _part_head(boundary: str, media: str) -> bytes:
    return f"--{boundary}\r\nContent-Type: {media}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n".encode()


def _faults(*, subject: str, text: str, html_text: str | None, headers: Mapping[str, str]) -> list[Fault]:
    faults = []
    if not subject.strip():
        faults.append(Fault("subject", "nothing", "a subject"))
    if not text.strip():
        faults.append(Fault("text", "nothing", "a plain text: it is what most people and all filters read first"))
    for name, value in (("subject", subject), *((f"header {k}", v) for k, v in headers.items())):
        if "{{" in value or _CONTROL.search(value) or len(value) > 900:
            faults.append(Fault(name, repr(value[:60]), "one line of at most 900 characters without control characters and without slots"))
    for name in headers:
        if not _FIELD_NAME.fullmatch(name) or name.lower() in _OURS:
            faults.append(Fault(f"header {name[:40]!r}", "a name of the room's own or no field name", "the name of a further header field"))
    n_slots = 0
    for name, source in (("text", text), ("html", html_text or "")):
        n_slots += len(SLOT.findall(source))
        rest = SLOT.sub("", source)
        if "{{" in rest or "}}" in rest:
            at = rest.find("{{") if "{{" in rest else rest.find("}}")
            faults.append(Fault(name, repr(rest[max(0, at - 10):at + 30]), "slots of the form {{lower_case_name}}"))
        if len(source) > TEXT_CHARS_MAX:
            faults.append(Fault(name, f"{len(source)} characters", f"at most {TEXT_CHARS_MAX}"))
    if n_slots > SLOTS_MAX:
        faults.append(Fault("text and html", f"{n_slots} slots", f"at most {SLOTS_MAX}"))
    return faults


def splice(template: Template, values: Mapping[str, str]) -> bytes:
    """Return the body for one recipient: canonical, dot-stuffed. Raises BadInput naming the slots without a value."""
    literals = template.literals
    out = [literals[0]]
    try:
        for i, (name, is_html) in enumerate(template.slots, 1):
            out.append(slot_value(values[name], is_html=is_html))
            out.append(literals[i])
    except KeyError:
        missing = sorted(template.slot_names - values.keys())
        raise BadInput([Fault(f"slot {name}", "nothing", "a value") for name in missing]) from None
    body = b"".join(out)
    while body.endswith(b"\r\n\r\n"):  # an empty last slot of a text without HTML
        body = body[:-2]
    return body
