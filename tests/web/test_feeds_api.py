"""Feeds through the real api process and its database role: what it may do, what it answers, and the signature as the how-to makes it."""

from __future__ import annotations

import io
import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.conftest import forget
from tests.ports.relays import TOPIC, line, signed
from tests.roles import dsn_of
from tests.web.gate_process import Process, running
from tocsin.mail import actions, feeds, queries
from tocsin.web.api.feeds import FeedApplication

SECRET = b"0123456789abcdef0123456789abcdef"
DOCS = Path(__file__).parents[2] / "docs" / "how-to" / "relay-feeds.md"


@pytest.fixture
def home(estate: Path) -> Iterator[Path]:
    """Give an estate with a feed."""
    secret = estate / "feed-secret"
    secret.write_bytes(SECRET)
    secret.chmod(0o600)
    with (estate / "tocsin.toml").open("a") as file:
        file.write(f'[feeds.postfix]\nadapter = "tocsin.mail.adapters.lines.SignedLines"\nsecret_file = "{secret}"\n')
        file.write(f'[feeds.ses]\nadapter = "tocsin.mail.adapters.sns.SnsFeed"\ntopic = "{TOPIC}"\n')
    forget()
    feeds.feed.cache_clear()
    yield estate
    feeds.feed.cache_clear()


@pytest.fixture
def api(home: Path, transactional_db: None) -> Iterator[Process]:
    """Give the api process of that estate."""
    with running(home) as process:
        yield process


def post(api: Process, body: bytes, headers: dict[str, str], path: str = "/feeds/v1/postfix", method: str = "POST") -> tuple[int, Any]:
    status, _, answer = api.ask(path, method=method, key="", body=body, **headers)
    return status, answer


def test_the_api_process_takes_events_in_and_can_read_nothing(api: Process, home: Path, tmp_path: Path) -> None:
    good = json.dumps(line(actions.verp(17, 4), id="1")).encode()
    headers = signed(SECRET, good, int(time.time()))
    assert post(api, good, headers) == (200, {"read": 1, "accepted": 1, "ignored": 0, "rejected": 0, "faults": []})
    assert post(api, good, headers)[0] == 200
    status, answer = post(api, good.replace(b"anna", b"bert"), headers)
    assert (status, answer["error"]) == (403, "refused")
    bad = good + b'\n{"id": 1}\n'
    status, answer = post(api, bad, signed(SECRET, bad, int(time.time())))
    assert (status, answer["read"], answer["accepted"], answer["rejected"]) == (200, 2, 1, 1)
    assert {(f["line"], f["field"]) for f in answer["faults"]} == {(2, k) for k in ("id", "event", "at", "from", "to")}
    assert post(api, b"{}", {}, path="/feeds/v1/nobody")[0] == 404
    assert post(api, b"", {}, path="/feeds/v1/postfix", method="GET")[0] == 405
    # Said only: an answer that comes while the client still sends its megabyte may be lost in the reset of the connection.
    assert post(api, b"", {"Content-Length": "1000001"})[0] == 413
    assert api.of("nobody")[0] in {200, 403}  # the gate answers beside it
    assert [(i.kind, i.verp) for i in queries.inbound()] == [("bounce", (17, 4))]
    with psycopg.connect(dsn_of("api"), autocommit=True) as role:
        for forbidden in ("SELECT deposit FROM mail_inbound", "UPDATE mail_inbound SET verp_n = 1", "DELETE FROM mail_inbound",
                          "SELECT id FROM mail_outbound", "SELECT 1 FROM notices_exception", "SELECT 1 FROM subjects_contact"):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                role.execute(forbidden)
    assert SECRET.decode() not in api.log.read_text()
    assert "anna" not in api.log.read_text()


def test_the_signature_of_the_how_to_is_taken(api: Process, tmp_path: Path) -> None:
    """The shell lines of the how-to, run as they stand but for the names of files and the place."""
    found = re.search(r"```sh\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert found is not None
    (tmp_path / "events.jsonl").write_text(json.dumps(line(actions.verp(17, 5), id="2")) + "\n")
    (tmp_path / "secret").write_bytes(SECRET)
    script = found[1].replace("/etc/tocsin/feed-secret", str(tmp_path / "secret")).replace("events.jsonl", str(tmp_path / "events.jsonl"))
    script = script.replace("https://api.shop.example", api.url)
    done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["accepted"] == 1


def ask(application: FeedApplication, **environ: Any) -> tuple[int, dict[str, str]]:
    """Ask in process; return status and headers."""
    got: list[Any] = []
    body = environ.pop("body", b"{}")
    base = {"PATH_INFO": "/feeds/v1/postfix", "REQUEST_METHOD": "POST", "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
    list(application(base | environ, lambda status, headers: got.append((int(status[:3]), dict(headers)))))
    return got[0]  # type: ignore[no-any-return]


@pytest.mark.django_db
def test_limits_and_outages_have_their_own_answers(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other: list[str] = []

    def gate(environ: dict[str, Any], start: Any) -> list[bytes]:
        other.append(environ["PATH_INFO"])
        start("200 OK", [])
        return []

    slow = FeedApplication(gate, rate_per_s=1)
    assert [ask(slow)[0] for _ in range(4)] == [403, 403, 429, 429]  # two seconds' worth, forged ones count too
    assert int(ask(slow)[1]["Retry-After"]) >= 1
    app = FeedApplication(gate)
    assert ask(app, CONTENT_LENGTH="")[0] == ask(app, CONTENT_LENGTH="x")[0] == 411
    assert ask(app, PATH_INFO="/gate/v1/x")[0] == 200
    assert other == ["/gate/v1/x"]

    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # SNS's certificate is out of reach
    url = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem"
    message = dict.fromkeys(("MessageId", "Message", "Timestamp", "Signature"), "x")
    message |= {"Type": "Notification", "TopicArn": TOPIC, "SignatureVersion": "2", "SigningCertURL": url}
    status, headers = ask(app, PATH_INFO="/feeds/v1/ses", body=json.dumps(message).encode())
    assert (status, headers["Retry-After"]) == (503, "30")
