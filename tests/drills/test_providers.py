"""Practice providers that behave like real ones: each in its style, seeded, on the wire and on the pages; and what our own sorting makes of it."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.drills.test_postoffice import Intake, Wire, ask, get, intake, one  # noqa: F401  # intake is a fixture
from tocsin.drills import postoffice
from tocsin.drills.office import personality, styles
from tocsin.drills.office.personality import Personalities, Provider
from tocsin.kernel import wiring
from tocsin.kernel.errors import BadInput
from tocsin.mail import queries
from tocsin.mail.sender import journal
from tocsin.mail.types import Envelope, Pace

HERE, NOWHERE = "127.0.0.1", ("127.0.0.1", 9)
DOCS = Path(__file__).parents[2] / "docs" / "how-to" / "practice-post-office.md"


def only(**values: Any) -> Personalities:
    return Personalities(default=personality.QUIET, providers=(Provider("sad", ("sad.example",), **values),))


def said(provider: Provider, situation: str) -> list[tuple[int, str, str]]:
    """Return (code, enhanced, text) of every text of a provider in a situation, found over many addresses."""
    found = {}
    for n in range(60):
        raw = personality.reply(provider, situation, seed=1, address=f"anna.{n}@sad.example", seconds=5).decode()
        lines = raw.split("\r\n")[:-1]
        code = int(lines[0][:3])
        assert all(re.fullmatch(rf"{code}[- ].+", line) for line in lines)
        assert [line[3] for line in lines] == ["-"] * (len(lines) - 1) + [" "]  # on several lines, the last one says so
        assert all(len(line) <= 510 and line.isascii() for line in lines)
        text = " ".join(line[4:] for line in lines)
        status = re.match(r"[245]\.\d+\.\d+", text)
        found[re.sub(r"[0-9a-f]{12}|\.\d+@", "", text)] = (code, status.group(0) if status else "", text)
    return list(found.values())


@pytest.mark.parametrize("style", sorted(styles.STYLES))
def test_every_style_speaks_smtp_and_is_understood(style: str) -> None:
    """What a style says about an unknown or full mailbox, our classifier reads as such; throttles and greylists are temporary."""
    provider = Provider("sad", ("sad.example",), style=style)
    assert set(styles.STYLES[style]) == set(styles.SITUATIONS)
    for code, enhanced, text in said(provider, "unknown"):
        reason, hard = queries.classify_reply(code, enhanced, f"{text} (in reply to RCPT)")
        assert code >= 500, text
        assert (reason, hard) in {("userunknown", True), ("suspend", False), ("hasmoved", True)}, (reason, text)
    for code, enhanced, text in said(provider, "full"):
        reason, hard = queries.classify_reply(code, enhanced, f"{text} (in reply to RCPT)")
        assert (reason, hard) == ("mailboxfull", False), text
    for situation in ("greylist", "throttle", "limit"):
        assert all(400 <= code < 500 for code, _, _ in said(provider, situation))
    for code, enhanced, text in said(provider, "refused"):
        assert code >= 500
        assert not queries.classify_reply(code, enhanced, text)[1], text  # a refused content is never the address's fault


def test_content_is_refused_after_the_final_dot_and_recorded_nowhere(tmp_path: Path) -> None:
    with postoffice.running(tmp_path, personalities=only(refused=1.0, style="google"), intake=NOWHERE) as office:
        wire = Wire(office.smtp_port)
        wire.ehlo()
        assert one(wire, b"r@sad.example") == [b"250", b"250", b"354", b"550"]
        assert one(wire, b"ok@glad.example")[-1] == b"250"
        counts = ask(office, "/api/counts")
        assert (counts["received"], counts["smtp"]["refused"]) == (1, 1)


def test_whoever_sends_too_fast_is_put_off_for_a_time(tmp_path: Path) -> None:
    """As Yahoo's TSS04: 421 with the mark, the connection closes, and for the penalty nobody gets through; others are not touched."""
    with postoffice.running(tmp_path, personalities=only(rate_per_s_max=3, penalty_s=0.4, style="yahoo"), intake=NOWHERE) as office:
        wire = Wire(office.smtp_port)
        wire.ehlo()
        sent = 0
        while True:
            wire.send(b"MAIL FROM:<a@shop.example>\r\nRCPT TO:<n%d@sad.example>\r\nDATA\r\n" % sent)
            if wire.replies(1) != [b"250"]:
                pytest.fail("MAIL was refused")
            answer = wire.reply()
            if answer[:3] == b"421":
                break
            assert wire.reply()[:3] == b"354"
            wire.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
            assert wire.reply()[:3] == b"250"
            sent += 1
        assert 3 <= sent <= 6
        assert b"[TSS04]" in answer
        assert wire.file.read() == b""
        again = Wire(office.smtp_port)
        again.ehlo()
        assert one(again, b"other@glad.example")[-1] == b"250"
        again.send(b"MAIL FROM:<a@shop.example>\r\nRCPT TO:<n@sad.example>\r\n")
        assert again.replies(2) == [b"250", b"421"]
        did = {p["name"]: p["did"] for p in ask(office, "/api/providers")["providers"]}
        assert did["sad"] == {"accepted": sent, "rate": 2}


def test_a_report_of_delay_is_a_warning_and_no_failure(tmp_path: Path, intake: Intake) -> None:  # noqa: F811
    with postoffice.running(tmp_path, personalities=only(delayed=1.0, return_delay_s=0.0), intake=intake.address) as office:
        wire = Wire(office.smtp_port)
        wire.ehlo()
        assert one(wire, b"d@sad.example")[-1] == b"250"
        _, to, raw = intake.wait()
        assert to == "b+1@bounce.shop.example"
        found = queries.classify(raw)
        assert [(r.address, r.action, r.status, r.hard) for r in found.recipients] == [("d@sad.example", "delayed", "4.4.1", False)]
        assert ask(office, "/api/counts")["received"] == 1


def test_pages_show_how_providers_behave_and_who_got_nothing(tmp_path: Path) -> None:
    with postoffice.running(tmp_path, personalities=only(unknown=0.5, refused=0.5, style="microsoft"), intake=NOWHERE) as office:
        wire = Wire(office.smtp_port)
        wire.ehlo()
        one(wire, b"ok@glad.example")
        for n in range(12):
            one(wire, b"x%d@sad.example" % n)
            wire.send(b"RSET\r\n")
            wire.reply()
        api = ask(office, "/api/providers")
        tally = Counter(t["what"] for t in api["turned_away"])
        assert sum(tally.values()) == 12
        assert set(tally) == {"unknown", "refused"}
        assert {p["name"]: p["did"] for p in api["providers"]} == {"quiet": {"accepted": 1}, "sad": dict(tally)}
        status, headers, page = get(office, "/providers")
        text = page.decode()
        assert status == 200
        assert "script" not in text
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert all(t["address"] in text for t in api["turned_away"])
        assert "microsoft" in text
        assert "unknown 50.00%" in text
        assert 'href="/providers"' in get(office, "/")[2].decode()
        assert "quiet, style plain: quiet delivery" in get(office, "/message/1")[2].decode()


def test_the_whole_world_of_the_how_to_ends_as_the_seed_says(tmp_path: Path) -> None:
    """The sample of the how-to, read as an estate reads it: what the sender believes is what the witness holds, twice the same."""
    block = re.search(r"```toml\n(seed.*?)```", DOCS.read_text(), re.DOTALL)
    assert block is not None
    (tmp_path / "p.toml").write_text(block[1])
    world = personality.load(tmp_path / "p.toml")
    assert {p.style for p in world.providers} == set(styles.STYLES) - {"plain"}
    people = [f"r{n}@{p.domains[0]}" for n in range(150) for p in world.providers]
    ends = [run(tmp_path / str(i), world, people) for i in range(2)]
    assert ends[0] == ends[1]
    fates = {a: world.fate(a, world.provider_of(a)) for a in people}
    for address, (kind, got) in ends[0].items():
        if fates[address] in {"unknown", "refused"}:
            assert (kind, got) == ("bounced", 0)
        elif fates[address] == "full":
            assert (kind, got) in {("bounced", 0), ("deferred", 0)}
        else:
            assert kind == "handed_over", (address, fates[address])
            assert got == (2 if fates[address] == "lost_reply" else 1)


def run(home: Path, world: Personalities, people: list[str]) -> dict[str, tuple[str, int]]:
    """Send to all until nobody is left or the rounds are over; return how each ended, and how often the witness took it."""
    home.mkdir()
    ended: dict[str, str] = {}
    with postoffice.running(home, personalities=world, intake=NOWHERE) as office:
        relay: Any = wiring.load("tocsin.mail.adapters.smtp.SmtpRelay")(HERE, office.smtp_port, helo="sender.example")
        for attempt in range(1, 9):
            left = [a for a in people if ended.get(a) not in {"handed_over", "bounced"}]
            envelopes = [
                Envelope(n, f"b+1.{n}.x@bounce.example", a, f"To: {a}\r\nMessage-ID: <{a}>\r\n\r\nx\r\n.\r\n".encode())
                for n, a in enumerate(left)
            ]
            with journal.RunJournal(home, block=1, attempt=attempt) as notes:
                for o in relay.deliver(envelopes, pace=Pace(4, 200, 1e6), journal=notes, renew=lambda: None, stopped=lambda: False):
                    ended[left[o.n]] = o.kind
        with urlopen(f"{office.url}/api/record?limit=10000") as answer:
            got = Counter(r["to"][0] for r in json.load(answer)["record"])
    return {a: (ended[a], got[a]) for a in people}


def test_a_style_that_nobody_speaks_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text('[[provider]]\nname = "x"\nstyle = "hooli"\nrate_per_s_max = -1\npenalty_s = 9000\nrefused = 2\n')
    with pytest.raises(BadInput) as told:
        personality.load(tmp_path / "p.toml")
    assert {f.field.rpartition(".")[2] for f in told.value.faults} == {"style", "rate_per_s_max", "penalty_s", "refused"}
