"""A front before moto's SES that answers GetAccount of API version 2, which moto lacks, from what moto's version 1 knows; the rest goes through."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3


class SesFront:
    """Listens on a port of its own. `account`: what GetAccount says beside the quota."""

    def __init__(self, moto_url: str) -> None:
        self.account: dict[str, Any] = {"EnforcementStatus": "HEALTHY", "SendingEnabled": True, "ProductionAccessEnabled": True}
        self.quota: dict[str, float] = {}
        front = self
        ses = boto3.client("ses", endpoint_url=moto_url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                assert self.path == "/v2/email/account"
                known = ses.get_send_quota()
                quota = {k: known[k] for k in ("Max24HourSend", "MaxSendRate", "SentLast24Hours")} | front.quota
                self._say(200, json.dumps({**front.account, "SendQuota": quota}).encode(), "application/json")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {k: v for k, v in self.headers.items() if k.lower() not in {"host", "content-length"}}
                try:
                    with urllib.request.urlopen(urllib.request.Request(moto_url + self.path, body, headers)) as answer:
                        self._say(answer.status, answer.read(), answer.headers["Content-Type"])
                except urllib.error.HTTPError as e:
                    self._say(e.code, e.read(), e.headers["Content-Type"])

            def _say(self, status: int, body: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """Stop listening."""
        self.server.shutdown()
        self.server.server_close()
