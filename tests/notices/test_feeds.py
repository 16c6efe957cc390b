"""What a relay tells over HTTP moves the same people as a bounce by mail: once, with its evidence; a forged or repeated word moves nobody."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import forget
from tests.notices.office import Office
from tests.notices.test_mailing import closes, report, run
from tests.notices.world import people, started
from tests.ports.relays import line, signed
from tocsin.evidence import queries as evidence
from tocsin.evidence.types import EventType
from tocsin.kernel import clock
from tocsin.kernel.errors import Refused
from tocsin.mail import actions as mail
from tocsin.mail import feeds
from tocsin.notices import actions, frozen
from tocsin.notices.models import Batch
from tocsin.notices.types import MailingState

SECRET = b"a secret that a relay shares with us"


def tell(*events: dict[str, object], secret: bytes = SECRET) -> int:
    """Have the relay tell; return how many events were taken in."""
    body = b"\n".join(json.dumps(e).encode() for e in events)
    now = clock.now()
    return mail.take_feed("relay", headers=signed(secret, body, int(now.timestamp())), body=body, at=now).accepted


def test_events_of_a_relay_move_people_once(shop: Path, office: Office) -> None:
    (shop / "secret").write_bytes(SECRET)
    (shop / "secret").chmod(0o600)
    with (shop / "tocsin.toml").open("a") as file:
        file.write(f'[feeds.relay]\nadapter = "tocsin.mail.adapters.lines.SignedLines"\nsecret_file = "{shop}/secret"\n')
    forget()
    feeds.feed.cache_clear()
    frozen.forget_plans()
    mailing = started(shop, people([f"user{i}@gmail.example" for i in range(6)], postal=range(6)))
    block = Batch.objects.get(mailing=mailing)
    verp = [mail.verp(block.pk, n) for n in range(6)]
    assert tell(line(verp[0], id="early")) == 1
    assert actions.take_bounces(at=clock.now()) == 0  # quicker than the block's own bookkeeping: it waits
    run(mailing)
    assert actions.take_bounces(at=clock.now()) == 1
    with pytest.raises(Refused):
        tell(line(verp[1], id="forged"), secret=b"another secret of at least 32 octets")
    assert tell(line(verp[1].replace(f"{block.pk}.1", f"{block.pk}.2"), id="strange")) == 0  # its MAC is another place's
    assert tell(line(verp[2], id="d", event="delayed", code=451, enhanced="4.4.1"), line(verp[3], id="c", event="complained")) == 2
    assert actions.take_bounces(at=clock.now()) == 0
    assert evidence.counts()[EventType.NOTICE_FAILED] == 1
    gone = line(verp[4], id="gone", code=550, enhanced="5.1.1", reply="no such user")
    for _ in range(2):
        assert tell(gone, line(verp[0], id="early"), line(verp[0], id="another id, the same person")) == 3
        report(verp[0])  # and by mail too
    assert actions.take_bounces(at=clock.now()) == 1
    assert actions.take_bounces(at=clock.now()) == 0
    assert evidence.counts()[EventType.NOTICE_FAILED] == 2
    actions.keep(mailing, at=clock.now())
    s = closes(mailing)
    assert (s.state, s.handed_over, s.bounced, s.letters) == (MailingState.ENDED, 4, 0, 2)
    feeds.feed.cache_clear()
