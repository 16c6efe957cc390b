"""The inbox page of the practice post office: HTML text from values, everything escaped, no script, one stylesheet of our own."""

from __future__ import annotations

import email
import email.header
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import Message
from email.utils import parseaddr
from html import escape
from urllib.parse import quote

from tocsin.kernel import clock

from .index import Counts, Entry, Mailbox
from .personality import FATES, Personalities
from .smtp import Counter
from .spool import Letter

SIDE_ROWS = 60
LIST_ROWS = 60
SOURCE_CHARS_MAX = 400_000
PARTS_MAX = 200


@dataclass(frozen=True, slots=True)
class Head:
    """What a list shows of a mail."""

    sender: str
    subject: str


@dataclass(frozen=True, slots=True)
class Mail:
    """What a reader sees of a mail, decoded."""

    sender: str
    reply_to: str
    to: str
    subject: str
    date: str
    in_reply_to: str
    text: str
    html: str
    parts: tuple[tuple[str, str, int], ...]  # content type, file name, octets: of every part that is neither text nor HTML
    signed: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a message list."""

    id: int
    recipients: tuple[str, ...]
    at_us: int
    head: Head


@dataclass(frozen=True, slots=True)
class Side:
    """The column of mailboxes, and the totals above it."""

    boxes: Sequence[Mailbox]
    more: str | None
    search: str
    address: str
    counts: Counts


def decoded(value: object) -> str:
    """Return a header's text, encoded words decoded; what cannot be decoded is kept as it stands."""
    text = str(value or "")
    if "=?" in text:
        try:
            text = str(email.header.make_header(email.header.decode_header(text)))
        except (LookupError, ValueError, email.errors.HeaderParseError):
            return " ".join(text.split())
    return " ".join(text.split())


def open_head(content: bytes) -> Head:
    """Return sender and subject of a message."""
    head = email.message_from_bytes(content[:65_536].partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    name, address = parseaddr(decoded(head.get("From")))
    return Head(name or address, decoded(head.get("Subject")))


def open_mail(content: bytes) -> Mail:
    """Return a message decoded for reading. Never raises for what stands in a message: the odd parts are shown as they are."""
    mail = email.message_from_bytes(content)
    text, html, others = "", "", []
    for i, part in enumerate(mail.walk()):
        if i >= PARTS_MAX or part.is_multipart():
            continue
        kind = part.get_content_type()
        if kind == "text/plain" and not text and part.get_content_disposition() != "attachment":
            text = _text_of(part)
        elif kind == "text/html" and not html and part.get_content_disposition() != "attachment":
            html = _text_of(part)
        else:
            octets = part.get_payload(decode=True)
            others.append((kind, decoded(part.get_filename()), len(octets) if isinstance(octets, bytes) else 0))
    return Mail(sender=decoded(mail.get("From")), reply_to=decoded(mail.get("Reply-To")), to=decoded(mail.get("To")),
                subject=decoded(mail.get("Subject")), date=decoded(mail.get("Date")), in_reply_to=decoded(mail.get("In-Reply-To")),
                text=text, html=html, parts=tuple(others), signed="DKIM-Signature" in mail)


def _text_of(part: Message) -> str:
    octets = part.get_payload(decode=True)
    if not isinstance(octets, bytes):
        return ""
    try:
        text = octets.decode(part.get_content_charset("utf-8"), "replace")
    except LookupError:
        text = octets.decode("utf-8", "replace")
    return text.replace("\r\n", "\n")


# --- pages -----------------------------------------------------------------------------------------------------------------------


def _frame(side: Side, title: str, main: str) -> str:
    counts = side.counts
    facts = [("messages", counts.received), ("mailboxes", counts.mailboxes), ("repeated", counts.surplus),
             ("sent back", counts.returns_sent)]
    tally = "".join(f"<div><dt>{name}</dt><dd>{n:,}</dd></div>" for name, n in facts)
    return (f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} · Practice post office</title><meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,"><link rel="stylesheet" href="/style.css"></head><body>
<a class="skip" href="#main">Skip to the messages</a>
<header><a class="brand" href="/"><span class="mark" aria-hidden="true"></span>Practice post office</a>
<p class="note">Every receiver of this drill. No letter leaves this house. <a href="/providers">How they behave</a></p><dl class="tally">{tally}</dl></header>
<div class="columns"><nav aria-label="Mailboxes">{_boxes(side)}</nav><main id="main" tabindex="-1">{main}</main></div></body></html>
""")


def _boxes(side: Side) -> str:
    items = []
    for box in side.boxes:
        local, _, domain = box.address.rpartition("@")
        here = ' aria-current="page"' if box.address == side.address else ""
        query = f"?q={quote(side.search)}" if side.search else ""
        items.append(f'<li><a href="/box/{quote(box.address)}{query}"{here}><span class="who">{escape(local)}</span>'
                     f'<span class="at">@{escape(domain)}</span><span class="n">{box.n:,}</span></a></li>')
    more = f'<p class="more"><a href="?q={quote(side.search)}&amp;from={quote(side.more)}">More mailboxes</a></p>' if side.more else ""
    why = "No mailbox has this in its address." if side.search else "No mail has come yet."
    none = "" if items else f'<p class="empty">{why}</p>'
    return (f'<form action="/" role="search"><label for="q">Find a mailbox</label><div class="find"><input id="q" name="q" type="search" '
            f'value="{escape(side.search)}" placeholder="part of an address" autocomplete="off"><button>Find</button></div></form>'
            f'<ul class="boxes">{"".join(items)}</ul>{none}{more}')


def _clock(at_us: int) -> str:
    at = clock.from_us(at_us)
    return f'<time datetime="{clock.iso(at)}" title="{at:%Y-%m-%d %H:%M:%S} UTC">{at:%d %b %H:%M:%S}</time>'


def inbox(side: Side, rows: Sequence[Row], *, address: str, older: int | None) -> str:
    """Return the page of a mailbox, or of the latest mail to anybody."""
    title = address or "Latest messages"
    lines = []
    for row in rows:
        to = "" if address else f'<span class="to">to {escape(", ".join(row.recipients[:3]))}</span>'
        box = f"?box={quote(address)}" if address else ""
        lines.append(f'<li><a href="/message/{row.id}{box}"><span class="from">{escape(row.head.sender or "(no sender)")}</span>'
                     f'<span class="subject">{escape(row.head.subject or "(no subject)")}</span>{to}{_clock(row.at_us)}</a></li>')
    empty = "" if rows else ('<div class="blank"><p>Nothing here yet.</p>'
                             '<p>Mail that the estate sends stands in this list the moment it is accepted.</p></div>')
    query = f"?before={older}" if older else ""
    more = f'<p class="more"><a href="{query}">Older messages</a></p>' if older else ""
    return _frame(side, title, f'<h1>{escape(title)}</h1><ol class="list">{"".join(lines)}</ol>{empty}{more}')


def providers(side: Side, personalities: Personalities, count: Counter) -> str:
    """Return the page of the practice providers: how each behaves, what it did so far, and the latest tries that went wrong."""
    rows = []
    for provider in (personalities.default, *personalities.providers):
        shares = [f"{fate.replace('_', ' ')} {getattr(provider, fate):.2%}" for fate in FATES if getattr(provider, fate)]
        limits = [f"{n} messages per connection" for n in [provider.messages_per_connection_max] if n]
        limits += [f"{n} messages per second, else {provider.penalty_s:g} s of nothing" for n in [provider.rate_per_s_max] if n]
        did = sorted((what.replace("_", " "), n) for (name, what), n in count.by_provider.items() if name == provider.name)
        rows.append(f"<tr><th scope=row>{escape(provider.name)}<br><small>{escape(', '.join(provider.domains) or 'everybody else')}</small></th>"
                    f"<td>{escape(provider.style)}</td><td>{escape(', '.join(shares + limits) or 'takes everything')}</td>"
                    f"<td>{'<br>'.join(f'{escape(what)} {n:,}' for what, n in did) or 'nothing yet'}</td></tr>")
    away = [f"<tr><td>{_clock(t.at_us)}</td><td>{escape(t.address)}</td><td>{escape(t.provider)}</td><td>{escape(t.what.replace('_', ' '))}</td>"
            f"<td>{escape(t.reply) or 'no answer'}</td></tr>" for t in reversed(count.turned_away)]
    heads = "".join(f"<th scope=col>{name}</th>" for name in ("Provider", "Style", "Shares of recipients", "Since this office began"))
    latest = "".join(f"<th scope=col>{name}</th>" for name in ("At", "Recipient", "Provider", "What", "The sender heard"))
    none = '<p class="empty">Every try went well.</p>'
    table = f'<div class="wide"><table><thead><tr>{latest}</tr></thead><tbody>{"".join(away)}</tbody></table></div>' if away else none
    return _frame(side, "How the providers behave", (
        f"<h1>How the providers behave</h1><p>Who gets which fate follows from the seed ({personalities.seed}) and the address alone.</p>"
        f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
        f"<h2>The latest tries that went wrong</h2>{table}"))


def message(side: Side, entry: Entry, letter: Letter, *, box: str, personalities: Personalities) -> str:
    """Return the page of one mail: headers, plain text, its HTML in a sandboxed frame."""
    mail = open_mail(letter.content)
    facts = [("From", mail.sender), ("To", mail.to), ("Reply-To", mail.reply_to), ("Sent", mail.date), ("In reply to", mail.in_reply_to)]
    shown = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts if value)
    envelope = (f"<div><dt>Accepted</dt><dd>{_clock(letter.at_us)}</dd></div>"
                f"<div><dt>Envelope from</dt><dd>&lt;{escape(letter.sender)}&gt;</dd></div>"
                f"<div><dt>Envelope to</dt><dd>{escape(', '.join(letter.recipients))}</dd></div>"
                f"<div><dt>Provider</dt><dd>{escape(_behaviour(entry.recipients[0], personalities))}</dd></div>"
                f"<div><dt>Message-ID</dt><dd>{escape(entry.message_id) or 'none'}</dd></div>"
                f"<div><dt>DKIM</dt><dd>{'signature present' if mail.signed else 'not signed'}</dd></div>"
                f"<div><dt>Size</dt><dd>{len(letter.content):,} bytes</dd></div>")
    text = f'<section aria-label="Plain text"><pre class="text">{escape(mail.text)}</pre></section>' if mail.text else ""
    html = (f'<section><h2>The same mail as HTML</h2><iframe sandbox title="HTML part of this mail, without scripts or remote content" '
            f'src="/frame/{entry.id}"></iframe></section>') if mail.html else ""
    others = "".join(f"<li>{escape(name or 'unnamed part')} <small>{escape(kind)}, {size:,} bytes</small></li>"
                     for kind, name, size in mail.parts)
    parts = f"<section><h2>Other parts</h2><ul>{others}</ul></section>" if others else ""
    return _frame(side, mail.subject or "(no subject)", (
        f'<p class="back"><a href="/box/{quote(box)}">&larr; {escape(box)}</a></p>'
        f'<article><h1>{escape(mail.subject or "(no subject)")}</h1>'
        f'<dl class="facts">{shown}</dl>{text or ("" if mail.html else "<p class=empty>This mail has no text.</p>")}{html}{parts}'
        f'<details><summary>Envelope and evidence</summary><dl class="facts">{envelope}</dl></details>'
        f'<p class="more"><a href="/source/{entry.id}">Source</a> <a href="/api/raw/{entry.id}">Download (.eml)</a></p></article>'))


def _behaviour(address: str, personalities: Personalities) -> str:
    """Return which provider a recipient has, and what that one does with them."""
    provider = personalities.provider_of(address)
    fate = personalities.fate(address, provider)
    return f"{provider.name}, style {provider.style}: {fate.replace('_', ' ') or 'quiet delivery'}"


def source(side: Side, entry: Entry, letter: Letter) -> str:
    """Return the page of one mail as it came over the wire."""
    text = letter.content.decode("utf-8", "replace").replace("\r\n", "\n")
    cut = "" if len(text) <= SOURCE_CHARS_MAX else f'<p class="empty">Only the first {SOURCE_CHARS_MAX:,} characters are shown.</p>'
    return _frame(side, f"Source of {entry.id}", (
        f'<p class="back"><a href="/message/{entry.id}">&larr; back to the mail</a></p><article><h1>Source</h1>{cut}'
        f'<pre class="source" tabindex="0">{escape(text[:SOURCE_CHARS_MAX])}</pre></article>'))
