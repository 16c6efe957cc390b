"""An application that takes its accounts by SCIM: the scim2-server library as it is, beside a log-in page of the application's own.

    python scim_application.py PORT TOKEN

The page reads the store behind SCIM, as an application does: POST /login with username and password gives 200 or 401. While the group
tocsin-gate says that the gate has fallen, members of tocsin-through alone come in.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from scim2_models import ScimProvider
from scim2_server.memory import InMemoryStorage
from scim2_server.service import ScimService
from scim2_server.testserver.application import BearerTokenApplication
from scim2_server.utils import load_default_resource_types, load_default_schemas, load_default_service_provider_config


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    allow_reuse_address = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *args: object) -> None:
        """Keep the test's output clean."""


def application(token: str) -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
    provider = ScimProvider.from_discovery(load_default_schemas().values(), load_default_resource_types().values(),
                                           config=load_default_service_provider_config())  # fmt: skip
    storage = InMemoryStorage()
    scim = BearerTokenApplication(storage, provider, service=ScimService(provider, secret="cursor"), bearer_tokens=[token])

    def named(kind: str) -> list[Any]:
        return [r for r in storage.resources if type(r).__name__.startswith(kind)]

    def lets_in(login: str, password: str) -> bool:
        user = next((u for u in named("User") if u.user_name == login), None)
        if user is None or user.active is False or user.password != password:
            return False
        groups = {g.display_name: g for g in named("Group")}
        gate = groups.get("tocsin-gate")
        if gate is None or json.loads(gate.external_id)["state"] == "armed":
            return True
        through = groups.get("tocsin-through")
        return through is not None and user.id in {member.value for member in through.members or []}

    def answer(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/login":
            return scim(environ, start)
        form = parse_qs(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)).decode())
        good = lets_in(form.get("username", [""])[0], form.get("password", [""])[0])
        start("200 OK" if good else "401 Unauthorized", [("Content-Length", "0")])
        return [b""]

    return answer


if __name__ == "__main__":
    with make_server("127.0.0.1", int(sys.argv[1]), application(sys.argv[2]), server_class=Server, handler_class=Quiet) as server:
        server.serve_forever()
