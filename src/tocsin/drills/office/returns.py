"""Mail the office sends back: delivery status notifications, automatic replies and feedback reports, handed to the estate's intake.

The wording is ours; the forms are those of the standards and of the programs people meet. Every mail follows from the original message
and the recipient (its Message-ID too), so a return sent twice after a crash is recognised as one by a careful intake.
Source: RFC 3462/6522 (multipart/report), 3464 (delivery status), 3834 (automatic replies), 5965 (feedback reports).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from datetime import timedelta
from email.message import EmailMessage, Message
from email.parser import BytesHeaderParser
from email.utils import format_datetime, parseaddr
from hashlib import blake2b

from tocsin.kernel import clock

from .index import Index, Return
from .personality import number
from .smtp import NAME
from .spool import Letter, Spool

TICK_S = 0.2
BATCH = 200
RETRY_S_MAX = 30.0
REPLY_S_MAX = 30.0
HEADERS_BYTES_MAX = 16_384

FAILURES: tuple[tuple[str, str, str], ...] = (  # status, diagnostic, words
    ("5.1.1", "smtp; 550 5.1.1 <{address}>: no such recipient", "There is no mailbox of that name behind our gate."),
    ("5.1.1", "smtp; 550 5.1.1 <{address}>: no such recipient", "The address is not known to the server that keeps the mail."),
    ("5.2.2", "smtp; 552 5.2.2 <{address}>: quota used up", "The mailbox is full and its owner has not cleared it."),
    ("5.2.1", "smtp; 550 5.2.1 <{address}>: account switched off", "The account has been switched off."),
    ("4.4.7", "smtp; 451 4.4.1 no answer from the mailbox server",
     "For two days the server that keeps this mailbox gave no answer; we have stopped trying."),
    ("5.7.1", "smtp; 550 5.7.1 refused by a rule of the receiving site", "A rule of the receiving site turned the message away."),
)
DELAY = ("4.4.1", "smtp; 451 4.4.1 no answer from the mailbox server", "The server that keeps this mailbox gives no answer; we go on trying.")
DELAYED_FOR = timedelta(days=2)
VACATIONS: tuple[tuple[str, str], ...] = (
    ("Out of office: {subject}",
     "Thank you for writing. I am away until Monday week and read no mail before that.\nFor anything urgent please ring the front desk.\n"),
    ("Automatic reply: {subject}", "I am on leave with little access to mail. I will answer when I am back.\n"),
    ("Re: {subject} (I am travelling)",
     "Hi,\n\nthis answers itself. I am on the road this week, so replies may be slow.\n\nBest\n"),
    ("Abwesenheit: {subject}",
     "Guten Tag,\n\nich bin derzeit nicht im Haus und lese keine Nachrichten. Ab dem 1. bin ich wieder da.\n"),
)


def compose(letter: Letter, *, message: int, address: str, kind: str, seed: int) -> tuple[str, bytes] | None:
    """Return the recipient and the bytes of the mail to send back, or None where the message forbids an automatic answer."""
    headers = BytesHeaderParser().parsebytes(letter.content[:HEADERS_BYTES_MAX].partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    draw = number(seed, f"{kind}|{address}")
    stamp = blake2b(f"{message}|{address}|{kind}".encode(), digest_size=12).hexdigest()
    if kind in {"dsn", "delayed"}:
        return letter.sender, _dsn(letter, address=address, draw=draw, stamp=stamp, delayed=kind == "delayed")
    if kind == "complaint":
        return letter.sender, _complaint(letter, address=address, stamp=stamp)
    return _vacation(letter, headers, address=address, draw=draw, stamp=stamp)


def _report(kind: str, parts: tuple[tuple[str, str], ...], *, sender: str, to: str, subject: str, stamp: str, at_us: int,
            more: str = "") -> bytes:
    """Return a multipart/report, put together by hand: the standard library's generator wants to understand each part's inside."""
    head = (f"From: {sender}\nTo: <{to}>\nSubject: {subject}\nDate: {format_datetime(clock.from_us(at_us))}\n"
            f"Message-ID: <{stamp}@{NAME}>\n{more}"
            f'MIME-Version: 1.0\nContent-Type: multipart/report; report-type={kind}; boundary="={stamp}"\n\nThis is a MIME report.\n')
    body = "".join(f"\n--={stamp}\nContent-Type: {content_type}\n\n{text}" for content_type, text in parts)
    return (head + body + f"\n--={stamp}--\n").replace("\n", "\r\n").encode("utf-8", "replace")


def _text(headers: Message, name: str) -> str:
    return re.sub(r"\s*[\r\n]+\s*", " ", str(headers.get(name, "")))


def _head(content: bytes) -> str:
    return content[:HEADERS_BYTES_MAX].partition(b"\r\n\r\n")[0].decode("ascii", "replace").replace("\r\n", "\n") + "\n"


def _dsn(letter: Letter, *, address: str, draw: int, stamp: str, delayed: bool) -> bytes:
    status, diagnostic, words = DELAY if delayed else FAILURES[draw % len(FAILURES)]
    diagnostic = diagnostic.format(address=address)
    until = f"Will-Retry-Until: {format_datetime(clock.from_us(letter.at_us) + DELAYED_FOR)}\n" if delayed else ""
    could = "has not yet been brought to the recipient named here; this is a warning, nothing need be done" if delayed \
        else "could not be brought to the recipient named here"
    return _report("delivery-status", (
        ("text/plain; charset=us-ascii", f"This is the mail system at {NAME}.\n\n"
                                         f"Your message {could}.\n\n"
                                         f"<{address}>: {words}\n    {diagnostic}\n"),
        ("message/delivery-status", f"Reporting-MTA: dns; {NAME}\nArrival-Date: {format_datetime(clock.from_us(letter.at_us))}\n\n"
                                    f"Final-Recipient: rfc822; {address}\nAction: {'delayed' if delayed else 'failed'}\n"
                                    f"Status: {status}\n{until}"
                                    f"Remote-MTA: dns; mx.{address.rpartition('@')[2]}\nDiagnostic-Code: {diagnostic}\n"),
        ("text/rfc822-headers", _head(letter.content)),
    ), sender=f"Mail Delivery System <MAILER-DAEMON@{NAME}>", to=letter.sender,
        subject="Warning: your message is delayed" if delayed else "Undelivered mail goes back to its sender",
        stamp=stamp, at_us=letter.at_us, more="Auto-Submitted: auto-replied\n")


def _complaint(letter: Letter, *, address: str, stamp: str) -> bytes:
    return _report("feedback-report", (
        ("text/plain; charset=us-ascii", "A recipient of ours has marked the message below as unwanted.\n"),
        ("message/feedback-report", "Feedback-Type: abuse\nUser-Agent: practice-office/1\nVersion: 1\n"
                                    f"Original-Mail-From: <{letter.sender}>\nOriginal-Rcpt-To: <{address}>\n"
                                    f"Reported-Domain: {letter.sender.rpartition('@')[2]}\n"
                                    f"Arrival-Date: {format_datetime(clock.from_us(letter.at_us))}\n"),
        ("text/rfc822-headers", _head(letter.content)),
    ), sender=f"Feedback loop <complaints@{address.rpartition('@')[2]}>", to=letter.sender, subject="A recipient marked this as unwanted",
        stamp=stamp, at_us=letter.at_us)


def _vacation(letter: Letter, headers: Message, *, address: str, draw: int, stamp: str) -> tuple[str, bytes] | None:
    # Two in three responders keep RFC 3834: to the envelope sender, never to automatic or list mail. The third does neither.
    keeps_rules = draw % 3 != 0
    to = letter.sender
    if keeps_rules:
        automatic = _text(headers, "Auto-Submitted").partition(";")[0].strip().lower()
        if automatic not in {"", "no"} or headers.get("List-Id") or _text(headers, "Precedence").lower() in {"bulk", "list", "junk"}:
            return None
    else:
        to = parseaddr(_text(headers, "Reply-To") or _text(headers, "From"))[1] or to
    subject, text = VACATIONS[(draw >> 8) % len(VACATIONS)]
    mail = EmailMessage()
    mail["From"], mail["To"] = address, to
    mail["Subject"] = subject.format(subject=_text(headers, "Subject"))[:200]
    mail["Date"] = format_datetime(clock.from_us(letter.at_us))
    mail["Message-ID"] = f"<{stamp}@{NAME}>"
    original = _text(headers, "Message-ID")
    if original:
        mail["In-Reply-To"] = mail["References"] = original
    if keeps_rules:
        mail["Auto-Submitted"] = "auto-replied"
    else:
        mail["X-Auto-Response-Suppress"] = "All"
    mail.set_content(text)
    return to, _octets(mail)


def _octets(mail: Message) -> bytes:
    return b"\r\n".join(mail.as_bytes().splitlines()) + b"\r\n"


class IntakeRefused(Exception):
    """The intake answered a command with something else than yes."""


async def hand_over(host: str, port: int, *, to: str, content: bytes, sender: str = "") -> None:
    """Deliver one message by SMTP with the null path. Raises OSError, TimeoutError or IntakeRefused."""
    reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), REPLY_S_MAX)

    async def expect(yes: bytes, command: bytes = b"") -> None:
        if command:
            writer.write(command + b"\r\n")
        line = await asyncio.wait_for(reader.readline(), REPLY_S_MAX)
        while line[3:4] == b"-":
            line = await asyncio.wait_for(reader.readline(), REPLY_S_MAX)
        if not line.startswith(yes):
            raise IntakeRefused(line.decode("ascii", "replace").strip() or "connection closed")

    try:
        await expect(b"2")
        await expect(b"250", b"EHLO " + NAME.encode())
        await expect(b"250", f"MAIL FROM:<{sender}>".encode())
        await expect(b"25", f"RCPT TO:<{to}>".encode())
        await expect(b"354", b"DATA")
        await expect(b"250", content.replace(b"\r\n.", b"\r\n..") + b".")
        with contextlib.suppress(OSError, TimeoutError, IntakeRefused):  # it is delivered; how they part changes nothing
            await expect(b"221", b"QUIT")
    finally:
        writer.close()


async def run(index: Index, spool: Spool, *, host: str, port: int, seed: int, stopped: Callable[[], bool]) -> None:
    """Send what is due, one mail at a time, until stopped. Each outcome is noted before the next mail: a crash repeats at most one."""
    while not stopped():
        for owed in index.due(clock.us(clock.now()), limit=BATCH):
            if stopped():
                return
            await _send(owed, index, spool, host=host, port=port, seed=seed)
        await asyncio.sleep(TICK_S)


async def _send(owed: Return, index: Index, spool: Spool, *, host: str, port: int, seed: int) -> None:
    entry = index.entry(owed.message)
    composed = None if entry is None else compose(spool.read(entry.offset, entry.length), message=owed.message, address=owed.address,
                                                  kind=owed.kind, seed=seed)
    if composed is None:
        index.drop(owed.id)
        return
    try:
        await hand_over(host, port, to=composed[0], content=composed[1])
        sent = True
    except (OSError, TimeoutError, IntakeRefused):
        sent = False  # the row keeps the try; RETURN_TRIES_MAX ends them and the count shows it
    wait_us = int(min(RETRY_S_MAX, 0.5 * 2 ** min(owed.tries, 8)) * 1e6)
    index.returned(owed.id, sent=sent, again_us=clock.us(clock.now()) + wait_us)
