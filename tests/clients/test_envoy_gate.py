"""The Envoy sample: its shape, and the requests that ext_authz makes, against the real gate. Envoy itself is not run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.credentials.shop import cut, enrol, open_shop
from tests.web.gate_process import running

SAMPLE = Path(__file__).parents[2] / "clients" / "envoy"
TYPES = "type.googleapis.com/envoy.extensions.filters."


@pytest.fixture
def customers(estate: Path, transactional_db: None) -> Path:
    open_shop(enrol(estate))
    return estate


def filters() -> dict[str, dict[str, Any]]:
    document = yaml.safe_load((SAMPLE / "envoy.yaml").read_text())
    (listener,) = document["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    assert manager["@type"] == f"{TYPES}network.http_connection_manager.v3.HttpConnectionManager"
    named = {f["name"].rpartition(".")[2]: f["typed_config"] for f in manager["http_filters"]}
    assert list(named) == ["jwt_authn", "ext_authz", "router"]  # who is it, may they come in, and only then the shop
    clusters = {c["name"] for c in document["static_resources"]["clusters"]}
    assert clusters == {"shop", "tocsin_gate"}
    return named


def test_the_shape_fails_closed() -> None:
    found = filters()
    authz = found["ext_authz"]
    assert authz["@type"] == f"{TYPES}http.ext_authz.v3.ExtAuthz"
    assert authz["failure_mode_allow"] is False
    assert authz["transport_api_version"] == "V3"
    service = authz["http_service"]
    assert service["server_uri"]["cluster"] == "tocsin_gate"
    assert float(service["server_uri"]["timeout"].removesuffix("s")) == 0.3
    headers = [p["exact"] for p in authz["allowed_headers"]["patterns"]]
    assert headers == ["x-tocsin-subject"]
    (provider,) = found["jwt_authn"]["providers"].values()
    assert provider["claim_to_headers"] == [{"header_name": headers[0], "claim_name": "sub"}]
    (rule,) = found["jwt_authn"]["rules"]
    assert rule["match"] == {"prefix": "/"}
    assert "It was not run with Envoy" in re.sub(r"\s+", " ", (SAMPLE / "README.md").read_text())


def test_the_requests_of_ext_authz(customers: Path) -> None:
    """Source: Envoy documentation, ext_authz HTTP service: original method and path behind path_prefix, allowed headers, Content-Length 0."""
    service = filters()["ext_authz"]["http_service"]
    (added,) = service["authorization_request"]["headers_to_add"]
    with running(customers) as gate:

        def check(method: str, path: str, subject: str | None) -> tuple[int, dict[str, str]]:
            sent = {"Content_Length": "0"} | ({"X_Tocsin_Subject": subject} if subject else {})
            authorization = added["value"].replace("GATE_KEY", gate.key)
            status, headers, _ = gate.ask(service["path_prefix"] + path, method=method, key="", Authorization=authorization, **sent)
            return status, headers

        wanted = {p["exact"] for p in service["authorization_response"]["allowed_client_headers"]["patterns"]}
        for method in ("GET", "POST", "PUT", "OPTIONS"):
            for path in ("/", "/login?next=/account", "/gate/v1/C2", "/%00"):
                assert check(method, path, "C1")[0] == 200, (method, path)
        assert check("GET", "/", None)[0] == 400
        assert check("GET", "/", "nobody")[0] == 403
        cut(customers)
        status, headers = check("POST", "/login", "C1")
        assert (status, headers["x-tocsin-reason"], wanted - {"retry-after"} <= headers.keys()) == (403, "reset_required", True)
