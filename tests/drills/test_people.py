"""Simulated customers against a small shop of another make: forms with CSRF tokens, one-time links by real mail, a real post office."""

from __future__ import annotations

import email
import email.policy
import json
import secrets
import smtplib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs
from urllib.request import urlopen

import pytest

from tocsin.drills import generator, letters, people, postoffice
from tocsin.drills.office import personality
from tocsin.kernel.errors import BadInput, Unavailable

SEED, CUSTOMERS, HERE = 5, 2_000, "127.0.0.1"
AT = datetime(2012, 1, 16, 9, 30, tzinfo=UTC)


class Shop(ThreadingHTTPServer):
    """A shop with the paths of the public site, passwords in memory, and reset mails by SMTP."""

    daemon_threads = True

    def __init__(self, smtp_port: int, old_works: bool) -> None:
        super().__init__((HERE, 0), Visit)
        self.smtp_port, self.old_works = smtp_port, old_works
        self.passwords: dict[str, str] = {}
        self.tokens: dict[str, str] = {}
        self.sessions: set[str] = set()
        self.busy = 1  # how many requests are answered 503 first
        self.silent: set[str] = set()  # addresses that get no reset mail
        self.choosy: set[str] = set()  # addresses whose new password is refused
        self.url = f"http://{HERE}:{self.server_address[1]}"

    def send_reset(self, address: str) -> None:
        """Mail a one-time link."""
        token = secrets.token_urlsafe(32)
        self.tokens[token] = address
        with smtplib.SMTP(HERE, self.smtp_port) as client:
            client.sendmail(
                "reset@shop.example",
                [address],
                f"Subject: Reset\r\nMessage-ID: <{token}@shop.example>\r\n\r\nHello,\r\n\r\n"
                f"{self.url}/passwordchange/t/{token}\r\n\r\nThe shop\r\n",
            )


class Visit(BaseHTTPRequestHandler):
    """One request."""

    server: Shop
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def answer(self, status: int, text: str = "", location: str = "", cookies: tuple[str, ...] = ()) -> None:
        """Send one answer."""
        body = text.encode()
        self.send_response(status)
        for cookie in cookies:
            self.send_header("Set-Cookie", cookie)
        if location:
            self.send_header("Location", location)
        if status == 503:
            self.send_header("Retry-After", "0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def form(self, *names: str) -> None:
        """Send a form with a CSRF token."""
        token = secrets.token_hex(8)
        fields = "".join(f'<input name="{name}">' for name in names)
        self.answer(
            200,
            f'<form method="post"><input type="hidden" name="csrfmiddlewaretoken" value="{token}">{fields}</form>',
            cookies=(f"csrf={token}; Path=/; SameSite=Lax",),
        )

    def do_GET(self) -> None:
        """Show."""
        cookies = SimpleCookie(self.headers.get("Cookie", ""))
        if self.server.busy:
            self.server.busy -= 1
            self.answer(503)
        elif self.path in {"/login", "/passwordchange"}:
            self.form("email", "password")
        elif self.path.startswith("/passwordchange/t/"):
            token = self.path.rpartition("/")[2]
            self.answer(303, location="/passwordchange/new", cookies=(f"reset={token}; Path=/; HttpOnly",))
        elif self.path == "/passwordchange/new":
            self.form("password", "password_again")
        elif self.path == "/account" and "sid" in cookies and cookies["sid"].value in self.server.sessions:
            self.answer(200, "your account")
        else:
            self.answer(303, location="/login")

    def do_POST(self) -> None:
        """Take a form."""
        values = {k: v[0] for k, v in parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()).items()}
        cookies = SimpleCookie(self.headers.get("Cookie", ""))
        if "csrf" not in cookies or cookies["csrf"].value != values.get("csrfmiddlewaretoken"):
            self.answer(403, "no token")
        elif self.path == "/login":
            known = self.server.passwords.get(values["email"])
            old = generator.plain_password(SEED, people.generator.customer_id(int(values["email"].split("@")[0].rsplit(".", 1)[1], 36)))
            if values["password"] == known or (known is None and self.server.old_works and values["password"] == old):
                sid = secrets.token_hex(8)
                self.server.sessions.add(sid)
                self.answer(303, location="/account", cookies=(f"sid={sid}; Path=/; HttpOnly",))
            else:
                self.answer(200, "wrong")
        elif self.path == "/passwordchange":
            if values["email"] not in self.server.silent:
                self.server.send_reset(values["email"])
            self.answer(200, "a mail is on its way")
        elif self.path == "/passwordchange/new":
            address = self.server.tokens.pop(cookies["reset"].value, "")
            good = len(values["password"]) >= 15 and values["password"] == values["password_again"]
            if not address or address in self.server.choosy or not good:
                self.answer(422, "no")
            else:
                self.server.passwords[address] = values["password"]
                self.answer(200, "done", cookies=("reset=; Max-Age=0; Path=/",))


@pytest.fixture
def office(tmp_path: Path) -> Iterator[postoffice.Office]:
    """Give a quiet post office."""
    with postoffice.running(tmp_path, personalities=personality.quiet(), intake=(HERE, 9)) as running:
        yield running


@pytest.fixture
def shop(office: postoffice.Office) -> Iterator[Shop]:
    """Give a shop in which the old passwords have ended."""
    server = Shop(office.smtp_port, old_works=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def some(size: int) -> list[people.Person]:
    """Return the same few persons each time."""
    return list(people.people(SEED, customers=CUSTOMERS, size=size))


def test_old_passwords_work_before_and_not_after(shop: Shop) -> None:
    shop.old_works = True
    before = people.try_logins(some(12), base_url=shop.url, threads=3)
    assert (before.tried, before.accepted, before.refused, before.failed) == (12, 12, 0, 0)
    shop.old_works = False
    after = people.try_logins(some(12), base_url=shop.url, threads=3)
    assert (after.tried, after.accepted, after.refused, after.failed) == (12, 0, 12, 0)
    assert 0 < after.p50_ms <= after.p99_ms


def test_a_cut_line_is_a_failure_and_not_a_refusal(shop: Shop) -> None:
    report = people.try_logins(some(2), base_url=f"http://{HERE}:9")
    assert (report.tried, report.refused, report.failed) == (2, 0, 2)


def test_everybody_resets_through_mail_and_logs_in(shop: Shop, office: postoffice.Office) -> None:
    who = some(10)
    with smtplib.SMTP(HERE, office.smtp_port) as client:
        client.sendmail("n@shop.example", [who[0].email], "Subject: Notice\r\nMessage-ID: <n@x.example>\r\n\r\nread me\r\n")
    shop.silent, shop.choosy = {who[1].email}, {who[2].email}
    report = people.reset_all(who, base_url=shop.url, office_url=office.url, threads=4, mail_wait_s=1.5)
    assert (report.requested, report.completed, report.refused, report.no_mail, report.failed) == (10, 8, 1, 1, 0), report.why
    assert report.read_notice == 1
    assert report.p99_ms > 0
    again = people.try_logins(who, base_url=shop.url, new=True)
    assert (again.accepted, again.refused) == (8, 2)


def test_percentiles_by_nearest_rank() -> None:
    assert people.percentile_ms([], 0.99) == 0
    assert people.percentile_ms([0.001 * n for n in range(1, 101)], 0.99) == 99
    assert people.percentile_ms([0.001 * n for n in range(1, 101)], 0.5) == 50
    assert people.percentile_ms([0.004], 0.99) == 4


def received(office: postoffice.Office, address: str) -> list[email.message.EmailMessage]:
    """Return what lies in a mailbox as parsed mails, oldest first."""
    with urlopen(f"{office.url}/api/messages?to={address}") as answer:
        ids = [m["id"] for m in json.load(answer)["messages"]]
    mails = []
    for number in ids:
        with urlopen(f"{office.url}/api/raw/{number}") as answer:
            mails.append(email.message_from_bytes(answer.read(), policy=email.policy.default))
    return mails


def test_customers_write_what_the_report_says(office: postoffice.Office) -> None:
    who = some(120)
    with smtplib.SMTP(HERE, office.smtp_port) as client:
        for one in who[:60]:
            client.sendmail(
                "n@shop.example",
                [one.email],
                f"Subject: Important news\r\nFrom: Shop <s@shop.example>\r\n"
                f"Message-ID: <{one.customer_id}@notice.example>\r\n\r\nDear customer,\r\nyour password has ended.\r\n",
            )
    report = people.write_in(
        who,
        seed=SEED,
        host=HERE,
        port=office.smtp_port,
        at=AT,
        help_address="help@shop.example",
        office_url=office.url,
        twice=0.2,
        auto=0.1,
    )
    mails = {str(m["Message-ID"]): m for m in received(office, "help@shop.example")}
    assert set(mails) == {w.message_id for w in report.written}
    assert len(mails) == report.sent + report.auto
    assert report.refused == 0
    assert report.people == 120 - report.auto
    assert report.sent > report.people > 100
    assert 0 < report.auto < 30
    assert len({w.kind for w in report.written}) > 10
    assert report.urgent == sum(w.urgent for w in report.written)
    noticed = {one.email: f"<{one.customer_id}@notice.example>" for one in who[:60]}
    quotes = 0
    for written in report.written:
        mail = mails[written.message_id]
        assert written.email in str(mail["From"])
        assert (mail["Auto-Submitted"] == "auto-replied") == (written.kind == "auto")
        if written.email in noticed:
            assert str(mail["References"]).split()[0] == noticed[written.email]
            quotes += "your password has ended" in mail.get_content()
        elif not written.repeat:
            assert mail["In-Reply-To"] is None
        if written.repeat:
            assert str(mail["In-Reply-To"]) in mails
    assert quotes > 20


def test_letters_repeat_and_are_refused_as_a_whole(office: postoffice.Office) -> None:
    def write() -> people.WriteReport:
        return people.write_in(some(20), seed=SEED, host=HERE, port=office.smtp_port, at=AT, help_address="help@shop.example")

    first = write()
    assert write().written == first.written
    with urlopen(f"{office.url}/api/counts") as answer:
        counts = json.load(answer)
    assert counts["received"] == 2 * counts["distinct_message_ids"] == 2 * len(first.written)
    with pytest.raises(BadInput):
        people.write_in(some(1), seed=SEED, host=HERE, port=office.smtp_port, at=AT, help_address="h@x.example", twice=2)
    with pytest.raises(Unavailable):
        people.write_in(some(1), seed=SEED, host=HERE, port=9, at=AT, help_address="h@x.example")


def test_every_kind_can_be_met_and_every_phrasing_is_its_own() -> None:
    kinds = {letters.question(1, f"k{n}", name="Ann").kind.name for n in range(3_000)}
    assert kinds == set(letters.BY_NAME)
    texts = [phrase for kind in letters.KINDS for phrase in kind.phrasings]
    assert len(texts) == len(set(texts))
    assert sum(kind.weight for kind in letters.KINDS if kind.urgent) / sum(kind.weight for kind in letters.KINDS) < 0.15
