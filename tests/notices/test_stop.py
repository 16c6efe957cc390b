"""The global stop, as the practice post office's own record shows it: two senders, slow receivers and fast ones."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from urllib.request import urlopen

import pytest
from django.db import connection

from tests.conftest import forget
from tests.notices.test_mailing import closes
from tests.notices.world import people, sender, started
from tocsin.drills import postoffice
from tocsin.drills.office.personality import Personalities, Provider
from tocsin.kernel import clock
from tocsin.notices import actions
from tocsin.notices.types import MailingState

pytestmark = pytest.mark.django_db(transaction=True)
CONNECTIONS = 8


def record(office: postoffice.Office) -> list[datetime]:
    """When the post office took each message."""
    with urlopen(f"{office.url}/api/record?limit=10000") as answer:
        return [datetime.fromisoformat(r["at"]) for r in json.load(answer)["record"]]


def until(what: Callable[[], bool], *, within_s: float) -> None:
    end = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(("slow_s", "further"), [(0.7, CONNECTIONS), (0.0, None)])
def test_after_a_stop_one_more_mail_per_connection_and_none_after_a_second(shop: Path, slow_s: float, further: int | None) -> None:
    manners = Personalities(seed=1, default=Provider("all", slow=1.0 if slow_s else 0.0, slow_s=slow_s))
    with postoffice.running(shop, personalities=manners, intake=("127.0.0.1", 9)) as office:
        file = shop / "tocsin.toml"
        file.write_text(re.sub(r"relay_port = \d+", f"relay_port = {office.smtp_port}\nrate_per_s = 300.0", file.read_text()))
        forget()
        mailing = started(shop, people([f"user{i}@{('gmail', 'yahoo')[i % 2]}.example" for i in range(1500 if slow_s else 3000)]))
        senders = [sender(shop, mailing) for _ in range(2)]
        try:
            until(lambda: len(record(office)) >= 2 * CONNECTIONS, within_s=30)
            stopped_at = clock.now()
            actions.stop(mailing, at=stopped_at, by="ada", why="a wrong word")
            for process in senders:
                process.communicate(timeout=30)
        finally:
            for process in senders:
                process.kill()
        taken = record(office)
        late = [at for at in taken if at > stopped_at]
        assert [at for at in late if at > stopped_at + timedelta(seconds=1)] == []
        if further is not None:
            assert len(late) <= further
    connection.ensure_connection()
    s = closes(mailing)
    assert (s.state, s.handed_over) == (MailingState.STOPPED, len(taken))
    assert s.in_doubt == 0
    assert s.waiting > 0
