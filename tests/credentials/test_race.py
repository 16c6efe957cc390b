"""Twelve connections that sign in without pause, through twenty cutovers: none is let in late, and no session outlives its cutover."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import connection

from bench import race
from tests.credentials.shop import cut, enrol
from tocsin.kernel.localpg import find_binaries

ROUNDS = 20
ACCOUNTS = 2_000
ATTEMPTS = 200_000


def test_no_log_in_is_late_and_no_session_is_left_over_twenty_cutovers(estate: Path, transactional_db: None) -> None:
    """The bench in a small size: 200,000 attempts; `./run bench race` makes as many as it is told."""
    if not (find_binaries()[0] / "pgbench").exists():
        pytest.skip("needs pgbench: apt install postgresql-contrib")
    enrol(estate)
    race.fill(ACCOUNTS)
    try:
        outcome = race.race(ACCOUNTS, rounds=ROUNDS, attempts=ATTEMPTS, cut=lambda: cut(estate))
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE race_let_in")
            cursor.execute("DROP FUNCTION race_login, race_sid, race_now_us")
    assert outcome.rounds >= ROUNDS
    assert outcome.attempts >= ATTEMPTS
    assert (outcome.late, outcome.usable) == (0, 0)
    assert outcome.let_in > 100 * ROUNDS  # they were let in as long as they might be
    assert outcome.attempts - outcome.let_in > 100 * ROUNDS  # and refused from then on
    assert outcome.by_function > ROUNDS
