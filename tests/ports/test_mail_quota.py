"""What every source of a relay's quota promises, run on each adapter: what the configuration states, and SES as moto's server plays it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.conftest import forget
from tests.ports.ses_front import SesFront
from tocsin.kernel.errors import Unavailable
from tocsin.mail import preflight
from tocsin.mail.adapters import ses, stated
from tocsin.mail.port import QuotaSource

ADAPTERS = {"stated": stated.StatedQuota, "ses": ses.SesQuota}
PER_DAY = 200  # what a new SES account, and moto, grants


@pytest.fixture(scope="module")
def front() -> Iterator[SesFront]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    made = SesFront(f"http://{host}:{port}")
    yield made
    made.stop()
    server.stop()


@pytest.fixture
def aws(front: SesFront) -> str:
    front.account = {"EnforcementStatus": "HEALTHY", "SendingEnabled": True, "ProductionAccessEnabled": True}
    front.quota = {}
    return front.url


@pytest.fixture(params=sorted(ADAPTERS))
def source(request: pytest.FixtureRequest, estate: Path, aws: str, monkeypatch: pytest.MonkeyPatch) -> QuotaSource:
    (estate / "tocsin.toml").write_text(f"[mail]\nquota_per_day = {PER_DAY}\n")
    forget()
    _aws(monkeypatch, aws)
    return ADAPTERS[request.param]()


def _aws(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)


def test_a_quota_is_told_and_asking_changes_nothing(source: QuotaSource) -> None:
    assert source.quota() == source.quota()
    assert source.quota().per_day == PER_DAY


def test_ses_counts_what_was_sent(aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _aws(monkeypatch, aws)
    before = ses.SesQuota().quota().used_of_day
    client = boto3.client("ses")
    client.verify_email_identity(EmailAddress="a@shop.example")
    message = {"Subject": {"Data": "s"}, "Body": {"Text": {"Data": "t"}}}
    client.send_email(Source="a@shop.example", Destination={"ToAddresses": ["b@mail.example"]}, Message=message)
    assert before is not None
    assert ses.SesQuota().quota().used_of_day == before + 1


def test_ses_out_of_reach_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    _aws(monkeypatch, "http://127.0.0.1:9")
    with pytest.raises(Unavailable, match="quota"):
        ses.SesQuota().quota()


def test_no_quota_is_none(estate: Path) -> None:
    assert stated.StatedQuota().quota().per_day is None


def test_preflight_says_how_many_days_24_million_take_and_what_is_wrong(
    estate: Path, front: SesFront, aws: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (estate / "tocsin.toml").write_text('[mail]\nquota_source = "tocsin.mail.adapters.ses.SesQuota"\n')
    forget()
    _aws(monkeypatch, aws)
    front.quota = {"Max24HourSend": 2_000_000.0, "MaxSendRate": 80.0, "SentLast24Hours": 0.0}
    slow = preflight._quota(24_000_000)
    assert (slow.ok, slow.remedy) == (False, "ask the relay for more today")
    assert "24,000,000 messages = 11.3 days" in slow.detail
    front.quota = {"Max24HourSend": -1.0, "MaxSendRate": 500.0}
    assert preflight._quota(24_000_000).ok
    for said, words in (
        ({"EnforcementStatus": "PROBATION"}, "under review"),
        ({"EnforcementStatus": "SHUTDOWN"}, "stopped"),
        ({"SendingEnabled": False}, "switched off"),
        ({"ProductionAccessEnabled": False}, "sandbox"),
    ):
        front.account = {"EnforcementStatus": "HEALTHY", "SendingEnabled": True, "ProductionAccessEnabled": True, **said}
        found = preflight._quota(0)
        assert not found.ok
        assert words in found.detail
