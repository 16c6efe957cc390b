"""The WSGI application of the console; run it with the environment TOCSIN_PROCESS=console."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

from tocsin.kernel import logs

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tocsin.settings")
os.environ.setdefault("TOCSIN_PROCESS", "console")
logs.configure("console")
application = get_wsgi_application()
