"""An incident with people to tell, a team that signs, and a post office that records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from tests.conftest import forget
from tests.notices.office import Office
from tocsin.notices import frozen


@pytest.fixture
def office() -> Iterator[Office]:
    """Give a recording post office."""
    made = Office()
    yield made
    made.close()


@pytest.fixture
def shop(estate: Path, office: Office, transactional_db: None) -> Iterator[Path]:
    """Give the home of a demo estate whose relay is the post office."""
    (estate / "tocsin.toml").write_text(
        f"""[estate]
kind = "demo"
[mail]
relay_port = {office.port}
preflight = false
connections = 8
messages_per_connection = 50
"""
    )
    _no_jobs()
    forget()
    frozen.forget_plans()
    yield estate
    _no_jobs()


def _no_jobs() -> None:
    """Empty the queue: its tables are no models of ours, so the flush between tests leaves them."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM procrastinate_jobs")
