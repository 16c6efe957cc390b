"""`tocsin notice` as an operator and a script use it: keys, exit codes, clear faults."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection

from tests.notices.office import Office
from tests.notices.world import people, sign, started
from tocsin.kernel import clock

pytestmark = pytest.mark.django_db(transaction=True)
KEYS = {"state", "recipients", "waiting", "handed_over", "lost", "in_doubt", "deferred", "bounced", "letters", "rate_per_s", "eta_at", "deadline_at",
        "lanes", "alerts", "locked", "late_until"}  # fmt: skip


def notice(home: Path, *arguments: str) -> tuple[int, Any]:
    s = connection.settings_dict
    url = f"postgresql://{quote(s['USER'])}:{quote(s['PASSWORD'])}@{s['HOST']}:{s['PORT']}/{s['NAME']}"
    env = os.environ | {"TOCSIN_HOME": str(home), "TOCSIN_DATABASE_URL": url, "TOCSIN_PROCESS": "operator", "TOCSIN_OPERATOR": "ada",
                        "PYTHONPATH": str(Path(__file__).parents[2] / "src")}  # fmt: skip
    command = [sys.executable, "-m", "tocsin.cli", "notice", *arguments, "--json"]
    done = subprocess.run(command, env=env, text=True, capture_output=True, timeout=60, check=False)
    return done.returncode, json.loads(done.stdout)


def test_status_pause_resume_and_a_later_end(shop: Path, office: Office) -> None:
    deadline = clock.now().replace(microsecond=0) + timedelta(hours=1)
    mailing = str(started(shop, people([f"user{i}@gmail.example" for i in range(20)]), deadline_at=deadline))
    code, found = notice(shop, "status", mailing)
    assert code == 0
    assert found.keys() >= KEYS
    assert (found["state"], found["waiting"], found["lost"]) == ("sending", 20, 0)
    assert {"provider", "rate_per_s", "connections_open", "held_why", "eta_at", "warm_up_per_day"} <= found["lanes"][0].keys()

    code, found = notice(shop, "pause", mailing, "--why", "looking")
    assert (code, found["state"], found["alerts"][0]["what"]) == (0, "paused", "paused")
    code, found = notice(shop, "resume", mailing)
    assert (code, found["error"]["kind"]) == (3, "refused")
    sign(shop, found["approval"], "ada", "bob")
    code, found = notice(shop, "resume", mailing, "--approval", str(found["approval"]))
    assert (code, found["state"]) == (0, "sending")

    code, found = notice(shop, "allow-late", mailing, "--until", "2020-01-01T00:00", "--why", " ")
    assert (code, {f["field"] for f in found["faults"]}) == (2, {"until", "why"})
    code, found = notice(shop, "override-order", mailing, "us-nj.police", "--why", "x")
    assert (code, found["error"]["kind"]) == (4, "not_found")
