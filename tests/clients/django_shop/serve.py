"""Serve the shop with threads on 127.0.0.1, as `runserver` does: serve.py PORT."""

import os
import sys

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"

import django

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler, get_internal_wsgi_application  # noqa: E402

call_command("migrate", verbosity=0)
users = get_user_model().objects
if not users.exists():
    for name, number in (("wilma", "C1"), ("fred", "C2"), ("ghost", "X9")):
        users.create_user(name, password=f"old password of {name}", first_name=number)
    users.create_superuser("boss", password="old password of boss")
server = ThreadedWSGIServer(("127.0.0.1", int(sys.argv[1])), WSGIRequestHandler)
server.set_app(get_internal_wsgi_application())
server.serve_forever()
