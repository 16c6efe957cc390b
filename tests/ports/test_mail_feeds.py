"""What every feed of a relay's events promises, run on each adapter through the room's door: what is told counts once, what is forged never."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from tests.conftest import forget
from tests.ports.authority import Authority
from tests.ports.relays import HOST, PATH, TOPIC, Sns, line, ses_bounce, ses_complaint, signed
from tocsin.kernel.errors import BadInput, NotFound, Refused, Unavailable
from tocsin.mail import actions, feeds, queries
from tocsin.mail.types import FeedReport, InboundKind

AT = datetime(2026, 11, 24, 9, tzinfo=UTC)
SECRET = b"0123456789abcdef0123456789abcdef-relay"
pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def sns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sns]:
    made = Sns(Authority(tmp_path_factory.mktemp("sns")))
    yield made
    made.close()


@dataclass
class Relay:
    """A relay as the tests see it: `tell` has it say something over the feed of its name."""

    name: str
    sns: Sns

    def request(self, event: str, sender: str, *, id_: str = "1", at: datetime = AT) -> tuple[dict[str, str], bytes]:
        """Return headers and body that tell of an event."""
        if self.name == "ses":
            said = {"bounced": ses_bounce(sender), "soft": ses_bounce(sender, permanent=False), "complained": ses_complaint(sender)}[event]
            return {}, json.dumps(self.sns.message(said, id_=id_)).encode()
        more = {"soft": {"event": "bounced", "code": 452, "enhanced": "4.2.2", "reply": "mailbox full"}}.get(event, {"event": event})
        body = json.dumps(line(sender, id=id_, **more)).encode() + b"\n"
        return signed(SECRET, body, int(at.timestamp())), body

    def forged(self, event: str, sender: str) -> list[tuple[dict[str, str], bytes]]:
        """Return requests that differ from true ones by as little as possible."""
        headers, body = self.request(event, sender)
        if self.name == "ses":
            message = json.loads(body)
            return [
                ({}, json.dumps(message | change).encode())
                for change in (
                    {"Message": message["Message"].replace("anna", "bert")},
                    {"MessageId": "another"},
                    {"Timestamp": "2026-11-24T09:00:01.000Z"},
                    {"Subject": "added"},
                    {"Signature": message["Signature"][:-4] + "AAA="},
                    {"SignatureVersion": "1"},
                )
            ]
        other = signed(b"x" * 40, body, int(AT.timestamp()))
        return [
            (headers, body.replace(b"anna", b"bert")),
            (headers | {"x-tocsin-timestamp": str(int(AT.timestamp()) + 1)}, body),
            (headers | {"x-tocsin-signature": "v1=" + "0" * 64}, body),
            ({k: v for k, v in headers.items() if "signature" not in k}, body),
            (other, body),
            ({}, body),
        ]

    def tell(self, event: str, sender: str, **options: Any) -> FeedReport:
        """Have an event told."""
        headers, body = self.request(event, sender, **options)
        return actions.take_feed(self.name, headers=headers, body=body, at=options.get("at", AT))


@pytest.fixture(params=["ses", "lines"])
def relay(request: pytest.FixtureRequest, estate: Path, sns: Sns, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """Give each relay, configured as an operator would, and the api process as who takes its events in."""
    secret = estate / "feed-secret"
    secret.write_bytes(SECRET + b"\n")
    secret.chmod(0o600)
    (estate / "tocsin.toml").write_text(
        f"""[feeds.ses]
adapter = "tocsin.mail.adapters.sns.SnsFeed"
topic = "{TOPIC}"
[feeds.lines]
adapter = "tocsin.mail.adapters.lines.SignedLines"
secret_file = "{secret}"
"""
    )
    forget()
    feeds.feed.cache_clear()
    monkeypatch.setenv("HTTPS_PROXY", sns.proxy.url)
    monkeypatch.setenv("SSL_CERT_FILE", str(sns.signing.file.parent / "ca.pem"))
    yield Relay(request.param, sns)
    feeds.feed.cache_clear()


def inbound() -> list[tuple[str, tuple[int, int] | None]]:
    return [(i.kind.value if i.kind else "", i.verp) for i in queries.inbound()]


def test_a_failure_takes_the_way_of_every_report(relay: Relay) -> None:
    report = relay.tell("bounced", actions.verp(17, 4))
    assert (report.read, report.accepted, report.ignored, report.rejected) == (1, 1, 0, 0)
    [info] = queries.inbound()
    assert (info.kind, info.verp) == (InboundKind.BOUNCE, (17, 4))
    opened = queries.open_inbound(info.id)
    [person] = opened.classified.recipients
    assert (person.address, person.action, person.status, person.reply_code, person.reason, person.hard) == (
        "anna@mailbox.example",
        "failed",
        "5.1.1",
        "550",
        "userunknown",
        True,
    )
    assert relay.tell("soft", actions.verp(17, 5), id_="2").accepted == 1
    [_, soft] = queries.inbound()
    [person] = queries.open_inbound(soft.id).classified.recipients
    assert (person.reason, person.hard) == ("mailboxfull", False)
    assert relay.tell("complained", actions.verp(17, 6), id_="3").accepted == 1
    assert inbound()[2] == ("complaint", (17, 6))


def test_the_relays_own_words_are_kept_and_only_the_worker_reads_them(relay: Relay) -> None:
    _, body = relay.request("bounced", actions.verp(17, 4))
    relay.tell("bounced", actions.verp(17, 4))
    [info] = queries.inbound()
    raw = queries.raw_inbound(info.id)[2].reveal()
    import email

    parts = email.message_from_bytes(raw).get_payload()
    assert parts[2].get_payload(decode=True) == body.strip()  # type: ignore[index,union-attr]
    with connection.cursor() as cursor:
        cursor.execute("SELECT mail_inbound::text FROM mail_inbound")
        assert "anna" not in str(cursor.fetchall())


def test_told_again_it_changes_nothing(relay: Relay) -> None:
    for _ in range(3):
        assert relay.tell("bounced", actions.verp(17, 4)).accepted == 1
    assert inbound() == [("bounce", (17, 4))]


def test_forged_events_leave_nothing_behind(relay: Relay) -> None:
    sender = actions.verp(17, 4)
    for headers, body in relay.forged("bounced", sender):
        with pytest.raises(Refused):
            actions.take_feed(relay.name, headers=headers, body=body, at=AT)
    assert inbound() == []
    assert relay.tell("bounced", sender).accepted == 1  # the true one is taken: the refusals were not for another reason


def test_an_event_about_other_mail_is_ignored(relay: Relay) -> None:
    sender = actions.verp(17, 4)
    forged = sender.replace("17.4", "17.5")  # signed by the relay, which only repeats what somebody else put into MAIL FROM
    for n, other in enumerate((forged, "newsletter@shop.example", "x\r\nBcc: y@z.example")):
        if "\r" in other and relay.name == "lines":
            continue
        report = relay.tell("bounced", other, id_=f"o{n}")
        assert (report.read, report.accepted, report.ignored) == (1, 0, 1)
    assert inbound() == []


def test_what_is_no_request_is_refused_with_its_faults(relay: Relay) -> None:
    for body in (b"", b"[]", b"{", b"\xff" * 50, b'{"Type": 1}', b"[" * 50_000):
        headers = signed(SECRET, body, int(AT.timestamp())) if relay.name == "lines" else {}
        if relay.name == "lines":
            report = actions.take_feed(relay.name, headers=headers, body=body, at=AT)
            assert (report.accepted, report.read) == (0, report.rejected)
        else:
            with pytest.raises(BadInput):
                actions.take_feed(relay.name, headers=headers, body=body, at=AT)
    with pytest.raises(NotFound):
        actions.take_feed("nobody", headers={}, body=b"{}", at=AT)


@pytest.mark.parametrize("text", ["line\r\nX-Evil: 1", "a\u2028b", "\x00\x1b[31m", "--=x\r\n\r\nContent-Type: text/html"])
def test_no_word_of_a_relay_can_leave_its_line(relay: Relay, text: str) -> None:
    if relay.name == "ses":
        said = ses_bounce(actions.verp(17, 4), to=text)
        said["bounce"]["bouncedRecipients"][0]["diagnosticCode"] = f"smtp; 550 5.1.1 {text}"
        body = json.dumps(relay.sns.message(said)).encode()
        actions.take_feed("ses", headers={}, body=body, at=AT)
    else:
        body = json.dumps(line(actions.verp(17, 4), to=f"{text}@x.example", reply=text)).encode()
        actions.take_feed("lines", headers=signed(SECRET, body, int(AT.timestamp())), body=body, at=AT)
    [info] = queries.inbound()
    raw = queries.raw_inbound(info.id)[2].reveal()
    assert not any(part.startswith((b"X-Evil", b"Content-Type: text/html")) for part in raw.split(b"\r\n"))
    assert (info.kind, info.verp) == (InboundKind.BOUNCE, (17, 4))


# -- what only one of them has --------------------------------------------------------------------------------------------------


ses_only = pytest.mark.parametrize("relay", ["ses"], indirect=True)
lines_only = pytest.mark.parametrize("relay", ["lines"], indirect=True)


@ses_only
def test_sns_another_topic_or_another_host_is_nobody(relay: Relay) -> None:
    asked = len(relay.sns.https.asked)
    said = ses_bounce(actions.verp(17, 4))
    wrong = [
        {"TopicArn": TOPIC + "x"},
        *({"SigningCertURL": url} for url in (
            f"http://{HOST}{PATH}", f"https://{HOST}.evil.example{PATH}", f"https://evil.example/{HOST}{PATH}", f"https://{HOST}:8443{PATH}",
            f"https://user@{HOST}{PATH}", f"https://sns.amazonaws.com.evil.example{PATH}", f"https://{HOST}/x/../{PATH}", f"https://{HOST}{PATH}?x=1",
            "https://s3.eu-west-1.amazonaws.com/bucket.pem", f"https://{HOST}{PATH}\n")),
    ]  # fmt: skip
    for change in wrong:
        with pytest.raises(Refused):
            actions.take_feed("ses", headers={}, body=json.dumps(relay.sns.message(said, **change)).encode(), at=AT)
    assert len(relay.sns.https.asked) == asked  # nothing was fetched for them
    assert inbound() == []


@ses_only
def test_sns_signature_versions_and_the_certificate_is_fetched_once(relay: Relay) -> None:
    asked = len(relay.sns.https.asked)
    for n, version in enumerate(("1", "2", "2")):
        body = json.dumps(relay.sns.message(ses_bounce(actions.verp(17, n)), id_=f"v{n}", version=version)).encode()
        assert actions.take_feed("ses", headers={}, body=body, at=AT).accepted == 1
    assert relay.sns.https.asked[asked:] == [(HOST, PATH)]
    with pytest.raises(Refused, match="not valid now"):
        actions.take_feed("ses", headers={}, body=body, at=AT + timedelta(days=400))


@ses_only
def test_sns_subscription_is_confirmed_with_sns_alone(relay: Relay) -> None:
    good = relay.sns.message("You have chosen to subscribe", kind="SubscriptionConfirmation")
    report = actions.take_feed("ses", headers={}, body=json.dumps(good).encode(), at=AT)
    assert (report.read, report.ignored) == (1, 1)
    assert any(path.startswith("/?Action=ConfirmSubscription&TopicArn=") for _, path in relay.sns.https.asked)
    before = len(relay.sns.https.asked)
    for url in (
        "https://evil.example/?Action=ConfirmSubscription&x=1",
        f"http://{HOST}/?Action=ConfirmSubscription&x=1",
        f"https://{HOST}/?Action=Delete",
    ):
        bad = relay.sns.message("x", kind="SubscriptionConfirmation", SubscribeURL=url)
        with pytest.raises(Refused):
            actions.take_feed("ses", headers={}, body=json.dumps(bad).encode(), at=AT)
    assert len(relay.sns.https.asked) == before


@ses_only
def test_sns_away_is_unavailable_and_taken_when_told_again(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    feeds.feed.cache_clear()
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(Unavailable, match="certificate"):
        relay.tell("bounced", actions.verp(17, 4))
    monkeypatch.setenv("HTTPS_PROXY", relay.sns.proxy.url)
    assert relay.tell("bounced", actions.verp(17, 4)).accepted == 1


@ses_only
def test_ses_deliveries_and_opens_are_of_no_concern_and_delays_are_no_failure(relay: Relay) -> None:
    sender = actions.verp(17, 4)
    for n, said in enumerate([{"eventType": k, "mail": {"source": sender}} for k in ("Delivery", "Send", "Open", "Click", "Subscription")]):
        body = json.dumps(relay.sns.message(said, id_=f"d{n}")).encode()
        assert actions.take_feed("ses", headers={}, body=body, at=AT).ignored == 1
    delay = {"eventType": "DeliveryDelay", "mail": {"source": sender}, "deliveryDelay": {"delayType": "MailboxFull", "delayedRecipients": [
        {"emailAddress": "anna@mailbox.example", "status": "4.2.2", "diagnosticCode": "smtp; 452 4.2.2 full"}]}}  # fmt: skip
    actions.take_feed("ses", headers={}, body=json.dumps(relay.sns.message(delay, id_="dd")).encode(), at=AT)
    [info] = queries.inbound()
    assert [r.action for r in queries.open_inbound(info.id).classified.recipients] == ["delayed"]


@lines_only
def test_lines_read_is_accepted_ignored_and_rejected(relay: Relay) -> None:
    rows: list[Any] = [line(actions.verp(17, n), id=f"r{n}") for n in range(5)]
    rows += [
        {"id": "", "event": "sent", "at": "yesterday", "from": 1, "to": "anna", "code": 250, "enhanced": "5", "reply": 1, "more": 1},
        [],
        7,
    ]
    rows += [line("newsletter@shop.example", id="n")]
    body = b"\n".join(json.dumps(r).encode() for r in rows) + b"\n{broken\n\n"
    report = actions.take_feed("lines", headers=signed(SECRET, body, int(AT.timestamp())), body=body, at=AT)
    assert (report.read, report.accepted, report.ignored, report.rejected) == (10, 5, 1, 4)
    assert {f.field for f in report.faults if f.line == 6} == {"id", "event", "at", "from", "to", "code", "enhanced", "reply", "more"}
    assert {f.line for f in report.faults} == {6, 7, 8, 10}
    assert "anna" not in str(report.faults)
    assert len(queries.inbound()) == 5


@lines_only
def test_lines_too_old_or_too_many_are_refused(relay: Relay) -> None:
    headers, body = relay.request("bounced", actions.verp(17, 4))
    with pytest.raises(Refused, match="too old"):
        actions.take_feed("lines", headers=headers, body=body, at=AT + timedelta(seconds=301))
    many = b"{}\n" * 1001
    with pytest.raises(BadInput, match="at most 1000"):
        actions.take_feed("lines", headers=signed(SECRET, many, int(AT.timestamp())), body=many, at=AT)
    assert inbound() == []


def test_a_faulty_configuration_is_named_whole(estate: Path) -> None:
    (estate / "weak").write_text("short")
    (estate / "weak").chmod(0o644)
    (estate / "tocsin.toml").write_text(
        f"""[feeds.ses]
adapter = "tocsin.mail.adapters.sns.SnsFeed"
topic = "arn:aws:sqs:x"
extra = 1
[feeds.lines]
adapter = "tocsin.mail.adapters.lines.SignedLines"
secret_file = "{estate}/weak"
"""
    )
    forget()
    feeds.feed.cache_clear()
    for name, n in (("ses", 2), ("lines", 2)):
        with pytest.raises(BadInput) as told:
            actions.check_feed(name)
        assert len(told.value.faults) == n
    (estate / "tocsin.toml").write_text("[feeds.Bad]\nadapter = 'x'\n[feeds.two]\nx = 1\n")
    forget()
    with pytest.raises(BadInput) as whole:
        actions.check_feed("two")
    assert len(whole.value.faults) == 2
