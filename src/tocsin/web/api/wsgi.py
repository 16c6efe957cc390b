"""The WSGI application of the api process: the gate, and the feeds of relays.

It joins as a node of the gate: until its lease is granted, and after it is lost, nobody is let in."""

from __future__ import annotations

import os

import django

from tocsin.kernel import config, logs

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tocsin.settings")
os.environ.setdefault("TOCSIN_PROCESS", "api")
logs.configure("api")
django.setup()

from tocsin.credentials import actions as credentials  # noqa: E402  # after the settings are loaded
from tocsin.mail import actions as mail  # noqa: E402

from .feeds import FeedApplication  # noqa: E402
from .gate import GateApplication, Settings  # noqa: E402

_current = config.current()
gate = credentials.join_as_gate()
for _name in _current.feeds:
    mail.check_feed(_name)  # a fault in its options ends the process here, not at the first event
application = FeedApplication(
    GateApplication(
        gate,
        Settings(
            unknown_allowed=_current.gate.unknown == "allow",
            subject_header=_current.gate.subject_header,
            reset_url=f"{_current.web.public_url.rstrip('/')}/passwordchange",
            rate_per_s=_current.gate.rate_per_s,
        ),
    )
)
