"""The HTTP side of the practice post office: a JSON interface for simulated people and tests, and an inbox for eyes.

    GET /api/messages?to=ADDRESS&after=ID[&limit=N][&wait=SECONDS]   {"messages": [{id,to,from,subject,message_id,at,text,html}]}
        in order of acceptance; `wait` (up to 30) holds the answer back until a message is there, so that nobody needs to poll in a loop
    GET /api/raw/ID          message/rfc822, the octets as accepted; the envelope in X-Envelope-From and X-Envelope-To
    GET /api/record?after=ID[&limit=N]   {"record": [{id,at,from,to[],message_id}], "next": ID}: who got what, without opening the mails
    GET /api/counts          {received, deliveries, distinct_message_ids, without_message_id, mailboxes, duplicates[], surplus,
                              returns{waiting,sent,given_up}, smtp{accepted,refused,dropped,connections}}
    GET /api/providers       {seed, providers: [{name, domains[], style, shares{}, did{}}], turned_away: [{at,address,provider,what,reply}]}
        how each provider behaves and what it did since this office began; the latest tries that went wrong, oldest first
    GET /                    the inbox; /providers; /box/ADDRESS; /message/ID; /source/ID; /frame/ID (a mail's own HTML, for a sandboxed frame only)

It answers only to a loopback Host header (no DNS rebinding), only GET and HEAD, and sends a policy that forbids every script and every
request to elsewhere. One loop serves this and SMTP: a question sees every message whose 250 has left.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from tocsin.kernel import clock
from tocsin.kernel.errors import BadInput

from . import pages
from .index import Entry, Index
from .personality import FATES, Personalities
from .smtp import Counter
from .spool import Spool

HEAD_BYTES_MAX = 16_384
IDLE_S = 75.0
WAIT_S_MAX = 30.0
MESSAGES_MAX = 500
RECORD_MAX = 10_000
CONNECTIONS_MAX = 2_000
HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
POLICY = ("default-src 'none'; style-src 'self'; img-src 'self' data:; frame-src 'self'; form-action 'self'; base-uri 'none'; "
          "frame-ancestors 'none'")
# A mail's own HTML is shown in a frame without scripts, forms, links out or an origin; its styles are its own business.
FRAME_POLICY = ("sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; "
                "frame-ancestors 'self'")


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer."""

    status: str
    body: bytes
    content_type: str = "text/html; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ask:
    """One HTTP question: path segments and the last value of each parameter."""

    segments: tuple[str, ...]
    values: dict[str, str]

    def number(self, key: str, default: int, top: int) -> int:
        """Return a whole parameter from 0 to `top`. Raises BadInput."""
        text = self.values.get(key, "")
        if not text:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise BadInput.of(key, text, "a whole number")
        return min(int(text), top)


class Desk:
    """Answers questions from the index and the spool."""

    def __init__(self, index: Index, spool: Spool, count: Counter, personalities: Personalities) -> None:
        self._index, self._spool, self._count, self._personalities = index, spool, count, personalities
        self._waiters: dict[str, set[asyncio.Future[None]]] = {}
        self._open = 0
        self._style = (Path(__file__).parent / "style.css").read_bytes()

    def arrived(self, address: str) -> None:
        """Wake whoever waits for mail to this address."""
        for waiter in self._waiters.get(address, ()):
            if not waiter.done():
                waiter.set_result(None)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, in order, until it ends or falls silent."""
        if self._open >= CONNECTIONS_MAX:
            writer.close()
            return
        self._open += 1
        try:
            while await self._one(reader, writer):
                continue
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            pass  # the asker has gone: there is nobody to answer
        except asyncio.LimitOverrunError:
            writer.write(_octets(Answer("431 Request Header Fields Too Large", b""), close=True, with_body=True))
        finally:
            self._open -= 1
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), IDLE_S)).decode("latin-1")
        first, *rest = head.split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in rest if line)}
        method, _, target = first.partition(" ")
        target, _, version = target.rpartition(" ")
        keep = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        if method not in {"GET", "HEAD"} or headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
            answer, keep = Answer("405 Method Not Allowed", b"only GET\n", "text/plain", {"Allow": "GET, HEAD"}), False
        elif headers.get("host", "").rpartition(":")[0] not in HOSTS and headers.get("host", "") not in HOSTS:
            answer, keep = Answer("421 Misdirected Request", b"this house answers to 127.0.0.1 and localhost only\n", "text/plain"), False
        else:
            answer = await self._answer(target)
        writer.write(_octets(answer, close=not keep, with_body=method == "GET"))
        await writer.drain()
        return keep

    async def _answer(self, target: str) -> Answer:
        parts = urlsplit(target)
        segments = tuple(unquote(s) for s in parts.path.strip("/").split("/"))
        ask = Ask(segments, {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True, max_num_fields=20).items()})
        routes: dict[tuple[str, int], Callable[[Ask], Answer | Awaitable[Answer]]] = {
            ("api/messages", 2): self._messages, ("api/raw", 3): self._raw, ("api/record", 2): self._record,
            ("api/counts", 2): self._counts, ("api/providers", 2): self._api_providers, ("providers", 1): self._providers,
            ("", 1): self._inbox, ("box", 2): self._box, ("message", 2): self._message,
            ("source", 2): self._source, ("frame", 2): self._frame,
            ("style.css", 1): lambda _: Answer("200 OK", self._style, "text/css; charset=utf-8", {"Cache-Control": "max-age=3600"}),
        }
        name = "/".join(segments[:2]) if segments[0] == "api" else segments[0]
        route = routes.get((name, len(segments)))
        try:
            answer = _missing() if route is None else route(ask)
            return answer if isinstance(answer, Answer) else await answer
        except BadInput as e:
            return Answer("400 Bad Request", f"{e}\n".encode(), "text/plain; charset=utf-8")

    # --- for programs ------------------------------------------------------------------------------------------------------------

    async def _messages(self, ask: Ask) -> Answer:
        address = ask.values.get("to", "").strip().lower()
        if "@" not in address:
            raise BadInput.of("to", address, "an address")
        after, limit = ask.number("after", 0, 1 << 62), ask.number("limit", MESSAGES_MAX, MESSAGES_MAX)
        found = self._index.delivered(address, after=after, limit=limit)
        wait = ask.number("wait", 0, int(WAIT_S_MAX))
        if not found and wait:
            await self._wait(address, wait)
            found = self._index.delivered(address, after=after, limit=limit)
        return _json({"messages": [self._as_json(entry, address) for entry in found]})

    async def _wait(self, address: str, seconds: float) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(address, set()).add(waiter)
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(waiter, seconds)
        finally:
            waiters = self._waiters[address]
            waiters.discard(waiter)
            if not waiters:
                del self._waiters[address]

    def _as_json(self, entry: Entry, address: str) -> dict[str, object]:
        view = pages.open_mail(self._spool.read(entry.offset, entry.length).content)
        return {"id": entry.id, "to": address, "from": view.sender, "envelope_from": entry.sender, "reply_to": view.reply_to,
                "subject": view.subject, "message_id": entry.message_id, "in_reply_to": view.in_reply_to,
                "at": clock.iso(clock.from_us(entry.at_us)), "text": view.text, "html": view.html}

    def _raw(self, ask: Ask) -> Answer:
        entry = self._entry(ask.segments[2])
        if entry is None:
            return _missing()
        return Answer("200 OK", self._spool.read(entry.offset, entry.length).content, "message/rfc822",
                      {"X-Envelope-From": f"<{entry.sender}>", "X-Envelope-To": ", ".join(f"<{a}>" for a in entry.recipients)})

    def _record(self, ask: Ask) -> Answer:
        after = ask.number("after", 0, 1 << 62)
        found = self._index.record(after=after, limit=ask.number("limit", RECORD_MAX, RECORD_MAX))
        return _json({"record": [{"id": e.id, "at": clock.iso(clock.from_us(e.at_us)), "from": e.sender, "to": list(e.recipients),
                                  "message_id": e.message_id} for e in found], "next": found[-1].id if found else after})

    def _counts(self, _: Ask) -> Answer:
        counts = asdict(self._index.counts())
        returns = {key.removeprefix("returns_"): counts.pop(key) for key in [k for k in counts if k.startswith("returns_")]}
        tally = self._count
        return _json({**counts, "returns": returns, "smtp": {"accepted": tally.accepted, "refused": tally.refused, "dropped": tally.dropped,
                                                             "connections": tally.connections}})

    def _api_providers(self, _: Ask) -> Answer:
        people, tally = self._personalities, self._count
        return _json({"seed": people.seed, "providers": [
            {"name": p.name, "domains": list(p.domains), "style": p.style, "shares": {f: getattr(p, f) for f in FATES if getattr(p, f)},
             "did": {what: n for (name, what), n in tally.by_provider.items() if name == p.name}} for p in (people.default, *people.providers)],
            "turned_away": [{**asdict(t), "at": clock.iso(clock.from_us(t.at_us))} for t in tally.turned_away]})

    def _entry(self, text: str) -> Entry | None:
        return self._index.entry(int(text)) if text.isascii() and text.isdigit() and len(text) < 19 else None

    # --- for eyes ----------------------------------------------------------------------------------------------------------------

    def _inbox(self, ask: Ask) -> Answer:
        return self._list("", ask)

    def _box(self, ask: Ask) -> Answer:
        return self._list(ask.segments[1].lower(), ask)

    def _list(self, address: str, ask: Ask) -> Answer:
        before = ask.number("before", 0, 1 << 62) or None
        entries = self._index.delivered(address, limit=pages.LIST_ROWS + 1, newest_first=True, before=before) if address \
            else self._index.newest(limit=pages.LIST_ROWS + 1, before=before)
        rows = [pages.Row(e.id, e.recipients, e.at_us, pages.open_head(self._spool.read(e.offset, e.length).content))
                for e in entries[:pages.LIST_ROWS]]
        older = entries[pages.LIST_ROWS - 1].id if len(entries) > pages.LIST_ROWS else None
        return _page(pages.inbox(self._side(ask, address), rows, address=address, older=older))

    def _message(self, ask: Ask) -> Answer:
        entry = self._entry(ask.segments[1])
        if entry is None:
            return _missing()
        letter = self._spool.read(entry.offset, entry.length)
        box = ask.values.get("box", entry.recipients[0]).lower()
        return _page(pages.message(self._side(ask, box), entry, letter, box=box, personalities=self._personalities))

    def _providers(self, ask: Ask) -> Answer:
        return _page(pages.providers(self._side(ask, ""), self._personalities, self._count))

    def _source(self, ask: Ask) -> Answer:
        entry = self._entry(ask.segments[1])
        if entry is None:
            return _missing()
        letter = self._spool.read(entry.offset, entry.length)
        return _page(pages.source(self._side(ask, entry.recipients[0]), entry, letter))

    def _frame(self, ask: Ask) -> Answer:
        entry = self._entry(ask.segments[1])
        if entry is None:
            return _missing()
        html = pages.open_mail(self._spool.read(entry.offset, entry.length).content).html
        return Answer("200 OK", html.encode(), headers={"Content-Security-Policy": FRAME_POLICY})

    def _side(self, ask: Ask, address: str) -> pages.Side:
        search, after = ask.values.get("q", "").strip()[:200], ask.values.get("from", "")[:400]
        boxes = self._index.mailboxes(search=search, after=after, limit=pages.SIDE_ROWS + 1)
        more = boxes[pages.SIDE_ROWS - 1].address if len(boxes) > pages.SIDE_ROWS else None
        return pages.Side(boxes[:pages.SIDE_ROWS], more, search, address, self._index.counts())


def _missing() -> Answer:
    return Answer("404 Not Found", b"nothing of that name here\n", "text/plain")


def _page(html: str) -> Answer:
    return Answer("200 OK", html.encode())


def _json(value: object) -> Answer:
    return Answer("200 OK", json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"), "application/json")


def _octets(answer: Answer, *, close: bool, with_body: bool) -> bytes:
    headers = {"Content-Type": answer.content_type, "Content-Length": str(len(answer.body)), "Cache-Control": "no-store",
               "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
               "Cross-Origin-Resource-Policy": "same-origin", "Connection": "close" if close else "keep-alive", **answer.headers}
    head = f"HTTP/1.1 {answer.status}\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n"
    return head.encode("latin-1", "replace") + (answer.body if with_body else b"")
