"""Simulated customers: they try their old passwords, read their mail, set new passwords by HTTP, and write to the help address.

They use only what people have: the public site over HTTP (with its cookies and forms), their mailbox in the practice post office, and SMTP
to the company. Who takes part follows from a seed (`generator.sample`). A fixed number of threads share the work, each with one kept-open
connection per host; every wait is bounded. A person stops at the first thing that fails and is counted under what failed.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import smtplib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, formataddr
from html.parser import HTMLParser
from threading import Lock, local
from typing import Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

from tocsin.kernel.errors import BadInput, Unavailable, ensure
from tocsin.kernel.hosts import is_local

from . import generator, letters
from .office.personality import number

THREADS = 12
TIMEOUT_S = 30.0
MAIL_WAIT_S_MAX = 60.0
BUSY_TRIES_MAX = 20
BUSY_WAIT_S_MAX = 5.0
REDIRECTS_MAX = 5
PAGE_BYTES_MAX = 2 << 20
QUOTED_CHARS_MAX = 6_000
_LINK = re.compile(r"^\s*(https?://\S+/passwordchange/t/[A-Za-z0-9_-]{20,})\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Person:
    """One simulated customer: what they know about themselves."""

    n: int
    customer_id: str
    email: str
    first_name: str
    last_name: str
    old_password: str
    new_password: str


@dataclass(slots=True)
class LoginReport:
    """How log-ins went: `accepted` reached the account page, `refused` got the form again, `failed` neither."""

    tried: int = 0
    accepted: int = 0
    refused: int = 0
    failed: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    why: Counter[str] = field(default_factory=Counter)  # of the failed: what came instead of an answer


@dataclass(slots=True)
class ResetReport:
    """How resets went: `requested` = `completed` + `refused` + `no_mail` + `failed`. Times are of single requests to the site."""

    requested: int = 0
    completed: int = 0
    refused: int = 0
    no_mail: int = 0
    failed: int = 0
    read_notice: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    seconds: float = 0.0
    why: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Written:
    """One mail a customer wrote, and what a good desk makes of it."""

    message_id: str
    customer_id: str
    email: str
    kind: str  # a name of `letters.BY_NAME`, or "auto" for an automatic reply
    urgent: bool
    repeat: bool  # a second mail of the same person


@dataclass(slots=True)
class WriteReport:
    """What was written to the help address: `people` persons, `sent` of their messages, `auto` automatic replies beside."""

    people: int = 0
    sent: int = 0
    auto: int = 0
    urgent: int = 0
    refused: int = 0
    written: list[Written] = field(default_factory=list)


def people(seed: int, *, customers: int, size: int) -> Iterator[Person]:
    """Yield `size` different persons of an estate with so many customers; the same ones for the same seed."""
    for n in generator.sample(seed, customers=customers, size=size):
        yield person(seed, n)


def person(seed: int, n: int) -> Person:
    """Return customer `n` as a person."""
    ident = generator.customer_id(n)
    first, last = generator.name_of(seed, n)
    return Person(
        n, ident, generator.email_of(seed, n), first, last, generator.plain_password(seed, ident), generator.new_password(seed, ident)
    )


# --- what a browser does -----------------------------------------------------------------------------------------------------------


class _Form(HTMLParser):
    """Collects the hidden and named inputs of a page's forms."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an input that has a name."""
        given = dict(attrs)
        if tag == "input" and given.get("name"):
            self.values.setdefault(str(given["name"]), given.get("value") or "")


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of a site."""

    status: int
    location: str
    text: str


class Browser:
    """One person's cookies over connections that the thread keeps open. Asks only loopback hosts.

    `n` gives the person an address of their own, in the header that the estate's proxy would send: a site that paces addresses must not
    take a crowd of customers for one stranger. Source: RFC 2544 (198.18.0.0/15 is for tests).
    """

    def __init__(self, base_url: str, clock: Callable[[float], None], *, n: int) -> None:
        self.base_url, self.clock, self.n = base_url, clock, n
        self._address = f"198.{18 + (n >> 16 & 1)}.{n >> 8 & 255}.{n & 255}"
        self._cookies: dict[str, str] = {}

    def open(self, path: str, form: dict[str, str] | None = None) -> Page:
        """GET a path, or POST a form to it. Waits out 429 and 503 within limits; follows nothing. Raises Unavailable."""
        url = urljoin(self.base_url, path)
        parts = urlsplit(url)
        ensure(is_local(parts.hostname or ""), f"simulated customers stay on loopback, not {parts.hostname}")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"Accept": "text/html", "User-Agent": "tocsin-drill", "X-Forwarded-For": self._address}
        if self._cookies:
            headers["Cookie"] = "; ".join(f"{k}={v}" for k, v in self._cookies.items())
        body = None
        if form is not None:
            body = urlencode(form)
            headers |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"{parts.scheme}://{parts.netloc}", "Referer": url}
        for attempt in range(BUSY_TRIES_MAX):
            begun = time.perf_counter()
            answer, octets = _exchange(parts.hostname or "", parts.port or 80, "GET" if form is None else "POST", target, body, headers)
            self.clock(time.perf_counter() - begun)
            self._keep(answer.headers.get_all("Set-Cookie") or [])
            if answer.status not in {429, 503}:
                return Page(answer.status, answer.headers.get("Location") or "", octets.decode("utf-8", "replace"))
            wait = answer.headers.get("Retry-After") or ""
            time.sleep(min(BUSY_WAIT_S_MAX, float(wait) if wait.isdigit() else 0.2 * (attempt + 1)))
        raise Unavailable("public site", f"still busy after {BUSY_TRIES_MAX} tries")

    def submit(self, path: str, values: dict[str, str]) -> Page:
        """Open a page with a form, fill it in and send it, its hidden fields as they stand."""
        page = self.open(path)
        for _ in range(REDIRECTS_MAX):
            if page.status not in {301, 302, 303, 307}:
                break
            path = page.location
            page = self.open(path)
        if page.status != 200:
            return page
        form = _Form()
        form.feed(page.text)
        hidden = {k: v for k, v in form.values.items() if k == "csrfmiddlewaretoken" or (v and k not in values)}
        return self.open(path, hidden | values)

    def _keep(self, lines: Sequence[str]) -> None:
        for line in lines:
            pair, *attributes = (piece.strip() for piece in line.split(";"))
            name, _, value = pair.partition("=")
            if any(a.lower().replace(" ", "") == "max-age=0" for a in attributes) or value in {"", '""'}:
                self._cookies.pop(name, None)
            else:
                self._cookies[name] = value


_mine = local()


def _exchange(
    host: str, port: int, method: str, target: str, body: str | None, headers: dict[str, str]
) -> tuple[http.client.HTTPResponse, bytes]:
    """Ask over this thread's connection to the host; a connection that the other side has closed meanwhile is opened once more."""
    kept: dict[tuple[str, int], http.client.HTTPConnection] = _mine.__dict__.setdefault("kept", {})
    while True:
        reused = (host, port) in kept
        connection = kept.setdefault((host, port), http.client.HTTPConnection(host, port, timeout=TIMEOUT_S))
        try:
            connection.request(method, target, body, headers)
            answer = connection.getresponse()
            octets = answer.read(PAGE_BYTES_MAX)
        except (http.client.HTTPException, OSError) as e:
            connection.close()
            del kept[host, port]
            if not reused:
                raise Unavailable("public site", f"{type(e).__name__} at {host}:{port}") from None
            continue  # once more at most: the next connection is a fresh one
        if answer.will_close or not answer.isclosed():
            connection.close()
            del kept[host, port]
        return answer, octets


def _mailbox(office_url: str, email: str, *, after: int = 0, wait_s: int = 0) -> list[dict[str, Any]]:
    """Return a person's mail from the practice post office, oldest first; holds on up to `wait_s` seconds if there is none."""
    parts = urlsplit(office_url)
    target = f"/api/messages?to={quote(email)}&after={after}" + (f"&wait={wait_s}" if wait_s else "")
    answer, octets = _exchange(parts.hostname or "", parts.port or 80, "GET", target, None, {})
    if answer.status != 200:
        raise Unavailable("practice post office", f"HTTP {answer.status}")
    messages: list[dict[str, Any]] = json.loads(octets)["messages"]
    return messages


def _all(persons: Iterable[Person], act: Callable[[Person], None], *, threads: int) -> None:
    """Let everybody act, so many at a time; a defect in one rises after the others have ended."""
    waiting, lock = iter(persons), Lock()

    def work() -> None:
        try:
            while True:
                with lock:
                    one = next(waiting, None)
                if one is None:
                    return
                act(one)
        finally:
            for connection in _mine.__dict__.pop("kept", {}).values():
                connection.close()

    with ThreadPoolExecutor(max(1, threads)) as pool:
        for outcome in [pool.submit(work) for _ in range(max(1, threads))]:
            outcome.result()


def percentile_ms(seconds: Sequence[float], share: float) -> float:
    """Return the value that `share` of the measurements do not exceed, in milliseconds (nearest rank); 0 without any."""
    if not seconds:
        return 0.0
    ranked = sorted(seconds)
    return round(1000 * ranked[min(len(ranked) - 1, max(0, -(-int(share * 1000) * len(ranked) // 1000) - 1))], 2)


# --- what people do ----------------------------------------------------------------------------------------------------------------


def _log_in(browser: Browser, email: str, password: str) -> bool | str:
    """Return True when the account page opens, False when the form comes back, what happened instead otherwise."""
    page = browser.submit("/login", {"email": email, "password": password})
    if page.status in {302, 303}:
        account = browser.open("/account").status
        return True if account == 200 else f"/account answered {account}"
    return False if page.status in {200, 400, 401, 403, 422} else f"/login answered {page.status}"


def try_logins(persons: Iterable[Person], *, base_url: str, new: bool = False, threads: int = THREADS) -> LoginReport:
    """Let everybody try to log in with their old password (or, `new`, with the one chosen at the reset)."""
    report, times = LoginReport(), _Times()

    def act(one: Person) -> None:
        browser = Browser(base_url, times.append, n=one.n)
        try:
            let_in = _log_in(browser, one.email, one.new_password if new else one.old_password)
        except Unavailable as e:
            let_in = str(e)
        outcomes.append(let_in)

    outcomes: list[bool | str] = []
    _all(persons, act, threads=threads)
    report.tried, report.accepted = len(outcomes), outcomes.count(True)
    report.refused = outcomes.count(False)
    report.why.update(o for o in outcomes if isinstance(o, str))
    report.failed = report.why.total()
    report.p50_ms, report.p99_ms = percentile_ms(times, 0.5), percentile_ms(times, 0.99)
    return report


class _Times(list[float]):
    """Durations in seconds; `append` of a list is atomic, so that threads may share it."""


def reset_all(
    persons: Iterable[Person], *, base_url: str, office_url: str, threads: int = THREADS, mail_wait_s: float = MAIL_WAIT_S_MAX
) -> ResetReport:
    """Let everybody read their mail, ask for a reset, wait for the link, choose a new password and log in with it.

    The link is taken from the mail as a person would, and must lead to `base_url`'s site on loopback.
    """
    report, times = ResetReport(), _Times()
    outcomes: list[tuple[str, str]] = []
    notices: list[int] = []
    begun = time.monotonic()

    def act(one: Person) -> None:
        try:
            before = _mailbox(office_url, one.email)
            if before:
                notices.append(one.n)
            newest = before[-1]["id"] if before else 0
            outcomes.append(_reset(one, Browser(base_url, times.append, n=one.n), office_url, after=newest, wait_s=mail_wait_s))
        except Unavailable as e:
            outcomes.append(("failed", str(e)))

    _all(persons, act, threads=threads)
    counts = Counter(kind for kind, _ in outcomes)
    report.requested, report.read_notice = len(outcomes), len(notices)
    report.completed, report.refused = counts["completed"], counts["refused"]
    report.no_mail, report.failed = counts["no_mail"], counts["failed"]
    report.why = Counter(why for kind, why in outcomes if kind != "completed")
    report.p50_ms, report.p99_ms = percentile_ms(times, 0.5), percentile_ms(times, 0.99)
    report.seconds = round(time.monotonic() - begun, 3)
    return report


def _reset(one: Person, browser: Browser, office_url: str, *, after: int, wait_s: float) -> tuple[str, str]:
    """Walk one person through the reset; return what became of it, and where it ended."""
    page = browser.submit("/passwordchange", {"email": one.email})
    if page.status not in {200, 302, 303}:
        return "failed", f"request answered {page.status}"
    link = _wait_for_link(one.email, office_url, after=after, wait_s=wait_s)
    if link is None:
        return "no_mail", "no reset mail in time"
    if not is_local(urlsplit(link).hostname or ""):
        return "failed", "the link leads off this machine"
    page = browser.open(link)
    if page.status not in {302, 303}:
        return "failed", f"link answered {page.status}"
    page = browser.submit(urljoin(link, page.location), {"password": one.new_password, "password_again": one.new_password})
    if page.status in {400, 403, 409, 422}:
        return "refused", f"new password answered {page.status}"
    if page.status not in {200, 302, 303}:
        return "failed", f"new password answered {page.status}"
    fresh = Browser(browser.base_url, browser.clock, n=browser.n)
    return ("completed", "") if _log_in(fresh, one.email, one.new_password) is True else ("failed", "log-in with the new password did not work")


def _wait_for_link(email: str, office_url: str, *, after: int, wait_s: float) -> str | None:
    """Return the one-time link from the first mail after `after` that has one, or None. The post office holds each question back."""
    end = time.monotonic() + wait_s
    while (left := end - time.monotonic()) > 0:
        for message in _mailbox(office_url, email, after=after, wait_s=max(1, min(10, int(left)))):
            after = message["id"]
            match = _LINK.search(message["text"])
            if match:
                return match[1]
    return None


# --- letters to the help address -----------------------------------------------------------------------------------------------------


def write_in(
    persons: Iterable[Person],
    *,
    seed: int,
    host: str,
    port: int,
    at: datetime,
    help_address: str,
    office_url: str | None = None,
    twice: float = 0.12,
    auto: float = 0.03,
    threads: int = 4,
) -> WriteReport:
    """Let everybody write to the help address by SMTP, at `at` and the minutes after it.

    With `office_url` they answer the first letter they got (In-Reply-To, quote beneath); a share `twice` writes a second time in the same
    thread, a share `auto` of mailboxes answers by itself instead. Same seed, same mails, same Message-IDs: written again, they are
    duplicates (a matter of seed and `at`). Raises BadInput for shares out of range, Unavailable when the intake cannot be reached.
    """
    if not (0 <= twice <= 1 and 0 <= auto <= 1):
        raise BadInput.of("twice, auto", (twice, auto), "shares from 0 to 1")
    report = WriteReport()
    refused: list[int] = []

    def act(one: Person) -> None:
        mails = _mails(one, seed=seed, at=at, help_address=help_address, office_url=office_url, twice=twice, auto=auto)
        with _letterbox(host, port) as client:
            for mail, written in mails:
                try:
                    client.sendmail(one.email, [help_address], mail.as_bytes(policy=SMTP), mail_options=["BODY=8BITMIME"])
                    report.written.append(written)
                except (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError, smtplib.SMTPSenderRefused):
                    refused.append(one.n)

    _all(persons, act, threads=threads)
    report.written.sort(key=lambda w: (w.customer_id, w.repeat))
    report.people = len({w.customer_id for w in report.written if w.kind != "auto"})
    report.sent = sum(w.kind != "auto" for w in report.written)
    report.auto = len(report.written) - report.sent
    report.urgent = sum(w.urgent for w in report.written)
    report.refused = len(refused)
    return report


@contextlib.contextmanager
def _letterbox(host: str, port: int) -> Iterator[smtplib.SMTP]:
    ensure(is_local(host), f"simulated customers stay on loopback, not {host}")
    try:
        client = smtplib.SMTP(host, port, local_hostname="customer.example", timeout=TIMEOUT_S)
        client.ehlo()
    except (OSError, smtplib.SMTPException) as e:
        raise Unavailable("intake", f"{type(e).__name__} at {host}:{port}") from None
    try:
        yield client
    except OSError as e:  # also every SMTPException that the caller did not take as a refusal
        raise Unavailable("intake", f"{type(e).__name__} at {host}:{port}") from None
    finally:
        with contextlib.suppress(OSError, smtplib.SMTPException):
            client.quit()


def _mails(
    one: Person, *, seed: int, at: datetime, help_address: str, office_url: str | None, twice: float, auto: float
) -> list[tuple[EmailMessage, Written]]:
    """Return the mails of one person: a question, perhaps a second one, or an automatic reply."""
    draw = number(seed, f"writes|{one.customer_id}") / 2**64
    found = _mailbox(office_url, one.email) if office_url else []
    notice = found[0] if found else None
    at += timedelta(seconds=number(seed, f"when|{one.customer_id}") % 600)
    if draw < auto:
        mail = _letter(
            one,
            "auto",
            at,
            help_address,
            f"Automatic reply: {notice['subject']}" if notice else "Automatic reply",
            "I am away from my desk and will read your message when I am back.\n",
            notice,
        )
        mail["Auto-Submitted"] = "auto-replied"
        return [(mail, Written(str(mail["Message-ID"]), one.customer_id, one.email, "auto", urgent=False, repeat=False))]
    name = one.first_name if draw * 1000 % 1 < 0.5 else f"{one.first_name} {one.last_name}"
    first = letters.question(seed, one.customer_id, name=name)
    mails = [(_letter(one, "1", at, help_address, first.subject, first.text, notice), first, False)]
    if auto <= draw < auto + twice:
        again = letters.question(seed, f"{one.customer_id}|again", name=name) if draw * 10_000 % 1 < 0.4 else first
        text = again.text if again is not first else f"I have heard nothing yet, so I ask again.\n\n{first.text}"
        earlier = str(mails[0][0]["Message-ID"])
        mail = _letter(one, "2", at + timedelta(minutes=7), help_address, first.subject, text, notice, earlier=earlier)
        mails.append((mail, again, True))
    return [
        (mail, Written(str(mail["Message-ID"]), one.customer_id, one.email, asked.kind.name, urgent=asked.kind.urgent, repeat=repeat))
        for mail, asked, repeat in mails
    ]


def _letter(
    one: Person, suffix: str, at: datetime, help_address: str, subject: str, text: str, notice: dict[str, Any] | None, *, earlier: str = ""
) -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = formataddr((f"{one.first_name} {one.last_name}", one.email))
    mail["To"] = help_address
    mail["Date"] = format_datetime(at)
    mail["Message-ID"] = f"<{one.customer_id.lower()}.{suffix}.{int(at.timestamp()):x}@{one.email.rpartition('@')[2]}>"
    if notice:
        subject = f"Re: {notice['subject']}" if suffix == "1" and one.n % 3 else subject
        thread = [notice["message_id"]] if notice["message_id"] else []
        references = [*thread, earlier] if earlier else thread
        if references:
            mail["In-Reply-To"], mail["References"] = references[-1], " ".join(references)
        if suffix != "auto" and one.n % 5:
            text += letters.quoted(notice["text"][:QUOTED_CHARS_MAX], sender=notice["from"], when=notice["at"], style=one.n)
    elif earlier:
        mail["In-Reply-To"] = mail["References"] = earlier
    mail["Subject"] = subject
    mail.set_content(text, cte="8bit")
    return mail
