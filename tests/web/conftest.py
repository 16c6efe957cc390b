"""The public site in the test process: its middleware and addresses, a shop with customers, and Debian's Chromium."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from pytest_django.live_server_helper import LiveServer

from tests.credentials.shop import enrol, open_shop
from tocsin import settings as tocsin_settings
from tocsin.credentials import actions
from tocsin.kernel import clock
from tocsin.kernel.private import Private

CHROMIUM = shutil.which("chromium")


@pytest.fixture
def public_site(settings: Any) -> None:
    """Serve what the public process serves; the settings of the test process are the console's."""
    settings.ROOT_URLCONF = "tocsin.web.public.urls"
    settings.MIDDLEWARE = tocsin_settings._PUBLIC
    settings.TEMPLATES = [
        {
            **tocsin_settings.TEMPLATES[0],
            "OPTIONS": {**tocsin_settings.TEMPLATES[0]["OPTIONS"], "context_processors": ["django.template.context_processors.request"]},
        }
    ]


@pytest.fixture
def shop(estate: Path, db: None, public_site: None) -> Path:
    """Customers with old passwords, and two people who may end them."""
    open_shop(enrol(estate))
    return estate


@pytest.fixture
def real_shop(estate: Path, transactional_db: None, public_site: None) -> Path:
    """The same with real commits, for a server in another thread."""
    open_shop(enrol(estate))
    return estate


@pytest.fixture
def public_server(real_shop: Path) -> Iterator[LiveServer]:
    """Serve the shop's public site. A server of this test alone: the suite's own one was started with the console's middleware."""
    server = LiveServer("localhost")
    server._live_server_modified_settings.enable()
    yield server
    server._live_server_modified_settings.disable()
    server.stop()


def deliver(token: str) -> bool:
    """Do the waiting job of the newest request as the worker does, with a token that the test knows."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT args FROM procrastinate_jobs WHERE task_name = 'credentials.tasks.send_reset' ORDER BY id DESC LIMIT 1")
        raw = cursor.fetchone()[0]
    job = raw if isinstance(raw, dict) else json.loads(raw)
    return actions.send_reset(bytes.fromhex(job["lookup"]), request=UUID(job["request"]), token=Private(token), at=clock.now())


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Use the system's Chromium; skip, saying how to get it, where there is none."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt install chromium")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"  # Playwright keeps an event loop in this thread
    return {**browser_type_launch_args, "executable_path": CHROMIUM, "args": ["--no-sandbox", "--disable-dev-shm-usage"]}
