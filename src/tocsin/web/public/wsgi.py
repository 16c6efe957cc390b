"""The WSGI application of the public process. It joins as a node: until its lease is granted, and after it is lost, nobody is let in.

It writes no core file and may not be traced: passwords pass through its memory.
In front of it stands the waiting room's answer to those who ask whether it is their turn (`front`).
"""

from __future__ import annotations

import gc
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tocsin.settings")
os.environ.setdefault("TOCSIN_PROCESS", "public")
django = get_wsgi_application()

from tocsin.kernel.private import leave_no_core  # noqa: E402

leave_no_core()

from tocsin.credentials import actions as credentials  # noqa: E402  # after the settings are loaded

from .front import Front  # noqa: E402

application = Front(django)

lease = credentials.join_as_node()
room = credentials.open_room()
gc.collect()
gc.freeze()  # what was loaded stays; without this each full collection walks through all of it
