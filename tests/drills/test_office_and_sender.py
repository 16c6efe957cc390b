"""The mail room's real transport against the post office's worst manners: what the sender believes must be what the witness holds."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tocsin.drills import postoffice
from tocsin.drills.office.personality import Personalities, Provider
from tocsin.kernel import wiring
from tocsin.mail.sender import journal
from tocsin.mail.types import Envelope, Pace

HERE = "127.0.0.1"
HARSH = Personalities(
    seed=3,
    default=Provider("easy", slow=0.005, slow_s=0.01),
    providers=(
        Provider(
            "harsh",
            ("harsh.example",),
            unknown=0.05,
            full=0.02,
            greylist=0.08,
            throttle=0.01,
            lost_reply=0.01,
            cut=0.01,
            greylist_s=0.0,
            messages_per_connection_max=90,
        ),
    ),
)
ROUNDS_MAX = 30


def envelope(n: int) -> Envelope:
    """Return a small ready envelope; its Message-ID is that of the recipient, whatever the attempt."""
    to = f"r{n}@{'harsh' if n % 2 else 'easy'}.example"
    content = f"To: {to}\r\nMessage-ID: <{n}@x.example>\r\n\r\n{'y' * 70}\r\n.\r\n"
    return Envelope(n, f"b+1.{n}.x@bounce.example", to, content.encode())


def test_what_the_sender_believes_is_what_the_witness_holds(tmp_path: Path) -> None:
    people = 2_000
    with postoffice.running(tmp_path, personalities=HARSH, intake=(HERE, 9)) as office:
        relay: Any = wiring.load("tocsin.mail.adapters.smtp.SmtpRelay")(HERE, office.smtp_port, helo="sender.example")
        assert relay.reach() == "loopback"
        ended: dict[int, str] = {}
        doubted: set[int] = set()
        for attempt in range(1, ROUNDS_MAX + 1):
            left = [n for n in range(people) if n not in ended]
            if not left:
                break
            with journal.RunJournal(tmp_path, block=1, attempt=attempt) as notes:
                for outcome in relay.deliver(
                    [envelope(n) for n in left], pace=Pace(4, 200, 1e6), journal=notes, renew=lambda: None, stopped=lambda: False
                ):
                    if outcome.kind == "in_doubt":
                        doubted.add(outcome.n)
                    elif outcome.kind != "deferred":
                        ended[outcome.n] = outcome.kind
        with urlopen(f"{office.url}/api/record?limit=10000") as answer:
            got = Counter(int(r["message_id"][1:].partition("@")[0]) for r in json.load(answer)["record"])
        assert len(ended) == people
        fates = {n: HARSH.fate(to, HARSH.provider_of(to)) for n in range(people) for to in [envelope(n).recipient]}
        for n in range(people):
            refused = fates[n] in {"unknown", "full"}
            assert (ended[n] == "bounced") == refused, (n, fates[n], ended[n])
            assert (got[n] == 0) == refused, (n, fates[n])
            assert got[n] <= (2 if fates[n] == "lost_reply" else 1), (n, fates[n])
        assert {fate for fate in fates.values() if fate} == {"unknown", "full", "greylist", "throttle", "lost_reply", "cut", "slow"}
        twice = {n for n in range(people) if got[n] == 2}
        assert twice
        assert twice <= doubted, "a repeat that the sender did not name"
