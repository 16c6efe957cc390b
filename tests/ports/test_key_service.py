"""What every key service promises, run on each adapter: files."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tocsin.kernel.errors import NotFound
from tocsin.kernel.private import Private
from tocsin.kernel.sealing.adapters import files
from tocsin.kernel.sealing.port import KeyService

ADAPTERS = {"files": files.FileKeys}


@pytest.fixture(params=sorted(ADAPTERS))
def service(request: pytest.FixtureRequest, tmp_path: Path) -> KeyService:
    return ADAPTERS[request.param](tmp_path)


def test_a_key_is_kept_and_never_replaced(service: KeyService) -> None:
    with pytest.raises(NotFound):
        service.get("dkim")
    service.put_new("dkim", Private(b"first"))
    service.put_new("dkim", Private(b"second"))
    assert service.get("dkim").reveal() == b"first"


def test_many_makers_agree_on_one_key(service: KeyService) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: service.put_new("log", Private(bytes([n]) * 32)), range(8)))
    key = service.get("log").reveal()
    assert key in {bytes([n]) * 32 for n in range(8)}
    assert service.get("log").reveal() == key


def test_a_key_shows_itself_to_nobody(service: KeyService, tmp_path: Path) -> None:
    service.put_new("sealing", Private(b"secret"))
    assert "secret" not in repr(service.get("sealing"))
    assert {p.stat().st_mode & 0o077 for p in tmp_path.rglob("*.key")} == {0}
    assert not [p for p in tmp_path.rglob("*") if p.name.startswith(".")]
